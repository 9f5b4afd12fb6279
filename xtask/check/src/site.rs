//! `docker/site.yaml`: a site's own settings for Omni, checked before Omni reads them. Pure functions.
//!
//! Omni does not start with a key that its release does not have, or with a value of another kind (`data/omni-settings.txt`; what
//! it decodes into each kind was tried with omni 1.9.3). Other mistakes let it start but mislead: flags override the file (omni
//! v1.9.3 `cmd/omni/cmd/cmd.go`), paths are inside the container, and an external etcd is used only if the embedded one is off.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::report::Report;
use super::schema::{Mismatch, MismatchKind, validate};
use super::stack::{images, omni_settings, tag};
use super::upgrade;
use domain::nearest::suggestion;
use domain::version;
use domain::version::Minor;
use yaml::{Entry, Finding, Node};

/// Where `docker/site` is in Omni's container.
pub const FILES: &str = "/etc/omni/site/";
/// Where `OMNI_ETCD_BACKUP_DIR` is in Omni's container.
pub const BACKUPS: &str = "/_out/etcd-backups";

const RULE: &str = "site-settings";
/// The booleans of YAML 1.1, which Omni reads in addition to `true` and `false`.
const ON: &[&str] = &["y", "Y", "yes", "Yes", "YES", "on", "On", "ON"];
const OFF: &[&str] = &["n", "N", "no", "No", "NO", "off", "Off", "OFF"];

struct Setting {
    path: &'static str,
    kind: &'static str,
    flag: &'static str,
    from: Option<Minor>,
    to: Option<Minor>,
}

impl Setting {
    fn is_in(&self, minor: Minor) -> bool {
        self.from.is_none_or(|from| from <= minor) && self.to.is_none_or(|to| minor <= to)
    }

    /// Returns true if the setting is at `path`, contains it (as an item of a list), or is below it.
    fn overlaps(&self, path: &str) -> bool {
        let below = |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('.'));
        self.path == path || below(path, self.path) || below(self.path, path)
    }
}

#[derive(Default)]
struct Table {
    minors: Vec<Minor>,
    settings: Vec<Setting>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let minor = |text: &str| version::minor(&format!("{text}.0"));
    let mut table = Table::default();
    for line in include_str!("../../data/omni-settings.txt").lines().filter(|line| !line.starts_with('#')) {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["source", column, _] => table.minors.extend(minor(column)),
            [path, kind, flag, ref range @ ..] => {
                let range = range.first().map_or("", |range| range.trim_start_matches('@'));
                let (from, to) = range.split_once('-').unwrap_or_default();
                table.settings.push(Setting { path, kind, flag, from: minor(from), to: minor(to) });
            }
            _ => {}
        }
    }
    table
});

/// Returns the schema of the settings of an Omni release, or of the nearest known release.
pub fn schema(minor: Minor) -> Value {
    let object = || json!({"type": ["object", "null"], "additionalProperties": false, "properties": {}});
    let mut root = object();
    for setting in TABLE.settings.iter().filter(|setting| setting.is_in(known(minor))) {
        let mut keys: Vec<&str> = setting.path.split('.').collect();
        let last = keys.pop().unwrap_or_default();
        let mut node = &mut root;
        for key in keys {
            let below = &mut node["properties"][key];
            if below.is_null() {
                *below = object();
            }
            node = below;
        }
        node["properties"][last] = kind(setting.kind).0;
    }
    root
}

fn known(minor: Minor) -> Minor {
    let newest = TABLE.minors.last().copied().unwrap_or(minor);
    minor.min(newest)
}

