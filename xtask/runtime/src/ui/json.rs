//! The JSON document printed by `--json`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Step;
use domain::failure::Failure;

/// The document of a task. `ok` is true for exit status 0 and 3; `error` is null if the task succeeded.
pub fn document(
    task: &str,
    ok: bool,
    summary: &str,
    steps: &[Step],
    data: Value,
    next: &[String],
    failure: Option<&Failure>,
) -> Value {
    let error = failure.map(|failure| {
        json!({
            "code": failure.code,
            "message": failure.message,
            "cause": failure.cause,
            "hint": failure.hint,
            "missing": failure.missing,
        })
    });
    let mut document = json!({
        "schema_version": 1,
        "task": task,
        "ok": ok,
        "summary": summary,
        "steps": steps,
        "data": {},
        "next": next,
        "error": error,
    });
    // Moved, not copied: it may describe thousands of files.
    if !data.is_null() {
        document["data"] = data;
    }
    document
}

/// The maximum size in bytes of a document unless everything was requested: an assistant does not read more.
pub const MAX_DOCUMENT_BYTES: usize = 8 * 1024;
/// The space reserved for `data.omitted`.
const RESERVE: usize = 400;

/// Shortens the longest lists of a document, healthy entries first, and counts the omitted entries in `data.omitted`.
pub fn shorten(document: &mut Value) {
    let mut omitted = BTreeMap::<String, usize>::new();
    for least in [8, 3, 1] {
        loop {
            let excess = document.to_string().len().saturating_sub(MAX_DOCUMENT_BYTES - RESERVE);
            let mut longest = (0, String::new());
            find_longest(document, "", least, &mut longest);
            let Some(list) = document.pointer_mut(&longest.1).and_then(Value::as_array_mut).filter(|_| excess > 0)
            else {
                break;
            };
            let names = longest.1.split('/').filter(|part| !part.is_empty() && part.parse::<usize>().is_err());
            *omitted.entry(names.collect::<Vec<_>>().join(".")).or_default() += truncate_list(list, excess, least);
        }
    }
    if let (Value::Object(data), false) = (&mut document["data"], omitted.is_empty()) {
        data.insert("omitted".to_owned(), json!(omitted));
    }
}

/// Finds the largest list in bytes that has more than `least` entries, and its path. A plan is never shortened.
fn find_longest(value: &Value, place: &str, least: usize, longest: &mut (usize, String)) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields.iter().filter(|(key, _)| *key != "plan" && !key.contains(['/', '~'])) {
                find_longest(value, &format!("{place}/{key}"), least, longest);
            }
        }
        Value::Array(items) => {
            let size = items.iter().map(|item| item.to_string().len()).sum();
            if items.len() > least && size > longest.0 {
                *longest = (size, place.to_owned());
            }
            for (at, item) in items.iter().enumerate() {
                find_longest(item, &format!("{place}/{at}"), least, longest);
            }
        }
        _ => {}
    }
}

/// Removes about `excess` bytes from the end of a list, and returns the number of removed entries.
fn truncate_list(list: &mut Vec<Value>, excess: usize, least: usize) -> usize {
    let (count, mut gone) = (list.len(), 0);
    for well in [true, false] {
        for at in (0..list.len()).rev() {
            if gone < excess && list.len() > least && is_healthy(&list[at]) == well {
                gone += list.remove(at).to_string().len() + 1;
            }
        }
    }
    count - list.len()
}

/// Whether a list entry describes something healthy.
fn is_healthy(entry: &Value) -> bool {
    let word = |key: &str| entry[key].as_str().unwrap_or_default();
    let words = ["ok", "exists", "running", "skipped"];
    entry["ready"] == true
        || entry["running"] == true
        || ["status", "state"].iter().any(|key| words.contains(&word(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_document_is_shortened_by_what_is_well() {
        let machine =
            |at: usize| json!({"name": format!("machine-{at}"), "ready": at % 10 != 7, "why": "x".repeat(200)});
        let machines: Vec<Value> = (0..100).map(machine).collect();
        let plan = vec!["create"; 20];
        let document = json!({"steps": [], "data": {"sets": [{"machines": machines}], "plan": plan}, "next": []});
        let mut short = document.clone();
        shorten(&mut short);
        assert!(short.to_string().len() <= MAX_DOCUMENT_BYTES, "{}", short.to_string().len());
        let left = short["data"]["sets"][0]["machines"].as_array().expect("a list");
        assert_eq!(left.iter().filter(|machine| machine["ready"] == false).count(), 10);
        assert_eq!(short["data"]["omitted"], json!({"data.sets.machines": 100 - left.len()}));
        assert_eq!(short["data"]["plan"], document["data"]["plan"]);
        let mut small = json!({"data": {"machines": [1, 2, 3]}});
        shorten(&mut small);
        assert_eq!(small, json!({"data": {"machines": [1, 2, 3]}}));
    }

    #[test]
    fn document_of_many_lists_is_shortened_too() {
        let node = json!({"vms": vec!["a name of a virtual machine"; 7], "name": "pve"});
        let mut document = json!({"data": {"nodes": vec![node; 50]}});
        shorten(&mut document);
        assert!(document.to_string().len() <= MAX_DOCUMENT_BYTES);
        assert!(document["data"]["omitted"]["data.nodes"].as_u64() > Some(0), "{document}");
    }
}
