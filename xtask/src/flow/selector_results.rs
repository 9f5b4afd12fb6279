//! The storages that selectors are tested on, from a file or from Proxmox, and the results: matches and warnings.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;
use serde_json::Map;

use crate::flow::{inputs, proxmox};
use crate::prelude::*;

use check::convert;
use domain::nearest::nearest;
use domain::spec;
use domain::status::proxmox::{self as status, Storage};
use runtime::proc::quote;
use runtime::tool::proxmox::Proxmox;
use runtime::ui::Check;
use selector::{CompileError, EvalError, Program};

/// Maximum number of storages named in one warning.
const MAX_NAMED: usize = 5;

/// Maximum number of storage names listed in a failure.
const MAX_LISTED: usize = 20;

pub const GIB: u64 = 1 << 30;

/// A selector to test.
#[derive(Debug)]
pub struct TestSubject {
    /// The disk of a class that it is for; empty for an expression from the command line.
    pub disk: String,
    pub selector: String,
    pub size_gib: Option<u64>,
}

impl TestSubject {
    fn words(&self) -> String {
        match self.disk.as_str() {
            "" => "the selector".to_owned(),
            disk => format!("the selector of {disk}"),
        }
    }
}

/// A selector and its results.
pub struct TestedSelector<'a> {
    pub subject: &'a TestSubject,
    /// One result for each storage, in the same order.
    pub results: Result<Vec<Result<bool, EvalError>>, CompileError>,
    pub program: Option<Program>,
}

impl TestedSelector<'_> {
    /// Returns the number of storages that match.
    pub fn matches(&self) -> usize {
        let results = self.results.as_ref().map_or(&[][..], Vec::as_slice);
        results.iter().filter(|result| **result == Ok(true)).count()
    }
}

/// The failure for a selector that matches only storages without VM disks: no machine of such a class is ever created.
pub fn no_images_failure(tested: &TestedSelector<'_>, places: &[Storage], class: Option<&str>) -> Option<Failure> {
    let results = tested.results.as_ref().ok()?;
    let matching = places.iter().zip(results).filter(|(_, result)| **result == Ok(true)).map(|(place, _)| place);
    let names: BTreeSet<&str> = matching.clone().map(|place| place.name.as_str()).collect();
    if names.is_empty() || matching.clone().any(|place| place.accepts_images()) {
        return None;
    }
    let names: Vec<&str> = names.into_iter().collect();
    let mut failure = no_match_failure(tested.subject, places, class);
    failure.message = format!("no storage that {} matches can store VM disks", tested.subject.words());
    let others = places.iter().filter(|place| place.accepts_images()).map(|place| place.name.as_str());
    let others: BTreeSet<&str> = others.take(MAX_LISTED).collect();
    let others = match others.is_empty() {
        true => "no storage does".to_owned(),
        false => format!("these do: {}", others.into_iter().collect::<Vec<_>>().join(", ")),
    };
    let cause = format!("`images` is not in the content of {}; {others}", names.join(", "));
    Some(failure.cause(cause).hint("select a storage for VM disks, or add `images` to its content in Proxmox"))
}

/// Something that would fail, or depend on chance.
#[derive(Serialize)]
pub struct Warning {
    pub kind: &'static str,
    node: String,
    storage: String,
    pub message: String,
}

