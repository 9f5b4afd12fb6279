//! `selector-test EXPR|--class NAME`: which storages a selector would take, with the provider's semantics.
//!
//! 1. The selector, or those of a machine class and its additional disks, are compiled as the provider does.
//! 2. The storages come from a file, or from Proxmox: every node's list, side by side, as the provider's login sees them.
//! 3. Each selector is evaluated for each storage.
//! 4. What would go wrong is said: no match on a node, several (the provider then takes the one that Proxmox lists first,
//!    and its order is random), a match without images, one that is disabled, one that is too small.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::proxmox_inventory;
use crate::cli::SelectorTest;
use crate::flow::inputs;
use crate::outcome::Outcome;
use check::convert;
use domain::failure::{Code, Failure};
use domain::nearest::nearest;
use domain::spec::provider_data;
use domain::spec::{self, machine_class};
use domain::words::count;
use runtime::cx::Cx;
use runtime::proc::quote;
use runtime::tool::proxmox::Proxmox;
use runtime::ui::{Check, Done, Status, table};
use selector::{self, CompileError, EvalError, Program, Storage};

/// More rows than this are shown only where a selector matches or fails; `--json` has all.
const SHOWN: usize = 200;
/// Storages that one warning names.
const NAMED: usize = 5;
/// Names of storages that a failure lists.
const SHOWN_NAMES: usize = 20;
const GIB: u64 = 1 << 30;

/// A storage of a node: what a selector sees, and what it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    name: String,
    node: String,
    storage_type: String,
    available_space: u64,
    /// Whether it holds VM disks; not known of a saved list.
    images: Option<bool>,
    /// Whether it is enabled and active.
    usable: Option<bool>,
}

/// A selector to test.
#[derive(Debug)]
struct Subject {
    /// Which disk of a class it is for; empty for an expression from the command line.
    disk: String,
    selector: String,
    size_gib: Option<u64>,
}

/// A selector with what became of it.
struct Tested<'a> {
    subject: &'a Subject,
    /// For each storage, in their order.
    results: Result<Vec<Result<bool, EvalError>>, CompileError>,
    program: Option<Program>,
}

impl Tested<'_> {
    /// How many storages match.
    fn matches(&self) -> usize {
        let results = self.results.as_ref().map_or(&[][..], Vec::as_slice);
        results.iter().filter(|result| **result == Ok(true)).count()
    }
}

/// Something that would go wrong, or by chance.
struct Warning {
    kind: &'static str,
    node: String,
    storage: String,
    message: String,
}

pub fn run(args: &SelectorTest, cx: &Cx) -> anyhow::Result<Outcome> {
    let (subjects, pinned) = subjects(args, cx)?;
    let node = args.node.clone().or(pinned);
    let programs: Vec<Result<Program, CompileError>> =
        subjects.iter().map(|subject| selector::compile(&subject.selector)).collect();
    let storages = storages(args, cx, node.as_deref(), programs.iter().any(Result::is_ok))?;
    // Without a storage the expression is evaluated once over empty values: it compiles, and that is what was asked.
    let nowhere = storages.is_none();
    let places = storages.unwrap_or_else(|| vec![Place::nowhere()]);
    let seen: Vec<Storage<'_>> = places.iter().map(Place::seen).collect();
    let (tested, warnings) = cx.ui.step("evaluate", "each selector on each storage", || {
        let result = |program: &Program| program.matches_all(&seen);
        let tested = subjects.iter().zip(programs).map(|(subject, program)| match program {
            Ok(program) => Tested { subject, results: Ok(result(&program)), program: Some(program) },
            Err(error) => Tested { subject, results: Err(error), program: None },
        });
        let tested: Vec<Tested<'_>> = tested.collect();
        let warnings: Vec<Warning> =
            if nowhere { Vec::new() } else { tested.iter().flat_map(|each| warnings(each, &places)).collect() };
        let count = if nowhere { "there is none".to_owned() } else { places.len().to_string() };
        Ok(Done::ok((tested, warnings), count))
    })?;
    show(cx, &tested, &places, nowhere);
    note(cx, &warnings);
    let matched: usize = tested.iter().map(Tested::matches).sum();
    let data = json!({
        "selectors": tested.iter().map(describe).collect::<Vec<_>>(),
        "results": tested.iter().flat_map(|each| rows(each, &places)).collect::<Vec<_>>(),
        "warnings": warnings.iter().map(Warning::data).collect::<Vec<_>>(),
    });
    if let Some((subject, error)) = tested.iter().find_map(|each| Some((each.subject, each.results.as_ref().err()?))) {
        return Err(refused(subject, error).with(data).into());
    }
    if let Some(lost) = tested.iter().find(|tested| !nowhere && tested.matches() == 0) {
        return Err(matches_nothing(lost.subject, &places, args.class.as_deref()).with(data).into());
    }
    let summary = match (nowhere, matched) {
        (true, _) => "it compiles; there was no storage to try it on".to_owned(),
        (false, matched) => format!("{matched} of {} match", count(places.len() * tested.len(), "storage")),
    };
    let next = match &args.class {
        Some(class) => format!("cargo xtask machineclass-check {}", quote(class)),
        None => "cargo xtask machineclass-create".to_owned(),
    };
    Ok(Outcome::done(summary).with(data).next(next))
}

