//! `cluster-sync [name…|--all]`: brings cluster templates to Omni.
//!
//! 1. The files are checked; an error that is not allowed ends it here, before Omni is asked.
//! 2. Omni is asked what `cluster-check` asks it, its classes and versions, and the files are checked by that.
//! 3. No cluster is being destroyed. omnictl validates them and says what a sync would do; nothing to do is a good end.
//! 4. The login may make these changes. The operator sees what would change: machines that are made or destroyed, upgrades.
//! 5. The sync, of exactly the bytes that were checked.
//! 6. Omni says Running and ready, also of what was in sync already: the run that synced it may have been interrupted in its wait. A second comparison finds no difference.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::cluster_status;
use crate::cli::ClusterSync;
use crate::flow::apply::{self, Applied};
use crate::flow::impact::{self, Impacts};
use crate::flow::inputs::Template;
use crate::flow::obstacle::{self, Watch};
use crate::flow::stage::{self, Stage, Staged};
use crate::flow::{inputs, lookup};
use crate::outcome::Outcome;
use domain::failure::{Code, Failure};
use domain::plan::{Action, Plan};
use domain::spec::template::ClusterTemplate;
use domain::status::cluster::ClusterView;
use domain::status::sync::{SyncAction, sync_actions};
use domain::words::count;
use runtime::cx::Cx;
use runtime::files::Scratch;
use runtime::tool::omnictl::Omnictl;
use runtime::tool::role;
use runtime::ui::{Check, Done};
use runtime::wait::{self, Look};

/// Six machines take the real provider a minute and a half to make; images, boots and bootstraps take the rest.
pub const RUNNING: Duration = Duration::from_secs(30 * 60);

/// A template and what a sync of it would do.
pub struct Wanted {
    pub name: String,
    /// The copy that omnictl reads.
    pub file: PathBuf,
    pub actions: Vec<SyncAction>,
    /// omnictl's own words, with diffs.
    pub said: String,
}

pub fn run(args: &ClusterSync, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let files = inputs::chosen(&args.name, args.all, &cx.paths.clusters(), "cluster", |name| cx.paths.cluster(name))?;
    let files = if args.all { inputs::without_examples(cx, files, "cluster", "cluster-sync")? } else { files };
    inputs::refuse_wrong_templates(cx, &files, &args.allow)?;
    cx.writable(&[cx.paths.state()])?;
    if let Some(planned) = apply::omnictl_on_need(cx)? {
        return Ok(planned);
    }
    let omnictl = Omnictl::find(cx)?;
    let around = lookup::Templates::ask(cx, false);
    let templates = inputs::templates(cx, &files, &around.known(), &args.allow)?;
    refuse_destroyed(&omnictl, &templates.iter().map(Template::name).collect::<Vec<_>>())?;
    let (_stage, staged) = Stage::of_templates(cx, &templates)?;
    let wanted = compare(cx, &omnictl, &templates, &staged)?;
    refuse_destroyed_sets(&omnictl, &wanted)?;
    let impacts = impact::of(cx, &omnictl, &syncs(&templates, &wanted), around.classes.as_deref())?;
    let plan = plan(cx, &templates, staged, &wanted, &impacts);
    let names: Vec<&str> = wanted.iter().map(|each| each.name.as_str()).collect();
    let actions: Vec<&SyncAction> = wanted.iter().flat_map(|each| &each.actions).collect();
    let data = json!({
        "clusters": names, "actions": actions, "allowed": args.allow,
        "new_machines": impacts.new_machines, "new_machines_fit": impacts.fits,
    });
    show(cx, &wanted);
    if !cx.dry_run {
        may_change(&omnictl, &wanted)?;
    }
    let question = question(&wanted);
    if let Applied::Planned(outcome) = apply::run(cx, &plan, &question).map_err(|error| of_sync(cx, error, &wanted))? {
        return Ok(outcome.and(data));
    }
    let (settled, changed): (Vec<&Wanted>, Vec<&Wanted>) = wanted.iter().partition(|each| each.actions.is_empty());
    for each in &changed {
        prove(cx, &omnictl, each, args.no_wait)?;
    }
    if !cx.dry_run && !args.no_wait {
        prove_again(cx, &omnictl, &settled)?;
    }
    remember(cx, &names)?;
    let Some(first) = changed.first() else {
        return Ok(Outcome::done(in_sync(&names)).with(data).next("cargo xtask cluster-status"));
    };
    let summary = match changed.as_slice() {
        [one] if args.no_wait => format!("cluster `{}` is synced; it was not waited for", one.name),
        [one] => format!("cluster `{}` is synced, Running and ready", one.name),
        many => format!("{} clusters synced", many.len()),
    };
    Ok(Outcome::done(summary).with(data).next(format!("cargo xtask cluster-status {}", first.name)))
}

