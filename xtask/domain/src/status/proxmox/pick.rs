//! A few entries of a long list: ten thousand machines as a tree take 50 MB.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// What was picked of a list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    pub entries: Vec<Value>,
    /// The list has no entry at all.
    pub of_none: bool,
}

/// A response, its entries as they are written.
#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
}

/// The entries that `wanted` picks of the list that is the `data` of a response; the others are let go one by one. `None` for
/// any other response.
pub fn pick(body: &str, wanted: &dyn Fn(&Value) -> bool) -> Option<Selection> {
    let Response { data } = serde_json::from_str(body).ok()?;
    let entries = data.iter().filter_map(|entry| serde_json::from_str(entry.get()).ok()).filter(wanted).collect();
    Some(Selection { entries, of_none: data.is_empty() })
}

/// The same of a list that was read as a whole; what is not a list has no entries.
pub fn picked(data: Value, wanted: &dyn Fn(&Value) -> bool) -> Selection {
    let Value::Array(mut entries) = data else { return Selection { of_none: true, ..Selection::default() } };
    let of_none = entries.is_empty();
    entries.retain(|entry| wanted(entry));
    Selection { entries, of_none }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picked_entries_are_those_of_the_whole_list() {
        let off = |vm: &Value| vm["status"] != "running";
        for body in [
            r#"{"data":[{"vmid":1,"status":"running"},{"vmid":2,"status":"stopped"},7],"success":1}"#,
            r#"{"total":{"a":[1]},"d\u0061ta":[{"status":"running"}]}"#,
            r#"{"data":[]}"#,
        ] {
            let whole: Value = serde_json::from_str(body).unwrap();
            assert_eq!(pick(body, &off), Some(picked(whole["data"].clone(), &off)), "{body}");
        }
        for other in ["", "[]", "{}", r#"{"data":null}"#, r#"{"data":{"a":1}}"#, r#"{"data":[1]} x"#, r#"{"data":[1"#] {
            assert_eq!(pick(other, &off), None, "{other}");
        }
    }
}
