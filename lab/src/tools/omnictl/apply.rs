//! `omnictl apply` (client/pkg/omnictl/apply.go; cosi-project/runtime v1.16.2 pkg/resource/protobuf/yaml.go).

use std::path::{Path, PathBuf};

use serde_json::json;

use super::client::Connection;
use super::decode::{Decoder, head};
use super::yamltext::{self, Document, YamlKind, YamlNode};
use crate::go_errors::go_io;
use crate::omni::api::OmniCall;
use crate::omni::kinds::{self, OmniRelease};
use crate::omni::resource::{Resource, ZERO_TIME};
use crate::tools::err;
use crate::tools::failure::ToolError;

/// Runs it.
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

/// What could not be done to a file: Go opens a directory and cannot read it.
fn verb(why: &std::io::Error) -> &'static str {
    if why.kind() == std::io::ErrorKind::IsADirectory { "read" } else { "open" }
}

/// The file, or all YAML files below the directory, in order.
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

/// The resources that a file holds, as `omnictl apply` reads them.
pub fn resources_of_file(release: OmniRelease, file: &str) -> Result<Vec<Resource>, String> {
    let text = std::fs::read_to_string(file).map_err(|why| format!("open {file}: {}", go_io(&why)))?;
    yamltext::read(release, &text)?.iter().map(|document| resource(release, document)).collect()
}

fn apply(client: &mut Connection, text: &str) -> Result<(), ToolError> {
    let documents = yamltext::read(client.release, text)?;
    let mut resources = Vec::new();
    for document in &documents {
        if document.root.is_null() {
            // The real program dereferences what it never set.
            err("panic: resource is not set\n\ngoroutine 1 [running]:\n");
            std::process::exit(2);
        }
        resources.push(resource(client.release, document)?);
    }
    for mut new in resources {
        // A build that does not know a key drops it, and has nothing to say about it.
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
    // 1.4.9 says it twice.
    if client.release.old() { updated.map_err(|why| why.wrap(&what)) } else { updated }
}

/// A resource from a document with exactly `metadata` and `spec`.
fn resource(release: OmniRelease, document: &Document) -> Result<Resource, String> {
    let root = &document.root;
    let outer = |text: String| head(release, &[format!("line {}: {text}", root.line)]);
    let YamlKind::Map(pairs) = &root.kind else {
        return Err(outer(format!("expected mapping node, got {}", root.kind_number())));
    };
    if pairs.len() != 2 {
        return Err(outer(format!("expected 4 elements node, got {}", pairs.len() * 2)));
    }
    for (key, value) in pairs {
        if !matches!(value.kind, YamlKind::Map(_)) {
            return Err(outer(format!("expected mapping node, got {}", value.kind_number())));
        }
        let name = key.text().unwrap_or_default();
        if name != "metadata" && name != "spec" {
            let shown =
                format!("unexpected key &{{8 0 !!str {name}  <nil> []    {} {} 0 <nil> []}}", key.line, key.column);
            return Err(outer(shown));
        }
    }
    let (Some(metadata), Some(spec)) = (root.get("metadata"), root.get("spec")) else {
        return Err(outer("metadata or spec node is missing".to_owned()));
    };
    let mut made = read_metadata(metadata).map_err(|why| outer(format!("failed to unmarshal metadata: {why}")))?;
    let kind = kinds::by_type(release, &made.md.typ).ok_or_else(|| {
        let text = "failed to create resource: no resource is registered for the resource type";
        outer(format!("{text} {}", made.md.typ))
    })?;
    let line = |node: &YamlNode| node.line;
    let mut decoder = Decoder::new(release, &line);
    let value = match kind.fields() {
        Some(fields) => decoder.spec(spec, fields, "specs.Message"),
        None => super::decode::plain(spec),
    };
    decoder.finish().map_err(|why| outer(format!("failed to unmarshal spec: {why}")))?;
    made.spec = kind.complete(&value);
    Ok(made)
}

fn read_metadata(node: &YamlNode) -> Result<Resource, String> {
    let mut made = Resource::new("", "", "", serde_json::Value::Null, ZERO_TIME);
    let YamlKind::Map(pairs) = &node.kind else { return Ok(made) };
    for (key, value) in pairs {
        let place = format!("{}:{}", value.line, value.column);
        let scalar = || {
            let text = value.text().map(str::to_owned);
            text.ok_or_else(|| format!("{place} expected scalar node, got {}", value.kind_number()))
        };
        let pairs = || -> Result<Vec<(String, String)>, String> {
            let YamlKind::Map(pairs) = &value.kind else {
                return Err(format!("{place} expected mapping node, got {}", value.kind_number()));
            };
            let text = |node: &YamlNode| node.text().unwrap_or_default().to_owned();
            Ok(pairs
                .iter()
                .map(|(key, value)| (text(key), if value.is_null() { String::new() } else { text(value) }))
                .collect())
        };
        match key.text().unwrap_or_default() {
            "namespace" => made.md.namespace = scalar()?,
            "type" => made.md.typ = scalar()?,
            "id" => made.md.id = scalar()?,
            "labels" => made.md.labels.extend(pairs()?),
            "annotations" => made.md.annotations.extend(pairs()?),
            _ => {}
        }
    }
    Ok(made)
}
