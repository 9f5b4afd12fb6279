//! Questions, asked on a terminal only. Off it a question is an error that names the flag and the variable.

use std::io::{IsTerminal, Write};
use std::sync::mpsc;
use std::time::Duration;

use console::Term;

use crate::proc;
use model::failure::{Failure, Missing};
use model::secret::Secret;

/// Asks, or says what is missing.
#[derive(Debug, Clone, Copy)]
pub struct Prompter {
    interactive: bool,
    yes: bool,
}

impl Prompter {
    /// `interactive` as wanted, and only if both standard input and standard error are terminals. `--yes` means that the
    /// task asks nothing at all.
    pub fn new(interactive: bool, yes: bool) -> Prompter {
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        Prompter { interactive: interactive && terminal && !yes, yes }
    }

    /// Whether the operator gave `--yes`.
    pub fn yes(self) -> bool {
        self.yes
    }

    /// Whether a person can be asked.
    pub fn interactive(self) -> bool {
        self.interactive
    }

    /// The answer to a question, or its default on an empty answer.
    ///
    /// # Errors
    /// [`Code::MissingInput`] when it cannot prompt; [`Code::Interrupted`] at the end of input.
    pub fn ask(self, question: &str, default: Option<&str>, missing: Missing) -> Result<String, Failure> {
        if !self.interactive {
            return Err(Failure::missing(vec![missing]));
        }
        let shown = default.map_or(String::new(), |default| format!(" [{default}]"));
        loop {
            let answer = read_line(&format!("  {question}{shown}: "))?;
            match (answer.trim(), default) {
                ("", Some(default)) => return Ok(default.to_owned()),
                ("", None) => {}
                (answer, _) => return Ok(answer.to_owned()),
            }
        }
    }

    /// A secret, typed without echo.
    ///
    /// # Errors
    /// As [`Prompter::ask`].
    pub fn ask_secret(self, question: &str, missing: Missing) -> Result<Secret, Failure> {
        if !self.interactive {
            return Err(Failure::missing(vec![missing]));
        }
        loop {
            let _ = write!(Term::stderr(), "  {question} (not shown): ");
            let answer = answered(|| Term::stderr().read_secure_line().ok()).inspect_err(|_| proc::show_typing())?;
            if !answer.trim().is_empty() {
                return Ok(Secret::new(answer.trim()));
            }
        }
    }

    /// A yes or no; `default` on an empty answer and off a terminal. Only `y` and `yes` mean yes.
    ///
    /// # Errors
    /// [`Code::Interrupted`] at the end of input.
    pub fn confirm(self, question: &str, default: bool) -> Result<bool, Failure> {
        if !self.interactive {
            return Ok(default);
        }
        let shown = if default { "Y/n" } else { "y/N" };
        let answer = read_line(&format!("  {question} [{shown}]: "))?;
        Ok(is_yes(&answer).unwrap_or(default))
    }

    /// Whether exactly `wanted` is typed; never off a terminal.
    ///
    /// # Errors
    /// [`Code::Interrupted`] at the end of input.
    pub fn typed(self, question: &str, wanted: &str) -> Result<bool, Failure> {
        Ok(self.interactive && read_line(&format!("  {question}: "))?.trim() == wanted)
    }
}

/// Only `y` and `yes` mean yes, in any case of letters; `None` for an empty answer.
fn is_yes(answer: &str) -> Option<bool> {
    match answer.trim().to_ascii_lowercase().as_str() {
        "" => None,
        answer => Some(matches!(answer, "y" | "yes")),
    }
}

fn read_line(question: &str) -> Result<String, Failure> {
    let _ = write!(std::io::stderr().lock(), "{question}");
    answered(|| {
        let mut answer = String::new();
        let count = std::io::stdin().read_line(&mut answer).ok()?;
        (count > 0).then_some(answer)
    })
}

/// Reads beside us, so that Ctrl-C ends a question at once: a read that waits is restarted after a signal.
fn answered(read: impl FnOnce() -> Option<String> + Send + 'static) -> Result<String, Failure> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(read()));
    loop {
        match receiver.recv_timeout(Duration::from_millis(25)) {
            Ok(Some(answer)) if !proc::interrupted() => return Ok(answer),
            Err(mpsc::RecvTimeoutError::Timeout) if !proc::interrupted() => {}
            _ => return Err(proc::interruption("asking")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_yes;

    #[test]
    fn only_y_and_yes_mean_yes() {
        for yes in ["y", "Y", "yes", "YES", " yes\n"] {
            assert_eq!(is_yes(yes), Some(true), "{yes:?}");
        }
        for no in ["n", "no", "yess", "yonder", "ye", "yes please", "ja", "1", "true"] {
            assert_eq!(is_yes(no), Some(false), "{no:?}");
        }
        assert_eq!(is_yes(" \n"), None);
    }
}
