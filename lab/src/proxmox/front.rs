//! The way in: from an HTTP request to an API call and back (pve-http-server `AnyEvent.pm`, pve-manager
//! `HTTPServer.pm`).

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use super::access::split_token;
use super::api::{self, Call};
use super::hooks::Fate;
use super::params::Args;
use super::refusal::{Outcome, Refusal};
use super::task::Job;
use super::upload::{self, Upload};
use super::{Shared, World};
use crate::http::{Reply, Request};

/// Bytes of a body that is not an upload.
const POST_LIMIT: usize = 64 * 1024;
/// How long pveproxy holds back every 401.
const SLOW_401: Duration = Duration::from_secs(3);
/// How long a connection to a node takes that is not there.
const SLOW_595: Duration = Duration::from_secs(3);

/// Answers one request.
pub async fn handle(shared: Arc<Shared>, request: Request) -> Reply {
    match shared.with(|world| shared.hooks.request(&request, world)) {
        Some(Fate::Answer(reply)) => return reply,
        Some(Fate::Delay(more)) => shared.clock.sleep(more).await,
        None => {}
    }
    let now = shared.clock.unix();
    let handled = shared.with(|world| {
        world.now = now;
        let mut handled = HandledRequest { outcome: Ok(Value::Null), jobs: Vec::new(), total: None };
        handled.outcome = dispatch(world, &request, now, &mut handled);
        handled
    });
    for job in handled.jobs {
        tokio::spawn(Arc::clone(&shared).work(job));
    }
    if let Err(refusal) = &handled.outcome {
        let pause = match refusal.status {
            401 => SLOW_401,
            595 => SLOW_595,
            _ => Duration::ZERO,
        };
        shared.clock.sleep(pause).await;
    }
    let reply = finish(handled.outcome, handled.total);
    match shared.hooks.behind() {
        // The server dates it.
        Duration::ZERO => reply,
        behind => {
            let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            reply.with_header("date", &imf_fixdate(real.saturating_sub(behind).as_secs()))
        }
    }
}

/// A call from a node itself, by root.
pub fn as_root(shared: &Arc<Shared>, verb: &str, mut path: String, given: Vec<(String, String)>) -> Outcome {
    let now = shared.clock.unix();
    let mut args = Args::default();
    for (name, value) in given {
        path = path.replace(&format!("{{{name}}}"), &value);
        args.set(&name, value);
    }
    let (outcome, jobs) = shared.with(|world| {
        world.now = now;
        let vmid = args.int("vmid").and_then(|vmid| u32::try_from(vmid).ok());
        if let Some(vmid) = vmid {
            let none = || {
                Refusal::die(format!(
                    "Configuration file 'nodes/{}/qemu-server/{vmid}.conf' does not exist",
                    world.local_node()
                ))
            };
            let vm = world.vms.get(&vmid).ok_or_else(none)?;
            path = path.replace("{node}", &vm.node);
        }
        if verb == "UNLOCK" {
            vmid.and_then(|vmid| world.vms.get_mut(&vmid)).into_iter().for_each(|vm| vm.lock = None);
            return Ok((Ok(Value::Null), Vec::new()));
        }
        let unknown = || Refusal::new(501, format!("Method '{verb} {path}' not implemented"));
        let (method, captured) = api::find(verb, &path).ok_or_else(unknown)?;
        captured.into_iter().for_each(|(name, value)| args.set(name, value));
        let mut call = Call { world, auth: "root@pam", args, upload: None, now, jobs: Vec::new(), total: None };
        let outcome = api::run(method, &mut call);
        Ok((outcome, call.jobs))
    })?;
    for job in jobs {
        tokio::spawn(Arc::clone(shared).work(job));
    }
    outcome
}

/// Seconds since 1970 as HTTP writes them (RFC 9110 5.6.7).
fn imf_fixdate(seconds: u64) -> String {
    let at = jiff::Timestamp::from_second(i64::try_from(seconds).unwrap_or_default()).unwrap_or_default();
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A request that was handled, with the tasks it has started.
struct HandledRequest {
    outcome: Outcome,
    jobs: Vec<Job>,
    total: Option<usize>,
}

fn dispatch(world: &mut World, request: &Request, now: u64, handled: &mut HandledRequest) -> Outcome {
    let verb = request.method.as_str();
    if !matches!(verb, "GET" | "PUT" | "POST" | "DELETE") {
        return Err(Refusal::bare(501, format!("method '{verb}' not available")));
    }
    let path = percent_decode_str(&request.path).decode_utf8_lossy();
    let path = match path.strip_prefix("/api2/json") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.trim_end_matches('/').to_owned(),
        _ if path.starts_with("/api2") => return Err(Refusal::bare(501, "no such uri")),
        _ => return Err(Refusal::bare(404, format!("no such file '{path}'"))),
    };
    let found = api::find(verb, &path);
    let public = found.as_ref().is_some_and(|(method, _)| api::open_to_the_world(method));
    let upload = verb == "POST" && path.starts_with("/nodes/") && path.ends_with("/upload");
    let auth = if public { String::new() } else { authenticate(world, request, upload, now)? };
    let (mut args, file) = parameters(request, upload)?;
    let Some((method, captured)) = found else {
        return match api::children(&path) {
            names if verb == "GET" && !names.is_empty() => {
                Ok(names.into_iter().map(|name| json!({"name": name, "subdir": name})).collect())
            }
            _ => Err(Refusal::new(501, format!("Method '{verb} {path}' not implemented"))),
        };
    };
    for (name, value) in captured {
        args.set(name, value);
    }
    let mut call = Call { world, auth: &auth, args, upload: file, now, jobs: Vec::new(), total: None };
    let outcome = api::run(method, &mut call);
    (handled.jobs, handled.total) = (call.jobs, call.total);
    outcome
}