/// A selector that no storage of any node matches: a machine of such a class is never created.
fn matches_nothing(subject: &Subject, places: &[Place], class: Option<&str>) -> Failure {
    let what = match subject.disk.as_str() {
        "" => "the selector matches no storage on any node".to_owned(),
        disk => format!("the selector of {disk} matches no storage on any node"),
    };
    let names: BTreeSet<&str> = places.iter().map(|place| place.name.as_str()).collect();
    let more = names.len().saturating_sub(SHOWN_NAMES);
    let mut shown: Vec<String> = names.iter().take(SHOWN_NAMES).map(|name| (*name).to_owned()).collect();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    let again = match class {
        Some(class) => format!("cargo xtask selector-test --class {}", quote(class)),
        None => "cargo xtask selector-test 'name == \"STORAGE\"'".to_owned(),
    };
    // A saved list does not say what a storage holds; Proxmox does, of those that the login may see.
    let unseen = match places.iter().any(|place| place.images.is_some()) {
        true => "; a storage that the login may not see is not listed (`cargo xtask proxmox-audit`)",
        false => "",
    };
    let near = quoted_names(&subject.selector).into_iter().find_map(|name| nearest(name, names.iter().copied()));
    let near = near.map_or(String::new(), |near| format!("did you mean `{near}`? "));
    Failure::new(Code::Failed, what)
        .cause(format!("the storages are: {}", shown.join(", ")))
        .hint(format!("{near}select one of these names{unseen}"))
        .next(again)
}

/// The texts in quotes of a selector.
fn quoted_names(selector: &str) -> Vec<&str> {
    selector.split(['"', '\'']).skip(1).step_by(2).filter(|name| !name.is_empty()).collect()
}

/// Step 1: the selectors, and the node that the class is pinned to.
fn subjects(args: &SelectorTest, cx: &Cx) -> anyhow::Result<(Vec<Subject>, Option<String>)> {
    let Some(name) = &args.class else {
        let selector = args.expr.clone().unwrap_or_default();
        return Ok((vec![Subject { disk: String::new(), selector, size_gib: None }], None));
    };
    let dir = cx.paths.machine_classes();
    let chosen =
        inputs::chosen(std::slice::from_ref(name), false, &dir, "machine class", |name| cx.paths.machine_class(name))?;
    let (mut subjects, mut pinned, mut findings) = (Vec::new(), None, Vec::new());
    for path in &chosen {
        let shown = cx.paths.show(path);
        let parsed = machine_class::parse(&shown, &inputs::read(cx, path, "check the name")?);
        findings.extend(parsed.findings);
        let classes = parsed.value.unwrap_or_default();
        let one = classes.iter().any(|class| class.id == *name);
        for class in classes.iter().filter(|class| !one || class.id == *name) {
            let Some(provision) = &class.auto_provision else { continue };
            let parsed = provider_data::parse(&shown, provision);
            findings.extend(parsed.findings);
            let Some(data) = parsed.value else { continue };
            let prefix = if classes.len() > 1 && !one { format!("{}: ", class.id) } else { String::new() };
            if let Some(selector) = data.storage_selector {
                subjects.push(Subject { disk: format!("{prefix}disk"), selector, size_gib: data.disk_size_gib });
            }
            for (number, disk) in data.additional_disks.into_iter().enumerate() {
                let Some(selector) = disk.storage_selector else { continue };
                let disk_name = format!("{prefix}additional_disks[{number}]");
                subjects.push(Subject { disk: disk_name, selector, size_gib: disk.size_gib });
            }
            pinned = pinned.or(data.node.filter(|node| !node.is_empty()));
        }
    }
    if !subjects.is_empty() {
        return Ok((subjects, pinned));
    }
    let first = findings.iter().find(|finding| finding.is_error());
    let failure = Failure::new(Code::Invalid, format!("the machine class `{name}` has no storage selector"));
    Err(match first {
        Some(first) => failure.cause(format!("{}: {}", first.place, first.message)).hint(first.fix.clone()),
        None => failure.hint("add `storage_selector` to its `providerdata`"),
    }
    .next(format!("cargo xtask machineclass-check {name}"))
    .into())
}

