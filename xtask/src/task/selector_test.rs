//! `selector-test EXPR|--class NAME`: shows which storages a selector matches, with the provider's semantics.
//!
//! 1. Compiles the selector, or those of a machine class and its additional disks, as the provider does.
//! 2. Reads the storages from a file, or from Proxmox: those of every node, in parallel, as the provider's login sees them.
//! 3. Evaluates each selector for each storage.
//! 4. Warns about what would go wrong: no match on a node, several matches (the provider then uses the one that Proxmox lists
//!    first, in a random order), a match without images, one that is disabled, one that is too small.

use crate::cli::SelectorTest;
use crate::flow::inputs::{self, Input};
use crate::flow::provider;
use crate::flow::selector_results::{self as results, GIB, TestSubject, TestedSelector, Warning};
use crate::prelude::*;
use check::capacity::selector::selector_view;
use domain::spec::{machine_class, provider_data};
use domain::status::proxmox::Storage;
use runtime::proc::quote;
use runtime::ui::table;
use selector::{CompileError, EvalError, Program};

/// With more rows than this, only matches and failures are shown; `--json` has all.
const SHOWN: usize = 200;

pub fn run(args: &SelectorTest, cx: &Cx) -> anyhow::Result<Outcome> {
    let (subjects, pinned, providers) = subjects(args, cx)?;
    let node = args.node.clone().or(pinned);
    let programs: Vec<Result<Program, CompileError>> =
        subjects.iter().map(|subject| selector::compile(&subject.selector)).collect();
    let offline = args.offline || !programs.iter().any(Result::is_ok);
    let of = providers.iter().map(String::as_str);
    let site = match offline || args.storages.is_some() {
        true => cx.clone(),
        false => provider::context_of_machines(cx, of).for_single_provider()?,
    };
    let storages = results::storages(&site, args.storages.as_deref(), node.as_deref(), offline)?;
    // Without storages, the expression is evaluated once with empty values, to check that it compiles.
    let nowhere = storages.is_none();
    let empty = json!({ "name": "", "node": "", "storageType": "", "availableSpace": 0 });
    let places = storages.map_or_else(|| Ok(vec![serde_json::from_value(empty)?]), anyhow::Ok)?;
    let (tested, warnings) = cx.ui.step("evaluate", "Evaluate each selector on each storage", || {
        let result = |program: &Program| places.iter().map(|place| program.matches(&selector_view(place))).collect();
        let tested = subjects.iter().zip(programs).map(|(subject, program)| match program {
            Ok(program) => TestedSelector { subject, results: Ok(result(&program)), program: Some(program) },
            Err(error) => TestedSelector { subject, results: Err(error), program: None },
        });
        let tested: Vec<TestedSelector<'_>> = tested.collect();
        let warnings: Vec<Warning> = if nowhere {
            Vec::new()
        } else {
            tested.iter().flat_map(|each| results::warnings(each, &places)).collect()
        };
        let count = if nowhere { "there is none".to_owned() } else { places.len().to_string() };
        Ok(StepResult::ok((tested, warnings), count))
    })?;
    show(cx, &tested, &places, nowhere);
    report_warnings(cx, &warnings);
    let matched: usize = tested.iter().map(TestedSelector::matches).sum();
    let data = json!({
        "selectors": tested.iter().map(results::describe).collect::<Vec<_>>(),
        "results": tested.iter().flat_map(|each| results::rows(each, &places)).collect::<Vec<_>>(),
        "warnings": warnings,
    });
    if let Some((subject, error)) = tested.iter().find_map(|each| Some((each.subject, each.results.as_ref().err()?))) {
        return Err(results::compile_failure(subject, error).with(data).into());
    }
    if let Some(lost) = tested.iter().find(|tested| !nowhere && tested.matches() == 0) {
        return Err(results::no_match_failure(lost.subject, &places, args.class.as_deref()).with(data).into());
    }
    let no_images = |tested| results::no_images_failure(tested, &places, args.class.as_deref());
    if let Some(failure) = tested.iter().filter(|_| !nowhere).find_map(no_images) {
        return Err(failure.with(data).into());
    }
    let summary = match (nowhere, matched) {
        (true, _) => "it compiles; there was no storage to test it on".to_owned(),
        (false, matched) => format!("{matched} of {} match", count(places.len() * tested.len(), "storage")),
    };
    let next = match &args.class {
        Some(class) => format!("cargo xtask machineclass-check {}", quote(class)),
        None => "cargo xtask machineclass-create".to_owned(),
    };
    Ok(Outcome::done(summary).with(data).next(next))
}

