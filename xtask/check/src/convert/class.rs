//! Converts the Kubernetes-style MachineClass, and classes of the real form with old selectors.

use super::comments::Comments;
use super::in_place::selectors;
use super::selector::selector;
use super::{Conversion, Outcome};
use crate::machine_class;
use crate::provider_keys::{KEYS, KeyKind, ProviderKey};
use domain::spec::machine_class::{is_legacy, parse_stream};
use yaml::{Finding, Node, Value, emit, quote};

/// Rewrites a file of machine classes.
pub fn classes(file: &str, bytes: &[u8]) -> Outcome {
    let stream = yaml::load(file, bytes);
    if stream.is_broken() || stream.findings.iter().any(Finding::is_error) {
        return Outcome::Refused(stream.findings);
    }
    if !stream.documents.iter().any(|d| is_legacy(&d.root)) {
        let classes = parse_stream(file, &stream).value.unwrap_or_default();
        return selectors(file, bytes, &classes);
    }
    let (mut text, mut conversion) = (Vec::new(), Conversion::new(file));
    let mut comments = Comments::of(bytes);
    // `---` without content after it is not a class.
    for document in stream.documents.iter().filter(|document| !document.root.is_null()) {
        let root = &document.root;
        if !is_legacy(root) {
            conversion.refuse(
                root.at,
                "a class in the older form next to a document in another form",
                "split the file first",
            );
            continue;
        }
        let before = conversion.refused.len();
        let class = conversion.class(root);
        if conversion.refused.len() == before {
            let checked = machine_class::check(file, class.as_bytes(), &machine_class::ClassContext::default());
            conversion.check_result(root.path(&["spec", "config"]).unwrap_or(root).at, &checked);
        }
        text.push(comments.take_above(root.at.line) + &class);
    }
    conversion.changes.extend(comments.into_changes(file));
    conversion.into_outcome(text.join("---\n"))
}

