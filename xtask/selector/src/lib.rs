//! Parses, type-checks and evaluates storage selectors: CEL expressions as the Proxmox provider runs them
//! (siderolabs/omni-infra-provider-proxmox 0d9fd58 provision.go:585 with google/cel-go v0.27.0).
//!
//! 1. Parse, with the standard macros; 2. check the types statically, so that a typo behind `||` is found although it would never
//!    run; 3. require that the result is a bool; 4. evaluate for each storage.
//!
//! The results match those of cel-go for `tests/truth.tsv`, including the wording except for errors in regular expressions. Not
//! covered: timestamps and durations beyond their types, rare regular expression syntax, hexadecimal doubles in text, an index by
//! null or bytes where nothing evaluates it, and protocol buffer messages (`google.protobuf.…{}`), which storage selectors have
//! no use for.

mod ast;
mod checker;
mod convert;
mod environment;
mod eval;
mod lexer;
mod literal;
mod macros;
mod parser;
mod pattern;
mod stdlib;
pub mod time;
mod types;
mod value;

use std::fmt;
use std::sync::LazyLock;

use environment::Environment;
use types::Type;
use value::Value;

/// The variables that are available in a selector.
const VARIABLES: [&str; 4] = ["name", "node", "storageType", "availableSpace"];

/// Maximum number of brackets that the stack of any thread can handle, and the stack size in bytes for expressions with more.
const SHALLOW: usize = 40;
const STACK: usize = 16 << 20;

/// A storage of a node as a selector sees it: an entry of `/nodes/{node}/storage` in the Proxmox API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Storage<'a> {
    pub name: &'a str,
    pub node: &'a str,
    /// The `type` in Proxmox: dir, lvmthin, zfspool, rbd, nfs, …
    pub storage_type: &'a str,
    /// The `avail` in Proxmox, in bytes; 0 for a storage that is disabled or not on this node.
    pub available_space: u64,
}

/// A position in the source: 1-based line and column, the column counted in characters as editors do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

impl Position {
    /// The first character, for errors about the whole expression.
    pub const START: Position = Position { line: 1, column: 1 };
}

/// An error whose position is not yet converted to line and column.
#[derive(Debug)]
struct Problem {
    /// Byte offset in the source; `None` if the whole expression exceeds a limit.
    at: Option<u32>,
    message: String,
}

/// Why an expression does not compile. `Display` prints the first line that cel-go would print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    /// 1-based line and column; the start of the expression if the error has no position.
    pub at: Position,
    /// cel-go's message without its position.
    pub message: String,
    /// A suggestion for what was probably meant, as a sentence.
    pub hint: Option<String>,
    /// The full first line that cel-go prints.
    pub line: String,
    /// The full text that cel-go prints: every error, each with its source line and a mark below the column.
    pub report: String,
    /// False if only this checker does not support the construct.
    pub certain: bool,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

/// Why an evaluation failed. `Display` prints cel-go's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalError {
    pub message: String,
    /// The source of the subexpression that failed.
    pub part: String,
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// A selector that compiles and returns a bool.
#[derive(Debug, Clone)]
pub struct Program {
    source: String,
    expr: ast::Expr,
}

impl Program {
    /// Returns true if the result depends on the storage.
    pub fn uses_storage(&self) -> bool {
        self.expr.mentions(&|name| VARIABLES.contains(&name.trim_start_matches('.')))
    }

    /// Returns true if the selector matches the storage.
    ///
    /// # Errors
    /// Returns cel-go's message and the subexpression that failed. One failing storage aborts the provider's whole selection.
    pub fn matches(&self, storage: &Storage<'_>) -> Result<bool, EvalError> {
        let mut machine = eval::Machine::new(*storage);
        let fail = |message: String, start: u32, end: u32| {
            let part = self.source.get(start as usize..end as usize).unwrap_or(&self.source);
            EvalError { message, part: part.to_owned() }
        };
        match machine.eval(&self.expr) {
            Ok(Value::Bool(b)) => Ok(b),
            Ok(_) => Err(fail("no such overload".to_owned(), 0, u32::MAX)),
            Err(e) => Err(fail(e.message, e.start, e.end)),
        }
    }

    /// Returns the smallest subexpression that explains why the storage does not match: the operand of `&&` that is false, or the
    /// branch of `?:` that was taken. Returns the whole expression if there is no such part.
    pub fn explain_mismatch(&self, storage: &Storage<'_>) -> String {
        let part = deciding_part(&self.expr, storage);
        self.source.get(part.start as usize..part.end as usize).unwrap_or(&self.source).to_owned()
    }
}

fn deciding_part<'e>(expr: &'e ast::Expr, storage: &Storage<'_>) -> &'e ast::Expr {
    let ast::Kind::Call(call) = &expr.kind else { return expr };
    let is =
        |e: &ast::Expr, wanted: bool| matches!(eval::Machine::new(*storage).eval(e), Ok(Value::Bool(b)) if b == wanted);
    match call.known.map(|k| k.name) {
        Some("_&&_") => call.args.iter().find(|a| is(a, false)).map_or(expr, |a| deciding_part(a, storage)),
        Some("_?_:_") if is(&call.args[0], true) => deciding_part(&call.args[1], storage),
        Some("_?_:_") if is(&call.args[0], false) => deciding_part(&call.args[2], storage),
        _ => expr,
    }
}

