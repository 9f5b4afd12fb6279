//! The API calls of omnictl and the provider, with a check of the caller's permissions.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::access::{self, Caller, Verb};
use super::accounts::{Account, PublicKey, Role};
use super::keys::{self, PROVIDER_PREFIX};
use super::names::*;
use super::query::Term;
use super::resource::{Key, Resource};
use super::state::State;
use super::status::{Code, Status};
use super::store::{Store, not_found};
use super::{machines, providers, validate, versions};

/// An API call. Each comment names the response, if any. Calls that are not about resources belong to Omni's management service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OmniCall {
    /// Returns a [`Resource`].
    Get(Key),
    /// Returns all resources of a type in a namespace that satisfy every term, as a list.
    List {
        typ: String,
        namespace: String,
        terms: Vec<Term>,
    },
    Create(Resource),
    /// Replaces a resource, if its version is the one that the caller read.
    Update(Resource),
    /// Requests deletion. Returns true if no finalizer is left.
    Teardown(Key),
    /// Removes a resource that has no finalizers.
    Destroy(Key),
    /// Requests a kubeconfig or talosconfig. Fails if the caller's role is not sufficient.
    ClusterAccess {
        /// For the token of a service account, which requires the operator role.
        operator: bool,
    },
    /// Checks whether Kubernetes can be upgraded.
    UpgradePreChecks {
        cluster: String,
        to: String,
    },
    /// Registers a service account with its first key.
    CreateServiceAccount {
        /// Name including the prefix.
        name: String,
        /// Role name; empty with `use_user_role`.
        role: String,
        /// Use the role of the caller.
        use_user_role: bool,
        key: PublicKey,
    },
    /// Adds a key to a service account.
    RenewServiceAccount {
        /// Name including the prefix.
        name: String,
        key: PublicKey,
    },
    /// Returns a list of [`Account`].
    ListServiceAccounts,
    /// Removes a service account.
    DestroyServiceAccount(String),
}

/// A response in JSON, or an error.
type Answer = Result<String, Status>;

fn answer(value: &impl Serialize) -> Answer {
    serde_json::to_string(value).map_err(|why| Status::new(Code::Internal, why.to_string()))
}

/// Performs a call. The controllers run afterwards, in [`super::Omni::with`].
pub fn call(state: &mut State, caller: &Caller, call: OmniCall) -> Answer {
    match call {
        OmniCall::Get(key) => {
            access::check(state, caller, Verb::Read, &key.typ, &key.namespace)?;
            if let Some(made) = access::virtual_resource(state, caller, &key) {
                return answer(&made);
            }
            let found = state.store.find(&key).filter(|found| is_visible(caller, found));
            answer(found.ok_or_else(|| not_found(&key))?)
        }
        OmniCall::List { typ, namespace, terms } => answer(&list(state, caller, &typ, &namespace, &terms)?),
        OmniCall::Create(resource) => create(state, caller, resource),
        OmniCall::Update(resource) => update(state, caller, resource),
        OmniCall::Teardown(key) => tear_down(state, caller, &key),
        OmniCall::Destroy(key) => {
            access::check(state, caller, Verb::Destroy, &key.typ, &key.namespace)?;
            let gone = state.store.find(&key).cloned();
            state.store.destroy(&key)?;
            if let Some(gone) = gone {
                state.touch(&gone);
            }
            answer(&())
        }
        OmniCall::ClusterAccess { operator } => {
            access::require(caller, if operator { Role::Operator } else { Role::Reader })?;
            answer(&())
        }
        OmniCall::UpgradePreChecks { cluster, to } => {
            access::require(caller, Role::Operator)?;
            check_upgrade_path(state, &cluster, &to)
        }
        OmniCall::CreateServiceAccount { name, role, use_user_role, key } => {
            access::require(caller, Role::Admin)?;
            create_account(state, caller, &name, &role, use_user_role, key)
        }
        OmniCall::RenewServiceAccount { name, key } => {
            access::require(caller, Role::Admin)?;
            check_lifetime(state, &key)?;
            let id = keys::identity(&name);
            // The handler wraps the store's error and loses its code (internal/backend/grpc/serviceaccount.go).
            let missing =
                || Status::new(Code::Unknown, wrap_message("get", not_found(&Key::new(IDENTITY, DEFAULT, &id))));
            let account = state.accounts.get_mut(&id).ok_or_else(missing)?;
            account.keys.push(key);
            answer(&())
        }
        OmniCall::ListServiceAccounts => {
            access::require(caller, Role::Admin)?;
            // Accounts of providers have no status, so they are not listed (controllers/omni/service_account_status.go).
            let listed = state.accounts.values().filter(|found| !found.name.starts_with(PROVIDER_PREFIX));
            answer(&listed.collect::<Vec<_>>())
        }
        OmniCall::DestroyServiceAccount(name) => {
            access::require(caller, Role::Admin)?;
            let gone = state.accounts.remove(&keys::identity(&name));
            gone.ok_or_else(|| Status::new(Code::NotFound, format!("service account {name:?} not found")))?;
            answer(&())
        }
    }
}

