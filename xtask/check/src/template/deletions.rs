//! `$patch: delete` of what is not there: Talos refuses the whole patch then (`lookup failed`).

use super::lints::meets;
use super::{Checker, PatchScope};
use crate::Severity;
use crate::patch::Content;
use crate::talos::{self, deletes};
use domain::spec::Position;
use domain::spec::yaml::{Data, Node};

/// What a patch deletes from a document.
struct Deletion<'n> {
    keys: Vec<&'n str>,
    /// Of an entry of the list at `keys`: the key and value that select it; no value if they are no texts.
    entry: Option<(&'n str, Option<&'n str>)>,
    at: Position,
}

impl Checker<'_> {
    /// Checks the deletions of one patch against what the others set.
    pub(super) fn deletions(
        &mut self,
        scope: PatchScope,
        content: &Content,
        workers: bool,
        contents: &[(PatchScope, &Content)],
    ) {
        if self.talos.is_none() {
            return;
        }
        let legacy = |document: &&Node| document.get("kind").is_none();
        for document in &content.documents {
            let kind = document.get("kind").and_then(Node::text).unwrap_or(talos::V1ALPHA1);
            let Some(kind) = talos::Kind::find(kind).filter(|_| document.is_map() && !deletes(document)) else {
                continue;
            };
            let mut found = Vec::new();
            collect(document, &mut Vec::new(), false, &mut found);
            for Deletion { keys, entry, at } in found {
                if let Some((key, value)) =
                    entry.filter(|(key, value)| value.is_none() || !talos::selects(&kind, &keys, key))
                {
                    let what = value.map_or_else(|| format!("`{key}`"), |value| format!("`{key}: {value}`"));
                    let message = format!(
                        "`$patch: delete` of an entry of `{}` by {what}: Talos finds entries of the outermost list alone, by a \
                         text that is first, and refuses the whole patch",
                        keys.join(".")
                    );
                    let fix =
                        "write a key whose value is a text first, or leave the entry out of the patch that adds it";
                    self.report(Severity::Error, "template-patch-talos", at.in_file(&content.file), message, fix);
                    continue;
                }
                if !legacy(&document) {
                    continue;
                }
                let near =
                    contents.iter().filter(|(of, _)| meets(&scope, of)).flat_map(|(_, content)| &content.documents);
                // Talos deletes first, then adds what else the same document says.
                let near: Vec<&Node> = near.filter(legacy).filter(|other| !std::ptr::eq(*other, document)).collect();
                let is_there = |keys: &[&str]| {
                    let set = |document: &&Node| document.path(keys).is_some_and(is_content);
                    talos::is_base(&keys.join("."), workers) || near.iter().any(set)
                };
                let path = keys.join(".");
                let (_, parents) = keys.split_last().unwrap_or((&"", &[]));
                // A field of a struct can always be deleted, but what has it must be there.
                let (missing, what) = match entry {
                    Some((key, value)) => {
                        let is = |item: &Node| item.get(key).and_then(Node::text) == value && is_content(item);
                        let value = value.unwrap_or_default();
                        let set =
                            |document: &&Node| document.path(&keys).is_some_and(|list| list.items().iter().any(is));
                        let base = talos::is_base(&format!("{path}={value}"), workers);
                        (!base && !near.iter().any(set), format!("{path} ({key}: {value})"))
                    }
                    None if talos::is_open_mapping(parents) => (!is_there(&keys), path),
                    None => ((1..=parents.len()).any(|length| !is_there(&keys[..length])), path),
                };
                if missing {
                    let message =
                        format!("`$patch: delete` of `{what}`, which no patch sets: Talos refuses the whole patch");
                    self.report(
                        Severity::Error,
                        "template-patch-talos",
                        at.in_file(&content.file),
                        message,
                        "remove it",
                    );
                }
            }
        }
    }
}

/// True for what is more than deletions.
fn is_content(node: &Node) -> bool {
    match &node.data {
        Data::Map(_) if deletes(node) => false,
        Data::Map(entries) => entries.is_empty() || entries.iter().any(|entry| is_content(&entry.value)),
        Data::Seq(items) => items.iter().any(is_content),
        Data::Scalar(_) => !node.is_null(),
    }
}

fn collect<'n>(node: &'n Node, keys: &mut Vec<&'n str>, inner: bool, found: &mut Vec<Deletion<'n>>) {
    match &node.data {
        _ if deletes(node) => found.push(Deletion { keys: keys.clone(), entry: None, at: node.at }),
        Data::Map(entries) => {
            for entry in entries {
                keys.push(&entry.key);
                collect(&entry.value, keys, inner, found);
                keys.pop();
            }
        }
        Data::Seq(items) => {
            for item in items {
                if !deletes(item) {
                    collect(item, keys, true, found);
                } else if let Some(by) = item.entries().iter().find(|entry| entry.key != "$patch") {
                    let entry = Some((by.key.as_str(), by.value.text().filter(|_| !inner)));
                    found.push(Deletion { keys: keys.clone(), entry, at: item.at });
                }
            }
        }
        Data::Scalar(_) => {}
    }
}
