//! Syncs cluster templates: what a sync would do according to omnictl, and the changes that carry it out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::flow::change::{self, retry_overtaken};
use crate::flow::impact::{self, Impacts};
use crate::flow::inputs::{self, Template};
use crate::flow::project_files::CheckedFile;
use crate::flow::saved_plan::{self, PlanFile};
use crate::flow::stage::{self, Staged};
use crate::flow::{cluster, cluster_deletion, explain, lookup, project_files, timeline};
use crate::prelude::*;
use domain::saved_plan::{FIT, PlanBinding, describe_differences, hash};
use domain::spec::template::ClusterTemplate;
use domain::status::omni::Resource;
use domain::status::sync::{SyncAction, sync_actions, sync_diffs};
use runtime::files::Scratch;
use runtime::parallel::run_both;
use runtime::tool::omnictl::Omnictl;
use runtime::tool::role;
use runtime::ui::Check;

/// Syncs the templates in `files`: checks and compares them, asks for confirmation of one plan, carries it out and verifies it.
///
/// # Errors
/// Returns an error if a template is invalid, or its cluster is being destroyed or is locked; otherwise as [`compare_and_check`],
/// [`PlanFile::write_or_compare`] and [`Plan::run`].
pub fn run(
    cx: &Cx,
    files: &[PathBuf],
    (no_wait, allow): (bool, &[&'static str]),
    saved: PlanFile<'_>,
) -> anyhow::Result<Outcome> {
    let found = inputs::refuse_invalid_templates(cx, files, allow)?;
    let names: Vec<&str> = found.iter().map(Template::name).collect();
    cx.check_writable(&[cx.paths.state()])?;
    let omnictl = if saved.is_write_only() { Omnictl::find(cx)? } else { change::omnictl(cx)? };
    let ask = || lookup::TemplateSources::read_sources(cx, false, None);
    let (sources, existing) = run_both(ask, || cluster::refuse_destroyed(&omnictl, &names));
    let templates = inputs::read_templates(cx, files, &sources.facts(), allow)?;
    let existing = existing?;
    let (_stage, staged) = stage::copy_templates(cx, &templates)?;
    let (diffs, impacts) =
        compare_and_check(cx, &omnictl, &existing, (&templates, &staged), sources.classes.as_deref())?;
    let actions: Vec<&SyncAction> = diffs.iter().flat_map(|diff| &diff.actions).collect();
    let mut data = json!({
        "clusters": names, "actions": actions, "allowed": allow,
        "new_machines": impacts.new_machines, "new_machines_fit": impacts.fits,
    });
    let changed: Vec<&str> = diffs.iter().filter(|diff| !diff.in_sync()).map(TemplateDiff::name).collect();
    let fits = match impacts.fits {
        Some(true) => FIT,
        Some(false) => "they do not fit",
        None => "whether they fit is unknown",
    };
    let fits = (!impacts.new_machines.is_empty()).then_some(fits);
    let plan = plan(cx, &omnictl, &diffs, impacts, no_wait);
    let grounds = plan_basis(cx, omnictl.endpoint(), allow, (&templates, &diffs, fits), sources.classes.as_deref());
    if let Some(written) = saved.write_or_compare(cx, &plan, grounds)? {
        return Ok(written.and(data));
    }
    plan.carry_out(cx, &sync_question(&changed), &data)?;
    let Some(first) = changed.first() else {
        // Without the wait, it is unknown whether they run.
        let next = match names.as_slice() {
            [one] if no_wait => format!("cargo xtask cluster-explain {one}"),
            _ if no_wait => "cargo xtask cluster-explain".to_owned(),
            _ => "cargo xtask cluster-status".to_owned(),
        };
        return Ok(Outcome::done(in_sync(&names)).with(data).next(next));
    };
    if !no_wait {
        data["timeline"] = json!(timeline::rows_of_new(cx, &omnictl, &changed));
    }
    let summary = match changed.as_slice() {
        [one] if no_wait => format!("cluster `{one}` is synced; did not wait for it"),
        [one] => format!("cluster `{one}` is synced, Running and ready"),
        many => format!("{} clusters synced", many.len()),
    };
    Ok(Outcome::done(summary).with(data).next(format!("cargo xtask cluster-status {first}")))
}

/// What would be synced, as a question.
fn sync_question(changed: &[&str]) -> String {
    match changed {
        [one] => format!("Sync cluster `{one}` as shown"),
        many if many.len() > 5 => format!("Sync {} clusters as shown", many.len()),
        many => format!("Sync the clusters `{}` as shown", many.join("`, `")),
    }
}

fn in_sync(names: &[&str]) -> String {
    match names {
        [one] => format!("cluster `{one}` is in sync; nothing to change"),
        many => format!("{} clusters are in sync; nothing to change", many.len()),
    }
}

/// What the plan is based on: the templates with their files, the machine classes that they use, and what omnictl would do to
/// each resource. Its diff and the template together determine what is in Omni now.
fn plan_basis(
    cx: &Cx,
    omni: &str,
    allow: &[&'static str],
    (templates, diffs, fits): (&[Template], &[TemplateDiff<'_>], Option<&str>),
    classes: Option<&[Resource]>,
) -> PlanBinding {
    let mut grounds = saved_plan::plan_binding(cx, omni, allow, templates.iter().map(|template| &template.file));
    for template in templates {
        let dir = template.file.path.parent().unwrap_or(Path::new("."));
        for (name, bytes) in &template.beside {
            saved_plan::bind_file(cx, &mut grounds, &CheckedFile { path: dir.join(name), bytes: bytes.clone() });
        }
        for class in template.template.sets.iter().filter_map(|set| set.class.as_ref()) {
            saved_plan::bind_resource(&mut grounds, "machine class", &class.name, classes.unwrap_or_default());
        }
    }
    grounds.bound.extend(fits.map(|fits| ("new machines".to_owned(), fits.to_owned())));
    diffs.iter().for_each(|diff| grounds.bound.extend(diff_hashes(&diff.printed)));
    grounds
}

/// What omnictl would do to each resource, with the hash of the diff.
fn diff_hashes(printed: &str) -> BTreeMap<String, String> {
    let actions = sync_actions(printed).into_iter().zip(sync_diffs(printed));
    actions.map(|(action, diff)| (action.describe(), hash(diff.as_bytes()))).collect()
}

/// A template, and what a sync of it would do.
pub struct TemplateDiff<'a> {
    pub template: &'a Template,
    /// The copy that omnictl reads.
    staged: &'a Staged,
    pub actions: Vec<SyncAction>,
    /// omnictl's output, with diffs.
    printed: String,
}

/// Minimum number of templates for comparing several in one start of omnictl: each start costs 25 to 40 ms of processor time,
/// which is most of what a comparison takes (docs/benchmarks.md).
const MIN_GROUPED: usize = 24;
/// How many such starts run in parallel: each needs tens of megabytes.
const MAX_GROUPS: usize = 3;

/// Compares each template with Omni, in parallel.
///
/// # Errors
/// Returns the error for the first file that omnictl rejects, after all were tried.
pub fn compare<'a>(
    cx: &Cx,
    omnictl: &Omnictl<'_>,
    templates: &'a [Template],
    staged: &'a [Staged],
) -> anyhow::Result<Vec<TemplateDiff<'a>>> {
    let scratch = Scratch::new(&cx.paths.scratch_root(), "sync")?;
    let checks = group_templates(templates).into_iter().enumerate().map(|(number, group)| {
        let stage = scratch.path().join(number.to_string());
        let name = |at: usize| templates[at].name();
        let title = match group.as_slice() {
            [first, .., last] => {
                format!("Compare {} clusters, `{}` to `{}`, with Omni", group.len(), name(*first), name(*last))
            }
            group => format!("Compare cluster `{}` with Omni", group.first().map_or("", |at| name(*at))),
        };
        Check::new("compare", title, move || {
            let group: Vec<(usize, &Template, &Staged)> =
                group.into_iter().map(|at| (at, &templates[at], &staged[at])).collect();
            let printed = sync_plans(cx, omnictl, &group, &stage)?;
            let diff = |((at, template, staged), printed)| (at, TemplateDiff::read(cx, template, staged, printed));
            let diffs: Vec<(usize, TemplateDiff<'_>)> = group.into_iter().zip(printed).map(diff).collect();
            let detail = match diffs.iter().map(|(_, diff)| diff.actions.len()).sum() {
                0 => "in sync".to_owned(),
                differences => count(differences, "difference"),
            };
            Ok(StepResult::ok(diffs, detail))
        })
    });
    let compared = cx.ui.run_checks("comparing with Omni", checks.collect());
    let mut diffs: Vec<_> = compared.into_iter().collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten().collect();
    diffs.sort_by_key(|(at, _)| *at);
    Ok(diffs.into_iter().map(|(_, diff)| diff).collect())
}

/// Groups templates for comparison in one start of omnictl. Templates that refer to files stay alone: the files are next to them.
fn group_templates(templates: &[Template]) -> Vec<Vec<usize>> {
    let all = 0..templates.len();
    if templates.len() < MIN_GROUPED {
        return all.map(|at| vec![at]).collect();
    }
    let (alone, together): (Vec<usize>, Vec<usize>) = all.partition(|at| refers_to_files(&templates[*at].template));
    let size = together.len().div_ceil(MAX_GROUPS).max(1);
    together.chunks(size).chain(alone.chunks(1)).map(<[usize]>::to_vec).collect()
}

/// Returns true if a template takes patches, manifests or jobs from files.
fn refers_to_files(template: &ClusterTemplate) -> bool {
    !template.files().is_empty()
}

/// Returns omnictl's output for a sync of each template. A rejected group is compared file by file, for the name in the error.
fn sync_plans(
    cx: &Cx,
    omnictl: &Omnictl<'_>,
    group: &[(usize, &Template, &Staged)],
    stage: &Path,
) -> Result<Vec<String>, Failure> {
    if group.len() > 1 {
        let files: Vec<&Path> = group.iter().map(|(_, _, staged)| staged.file.as_path()).collect();
        match omnictl.sync_plans(&files, stage) {
            Err(failure) if matches!(failure.code, Code::Interrupted | Code::Timeout | Code::Unreachable) => {
                return Err(failure);
            }
            Err(_) => {}
            printed => return printed,
        }
    }
    let one = |(_, template, staged): &(usize, &Template, &Staged)| {
        let original = |failure| stage::unstage(cx, failure, &staged.file, &template.file.path);
        omnictl.sync_plan(&staged.file).map_err(original)
    };
    group.iter().map(one).collect()
}

impl<'a> TemplateDiff<'a> {
    fn read(cx: &Cx, template: &'a Template, staged: &'a Staged, printed: String) -> TemplateDiff<'a> {
        let printed = with_original_path(cx, template, staged, &printed);
        TemplateDiff { template, staged, actions: sync_actions(&printed), printed }
    }

    pub fn name(&self) -> &'a str {
        self.template.name()
    }

    pub fn in_sync(&self) -> bool {
        self.actions.is_empty()
    }

    fn destroys(&self) -> bool {
        self.actions.iter().any(SyncAction::destroys)
    }

    /// Refuses a sync that would no longer do what was shown: somebody may have changed the cluster meanwhile.
    ///
    /// # Errors
    /// Fails with [`Code::Conflict`] and everything that was not shown, or if omnictl fails.
    pub fn refuse_if_changed(&self, cx: &Cx, omnictl: &Omnictl<'_>) -> Result<(), Failure> {
        let now = with_original_path(cx, self.template, self.staged, &omnictl.sync_plan(&self.staged.file)?);
        let changed = describe_differences(&diff_hashes(&self.printed), &diff_hashes(&now));
        if changed.is_empty() { Ok(()) } else { Err(changed_since_plan(self.name(), &changed)) }
    }

    /// Shows the changes in omnictl's format.
    fn show(&self, cx: &Cx) {
        if !self.printed.trim().is_empty() {
            cx.ui.print_data(self.printed.trim_end());
        }
    }
}

/// Replaces the path of the copy in omnictl's output with that of the original.
fn with_original_path(cx: &Cx, template: &Template, staged: &Staged, printed: &str) -> String {
    printed.replace(staged.file.to_string_lossy().as_ref(), &cx.paths.show(&template.file.path))
}

/// The failure of a sync that would undo what somebody else did after the plan was made.
pub fn changed_since_plan(name: &str, changed: &[String]) -> Failure {
    Failure::new(Code::Conflict, format!("cluster `{name}` has changed in Omni since the plan was made"))
        .cause(format!("a sync would now do this: {}; nothing was synced", changed.join(", ")))
        .hint("someone else is changing this cluster: run the command again and check the new plan")
}

/// Compares templates with Omni, shows what a sync would do and its impact, and refuses what Omni or the login would refuse.
/// `existing` are those of their clusters that Omni has. A dry run also shows changes that the login is not allowed to make.
///
/// # Errors
/// As [`compare`] and [`role::check_may_change`]; [`Code::Conflict`] for a locked cluster or a machine set that is being destroyed.
pub fn compare_and_check<'a>(
    cx: &Cx,
    omnictl: &Omnictl<'_>,
    existing: &[Resource],
    (templates, staged): (&'a [Template], &'a [Staged]),
    classes: Option<&[Resource]>,
) -> anyhow::Result<(Vec<TemplateDiff<'a>>, Impacts)> {
    let diffs = compare(cx, omnictl, templates, staged)?;
    refuse_locked_or_destroyed(omnictl, existing, &diffs)?;
    let impacts = impact::of(cx, omnictl, &diffs, classes)?;
    diffs.iter().for_each(|diff| diff.show(cx));
    if !cx.dry_run {
        check_role(omnictl, &diffs)?;
    }
    Ok((diffs, impacts))
}

