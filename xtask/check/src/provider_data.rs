//! Checks `providerdata` against the provider's schema, and for traps that no schema covers.

use std::cmp::Ordering;

use serde_json::Value as Json;

use super::capacity::provider::Provider;
use super::provider_keys::{self, KEYS, KeyKind, KeyRelease, ProviderKey};
use super::report::Report;
use super::schema::{Mismatch, MismatchKind, validate};
use super::{convert, placeholder};
use domain::nearest::{nearest, suggestion};
use domain::spec::decode::MAX_REPORTED;
use domain::spec::machine_class::{AutoProvision, PROVISION_KEYS};
use domain::spec::provider_data::{self, ProviderData};
use selector::{self, Program, Storage};
use yaml::{Data, Entry, Finding, Node, Position, Value};

/// How to have Talos installed on the first disk.
pub const INSTALL_DISK_FIX: &str = "make `disk_size` the smallest, or set `machine.install.disk: /dev/sda` in a \
                                    patch of the machine set (up to Omni 1.10; later versions reject that field)";

/// QEMU's CPU models without SSE4.2, SSSE3 or POPCNT, which x86-64-v2 requires (QEMU docs/system/cpu-models-x86-abi.csv).
const BELOW_V2: &str = "486 athlon Conroe core2duo coreduo kvm32 kvm64 Opteron_G1 Opteron_G2 Opteron_G3 Penryn pentium \
                        pentium2 pentium3 phenom qemu32 qemu64";

/// The source of the provider's schema.
#[derive(Debug, Clone, Copy)]
pub enum Schema<'a> {
    /// The schema that the Proxmox provider registered with Omni, and its release, if it reports one.
    Live(&'a Json, Option<Provider>),
    /// The built-in table for a release of the Proxmox provider, used if Omni is not queried; without a release, for all of
    /// them.
    BuiltIn(Option<Provider>),
    /// The schema that another provider registered with Omni: nothing else is known about that provider.
    Other(&'a Json),
}

impl<'a> Schema<'a> {
    fn json(self) -> &'a Json {
        match self {
            Schema::Live(json, _) | Schema::Other(json) => json,
            Schema::BuiltIn(release) => provider_keys::built_in(release),
        }
    }

    /// Returns the release that a finding is about, as a suffix of its message.
    fn release(self) -> String {
        match self {
            Schema::BuiltIn(Some(release)) | Schema::Live(_, Some(release)) => format!(" (provider {release})"),
            _ => String::new(),
        }
    }
}

/// Reads and checks the provider data of a class.
pub fn check(file: &str, provision: &AutoProvision, schema: Schema<'_>) -> (Option<ProviderData>, Vec<Finding>) {
    let stream = yaml::load_embedded(file, &provision.provider_data, provision.provider_data_at);
    let broken = stream.is_broken();
    let mut report = Report { file, findings: stream.findings };
    if broken && stream.documents.is_empty() {
        return (None, report.findings);
    }
    let at = provision.provider_data_at.start;
    if broken {
        // Nothing reads past the first document, so an error there has no effect.
        let fault = report.findings.iter_mut().rfind(|f| f.is_error() && f.rule != "yaml-duplicate-key");
        if let Some(fault) = fault {
            let message = format!(
                "after the first document of `providerdata`, the only document that is read: {}",
                fault.message
            );
            let fix = "remove everything after the first document";
            *fault = Finding::warning("providerdata-second-document", fault.place.clone(), message, fix);
        }
    }
    if let Some(second) = stream.documents.get(1) {
        let message = "Omni and the provider read only the first document of `providerdata`";
        let fix = "remove everything from `---` on";
        report.warning("providerdata-second-document", second.root.at, message, fix);
    }
    let root = stream.documents.into_iter().next().map(|d| d.root).filter(|r| !r.is_null());
    // Omni treats empty data as an empty mapping.
    let root = root.unwrap_or_else(|| Node::mapping(at));
    report_keys_of_other_types(&root, &mut report);
    for found in validate(schema.json(), &root) {
        mismatch(&found, schema, &mut report);
    }
    for left in placeholder::find_in_node(&root) {
        let message = format!("`{}` looks like a placeholder: the provider uses it unchanged", left.text);
        let fix = format!("set `{}` to a value of your Proxmox", left.key);
        report.warning("class-placeholder", left.at, message, fix);
    }
    if matches!(schema, Schema::Other(_)) {
        return (None, report.findings);
    }
    let keys = Keys { schema, provider_id: &provision.provider_id };
    keys.check(&root, &KEYS, "providerdata", schema.json(), &mut report);
    // The schema has already reported wrong types, with Omni's messages.
    let data = provider_data::from_node(file, root);
    if let Some(data) = &data {
        check_traps(data, &mut report);
    }
    (data, report.findings)
}

