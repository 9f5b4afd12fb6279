//! Checks what Talos refuses among the values that omnictl decodes: the table in `data/talos-limits.txt`.

use std::collections::{HashMap, HashSet};
use std::sync::{LazyLock, OnceLock};

use base64::Engine;
use domain::status::certificate::{pem_blocks, read_pem};
use regex::Regex;
use selector::check_for_talos;
use selector::time::duration;
use yaml::{Data, Entry, Node, Value};

use super::{Columns, Kind, Reader, TABLE, value};

pub(super) struct Limit {
    pub(super) form: &'static str,
    pub(super) argument: &'static str,
    pub(super) columns: Columns,
    /// The expression of a `like`, compiled on first use.
    like: OnceLock<Option<Regex>>,
}

pub(super) static LIMITS: LazyLock<HashMap<&'static str, Vec<Limit>>> = LazyLock::new(|| {
    let mut limits: HashMap<&str, Vec<Limit>> = HashMap::new();
    for line in include_str!("../../../data/talos-limits.txt").lines().filter(|line| !line.starts_with('#')) {
        let (text, range) = line.split_once(" @").unwrap_or((line, ""));
        let mut words = text.splitn(3, ' ');
        let (Some(field), Some(form)) = (words.next(), words.next()) else { continue };
        let limit = Limit {
            form,
            argument: words.next().unwrap_or_default(),
            columns: TABLE.range(range),
            like: OnceLock::new(),
        };
        limits.entry(field).or_default().push(limit);
    }
    limits
});

/// A part of a field's value that Talos refuses: what it is, and what is expected.
pub struct Refused<'n> {
    pub node: &'n Node,
    pub found: String,
    pub wanted: String,
}

/// Returns the parts of a field's value that this Talos refuses.
pub fn refused<'n>(of: &str, key: &str, node: &'n Node, reader: Reader) -> Vec<Refused<'n>> {
    let limits = LIMITS.get(format!("{of}.{key}").as_str()).map_or(&[][..], Vec::as_slice);
    let limits = limits.iter().filter(|limit| limit.form != "merges" && limit.columns & reader.columns != 0);
    limits.flat_map(|limit| limit.refused(node, reader)).collect()
}

/// A kind of document that Talos refuses together with an older field for the same setting.
pub struct Excluded {
    pub kind: &'static str,
    /// The path of that field.
    pub path: &'static str,
    /// The condition that the document must meet for that.
    pub condition: &'static str,
    /// The first minor of Talos whose new clusters have the document from the start.
    pub since: Option<u64>,
    /// Why the machines of such clusters refuse the field, and the fix.
    pub advice: Option<(&'static str, &'static str)>,
}

/// All excluded documents, with the minors that they apply to. Every template is checked against them.
static EXCLUDED: LazyLock<Vec<(Columns, Excluded)>> = LazyLock::new(|| {
    let limits = LIMITS.iter().flat_map(|(kind, limits)| limits.iter().map(move |limit| (*kind, limit)));
    let excluded = limits.filter_map(|(kind, limit)| {
        let since = match limit.form {
            "excludes" => None,
            "replaces" => Some(14),
            form => Some(form.strip_prefix("replaces:")?.parse().ok()?),
        };
        let (argument, advice) = limit.argument.split_once(" # ").unwrap_or((limit.argument, ""));
        let (path, condition) = argument.split_once(" if ").unwrap_or((argument, ""));
        Some((limit.columns, Excluded { kind, path, condition, since, advice: advice.split_once(" # ") }))
    });
    excluded.collect()
});

/// Returns the documents that this minor of Talos refuses together with an older field.
pub fn excluded(minor: Option<u64>) -> impl Iterator<Item = &'static Excluded> {
    let columns = minor.and_then(|minor| Reader::talos(minor, true)).map_or(Columns::MAX, |reader| reader.columns);
    EXCLUDED.iter().filter(move |(of, _)| of & columns != 0).map(|(_, excluded)| excluded)
}

/// Returns true for a kind of document that Talos accepts only on control planes.
pub fn is_of_control_planes(kind: &str) -> bool {
    LIMITS.get(kind).is_some_and(|limits| limits.iter().any(|limit| limit.form == "of"))
}

/// Returns true for a part of the configuration without kind that all machines, or control planes, have before the first patch.
pub fn is_base(path: &str, workers: bool) -> bool {
    let limits = LIMITS.get("v1alpha1.Config").map_or(&[][..], Vec::as_slice).iter();
    let mut limits = limits.filter(|limit| limit.form == "base" || limit.form == "base-of-control-planes" && !workers);
    limits.any(|limit| limit.argument.split('|').any(|part| part == path))
}

