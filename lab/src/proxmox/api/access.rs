//! `/access`: logging in, permissions, roles and ACLs (pve-access-control 9.1 `API2/AccessControl.pm`, `API2/Role.pm`,
//! `API2/ACL.pm`).

use serde_json::{Map, Value, json};

use super::{Call, Handler};
use crate::proxmox::access::{Privs, known_path, normalize_path, privilege, special_roles, split_token};
use crate::proxmox::params::split_list;
use crate::proxmox::refusal::{Outcome, Refusal};

pub(super) const HANDLERS: &[Handler] = &[
    ("POST /access/ticket", log_in),
    ("GET /access/permissions", permissions),
    ("GET /access/roles", roles),
    ("POST /access/roles", create_role),
    ("PUT /access/roles/{roleid}", change_role),
    ("DELETE /access/roles/{roleid}", remove_role),
    ("GET /access/acl", acl),
    ("PUT /access/acl", change_acl),
];

/// Issues a ticket for a password. The error does not give the reason for a failure.
fn log_in(call: &mut Call<'_>) -> Outcome {
    let realm = call.args.get("realm").map_or(String::new(), |realm| format!("@{realm}"));
    let user = call.args.text("username") + &realm;
    let password = call.args.text("password");
    if !call.world.access.user(&user).is_ok_and(|known| known.password.as_ref() == Some(&password)) {
        return Err(Refusal::new(401, "authentication failure"));
    }
    let (ticket, csrf) = call.world.log_in(&user, call.now);
    Ok(json!({"username": user, "ticket": ticket, "CSRFPreventionToken": csrf}))
}

fn permissions(call: &mut Call<'_>) -> Outcome {
    let who = call.args.get("userid").unwrap_or_else(|| call.auth.to_owned());
    let own = who == call.auth || (split_token(&who).1.is_some() && split_token(&who).0 == call.auth);
    if !own {
        call.check("/access", &["Sys.Audit"])?;
    }
    let access = &call.world.access;
    let shown: Map<String, Value> = match call.args.get("path") {
        Some(path) => [(path.clone(), access.permissions(&who, &path).to_json())].into_iter().collect(),
        None => access.effective(&who).into_iter().map(|(path, granted)| (path, granted.to_json())).collect(),
    };
    Ok(shown.into())
}

fn is_special(role: &str) -> bool {
    special_roles().contains_key(role)
}

fn roles(call: &mut Call<'_>) -> Outcome {
    let shown = call.world.access.roles.iter().map(
        |(id, privs)| json!({"roleid": id, "privs": Vec::from_iter(privs.iter().copied()).join(","), "special": u8::from(is_special(id))}),
    );
    Ok(shown.collect())
}

fn privileges(list: &str, verb: &str) -> Outcome<Privs> {
    let parse = |name: &String| {
        privilege(name).ok_or_else(|| Refusal::die(format!("{verb} role failed: invalid privilege '{name}'")))
    };
    split_list(list).iter().map(parse).collect()
}

fn create_role(call: &mut Call<'_>) -> Outcome {
    let role = call.args.text("roleid");
    if call.world.access.roles.contains_key(&role) {
        return Err(Refusal::die(format!("create role failed: role '{role}' already exists")));
    }
    let privs = privileges(&call.args.text("privs"), "create")?;
    call.world.access.roles.insert(role, privs);
    Ok(Value::Null)
}

fn change_role(call: &mut Call<'_>) -> Outcome {
    let role = call.args.text("roleid");
    if is_special(&role) {
        return Err(Refusal::die(format!("auto-generated role '{role}' cannot be modified")));
    }
    let privs = privileges(&call.args.text("privs"), "update")?;
    let append = call.args.flag("append");
    let held = call.world.access.roles.get_mut(&role);
    let held = held.ok_or_else(|| format!("update role failed: role '{role}' does not exist"))?;
    if !append {
        held.clear();
    }
    held.extend(privs);
    Ok(Value::Null)
}

