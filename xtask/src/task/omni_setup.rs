//! `omni-setup`: brings Omni up, from values that it prompts for once.
//!
//! 1. Checks that Docker, its compose plugin and curl are installed.
//! 2. Gathers all values from flags, environment, `docker/.env`, and on a terminal from prompts; values that are still missing
//!    are reported. The account UUID is created once and never changed.
//! 3. Checks the values: address, certificate with its chain and key, issuer, user; that Omni's data is on mounts; and that an
//!    existing key can be used.
//! 4. Writes `docker/.env` (0600), `docker/site.yaml` for a new Omni, and a missing store key; starts the stack.
//! 5. Waits until the containers run, and Omni responds at the address that machines use.
//! 6. Presents Omni's licence to the operator. The task never accepts it.
//! 7. If requested, creates a service account for the tasks, and shows where its key is and when it expires.
//! 8. Updates the state.

use std::cell::Cell;

use crate::cli::OmniSetup;
use crate::flow::omni_inputs::{AdoptedValues, OmniInputs, gather};
use crate::flow::{doctor, omni_checks, omni_stack, project_files, service_account, site};
use crate::prelude::*;
use domain::spec::env::EnvFile;
use runtime::files;
use runtime::tool::compose::Compose;
use runtime::tool::docker::{Docker, STORE_VOLUME};
use runtime::tool::{Tool, gpg};

pub fn run(args: &OmniSetup, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let compose = check_programs(cx)?;
    let store = find_store(cx)?;
    let example = read_example(cx)?;
    let inputs = gather(&args.values, cx, &example, store == Some(true), &AdoptedValues::new())?;
    omni_checks::check_inputs(cx, &compose, &inputs, store)?;
    site::check_step(cx)?;
    let (name, endpoint) = (args.service_account_name.as_str(), inputs.endpoint());
    let (place, agreed) = (inputs.address(cx), Cell::new("unknown"));
    let mut plan = plan(cx, &compose, &inputs, (&example, store == Some(false)))?;
    let account = match &args.service_account {
        Some(role) => service_account::ensure(cx, name, role, plan.is_empty())?,
        None => None,
    };
    let asks = account.is_some();
    plan.verify(|cx| {
        let titles = ["Wait until the sidecar and Omni run", "Wait until Omni answers at its address"];
        omni_stack::verify_as(cx, (&omni_stack::services(cx, false), Some(&place)), titles)?;
        agreed.set(omni_checks::report_licence(cx, &endpoint, asks)?);
        Ok(())
    });
    plan.record(|state| OmniInputs::record(state, &endpoint));
    let plan = plan.then(Plan::from_iter(account));
    let changed = !plan.is_empty();
    if !changed {
        cx.ui.note("changes", "nothing to change", Status::Skipped, "everything is set up already");
    }
    plan.carry_out(cx, &format!("Set up Omni at {endpoint} as shown"), &Value::Null)?;
    let account = args.service_account.as_ref().map_or(Value::Null, |role| service_account::document(cx, name, role));
    let data = json!({
        "omni_endpoint": endpoint, "account_uuid": inputs.get("OMNI_ACCOUNT_UUID"), "changed": changed,
        "licence": agreed.get(), "service_account": account,
    });
    let mut outcome = Outcome::done(format!("Omni runs at {endpoint}")).with(data);
    if agreed.get() != "accepted" {
        outcome = outcome.next(format!("read Omni's licence at {endpoint}/eula, and decide"));
    }
    Ok(outcome.next("cargo xtask omni-verify").next("cargo xtask tsidp-verify").next("cargo xtask provider-setup"))
}

/// Step 1: checks the programs.
fn check_programs(cx: &Cx) -> anyhow::Result<Compose<'_>> {
    cx.ui.step("curl", "Check that curl is installed", || {
        Ok(StepResult::ok((), Tool::Curl.find()?.display().to_string()))
    })?;
    let compose = cx.ui.step("compose", "Check docker's compose plugin", || {
        let compose = Compose::find(cx)?;
        let version = compose.version()?;
        if doctor::compose_too_old(&version) {
            return Err(Failure::new(Code::Prerequisite, format!("compose {version} is older than 2.23.1"))
                .cause("the compose file contains inline file contents, which older versions do not support")
                .hint("install docker-compose-v2 (Ubuntu) or docker-compose (Debian 13), or follow docs.docker.com/compose/install")
                .into());
        }
        Ok(StepResult::ok(compose, version))
    })?;
    cx.ui.step("engine", "Check that the Docker engine answers", || {
        Ok(StepResult::ok((), Docker::find(cx)?.engine_version()?))
    })?;
    for path in [cx.paths.env(), cx.paths.store_key(), cx.paths.state()] {
        files::check_writable(&path)?;
    }
    Ok(compose)
}

/// Returns true if Omni already has a store; `None` if docker cannot report it.
fn find_store(cx: &Cx) -> anyhow::Result<Option<bool>> {
    cx.ui.step("store", "Check whether Omni ran here before", || {
        Ok(match Docker::find(cx)?.has_volume(STORE_VOLUME) {
            Ok(true) => StepResult::ok(Some(true), format!("the volume {STORE_VOLUME} exists")),
            Ok(false) => {
                omni_checks::refuse_other_omni(cx)?;
                StepResult::ok(Some(false), "no, this is the first installation")
            }
            Err(failure) => StepResult::warning(None, format!("not known: {failure}")),
        })
    })
}

fn read_example(cx: &Cx) -> anyhow::Result<EnvFile> {
    let path = cx.paths.env_example();
    let text = cx.read(&path, "restore it from the repository")?;
    Ok(EnvFile::parse(&cx.paths.show(&path), &String::from_utf8_lossy(&text))?)
}

/// Step 4, as a plan.
fn plan<'a>(
    cx: &Cx,
    compose: &Compose<'_>,
    inputs: &'a OmniInputs,
    (example, first): (&EnvFile, bool),
) -> anyhow::Result<Plan<'a>> {
    let mut plan: Plan<'_> = inputs.env_changes(cx, example).into_iter().collect();
    let key = cx.paths.store_key();
    match key.exists() {
        true => plan.append(Plan::from_iter(project_files::protect(key, "docker/omni.asc"))),
        false => {
            let effect = "the encryption key of Omni's store: no passphrase, an encryption subkey, no expiry";
            let undo = "remove the file, before Omni's first start";
            plan.push(Change::new("create", "docker/omni.asc", effect, undo, move |cx| {
                let made = gpg::create_store_key(cx, inputs.get("OMNI_INITIAL_USER"))?;
                files::write_new(&key, made.expose().as_bytes(), files::PRIVATE)?;
                Ok("created; it decrypts without a passphrase".to_owned())
            }));
        }
    }
    plan.append(site::initial_changes(cx, first)?.into_iter().collect());
    let containers = compose.containers()?;
    let provider = omni_stack::provider_ready(cx).is_ok();
    let well = omni_stack::all_running(cx, provider, &containers);
    // Left by a run that was interrupted before it started the stack.
    let outdated = !omni_stack::changed_values(cx, &containers)?.is_empty();
    if !plan.is_empty() || !well || outdated {
        omni_stack::refuse_version_change(cx, &containers)?;
        // Containers with outdated values are recreated together, since they share one network.
        let recreate =
            (!containers.is_empty() && !plan.is_empty()) || outdated || omni_stack::needs_recreate(&containers);
        let what = if recreate { "all containers recreated together, volumes kept" } else { "its containers run" };
        let effect = format!("{what}{}", omni_stack::version_note(cx, &containers));
        plan.push(omni_stack::start(provider, recreate, effect));
    }
    Ok(plan)
}