/// Step 1: returns the selectors, the node that the class is pinned to, and the providers of the classes.
fn subjects(args: &SelectorTest, cx: &Cx) -> anyhow::Result<(Vec<TestSubject>, Option<String>, Vec<String>)> {
    let Some(name) = &args.class else {
        let selector = args.expr.clone().unwrap_or_default();
        return Ok((vec![TestSubject { disk: String::new(), selector, size_gib: None }], None, Vec::new()));
    };
    let chosen = inputs::resolve_files_or_stdin(cx, Input::MachineClass, std::slice::from_ref(name))?;
    let (mut subjects, mut pinned, mut providers, mut findings) = (Vec::new(), None, Vec::new(), Vec::new());
    for path in &chosen {
        let shown = cx.paths.show(path);
        let parsed = machine_class::parse(&shown, &inputs::read(cx, path, "check the name")?);
        findings.extend(parsed.findings);
        let classes = parsed.value.unwrap_or_default();
        let one = classes.iter().any(|class| class.id == *name);
        for class in classes.iter().filter(|class| !one || class.id == *name) {
            let Some(provision) = &class.auto_provision else { continue };
            providers.push(provision.provider_id.clone());
            let parsed = provider_data::parse(&shown, provision);
            findings.extend(parsed.findings);
            let Some(data) = parsed.value else { continue };
            let prefix = if classes.len() > 1 && !one { format!("{}: ", class.id) } else { String::new() };
            if let Some(selector) = data.storage_selector {
                subjects.push(TestSubject { disk: format!("{prefix}disk"), selector, size_gib: data.disk_size_gib });
            }
            for (number, disk) in data.additional_disks.into_iter().enumerate() {
                let Some(selector) = disk.storage_selector else { continue };
                let disk_name = format!("{prefix}additional_disks[{number}]");
                subjects.push(TestSubject { disk: disk_name, selector, size_gib: disk.size_gib });
            }
            pinned = pinned.or(data.node.filter(|node| !node.is_empty()));
        }
    }
    if !subjects.is_empty() {
        return Ok((subjects, pinned, providers));
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

/// Reports each kind of warning, limited to the first few.
fn report_warnings(cx: &Cx, warnings: &[Warning]) {
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

/// Prints the tables: node by storage, with the part of the expression that decided.
fn show(cx: &Cx, tested: &[TestedSelector<'_>], places: &[Storage], nowhere: bool) {
    if nowhere || cx.ui.json() {
        return;
    }
    for TestedSelector { subject, results, program } in tested {
        let (Ok(results), Some(program)) = (results, program) else { continue };
        if !subject.disk.is_empty() {
            cx.ui.print_data(&format!("{}: {}", subject.disk, subject.selector));
        }
        let few = places.len() <= SHOWN;
        let shown = places.iter().zip(results).filter(|(_, result)| few || **result != Ok(false));
        let row = |(place, result): (&Storage, &Result<bool, EvalError>)| {
            let said = match result {
                Ok(true) => "match".to_owned(),
                Ok(false) => format!("no: {}", program.explain_mismatch(&selector_view(place))),
                Err(error) => format!("FAILS: {}: {error}", error.part),
            };
            let free = format!("{} GiB", place.available / GIB);
            vec![place.node.clone(), place.name.clone(), place.kind.clone(), free, said]
        };
        let rows: Vec<Vec<String>> = shown.take(SHOWN).map(row).collect();
        cx.ui.print_states(&table(&["NODE", "STORAGE", "TYPE", "FREE", "RESULT"], &rows));
        if rows.len() < places.len() {
            cx.ui.print_data(&format!("not shown: {}", count(places.len() - rows.len(), "more storage")));
        }
    }
}
