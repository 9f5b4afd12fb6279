//! The deletion of a cluster: what it destroys, how it is done, and the check that nothing is left.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use crate::flow::{cluster, cluster_access, cluster_tree, explain, provider, proxmox};
use crate::prelude::*;
use check::capacity::format_bytes;
use domain::status::cluster::ClusterView;
use domain::status::proxmox::{Observed, place};
use runtime::parallel;
use runtime::state::State;
use runtime::tool::omnictl::Omnictl;
use runtime::tool::proxmox::Proxmox;
use runtime::ui::Row;
use runtime::wait::Poll;

/// A VM of the cluster, as Proxmox lists it (`/cluster/resources`; sizes in bytes).
#[derive(Debug, Clone, Serialize)]
pub struct Vm {
    pub id: u64,
    pub name: String,
    /// Its node, with the provider if there are several.
    pub node: String,
    pub disk: u64,
}

impl Vm {
    /// Parses an entry of Proxmox's list; `None` if it has no ID.
    pub fn of(entry: &Value) -> Option<Vm> {
        let (id, disk) = (entry["vmid"].as_u64()?, entry["maxdisk"].as_u64().unwrap_or_default());
        Some(Vm { id, name: entry["name"].as_str().unwrap_or_default().to_owned(), node: place(entry), disk })
    }

    /// Describes the VM for the list of what is destroyed.
    pub fn describe(&self) -> String {
        format!("VM {} `{}` on {} with its disk of {}", self.id, self.name, self.node, format_bytes(self.disk))
    }
}

/// What a deletion destroys.
pub struct Loss {
    pub view: ClusterView,
    /// The VMs of its machine requests; unknown if no Proxmox can be queried.
    pub vms: Observed<Vec<Vm>>,
    /// Every Proxmox that was queried, with the VMs it shows.
    sites: Vec<Site>,
    /// A description of its persistent volumes, or why they are unknown.
    volumes: Result<String, String>,
    /// The machine requests whose VMs are unknown.
    unseen: BTreeSet<String>,
}

/// A Proxmox and some of its VMs.
pub type Site = (Proxmox, Vec<Vm>);

impl Loss {
    /// What is lost, one line per object.
    fn lines(&self) -> Vec<String> {
        let vms = self.vms.known().map_or(&[][..], Vec::as_slice);
        let of = |name: &str| vms.iter().find(|vm| vm.name == name);
        let machines = self.view.machines().map(|machine| match (of(&machine.request), &machine.request) {
            (Some(vm), _) => vm.describe(),
            (None, name) if name.is_empty() => format!("machine {} leaves the cluster, and is wiped", machine.uuid),
            (None, name) => match self.unseen.contains(name) {
                true => format!("machine `{name}` with its VM and disks"),
                false => format!("machine `{name}`, which has no VM in Proxmox"),
            },
        });
        let volumes = match &self.volumes {
            Ok(volumes) => volumes.clone(),
            Err(why) => format!("its persistent volumes, which are not known: {why}"),
        };
        std::iter::once(format!("cluster `{}` with everything that runs in it", self.view.name))
            .chain(machines)
            .chain(Some(volumes).filter(|volumes| !volumes.is_empty()))
            .collect()
    }
}

/// Examines the cluster and the VMs of its machines; `None` if Omni does not have it.
///
/// # Errors
/// Returns an error if omnictl fails.
pub fn observe(cx: &Cx, omnictl: &Omnictl<'_>, name: &str) -> anyhow::Result<Option<Loss>> {
    cx.ui.step("cluster", format!("Check cluster `{name}` and its VMs"), || {
        let Some(view) = cluster::observe(omnictl, name)? else {
            return Ok(StepResult::skipped(None, "Omni does not have it"));
        };
        let providers = provider::contexts_of_providers(cx, view.machines().map(|machine| machine.provider.as_str()));
        let (mut seen, mut sites, mut unseen, mut why) = (Vec::new(), Vec::new(), BTreeSet::new(), None);
        for cx in &providers {
            let id = cx.settings.provider_id(None).value;
            let own = view.machines().filter(|machine| providers.len() == 1 || machine.provider == id);
            let names: BTreeSet<String> =
                own.map(|machine| machine.request.clone()).filter(|name| !name.is_empty()).collect();
            let login = proxmox::login(cx);
            match Observed::of(login.and_then(|proxmox| Ok((find_vms(cx, &proxmox, &names)?, proxmox))))? {
                Observed::Known((found, proxmox)) => {
                    seen.extend(found.iter().cloned());
                    sites.push((proxmox, found));
                }
                Observed::Unknown(said) => {
                    why.get_or_insert(cx.site().map_or(said.clone(), |site| format!("provider `{site}`: {said}")));
                    unseen.extend(names);
                }
            }
        }
        let words = [
            Some(count(view.machines().count(), "machine")),
            (!sites.is_empty()).then(|| format!(", {}", count(seen.len(), "VM"))),
            why.as_ref().map(|why| format!("; {}VMs unknown: {why}", if sites.is_empty() { "" } else { "other " })),
        ];
        let vms = match why.filter(|_| sites.is_empty()) {
            Some(why) => Observed::Unknown(why),
            None => Observed::Known(seen),
        };
        let volumes = match view.kubernetes_api_ready {
            true => cluster_access::persistent_volumes(cx, omnictl, name)?,
            false => Err("its Kubernetes API does not answer".to_owned()),
        };
        let words = words.into_iter().flatten().collect::<String>();
        Ok(StepResult::ok(Some(Loss { view, vms, sites, unseen, volumes }), words))
    })
}