/// Reports keys that are not strings: with one of them Go decodes the mapping to a type that Omni's validator cannot read.
fn report_keys_of_other_types(node: &Node, report: &mut Report<'_>) {
    for entry in node.entries() {
        if entry.is_not_string {
            let message = format!(
                "the key `{}` is not text: the server responds \"invalid jsonType map[interface {{}}]interface {{}}\"",
                entry.key
            );
            report.error("providerdata-schema", entry.at, message, "quote it");
        }
        report_keys_of_other_types(&entry.value, report);
    }
    node.items().iter().for_each(|item| report_keys_of_other_types(item, report));
}

fn mismatch(m: &Mismatch, schema: Schema<'_>, report: &mut Report<'_>) {
    let message = m.message.clone() + &schema.release();
    let top = m.path.trim_start_matches('.').split('.').next().unwrap_or_default();
    let unsure = matches!(schema, Schema::BuiltIn(None))
        && KEYS.iter().any(|k| k.name == top && !k.since.is_in(Provider::Untagged));
    match m.kind {
        MismatchKind::Keyword | MismatchKind::Endless => {
            report.warning("providerdata-schema-keyword", m.at, message, "none needed: Omni checks this itself");
        }
        MismatchKind::Required => {
            let key = m.path.rsplit('.').next().unwrap_or_default();
            let about = KEYS.iter().find(|k| k.name == key && !matches!(schema, Schema::Other(_)));
            let about = about.map_or(String::new(), |k| format!(": {}", k.about));
            report.error("providerdata-required", m.at, message, format!("add `{key}`{about}"));
        }
        MismatchKind::UnknownKey => {
            let (key, known) = m.known.clone().unwrap_or_default();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            report.error("providerdata-schema", m.at, message, suggestion(&key, &known));
        }
        _ if unsure => report.error("providerdata-newer-type", m.at, message, "use a value of that type"),
        MismatchKind::Type { is_string: true } => {
            let fix = "remove the quotes, or write a value of that type";
            report.error("providerdata-schema", m.at, message, fix);
        }
        _ => report.error("providerdata-schema", m.at, message, "use a value that meets this requirement"),
    }
}

/// Checks for keys that neither the schema nor the table knows, and for keys that the provider's release ignores.
struct Keys<'a> {
    schema: Schema<'a>,
    provider_id: &'a str,
}