/// What would be synced, in the form of a question.
fn question(wanted: &[Wanted]) -> String {
    let names: Vec<String> =
        wanted.iter().filter(|each| !each.actions.is_empty()).map(|each| format!("`{}`", each.name)).collect();
    match names.as_slice() {
        [one] => format!("Sync cluster {one} as shown"),
        many if many.len() > 5 => format!("Sync {} clusters as shown", many.len()),
        many => format!("Sync the clusters {} as shown", many.join(", ")),
    }
}

/// Each template with its actions.
pub fn syncs<'a>(templates: &'a [Template], wanted: &'a [Wanted]) -> Vec<(&'a Template, &'a [SyncAction])> {
    templates.iter().zip(wanted).map(|(template, wanted)| (template, wanted.actions.as_slice())).collect()
}

fn in_sync(names: &[&str]) -> String {
    match names {
        [one] => format!("cluster `{one}` is in sync; nothing to change"),
        many => format!("{} clusters are in sync; nothing to change", many.len()),
    }
}

/// From how many templates on several are compared in one start of omnictl: each start costs it 25 to 40 ms of processor
/// time, which is most of what a comparison takes (docs/benchmarks.md).
const MANY: usize = 24;
/// How many starts are then made of them: twice as many as run side by side, so that a slow one holds nobody up.
const GROUPS: usize = 16;

/// Step 3, for all files side by side.
///
/// # Errors
/// The first file that omnictl does not take, after all were tried.
pub fn compare(
    cx: &Cx,
    omnictl: &Omnictl<'_>,
    templates: &[Template],
    staged: &[Staged],
) -> anyhow::Result<Vec<Wanted>> {
    if templates.len() >= MANY {
        return compare_many(cx, omnictl, templates, staged);
    }
    let checks = templates.iter().zip(staged).map(|(template, staged)| {
        let name = template.name();
        Check::new("compare", format!("Compare cluster `{name}` with Omni"), move || {
            let wanted = read(cx, template, staged, sync_plan(cx, omnictl, template, staged)?);
            let detail = differences(wanted.actions.len());
            Ok(Done::ok(wanted, detail))
        })
    });
    cx.ui.side_by_side("comparing with Omni", checks.collect()).into_iter().collect()
}

/// The same in few starts of omnictl. A template that names files, and a group that omnictl does not take as one, are asked
/// for file by file: the files are looked up beside the template, and the error names it.
fn compare_many(
    cx: &Cx,
    omnictl: &Omnictl<'_>,
    templates: &[Template],
    staged: &[Staged],
) -> anyhow::Result<Vec<Wanted>> {
    let scratch = Scratch::new(&cx.paths.scratch_root(), "sync")?;
    let stage = scratch.path();
    let (alone, together): (Vec<usize>, Vec<usize>) =
        (0..templates.len()).partition(|at| names_files(&templates[*at].template));
    let groups = together.chunks(together.len().div_ceil(GROUPS).max(1)).chain(alone.chunks(1));
    let checks = groups.enumerate().map(|(number, group)| {
        let stage = stage.join(number.to_string());
        let (first, last) = (templates[group[0]].name(), templates[group[group.len() - 1]].name());
        let title = match group.len() {
            1 => format!("Compare cluster `{first}` with Omni"),
            count => format!("Compare {count} clusters, `{first}` to `{last}`, with Omni"),
        };
        Check::new("compare", title, move || {
            let files: Vec<&Path> = group.iter().map(|at| staged[*at].file.as_path()).collect();
            let one = |at: &usize| sync_plan(cx, omnictl, &templates[*at], &staged[*at]);
            let one_by_one = || group.iter().map(one).collect::<Result<Vec<_>, _>>();
            let said = match group {
                [_] => one_by_one()?,
                _ => match omnictl.sync_plans(&files, &stage) {
                    Err(failure) if matches!(failure.code, Code::Interrupted | Code::Timeout | Code::Unreachable) => {
                        return Err(failure.into());
                    }
                    Err(_) => one_by_one()?,
                    Ok(said) => said,
                },
            };
            let read = |(at, said): (&usize, String)| (*at, read(cx, &templates[*at], &staged[*at], said));
            let wanted: Vec<(usize, Wanted)> = group.iter().zip(said).map(read).collect();
            let detail = differences(wanted.iter().map(|(_, each)| each.actions.len()).sum());
            Ok(Done::ok(wanted, detail))
        })
    });
    let compared: anyhow::Result<Vec<Vec<(usize, Wanted)>>> =
        cx.ui.side_by_side("comparing with Omni", checks.collect()).into_iter().collect();
    drop(scratch);
    let mut wanted: Vec<(usize, Wanted)> = compared?.into_iter().flatten().collect();
    wanted.sort_by_key(|(at, _)| *at);
    Ok(wanted.into_iter().map(|(_, each)| each).collect())
}

