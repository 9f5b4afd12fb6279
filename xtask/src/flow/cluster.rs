//! A cluster in Omni: its current state, and the wait until it is Running and ready.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::flow::explain;
use crate::flow::{cluster_tree, inputs, lookup, vms};
use crate::prelude::*;
use check::explain::Cause;
use domain::nearest;
use domain::spec::template::ClusterTemplate;
use domain::status::cluster::{self, ClusterParts, ClusterView, UpgradeSubject};
use domain::status::omni::Resource;
use domain::status::proxmox::Observed;
use runtime::parallel::{NO_LIMIT, map_all, run_both};
use runtime::tool::omnictl::Omnictl;
use runtime::wait::Poll;

/// Returns the cluster as Omni reports it, or `None`. Makes nine parallel reads, however many machines there are.
///
/// # Errors
/// Returns an error if omnictl cannot be run or rejects a request.
pub fn observe(omnictl: &Omnictl<'_>, cluster: &str) -> Result<Option<ClusterView>, Failure> {
    let selector = format!("omni.sidero.dev/cluster={cluster}");
    let own =
        ["clusterstatuses", "clusters", "talosupgradestatuses", "kubernetesupgradestatuses", "loadbalancerstatuses"];
    let lists = ["machinesets", "machinesetstatuses", "clustermachinerequeststatuses", "clustermachinestatuses"];
    let (own, lists) = run_both(
        || map_all(own, NO_LIMIT, |kind| omnictl.get(kind, cluster)),
        || lookup::list_all(omnictl, lists, Some(&selector)),
    );
    let mut own = own.into_iter();
    let mut next = || own.next().unwrap_or(Ok(None));
    let (status, wanted) = (next()?, next()?);
    // Omni has accepted the cluster, but its controllers have not processed it yet.
    let unseen = || wanted.as_ref().map(|cluster| Resource { metadata: cluster.metadata.clone(), spec: Value::Null });
    let Some(status) = status.or_else(unseen) else { return Ok(None) };
    let upgrades = [(UpgradeSubject::Talos, next()?), (UpgradeSubject::Kubernetes, next()?)];
    let upgrades: Vec<_> = upgrades.into_iter().filter_map(|(what, found)| Some((what, found?))).collect();
    let load_balancer = next()?;
    let [sets, set_statuses, requests, machines] = lists?;
    Ok(Some(cluster::cluster_view(&ClusterParts {
        status: &status,
        cluster: wanted.as_ref(),
        sets: &sets,
        set_statuses: &set_statuses,
        requests: &requests,
        machines: &machines,
        load_balancer: load_balancer.as_ref(),
        upgrades: &upgrades,
    })))
}

/// Returns which of these clusters are Running and ready, by the same rules as [`observe`] but with a number of reads that does
/// not depend on the number of clusters. Where Proxmox can be queried, their VMs must run too.
///
/// # Errors
/// Returns an error if omnictl cannot be run or rejects a request.
pub fn running_clusters(cx: &Cx, omnictl: &Omnictl<'_>, names: &BTreeSet<&str>) -> Result<BTreeSet<String>, Failure> {
    let kinds = [
        "clusterstatuses",
        "clusters",
        "talosupgradestatuses",
        "kubernetesupgradestatuses",
        "loadbalancerstatuses",
        "machinesets",
        "machinesetstatuses",
    ];
    let (lists, off) = run_both(|| lookup::list_all(omnictl, kinds, None), || vms::list_off(cx));
    let [statuses, clusters, talos, kubernetes, balancers, sets, set_statuses] = lists?;
    let (clusters, talos) = (by_id(clusters), by_id(talos));
    let (kubernetes, balancers) = (by_id(kubernetes), by_id(balancers));
    let (sets, set_statuses) = (by_cluster(sets), by_cluster(set_statuses));
    let none = Vec::new();
    let runs = |status: &&Resource| {
        let name = status.metadata.id.as_str();
        let upgrades = [(UpgradeSubject::Talos, talos.get(name)), (UpgradeSubject::Kubernetes, kubernetes.get(name))];
        let upgrades: Vec<_> = upgrades.into_iter().filter_map(|(what, found)| Some((what, found?.clone()))).collect();
        let view = cluster::cluster_view(&ClusterParts {
            status,
            cluster: clusters.get(name),
            sets: sets.get(name).unwrap_or(&none),
            set_statuses: set_statuses.get(name).unwrap_or(&none),
            requests: &[],
            machines: &[],
            load_balancer: balancers.get(name),
            upgrades: &upgrades,
        });
        view.running
    };
    let asked = |status: &&Resource| names.contains(status.metadata.id.as_str());
    let running: Vec<&str> =
        statuses.iter().filter(asked).filter(runs).map(|status| status.metadata.id.as_str()).collect();
    let off = vms::explain_off(cx, omnictl, off, &running);
    Ok(running.into_iter().filter(|name| !off.contains_key(*name)).map(str::to_owned).collect())
}

