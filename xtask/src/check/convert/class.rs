//! The Kubernetes-style MachineClass, and classes of the real form whose selectors are old.

use super::selector::selector;
use super::{Change, Outcome, refuse};
use crate::check::Finding;
use crate::check::provider_keys::{KEYS, Kind};
use crate::spec::machine_class::{MachineClass, is_legacy, parse_stream};
use crate::spec::provider_data;
use crate::spec::yaml::{self, Node, Style, Value, emit, quote};

/// Rewrites a file of machine classes.
pub fn machine_class(file: &str, bytes: &[u8]) -> Outcome {
    let stream = yaml::load(file, bytes);
    if stream.is_broken() || stream.findings.iter().any(Finding::is_error) {
        return Outcome::Refused(stream.findings);
    }
    if !stream.documents.iter().any(|d| is_legacy(&d.root)) {
        let classes = parse_stream(file, &stream).value.unwrap_or_default();
        return selectors(file, bytes, &classes);
    }
    let (mut text, mut changes, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for document in &stream.documents {
        if !is_legacy(&document.root) {
            let place = document.root.at.in_file(file);
            refused.push(refuse(place, "an older class beside a document of another form", "split the file first"));
            continue;
        }
        let mut conversion = Conversion { file, changes: Vec::new(), refused: Vec::new() };
        text.push(conversion.class(&document.root));
        changes.append(&mut conversion.changes);
        refused.append(&mut conversion.refused);
    }
    match refused.is_empty() {
        true => Outcome::Converted { text: text.join("---\n"), changes },
        false => Outcome::Refused(refused),
    }
}

/// Selectors of the older form inside classes of the real one, replaced where they stand.
fn selectors(file: &str, bytes: &[u8], classes: &[MachineClass]) -> Outcome {
    let Ok(source) = std::str::from_utf8(bytes) else { return Outcome::Unchanged };
    let mut lines: Vec<String> = source.split('\n').map(str::to_owned).collect();
    let (mut changes, mut refused) = (Vec::new(), Vec::new());
    for provision in classes.iter().filter_map(|c| c.auto_provision.as_ref()) {
        let Some(root) = provider_data::parse(file, provision).value.and_then(|d| d.root) else { continue };
        let disks = root.get("additional_disks").map_or(&[][..], Node::items);
        let nodes =
            root.get("storage_selector").into_iter().chain(disks.iter().filter_map(|d| d.get("storage_selector")));
        for node in nodes {
            let Some((old, scalar)) = node.text().zip(node.scalar()) else { continue };
            let place = node.at.in_file(file);
            match selector(old) {
                None => {}
                Some(Err(why)) => {
                    refused.push(refuse(place, format!("the selector cannot be converted: {why}"), "write a new one"))
                }
                Some(Ok(new)) => {
                    // One line, from the value's first character to its end, quotes included.
                    let line = lines.get_mut(node.at.line.saturating_sub(1) as usize);
                    let end = match scalar.style {
                        Style::Plain => Some(old.to_owned()),
                        Style::Quoted => None,
                        _ => Some(String::new()),
                    };
                    match line.and_then(|l| replace(l, node.at.column, end, &quote(&new.text))) {
                        Some(()) => changes.push(change(&place, "storage_selector", &new.text, &new.why.join("; "))),
                        None => refused.push(refuse(
                            place,
                            "the selector runs over several lines",
                            "write it on one line first",
                        )),
                    }
                }
            }
        }
    }
    match (refused.is_empty(), changes.is_empty()) {
        (false, _) => Outcome::Refused(refused),
        (true, true) => Outcome::Unchanged,
        (true, false) => Outcome::Converted { text: lines.join("\n"), changes },
    }
}

/// Replaces the scalar that starts at a column: the given plain text, or a quoted one.
fn replace(line: &mut String, column: u32, plain: Option<String>, new: &str) -> Option<()> {
    let start = line.char_indices().nth(column.checked_sub(1)? as usize)?.0;
    let rest = &line[start..];
    let len = match plain {
        Some(text) if !text.is_empty() && rest.starts_with(&text) => text.len(),
        Some(_) => return None,
        None => {
            let mark = rest.chars().next()?;
            let mut escaped = false;
            let mut chars = rest.char_indices().skip(1).peekable();
            loop {
                let (at, c) = chars.next()?;
                if escaped {
                    escaped = false;
                } else if c == '\\' && mark == '"' {
                    escaped = true;
                } else if c == mark {
                    // `''` inside single quotes is one quote.
                    if mark == '\'' && chars.peek().is_some_and(|(_, c)| *c == '\'') {
                        chars.next();
                        continue;
                    }
                    break at + 1;
                }
            }
        }
    };
    line.replace_range(start..start + len, new);
    Some(())
}

fn change(place: &crate::spec::Place, what: &str, to: &str, why: &str) -> Change {
    Change { place: place.clone(), what: format!("{what}: {to}"), why: why.to_owned() }
}

struct Conversion<'a> {
    file: &'a str,
    changes: Vec<Change>,
    refused: Vec<Finding>,
}

