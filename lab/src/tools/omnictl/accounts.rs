//! `omnictl infraprovider` and `omnictl serviceaccount` (client/pkg/omnictl/infraprovider.go, serviceaccount.go).

use super::args;
use super::client::Connection;
use super::get::tear_down_and_destroy;
use super::table::align;
use crate::omni::accounts::{Account, PublicKey};
use crate::omni::api::OmniCall;
use crate::omni::keys::{self, NewKey, PROVIDER_PREFIX};
use crate::omni::kinds;
use crate::omni::names::*;
use crate::omni::resource::{Key, Resource, rfc3339};
use crate::tools::failure::ToolError;
use crate::tools::{err, out};

/// Runs `infraprovider`.
pub fn provider(client: &mut Connection, call: &args::ProviderCommand) -> Result<(), ToolError> {
    match call {
        args::ProviderCommand::Create { id } => create_provider(client, id),
        args::ProviderCommand::Renewkey { id } => renew(client, &format!("{PROVIDER_PREFIX}{id}"), true),
        args::ProviderCommand::List => list_providers(client),
        args::ProviderCommand::Delete { id } => {
            let gone = tear_down_and_destroy(client, &Key::new(INFRA_PROVIDER, INFRA, id));
            gone.map_err(|why| why.wrap("failed to delete infra provider"))?;
            out(&format!("deleted infra provider: {id}\n"));
            Ok(())
        }
    }
}

/// Runs `serviceaccount`.
pub fn service_account(client: &mut Connection, call: &args::AccountCommand) -> Result<(), ToolError> {
    match call {
        args::AccountCommand::Create { name, role, use_user_role } => {
            let key = register(client, name, role, *use_user_role)?;
            credentials(client, &key, &format!("Created service account {name:?} with public key"), false);
            Ok(())
        }
        args::AccountCommand::Renew { name } => renew(client, name, false),
        args::AccountCommand::List => list_accounts(client),
        args::AccountCommand::Destroy { name } => {
            let gone = client.call::<()>(OmniCall::DestroyServiceAccount(name.clone()));
            gone.map_err(|why| why.wrap("failed to destroy service account"))?;
            out(&format!("destroyed service account: {name}\n"));
            Ok(())
        }
    }
}

/// Generates a key that is valid for one year.
fn key(name: &str) -> Result<(NewKey, PublicKey), ToolError> {
    let now = crate::omni::wall_now();
    let key = keys::generate(name, now, keys::YEAR)?;
    let public = PublicKey { id: key.fingerprint.clone(), created: now, expires: key.expires };
    Ok((key, public))
}

/// Registers a service account and returns its key.
fn register(client: &mut Connection, name: &str, role: &str, use_user_role: bool) -> Result<NewKey, ToolError> {
    let (key, public) = key(name)?;
    let (name, role) = (name.to_owned(), role.to_owned());
    client.call::<()>(OmniCall::CreateServiceAccount { name, role, use_user_role, key: public })?;
    Ok(key)
}

fn create_provider(client: &mut Connection, name: &str) -> Result<(), ToolError> {
    let spec = kinds::by_type(client.release, INFRA_PROVIDER).map(|kind| kind.complete(&serde_json::json!({})));
    let now = crate::omni::wall_now();
    // The provider is created before its key, so a failure in between leaves the provider behind.
    client.call::<()>(OmniCall::Create(Resource::new(INFRA_PROVIDER, INFRA, name, spec.unwrap_or_default(), now)))?;
    let account = format!("{PROVIDER_PREFIX}{name}");
    let key = register(client, &account, "InfraProvider", false)?;
    out(&format!("Your infra provider {name:?} is ready to use\n"));
    credentials(client, &key, &format!("Created infra provider service account {account:?} with public key"), true);
    out("Please use the endpoint and the service account key to set up the infra provider\n");
    Ok(())
}

fn renew(client: &mut Connection, name: &str, provider: bool) -> Result<(), ToolError> {
    let (key, public) = key(name)?;
    client.call::<()>(OmniCall::RenewServiceAccount { name: name.to_owned(), key: public })?;
    credentials(client, &key, &format!("Renewed service account {name:?} by adding a public key with"), provider);
    Ok(())
}

/// Prints the variables. Since 1.8 the other text goes to stderr, but only for service accounts.
fn credentials(client: &Connection, key: &NewKey, done: &str, all_on_stdout: bool) {
    let say = |text: &str| if all_on_stdout || client.release.old() { out(text) } else { err(text) };
    let next = "Set the following environment variables to use the service account:";
    say(&format!("{done} ID {:?}\n\n{next}\n", key.fingerprint));
    out(&format!("OMNI_ENDPOINT={}\nOMNI_SERVICE_ACCOUNT_KEY={}\n", client.endpoint, key.encoded));
    say("\nNote: Store the service account key securely, it will not be displayed again\n");
}

fn list_providers(client: &mut Connection) -> Result<(), ToolError> {
    let mut rows = vec![["ID", "NAME", "DESCRIPTION", "CONNECTED", "ERROR"].map(str::to_owned).to_vec()];
    for found in client.list(INFRA_PROVIDER_COMBINED, EPHEMERAL, Vec::new())? {
        let text = |field: &str| found.text(field).to_owned();
        let health = &found.spec["health"];
        let connected = (health["connected"] == true).to_string();
        let error = health["error"].as_str().unwrap_or_default().to_owned();
        rows.push(vec![found.md.id.clone(), text("name"), text("description"), connected, error]);
    }
    out(&align(&rows, 4));
    Ok(())
}

fn list_accounts(client: &mut Connection) -> Result<(), ToolError> {
    let found: Vec<Account> = client.call(OmniCall::ListServiceAccounts)?;
    let old = client.release.old();
    let titles: &[&str] = match old {
        true => &["NAME", "ROLE", "PUBLIC KEY ID", "EXPIRATION"],
        false => &["NAME", "ROLE", "LAST ACTIVE", "PUBLIC KEY ID", "KEY CREATED", "KEY LAST ACTIVE", "EXPIRATION"],
    };
    let mut rows = vec![titles.iter().map(|title| (*title).to_owned()).collect::<Vec<_>>()];
    for account in found {
        for (number, key) in account.keys.iter().enumerate() {
            let first = |text: &str| if number == 0 { text.to_owned() } else { String::new() };
            let mut row = vec![first(&account.name), first(account.role.as_ref())];
            if old {
                row.extend([key.id.clone(), rfc3339(key.expires).replace('T', " ").replace('Z', " +0000 UTC")]);
            } else {
                row.extend([
                    first("Never"),
                    key.id.clone(),
                    rfc3339(key.created),
                    "Never".to_owned(),
                    rfc3339(key.expires),
                ]);
            }
            rows.push(row);
        }
    }
    out(&align(&rows, 3));
    Ok(())
}