/// Returns the VMs in Proxmox with one of these names, in one call.
///
/// # Errors
/// Returns an error if Proxmox cannot be queried.
pub fn find_vms(cx: &Cx, proxmox: &Proxmox, names: &BTreeSet<String>) -> Result<Vec<Vm>, Failure> {
    let ours = |vm: &Value| vm["name"].as_str().is_some_and(|name| names.contains(name));
    Ok(proxmox::list_vms(cx, proxmox, &ours)?.entries.iter().filter_map(Vm::of).collect())
}

/// The change that deletes the cluster. It is verified once the cluster is gone from Omni and its VMs from Proxmox.
///
/// With `disconnected`, machines that do not answer are removed from Omni without waiting for them.
pub fn deletion<'a>(omnictl: &'a Omnictl<'_>, loss: &'a Loss, backups: &str, disconnected: bool) -> Change<'a> {
    let name = loss.view.name.as_str();
    let machines = count(loss.view.machines().count(), "machine");
    let effect = format!("{machines} and all data are destroyed; {backups}");
    let undo = "the data cannot be recovered; a sync of the template creates the cluster again, empty";
    Change::new("delete", format!("cluster {name}"), effect, undo, move |cx| {
        delete_showing_cluster(cx, omnictl, name, || omnictl.delete_cluster(name, disconnected))?;
        Ok("deleted from Omni".to_owned())
    })
    .with_precondition(move |_| refuse_new_machines(omnictl, &loss.view))
    .with_destroyed(name, loss.lines())
    .with_verification(move |cx| verify(cx, omnictl, loss))
    .with_record(move |state| remove_from_state(state, name))
}

/// Refuses to delete a cluster that has got more machines since the plan was shown.
fn refuse_new_machines(omnictl: &Omnictl<'_>, shown: &ClusterView) -> anyhow::Result<()> {
    fn names(view: &ClusterView) -> BTreeSet<&str> {
        view.machines()
            .map(|machine| if machine.request.is_empty() { &*machine.uuid } else { &*machine.request })
            .collect()
    }
    let Some(now) = cluster::observe(omnictl, &shown.name)? else { return Ok(()) };
    let more: Vec<&str> = names(&now).difference(&names(shown)).copied().collect();
    if more.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Code::Conflict, format!("cluster `{}` has more machines than were shown", shown.name))
        .cause(format!("since then it got {}; nothing was deleted", more.join(", ")))
        .hint("someone else is changing this cluster: run the command again and check the new list")
        .into())
}

/// Removes the cluster from the state.
pub fn remove_from_state(state: &mut State, name: &str) {
    let left: Vec<String> = state.list("clusters").into_iter().filter(|known| known != name).collect();
    state.set_list("clusters", &left);
}

/// Polling interval during a deletion, while omnictl waits for it.
const POLL_INTERVAL: Duration = Duration::from_secs(3);

/// As [`run_showing_cluster`], for a deletion.
///
/// # Errors
/// As `call`; a timeout also lists the causes.
pub fn delete_showing_cluster(
    cx: &Cx,
    omnictl: &Omnictl<'_>,
    name: &str,
    call: impl FnOnce() -> Result<(), Failure> + Send,
) -> Result<(), Failure> {
    run_showing_cluster(cx, omnictl, name, call).map_err(|failure| match failure.code {
        Code::Timeout => explain::add_cause(cx, omnictl, failure, name, None),
        _ => failure,
    })
}