/// Returns the resources of a type in a namespace that the caller may read and that satisfy every term.
pub fn list<'s>(
    state: &'s State,
    caller: &Caller,
    typ: &str,
    namespace: &str,
    terms: &[Term],
) -> Result<Vec<Cow<'s, Resource>>, Status> {
    access::check(state, caller, Verb::Read, typ, namespace)?;
    if typ == CURRENT_USER {
        let made = access::virtual_resource(state, caller, &Key::new(typ, namespace, "current"));
        return Ok(made.into_iter().map(Cow::Owned).collect());
    }
    let wanted =
        |found: &&Resource| is_visible(caller, found) && terms.iter().all(|term| term.matches(&found.md.labels));
    let mut indexed = terms.iter().filter(|term| Store::has_index(&term.key));
    Ok(match indexed.find_map(|term| Some((term.key.as_str(), term.value.as_deref()?))) {
        Some((key, value)) => {
            state.store.list_labelled(typ, namespace, key, value).filter(wanted).map(Cow::Borrowed).collect()
        }
        None => state.store.list(typ, namespace).filter(wanted).map(Cow::Borrowed).collect(),
    })
}

/// Checks an upgrade path: at most one minor version up (omni v1.9.3 internal/backend/grpc/management.go
/// `KubernetesUpgradePreChecks`).
fn check_upgrade_path(state: &State, cluster: &str, to: &str) -> Answer {
    let key = Key::new(KUBERNETES_UPGRADE_STATUS, DEFAULT, cluster);
    let status = state.store.by_id(KUBERNETES_UPGRADE_STATUS, cluster).ok_or_else(|| not_found(&key))?;
    let from = status.text("lastupgradeversion");
    let (Some((_, old, _)), Some((_, new, _))) = (versions::parse(from), versions::parse(to)) else {
        return Err(Status::new(Code::InvalidArgument, format!("invalid upgrade path: {to:?}")));
    };
    match (old..=old + 1).contains(&new) {
        true => answer(&()),
        false => Err(Status::new(Code::InvalidArgument, format!("unsupported upgrade path: 1.{old}->1.{new}"))),
    }
}

/// Whether the caller sees a resource: in shared namespaces, a provider only sees those with its own label.
fn is_visible(caller: &Caller, resource: &Resource) -> bool {
    let shared =
        [INFRA, INFRA_EPHEMERAL].contains(&resource.md.namespace.as_str()) && resource.md.typ != INFRA_PROVIDER;
    match caller.provider() {
        Some(provider) if shared => resource.label(L_PROVIDER) == Some(provider),
        _ => true,
    }
}

/// Returns the message of a store error as the layer above wraps it.
fn wrap_message(verb: &str, why: Status) -> String {
    format!("failed to {verb}: {}", why.message)
}

/// Wraps errors about infrastructure providers, which are in a separate store.
fn wrap_provider_error(typ: &str, verb: &str, why: Status) -> Status {
    if typ == INFRA_PROVIDER { Status::new(why.code, wrap_message(verb, why)) } else { why }
}

fn create(state: &mut State, caller: &Caller, mut resource: Resource) -> Answer {
    access::check(state, caller, Verb::Create, &resource.md.typ, &resource.md.namespace)?;
    check_own_id(caller, &resource)?;
    validate::write(state, None, &resource)?;
    if let Some(provider) = caller.provider() {
        resource = resource.with_label(L_PROVIDER, provider);
    }
    let touched = resource.clone();
    state.store.create(resource).map_err(|why| wrap_provider_error(&touched.md.typ, "create", why))?;
    after_write(state, &touched);
    answer(&())
}

