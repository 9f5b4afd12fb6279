//! The output of a task for people, pipes and JSON readers.
//!
//! stdout is for data, stderr for messages: one line for each finished step, and on a terminal a spinner while it runs. With
//! `--json`, stdout is exactly one document with the same steps, and stderr repeats them only on a terminal. All output passes
//! through [`shown`], which redacts secrets and escapes control characters from programs, services and files.

mod bar;
mod json;
mod plain;
mod prompt;
mod rows;
mod table;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use console::{Term, style, truncate_str};
use indicatif::{ProgressBar, ProgressStyle};
use regex::{Captures, Regex};
use serde::Serialize;
use serde_json::Value;

use crate::called::with_program_name;
use crate::parallel::{Job, run_all};
use crate::proc;
use domain::failure::{Code, Failure};
use domain::secret::redact;

pub use bar::bar;
pub use json::{MAX_DOCUMENT_BYTES, document};
pub use plain::{plain, shown};
pub use prompt::Prompter;
pub use rows::Row;
pub use table::table;

/// The result status of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Ok,
    Changed,
    Skipped,
    Warning,
    Failed,
    Planned,
}

/// One step of a task, as reported.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    pub id: String,
    pub title: String,
    pub status: Status,
    pub detail: String,
    pub elapsed_ms: u64,
}

impl Step {
    fn line(&self) -> String {
        let word = match self.status {
            Status::Ok => style("ok").green(),
            Status::Changed => style("changed").cyan(),
            Status::Skipped => style("skipped").dim(),
            Status::Warning => style("warning").yellow(),
            Status::Failed => style("FAILED").red().bold(),
            Status::Planned => style("planned").magenta(),
        }
        .for_stderr();
        let time = if self.elapsed_ms > 0 { format!(" ({})", millis(self.elapsed_ms)) } else { String::new() };
        // A failure's cause may have many lines; the error at the end shows them all.
        let detail = plain(self.detail.lines().next().unwrap_or_default());
        let sep = if detail.is_empty() { "" } else { ": " };
        // A name from outside may contain a line break, and must not start a line that looks like a step.
        format!("  {word:<8} {}{sep}{detail}{time}", plain(&self.title).replace('\n', " "))
    }
}

/// The result of a step: its value, and how to report it.
pub struct StepResult<T> {
    pub value: T,
    pub status: Status,
    pub detail: String,
}

impl<T> StepResult<T> {
    /// The check passed.
    pub fn ok(value: T, detail: impl Into<String>) -> StepResult<T> {
        StepResult { value, status: Status::Ok, detail: detail.into() }
    }

    /// The step changed something.
    pub fn changed(value: T, detail: impl Into<String>) -> StepResult<T> {
        StepResult { value, status: Status::Changed, detail: detail.into() }
    }

    /// The step was not needed, or was not possible and is optional.
    pub fn skipped(value: T, detail: impl Into<String>) -> StepResult<T> {
        StepResult { value, status: Status::Skipped, detail: detail.into() }
    }

    /// The check passed with a warning.
    pub fn warning(value: T, detail: impl Into<String>) -> StepResult<T> {
        StepResult { value, status: Status::Warning, detail: detail.into() }
    }
}

/// A check that can run in parallel with others.
pub struct Check<'a, T> {
    pub id: &'static str,
    pub title: String,
    #[allow(clippy::type_complexity)]
    pub run: Box<dyn FnOnce() -> anyhow::Result<StepResult<T>> + Send + 'a>,
}

impl<'a, T> Check<'a, T> {
    pub fn new(
        id: &'static str,
        title: impl Into<String>,
        run: impl FnOnce() -> anyhow::Result<StepResult<T>> + Send + 'a,
    ) -> Check<'a, T> {
        Check { id, title: title.into(), run: Box::new(run) }
    }
}

/// The width of the spinner and the time next to the message.
const BESIDE_MESSAGE: usize = 20;
/// How many checks run at a time: each may be a process, and a list of clusters may be long.
const PARALLEL_CHECKS: usize = 8;

/// When to use colors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, strum::IntoStaticStr, strum::VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

/// The amount and format of the output.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    pub json: bool,
    pub quiet: bool,
    pub color: Color,
}

/// Writes lines to standard error, around the spinner if there is one.
#[derive(Clone, Default)]
pub struct MessageWriter {
    bar: Arc<Mutex<Option<ProgressBar>>>,
    /// A failed step and all later ones, held until it is known whether this failure ends the task. If so, only the final error
    /// states the reason.
    held: Arc<Mutex<Vec<Step>>>,
}

