//! Talos's configuration documents as each release of omnictl and of Talos decodes them: the table in
//! `data/talos-config.txt`, and a walk that compares a document with it.

mod limit;
mod merge;
mod relation;
mod value;

use std::collections::HashMap;
use std::sync::LazyLock;

use yaml::{CopyOrigin, Data, Node, Position};

use super::releases::Omni;
pub use limit::{Excluded, excluded, is_base, is_given, is_of_control_planes, required_alternatives};
pub use merge::{deletes, merge, selects};
pub use relation::{applies, is_set_at};

/// The name of the document that needs no `kind`.
pub const V1ALPHA1: &str = "v1alpha1";

/// A set of table columns, one bit each.
type Columns = u32;

struct Column {
    name: &'static str,
    /// The minors of omnictl 1.x that decode with this column.
    omnictl: Vec<u64>,
    /// Whether the search for unknown keys skips lists of arguments.
    lists: bool,
}

struct Field {
    key: &'static str,
    kind: &'static str,
    columns: Columns,
}

#[derive(Default)]
struct Table {
    columns: Vec<Column>,
    documents: HashMap<&'static str, (&'static str, Columns)>,
    exclusive: Vec<(Vec<&'static str>, Columns)>,
    enums: HashMap<&'static str, Vec<(&'static str, Columns)>>,
    structs: HashMap<&'static str, Vec<Field>>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::default();
    let mut of = "";
    for line in include_str!("../../../data/talos-config.txt").lines().filter(|line| !line.starts_with('#')) {
        let (text, range) = line.split_once(" @").unwrap_or((line, ""));
        let columns = table.range(range);
        let mut words = text.split_whitespace();
        let (Some(first), Some(second)) = (words.next(), words.next()) else { continue };
        match first {
            _ if line.starts_with(' ') => {
                table.structs.entry(of).or_default().push(Field { key: first, kind: second, columns });
            }
            "source" => {
                let omnictl = words.clone().find_map(|word| word.strip_prefix("omnictl="));
                let omnictl = omnictl.into_iter().flat_map(|minors| minors.split('+')).flat_map(str::parse).collect();
                table.columns.push(Column { name: second, omnictl, lists: text.ends_with(" lists") });
            }
            "struct" => {
                of = second;
                table.structs.entry(of).or_default();
            }
            "document" => {
                let document = table.documents.entry(second).or_insert((words.next().unwrap_or_default(), 0));
                document.1 |= columns;
            }
            "exclusive" => table.exclusive.push((second.split('|').collect(), columns)),
            _ => table.enums.entry(second).or_default().push((words.next().unwrap_or_default(), columns)),
        }
    }
    table
});

impl Table {
    /// Parses a range such as `1.12b-1.12,1.14b-`; an empty range means all columns.
    fn range(&self, text: &str) -> Columns {
        let at = |name: &str| self.columns.iter().position(|column| column.name == name);
        let one = |part: &str| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to) = (at(from).unwrap_or(0), at(to).map_or(self.columns.len(), |to| to + 1));
            (from..to).fold(0, |columns, n| columns | 1 << n)
        };
        text.split(',').map(one).fold(0, |columns, more| columns | more)
    }

    fn columns(&self, wanted: impl Fn(&Column) -> bool) -> Columns {
        let bits = self.columns.iter().enumerate().filter(|(_, column)| wanted(column));
        bits.fold(0, |columns, (n, _)| columns | 1 << n)
    }
}

/// The program that reads a document: one release, or any of several possible releases.
#[derive(Debug, Clone, Copy)]
pub struct Reader {
    columns: Columns,
    /// False for a release that is newer than the table and may know more.
    pub exact: bool,
    /// The minor of a machine's Talos, which refuses some values that omnictl decodes.
    validates: Option<u64>,
    /// Whether the machine is a control plane, or some of the possible machines are.
    control_plane: bool,
}

impl Reader {
    /// Returns the reader for the omnictl of a release, or for all from 1.4 on if the release is unknown.
    pub fn omnictl(omni: Option<Omni>) -> Reader {
        let Some(minor) = omni.map(|omni| omni.version().minor) else {
            return Reader {
                columns: TABLE.columns(|column| column.omnictl.iter().any(|minor| *minor >= 4)),
                exact: true,
                validates: None,
                control_plane: true,
            };
        };
        let columns = TABLE.columns(|column| column.omnictl.contains(&minor));
        // The newest column is the closest to a release beyond it.
        let newest = 1 << (TABLE.columns.len() - 1);
        let exact = columns & !newest != 0;
        let columns = if columns == 0 { newest } else { columns };
        Reader { columns, exact, validates: None, control_plane: true }
    }

