//! `omnictl get` and `omnictl delete` (client/pkg/omnictl/get.go, delete.go, output/, resources/destroy.go).

use std::collections::BTreeMap;

use serde::Serialize as _;
use serde_json::Value;

use super::args::Parsed;
use super::client::{Client, Fail};
use super::jsonpath::Path;
use super::table::align;
use crate::omni::api::{Answer, Call};
use crate::omni::goyaml;
use crate::omni::kinds::Kind;
use crate::omni::query;
use crate::omni::resource::{Key, Resource};
use crate::tools::{err, out};

enum Output {
    Table,
    Yaml,
    Json,
    Path(Path),
}

fn output(format: &str) -> Result<Output, Fail> {
    match format {
        "" | "table" => Ok(Output::Table),
        "yaml" => Ok(Output::Yaml),
        "json" => Ok(Output::Json),
        other => match other.strip_prefix("jsonpath=") {
            Some(path) => match Path::parse(path) {
                Ok(path) => Ok(Output::Path(path)),
                Err(why) => Err(Fail::Said(format!("error parsing jsonpath: {why}"))),
            },
            None => Err(Fail::Said(format!("output format {other:?} is not supported"))),
        },
    }
}

/// Runs `get`.
pub fn run(client: &mut Client, parsed: &Parsed) -> Result<(), Fail> {
    let kind = client.resolve(&parsed.args[0])?;
    let id = parsed.args.get(1).map(String::as_str).unwrap_or_default();
    let namespace = if parsed.text("namespace").is_empty() { &kind.namespace } else { parsed.text("namespace") };
    let mut terms = Vec::new();
    if !parsed.text("selector").is_empty() {
        if !id.is_empty() {
            return Err(Fail::Said("cannot specify both resource ID and selector".to_owned()));
        }
        terms = query::parse(parsed.text("selector"))?;
    }
    let mut pattern = None;
    if !parsed.text("id-match-regexp").is_empty() {
        if !id.is_empty() {
            return Err(Fail::Said("cannot specify both resource ID and ID regexp".to_owned()));
        }
        let read = regex::Regex::new(parsed.text("id-match-regexp"));
        pattern = Some(read.map_err(|why| format!("invalid ID regexp: error parsing regexp: {why}"))?);
    }
    let output = output(parsed.text("output"))?;
    if parsed.on("watch") {
        return watch(client, kind, namespace, id, &terms, &output);
    }
    let found = if id.is_empty() {
        let mut all = client.list(&kind.typ, namespace, terms);
        if let (Ok(all), Some(pattern)) = (&mut all, &pattern) {
            all.retain(|resource| pattern.is_match(&resource.md.id));
        }
        all
    } else {
        client.get(&kind.typ, namespace, id).map(|found| vec![found])
    };
    // The table's header is written before the server is asked, and flushed whatever it says.
    let (shown, failure) = match found {
        Ok(found) => (found, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    let printed = print(&output, kind, &shown, None);
    if matches!(output, Output::Table) || failure.is_none() {
        out(&printed?);
    }
    failure.map_or(Ok(()), Err)
}

/// What `get` prints of these resources; with `event` as a watch prints them.
fn print(output: &Output, kind: &Kind, found: &[Resource], event: Option<&str>) -> Result<String, Fail> {
    let mut text = String::new();
    match output {
        Output::Table => {
            let mut rows = if event.is_none() { vec![header(kind)] } else { Vec::new() };
            for resource in found {
                rows.push(row(kind, resource)?);
            }
            text = align(&rows, 3);
        }
        Output::Yaml => {
            for (number, resource) in found.iter().enumerate() {
                if number > 0 {
                    text.push_str("---\n");
                }
                if let Some(event) = event {
                    text.push_str(&format!("event: {event}\n"));
                }
                text.push_str(&goyaml::resource(resource, Some(kind), 4));
            }
        }
        Output::Json => {
            for resource in found {
                let mut value = resource.to_json();
                if let Some(event) = event {
                    value["event"] = event.into();
                }
                text.push_str(&indented(&value));
                text.push('\n');
            }
        }
        Output::Path(path) => {
            for resource in found {
                let found = path.find(&resource.to_json(), false);
                for value in found.map_err(|why| format!("error finding result for jsonpath: {why}"))? {
                    text.push_str(&scalar(&value));
                    text.push('\n');
                }
            }
        }
    }
    Ok(text)
}

/// JSON with four spaces, `<`, `>` and `&` escaped, as Go's encoder writes it.
fn indented(value: &Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    // Writing a value into memory does not fail.
    let _ = value.serialize(&mut serializer);
    let text = String::from_utf8_lossy(&bytes);
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        Value::Array(_) | Value::Object(_) => indented(value),
        other => other.to_string(),
    }
}

fn header(kind: &Kind) -> Vec<String> {
    let fixed = ["NAMESPACE", "TYPE", "ID", "VERSION"].map(str::to_owned);
    fixed.into_iter().chain(kind.columns.iter().map(|(name, _)| name.to_uppercase())).collect()
}

fn row(kind: &Kind, resource: &Resource) -> Result<Vec<String>, Fail> {
    let md = &resource.md;
    let mut cells = vec![md.namespace.clone(), kind.display.clone(), md.id.clone(), resource.version_text()];
    for (name, path) in &kind.columns {
        let parsed = Path::parse(path).map_err(|why| format!("error parsing column {name:?} jsonpath: {why}"))?;
        let found = parsed.find(&resource.spec, true).unwrap_or_default();
        let shown = found.iter().map(|value| match value {
            Value::Array(_) | Value::Object(_) => value.to_string(),
            other => scalar(other),
        });
        cells.push(shown.collect::<Vec<_>>().join(" "));
    }
    Ok(cells)
}

fn watch(
    client: &mut Client,
    kind: &Kind,
    namespace: &str,
    id: &str,
    terms: &[query::Term],
    output: &Output,
) -> Result<(), Fail> {
    let mut known: BTreeMap<String, Resource> = BTreeMap::new();
    let mut revision = 0;
    if matches!(output, Output::Table) {
        let titles = std::iter::once("*".to_owned()).chain(header(kind)).collect();
        out(&align(&[titles], 3));
    }
    loop {
        let now: BTreeMap<String, Resource> = {
            let all = client.list(&kind.typ, namespace, terms.to_vec())?;
            let wanted = all.into_iter().filter(|resource| id.is_empty() || resource.md.id == id);
            wanted.map(|resource| (resource.md.id.clone(), resource)).collect()
        };
        for (id, resource) in &now {
            match known.get(id) {
                None => out(&print(output, kind, std::slice::from_ref(resource), Some("created"))?),
                Some(old) if old != resource => {
                    out(&print(output, kind, std::slice::from_ref(resource), Some("updated"))?);
                }
                Some(_) => {}
            }
        }
        for (_, gone) in known.iter().filter(|(id, _)| !now.contains_key(*id)) {
            out(&print(output, kind, std::slice::from_ref(gone), Some("destroyed"))?);
        }
        known = now;
        revision = client.change(revision, 60_000)?;
    }
}

/// Runs `delete`: waits for finalizers, for ever if need be.
pub fn delete(client: &mut Client, parsed: &Parsed) -> Result<(), Fail> {
    let kind = client.resolve(&parsed.args[0])?;
    let namespace = match parsed.flags.get("namespace") {
        Some(namespace) => namespace.clone(),
        None => kind.namespace.clone(),
    };
    let mut ids = parsed.args[1..].to_vec();
    if ids.is_empty() {
        if !parsed.on("all") && parsed.text("selector").is_empty() {
            let text = "either resource ID or one of --all or --selector flags must be specified";
            return Err(Fail::Said(text.to_owned()));
        }
        let terms = match parsed.text("selector") {
            "" => Vec::new(),
            selector => query::parse(selector)?,
        };
        ids = client.list(&kind.typ, &namespace, terms)?.into_iter().map(|found| found.md.id).collect();
    }
    for id in ids {
        let key = Key::new(&kind.typ, &namespace, &id);
        if client.release.old() {
            // 1.4.9 says both steps.
            client.call(Call::Teardown(key.clone()))?;
            err(&format!("torn down {} {id}\n", kind.typ));
        }
        let gone = tear_down_and_destroy(client, &key);
        match gone {
            Ok(()) => err(&format!("destroyed {} {id}\n", kind.typ)),
            // Since 1.9 what does not exist is as good as deleted; before, it was an error.
            Err(why) if why.not_found() && !client.release.old() => {}
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

/// Asks for deletion, waits until nothing holds the resource, and takes it away.
pub fn tear_down_and_destroy(client: &mut Client, key: &Key) -> Result<(), Fail> {
    let mut ready = matches!(client.call(Call::Teardown(key.clone()))?, Answer::Ready(true));
    let mut revision = 0;
    while !ready {
        revision = client.change(revision, 60_000)?;
        match client.find(key)? {
            None => return Ok(()),
            Some(found) => ready = found.md.finalizers.is_empty(),
        }
    }
    match client.call(Call::Destroy(key.clone())) {
        Err(why) if why.not_found() => Ok(()),
        other => other.map(|_| ()),
    }
}