impl Conversion<'_> {
    fn class(&mut self, root: &Node) -> String {
        self.refuse_unknown_keys(root, &["apiVersion", "kind", "metadata", "spec"], "the class");
        let metadata = root.get("metadata");
        let name = metadata.and_then(|m| m.get("name")).and_then(Node::text).unwrap_or_default().to_owned();
        if name.is_empty() {
            self.refuse(root.at, "the class has no `metadata.name`".to_owned(), "name it");
        }
        let mut head = format!(
            "metadata:\n  namespace: default\n  type: MachineClasses.omni.sidero.dev\n  id: {}\n",
            quote(&name)
        );
        if let Some(metadata) = metadata {
            self.refuse_unknown_keys(metadata, &["name", "namespace", "labels", "annotations"], "metadata");
            let why = "an Omni resource has `metadata` with namespace, type and id, but no apiVersion or kind";
            self.add_change(metadata, format!("metadata: id: {name}, namespace: default"), why);
            for key in ["labels", "annotations"] {
                if let Some(node) = metadata.get(key).filter(|n| !n.entries().is_empty()) {
                    head.push_str(&format!("  {key}:\n{}", emit(node, 4)));
                }
            }
        }
        let spec = root.get("spec").cloned();
        let Some(spec) = spec else {
            self.refuse(root.at, "the class has no `spec`".to_owned(), "describe the machines");
            return head;
        };
        self.refuse_unknown_keys(&spec, &["type", "provider", "config"], "spec");
        let kind = spec.get("type").and_then(Node::text).unwrap_or("auto-provision");
        if normalize_key(kind) != "autoprovision" {
            self.refuse(
                spec.at,
                format!("`type: {kind}` has no counterpart"),
                "write the class by hand, with `matchlabels`",
            );
        }
        let (provider, why) = match spec.get("provider").filter(|node| !node.is_null()) {
            None => ("proxmox", "the class specifies no provider; this is the provider's default id"),
            Some(node) => {
                let named = node.text().unwrap_or_default();
                if named.is_empty() {
                    self.refuse(node.at, "`provider` is not a name".to_owned(), "write the provider's id, its `--id`");
                }
                (named, "the provider's id in Omni, which it is started with (--id)")
            }
        };
        self.add_change(&spec, format!("autoprovision.providerid: {provider}"), why);
        let data = match spec.get("config") {
            Some(config) if !config.is_map() => {
                self.refuse(
                    config.at,
                    "`config` is not a mapping".to_owned(),
                    "write each of its keys on its own line",
                );
                String::new()
            }
            Some(config) => self.config(config),
            None => {
                let message = "the class has no `config`, so the size of its machines is not known".to_owned();
                self.refuse(spec.at, message, "add `config`");
                String::new()
            }
        };
        format!(
            "{head}spec:\n  autoprovision:\n    providerid: {}\n    kernelargs: []\n    metavalues: []\n    providerdata: |\n{data}    grpctunnel: 0\n",
            quote(provider)
        )
    }

    fn refuse_unknown_keys(&mut self, node: &Node, known: &[&str], what: &str) {
        for entry in node.entries().iter().filter(|e| !known.contains(&e.key.as_str())) {
            self.refuse_key(entry, format!("`{}` of {what} has no counterpart", entry.key));
        }
    }

    fn config(&mut self, config: &Node) -> String {
        let mut out = self.keys(config, &KEYS, 6);
        if config.entry("sockets").is_none() {
            out.push_str("      sockets: 1\n");
            let why = "without it, the provider sends 0 and Proxmox refuses the VM";
            self.add_change(config, "sockets: 1".to_owned(), why);
        }
        for key in KEYS.iter().filter(|k| k.required) {
            if !config.entries().iter().any(|e| find_key(&e.key, &KEYS).is_some_and(|k| k.name == key.name)) {
                let message = format!("`{}` is missing, which the provider requires: {}", key.name, key.about);
                self.refuse(config.at, message, "add it to `config` before converting");
            }
        }
        out
    }

    /// Converts the keys of a mapping, each on a line indented by `indent`.
    fn keys(&mut self, node: &Node, table: &[ProviderKey], indent: usize) -> String {
        let pad = " ".repeat(indent);
        let mut out = String::new();
        let mut seen: Vec<(&str, &str)> = Vec::new();
        for entry in node.entries() {
            let Some(key) = find_key(&entry.key, table) else {
                self.refuse_key(entry, format!("`{}` has no counterpart in the provider's data", entry.key));
                continue;
            };
            if let Some((_, other)) = seen.iter().find(|(name, _)| *name == key.name) {
                let message = format!("`{other}` and `{}` both mean the provider's `{}`", entry.key, key.name);
                self.refuse(entry.at, message, "keep one of them");
            }
            seen.push((&key.name, &entry.key));
            let Some(value) = self.value(&entry.key, key, &entry.value, indent) else { continue };
            let space = if value.starts_with('\n') { "" } else { " " };
            out.push_str(&format!("{pad}{}:{space}{value}\n", key.name));
            if key.name != entry.key {
                let shown = value.trim_start().lines().next().unwrap_or_default();
                let why = format!("this is the provider's name for `{}`", entry.key);
                self.add_change(&entry.value, format!("{}: {shown}", key.name), &why);
            }
        }
        out
    }

    /// Converts a value to the provider's form: on the line of its key, or below it.
    fn value(&mut self, written: &str, key: &ProviderKey, node: &Node, indent: usize) -> Option<String> {
        match (key.name.as_str(), key.kind) {
            ("storage_selector", _) => self.selector(node),
            ("memory", _) => self.size(node, 1),
            ("disk_size", _) => self.size(node, 1024),
            (_, KeyKind::Number) => self.number(node, written),
            (_, KeyKind::Flag) => self.convert_bool(node, written),
            (_, KeyKind::List) if !node.items().is_empty() && node.items().iter().all(Node::is_map) => {
                let mut items = String::new();
                for item in node.items() {
                    let keys = self.keys(item, &key.keys, indent + 4);
                    let dash = format!("\n{}- ", " ".repeat(indent + 2));
                    items.push_str(&format!("{dash}{}", keys.trim_start().trim_end_matches('\n')));
                }
                Some(items)
            }
            _ => {
                let text = emit(node, indent + 2);
                let one_line = node.scalar().is_some();
                Some(if one_line { text.trim().to_owned() } else { format!("\n{}", text.trim_end()) })
            }
        }
    }

    fn convert_bool(&mut self, node: &Node, key: &str) -> Option<String> {
        let text = node.text().unwrap_or_default();
        let value = match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" => "true",
            "false" | "no" | "off" => "false",
            _ => {
                self.refuse(node.at, format!("`{key}: {text}` is neither true nor false"), "write one");
                return None;
            }
        };
        if !matches!(node.value(), Some(Value::Bool(_))) {
            self.add_change(node, format!("{key}: {value}"), "the provider requires true or false, without quotes");
        }
        Some(value.to_owned())
    }

    fn selector(&mut self, node: &Node) -> Option<String> {
        let text = node.text().unwrap_or_default();
        match selector(text) {
            None => Some(quote(text)),
            Some(Ok(new)) => {
                self.add_change(node, format!("storage_selector: {}", new.text), &new.why.join("; "));
                Some(quote(&new.text))
            }
            Some(Err(why)) => {
                self.refuse(node.at, format!("the selector cannot be converted: {why}"), "write a new one");
                None
            }
        }
    }

    fn number(&mut self, node: &Node, key: &str) -> Option<String> {
        let text = node.text().unwrap_or_default();
        if text.parse::<u64>().is_ok() {
            if !matches!(node.value(), Some(Value::Int(_))) {
                self.add_change(node, format!("{key}: {text}"), "the provider requires a number, without quotes");
            }
            return Some(text.to_owned());
        }
        self.refuse(node.at, format!("`{key}: {text}` is not a whole number"), "write one");
        None
    }

    /// Converts a size to the provider's unit (`unit_mib` MiB each): a plain number, or one with Ki, Mi, Gi or Ti. MB and GB are
    /// ambiguous: 1000 or 1024.
    fn size(&mut self, node: &Node, unit_mib: u64) -> Option<String> {
        if let Some(Value::Int(n)) = node.value() {
            return Some(n.to_string());
        }
        let text = node.text().unwrap_or_default().trim().to_owned();
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: Option<u64> = text[..digits].parse().ok();
        let mib = match (number, text[digits..].trim()) {
            (Some(n), "") => n.checked_mul(unit_mib),
            (Some(n), "Ki" | "KiB") => Some(n / 1024).filter(|_| n % 1024 == 0),
            (Some(n), "Mi" | "MiB") => Some(n),
            (Some(n), "Gi" | "GiB") => n.checked_mul(1024),
            (Some(n), "Ti" | "TiB") => n.checked_mul(1024 * 1024),
            _ => None,
        };
        match mib.filter(|m| m % unit_mib == 0) {
            Some(mib) => {
                let value = (mib / unit_mib).to_string();
                let unit = if unit_mib == 1 { "memory is in MiB" } else { "disks are in GiB" };
                self.add_change(node, format!("size: {value}"), &format!("{unit}, as a plain number"));
                Some(value)
            }
            None => {
                self.refuse(node.at, format!("`{text}` is not an exact size"), "write a plain number");
                None
            }
        }
    }
}

/// Returns the provider's key for a key of the older form, ignoring capitals and underscores, or for one of its other names.
fn find_key<'t>(written: &str, table: &'t [ProviderKey]) -> Option<&'t ProviderKey> {
    let plain = normalize_key(written);
    let name = match plain.as_str() {
        "cpu" | "cpus" | "vcpus" => "cores",
        "ram" | "mem" => "memory",
        "disk" => "disksize",
        "bridge" | "network" if !table.iter().any(|key| key.name == "bridge") => "networkbridge",
        other => other,
    };
    table.iter().find(|key| normalize_key(&key.name) == name)
}

/// Normalizes a key: `diskSSD`, `disk_ssd` and `disk-ssd` are the same.
fn normalize_key(key: &str) -> String {
    key.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect()
}