/// Returns what Omni decodes into a kind, as a schema and in words: any scalar into text, the words of YAML 1.1 into a boolean,
/// and null into every kind, as if the key were absent.
fn kind(kind: &str) -> (Value, String) {
    let scalar = json!(["string", "number", "boolean", "null"]);
    let whole = |least: i64| json!({"type": ["number", "null"], "multipleOf": 1, "minimum": least});
    let text = |pattern: String| json!({"type": ["string", "null"], "pattern": pattern});
    let (schema, words) = match kind {
        "text" => (json!({ "type": scalar }), "a text"),
        "text+" => (json!({"type": scalar, "minLength": 1}), "non-empty text"),
        "bool" => {
            let words = format!("^({})$", [ON, OFF].concat().join("|"));
            (json!({"type": ["boolean", "string", "null"], "pattern": words}), "true or false, without quotes")
        }
        "false" => (json!({"enum": [false, null]}), "false"),
        "int" => (whole(i64::from(i32::MIN)), "a whole number, without quotes"),
        "uint" => (whole(0), "a whole number of at least 0, without quotes"),
        "int1" => (whole(1), "a whole number of at least 1, without quotes"),
        "number" => (json!({"type": ["number", "null"]}), "a number, without quotes"),
        "duration" => {
            (text("^([0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$".to_owned()), "a duration such as 30s, 10m or 1h30m")
        }
        "https" => (text("^https://".to_owned()), "a URL that starts with https://"),
        "list" => (json!({"type": ["array", "null"], "items": {"type": scalar}}), "a list of strings"),
        "map" => (
            json!({"type": ["object", "null"], "additionalProperties": {"type": scalar}}),
            "a mapping of names to strings",
        ),
        words => {
            let all: Vec<Value> = words.split('|').map(Value::from).chain([Value::Null]).collect();
            return (json!({ "enum": all }), format!("one of {}", words.replace('|', ", ")));
        }
    };
    (schema, words.to_owned())
}

/// Returns the dotted paths of the settings in a file.
pub fn keys(text: &str) -> Vec<String> {
    let documents = yaml::load("docker/site.yaml", text.as_bytes()).documents;
    documents.first().map(|document| upgrade::paths(&document.root)).unwrap_or_default()
}

const PUBLIC_KEYS: [&str; 4] = ["storage", "default", "etcd", "publicKeyFiles"];

/// Returns the setting at a path of keys as it is written, or the items of a list.
pub fn setting_texts(text: &str, path: &[&str]) -> Vec<String> {
    let documents = yaml::load("docker/site.yaml", text.as_bytes()).documents;
    let found = documents.first().and_then(|document| document.root.path(path)).map(texts_of);
    found.unwrap_or_default().into_iter().map(str::to_owned).collect()
}

fn texts_of(node: &Node) -> Vec<&str> {
    node.text().into_iter().chain(node.items().iter().filter_map(Node::text)).collect()
}

/// Returns true if the settings name this public key for the store.
pub fn has_public_key(text: &str, path: &str) -> bool {
    setting_texts(text, &PUBLIC_KEYS).iter().any(|item| item == path)
}

/// Adds a public key for the store to the settings, as lines between the others; `None` if that is not possible.
pub fn with_public_key(text: &str, path: &str) -> Option<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let depth = |line: &str| {
        (!line.trim().is_empty() && !line.trim().starts_with('#')).then(|| line.len() - line.trim_start().len())
    };
    let (mut at, mut indent, mut keys) = (lines.len(), 0, &PUBLIC_KEYS[..]);
    let mut inside = 0..lines.len();
    while let [key, rest @ ..] = keys {
        let own = |index: &usize| {
            depth(&lines[*index]) == Some(indent) && lines[*index].trim_end() == format!("{:indent$}{key}:", "")
        };
        let Some(found) = inside.clone().find(own) else { break };
        let ends = |index: &usize| {
            depth(&lines[*index]).is_some_and(|it| it <= indent && !lines[*index].trim().starts_with("- "))
        };
        inside = found + 1..(found + 1..inside.end).find(ends).unwrap_or(inside.end);
        indent = inside.clone().find_map(|index| depth(&lines[index])).unwrap_or(indent + 2);
        (at, keys) = (found + 1, rest);
    }
    let new = keys.iter().enumerate().map(|(below, key)| format!("{:1$}{key}:", "", indent + 2 * below));
    let new: Vec<String> = new.chain([format!("{:1$}- {path}", "", indent + 2 * keys.len())]).collect();
    lines.splice(at..at, new);
    let new = lines.join("\n") + "\n";
    let lost = |key: &String| !self::keys(&new).contains(key);
    (has_public_key(&new, path) && !self::keys(text).iter().any(lost)).then_some(new)
}

/// Returns the setting that corresponds to a flag of Omni.
pub fn key_of(flag: &str) -> Option<&'static str> {
    TABLE.settings.iter().find(|setting| setting.flag == flag).map(|setting| setting.path)
}

/// Returns the first and the last Omni whose settings are known here; older releases read only one configuration file.
pub fn minors() -> (Minor, Minor) {
    let of = |minor: Option<&Minor>| minor.copied().unwrap_or(Minor::new(1, 10));
    (of(TABLE.minors.first()), of(TABLE.minors.last()))
}

