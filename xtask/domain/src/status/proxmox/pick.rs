//! Selects a few entries of a long list: parsing ten thousand machines into a tree takes 50 MB.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The selected entries of a list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    pub entries: Vec<Value>,
    /// Whether the list itself is empty, before the selection.
    pub list_is_empty: bool,
}

/// A response with unparsed entries.
#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
}

/// Returns the entries of a response's `data` list that `wanted` accepts, reduced to these `keys`; the others are dropped one by
/// one. `None` if the response has another form.
pub fn pick(body: &str, keys: &[&str], wanted: &dyn Fn(&Value) -> bool) -> Option<Selection> {
    let Response { data } = serde_json::from_str(body).ok()?;
    let read = data.iter().filter_map(|entry| serde_json::from_str(entry.get()).ok());
    Some(Selection { entries: select_entries(read, keys, wanted), list_is_empty: data.is_empty() })
}

/// Same as [`pick`] for a list that is already parsed; other values count as an empty list.
pub fn select_from_value(data: Value, keys: &[&str], wanted: &dyn Fn(&Value) -> bool) -> Selection {
    let Value::Array(entries) = data else { return Selection { list_is_empty: true, ..Selection::default() } };
    let of_none = entries.is_empty();
    Selection { entries: select_entries(entries.into_iter(), keys, wanted), list_is_empty: of_none }
}

fn select_entries(entries: impl Iterator<Item = Value>, keys: &[&str], wanted: &dyn Fn(&Value) -> bool) -> Vec<Value> {
    let part = |mut entry: Value| keys.iter().filter_map(|key| Some((*key, entry.get_mut(key)?.take()))).collect();
    entries.filter(wanted).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picked_entries_match_the_parsed_list() {
        let off = |vm: &Value| vm["status"] != "running";
        for body in [
            r#"{"data":[{"vmid":1,"status":"running"},{"vmid":2,"status":"stopped"},7],"success":1}"#,
            r#"{"total":{"a":[1]},"d\u0061ta":[{"status":"running"}]}"#,
            r#"{"data":[]}"#,
        ] {
            let whole: Value = serde_json::from_str(body).unwrap();
            let picked = select_from_value(whole["data"].clone(), &["vmid"], &off);
            assert!(
                picked.entries.iter().all(|vm| vm.get("status").is_none()),
                "only keys that are asked for are kept"
            );
            assert_eq!(pick(body, &["vmid"], &off), Some(picked), "{body}");
        }
        for other in ["", "[]", "{}", r#"{"data":null}"#, r#"{"data":{"a":1}}"#, r#"{"data":[1]} x"#, r#"{"data":[1"#] {
            assert_eq!(pick(other, &["vmid"], &off), None, "{other}");
        }
    }
}