impl Keys<'_> {
    fn check(&self, node: &Node, table: &[ProviderKey], what: &str, schema: &Json, report: &mut Report<'_>) {
        let in_schema = |key: &str| schema.get("properties").and_then(|p| p.get(key)).is_some();
        let live = matches!(self.schema, Schema::Live(..));
        let before = report.findings.len();
        for entry in node.entries() {
            if report.findings.len() - before > MAX_REPORTED {
                let message =
                    format!("more than {MAX_REPORTED} findings about keys of {what}: the rest are not listed");
                report.error("providerdata-unknown-key", entry.at, message, "check that this is the right text");
                break;
            }
            let in_live = live && in_schema(&entry.key);
            match table.iter().find(|k| k.name == entry.key) {
                None if in_live => {}
                None => self.unknown(entry, table, what, report),
                Some(key) if !in_live && !self.is_read(key) => self.ignored(entry, key, report),
                Some(ProviderKey { kind: KeyKind::List, keys, .. }) => {
                    let items = schema.pointer(&format!("/properties/{}/items", entry.key)).unwrap_or(&Json::Null);
                    for item in entry.value.items() {
                        self.check(item, keys, &entry.key, items, report);
                    }
                }
                Some(ProviderKey { kind: KeyKind::Map, keys, .. }) => {
                    let below = schema.pointer(&format!("/properties/{}", entry.key)).unwrap_or(&Json::Null);
                    self.check(&entry.value, keys, &entry.key, below, report);
                }
                Some(_) => {}
            }
        }
    }

    /// Returns true if the provider certainly reads a key of the table.
    fn is_read(&self, key: &ProviderKey) -> bool {
        let release = match self.schema {
            Schema::BuiltIn(Some(release)) => release,
            _ => Provider::Untagged,
        };
        key.since.is_in(release)
    }

    fn ignored(&self, entry: &Entry, key: &ProviderKey, report: &mut Report<'_>) {
        let name = &key.name;
        let (message, fix) = match (self.schema, key.since) {
            (Schema::Live(..) | Schema::Other(_), _) => (
                format!(
                    "`{name}` is not in the provider's schema in Omni: the provider ignores the key{}",
                    self.schema.release()
                ),
                "remove it, or update the provider (docs/how-to/upgrade.md)".to_owned(),
            ),
            (_, KeyRelease::Unreleased) => (
                format!("no provider release supports `{name}` (pull request 81 is open): the provider ignores it"),
                "remove it, unless you run an image built from that pull request".to_owned(),
            ),
            (Schema::BuiltIn(Some(release)), KeyRelease::Release(since)) => (
                format!("provider {release} silently ignores `{name}`: it requires {since} or later"),
                format!("remove it, or update the provider in docker/compose.yaml to {since} (docs/how-to/upgrade.md)"),
            ),
            (Schema::BuiltIn(None), KeyRelease::Release(since)) => (
                format!("`{name}` requires provider {since} or later: older releases silently ignore it"),
                "compare it with the tag of the provider's image in docker/compose.yaml".to_owned(),
            ),
        };
        report.warning("providerdata-newer-key", entry.at, message, fix);
    }

    fn unknown(&self, entry: &Entry, table: &[ProviderKey], what: &str, report: &mut Report<'_>) {
        let key = entry.key.as_str();
        let names: Vec<&str> = table.iter().map(|k| k.name.as_str()).collect();
        let fix = suggest_key(key, &names);
        let above = || PROVISION_KEYS.iter().copied().chain(["matchlabels"]);
        let Some(name) = above()
            .find(|name| *name == key)
            .or_else(|| nearest(key, above()))
            .filter(|_| what == "providerdata" && !fix.starts_with("did you mean"))
        else {
            let message = format!("unknown key `{key}` in {what}: Omni and the provider ignore it");
            return report.error("providerdata-unknown-key", entry.at, message, fix);
        };
        let level = match name {
            "matchlabels" => "in `spec`, next to `autoprovision` (spec.matchlabels)".to_owned(),
            _ => format!("one level up, next to `providerdata` (spec.autoprovision.{name})"),
        };
        let spelled = if key == name { String::new() } else { format!(", spelled `{name}`") };
        let message = format!("`{key}` belongs {level}{spelled}: it has no effect here");
        if self.is_redundant(name, &entry.value) {
            let fix = match name {
                "providerid" => "remove the line: spec.autoprovision.providerid already specifies the provider",
                _ => "remove the line: it has the default value",
            };
            return report.warning("providerdata-misplaced-default", entry.at, message, fix);
        }
        let fix = format!("move the line to that level{spelled}");
        report.error("providerdata-misplaced-key", entry.at, message, fix);
    }

    /// Returns true if the class means the same without the misplaced entry.
    fn is_redundant(&self, name: &str, value: &Node) -> bool {
        match name {
            "providerid" => value.text() == Some(self.provider_id),
            "grpctunnel" => matches!(value.value(), Some(Value::Int(0) | Value::Null)),
            _ => value.is_null() || matches!(&value.data, Data::Seq(items) if items.is_empty()),
        }
    }
}