/// Step 2. `None` when there is no list: then the selector is compiled and no more.
fn storages(args: &SelectorTest, cx: &Cx, node: Option<&str>, compiles: bool) -> anyhow::Result<Option<Vec<Place>>> {
    let of_node = |mut places: Vec<Place>| -> Result<Option<Vec<Place>>, Failure> {
        if let Some(node) = node {
            let nodes: Vec<String> = nodes(&places).into_iter().map(str::to_owned).collect();
            places.retain(|place| place.node == node);
            if places.is_empty() {
                return Err(no_node(node, &nodes));
            }
        }
        Ok((!places.is_empty()).then_some(places))
    };
    if let Some(file) = &args.storages {
        return Ok(of_node(saved(cx, file)?)?);
    }
    if args.offline || !compiles {
        return Ok(None);
    }
    let Some(proxmox) = proxmox(cx)? else {
        let detail =
            "neither docker/config.yaml nor PROXMOX_VE_ENDPOINT and PROXMOX_VE_API_TOKEN say how to ask Proxmox";
        cx.ui.note("proxmox", "the storages of each node", Status::Warning, detail);
        return Ok(None);
    };
    Ok(of_node(live(cx, &proxmox, node)?)?)
}

fn no_node(node: &str, nodes: &[String]) -> Failure {
    let failure = Failure::new(Code::NotFound, format!("there is no storage of a node `{node}`"))
        .cause(format!("the nodes are: {}", if nodes.is_empty() { "none".to_owned() } else { nodes.join(", ") }));
    match nearest(node, nodes.iter().map(String::as_str)) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure,
    }
}

/// The storages of a file.
fn saved(cx: &Cx, file: &Path) -> Result<Vec<Place>, Failure> {
    let form = "it is a JSON list of {\"name\", \"node\", \"storageType\", \"availableSpace\"}, the last in bytes";
    let wrong = |why: String| {
        Failure::new(Code::Invalid, format!("`{}` is not a list of storages", cx.paths.show(file)))
            .cause(why)
            .hint(form)
    };
    let bytes = inputs::read(cx, file, form)?;
    let list = match spec::json::parse(&bytes).map_err(|error| wrong(error.to_string()))? {
        Value::Array(list) => list,
        other => return Err(wrong(format!("it is {}", kind(&other)))),
    };
    let place = |(at, entry): (usize, &Value)| {
        let entry =
            entry.as_object().ok_or_else(|| wrong(format!("entry {} is {}, not an object", at + 1, kind(entry))))?;
        let text = |key: &str| match entry.get(key) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(other) => Err(wrong(format!("entry {}: `{key}` is {other}, and must be text", at + 1))),
            None => Err(wrong(format!("entry {}: `{key}` is missing", at + 1))),
        };
        let space = entry.get("availableSpace");
        let available_space = space.and_then(Value::as_u64).ok_or_else(|| {
            let is = space.map_or("is missing".to_owned(), |other| format!("is {other}"));
            wrong(format!("entry {}: `availableSpace` {is}, and must be a whole number of bytes", at + 1))
        })?;
        let (images, usable) = unseen(entry);
        Ok(Place {
            name: text("name")?,
            node: text("node")?,
            storage_type: text("storageType")?,
            available_space,
            images,
            usable,
        })
    };
    list.iter().enumerate().map(place).collect()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// What a selector cannot see and a disk needs: `content`, `enabled` and `active`, as Proxmox names them.
fn unseen(entry: &Map<String, Value>) -> (Option<bool>, Option<bool>) {
    let content = entry.get("content").and_then(Value::as_str);
    let images = content.map(|content| content.split(',').any(|kind| kind.trim() == "images"));
    let on = |key: &str| match entry.get(key) {
        Some(Value::Bool(on)) => Some(*on),
        Some(Value::Number(number)) => Some(number.as_u64() != Some(0)),
        _ => None,
    };
    let usable = match (on("enabled"), on("active")) {
        (None, None) => None,
        (enabled, active) => Some(enabled.unwrap_or(true) && active.unwrap_or(true)),
    };
    (images, usable)
}

