//! Prompts, on a terminal only. Without a terminal, a prompt is an error that names the flag and the variable.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::shown;
use crate::proc;
use domain::failure::{Failure, MissingValue};
use domain::secret::{hide, redact};

/// Prompts for values, or reports them as missing.
#[derive(Debug, Clone, Copy)]
pub struct Prompter {
    interactive: bool,
    yes: bool,
}

impl Prompter {
    /// Prompts only if `can_prompt` is true and both standard input and standard error are terminals. With `--yes`, the task
    /// never prompts.
    pub fn new(interactive: bool, yes: bool) -> Prompter {
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        Prompter { interactive: interactive && terminal && !yes, yes }
    }

    /// Returns true if the operator gave `--yes`.
    pub fn yes(self) -> bool {
        self.yes
    }

    /// Returns true if it can prompt.
    pub fn can_prompt(self) -> bool {
        self.interactive
    }

    /// Prompts until `check` accepts the answer; a rejected answer is shown with the reason. An empty answer means the default.
    /// A secret is typed without echo. Returns the answer and the result of `check`.
    ///
    /// # Errors
    /// `Code::MissingInput` if it cannot prompt; `Code::Interrupted` at the end of input.
    pub fn ask<T>(
        self,
        question: &str,
        default: Option<&str>,
        missing: MissingValue,
        check: impl Fn(&str) -> Result<T, Failure>,
    ) -> Result<(String, T), Failure> {
        if !self.interactive {
            return Err(Failure::missing(vec![missing]));
        }
        let note = match default {
            Some(_) if missing.secret => " (not shown; press Enter to keep the earlier answer)".to_owned(),
            None if missing.secret => " (not shown)".to_owned(),
            Some(default) => format!(" [{default}]"),
            None => String::new(),
        };
        loop {
            let hidden = missing.secret.then(HiddenInput::new);
            let answer = read_line(&format!("  {question}{note}: "));
            if hidden.is_some() {
                // The line break that was typed was not echoed either.
                let _ = writeln!(std::io::stderr().lock());
            }
            drop(hidden);
            let answer = answer?;
            let Some(answer) = Some(answer.trim()).filter(|answer| !answer.is_empty()).or(default) else { continue };
            if missing.secret {
                hide(answer);
            }
            match check(answer) {
                Ok(value) => return Ok((answer.to_owned(), value)),
                Err(failure) => refuse(&failure),
            }
        }
    }

    /// Prompts for yes or no; returns `default` for an empty answer and without a terminal. Only `y` and `yes` mean yes.
    ///
    /// # Errors
    /// `Code::Interrupted` at the end of input.
    pub fn confirm(self, question: &str, default: bool) -> Result<bool, Failure> {
        if !self.interactive {
            return Ok(default);
        }
        let shown = if default { "Y/n" } else { "y/N" };
        let answer = read_line(&format!("  {question} [{shown}]: "))?;
        Ok(is_yes(&answer).unwrap_or(default))
    }

    /// Returns true if the user types exactly `expected`; always false without a terminal.
    ///
    /// # Errors
    /// `Code::Interrupted` at the end of input.
    pub fn confirm_by_typing(self, question: &str, expected: &str) -> Result<bool, Failure> {
        Ok(self.interactive && read_line(&format!("  {question}: "))?.trim() == expected)
    }
}

/// Whether an answer is yes: only `y` and `yes` are, in upper or lower case. `None` for an empty answer.
fn is_yes(answer: &str) -> Option<bool> {
    match answer.trim().to_ascii_lowercase().as_str() {
        "" => None,
        answer => Some(matches!(answer, "y" | "yes")),
    }
}

/// Shows why an answer was rejected, before the prompt is repeated.
fn refuse(failure: &Failure) {
    let hint = if failure.hint.is_empty() { String::new() } else { format!("; {}", failure.hint) };
    let line = redact(&format!("{failure}{hint}")).replace('\n', " ");
    let _ = writeln!(std::io::stderr().lock(), "    {}", shown(&line));
}

/// The terminal with echo turned off, until drop.
struct HiddenInput(Option<Termios>);

impl HiddenInput {
    fn new() -> HiddenInput {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).ok();
        if let Some(mut modes) = before.clone() {
            modes.local_modes.remove(LocalModes::ECHO);
            let _ = tcsetattr(&stdin, OptionalActions::Drain, &modes);
        }
        HiddenInput(before)
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, before);
        }
    }
}

/// Prompts with `question` and reads a line. A blocking read is restarted after a signal, so it starts only when there is a
/// line, and Ctrl-C ends a prompt immediately.
fn read_line(question: &str) -> Result<String, Failure> {
    let _ = write!(std::io::stderr().lock(), "{}", shown(question));
    let stdin = std::io::stdin();
    while !proc::is_interrupted() {
        if !proc::is_readable(&stdin, Duration::from_millis(250)) {
            continue;
        }
        let mut answer = String::new();
        match stdin.read_line(&mut answer) {
            Ok(count) if count > 0 && !proc::is_interrupted() => return Ok(answer),
            _ => break,
        }
    }
    // The cursor is still behind the question.
    let _ = writeln!(std::io::stderr().lock());
    Err(proc::interruption("asking"))
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
