//! Whether a selector compiles in the environments that Talos gives it (siderolabs/talos pkg/machinery cel/celenv and the fields of the
//! resources that it binds, v1.9 to v1.14; the language of cel-go's standard library). What is not known here counts as right.

use std::sync::LazyLock;

use regex::Regex;

/// Fields with the first letter of their type: bool, uint, int, text, bytes, list of texts, any.
const DISK: &str = "size:u io_size:u sector_size:u readonly:b model:t serial:t modalias:t wwid:t bus_path:t sub_system:t transport:t \
                    rotational:b cdrom:b dev_path:t pretty_size:t secondary_disks:l uuid:t symlinks:l firmware_version:t";
const VOLUME: &str = "size:u sector_size:u io_size:u name:t uuid:t label:t block_size:u filesystem_block_size:u probed_size:u \
                      partition_uuid:t partition_type:t partition_label:t partition_index:u type:t device_path:t parent:t dev_path:t \
                      parent_dev_path:t pretty_size:t offset:u";
const LINK: &str = "index:u type:i link_index:u flags:u hardware_addr:y broadcast_addr:y mtu:u queue_disc:t master_index:u \
                    operational_state:i kind:t slave_kind:t bus_path:t pciid:t driver:t driver_version:t firmware_version:t product_id:t \
                    vendor_id:t product:t vendor:t link_state:b speed_megabits:i port:i duplex:i vlan:a bridge_master:a bond_master:a \
                    wireguard:a permanent_addr:y alias:t alt_names:l vrf_master:a veth:a";
const UNITS: &[&str] = &["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "kB", "MB", "GB", "TB", "PB", "EB"];
/// Operators from the loosest to the tightest.
const LEVELS: &[&[&str]] =
    &[&["||"], &["&&"], &["==", "!=", "<", "<=", ">", ">=", "in"], &["+", "-"], &["*", "/", "%"]];
/// Brackets and signs of an expression that is looked at.
const MAX_NESTING: usize = 60;

static TOKEN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let number = r"0x[0-9a-fA-F]+[uU]?|\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+|\d+[uU]?";
    let text = r#"[rRbB]?"(?:\\.|[^"\\])*"|[rRbB]?'(?:\\.|[^'\\])*'"#;
    let word = r"[_a-zA-Z][_a-zA-Z0-9]*";
    Regex::new(&format!(r"^\s*({number}|{text}|{word}|&&|\|\||[=!<>]=|[-+*/%!<>?:.,()\[\]{{}}])\s*")).ok()
});

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Texts,
    Fields(&'static str),
    Any,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Double => "double",
            Type::Text => "string",
            Type::Bytes => "bytes",
            Type::Texts => "list(string)",
            Type::Fields(_) => "message",
            Type::Any => "dyn",
        }
    }
}

/// Why a selector for `of` (disk, volume or link) does not compile, if so.
pub fn fault(text: &str, of: &str) -> Option<String> {
    let nesting = text.bytes().filter(|byte| b"([{!-?".contains(byte)).count();
    if nesting > MAX_NESTING || text.contains("\"\"\"") || text.contains("'''") || text.contains("//") {
        return None;
    }
    let mut tokens = Vec::new();
    let mut rest = text;
    while !rest.trim().is_empty() {
        let Some(found) = TOKEN.as_ref()?.captures(rest) else {
            return Some(format!("`{}` is not part of the language", rest.trim().chars().next().unwrap_or_default()));
        };
        tokens.push(found.get(1)?.as_str());
        rest = &rest[found.get(0)?.end()..];
    }
    let mut parser = Parser { tokens: &tokens, at: 0, of, bound: Vec::new() };
    match parser.expression() {
        Err(why) => Some(why),
        Ok(_) if parser.at < tokens.len() => Some(format!("`{}` does not belong there", tokens[parser.at])),
        Ok(Type::Bool | Type::Any) => None,
        Ok(other) => Some(format!("it gives {}, not bool", other.name())),
    }
}

struct Parser<'t> {
    tokens: &'t [&'t str],
    at: usize,
    of: &'t str,
    /// Variables that a macro binds.
    bound: Vec<(&'t str, Type)>,
}

type Parsed = Result<Type, String>;

