//! Answers to prompts. Each is checked immediately, and a rejected one is prompted for again with the reason. Accepted answers
//! are kept in a private file until the task is done: if the task fails, the next run offers them as defaults.

use std::cell::RefCell;
use std::path::PathBuf;

use crate::cx::Cx;
use crate::files;
use domain::failure::{Failure, MissingValue};
use domain::secret::hide;
use domain::spec::env::EnvFile;

/// The answers of one task.
pub struct Answers<'a> {
    cx: &'a Cx,
    path: PathBuf,
    saved: RefCell<EnvFile>,
}

impl<'a> Answers<'a> {
    /// The answers that an earlier run of this task has left; empty if they cannot be read.
    pub fn load(cx: &'a Cx) -> Answers<'a> {
        let path = cx.paths.answers(cx.task);
        let kept = EnvFile::parse(&cx.paths.show(&path), &files::read_text_or_empty(&path)).unwrap_or_default();
        Answers { cx, path, saved: RefCell::new(kept) }
    }

    /// Prompts until `check` accepts the answer, and returns its result. An earlier answer is the default.
    ///
    /// # Errors
    /// Fails like [`crate::ui::Prompter::ask`].
    pub fn ask<T>(
        &self,
        key: &str,
        question: &str,
        default: Option<&str>,
        missing: MissingValue,
        check: impl Fn(&str) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let earlier = self.saved.borrow().get(key).map(str::to_owned).filter(|answer| check(answer).is_ok());
        if missing.secret {
            earlier.iter().for_each(|answer| hide(answer));
        }
        let (answer, value) = self.cx.ask.ask(question, earlier.as_deref().or(default), missing, check)?;
        self.save_answer(key, &answer);
        Ok(value)
    }

    /// Saves an answer. If that fails, the answer is still used in this run.
    fn save_answer(&self, key: &str, answer: &str) {
        if self.cx.dry_run {
            return;
        }
        self.saved.borrow_mut().set(key, answer);
        let _ = files::write_atomically(&self.path, self.saved.borrow().text().as_bytes(), files::PRIVATE);
    }
}

/// Removes the saved answers of a task that is done.
pub fn forget(cx: &Cx) {
    if !cx.dry_run {
        let _ = std::fs::remove_file(cx.paths.answers(cx.task));
    }
}
