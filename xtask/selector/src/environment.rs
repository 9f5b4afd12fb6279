//! The names that the provider and Talos add to CEL, parsed from `environments.txt`.

use std::sync::LazyLock;

use super::stdlib::{self, Function};
use super::types::Type;

/// Names with their types and the first minor of Talos 1.x that has them.
type Names = Vec<(&'static str, Type, u64)>;

#[derive(Default)]
pub(super) struct Environment {
    name: &'static str,
    variables: Names,
    /// The minor of Talos 1.x.
    minor: u64,
}

struct Table {
    environments: Vec<(&'static str, Names)>,
    messages: Vec<(&'static str, Names)>,
    /// Each with the environments that have it, separated by commas.
    functions: Vec<(&'static str, Function)>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table { environments: Vec::new(), messages: Vec::new(), functions: Vec::new() };
    for line in include_str!("environments.txt").lines() {
        let mut words = line.splitn(3, ' ');
        let (Some(form), Some(name), Some(rest)) = (words.next(), words.next(), words.next()) else { continue };
        match form {
            "environment" => table.environments.push((name, rest.split(' ').filter_map(entry).collect())),
            "message" => table.messages.push((name, rest.split(' ').filter_map(entry).collect())),
            "function" => table.functions.extend(stdlib::function(rest).map(|function| (name, function))),
            _ => {}
        }
    }
    table
});

/// Parses `NAME:TYPE@MINOR`.
fn entry(text: &'static str) -> Option<(&'static str, Type, u64)> {
    let (text, minor) = text.split_once('@').unwrap_or((text, "0"));
    let (name, of) = text.split_once(':')?;
    let of = Type::parse_table_type(of).unwrap_or(Type::Message(of));
    Some((name, of, minor.parse().ok()?))
}

impl Environment {
    /// Returns the environment of the provider, or one of Talos 1.`minor`.
    pub(super) fn of(name: &str, minor: u64) -> Option<Environment> {
        let (name, variables) = TABLE.environments.iter().find(|(known, _)| *known == name)?;
        Some(Environment { name, variables: variables.clone(), minor })
    }

    pub(super) fn variable(&self, name: &str) -> Option<&Type> {
        self.find(&self.variables, name)
    }

    pub(super) fn field(&self, message: &str, name: &str) -> Option<&'static Type> {
        let (_, fields) = TABLE.messages.iter().find(|(known, _)| *known == message)?;
        self.find(fields, name)
    }

    pub(super) fn function(&self, name: &str) -> Option<&'static Function> {
        let has = |of: &str| of.split(',').any(|environment| environment == self.name);
        TABLE.functions.iter().find(|(of, function)| has(of) && function.name == name).map(|(_, function)| function)
    }

    /// Returns true for the full name of a Talos message.
    pub(super) fn has_message(&self, name: &str) -> bool {
        self.name != "provider" && name.trim_start_matches('.').starts_with("talos.resource.definitions.")
    }

    fn find<'n>(&self, names: &'n Names, name: &str) -> Option<&'n Type> {
        names.iter().find(|(known, _, minor)| *known == name && *minor <= self.minor).map(|(_, of, _)| of)
    }
}