/// Returns the tokens of an expression with their byte ranges; `None` if it does not consist of tokens.
pub fn words(source: &str) -> Option<Vec<(&str, std::ops::Range<usize>)>> {
    let (tokens, bad) = lexer::lex(source);
    let word = |t: &lexer::Token| {
        let range = t.start as usize..t.end as usize;
        (&source[range.clone()], range)
    };
    bad.is_empty().then(|| tokens.iter().filter(|t| t.tok != lexer::Tok::Eof).map(word).collect())
}

/// Returns true if Go's unicode.IsLetter or unicode.IsDigit is true for the character.
pub fn is_letter_or_digit(c: char) -> bool {
    static CLASS: LazyLock<regex::Regex> = LazyLock::new(|| pattern::regex(r"\pL|\p{Nd}"));
    c.is_ascii_alphanumeric() || (!c.is_ascii() && CLASS.is_match(c.encode_utf8(&mut [0; 4])))
}

/// Returns true if an RE2 pattern matches anywhere in the text; `None` if the pattern cannot be parsed.
pub fn regex_matches(pattern: &str, text: &str) -> Option<bool> {
    Some(pattern::Pattern::new(pattern).ok()?.is_match(text))
}

/// Compiles a selector as the provider does.
///
/// # Errors
/// Returns the first error by position, as cel-go prints it.
pub fn compile(source: &str) -> Result<Program, CompileError> {
    with_large_stack(source, || compile_program(source))
}

/// Checks an expression as Talos 1.`minor` does for a `disk`, a `volume`, a `link`, `oom-trigger` or `oom-ranking`.
///
/// # Errors
/// Returns the first error by position, as cel-go prints it. Constructs that this checker does not support are not errors.
pub fn check_for_talos(source: &str, environment: &str, minor: u64) -> Result<(), CompileError> {
    let Some(environment) = Environment::of(environment, minor) else { return Ok(()) };
    let result = environment.variable("=").cloned().unwrap_or(Type::BOOL);
    // The syntax and constructors of optional values, which only the OOM expressions support.
    let optional = [".?", "[?", "{?", "optional.", "optMap(", "optFlatMap("].iter().any(|part| source.contains(part));
    // Talos 1.14 contains a cel-go version that supports quoted fields.
    if environment.variable("class").is_some() && optional || minor >= 14 && source.contains('`') {
        return Ok(());
    }
    with_large_stack(source, || match parse_with_type(source, &environment, &result, None) {
        Err(error) if error.certain => Err(error),
        _ => Ok(()),
    })
}

/// Runs `run`, on a thread with a larger stack if the expression has many brackets.
fn with_large_stack<T: Send>(
    source: &str,
    run: impl Fn() -> Result<T, CompileError> + Send + Sync,
) -> Result<T, CompileError> {
    if source.bytes().filter(|b| matches!(b, b'(' | b'[' | b'{' | b'?')).count() <= SHALLOW {
        return run();
    }
    // cel-go allows 250 levels, which need more stack in an unoptimized build than a thread has by default.
    let found = std::thread::scope(|scope| {
        let spawned = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, &run);
        spawned.ok().and_then(|thread| thread.join().ok())
    });
    found.unwrap_or_else(|| {
        let message = "the expression nests too deeply for this check".to_owned();
        Err(CompileError::without_position(message, None, false))
    })
}

fn compile_program(source: &str) -> Result<Program, CompileError> {
    let hint = "write a comparison, e.g. `name == \"local-lvm\"`";
    let environment = Environment::of("provider", 0).unwrap_or_default();
    let expr = parse_with_type(source, &environment, &Type::BOOL, Some(hint))?;
    let time = expr.time().map(|part| (part, "timestamps and durations"));
    let pattern = || expr.foreign_pattern().map(|part| (part, "regular expressions of this kind"));
    if let Some((part, what)) = time.or_else(pattern) {
        let message = format!("this check does not evaluate {what}; the provider does");
        return Err(CompileError {
            at: position(source, part.at),
            ..CompileError::without_position(message, None, false)
        });
    }
    Ok(Program { source: source.to_owned(), expr })
}

/// Parses and type-checks an expression that must have the type `wanted`; `hint` is for expressions of another type.
fn parse_with_type(
    source: &str,
    names: &Environment,
    wanted: &Type,
    hint: Option<&str>,
) -> Result<ast::Expr, CompileError> {
    let expr = parser::parse(source).map_err(|problems| first_error(source, problems))?;
    match checker::check(&expr, names) {
        Ok(found) if found == *wanted => Ok(expr),
        Ok(found) => {
            let message = format!("expression output type is {}, expected {wanted}", found.runtime_name());
            Err(CompileError::without_position(message, hint.map(str::to_owned), true))
        }
        Err(checker::Refusal::Problems(problems)) => Err(first_error(source, problems)),
        Err(checker::Refusal::Unsupported(at, name)) => {
            let message = format!("this check does not know the message type {name}; the provider might");
            Err(CompileError { at: position(source, at), ..CompileError::without_position(message, None, false) })
        }
    }
}