impl MessageWriter {
    /// Writes a message line with control characters escaped.
    pub fn say(&self, text: &str) {
        self.write(&shown(text));
    }

    /// Writes a line that contains our own colors, and otherwise only text from [`shown`].
    fn write(&self, line: &str) {
        self.release("");
        self.put(line);
    }

    /// Prints the held steps. The reason of a step that failed with `error` is left out, because `error` is printed next.
    fn release(&self, error: &str) {
        for mut step in std::mem::take(&mut *lock(&self.held)) {
            // The changes made before the failure are appended to the error later, so compare only its start.
            if step.status == Status::Failed && error.starts_with(&step.detail) {
                step.detail.clear();
            }
            self.put(&step.line());
        }
    }

    fn put(&self, line: &str) {
        let write = || {
            // Standard error may be closed or full; that must not stop a task.
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        };
        // `println` of a hidden bar would print nothing (indicatif 0.18): suspend it instead.
        match &*lock(&self.bar) {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

/// The reporter: collects the steps of one task and shows each when it ends.
pub struct Ui {
    style: Style,
    terminal: bool,
    color: bool,
    steps: Mutex<Vec<Step>>,
    speaker: MessageWriter,
    /// Why writing to standard output failed.
    lost: Mutex<Option<String>>,
    /// The `--project-dir` of this call, which is added to the commands in its advice.
    project: Option<String>,
    /// Whether the JSON document is shortened to what an assistant can read.
    short: bool,
}

impl Ui {
    /// A reporter configured by the terminal, `NO_COLOR` and `TERM`.
    pub fn new(style: Style) -> Ui {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || dumb;
        let terminal = std::io::stderr().is_terminal() && !dumb;
        let color = match style.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !plain,
        };
        console::set_colors_enabled_stderr(color);
        let stdout_color = style.color == Color::Always || (color && std::io::stdout().is_terminal());
        console::set_colors_enabled(stdout_color);
        let (steps, lost) = (Mutex::default(), Mutex::default());
        Ui { style, terminal, color, steps, speaker: MessageWriter::default(), lost, project: None, short: false }
    }

    /// Sets the `--project-dir` that the task was started with.
    pub fn in_project(self, given: Option<&Path>) -> Ui {
        Ui { project: given.map(|dir| proc::quote_os(dir.as_os_str())), ..self }
    }

    /// Sets whether the JSON document is shortened, for a task that lists everything only on request.
    pub fn short(self, short: bool) -> Ui {
        Ui { short, ..self }
    }

    /// Adds the `--project-dir` of this call to every command for a task in `text`.
    pub fn advice(&self, text: &str) -> String {
        static COMMAND: LazyLock<Option<Regex>> =
            LazyLock::new(|| Regex::new(r"(?m)(^|`|next: |\| )(cargo xtask [a-z][^`\n]*?)( +#[^\n]*)?(`|$)").ok());
        let (Some(project), Some(command)) = (&self.project, COMMAND.as_ref()) else { return text.to_owned() };
        let located = command.replace_all(text, |found: &Captures<'_>| {
            let rest = |group| found.get(group).map_or("", |part| part.as_str());
            match &found[2] {
                call if call.contains("--project-dir") => found[0].to_owned(),
                call => format!("{}{call} --project-dir {project}{}{}", &found[1], rest(3), rest(4)),
            }
        });
        located.into_owned()
    }

    /// A writer that shows lines like [`Ui::say`], but also with `--quiet`: for `--verbose`.
    pub fn message_writer(&self) -> MessageWriter {
        self.speaker.clone()
    }

    pub fn json(&self) -> bool {
        self.style.json
    }

    /// Runs one step and reports it. Returns the value of a step that succeeds; a failure is recorded and returned.
    ///
    /// # Errors
    /// Returns the error of `work`.
    pub fn step<T>(
        &self,
        id: &str,
        title: impl Into<String>,
        work: impl FnOnce() -> anyhow::Result<StepResult<T>>,
    ) -> anyhow::Result<T> {
        let title = title.into();
        let begun = Instant::now();
        self.spin(Some(&title));
        let result = work();
        self.spin(None);
        self.record(id, title, begun.elapsed(), result)
    }

    /// Runs `work`, which is not a step, under the spinner.
    pub fn with_spinner<T>(&self, title: &str, work: impl FnOnce() -> T) -> T {
        self.spin(Some(title));
        let value = work();
        self.spin(None);
        value
    }

    /// Runs the checks in parallel, at most `PARALLEL_CHECKS` at a time, and reports them in the given order. All of them
    /// run, even after a failure.
    pub fn run_checks<T: Send>(&self, title: &str, checks: Vec<Check<'_, T>>) -> Vec<anyhow::Result<T>> {
        self.spin(Some(title));
        let timed = |Check { id, title, run }| -> Job<'_, _> {
            Box::new(move || {
                let begun = Instant::now();
                let result = run();
                (id, title, begun.elapsed(), result)
            })
        };
        let ran = run_all(checks.into_iter().map(timed).collect(), PARALLEL_CHECKS);
        self.spin(None);
        ran.into_iter().map(|(id, title, elapsed, result)| self.record(id, title, elapsed, result)).collect()
    }