/// Returns the disk on which Omni installs Talos instead of the first one, and why; `None` if there is none. Of the writable
/// disks above 5 GB, Omni takes the smallest (siderolabs/omni v1.9.3
/// internal/backend/runtime/omni/controllers/omni/machine_config_gen_options.go).
pub fn install_disk(data: &ProviderData) -> Option<(Position, String)> {
    const LEAST: u64 = 5_000_000_000;
    let first = data.disk_size_gib?;
    let sizes = data.additional_disks.iter().enumerate().filter_map(|(n, disk)| Some((disk.size_gib?, n, disk.at)));
    let (size, n, at) = sizes.filter(|(size, ..)| size.saturating_mul(1 << 30) > LEAST).min()?;
    let rule = "Omni installs Talos on the smallest disk above 5 GB";
    let message = match size.cmp(&first) {
        Ordering::Less => format!(
            "{rule}: here that is `additional_disks[{n}]` ({size} GiB), and the disk of `disk_size` ({first} GiB) stays empty"
        ),
        Ordering::Equal => {
            format!("{rule}: `additional_disks[{n}]` is as large as `disk_size` ({first} GiB), so either may be picked")
        }
        Ordering::Greater => return None,
    };
    Some((at, message))
}

/// Suggests a key for the names that the older form and other tools use.
fn suggest_key(key: &str, names: &[&str]) -> String {
    match key {
        "cpu" | "cpus" | "vcpus" => "did you mean `cores`?".to_owned(),
        "disk" | "diskSize" => "did you mean `disk_size` (GiB)?".to_owned(),
        "ram" | "mem" => "did you mean `memory` (MiB)?".to_owned(),
        "storage" | "datastore" | "pool_name" => "did you mean `storage_selector`?".to_owned(),
        "bridge" | "network" => "did you mean `network_bridge`?".to_owned(),
        _ => suggestion(key, names),
    }
}

