//! Fields of a struct that Talos requires or refuses together: the lines of `data/talos-limits.txt` about a whole struct.

use std::collections::HashMap;

use yaml::{Data, Node};

use super::limit::{LIMITS, Limit};
use super::{Reader, value};

/// What Talos refuses about a struct as a whole.
#[derive(Debug)]
pub struct Broken {
    /// The text after the name of the struct: ``without `url` ``.
    pub what: String,
    pub fix: String,
}

/// Returns the relations that are violated.
pub fn broken(of: &str, node: &Node, reader: Reader) -> Vec<Broken> {
    let limits = LIMITS.get(of).map_or(&[][..], Vec::as_slice).iter();
    limits.filter(|limit| limit.columns & reader.columns != 0).filter_map(|limit| check(limit, node)).collect()
}

/// Returns true if Talos validates this struct: it does not if the struct is switched off or for another role.
pub fn is_validated(of: &str, node: &Node, reader: Reader) -> bool {
    let mut limits = LIMITS.get(of).map_or(&[][..], Vec::as_slice).iter().filter(|limit| limit.form == "while");
    limits.all(|limit| match limit.argument {
        "control-plane" => reader.control_plane,
        condition => applies(condition, node),
    })
}

fn check(limit: &Limit, node: &Node) -> Option<Broken> {
    let (fields, condition) = limit.argument.split_once(" if ").unwrap_or((limit.argument, ""));
    if !applies(condition, node) {
        return None;
    }
    let fields: Vec<&str> = fields.split('|').collect();
    let given = || fields.iter().copied().filter(|field| has(node, field, true)).collect::<Vec<&str>>();
    let quoted =
        |fields: &[&str], by: &str| fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(by);
    // The texts are made for a violation alone: almost every file has none.
    let condition = || match condition.split_once('=') {
        None if condition.is_empty() => String::new(),
        None => format!(" while `{condition}` is set"),
        Some((field, words)) => {
            let words = words.split('|').map(|word| if word.is_empty() { "absent" } else { word });
            let is = if field.ends_with('!') { "unless" } else { "while" };
            format!(" {is} `{}` is {}", field.trim_end_matches('!'), words.collect::<Vec<_>>().join(" or "))
        }
    };
    let broken = |what: String, fix: String| Some(Broken { what, fix });
    let both = || quoted(&given(), " and ");
    match limit.form {
        "needs" if !fields.iter().any(|field| has(node, field, false)) => {
            let needed = quoted(&fields, " or ");
            broken(format!("without {needed}{}", condition()), format!("add {needed}"))
        }
        "apart" if given().len() > 1 => broken(format!("with both {}", both()), format!("keep one of {}", both())),
        "bars" if !given().is_empty() => {
            broken(format!("with {}{}", both(), condition()), format!("remove {}", both()))
        }
        "multiples" => {
            let number = |field: &str| find(node, field)?.text()?.parse::<u64>().ok();
            let base = number(limit.argument.rsplit(' ').next()?)?;
            let odd = fields.iter().find(|field| number(field).is_some_and(|number| number % base.max(1) != 0))?;
            broken(
                format!("with a `{odd}` that is not a multiple of {base}{}", condition()),
                format!("write a multiple of {base}"),
            )
        }
        // One of each exists before the first patch.
        "pairs" => {
            let counts = fields.iter().map(|field| node.get(field).map_or(1, |list| list.items().len()));
            let counts: Vec<usize> = counts.collect();
            let differ = counts.windows(2).any(|pair| pair[0] != pair[1]);
            differ.then(|| Broken {
                what: format!("with different numbers of {}", quoted(&fields, " and ")),
                fix: "use the same number of entries in each".to_owned(),
            })
        }
        "members" => members(node.get(limit.argument)?),
        "order" => {
            let size = |field: &str| value::byte_count(find(node, field)?.text()?);
            let (low, high) = (size(fields.first()?)?, size(fields.get(1)?)?);
            let (less, more) = (fields[0], fields[1]);
            broken(format!("with a `{less}` above `{more}`"), format!("write a `{more}` of at least `{less}`"))
                .filter(|_| low > high)
        }
        _ => None,
    }
}

