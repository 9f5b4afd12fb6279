//! Values of an example that were left in place: `<BRIDGE>`, `__STORAGE__`, `${NODE}`, `CHANGE_ME`, `your-bridge`,
//! `192.0.2.x`.

use std::sync::LazyLock;

use regex::Regex;

/// The whole value is one.
const WHOLE: &str = r"(?i)^(?:<[^<>]+>|\{\{[^{}]+\}\}|\$\{[^${}]+\}|your[-_ ].*)$";
/// An address with a placeholder part, alone or with a suffix.
const ADDRESS: &str = r"^(?:[0-9]{1,3}\.){0,3}[xX]{1,3}(?:\.(?:[0-9]{1,3}|[xX]{1,3})){0,3}(?:[/:].*)?$";
/// A part of the value is one.
const PART: &str = r"<[A-Z][A-Z0-9_-]{2,}>|__[A-Z][A-Z0-9_]*__|(?i:\b(?:change|replace)[-_]?me\b)";

/// A form that is compiled for the first value that could have it: every start of a task looks at some that cannot.
type Form = LazyLock<Option<Regex>>;
static FORMS: [Form; 3] = [
    LazyLock::new(|| Regex::new(WHOLE).ok()),
    LazyLock::new(|| Regex::new(ADDRESS).ok()),
    LazyLock::new(|| Regex::new(PART).ok()),
];

/// True if a value looks like one that an example leaves to its reader.
pub fn is_placeholder(value: &str) -> bool {
    if value.len() > 256 || value.contains('\n') {
        return false;
    }
    let value = value.trim();
    let matches = |form: &Form| form.as_ref().is_some_and(|form| form.is_match(value));
    let [whole, address, part] = &FORMS;
    let lower = value.to_ascii_lowercase();
    let of_four = || value.split(['/', ':']).next().is_some_and(|ip| ip.split('.').count() == 4);
    value.starts_with(['<', '{', '$', 'y', 'Y']) && matches(whole)
        || ["<", "__", "me"].into_iter().any(|mark| lower.contains(mark)) && matches(part)
        || lower.contains('x') && matches(address) && of_four()
}

/// True if a host, or the host of a URL, is a name reserved for examples (RFC 2606).
pub fn is_example_host(value: &str) -> bool {
    let rest = value.trim().split_once("://").map_or(value.trim(), |(_, rest)| rest);
    let host = rest.split(['/', ':', '?']).next().unwrap_or_default().to_ascii_lowercase();
    ["example.com", "example.org", "example.net"]
        .iter()
        .any(|name| host.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.')))
}

/// The placeholder in a selector. Only quoted names are checked, because operators such as `<` are not placeholders.
pub fn in_selector(selector: &str) -> Option<&str> {
    selector.split(['"', '\'']).skip(1).step_by(2).find(|name| is_placeholder(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_recognized() {
        for placeholder in [
            "<BRIDGE>",
            "<your bridge>",
            "__REPLACE_ME_STORAGE__",
            "${NODE}",
            "CHANGE_ME",
            "changeme",
            "your-bridge",
            "192.168.1.x",
            "x.x.x.x/24",
            "pve-<NODE>",
            "{{ bridge }}",
            "https://x.x.x.x:8006",
        ] {
            assert!(is_placeholder(placeholder.trim_start_matches("https://")), "{placeholder}");
        }
        for value in [
            "",
            "vmbr0",
            "local-lvm",
            "x86-64-v2-AES",
            "a < b",
            "1.2.3.4",
            "exchange-media",
            "xx",
            "fax.x.y.z",
            "__init__",
            "yourself",
            "$HOME",
            "v1.13.5",
            "PATH=${PATH}",
            "<BRIDGE>\n",
        ] {
            assert!(!is_placeholder(value), "{value}");
        }
        assert_eq!(in_selector("name == \"__REPLACE_ME__\""), Some("__REPLACE_ME__"));
        assert_eq!(in_selector("availableSpace < 5 && name == \"a\" && availableSpace > 2"), None);
    }

    #[test]
    fn example_hosts_are_recognized() {
        for host in ["https://pve.example.com:8006/api2/json", "example.org", "PVE.Example.com"] {
            assert!(is_example_host(host), "{host}");
        }
        for host in ["https://pve.myexample.com", "example.com.au", "10.0.0.5", "https://pve.home.arpa/example.com"] {
            assert!(!is_example_host(host), "{host}");
        }
    }
}
