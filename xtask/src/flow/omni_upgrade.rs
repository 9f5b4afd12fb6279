//! One upgrade step of Omni: where it starts, the backup to go back to, and the changes.

use crate::flow::change::{Change, Plan};
use crate::flow::omni_stack::{self, OmniAddress, STATE_VERSION};
use crate::flow::project_files::CheckedFile;
use crate::flow::{backup, project_files, site, upgrade};
use check::stack;
use check::upgrade::{Installed, Step, TargetVersions, plan as steps_of};
use domain::failure::{Code, Failure};
use domain::releases::table;
use domain::saved_plan;
use domain::status::docker::Container;
use domain::version::{self, Version};
use domain::words::count;
use runtime::cx::Cx;
use runtime::files;
use runtime::tool::compose::{Compose, OMNI};
use runtime::tool::docker::Docker;
use runtime::tool::install::{self, Sources};
use runtime::tool::omnictl::{self, Omnictl};
use runtime::ui::{Status, StepResult};

/// State key during an upgrade: the version it started from. The next one has what Omni contained then, from [`read_holdings`].
const STATE_FROM: &str = "omni_upgrade_from";
const STATE_HELD: &str = "omni_upgrade_held";

/// An upgrade, planned or already started.
pub struct Upgrade {
    pub from: Version,
    pub to: Version,
    /// The archive to restore for going back.
    pub backup: Option<String>,
    /// The image in `docker/compose.yaml`, before and after.
    images: (String, String),
    compose: CheckedFile,
    /// What Omni contained before, from [`read_holdings`]; `None` if an earlier run found that it had changed.
    before: Option<String>,
}

/// Returns what an upgrade must not change: a hash of all names, a space, and a summary for people. Service-account keys are
/// included if the login may list them.
fn read_holdings(cx: &Cx) -> anyhow::Result<String> {
    let omnictl = Omnictl::find(cx)?;
    let ids = |kind: &str| -> Result<Vec<String>, Failure> {
        Ok(omnictl.list(kind, None)?.into_iter().map(|found| found.metadata.id).collect())
    };
    let mut kinds = vec![("cluster", ids("clusters")?), ("machine", ids("machines")?)];
    match omnictl.service_account_keys() {
        Err(failure) if failure.code == Code::Refused => {}
        keys => kinds.push(("service account key", keys?.into_iter().map(|key| key.id).collect())),
    }
    let account = account(cx)?;
    let (mut names, mut words) = (account.clone(), format!("account {account}"));
    for (kind, mut ids) in kinds {
        ids.sort();
        words += &format!(", {}", count(ids.len(), kind));
        names += &format!("\n{kind}\n{}", ids.join("\n"));
    }
    Ok(format!("{} {words}", saved_plan::hash(names.as_bytes())))
}

/// Returns the summary part of [`read_holdings`].
fn summary(held: &str) -> &str {
    held.split_once(' ').map_or(held, |(_, words)| words)
}

/// Returns the account that Omni's container was started with.
fn account(cx: &Cx) -> Result<String, Failure> {
    let containers = Compose::find(cx)?.containers()?;
    let Some(omni) = stack::service(&containers, OMNI) else { return Ok(String::new()) };
    let inspected = omni_stack::inspect(cx, omni)?;
    Ok(inspected.args.iter().find_map(|arg| arg.strip_prefix("--account-id=")).unwrap_or_default().to_owned())
}

/// Returns the upgrade that an earlier run started and did not finish; that run has already checked the gates and the backup.
///
/// # Errors
/// Returns an error if the state or `docker/compose.yaml` cannot be read.
pub fn find_interrupted(cx: &Cx, containers: &[Container]) -> Result<Option<Upgrade>, Failure> {
    let state = cx.reload_state()?;
    let Some(from) = state.get(STATE_FROM).and_then(|from| version::parse(&from).ok()) else { return Ok(None) };
    let (compose, image) = read_pinned(cx)?;
    let to = upgrade::release_of_image(OMNI, &image)?;
    let running = stack::service(containers, OMNI);
    let detail = format!("from {from} to {to}; Omni's container: {}", running.map_or("none", |found| &found.status));
    cx.ui.note("interrupted", "continuing an interrupted upgrade", Status::Warning, detail);
    let (backup, before) = (state.get("last_backup"), state.get(STATE_HELD));
    Ok(Some(Upgrade { from, to, backup, images: (image.clone(), image), compose, before }))
}