fn by_id(found: Vec<Resource>) -> BTreeMap<String, Resource> {
    found.into_iter().map(|found| (found.metadata.id.clone(), found)).collect()
}

/// Groups resources by their cluster label.
fn by_cluster(found: Vec<Resource>) -> BTreeMap<String, Vec<Resource>> {
    let mut groups: BTreeMap<String, Vec<Resource>> = BTreeMap::new();
    for each in found {
        if let Some(cluster) = each.metadata.label("cluster").map(str::to_owned) {
            groups.entry(cluster).or_default().push(each);
        }
    }
    groups
}

/// The real provider needs a minute and a half to create six machines; images, boots and bootstraps need the rest.
const RUNNING_LIMIT: Duration = Duration::from_secs(30 * 60);
/// The upgrade of one machine: draining takes up to five minutes, installation and reboot the rest.
const MACHINE_LIMIT: Duration = Duration::from_secs(15 * 60);

/// Waits until Omni reports the cluster and each machine set as Running and ready, and machines that have to leave are gone.
/// Meanwhile it also checks what the cluster depends on: a stopped provider or a missing VM is reported immediately, and ends
/// the wait if it persists.
pub fn wait_until_running(cx: &Cx, omnictl: &Omnictl<'_>, cluster: &str) -> anyhow::Result<ClusterView> {
    wait_within(cx, omnictl, cluster, RUNNING_LIMIT)
}

/// As [`wait_until_running`], for an upgrade, in which machines restart one after another.
///
/// # Errors
/// As [`wait_until_running`].
pub fn wait_until_upgraded(cx: &Cx, omnictl: &Omnictl<'_>, view: &ClusterView) -> anyhow::Result<ClusterView> {
    let machines = u32::try_from(view.machines().count()).unwrap_or(u32::MAX);
    wait_within(cx, omnictl, &view.name, RUNNING_LIMIT + MACHINE_LIMIT.saturating_mul(machines))
}

fn wait_within(cx: &Cx, omnictl: &Omnictl<'_>, cluster: &str, limit: Duration) -> anyhow::Result<ClusterView> {
    let what = format!("cluster `{cluster}`");
    let mut progress = Progress { ready: None, watch: Watch::start() };
    let result = cx.wait(&what, limit, || progress.poll(cx, omnictl, cluster));
    result.map_err(|error| {
        let failure = Failure::of(&error);
        let failure = match failure.code {
            Code::Timeout => explain::add_cause(cx, omnictl, failure, cluster, progress.watch.first_cause()),
            Code::Interrupted => {
                let message = format!("{}; Omni continues", failure.message);
                return Failure { message, ..failure }.next(format!("cargo xtask cluster-status {cluster}")).into();
            }
            _ => return error,
        };
        failure.into()
    })
}

/// What a wait for a cluster has observed so far.
struct Progress {
    /// The machines that were ready in the last poll; `None` before the first.
    ready: Option<BTreeSet<String>>,
    watch: Watch,
}

