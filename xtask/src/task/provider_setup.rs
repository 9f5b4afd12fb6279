//! `provider-setup`: connects Omni to Proxmox.
//!
//! 1. Checks that the programs are installed, that Omni responds as Omni, and that Proxmox accepts the provider's login.
//! 2. Creates `docker/config.yaml` from its example, if it does not exist.
//! 3. Stores the provider's key in `docker/.env`; the provider must be able to register with it.
//! 4. Recreates the stack, all containers together.
//! 5. Verifies the registration with Omni, or from the provider's own log if there is no login to Omni.
//! 6. Updates the state.
//!
//! A further provider, `--provider ID`, has its configuration, key and service in `docker/providers/ID`; the others keep running.

use std::time::SystemTime;

use crate::cli::ProviderSetup;
use crate::flow::change;
use crate::flow::project_files::set_env_key;
use crate::flow::provider_inputs::{ProviderInputs, ProviderKey, ask_for_key, find_key, gather};
use crate::flow::{omni_stack, provider};
use crate::prelude::*;
use domain::clock::rfc3339;
use domain::secret::Secret;
use runtime::files;
use runtime::settings::PROVIDER_ID;
use runtime::state::State;
use runtime::tool::compose::Compose;
use runtime::tool::omnictl::{self, Omnictl};
use runtime::tool::proxmox::Login;
use runtime::tool::{Tool, omni};
use runtime::ui::Check;

pub fn run(args: &ProviderSetup, cx: &Cx) -> anyhow::Result<Outcome> {
    // Without --provider, this is the first provider.
    let cx = &cx.for_provider(&cx.settings.provider_id(None).value)?;
    let _lock = cx.lock()?;
    check_programs(cx)?;
    if omnictl::login(cx).is_some() {
        change::omnictl_on_need(cx)?;
    }
    let inputs = gather(args, cx)?;
    let key = check_services(cx, &inputs)?;
    let mut plan = plan(cx, &inputs, &key)?;
    let omnictl = Omnictl::find(cx).ok();
    // The last heartbeat is from the container that is about to be replaced.
    let before = match &omnictl {
        Some(omnictl) if !plan.is_empty() => provider::last_heartbeat(omnictl, &inputs.id)?,
        _ => None,
    };
    let data = json!({
        "provider_id": inputs.id, "omni_endpoint": inputs.omni, "proxmox_endpoint": inputs.proxmox.url,
        "changed": !plan.is_empty(),
    });
    if plan.is_empty() {
        cx.ui.note("changes", "nothing to change", Status::Skipped, "everything is set up already");
    }
    // The provider's log alone does not show that it is healthy.
    let health = if omnictl.is_some() { "healthy" } else { "unknown" };
    let id = inputs.id.as_str();
    plan.verify(move |cx| provider::verify(cx, omnictl.as_ref(), id, before.as_ref()));
    plan.record(|state| match &cx.settings.provider {
        Some(id) => state.add_to_list("further_providers", id),
        None => record(state, &inputs, health),
    });
    plan.carry_out(cx, &format!("Set up the provider `{}` as shown", inputs.id), &Value::Null)?;
    if omnictl::login(cx).is_none() {
        cx.ui.say("  note: the next tasks call omnictl, and nobody is logged in to Omni");
    }
    let summary = format!("the provider `{}` connects {} to {}", inputs.id, inputs.omni, inputs.proxmox.url);
    let next = ["cargo xtask provider-verify", "cargo xtask proxmox-audit", "cargo xtask machineclass-create"];
    let next = next.into_iter().map(|next| provider::with_flag(cx, next));
    Ok(next.fold(Outcome::done(summary).with(data), Outcome::next))
}

/// Step 1, first half: checks what must be installed, before anything is queried.
fn check_programs(cx: &Cx) -> anyhow::Result<()> {
    cx.ui.step("curl", "Check that curl is installed", || {
        Ok(StepResult::ok((), Tool::Curl.find()?.display().to_string()))
    })?;
    cx.ui.step("compose", "Check docker's compose plugin", || Ok(StepResult::ok((), Compose::find(cx)?.version()?)))?;
    for path in [cx.paths.env(), cx.paths.provider_env(), cx.paths.config(), cx.paths.state()] {
        files::check_writable(&path)?;
    }
    let hint = "copy docker/.env.example to docker/.env and fill it in; docker/README.md explains each value";
    Ok(omni_stack::require_env(cx).map_err(|failure| Failure { next: Vec::new(), ..failure.hint(hint) })?)
}

