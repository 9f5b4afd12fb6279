//! `docker/config.yaml`: how the provider accesses Proxmox (`omni-infra-provider-proxmox` 0d9fd58,
//! `internal/pkg/config/config.go`: root key `proxmox`, keys are case-sensitive, the provider silently ignores unknown ones).

use crate::failure::{Code, Failure};
use crate::nearest::nearest;
use crate::secret::{Secret, entry, hide, hide_logins};
use serde::Deserialize;

/// The parts of the provider configuration that determine how Proxmox is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderConfig {
    /// Includes `/api2/json`, without a trailing slash: the provider appends paths to it.
    pub url: String,
    pub auth: Auth,
    /// Applies only to connections to Proxmox.
    pub insecure_skip_verify: bool,
}

/// How the provider logs in; user and password take precedence over a token (`main.go:74-83`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// `user@realm!name` and its secret.
    Token { id: String, secret: Secret },
    /// A ticket valid for two hours, which provider 0d9fd58 never renews; v0.1.0 and later do (go-proxmox v0.4.1).
    Password { user: String, realm: String, password: Secret },
    /// Neither: the provider starts without an error, and every request is rejected.
    None,
}

#[derive(Deserialize)]
struct Root {
    proxmox: Option<Proxmox>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Proxmox {
    url: String,
    username: String,
    password: String,
    realm: String,
    #[serde(rename = "tokenID")]
    token_id: String,
    token_secret: String,
    insecure_skip_verify: bool,
}

/// The keys that the provider reads; they match [`Proxmox`].
const KEYS: [&str; 7] = ["url", "username", "password", "realm", "tokenID", "tokenSecret", "insecureSkipVerify"];

/// Returns a key that the provider ignores, and the key that was probably meant.
fn find_misspelling(text: &str) -> Option<(String, &'static str)> {
    let root: serde_yaml::Value = serde_yaml::from_str(text).ok()?;
    let given: Vec<&str> = root.get("proxmox")?.as_mapping()?.keys().filter_map(serde_yaml::Value::as_str).collect();
    let missing = || KEYS.into_iter().filter(|key| !given.contains(key));
    let unknown = given.iter().filter(|key| !KEYS.contains(key));
    unknown.filter_map(|key| Some(((*key).to_owned(), nearest(key, missing())?))).next()
}

impl ProviderConfig {
    /// Parses `text`; `file` is the name for error messages.
    ///
    /// # Errors
    /// Returns [`Code::Invalid`] with file, line and column. The message of the YAML parser is omitted if it quotes a value.
    pub fn parse(file: &str, text: &str) -> Result<ProviderConfig, Failure> {
        let bad = |place: String, cause: String| {
            Failure::new(Code::Invalid, format!("{place}: this is not valid YAML for the provider"))
                .cause(cause)
                .hint("compare it with docker/config.yaml.example")
        };
        if let Some(broken) = yaml::limit(file, text) {
            return Err(bad(broken.place.to_string(), broken.message));
        }
        let root: Option<Root> = serde_yaml::from_str(text).map_err(|error| {
            let place = error.location().map_or(String::new(), |at| format!(":{}:{}", at.line(), at.column()));
            bad(format!("{file}{place}"), remove_values(&error.to_string()))
        })?;
        let Some(proxmox) = root.and_then(|root| root.proxmox) else {
            return Err(Failure::new(Code::Invalid, format!("{file}:1:1: it has no `proxmox:`"))
                .cause("the provider ignores unknown keys and would start without an address")
                .hint("compare it with docker/config.yaml.example"));
        };
        if let Some((key, meant)) = find_misspelling(text) {
            return Err(Failure::new(Code::Invalid, format!("{file}: the provider does not read the key `{key}`"))
                .cause("it ignores unknown keys, and keys are case-sensitive")
                .hint(format!("did you mean `{meant}`?")));
        }
        let Proxmox { url, username, password, realm, token_id, token_secret, insecure_skip_verify } = proxmox;
        let auth = if !username.is_empty() && !password.is_empty() {
            Auth::Password { user: username, realm, password: Secret::new(password) }
        } else if !token_id.is_empty() && !token_secret.is_empty() {
            Auth::Token { id: token_id, secret: Secret::new(token_secret) }
        } else {
            Auth::None
        };
        Ok(ProviderConfig { url, auth, insecure_skip_verify })
    }
}

/// Fills the four values into their lines in `example`; comments are preserved.
///
/// # Errors
/// Returns [`Code::Invalid`] if the example lacks one of the lines.
pub fn fill(example: &str, url: &str, token_id: &str, secret: &Secret, insecure: bool) -> Result<String, Failure> {
    let values = [
        ("url", quote_scalar(url)),
        ("tokenID", quote_scalar(token_id)),
        ("tokenSecret", quote_scalar(secret.expose())),
        ("insecureSkipVerify", insecure.to_string()),
    ];
    let mut lines: Vec<String> = example.lines().map(str::to_owned).collect();
    for (key, value) in values {
        let Some(line) = lines.iter_mut().find(|line| line.trim_start().starts_with(&format!("{key}:"))) else {
            return Err(Failure::new(Code::Invalid, format!("docker/config.yaml.example has no line `{key}:`"))
                .hint("restore the file from the repository"));
        };
        let indent = line.len() - line.trim_start().len();
        *line = format!("{}{key}: {value}", &line[..indent]);
    }
    Ok(lines.join("\n") + "\n")
}

/// Formats `value` as a YAML scalar that reads back as the same string: double-quoted JSON is YAML.
fn quote_scalar(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}

/// Removes the rejected value that serde quotes in `text`. The value may itself contain quotes, so everything up to the last
/// `expected` is removed.
fn remove_values(text: &str) -> String {
    let Some(start) = text.find(['"', '`']) else { return text.to_owned() };
    let end = ["\", expected ", "`, expected "].iter().filter_map(|end| text.rfind(end)).max();
    format!("{}…{}", &text[..start], end.map_or("", |end| &text[end + 1..]))
}

/// Redacts the secrets in `text` from all output, even if it is not valid YAML.
pub fn hide_secrets(text: &str) {
    for line in text.lines() {
        let Some((key, _, value)) = entry(line.trim_start_matches([' ', '\t', '-'])) else { continue };
        match key {
            // The keys in the second arm are Omni's own settings.
            "tokenSecret" | "password" => hide(value),
            "imageFactoryPassword" | "clientSecret" | "token" | "apiKey" | "appToken" => hide(value),
            // A complete token instead of only its ID or secret.
            "tokenID" => match value.split_once('=') {
                Some((_, secret)) => hide(secret),
                None if !value.contains('@') => hide(value),
                None => {}
            },
            "url" => hide_logins(value),
            _ => {}
        }
    }
}

/// Returns the login in an address. Addresses must not contain one, because they are shown and stored in the state.
pub fn find_login(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("://").unwrap_or(("", address));
    rest.split('/').next()?.rsplit_once('@').map(|(login, _)| login)
}

/// Returns a Proxmox address with `/api2/json` and no trailing slash, whether or not `endpoint` has them.
pub fn with_api_path(endpoint: &str) -> String {
    format!("{}/api2/json", without_api_path(endpoint))
}

/// Returns a Proxmox address without `/api2/json`.
pub fn without_api_path(endpoint: &str) -> &str {
    let endpoint = endpoint.trim_end_matches('/');
    endpoint.strip_suffix("/api2/json").unwrap_or(endpoint).trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::redact;

    const EXAMPLE: &str = "# access\nproxmox:\n  url: https://pve.example.com:8006/api2/json # with the path\n  tokenID: a@pve!b\n  tokenSecret: 000\n  insecureSkipVerify: false\n";

    #[test]
    fn parse_error_omits_values() {
        for (said, kept) in [
            (
                r#"a.b: invalid type: string "say \"x\" twice", expected a boolean at line 2"#,
                "a.b: invalid type: string …, expected a boolean at line 2",
            ),
            (
                "a.b: invalid type: integer `123456`, expected a string",
                "a.b: invalid type: integer …, expected a string",
            ),
            (r#"duplicate entry with key "x, expected y""#, "duplicate entry with key …"),
            ("did not find expected ',' or ']'", "did not find expected ',' or ']'"),
        ] {
            assert_eq!(remove_values(said), kept);
        }
    }

    #[test]
    fn secrets_are_hidden_whether_the_file_is_whole_or_not() {
        hide_secrets("proxmox:\n  url: https://root:canary-config-2@pve:8006 # x\n  password: 'canary-config-3' # y\n");
        hide_secrets(
            "  tokenID: \"omni@pve!p=canary-config-4\"\n  tokenSecret: \"canary-config-5\n tokenID: canary-config-6\n",
        );
        let said: String = (2..7).map(|number| format!("canary-config-{number} ")).collect();
        assert_eq!(redact(&said), "*** *** *** *** *** ");
        hide_secrets("tokenID: omni@pve!canary-of-an-id\nurl: https://canary-of-a-host:8006/api2/json\n");
        assert_eq!(redact("canary-of-an-id, canary-of-a-host"), "canary-of-an-id, canary-of-a-host");
    }

    #[test]
    fn fill_keeps_lines_and_comments() {
        let secret = Secret::new("canary-config-1");
        let text = fill(EXAMPLE, "https://10.0.0.1:8006/api2/json", "omni@pve!provider", &secret, true).unwrap();
        let config = ProviderConfig::parse("config.yaml", &text).unwrap();
        assert!(text.starts_with("# access\n"));
        assert_eq!(config.url, "https://10.0.0.1:8006/api2/json");
        assert_eq!(config.auth, Auth::Token { id: "omni@pve!provider".into(), secret });
        assert!(config.insecure_skip_verify);
        assert!(fill("proxmox: {}\n", "u", "t", &Secret::new("secret-x"), false).is_err());
    }

    #[test]
    fn errors_have_position_and_no_value() {
        let failure = ProviderConfig::parse("c", "proxmox:\n  insecureSkipVerify: \"hunter22\"\n").unwrap_err();
        assert!(failure.message.starts_with("c:2:"), "{failure}");
        assert!(!failure.to_string().contains("hunter22"), "{failure}");
        for text in ["", "# nothing\n", "proxmx: {}\n", "proxmox:\n"] {
            let failure = ProviderConfig::parse("c", text).unwrap_err();
            assert!(failure.message.contains("no `proxmox:`"), "{failure}");
        }
        assert!(ProviderConfig::parse("c", "proxmox: [\n").is_err());
        for (text, meant) in [
            ("URL: x\n  tokenID: a@pve!b", "`url`"),
            ("url: x\n  tokenId: a@pve!b", "`tokenID`"),
            ("url: x\n  tokenID: a\n  token_secret: hunter22", "`tokenSecret`"),
            ("url: x\n  insecure_skip_verify: true", "`insecureSkipVerify`"),
        ] {
            let failure = ProviderConfig::parse("c", &format!("proxmox:\n  {text}\n")).unwrap_err();
            assert!(failure.hint.contains(meant) && !failure.to_string().contains("hunter22"), "{failure}");
        }
        let extra = "proxmox:\n  url: x\n  tokenID: a@pve!b\n  tokenId: old\n  comment: mine\n";
        assert!(ProviderConfig::parse("c", extra).is_ok(), "nothing that is read is missing");
    }

    #[test]
    fn parse_selects_the_providers_login() {
        let text = "proxmox:\n  url: x\n  username: root\n  password: 123456\n  tokenID: a\n  tokenSecret: bbbbbbbb\n";
        let auth = Auth::Password { user: "root".into(), realm: String::new(), password: Secret::new("123456") };
        assert_eq!(ProviderConfig::parse("c", text).unwrap().auth, auth);
        let token = Auth::Token { id: "a@pve!b".into(), secret: Secret::new("bbbbbbbb") };
        for (keys, auth) in [
            ("", Auth::None),
            ("username: root\n  tokenID: a@pve!b\n  tokenSecret: bbbbbbbb", token),
            ("password: 123456\n  tokenID: a@pve!b", Auth::None),
        ] {
            assert_eq!(
                ProviderConfig::parse("c", &format!("proxmox:\n  url: x\n  {keys}\n")).unwrap().auth,
                auth,
                "{keys}"
            );
        }
    }

    #[test]
    fn api_path_is_normalized() {
        for given in ["https://h:8006", "https://h:8006/", "https://h:8006/api2/json", "https://h:8006/api2/json/"] {
            assert_eq!(with_api_path(given), "https://h:8006/api2/json");
            assert_eq!(without_api_path(given), "https://h:8006");
        }
    }
}
