//! Checks `$patch: delete` of what does not exist, or of what Talos needs: Talos refuses the whole patch, or the configuration.

use super::Checker;
use crate::talos::{self, Kind, deletes};
use yaml::{Data, Finding, Node, Position};

/// What a patch deletes from a document.
struct Deletion<'n> {
    keys: Vec<&'n str>,
    /// If an entry of the list at `keys` is deleted: the key and value that select it; no value if it is not text.
    entry: Option<(&'n str, Option<&'n str>)>,
    at: Position,
}

impl Checker<'_> {
    /// Checks the deletions of a document against what earlier patches set in the same document, if any do.
    pub(super) fn deletions(&mut self, file: &str, document: &Node, earlier: Option<&Node>, machine: Machine) {
        let Machine { kind, minor, control_plane } = machine;
        let name = document.get("kind").and_then(Node::text);
        let found = found(document);
        // Machines of new clusters may have the document, and its contents, before the first patch.
        let given = !found.is_empty() && name.is_some_and(|name| talos::is_given(name, minor));
        for Deletion { keys, entry, at } in found {
            let path = keys.join(".");
            if let Some((key, value)) =
                entry.filter(|(key, value)| value.is_none() || !talos::selects(&kind, &keys, key))
            {
                let what = value.map_or_else(|| format!("`{key}`"), |value| format!("`{key}: {value}`"));
                let message = format!(
                    "`$patch: delete` of an entry of `{path}` by {what}: Talos finds entries only in the outermost \
                     list, by a key with a text value that comes first, and rejects the whole patch"
                );
                let fix = "put a key with a text value first, or remove the entry from the patch that adds it";
                self.refused(file, at, message, fix);
                continue;
            }
            if let (Some(name), None, false) = (name, earlier, given)
                && minor < ABSENT
            {
                let message = format!(
                    "`$patch: delete` in a {name} that no earlier patch defines: Talos up to 1.{} rejects the whole \
                     configuration",
                    ABSENT - 1
                );
                self.refused(file, at, message, "remove it");
                break;
            }
            let is_there = |keys: &[&str]| {
                name.is_none() && talos::is_base(&keys.join("."), !control_plane)
                    || earlier.is_some_and(|node| node.path(keys).is_some())
            };
            let parents = keys.split_last().map_or(&[][..], |(_, parents)| parents);
            let open =
                |path| talos::type_at(&kind, path).is_some_and(|kind| kind.starts_with("{}") || kind == "object");
            // A field of a struct can always be deleted, but the struct must exist.
            let missing = match entry {
                _ if name.is_some() && earlier.is_none() && !given => None,
                None if talos::type_at(&kind, &keys).is_none() => Some(path),
                _ if given => None,
                Some((key, value)) => {
                    let is = |item: &Node| item.get(key).and_then(Node::text) == value;
                    let set = earlier.and_then(|node| node.path(&keys)).is_some_and(|list| list.items().iter().any(is));
                    let value = value.unwrap_or_default();
                    let base = name.is_none() && talos::is_base(&format!("{path}={value}"), !control_plane);
                    (!base && !set).then(|| format!("{path} ({key}: {value})"))
                }
                None if open(parents) => (!is_there(&keys)).then_some(path),
                // For other documents it is unknown which of their parts always exist.
                None if name.is_some() => None,
                None => (1..=parents.len()).any(|length| !is_there(&keys[..length])).then_some(path),
            };
            if let Some(what) = missing {
                let message =
                    format!("`$patch: delete` of `{what}`, which no patch sets: Talos rejects the whole patch");
                self.refused(file, at, message, "remove it, or put it after the patch that sets it");
            }
        }
    }

    /// Checks that what Talos needs in a document was not permanently deleted.
    pub(super) fn check_required(&mut self, file: &str, document: &Node, merged: &Node, machine: Machine) {
        for Deletion { keys, at, .. } in found(document).into_iter().filter(|deletion| deletion.entry.is_none()) {
            let path = keys.join(".");
            let needed = talos::required_alternatives(&machine.kind, &path, machine.minor);
            if needed.is_some_and(|needed| !needed.split('|').any(|path| talos::is_set_at(merged, path))) {
                let message = format!("`$patch: delete` of `{path}`: Talos requires it, and rejects the configuration");
                self.refused(file, at, message, "remove it, or write the intended value");
            }
        }
    }

    pub(super) fn refused(&mut self, file: &str, at: Position, message: String, fix: &str) {
        let finding = Finding::error("template-patch-talos", at.in_file(file), message, fix);
        // The patches of a cluster apply to each of its sets.
        if !self.findings.iter().any(|other| other.is_repeat_of(&finding)) {
            self.findings.push(finding);
        }
    }
}

/// The first minor of Talos 1.x that accepts deletions in a document that does not exist.
const ABSENT: u64 = 14;

/// The kind of a document, and the machine that it applies to.
#[derive(Clone, Copy)]
pub(super) struct Machine {
    pub kind: Kind,
    /// The minor of the machine's Talos 1.x.
    pub minor: u64,
    pub control_plane: bool,
}

fn found(document: &Node) -> Vec<Deletion<'_>> {
    let mut found = Vec::new();
    collect(document, &mut Vec::new(), false, &mut found);
    found
}

fn collect<'n>(node: &'n Node, keys: &mut Vec<&'n str>, inner: bool, found: &mut Vec<Deletion<'n>>) {
    match &node.data {
        _ if deletes(node) => found.push(Deletion { keys: keys.clone(), entry: None, at: node.at }),
        Data::Map(entries) => {
            for entry in entries.iter().filter(|entry| entry.key != "$patch") {
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