/// Who is asking: a token's full id, or the user of a ticket.
fn authenticate(world: &World, request: &Request, upload: bool, now: u64) -> Outcome<String> {
    let refused = |why: String| {
        let told = if world.tells_why_not_authenticated() { why } else { "Authentication failed!".to_owned() };
        Refusal::bare(401, told)
    };
    let cookie = request.header("cookie").and_then(|header| auth_value(header, "PVEAuthCookie"));
    let header = request.header("authorization");
    if let Some(ticket) = cookie.or_else(|| auth_value(header?, "PVEAuthCookie")) {
        let user = world.keys.verify(&ticket, now);
        let user = user.ok_or_else(|| refused("permission denied - invalid PVE ticket".into()))?;
        world.access.enabled_user(&user, now).map_err(refused)?;
        // An upload comes from an HTML form, which cannot set the header.
        if request.method != "GET" && !upload {
            let token = request.header("csrfpreventiontoken").unwrap_or("");
            if !world.keys.verify_csrf(&user, token, now) {
                return Err(Refusal::bare(401, "Permission denied - invalid csrf token"));
            }
        }
        return Ok(user);
    }
    let token = header.and_then(|header| auth_value(header, "PVEAPIToken"));
    let token = token.ok_or_else(|| Refusal::bare(401, "No ticket"))?;
    verify_token(world, &token, now).map_err(refused)
}

/// pve-access-control `verify_token`.
fn verify_token(world: &World, token: &str, now: u64) -> Result<String, String> {
    let (id, secret) = token.rsplit_once('=').ok_or("no tokenid specified")?;
    let (user, name) = split_token(id);
    let name = name.ok_or_else(|| format!("value '{id}' does not look like a valid token ID"))?;
    let known = world.access.enabled_user(user, now)?;
    let info = known.tokens.get(name).ok_or_else(|| format!("no such token '{name}' for user '{user}'"))?;
    if info.expire != 0 && info.expire < now {
        return Err(format!("token '{name}' access expired"));
    }
    if info.secret != secret {
        return Err("invalid token value!".into());
    }
    Ok(id.to_owned())
}

/// The value of a key in a header: `Key=VALUE` or `Key VALUE`, up to a semicolon.
fn auth_value(header: &str, key: &str) -> Option<String> {
    let starts = header.match_indices(key).map(|(at, _)| at);
    let mut starts = starts.filter(|at| *at == 0 || header[..*at].ends_with([' ', '\t', ';']));
    let rest = starts.find_map(|at| header[at + key.len()..].strip_prefix(['=', ' ']))?;
    let value = rest.split(';').next().unwrap_or("");
    (!value.is_empty()).then(|| percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// The parameters of a request, and the file that came with them.
fn parameters(request: &Request, upload: bool) -> Outcome<(Args, Option<Upload>)> {
    let mut args = Args::default();
    let mut file = None;
    if !request.body.is_empty() {
        if !matches!(request.method.as_str(), "PUT" | "POST") {
            let why = format!("Unexpected content for method '{}'", request.method);
            return Err(Refusal::bare(501, why));
        }
        let declared = request.header("content-type").unwrap_or("");
        let plain = declared.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        if upload {
            let boundary = upload::boundary(declared);
            let boundary = boundary
                .ok_or_else(|| Refusal::bare(501, format!("upload 'Content-Type '{declared}' not implemented")))?;
            let form = upload::parse(&request.body, &boundary).map_err(|why| Refusal::bare(400, why))?;
            for (name, value) in form.fields {
                args.set(&name, value);
            }
            file = form.file;
        } else if request.body.len() > POST_LIMIT {
            return Err(Refusal::bare(501, "for data too large"));
        } else if plain == "application/json" {
            args.add_json(&request.body)?;
        } else if plain.is_empty() || plain == "application/x-www-form-urlencoded" {
            args.add_form(&String::from_utf8_lossy(&request.body));
        } else {
            return Err(Refusal::bare(506, format!("upload 'Content-Type '{declared}' not implemented")));
        }
    }
    args.add_form(&request.query);
    args.take("_dc");
    Ok((args, file))
}

fn finish(outcome: Outcome, total: Option<usize>) -> Reply {
    let reply = match outcome {
        Ok(data) => {
            let mut body = Map::from_iter([("data".to_owned(), data)]);
            if let Some(total) = total {
                body.insert("total".into(), total.into());
            }
            Reply::json(200, &body.into())
        }
        Err(refusal) => {
            let reply = refusal.reply();
            reply.with_header("connection", "close")
        }
    };
    reply
        .with_header("cache-control", "max-age=0")
        .with_header("pragma", "no-cache")
        .with_header("server", "pve-api-daemon/3.0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_in_headers() {
        let cookie = "a=b; PVEAuthCookie=PVE%3Aroot%40pam%3A65D0F1A2%3A%3Asig; c=d";
        assert_eq!(auth_value(cookie, "PVEAuthCookie").as_deref(), Some("PVE:root@pam:65D0F1A2::sig"));
        let token = "PVEAPIToken=omni@pve!provider=00000000-0000-0000-0000-000000000000";
        let id = "omni@pve!provider=00000000-0000-0000-0000-000000000000";
        assert_eq!(auth_value(token, "PVEAPIToken").as_deref(), Some(id));
        assert_eq!(auth_value("PVEAPIToken omni@pve!a=b", "PVEAPIToken").as_deref(), Some("omni@pve!a=b"));
        for none in ["", "Bearer x", "XPVEAPIToken=a", "PVEAPIToken", "PVEAPIToken="] {
            assert_eq!(auth_value(none, "PVEAPIToken"), None, "{none}");
        }
    }
}