fn remove_role(call: &mut Call<'_>) -> Outcome {
    let role = call.args.text("roleid");
    if is_special(&role) {
        return Err(Refusal::die(format!("auto-generated role '{role}' cannot be deleted")));
    }
    match call.world.access.roles.remove(&role) {
        Some(_) => Ok(Value::Null),
        None => Err(Refusal::die(format!("delete role failed: role '{role}' does not exist"))),
    }
}

/// Privileges of which one is enough to change the ACLs of a path (`check_perm_modify`).
fn modifiers(path: &str) -> Vec<&'static str> {
    let mut privileges = vec!["Permissions.Modify"];
    for (folder, privilege) in
        [("/storage/", "Datastore.Allocate"), ("/vms/", "VM.Allocate"), ("/pool/", "Pool.Allocate")]
    {
        if path.starts_with(folder) {
            privileges.push(privilege);
        }
    }
    privileges
}

fn acl(call: &mut Call<'_>) -> Outcome {
    let audit = call.may("/access", &["Sys.Audit"]);
    let entries = call.world.access.acl();
    let visible = entries.filter(|(path, ..)| audit || call.may_any(path, &modifiers(path)));
    let shown = visible.map(|(path, who, role, propagate)| {
        let kind = if split_token(who).1.is_some() { "token" } else { "user" };
        json!({"path": path, "type": kind, "ugid": who, "roleid": role, "propagate": u8::from(propagate)})
    });
    Ok(shown.collect())
}

fn change_acl(call: &mut Call<'_>) -> Outcome {
    let given = call.args.text("path");
    let delete = call.args.flag("delete");
    let invalid = || Refusal::parameter("path", format!("invalid ACL path '{given}'"));
    let path = normalize_path(&given).filter(|path| delete || known_path(path)).ok_or_else(invalid)?;
    call.world.access.check_any(call.auth, &path, &modifiers(&path))?;
    let subjects = subjects(call)?;
    let propagate = call.args.get("propagate").is_none_or(|propagate| propagate == "1");
    let held = call.world.access.permissions(call.auth, &path);
    let verb = if delete { "remove" } else { "add" };
    let roles = call.args.list("roles");
    for role in &roles {
        let privs = call.world.access.roles.get(role);
        let privs = privs.ok_or_else(|| format!("ACL update failed: role '{role}' does not exist"))?;
        if held.set.contains("Permissions.Modify") {
            continue;
        }
        // A caller without `Permissions.Modify` may only grant privileges that it has itself.
        if !held.set.is_superset(privs) {
            let why = "- requires 'Permissions.Modify' or superset of privileges.";
            return Err(Refusal::parameter("role", format!("Cannot {verb} role '{role}' {why}")));
        }
    }
    for role in &roles {
        for who in &subjects {
            call.world.access.set_acl(&path, who, role, (!delete).then_some(propagate));
        }
    }
    Ok(Value::Null)
}

/// The users and tokens that an ACL change applies to. Fails unless all of them exist.
fn subjects(call: &Call<'_>) -> Outcome<Vec<String>> {
    let access = &call.world.access;
    let failed = |why: String| Refusal::die(format!("ACL update failed: {why}"));
    let mut subjects = Vec::new();
    for user in call.args.list("users") {
        if !access.users.contains_key(&user) {
            return Err(failed(format!("user '{user}' does not exist")));
        }
        subjects.push(user);
    }
    for full in call.args.list("tokens") {
        let (user, token) = split_token(&full);
        let token = token.ok_or_else(|| failed(format!("value '{full}' does not look like a valid token ID")))?;
        let owner = access.users.get(user).ok_or_else(|| failed(format!("no such user ('{user}')")))?;
        if !owner.tokens.contains_key(token) {
            return Err(failed(format!("no such token '{token}' for user '{user}'")));
        }
        subjects.push(full);
    }
    if subjects.is_empty() {
        let why = "either 'users', 'groups' or 'tokens' is required."; // groups are not simulated
        let errors = ["users", "groups", "tokens"].map(|name| (name.to_owned(), why.to_owned()));
        return Err(Refusal::parameters(errors.into()));
    }
    Ok(subjects)
}