/// Whether a template takes patches, manifests or jobs from files.
fn names_files(template: &ClusterTemplate) -> bool {
    !template.files().is_empty()
}

/// What a sync of one template would do, in omnictl's words; a failure names the operator's file.
fn sync_plan(cx: &Cx, omnictl: &Omnictl<'_>, template: &Template, staged: &Staged) -> Result<String, Failure> {
    omnictl.sync_plan(&staged.file).map_err(|failure| stage::named(cx, failure, &staged.file, &template.file.path))
}

fn read(cx: &Cx, template: &Template, staged: &Staged, said: String) -> Wanted {
    // Its progress names the copy.
    let said = said.replace(staged.file.to_string_lossy().as_ref(), &cx.paths.show(&template.file.path));
    Wanted { name: template.name().to_owned(), file: staged.file.clone(), actions: sync_actions(&said), said }
}

fn differences(count: usize) -> String {
    match count {
        0 => "in sync".to_owned(),
        1 => "1 difference".to_owned(),
        count => format!("{count} differences"),
    }
}

/// The syncs, of those that have something to change. The lists are of the same templates, in the same order.
pub fn plan(cx: &Cx, templates: &[Template], staged: Vec<Staged>, wanted: &[Wanted], impacts: &Impacts) -> Plan {
    let mut plan = Plan::default();
    for (((template, staged), wanted), impact) in templates.iter().zip(staged).zip(wanted).zip(&impacts.clusters) {
        if wanted.actions.is_empty() {
            continue;
        }
        let mut words: Vec<String> = wanted.actions.iter().map(SyncAction::words).collect();
        words.extend(impact.effects.clone());
        let shown = cx.paths.show(&template.file.path);
        let new = wanted.actions.iter().any(|action| action.verb == "create" && action.kind == "Clusters");
        let undo = match (new, impact.destroys.is_empty()) {
            (true, _) => format!("omnictl cluster delete {}", wanted.name),
            (false, true) => format!("restore `{shown}` and sync again"),
            (false, false) => format!("restore `{shown}` and sync again; destroyed machines do not come back"),
        };
        let Staged { file, unchanged } = staged;
        let action = Action::Sync { file, original: template.file.path.clone(), unchanged };
        let destroyed = (wanted.name.clone(), impact.destroys.clone());
        plan.push_destroying("sync", format!("cluster {}", wanted.name), words.join(", "), undo, action, destroyed);
    }
    plan
}

/// What would change, as omnictl shows it.
fn show(cx: &Cx, wanted: &[Wanted]) {
    for each in wanted {
        if !each.said.trim().is_empty() {
            cx.ui.data(each.said.trim_end());
        }
    }
}

/// Whether the login may bring these differences to Omni; there may be none.
fn may_change(omnictl: &Omnictl<'_>, wanted: &[Wanted]) -> Result<(), Failure> {
    let names: Vec<&str> =
        wanted.iter().filter(|each| !each.actions.is_empty()).map(|each| each.name.as_str()).collect();
    if names.is_empty() { Ok(()) } else { role::may_change(omnictl, &names) }
}

/// A sync that did not end: what it tears down does not go, and omnictl does not say why.
pub fn of_sync(cx: &Cx, error: anyhow::Error, wanted: &[Wanted]) -> anyhow::Error {
    let failure = Failure::of(&error);
    if failure.code != Code::Timeout {
        return error;
    }
    let own = failure.hint.clone();
    let Ok(omnictl) = Omnictl::find(cx) else { return error };
    for each in wanted.iter().filter(|each| each.actions.iter().any(SyncAction::destroys)) {
        let view = cluster_status::observe(&omnictl, &each.name).ok().flatten();
        let obstacles = view.as_ref().map(|view| obstacle::find(cx, &omnictl, view)).unwrap_or_default();
        let mut named = failure.clone();
        if let Some(first) = obstacles.first().filter(|first| first.lasting) {
            named.cause.push_str(&format!("\n{}", first.line()));
        }
        let explained = obstacle::explain(cx, named, &each.name, view.as_ref(), &obstacles);
        if explained != failure {
            let hint = format!("{} {own}", explained.hint);
            return explained.hint(hint).into();
        }
    }
    error
}

