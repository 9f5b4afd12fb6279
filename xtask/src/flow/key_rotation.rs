//! Replaces credentials without a gap: the new one exists and is tested before the old one is removed.

use crate::cli::RotatableKey;
use crate::flow::{omni_stack, project_files, provider, proxmox, service_account};
use crate::prelude::*;
use domain::secret::Secret;
use domain::spec::config::{self, with_api_path};
use runtime::files;
use runtime::settings::environment;
use runtime::tool::omnictl::Omnictl;
use runtime::tool::proxmox::{Login, Proxmox, Token};

/// A rotation, and what has to be done manually.
pub struct Rotation {
    pub plan: Plan<'static>,
    pub left: String,
    pub next: Option<String>,
}

/// Plans the rotation of a credential.
///
/// # Errors
/// Returns an error if there is no such credential, or the login may not replace it.
pub fn plan_rotation(cx: &Cx, name: RotatableKey) -> anyhow::Result<Rotation> {
    match name {
        RotatableKey::Account => {
            let plan = service_account::plan_rotation(cx)?;
            let left = "the tasks use the new service account, and the old one is deleted".to_owned();
            Ok(Rotation { plan, left, next: None })
        }
        RotatableKey::Provider => rotate_provider_key(cx),
        RotatableKey::Proxmox => rotate_proxmox_token(cx),
    }
}

/// Creates another key for the provider; Omni accepts it in addition to the older ones.
fn rotate_provider_key(cx: &Cx) -> anyhow::Result<Rotation> {
    let id = cx.settings.provider_id(None).value;
    let omnictl = Omnictl::find(cx)?;
    if provider::registration(cx, &omnictl, &id)?.is_none() {
        return Err(Failure::new(Code::NotFound, format!("Omni has no provider `{id}`"))
            .next("cargo xtask provider-setup")
            .into());
    }
    let mut plan = Plan::from_iter([provider::create_key(cx, id.clone(), true)]);
    restart(cx, &mut plan, &omnictl, id)?;
    let left = "the provider uses its new key; Omni cannot revoke the old key, which works until it expires".to_owned();
    Ok(Rotation { plan, left, next: None })
}

/// Recreates the provider's container, and waits for a heartbeat of the new one.
fn restart(cx: &Cx, plan: &mut Plan<'static>, omnictl: &Omnictl<'_>, id: String) -> anyhow::Result<()> {
    omni_stack::check_env(cx)?;
    let before = provider::last_heartbeat(omnictl, &id)?;
    plan.push(omni_stack::restart_provider(cx.settings.provider_service()));
    plan.verify(move |cx| provider::verify(cx, Some(&Omnictl::find(cx)?), &id, before.as_ref()));
    Ok(())
}

/// Tests a new token and switches to it. The operator creates it, because the tasks may not; the old one is named for removal.
fn rotate_proxmox_token(cx: &Cx) -> anyhow::Result<Rotation> {
    const NEW_TOKEN: &str = "PROXMOX_VE_API_TOKEN";
    let old = proxmox::configured(cx)?;
    let user = old.login.user();
    let hint = format!(
        "as root on a Proxmox node, `pveum user token add {user} NAME --privsep 0` creates a token: export {NEW_TOKEN}='{user}!NAME=SECRET'"
    );
    let Some(text) = environment(NEW_TOKEN) else {
        return Err(Failure::missing(vec![MissingValue::secret("the new Proxmox token", NEW_TOKEN)]).hint(hint).into());
    };
    let token = Token::parse(&text, &format!("{NEW_TOKEN} in the environment"))?;
    let new = Proxmox::new(old.url.clone(), old.origin.clone(), Login::Token(token.clone()), old.ca_file.clone());
    let new = new.insecure(old.insecure);
    refuse_fewer_privileges(cx, &old, &new)?;
    let path = cx.paths.config();
    let text = cx.read(&path, "")?;
    let (text, url) = (String::from_utf8_lossy(&text), with_api_path(&old.url));
    let filled = config::fill(&text, &url, &token.id, &token.secret, old.insecure)?;
    let effect = format!("the provider reaches Proxmox as {}, no longer as {}", token.id, old.login.id());
    let (file, contents) = ((path.clone(), cx.paths.show(&path)), (Secret::plain(filled), files::PRIVATE));
    let write = project_files::write("update", file, contents, effect, "write the old token into it");
    // An interrupted run may have written it, while the provider still runs with the old one.
    let written = new.login == old.login;
    let mut plan: Plan<'static> = (!written).then_some(write).into_iter().collect();
    restart(cx, &mut plan, &Omnictl::find(cx)?, cx.settings.provider_id(None).value)?;
    let used = format!("the provider uses {}", new.login.id());
    let left = format!("{used}; remove the old one as root on a Proxmox node");
    let (left, next) = match old.login.token_name() {
        // The token was recreated under the same name: there is no old one to remove.
        Some(_) if new.login.id() == old.login.id() && !written => (used, "cargo xtask provider-verify".to_owned()),
        Some(name) if !written => (left, format!("pveum user token remove {user} {name}")),
        _ => (left, format!("pveum user token list {user}")),
    };
    Ok(Rotation { plan, left, next: Some(next) })
}

/// Refuses a token with fewer privileges than the old one.
fn refuse_fewer_privileges(cx: &Cx, old: &Proxmox, new: &Proxmox) -> anyhow::Result<()> {
    cx.ui.step("token", format!("Check that Proxmox accepts {}", new.login.id()), || {
        let ask = |proxmox: &Proxmox| proxmox.get(cx, "reading the privileges of the token", "/access/permissions");
        let after = ask(new)?;
        let before = match ask(old) {
            // This may be the reason for the rotation: there is nothing to compare with.
            Err(failure) if failure.code == Code::Refused => {
                return Ok(StepResult::warning((), "Proxmox refuses the old token, so its privileges are not known"));
            }
            before => before?,
        };
        let mut lost = Vec::new();
        for (path, privileges) in before.as_object().into_iter().flatten() {
            for privilege in privileges.as_object().into_iter().flat_map(serde_json::Map::keys) {
                if after[path].get(privilege).is_none() {
                    lost.push(format!("{privilege} on {path}"));
                }
            }
        }
        match lost.as_slice() {
            [] => Ok(StepResult::ok((), "it has the privileges of the old token")),
            lost => Err(Failure::new(Code::Refused, format!("{} lacks privileges of the old token", new.login.id()))
                .cause(format!("it lacks {}", lost.join(", ")))
                .hint("nothing was changed; `pveum user token modify USER NAME --privsep 0` gives it the rights of its user")
                .into()),
        }
    })
}