/// Reports links of two bonds or bridges, and links of one that have an address of their own.
fn members(devices: &Node) -> Option<Broken> {
    let name = |device: &Node| device.get("interface").and_then(Node::text).unwrap_or_default().to_owned();
    let mut owners: HashMap<&str, String> = HashMap::new();
    let broken = |what, fix: &str| Some(Broken { what, fix: fix.to_owned() });
    for device in devices.items() {
        let links = ["bond", "bridge"].map(|kind| device.path(&[kind, "interfaces"]).map_or(&[][..], Node::items));
        for link in links.into_iter().flatten().filter_map(Node::text) {
            let owner = owners.insert(link, name(device)).filter(|owner| *owner != name(device));
            if let Some(owner) = owner {
                return broken(
                    format!("with `{link}` in both `{owner}` and `{}`", name(device)),
                    "keep it in only one",
                );
            }
        }
    }
    let ignored = |device: &Node| has(device, "ignore", true);
    let addressed = |device: &Node| ["dhcp", "cidr", "addresses", "vip.ip"].iter().any(|key| has(device, key, true));
    let mut devices = devices.items().iter().filter(|device| !ignored(device) && addressed(device)).map(name);
    let device = devices.find(|device| owners.contains_key(device.as_str()))?;
    let what = format!("with an address on `{device}`, which is part of `{}`", owners[device.as_str()]);
    broken(what, "set the address on the bond or bridge")
}

/// Returns true if all conditions are met: `FIELD=WORD|WORD`, `FIELD!=WORD`, or `FIELD` if it is set, joined by `&`.
pub fn applies(conditions: &str, node: &Node) -> bool {
    conditions.split('&').all(|condition| {
        let Some((field, words)) = condition.split_once('=') else {
            return condition.is_empty() || has(node, condition, true);
        };
        let (field, not) = field.strip_suffix('!').map_or((field, false), |field| (field, true));
        let found = find(node, field).filter(|node| !node.is_null()).map_or("", |node| node.text().unwrap_or("{}"));
        words.split('|').any(|word| word.eq_ignore_ascii_case(found)) != not
    })
}

fn find<'n>(node: &'n Node, field: &str) -> Option<&'n Node> {
    node.path(&field.split('.').collect::<Vec<_>>())
}

/// Returns true if a field is set, in some entry if its path leads through a list; `FIELD>N` if it is a larger number.
fn has(node: &Node, field: &str, sure: bool) -> bool {
    if let Some((field, least)) = field.split_once('>') {
        let number = |text: &str| text.parse::<u64>().ok();
        return find(node, field).and_then(Node::text).and_then(number) > number(least);
    }
    match (&node.data, field.split_once('.').unwrap_or((field, ""))) {
        (Data::Seq(items), _) => items.iter().any(|item| has(item, field, sure)),
        (_, (key, "")) => is_set(node.get(key), sure),
        (_, (key, rest)) => node.get(key).is_some_and(|node| has(node, rest, sure)),
    }
}

/// Returns true if something is set at a dotted path.
pub fn is_set_at(node: &Node, path: &str) -> bool {
    is_set(find(node, path), false)
}

/// Returns true for a value that Go does not treat as empty; `sure` excludes values that it may treat as empty.
fn is_set(node: Option<&Node>, sure: bool) -> bool {
    let Some(node) = node.filter(|node| !node.is_null()) else { return false };
    match &node.data {
        Data::Scalar(scalar) if sure => !matches!(&*scalar.text, "" | "0" | "false"),
        Data::Scalar(scalar) => !scalar.text.is_empty(),
        Data::Seq(items) => !items.is_empty(),
        Data::Map(entries) => !sure || entries.iter().any(|entry| is_set(Some(&entry.value), sure)),
    }
}
