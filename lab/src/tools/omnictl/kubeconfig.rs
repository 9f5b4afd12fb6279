//! `omnictl kubeconfig` and `omnictl talosconfig` (client/pkg/omnictl/kubeconfig.go, talosconfig.go).

use std::path::Path;

use serde_json::{Value, json};

use super::args::{Kubeconfig, Talosconfig};
use super::client::Connection;
use crate::go_errors::go_io;
use crate::omni::api::OmniCall;
use crate::omni::names::{CLUSTER, DEFAULT};
use crate::omni::resource::Key;
use crate::tools::failure::ToolError;

/// Writes a kubeconfig: with a service-account token, which requires the role Operator, or for login with a browser.
pub fn run(client: &mut Connection, call: &Kubeconfig) -> Result<(), ToolError> {
    let Kubeconfig { cluster, user, path, force, service_account, .. } = call;
    if Path::new(path).exists() && !force {
        return Err(ToolError::Message(format!("kubeconfig file already exists, use --force to overwrite: {path:?}")));
    }
    let found = client.find(&Key::new(CLUSTER, DEFAULT, cluster));
    if found.map_err(|why| why.wrap(&format!("failed to check if cluster '{cluster}' exists")))?.is_none() {
        return Err(ToolError::Message(format!("cluster not found: {cluster:?}")));
    }
    if *service_account && user.is_empty() {
        let text = "--user flag is required when --service-account is set to true";
        return Err(ToolError::Message(text.to_owned()));
    }
    client.call::<()>(OmniCall::ClusterAccess { operator: *service_account })?;
    let context = if *service_account { format!("lab-{cluster}-{user}") } else { format!("lab-{cluster}") };
    let credentials = match service_account {
        true => json!({ "token": "lab-service-account-token" }),
        false => {
            json!({ "exec": { "apiVersion": "client.authentication.k8s.io/v1beta1", "command": "kubectl", "args": ["oidc-login", "get-token"] } })
        }
    };
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": context,
        "clusters": [{ "name": context, "cluster": { "server": "https://127.0.0.1:8100" } }],
        "users": [{ "name": context, "user": credentials }],
        "contexts": [{ "name": context, "context": { "cluster": context, "namespace": "default", "user": context } }],
    });
    write(path, &config)
}

/// Writes a talosconfig. It contains the caller's identity and no key.
pub fn talosconfig(client: &mut Connection, call: &Talosconfig) -> Result<(), ToolError> {
    let Talosconfig { cluster, path } = call;
    client.call::<()>(OmniCall::ClusterAccess { operator: false })?;
    let context = format!("lab-{cluster}");
    let config = json!({
        "context": context,
        "contexts": { (context.clone()): { "endpoints": [client.endpoint], "cluster": cluster, "auth": { "siderov1": { "identity": "automation" } } } },
    });
    write(path, &config)
}

/// Writes a file with the same mode as the real program.
fn write(path: &str, config: &Value) -> Result<(), ToolError> {
    let text = serde_yaml::to_string(config).map_err(|why| why.to_string())?;
    Ok(crate::tools::write(Path::new(path), &text, 0o640).map_err(|why| format!("open {path}: {}", go_io(&why)))?)
}
