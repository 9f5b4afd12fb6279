//! Checks machine classes: what the server would report for a new class, and what it would not.

use serde_json::Value as Json;

use super::capacity::provider;
use super::provider_data::{self, Schema};
use super::releases::Omni;
use super::report::Report;
use super::verdict::{FileCheck, Verdict};
use super::{labels, placeholder};
use domain::nearest::nearest;
use domain::spec::machine_class::{AutoProvision, MachineClass, TYPE, parse_stream};
use domain::spec::name;
use yaml::Position;

/// An infrastructure provider as Omni knows it (InfraProviderStatus).
#[derive(Debug, Clone, PartialEq)]
pub struct Provider {
    pub id: String,
    /// The provider's own JSON Schema; `None` if it registered without one.
    pub schema: Option<Json>,
    /// Whether it provides machines that already exist.
    pub is_static: bool,
    /// The release that the Proxmox provider reports; it does so from 0.2 on, to Omni 1.10 and later.
    pub release: Option<provider::Provider>,
}

/// What is known about the surroundings of a class.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClassContext<'a> {
    /// The providers that Omni lists; `None` if Omni was not queried or did not respond.
    pub providers: Option<&'a [Provider]>,
    /// The IDs under which this project's Proxmox provider registers; if none is known, [`PROXMOX`].
    pub ours: &'a [String],
    /// The release of the Proxmox provider that this project runs, if known.
    pub release: Option<provider::Provider>,
    /// The release of Omni, if known.
    pub omni: Option<Omni>,
    /// Whether the operator specified `release`, which then counts, whatever has registered with Omni.
    pub given: bool,
}

/// The ID under which the Proxmox provider registers by default.
pub const PROXMOX: &str = "proxmox";

impl ClassContext<'_> {
    /// Returns the release that this project's provider reports.
    pub fn reported_release(&self) -> Option<provider::Provider> {
        self.providers?.iter().find(|found| self.is_proxmox(&found.id))?.release
    }

    /// Returns true for the ID of a Proxmox provider, as far as is known here.
    fn is_proxmox(&self, id: &str) -> bool {
        self.proxmox_ids().any(|own| own == id)
    }

    fn proxmox_ids(&self) -> impl Iterator<Item = &str> {
        let only = self.ours.is_empty().then_some(PROXMOX);
        only.into_iter().chain(self.ours.iter().map(String::as_str))
    }
}

/// Checks a file of machine classes. The verdict is the server's on new classes.
pub fn check(file: &str, bytes: &[u8], context: &ClassContext<'_>) -> FileCheck<Vec<MachineClass>> {
    let stream = yaml::load(file, bytes);
    let parsed = parse_stream(file, &stream);
    let mut report = Report { file, findings: parsed.findings };
    let mut sources: Vec<String> = Vec::new();
    for class in parsed.value.iter().flatten() {
        sources.extend(check_class(class, context, &mut report).filter(|source| !sources.contains(source)));
    }
    report_placeholders(&stream, &mut report);
    let mut findings = report.findings;
    findings.sort_by_key(|f| (f.place.line, f.place.column));
    let verdict = Verdict::of(&findings, false);
    let schema = (!sources.is_empty()).then(|| sources.join(", "));
    FileCheck {
        file: file.to_owned(),
        value: parsed.value,
        verdict,
        program: "server",
        schema,
        undecided: Vec::new(),
        findings,
    }
}

/// Reports placeholders in classes, except in the two IDs, which have findings of their own, and in `providerdata`.
fn report_placeholders(stream: &yaml::Stream, report: &mut Report<'_>) {
    let roots = stream.documents.iter().map(|document| &document.root);
    let classes = roots.filter(|root| root.path(&["metadata", "type"]).and_then(yaml::Node::text) == Some(TYPE));
    let left = classes.flat_map(placeholder::find_in_node).filter(|left| !["id", "providerid"].contains(&left.key));
    for left in left {
        let message = format!("`{}` looks like a placeholder: Omni uses it unchanged", left.text);
        let fix = format!("write the intended value in `{}`", left.key);
        report.warning("class-placeholder", left.at, message, fix);
    }
}

