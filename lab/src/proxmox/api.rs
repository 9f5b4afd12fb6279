//! The API below `/api2/json`: a table of methods (`api.txt`), each with path, privileges and parameters, and their handlers,
//! similar to how PVE registers its methods (pve-common `RESTHandler.pm` `register_method`).

mod access;
mod cluster;
mod config;
mod drives;
mod files;
mod nodes;
mod pools;
mod qemu;
mod storage;
mod tasks;
mod tokens;

use std::sync::LazyLock;
use std::time::Duration;

use super::World;
use super::access::normalize_path;
use super::params::{Args, Param, ParamType};
use super::refusal::{Outcome, Refusal};
use super::task::{Effect, Job};
use super::upload::Upload;
use super::vmschema;

/// One of the alternative conditions under which a method may be called.
enum CallAccess {
    /// Anybody, even without logging in.
    World,
    /// Any user who is logged in; the handler makes further checks.
    Anyone,
    /// Users with all of these privileges on the path.
    All(&'static str, Vec<&'static str>),
    /// Users with at least one of these privileges on the path.
    Any(&'static str, Vec<&'static str>),
    /// The user that the call is about, and users who may modify users.
    OwnUser,
}

impl CallAccess {
    /// Parses the notation of `api.txt`.
    fn read(text: &'static str) -> CallAccess {
        match (text, text.split_once(' ').unwrap_or((text, ""))) {
            ("world", _) => CallAccess::World,
            ("anyone", _) => CallAccess::Anyone,
            ("own-user", _) => CallAccess::OwnUser,
            (_, (path, any)) if any.contains('|') => CallAccess::Any(path, any.split('|').collect()),
            (_, (path, all)) => CallAccess::All(path, all.split('+').collect()),
        }
    }
}

/// A verb and path, and the function that handles the call.
type Handler = (&'static str, fn(&mut Call<'_>) -> Outcome);

/// A method of the API.
pub struct Method {
    verb: &'static str,
    path: &'static str,
    params: Vec<Param>,
    vm_options: bool,
    /// For each of these, at least one alternative must be satisfied.
    needs: Vec<Vec<CallAccess>>,
    proxied: bool,
    run: fn(&mut Call<'_>) -> Outcome,
}

impl Method {
    /// Parses a line of `api.txt`; `None` if the method does not have a handler.
    fn read(line: &'static str) -> Option<Method> {
        let (call, needs) = line.split_once(" : ")?;
        let mut words = call.split(' ');
        let (verb, path, marks) = (words.next()?, words.next()?, words.next().unwrap_or_default());
        let same = |(name, _): &&Handler| name.split_once(' ') == Some((verb, path));
        let (_, run) = HANDLERS.iter().copied().flatten().find(same)?;
        let needs = needs.split(" and ").map(|ways| ways.split(" or ").map(CallAccess::read).collect());
        let (vm_options, proxied) = (marks.contains('+'), marks.contains('*'));
        Some(Method { verb, path, params: Vec::new(), vm_options, needs: needs.collect(), proxied, run: *run })
    }
}

/// A call in progress.
pub struct Call<'a> {
    pub world: &'a mut World,
    /// User or full token ID; empty for a call that does not require a login.
    pub auth: &'a str,
    /// Parameters, including those in the path.
    pub args: Args,
    /// The uploaded file.
    pub upload: Option<Upload>,
    /// The simulated Unix time.
    pub now: u64,
    /// Tasks that the call starts.
    pub jobs: Vec<Job>,
}

impl Call<'_> {
    /// The node in the path.
    fn node(&self) -> String {
        let node = self.args.text("node");
        if node == "localhost" { self.world.local_node().to_owned() } else { node }
    }

    /// The VM in the path.
    fn vmid(&self) -> u32 {
        self.args.int("vmid").and_then(|id| u32::try_from(id).ok()).unwrap_or(0)
    }

    /// Fails with 403 unless the caller has all of the privileges on a path.
    fn check(&self, path: &str, privileges: &[&str]) -> Outcome<()> {
        self.world.access.check(self.auth, path, privileges)
    }

    /// Whether the caller has all of the privileges.
    fn may(&self, path: &str, privileges: &[&str]) -> bool {
        self.world.access.may(self.auth, path, privileges)
    }

    /// Whether the caller has at least one of the privileges.
    fn may_any(&self, path: &str, privileges: &[&str]) -> bool {
        self.world.access.may_any(self.auth, path, privileges)
    }

    /// Starts a task on the node in the path and returns its UPID as the response.
    fn fork(&mut self, kind: &str, id: &str, takes: Duration, effect: Effect) -> Outcome {
        let upid = self.world.tasks.begin(&self.node(), kind, id, self.auth, self.now);
        self.jobs.push(Job { upid: upid.clone(), takes, effect });
        Ok(upid.into())
    }
}

const HANDLERS: &[&[Handler]] = &[
    cluster::HANDLERS,
    nodes::HANDLERS,
    qemu::HANDLERS,
    config::HANDLERS,
    storage::HANDLERS,
    files::HANDLERS,
    tasks::HANDLERS,
    pools::HANDLERS,
    access::HANDLERS,
    tokens::HANDLERS,
];

