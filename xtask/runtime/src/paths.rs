//! Every path of the project, as a function. All of them are below the project root, never below the program's directory: the
//! same runner is used for a checkout, a plugin installed elsewhere, and the lab's scratch copy.

use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::settings::environment;
use domain::failure::{Code, Failure};

/// The directory of this user on this host, shared by all checkouts: `$XDG_STATE_HOME/omni-scale`, by default
/// `~/.local/state/omni-scale` (XDG Base Directory Specification, where a relative path is ignored).
fn host_dir() -> PathBuf {
    let given = environment("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::home_dir().map(|home| home.join(".local/state"));
    match given.or_else(home).filter(|dir| dir.is_absolute()) {
        Some(dir) => dir.join("omni-scale"),
        None => temporary(),
    }
}

/// This user's directory in the temporary directory of all users.
fn temporary() -> PathBuf {
    std::env::temp_dir().join(format!("omni-scale-{}", rustix::process::geteuid().as_raw()))
}

/// The project root and the paths of its files.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
    host: PathBuf,
    project: bool,
    /// The further provider that [`Paths::config`] and [`Paths::provider_env`] belong to.
    provider: Option<String>,
}

impl Paths {
    /// The file that marks a project root.
    const MARK: &str = "docker/compose.yaml";

    /// Finds the project: at `given`, or else the nearest ancestor of `cwd` that contains `docker/compose.yaml`.
    ///
    /// # Errors
    /// [`Code::Usage`] if there is none.
    pub fn find(given: Option<&Path>, cwd: &Path) -> Result<Paths, Failure> {
        let found = match given {
            Some(dir) => {
                let dir = if dir.is_absolute() { dir.to_owned() } else { cwd.join(dir) };
                dir.join(Self::MARK).is_file().then_some(dir)
            }
            None => cwd.ancestors().find(|dir| dir.join(Self::MARK).is_file()).map(Path::to_owned),
        };
        found.map(|root| Paths { root, host: host_dir(), project: true, provider: None }).ok_or_else(|| {
            let looked = match given {
                Some(dir) => format!("`{}` contains no {}", dir.display(), Self::MARK),
                None => format!("neither `{}` nor a directory above it contains {}", cwd.display(), Self::MARK),
            };
            Failure::new(Code::Usage, "this is not an Omni-Scale project")
                .cause(looked)
                .hint("run the task inside a checkout, or specify one with --project-dir DIR")
        })
    }

    /// The working directory without a project, for a task that only reads the files that it is given.
    pub fn outside_project(cwd: &Path) -> Paths {
        Paths { root: cwd.to_owned(), host: host_dir(), project: false, provider: None }
    }

    /// The project's files in an opened support bundle.
    pub fn for_bundle(root: PathBuf) -> Paths {
        Paths { root, host: host_dir(), project: true, provider: None }
    }