/// Runs `call`, which tears something down in cluster `name`, and shows meanwhile what it waits for: omnictl does not print that.
///
/// # Errors
/// As `call`.
pub fn run_showing_cluster<T: Send>(
    cx: &Cx,
    omnictl: &Omnictl<'_>,
    name: &str,
    call: impl FnOnce() -> Result<T, Failure> + Send,
) -> Result<T, Failure> {
    // Only a new cause is shown: a growing age is not news.
    let mut last = String::new();
    parallel::run_with_ticks(POLL_INTERVAL, call, || {
        let Ok(Some(found)) = cluster::observe(omnictl, name) else { return };
        cluster_tree::show(cx, &found);
        let cause = explain::blocking_causes(cx, omnictl, &found).into_iter().next();
        let (id, words) = cause.map_or_else(
            || {
                let words = found.waits_for();
                (words.clone(), words)
            },
            |cause| (cause.id, cause.cause),
        );
        if id != last && (found.tearing_down || found.machines().any(|machine| machine.leaving)) {
            cx.ui.show_waiting(&words);
            last = id;
        }
    })
}

/// A VM that still exists this long after Omni released its machine was left behind.
const GONE_LIMIT: Duration = Duration::from_secs(120);

fn verify(cx: &Cx, omnictl: &Omnictl<'_>, loss: &Loss) -> anyhow::Result<()> {
    let name = &loss.view.name;
    cx.ui.step("gone", format!("Check that Omni no longer has cluster `{name}`"), || {
        match omnictl.get("clusters", name)? {
            None => Ok(StepResult::ok((), "gone")),
            Some(_) => Err(Failure::new(Code::Failed, format!("Omni still has cluster `{name}`"))
                .cause("omnictl reported that it was deleted; someone may have created it again")
                .next(format!("cargo xtask cluster-status {name}"))
                .into()),
        }
    })?;
    if loss.sites.is_empty() {
        Ok(())
    } else {
        wait_until_vms_gone(cx, &loss.sites, "Its VMs and their seed files are gone from Proxmox")
    }
}

/// Waits until each Proxmox has none of these VMs, and none of their seed files (`user-data-ID.iso`, which the provider deletes
/// with the VM). A VM created in the meantime may reuse one of the IDs.
///
/// # Errors
/// Fails with [`Code::Failed`] and what was left behind, or if Proxmox cannot be queried.
pub fn wait_until_vms_gone(cx: &Cx, sites: &[Site], title: &str) -> anyhow::Result<()> {
    cx.ui.step("vms", title, || {
        let look = || {
            let (mut left, mut unknown): (Vec<String>, _) = (Vec::new(), String::new());
            for (proxmox, lost) in sites {
                let ours = |vm: &Value| lost.iter().any(|it| vm["name"] == *it.name || vm["vmid"] == it.id);
                let there = proxmox::list_vms(cx, proxmox, &ours)?.entries;
                let same = there.iter().filter_map(Vm::of).filter(|vm| lost.iter().any(|it| it.name == vm.name));
                left.extend(same.map(|vm| format!("VM {} on {}", vm.id, vm.node)));
                let free = lost.iter().filter(|it| !there.iter().any(|vm| vm["vmid"] == it.id));
                let seeds: Vec<String> = free.map(|it| format!("/user-data-{}.iso", it.id)).collect();
                // Otherwise every storage is queried for its images.
                if seeds.is_empty() {
                    continue;
                }
                match Observed::of(proxmox::list_images(cx, proxmox))? {
                    Observed::Known(mut images) => {
                        images.retain(|image| seeds.iter().any(|seed| image.volume.ends_with(seed)));
                        left.extend(images.iter().map(|it| format!("seed file {} on {}", it.volume, it.node)));
                    }
                    Observed::Unknown(why) => unknown = format!("; their seed files are not known: {why}"),
                }
            }
            cx.ui.show_rows(&left.iter().map(|vm| Row::new(vm, Some(false))).collect::<Vec<_>>());
            Ok(if left.is_empty() { Poll::Done(unknown) } else { Poll::Waiting(left.join(", ")) })
        };
        let gone = cx.wait("the deletion of the VMs", GONE_LIMIT, look);
        let all = count(sites.iter().map(|(_, lost)| lost.len()).sum::<usize>(), "VM");
        gone.map(|unknown| StepResult::ok((), all + &unknown)).map_err(|error| {
            let failure = Failure::of(&error);
            match failure.code {
                Code::Timeout => Failure {
                    code: Code::Failed,
                    message: "something was left behind in Proxmox".to_owned(),
                    ..failure
                }
                .hint("Omni no longer tracks it: `drift` shows the command that deletes each item")
                .next("cargo xtask drift")
                .into(),
                _ => error,
            }
        })
    })
}
