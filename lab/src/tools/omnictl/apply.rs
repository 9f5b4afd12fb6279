//! `omnictl apply` (client/pkg/omnictl/apply.go; cosi-project/runtime v1.16.2 pkg/resource/protobuf/yaml.go).

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::client::Connection;
use super::{documents, scalar};
use crate::go_errors::go_io;
use crate::omni::api::OmniCall;
use crate::omni::kinds::{self, OmniRelease};
use crate::omni::resource::{Resource, ZERO_TIME};
use crate::tools::err;
use crate::tools::failure::ToolError;

/// Runs `apply`.
pub fn run(client: &mut Connection, path: &str) -> Result<(), ToolError> {
    if client.release.old() {
        // One file, no directories.
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|why| {
            format!("failed to read resource yaml file {path:?}: {} {path}: {}", verb(&why), go_io(&why))
        })?;
        return apply(client, &text);
    }
    let files = files(path).map_err(|why| format!("failed to discover yaml files from {path:?}: {why}"))?;
    for file in files {
        let shown = file.display().to_string();
        let text = std::fs::read_to_string(&file);
        let text =
            text.map_err(|why| format!("failed to read resource yaml file {shown:?}: open {shown}: {}", go_io(&why)))?;
        let applied = apply(client, &text);
        applied.map_err(|why| why.wrap(&format!("failed to apply resources from file {shown:?}")))?;
    }
    Ok(())
}

/// The operation that failed on a file: Go can open a directory, but not read it.
fn verb(why: &std::io::Error) -> &'static str {
    if why.kind() == std::io::ErrorKind::IsADirectory { "read" } else { "open" }
}

/// Returns the file itself, or all YAML files below a directory in order.
pub fn files(path: &str) -> Result<Vec<PathBuf>, String> {
    let found = std::fs::metadata(path).map_err(|why| format!("stat {path}: {}", go_io(&why)))?;
    if !found.is_dir() {
        return Ok(vec![PathBuf::from(path)]);
    }
    let mut out = Vec::new();
    walk(Path::new(path), &mut out).map_err(|why| format!("open {path}: {}", go_io(&why)))?;
    if out.is_empty() { Err(format!("no YAML files found in directory {path:?}")) } else { Ok(out) }
}

fn walk(dir: &Path, out: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    entries.sort();
    for entry in entries {
        let extension = entry.extension().and_then(|text| text.to_str()).unwrap_or_default().to_ascii_lowercase();
        if entry.is_dir() {
            walk(&entry, out)?;
        } else if extension == "yaml" || extension == "yml" {
            out.push(entry);
        }
    }
    Ok(())
}

/// Reads the resources in a file as `omnictl apply` does.
pub fn resources_of_file(release: OmniRelease, file: &str) -> Result<Vec<Resource>, String> {
    let text = std::fs::read_to_string(file).map_err(|why| format!("open {file}: {}", go_io(&why)))?;
    documents(&text).iter().map(|document| resource(release, document.line, &document.value()?)).collect()
}

fn apply(client: &mut Connection, text: &str) -> Result<(), ToolError> {
    let mut resources = Vec::new();
    for document in documents(text) {
        let value = document.value()?;
        if value.is_null() {
            // The real program panics because it uses a resource that was never set.
            err("panic: resource is not set\n\ngoroutine 1 [running]:\n");
            std::process::exit(2);
        }
        resources.push(resource(client.release, document.line, &value)?);
    }
    for mut new in resources {
        // A build that does not know a key drops it silently.
        for key in client.drops {
            if let Some(inner) = new.spec["autoprovision"].as_object_mut().and_then(|inner| inner.get_mut(*key)) {
                *inner = if inner.is_array() { json!([]) } else { json!(0) };
            }
        }
        let (id, typ) = (new.md.id.clone(), new.md.typ.clone());
        let what = format!("resource '{id}' '{typ}'");
        match client.get(&typ, &new.md.namespace, &id) {
            Ok(old) => update(client, &old, new).map_err(|why| why.wrap(&format!("failed to update {what}")))?,
            Err(why) if why.not_found() => {
                let made = client.call::<()>(OmniCall::Create(new));
                made.map_err(|why| why.wrap(&format!("failed to create {what}")))?;
            }
            Err(why) => return Err(why.wrap(&format!("failed to get {what}"))),
        }
    }
    Ok(())
}

fn update(client: &mut Connection, old: &Resource, mut new: Resource) -> Result<(), ToolError> {
    new.md.version = old.md.version;
    let what = format!("failed to update resource '{}' '{}'", new.md.id, new.md.typ);
    let updated = client.call(OmniCall::Update(new));
    // 1.4.9 prints the prefix twice.
    if client.release.old() { updated.map_err(|why| why.wrap(&what)) } else { updated }
}

/// Decodes a resource from a document with exactly `metadata` and `spec`.
fn resource(release: OmniRelease, line: usize, value: &Value) -> Result<Resource, String> {
    let outer = |text: String| format!("yaml: {} errors:\n  line {line}: {text}", release.decoding());
    let map = value.as_object().ok_or_else(|| outer("expected mapping node".to_owned()))?;
    if map.len() != 2 {
        return Err(outer(format!("expected 4 elements node, got {}", map.len() * 2)));
    }
    let (metadata, spec) = (&value["metadata"], &value["spec"]);
    if !metadata.is_object() || !spec.is_object() {
        return Err(outer("metadata or spec node is missing".to_owned()));
    }
    let text = |name: &str| scalar(&metadata[name]);
    let pairs = |name: &str| {
        let pairs = metadata[name].as_object().into_iter().flatten();
        pairs.map(|(key, value)| (key.clone(), scalar(value))).collect()
    };
    let kind = kinds::by_type(release, &text("type")).ok_or_else(|| {
        let text_of = "failed to create resource: no resource is registered for the resource type";
        outer(format!("{text_of} {}", text("type")))
    })?;
    let mut made = Resource::new(&kind.typ, &text("namespace"), &text("id"), kind.complete(spec), ZERO_TIME);
    (made.md.labels, made.md.annotations) = (pairs("labels"), pairs("annotations"));
    Ok(made)
}
