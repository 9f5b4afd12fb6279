//! `/access/users`: users and their API tokens (pve-access-control 9.1 `API2/User.pm`).

use serde_json::{Map, Value, json};

use super::{Call, Handler};
use crate::proxmox::access::{Token, User};
use crate::proxmox::refusal::{Outcome, Refusal};

pub(super) const HANDLERS: &[Handler] = &[
    ("POST /access/users", create_user),
    ("GET /access/users/{userid}", read_user),
    ("DELETE /access/users/{userid}", remove_user),
    ("GET /access/users/{userid}/token/{tokenid}", read_token),
    ("POST /access/users/{userid}/token/{tokenid}", create_token),
    ("PUT /access/users/{userid}/token/{tokenid}", change_token),
];

fn token_json(token: &Token) -> Value {
    json!({"privsep": u8::from(token.privsep), "expire": token.expire})
}

fn user<'a>(call: &'a Call<'_>) -> Outcome<&'a User> {
    call.world.access.user(&call.args.text("userid")).map_err(Refusal::die)
}

fn user_mut<'a>(call: &'a mut Call<'_>) -> Outcome<&'a mut User> {
    let id = call.args.text("userid");
    call.world.access.users.get_mut(&id).ok_or_else(|| Refusal::die(format!("no such user ('{id}')")))
}

fn read_user(call: &mut Call<'_>) -> Outcome {
    let user = user(call)?;
    let tokens: Map<String, Value> = user.tokens.iter().map(|(id, token)| (id.clone(), token_json(token))).collect();
    Ok(json!({"enable": 1, "expire": 0, "tokens": tokens}))
}

fn create_user(call: &mut Call<'_>) -> Outcome {
    let id = call.args.text("userid");
    let failed = |why: String| Refusal::die(format!("create user failed: {why}"));
    let access = &mut call.world.access;
    if access.users.contains_key(&id) {
        return Err(failed(format!("user '{id}' already exists")));
    }
    access.users.insert(id, User::default());
    Ok(Value::Null)
}

fn remove_user(call: &mut Call<'_>) -> Outcome {
    let id = call.args.text("userid");
    user(call)?;
    call.world.access.users.remove(&id);
    call.world.access.remove_subject(&id);
    Ok(Value::Null)
}

fn read_token(call: &mut Call<'_>) -> Outcome {
    let id = call.args.text("tokenid");
    let token = user(call)?.tokens.get(&id);
    token
        .map(token_json)
        .ok_or_else(|| Refusal::die(format!("no such token '{id}' for user '{}'", call.args.text("userid"))))
}

fn change_token(call: &mut Call<'_>) -> Outcome {
    read_token(call)?;
    let (name, privsep, expire) = (call.args.text("tokenid"), call.args.get("privsep"), call.args.int("expire"));
    let Some(token) = user_mut(call)?.tokens.get_mut(&name) else { return Ok(Value::Null) };
    token.privsep = privsep.map_or(token.privsep, |privsep| privsep == "1");
    token.expire = expire.map_or(token.expire, i64::unsigned_abs);
    Ok(token_json(token))
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
    };
    let full = format!("{}!{name}", call.args.text("userid"));
    let answer = json!({"info": token_json(&token), "value": token.secret, "full-tokenid": full});
    user_mut(call)?.tokens.insert(name, token);
    Ok(answer)
}
