//! The meaning of errors of omnictl, curl and docker compose, from `data/program-errors.yaml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;

use domain::failure::{Code, Failure, Kind};

/// A row, whose fields the file explains.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    #[serde(default)]
    exit: Vec<i32>,
    #[serde(default)]
    has: Vec<String>,
    #[serde(default, rename = "match")]
    pattern: String,
    code: Code,
    #[serde(default)]
    kind: Kind,
    message: String,
    cause: Option<String>,
    #[serde(default)]
    hint: String,
    #[serde(default)]
    next: Vec<String>,
}

static ROWS: LazyLock<BTreeMap<String, Vec<Row>>> = LazyLock::new(|| {
    let text = include_str!("../../../data/program-errors.yaml");
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("data/program-errors.yaml: {error}"))
});

/// The failure for an error of `program`; `None` if no row matches. `values` fill the texts, and `cause` is the cause of a row
/// without its own.
pub fn explain(
    program: &str,
    exit: Option<i32>,
    output: &str,
    cause: &str,
    values: &[(&str, &str)],
) -> Option<Failure> {
    ROWS.get(program)?.iter().find_map(|row| {
        let exits = row.exit.is_empty() || exit.is_some_and(|exit| row.exit.contains(&exit));
        let has = row.has.is_empty() || row.has.iter().any(|words| output.contains(words));
        let pattern = Regex::new(&row.pattern).ok()?;
        let found = pattern.captures(output).filter(|_| exits && has)?;
        let named = pattern.capture_names().flatten().filter_map(|name| Some((name, found.name(name)?.as_str())));
        let values: Vec<_> = values.iter().copied().chain(named).collect();
        let fill = |text: &str| {
            values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
        };
        let cause = row.cause.as_deref().map_or(cause.to_owned(), fill);
        let failure = Failure::new(row.code, fill(&row.message)).kind(row.kind).cause(cause).hint(fill(&row.hint));
        let commands = row.next.iter().map(|next| fill(next)).filter(|command| !command.is_empty());
        Some(commands.fold(failure, Failure::next))
    })
}
