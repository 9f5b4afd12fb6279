//! The context that every task gets: where the project is, what is configured, how to ask, report and run programs.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::files;
use crate::paths::Paths;
use crate::proc::Proc;
use crate::settings::Settings;
use crate::state::State;
use crate::ui::{Prompter, Ui};
use model::failure::{Code, Failure};

/// Everything that a task may use. Shared by side-by-side checks.
pub struct Cx {
    pub task: &'static str,
    pub paths: Paths,
    pub settings: Settings,
    pub ui: Ui,
    pub ask: Prompter,
    pub proc: Proc,
    /// Show the plan, change nothing.
    pub dry_run: bool,
    /// Whose machines may be destroyed without typing the name.
    pub allow_destroy: Vec<String>,
    /// How long waits may take, when the operator says so.
    pub timeout: Option<Duration>,
}

/// The lock of a changing task: held as long as the value lives, and by the kernel no longer than the process does.
pub struct Lock {
    _file: Option<File>,
}

impl Cx {
    /// Takes the lock that only one changing task may hold. A dry run changes nothing and takes none.
    ///
    /// # Errors
    /// [`Code::Conflict`] that names the task and the pid that hold it.
    pub fn lock(&self) -> Result<Lock, Failure> {
        self.lock_within(Duration::from_millis(300))
    }

    /// The same for a reading task that notes what it saw: it waits for nobody.
    ///
    /// # Errors
    /// As [`Cx::lock`].
    pub fn lock_now(&self) -> Result<Lock, Failure> {
        self.lock_within(Duration::ZERO)
    }

    fn lock_within(&self, patience: Duration) -> Result<Lock, Failure> {
        if self.dry_run {
            return Ok(Lock { _file: None });
        }
        let path = self.paths.lock();
        let failed = |error: std::io::Error| {
            Failure::new(Code::Failed, format!("cannot lock `{}`", self.paths.show(&path)))
                .hint(files::mend(&path, &error))
                .cause(error.to_string())
        };
        std::fs::create_dir_all(self.paths.target()).map_err(failed)?;
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = opened.map_err(failed)?;
        // A reading task holds it for the moment in which it notes what it saw: that is worth waiting for.
        let end = Instant::now() + patience;
        let mut taken = file.try_lock();
        while matches!(taken, Err(TryLockError::WouldBlock)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
            taken = file.try_lock();
        }
        match taken {
            Ok(()) => {
                // Told to the one who comes second; the lock itself is the kernel's.
                let note = format!("{} {}", self.task, std::process::id());
                file.set_len(0).and_then(|()| file.write_all(note.as_bytes())).map_err(failed)?;
                self.paths.written().iter().for_each(|dir| files::sweep(dir));
                Ok(Lock { _file: Some(file) })
            }
            Err(TryLockError::WouldBlock) => {
                let mut note = String::new();
                let _ = file.rewind().and_then(|()| file.read_to_string(&mut note));
                let (task, pid) = note.split_once(' ').unwrap_or(("another task", "?"));
                Err(Failure::new(Code::Conflict, format!("`{task}` (pid {pid}) is changing this project"))
                    .cause("two tasks at once would undo each other's work")
                    .hint("wait for it to end, or end it, then run this again"))
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Whether all of these can be written in the end, which is known before the first change. A dry run writes nothing.
    ///
    /// # Errors
    /// As [`files::check_writable`].
    pub fn writable(&self, paths: &[PathBuf]) -> Result<(), Failure> {
        if self.dry_run {
            return Ok(());
        }
        paths.iter().try_for_each(|path| files::check_writable(path))
    }

    /// The state as it is on disk now, to be changed and saved by a task that has proved its effect.
    ///
    /// # Errors
    /// As [`State::load`].
    pub fn fresh_state(&self) -> Result<State, Failure> {
        State::load(&self.paths.state(), &self.paths.show(&self.paths.state()))
    }

    /// Saves `state` with its sections for people brought up to date.
    ///
    /// # Errors
    /// As [`State::save`]; [`Code::Interrupted`] when a look was given up at Ctrl-C: what is kept would be a guess.
    pub fn save_state(&self, mut state: State) -> Result<(), Failure> {
        if self.dry_run {
            return Ok(());
        }
        if let Some(cut) = crate::proc::cut() {
            return Err(cut);
        }
        let (status, next) = crate::summary::sections(&state);
        state.section("Current Status", &status);
        state.section("Next Steps", &next);
        state.save(&self.paths.state())
    }

    /// How long a wait may take: the operator's `--timeout`, or `default`.
    pub fn limit(&self, default: Duration) -> Duration {
        self.timeout.unwrap_or(default)
    }

    /// Reads a file of the project that must be there.
    ///
    /// # Errors
    /// [`Code::NotFound`] with the way to make it.
    pub fn read(&self, path: &std::path::Path, hint: &str) -> Result<Vec<u8>, Failure> {
        files::read_if_there(path)?.ok_or_else(|| {
            Failure::new(Code::NotFound, format!("`{}` does not exist", self.paths.show(path))).hint(hint)
        })
    }

    /// A context of nothing: for unit tests of adapters.
    #[cfg(test)]
    pub fn for_tests() -> Cx {
        let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        Cx {
            task: "test",
            paths: Paths::find(Some(root), root).expect("the repository is a project"),
            settings: Settings::default(),
            ui: Ui::new(crate::ui::Style { quiet: true, ..Default::default() }),
            ask: Prompter::new(false, false),
            proc: Proc::new(None, "test", false),
            dry_run: false,
            allow_destroy: Vec::new(),
            timeout: None,
        }
    }
}
