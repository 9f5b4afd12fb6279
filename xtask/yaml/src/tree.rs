//! Builds a tree from events, keeping the position of every key and value.

use std::collections::{HashMap, HashSet};

use super::events::{Event, Events, Fault};
use super::scalar::{Scalar, Style, Value, resolve};
use super::text::{Lines, TextPosition, block_indent};
use super::{MAX_DEPTH, NODE_COST};
use crate::{Finding, Position};

/// A document of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub root: Node,
}

/// A value with its position. Aliases are already resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub at: Position,
    /// An explicit tag in its short form (`!!str`); rare in these files.
    pub tag: Option<Box<str>>,
    pub data: Data,
    pub copied: CopyOrigin,
}

/// Whether a value is written at this place or copied by an alias or a merge key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CopyOrigin {
    #[default]
    No,
    /// Copied by an alias (`*name`).
    Alias,
    /// Copied by a merge key (`<<`) at this position.
    Merge(Position),
}

/// The contents of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    Scalar(Scalar),
    Seq(Vec<Node>),
    /// Entries in file order. Merge keys (`<<`) are already merged; duplicate keys are all included, and reported.
    Map(Vec<Entry>),
}

/// A key with its value. `at` is the position of the key.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: String,
    pub at: Position,
    pub value: Node,
    /// Whether the key is a number, a bool or null instead of a string, which some readers distinguish.
    pub is_not_string: bool,
}

impl Node {
    /// Creates a mapping without entries.
    pub fn mapping(at: Position) -> Node {
        Node { at, tag: None, data: Data::Map(Vec::new()), copied: CopyOrigin::No }
    }

    /// Returns the entries of a mapping; empty for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.data {
            Data::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Returns the items of a sequence; empty for anything else.
    pub fn items(&self) -> &[Node] {
        match &self.data {
            Data::Seq(items) => items,
            _ => &[],
        }
    }

    /// Returns the entry of a mapping with this key, the first if there are several.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|e| e.key == key)
    }

    /// Returns the value of a mapping under this key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|e| &e.value)
    }

    /// Returns the value under a chain of keys.
    pub fn path(&self, keys: &[&str]) -> Option<&Node> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Marks copied values as written out, as they appear after a program has expanded the aliases.
    pub fn write_out(&mut self) {
        self.copied = CopyOrigin::No;
        match &mut self.data {
            Data::Map(entries) => entries.iter_mut().for_each(|entry| entry.value.write_out()),
            Data::Seq(items) => items.iter_mut().for_each(Node::write_out),
            Data::Scalar(_) => {}
        }
    }

    /// Returns true for a mapping.
    pub fn is_map(&self) -> bool {
        matches!(self.data, Data::Map(_))
    }

    /// Returns true for a scalar that means null, including an omitted value.
    pub fn is_null(&self) -> bool {
        self.value() == Some(Value::Null)
    }

    /// Returns the scalar as written.
    pub fn scalar(&self) -> Option<&Scalar> {
        match &self.data {
            Data::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// Returns the value of a scalar; `None` for a mapping or a sequence.
    pub fn value(&self) -> Option<Value<'_>> {
        self.scalar().map(|s| resolve(&s.text, s.style, self.tag.as_deref()))
    }

    /// Returns the text of a scalar regardless of its type, as Go decodes any scalar into a string; `None` for null.
    pub fn text(&self) -> Option<&str> {
        match self.value()? {
            Value::Null => None,
            _ => self.scalar().map(|s| s.text.as_str()),
        }
    }

    /// Returns the tag that the YAML library uses for this kind of node: `!!map`, `!!seq` or the tag of the scalar.
    pub fn tag_name(&self) -> &'static str {
        match &self.data {
            Data::Map(_) => "!!map",
            Data::Seq(_) => "!!seq",
            Data::Scalar(_) => self.value().map_or("!!str", |v| v.tag()),
        }
    }
}

/// Maximum number of duplicate keys to report for one mapping.
const MAX_DUPLICATES: usize = 50;

/// Builds the documents of a text up to the first error.
pub(super) struct Builder<'a> {
    file: &'a str,
    text: &'a str,
    origin: TextPosition,
    events: Events<'a>,
    lines: Option<Lines<'a>>,
    anchors: HashMap<String, Option<(Node, usize)>>,
    budget: usize,
    /// Whether control characters in the text are replaced by stand-ins.
    pub(super) hidden: bool,
    pub(super) findings: Vec<Finding>,
}

type Built = Result<Node, Finding>;

