//! `docker/.env`: parsed as docker compose parses it, and edited one key at a time. Comments, order and unknown keys are
//! preserved.
//!
//! Parsing matches docker compose 5.5.1 (compose-go `dotenv`); each case in the tests was recorded from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::failure::{Code, Failure};

/// The text of an `.env` file and its values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvFile {
    text: String,
    values: BTreeMap<String, String>,
    /// Keys whose value refers to a variable that is not set in this file.
    foreign: BTreeSet<String>,
}

impl EnvFile {
    /// Parses `text`; `file` is the name for error messages.
    ///
    /// Lines are `KEY=value`, `KEY: value`, `export KEY=value`, `KEY` alone (ignored), comments or blank. Values may have single
    /// quotes (literal, except for `\'`) or double quotes (with escapes); an unquoted value ends at ` #`, but may start with one.
    /// `$NAME` and `${NAME}` outside single quotes are variables. The last of two equal keys wins.
    ///
    /// # Errors
    /// Returns [`Code::Invalid`] with file and line for any other line, and for multi-line values, which compose accepts but
    /// nothing here needs.
    pub fn parse(file: &str, text: &str) -> Result<EnvFile, Failure> {
        if text.len() > yaml::MAX_BYTES {
            return Err(Failure::new(Code::Invalid, format!("{file}:1: the file is too large"))
                .cause(format!("it has {} bytes; a variables file needs only a few thousand", text.len()))
                .hint("check that it is the right file"));
        }
        let mut file_so_far = EnvFile { text: text.to_owned(), ..EnvFile::default() };
        for (number, line) in text.lines().enumerate() {
            let line = line.strip_prefix('\u{feff}').unwrap_or(line);
            match entry(line) {
                Ok(Some((key, value))) => file_so_far.insert_expanded(key, value),
                Ok(None) => {}
                Err(why) => {
                    return Err(Failure::new(Code::Invalid, format!("{file}:{}: this line is not valid", number + 1))
                        .cause(why)
                        .hint("write KEY=value, a # comment, or a blank line; quote values that contain spaces or #"));
                }
            }
        }
        Ok(file_so_far)
    }

    /// Stores a value after expanding the variables of the file.
    fn insert_expanded(&mut self, key: &str, value: Value) {
        let (value, foreign) = match value {
            Value::Literal(value) => (value, false),
            Value::Template(value) => expand(&value, &self.values),
        };
        self.values.insert(key.to_owned(), value);
        match foreign {
            true => self.foreign.insert(key.to_owned()),
            false => self.foreign.remove(key),
        };
    }

    /// Whether the value of `key` refers to a variable that is not set in this file: compose substitutes the variable of its
    /// environment, or nothing, with at most a warning. The variable name may be part of a secret.
    pub fn refers_to_environment(&self, key: &str) -> bool {
        self.foreign.contains(key)
    }

    /// Returns the value of `key`; an empty value counts as missing, as for `:?` and `:-` in compose.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Returns all keys with a non-empty value.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter(|(_, value)| !value.is_empty()).map(|(key, _)| key.as_str())
    }

    /// Sets `key` on its line (the last one if there are several), or on a new line at the end.
    pub fn set(&mut self, key: &str, value: &str) {
        let new = format!("{key}={}", format_value(value));
        let mut lines: Vec<String> = self.text.lines().map(str::to_owned).collect();
        let is_it = |line: &String| matches!(entry(line), Ok(Some((found, _))) if found == key);
        match lines.iter().rposition(is_it) {
            Some(at) => lines[at] = new,
            None => lines.push(new),
        }
        self.text = lines.join("\n") + "\n";
        self.values.insert(key.to_owned(), value.to_owned());
        self.foreign.remove(key);
    }

    /// Returns the text to write to the file.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The value of a line.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    /// In single quotes: not expanded.
    Literal(String),
    /// May contain variables; a literal `$` is written `$$`.
    Template(String),
}

/// Parses one line; `None` for a comment, a blank line, or a key without a value.
fn entry(line: &str) -> Result<Option<(&str, Value)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']');
    let Some((key, value)) = line.split_once(['=', ':']) else {
        // Refers to the variable of that name in the environment of compose.
        return if line.chars().all(name) { Ok(None) } else { Err("it has no `=`".to_owned()) };
    };
    let key = key.trim_end();
    if key.is_empty() || !key.chars().all(name) {
        return Err("the part before `=` is not a valid variable name".to_owned());
    }
    parse_value(value.trim_start()).map(|value| Some((key, value)))
}

fn parse_value(value: &str) -> Result<Value, String> {
    let Some(quote) = value.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        let end = value.find(" #").unwrap_or(value.len());
        return Ok(Value::Template(value[..end].trim_end().to_owned()));
    };
    let mut text = String::new();
    let mut rest = value[1..].chars();
    while let Some(c) = rest.next() {
        match c {
            c if c == quote => {
                let after = rest.as_str().trim_start();
                if !after.is_empty() && !after.starts_with('#') {
                    return Err("there is text after the closing quote".to_owned());
                }
                return Ok(if quote == '"' { Value::Template(text) } else { Value::Literal(text) });
            }
            '\\' => match rest.next() {
                Some(escaped) if quote == '"' => text.push_str(&unescape(escaped)),
                Some('\'') => text.push('\''),
                Some(other) => text.extend(['\\', other]),
                None => return Err("it ends in a lone backslash".to_owned()),
            },
            c => text.push(c),
        }
    }
    Err(format!("the {quote} at the start of the value is not closed on this line"))
}

