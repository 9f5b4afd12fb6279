//! The context of a task: the project, its settings, and how to prompt, report and run programs.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::io::Errno;

use crate::files;
use crate::paths::Paths;
use crate::proc::Proc;
use crate::settings::{Settings, further_providers};
use crate::state::State;
use crate::ui::{Prompter, Ui};
use crate::wait::{self, Poll};
use domain::clock;
use domain::failure::{Code, Failure};

/// Everything that a task may use. Parallel checks share it.
#[derive(Clone)]
pub struct Cx {
    pub task: &'static str,
    pub paths: Paths,
    pub settings: Settings,
    pub ui: Arc<Ui>,
    pub ask: Prompter,
    pub proc: Proc,
    /// Show the plan, but change nothing.
    pub dry_run: bool,
    /// The clusters whose machines may be destroyed without typing the name.
    pub allow_destroy: Vec<String>,
    /// The operator's limit for waits, if given.
    pub timeout: Option<Duration>,
    /// The operator accepts that the login to Proxmox is sent unencrypted.
    pub insecure_http: bool,
}

/// The locks of a task that makes changes, released on drop or when the process ends.
pub struct Lock {
    _held: Vec<File>,
}

/// How long to wait for a lock: a read-only task holds the checkout's lock only briefly, while it saves its findings.
const PATIENCE: Duration = Duration::from_millis(300);

impl Cx {
    /// Takes the locks that only one task at a time may hold while it makes changes: that of this user on this host, because
    /// checkouts share Docker and Omni, and that of the checkout. A dry run changes nothing and takes no lock.
    ///
    /// # Errors
    /// [`Code::Conflict`] with the task and the pid that hold the lock.
    pub fn lock(&self) -> Result<Lock, Failure> {
        if self.dry_run {
            return Ok(Lock { _held: Vec::new() });
        }
        let mut lock = self.lock_checkout()?;
        let path = self.paths.host_lock();
        let failed = |error: std::io::Error| files::io_failure("lock", &path, &error);
        path.parent().map_or(Ok(()), files::create_private_dir).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(files::PRIVATE);
        let mut host = files::open_file(&path, &mut options).map_err(failed)?;
        if !lock_file_within(&host, PATIENCE).map_err(failed)? {
            return Err(self.lock_conflict(&path));
        }
        // Names the holder for a task that finds the lock taken; the lock itself is held by the kernel.
        host.set_len(0).and_then(|()| host.write_all(self.lock_holder().as_bytes())).map_err(failed)?;
        lock._held.push(host);
        Ok(lock)
    }

    /// Takes only the checkout's lock, for a task that changes only the checkout's files.
    ///
    /// # Errors
    /// Fails like [`Cx::lock`].
    pub fn lock_checkout(&self) -> Result<Lock, Failure> {
        let lock = self.lock_within(PATIENCE)?;
        let path = self.paths.checkout_lock_holder();
        if !self.dry_run && path.parent().is_some_and(|dir| files::create_private_dir(dir).is_ok()) {
            // Without the note, another task can report that the lock is held, but not by whom.
            let _ = files::write_atomically(&path, self.lock_holder().as_bytes(), files::PRIVATE);
        }
        Ok(lock)
    }

    /// The holder of a lock: task, pid and checkout.
    fn lock_holder(&self) -> String {
        format!("{} {} {}", self.task, std::process::id(), self.paths.root().display())
    }

    /// Like [`Cx::lock_checkout`], but without waiting, for a read-only task that saves its findings.
    ///
    /// # Errors
    /// Fails like [`Cx::lock`].
    pub fn try_lock_checkout(&self) -> Result<Lock, Failure> {
        self.lock_within(Duration::ZERO)
    }

    /// Locks the checkout by its directory, which every user of the checkout sees and no cleanup removes.
    fn lock_within(&self, patience: Duration) -> Result<Lock, Failure> {
        if self.dry_run {
            return Ok(Lock { _held: Vec::new() });
        }
        let root = self.paths.root();
        let failed = |error: std::io::Error| files::io_failure("lock", root, &error);
        let checkout = File::open(root).map_err(failed)?;
        match lock_file_within(&checkout, patience) {
            Ok(false) => return Err(self.lock_conflict(&self.paths.checkout_lock_holder())),
            // NFS cannot lock a directory; the host's lock is still held.
            Err(error) if Errno::from_io_error(&error) != Some(Errno::BADF) => return Err(failed(error)),
            _ => {}
        }
        self.paths.written_dirs().iter().for_each(|dir| files::remove_stale_temp_files(dir));
        Ok(Lock { _held: vec![checkout] })
    }

    /// The failure for a lock held by another task, which the file `note` names.
    fn lock_conflict(&self, note: &Path) -> Failure {
        let text = files::read_up_to(note, 4096).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let text = text.unwrap_or_default();
        let mut words = text.splitn(3, ' ');
        let message = match (words.next(), words.next(), words.next()) {
            (Some(task), Some(pid), Some(root)) if Path::new(root) != self.paths.root() => {
                format!("`{task}` (pid {pid}) in `{root}` is changing Docker or Omni")
            }
            (Some(task), Some(pid), Some(_)) => format!("`{task}` (pid {pid}) is changing this project"),
            _ => "another task is changing this project".to_owned(),
        };
        Failure::new(Code::Conflict, message)
            .cause("two tasks at the same time would overwrite each other's changes")
            .hint("wait until it ends, or stop it, then run this again")
    }