impl<'t> Parser<'t> {
    fn next(&mut self) -> Option<&'t str> {
        self.at += 1;
        self.tokens.get(self.at - 1).copied()
    }

    fn eats(&mut self, token: &str) -> bool {
        let eats = self.tokens.get(self.at) == Some(&token);
        self.at += usize::from(eats);
        eats
    }

    fn expects(&mut self, token: &str) -> Result<(), String> {
        match self.eats(token) {
            true => Ok(()),
            false => Err(format!("`{token}` is missing")),
        }
    }

    fn expression(&mut self) -> Parsed {
        let found = self.binary(0)?;
        if !self.eats("?") {
            return Ok(found);
        }
        let one = self.expression()?;
        self.expects(":")?;
        let other = self.expression()?;
        Ok(if one == other { one } else { Type::Any })
    }

    fn binary(&mut self, level: usize) -> Parsed {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        while let Some(operator) = operators.iter().find(|operator| self.eats(operator)) {
            let right = self.binary(level + 1)?;
            left = combined(operator, left, right)?;
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed {
        for (sign, fits) in [("!", &[Type::Bool, Type::Any][..]), ("-", &[Type::Int, Type::Double, Type::Any])] {
            if self.eats(sign) {
                // Two of them are none.
                if self.eats(sign) {
                    return self.unary();
                }
                let of = self.unary()?;
                return if fits.contains(&of) { Ok(of) } else { Err(format!("there is no `{sign}` of {}", of.name())) };
            }
        }
        let mut found = self.primary()?;
        loop {
            if self.eats(".") {
                let name = self.next().unwrap_or_default();
                found = if self.eats("(") { self.method(found, name)? } else { field(found, name)? };
            } else if self.eats("[") {
                let index = self.expression()?;
                self.expects("]")?;
                found = match (found, index) {
                    (Type::Texts, Type::Int | Type::Any) => Type::Text,
                    (Type::Any, _) => Type::Any,
                    _ => return Err(format!("there is no {}[{}]", found.name(), index.name())),
                };
            } else {
                return Ok(found);
            }
        }
    }

    /// Arguments up to the closing bracket.
    fn list(&mut self, close: &str) -> Result<Vec<Type>, String> {
        let mut found = Vec::new();
        while !self.eats(close) {
            found.push(self.expression()?);
            if !self.eats(",") {
                self.expects(close)?;
                break;
            }
        }
        Ok(found)
    }

    fn method(&mut self, of: Type, name: &'t str) -> Parsed {
        if let ("exists" | "all" | "exists_one" | "filter" | "map", Type::Texts | Type::Any) = (name, of) {
            let variable = self.next().unwrap_or_default();
            self.expects(",")?;
            self.bound.push((variable, if of == Type::Texts { Type::Text } else { Type::Any }));
            let body = self.list(")");
            self.bound.pop();
            body?;
            return Ok(if matches!(name, "filter" | "map") { Type::Any } else { Type::Bool });
        }
        let arguments = self.list(")")?;
        match (name, of, arguments.as_slice()) {
            (_, Type::Any, _) => Ok(Type::Any),
            ("startsWith" | "endsWith" | "contains" | "matches", Type::Text, [Type::Text | Type::Any]) => {
                Ok(Type::Bool)
            }
            ("size", Type::Text | Type::Bytes | Type::Texts, []) => Ok(Type::Int),
            _ => Err(format!("{} has no `{name}` of that form", of.name())),
        }
    }

    fn primary(&mut self) -> Parsed {
        let token = self.next().ok_or("it ends too early")?;
        match token {
            "(" => {
                let inner = self.expression()?;
                self.expects(")").map(|()| inner)
            }
            "[" => Ok(if self.list("]")?.iter().all(|item| *item == Type::Text) { Type::Texts } else { Type::Any }),
            "{" => {
                while !self.eats("}") {
                    self.expression()?;
                    self.expects(":")?;
                    self.expression()?;
                    if !self.eats(",") {
                        self.expects("}")?;
                        break;
                    }
                }
                Ok(Type::Any)
            }
            "true" | "false" => Ok(Type::Bool),
            "null" => Ok(Type::Any),
            "." => self.primary(),
            _ if token.ends_with(['"', '\'']) => {
                Ok(if token.starts_with(['b', 'B']) { Type::Bytes } else { Type::Text })
            }
            _ if token.starts_with(|c: char| c.is_ascii_digit() || c == '.' && token.len() > 1) => Ok(number(token)),
            _ if token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') => match self.eats("(") {
                true => self.function(token),
                false => self.variable(token),
            },
            _ => Err(format!("`{token}` does not belong there")),
        }
    }

    fn function(&mut self, name: &str) -> Parsed {
        let arguments = self.list(")")?;
        match name {
            "glob"
                if self.of != "volume" && matches!(arguments[..], [Type::Text | Type::Any, Type::Text | Type::Any]) =>
            {
                Ok(Type::Bool)
            }
            "mac" if self.of == "link" && matches!(arguments[..], [Type::Bytes | Type::Any]) => Ok(Type::Text),
            "has" | "bool" | "matches" => Ok(Type::Bool),
            "size" | "int" => Ok(Type::Int),
            "uint" => Ok(Type::Uint),
            "double" => Ok(Type::Double),
            "string" => Ok(Type::Text),
            "bytes" => Ok(Type::Bytes),
            "dyn" | "type" | "duration" | "timestamp" => Ok(Type::Any),
            _ => Err(format!("there is no function `{name}` of that form")),
        }
    }

    fn variable(&self, name: &str) -> Parsed {
        if let Some((_, bound)) = self.bound.iter().rev().find(|(bound, _)| *bound == name) {
            return Ok(*bound);
        }
        match (self.of, name) {
            ("disk" | "volume", "disk") => Ok(Type::Fields(DISK)),
            ("disk", "system_disk") => Ok(Type::Bool),
            ("volume", "volume") => Ok(Type::Fields(VOLUME)),
            ("link", "link") => Ok(Type::Fields(LINK)),
            (_, "bool" | "int" | "uint" | "double" | "string" | "bytes" | "list" | "map" | "type") => Ok(Type::Any),
            ("disk" | "volume", unit) if UNITS.contains(&unit) => Ok(Type::Uint),
            _ => Err(format!("there is no `{name}` in it")),
        }
    }
}

