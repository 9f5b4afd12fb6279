//! `docker/.env`, read as docker compose reads it, and edited one key at a time: comments, order and everything that
//! this project does not know stay as they are.

use std::collections::BTreeMap;

use crate::failure::{Code, Failure};

/// The text of an `.env` file and the values in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvFile {
    text: String,
    values: BTreeMap<String, String>,
}

impl EnvFile {
    /// Understands `text`; `file` names it in errors.
    ///
    /// Lines are `KEY=value`, `export KEY=value`, comments or blank; values may be quoted singly (literal) or doubly
    /// (with `\n`, `\"`, `\\` and `\$`); an unquoted value ends at ` #`. The last of two equal keys wins, as in compose.
    ///
    /// # Errors
    /// [`Code::Invalid`] with file and line for a line that is none of these.
    pub fn parse(file: &str, text: &str) -> Result<EnvFile, Failure> {
        if text.len() > crate::spec::yaml::MAX_BYTES {
            return Err(Failure::new(Code::Invalid, format!("{file}:1: the file is too large"))
                .cause(format!("it has {} bytes, and variables take a few thousand", text.len()))
                .hint("is it the right file?"));
        }
        let mut values = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.strip_prefix('\u{feff}').unwrap_or(line);
            match entry(line) {
                Ok(Some((key, value))) => drop(values.insert(key.to_owned(), value)),
                Ok(None) => {}
                Err(why) => {
                    return Err(Failure::new(
                        Code::Invalid,
                        format!("{file}:{}: this line is not understood", number + 1),
                    )
                    .cause(why)
                    .hint("a line is KEY=value, a # comment, or blank; quote values that hold spaces or #"));
                }
            }
        }
        Ok(EnvFile { text: text.to_owned(), values })
    }

    /// The value of `key`; an empty value counts as none, as `:?` and `:-` in compose take it.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// All keys that have a value.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter(|(_, value)| !value.is_empty()).map(|(key, _)| key.as_str())
    }

    /// Gives `key` the value, on the line where it stands (its last, if it stands twice), else on a new one at the end.
    pub fn set(&mut self, key: &str, value: &str) {
        let new = format!("{key}={}", written(value));
        let mut lines: Vec<String> = self.text.lines().map(str::to_owned).collect();
        let is_it = |line: &String| matches!(entry(line), Ok(Some((found, _))) if found == key);
        match lines.iter().rposition(is_it) {
            Some(at) => lines[at] = new,
            None => lines.push(new),
        }
        self.text = lines.join("\n") + "\n";
        self.values.insert(key.to_owned(), value.to_owned());
    }

    /// The file as it should be written.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// The key and value of one line, `None` for a comment or a blank.
fn entry(line: &str) -> Result<Option<(&str, String)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let Some((key, value)) = line.split_once('=') else {
        return Err("there is no `=` in it".to_owned());
    };
    let key = key.trim_end();
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.' || c == '-';
    if key.is_empty() || !key.chars().all(name) {
        return Err("what stands before `=` is no name of a variable".to_owned());
    }
    unquoted(value.trim_start()).map(|value| Some((key, value)))
}

fn unquoted(value: &str) -> Result<String, String> {
    let Some(quote) = value.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        let end = value.find(" #").unwrap_or(value.len());
        let end = if value.starts_with('#') { 0 } else { end };
        return Ok(value[..end].trim_end().to_owned());
    };
    let mut text = String::new();
    let mut rest = value[1..].chars();
    while let Some(c) = rest.next() {
        match c {
            c if c == quote => {
                let after = rest.as_str().trim_start();
                if after.is_empty() || after.starts_with('#') {
                    return Ok(text);
                }
                return Err("something follows the closing quote".to_owned());
            }
            '\\' if quote == '"' => match rest.next() {
                Some('n') => text.push('\n'),
                Some(escaped @ ('"' | '\\' | '$')) => text.push(escaped),
                Some(other) => text.extend(['\\', other]),
                None => return Err("it ends in a lone backslash".to_owned()),
            },
            c => text.push(c),
        }
    }
    Err(format!("the {quote} at the start of the value is not closed on this line"))
}