/// Step 1, second half, and the key check of step 3: everything that needs the network, in parallel.
fn check_services(cx: &Cx, inputs: &ProviderInputs) -> anyhow::Result<ProviderKey> {
    let checks = vec![
        Check::new("omni", format!("Check that Omni answers at {}", inputs.omni), || {
            omni::check_health(cx, &inputs.omni, inputs.ca_file.as_deref())?;
            Ok(StepResult::ok(None, "healthy"))
        }),
        Check::new("proxmox", format!("Check that Proxmox answers at {}", inputs.proxmox.url), || {
            let version = inputs.proxmox.version(cx)?;
            Ok(StepResult::ok(None, format!("version {version}, as {}", inputs.proxmox.login.id())))
        }),
        Check::new("compose-file", "Check docker/compose.yaml and its variables", || {
            omni_stack::check_env(cx)?;
            Compose::find(cx)?.check()?;
            Ok(StepResult::ok(None, ""))
        }),
        Check::new("key", "Check the provider's key", || find_key(cx, &inputs.id)),
    ];
    // All are reported; the first failure stops the task.
    let results = cx.ui.run_checks("querying Omni and Proxmox", checks);
    let keys = results.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    match keys.into_iter().flatten().next() {
        Some(key) => Ok(key),
        None => ask_for_key(cx, inputs),
    }
}

/// Steps 2 to 4, as a plan.
fn plan<'a>(cx: &Cx, inputs: &'a ProviderInputs, key: &ProviderKey) -> anyhow::Result<Plan<'a>> {
    let mut plan = Plan::default();
    let env_key = "OMNI_INFRA_PROVIDER_KEY";
    match key {
        ProviderKey::Stored => {}
        ProviderKey::Given(secret) => {
            plan.push(set_env_key(cx, env_key, secret.clone(), "the provider can register", "remove the line"));
        }
        ProviderKey::Created { exists } => plan.push(provider::create_key(cx, inputs.id.clone(), *exists)),
    }
    let set = |key: &'static str, value: &str, effect: &str| {
        set_env_key(cx, key, Secret::plain(value), effect, "restore the line")
    };
    let further = cx.settings.provider.is_some();
    if !further && cx.settings.env_file.get("OMNI_PROVIDER_ID").unwrap_or(PROVIDER_ID) != inputs.id {
        plan.push(set("OMNI_PROVIDER_ID", &inputs.id, "the provider registers under this id"));
    }
    if let Some(file) = inputs.ca_file.as_deref().filter(|_| !inputs.proxmox.insecure) {
        let absolute = std::fs::canonicalize(file).map_err(|error| {
            Failure::new(Code::Prerequisite, format!("the file of certificate authorities `{file}` cannot be read"))
                .cause(error.to_string())
                .hint("check --ca-file and SSL_CERT_FILE")
        })?;
        let absolute = absolute.display().to_string();
        if cx.settings.env_file.get("PROVIDER_CA_FILE") != Some(absolute.as_str()) {
            let effect = "the provider trusts the authorities that this machine trusts";
            plan.push(set("PROVIDER_CA_FILE", &absolute, effect));
        }
    }
    if let (false, Login::Token(token)) = (inputs.configured, &inputs.proxmox.login) {
        plan.push(provider::create_config(cx, &inputs.proxmox, token)?);
    }
    if further {
        provider::create_service(cx, &inputs.id)?.into_iter().for_each(|change| plan.push(change));
    }
    let containers = Compose::find(cx)?.containers()?;
    let service = cx.settings.provider_service();
    let runs = containers.iter().any(|container| container.service == service)
        && containers.iter().all(|container| container.is_healthy());
    if !plan.is_empty() || !runs || !provider::is_connected(cx, &inputs.id)? {
        omni_stack::refuse_version_change(cx, &containers)?;
        let moved = omni_stack::version_note(cx, &containers);
        plan.push(match further {
            // The others keep running: the new container joins the network of the running sidecar.
            true => omni_stack::start(true, false, format!("`{service}` next to the other containers{moved}")),
            false => omni_stack::restart(format!("all containers recreated together, volumes kept{moved}")),
        });
    }
    Ok(plan)
}

/// Step 6: updates the state.
fn record(state: &mut State, inputs: &ProviderInputs, health: &str) {
    let now = rfc3339(SystemTime::now());
    state.set("provider_configured", true);
    state.set("provider_id", inputs.id.as_str());
    state.set("provider_configured_at", now.as_str());
    state.set("provider_status", health);
    state.set("last_checked", now.as_str());
    state.set("omni_endpoint", inputs.omni.as_str());
    state.set("proxmox_endpoint", inputs.proxmox.url.as_str());
}