/// The methods of `api.txt`.
static METHODS: LazyLock<Vec<Method>> = LazyLock::new(|| {
    let mut methods: Vec<Method> = Vec::new();
    for line in include_str!("api.txt").lines().filter(|line| !line.starts_with('#')) {
        match (line.strip_prefix("  "), methods.last_mut()) {
            (Some(param), Some(method)) => {
                let (name, kind) = param.split_once(' ').unwrap_or((param, ""));
                method.params.push(Param::read(name, "", kind));
            }
            _ => methods.push(Method::read(line).unwrap_or_else(|| panic!("api.txt: {line}"))),
        }
    }
    methods
});

/// The types of parameters in paths.
const IN_PATH: &[(&str, ParamType)] = &[
    ("node", ParamType::Regex("[A-Za-z0-9][A-Za-z0-9-]*", "value does not look like a valid node name")),
    ("vmid", ParamType::Int(100, 999_999_999)),
    ("storage", ParamType::Regex("[A-Za-z][A-Za-z0-9_.-]*", "storage ID '{}' contains illegal characters")),
];

/// Finds the method for a path and returns it with the path's parameters. `{name*}` at the end of a pattern captures the rest of
/// the path, including slashes.
pub fn find(verb: &str, path: &str) -> Option<(&'static Method, Vec<(&'static str, String)>)> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let mut methods = METHODS.iter().filter(|method| method.verb == verb);
    methods.find_map(|method| Some((method, capture(method.path, &segments)?)))
}

fn capture(pattern: &'static str, segments: &[&str]) -> Option<Vec<(&'static str, String)>> {
    let mut captured = Vec::new();
    let mut rest = segments;
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) if name.ends_with('*') => {
                if rest.is_empty() {
                    return None;
                }
                captured.push((name.trim_end_matches('*'), rest.join("/")));
                return Some(captured);
            }
            name => {
                let (first, others) = rest.split_first()?;
                match name {
                    Some(name) => captured.push((name, (*first).to_owned())),
                    None if *first == part => {}
                    None => return None,
                }
                rest = others;
            }
        }
    }
    rest.is_empty().then_some(captured)
}

/// Whether the method may be called without logging in.
pub fn is_public(method: &Method) -> bool {
    matches!(method.needs[..], [ref ways] if matches!(ways[..], [CallAccess::World]))
}

/// Runs a method in PVE's order: checks privileges, checks that the node is reachable, validates parameters and calls the handler.
pub fn run(method: &Method, call: &mut Call<'_>) -> Outcome {
    for ways in &method.needs {
        match &ways[..] {
            [way] => permitted(way, call)?,
            ways if ways.iter().any(|way| permitted(way, call).is_ok()) => {}
            _ => return Err(Refusal::denied("")),
        }
    }
    if method.proxied {
        reach(call.world, &call.node())?;
    }
    let in_path = |name: &str| {
        let named = method.path.contains(&format!("{{{name}}}")) || method.path.contains(&format!("{{{name}*}}"));
        let known = IN_PATH.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
        named.then(|| known.unwrap_or(ParamType::Text(4096)))
    };
    let option = |name: &str| if method.vm_options { vmschema::kind(name) } else { None };
    call.args.verify(&method.params, |name| in_path(name).or_else(|| option(name)))?;
    (method.run)(call)
}

/// Fails with PVE's 403 unless the caller satisfies a condition (pve-access-control `RPCEnvironment.pm` `exec_api2_perm_check`).
fn permitted(needs: &CallAccess, call: &Call<'_>) -> Outcome<()> {
    match needs {
        CallAccess::World => Ok(()),
        _ if call.auth.is_empty() => Err(Refusal::denied("user != null")),
        CallAccess::Anyone => Ok(()),
        CallAccess::All(path, privileges) => call.check(&fill(path, &call.args), privileges),
        CallAccess::Any(path, privileges) => {
            call.world.access.check_any(call.auth, &fill(path, &call.args), privileges)
        }
        CallAccess::OwnUser => {
            let own = call.auth == call.args.text("userid");
            if own || call.may("/access/groups", &["User.Modify"]) { Ok(()) } else { Err(Refusal::denied("")) }
        }
    }
}

/// Fills in the placeholders of a path and normalizes it.
fn fill(template: &str, args: &Args) -> String {
    let parts = template.split('/').map(|part| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
        Some(name) => args.text(name),
        None => part.to_owned(),
    });
    let path = parts.collect::<Vec<_>>().join("/");
    normalize_path(&path).unwrap_or(path)
}

/// Fails if the node that received the call cannot forward it to `node`.
fn reach(world: &World, node: &str) -> Outcome<()> {
    match world.nodes.get(node) {
        Some(host) if host.online => Ok(()),
        // The status that AnyEvent::HTTP reports if it cannot connect.
        Some(_) => Err(Refusal::bare(595, "No route to host")),
        None => Err(Refusal::die(format!(
            "hostname lookup '{node}' failed - failed to get address info for: {node}: Name or service not known"
        ))),
    }
}
