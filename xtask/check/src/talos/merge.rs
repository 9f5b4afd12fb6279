//! Merges a patch's document into those of earlier patches (siderolabs/talos pkg/machinery config/merge, and the lists of
//! config/types that merge themselves: the `merges` lines of `data/talos-limits.txt`).

use yaml::{Data, Entry, Node, Position};

use super::limit::{LIMITS, Limit};
use super::{Kind, Reader, TABLE, field, type_at};

/// Returns true for what `$patch: delete` deletes.
pub fn deletes(node: &Node) -> bool {
    node.get("$patch").and_then(Node::text) == Some("delete")
}

/// Merges a document into the earlier ones of its kind and name. Returns the positions that Talos cannot merge.
pub fn merge(left: &mut Node, right: &Node, kind: &Kind, reader: Reader) -> Vec<Position> {
    drop_unrepeated(left, Some(right), kind.kind);
    let alone = |limit: &Limit| limit.form == "alone" && limit.columns & reader.columns != 0;
    let alone = !left.entries().is_empty() && LIMITS.get(kind.kind).is_some_and(|limits| limits.iter().any(alone));
    let mut refused = Vec::from_iter(alone.then_some(right.at));
    mapping(left, right, kind.kind, &mut refused);
    refused
}

/// Drops selectors and sizes that the last document does not repeat, because only those of the last document apply.
fn drop_unrepeated(left: &mut Node, right: Option<&Node>, of: &str) {
    let Data::Map(entries) = &mut left.data else { return };
    let repeats = |key: &str| right.and_then(|right| right.get(key));
    let last = |entry: &Entry| matches!(field(of, &entry.key), Some("cel" | "bytesize" | "percentage"));
    entries.retain(|entry| !last(entry) || repeats(&entry.key).is_some());
    for entry in entries {
        let inner = field(of, &entry.key).filter(|kind| TABLE.structs.contains_key(kind));
        inner.into_iter().for_each(|kind| drop_unrepeated(&mut entry.value, repeats(&entry.key), kind));
    }
}

fn mapping(left: &mut Node, right: &Node, of: &str, refused: &mut Vec<Position>) {
    let Data::Map(entries) = &mut left.data else { return };
    for entry in right.entries() {
        let at = entries.iter().position(|known| known.key == entry.key);
        // Null is a value only in a mapping with arbitrary keys.
        if entry.value.is_null() && of != "object" && (at.is_some() || !of.starts_with("{}")) {
            continue;
        }
        if deletes(&entry.value) {
            at.map(|at| entries.remove(at));
            continue;
        }
        // In a part that Talos keeps as it is, a value cannot be replaced by one of another type or by none.
        let inside = of == "object";
        let other = |there: &Node| !there.is_null() && there.tag_name() != entry.value.tag_name();
        refused.extend(at.filter(|at| inside && other(&entries[*at].value)).map(|_| entry.at));
        let at = at.unwrap_or_else(|| {
            entries.push(Entry { value: emptied(&entry.value), ..entry.clone() });
            entries.len() - 1
        });
        let kind = of.strip_prefix("{}").or_else(|| field(of, &entry.key));
        let kind = if inside { of } else { kind.unwrap_or_default() };
        let there = &mut entries[at].value;
        match (&mut there.data, &entry.value.data) {
            (Data::Map(entries), Data::Map(_)) => {
                if merges(of, &entry.key).is_some_and(str::is_empty) {
                    entries.clear();
                }
                mapping(there, &entry.value, kind, refused);
            }
            (Data::Seq(items), Data::Seq(more)) => {
                let of_item = kind.strip_prefix("[]").unwrap_or_default();
                list(items, more, of_item, merges(of, &entry.key), refused);
            }
            (_, Data::Scalar(scalar)) if scalar.text.is_empty() => {}
            _ => *there = entry.value.clone(),
        }
    }
}

/// Returns the key by which entries of a list are merged, if they are; an empty key if later patches replace the value.
fn merges(of: &str, key: &str) -> Option<&'static str> {
    let limits = LIMITS.get(format!("{of}.{key}").as_str())?;
    limits.iter().find(|limit| limit.form == "merges").map(|limit| limit.argument)
}

fn list(items: &mut Vec<Node>, more: &[Node], of: &str, key: Option<&str>, refused: &mut Vec<Position>) {
    if key.is_some_and(str::is_empty) && !more.is_empty() {
        items.clear();
    }
    let is = |item: &Node, key: &str, value: &Node| item.get(key).and_then(Node::text) == value.text();
    for item in more {
        if deletes(item) {
            let selects = |entry: &&Entry| entry.key != "$patch" && entry.value.text().is_some();
            if let Some(by) = item.entries().iter().find(selects) {
                items.retain(|item| !is(item, &by.key, &by.value));
            }
            continue;
        }
        let by = key.and_then(|key| item.entry(key));
        let at = by.and_then(|by| items.iter().position(|item| is(item, &by.key, &by.value)));
        let at = at.unwrap_or_else(|| {
            items.push(emptied(item));
            items.len() - 1
        });
        mapping(&mut items[at], item, of, refused);
    }
}

/// Returns true if Talos finds an entry of the list at a path by this key, the entry's first: it compares only text
/// (siderolabs/talos pkg/machinery config/configloader/internal/decoder/selector.go).
pub fn selects(kind: &Kind, path: &[&str], key: &str) -> bool {
    let list = type_at(kind, path).and_then(|list| list.strip_prefix("[]"));
    let found = list.and_then(|item| field(item, key)).unwrap_or("string");
    let number =
        ["int", "uint", "float", "bool", "[]", "{}", "any", "object"].iter().any(|start| found.starts_with(start));
    !number && (found.contains(':') || !found.contains('.'))
}

/// Returns an empty value of the same kind, into which the rest of a new value is merged.
fn emptied(node: &Node) -> Node {
    let data = match &node.data {
        Data::Map(_) => Data::Map(Vec::new()),
        Data::Seq(_) => Data::Seq(Vec::new()),
        scalar => scalar.clone(),
    };
    Node { at: node.at, tag: node.tag.clone(), data, copied: node.copied }
}