    fn record<T>(
        &self,
        id: &str,
        title: String,
        elapsed: Duration,
        result: anyhow::Result<StepResult<T>>,
    ) -> anyhow::Result<T> {
        let (status, detail) = match &result {
            Ok(done) => (done.status, done.detail.clone()),
            Err(error) => (Status::Failed, Failure::of(error).to_string()),
        };
        self.push(Step { id: id.to_owned(), title, status, detail, elapsed_ms: elapsed.as_millis() as u64 });
        result.map(|done| done.value)
    }

    /// Reports a step that was only planned or decided, not timed.
    pub fn note(&self, id: &str, title: impl Into<String>, status: Status, detail: impl Into<String>) {
        self.push(Step { id: id.to_owned(), title: title.into(), status, detail: detail.into(), elapsed_ms: 0 });
    }

    fn push(&self, mut step: Step) {
        step.title = redact(&with_program_name(&step.title)).into_owned();
        step.detail = redact(&with_program_name(&step.detail)).into_owned();
        if self.prints_messages() {
            let mut held = lock(&self.speaker.held);
            if step.status == Status::Failed || !held.is_empty() {
                held.push(step.clone());
            } else {
                self.speaker.put(&step.line());
            }
        }
        lock(&self.steps).push(step);
    }

    /// Whether messages are printed: with `--json`, which repeats them, only if stderr is a terminal.
    fn prints_messages(&self) -> bool {
        !self.style.quiet && (!self.style.json || self.terminal)
    }

    /// Prints a message to stderr.
    pub fn say(&self, text: &str) {
        if self.prints_messages() {
            self.speaker.say(text);
        }
    }

    /// Prints a message even with `--quiet`, such as the subject of a prompt.
    pub fn show(&self, text: &str) {
        self.speaker.say(text);
    }

    /// Prints what a step destroys, in a way that cannot be overlooked.
    pub fn show_destroyed(&self, text: &str) {
        let text = shown(text);
        self.speaker.write(&format!("  {} {text}", style("destroys").for_stderr().red().bold()));
    }

    /// Returns true if messages of [`Ui::say`] are shown.
    pub fn shows_messages(&self) -> bool {
        !self.style.quiet && !self.style.json
    }

    /// Shows what a long step is waiting for: as the spinner's message on a terminal, otherwise as a line.
    pub fn show_waiting(&self, text: &str) {
        let bar = lock(&self.speaker.bar);
        match &*bar {
            // Limited to one line if it is the summary of the rows below.
            Some(bar) if !bar.prefix().is_empty() => {
                let width = usize::from(Term::stderr().size().1).saturating_sub(BESIDE_MESSAGE);
                bar.set_message(truncate_str(&shown(text).replace('\n', " "), width, "…").into_owned());
            }
            Some(bar) => bar.set_message(shown(text)),
            None if self.style.quiet => {}
            None => {
                drop(bar);
                self.speaker.say(&format!("           {text}"));
            }
        }
    }

    /// Shows what a long step is waiting for, one row per line below the spinner, as far as the terminal has room. Without a
    /// spinner, does nothing.
    pub fn show_rows(&self, rows: &[Row]) {
        let Some(bar) = &*lock(&self.speaker.bar) else { return };
        let (height, width) = Term::stderr().size();
        let lines = rows::fit_rows(rows, usize::from(height).saturating_sub(2), usize::from(width).saturating_sub(1));
        let paint = |line: &String| format!("\n{}", if self.color { table::paint(line) } else { line.clone() });
        bar.set_prefix(lines.iter().map(paint).collect::<String>());
    }