/// Refuses to change clusters that the login may only read.
///
/// # Errors
/// As [`role::check_may_change`].
pub fn check_role(omnictl: &Omnictl<'_>, diffs: &[TemplateDiff<'_>]) -> Result<(), Failure> {
    let names: Vec<&str> = diffs.iter().filter(|diff| !diff.in_sync()).map(TemplateDiff::name).collect();
    if names.is_empty() { Ok(()) } else { role::check_may_change(omnictl, &names) }
}

/// The syncs of the templates that differ. Clusters in sync must run in the end, too: the run that synced them may have been
/// interrupted during its wait.
pub fn plan<'a>(
    cx: &Cx,
    omnictl: &'a Omnictl<'_>,
    diffs: &'a [TemplateDiff<'_>],
    impacts: Impacts,
    no_wait: bool,
) -> Plan<'a> {
    let mut plan = Plan::default();
    for (diff, impact) in diffs.iter().zip(impacts.clusters).filter(|(diff, _)| !diff.in_sync()) {
        let mut effects: Vec<String> = diff.actions.iter().map(SyncAction::describe).collect();
        effects.extend(impact.effects);
        let shown = cx.paths.show(&diff.template.file.path);
        let new = diff.actions.iter().any(|action| action.verb == "create" && action.kind == "Clusters");
        let called = diff.template.file.path.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
        // The file in `clusters/` is named after another cluster than its template.
        let exists = |name: &str| matches!(omnictl.get("clusters", name), Ok(Some(_)));
        let own_place = diff.template.file.path == cx.paths.cluster(&called);
        if new && called != diff.name() && own_place && exists(&called) {
            let effect = format!(
                "`{shown}` creates a NEW cluster `{}`; `{called}` keeps running without a template",
                diff.name()
            );
            effects.insert(0, effect);
        }
        let undo = match (new, impact.destroys.is_empty()) {
            (true, _) => format!("omnictl cluster delete {}", diff.name()),
            (false, true) => format!("restore `{shown}` and sync again"),
            (false, false) => format!("restore `{shown}` and sync again; destroyed machines do not come back"),
        };
        let object = format!("cluster {}", diff.name());
        let sync = Change::new("sync", object, effects.join(", "), undo, |cx| Ok(sync(cx, omnictl, diff)?))
            .with_destroyed(diff.name(), impact.destroys)
            .with_verification(move |cx| verify(cx, omnictl, diff, no_wait));
        plan.push(sync);
    }
    if !no_wait {
        let settled: Vec<&TemplateDiff<'_>> = diffs.iter().filter(|diff| diff.in_sync()).collect();
        plan.verify(move |cx| verify_settled(cx, omnictl, &settled));
    }
    plan.record(|state| diffs.iter().for_each(|diff| state.add_to_list("clusters", diff.name())));
    plan
}