impl Progress {
    fn poll(&mut self, cx: &Cx, omnictl: &Omnictl<'_>, cluster: &str) -> anyhow::Result<Poll<ClusterView>> {
        // A single failed poll must not end a wait of half an hour.
        let seen = match observe(omnictl, cluster) {
            Err(failure) if matches!(failure.code, Code::Unreachable | Code::Timeout) => {
                return Ok(Poll::Waiting(format!("waiting for Omni: {}", failure.message)));
            }
            other => other?,
        };
        let Some(view) = seen else {
            return Ok(Poll::Waiting("waiting for Omni to create the cluster".to_owned()));
        };
        cluster_tree::show(cx, &view);
        let ready: BTreeSet<String> =
            view.machines().filter(|machine| machine.ready).map(|machine| machine.name().to_owned()).collect();
        for name in ready.iter().filter(|name| self.ready.as_ref().is_some_and(|known| !known.contains(*name))) {
            cx.ui.say(&format!("           {name} is ready"));
        }
        // Replaced, not extended: a machine that restarts is reported as ready again.
        self.ready = Some(ready);
        // Omni notices late that a machine has died; Proxmox shows whether all VMs run.
        if view.is_settled() && !explain::blocking_causes(cx, omnictl, &view).iter().any(|found| found.lasting) {
            return Ok(Poll::Done(view));
        }
        if view.tearing_down {
            return Err(destroyed_failure(cluster, &view).into());
        }
        self.watch.update(cx, omnictl, &view);
        let mut words =
            if view.is_settled() { "Running and ready, as Omni reports".to_owned() } else { view.waits_for() };
        if let Some(error) = view.first_error() {
            words.push_str(&format!(" (error: {error})"));
        }
        if let Some(found) = self.watch.lasting_cause() {
            let failure = Failure::new(Code::Failed, format!("cluster `{cluster}` cannot continue: {}", found.cause));
            let failure = explain::add_fix(found, failure.cause(words));
            return Err(failure.next(format!("cargo xtask cluster-explain {cluster}")).into());
        }
        Ok(Poll::Waiting(self.watch.with_first_cause(words)))
    }
}

/// When a wait first looks for causes, and how often after that: the calls cost as much as a poll of the cluster.
const FIRST_LOOKUP: Duration = Duration::from_secs(2);
const LOOKUP_INTERVAL: Duration = Duration::from_secs(5);
/// The wait gives up after this many polls in a row with the same lasting cause: a provider being recreated is back by then.
const LASTING_LOOKUPS: usize = 3;

/// The causes that block a cluster during a wait.
#[derive(Debug)]
struct Watch {
    due: Instant,
    found: Vec<Cause>,
    /// What the cluster waited for when they were found.
    waits_for: String,
    /// Polls in a row that found the same first cause, a lasting one.
    same: usize,
}

impl Watch {
    fn start() -> Watch {
        Watch { due: Instant::now() + FIRST_LOOKUP, found: Vec::new(), waits_for: String::new(), same: 0 }
    }

    /// Looks for causes again if it is due.
    fn update(&mut self, cx: &Cx, omnictl: &Omnictl<'_>, view: &ClusterView) {
        if Instant::now() < self.due {
            self.drop_outdated(&view.waits_for());
            return;
        }
        let found = explain::blocking_causes(cx, omnictl, view);
        let of = |found: &[Cause]| found.first().filter(|first| first.lasting).map(|first| first.id.clone());
        let same = of(&found).is_some() && of(&found) == of(&self.found);
        self.same = if same { self.same + 1 } else { 1 };
        // The text of a lasting cause is kept: a growing age is not news.
        if !same {
            self.found = found;
        }
        self.waits_for = view.waits_for();
        self.due = Instant::now() + LOOKUP_INTERVAL;
    }

    /// Drops the causes that the cluster, which now waits for something else, may have overcome: a machine that was lost is back.
    fn drop_outdated(&mut self, waits_for: &str) {
        if self.waits_for != waits_for {
            self.found.retain(|cause| cause.lasting);
        }
    }

    /// The first cause at the moment.
    fn first_cause(&self) -> Option<&Cause> {
        self.found.first()
    }

    /// Prefixes `words` with the first cause, unless they name it already.
    fn with_first_cause(&self, words: String) -> String {
        let unnamed = explain::not_named_in(&words, self.first_cause()).next();
        match unnamed {
            Some(found) => format!("{}; {words}", found.cause),
            None => words,
        }
    }

    /// The first cause, if it has lasted so long that waiting is pointless.
    fn lasting_cause(&self) -> Option<&Cause> {
        self.first_cause().filter(|first| first.lasting && self.same >= LASTING_LOOKUPS)
    }
}

