//! `/access/users`: users and their API tokens (pve-access-control 9.1 `API2/User.pm`).

use serde_json::{Map, Value, json};

use super::{Call, Method, Needs};
use crate::proxmox::access::{Subject, Token, User};
use crate::proxmox::params::{ANY, Kind, Param, optional, required};
use crate::proxmox::refusal::{Outcome, Refusal};

const ADMIN: Needs = Needs::All("/access/groups", &["User.Modify"]);
const SEE: Needs = Needs::Or(&[Needs::OwnUser, Needs::All("/access/groups", &["Sys.Audit"])]);

const USER: &[Param] = &[
    optional("enable", Kind::Bool),
    optional("expire", Kind::Int(0, ANY)),
    optional("comment", Kind::Text(2048)),
    optional("email", Kind::Text(254)),
    optional("firstname", Kind::Text(1024)),
    optional("lastname", Kind::Text(1024)),
];

const NEW_USER: &[Param] = &[
    required("userid", Kind::Format(user_id)),
    optional("password", Kind::Text(64)),
    optional("groups", Kind::Text(4096)),
    optional("enable", Kind::Bool),
    optional("expire", Kind::Int(0, ANY)),
    optional("comment", Kind::Text(2048)),
    optional("email", Kind::Text(254)),
    optional("firstname", Kind::Text(1024)),
    optional("lastname", Kind::Text(1024)),
];

const TOKEN: &[Param] =
    &[optional("privsep", Kind::Bool), optional("expire", Kind::Int(0, ANY)), optional("comment", Kind::Text(2048))];

pub(super) const METHODS: &[Method] = &[
    Method::new("GET", "/access/users", Needs::Anyone, users)
        .with(&[optional("enabled", Kind::Bool), optional("full", Kind::Bool)]),
    Method::new("POST", "/access/users", ADMIN, create_user).with(NEW_USER),
    Method::new("GET", "/access/users/{userid}", SEE, read_user),
    Method::new("PUT", "/access/users/{userid}", ADMIN, change_user).with(USER),
    Method::new("DELETE", "/access/users/{userid}", ADMIN, remove_user),
    Method::new("GET", "/access/users/{userid}/token", Needs::OwnUser, tokens),
    Method::new("GET", "/access/users/{userid}/token/{tokenid}", Needs::OwnUser, read_token),
    Method::new("POST", "/access/users/{userid}/token/{tokenid}", Needs::OwnUser, create_token).with(TOKEN),
    Method::new("PUT", "/access/users/{userid}/token/{tokenid}", Needs::OwnUser, change_token).with(TOKEN),
    Method::new("DELETE", "/access/users/{userid}/token/{tokenid}", Needs::OwnUser, remove_token),
];

fn user_id(_: &str, text: &str) -> Result<(), String> {
    let bad = |c: char| matches!(c, ':' | '/' | '@') || c.is_whitespace();
    match text.rsplit_once('@') {
        Some((name, "pam" | "pve")) if !name.is_empty() && !name.contains(bad) => Ok(()),
        Some((_, realm @ ("pam" | "pve"))) => {
            Err(format!("value '{text}' does not look like a valid user name ({realm})"))
        }
        _ => Err(format!("value '{text}' does not look like a valid user name")),
    }
}

fn user_json(user: &User) -> Map<String, Value> {
    let mut shown = Map::from_iter([
        ("enable".to_owned(), u8::from(user.enabled).into()),
        ("expire".to_owned(), user.expire.into()),
    ]);
    if !user.comment.is_empty() {
        shown.insert("comment".into(), user.comment.as_str().into());
    }
    shown
}

fn token_json(token: &Token) -> Map<String, Value> {
    let mut shown = Map::from_iter([
        ("privsep".to_owned(), u8::from(token.privsep).into()),
        ("expire".to_owned(), token.expire.into()),
    ]);
    if !token.comment.is_empty() {
        shown.insert("comment".into(), token.comment.as_str().into());
    }
    shown
}

fn token_list(user: &User) -> Value {
    let shown = user.tokens.iter().map(|(id, token)| {
        let mut shown = token_json(token);
        shown.insert("tokenid".into(), id.as_str().into());
        Value::from(shown)
    });
    shown.collect()
}

fn user<'a>(call: &'a Call<'_>) -> Outcome<&'a User> {
    let id = call.args.text("userid");
    call.world.access.users.get(&id).ok_or_else(|| Refusal::die(format!("no such user ('{id}')")))
}

fn user_mut<'a>(call: &'a mut Call<'_>) -> Outcome<&'a mut User> {
    let id = call.args.text("userid");
    call.world.access.users.get_mut(&id).ok_or_else(|| Refusal::die(format!("no such user ('{id}')")))
}

fn users(call: &mut Call<'_>) -> Outcome {
    let all = call.may_any("/access/groups", &["User.Modify", "Sys.Audit"]);
    let (full, enabled) = (call.args.flag("full"), call.args.get("enabled"));
    let visible = call.world.access.users.iter().filter(|(id, user)| {
        (all || *id == call.auth) && enabled.as_deref().is_none_or(|enabled| (enabled == "1") == user.enabled)
    });
    let shown = visible.map(|(id, user)| {
        let mut shown = user_json(user);
        shown.insert("userid".into(), id.as_str().into());
        shown.insert("realm-type".into(), id.rsplit('@').next().unwrap_or("").into());
        if full {
            shown.insert("tokens".into(), token_list(user));
        }
        Value::from(shown)
    });
    Ok(shown.collect())
}

