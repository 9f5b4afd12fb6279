//! Turns HTTP requests into API calls and their results into responses (pve-http-server `AnyEvent.pm`, pve-manager
//! `HTTPServer.pm`).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::access::split_token;
use super::api::{self, Call};
use super::params::Args;
use super::refusal::{Outcome, Refusal};
use super::task::Job;
use super::upload::{self, Upload};
use super::{Shared, World};
use crate::fault_effects::RequestEffect;
use crate::http::{Reply, Request, header};

/// Maximum size in bytes of a body that is not an upload.
const POST_LIMIT: usize = 64 * 1024;
/// How long pveproxy delays every 401.
const SLOW_401: Duration = Duration::from_secs(3);
/// How long a connection attempt to an offline node takes.
const SLOW_595: Duration = Duration::from_secs(3);

/// Handles a request.
pub async fn handle(shared: Arc<Shared>, request: Request) -> Reply {
    match shared.with(|world| shared.faults.request(&request, world)) {
        Some(RequestEffect::Answer(reply)) => return reply,
        Some(RequestEffect::Delay(more)) => shared.clock.sleep(more).await,
        None => {}
    }
    let now = shared.clock.unix();
    let mut jobs = Vec::new();
    let outcome = shared.with(|world| {
        world.now = now;
        dispatch(world, &request, now, &mut jobs)
    });
    begin(&shared, jobs);
    if let Err(refusal) = &outcome {
        let pause = match refusal.status {
            401 => SLOW_401,
            595 => SLOW_595,
            _ => Duration::ZERO,
        };
        shared.clock.sleep(pause).await;
    }
    let reply = finish(outcome);
    match shared.faults.clock_lag() {
        // The server adds the date.
        Duration::ZERO => reply,
        behind => {
            // Date format of RFC 9110 5.6.7.
            let then = jiff::Timestamp::try_from(SystemTime::now() - behind).unwrap_or_default();
            reply.with_header("date", &then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
        }
    }
}

/// Runs an API call from a node itself, as root.
pub fn as_root(shared: &Arc<Shared>, verb: &str, mut path: String, given: Vec<(String, String)>) -> Outcome {
    let now = shared.clock.unix();
    let mut args = Args::default();
    for (name, value) in given {
        path = path.replace(&format!("{{{name}}}"), &value);
        args.set(&name, value);
    }
    let mut jobs = Vec::new();
    let outcome = shared.with(|world| {
        world.now = now;
        let vmid = args.int("vmid").and_then(|vmid| u32::try_from(vmid).ok());
        if let Some(vmid) = vmid {
            let node = world.vms.get(&vmid).map_or(world.local_node(), |vm| &vm.node);
            path = path.replace("{node}", &world.vm(node, vmid)?.node);
        }
        if verb == "UNLOCK" {
            vmid.and_then(|vmid| world.vms.get_mut(&vmid)).into_iter().for_each(|vm| vm.lock = None);
            return Ok(Value::Null);
        }
        let unknown = || Refusal::new(501, format!("Method '{verb} {path}' not implemented"));
        let (method, captured) = api::find(verb, &path).ok_or_else(unknown)?;
        captured.into_iter().for_each(|(name, value)| args.set(name, value));
        let mut call = Call { world, auth: "root@pam", args, upload: None, now, jobs: Vec::new() };
        let outcome = api::run(method, &mut call);
        jobs = call.jobs;
        outcome
    });
    begin(shared, jobs);
    outcome
}

fn begin(shared: &Arc<Shared>, jobs: Vec<Job>) {
    jobs.into_iter().for_each(|job| drop(tokio::spawn(Arc::clone(shared).run_job(job))));
}

/// Handles a request and puts the tasks that it starts into `jobs`.
fn dispatch(world: &mut World, request: &Request, now: u64, jobs: &mut Vec<Job>) -> Outcome {
    let verb = request.method().as_str();
    if !matches!(verb, "GET" | "PUT" | "POST" | "DELETE") {
        return Err(Refusal::bare(501, format!("method '{verb}' not available")));
    }
    let path = percent_decode_str(request.uri().path()).decode_utf8_lossy();
    let path = match path.strip_prefix("/api2/json") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest.trim_end_matches('/').to_owned(),
        _ if path.starts_with("/api2") => return Err(Refusal::bare(501, "no such uri")),
        _ => return Err(Refusal::bare(404, format!("no such file '{path}'"))),
    };
    let found = api::find(verb, &path);
    let public = found.as_ref().is_some_and(|(method, _)| api::is_public(method));
    let upload = verb == "POST" && path.starts_with("/nodes/") && path.ends_with("/upload");
    let auth = if public { String::new() } else { authenticate(world, request, upload, now)? };
    let (mut args, file) = parameters(request, upload)?;
    let unknown = || Refusal::new(501, format!("Method '{verb} {path}' not implemented"));
    let (method, captured) = found.ok_or_else(unknown)?;
    for (name, value) in captured {
        args.set(name, value);
    }
    let mut call = Call { world, auth: &auth, args, upload: file, now, jobs: Vec::new() };
    let outcome = api::run(method, &mut call);
    *jobs = call.jobs;
    outcome
}