/// Step 6.
///
/// # Errors
/// [`Code::Timeout`] with what the cluster waits for; [`Code::Failed`] when it differs from its template all the same.
pub fn prove(cx: &Cx, omnictl: &Omnictl<'_>, wanted: &Wanted, no_wait: bool) -> anyhow::Result<()> {
    if !no_wait {
        cx.ui.step("running", format!("cluster `{}` runs", wanted.name), || {
            let view = wait_until_running(cx, omnictl, &wanted.name)?;
            let machines = view.machines().count();
            Ok(Done::ok((), format!("Running and ready, {}", count(machines, "machine"))))
        })?;
    }
    cx.ui.step("proof", format!("cluster `{}` is as its template says", wanted.name), || {
        let left = sync_actions(&omnictl.sync_plan(&wanted.file)?);
        if left.is_empty() {
            return Ok(Done::ok((), "no difference left"));
        }
        let words: Vec<String> = left.iter().map(SyncAction::words).collect();
        Err(Failure::new(Code::Failed, format!("cluster `{}` still differs from its template", wanted.name))
            .cause(words.join(", "))
            .hint("somebody else may be changing it, or Omni silently dropped a part of the template")
            .into())
    })
}

/// Step 6 for what is in sync already. Many clusters are looked at together: those that run are not asked for one by one.
fn prove_again(cx: &Cx, omnictl: &Omnictl<'_>, settled: &[&Wanted]) -> anyhow::Result<()> {
    let running = match settled {
        [] | [_] => BTreeSet::new(),
        many => cx.ui.step("running", format!("{} clusters that are in sync", many.len()), || {
            let names = many.iter().map(|each| each.name.as_str()).collect();
            let running = cluster_status::running(omnictl, &names)?;
            let detail = format!("{} of {} Running and ready", running.len(), many.len());
            Ok(Done::ok(running, detail))
        })?,
    };
    for each in settled.iter().filter(|each| !running.contains(&each.name)) {
        prove(cx, omnictl, each, false)?;
    }
    Ok(())
}

/// Waits until Omni says Running and ready, of the cluster and of each machine set. Meanwhile whoever is waited for is looked at
/// too: a provider that is stopped or a VM that is gone is said at once, and ends the wait when it stays so.
fn wait_until_running(cx: &Cx, omnictl: &Omnictl<'_>, cluster: &str) -> anyhow::Result<ClusterView> {
    let what = format!("cluster `{cluster}`");
    let mut watched = Watched { ready: None, last: None, watch: Watch::start() };
    let result =
        wait::until(&what, cx.limit(RUNNING), |words| cx.ui.waiting(words), || watched.look(cx, omnictl, cluster));
    result.map_err(|error| {
        let failure = Failure::of(&error);
        let mut failure = match failure.code {
            Code::Timeout => obstacle::explain(cx, failure, cluster, watched.last.as_ref(), watched.watch.found()),
            Code::Interrupted => {
                let message = format!("{}; Omni continues", failure.message);
                return Failure { message, ..failure }.next(format!("cargo xtask cluster-status {cluster}")).into();
            }
            _ => return error,
        };
        for command in [format!("cargo xtask cluster-status {cluster}"), "cargo xtask provider-status".to_owned()] {
            if !failure.next.contains(&command) {
                failure.next.push(command);
            }
        }
        failure.into()
    })
}

/// What a wait for a cluster has seen so far.
struct Watched {
    /// The machines that are ready, those included that were so from the beginning; `None` before the first look.
    ready: Option<BTreeSet<String>>,
    last: Option<ClusterView>,
    watch: Watch,
}

