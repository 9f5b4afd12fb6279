//! Parses and validates parameters from a query, a form or JSON, with the messages of pve-common `JSONSchema.pm`.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use regex::Regex;
use serde_json::Value;

use super::refusal::{Outcome, Refusal};
use super::vmschema;
use super::world::Drive;
use super::world::disk::split_volid;

/// The type of a parameter.
#[derive(Clone, Copy)]
pub enum ParamType {
    /// Any text, up to this number of characters.
    Text(usize),
    /// An integer between two inclusive bounds.
    Int(i64, i64),
    /// `0` or `1`.
    Bool,
    /// One of these words.
    Enum(&'static str),
    /// A volume ID, or a volume to be created.
    Volume,
    /// A property string with the keys of the VM option that has the parameter's name.
    Properties,
    /// Text that a regular expression must match entirely, and PVE's error message for other text, empty for the generic one
    /// (`{}` stands for the text).
    Regex(&'static str, &'static str),
}

impl ParamType {
    /// Parses a type in the notation of `vm-options.txt`.
    pub fn read(notation: &'static str) -> ParamType {
        let (word, rest) = notation.split_once(' ').unwrap_or((notation, ""));
        let mut numbers = rest.split(' ').filter_map(|number| number.parse().ok());
        match word {
            "int" => ParamType::Int(numbers.next().unwrap_or(-ANY), numbers.next().unwrap_or(ANY)),
            "bool" => ParamType::Bool,
            "enum" => ParamType::Enum(rest),
            "regex" => rest.split_once(" || ").map_or(ParamType::Regex(rest, ""), |(is, or)| ParamType::Regex(is, or)),
            "volume" => ParamType::Volume,
            "properties" => ParamType::Properties,
            _ => ParamType::Text(rest.parse().unwrap_or(4096)),
        }
    }
}

/// The error for a parameter that is not in the schema.
pub const UNDEFINED: &str = "property is not defined in schema and the schema does not allow additional properties";

/// The bound of an integer parameter that does not have one.
const ANY: i64 = i64::MAX;

/// A parameter of a call, an option of a VM, or a key of a property string.
pub struct Param {
    pub name: &'static str,
    /// The highest number, if the name is numbered (`net0`, `net1`, …).
    most: Option<u32>,
    /// Who may change the option; see `vm-options.txt`.
    pub guard: &'static str,
    pub kind: ParamType,
    /// Whether this is the default key, which a value without a key belongs to.
    pub default: bool,
    pub required: bool,
    pub keys: Vec<Param>,
}

impl Param {
    /// Parses the notation of `api.txt` and `vm-options.txt`: `!` after a name marks it as required, `=` before it as the default
    /// key, and `-N` after it as numbered up to N.
    pub fn read(name: &'static str, guard: &'static str, kind: &'static str) -> Param {
        let (default, required) = (name.starts_with('='), name.ends_with('!'));
        let numbers = name.rsplit_once('-').and_then(|(name, most)| Some((name, most.parse().ok()?)));
        let (name, most) = numbers.map_or((name, None), |(name, most)| (name, Some(most)));
        let (name, kind) = (name.trim_matches(['=', '!']), ParamType::read(kind));
        Param { name, most, guard, kind, default, required, keys: Vec::new() }
    }

    /// Whether this is the parameter with the given name, which may include a number.
    pub fn is(&self, name: &str) -> bool {
        let Some(most) = self.most else { return self.name == name };
        name.strip_prefix(self.name).and_then(|number| number.parse().ok()).is_some_and(|number: u32| number <= most)
    }
}

/// The parameters of a call, whether validated or not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Args {
    values: BTreeMap<String, Value>,
}

impl Args {
    /// Sets a parameter.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.values.insert(name.to_owned(), value.into());
    }

    /// Adds the parameters of a query or form.
    pub fn add_form(&mut self, form: &str) {
        for (name, value) in form_urlencoded::parse(form.as_bytes()) {
            self.set(&name, value.into_owned());
        }
    }

    /// Adds the members of a JSON object. Null means absent, like `undef` in Perl.
    pub fn add_json(&mut self, body: &[u8]) -> Outcome<()> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => {
                self.values.extend(members.into_iter().filter(|(_, value)| !value.is_null()));
                Ok(())
            }
            Ok(_) => Err(Refusal::die("JSON object expected")),
            Err(_) => Err(Refusal::die("malformed JSON string, neither tag, array, object, number, string or atom")),
        }
    }

    /// Returns a parameter as text, however it was sent.
    pub fn get(&self, name: &str) -> Option<String> {
        self.values.get(name).and_then(text_of)
    }

    /// Returns a parameter that the schema guarantees as text; empty if it is missing.
    pub fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default()
    }

    /// Returns a parameter as an integer; `None` if it is missing or not an integer.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.get(name)?.parse().ok()
    }

    /// Whether a boolean parameter is present and true.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).as_deref() == Some("1")
    }

    /// The items of a list parameter, separated by commas, semicolons or spaces.
    pub fn list(&self, name: &str) -> Vec<String> {
        split_list(&self.text(name))
    }

    /// Iterates over all parameters as names and texts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, String)> {
        self.values.iter().filter_map(|(name, value)| Some((name.as_str(), text_of(value)?)))
    }

    /// Validates all parameters against a schema; `more` returns the types of parameters that are not in `params`.
    pub fn verify(&self, params: &[Param], more: impl Fn(&str) -> Option<ParamType>) -> Outcome<()> {
        let mut errors = BTreeMap::new();
        let known = |name: &str| params.iter().find(|param| param.name == name);
        for param in params {
            if param.required && !self.values.contains_key(param.name) {
                errors.insert(param.name.to_owned(), "property is missing and it is not optional".to_owned());
            }
        }
        for (name, value) in &self.values {
            let wrong = match known(name).map(|param| param.kind).or_else(|| more(name)) {
                Some(kind) => check(name, kind, value).err(),
                None => Some(UNDEFINED.into()),
            };
            if let Some(wrong) = wrong {
                errors.insert(name.clone(), wrong);
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(Refusal::parameters(errors)) }
    }
}

