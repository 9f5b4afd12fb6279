//! A few entries of a long list: ten thousand machines as a tree take 50 MB.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// What was picked of a list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    pub entries: Vec<Value>,
    /// The list has no entry at all.
    pub of_none: bool,
}

/// The entries that `wanted` picks of the list that is the `data` of a response; the others are let go one by one. `None` for
/// any other response.
pub fn pick(body: &str, wanted: &dyn Fn(&Value) -> bool) -> Option<Selection> {
    let mut json = serde_json::Deserializer::from_str(body);
    let picked = json.deserialize_map(Data(wanted)).ok()??;
    json.end().ok().map(|()| picked)
}

/// The same of a list that was read as a whole; what is not a list has no entries.
pub fn picked(data: Value, wanted: &dyn Fn(&Value) -> bool) -> Selection {
    let Value::Array(mut entries) = data else { return Selection { of_none: true, ..Selection::default() } };
    let of_none = entries.is_empty();
    entries.retain(|entry| wanted(entry));
    Selection { entries, of_none }
}

struct Data<'w>(&'w dyn Fn(&Value) -> bool);

impl<'de> Visitor<'de> for Data<'_> {
    type Value = Option<Selection>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a response with `data`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut picked = None;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "data" => picked = Some(map.next_value_seed(List(self.0))?),
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(picked)
    }
}

struct List<'w>(&'w dyn Fn(&Value) -> bool);

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = Selection;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Selection, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = Selection;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Selection, A::Error> {
        let mut picked = Selection { of_none: true, ..Selection::default() };
        while let Some(entry) = list.next_element::<Value>()? {
            picked.of_none = false;
            if self.0(&entry) {
                picked.entries.push(entry);
            }
        }
        Ok(picked)
    }
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
