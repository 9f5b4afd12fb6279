//! Every path of the project, as a function. All of them lie under the project root, never under the directory of the
//! program: the same runner serves a checkout, a plugin installed elsewhere, and the lab's scratch copy.

use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::settings::environment;
use domain::failure::{Code, Failure};

/// What tasks keep of this user on this host, for every checkout: `$XDG_STATE_HOME/omni-scale`, by default
/// `~/.local/state/omni-scale` (XDG Base Directory Specification, where a relative path is ignored).
fn host_dir() -> PathBuf {
    let given = environment("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::home_dir().map(|home| home.join(".local/state"));
    match given.or_else(home).filter(|dir| dir.is_absolute()) {
        Some(dir) => dir.join("omni-scale"),
        None => temporary(),
    }
}

/// This user's directory among those of all users.
fn temporary() -> PathBuf {
    std::env::temp_dir().join(format!("omni-scale-{}", rustix::process::geteuid().as_raw()))
}

/// The project root and the paths of its files.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
    host: PathBuf,
    project: bool,
    /// The further provider whose files [`Paths::config`] and [`Paths::provider_env`] are.
    provider: Option<String>,
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
        found.map(|root| Paths { root, host: host_dir(), project: true, provider: None }).ok_or_else(|| {
            let looked = match given {
                Some(dir) => format!("`{}` contains no {}", dir.display(), Self::MARK),
                None => format!("neither `{}` nor a directory above it contains {}", cwd.display(), Self::MARK),
            };
            Failure::new(Code::Usage, "this is not an Omni-Scale project")
                .cause(looked)
                .hint("run the task inside a checkout, or name one with --project-dir DIR")
        })
    }

    /// No project, but the working directory: for a task that only reads the files that it is given.
    pub fn outside(cwd: &Path) -> Paths {
        Paths { root: cwd.to_owned(), host: host_dir(), project: false, provider: None }
    }

    /// The project's files in an opened support bundle.
    pub fn of_bundle(root: PathBuf) -> Paths {
        Paths { root, host: host_dir(), project: true, provider: None }
    }

    /// Whether there is a project. Without one, a task must not read or write files in the working directory.
    pub fn is_project(&self) -> bool {
        self.project
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What was typed at the prompts of a task that is not done yet; it may hold secrets.
    pub fn answers(&self, task: &str) -> PathBuf {
        self.root.join(format!("docker/.answers.{task}"))
    }

    /// The same project as a further provider sees it.
    pub fn of_provider(&self, id: &str) -> Paths {
        Paths { provider: Some(id.to_owned()), ..self.clone() }
    }

    /// Where the provider's own files are.
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

    /// The directories that tasks write into.
    pub fn written(&self) -> [PathBuf; 4] {
        let state = self.state().parent().map(Path::to_path_buf).unwrap_or_default();
        [self.root.join("docker"), state, self.machine_classes(), self.clusters()]
    }

    /// Who holds the lock of this checkout.
    pub fn checkout_note(&self) -> PathBuf {
        let mut hasher = std::hash::DefaultHasher::new();
        self.root().hash(&mut hasher);
        self.host_lock().with_file_name(format!("checkout-{:016x}", hasher.finish()))
    }

    /// There while a restore is not complete.
    pub fn restoring(&self) -> PathBuf {
        self.checkout_note().with_extension("restoring")
    }

    /// What was taken over from an Omni of other compose files, and how far that is.
    pub fn adopting(&self) -> PathBuf {
        self.checkout_note().with_extension("adopted")
    }

    /// How long the steps of a machine took at this site.
    pub fn step_times(&self) -> PathBuf {
        self.checkout_note().with_extension("times")
    }

    /// The same where one of them is a socket, whose path has at most 107 bytes.
    pub fn socket_root(&self) -> PathBuf {
        const LONGEST: usize = 70;
        let dir = self.scratch_root();
        if dir.as_os_str().len() > LONGEST { temporary().join("tmp") } else { dir }
    }

    /// The same project with another directory of its user's.
    #[cfg(test)]
    pub fn with_host(self, host: PathBuf) -> Paths {
        Paths { host, ..self }
    }

    /// A directory in `target` for a lab of this process.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.target().join(format!("{name}-{}", std::process::id()))
    }

    /// The directory of the lab; for the lab's own project, the one that it is in.
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

/// A function for each path that is always at the same place below the project's root or the host's directory.
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
    /// The key that Omni's store is encrypted with.
    store_key: root "docker/omni.asc";
    /// The directories of further providers.
    providers: root "docker/providers";
    /// Omni's own settings of this site.
    site: root "docker/site.yaml";
    /// Files that the site's settings name.
    site_files: root "docker/site";
    config_example: root "docker/config.yaml.example";
    state: root ".claude/omni-scale.local.md";
    machine_classes: root "machine-classes";
    clusters: root "clusters";
    /// Locked by a task that changes Docker or Omni: checkouts share them.
    host_lock: host "lock";
    /// Every program that a task called.
    journal: host "journal.jsonl";
    /// Where backups go when no other place is named.
    backups: host "backups";
    /// Where files lie that are needed for a moment.
    scratch_root: host "tmp";
    target: root "target";
}

/// `path` as a word that can be pasted in the shell that the task was started from: relative to the working directory if it is
/// inside, `.` for the working directory itself.
pub fn pasted(path: &Path) -> String {
    if is_stream(path) {
        return "FILE".to_owned();
    }
    let here = std::env::current_dir().unwrap_or_default();
    let shown = path.strip_prefix(&here).unwrap_or(path);
    crate::proc::quote(&if shown == Path::new("") { Path::new(".") } else { shown }.to_string_lossy())
}

/// Whether it names what can be read once only: standard input, or a pipe of the shell.
pub fn is_stream(path: &Path) -> bool {
    path == Path::new("-") || path == Path::new("/dev/stdin") || path.starts_with("/dev/fd")
}