/// Authenticates a request and returns the full token ID, or the user of the ticket.
fn authenticate(world: &World, request: &Request, upload: bool, now: u64) -> Outcome<String> {
    let refused = |why: String| {
        let reason = if world.shows_auth_failure_reason() { why } else { "Authentication failed!".to_owned() };
        Refusal::bare(401, reason)
    };
    let given = |name: &str| header(request.headers(), name);
    let cookie = given("cookie").and_then(|header| auth_value(header, "PVEAuthCookie"));
    let authorization = given("authorization");
    if let Some(ticket) = cookie.or_else(|| auth_value(authorization?, "PVEAuthCookie")) {
        let login = world.login(&ticket, now);
        let (user, csrf) = login.ok_or_else(|| refused("permission denied - invalid PVE ticket".into()))?;
        world.access.user(user).map_err(refused)?;
        // Uploads come from an HTML form, which cannot set the header.
        if request.method() != "GET" && !upload && given("csrfpreventiontoken") != Some(csrf) {
            return Err(Refusal::bare(401, "Permission denied - invalid csrf token"));
        }
        return Ok(user.to_owned());
    }
    let token = authorization.and_then(|header| auth_value(header, "PVEAPIToken"));
    let token = token.ok_or_else(|| Refusal::bare(401, "No ticket"))?;
    verify_token(world, &token, now).map_err(refused)
}

/// Verifies a token as pve-access-control `verify_token` does.
fn verify_token(world: &World, token: &str, now: u64) -> Result<String, String> {
    let (id, secret) = token.rsplit_once('=').ok_or("no tokenid specified")?;
    let (user, name) = split_token(id);
    let name = name.ok_or_else(|| format!("value '{id}' does not look like a valid token ID"))?;
    let info =
        world.access.user(user)?.tokens.get(name).ok_or_else(|| format!("no such token '{name}' for user '{user}'"))?;
    if info.expire != 0 && info.expire < now {
        return Err(format!("token '{name}' access expired"));
    }
    if info.secret != secret {
        return Err("invalid token value!".into());
    }
    Ok(id.to_owned())
}

/// Returns the value of a key in a header, `Key=VALUE` or `Key VALUE`, up to a semicolon.
fn auth_value(header: &str, key: &str) -> Option<String> {
    let starts = header.match_indices(key).map(|(at, _)| at);
    let mut starts = starts.filter(|at| *at == 0 || header[..*at].ends_with([' ', '\t', ';']));
    let rest = starts.find_map(|at| header[at + key.len()..].strip_prefix(['=', ' ']))?;
    let value = rest.split(';').next().unwrap_or("");
    (!value.is_empty()).then(|| percent_decode_str(value).decode_utf8_lossy().into_owned())
}

/// Parses the parameters of a request and the uploaded file, if any.
fn parameters(request: &Request, upload: bool) -> Outcome<(Args, Option<Upload>)> {
    let mut args = Args::default();
    let mut file = None;
    let body = request.body();
    if !body.is_empty() {
        if !matches!(request.method().as_str(), "PUT" | "POST") {
            let why = format!("Unexpected content for method '{}'", request.method());
            return Err(Refusal::bare(501, why));
        }
        let declared = header(request.headers(), "content-type").unwrap_or("");
        let plain = declared.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        if upload {
            let boundary = upload::boundary(declared);
            let boundary = boundary
                .ok_or_else(|| Refusal::bare(501, format!("upload 'Content-Type '{declared}' not implemented")))?;
            let form = upload::parse(body, &boundary).map_err(|why| Refusal::bare(400, why))?;
            for (name, value) in form.fields {
                args.set(&name, value);
            }
            file = form.file;
        } else if body.len() > POST_LIMIT {
            return Err(Refusal::bare(501, "for data too large"));
        } else if plain == "application/json" {
            args.add_json(body)?;
        } else if plain.is_empty() || plain == "application/x-www-form-urlencoded" {
            args.add_form(&String::from_utf8_lossy(body));
        } else {
            return Err(Refusal::bare(506, format!("upload 'Content-Type '{declared}' not implemented")));
        }
    }
    args.add_form(request.uri().query().unwrap_or_default());
    Ok((args, file))
}

fn finish(outcome: Outcome) -> Reply {
    let reply = match outcome {
        Ok(data) => Reply::json(200, &json!({ "data": data })),
        Err(refusal) => refusal.reply().with_header("connection", "close"),
    };
    reply
        .with_header("cache-control", "max-age=0")
        .with_header("pragma", "no-cache")
        .with_header("server", "pve-api-daemon/3.0")
}