/// Waits until the cluster is gone from Omni. It does not delete anything itself.
///
/// # Errors
/// Returns an error if omnictl fails, or on a timeout, with what the deletion waits for.
pub fn wait_until_gone(cx: &Cx, omnictl: &Omnictl<'_>, name: &str) -> anyhow::Result<()> {
    let mut watch = Watch::start();
    cx.ui.step("gone", format!("Check that cluster `{name}` is gone"), || {
        let what = format!("cluster `{name}` to be deleted");
        let gone = cx.wait(&what, RUNNING_LIMIT, || {
            let Some(view) = observe(omnictl, name)? else { return Ok(Poll::Done(())) };
            cluster_tree::show(cx, &view);
            if !view.tearing_down {
                return Ok(Poll::Waiting("waiting for its deletion to be requested".to_owned()));
            }
            watch.update(cx, omnictl, &view);
            Ok(Poll::Waiting(watch.with_first_cause(view.waits_for())))
        });
        gone.map_err(|error| {
            let failure = Failure::of(&error);
            match failure.code {
                Code::Timeout => explain::add_cause(cx, omnictl, failure, name, watch.first_cause()).into(),
                _ => error,
            }
        })?;
        Ok(StepResult::ok((), "Omni does not have it"))
    })
}

/// Returns the failure for a cluster that Omni does not have, which lists the clusters that it has.
pub fn unknown_cluster(cx: &Cx, omnictl: &Omnictl<'_>, cluster: &str) -> Failure {
    let names = match omnictl.list("clusters", None) {
        Ok(found) => found.into_iter().map(|found| found.metadata.id).collect::<Vec<_>>(),
        Err(failure) => return failure,
    };
    let failure = Failure::new(Code::NotFound, format!("Omni has no cluster `{cluster}`")).cause(match names.len() {
        0 => "it has no clusters at all".to_owned(),
        many if many > 12 => format!("it has {many} others"),
        _ => format!("it has: {}", names.join(", ")),
    });
    if let Some(near) = nearest::nearest(cluster, names.iter().map(String::as_str)) {
        return failure.hint(format!("did you mean `{near}`?")).next(format!("cargo xtask cluster-status {near}"));
    }
    let (next, hint) = match inputs::find_template(cx, cluster).is_some() {
        true => ("cluster-sync", "its template exists: sync it to create the cluster"),
        false => ("cluster-create", "check the name, or create the cluster"),
    };
    failure.hint(hint).next(format!("cargo xtask {next} {cluster}"))
}

/// Fails if Omni does not have the cluster.
///
/// # Errors
/// Fails with [`Code::NotFound`] and the clusters that Omni has, or if omnictl fails.
pub fn check_exists(cx: &Cx, omnictl: &Omnictl<'_>, name: &str) -> Result<(), Failure> {
    match omnictl.get("clusters", name)? {
        Some(_) => Ok(()),
        None => Err(unknown_cluster(cx, omnictl, name)),
    }
}

/// The failure of a task that cannot change or wait for a cluster because Omni is destroying it.
fn destroyed_failure(cluster: &str, view: &ClusterView) -> Failure {
    Failure::new(Code::Conflict, format!("cluster `{cluster}` is being destroyed"))
        .cause(view.waits_for())
        .hint("a cluster that is being destroyed cannot be changed; when it is gone, a sync creates it again")
        .next(format!("cargo xtask cluster-status {cluster}"))
}

/// Returns those of the named clusters that Omni has.
///
/// # Errors
/// Returns an error if omnictl cannot be run or rejects the request.
pub fn list_existing(omnictl: &Omnictl<'_>, names: &[&str]) -> Result<Vec<Resource>, Failure> {
    let mut found = match names {
        [one] => omnictl.get("clusters", one)?.into_iter().collect(),
        _ => omnictl.list("clusters", None)?,
    };
    found.retain(|found| names.contains(&found.metadata.id.as_str()));
    Ok(found)
}

/// The failure of a task that would change a locked cluster.
pub fn locked_failure(name: &str, refusal: &str) -> Failure {
    Failure::new(Code::Conflict, format!("cluster `{name}` is locked: Omni {refusal}"))
        .hint("unlock it if whoever locked it agrees, then run this again")
        .next(format!("omnictl cluster unlock {name}"))
}

/// Refuses to change clusters if one of them is being destroyed: Omni would refuse that half way (`is not in phase running`), and
/// a comparison does not show it. Returns the clusters that Omni has.
///
/// # Errors
/// Fails with [`Code::Conflict`] and what the cluster still waits for, or if omnictl fails.
pub fn refuse_destroyed(omnictl: &Omnictl<'_>, names: &[&str]) -> Result<Vec<Resource>, Failure> {
    let mut found = list_existing(omnictl, names)?;
    let Some(at) = found.iter().position(|found| found.metadata.tearing_down()) else { return Ok(found) };
    let name = found.swap_remove(at).metadata.id;
    match observe(omnictl, &name)? {
        Some(view) => Err(destroyed_failure(&name, &view)),
        // It has disappeared in the meantime.
        None => Ok(found),
    }
}

