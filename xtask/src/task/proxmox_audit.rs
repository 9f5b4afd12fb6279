//! `proxmox-audit`: checks that the provider's login may do everything that the provider does.
//!
//! 1. Reads Proxmox with the provider's own login, and the classes and clusters of this project.
//! 2. Reads the privileges of this login: once for all paths, and again for each path that this leaves in doubt.
//! 3. Goes through every request that the provider makes, and checks each privilege that it needs.
//! 4. Prints the smallest `pveum` script that grants the missing privileges; warns about excess and expiring ones.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::cli::ProxmoxAudit;
use crate::flow::audit::{self, LoginFacts};
use crate::flow::provider;
use crate::flow::proxmox;
use crate::prelude::*;
use check::permissions::{self, Requirements, Row, Scope};
use domain::clock::rfc3339;
use domain::status::proxmox::{Inventory, Permissions};
use runtime::tool::proxmox::Proxmox;

/// A token that expires within this time causes a warning.
const EXPIRY_WARNING: Duration = Duration::from_secs(30 * 86_400);

pub fn run(args: &ProxmoxAudit, cx: &Cx) -> anyhow::Result<Outcome> {
    provider::for_each(cx, |cx| audit_provider(args, cx))
}

fn audit_provider(args: &ProxmoxAudit, cx: &Cx) -> anyhow::Result<Outcome> {
    let login = proxmox::login(cx)?;
    let (provider, origin) = proxmox::provider_version(cx, args.provider_version)?;
    let inventory = proxmox::observe(cx, &login)?;
    let facts = audit::observe(cx, &login)?;
    let wanted = audit::requirements(cx, &|_| true)?;
    audit::report_requirements(cx, &wanted);
    let scope = Scope::new(provider, &inventory, facts.proxmox_facts(), &wanted);
    let title = format!("Check the API calls of provider {provider} ({origin})");
    let permissions = cx.ui.step("permissions", title, || {
        let permissions = audit::permissions_on(cx, &login, &scope, &facts.tree, &audit::visible_paths(&inventory))?;
        Ok(StepResult::ok(permissions, format!("{} checked", count(scope.paths().len(), "path"))))
    })?;
    let rows = permissions::rows(&scope, &permissions);
    let warnings = warnings(&login, &inventory, &facts, &scope, &permissions, &wanted);
    let access = &login.login;
    let (id, user) = (access.id(), access.user());
    let script = permissions::script(
        &scope,
        &permissions,
        &permissions::Login {
            user: &user,
            token: access.token_name().map(|_| id.as_str()),
            privsep: facts.token.map(|token| token.privsep),
            roles: facts.roles.as_ref(),
            acl: &facts.acl,
        },
    );
    audit::show(cx, &rows, &scope, script.as_deref(), args.all);
    for (rule, message) in &warnings {
        cx.ui.note(rule, message.as_str(), Status::Warning, "");
    }
    let listed: Vec<&Row> = rows.iter().filter(|row| args.all || audit::is_missing(row)).collect();
    let present = audit::count_present(&rows);
    let warned = warnings.iter().map(|(rule, message)| json!({ "rule": rule, "message": message }));
    let data = json!({
        "token": id,
        "provider_version": provider.to_string(),
        "proxmox_version": inventory.version,
        "rows": listed,
        "present": present,
        "script": script.clone().unwrap_or_default(),
        "warnings": warned.collect::<Vec<_>>(),
    });
    match audit::missing_failure(access, &rows, &facts, &permissions::unlisted_objects(&rows, &scope, &inventory)) {
        None => {
            let summary = format!("{id} has every privilege that the provider needs ({present})");
            Ok(Outcome::done(summary).with(data).next("cargo xtask provider-verify"))
        }
        Some(failure) => {
            let script = if cx.ui.json() { "the script in `data.script`" } else { "the script above" };
            let hint = format!("run {script} as root on any Proxmox node, then run this again");
            let hint = if failure.hint.is_empty() { hint } else { format!("{}; or {hint}", failure.hint) };
            Err(failure.hint(hint).with(data).into())
        }
    }
}

fn warnings(
    login: &Proxmox,
    inventory: &Inventory,
    facts: &LoginFacts,
    scope: &Scope,
    permissions: &Permissions,
    wanted: &Requirements,
) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    found.extend(scope.without_ha(&inventory.version).map(|message| ("audit-ha", message)));
    found.extend(proxmox::password_advice(&login.login).map(|advice| ("audit-password", advice)));
    if let Some(at) =
        facts.token.map(|token| token.expires).filter(|at| *at > 0).map(|at| UNIX_EPOCH + Duration::from_secs(at))
    {
        let left = at.duration_since(SystemTime::now()).unwrap_or_default();
        if left < EXPIRY_WARNING {
            let days = left.as_secs() / 86_400;
            let until = rfc3339(at);
            found.push((
                "audit-expiry",
                format!(
                    "the token expires in {} ({until}): `pveum user token modify` changes that",
                    count(days as usize, "day")
                ),
            ));
        }
    }
    for (path, privileges) in permissions::excess(scope, permissions, !wanted.machines.is_empty()) {
        let all = privileges.len();
        let some: Vec<&str> = privileges.iter().take(4).map(String::as_str).collect();
        let more = if all > some.len() { format!(" and {} more", all - some.len()) } else { String::new() };
        let what = if privileges.contains("Permissions.Modify") && path == "/" {
            "the login is an administrator: it can grant itself any right; the provider needs none of"
        } else {
            "more rights than these classes need"
        };
        found.push(("audit-excess", format!("{what}: {}{more} on {path}", some.join(", "))));
    }
    for machine in wanted.machines.iter().filter(|machine| machine.hugepages) {
        let message = format!(
            "class `{}` sets `hugepages`, which Proxmox accepts only from root@pam with a password",
            machine.class
        );
        found.push(("audit-hugepages", message));
    }
    found.extend(permissions::unusable_names(inventory, wanted).into_iter().map(|message| ("audit-class", message)));
    let blind = permissions::blind_selectors(inventory, scope, wanted);
    found.extend(blind.into_iter().map(|message| ("audit-selector", message)));
    found.extend(proxmox::warnings(inventory).into_iter().map(|message| ("audit-storage", message)));
    found
}
