//! Placeholders from an example that were not replaced: `<BRIDGE>`, `__STORAGE__`, `${NODE}`, `CHANGE_ME`, `TODO`, `your-bridge`,
//! `192.0.2.x`, `https://YOUR_MIRROR`, `example.com`.

use std::sync::LazyLock;

use memchr::{memchr, memchr2};
use regex::Regex;
use yaml::{Node, Position};

/// Values that are a placeholder as a whole.
const WHOLE: &str = r"^(?:<[^<>]+>|\{\{[^{}]+\}\}|\$\{[^${}]+\}|(?i:your)[-_ ].*|(?:TODO|FIXME|TBD)(?:[ :(].*)?)$";
/// An address with a placeholder part, with or without a suffix.
const ADDRESS: &str = r"^(?:[0-9]{1,3}\.){0,3}[xX]{1,3}(?:\.(?:[0-9]{1,3}|[xX]{1,3})){0,3}(?:[/:].*)?$";
/// Placeholders within a value.
const PART: &str = r"<[A-Z][A-Z0-9_-]{2,}>|__[A-Z][A-Z0-9_]*__|(?i:\b(?:change|replace)[-_]?me\b)";

/// A regular expression that is compiled on first use: most values cannot match, so most tasks never need it.
type Form = LazyLock<Option<Regex>>;
static FORMS: [Form; 3] = [
    LazyLock::new(|| Regex::new(WHOLE).ok()),
    LazyLock::new(|| Regex::new(ADDRESS).ok()),
    LazyLock::new(|| Regex::new(PART).ok()),
];

/// Returns true if a value looks like a placeholder of an example.
pub fn is_placeholder(value: &str) -> bool {
    if value.len() > 256 {
        return false;
    }
    let lines = value;
    let value = value.trim();
    let matches = |form: &Form| !lines.contains('\n') && form.as_ref().is_some_and(|form| form.is_match(value));
    let [whole, address, part] = &FORMS;
    // This runs for every value in a file, and almost all lack the first byte of every form.
    let has = |a, b| memchr2(a, b, value.as_bytes()).is_some();
    let of_four = || value.split(['/', ':']).next().is_some_and(|ip| ip.split('.').count() == 4);
    matches!(value.as_bytes().first(), Some(b'<' | b'{' | b'$' | b'y' | b'Y' | b'T' | b'F')) && matches(whole)
        || (has(b'<', b'_') || has(b'm', b'M') && has(b'c', b'C')) && matches(part)
        || has(b'x', b'X') && memchr(b'.', value.as_bytes()).is_some() && matches(address) && of_four()
}

/// Returns the host of a URL or of `HOST:PORT/PATH`.
fn host(value: &str) -> &str {
    let value = value.trim();
    let authority = match value.split_once("://") {
        Some((_, rest)) => {
            rest.split(['/', '?', '#']).next().unwrap_or_default().rsplit('@').next().unwrap_or_default()
        }
        None => value,
    };
    authority.split(['/', ':', '?']).next().unwrap_or_default()
}

/// Returns true if a host, or the host of a URL, is a name reserved for examples (RFC 2606).
pub fn is_example_host(value: &str) -> bool {
    if memchr(b'.', value.as_bytes()).is_none() {
        return false;
    }
    let host = host(value).to_ascii_lowercase();
    ["example.com", "example.org", "example.net"]
        .iter()
        .any(|name| host.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.')))
}

/// Returns true for a placeholder, a URL whose host is a placeholder, and an example host.
fn is_unreplaced(value: &str) -> bool {
    is_placeholder(value)
        || memchr(b':', value.as_bytes()).is_some() && value.contains("://") && is_placeholder(host(value))
        || is_example_host(value)
}

/// Returns the placeholder in a selector. Only quoted names are checked, because operators such as `<` are not placeholders.
pub fn find_in_selector(selector: &str) -> Option<&str> {
    selector.split(['"', '\'']).skip(1).step_by(2).find(|name| is_placeholder(name))
}

/// A placeholder that was not replaced: its text, its key and its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placeholder<'a> {
    pub text: &'a str,
    pub key: &'a str,
    pub at: Position,
}

/// Returns all placeholders in `node`, including keys (`registry.example.com:`). Keys of labels are names, whatever their prefix.
pub fn find_in_node(node: &Node) -> Vec<Placeholder<'_>> {
    fn walk<'a>(key: &'a str, node: &'a Node, found: &mut Vec<Placeholder<'a>>) {
        found.extend(node.text().and_then(|text| find_in_value(key, text)).map(|text| Placeholder {
            text,
            key,
            at: node.at,
        }));
        for entry in node.entries() {
            let name = entry.key.as_str();
            found.extend((!name.contains('/') && is_unreplaced(name)).then_some(Placeholder {
                text: name,
                key,
                at: entry.at,
            }));
            walk(name, &entry.value, found);
        }
        node.items().iter().for_each(|item| walk(key, item, found));
    }
    let mut found = Vec::new();
    walk("", node, &mut found);
    found
}

fn find_in_value<'a>(key: &str, text: &'a str) -> Option<&'a str> {
    // API types and descriptions of Kubernetes objects may contain example names and are used as they are.
    if ["apiVersion", "group", "description"].contains(&key) {
        return None;
    }
    if key.ends_with("selector") {
        return find_in_selector(text);
    }
    let argument = key.to_ascii_lowercase().ends_with("kernelargs").then(|| text.split_once('=')).flatten();
    let left = is_unreplaced(text) || argument.is_some_and(|(_, value)| is_unreplaced(value));
    (left && !text.contains('\n')).then(|| text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_recognized() {
        let placeholders = "<BRIDGE>|<your bridge>|__REPLACE_ME_STORAGE__|${NODE}|CHANGE_ME|changeme|your-bridge|\
             192.168.1.x|x.x.x.x/24|pve-<NODE>|{{ bridge }}|https://x.x.x.x:8006|TODO|TODO: the bridge";
        for placeholder in placeholders.split('|') {
            assert!(is_placeholder(placeholder.trim_start_matches("https://")), "{placeholder}");
        }
        let values = "|vmbr0|local-lvm|x86-64-v2-AES|a < b|1.2.3.4|exchange-media|xx|fax.x.y.z|__init__|yourself|\
             $HOME|v1.13.5|PATH=${PATH}|<BRIDGE>\n|todo|TODOS|FIX";
        for value in values.split('|') {
            assert!(!is_placeholder(value), "{value}");
        }
        assert_eq!(find_in_selector("name == \"__REPLACE_ME__\""), Some("__REPLACE_ME__"));
        assert_eq!(find_in_selector("availableSpace < 5 && name == \"a\" && availableSpace > 2"), None);
    }

    #[test]
    fn example_hosts_are_recognized() {
        for host in
            ["https://pve.example.com:8006/api2/json", "example.org", "PVE.Example.com", "https://me:pw@a.example.net"]
        {
            assert!(is_example_host(host), "{host}");
        }
        assert!(
            is_unreplaced("https://YOUR_MIRROR")
                && is_unreplaced("https://<HOST>:5000/v2")
                && !is_unreplaced("https://mirror/your-x")
        );
        for host in ["https://pve.myexample.com", "example.com.au", "10.0.0.5", "https://pve.home.arpa/example.com"] {
            assert!(!is_example_host(host), "{host}");
        }
    }
}