impl<'a> Builder<'a> {
    pub(super) fn new(file: &'a str, text: &'a str, origin: TextPosition, budget: usize) -> Builder<'a> {
        let (lines, anchors, findings) = (None, HashMap::new(), Vec::new());
        Builder { file, text, origin, events: Events::new(text), lines, anchors, budget, hidden: false, findings }
    }

    /// Returns the next document, or `None` at the end. Must not be called again after an error.
    pub(super) fn document(&mut self) -> Result<Option<Document>, Finding> {
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(None),
                (Event::DocumentStart(Some(version)), at) if version != (1, 1) => {
                    let message = "found incompatible YAML document: Omni's programs read YAML 1.1".to_owned();
                    return Err(self.error("yaml-syntax", at, message, "remove the line `%YAML`"));
                }
                (Event::DocumentStart(_), _) => {
                    self.anchors.clear();
                    let (event, at) = self.next()?;
                    return Ok(Some(Document { root: self.node(event, at, 0)? }));
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event, Position), Finding> {
        let next = self.events.next().map_err(|fault| self.syntax(fault))?;
        Ok((next.0, self.origin.at(next.1)))
    }

    fn node(&mut self, event: Event, at: Position, depth: usize) -> Built {
        if depth > MAX_DEPTH {
            let message = format!("values are nested more than {MAX_DEPTH} deep");
            let fix = "flatten it: no Omni, Talos or Kubernetes document is nested this deep";
            return Err(self.error("yaml-too-deep", at, message, fix));
        }
        let before = self.budget;
        self.spend_budget(NODE_COST, at)?;
        let copied = CopyOrigin::No;
        let (node, anchor) = match event {
            Event::Alias(name) => return self.alias(&name, at),
            Event::Scalar { anchor, tag, mut value, style } => {
                if self.hidden {
                    value = super::text::show_controls(&value);
                }
                self.spend_budget(value.len(), at)?;
                let tag = short_tag(tag);
                self.tag_fits(&value, style, tag.as_deref(), at)?;
                let body = self.text_position(at, style, &value);
                let data = Data::Scalar(Scalar { text: value, style, body });
                (Node { at, tag, data, copied }, anchor)
            }
            Event::SequenceStart { anchor, tag } => {
                self.open(&anchor);
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, at) => items.push(self.node(event, at, depth + 1)?),
                    }
                }
                (Node { at, tag: short_tag(tag), data: Data::Seq(items), copied }, anchor)
            }
            Event::MappingStart { anchor, tag } => {
                self.open(&anchor);
                let entries = self.entries(depth)?;
                (Node { at, tag: short_tag(tag), data: Data::Map(entries), copied }, anchor)
            }
            // libyaml starts every node with one of the events above.
            _ => return Err(self.error("yaml-syntax", at, "a value is missing here".into(), "")),
        };
        if let Some(anchor) = anchor {
            let cost = before - self.budget;
            self.spend_budget(cost, at)?;
            self.anchors.insert(anchor, Some((node.clone(), cost)));
        }
        Ok(node)
    }

    /// Go's library rejects an explicit tag (`!!int x`) that does not match the text.
    fn tag_fits(&self, text: &str, style: Style, tag: Option<&str>, at: Position) -> Result<(), Finding> {
        let Some(tag @ ("!!int" | "!!float" | "!!bool" | "!!null" | "!!timestamp")) = tag else { return Ok(()) };
        let found = resolve(text, style, Some(tag)).tag();
        if found == tag {
            return Ok(());
        }
        let message = format!("cannot construct {found} `{text}` as a {tag}");
        Err(self.error("yaml-syntax", at, message, "omit the tag"))
    }

    /// Marks an anchor whose value is still being read: an alias to it would contain itself.
    fn open(&mut self, anchor: &Option<String>) {
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor.clone(), None);
        }
    }

    fn alias(&mut self, name: &str, at: Position) -> Built {
        match self.anchors.get(name) {
            Some(Some((node, cost))) => {
                // The copy keeps the positions of the original, because that is the text to edit.
                if *cost > self.budget {
                    return Err(self.alias_bomb(at));
                }
                self.budget -= *cost;
                Ok(Node { copied: CopyOrigin::Alias, ..node.clone() })
            }
            Some(None) => {
                let message = format!("the value of anchor `{name}` contains itself");
                Err(self.error("yaml-alias-cycle", at, message, "write out the value instead of the alias"))
            }
            None => {
                let message = format!("alias `*{name}` has no anchor `&{name}` before it in this document");
                let fix = "define the anchor first, or quote the value if it should start with `*`";
                Err(self.error("yaml-unknown-anchor", at, message, fix))
            }
        }
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<Entry>, Finding> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut merges = Vec::new();
        loop {
            let (event, at) = match self.next()? {
                (Event::MappingEnd, _) => break,
                other => other,
            };
            let key = self.node(event, at, depth + 1)?;
            let merge = matches!(&key.data, Data::Scalar(s) if s.text == "<<" && s.style == Style::Plain);
            let odd = !matches!(key.value(), None | Some(Value::Str(_)));
            let Data::Scalar(scalar) = key.data else {
                let message = "a key that is itself a list or a mapping".to_owned();
                return Err(self.error("yaml-complex-key", at, message, "quote it if you mean text: \"{…}\""));
            };
            let (event, value_at) = self.next()?;
            let value = self.node(event, value_at, depth + 1)?;
            if merge {
                merges.push((at, value));
            } else {
                entries.push(Entry { key: scalar.text, at, value, is_not_string: odd });
            }
        }
        self.duplicates(&entries);
        for (at, merge) in merges {
            self.merge(&mut entries, at, merge)?;
        }
        Ok(entries)
    }

    fn duplicates(&mut self, entries: &[Entry]) {
        let mut reported = 0;
        let mut seen: HashMap<&str, u32> = HashMap::with_capacity(entries.len());
        for entry in entries {
            match seen.get(entry.key.as_str()) {
                Some(_) if reported >= MAX_DUPLICATES => break,
                Some(first) => {
                    reported += 1;
                    let message = format!("key `{}` is already defined at line {first}", entry.key);
                    let place = entry.at.in_file(self.file);
                    self.findings.push(Finding::error("yaml-duplicate-key", place, message, "keep only one of them"));
                }
                None => drop(seen.insert(&entry.key, entry.at.line)),
            }
        }
    }

    /// Merges `<<: *base` and `<<: [*a, *b]`; existing keys take precedence.
    fn merge(&mut self, entries: &mut Vec<Entry>, key: Position, value: Node) -> Result<(), Finding> {
        let at = value.at;
        let sources = match value.data {
            Data::Map(_) => vec![value],
            Data::Seq(items) if items.iter().all(Node::is_map) => items,
            _ => {
                let message = "`<<` merges mappings, but this is not a mapping".to_owned();
                return Err(self.error(
                    "yaml-syntax",
                    at,
                    message,
                    "refer to the anchor of a mapping, or quote the key",
                ));
            }
        };
        let mut have: HashSet<String> = entries.iter().map(|e| e.key.clone()).collect();
        for source in sources {
            if let Data::Map(more) = source.data {
                let new = more.into_iter().filter(|e| have.insert(e.key.clone()));
                entries.extend(new.map(|mut entry| {
                    entry.value.copied = CopyOrigin::Merge(key);
                    entry
                }));
            }
        }
        Ok(())
    }

    fn text_position(&mut self, at: Position, style: Style, value: &str) -> TextPosition {
        match style {
            Style::Plain if !value.contains('\n') => TextPosition::line(at),
            Style::Quoted if !value.contains('\n') => {
                TextPosition::line(Position { column: at.column.saturating_add(1), ..at })
            }
            Style::Literal => {
                let text = self.text;
                let lines = self.lines.get_or_insert_with(|| Lines::new(text));
                // `lines` starts at the start of this text, which may itself be in a literal block.
                let header = at.line.saturating_sub(self.origin.start.line).saturating_add(1);
                let indent = block_indent(lines, header, value);
                TextPosition::block(Position {
                    line: at.line.saturating_add(1),
                    column: self.origin.start.column + indent,
                })
            }
            _ => TextPosition::point(at),
        }
    }

    fn spend_budget(&mut self, cost: usize, at: Position) -> Result<(), Finding> {
        match self.budget.checked_sub(cost) {
            Some(rest) => {
                self.budget = rest;
                Ok(())
            }
            None => Err(self.alias_bomb(at)),
        }
    }

    fn alias_bomb(&self, at: Position) -> Finding {
        let message = "the document expands to more than 24 MiB: too many values, or nested aliases".to_owned();
        self.error(
            "yaml-alias-bomb",
            at,
            message,
            "use fewer values, and no alias to an anchor that itself contains many aliases",
        )
    }

    fn error(&self, rule: &'static str, at: Position, message: String, fix: &str) -> Finding {
        Finding::error(rule, at.in_file(self.file), message, fix)
    }

    fn syntax(&self, fault: Fault) -> Finding {
        let inner = fault.at.unwrap_or_else(|| super::text::end_of(self.text.get(..fault.offset).unwrap_or_default()));
        let line = self.text.split('\n').nth(inner.line.saturating_sub(1) as usize).unwrap_or_default();
        let fix = hint(&fault.message, line);
        self.error("yaml-syntax", self.origin.at(inner), fault.message, fix)
    }
}

