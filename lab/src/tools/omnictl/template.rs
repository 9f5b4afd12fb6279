//! Cluster templates and their translation to resources (siderolabs/omni v1.9.3 client/pkg/template, internal/models).

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use check::Verdict;
use check::releases::Omni;
use check::template::{FileRead, TemplateContext};
use serde_json::{Value, json};

use super::{Document, documents, scalar};
use crate::go_errors::go_io;
use crate::omni::kinds::{self, OmniRelease};
use crate::omni::names::*;
use crate::omni::resource::Resource;
use crate::omni::status::multierror;

/// The structs of templates, by their names in error messages, and their fields with types.
static MODELS: LazyLock<HashMap<String, HashMap<String, String>>> = LazyLock::new(|| {
    let table = serde_yaml::from_str(include_str!("template-models.yaml"));
    table.unwrap_or_else(|why| panic!("template-models.yaml: {why}"))
});

/// A parsed template: its models in order.
pub struct Template {
    release: OmniRelease,
    /// The directory of the files that it refers to.
    dir: PathBuf,
    models: Vec<(&'static str, Value)>,
}

/// Reads a template file and validates it as omnictl does.
pub fn load(release: OmniRelease, file: &str) -> Result<Template, String> {
    let text = std::fs::read_to_string(file).map_err(|why| format!("open {file}: {}", go_io(&why)))?;
    // Up to 1.7, files were relative to the working directory.
    let own = Path::new(file).parent().filter(|_| !release.old());
    let dir = own.map(Path::to_path_buf).unwrap_or_default();
    let failed = |why: String| format!("error loading template: {why}");
    let mut models = Vec::new();
    for document in documents(&text) {
        let value = document.value().map_err(|why| failed(format!("error decoding template: {why}")))?;
        models.push(model(release, &document, value).map_err(failed)?);
    }
    validate(release, file, text.as_bytes(), own)?;
    Ok(Template { release, dir, models })
}

/// Validates a template with the rules of `cluster-check`, which are tested against the verdicts of the unmodified omnictl
/// (xtask/check/tests/corpus).
fn validate(release: OmniRelease, file: &str, bytes: &[u8], own: Option<&Path>) -> Result<(), String> {
    let read = |name: &str| match std::fs::read(own.unwrap_or(Path::new("")).join(name)) {
        _ if own.is_some() && leaves_directory(name) => FileRead::Outside,
        Ok(bytes) => FileRead::Bytes(bytes),
        Err(why) => FileRead::Missing { why: go_io(&why), above: None },
    };
    let context =
        TemplateContext { omni: Omni::of_tag(release.tag()), read: Some(&read), ..TemplateContext::default() };
    let checked = check::template::check(file, bytes, &context);
    let errors = checked.findings.iter().filter(|finding| finding.is_error()).map(|finding| finding.message.clone());
    match checked.verdict {
        Verdict::Reject => Err(multierror(&errors.collect::<Vec<_>>())),
        Verdict::Accept | Verdict::Unknown => Ok(()),
    }
}

/// Whether a relative path leads out of the directory that it starts from.
fn leaves_directory(name: &str) -> bool {
    let mut depth = 0;
    Path::new(name).components().any(|part| {
        depth += match part {
            Component::ParentDir => -1,
            Component::Normal(_) => 1,
            _ => 0,
        };
        depth < 0
    })
}

/// Decodes a document and returns it with its kind.
fn model(release: OmniRelease, document: &Document, value: Value) -> Result<(&'static str, Value), String> {
    let place = format!("line {}:1", document.line);
    let unknown = |why: String| Err(format!("error in document at {place}: {why}"));
    let name = match value["kind"].as_str() {
        Some("Cluster") => "Cluster",
        Some("ControlPlane") => "ControlPlane",
        Some("Workers") => "Workers",
        Some("Machine") => return unknown("the lab does not simulate machines by UUID".to_owned()),
        Some(other) => return unknown(format!("unknown model kind {other:?}")),
        None => return unknown("kind field not found".to_owned()),
    };
    let mut decoder = Decoder { release, text: &document.text, errors: Vec::new() };
    let value = decoder.field("kind", value, &format!("models.{name}"));
    match decoder.errors.is_empty() {
        true => Ok((name, value)),
        false => {
            decoder.errors.sort();
            let lines: String = decoder.errors.iter().map(|(line, text)| format!("\n  line {line}: {text}")).collect();
            Err(format!("error decoding document at {place}: yaml: {} errors:{lines}", release.decoding()))
        }
    }
}

/// Decodes models according to the types of their fields.
struct Decoder<'a> {
    release: OmniRelease,
    text: &'a str,
    /// Line numbers and messages.
    errors: Vec<(usize, String)>,
}