/// Returns the next step to the requested version, if nothing blocks it; `None` if Omni has that version.
///
/// # Errors
/// Fails with [`Code::Usage`] for a version beyond the next minor, with [`Code::Failed`] for a step that is blocked, or if docker
/// or omnictl fails.
pub fn next_upgrade(cx: &Cx, containers: &[Container], to: Option<Version>) -> anyhow::Result<Option<Step>> {
    let pin = &table().recommended.omni.version;
    let wanted = TargetVersions {
        keep_newer: to.is_none(),
        omni: Some(to.as_ref().unwrap_or(pin).clone()),
        ..TargetVersions::default()
    };
    if !containers.iter().any(|container| container.service == OMNI) {
        return Err(Failure::new(Code::Prerequisite, "Omni has no container here")
            .cause("what runs, and whether its clusters are healthy, is not known")
            .hint("start the version that ran last: its tag belongs in docker/compose.yaml")
            .next("cargo xtask stack-up")
            .into());
    }
    // `backup` checks whether there is a backup.
    let installed = Installed { no_backup: None, ..upgrade::read_running(cx, &wanted)? };
    let mut steps = steps_of(&installed, &wanted);
    if let (Some(to), [first, _, ..]) = (&to, steps.as_slice()) {
        return Err(Failure::new(Code::Usage, format!("Omni {to} is {} away", count(steps.len(), "upgrade")))
            .cause("Omni upgrades one minor version at a time: the migrations of a skipped version would be lost")
            .hint(format!("the next one is {}", first.to))
            .next(format!("cargo xtask omni-upgrade --to v{}", first.to))
            .into());
    }
    steps.truncate(1);
    upgrade::refuse_blocked(cx, &steps, "Omni")?;
    Ok(steps.pop())
}

/// Returns the backup to go back to: the last one that `omni-backup` recorded, if it is at most a day old.
///
/// # Errors
/// Fails with [`Code::Prerequisite`] if there is none, it is too old, or its file is gone, unless `without` is set.
pub fn find_backup(cx: &Cx, without: bool) -> Result<Option<String>, Failure> {
    let why = match backup::recent_backup(cx) {
        Ok(file) => {
            cx.ui.note("backup", "Check that there is a current backup", Status::Ok, file.clone());
            return Ok(Some(file));
        }
        Err(why) => why,
    };
    if without {
        cx.ui.note("backup", "there is no current backup", Status::Warning, format!("{why}; continuing without one"));
        return Ok(None);
    }
    Err(Failure::new(Code::Prerequisite, "Omni is not upgraded without a current backup")
        .cause(format!("{why}; an older Omni rejects a store that a newer Omni has migrated"))
        .hint("make a backup, which takes seconds and causes no downtime; --without-backup continues without a backup, and then there is no way back")
        .next("cargo xtask omni-backup"))
}

/// Returns `docker/compose.yaml`, and the image of Omni in it.
fn read_pinned(cx: &Cx) -> Result<(CheckedFile, String), Failure> {
    let path = cx.paths.compose();
    let text = files::read_optional_text(&path)?.unwrap_or_default();
    let image = stack::images(&text).remove(OMNI).ok_or_else(|| {
        Failure::new(Code::Invalid, "docker/compose.yaml has no image of `omni`").hint("restore the file from git")
    })?;
    Ok((CheckedFile { path, bytes: text.into_bytes() }, image))
}

/// Returns the image of Omni with another tag, from the repository that `docker/compose.yaml` uses.
///
/// # Errors
/// Returns an error if the file has no image of Omni.
pub fn image_of(cx: &Cx, tag: &str) -> Result<String, Failure> {
    Ok(with_tag(&read_pinned(cx)?.1, tag))
}