/// Removes the clusters that Omni is destroying from `templates`: they have no machines to plan.
///
/// # Errors
/// Returns an error if no template is left, or the task is interrupted.
pub fn remove_destroyed(cx: &Cx, templates: &mut Vec<ClusterTemplate>) -> Result<(), Failure> {
    let names: Vec<&str> = templates.iter().map(|template| template.name.as_str()).collect();
    let found = Observed::of(Omnictl::find(cx).and_then(|omnictl| list_existing(&omnictl, &names)))?;
    let gone = found.known().into_iter().flatten().filter(|found| found.metadata.tearing_down());
    let gone: Vec<String> = gone.map(|found| found.metadata.id.clone()).collect();
    if gone.len() == templates.len() {
        return refuse_destroyed_templates(cx, templates);
    }
    for name in &gone {
        cx.ui.note("destroyed", format!("cluster `{name}` is skipped"), Status::Skipped, "it is being destroyed");
    }
    templates.retain(|template| !gone.contains(&template.name));
    Ok(())
}

/// Refuses a cluster or machine set that Omni is destroying: it has no machines to plan. Accepts all if Omni cannot be queried.
///
/// # Errors
/// Fails with [`Code::Conflict`] and its name.
pub fn refuse_destroyed_templates(cx: &Cx, templates: &[ClusterTemplate]) -> Result<(), Failure> {
    let names: Vec<&str> = templates.iter().map(|template| template.name.as_str()).collect();
    let refused = Omnictl::find(cx).and_then(|omnictl| {
        refuse_destroyed(&omnictl, &names)?;
        let sets = omnictl.list("machinesets", None)?;
        let gone = |id: &str| sets.iter().any(|set| set.metadata.id == id && set.metadata.tearing_down());
        let mut wanted = templates.iter().flat_map(|each| each.sets.iter().map(move |set| (set.id(&each.name), each)));
        wanted.find(|(id, _)| gone(id)).map_or(Ok(()), |(id, template)| Err(destroyed_set_failure(&id, &template.name)))
    });
    match refused {
        Err(failure) if matches!(failure.code, Code::Conflict | Code::Interrupted) => Err(failure),
        _ => Ok(()),
    }
}

/// The failure for a machine set that is still in a template while Omni destroys it: Omni refuses to change it.
pub fn destroyed_set_failure(id: &str, cluster: &str) -> Failure {
    Failure::new(Code::Conflict, format!("machine set `{id}` is being destroyed"))
        .cause(format!(
            "its cluster `{cluster}` keeps running; Omni refuses to change a machine set that is being destroyed"
        ))
        .hint("when it is gone, a sync creates it again")
        .next(format!("cargo xtask cluster-status {cluster}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use check::explain::Link;

    fn watch(waits_for: &str, causes: &[(&str, bool)]) -> Watch {
        let cause =
            |(words, lasting): &(&str, bool)| Cause { lasting: *lasting, ..Cause::new(Link::Network, "x", *words) };
        Watch { found: causes.iter().map(cause).collect(), waits_for: waits_for.to_owned(), ..Watch::start() }
    }

    #[test]
    fn wait_names_a_cause_once() {
        let line = |words: &str| watch("", &[("the API does not answer", false)]).with_first_cause(words.to_owned());
        assert_eq!(line("Running: the API does not answer"), "Running: the API does not answer");
        assert_eq!(line("1 of 3 machines ready"), "the API does not answer; 1 of 3 machines ready");
    }

    #[test]
    fn cause_of_an_older_state_is_dropped_unless_it_lasts() {
        let left = |causes: &[(&str, bool)], now: &str| {
            let mut watch = watch("1 of 3 machines ready", causes);
            watch.drop_outdated(now);
            watch.with_first_cause("now".to_owned())
        };
        let lost = ("Omni has no connection to a", false);
        assert_eq!(left(&[lost], "1 of 3 machines ready"), "Omni has no connection to a; now");
        assert_eq!(left(&[lost], "3 of 3 machines ready"), "now");
        let stopped = ("the VM of a is stopped", true);
        assert_eq!(left(&[lost, stopped], "3 of 3 machines ready"), "the VM of a is stopped; now");
    }
}
