//! Questions, asked on a terminal only. Off it a question is an error that names the flag and the variable.

use std::io::{IsTerminal, Write};
use std::sync::mpsc;
use std::time::Duration;

use console::Term;

use crate::proc;
use model::failure::{Code, Failure, Missing};
use model::secret::Secret;

/// Asks, or says what is missing.
#[derive(Debug, Clone, Copy)]
pub struct Prompter {
    interactive: bool,
    yes: bool,
}

impl Prompter {
    /// `interactive` as wanted, and only if both standard input and standard error are terminals.
    pub fn new(interactive: bool, yes: bool) -> Prompter {
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        Prompter { interactive: interactive && terminal, yes }
    }

    /// Whether a person can be asked.
    pub fn interactive(self) -> bool {
        self.interactive
    }

    /// The answer to a question, or its default on an empty answer.
    ///
    /// # Errors
    /// [`Code::MissingInput`] when nobody can be asked; [`Code::Interrupted`] at the end of input.
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

    /// A yes or no about something optional; `default` off a terminal.
    ///
    /// # Errors
    /// [`Code::Interrupted`] at the end of input.
    pub fn confirm(self, question: &str, default: bool) -> Result<bool, Failure> {
        if !self.interactive {
            return Ok(default);
        }
        let shown = if default { "Y/n" } else { "y/N" };
        let answer = read_line(&format!("  {question} [{shown}]: "))?;
        Ok(match answer.trim().to_ascii_lowercase().as_str() {
            "" => default,
            answer => answer.starts_with('y'),
        })
    }

    /// Consent to a change: `--yes`, or a yes on a terminal.
    ///
    /// # Errors
    /// [`Code::MissingInput`] off a terminal without `--yes`; [`Code::Interrupted`] when the answer is no.
    pub fn consent(self, what: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !self.interactive {
            return Err(needs_yes(what));
        }
        if self.confirm(&format!("{what}?"), false)? { Ok(()) } else { Err(declined(what)) }
    }

    /// Consent to destroying something: `--yes`, or its name typed on a terminal.
    ///
    /// # Errors
    /// As [`Prompter::consent`].
    pub fn consent_to_destroy(self, what: &str, name: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !self.interactive {
            return Err(needs_yes(what));
        }
        let answer = read_line(&format!("  {what}: type `{name}` to go on: "))?;
        if answer.trim() == name { Ok(()) } else { Err(declined(what)) }
    }
}

fn needs_yes(what: &str) -> Failure {
    let missing = Missing { name: "consent".into(), flag: Some("--yes".into()), env: None, secret: false };
    Failure::missing(vec![missing])
        .cause(format!("{what}: off a terminal every change needs --yes; nothing was changed"))
        .hint("look at the plan with --dry-run, then repeat the command with --yes")
}

fn declined(what: &str) -> Failure {
    Failure::new(Code::Interrupted, format!("{what}: not confirmed")).cause("the answer was no; nothing was changed")
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