fn with_tag(image: &str, tag: &str) -> String {
    let name = image.split('@').next().unwrap_or_default();
    let repository = stack::tag(image).and_then(|old| name.strip_suffix(&format!(":{old}"))).unwrap_or(name);
    format!("{repository}:{tag}")
}

/// Returns `docker/compose.yaml`, and the image of Omni in it: the current one, and the one with the tag `to`.
///
/// # Errors
/// Fails with [`Code::Invalid`] if the tag cannot be changed in place.
pub fn with_new_tag(cx: &Cx, to: &str) -> Result<(CheckedFile, (String, String)), Failure> {
    let (compose, image) = read_pinned(cx)?;
    let new = if stack::tag(&image) == Some(to) { image.clone() } else { with_tag(&image, to) };
    if String::from_utf8_lossy(&compose.bytes).matches(&image).count() == 1 && !image.contains('$') {
        return Ok((compose, (image, new)));
    }
    Err(Failure::new(Code::Invalid, "the tag of `omni` cannot be changed in docker/compose.yaml")
        .cause(format!("its image is written as `{image}`, not as plain text in one place"))
        .hint(format!("write it as `{new}` yourself, then run this again")))
}

impl Upgrade {
    /// Prepares the upgrade for a step.
    ///
    /// # Errors
    /// Fails with [`Code::Invalid`] if the image cannot be changed in place, or if omnictl fails.
    pub fn of(cx: &Cx, step: Step, backup: Option<String>) -> anyhow::Result<Upgrade> {
        let (compose, (image, new)) = with_new_tag(cx, &format!("v{}", version::bare(&step.to)))?;
        site::refuse_invalid(cx, &String::from_utf8_lossy(&compose.bytes).replacen(&image, &new, 1))?;
        let before = cx.ui.step("holdings", "Count the objects in Omni", || {
            let found = read_holdings(cx)?;
            let words = summary(&found).to_owned();
            Ok(StepResult::ok(found, words))
        })?;
        Ok(Upgrade { from: step.from, to: step.to, backup, images: (image, new), compose, before: Some(before) })
    }

    /// Describes, for the summary, whether Omni still contains the same.
    pub fn holdings_summary(&self) -> &'static str {
        match self.before {
            Some(_) => "account, clusters, machines and keys are the same",
            None => {
                "an earlier run found different data in Omni than before the upgrade, so check its clusters and machines"
            }
        }
    }

    /// Adds to `failure` how to go back.
    fn with_undo(&self, failure: Failure) -> Failure {
        let backup = match &self.backup {
            Some(file) => format!("restore {file} with `cargo xtask omni-restore`"),
            None => "restore a backup of the older version: without one you cannot go back".to_owned(),
        };
        let back = format!("to go back, set the tag of `omni` in docker/compose.yaml to v{} and {backup}", self.from);
        let hint = if failure.hint.is_empty() { back } else { format!("{}; {back}", failure.hint) };
        failure.hint(hint).next("cargo xtask omni-upgrade")
    }
}