/// Splits a list as pve-common `split_list` does.
pub fn split_list(text: &str) -> Vec<String> {
    let parts = text.split([',', ';', ' ', '\t', '\n', '\0']);
    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Formats a scalar as Perl would print it; `None` for null, lists and objects.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => match number.as_f64() {
            Some(float) if !number.is_i64() && !number.is_u64() && float.fract() == 0.0 && float.abs() < 1e15 => {
                Some(format!("{float:.0}"))
            }
            _ => Some(number.to_string()),
        },
        Value::Bool(yes) => Some(if *yes { "1" } else { "0" }.to_owned()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn check(name: &str, kind: ParamType, value: &Value) -> Result<(), String> {
    let type_name = match kind {
        ParamType::Int(..) => "integer",
        ParamType::Bool => "boolean",
        _ => "string",
    };
    let reference = match value {
        Value::Array(_) => Some("ARRAY"),
        Value::Object(_) => Some("HASH"),
        Value::Bool(_) if type_name != "boolean" => Some("JSON::PP::Boolean"),
        _ => None,
    };
    if let Some(reference) = reference {
        return Err(format!("type check ('{type_name}') failed - got {reference}"));
    }
    check_text(name, kind, &text_of(value).unwrap_or_default()).map_err(|wrong| {
        wrong.unwrap_or_else(|| {
            format!("type check ('{type_name}') failed - got '{}'", text_of(value).unwrap_or_default())
        })
    })
}

/// Validates a value in text form; `Err(None)` means that its type is wrong.
pub fn check_text(name: &str, kind: ParamType, text: &str) -> Result<(), Option<String>> {
    let when = |wrong: bool, message: String| if wrong { Err(Some(message)) } else { Ok(()) };
    match kind {
        ParamType::Text(most) => when(text.chars().count() > most, format!("value may only be {most} characters long")),
        ParamType::Int(least, most) => {
            let number = integer(text).ok_or(None)?;
            when(number > most, format!("value must have a maximum value of {most}"))?;
            when(number < least, format!("value must have a minimum value of {least}"))
        }
        ParamType::Bool => {
            if matches!(text, "0" | "1") {
                Ok(())
            } else {
                Err(None)
            }
        }
        ParamType::Enum(values) => {
            let all = values.replace(' ', ", ");
            when(
                !values.split(' ').any(|value| value == text),
                format!("value '{text}' does not have a value in the enumeration '{all}'"),
            )
        }
        ParamType::Volume => when(!is_volume(text), format!("invalid format - unable to parse volume ID '{text}'\n")),
        ParamType::Properties => {
            let wrong = vmschema::find(name).map_or(Ok(()), |option| option.check(name, text));
            wrong.map_err(|why| Some(format!("invalid format - {why}\n")))
        }
        ParamType::Regex(pattern, "") => when(!matches(pattern, text), "value does not match the regex pattern".into()),
        ParamType::Regex(pattern, wrong) => {
            when(!matches(pattern, text), format!("invalid format - {}\n", wrong.replace("{}", text)))
        }
    }
}

/// Whether a pattern matches the whole text. Each pattern is compiled once; an invalid pattern matches nothing.
fn matches(pattern: &'static str, text: &str) -> bool {
    static COMPILED: LazyLock<Mutex<BTreeMap<&str, Option<Regex>>>> = LazyLock::new(Mutex::default);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    let pattern = compiled.entry(pattern).or_insert_with(|| Regex::new(&format!("^(?:{pattern})$")).ok());
    pattern.as_ref().is_some_and(|pattern| pattern.is_match(text))
}

fn is_volume(text: &str) -> bool {
    let special = matches!(text, "none" | "cdrom") || text.starts_with('/');
    let sized = || Drive::parse(text).is_some_and(|drive| drive.new_disk().is_some());
    special || split_volid(text).is_some() || sized()
}

/// Parses an integer as PVE does: an optional sign and digits, nothing else.
fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let clean = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    clean.then(|| text.parse().ok()).flatten()
}