/// Checks the settings against the stack of the compose file. `there` reports whether a path exists in Omni's container.
pub fn check(file: &str, text: &str, compose: &str, there: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    let stream = yaml::load(file, text.as_bytes());
    let broken = stream.is_broken();
    let mut report = Report { file, findings: stream.findings };
    let Some(document) = stream.documents.first().filter(|document| !broken && !document.root.is_null()) else {
        return report.findings;
    };
    if let Some(second) = stream.documents.get(1) {
        report.error(RULE, second.root.at, "Omni reads only the first document", "remove everything from `---` on");
    }
    let root = &document.root;
    let pinned = images(compose).remove("omni");
    let minor = pinned.as_deref().and_then(tag).and_then(version::minor);
    let newest = TABLE.minors.last().copied();
    match (minor, TABLE.minors.first()) {
        (Some(minor), Some(first)) if minor < *first => {
            let message =
                format!("Omni {minor} reads only one configuration file, and that file contains the client secret");
            report.error(RULE, root.at, message, format!("upgrade Omni to {first} or later, or remove the file"));
        }
        _ => {
            let sure = minor <= newest && minor.is_some();
            check_values(root, minor.or(newest).unwrap_or(Minor::new(1, 10)), sure, &mut report);
        }
    }
    report_overridden(root, compose, &mut report);
    report_misleading(root, there, &mut report);
    report_missing_files(root, there, &mut report);
    report.findings.sort_by_key(|finding| (finding.place.line, finding.place.column));
    report.findings
}

/// Checks keys and values; a key of an Omni newer than the table may be valid.
fn check_values(root: &Node, minor: Minor, sure: bool, report: &mut Report<'_>) {
    for found in validate(&schema(minor), root) {
        let path = found.path.trim_start_matches('.');
        let (message, fix) = match found.kind {
            MismatchKind::UnknownKey => unknown(&found, path, known(minor)),
            _ => invalid_value(path, known(minor)),
        };
        match sure {
            true => report.error(RULE, found.at, format!("{message}: Omni does not start"), fix),
            false => report.warning(RULE, found.at, format!("{message}, the newest version with known settings"), fix),
        }
    }
}

/// Reports settings that the compose file makes: its flags override the file, and the file overrides the client secret.
fn report_overridden(root: &Node, compose: &str, report: &mut Report<'_>) {
    let (flags, keys) = omni_settings(compose);
    for (path, Entry { at, .. }) in leaves(root) {
        let flag =
            TABLE.settings.iter().find(|each| flags.iter().any(|flag| flag == each.flag) && each.overlaps(&path));
        if let Some(setting) = flag {
            let message = format!(
                "`{path}` has no effect: docker/compose.yaml sets it with --{}, and flags take precedence",
                setting.flag
            );
            report.error(RULE, *at, message, "remove it here; site-specific values belong in docker/.env");
        } else if keys.contains(&path) {
            let message = format!("`{path}` would override what docker/compose.yaml sets from docker/.env");
            report.error(RULE, *at, message, "remove it here, and set it in docker/.env");
        }
    }
}

