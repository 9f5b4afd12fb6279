//! Converts the nested cluster template: one document with `controlPlane:` and `workers:`.

use super::comments::Comments;
use super::{Conversion, Outcome, refuse};
use crate::template;
use domain::spec::template::{is_kubernetes_style, is_legacy};
use yaml::{Data, Finding, Node, Value, emit, quote};

/// Keys that stay unchanged in the Cluster document.
const CLUSTER: &[&str] = &["labels", "annotations", "features", "patches", "systemExtensions", "kernelArgs"];
/// Keys of a set that stay unchanged.
const SET: &[&str] = &["labels", "annotations", "patches", "systemExtensions", "upgradeStrategy", "machines"];

/// Rewrites a template.
pub fn cluster_template(file: &str, bytes: &[u8]) -> Outcome {
    let stream = yaml::load(file, bytes);
    if stream.is_broken() || stream.findings.iter().any(Finding::is_error) {
        return Outcome::Refused(stream.findings);
    }
    // `---` without content after it is not a document.
    let documents: Vec<_> = stream.documents.iter().filter(|document| !document.root.is_null()).collect();
    let root = match documents.as_slice() {
        [one] if is_legacy(&one.root) && !is_kubernetes_style(&one.root) => &one.root,
        documents => {
            let old = documents.iter().find(|d| is_legacy(&d.root) || is_kubernetes_style(&d.root));
            let Some(old) = old else { return Outcome::Unchanged };
            let place = old.root.at.in_file(file);
            let message = match is_kubernetes_style(&old.root) {
                true => "a template with apiVersion or spec: its meaning is not clear",
                false => "the nested form is mixed with other documents: it is not clear which sets apply",
            };
            return Outcome::Refused(vec![refuse(place, message, "write the template by hand, see clusters/")]);
        }
    };
    let mut conversion = Conversion::new(file);
    let mut comments = Comments::of(bytes);
    let text = comments.take_above(root.at.line) + &conversion.template(root);
    conversion.changes.extend(comments.into_changes(file));
    if conversion.refused.is_empty() {
        let checked = template::check(file, text.as_bytes(), &template::TemplateContext::default());
        conversion.check_result(root.at, &checked);
    }
    conversion.into_outcome(text)
}