    /// Returns the reader for a minor of Talos; `None` if the table does not have it.
    pub fn talos(minor: u64, control_plane: bool) -> Option<Reader> {
        let name = format!("1.{minor}");
        let columns = TABLE.columns(|column| column.name == name);
        (columns != 0).then_some(Reader { columns, exact: true, validates: Some(minor), control_plane })
    }

    /// Returns the same reader without the validation of values.
    pub fn decoding(self) -> Reader {
        Reader { validates: None, ..self }
    }

    /// Returns true if every possible release is among `columns`, false if none is, and `None` if only some are.
    fn includes(self, columns: Columns) -> Option<bool> {
        match columns & self.columns {
            0 => Some(false),
            common if common == self.columns => Some(true),
            _ => None,
        }
    }
}

/// Returns the first minor of omnictl 1.x in `columns`.
fn since(columns: Columns) -> Option<u64> {
    let with = TABLE.columns.iter().enumerate().filter(|(n, _)| columns & 1 << n != 0);
    with.flat_map(|(_, column)| column.omnictl.iter().copied()).min()
}

/// A kind of document, with the releases that know it.
#[derive(Clone, Copy)]
pub struct Kind {
    columns: Columns,
    /// The struct that it is decoded into.
    kind: &'static str,
}

impl Kind {
    /// Finds a kind of document by its `kind`.
    pub fn find(name: &str) -> Option<Kind> {
        let (kind, columns) = *TABLE.documents.get(name)?;
        Some(Kind { columns, kind })
    }

    /// Returns whether the reader knows the kind; `None` if that depends on its release.
    pub fn known_to(&self, reader: Reader) -> Option<bool> {
        reader.includes(self.columns)
    }

    /// Returns the first minor of omnictl 1.x that knows the kind.
    pub fn omnictl(&self) -> Option<u64> {
        since(self.columns)
    }

    /// Returns the first minor of Talos 1.x that knows the kind.
    pub fn talos(&self) -> Option<u64> {
        let with = TABLE.columns.iter().enumerate().filter(|(n, _)| self.columns & 1 << n != 0);
        with.flat_map(|(_, column)| column.name.strip_prefix("1.")?.parse().ok()).min()
    }
}

/// Returns the kinds of document other than v1alpha1, sorted.
pub fn kinds() -> Vec<&'static str> {
    let mut kinds: Vec<&str> = TABLE.documents.keys().copied().filter(|kind| *kind != V1ALPHA1).collect();
    kinds.sort_unstable();
    kinds
}

/// Returns the newest type of a field.
fn field(of: &str, key: &str) -> Option<&'static str> {
    Some(TABLE.structs.get(of)?.iter().rev().find(|field| field.key == key)?.kind)
}

/// Returns the newest type at a path of a kind of document.
pub fn type_at(kind: &Kind, path: &[&str]) -> Option<&'static str> {
    let below = |of: &'static str, key: &&str| match of {
        "object" => Some(of),
        _ => of.strip_prefix("{}").or_else(|| field(of, key)),
    };
    path.iter().try_fold(kind.kind, below)
}

/// Returns true if the reader refuses documents of these two kinds with the same name.
pub fn exclude_each_other(one: &str, other: &str, reader: Reader) -> bool {
    let both = |set: &[&str]| set.contains(&one) && set.contains(&other);
    TABLE.exclusive.iter().any(|(set, columns)| reader.includes(*columns) == Some(true) && both(set))
}

/// Why a reader refuses a document.
#[derive(Debug)]
pub enum Fault {
    /// An unknown key.
    Key {
        key: String,
        /// The first minor of omnictl 1.x that has the key, if any.
        since: Option<u64>,
        /// The known keys in the same place.
        known: Vec<&'static str>,
    },
    /// A value that cannot be decoded: what it is, and what is expected.
    Value { found: String, wanted: String },
    /// Fields of one mapping that conflict or depend on each other.
    Relation(relation::Broken),
}

/// A [`Fault`] with its location.
#[derive(Debug)]
pub struct Problem {
    pub at: Position,
    pub path: String,
    pub fault: Fault,
}