fn check_class(class: &MachineClass, context: &ClassContext<'_>, report: &mut Report<'_>) -> Option<String> {
    if placeholder::is_placeholder(&class.id) {
        let message = format!("`{}` looks like a placeholder: it becomes the class's name", class.id);
        report.warning("class-placeholder", class.id_at, message, "name the class");
    } else if !class.id.is_empty() && !class.id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        let message = format!("`{}`: this name needs quotes in commands and file names", class.id);
        let fix = "use letters, digits and `-`";
        report.warning("class-name", class.id_at, message, fix);
    }
    check_metadata(class, report);
    match &class.auto_provision {
        Some(provision) => {
            if !class.match_labels.is_empty() {
                let message = "`autoprovision` and `matchlabels` are mutually exclusive";
                let fix = "keep `autoprovision` for machines that a provider creates, `matchlabels` for existing ones";
                report.error("class-both-sources", provision.at, message, fix);
            }
            check_auto_provision(provision, context, report)
        }
        None => {
            check_match_labels(class, report);
            None
        }
    }
}

/// Checks the limits of `metadata` (omni v1.9.3 internal/backend/runtime/omni/validations/metadata.go); older servers have none.
fn check_metadata(class: &MachineClass, report: &mut Report<'_>) {
    let fits = |text: &str, most: usize| text.len() <= most && !text.contains(char::is_control);
    let entry = |(key, value): &(String, String)| !key.is_empty() && fits(key, 1024) && fits(value, 16 << 10);
    let sound = |entries: &[(String, String)]| entries.len() <= 256 && entries.iter().all(entry);
    if !fits(&class.id, 1024) || !sound(&class.labels) || !sound(&class.annotations) {
        let message = "the id, a label or an annotation is too long, has no key or contains a control character";
        let fix = "use up to 1024 bytes for an id or key, 16 KiB for a value, and up to 256 labels and 256 annotations";
        report.error("class-metadata-limits", class.id_at, message, fix);
    }
}

fn check_match_labels(class: &MachineClass, report: &mut Report<'_>) {
    let at = class.spec_at;
    if class.match_labels.is_empty() {
        let message = "the class has neither `autoprovision` nor `matchlabels`";
        let fix = "add `autoprovision` for machines that a provider creates";
        report.error("class-no-source", at, message, fix);
        return;
    }
    for selector in &class.match_labels {
        match labels::parse(selector) {
            Err(error) => {
                let message = format!("`{selector}` cannot be read: {error}");
                let fix = "use KEY, !KEY, KEY = V, KEY in (A, B) or KEY >= N, joined by commas";
                report.error("class-match-labels", at, message, fix);
            }
            Ok(keys) if keys.iter().any(|k| k == "omni.sidero.dev/no-manual-allocation") => {
                let message = "the server does not allow selectors on omni.sidero.dev/no-manual-allocation";
                report.error("class-no-manual-allocation", at, message, "remove it");
            }
            Ok(_) => {}
        }
    }
}

fn check_auto_provision(
    provision: &AutoProvision,
    context: &ClassContext<'_>,
    report: &mut Report<'_>,
) -> Option<String> {
    let id = &provision.provider_id;
    let at = provision.provider_id_at;
    let args = &provision.kernel_args;
    let limited = context.omni.is_none_or(|omni| !omni.is_before(9, 0));
    if limited && (args.len() > 64 || args.iter().any(|a| a.len() > 256 || a.contains(char::is_control))) {
        let message =
            "the server accepts up to 64 kernel arguments of up to 256 bytes each, without control characters";
        report.error("class-kernel-args", provision.at, message, "use fewer or shorter arguments");
    }
    if id.is_empty() {
        let message = "`providerid` is missing: the server responds \"providerID can not be empty\"";
        report.error("class-provider-id", at, message, "set it to the provider's `--id`");
        return None;
    }
    check_provider_id(provision, context, report);
    let (schema, source) = schema_of(provision, context, report);
    // Data of the wrong type is already reported; reporting what it lacks would only hide that.
    let data_at = provision.provider_data_at.start.in_file(report.file);
    let readable = !report.findings.iter().any(|f| f.rule == "class-wrong-type" && f.place == data_at);
    if let Some(schema) = schema.filter(|_| readable) {
        report.findings.extend(provider_data::check(report.file, provision, schema).1);
    }
    Some(source)
}