/// Returns true for a kind of document that a cluster's machines have before the first patch, if created with this minor.
pub fn is_given(kind: &str, minor: u64) -> bool {
    excluded(Some(minor)).any(|excluded| excluded.kind == kind && excluded.since.is_some_and(|since| since <= minor))
}

/// Returns the fields of which Talos needs one, if the field at `path` is the first of them.
pub fn required_alternatives(kind: &Kind, path: &str, minor: u64) -> Option<&'static str> {
    let columns = Reader::talos(minor, true).map_or(Columns::MAX, |reader| reader.columns);
    let mut limits =
        LIMITS.get(kind.kind)?.iter().filter(|limit| limit.form == "keeps" && limit.columns & columns != 0);
    limits.find(|limit| limit.argument.split('|').next() == Some(path)).map(|limit| limit.argument)
}

impl Limit {
    fn refused<'n>(&self, node: &'n Node, reader: Reader) -> Vec<Refused<'n>> {
        let refused = |node: &'n Node, found: String| Refused { node, found, wanted: self.wanted() };
        if self.form == "json" {
            let mut undecoded = Vec::new();
            json(node, self.argument, &mut undecoded);
            return undecoded;
        }
        match &node.data {
            Data::Seq(items) if self.form == "present" => {
                items.iter().filter(|item| item.is_null()).map(|item| refused(item, "null".to_owned())).collect()
            }
            Data::Map(entries) if self.form == "present" => {
                let empty = entries.iter().filter(|entry| entry.value.is_null());
                empty.map(|e| refused(&e.value, format!("a mapping whose `{}` is null", e.key))).collect()
            }
            Data::Seq(items) if self.form == "last" => {
                let size = |item: &Node| item.get(self.argument).and_then(Node::text).and_then(value::byte_count);
                let open =
                    items.iter().rev().skip(1).filter(|item| item.is_map() && size(item).is_none_or(|size| size < 1.0));
                open.map(|item| refused(item, format!("an entry without `{}` before the last entry", self.argument)))
                    .collect()
            }
            Data::Seq(items) if self.form == "ports" => {
                let mut ranges: Vec<(u16, u16, &Node)> = items.iter().filter_map(range).collect();
                ranges.sort_by_key(|range| range.0);
                let down = ranges.iter().filter(|(low, high, _)| low > high);
                let overlap = ranges.windows(2).filter(|pair| pair[1].0 <= pair[0].1).map(|pair| &pair[1]);
                let found = |(low, high, node): &(u16, u16, &'n Node)| match low > high {
                    true => refused(node, format!("`{low}-{high}`")),
                    false => refused(node, format!("`{low}-{high}`, which overlaps another range")),
                };
                down.chain(overlap).map(found).collect()
            }
            Data::Seq(items) if self.form == "distinct" => {
                let name = |item: &Node| item.get(self.argument).and_then(Node::text).unwrap_or("0").to_owned();
                let mut seen = HashSet::new();
                let twice = items.iter().filter(|item| !seen.insert(name(item)));
                twice
                    .map(|item| refused(item, format!("the second entry with `{}: {}`", self.argument, name(item))))
                    .collect()
            }
            Data::Seq(items) => items.iter().flat_map(|item| self.refused(item, reader)).collect(),
            Data::Map(entries) => {
                let listed = |key: &str| self.argument.split('|').any(|listed| listed == key);
                let wrong = entries.iter().filter(|entry| match self.form {
                    "only" => !listed(&entry.key),
                    "without" => listed(&entry.key),
                    "keys" => !self.is_like(&entry.key),
                    "values" => entry.value.text().is_some_and(|text| !self.is_like(text)),
                    _ => false,
                });
                let found = |entry: &Entry| match (self.form, entry.value.text()) {
                    ("values", Some(text)) => format!("a mapping with `{}: {text}`", entry.key),
                    _ => format!("a mapping with `{}`", entry.key),
                };
                wrong.map(|entry| refused(&entry.value, found(entry))).collect()
            }
            // An empty value sets nothing.
            Data::Scalar(scalar) if node.is_null() || scalar.text.is_empty() => Vec::new(),
            Data::Scalar(scalar) if self.form == "cel" => {
                let Some(minor) = reader.validates else { return Vec::new() };
                let Err(why) = check_for_talos(&scalar.text, self.argument, minor) else { return Vec::new() };
                vec![refused(node, format!("a selector that does not compile: {}", why.message))]
            }
            Data::Scalar(scalar) if self.holds(node, &scalar.text) => Vec::new(),
            Data::Scalar(_) if matches!(self.form, "key" | "pem") => vec![refused(node, "a text".to_owned())],
            Data::Scalar(scalar) => {
                vec![refused(node, format!("`{}`", scalar.text.chars().take(60).collect::<String>()))]
            }
        }
    }

    fn holds(&self, node: &Node, text: &str) -> bool {
        let subnet = |text: &str| value::address(text).is_some() || value::prefix(text);
        match self.form {
            "words" => self.argument.split('|').any(|word| word == text),
            "names" => self.argument.split('|').any(|word| word.eq_ignore_ascii_case(text)),
            "range" => match (node.value(), self.argument.split_once("..")) {
                (Some(Value::Int(number)), Some((low, high))) => {
                    low.parse().is_ok_and(|low: i128| low <= number)
                        && high.parse().map_or(true, |high: i128| number <= high)
                }
                _ => true,
            },
            "least" => duration(text).is_none_or(|found| found == 0 || Some(found) >= duration(self.argument)),
            "subnet" => subnet(text.strip_prefix('!').unwrap_or(text)),
            "address" => subnet(text),
            "ip" => value::address(text).is_some(),
            "not" => !self.argument.split('|').any(|word| word.eq_ignore_ascii_case(text)),
            "specified" => {
                let address = text.split('/').next().and_then(value::address);
                address.is_none_or(|address| !address.is_unspecified())
            }
            "prefix" => value::prefix(text),
            "pem" if self.argument == "certificate" => read_pem(text).is_ok_and(|found| !found.is_empty()),
            "pem" => pem_blocks(text).iter().any(|(label, body)| {
                label.ends_with(self.argument) && body.as_ref().is_some_and(|body| !body.is_empty())
            }),
            "key" => value::BASE64.decode(text).is_ok_and(|key| key.len() == 32),
            "like" => self.is_like(text),
            _ => true,
        }
    }

    fn is_like(&self, text: &str) -> bool {
        let like = self.like.get_or_init(|| Regex::new(&format!("^(?:{})$", self.argument)).ok());
        like.as_ref().is_none_or(|like| like.is_match(text))
    }

    fn wanted(&self) -> String {
        match self.argument.split_once("..").filter(|_| self.form == "range") {
            Some((low, "")) => format!("at least {low}"),
            Some((low, high)) => format!("a number from {low} to {high}"),
            None => wanted(self.form, self.argument),
        }
    }
}

