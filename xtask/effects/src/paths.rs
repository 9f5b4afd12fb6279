//! Every path of the project, as a function. All of them lie under the project root, never under the directory of the
//! program: the same runner serves a checkout, a plugin installed elsewhere, and the lab's scratch copy.

use std::path::{Path, PathBuf};

use model::failure::{Code, Failure};

/// The project root and what lies where under it.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// The file that marks a project root.
    const MARK: &str = "docker/compose.yaml";

    /// The project at `given`, else the nearest ancestor of `cwd` that holds `docker/compose.yaml`.
    ///
    /// # Errors
    /// [`Code::Usage`] when there is none.
    pub fn find(given: Option<&Path>, cwd: &Path) -> Result<Paths, Failure> {
        let found = match given {
            Some(dir) => {
                let dir = if dir.is_absolute() { dir.to_owned() } else { cwd.join(dir) };
                dir.join(Self::MARK).is_file().then_some(dir)
            }
            None => cwd.ancestors().find(|dir| dir.join(Self::MARK).is_file()).map(Path::to_owned),
        };
        found.map(|root| Paths { root }).ok_or_else(|| {
            let looked = match given {
                Some(dir) => format!("`{}` holds no {}", dir.display(), Self::MARK),
                None => format!("neither `{}` nor a directory above it holds {}", cwd.display(), Self::MARK),
            };
            Failure::new(Code::Usage, "this is no Omni-Scale project")
                .cause(looked)
                .hint("run the task inside a checkout, or name one with --project-dir DIR")
        })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn compose(&self) -> PathBuf {
        self.root.join(Self::MARK)
    }

    pub fn env(&self) -> PathBuf {
        self.root.join("docker/.env")
    }

    pub fn env_example(&self) -> PathBuf {
        self.root.join("docker/.env.example")
    }

    /// The key that Omni's store is encrypted with.
    pub fn store_key(&self) -> PathBuf {
        self.root.join("docker/omni.asc")
    }

    pub fn config(&self) -> PathBuf {
        self.root.join("docker/config.yaml")
    }

    pub fn config_example(&self) -> PathBuf {
        self.root.join("docker/config.yaml.example")
    }

    pub fn state(&self) -> PathBuf {
        self.root.join(".claude/omni-scale.local.md")
    }

    pub fn machine_classes(&self) -> PathBuf {
        self.root.join("machine-classes")
    }

    pub fn machine_class(&self, name: &str) -> PathBuf {
        self.machine_classes().join(format!("{name}.yaml"))
    }

    pub fn clusters(&self) -> PathBuf {
        self.root.join("clusters")
    }

    pub fn cluster(&self, name: &str) -> PathBuf {
        self.clusters().join(format!("{name}.yaml"))
    }

    /// The directories that tasks write into.
    pub fn written(&self) -> [PathBuf; 4] {
        let state = self.state().parent().map(Path::to_path_buf).unwrap_or_default();
        [self.root.join("docker"), state, self.machine_classes(), self.clusters()]
    }

    /// A scratch directory of this process alone: dry runs hold no lock and may run beside another task.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.target().join(format!("{name}-{}", std::process::id()))
    }

    pub fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    pub fn lock(&self) -> PathBuf {
        self.target().join("xtask.lock")
    }

    pub fn journal(&self) -> PathBuf {
        self.target().join("xtask-journal.jsonl")
    }

    pub fn lab(&self) -> PathBuf {
        self.target().join("lab")
    }

    /// `path` as a person reads it: relative to the root where it lies under it.
    pub fn show(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}
