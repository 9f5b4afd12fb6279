//! `machineclass-check [name…|--all]`: checks machine classes by the rules of Omni's server and the provider.
//!
//! 1. Finds the files; with `--convert`, rewrites older forms after confirmation.
//! 2. Reads the providers, their schemas and the version of Omni, once. If Omni cannot be queried, uses the built-in table and
//!    `docker/compose.yaml` instead.
//! 3. Checks each file, with two separate results: the server's response to a new class, and our findings.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cli::MachineclassCheck;
use crate::flow::check_report;
use crate::flow::inputs::{self, Input};
use crate::flow::lookup::{self, EffectiveVersion};
use crate::prelude::*;
use check::convert;
use check::machine_class::{self, ClassContext};
use domain::spec::machine_class::MachineClass;

pub fn run(args: &MachineclassCheck, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = (args.convert && cx.paths.is_project()).then(|| cx.lock_checkout()).transpose()?;
    let paths = inputs::resolve_files_or_stdin(cx, Input::MachineClass, &args.name)?;
    let converted = match args.convert {
        true => check_report::convert(cx, &paths, convert::machine_class)?,
        false => check_report::Conversions::default(),
    };
    let [providers, live] = lookup::ask(cx, args.offline, [lookup::PROVIDERS, lookup::RELEASE]);
    let providers = providers.as_deref().map(lookup::parse_providers);
    let around = lookup::project_releases(cx);
    let given = (args.omni_version, "--omni-version");
    let omni = EffectiveVersion::of(given, lookup::running_release(live.as_deref()), around.omni);
    let context = around.class_context(providers.as_deref());
    let provider = EffectiveVersion::of(
        (args.provider_version, "--provider-version"),
        context.reported_release(),
        around.provider,
    );
    let context = ClassContext {
        omni: omni.version,
        release: provider.version,
        given: args.provider_version.is_some(),
        ..context
    };
    lookup::note_versions(cx, &omni, Some(&provider));
    let classes = AtomicUsize::new(0);
    let check = |name: &str, _: &Path, bytes: &[u8]| {
        let checked = machine_class::check(name, bytes, &context);
        classes.fetch_add(checked.value.as_ref().map_or(0, Vec::len), Ordering::Relaxed);
        checked
    };
    let names = |found: Vec<MachineClass>| found.into_iter().map(|class| (class.id, class.place)).collect();
    let checked = check_report::check(cx, &paths, &converted, check, ("machine class", "class-twice", names))?;
    let none = classes.into_inner() == 0;
    // An error already explains why a file has none.
    if none && !checked.iter().flat_map(|file| &file.findings).any(|finding| finding.is_error()) {
        let detail = "a machine class has `type: MachineClasses.omni.sidero.dev` in its metadata";
        cx.ui.note("classes", "the checked files contain no machine class", Status::Warning, detail);
    }
    let examples = args.name.is_empty() && paths.iter().all(|path| inputs::is_example_file(path));
    let next = match none || examples {
        true => "cargo xtask machineclass-create".to_owned(),
        // `machineclass-apply` takes a single name.
        false => format!(
            "cargo xtask machineclass-apply {}",
            inputs::shell_arguments(args.name.get(..1).unwrap_or_default())
        ),
    };
    let versions = json!({ "omni": omni.data(), "provider": provider.data() });
    check_report::report(cx, ("file", versions), &checked, &converted, &args.allow.rules, &next)
}