/// The failure for a selector that matches no storage on any node: no machine of such a class is ever created.
pub fn no_match_failure(subject: &TestSubject, places: &[Storage], class: Option<&str>) -> Failure {
    let names: BTreeSet<&str> = places.iter().map(|place| place.name.as_str()).collect();
    let more = names.len().saturating_sub(MAX_LISTED);
    let mut shown: Vec<String> = names.iter().take(MAX_LISTED).map(|name| (*name).to_owned()).collect();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    let again = match class {
        Some(class) => format!("cargo xtask selector-test --class {}", quote(class)),
        None => "cargo xtask selector-test 'name == \"STORAGE\"'".to_owned(),
    };
    // A saved list has no storage contents; Proxmox returns those of the storages that the login may see.
    let unseen = match places.iter().any(|place| !place.content.is_empty()) {
        true => "; a storage that the login may not see is not listed (`cargo xtask proxmox-audit`)",
        false => "",
    };
    let near = quoted_names(&subject.selector).into_iter().find_map(|name| nearest(name, names.iter().copied()));
    let near = near.map_or(String::new(), |near| format!("did you mean `{near}`? "));
    Failure::new(Code::Failed, format!("{} matches no storage on any node", subject.words()))
        .cause(format!("the storages are: {}", shown.join(", ")))
        .hint(format!("{near}select one of these names{unseen}"))
        .next(again)
}

/// Returns the quoted strings in a selector.
fn quoted_names(selector: &str) -> Vec<&str> {
    selector.split(['"', '\'']).skip(1).step_by(2).filter(|name| !name.is_empty()).collect()
}

/// Returns warnings about one selector.
pub fn warnings(tested: &TestedSelector<'_>, places: &[Storage]) -> Vec<Warning> {
    let Ok(results) = &tested.results else { return Vec::new() };
    let disk = if tested.subject.disk.is_empty() { String::new() } else { format!("{}: ", tested.subject.disk) };
    let mut found = Vec::new();
    type Here<'a> = Vec<(&'a Storage, &'a Result<bool, EvalError>)>;
    let mut of_node: BTreeMap<&str, Here<'_>> = BTreeMap::new();
    for (place, result) in places.iter().zip(results) {
        of_node.entry(&place.node).or_default().push((place, result));
    }
    for (node, storages) in &of_node {
        let here = || storages.iter().copied();
        let matching: Vec<&Storage> =
            here().filter(|(_, result)| **result == Ok(true)).map(|(place, _)| place).collect();
        let mut warn = |kind, storage: &str, message: String| {
            let message = format!("{disk}{message}");
            found.push(Warning { kind, node: (*node).to_owned(), storage: storage.to_owned(), message });
        };
        if let Some((place, Err(error))) = here().find(|(_, result)| result.is_err()) {
            let message = format!(
                "`{}` fails on {}/{}: {error}; the provider gives up when it reaches that storage",
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
                let names: Vec<&str> = several.iter().take(MAX_NAMED).map(|place| place.name.as_str()).collect();
                let more = match several.len().saturating_sub(MAX_NAMED) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                let message = format!("{}{more} match on {node}: the provider picks one at random", names.join(", "));
                warn("several-match", "", message);
            }
        }
        for place in matching {
            let name = &place.name;
            if !place.accepts_images() {
                warn("no-images", name, format!("{name} on {node} matches but cannot store VM images"));
            }
            if !(place.enabled && place.active) {
                warn("disabled", name, format!("{name} on {node} matches, but is disabled or not active"));
            } else if let Some(size) = tested.subject.size_gib
                && size.saturating_mul(GIB) > place.available
            {
                let free = place.available / GIB;
                warn("too-small", name, format!("{name} on {node} has {free} GiB free, but the disk takes {size} GiB"));
            }
        }
    }
    found
}

pub fn describe(tested: &TestedSelector<'_>) -> Value {
    let TestSubject { disk, selector, size_gib } = tested.subject;
    let error = tested.results.as_ref().err();
    let error = error.map(|error| {
        json!({ "line": error.at.line, "column": error.at.column, "message": error.message, "hint": error.hint })
    });
    json!({ "disk": disk, "selector": selector, "disk_gib": size_gib, "compiles": error.is_none(), "error": error })
}