    /// Returns true if there is a project. Without one, a task must not read or write files in the working directory.
    pub fn is_project(&self) -> bool {
        self.project
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The answers to the prompts of a task that is not done yet; they may include secrets.
    pub fn answers(&self, task: &str) -> PathBuf {
        self.root.join(format!("docker/.answers.{task}"))
    }

    /// The paths for a further provider of the same project.
    pub fn for_provider(&self, id: &str) -> Paths {
        Paths { provider: Some(id.to_owned()), ..self.clone() }
    }

    /// The directory of the provider's own files.
    fn provider_dir(&self) -> PathBuf {
        self.provider.as_ref().map_or_else(|| self.root.join("docker"), |id| self.providers().join(id))
    }

    /// The provider's access to Proxmox.
    pub fn config(&self) -> PathBuf {
        self.provider_dir().join("config.yaml")
    }

    /// The file with the provider's key.
    pub fn provider_env(&self) -> PathBuf {
        self.provider_dir().join(".env")
    }

    /// The service of a further provider.
    pub fn provider_service(&self) -> PathBuf {
        self.provider_dir().join("compose.yaml")
    }

    pub fn machine_class(&self, name: &str) -> PathBuf {
        self.machine_classes().join(format!("{name}.yaml"))
    }

    pub fn cluster(&self, name: &str) -> PathBuf {
        self.clusters().join(format!("{name}.yaml"))
    }

    /// The directories that tasks write to.
    pub fn written_dirs(&self) -> [PathBuf; 4] {
        let state = self.state().parent().map(Path::to_path_buf).unwrap_or_default();
        [self.root.join("docker"), state, self.machine_classes(), self.clusters()]
    }

    /// The file that names the holder of this checkout's lock.
    pub fn checkout_lock_holder(&self) -> PathBuf {
        let mut hasher = std::hash::DefaultHasher::new();
        self.root().hash(&mut hasher);
        self.host_lock().with_file_name(format!("checkout-{:016x}", hasher.finish()))
    }

    /// Exists while a restore is not complete.
    pub fn restore_marker(&self) -> PathBuf {
        self.checkout_lock_holder().with_extension("restoring")
    }

    /// The record of what was taken over from an Omni of other compose files, and of the progress.
    pub fn adoption_record(&self) -> PathBuf {
        self.checkout_lock_holder().with_extension("adopted")
    }

    /// The durations of the steps of machines at this site.
    pub fn step_times(&self) -> PathBuf {
        self.checkout_lock_holder().with_extension("times")
    }

    /// Like [`Paths::scratch_root`], for files that include a socket, whose path has at most 107 bytes.
    pub fn socket_root(&self) -> PathBuf {
        const LONGEST: usize = 70;
        let dir = self.scratch_root();
        if dir.as_os_str().len() > LONGEST { temporary().join("tmp") } else { dir }
    }

    /// The same project with another directory for the user.
    #[cfg(test)]
    pub fn with_host(self, host: PathBuf) -> Paths {
        Paths { host, ..self }
    }

    /// A directory in `target` for a lab of this process.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.target().join(format!("{name}-{}", std::process::id()))
    }

    /// The directory of the lab; for the lab's own project, the lab that contains it.
    pub fn lab(&self) -> PathBuf {
        match self.root.parent() {
            Some(lab) if self.root.ends_with("target/lab/project") => lab.to_owned(),
            _ => self.target().join("lab"),
        }
    }

    /// `path` for messages: relative to the root if it is inside.
    pub fn show(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}

/// Defines a function for each path at a fixed place below the project root or the user's directory.
macro_rules! paths {
    ($($(#[$doc:meta])* $name:ident: $dir:ident $place:expr;)*) => {
        impl Paths {
            $($(#[$doc])* pub fn $name(&self) -> PathBuf { self.$dir.join($place) })*
        }
    };
}

paths! {
    compose: root Paths::MARK;
    env: root "docker/.env";
    env_example: root "docker/.env.example";
    /// The key that encrypts Omni's store.
    store_key: root "docker/omni.asc";
    /// The directories of further providers.
    providers: root "docker/providers";
    /// Omni's own settings of this site.
    site: root "docker/site.yaml";
    /// The files that the site's settings refer to.
    site_files: root "docker/site";
    config_example: root "docker/config.yaml.example";
    state: root ".claude/omni-scale.local.md";
    machine_classes: root "machine-classes";
    clusters: root "clusters";
    /// Locked by a task that changes Docker or Omni, which all checkouts share.
    host_lock: host "lock";
    /// The log of all programs that tasks called.
    journal: host "journal.jsonl";
    /// The default directory for backups.
    backups: host "backups";
    /// The directory for temporary files.
    scratch_root: host "tmp";
    target: root "target";
}

/// `path` as a word to paste into the shell that the task was started from: relative to the working directory if it is inside,
/// `.` for the working directory itself.
pub fn path_to_paste(path: &Path) -> String {
    if is_stream(path) {
        return "FILE".to_owned();
    }
    let here = std::env::current_dir().unwrap_or_default();
    let shown = path.strip_prefix(&here).unwrap_or(path);
    crate::proc::quote(&if shown == Path::new("") { Path::new(".") } else { shown }.to_string_lossy())
}

/// Returns true if the path can be read only once: standard input, or a pipe of the shell.
pub fn is_stream(path: &Path) -> bool {
    path == Path::new("-") || path == Path::new("/dev/stdin") || path.starts_with("/dev/fd")
}