impl Watched {
    fn look(&mut self, cx: &Cx, omnictl: &Omnictl<'_>, cluster: &str) -> anyhow::Result<Look<ClusterView>> {
        // One poll that fails must not end a wait of half an hour.
        let seen = match cluster_status::observe(omnictl, cluster) {
            Err(failure) if matches!(failure.code, Code::Unreachable | Code::Timeout) => {
                return Ok(Look::Waiting(format!("waiting for Omni: {}", failure.message)));
            }
            other => other?,
        };
        let Some(view) = seen else {
            return Ok(Look::Waiting("waiting for Omni to make the cluster".to_owned()));
        };
        let ready: BTreeSet<String> =
            view.machines().filter(|machine| machine.ready).map(|machine| machine.name().to_owned()).collect();
        for name in ready.iter().filter(|name| self.ready.as_ref().is_some_and(|known| !known.contains(*name))) {
            cx.ui.say(&format!("           {name} is ready"));
        }
        self.ready.get_or_insert_default().extend(ready);
        if view.running {
            return Ok(Look::Done(view));
        }
        if view.tearing_down {
            return Err(being_destroyed(cluster, &view).into());
        }
        self.watch.look(cx, omnictl, &view);
        let mut words = view.waits_for();
        if let Some(error) = view.first_error() {
            words.push_str(&format!(" (error: {error})"));
        }
        if let Some(found) = self.watch.lasting() {
            let failure = Failure::new(Code::Failed, format!("cluster `{cluster}` cannot go on: {}", found.line()));
            let failure = found.advise(failure.cause(words));
            return Err(failure.next(format!("cargo xtask cluster-status {cluster}")).into());
        }
        if let Some(found) = self.watch.first() {
            words = format!("{}; {words}", found.line());
        }
        self.last = Some(view);
        Ok(Look::Waiting(words))
    }
}

/// The failure of a task that would change or wait for a cluster while Omni destroys it.
fn being_destroyed(cluster: &str, view: &ClusterView) -> Failure {
    Failure::new(Code::Conflict, format!("cluster `{cluster}` is being destroyed"))
        .cause(view.waits_for())
        .hint("a cluster that is being destroyed cannot be changed; when it is gone, a sync creates it again")
        .next(format!("cargo xtask cluster-status {cluster}"))
}

/// Ends a task that would change clusters of which one is being destroyed: Omni refuses that half way (`is not in phase
/// running`), and a comparison does not show it.
///
/// # Errors
/// [`Code::Conflict`] with what the cluster still waits for; those of omnictl.
pub fn refuse_destroyed(omnictl: &Omnictl<'_>, names: &[&str]) -> Result<(), Failure> {
    let found = match names {
        [one] => omnictl.get("clusters", one)?.into_iter().collect(),
        _ => omnictl.list("clusters", None)?,
    };
    let gone =
        found.iter().find(|cluster| cluster.metadata.tearing_down() && names.contains(&cluster.metadata.id.as_str()));
    let Some(gone) = gone else { return Ok(()) };
    let name = gone.metadata.id.as_str();
    Err(match cluster_status::observe(omnictl, name)? {
        Some(view) => being_destroyed(name, &view),
        // It went in this moment.
        None => return Ok(()),
    })
}

/// The same for a machine set that is being destroyed while its template has it again.
fn refuse_destroyed_sets(omnictl: &Omnictl<'_>, wanted: &[Wanted]) -> Result<(), Failure> {
    let changed =
        |each: &&Wanted| each.actions.iter().any(|action| action.verb == "update" && action.kind == "MachineSets");
    for each in wanted.iter().filter(changed) {
        let sets = omnictl.list("machinesets", Some(&format!("omni.sidero.dev/cluster={}", each.name)))?;
        let updated = |id: &str| each.actions.iter().any(|action| action.verb == "update" && action.id == id);
        if let Some(set) = sets.iter().find(|set| set.metadata.tearing_down() && updated(&set.metadata.id)) {
            return Err(Failure::new(Code::Conflict, format!("machine set `{}` is being destroyed", set.metadata.id))
                .cause(format!("its cluster `{}` runs on; Omni refuses to change a set that it destroys", each.name))
                .hint("when it is gone, a sync creates it again")
                .next(format!("cargo xtask cluster-status {}", each.name)));
        }
    }
    Ok(())
}

/// Keeps in the state which clusters there are.
///
/// # Errors
/// When the state is broken or cannot be written.
pub fn remember(cx: &Cx, names: &[&str]) -> anyhow::Result<()> {
    if cx.dry_run {
        return Ok(());
    }
    let mut state = cx.fresh_state()?;
    for name in names {
        state.add("clusters", name);
    }
    cx.save_state(state)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::spec::template;

    #[test]
    fn only_a_key_file_names_a_file() {
        let named = |text: &str| {
            let text = format!(
                "kind: Cluster\nname: a\nkubernetes: {{version: v1.36.2}}\ntalos: {{version: v1.13.5}}\n{text}"
            );
            names_files(&template::parse("a.yaml", text.as_bytes()).value.unwrap())
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