/// Returns the rows of the JSON document: `{storage, node, verdict, error}`, with `disk` for a class.
pub fn rows(tested: &TestedSelector<'_>, places: &[Storage]) -> Vec<Value> {
    let row = |(at, place): (usize, &Storage)| {
        let (verdict, error) = match &tested.results {
            Ok(results) => match &results[at] {
                Ok(matches) => (if *matches { "true" } else { "false" }, Value::Null),
                Err(error) => ("eval-error", Value::from(error.to_string())),
            },
            Err(error) => ("compile-error", Value::from(error.to_string())),
        };
        let mut row = json!({ "storage": place.name, "node": place.node, "verdict": verdict, "error": error });
        if !tested.subject.disk.is_empty() {
            row["disk"] = tested.subject.disk.as_str().into();
        }
        row
    };
    places.iter().enumerate().map(row).collect()
}

/// The failure for a selector that does not compile.
pub fn compile_failure(subject: &TestSubject, error: &CompileError) -> Failure {
    let what = format!("{} does not compile", subject.words());
    let arrow = |selector: &str| {
        let line = selector.lines().nth(error.at.line.saturating_sub(1) as usize).unwrap_or_default();
        format!("\n{line}\n{}^", " ".repeat(error.at.column.saturating_sub(1) as usize))
    };
    let hint = match convert::selector(&subject.selector) {
        Some(Ok(new)) => format!("this is the older format; in the current format it is: {}", new.text),
        Some(Err(why)) => why,
        None => error.hint.clone().unwrap_or_else(|| {
            "a selector is CEL over name, node, storageType and availableSpace, and returns a bool".to_owned()
        }),
    };
    Failure::new(Code::Invalid, what).cause(format!("{error}{}", arrow(&subject.selector))).hint(hint)
}

/// Returns the storages in a file, otherwise those of Proxmox unless `offline`, for one node or all; `None` if there is no list.
///
/// # Errors
/// Returns an error if the file or Proxmox cannot be read, or if the node does not exist.
pub fn storages(
    cx: &Cx,
    file: Option<&Path>,
    node: Option<&str>,
    offline: bool,
) -> anyhow::Result<Option<Vec<Storage>>> {
    let mut storages = match file {
        Some(file) => read_saved(cx, file)?,
        None if offline => return Ok(None),
        None => match find_proxmox(cx)? {
            Some(proxmox) => read_storages(cx, &proxmox, node)?,
            None => {
                let detail = "neither docker/config.yaml nor PROXMOX_VE_ENDPOINT and PROXMOX_VE_API_TOKEN give access to Proxmox";
                cx.ui.note("proxmox", "Read the storages of each node", Status::Warning, detail);
                return Ok(None);
            }
        },
    };
    if let Some(node) = node {
        let mut nodes: Vec<String> = storages.iter().map(|storage| storage.node.clone()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        storages.retain(|storage| storage.node == node);
        if storages.is_empty() {
            return Err(no_node(node, &nodes).into());
        }
    }
    Ok((!storages.is_empty()).then_some(storages))
}

fn no_node(node: &str, nodes: &[String]) -> Failure {
    let failure = Failure::new(Code::NotFound, format!("no storage belongs to a node `{node}`"))
        .cause(format!("the nodes are: {}", if nodes.is_empty() { "none".to_owned() } else { nodes.join(", ") }));
    match nearest(node, nodes.iter().map(String::as_str)) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure,
    }
}

/// Reads the storages in a file.
fn read_saved(cx: &Cx, file: &Path) -> Result<Vec<Storage>, Failure> {
    let form = "it is a JSON list of {\"name\", \"node\", \"storageType\", \"availableSpace\"}, the last in bytes";
    let wrong = |why: String| {
        Failure::new(Code::Invalid, format!("`{}` is not a list of storages", cx.paths.show(file)))
            .cause(why)
            .hint(form)
    };
    let bytes = inputs::read(cx, file, form)?;
    let mut document = spec::json::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
    // A saved inventory contains the same list.
    if let Some(list) = document.get_mut("storages") {
        document = list.take();
    }
    let Value::Array(list) = document else { return Err(wrong("it is not a list".to_owned())) };
    let read = |(at, entry)| parse_storage(entry).map_err(|why| wrong(format!("entry {}: {why}", at + 1)));
    list.into_iter().enumerate().map(read).collect()
}