/// Returns the changes: first those to the containers, then those that need a running Omni.
///
/// # Errors
/// Returns an error if docker cannot be queried.
pub fn plan<'a>(cx: &Cx, upgrade: &'a Upgrade) -> anyhow::Result<Plan<'a>> {
    let provider = omni_stack::provider_ready(cx).is_ok();
    let (old, new) = &upgrade.images;
    let mut plan = Plan::default();
    plan.push(Change::new(
        "pull",
        new.as_str(),
        "the image is fetched before anything stops",
        "nothing to undo",
        move |cx| {
            let fetched = Docker::find(cx)?.pull(new)?;
            Ok(if fetched { "fetched" } else { "it was already present" }.to_owned())
        },
    ));
    if old != new {
        let text = String::from_utf8_lossy(&upgrade.compose.bytes).replacen(old, new, 1);
        let effect = format!("the tag of `omni`: v{} → v{}", upgrade.from, upgrade.to);
        plan.push(project_files::replace(upgrade.compose.clone(), "docker/compose.yaml", text, effect));
    }
    let effect = format!(
        "Omni v{} → v{}; all containers recreated together, volumes kept; Omni is unavailable for a minute, running clusters are not affected",
        upgrade.from, upgrade.to
    );
    let undo = "the old tag and a restored backup; the newer Omni migrates its store";
    let recreate = Change::new("recreate", "the stack", effect, undo, move |cx| Ok(recreate(cx, upgrade, provider)?));
    let place = OmniAddress::of(cx);
    plan.push(recreate.with_verification(move |cx| {
        omni_stack::verify(cx, provider, place.as_ref()).map_err(|error| upgrade.with_undo(Failure::of(&error)).into())
    }));
    let effect = format!("the version of Omni, v{}, from Omni itself", upgrade.to);
    let install =
        Change::new("install", "omnictl", effect, "install the older one again", move |cx| install(cx, &upgrade.to));
    let mut rest = Plan::from_iter([install]);
    rest.verify(move |cx| check_unchanged(cx, upgrade).map_err(|error| upgrade.with_undo(Failure::of(&error)).into()));
    rest.record(|state| {
        state.set(STATE_FROM, "");
        state.set(STATE_HELD, "");
        state.set(STATE_VERSION, format!("v{}", version::bare(&upgrade.to)));
    });
    Ok(plan.then(rest))
}

fn recreate(cx: &Cx, upgrade: &Upgrade, provider: bool) -> Result<String, Failure> {
    let compose = Compose::find(cx)?;
    compose.check()?;
    let containers = compose.containers()?;
    omni_stack::guard(cx, &containers)?;
    // From here on, the next run resumes an interrupted upgrade, whatever is left of the containers.
    let mut state = cx.reload_state()?;
    state.set(STATE_FROM, format!("v{}", version::bare(&upgrade.from)));
    state.set(STATE_HELD, upgrade.before.clone().unwrap_or_default());
    cx.save_state(state)?;
    compose.up(provider, true).map_err(|failure| upgrade.with_undo(failure))?;
    site::record_start(cx)?;
    Ok("containers recreated, volumes kept".to_owned())
}

/// Installs omnictl of the new version, unless it is installed already.
fn install(cx: &Cx, to: &Version) -> anyhow::Result<String> {
    let there = omnictl::locate().and_then(|path| omnictl::version_of(cx, &path).ok());
    if there.is_some_and(|(own, _)| version::is_same_version(&own, &to.to_string())) {
        return Ok("it already has this version".to_owned());
    }
    let installed =
        install::install(cx, &Sources { release: Some(format!("v{}", version::bare(to))), ..Sources::of(cx) })?;
    install::check_first_on_path(cx, &installed)?;
    Ok(format!("{} from {}, verified", installed.version, installed.from))
}

/// Checks that Omni reports the new version, and contains what it did before.
fn check_unchanged(cx: &Cx, upgrade: &Upgrade) -> anyhow::Result<()> {
    cx.ui.step("version", format!("Check that Omni runs version {}", upgrade.to), || {
        let found = Omnictl::find(cx)?.get("sysversions", "current")?;
        let version = found.map(|found| found.text(&["backendversion"]).to_owned()).unwrap_or_default();
        match version::is_same_version(&version, &upgrade.to.to_string()) {
            true => Ok(StepResult::ok((), version)),
            false => {
                Err(Failure::new(Code::Failed, format!("Omni reports version {version}, not {}", upgrade.to)).into())
            }
        }
    })?;
    let Some(before) = &upgrade.before else { return Ok(()) };
    cx.ui.step("holdings", "Check that Omni has the same data as before", || {
        let after = read_holdings(cx)?;
        if after == *before {
            return Ok(StepResult::ok((), summary(&after)));
        }
        // Between two runs, someone may have changed it on purpose: it is reported once, and the next run succeeds.
        let mut state = cx.reload_state()?;
        state.set(STATE_HELD, "");
        cx.save_state(state)?;
        Err(Failure::new(Code::Failed, "Omni does not have the same data as before the upgrade")
            .cause(format!("before: {}\nnow: {}", summary(before), summary(&after)))
            .into())
    })
}
