//! Cluster templates: what they may hold, what is checked without asking anybody, and the resources they become
//! (siderolabs/omni v1.9.3 client/pkg/template, internal/models).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::decode::{Decoder, head};
use super::patch;
use super::yamltext::{self, YamlKind, YamlNode};
use crate::go_errors::go_io;
use crate::omni::kinds::{self, OmniRelease};
use crate::omni::names::*;
use crate::omni::resource::Resource;
use crate::omni::status::multierror;
use crate::omni::validate::{ClusterRules, cluster_rules};
use crate::tools::cleaned;

/// A template that was read: its models in order.
pub struct Template {
    release: OmniRelease,
    dir: PathBuf,
    /// Files must lie below it; `None` leaves them where they are.
    root: Option<PathBuf>,
    models: Vec<(&'static str, Value)>,
}

/// Reads a template file.
pub fn load_file(release: OmniRelease, file: &str) -> Result<Template, String> {
    let bytes = std::fs::read(file).map_err(|why| format!("open {file}: {}", go_io(&why)))?;
    let text = String::from_utf8(bytes).map_err(|why| {
        let offset = why.utf8_error().valid_up_to();
        format!("error loading template: error decoding template: yaml: offset {offset}: invalid trailing UTF-8 octet")
    })?;
    let own = Path::new(file).parent().map(Path::to_path_buf).unwrap_or_default();
    let own = if own.as_os_str().is_empty() { PathBuf::from(".") } else { own };
    // Up to 1.7 files were looked up from the working directory, and anywhere.
    let (dir, root) = match release.old() {
        true => (PathBuf::from("."), None),
        false => (own.clone(), Some(own)),
    };
    load(release, &text, dir, root).map_err(|why| format!("error loading template: {why}"))
}

fn load(release: OmniRelease, text: &str, dir: PathBuf, root: Option<PathBuf>) -> Result<Template, String> {
    let documents = yamltext::read(release, text).map_err(|why| format!("error decoding template: {why}"))?;
    let mut models = Vec::new();
    for document in &documents {
        let place = format!("line {}:1", document.line);
        let kind = find_kind(&document.root).map_err(|why| format!("error in document at {place}: {why}"))?;
        let name = match kind.as_str() {
            "Cluster" => "Cluster",
            "ControlPlane" => "ControlPlane",
            "Workers" => "Workers",
            "Machine" => {
                return Err(format!("error in document at {place}: the lab does not simulate machines by UUID"));
            }
            other => return Err(format!("error in document at {place}: unknown model kind {other:?}")),
        };
        let line = |node: &YamlNode| document.rewritten_line(node);
        let mut decoder = Decoder::new(release, &line);
        let value = decoder.model(&document.root, &format!("models.{name}"));
        if !decoder.errors.is_empty() {
            return Err(format!("error decoding document at {place}: {}", head(release, &decoder.errors)));
        }
        models.push((name, value));
    }
    Ok(Template { release, dir, root, models })
}

fn find_kind(root: &YamlNode) -> Result<String, String> {
    let YamlKind::Map(pairs) = &root.kind else {
        return Err(format!("unexpected node kind {}, expecting mapping", root.kind_number()));
    };
    let found = pairs.iter().find(|(key, _)| key.text() == Some("kind")).map(|(_, value)| value);
    let found = found.ok_or("kind field not found")?;
    let text = found.text().ok_or_else(|| format!("unexpected value type for kind field {}", found.kind_number()))?;
    Ok(text.to_owned())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Adds the errors of one model, wrapped in words if there are any.
fn wrapped(before: &str, errors: Vec<String>) -> Option<String> {
    (!errors.is_empty()).then(|| format!("{before}: {}", multierror(&errors)))
}

impl Template {
    fn all(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.models.iter().filter(move |(name, _)| *name == kind).map(|(_, value)| value)
    }

    /// The name of its cluster.
    pub fn cluster_name(&self) -> Result<String, String> {
        let cluster = self.all("Cluster").next().ok_or("cluster model not found")?;
        Ok(text(cluster, "name").to_owned())
    }

    /// Everything that can be checked without the server.
    pub fn validate(&self) -> Result<(), String> {
        let mut errors = Vec::new();
        for (kind, value) in &self.models {
            errors.extend(match *kind {
                "Cluster" => {
                    wrapped(&format!("error validating cluster {:?}", text(value, "name")), self.cluster(value))
                }
                kind => wrapped(&format!("{} is invalid", kind.to_lowercase()), self.set(kind, value)),
            });
        }
        self.together(&mut errors);
        if errors.is_empty() { Ok(()) } else { Err(multierror(&errors)) }
    }

    fn cluster(&self, value: &Value) -> Vec<String> {
        let mut errors = cluster_rules(&ClusterRules {
            id: Some(text(value, "name")),
            kubernetes: text(&value["kubernetes"], "version"),
            talos: text(&value["talos"], "version"),
            encryption: value["features"]["diskEncryption"] == true,
            with_v: true,
        });
        errors.extend(descriptors(value));
        errors.extend(self.patches(value));
        errors
    }

    /// The content of a file or of what is inline; for what has both or neither, why not.
    fn source(&self, value: &Value) -> Result<String, String> {
        let file = text(value, "file");
        match (file.is_empty(), value["inline"].is_null()) {
            (false, false) => Err("path and inline are mutually exclusive".to_owned()),
            (true, true) => Err("path or inline is required".to_owned()),
            (false, true) => self.read(file).map_err(|why| format!("failed to access {file:?}: {why}")),
            (true, false) => Ok(inline_text(&value["inline"])),
        }
    }

    fn read(&self, file: &str) -> Result<String, String> {
        let path = self.dir.join(file);
        if let Some(root) = &self.root
            && !Path::new(file).is_absolute()
            && escapes(&self.dir, root, file)
        {
            return Err(format!("openat {file}: path escapes from parent"));
        }
        std::fs::read_to_string(&path).map_err(|why| match self.root {
            Some(_) => format!("openat {file}: {}", go_io(&why)),
            None => format!("open {file}: {}", go_io(&why)),
        })
    }

    fn patches(&self, value: &Value) -> Vec<String> {
        let mut out = Vec::new();
        for patch in value["patches"].as_array().into_iter().flatten() {
            let name = if text(patch, "name").is_empty() { text(patch, "file") } else { text(patch, "name") };
            let mut errors = descriptors(patch);
            let inline = !patch["inline"].is_null();
            if inline
                && text(patch, "file").is_empty()
                && text(patch, "name").is_empty()
                && text(patch, "idOverride").is_empty()
            {
                errors.push("either name or idOverride is required for inline patches".to_owned());
            }
            match self.source(patch) {
                Err(why) => errors.push(why),
                Ok(content) => {
                    let what = if inline { "inline patch" } else { "patch" };
                    errors.extend(
                        patch::check(self.release, &content)
                            .err()
                            .map(|why| format!("failed to validate {what} {name:?}: {why}")),
                    );
                }
            }
            out.extend(wrapped(&format!("patch {name:?} is invalid"), errors));
        }
        out
    }

    fn set(&self, kind: &str, value: &Value) -> Vec<String> {
        let mut errors = Vec::new();
        match (kind, text(value, "name")) {
            ("ControlPlane", "") => {}
            ("ControlPlane", _) => errors.push("custom name is not allowed in the controlplane".to_owned()),
            (_, "control-planes") => errors.push("name \"control-planes\" cannot be used in workers".to_owned()),
            _ => {}
        }
        errors.extend(descriptors(value));
        errors.extend(self.patches(value));
        errors
    }

    /// What must hold of all models together.
    fn together(&self, errors: &mut Vec<String>) {
        for (kind, name) in [("Cluster", "cluster"), ("ControlPlane", "controlplane")] {
            let count = self.all(kind).count();
            if count != 1 {
                errors.push(format!("template should contain 1 {name}, got {count}"));
            }
        }
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for value in self.all("Workers") {
            *names.entry(text(value, "name")).or_default() += 1;
        }
        for (name, _) in names.iter().filter(|(_, count)| **count > 1) {
            errors.push(format!("duplicate workers with name {name:?}"));
        }
    }

    fn make(&self, typ: &str, id: &str, spec: &Value, now: i64) -> Resource {
        let spec = kinds::by_type(self.release, typ).map_or_else(|| spec.clone(), |kind| kind.complete(spec));
        Resource::new(typ, DEFAULT, id, spec, now)
    }

    /// The resources that it stands for.
    pub fn translate(&self) -> Result<Vec<Resource>, String> {
        let now = crate::omni::wall_now();
        let name = self.cluster_name()?;
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        for (kind, value) in &self.models {
            let made = match *kind {
                "Cluster" => self.translate_cluster(value, now),
                kind => self.translate_set(&name, value, kind == "ControlPlane", now),
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

    fn translate_cluster(&self, value: &Value, now: i64) -> Result<Vec<Resource>, String> {
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
        let mut cluster = self.make(CLUSTER, name, &spec, now);
        cluster.md.annotations.insert(A_TEMPLATE.to_owned(), String::new());
        apply(&mut cluster, value);
        let labels = [(L_CLUSTER, name)];
        let mut out = vec![cluster];
        out.extend(self.translate_patches(value, &format!("cluster-{name}"), 200, &labels, now)?);
        out.extend(self.extensions(value, name, &labels, now));
        Ok(out)
    }

    fn extensions(&self, value: &Value, suffix: &str, labels: &[(&str, &str)], now: i64) -> Option<Resource> {
        let list = value["systemExtensions"].as_array()?;
        let made =
            self.make(EXTENSIONS_CONFIGURATION, &format!("schematic-{suffix}"), &json!({"extensions": list}), now);
        Some(labels.iter().fold(made, |made, (key, value)| made.with_label(key, value)))
    }

    fn translate_patches(
        &self,
        value: &Value,
        prefix: &str,
        weight: usize,
        labels: &[(&str, &str)],
        now: i64,
    ) -> Result<Vec<Resource>, String> {
        let mut out = Vec::new();
        for (at, patch) in value["patches"].as_array().into_iter().flatten().enumerate() {
            let name = if text(patch, "name").is_empty() { text(patch, "file") } else { text(patch, "name") };
            let id = match text(patch, "idOverride") {
                "" => format!("{:03}-{prefix}-{name}", weight + at),
                id => id.to_owned(),
            };
            let data = self.source(patch).map_err(|why| format!("failed to read patch {name:?}: {why}"))?;
            let mut made = self.make(CONFIG_PATCH, &id, &json!({"data": data}), now);
            for (key, value) in labels {
                made = made.with_label(key, value);
            }
            made.md.annotations.insert("name".to_owned(), name.to_owned());
            apply(&mut made, patch);
            out.push(made);
        }
        Ok(out)
    }

    fn translate_set(
        &self,
        cluster: &str,
        value: &Value,
        control_plane: bool,
        now: i64,
    ) -> Result<Vec<Resource>, String> {
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
        let mut set = self.make(MACHINE_SET, &id, &spec, now).with_label(L_CLUSTER, cluster).with_label(role, "");
        apply(&mut set, value);
        let labels = [(L_CLUSTER, cluster), (L_MACHINE_SET, id.as_str())];
        let mut out = vec![set];
        out.extend(self.translate_patches(value, &id, 400, &labels, now)?);
        out.extend(self.extensions(value, &id, &labels, now));
        Ok(out)
    }
}

/// Puts a model's labels and annotations on its resource.
fn apply(resource: &mut Resource, value: &Value) {
    let pairs = |key: &str| -> Vec<(String, String)> {
        let map = value[key].as_object().into_iter().flatten();
        map.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
    };
    resource.md.labels.extend(pairs("labels"));
    resource.md.annotations.extend(pairs("annotations"));
}

fn descriptors(value: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    for (kind, name) in [("labels", "label"), ("annotations", "annotation")] {
        for key in value[kind].as_object().into_iter().flatten().map(|(key, _)| key) {
            if key.starts_with(SYSTEM_PREFIX) {
                let text = format!("{name} {key:?} is invalid: prefix {SYSTEM_PREFIX:?} is reserved for internal use");
                errors.push(text);
            }
        }
    }
    errors
}

fn inline_text(value: &Value) -> String {
    if let Some(raw) = value["raw"].as_str() {
        return raw.to_owned();
    }
    let docs = value["docs"].as_array().into_iter().flatten().filter_map(|doc| serde_yaml::to_string(doc).ok());
    docs.collect::<Vec<_>>().join("---\n")
}

/// Whether a relative path leads out of the root.
fn escapes(dir: &Path, root: &Path, file: &str) -> bool {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    !cleaned(&absolute(&dir.join(file))).starts_with(absolute(root))
}
