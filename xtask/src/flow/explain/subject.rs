//! The subject of `cluster-explain`: a cluster, or a machine, VM or machine request of a cluster.

use crate::prelude::*;
use check::explain::Facts;
use domain::nearest;
use domain::spec::name;
use domain::status::cluster::cluster_lines;
use runtime::parallel::run_both;
use runtime::tool::omnictl::Omnictl;

use crate::cli::ClusterExplain;
use crate::flow::{project_classes, vms};

/// What to explain: a whole cluster, or one of its machines.
#[derive(Debug, Default)]
pub struct Subject {
    /// Empty if there is no cluster: then only what every cluster needs is examined.
    pub cluster: String,
    /// The ID of the machine's request, or its UUID.
    machine: Option<String>,
    /// Other clusters with problems.
    pub others: Vec<String>,
}

impl Subject {
    /// # Errors
    /// Fails with [`Code::NotFound`] if there is no such machine, request or VM; [`Code::Invalid`] if it is in another cluster.
    pub fn of(args: &ClusterExplain, cx: &Cx, omnictl: Result<&Omnictl<'_>, &Failure>) -> Result<Subject, Failure> {
        if let Some(cluster) = &args.name {
            name::check_existing("cluster", cluster)?;
        }
        let ClusterExplain { name, machine, vm, request, .. } = args;
        let (kind, what, id) = match (machine, vm, request) {
            (Some(id), _, _) => ("clustermachinestatuses", "machine", id.clone()),
            (_, Some(vm), _) => ("clustermachinerequeststatuses", "machine request of a VM", vms::vm_name(cx, vm)?),
            (_, _, Some(id)) => ("clustermachinerequeststatuses", "machine request", id.clone()),
            _ => return Ok(Subject::cluster(name.as_deref(), cx, omnictl.ok())),
        };
        let asked = |omnictl: &Omnictl<'_>| if id.starts_with('-') { Ok(None) } else { omnictl.get(kind, &id) };
        let (Ok(omnictl), Ok(found)) = (omnictl, omnictl.map_err(Failure::clone).and_then(asked)) else {
            // The chain explains why Omni cannot be queried; the name of a cluster's VM starts with the cluster's name.
            let own = |cluster: &String| id.strip_prefix(cluster.as_str()).is_some_and(|rest| rest.starts_with('-'));
            let templates = project_classes::templates_in_use(cx).unwrap_or_default().into_iter();
            let cluster = name.clone().or(templates.map(|found| found.name).filter(own).max_by_key(String::len));
            return Ok(Subject { cluster: cluster.unwrap_or_default(), machine: Some(id), others: Vec::new() });
        };
        let Some(found) = found else {
            let known = omnictl.list(kind, None)?;
            let known: Vec<&str> = known.iter().map(|found| found.metadata.id.as_str()).collect();
            let near = nearest::list_nearest(&id, known, 3);
            let failure = Failure::new(Code::NotFound, format!("no cluster in Omni has the {what} `{id}`"));
            let hint = if near.is_empty() {
                "see the machines of each cluster".to_owned()
            } else {
                format!("did you mean {}?", near.join(", "))
            };
            return Err(failure.hint(hint).next("cargo xtask cluster-status"));
        };
        let cluster = found.metadata.label("cluster").unwrap_or_default().to_owned();
        match name {
            Some(given) if *given != cluster => {
                Err(Failure::new(Code::Invalid, format!("the {what} `{id}` does not belong to cluster `{given}`"))
                    .cause(format!("it belongs to `{cluster}`"))
                    .next(format!("cargo xtask cluster-explain {cluster}")))
            }
            _ => Ok(Subject { cluster, machine: Some(id), others: Vec::new() }),
        }
    }

    /// The cluster with this name; without a name, the first that has problems.
    fn cluster(name: Option<&str>, cx: &Cx, omnictl: Option<&Omnictl<'_>>) -> Subject {
        if let Some(name) = name {
            return Subject { cluster: name.to_owned(), ..Subject::default() };
        }
        let list = |kind: &'static str| omnictl.and_then(|omnictl| omnictl.list(kind, None).ok());
        let ((clusters, statuses), off) =
            run_both(|| run_both(|| list("clusters"), || list("clusterstatuses")), || vms::list_off(cx));
        let templates =
            || project_classes::templates_in_use(cx).unwrap_or_default().into_iter().map(|found| found.name);
        let Some(clusters) = clusters else {
            return Subject { cluster: templates().next().unwrap_or_default(), ..Subject::default() };
        };
        let lines = cluster_lines(&clusters, &statuses.unwrap_or_default());
        let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
        let off = omnictl.map(|omnictl| vms::explain_off(cx, omnictl, off, &names)).unwrap_or_default();
        let troubled = lines.iter().filter(|line| !line.running || off.contains_key(&line.name));
        let mut found: Vec<String> = troubled.map(|line| line.name.clone()).collect();
        if found.is_empty() {
            found.extend(names.first().map(|name| (*name).to_owned()));
        }
        let mut found = found.into_iter();
        Subject { cluster: found.next().unwrap_or_default(), machine: None, others: found.collect() }
    }

    /// Removes everything but the selected machine from `facts`.
    pub fn narrow(&self, facts: &mut Facts) {
        let (Some(one), Some(view)) = (&self.machine, &mut facts.view) else { return };
        for set in &mut view.machine_sets {
            set.machines.retain(|machine| machine.request == *one || machine.uuid == *one);
            set.wanted = set.machines.len() as u64;
        }
        view.machine_sets.retain(|set| !set.machines.is_empty());
        // Problems of the other machine sets do not matter here.
        facts.template.iter_mut().for_each(|template| template.sets.clear());
    }

    /// Describes what is explained.
    pub fn words(&self) -> String {
        match (&self.machine, self.cluster.as_str()) {
            (Some(machine), cluster) => format!("`{machine}` of cluster `{cluster}`"),
            (None, "") => "this installation".to_owned(),
            (None, cluster) => format!("cluster `{cluster}`"),
        }
    }
}