fn first_error(source: &str, problems: Vec<Problem>) -> CompileError {
    let shown: Vec<String> = problems.iter().map(|problem| problem.format_report(source)).collect();
    let report = shown.join("\n");
    let line = report.lines().next().unwrap_or_default().to_owned();
    let problem = problems.into_iter().next();
    let Problem { at, message } = problem.unwrap_or(Problem { at: None, message: "unknown error".to_owned() });
    let hint = hint(&message);
    let at = at.map_or(Position::START, |offset| position(source, offset));
    CompileError { at, line, message, hint, certain: true, report }
}

impl Problem {
    /// Formats it like cel-go: position, message, the source line, and a mark below the column.
    fn format_report(&self, source: &str) -> String {
        let message = &self.message;
        let Some(offset) = self.at else { return format!("ERROR: <input>:-1:0: {message}") };
        if source.is_empty() {
            // ANTLR puts the end of an empty source before the first column.
            return format!("ERROR: <input>:1:0: {message}");
        }
        let Position { line, column } = position(source, offset);
        let text = source.split('\n').nth(line as usize - 1).unwrap_or_default();
        let dots = ".".repeat(column as usize - 1);
        format!("ERROR: <input>:{line}:{column}: {message}\n | {text}\n | {dots}^")
    }
}

impl CompileError {
    /// An error without a position, for which cel-go prints only the message.
    fn without_position(message: String, hint: Option<String>, certain: bool) -> CompileError {
        CompileError { at: Position::START, line: message.clone(), report: message.clone(), message, hint, certain }
    }
}

fn position(source: &str, offset: u32) -> Position {
    let before = source.get(..offset as usize).unwrap_or(source);
    let line = before.matches('\n').count() as u32 + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() as u32 + 1;
    Position { line, column }
}

/// Returns the known name that was probably meant: at most a third of the letters differ, and a swap of two counts once.
fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let distance = |candidate: &str| strsim::osa_distance(&lower, &candidate.to_lowercase());
    let near = known.map(|candidate| (distance(candidate), candidate));
    near.filter(|(distance, _)| *distance <= (name.len() / 3).max(1)).min().map(|(_, candidate)| candidate)
}

/// Returns a hint for a message: what was probably meant.
fn hint(message: &str) -> Option<String> {
    if let Some(name) = message.strip_prefix("undeclared reference to '").and_then(|m| m.split('\'').next()) {
        return Some(match name {
            "storage" | "storages" => "the expression is evaluated once for each storage: write `name == \"…\"` or \
                                       `storageType == \"…\"` instead of filtering a list"
                .to_owned(),
            "avail" | "available" | "free" | "space" => "did you mean `availableSpace` (bytes, uint)?".to_owned(),
            "type" | "storage_type" => "did you mean `storageType`?".to_owned(),
            "enabled" | "active" => {
                "the provider does not expose that; `availableSpace > 0u` excludes disabled storages".to_owned()
            }
            "content" | "shared" => "the provider does not expose that; select by `name` or `storageType`".to_owned(),
            "lowerAscii" | "upperAscii" | "split" | "replace" | "substring" | "trim" | "indexOf" | "charAt"
            | "join" => {
                "the provider does not have CEL's extensions: use startsWith, endsWith, contains or matches".to_owned()
            }
            other => match closest(
                other,
                VARIABLES.into_iter().chain(["startsWith", "endsWith", "contains", "matches", "size"]),
            ) {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    "a selector can use name, node, storageType and availableSpace; text must be in quotes".to_owned()
                }
            },
        });
    }
    let found = HINTS.iter().find(|(parts, _)| parts.split(' ').all(|part| message.contains(&part.replace('_', " "))));
    found.map(|(_, hint)| (*hint).to_owned())
}

/// Words that a message contains (`_` is a space), and the hint for it.
const HINTS: [(&str, &str); 9] = [
    ("type(type)", "`type` is a CEL function: did you mean `storageType`?"),
    ("uint _int)", UNSIGNED),
    ("uint (int,", UNSIGNED),
    ("uint double", "compare doubles with `double(availableSpace)`"),
    ("token_recognition_error_at:_'=", "equality is `==`"),
    ("token_recognition_error_at:_'“'", QUOTES),
    ("token_recognition_error_at:_'‘'", QUOTES),
    ("mismatched_input_'and'", WORDS),
    ("mismatched_input_'or'", WORDS),
];
const UNSIGNED: &str =
    "availableSpace is unsigned: add the suffix `u` to the number, e.g. `100u`, or wrap it in `uint(…)`";
const QUOTES: &str = "these are typographic quotes: write \" or '";
const WORDS: &str = "write `&&` for and, `||` for or";
