//! The Claude Code plugin: what the official validator does not check. `fixtures/plugin/files.yaml` has the requirements for its
//! files; links are checked by `cargo xtask ci --only links`.

mod commands;
mod hook;
mod in_the_lab;
pub mod text;

use std::path::Path;

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::sandbox::{Scratch, root as repository};
use text::Page;

/// Fails with all faults at once, because whoever fixes a plugin needs the whole list.
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults in the plugin:\n{}", faults.len(), faults.join("\n"));
}

/// A row of `files.yaml`, which explains each field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    file: String,
    why: String,
    named: Option<String>,
    #[serde(default)]
    at: String,
    only: Option<Vec<String>>,
    is: Option<Value>,
    #[serde(default)]
    has: Vec<String>,
    #[serde(default)]
    lacks: Vec<String>,
    words: Option<(usize, usize)>,
    lines: Option<usize>,
}

impl Row {
    /// Returns the files that the row applies to.
    fn files(&self) -> Vec<String> {
        let Some((head, tail)) = self.file.split_once('*') else { return vec![self.file.clone()] };
        let (folder, start) = head.rsplit_once('/').unwrap_or(("", head));
        let fits = |name: &String| name.starts_with(start) && name.ends_with(tail);
        let names = text::entries(&repository().join(folder)).into_iter().filter(fits);
        names.map(|name| Path::new(folder).join(name).display().to_string()).collect()
    }

    /// Returns the part of a file that the row applies to.
    fn part(&self, file: &str) -> Result<Value, String> {
        let path = repository().join(file);
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let document = match file.rsplit_once('.') {
            Some((_, "json")) => serde_json::from_str(&text).map_err(|error| error.to_string())?,
            Some((_, "md")) => {
                Page::read(&path).map(|page| if self.at == "body" { page.body.into() } else { page.front })?
            }
            _ => Value::Null,
        };
        match self.at.as_str() {
            "" if self.only.is_none() => Ok(text.into()),
            "body" => Ok(document),
            at => document.pointer(at).cloned().ok_or_else(|| "it is missing".to_owned()),
        }
    }

    fn wrong(&self, file: &str) -> Vec<String> {
        let (_, name) = file.rsplit_once('/').unwrap_or(("", file));
        let regex = |text: &String| Regex::new(text).unwrap_or_else(|why| panic!("{why}"));
        if let Some(named) = &self.named {
            return if regex(named).is_match(name) { Vec::new() } else { vec!["it does not belong here".to_owned()] };
        }
        let part = match self.part(file) {
            Ok(part) => part,
            Err(why) => return vec![why],
        };
        let text = part.as_str().map_or_else(|| part.to_string(), str::to_owned);
        let mut wrong = Vec::new();
        let keys = part.as_object().into_iter().flat_map(|all| all.keys());
        let strange = keys.filter(|key| self.only.as_ref().is_some_and(|only| !only.contains(key)));
        wrong.extend(strange.map(|key| format!("the key `{key}` is not one of its keys")));
        if let Some(is) = &self.is {
            let stem = name.split('.').next().unwrap_or_default();
            let filled = |text: &str| text.replace("{stem}", stem).replace("{version}", env!("CARGO_PKG_VERSION"));
            let due = is.as_str().map_or_else(|| is.clone(), |text| filled(text).into());
            wrong.extend((part != due).then(|| format!("it is {part}, not {due}")));
        }
        wrong.extend(
            self.has.iter().filter(|has| !regex(has).is_match(&text)).map(|has| format!("does not match {has}")),
        );
        wrong.extend(
            self.lacks.iter().filter(|lacks| regex(lacks).is_match(&text)).map(|lacks| format!("matches {lacks}")),
        );
        let (words, lines) = (text.split_whitespace().count(), text.lines().count());
        wrong.extend(
            self.words.filter(|(least, most)| !(least..=most).contains(&&words)).map(|_| format!("{words} words")),
        );
        wrong.extend(self.lines.filter(|most| lines > *most).map(|_| format!("{lines} lines")));
        wrong
    }
}

#[test]
fn plugin_files_are_as_their_table_says() {
    let rows: Vec<Row> = serde_yaml::from_str(include_str!("../fixtures/plugin/files.yaml")).expect("the table");
    let wrong = rows.iter().flat_map(|row| {
        let faults = row
            .files()
            .into_iter()
            .flat_map(move |file| row.wrong(&file).into_iter().map(move |fault| (file.clone(), fault)));
        faults.map(move |(file, fault)| format!("{file} {}: {fault}; {}", row.at, row.why))
    });
    assert_none(&wrong.collect::<Vec<_>>());
}

#[test]
fn the_commands_are_thin_wrappers_that_ask_before_they_change() {
    assert_none(&commands::commands(repository()));
}

#[test]
fn every_command_names_a_task_and_flags_that_xtask_has() {
    assert_none(&commands::parity(repository()));
}

#[test]
fn every_task_of_the_assistants_table_exists() {
    assert_none(&commands::documented_tasks(repository()));
}