impl Conversion<'_> {
    fn refuse(&mut self, node: &Node, message: String, fix: &str) {
        self.refused.push(refuse(node.at.in_file(self.file), message, fix));
    }

    fn changed(&mut self, node: &Node, what: &str, to: &str, why: &str) {
        self.changes.push(change(&node.at.in_file(self.file), what, to, why));
    }

    fn class(&mut self, root: &Node) -> String {
        self.only(root, &["apiVersion", "kind", "metadata", "spec"], "the class");
        let metadata = root.get("metadata");
        let name = metadata.and_then(|m| m.get("name")).and_then(Node::text).unwrap_or_default().to_owned();
        if name.is_empty() {
            self.refuse(root, "the class has no `metadata.name`".to_owned(), "name it");
        }
        let mut head = format!(
            "metadata:\n  namespace: default\n  type: MachineClasses.omni.sidero.dev\n  id: {}\n",
            quote(&name)
        );
        if let Some(metadata) = metadata {
            self.only(metadata, &["name", "namespace", "labels", "annotations"], "metadata");
            let why = "a resource of Omni is `metadata` with namespace, type and id, and no apiVersion and kind";
            self.changed(metadata, "metadata", &format!("id: {name}, namespace: default"), why);
            for key in ["labels", "annotations"] {
                if let Some(node) = metadata.get(key).filter(|n| !n.entries().is_empty()) {
                    head.push_str(&format!("  {key}:\n{}", emit(node, 4)));
                }
            }
        }
        let spec = root.get("spec").cloned();
        let Some(spec) = spec else {
            self.refuse(root, "the class has no `spec`".to_owned(), "describe the machines");
            return head;
        };
        self.only(&spec, &["type", "provider", "config", "machineClass"], "spec");
        let kind = spec.get("type").and_then(Node::text).unwrap_or("auto-provision");
        if kind != "auto-provision" {
            self.refuse(
                &spec,
                format!("`type: {kind}` has no counterpart"),
                "write the class by hand, with `matchlabels`",
            );
        }
        let provider = spec.get("provider").and_then(Node::text).unwrap_or("proxmox").to_owned();
        let why = "the provider's id in Omni, which it is started with (--id)";
        self.changed(&spec, "autoprovision.providerid", &provider, why);
        let data = match spec.get("config") {
            Some(config) => self.config(config),
            None => {
                let message = "the class has no `config`, so nothing says how large its machines are".to_owned();
                self.refuse(&spec, message, "add `config`");
                String::new()
            }
        };
        format!(
            "{head}spec:\n  autoprovision:\n    providerid: {}\n    kernelargs: []\n    metavalues: []\n    providerdata: |\n{data}    grpctunnel: 0\n",
            quote(&provider)
        )
    }

    fn only(&mut self, node: &Node, known: &[&str], what: &str) {
        for entry in node.entries().iter().filter(|e| !known.contains(&e.key.as_str())) {
            let message = format!("`{}` of {what} has no counterpart", entry.key);
            self.refused.push(refuse(entry.at.in_file(self.file), message, "remove it, if it is not needed"));
        }
    }

    fn config(&mut self, config: &Node) -> String {
        let mut out = String::new();
        for entry in config.entries() {
            let name = snake(&entry.key);
            let Some(key) = KEYS.iter().find(|k| k.name == name) else {
                let message = format!("`{}` has no counterpart in the provider's data", entry.key);
                self.refused.push(refuse(entry.at.in_file(self.file), message, "remove it, if it is not needed"));
                continue;
            };
            let value = match (name.as_str(), key.kind) {
                ("storage_selector", _) => self.selector(&entry.value),
                ("memory", _) => self.size(&entry.value, 1),
                ("disk_size", _) => self.size(&entry.value, 1024),
                (_, Kind::Number(_)) => self.number(&entry.value, &entry.key),
                _ => {
                    let written = emit(&entry.value, 8);
                    Some(if entry.value.scalar().is_some() {
                        written.trim().to_owned()
                    } else {
                        format!("\n{}", written.trim_end())
                    })
                }
            };
            let Some(value) = value else { continue };
            let space = if value.starts_with('\n') { "" } else { " " };
            out.push_str(&format!("      {name}:{space}{value}\n"));
            if name != entry.key {
                self.changed(&entry.value, &name, &value, &format!("the provider calls `{}` so", entry.key));
            }
        }
        if config.entry("sockets").is_none() {
            out.push_str("      sockets: 1\n");
            let why = "left out, the provider sends 0 and Proxmox refuses the VM";
            self.changed(config, "sockets", "1", why);
        }
        for key in KEYS.iter().filter(|k| k.required) {
            if !config.entries().iter().any(|e| snake(&e.key) == key.name) {
                let message = format!("nothing says `{}`, which the provider demands: {}", key.name, key.about);
                self.refuse(config, message, "add it to `config` before converting");
            }
        }
        out
    }

    fn selector(&mut self, node: &Node) -> Option<String> {
        let text = node.text().unwrap_or_default();
        match selector(text) {
            None => Some(quote(text)),
            Some(Ok(new)) => {
                self.changed(node, "storage_selector", &new.text, &new.why.join("; "));
                Some(quote(&new.text))
            }
            Some(Err(why)) => {
                self.refuse(node, format!("the selector cannot be converted: {why}"), "write a new one");
                None
            }
        }
    }

    fn number(&mut self, node: &Node, key: &str) -> Option<String> {
        let text = node.text().unwrap_or_default();
        if text.parse::<u64>().is_ok() {
            return Some(text.to_owned());
        }
        self.refuse(node, format!("`{key}: {text}` is no whole number"), "write one");
        None
    }

    /// A size in the provider's unit (`unit_mib` MiB each): a plain number, or one with Mi, Gi, M, G, MB or GB.
    fn size(&mut self, node: &Node, unit_mib: u64) -> Option<String> {
        if let Some(Value::Int(n)) = node.value() {
            return Some(n.to_string());
        }
        let text = node.text().unwrap_or_default().trim().to_owned();
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: Option<u64> = text[..digits].parse().ok();
        let mib = match (number, text[digits..].trim()) {
            (Some(n), "") => Some(n.saturating_mul(unit_mib)),
            (Some(n), "Mi" | "MiB") => Some(n),
            (Some(n), "Gi" | "GiB") => n.checked_mul(1024),
            _ => None,
        };
        match mib.filter(|m| m % unit_mib == 0) {
            Some(mib) => {
                let value = (mib / unit_mib).to_string();
                let unit = if unit_mib == 1 { "memory is in MiB" } else { "disks are in GiB" };
                self.changed(node, "size", &value, &format!("{unit}, as a plain number"));
                Some(value)
            }
            None => {
                self.refuse(node, format!("`{text}` is no size that can be told exactly"), "write a plain number");
                None
            }
        }
    }
}

/// The provider's name for a key of the older form.
fn snake(key: &str) -> String {
    let key = match key {
        "cpu" | "cpus" => "cores",
        "disk" => "disk_size",
        "bridge" | "network" => "network_bridge",
        other => other,
    };
    let mut out = String::new();
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