fn sync(cx: &Cx, omnictl: &Omnictl<'_>, diff: &TemplateDiff<'_>) -> Result<String, Failure> {
    let Staged { file, unchanged } = diff.staged;
    unchanged.iter().try_for_each(|checked| project_files::refuse_if_changed(cx, checked))?;
    let sync = || {
        diff.refuse_if_changed(cx, omnictl)?;
        match diff.destroys() {
            true => cluster_deletion::run_showing_cluster(cx, omnictl, diff.name(), || omnictl.sync(file)),
            false => omnictl.sync(file),
        }
    };
    let printed = retry_overtaken(sync).map_err(|failure| {
        explain_timeout(cx, omnictl, diff, stage::unstage(cx, failure, file, &diff.template.file.path))
    })?;
    let changes = printed.lines().filter(|line| line.starts_with("* ")).count();
    Ok(format!("{} made", count(changes, "change")))
}

/// Explains a sync that timed out: something does not go away, and omnictl does not report why.
fn explain_timeout(cx: &Cx, omnictl: &Omnictl<'_>, diff: &TemplateDiff<'_>, failure: Failure) -> Failure {
    if failure.code != Code::Timeout || !diff.destroys() {
        return failure;
    }
    let explained = explain::add_cause(cx, omnictl, failure.clone(), diff.name(), None);
    if explained == failure {
        return failure;
    }
    let hint = format!("{}; {}", explained.hint.trim_end_matches('.'), failure.hint);
    explained.hint(hint)
}

