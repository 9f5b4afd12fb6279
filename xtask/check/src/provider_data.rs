//! `providerdata` against the provider's schema, and the traps that no schema has.

use serde_json::Value as Json;

use super::provider_keys::{KEYS, Key, Kind};
use super::schema::{Mismatch, MismatchKind, validate};
use super::{Finding, convert};
use cel::{self, Program, Storage};
use model::spec::At;
use model::spec::decode::MAX_REPORTED;
use model::spec::machine_class::AutoProvision;
use model::spec::nearest::suggestion;
use model::spec::provider_data::{self, ProviderData};
use model::spec::yaml::{self, Node};

/// What the provider's schema is known by.
#[derive(Debug, Clone, Copy)]
pub enum Schema<'a> {
    /// The one that the provider registered with Omni.
    Live(&'a Json),
    /// The table of this tool, for when Omni is not asked.
    BuiltIn(&'a Json),
}

/// Reads and checks the provider data of a class.
pub fn check(file: &str, provision: &AutoProvision, schema: Schema<'_>) -> (Option<ProviderData>, Vec<Finding>) {
    let stream = yaml::load_inner(file, &provision.provider_data, provision.provider_data_at);
    let broken = stream.is_broken();
    let mut findings = stream.findings;
    if broken && stream.documents.is_empty() {
        return (None, findings);
    }
    let at = provision.provider_data_at.start;
    if broken {
        // Nobody reads on behind the first document, so nobody meets the fault there.
        let fault = findings.iter_mut().rfind(|f| f.is_error() && f.rule != "yaml-duplicate-key");
        if let Some(fault) = fault {
            let message =
                format!("behind the first document of `providerdata`, which alone is read: {}", fault.message);
            let fix = "remove everything behind the first document";
            *fault = Finding::warning("providerdata-second-document", fault.place.clone(), message, fix);
        }
    }
    if let Some(second) = stream.documents.get(1) {
        let message = "Omni and the provider read the first document of `providerdata` and no other";
        let place = second.root.at.in_file(file);
        let fix = "remove everything from `---` on";
        findings.push(Finding::warning("providerdata-second-document", place, message, fix));
    }
    let root = stream.documents.into_iter().next().map(|d| d.root).filter(|r| !r.is_null());
    // Omni takes empty data for an empty mapping.
    let root = root.unwrap_or_else(|| Node { at, tag: None, data: yaml::Data::Map(Vec::new()) });
    let json = match schema {
        Schema::Live(json) | Schema::BuiltIn(json) => json,
    };
    odd_keys(file, &root, &mut findings);
    let found = validate(json, &root);
    findings.extend(found.iter().map(|m| mismatch(file, m, matches!(schema, Schema::BuiltIn(_)))));
    keys(file, &root, KEYS, "providerdata", json, matches!(schema, Schema::Live(_)), &mut findings);
    // What the decoder would say about types the schema has said, in Omni's words.
    let data = provider_data::from_node(file, root);
    if let Some(data) = &data {
        traps(file, data, &mut findings);
    }
    (data, findings)
}

/// Keys that are no text: with one of them Go makes of the mapping what Omni's validator cannot look into.
fn odd_keys(file: &str, node: &Node, findings: &mut Vec<Finding>) {
    for entry in node.entries() {
        if entry.odd {
            let message = format!(
                "the key `{}` is no text: the server answers \"invalid jsonType map[interface {{}}]interface {{}}\"",
                entry.key
            );
            findings.push(Finding::error("providerdata-schema", entry.at.in_file(file), message, "quote it"));
        }
        odd_keys(file, &entry.value, findings);
    }
    node.items().iter().for_each(|item| odd_keys(file, item, findings));
}

fn mismatch(file: &str, m: &Mismatch, built_in: bool) -> Finding {
    let place = m.at.in_file(file);
    let top = m.path.trim_start_matches('.').split('.').next().unwrap_or_default();
    let newer = built_in && KEYS.iter().any(|k| k.name == top && !k.since.is_empty());
    match m.kind {
        MismatchKind::Keyword | MismatchKind::Endless => Finding::warning(
            "providerdata-schema-keyword",
            place,
            m.message.clone(),
            "none needed: Omni itself decides",
        ),
        MismatchKind::Required => {
            let key = m.path.rsplit('.').next().unwrap_or_default();
            let about = KEYS.iter().find(|k| k.name == key).map_or("", |k| k.about);
            Finding::error("providerdata-required", place, m.message.clone(), format!("add `{key}`: {about}"))
        }
        MismatchKind::UnknownKey => {
            let (key, known) = m.known.clone().unwrap_or_default();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            Finding::error("providerdata-schema", place, m.message.clone(), suggestion(&key, &known))
        }
        _ if newer => Finding::error("providerdata-newer-type", place, m.message.clone(), "write the type named"),
        _ => {
            let quoted = matches!(m.kind, MismatchKind::Type { is_string: true, .. });
            let fix = if quoted { "remove the quotes, or write a value of that type" } else { "write what is named" };
            Finding::error("providerdata-schema", place, m.message.clone(), fix)
        }
    }
}

/// Keys that neither the schema nor the table knows, and keys whose limits are not known.
fn keys(file: &str, node: &Node, table: &[Key], what: &str, schema: &Json, live: bool, findings: &mut Vec<Finding>) {
    let in_schema = |key: &str| schema.get("properties").and_then(|p| p.get(key)).is_some();
    let before = findings.len();
    for entry in node.entries() {
        if findings.len() - before > MAX_REPORTED {
            let message = format!("more than {MAX_REPORTED} findings about keys of {what}: the rest is not listed");
            let place = entry.at.in_file(file);
            findings.push(Finding::error("providerdata-unknown-key", place, message, "is this the right text?"));
            break;
        }
        let known = table.iter().find(|k| k.name == entry.key);
        let place = entry.at.in_file(file);
        let in_live = live && in_schema(&entry.key);
        match known {
            None if in_live => {}
            None => {
                let names: Vec<&str> = table.iter().map(|k| k.name).collect();
                let message = format!("unknown key `{}` in {what}: Omni and the provider ignore it", entry.key);
                findings.push(Finding::error("providerdata-unknown-key", place, message, meant(&entry.key, &names)));
            }
            Some(key) if !key.since.is_empty() && !in_live => {
                let message = match live {
                    true => {
                        format!("`{}` is not in the schema of the provider that Omni has: it ignores the key", key.name)
                    }
                    false => format!("`{}` is of provider {}, and its limits are not known here", key.name, key.since),
                };
                let fix = "check which version of the provider runs";
                findings.push(Finding::warning("providerdata-newer-key", place, message, fix));
            }
            Some(Key { kind: Kind::List(inner), .. }) => {
                let items = schema.pointer(&format!("/properties/{}/items", entry.key)).unwrap_or(&Json::Null);
                for item in entry.value.items() {
                    keys(file, item, inner, &entry.key, items, live, findings);
                }
            }
            Some(_) => {}
        }
    }
}

/// The names that the older form and other tools use.
fn meant(key: &str, names: &[&str]) -> String {
    match key {
        "cpu" | "cpus" | "vcpus" => "did you mean `cores`?".to_owned(),
        "disk" | "diskSize" => "did you mean `disk_size` (GiB)?".to_owned(),
        "ram" | "mem" => "did you mean `memory` (MiB)?".to_owned(),
        "storage" | "datastore" | "pool_name" => "did you mean `storage_selector`?".to_owned(),
        "bridge" | "network" => "did you mean `network_bridge`?".to_owned(),
        _ => suggestion(key, names),
    }
}

fn traps(file: &str, data: &ProviderData, findings: &mut Vec<Finding>) {
    let Some(root) = &data.root else { return };
    let at = |key: &str| root.entry(key).map_or(root.at, |e| e.value.at);
    let mut report = |error: bool, rule, at: At, message: &str, fix: &str| {
        let new = if error { Finding::error } else { Finding::warning };
        findings.push(new(rule, at.in_file(file), message.to_owned(), fix.to_owned()));
    };
    if root.entry("sockets").is_none() || root.get("sockets").is_some_and(Node::is_null) {
        let message = "`sockets` is missing: the provider sends 0, and Proxmox refuses every VM of this class";
        report(true, "providerdata-sockets", at("cores"), message, "add `sockets: 1`");
    }
    if data.machine_type.as_deref() == Some("i440fx") {
        let message = "Proxmox refuses `machine_type: i440fx`, although that is its default";
        report(true, "providerdata-machine-type", at("machine_type"), message, "leave `machine_type` out");
    }
    if data.hugepages.is_some() {
        let message = "only root@pam with a password may set huge pages: with an API token Proxmox refuses the VM";
        report(
            false,
            "providerdata-hugepages-token",
            at("hugepages"),
            message,
            "leave `hugepages` out, or use that login",
        );
        if data.numa != Some(true) {
            let message = "`hugepages` needs `numa: true`: the VM would be made and not start";
            report(true, "providerdata-hugepages-numa", at("hugepages"), message, "add `numa: true`");
        }
    }
    for device in &data.pci_devices {
        if device.rombar == Some(false) {
            let message = "`rombar: false` has no effect: the provider leaves it out and Proxmox's default is on";
            report(false, "providerdata-rombar", device.at, message, "remove the line");
        }
        if device.pcie == Some(true) && data.machine_type.as_deref() != Some("q35") {
            let message = "`pcie: true` needs `machine_type: q35`: the VM would not start";
            report(true, "providerdata-pcie", device.at, message, "add `machine_type: q35`");
        }
    }
    let disks =
        std::iter::once((&data.disk, at("disk_aio"))).chain(data.additional_disks.iter().map(|d| (&d.options, d.at)));
    for (options, at) in disks {
        let cached = matches!(options.cache.as_deref(), Some("writethrough" | "writeback" | "unsafe"));
        if options.aio.as_deref() == Some("native") && cached {
            let message = "QEMU takes `disk_aio: native` only with `disk_cache` none or directsync";
            report(false, "providerdata-aio", at, message, "use `disk_aio: io_uring`, or another cache mode");
        }
    }
    let vlans = std::iter::once((data.vlan, at("vlan"))).chain(data.additional_nics.iter().map(|n| (n.vlan, n.at)));
    for (vlan, at) in vlans {
        if vlan.is_some_and(|v| v > 4094) {
            report(
                true,
                "providerdata-vlan",
                at,
                "Proxmox takes VLAN tags from 1 to 4094",
                "use such a tag, or 0 for none",
            );
        }
    }
    if let Some(node) = root.get("storage_selector") {
        selector(file, node, findings);
    }
    let disks = root.get("additional_disks").map_or(&[][..], Node::items);
    disks.iter().filter_map(|d| d.get("storage_selector")).for_each(|node| selector(file, node, findings));
}

/// A storage selector: does it compile, and does it look at the storage at all?
fn selector(file: &str, node: &Node, findings: &mut Vec<Finding>) {
    let Some((text, scalar)) = node.text().zip(node.scalar()) else { return };
    match cel::compile(text) {
        Ok(program) => constant(file, &program, node, findings),
        Err(error) if !error.certain => {
            let place = scalar.body.place(file, error.at);
            findings.push(Finding::warning(
                "providerdata-selector-unsure",
                place,
                error.message,
                "try it on the provider",
            ));
        }
        Err(error) => {
            if let Some(older) = convert::selector(text) {
                let message =
                    "the selector filters a list of storages, and there is none: it is evaluated for each storage";
                let (message, fix) = match older {
                    Ok(_) => (message.to_owned(), "rewrite it with `cargo xtask machineclass-check --convert`"),
                    Err(why) => {
                        (format!("{message}; it cannot be converted: {why}"), "write a new one: `name == \"…\"`")
                    }
                };
                let place = scalar.body.place(file, At::START);
                findings.push(Finding::error("providerdata-selector-legacy", place, message, fix));
                return;
            }
            let place = scalar.body.place(file, error.at);
            let message = format!("the selector does not compile: {}", error.message);
            let fix = error.hint.unwrap_or_else(|| "try it with `cargo xtask selector-test`".to_owned());
            findings.push(Finding::error("providerdata-selector", place, message, fix));
        }
    }
}

fn constant(file: &str, program: &Program, node: &Node, findings: &mut Vec<Finding>) {
    if program.uses_storage() {
        return;
    }
    let storage = Storage { name: "", node: "", storage_type: "", available_space: 0 };
    let message = match program.matches(&storage) {
        Ok(true) => "the selector is true for every storage: which one a disk lands on is chance",
        _ => "the selector is true for no storage",
    };
    let fix = "select one storage: `name == \"…\"`";
    findings.push(Finding::warning("providerdata-selector-any", node.at.in_file(file), message, fix));
}