/// Checks a provider ID. Omni checks its form only when it creates the provider (omni v1.10.4
/// `internal/backend/runtime/omni/validations/infra_provider.go`).
fn check_provider_id(provision: &AutoProvision, context: &ClassContext<'_>, report: &mut Report<'_>) {
    let id = &provision.provider_id;
    let at = provision.provider_id_at;
    let exists = context.providers.is_some_and(|found| found.iter().any(|provider| provider.id == *id));
    if placeholder::is_placeholder(id) {
        let message = format!("`{id}` looks like a placeholder: Omni uses it unchanged");
        report.warning("class-placeholder", at, message, "set `providerid` to your provider's id");
    } else if !exists && name::check("provider", id).is_err() {
        let message = match context.omni {
            Some(omni) if omni.is_before(10, 0) => {
                format!(
                    "`{id}` is not a DNS label: Omni {omni} accepts it, but 1.10 and later create no provider with this id"
                )
            }
            Some(omni) => format!("`{id}` is not a DNS label: Omni {omni} creates no provider with this id"),
            None => format!("`{id}` is not a DNS label: Omni 1.10 and later create no provider with this id"),
        };
        let fix = "keep it if the provider exists in Omni; otherwise register one with a-z, 0-9 and `-`, up to 63 characters (OMNI_PROVIDER_ID)";
        report.warning("class-provider-name", at, message, fix);
    }
}

/// Returns the schema that the provider's data must match, if known, and its source.
fn schema_of<'a>(
    provision: &AutoProvision,
    context: &ClassContext<'a>,
    report: &mut Report<'_>,
) -> (Option<Schema<'a>>, String) {
    let id = &provision.provider_id;
    let at = provision.provider_id_at;
    let built_in = Some(Schema::BuiltIn(context.release));
    let release = context.release.map_or(String::new(), |release| format!("{release}, "));
    let ours = context.is_proxmox(id);
    let Some(providers) = context.providers else {
        if ours {
            return (built_in, format!("built in ({release}Omni was not asked)"));
        }
        warn_unchecked(id, at, context, report);
        return (None, "unknown (Omni was not asked)".to_owned());
    };
    let Some(provider) = providers.iter().find(|p| p.id == *id) else {
        let names: Vec<&str> = providers.iter().map(|p| p.id.as_str()).collect();
        let message = format!("no provider `{id}` has registered with Omni: Omni rejects the class");
        let fix = match names.is_empty() {
            true => "set it up with `cargo xtask provider-setup`".to_owned(),
            false => domain::nearest::suggestion(id, &names),
        };
        report.error("class-provider-unknown", at, message, fix);
        let source = if ours { "built in (the provider is unknown)" } else { "unknown (the provider is unknown)" };
        return (built_in.filter(|_| ours), source.to_owned());
    };
    if provider.is_static {
        let message = format!("`{id}` is a provider for existing machines");
        let fix = "use a provider that creates machines";
        report.error("class-static-provider", at, message, fix);
    }
    if ours && context.given {
        return (built_in, format!("built in ({release}--provider-version)"));
    }
    match &provider.schema {
        Some(schema) if ours || is_of_proxmox(schema) => {
            (Some(Schema::Live(schema, provider.release)), format!("{id}, from Omni"))
        }
        Some(schema) => (Some(Schema::Other(schema)), format!("{id}, from Omni")),
        None if ours => (built_in, format!("built in ({release}{id} registered without one)")),
        None => {
            if !provider.is_static {
                warn_unchecked(id, at, context, report);
            }
            (None, format!("unknown ({id} registered without one)"))
        }
    }
}

/// Returns true for a schema with the keys that identify the Proxmox provider.
fn is_of_proxmox(schema: &Json) -> bool {
    ["storage_selector", "disk_size"].iter().all(|key| schema.pointer(&format!("/properties/{key}")).is_some())
}

fn warn_unchecked(id: &str, at: Position, context: &ClassContext<'_>, report: &mut Report<'_>) {
    let message = format!("`providerdata` of the provider `{id}` is not checked: its schema is not known");
    // `proxmox-west` is a different provider for someone who has several.
    let fix = match (nearest(id, context.proxmox_ids().filter(|own| !id.starts_with(own))), context.providers) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, None) => "run without --offline to query Omni".to_owned(),
        (None, Some(_)) => "compare it with that provider's documentation".to_owned(),
    };
    report.warning("class-provider-schema", at, message, fix);
}