/// Proxmox as the provider reaches it, or as the environment says; `None` when nothing does.
fn proxmox(cx: &Cx) -> Result<Option<Proxmox>, Failure> {
    match proxmox_inventory::login(cx) {
        Ok(login) => Ok(Some(login.proxmox)),
        // Neither the address nor the token is anywhere.
        Err(failure) if failure.missing.len() == 2 => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The storages of every node that is online, or of one, as the provider asks for them (omni-infra-provider-proxmox 0d9fd58
/// provision.go:585).
fn live(cx: &Cx, proxmox: &Proxmox, only: Option<&str>) -> anyhow::Result<Vec<Place>> {
    let list = cx.ui.step("nodes", "the nodes of Proxmox", || {
        let found = proxmox.get(cx, "asking Proxmox for its nodes", "/nodes")?;
        let found = found.as_array().cloned().unwrap_or_default();
        let count = found.len();
        Ok(Done::ok(found, count.to_string()))
    })?;
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let mut nodes: Vec<(String, String)> =
        list.iter().map(|entry| (text(entry, "node"), text(entry, "status"))).collect();
    nodes.sort();
    if let Some(only) = only {
        let names: Vec<String> = nodes.iter().map(|(node, _)| node.clone()).collect();
        nodes.retain(|(node, _)| node == only);
        if nodes.is_empty() {
            return Err(no_node(only, &names).into());
        }
    }
    for (node, status) in nodes.iter().filter(|(_, status)| status == "offline") {
        cx.ui.note("storages", format!("the storages of {node}"), Status::Warning, format!("the node is {status}"));
    }
    let online = nodes.iter().filter(|(_, status)| status != "offline");
    let checks = online.map(|(node, _)| {
        Check::new("storages", format!("the storages of {node}"), move || {
            let purpose = format!("asking Proxmox for the storages of {node}");
            let found = proxmox.get(cx, &purpose, &format!("/nodes/{node}/storage"))?;
            let entries = found.as_array().into_iter().flatten().filter_map(Value::as_object);
            let places: Vec<Place> = entries.map(|entry| listed(node, entry)).collect();
            let count = places.len();
            Ok(match count {
                0 => Done::warning(places, "none: the token lacks Datastore.Audit on them"),
                _ => Done::ok(places, count.to_string()),
            })
        })
    });
    let results = cx.ui.side_by_side("asking Proxmox", checks.collect());
    let mut places = Vec::new();
    for result in results {
        places.extend(result?);
    }
    places.sort_by(|a, b| (&a.node, &a.name).cmp(&(&b.node, &b.name)));
    Ok(places)
}

/// An entry of Proxmox's list; `avail` is absent for a storage that is off.
fn listed(node: &str, entry: &Map<String, Value>) -> Place {
    let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (images, usable) = unseen(entry);
    let available_space = entry.get("avail").and_then(Value::as_u64).unwrap_or_default();
    Place { name: text("storage"), node: node.to_owned(), storage_type: text("type"), available_space, images, usable }
}

impl Place {
    /// What stands for "no storage" in the result of a compilation.
    fn nowhere() -> Place {
        let empty = String::new;
        Place { name: empty(), node: empty(), storage_type: empty(), available_space: 0, images: None, usable: None }
    }

    fn seen(&self) -> Storage<'_> {
        let Place { name, node, storage_type, available_space, .. } = self;
        Storage { name, node, storage_type, available_space: *available_space }
    }
}

fn nodes(places: &[Place]) -> Vec<&str> {
    let mut nodes: Vec<&str> = places.iter().map(|place| place.node.as_str()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

impl Warning {
    fn data(&self) -> Value {
        json!({ "kind": self.kind, "node": self.node, "storage": self.storage, "message": self.message })
    }
}

/// Step 4, for one selector.
fn warnings(tested: &Tested<'_>, places: &[Place]) -> Vec<Warning> {
    let Ok(results) = &tested.results else { return Vec::new() };
    let disk = if tested.subject.disk.is_empty() { String::new() } else { format!("{}: ", tested.subject.disk) };
    let mut found = Vec::new();
    type Here<'a> = Vec<(&'a Place, &'a Result<bool, EvalError>)>;
    let mut of_node: BTreeMap<&str, Here<'_>> = BTreeMap::new();
    for (place, result) in places.iter().zip(results) {
        of_node.entry(&place.node).or_default().push((place, result));
    }
    for (node, storages) in &of_node {
        let here = || storages.iter().copied();
        let matching: Vec<&Place> = here().filter(|(_, result)| **result == Ok(true)).map(|(place, _)| place).collect();
        let mut warn = |kind, storage: &str, message: String| {
            let message = format!("{disk}{message}");
            found.push(Warning { kind, node: (*node).to_owned(), storage: storage.to_owned(), message });
        };
        if let Some((place, Err(error))) = here().find(|(_, result)| result.is_err()) {
            let message = format!(
                "`{}` fails on {}/{}: {error}; the provider gives up when it comes to it",
                error.part, node, place.name
            );
            warn("eval-error", &place.name, message);
        }
        match matching.as_slice() {
            [] => {
                let message = format!("nothing matches on {node}: a machine that is placed there is never created");
                warn("no-match", "", message);
            }
            [_] => {}
            several => {
                let names: Vec<&str> = several.iter().take(NAMED).map(|place| place.name.as_str()).collect();
                let more = match several.len().saturating_sub(NAMED) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                let message = format!("{}{more} match on {node}: the provider picks one at random", names.join(", "));
                warn("several-match", "", message);
            }
        }
        for place in matching {
            let name = &place.name;
            if place.images == Some(false) {
                warn("no-images", name, format!("{name} on {node} matches and does not hold VM images"));
            }
            if place.usable == Some(false) {
                warn("disabled", name, format!("{name} on {node} matches and is disabled or not active"));
            } else if let Some(size) = tested.subject.size_gib
                && size.saturating_mul(GIB) > place.available_space
            {
                let free = place.available_space / GIB;
                warn("too-small", name, format!("{name} on {node} has {free} GiB free, and the disk takes {size} GiB"));
            }
        }
    }
    found
}

/// One step for each kind of warning, with the first few.
fn note(cx: &Cx, warnings: &[Warning]) {
    for kind in ["eval-error", "no-match", "several-match", "no-images", "disabled", "too-small"] {
        let of_kind: Vec<&Warning> = warnings.iter().filter(|warning| warning.kind == kind).collect();
        for warning in of_kind.iter().take(8) {
            cx.ui.note(kind, kind, Status::Warning, &warning.message);
        }
        if of_kind.len() > 8 {
            cx.ui.note(kind, kind, Status::Warning, format!("and {} more of these", of_kind.len() - 8));
        }
    }
}

fn verdict(result: &Result<bool, EvalError>) -> &'static str {
    match result {
        Ok(true) => "true",
        Ok(false) => "false",
        Err(_) => "eval-error",
    }
}

fn describe(tested: &Tested<'_>) -> Value {
    let Subject { disk, selector, size_gib } = tested.subject;
    let error = tested.results.as_ref().err();
    let error = error.map(|error| {
        json!({ "line": error.at.line, "column": error.at.column, "message": error.message, "hint": error.hint })
    });
    json!({ "disk": disk, "selector": selector, "disk_gib": size_gib, "compiles": error.is_none(), "error": error })
}

/// The rows of the JSON document: `{storage, node, verdict, error}`, with `disk` for a class.
fn rows(tested: &Tested<'_>, places: &[Place]) -> Vec<Value> {
    let row = |(at, place): (usize, &Place)| {
        let (verdict, error) = match &tested.results {
            Ok(results) => match &results[at] {
                Err(error) => ("eval-error", Value::from(error.to_string())),
                result => (verdict(result), Value::Null),
            },
            Err(error) => ("compile-error", Value::from(error.to_string())),
        };
        let mut row = Map::new();
        row.insert("storage".into(), place.name.as_str().into());
        row.insert("node".into(), place.node.as_str().into());
        row.insert("verdict".into(), verdict.into());
        row.insert("error".into(), error);
        if !tested.subject.disk.is_empty() {
            row.insert("disk".into(), tested.subject.disk.as_str().into());
        }
        Value::Object(row)
    };
    places.iter().enumerate().map(row).collect()
}

/// The tables for people: node by storage, with the part that decided.
fn show(cx: &Cx, tested: &[Tested<'_>], places: &[Place], nowhere: bool) {
    if nowhere || cx.ui.json() {
        return;
    }
    for Tested { subject, results, program } in tested {
        let (Ok(results), Some(program)) = (results, program) else { continue };
        if !subject.disk.is_empty() {
            cx.ui.data(&format!("{}: {}", subject.disk, subject.selector));
        }
        let few = places.len() <= SHOWN;
        let shown = places.iter().zip(results).filter(|(_, result)| few || **result != Ok(false));
        let row = |(place, result): (&Place, &Result<bool, EvalError>)| {
            let said = match result {
                Ok(true) => "match".to_owned(),
                Ok(false) => format!("no: {}", program.why_not(&place.seen())),
                Err(error) => format!("FAILS: {}: {error}", error.part),
            };
            let free = format!("{} GiB", place.available_space / GIB);
            vec![place.node.clone(), place.name.clone(), place.storage_type.clone(), free, said]
        };
        let rows: Vec<Vec<String>> = shown.take(SHOWN).map(row).collect();
        cx.ui.data(&table(&["NODE", "STORAGE", "TYPE", "FREE", "RESULT"], &rows));
        if rows.len() < places.len() {
            cx.ui.data(&format!("not shown: {}", count(places.len() - rows.len(), "more storage")));
        }
    }
}

/// A selector that does not compile.
fn refused(subject: &Subject, error: &CompileError) -> Failure {
    let what = match subject.disk.as_str() {
        "" => "the selector does not compile".to_owned(),
        disk => format!("the selector of {disk} does not compile"),
    };
    let arrow = |selector: &str| {
        let line = selector.lines().nth(error.at.line.saturating_sub(1) as usize).unwrap_or_default();
        format!("\n{line}\n{}^", " ".repeat(error.at.column.saturating_sub(1) as usize))
    };
    let hint = match convert::selector(&subject.selector) {
        Some(Ok(new)) => format!("this is the older form; in the real one it is: {}", new.text),
        Some(Err(why)) => why,
        None => error.hint.clone().unwrap_or_else(|| {
            "a selector is CEL over name, node, storageType and availableSpace, and yields a bool".to_owned()
        }),
    };
    Failure::new(Code::Invalid, what).cause(format!("{error}{}", arrow(&subject.selector))).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(node: &str, name: &str, images: bool, usable: bool, gib: u64) -> Place {
        let (images, usable) = (Some(images), Some(usable));
        let storage_type = "lvmthin".to_owned();
        let (name, node) = (name.to_owned(), node.to_owned());
        Place { name, node, storage_type, available_space: gib * GIB, images, usable }
    }

    #[test]
    fn every_way_in_which_a_selector_disappoints_is_named() {
        let places = [
            place("a", "fast", true, true, 100),
            place("b", "fast", true, true, 10),
            place("b", "fast2", false, true, 100),
            place("c", "slow", true, true, 100),
            place("d", "fast", true, false, 0),
        ];
        let subject = Subject {
            disk: "disk".into(),
            selector: "name.startsWith(\"fast\") || availableSpace / 0u > 1u".into(),
            size_gib: Some(40),
        };
        let program = selector::compile(&subject.selector).unwrap();
        let seen: Vec<Storage<'_>> = places.iter().map(Place::seen).collect();
        let results = Ok(program.matches_all(&seen));
        let found = warnings(&Tested { subject: &subject, results, program: Some(program) }, &places);
        let found: Vec<(&str, &str, &str)> =
            found.iter().map(|warning| (warning.kind, warning.node.as_str(), warning.storage.as_str())).collect();
        assert_eq!(
            found,
            [
                ("several-match", "b", ""),
                ("too-small", "b", "fast"),
                ("no-images", "b", "fast2"),
                ("eval-error", "c", "slow"),
                ("no-match", "c", ""),
                ("disabled", "d", "fast"),
            ]
        );
    }

    #[test]
    fn proxmox_says_less_of_a_storage_that_is_off() {
        let entry = json!({"storage": "x", "type": "rbd", "content": "rootdir,images", "enabled": 0, "active": 0});
        let found = listed("pve1", entry.as_object().unwrap());
        assert_eq!((found.available_space, found.images, found.usable), (0, Some(true), Some(false)));
        let entry = json!({"storage": "local", "type": "dir", "content": "iso,vztmpl", "avail": 5});
        let found = listed("pve1", entry.as_object().unwrap());
        assert_eq!((found.available_space, found.images, found.usable), (5, Some(false), None));
    }
}