    /// Whether output is redrawn in place: stdout and stderr are both terminals, presumably the same one.
    pub fn is_live(&self) -> bool {
        self.terminal && self.shows_messages() && std::io::stdout().is_terminal()
    }

    fn spin(&self, title: Option<&str>) {
        if title.is_some() {
            self.speaker.release("");
        }
        let mut bar = lock(&self.speaker.bar);
        if let Some(old) = bar.take() {
            old.finish_and_clear();
        }
        let Some(title) = title.filter(|_| self.terminal && !self.style.quiet) else { return };
        let new = ProgressBar::new_spinner().with_message(shown(title));
        let template = if self.color {
            "  {spinner:.cyan}        {msg} {elapsed:.dim}{prefix}"
        } else {
            "  {spinner}        {msg} {elapsed}{prefix}"
        };
        if let Ok(template) = ProgressStyle::with_template(template) {
            new.set_style(template);
        }
        // indicatif panics if it cannot start its thread; a static spinner is good enough.
        if std::thread::Builder::new().spawn(|| ()).is_ok() {
            new.enable_steady_tick(Duration::from_millis(100));
        }
        *bar = Some(new);
    }

    /// Prints data to stdout, unless stdout is reserved for the JSON document.
    pub fn print_data(&self, text: &str) {
        if !self.style.json {
            self.print(&shown(text.trim_end_matches('\n')));
        }
    }

    /// Like [`Ui::print_data`], for tables and trees, whose states are colored.
    pub fn print_states(&self, text: &str) {
        if !self.style.json {
            self.print(&table::colored(&shown(text.trim_end_matches('\n'))));
        }
    }

    fn print(&self, text: &str) {
        self.speaker.release("");
        let mut stdout = std::io::stdout().lock();
        match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
            // A closed pipe (`| head`) is the reader's choice, not an error of the task.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                lock(&self.lost).get_or_insert(error.to_string());
            }
            _ => {}
        }
    }

    /// The failure of a task that could not write its data to standard output, usually because of a full disk.
    pub fn output_failure(&self) -> Option<Failure> {
        let why = lock(&self.lost).clone()?;
        Some(
            Failure::new(Code::Failed, "standard output could not be written")
                .cause(why)
                .hint("the task itself is complete; check where its output is written (a full disk?), then run a read-only task to see the result"),
        )
    }

    /// The steps so far.
    pub fn steps(&self) -> Vec<Step> {
        lock(&self.steps).clone()
    }

    /// Prints the summary and the next steps of a task that succeeded.
    pub fn close(&self, summary: &str, next: &[String]) {
        self.speaker.say(summary);
        if !self.style.quiet {
            for command in next {
                self.speaker.write(&format!("  {} {}", next_label(), shown(&self.advice(command))));
            }
        }
    }

    /// Prints the error of a task that failed.
    pub fn fail(&self, failure: &Failure) {
        self.speaker.release(&redact(&with_program_name(&failure.to_string())));
        let mut text = shown(&failure.message);
        for (label, words) in [("cause", &failure.cause), ("hint", &failure.hint)] {
            if !words.is_empty() {
                text.push_str(&format!("\n{label:>7}: {}", shown(&self.advice(words)).replace('\n', "\n         ")));
            }
        }
        for command in &failure.next {
            text.push_str(&format!("\n   {} {}", next_label(), shown(&self.advice(command))));
        }
        self.speaker.write(&format!("{} {text}", style("error:").for_stderr().red().bold()));
    }

    /// Prints the JSON document.
    pub fn print_document(&self, mut document: Value) {
        redact_strings(&mut document);
        if self.short {
            json::shorten(&mut document);
        }
        self.print(&plain::escaped(&document.to_string()));
    }
}

/// Redacts secrets in the strings of `value`, and puts the name of this program into their commands. This happens before
/// serialization, because a secret that contains a quote changes when it is escaped.
fn redact_strings(value: &mut Value) {
    match value {
        Value::String(text) => *text = redact(&with_program_name(text)).into_owned(),
        Value::Array(items) => items.iter_mut().for_each(redact_strings),
        Value::Object(fields) => fields.values_mut().for_each(redact_strings),
        _ => {}
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The label before a next command.
fn next_label() -> console::StyledObject<&'static str> {
    style("next:").for_stderr().cyan()
}

/// A duration for people: `87 ms`, `4.2 s`, `3 min 5 s`.
pub fn millis(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}