fn read_user(call: &mut Call<'_>) -> Outcome {
    let user = user(call)?;
    let mut shown = user_json(user);
    let tokens = user.tokens.iter().map(|(id, token)| (id.clone(), Value::from(token_json(token))));
    shown.insert("tokens".into(), tokens.collect::<Map<_, _>>().into());
    Ok(shown.into())
}

fn create_user(call: &mut Call<'_>) -> Outcome {
    let id = call.args.text("userid");
    let failed = |why: String| Refusal::die(format!("create user failed: {why}"));
    let groups = call.args.list("groups");
    let access = &mut call.world.access;
    if access.users.contains_key(&id) {
        return Err(failed(format!("user '{id}' already exists")));
    }
    if let Some(group) = groups.iter().find(|group| !access.groups.contains_key(*group)) {
        return Err(failed(format!("no such group '{group}'")));
    }
    let args = &call.args;
    let user = User {
        enabled: args.get("enable").is_none_or(|enable| enable == "1"),
        expire: args.int("expire").unwrap_or(0).unsigned_abs(),
        comment: args.text("comment"),
        password: args.get("password"),
        ..User::default()
    };
    access.users.insert(id.clone(), user);
    for group in groups {
        if let Some(group) = access.groups.get_mut(&group) {
            group.users.insert(id.clone());
        }
    }
    Ok(Value::Null)
}

fn change_user(call: &mut Call<'_>) -> Outcome {
    let (enable, expire, comment) = (call.args.get("enable"), call.args.int("expire"), call.args.get("comment"));
    let user = user_mut(call)?;
    if let Some(enable) = enable {
        user.enabled = enable == "1";
    }
    if let Some(expire) = expire {
        user.expire = expire.unsigned_abs();
    }
    if let Some(comment) = comment {
        user.comment = comment;
    }
    Ok(Value::Null)
}

/// Removes from the ACLs all that was granted to one subject.
fn forget(call: &mut Call<'_>, gone: impl Fn(Subject, &str) -> bool) {
    let held = call.world.access.acl().filter(|(_, subject, who, ..)| gone(*subject, who));
    let held: Vec<_> =
        held.map(|(path, subject, who, role, _)| (path.to_owned(), subject, who.to_owned(), role.to_owned())).collect();
    for (path, subject, who, role) in held {
        call.world.access.set_acl(&path, subject, &who, &role, crate::proxmox::access::AclChange::Revoke);
    }
}

fn remove_user(call: &mut Call<'_>) -> Outcome {
    let id = call.args.text("userid");
    user(call)?;
    call.world.access.users.remove(&id);
    call.world.access.groups.values_mut().for_each(|group| {
        group.users.remove(&id);
    });
    let token = format!("{id}!");
    forget(call, |subject, who| subject != Subject::Group && (who == id || who.starts_with(&token)));
    Ok(Value::Null)
}

fn tokens(call: &mut Call<'_>) -> Outcome {
    Ok(token_list(user(call)?))
}

fn token<'a>(call: &'a Call<'_>) -> Outcome<&'a Token> {
    let (id, name) = (call.args.text("userid"), call.args.text("tokenid"));
    let token = user(call)?.tokens.get(&name);
    token.ok_or_else(|| Refusal::die(format!("no such token '{name}' for user '{id}'")))
}

fn read_token(call: &mut Call<'_>) -> Outcome {
    Ok(token_json(token(call)?).into())
}

fn create_token(call: &mut Call<'_>) -> Outcome {
    let name = call.args.text("tokenid");
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.len() < 2 || !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(good) {
        return Err(Refusal::parameter("tokenid", "value does not match the regex pattern"));
    }
    if user(call)?.tokens.contains_key(&name) {
        return Err(Refusal::parameter("tokenid", "Token already exists."));
    }
    let token = Token {
        secret: call.world.uuid(),
        privsep: call.args.get("privsep").is_none_or(|privsep| privsep == "1"),
        expire: call.args.int("expire").unwrap_or(0).unsigned_abs(),
        comment: call.args.text("comment"),
    };
    let full = format!("{}!{name}", call.args.text("userid"));
    let answer = json!({"info": token_json(&token), "value": token.secret, "full-tokenid": full});
    user_mut(call)?.tokens.insert(name, token);
    Ok(answer)
}

fn change_token(call: &mut Call<'_>) -> Outcome {
    token(call)?;
    let name = call.args.text("tokenid");
    let (privsep, expire, comment) = (call.args.get("privsep"), call.args.int("expire"), call.args.get("comment"));
    let Some(token) = user_mut(call)?.tokens.get_mut(&name) else { return Ok(Value::Null) };
    if let Some(privsep) = privsep {
        token.privsep = privsep == "1";
    }
    if let Some(expire) = expire {
        token.expire = expire.unsigned_abs();
    }
    if let Some(comment) = comment {
        token.comment = comment;
    }
    Ok(token_json(token).into())
}

fn remove_token(call: &mut Call<'_>) -> Outcome {
    token(call)?;
    let name = call.args.text("tokenid");
    let full = format!("{}!{name}", call.args.text("userid"));
    user_mut(call)?.tokens.remove(&name);
    forget(call, |subject, who| subject == Subject::Token && who == full);
    Ok(Value::Null)
}
