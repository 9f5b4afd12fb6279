//! What the errors of omnictl and curl mean: `data/program-errors.yaml`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

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
    code: Code,
    #[serde(default)]
    kind: Kind,
    message: String,
    #[serde(default)]
    hint: String,
    #[serde(default)]
    next: Vec<String>,
}

static ROWS: LazyLock<BTreeMap<String, Vec<Row>>> = LazyLock::new(|| {
    let text = include_str!("../../../data/program-errors.yaml");
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("data/program-errors.yaml: {error}"))
});

/// The failure that an error of `program` means, without its cause; `None` for one that no row knows. `values` fill the texts.
pub fn explain(program: &str, exit: Option<i32>, output: &str, values: &[(&str, &str)]) -> Option<Failure> {
    let matches = |row: &&Row| {
        let exits = row.exit.is_empty() || exit.is_some_and(|exit| row.exit.contains(&exit));
        exits && (row.has.is_empty() || row.has.iter().any(|words| output.contains(words)))
    };
    let row = ROWS.get(program)?.iter().find(matches)?;
    let fill = |text: &str| {
        values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    };
    let failure = Failure::new(row.code, fill(&row.message)).kind(row.kind).hint(fill(&row.hint));
    Some(row.next.iter().fold(failure, |failure, next| failure.next(next)))
}