impl Conversion<'_> {
    fn template(&mut self, root: &Node) -> String {
        let mut out = "kind: Cluster\n".to_owned();
        let mut sets = String::new();
        let mut control_planes = 0;
        for entry in root.entries() {
            let value = &entry.value;
            match entry.key.as_str() {
                "kind" if value.text() == Some("Cluster") => {}
                "name" => out.push_str(&format!("name: {}\n", quote(value.text().unwrap_or_default()))),
                "kubernetes" | "talos" => out.push_str(&self.version(&entry.key, value)),
                "kubernetesVersion" | "talosVersion" => {
                    let key = entry.key.trim_end_matches("Version");
                    self.add_change(
                        value,
                        format!("{key}.version"),
                        "versions belong under `kubernetes:` and `talos:`",
                    );
                    out.push_str(&self.version(key, value));
                }
                "controlPlane" | "controlplane" => {
                    control_planes += 1;
                    sets.push_str(&self.set("ControlPlane", value));
                }
                "workers" => match &value.data {
                    // Without workers there is no document.
                    Data::Scalar(_) if value.is_null() => {}
                    Data::Map(entries) if entries.is_empty() => {}
                    Data::Seq(items) => items.iter().for_each(|item| sets.push_str(&self.set("Workers", item))),
                    _ => sets.push_str(&self.set("Workers", value)),
                },
                key if CLUSTER.contains(&key) => out.push_str(&kept(key, value)),
                key => self.refuse_key(entry, format!("`{key}` has no counterpart in a Cluster document")),
            }
        }
        if control_planes != 1 {
            let message = "the template must have exactly one `controlPlane`".to_owned();
            self.refuse(root.at, message, "specify the class and the number of machines");
        }
        for key in ["name", "kubernetes", "talos"] {
            let short = format!("{key}Version");
            if root.entry(key).is_none() && root.entry(&short).is_none() {
                self.refuse(root.at, format!("the template has no `{key}`"), "add it before converting");
            }
        }
        out + &sets
    }

    fn version(&mut self, key: &str, node: &Node) -> String {
        let version = match &node.data {
            Data::Map(_) => node.get("version").and_then(Node::text),
            _ => node.text(),
        };
        let Some(version) = version else {
            self.refuse(node.at, format!("`{key}` has no version"), "add `version: …`");
            return String::new();
        };
        let extra = node.entries().iter().filter(|e| e.key != "version");
        let mut rest = String::new();
        for entry in extra {
            match (key, entry.key.as_str()) {
                ("kubernetes", "manifests" | "healthchecks") => rest.push_str(&indent(&kept(&entry.key, &entry.value))),
                (_, other) => self.refuse_key(entry, format!("`{key}.{other}` has no counterpart")),
            }
        }
        let mut written = version.to_owned();
        if !version.starts_with('v') {
            written = format!("v{version}");
            self.add_change(
                node,
                format!("{key}.version: {written}"),
                "omnictl requires the `v` for Talos, and accepts it for Kubernetes",
            );
        }
        format!("{key}:\n  version: {}\n{rest}", quote(&written))
    }

    fn set(&mut self, kind: &str, node: &Node) -> String {
        let mut out = format!("---\nkind: {kind}\n");
        let why = "each machine set is its own document";
        self.add_change(node, format!("kind: {kind}"), why);
        let (mut name, mut sizes) = (None, Vec::new());
        for entry in node.entries() {
            let value = &entry.value;
            match entry.key.as_str() {
                "machineClass" => match &value.data {
                    Data::Map(parts) => {
                        name = value.get("name").and_then(Node::text);
                        sizes.extend(value.get("size"));
                        for other in parts.iter().filter(|part| !matches!(part.key.as_str(), "name" | "size")) {
                            self.refuse_key(other, format!("`{}` has no counterpart in `machineClass`", other.key));
                        }
                    }
                    _ => name = value.text(),
                },
                "count" | "replicas" | "size" => {
                    sizes.push(value);
                    let shown = value.text().unwrap_or_default();
                    self.add_change(
                        value,
                        format!("machineClass.size: {shown}"),
                        "the number of machines belongs next to the class",
                    );
                }
                "name" if kind == "Workers" => {
                    out.push_str(&format!("name: {}\n", quote(value.text().unwrap_or_default())))
                }
                key if SET.contains(&key) => out.push_str(&kept(key, value)),
                key => self.refuse_key(entry, format!("`{key}` has no counterpart in a machine set")),
            }
        }
        match (name, sizes.as_slice(), node.get("machines")) {
            (Some(name), [size, others @ ..], None) => {
                if others.iter().any(|other| other.value() != size.value()) {
                    self.refuse(node.at, "two numbers of machines are given".to_owned(), "keep one of them");
                }
                let size = self.machine_count(size);
                out.push_str(&format!("machineClass:\n  name: {}\n  size: {size}\n", quote(name)));
            }
            (None, [], Some(_)) => {}
            (Some(_), [], None) => {
                let at = node.get("machineClass").unwrap_or(node);
                self.refuse(at.at, "the number of machines is missing".to_owned(), "add `count: N` before converting");
            }
            (_, _, Some(machines)) => {
                let message = "`machines` lists each machine, but a class or a number is given as well".to_owned();
                self.refuse(machines.at, message, "keep one of them");
            }
            _ => self.refuse(
                node.at,
                "neither a machine class nor a list of machines is given".to_owned(),
                "add `machineClass` and `count`",
            ),
        }
        out
    }

    /// Converts a number of machines to what omnictl reads.
    fn machine_count(&mut self, node: &Node) -> String {
        let text = node.text().unwrap_or_default();
        let number = match node.value() {
            Some(Value::Int(number)) => u32::try_from(number).ok(),
            _ => text.parse().ok(),
        };
        match number {
            Some(number) => number.to_string(),
            None if matches!(text, "unlimited" | "Unlimited" | "infinity" | "∞") => quote(text),
            None => {
                self.refuse(node.at, format!("`{text}` is not a number of machines"), "write a whole number");
                String::new()
            }
        }
    }
}

/// Returns a key with its original value.
fn kept(key: &str, value: &Node) -> String {
    match (&value.data, value.entries().is_empty() && value.items().is_empty()) {
        (Data::Map(_), true) => format!("{key}: {{}}\n"),
        (Data::Seq(_), true) => format!("{key}: []\n"),
        (Data::Scalar(_), _) => format!("{key}: {}", emit(value, 0)),
        _ => format!("{key}:\n{}", emit(value, 2)),
    }
}

fn indent(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect()
}