/// Returns the meaning of a backslash followed by this letter in double quotes; other letters keep the backslash.
fn unescape(letter: char) -> String {
    match letter {
        'n' => "\n".to_owned(),
        't' => "\t".to_owned(),
        'r' => "\r".to_owned(),
        'a' => "\u{7}".to_owned(),
        'b' => "\u{8}".to_owned(),
        'f' => "\u{c}".to_owned(),
        'v' => "\u{b}".to_owned(),
        '$' => "$$".to_owned(),
        '"' | '\\' => letter.to_string(),
        other => format!("\\{other}"),
    }
}

/// Expands the known variables in `template`; also returns whether there are unknown ones, which are left as written.
fn expand(template: &str, known: &BTreeMap<String, String>) -> (String, bool) {
    static VARIABLE: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\$(?:\$|\{([^}]*)\}|([A-Za-z_][A-Za-z0-9_]*))").ok());
    // Most values contain no variable, so avoid compiling the regular expression.
    let Some(variable) = template.contains('$').then(|| VARIABLE.as_ref()).flatten() else {
        return (template.to_owned(), false);
    };
    let mut foreign = false;
    let text = variable.replace_all(template, |found: &Captures<'_>| {
        let Some(name) = found.get(1).or_else(|| found.get(2)) else { return "$".to_owned() };
        known.get(name.as_str()).cloned().unwrap_or_else(|| {
            foreign = true;
            found[0].to_owned()
        })
    });
    (text.into_owned(), foreign)
}

/// Formats `value` for a line of the file: unquoted if that is safe, otherwise in single quotes, which prevent expansion.
fn format_value(value: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-./:@!+=,%".contains(c);
    if value.chars().all(bare) {
        return value.to_owned();
    }
    // Even in single quotes, a backslash escapes the quote after it.
    if !value.contains(['\'', '\n', '\\']) {
        return format!("'{value}'");
    }
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

/// A variable that the stack cannot start without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    pub key: &'static str,
    /// Display name.
    pub name: &'static str,
    pub secret: bool,
}

const fn variable(key: &'static str, name: &'static str, secret: bool) -> Variable {
    Variable { key, name, secret }
}

/// The variables that `docker/compose.yaml` requires with `:?`.
pub const REQUIRED: [Variable; 10] = [
    variable("OMNI_DOMAIN", "Omni's domain", false),
    variable("OMNI_LAN_ADDRESS", "this host's LAN address", false),
    variable("OMNI_ACCOUNT_UUID", "account UUID", false),
    variable("OMNI_INITIAL_USER", "e-mail address of the first administrator", false),
    variable("OMNI_TLS_CERT", "path of the certificate", false),
    variable("OMNI_TLS_KEY", "path of the certificate's private key", false),
    variable("OIDC_ISSUER_URL", "URL of tsidp", false),
    variable("OIDC_CLIENT_ID", "ID of Omni's client in tsidp", false),
    variable("OIDC_CLIENT_SECRET", "secret of Omni's client in tsidp", true),
    variable("TS_AUTHKEY", "Tailscale auth key of the sidecar", true),
];

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# the hub\nOMNI_DOMAIN=omni.example.ts.net # its name\n\nexport TS_AUTHKEY='a # b'\nEMPTY=\n";

    #[test]
    fn parse_matches_compose() {
        let rows: Vec<[String; 2]> = serde_yaml::from_str(include_str!("../../tests/corpus/env.yaml")).unwrap();
        for [text, value] in rows {
            let env = EnvFile::parse(".env", &text).unwrap();
            assert_eq!((env.get("A"), env.refers_to_environment("A")), (Some(value.as_str()), false), "{text}");
        }
        for text in ["A", "A=\n"] {
            assert_eq!(EnvFile::parse(".env", text).unwrap().get("A"), None);
        }
        assert!(EnvFile::parse(".env", "A='x\\'").is_err(), "the quote is not closed");
    }

    #[test]
    fn reference_to_environment_is_detected() {
        for text in ["A=a$b", "A=\"a ${HOME}/x\"", "A=${B:-c}", "A=a\\$b"] {
            assert!(EnvFile::parse(".env", text).unwrap().refers_to_environment("A"), "{text}");
        }
        let mut env = EnvFile::parse(".env", "A=a$b\nA=c\nB=$d").unwrap();
        assert_eq!(
            (env.refers_to_environment("A"), env.refers_to_environment("B")),
            (false, true),
            "the last one counts"
        );
        env.set("B", "a$d");
        assert_eq!((env.refers_to_environment("B"), env.text()), (false, "A=a$b\nA=c\nB='a$d'\n"));
    }

    #[test]
    fn set_changes_only_its_line() {
        let mut env = EnvFile::parse(".env", TEXT).unwrap();
        env.set("EMPTY", "now");
        env.set("NEW", "it's $new");
        assert_eq!(env.text(), TEXT.replace("EMPTY=\n", "EMPTY=now\nNEW=\"it's \\$new\"\n"));
        assert_eq!(EnvFile::parse(".env", env.text()).unwrap().get("NEW"), Some("it's $new"));
    }

    #[test]
    fn set_round_trips_every_value() {
        for value in "a|a b|a'b|a\"b|$HOME|a\\b|x#y| lead|two\nlines||é|a=b==|a\\|a\\'|$$|a$b$|#x".split('|') {
            let mut env = EnvFile::default();
            env.set("K", value);
            assert_eq!(EnvFile::parse(".env", env.text()).unwrap().values["K"], value, "{}", env.text());
        }
    }

    #[test]
    fn parse_error_omits_the_value() {
        for text in ["A=1\nnonsense secret\n", "A=1\nB='open secret\n", "A=1\nB B=secret\n", "A=1\nB='x' secret\n"] {
            let failure = EnvFile::parse("docker/.env", text).unwrap_err();
            assert_eq!(failure.message, "docker/.env:2: this line is not valid");
            assert!(!failure.to_string().contains("secret"), "{failure}");
        }
    }
}