fn update(state: &mut State, caller: &Caller, resource: Resource) -> Answer {
    access::check(state, caller, Verb::Update, &resource.md.typ, &resource.md.namespace)?;
    check_own_id(caller, &resource)?;
    let key = resource.key();
    let Some(old) = state.store.find(&key).cloned() else { return Err(not_found(&key)) };
    if key.typ == MACHINE_CLASS && !old.spec["autoprovision"].is_object() && resource.spec["autoprovision"].is_object()
    {
        // The handler of 1.9.3 dereferences the missing autoprovision of the old class (validations/machine_class.go).
        let text = "runtime error: invalid memory address or nil pointer dereference";
        return Err(Status::new(Code::Internal, text));
    }
    validate::write(state, Some(&old), &resource)?;
    let touched = resource.clone();
    // Clients do not send owner and finalizers, so the old ones are kept.
    let mut resource = resource;
    resource.md.owner = old.md.owner;
    resource.md.finalizers = old.md.finalizers;
    resource.md.phase = old.md.phase;
    state.store.update(resource)?;
    after_write(state, &touched);
    answer(&())
}

fn after_write(state: &mut State, resource: &Resource) {
    let id = resource.md.id.as_str();
    match resource.md.typ.as_str() {
        INFRA_PROVIDER => providers::created(state, id),
        INFRA_PROVIDER_STATUS => providers::register(state, id, resource.spec.clone()),
        INFRA_PROVIDER_HEALTH => providers::heartbeat(state, id, Duration::ZERO),
        _ => {}
    }
    state.touch(resource);
}

/// Fails if a provider writes a status other than its own.
fn check_own_id(caller: &Caller, resource: &Resource) -> Result<(), Status> {
    let checked = [INFRA_PROVIDER_STATUS, INFRA_PROVIDER_HEALTH].contains(&resource.md.typ.as_str());
    match caller.provider() {
        Some(own) if checked && resource.md.id != own => {
            let text = format!("resource ID must match the infra provider ID {own:?}");
            Err(Status::new(Code::InvalidArgument, text))
        }
        _ => Ok(()),
    }
}

fn tear_down(state: &mut State, caller: &Caller, key: &Key) -> Answer {
    access::check(state, caller, Verb::Destroy, &key.typ, &key.namespace)?;
    let Some(found) = state.store.find(key).cloned() else {
        return Err(wrap_provider_error(&key.typ, "get", not_found(key)));
    };
    validate::destroy(state, &found)?;
    let ready = state.store.tear_down(key)?;
    match key.typ.as_str() {
        INFRA_PROVIDER => providers::deleted(state, &key.id),
        LINK => machines::handle_link_deletion(state, &key.id),
        _ => {}
    }
    state.touch(&found);
    answer(&ready)
}

fn check_lifetime(state: &State, key: &PublicKey) -> Result<(), Status> {
    let seconds = key.expires - key.created;
    if seconds > i64::from(keys::YEAR) + 60 {
        let text = format!("key lifetime is too long: {}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60);
        return Err(Status::new(Code::Unknown, text));
    }
    match key.expires <= state.store.now() {
        true => Err(Status::new(Code::Unknown, "key expired")),
        false => Ok(()),
    }
}

fn create_account(
    state: &mut State,
    caller: &Caller,
    name: &str,
    role: &str,
    use_user_role: bool,
    key: PublicKey,
) -> Answer {
    let fail = |text: String| Err(Status::new(Code::Unknown, text));
    let provider = name.starts_with(PROVIDER_PREFIX);
    let (wanted, base) = (Role::InfraProvider.as_ref(), name.strip_prefix(PROVIDER_PREFIX).unwrap_or(name));
    if use_user_role && provider {
        return fail(format!(
            "infra provider service accounts must have the role {wanted:?}, but use-user-role was requested"
        ));
    }
    let role = match (use_user_role, role.parse()) {
        (true, _) => caller.role,
        (false, Ok(role)) => role,
        (false, Err(_)) => return fail(format!("unknown role: {role:?}")),
    };
    if provider && role != Role::InfraProvider {
        return fail(format!("infra-provider service accounts must have the role {wanted:?}"));
    }
    if !provider && role == Role::InfraProvider {
        return fail(format!("service accounts with role {wanted:?} must be prefixed with {PROVIDER_PREFIX:?}"));
    }
    let id = keys::identity(name);
    if state.accounts.contains_key(&id) {
        return Err(Status::new(Code::AlreadyExists, format!("service account {id:?} already exists")));
    }
    if base.is_empty() || base.contains(char::is_whitespace) || base.contains(['@', '<', '>', '(', ')']) {
        return fail(format!("key does not contain a valid email address: mail: missing '@' or angle-addr: {id}"));
    }
    check_lifetime(state, &key)?;
    let user_id = state.uuid();
    let account = Account { name: name.to_owned(), role, user_id, keys: vec![key] };
    state.accounts.insert(id, account);
    answer(&())
}