/// Waits until the cluster runs, unless `no_wait`, and compares it with its template once more.
fn verify(cx: &Cx, omnictl: &Omnictl<'_>, diff: &TemplateDiff<'_>, no_wait: bool) -> anyhow::Result<()> {
    let name = diff.name();
    if !no_wait {
        cx.ui.step("running", format!("Check that cluster `{name}` runs"), || {
            let view = cluster::wait_until_running(cx, omnictl, name)?;
            Ok(StepResult::ok((), format!("Running and ready, {}", count(view.machines().count(), "machine"))))
        })?;
    }
    cx.ui.step("proof", format!("Check that cluster `{name}` matches its template"), || {
        let left = sync_actions(&omnictl.sync_plan(&diff.staged.file)?);
        if left.is_empty() {
            return Ok(StepResult::ok((), "no difference left"));
        }
        let words: Vec<String> = left.iter().map(SyncAction::describe).collect();
        Err(Failure::new(Code::Failed, format!("cluster `{name}` still differs from its template"))
            .cause(words.join(", "))
            .hint("someone else may be changing it, or Omni silently dropped part of the template")
            .into())
    })
}

/// As [`verify`], for clusters in sync. Several are first checked together; only those not running are checked individually.
fn verify_settled(cx: &Cx, omnictl: &Omnictl<'_>, settled: &[&TemplateDiff<'_>]) -> anyhow::Result<()> {
    let running = match settled {
        [] | [_] => BTreeSet::new(),
        many => cx.ui.step("running", format!("Check {} clusters that are in sync", many.len()), || {
            let names = many.iter().map(|diff| diff.name()).collect();
            let running = cluster::running_clusters(cx, omnictl, &names)?;
            let detail = format!("{} of {} Running and ready", running.len(), many.len());
            Ok(StepResult::ok(running, detail))
        })?,
    };
    let unknown = settled.iter().filter(|diff| !running.contains(diff.name()));
    unknown.into_iter().try_for_each(|diff| verify(cx, omnictl, diff, false))
}