/// Parses an entry of a saved list, which may have `content`, `enabled` and `active` as Proxmox prints them.
fn parse_storage(mut entry: Value) -> Result<Storage, serde_json::Error> {
    for (key, value) in entry.as_object_mut().into_iter().flat_map(Map::iter_mut) {
        match (key.as_str(), &*value) {
            ("content", Value::String(content)) => *value = content.split(',').map(str::trim).collect(),
            ("enabled" | "active", Value::Number(on)) => *value = (on.as_u64() != Some(0)).into(),
            _ => {}
        }
    }
    serde_json::from_value(entry)
}

/// Returns the Proxmox of the provider, or else of the environment; `None` if neither is configured.
fn find_proxmox(cx: &Cx) -> Result<Option<Proxmox>, Failure> {
    match proxmox::login(cx) {
        Ok(login) => Ok(Some(login)),
        // Neither the address nor the token is configured.
        Err(failure) if failure.missing.len() == 2 => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Reads the storages of every online node, or of one node, with the same request as the provider (omni-infra-provider-proxmox
/// 0d9fd58 provision.go:585).
fn read_storages(cx: &Cx, proxmox: &Proxmox, only: Option<&str>) -> anyhow::Result<Vec<Storage>> {
    let mut nodes = cx.ui.step("nodes", "Read the nodes of Proxmox", || {
        let found = proxmox::list_nodes(cx, proxmox)?;
        let count = found.len();
        Ok(StepResult::ok(found, count.to_string()))
    })?;
    if let Some(only) = only {
        let names: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
        nodes.retain(|node| node.name == only);
        if nodes.is_empty() {
            return Err(no_node(only, &names).into());
        }
    }
    let (offline, online): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|node| node.status == "offline");
    let title = |node: &status::Node| format!("Read the storages of {}", node.name);
    for node in &offline {
        cx.ui.note("storages", title(node), Status::Warning, "the node is offline");
    }
    let checks = online.iter().map(|node| {
        Check::new("storages", title(node), move || {
            let purpose = format!("reading the storages of {} from Proxmox", node.name);
            let found = proxmox.get(cx, &purpose, &format!("/nodes/{}/storage", node.name))?;
            let storages = status::parse_storages(&node.name, &found).unwrap_or_default();
            let count = storages.len();
            Ok(match count {
                0 => StepResult::warning(storages, "none: the token lacks Datastore.Audit on them"),
                _ => StepResult::ok(storages, count.to_string()),
            })
        })
    });
    let found = cx.ui.run_checks("querying Proxmox", checks.collect()).into_iter();
    Ok(found.collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use check::capacity::selector::selector_view;

    fn place(node: &str, name: &str, images: bool, usable: bool, gib: u64) -> Storage {
        let content = if images { "images" } else { "iso" };
        let entry = json!({
            "name": name, "node": node, "storageType": "lvmthin", "availableSpace": gib * GIB,
            "content": [content], "active": usable,
        });
        serde_json::from_value(entry).unwrap()
    }

    #[test]
    fn warnings_cover_every_selector_problem() {
        let places = [
            place("a", "fast", true, true, 100),
            place("b", "fast", true, true, 10),
            place("b", "fast2", false, true, 100),
            place("c", "slow", true, true, 100),
            place("d", "fast", true, false, 0),
        ];
        let subject = TestSubject {
            disk: "disk".into(),
            selector: "name.startsWith(\"fast\") || availableSpace / 0u > 1u".into(),
            size_gib: Some(40),
        };
        let program = selector::compile(&subject.selector).unwrap();
        let results = Ok(places.iter().map(|place| program.matches(&selector_view(place))).collect());
        let found = warnings(&TestedSelector { subject: &subject, results, program: Some(program) }, &places);
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
}
