//! `rehearse --project DIR`: takes the operator's own classes and clusters through their life cycle in the lab.
//!
//! 1. Copies the files to a scratch project, and checks them; if a check fails, stops here.
//! 2. Applies every class; creates every cluster, scales it by one and back, and upgrades it if there is a release for that.
//! 3. Turns a node off and on again.
//! 4. Deletes every cluster, and checks that nothing is left.
//!
//! With `--faults N`, the lab has temporary faults; a step that meets one is run again, as an operator would.

use std::path::Path;
use std::time::Instant;

use crate::cli::Rehearse;
use crate::flow::rehearsal::{plan_of_tasks, start_with};
use crate::flow::rehearsed_site::{LifeCycle, Site, argv, report};
use crate::flow::{kit, proxmox};
use crate::prelude::*;
use domain::status::proxmox::Inventory;
use runtime::files;
use runtime::paths::Paths;
use runtime::tool::lab::Options;
use runtime::ui::millis;

/// Temporary faults, each in a place that every rehearsal passes.
const TEMPORARY: &[&str] = &[
    "cluster-sync-cut:1",
    "docker-down:1",
    "image-download-failed:1",
    "machine-task-warns:1",
    "omni-unhealthy:1",
    "placement-vmid-taken:1",
    "provider-crashes:1",
    "proxmox-unauthorized:1",
    "proxmox-web-page:1",
];

/// The images whose versions are taken from the operator's compose file.
const IMAGES: [&str; 2] = ["siderolabs/omni:", "siderolabs/omni-infra-provider-proxmox:"];

const NOT_SIMULATED: [&str; 3] = [
    "what patches, extensions and kernel arguments do inside a machine",
    "static addresses, VLANs, and what the site's network allows",
    "other guests of Proxmox: the resources that they use count as used, but the guests are not simulated",
];

pub fn run(args: &Rehearse, cx: &Cx, program: &Path, dir: &Path) -> anyhow::Result<Outcome> {
    if !dir.is_dir() {
        let failure = Failure::new(Code::NotFound, format!("`{}` is not a directory", dir.display()));
        return Err(failure.hint("specify the directory of a project, which contains docker/ and clusters/").into());
    }
    let dir = std::path::absolute(dir)?;
    let mut site = Site::read(&dir, &args.cluster)?;
    let (inventory, origin) = match &args.inventory {
        Some(file) => (proxmox::read_saved(file)?, format!("`{}`", file.display())),
        None => (site.default_inventory(), "generated so that the classes fit".to_owned()),
    };
    if cx.dry_run {
        return Ok(plan_of_tasks(cx, &tasks_of_site(&site)));
    }
    let faults = chosen_faults(args);
    let begun = Instant::now();
    let scratch = Paths::outside_project(&std::env::temp_dir());
    let options = Options { clock: args.clock, faults: faults.clone(), ..Options::default() };
    let (lab, project) = start_with(cx, program, options, |lab| prepare(lab, &dir, &inventory, scratch))?;
    site.copy_to(&project)?;
    cx.ui.note("site", format!("{} {origin}", count(inventory.nodes.len(), "node")), Status::Ok, faults.join(", "));
    let mut life = LifeCycle { cx, lab: &lab, project: &project, tries: 1 + faults.len(), steps: Vec::new() };
    life.run(&mut site, &inventory, program)?;
    let failed: Vec<&Value> = life.steps.iter().filter(|step| step["status"] == "failed").collect();
    let skipped: Vec<String> = site.skipped.iter().cloned().chain(NOT_SIMULATED.map(str::to_owned)).collect();
    let data = json!({
        "steps": life.steps, "not_rehearsed": skipped, "inventory": origin, "faults": faults,
        "elapsed_ms": begun.elapsed().as_millis() as u64,
    });
    report(cx, &life.steps, &skipped);
    let took = millis(begun.elapsed().as_millis() as u64);
    if let Some(first) = failed.first() {
        let words = |key: &str| first[key].as_str().unwrap_or_default().to_owned();
        let what = format!("{} of {} failed", failed.len(), count(life.steps.len(), "step"));
        return Err(Failure::new(Code::Failed, what)
            .cause(format!("first: `{}`: {}", words("step"), words("error")))
            .hint("the output of the task is above; fix the files, and rehearse again")
            .with(data)
            .into());
    }
    let what = count(site.clusters.len(), "cluster");
    Ok(Outcome::done(format!("rehearsed {what} in {took}: {} passed", count(life.steps.len(), "step"))).with(data))
}

/// Returns the tasks to run, except for losing a node and scaling back.
fn tasks_of_site(site: &Site) -> Vec<Vec<String>> {
    let mut lines = vec![argv(&["machineclass-check", "--offline"]), argv(&["cluster-check", "--offline"])];
    lines.push(argv(&["provider-setup", "--provider-id", &site.provider]));
    lines.extend(site.used_classes().into_iter().map(|class| argv(&["machineclass-apply", class])));
    for task in ["cluster-sync", "cluster-scale", "cluster-upgrade", "cluster-delete"] {
        lines.extend(site.clusters.iter().map(|(_, template)| argv(&[task, &template.name])));
    }
    lines
}

/// Chooses the faults of this run; the same seed gives the same faults.
fn chosen_faults(args: &Rehearse) -> Vec<String> {
    let mut random = args.seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
    let chosen = random.choose_multiple(TEMPORARY, args.faults.unwrap_or(0));
    chosen.into_iter().map(|fault| (*fault).to_owned()).collect()
}

/// Writes a project with the versions of the operator's stack into the lab's directory. Returns it, with the lab's arguments.
fn prepare(lab: &Path, dir: &Path, inventory: &Inventory, outside: Paths) -> anyhow::Result<(Paths, Vec<String>)> {
    let own = files::read_optional_text(&dir.join("docker/compose.yaml"))?.unwrap_or_default();
    let kit = lab.join("kit");
    for (file, text) in kit::list_files() {
        let text = if file == "docker/compose.yaml" { with_pinned_images(&text, &own) } else { text.into_owned() };
        kit::write_file(&kit.join(file), &text)?;
    }
    let saved = lab.join("inventory.json");
    let document = inventory.document().map_err(|why| Failure::new(Code::Failed, why))?;
    files::write_atomically(&saved, document.to_string().as_bytes(), files::PRIVATE)?;
    let mut words = vec!["--inventory".to_owned(), saved.display().to_string()];
    if let Some(release) = tag(&own, IMAGES[0]).filter(|tag| ["v1.4.9", "v1.9.3"].contains(tag)) {
        words.extend(["--omni-version".to_owned(), release.trim_start_matches('v').to_owned()]);
    }
    Ok((Paths::find(Some(&kit), outside.root())?, words))
}

/// Returns the release of an image in a compose file.
fn tag<'a>(text: &'a str, image: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(image)?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-')).unwrap_or(rest.len());
    rest[..end].starts_with('v').then_some(&rest[..end])
}

/// Returns the kit's compose file with the releases of the operator's file.
fn with_pinned_images(kit: &str, own: &str) -> String {
    IMAGES.iter().fold(kit.to_owned(), |text, image| match (tag(&text, image), tag(own, image)) {
        (Some(old), Some(new)) => text.replace(&format!("{image}{old}"), &format!("{image}{new}")),
        _ => text,
    })
}
