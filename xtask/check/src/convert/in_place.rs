//! Replaces selectors of the older form in place in classes of the real form; the rest of the file does not change.

use std::sync::LazyLock;

use regex::Regex;

use super::selector::selector;
use super::{Change, Outcome, refuse};
use domain::spec::machine_class::{MachineClass, parse_stream};
use domain::spec::provider_data;
use yaml::{Node, Style, quote};

/// Rewrites the selectors of a file.
pub(super) fn selectors(file: &str, bytes: &[u8], classes: &[MachineClass]) -> Outcome {
    let Ok(source) = std::str::from_utf8(bytes) else { return Outcome::Unchanged };
    let mut lines: Vec<String> = source.split('\n').map(str::to_owned).collect();
    let (mut changes, mut refused) = (Vec::new(), Vec::new());
    for provision in classes.iter().filter_map(|c| c.auto_provision.as_ref()) {
        let Some(root) = provider_data::parse(file, provision).value.and_then(|d| d.root) else { continue };
        let disks = root.get("additional_disks").map_or(&[][..], Node::items);
        let nodes =
            root.get("storage_selector").into_iter().chain(disks.iter().filter_map(|d| d.get("storage_selector")));
        for node in nodes {
            let Some((old, scalar)) = node.text().zip(node.scalar()) else { continue };
            let place = node.at.in_file(file);
            match selector(old) {
                None => {}
                Some(Err(why)) => {
                    refused.push(refuse(place, format!("the selector cannot be converted: {why}"), "write a new one"))
                }
                Some(Ok(new)) => {
                    // The value must be on one line, from its first character to its end, quotes included.
                    let line = lines.get_mut(node.at.line.saturating_sub(1) as usize);
                    let end = match scalar.style {
                        Style::Plain => Some(old.to_owned()),
                        Style::Quoted => None,
                        _ => Some(String::new()),
                    };
                    match line.and_then(|l| replace(l, node.at.column, end, &quote(&new.text))) {
                        Some(()) => changes.push(Change {
                            place,
                            what: format!("storage_selector: {}", new.text),
                            why: new.why.join("; "),
                        }),
                        None => refused.push(refuse(
                            place,
                            "the selector spans several lines",
                            "write it on one line first",
                        )),
                    }
                }
            }
        }
    }
    match (refused.is_empty(), changes.is_empty()) {
        (false, _) => Outcome::Refused(refused),
        (true, true) => Outcome::Unchanged,
        (true, false) => {
            let text = lines.join("\n");
            let again = parse_stream(file, &yaml::load(file, text.as_bytes())).value.unwrap_or_default();
            let alike = again.len() == classes.len()
                && classes.iter().zip(&again).all(|(old, new)| old.id == new.id && has_equivalent_data(file, old, new));
            if alike {
                return Outcome::Converted { text, changes };
            }
            // Positions inside text with escapes or folded lines differ from those in the file.
            let place = changes.swap_remove(0).place;
            let message = "the selector cannot be replaced in place";
            Outcome::Refused(vec![refuse(place, message, "write `providerdata: |` and its keys below, one per line")])
        }
    }
}

/// Returns true if the data of two classes differ only in the form of their selectors.
fn has_equivalent_data(file: &str, old: &MachineClass, new: &MachineClass) -> bool {
    let root = |class: &MachineClass| {
        let provision = class.auto_provision.as_ref()?;
        provider_data::parse(file, provision).value.and_then(|data| data.root)
    };
    match (root(old), root(new)) {
        (Some(old), Some(new)) => is_equivalent(&old, &new, ""),
        (old, new) => old.is_none() && new.is_none(),
    }
}

fn is_equivalent(old: &Node, new: &Node, key: &str) -> bool {
    match (old.scalar(), new.scalar()) {
        (Some(before), Some(after)) => match selector(&before.text).filter(|_| key == "storage_selector") {
            Some(Ok(wanted)) => after.text == wanted.text,
            _ => old.value() == new.value(),
        },
        (None, None) => {
            let (before, after) = (old.entries(), new.entries());
            let items = old.items().iter().zip(new.items());
            before.len() == after.len()
                && old.items().len() == new.items().len()
                && before.iter().zip(after).all(|(a, b)| a.key == b.key && is_equivalent(&a.value, &b.value, &a.key))
                && items.into_iter().all(|(a, b)| is_equivalent(a, b, key))
        }
        _ => false,
    }
}

/// Replaces the scalar that starts at a column: the given plain text, or a quoted scalar.
fn replace(line: &mut String, column: u32, plain: Option<String>, new: &str) -> Option<()> {
    static QUOTED: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r#"^(?:'(?:[^']|'')*'|"(?:[^"\\]|\\.)*")"#).ok());
    let start = line.char_indices().nth(column.checked_sub(1)? as usize)?.0;
    let rest = &line[start..];
    let len = match plain {
        Some(text) if !text.is_empty() && rest.starts_with(&text) => text.len(),
        Some(_) => return None,
        None => QUOTED.as_ref()?.find(rest)?.len(),
    };
    line.replace_range(start..start + len, new);
    Some(())
}