/// Returns the usual cause of a libyaml message, which describes only the symptom.
fn hint(message: &str, line: &str) -> &'static str {
    if line.trim_start_matches(' ').starts_with('\t') {
        "indent with spaces: YAML forbids tabs"
    } else if line.split_once(": ").is_some_and(|(_, value)| value.trim_start().starts_with(['"', '\'', '[', '{'])) {
        "put the whole value in quotes: YAML ends it where the opening character (a quote, `[`, `{`) is closed"
    } else if message.contains("mapping values are not allowed") {
        "quote the value if it contains `: `, or fix the indentation of the line before"
    } else if message.contains("cannot start any token") {
        "quote the value: it starts with a character that is special in YAML (`%`, `@`, `` ` ``)"
    } else if message.contains("control characters") {
        "remove the control character, or check that this is a text file"
    } else if message.contains("did not find expected key") || message.contains("could not find expected ':'") {
        "check the indentation of this line and the one before, and that every key ends with `: `"
    } else {
        "check quotes, brackets and indentation here and on the line before"
    }
}

fn short_tag(tag: Option<String>) -> Option<Box<str>> {
    tag.map(|t| match t.strip_prefix("tag:yaml.org,2002:") {
        Some(core) => format!("!!{core}").into_boxed_str(),
        None => t.into_boxed_str(),
    })
}
