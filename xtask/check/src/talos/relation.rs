//! Fields of one struct that Talos wants together, or refuses together: the lines of `data/talos-limits.txt` about a whole struct.

use domain::spec::yaml::{Data, Node};

use super::limit::{LIMITS, Limit};
use super::{Reader, value};

/// What Talos refuses of a struct as a whole.
#[derive(Debug)]
pub struct Broken {
    /// Behind the name of the struct: ``without `url` ``.
    pub what: String,
    pub fix: String,
    /// True if a further patch of the same document may put it right.
    pub open: bool,
}

/// The relations that do not hold.
pub fn broken(of: &str, node: &Node, reader: Reader) -> Vec<Broken> {
    let limits = LIMITS.get(of).map_or(&[][..], Vec::as_slice).iter();
    limits.filter(|limit| limit.columns & reader.columns != 0).filter_map(|limit| check(limit, node)).collect()
}

fn check(limit: &Limit, node: &Node) -> Option<Broken> {
    let (fields, condition) = limit.argument.split_once(" if ").unwrap_or((limit.argument, ""));
    let (holds, absent) = applies(condition, node);
    if !holds {
        return None;
    }
    let fields: Vec<&str> = fields.split('|').collect();
    let given: Vec<&str> = fields.iter().copied().filter(|field| is_set(find(node, field), true)).collect();
    let quoted =
        |fields: &[&str], by: &str| fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(by);
    let condition = match condition.split_once('=') {
        None if condition.is_empty() => String::new(),
        None => format!(" while `{condition}` is set"),
        Some((field, words)) => {
            let words = words.split('|').map(|word| if word.is_empty() { "absent" } else { word });
            let is = if field.ends_with('!') { "unless" } else { "while" };
            format!(" {is} `{}` is {}", field.trim_end_matches('!'), words.collect::<Vec<_>>().join(" or "))
        }
    };
    match limit.form {
        "needs" if !fields.iter().any(|field| is_set(find(node, field), false)) => Some(Broken {
            what: format!("without {}{condition}", quoted(&fields, " or ")),
            fix: format!("add {}", quoted(&fields, " or ")),
            open: true,
        }),
        "apart" if given.len() > 1 => Some(Broken {
            what: format!("with both {}", quoted(&given, " and ")),
            fix: format!("keep one of {}", quoted(&given, " and ")),
            open: false,
        }),
        "bars" if !given.is_empty() => Some(Broken {
            what: format!("with {}{condition}", quoted(&given, " and ")),
            fix: format!("remove {}", quoted(&given, " and ")),
            open: absent,
        }),
        "order" => {
            let size = |field: &str| value::byte_count(find(node, field)?.text()?);
            let (low, high) = (size(fields.first()?)?, size(fields.get(1)?)?);
            let (less, more) = (fields[0], fields[1]);
            (low > high).then(|| Broken {
                what: format!("with a `{less}` above `{more}`"),
                fix: format!("write a `{more}` of at least `{less}`"),
                open: true,
            })
        }
        _ => None,
    }
}

/// Whether the condition holds (`FIELD=WORD|WORD`, `FIELD!=WORD`, `FIELD` for one that is set), and whether that is because a field
/// is absent.
fn applies(condition: &str, node: &Node) -> (bool, bool) {
    let Some((field, words)) = condition.split_once('=') else {
        return (condition.is_empty() || is_set(find(node, condition), true), false);
    };
    let (field, not) = field.strip_suffix('!').map_or((field, false), |field| (field, true));
    let found = find(node, field).filter(|node| !node.is_null()).and_then(Node::text).unwrap_or_default();
    (words.split('|').any(|word| word.eq_ignore_ascii_case(found)) != not, found.is_empty())
}

fn find<'n>(node: &'n Node, field: &str) -> Option<&'n Node> {
    node.path(&field.split('.').collect::<Vec<_>>())
}

/// True for a value that Go does not take for an empty one; `sure` leaves out those that may be one.
fn is_set(node: Option<&Node>, sure: bool) -> bool {
    let Some(node) = node.filter(|node| !node.is_null()) else { return false };
    match &node.data {
        Data::Scalar(scalar) if sure => !matches!(&*scalar.text, "" | "0" | "false"),
        Data::Scalar(scalar) => !scalar.text.is_empty(),
        Data::Seq(items) => !items.is_empty(),
        Data::Map(entries) => !sure || entries.iter().any(|entry| is_set(Some(&entry.value), sure)),
    }
}