fn check_traps(data: &ProviderData, report: &mut Report<'_>) {
    let Some(root) = &data.root else { return };
    if let Some((at, message)) = install_disk(data) {
        report.warning("providerdata-install-disk", at, message, INSTALL_DISK_FIX);
    }
    let at = |key: &str| root.entry(key).map_or(root.at, |e| e.value.at);
    if root.entry("sockets").is_none() || root.get("sockets").is_some_and(Node::is_null) {
        let message = "`sockets` is missing: the provider sends 0, and Proxmox refuses every VM of this class";
        report.error("providerdata-sockets", at("cores"), message, "add `sockets: 1`");
    }
    if data.machine_type.as_deref() == Some("i440fx") {
        let message = "Proxmox refuses `machine_type: i440fx`, although that is its default";
        report.error("providerdata-machine-type", at("machine_type"), message, "omit `machine_type`");
    }
    if data.hugepages.is_some() {
        let message =
            "only root@pam with a password may set huge pages: Proxmox refuses the VM if an API token is used";
        let fix = "omit `hugepages`, or use that login";
        report.warning("providerdata-hugepages-token", at("hugepages"), message, fix);
        if data.numa != Some(true) {
            let message = "`hugepages` needs `numa: true`: otherwise the VM is created but does not start";
            report.error("providerdata-hugepages-numa", at("hugepages"), message, "add `numa: true`");
        }
    }
    if root.get("cpu_type").and_then(Node::text).is_some_and(|cpu| BELOW_V2.split(' ').any(|known| known == cpu.trim()))
    {
        let message = "this CPU type lacks x86-64-v2 instructions: Talos halts at boot";
        report.warning("providerdata-cpu-level", at("cpu_type"), message, "omit `cpu_type`, or write host");
    }
    for device in &data.pci_devices {
        if device.rombar == Some(false) {
            let message = "`rombar: false` has no effect: the provider omits it, and Proxmox's default is on";
            report.warning("providerdata-rombar", device.at, message, "remove the line");
        }
        if device.pcie == Some(true) && data.machine_type.as_deref() != Some("q35") {
            let message = "`pcie: true` needs `machine_type: q35`: otherwise the VM does not start";
            report.error("providerdata-pcie", device.at, message, "add `machine_type: q35`");
        }
    }
    let disks =
        std::iter::once((&data.disk, at("disk_aio"))).chain(data.additional_disks.iter().map(|d| (&d.options, d.at)));
    for (options, at) in disks {
        let cached = matches!(options.cache.as_deref(), Some("writethrough" | "writeback" | "unsafe"));
        if options.aio.as_deref() == Some("native") && cached {
            let message = "QEMU accepts `disk_aio: native` only with `disk_cache` none or directsync";
            report.warning("providerdata-aio", at, message, "use `disk_aio: io_uring`, or another cache mode");
        }
    }
    let vlans = std::iter::once((data.vlan, at("vlan"))).chain(data.additional_nics.iter().map(|n| (n.vlan, n.at)));
    for (_, at) in vlans.filter(|(vlan, _)| vlan.is_some_and(|v| v > 4094)) {
        let message = "Proxmox accepts VLAN tags from 1 to 4094";
        report.error("providerdata-vlan", at, message, "use a tag in this range, or 0 for none");
    }
    let disks = root.get("additional_disks").map_or(&[][..], Node::items);
    let selectors = std::iter::once(root).chain(disks).filter_map(|of| of.get("storage_selector"));
    selectors.for_each(|node| selector(node, report));
}

/// Checks that a storage selector compiles and depends on the storage.
fn selector(node: &Node, report: &mut Report<'_>) {
    let Some((text, scalar)) = node.text().zip(node.scalar()) else { return };
    let error = match selector::compile(text) {
        Ok(program) => return constant(&program, node, report),
        Err(error) => error,
    };
    let at = Position { line: error.at.line, column: error.at.column };
    let place = scalar.body.place(report.file, at);
    report.findings.push(if !error.certain {
        Finding::warning("providerdata-selector-unsure", place, error.message, "try it on the provider")
    } else if let Some(older) = convert::selector(text) {
        let message = "the selector filters a list of storages, but it is evaluated for each storage separately";
        let (message, fix) = match older {
            Ok(_) => (message.to_owned(), "rewrite it with `cargo xtask machineclass-check --convert`"),
            Err(why) => (format!("{message}; it cannot be converted: {why}"), "write a new one: `name == \"…\"`"),
        };
        let place = scalar.body.place(report.file, Position::START);
        Finding::error("providerdata-selector-legacy", place, message, fix)
    } else {
        let message = format!("the selector does not compile: {}", error.message);
        // YAML reads a `!` at the beginning of a value as a type tag.
        let tag = node.tag.as_deref().filter(|tag| tag.starts_with('!') && !tag.starts_with("!!"));
        let fix = match tag {
            Some(tag) => format!("quote the value: `'{tag} {text}'`; YAML reads a leading `!` as a tag"),
            None => error.hint.unwrap_or_else(|| "try it with `cargo xtask selector-test`".to_owned()),
        };
        Finding::error("providerdata-selector", place, message, fix)
    });
}

fn constant(program: &Program, node: &Node, report: &mut Report<'_>) {
    if program.uses_storage() {
        return;
    }
    let storage = Storage { name: "", node: "", storage_type: "", available_space: 0 };
    let message = match program.matches(&storage) {
        Ok(true) => "the selector is true for every storage: the provider picks one at random",
        _ => "the selector is true for no storage",
    };
    report.warning("providerdata-selector-any", node.at, message, "select one storage: `name == \"…\"`");
}