/// Reports settings with which Omni starts, or fails late, and does something other than intended.
fn report_misleading(root: &Node, there: &dyn Fn(&str) -> bool, report: &mut Report<'_>) {
    let entry = |path: &str| {
        let (above, key) = path.rsplit_once('.').unwrap_or(("", path));
        let keys: Vec<&str> = above.split('.').collect();
        root.path(&keys)?.entry(key).filter(|entry| !entry.value.is_null())
    };
    let is = |path: &str, words: &[&str]| {
        entry(path).filter(|entry| entry.value.text().is_some_and(|text| words.contains(&text)))
    };
    let (on, off) = ([&["true", "True", "TRUE"], ON].concat(), [&["false", "False", "FALSE"], OFF].concat());
    let endpoints = entry("storage.default.etcd.endpoints");
    match (endpoints, is("storage.default.etcd.embedded", &off)) {
        (Some(entry), None) => {
            let message = "the embedded etcd is enabled, so Omni would start with its own empty store";
            report.error(RULE, entry.at, message, "set `embedded: false` next to the endpoints");
        }
        (None, Some(entry)) => {
            let message = "the embedded etcd is disabled, and no other etcd is configured";
            report.error(RULE, entry.at, message, "add `endpoints` next to it");
        }
        _ => {}
    }
    if let (Some(local), Some(_)) = (entry("etcdBackup.localPath"), is("etcdBackup.s3Enabled", &on)) {
        let message = "Omni does not start with both a directory and S3 for backups";
        report.error(RULE, local.at, message, "remove one of them");
    } else if let Some(local) = entry("etcdBackup.localPath") {
        let path = local.value.text().unwrap_or_default();
        if !path.starts_with(BACKUPS) || !there(BACKUPS) {
            let message = format!("{path:?} is not on a mount of Omni's container: the backups would be lost");
            let fix = "set OMNI_ETCD_BACKUP_DIR in docker/.env to a directory on this host, and `localPath` to";
            report.error(RULE, local.at, message, format!("{fix} {BACKUPS}"));
        }
    }
    for method in ["auth0", "saml"] {
        if let Some(entry) = is(&format!("auth.{method}.enabled"), &on) {
            let message = format!("Omni does not start with {method} and OIDC, which docker/compose.yaml enables");
            report.error(RULE, entry.at, message, "remove it: users log in through the OIDC provider of docker/.env");
        }
    }
    let factory = ["registries.factories.primary", "registries.factories.secondary"];
    let pairs = factory.map(|at| (at.to_owned() + ".username", at.to_owned() + ".password"));
    let names = ("registries.imageFactoryUsername".to_owned(), "registries.imageFactoryPassword".to_owned());
    let eula = ("eulaAccept.name".to_owned(), "eulaAccept.email".to_owned());
    for (one, other) in pairs.into_iter().chain([names, eula]) {
        if let (Some(alone), None) | (None, Some(alone)) = (entry(&one), entry(&other)) {
            let message = format!("Omni does not start with only one of `{one}` and `{other}`");
            report.error(RULE, alone.at, message, "set both, or neither");
        }
    }
}

/// Reports missing files: Omni sees only what is mounted.
fn report_missing_files(root: &Node, there: &dyn Fn(&str) -> bool, report: &mut Report<'_>) {
    for (path, Entry { at, value, .. }) in leaves(root) {
        let key = path.rsplit('.').next().unwrap_or_default();
        if !key.ends_with("File") && !key.ends_with("Files") {
            continue;
        }
        for name in texts_of(value).into_iter().filter(|name| !name.is_empty() && !there(name)) {
            let file = name.rsplit('/').next().unwrap_or_default();
            let message = format!("`{path}` refers to {name:?}, which does not exist in Omni's container");
            report.error(RULE, *at, message, format!("put the file into docker/site/, and write {FILES}{file}"));
        }
    }
}

/// Returns all values with their dotted paths; a list is a single value.
fn leaves(root: &Node) -> impl Iterator<Item = (String, &Entry)> {
    upgrade::entries(root, "").into_iter().filter(|(_, entry)| !entry.value.is_map())
}

fn unknown(found: &Mismatch, path: &str, minor: Minor) -> (String, String) {
    let message = format!("`{path}` is not a setting of Omni {minor}");
    let (key, names) = found.known.clone().unwrap_or_default();
    let known = |setting: &&Setting| setting.is_in(minor);
    let elsewhere = TABLE.settings.iter().find(|setting| !known(setting) && setting.overlaps(path));
    let moved = TABLE.settings.iter().filter(known).find(|setting| setting.path.rsplit('.').next() == Some(&key));
    let fix = match (elsewhere, moved) {
        (Some(Setting { from: Some(from), .. }), _) if *from > minor => format!("it requires Omni {from} or later"),
        (Some(Setting { to: Some(to), .. }), _) => format!("remove it: Omni {to} was the last to support it"),
        (_, Some(setting)) => format!("did you mean `{}`?", setting.path),
        _ => suggestion(&key, &names.iter().map(String::as_str).collect::<Vec<_>>()),
    };
    (message, fix)
}

fn invalid_value(path: &str, minor: Minor) -> (String, String) {
    let below = |setting: &&Setting| setting.path.starts_with(&format!("{path}.")) || path.is_empty();
    match TABLE.settings.iter().find(|setting| setting.is_in(minor) && setting.overlaps(path) && !below(setting)) {
        Some(setting) => {
            let (_, kind) = kind(setting.kind);
            (format!("`{path}` must be {kind} in Omni {minor}"), format!("write {kind}"))
        }
        None => {
            let what = if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") };
            (
                format!("{what} must be a mapping of settings in Omni {minor}"),
                "write `key: value` lines, indented".to_owned(),
            )
        }
    }
}

#[cfg(test)]
#[path = "site_tests.rs"]
mod tests;