    /// Checks before the first change that all of these files can be written later. A dry run writes nothing.
    ///
    /// # Errors
    /// Fails like [`files::check_writable`].
    pub fn check_writable(&self, paths: &[PathBuf]) -> Result<(), Failure> {
        if self.dry_run {
            return Ok(());
        }
        paths.iter().try_for_each(|path| files::check_writable(path))
    }

    /// Loads the current state from disk, for a task that has verified its changes and records them.
    ///
    /// # Errors
    /// Fails like [`State::load`].
    pub fn reload_state(&self) -> Result<State, Failure> {
        State::load(&self.paths.state(), &self.paths.show(&self.paths.state()))
    }

    /// Updates the sections of `state` for people, and saves it.
    ///
    /// # Errors
    /// Fails like [`State::save`]; with [`Code::Interrupted`] after an interrupted read, because the state would be incomplete.
    pub fn save_state(&self, mut state: State) -> Result<(), Failure> {
        if self.dry_run {
            return Ok(());
        }
        if let Some(cut) = crate::proc::first_interruption() {
            return Err(cut);
        }
        let (status, next) = crate::summary::sections(&state);
        state.set_section("Current Status", &status);
        state.set_section("Next Steps", &next);
        state.save(&self.paths.state())
    }

    /// The time that ages are computed from, in seconds since 1970: now, or when the bundle was created if one is being read.
    pub fn now(&self) -> u64 {
        let recorded = self.settings.recorded.as_ref().map(|recorded| recorded.made_at());
        recorded.unwrap_or_else(|| clock::unix_seconds(SystemTime::now()))
    }

    /// The limit of a wait: the operator's `--timeout`, or `default`.
    pub fn wait_limit(&self, default: Duration) -> Duration {
        self.timeout.unwrap_or(default)
    }

    /// Waits until `look` is done, at most [`Cx::wait_limit`], and shows what is missing meanwhile.
    ///
    /// # Errors
    /// Fails like [`wait::until`].
    pub fn wait<T>(
        &self,
        what: &str,
        default: Duration,
        look: impl FnMut() -> anyhow::Result<Poll<T>>,
    ) -> anyhow::Result<T> {
        wait::until(what, self.wait_limit(default), |words| self.ui.show_waiting(words), look)
    }

    /// The IDs of the selected providers: the named one, or else all.
    pub fn provider_ids(&self) -> Vec<String> {
        let first = self.settings.provider_id(None).value;
        let further = match self.settings.is_single_provider {
            true => Vec::new(),
            false => further_providers(&self.paths, &self.settings.env_file),
        };
        std::iter::once(first).chain(further).collect()
    }

    /// The provider's ID if the project has several, each with its own Proxmox, where node names and IDs may coincide.
    pub fn site(&self) -> Option<String> {
        let several = !further_providers(&self.paths, &self.settings.env_file).is_empty();
        several.then(|| self.settings.provider_id(None).value)
    }

    /// A context for each selected provider.
    ///
    /// # Errors
    /// Fails like [`Cx::for_provider`].
    pub fn providers(&self) -> Result<Vec<Cx>, Failure> {
        self.provider_ids().iter().map(|id| self.for_provider(id)).collect()
    }

    /// The context of one provider: the first, whose files are in `docker`, or a further one, which has its own directory.
    ///
    /// # Errors
    /// Fails like [`Settings::for_provider`].
    pub fn for_provider(&self, id: &str) -> Result<Cx, Failure> {
        let mut cx = self.clone();
        cx.settings.is_single_provider = true;
        if self.settings.provider_id(None).value != id {
            cx.paths = self.paths.for_provider(id);
            cx.settings = self.settings.for_provider(&cx.paths, id)?;
        }
        Ok(cx)
    }

    /// The context of the only selected provider, for a task that works on one.
    ///
    /// # Errors
    /// [`Code::Usage`] with the IDs if there are several.
    pub fn for_single_provider(&self) -> Result<Cx, Failure> {
        match self.provider_ids().as_slice() {
            [id] => self.for_provider(id),
            ids => Err(Failure::new(Code::Usage, "there are several providers, but this task works on one")
                .cause(format!("the providers are {}", ids.join(", ")))
                .hint("specify one with --provider ID")),
        }
    }

    /// Reads a file of the project that must exist.
    ///
    /// # Errors
    /// [`Code::NotFound`] with `hint`, which says how to create it.
    pub fn read(&self, path: &std::path::Path, hint: &str) -> Result<Vec<u8>, Failure> {
        files::read_optional(path)?.ok_or_else(|| {
            Failure::new(Code::NotFound, format!("`{}` does not exist", self.paths.show(path))).hint(hint)
        })
    }

    /// A minimal context for unit tests of adapters.
    #[cfg(test)]
    pub fn for_tests(host: PathBuf) -> Cx {
        let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        Cx {
            task: "test",
            paths: Paths::find(Some(root), root).expect("the repository is a project").with_host(host),
            settings: Settings::default(),
            ui: Arc::new(Ui::new(crate::ui::Style { quiet: true, ..Default::default() })),
            ask: Prompter::new(false, false),
            proc: Proc::new(None, "test", None),
            dry_run: false,
            allow_destroy: Vec::new(),
            timeout: None,
            insecure_http: false,
        }
    }
}

/// Takes the lock on `file` within `patience`; false if another process keeps it.
fn lock_file_within(file: &File, patience: Duration) -> std::io::Result<bool> {
    let end = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}