fn number(token: &str) -> Type {
    match token {
        _ if token.ends_with(['u', 'U']) => Type::Uint,
        _ if token.starts_with("0x") => Type::Int,
        _ if token.contains(['.', 'e', 'E']) => Type::Double,
        _ => Type::Int,
    }
}

fn field(of: Type, name: &str) -> Parsed {
    let fields = match of {
        Type::Any => return Ok(Type::Any),
        Type::Fields(fields) => fields,
        other => return Err(format!("{} has no field `{name}`", other.name())),
    };
    let known = fields.split_whitespace().filter_map(|field| field.split_once(':')).find(|(known, _)| *known == name);
    match known.map(|(_, kind)| kind) {
        Some("b") => Ok(Type::Bool),
        Some("u") => Ok(Type::Uint),
        Some("i") => Ok(Type::Int),
        Some("t") => Ok(Type::Text),
        Some("y") => Ok(Type::Bytes),
        Some("l") => Ok(Type::Texts),
        Some(_) => Ok(Type::Any),
        None => Err(format!("there is no field `{name}`")),
    }
}

/// The type of `left operator right`.
fn combined(operator: &str, left: Type, right: Type) -> Parsed {
    use Type::{Any, Bool, Bytes, Double, Int, Text, Texts, Uint};
    let fits = match operator {
        "in" => matches!((left, right), (_, Any) | (Text | Any, Texts)),
        _ if left == Any || right == Any => true,
        _ if left != right => false,
        "||" | "&&" => left == Bool,
        "==" | "!=" => true,
        "<" | "<=" | ">" | ">=" => matches!(left, Bool | Int | Uint | Double | Text | Bytes),
        "+" => matches!(left, Int | Uint | Double | Text | Bytes | Texts),
        "%" => matches!(left, Int | Uint),
        _ => matches!(left, Int | Uint | Double),
    };
    if !fits {
        return Err(format!("there is no {} {operator} {}", left.name(), right.name()));
    }
    let number = matches!(operator, "+" | "-" | "*" | "/" | "%");
    Ok(if !number {
        Bool
    } else if left == Any {
        right
    } else {
        left
    })
}