/// `value` as a line of the file holds it: bare where that is safe, else in single quotes, which nothing looks into.
fn written(value: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-./:@!+=,%".contains(c);
    if value.chars().all(bare) {
        return value.to_owned();
    }
    if !value.contains('\'') && !value.contains('\n') {
        return format!("'{value}'");
    }
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

/// A variable that the stack cannot start without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    pub key: &'static str,
    /// As a person would say it.
    pub name: &'static str,
    pub secret: bool,
}

const fn variable(key: &'static str, name: &'static str, secret: bool) -> Variable {
    Variable { key, name, secret }
}

/// The variables that `docker/compose.yaml` names with `:?`.
pub const REQUIRED: [Variable; 10] = [
    variable("OMNI_DOMAIN", "domain of Omni", false),
    variable("OMNI_LAN_ADDRESS", "address of this host on the LAN", false),
    variable("OMNI_ACCOUNT_UUID", "account UUID", false),
    variable("OMNI_INITIAL_USER", "e-mail address of the first administrator", false),
    variable("OMNI_TLS_CERT", "path of the certificate", false),
    variable("OMNI_TLS_KEY", "path of the certificate's key", false),
    variable("OIDC_ISSUER_URL", "address of tsidp", false),
    variable("OIDC_CLIENT_ID", "id of Omni's client in tsidp", false),
    variable("OIDC_CLIENT_SECRET", "secret of Omni's client in tsidp", true),
    variable("TS_AUTHKEY", "Tailscale auth key of the sidecar", true),
];

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# the hub\nOMNI_DOMAIN=omni.example.ts.net # its name\n\nexport TS_AUTHKEY='a # b'\nEMPTY=\n";

    #[test]
    fn values_are_those_that_compose_sees() {
        let env = EnvFile::parse(".env", TEXT).unwrap();
        assert_eq!(env.get("OMNI_DOMAIN"), Some("omni.example.ts.net"));
        assert_eq!(env.get("TS_AUTHKEY"), Some("a # b"));
        assert_eq!(env.get("EMPTY"), None);
        let env = EnvFile::parse(".env", "A=\"x\\n\\\"y\\\"\" # c\nB=#none\nC=a#b\r\nC=second\r\n").unwrap();
        assert_eq!((env.get("A"), env.get("B"), env.get("C")), (Some("x\n\"y\""), None, Some("second")));
    }

    #[test]
    fn one_key_changes_and_the_rest_stays() {
        let mut env = EnvFile::parse(".env", TEXT).unwrap();
        env.set("EMPTY", "now");
        env.set("NEW", "it's $new");
        assert_eq!(env.text(), TEXT.replace("EMPTY=\n", "EMPTY=now\nNEW=\"it's \\$new\"\n"));
        assert_eq!(EnvFile::parse(".env", env.text()).unwrap().get("NEW"), Some("it's $new"));
    }

    #[test]
    fn every_value_survives_being_written() {
        for value in ["a", "a b", "a'b", "a\"b", "$HOME", "a\\b", "x#y", " lead", "two\nlines", "", "é", "a=b=="] {
            let mut env = EnvFile::default();
            env.set("K", value);
            assert_eq!(EnvFile::parse(".env", env.text()).unwrap().values["K"], value, "{}", env.text());
        }
    }

    #[test]
    fn a_broken_line_is_named_without_its_value() {
        for text in ["A=1\nnonsense secret\n", "A=1\nB='open secret\n", "A=1\nB B=secret\n", "A=1\nB='x' secret\n"] {
            let failure = EnvFile::parse("docker/.env", text).unwrap_err();
            assert_eq!(failure.message, "docker/.env:2: this line is not understood");
            assert!(!failure.to_string().contains("secret"), "{failure}");
        }
    }
}