impl Decoder<'_> {
    /// Records an error at the first line with this key. omnictl counts lines after rewriting the document without blank lines
    /// (client/pkg/template/template.go).
    fn fail(&mut self, key: &str, why: String) -> Value {
        let mut lines = self.text.lines().filter(|line| !line.trim().is_empty());
        let is = |line: &str| {
            line.trim_start_matches([' ', '-']).strip_prefix(key).is_some_and(|rest| rest.starts_with(':'))
        };
        self.errors.push((lines.position(is).map_or(1, |at| at + 1), why));
        Value::Null
    }

    /// Decodes the value of a key according to its type; a number in place of a string is converted to a string.
    fn field(&mut self, key: &str, value: Value, typ: &str) -> Value {
        match (typ, value) {
            (_, Value::Null) => Value::Null,
            ("other", _) => self.fail(key, "the lab does not simulate this field".to_owned()),
            ("string", value @ (Value::Number(_) | Value::Bool(_))) => value.to_string().into(),
            ("map[string]string", Value::Object(map)) => {
                map.into_iter().map(|(key, value)| (key, Value::from(scalar(&value)))).collect()
            }
            ("count", value) => match scalar(&value).as_str() {
                "unlimited" | "∞" | "infinity" | "Unlimited" => json!({"value": 0, "type": 1}),
                count => match count.parse::<u32>() {
                    Ok(count) => json!({"value": count, "type": 0}),
                    Err(_) => self.fail(key, format!("invalid machine count {count}")),
                },
            },
            ("string" | "bool" | "[]string" | "map[string]string" | "inline", value) => value,
            (typ, Value::Array(items)) if typ.ends_with("List") => {
                items.into_iter().map(|item| self.field(key, item, typ.trim_end_matches("List"))).collect()
            }
            (model, Value::Object(map)) => {
                let known = |name: &str| {
                    let same = |field: &&String| field.trim_end_matches(['+', '^']) == name && self.release.has(field);
                    MODELS.get(model).and_then(|fields| fields.iter().find(|(field, _)| same(field)))
                };
                let typed = map.into_iter().map(|(name, value)| (known(&name), name, value)).collect::<Vec<_>>();
                let fields = typed.into_iter().map(|(typ, name, value)| {
                    let value = match typ {
                        Some((_, typ)) => self.field(&name, value, typ),
                        None => self.fail(&name, format!("field {name} not found in type {model}")),
                    };
                    (name, value)
                });
                fields.collect()
            }
            (model, _) => self.fail(key, format!("cannot {} into {model}", self.release.decoding())),
        }
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

impl Template {
    fn all(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.models.iter().filter(move |(name, _)| *name == kind).map(|(_, value)| value)
    }

    /// The name of the cluster.
    pub fn cluster_name(&self) -> Result<String, String> {
        let cluster = self.all("Cluster").next().ok_or("cluster model not found")?;
        Ok(text(cluster, "name").to_owned())
    }

    /// The content of the file or the inline text; a valid template has one of them.
    fn source(&self, value: &Value) -> Result<String, String> {
        match text(value, "file") {
            "" => Ok(inline_text(&value["inline"])),
            file => std::fs::read_to_string(self.dir.join(file))
                .map_err(|why| format!("failed to access {file:?}: openat {file}: {}", go_io(&why))),
        }
    }

    fn make(&self, typ: &str, id: &str, spec: &Value, labels: &[(&str, &str)]) -> Resource {
        let spec = kinds::by_type(self.release, typ).map_or_else(|| spec.clone(), |kind| kind.complete(spec));
        let made = Resource::new(typ, DEFAULT, id, spec, crate::omni::wall_now());
        labels.iter().fold(made, |made, (key, value)| made.with_label(key, value))
    }

    /// Translates the template to resources.
    pub fn translate(&self) -> Result<Vec<Resource>, String> {
        let name = self.cluster_name()?;
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        for (kind, value) in &self.models {
            let made = match *kind {
                "Cluster" => self.translate_cluster(value),
                kind => self.translate_set(&name, value, kind == "ControlPlane"),
            };
            match made {
                Ok(made) => out.extend(made),
                Err(why) => errors.push(why),
            }
        }
        for (at, resource) in out.iter().enumerate() {
            if out[..at].iter().any(|other: &Resource| other.key() == resource.key()) {
                errors.push(format!("resource ID duplicate {}", resource.name()));
            }
        }
        if errors.is_empty() { Ok(out) } else { Err(multierror(&errors)) }
    }

    fn translate_cluster(&self, value: &Value) -> Result<Vec<Resource>, String> {
        let name = text(value, "name");
        let version = |part: &str| text(&value[part], "version").trim_start_matches('v').to_owned();
        let features = &value["features"];
        let on = |key: &str| features[key] == true;
        let mut spec = json!({
            "kubernetesversion": version("kubernetes"), "talosversion": version("talos"),
            "features": {"enableworkloadproxy": on("enableWorkloadProxy"), "diskencryption": on("diskEncryption"),
                "useembeddeddiscoveryservice": on("useEmbeddedDiscoveryService")},
        });
        for key in ["enableNodeAuditSkip", "disablePublicDiscoveryService"].into_iter().filter(|key| on(key)) {
            spec["features"][key.to_lowercase()] = true.into();
        }
        let mut cluster = self.make(CLUSTER, name, &spec, &[]);
        cluster.md.annotations.insert(A_TEMPLATE.to_owned(), String::new());
        apply(&mut cluster, value);
        let labels = [(L_CLUSTER, name)];
        let mut out = vec![cluster];
        out.extend(self.translate_patches(value, &format!("cluster-{name}"), 200, &labels)?);
        out.extend(self.extensions(value, name, &labels));
        Ok(out)
    }

    fn extensions(&self, value: &Value, suffix: &str, labels: &[(&str, &str)]) -> Option<Resource> {
        let spec = json!({"extensions": value["systemExtensions"].as_array()?});
        Some(self.make(EXTENSIONS_CONFIGURATION, &format!("schematic-{suffix}"), &spec, labels))
    }

    fn translate_patches(
        &self,
        value: &Value,
        prefix: &str,
        weight: usize,
        labels: &[(&str, &str)],
    ) -> Result<Vec<Resource>, String> {
        let mut out = Vec::new();
        for (at, patch) in value["patches"].as_array().into_iter().flatten().enumerate() {
            let name = if text(patch, "name").is_empty() { text(patch, "file") } else { text(patch, "name") };
            let id = match text(patch, "idOverride") {
                "" => format!("{:03}-{prefix}-{name}", weight + at),
                id => id.to_owned(),
            };
            let data = self.source(patch).map_err(|why| format!("failed to read patch {name:?}: {why}"))?;
            let mut made = self.make(CONFIG_PATCH, &id, &json!({"data": data}), labels);
            made.md.annotations.insert("name".to_owned(), name.to_owned());
            apply(&mut made, patch);
            out.push(made);
        }
        Ok(out)
    }

    fn translate_set(&self, cluster: &str, value: &Value, control_plane: bool) -> Result<Vec<Resource>, String> {
        let suffix = match (control_plane, text(value, "name")) {
            (true, _) => "control-planes",
            (false, "") => "workers",
            (false, name) => name,
        };
        let id = format!("{cluster}-{suffix}");
        let role = if control_plane { L_CONTROL_PLANE } else { L_WORKER };
        let mut spec = json!({"updatestrategy": 1});
        let class = &value["machineClass"];
        if class.is_object() {
            let size = |key: &str| class["size"][key].as_u64().unwrap_or(0);
            spec["machineallocation"] =
                json!({"name": text(class, "name"), "machinecount": size("value"), "allocationtype": size("type")});
        }
        let mut set = self.make(MACHINE_SET, &id, &spec, &[(L_CLUSTER, cluster), (role, "")]);
        apply(&mut set, value);
        let labels = [(L_CLUSTER, cluster), (L_MACHINE_SET, id.as_str())];
        let mut out = vec![set];
        out.extend(self.translate_patches(value, &id, 400, &labels)?);
        out.extend(self.extensions(value, &id, &labels));
        Ok(out)
    }
}

/// Copies a model's labels and annotations to its resource.
fn apply(resource: &mut Resource, value: &Value) {
    let pairs = |key: &str| -> Vec<(String, String)> {
        let map = value[key].as_object().into_iter().flatten();
        map.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
    };
    resource.md.labels.extend(pairs("labels"));
    resource.md.annotations.extend(pairs("annotations"));
}

/// The inline text: a string since 1.8, documents before.
fn inline_text(value: &Value) -> String {
    let documents = match value {
        Value::String(raw) => return raw.clone(),
        Value::Array(items) => items.as_slice(),
        document => std::slice::from_ref(document),
    };
    documents.iter().filter_map(|document| serde_yaml::to_string(document).ok()).collect::<Vec<_>>().join("---\n")
}