/// The result of comparing a document with what Talos reads.
#[derive(Debug, Default)]
pub struct DocumentComparison {
    pub problems: Vec<Problem>,
    /// Whether the possible releases differ in something that the document has.
    pub differs: bool,
}

/// Compares a document with what the reader decodes.
pub fn walk(document: &Node, kind: &Kind, reader: Reader) -> DocumentComparison {
    let mut walker = Walker { walk: DocumentComparison::default(), path: String::new(), copied: false };
    walker.fields(document, kind.kind, reader, kind.kind != "v1alpha1.Config");
    walker.walk
}

struct Walker {
    walk: DocumentComparison,
    path: String,
    /// Whether the walk is inside a copied node.
    copied: bool,
}

impl Walker {
    fn refuse(&mut self, at: Position, fault: Fault) {
        let path = self.path.strip_prefix('.').unwrap_or(&self.path).to_owned();
        self.walk.problems.push(Problem { at, path, fault });
    }

    /// Reports a value of the wrong type. Omits possible secrets: text in place of a larger value, a key, a URL.
    fn report_type(&mut self, node: &Node, kind: &str, wanted: &str) {
        let found = match &node.data {
            Data::Map(_) => "a mapping".to_owned(),
            Data::Seq(_) => "a list".to_owned(),
            Data::Scalar(_) if value::may_be_secret(kind) => "a text".to_owned(),
            Data::Scalar(scalar) => format!("`{}`", scalar.text.chars().take(60).collect::<String>()),
        };
        self.refuse(node.at, Fault::Value { found, wanted: wanted.to_owned() });
    }

    fn within_key(&mut self, key: &str, then: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push('.');
        self.path.push_str(key);
        then(self);
        self.path.truncate(length);
    }

    fn value(&mut self, node: &Node, kind: &'static str, reader: Reader) {
        let outside = self.copied;
        self.copied |= node.copied != CopyOrigin::No;
        self.written(node, kind, reader);
        self.copied = outside;
    }

    fn written(&mut self, node: &Node, kind: &'static str, reader: Reader) {
        // Null changes nothing.
        if node.is_null() || kind == "any" {
            return;
        }
        match &node.data {
            Data::Seq(items) => match kind.strip_prefix("[]") {
                Some(item) => items.iter().for_each(|node| self.value(node, item, reader)),
                None if kind == "arg" && reader.includes(TABLE.columns(|column| column.lists)) != Some(false) => {
                    self.walk.differs |= reader.includes(TABLE.columns(|column| column.lists)).is_none();
                    items.iter().for_each(|node| self.value(node, "string", reader));
                }
                None if kind == "text" => items.iter().for_each(|node| self.value(node, "uint8", reader)),
                None => self.report_type(node, kind, &wanted(kind)),
            },
            Data::Map(entries) => match kind.strip_prefix("{}") {
                Some(item) => {
                    for entry in entries {
                        self.within_key(&entry.key, |walker| walker.value(&entry.value, item, reader));
                    }
                }
                None if kind == "object" => {}
                None if TABLE.structs.contains_key(kind) => self.fields(node, kind, reader, false),
                None => self.report_type(node, kind, &wanted(kind)),
            },
            Data::Scalar(_) => match kind.split_once(':') {
                Some((form, name)) => self.one_of(node, form == "flags", name, reader),
                None if value::decodes(node, kind) => {}
                None => self.report_type(node, kind, &wanted(kind)),
            },
        }
    }