/// Refuses to change a locked cluster, or a machine set that is being destroyed but is in its template again.
fn refuse_locked_or_destroyed(
    omnictl: &Omnictl<'_>,
    existing: &[Resource],
    diffs: &[TemplateDiff<'_>],
) -> Result<(), Failure> {
    let locked =
        |name: &str| existing.iter().any(|it| it.metadata.id == name && it.metadata.has_annotation("cluster-locked"));
    if let Some(diff) = diffs.iter().find(|diff| !diff.in_sync() && locked(diff.name())) {
        return Err(cluster::locked_failure(diff.name(), "rejects changes to it"));
    }
    let updates = |diff: &TemplateDiff<'_>, set: Option<&str>| {
        let of = |action: &&SyncAction| action.verb == "update" && action.kind == "MachineSets";
        diff.actions.iter().filter(of).any(|action| set.is_none_or(|set| action.id == set))
    };
    if !diffs.iter().any(|diff| updates(diff, None)) {
        return Ok(());
    }
    for set in omnictl.list("machinesets", None)?.iter().filter(|set| set.metadata.tearing_down()) {
        if let Some(diff) = diffs.iter().find(|diff| updates(diff, Some(&set.metadata.id))) {
            return Err(cluster::destroyed_set_failure(&set.metadata.id, diff.name()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::spec::template;

    #[test]
    fn only_the_file_key_refers_to_a_file() {
        let named = |text: &str| {
            let text = format!(
                "kind: Cluster\nname: a\nkubernetes: {{version: v1.36.2}}\ntalos: {{version: v1.13.5}}\n{text}"
            );
            refers_to_files(&template::parse("a.yaml", text.as_bytes()).value.unwrap())
        };
        for text in [
            "# patches: [{file: old.yaml}]\n",
            "labels: {note: 'file: none'}\n",
            "patches: [{name: a, inline: {machine: {files: [{path: /a, content: 'file: b'}]}}}]\n",
        ] {
            assert!(!named(text), "{text}");
        }
        for text in
            ["patches: [{file: a.yaml}]\n", "patches:\n  - \"file\" : a.yaml\n", "patches: [{? file : a.yaml}]\n"]
        {
            assert!(named(text), "{text}");
        }
    }
}
