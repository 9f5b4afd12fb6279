//! `cluster-plan [NAME…|--all]`: where the machines of clusters would be placed, what does not fit, and what the loss of a node
//! would do. Changes nothing.
//!
//! 1. Reads the templates and their classes.
//! 2. Reads what exists: Proxmox now or as it was saved, and the machines that Omni has already requested.
//! 3. Places the missing machines by the provider's own rule, and simulates the loss of each node.
//! 4. Exits with 1 if they do not fit, 3 if machines would be created or removed, 0 if everything matches the templates.

use crate::cli::ClusterPlan;
use crate::flow::cluster_demand::{self, DemandInputs};
use crate::flow::inputs::{self, Input};
use crate::flow::{cluster, lookup, placement_tables, project_classes, provider, proxmox};
use crate::prelude::*;
use check::capacity::demand::Demand;
use check::capacity::{Fit, State};
use domain::spec::template::ClusterTemplate;

pub fn run(args: &ClusterPlan, cx: &Cx) -> anyhow::Result<Outcome> {
    let all = args.name.is_empty();
    let files = inputs::operator_files(cx, Input::Cluster, &args.name)?;
    let classes = lookup::local_classes(cx);
    let known = inputs::TemplateFacts { local_classes: classes.as_deref(), ..inputs::TemplateFacts::default() };
    inputs::read_templates(cx, &files, &known, &[])?;
    let mut templates: Vec<ClusterTemplate> = project_classes::read_templates(cx, &files)?;
    match all {
        true => cluster::remove_destroyed(cx, &mut templates)?,
        false => cluster::refuse_destroyed_templates(cx, &templates)?,
    }
    let given = inputs::shell_arguments(if all { &[] } else { &args.name });
    let of = project_classes::providers_of(cx, &templates)?;
    let of = of.iter().map(String::as_str);
    // A saved inventory describes a single Proxmox.
    match args.inventory {
        Some(_) if cx.paths.is_project() => {
            plan_one(args, &provider::context_of_machines(cx, of).for_single_provider()?, &templates, &given)
        }
        Some(_) => plan_one(args, cx, &templates, &given),
        None => provider::for_each(&provider::context_of_machines(cx, of), |cx| plan_one(args, cx, &templates, &given)),
    }
}

/// Plans the machines of one provider.
fn plan_one(args: &ClusterPlan, cx: &Cx, templates: &[ClusterTemplate], given: &str) -> anyhow::Result<Outcome> {
    let classes = project_classes::needed_classes(cx, templates, &args.class)?;
    let (provider, origin) = proxmox::provider_version(cx, args.provider_version)?;
    let mut proxmox = None;
    let mut inventory = match &args.inventory {
        Some(file) => cx.ui.step("inventory", format!("Read the inventory in `{}`", file.display()), || {
            let saved = proxmox::read_saved(file)?;
            let detail =
                format!("{} of {}, as of {}", count(saved.nodes.len(), "node"), saved.endpoint, saved.taken_at);
            Ok(StepResult::ok(saved, detail))
        })?,
        None => {
            let login = proxmox::login(cx)?;
            let found = proxmox::observe(cx, &login)?;
            proxmox = Some(login);
            found
        }
    };
    let requests = cluster_demand::list_requests(cx)?;
    let wanted = DemandInputs { templates, classes: &classes, requests: &requests, provider, lost: None };
    let (demand, fit) = cluster_demand::place_machines(cx, &wanted, proxmox.as_ref(), &mut inventory)?;
    for words in &demand.notes {
        cx.ui.note("demand", words.as_str(), Status::Warning, "");
    }
    let title = format!("Place machines as provider {provider} does ({origin})");
    cx.ui.note("place", title, Status::Ok, placement_tables::count_machines(&fit, &demand));
    placement_tables::show(cx, &fit, &demand);
    for finding in &fit.findings {
        cx.ui.say(&finding.to_string());
    }
    let data = json!({
        "clusters": templates.iter().map(|template| &template.name).collect::<Vec<_>>(),
        "provider_version": provider.to_string(),
        "inventory_of": inventory.taken_at,
        "machines": fit.placements,
        "surplus": demand.surplus,
        "nodes": fit.nodes,
        "storages": fit.pools,
        "losses": fit.losses,
        "findings": fit.findings,
    });
    let blind = inventory.storages().next().is_none();
    verdict(cx, (templates, given), (&fit, blind), &demand, data)
}

fn verdict(
    cx: &Cx,
    (templates, given): (&[ClusterTemplate], &str),
    (fit, blind): (&Fit, bool),
    demand: &Demand,
    data: serde_json::Value,
) -> anyhow::Result<Outcome> {
    let (what, explain) = match templates {
        [one] => (format!("cluster `{}`", one.name), format!("cargo xtask cluster-explain {}", one.name)),
        many => (count(many.len(), "cluster"), "cargo xtask cluster-explain".to_owned()),
    };
    if !fit.fits() {
        let errors: Vec<&yaml::Finding> = fit.findings.iter().filter(|finding| finding.is_error()).collect();
        let failure = Failure::new(Code::Failed, format!("{what} cannot fit: {}", count(errors.len(), "error")));
        if blind {
            // Without storages, the individual errors are not worth listing.
            let hint = "grant its login the privileges that `cargo xtask proxmox-audit` lists, then plan again";
            let failure = failure.cause("the provider's login cannot see a storage on any node").hint(hint);
            return Err(failure.next("cargo xtask proxmox-audit").with(data).into());
        }
        // Repeats the findings only if they were not printed before.
        let cause: Vec<&str> = errors.iter().map(|finding| finding.message.as_str()).collect();
        let repeated = || failure.clone().cause(cause.join("\n")).hint(errors[0].fix.clone());
        let failure =
            if cx.ui.shows_messages() { failure.clone().hint("fix what is listed above") } else { repeated() };
        // Machines that Omni has already requested are waiting for room.
        let waits = fit.placements.iter().any(|placement| placement.state != State::New);
        let failure = if waits { failure.next(explain) } else { failure };
        return Err(failure.with(data).into());
    }
    let new = fit.placements.iter().filter(|placement| !matches!(placement.state, State::Exists(_))).count();
    let gone: usize = demand.surplus.values().sum();
    if new == 0 && gone == 0 {
        let summary = match fit.placements.len() {
            1 => format!("{what}: its machine exists"),
            all => format!("{what}: all {all} machines exist"),
        };
        return Ok(Outcome::done(summary).with(data).next(explain));
    }
    let mut words = Vec::new();
    if new > 0 {
        let fit = if new == 1 { "it fits" } else { "they fit" };
        words.push(format!("{} to create, and {fit}", count(new, "machine")));
    }
    if gone > 0 {
        words.push(format!("{gone} to remove"));
    }
    // Another sync does not create machines that Omni has already requested.
    let to_sync = gone > 0 || fit.placements.iter().any(|placement| placement.state == State::New);
    let next = if to_sync { format!("cargo xtask cluster-sync {given}") } else { explain };
    Ok(Outcome::pending(format!("{what}: {}", words.join(", "))).with(data).next(next))
}