    fn fields(&mut self, node: &Node, of: &'static str, reader: Reader, header: bool) {
        let fields = TABLE.structs.get(of).map_or(&[][..], Vec::as_slice);
        let validates = reader.validates.filter(|_| relation::is_validated(of, node, reader));
        let reader = Reader { validates, ..reader };
        let mut merged = false;
        for entry in node.entries() {
            if header && matches!(entry.key.as_str(), "apiVersion" | "kind") {
                continue;
            }
            if let CopyOrigin::Merge(at) = entry.value.copied
                && !self.copied
            {
                if !std::mem::replace(&mut merged, true) {
                    let fault = Fault::Key { key: "<<".to_owned(), since: None, known: Vec::new() };
                    self.within_key("<<", |walker| walker.refuse(at, fault));
                }
                continue;
            }
            let all = fields.iter().filter(|field| field.key == entry.key);
            let columns = all.clone().fold(0, |columns, field| columns | field.columns);
            self.within_key(&entry.key, |walker| match reader.includes(columns) {
                // The search for unknown fields (siderolabs/gen xyaml) does not follow aliases.
                Some(false) if walker.copied => {}
                Some(false) => {
                    let known = fields.iter().filter(|field| field.columns & reader.columns != 0);
                    let mut known: Vec<&str> = known.map(|field| field.key).collect();
                    known.dedup();
                    let fault = Fault::Key { key: entry.key.clone(), since: since(columns), known };
                    walker.refuse(entry.at, fault);
                }
                has => {
                    walker.walk.differs |= has.is_none();
                    // A field that changed is checked against the newest possible release.
                    let reads = |field: &&Field| field.columns & reader.columns != 0;
                    let Some(field) = all.rev().find(reads) else { return };
                    walker.walk.differs |= reader.includes(field.columns).is_none();
                    let reader = Reader { columns: reader.columns & field.columns, ..reader };
                    let before = walker.walk.problems.len();
                    walker.value(&entry.value, field.kind, reader);
                    if reader.validates.is_some() && walker.walk.problems.len() == before {
                        for limit::Refused { node, found, wanted } in
                            limit::refused(of, field.key, &entry.value, reader)
                        {
                            walker.refuse(node.at, Fault::Value { found, wanted });
                        }
                    }
                }
            });
        }
        if reader.validates.is_some() {
            for broken in relation::broken(of, node, reader) {
                self.refuse(node.at, Fault::Relation(broken));
            }
        }
    }

    fn one_of(&mut self, node: &Node, several: bool, name: &str, reader: Reader) {
        let lists = TABLE.enums.get(name).map_or(&[][..], Vec::as_slice);
        let with = |value: &str| {
            lists.iter().filter(|(list, _)| list_contains(list, value)).fold(0, |all, (_, some)| all | some)
        };
        let text = node.text().unwrap_or_default();
        let values: Vec<&str> = if several { text.split(',').collect() } else { vec![text] };
        for value in values {
            match reader.includes(with(value) | with(&value.to_lowercase())) {
                Some(true) => {}
                Some(false) => {
                    let list = lists.iter().rev().find(|(_, columns)| columns & reader.columns != 0);
                    let list = list.map_or(String::new(), |(list, _)| list.replace('|', ", "));
                    return self.report_type(node, "enum", &format!("one of {list}"));
                }
                None => self.walk.differs = true,
            }
        }
    }
}

/// Returns true if a list of names such as `unspec|1..252|main` contains a value.
fn list_contains(list: &str, value: &str) -> bool {
    list.split('|').any(|name| match name.split_once("..") {
        Some((low, high)) => {
            let number = |text: &str| text.parse::<u32>().ok().filter(|number| number.to_string() == text);
            number(value).is_some_and(|number| Some(number) >= low.parse().ok() && Some(number) <= high.parse().ok())
        }
        None => name == value,
    })
}

/// Describes what a type of the table accepts.
fn wanted(kind: &str) -> String {
    if kind.starts_with("[]") {
        return "a list".to_owned();
    }
    if kind.starts_with("{}") || kind == "object" || kind.contains('.') && !kind.contains(':') {
        return "a mapping".to_owned();
    }
    limit::wanted(kind.split(':').next().unwrap_or(kind), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected counts are the sizes of the registries that the table was read from.
    #[test]
    fn documents_belong_to_their_releases() {
        let known = |reader: Reader| {
            kinds().iter().filter(|kind| Kind::find(kind).and_then(|k| k.known_to(reader)) == Some(true)).count()
        };
        let omnictl = ["v1.4.9", "v1.8.2", "v1.9.3", "v1.10.6"].map(|tag| known(Reader::omnictl(Omni::of_tag(tag))));
        assert_eq!(omnictl, [36, 44, 49, 88]);
        let talos = [9, 10, 11, 12, 13, 14].map(|minor| known(Reader::talos(minor, true).expect("a minor")));
        assert_eq!(talos, [10, 13, 17, 36, 44, 89]);
        let proxy = Kind::find("KubeProxyConfig").expect("a kind");
        assert_eq!((proxy.omnictl(), proxy.talos()), (Some(10), Some(14)));
        assert!(Kind::find("Deployment").is_none() && Reader::talos(8, true).is_none());
    }
}