/// Describes what a form of the table or a type accepts, from the `wanted` lines.
pub(super) fn wanted(form: &str, argument: &str) -> String {
    let lines = LIMITS.get("wanted").map_or(&[][..], Vec::as_slice);
    let line = |form: &str| lines.iter().find(|line| line.form == form);
    // `uint16` is a `uint`, and what a `cel` accepts depends on its argument.
    let sized = form.trim_end_matches(|c: char| c.is_ascii_digit());
    let text = line(&format!("{form}:{argument}")).or_else(|| line(form)).or_else(|| line(sized));
    let text = text.map_or("another value", |line| line.argument);
    text.replace("{,}", &argument.replace('|', ", ")).replace("{}", argument)
}

/// Collects the parts of a value that JSON does not decode into a type of the table.
fn json<'n>(node: &'n Node, kind: &'static str, undecoded: &mut Vec<Refused<'n>>) {
    let (list, mapping) = (kind.strip_prefix("[]"), kind.strip_prefix("{}"));
    let fields = LIMITS.get(kind).and_then(|fields| fields.first()).map(|fields| fields.argument);
    match (&node.data, node.value()) {
        _ if node.is_null() || kind == "any" => {}
        (Data::Seq(items), _) if list.is_some() => {
            items.iter().for_each(|item| json(item, list.unwrap_or_default(), undecoded));
        }
        (Data::Map(entries), _) if mapping.or(fields).is_some() => {
            for entry in entries {
                let named = |field: &'static str| {
                    field.split_once('=').filter(|(key, _)| key.eq_ignore_ascii_case(&entry.key)).map(|(_, kind)| kind)
                };
                let kind = mapping.or_else(|| fields?.split(' ').find_map(named));
                kind.into_iter().for_each(|kind| json(&entry.value, kind, undecoded));
            }
        }
        (_, Some(Value::Str(_) | Value::Timestamp(_))) if kind == "string" => {}
        (_, Some(Value::Bool(_))) if kind == "bool" => {}
        (_, Some(Value::Int(_) | Value::Float(_))) if kind != "string" && value::decodes(node, kind) => {}
        _ => {
            let wanted = if fields.is_some() { "a mapping".to_owned() } else { wanted(kind, "") };
            let found = node.text().map_or_else(|| node.tag_name().to_owned(), |text| format!("`{text}`"));
            undecoded.push(Refused { node, found: format!("set to {found} inside"), wanted });
        }
    }
}

/// Parses the ports of `80` or `80-90`.
fn range(node: &Node) -> Option<(u16, u16, &Node)> {
    let text = node.text()?;
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    Some((low.parse().ok()?, high.parse().ok()?, node))
}
