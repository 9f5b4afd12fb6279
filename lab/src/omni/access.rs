//! Permissions (omni v1.9.3 internal/backend/runtime/omni/state_access.go, infraprovider/state.go).

use serde_json::{Value, json};

use super::accounts::Role;
use super::keys::{self, PROVIDER_PREFIX};
use super::kinds;
use super::names::*;
use super::resource::{Key, Resource};
use super::state::State;
use super::status::{Code, Status, multierror};

/// A caller whose key is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name in its key.
    pub name: String,
    pub role: Role,
}

impl Caller {
    /// Returns the ID of the provider, if the caller is one.
    pub fn provider(&self) -> Option<&str> {
        self.name.strip_prefix(PROVIDER_PREFIX)
    }
}

/// Checks a key as Omni checks the signature of a request. `None` stands for a request without a signature.
pub fn authenticate(state: &State, key: Option<&str>) -> Result<Caller, Status> {
    let refuse = || Status::new(Code::Unauthenticated, "invalid signature");
    let read = keys::read(key.ok_or_else(refuse)?).map_err(|_| refuse())?;
    let account = state.accounts.get(&keys::identity(&read.name)).ok_or_else(refuse)?;
    let now = state.store.now();
    let known = account.keys.iter().find(|key| key.id == read.fingerprint).ok_or_else(refuse)?;
    if known.expires <= now {
        return Err(refuse());
    }
    if !state.eula_accepted {
        let text = "EULA has not been accepted; please accept the End User License Agreement before using Omni: \
                    https://omni.example.invalid/eula";
        return Err(Status::new(Code::FailedPrecondition, text));
    }
    Ok(Caller { name: read.name, role: account.role })
}

/// An operation on a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Get, list or watch.
    Read,
    Create,
    Update,
    /// Tear down or destroy.
    Destroy,
}

/// Fails if the caller's role does not allow the operation. The error is wrapped as a failed validation.
pub fn check(state: &State, caller: &Caller, verb: Verb, typ: &str, namespace: &str) -> Result<(), Status> {
    let access = kinds::by_type(state.release, typ).map_or("", |kind| &kind.access);
    if access == "infra" {
        // These resources have a separate state, whose errors are not wrapped.
        return infra(state, caller, verb, typ, namespace);
    }
    inner(caller, verb, typ, access).map_err(|status| {
        let text = multierror(&[status.to_string()]);
        Status::new(status.code, format!("failed to validate: {text}"))
    })
}

/// Returns a resource that is not stored but created for the caller, whether or not the cluster exists (omni v1.9.3
/// internal/backend/runtime/omni/virtual/state.go; 1.4.9, run). The lab has no access policies.
pub fn virtual_resource(state: &State, caller: &Caller, key: &Key) -> Option<Resource> {
    let may = |least: Role| caller.role >= least;
    let spec = match key.typ.as_str() {
        CURRENT_USER if key.id == "current" => {
            let identity = keys::identity(&caller.name);
            let user = state.accounts.get(&identity).map(|account| account.user_id.clone());
            json!({ "identity": identity, "role": caller.role.as_ref(), "userid": user.unwrap_or_default() })
        }
        CLUSTER_PERMISSIONS => {
            let kind = kinds::by_type(state.release, &key.typ)?.complete(&json!({}));
            let allowed = |(name, _): (&String, &Value)| {
                let reading = name.starts_with("canread") && name != "canreadkubernetesmanifests"
                    || ["candownloadkubeconfig", "candownloadtalosconfig"].contains(&name.as_str());
                (name.clone(), may(if reading { Role::Reader } else { Role::Operator }).into())
            };
            Value::Object(kind.as_object()?.iter().map(allowed).collect())
        }
        _ => return None,
    };
    Some(state.make(&key.typ, &key.namespace, &key.id, spec))
}

/// Fails if the caller's role is not sufficient. The error is that of calls outside the resource API.
pub fn require(caller: &Caller, role: Role) -> Result<(), Status> {
    match caller.role >= role {
        true => Ok(()),
        false => Err(Status::new(
            Code::PermissionDenied,
            format!("unauthorized: access denied: insufficient role: {:?}", caller.role.as_ref()),
        )),
    }
}

fn inner(caller: &Caller, verb: Verb, typ: &str, access: &str) -> Result<(), Status> {
    let denied = |text: String| Err(Status::new(Code::PermissionDenied, text));
    if access == "everybody" {
        return if verb == Verb::Read { Ok(()) } else { denied("only read access is permitted".to_owned()) };
    }
    let wanted = match verb {
        Verb::Read if typ == MACHINE => Role::InfraProvider,
        Verb::Read => Role::Reader,
        _ => Role::Operator,
    };
    require(caller, wanted)?;
    match verb {
        Verb::Read => Ok(()),
        _ if access == "users" => Ok(()),
        Verb::Destroy if typ == LINK => Ok(()),
        _ if typ == LINK => denied("only read and delete access is permitted".to_owned()),
        _ => denied("only read access is permitted".to_owned()),
    }
}

fn infra(state: &State, caller: &Caller, verb: Verb, typ: &str, namespace: &str) -> Result<(), Status> {
    let denied = |text: String| Err(Status::new(Code::PermissionDenied, text));
    require(caller, Role::InfraProvider)?;
    if let Some(provider) = caller.provider() {
        if state.store.get(INFRA_PROVIDER, INFRA, provider).is_none() {
            return denied(format!("infra provider with name {provider:?} is not registered in the system"));
        }
        let own = format!("infra-provider:{provider}");
        if ![INFRA, INFRA_EPHEMERAL, &own].contains(&namespace) {
            return denied(format!("namespace not allowed, must be one of: {INFRA}, {INFRA_EPHEMERAL}, {own}"));
        }
        return Ok(());
    }
    match verb {
        Verb::Read => require(caller, Role::Reader),
        _ if typ == INFRA_PROVIDER => require(caller, Role::Admin),
        // Users may delete machine requests since 1.7.
        _ if typ != MACHINE_REQUEST || state.release.old() => {
            denied(format!("users are not allowed to modify {typ:?} resources"))
        }
        _ if caller.role < Role::Operator => {
            denied(format!("only operators and admins are allowed to modify {typ:?} resources"))
        }
        _ => Ok(()),
    }
}
