//! The stand-in for `omnictl` (siderolabs/omni v1.9.3 client/pkg/omnictl, or 1.4.9 if the lab is started with that version).

mod accounts;
mod apply;
mod args;
mod client;
mod export;
mod get;
mod kubeconfig;
mod logs;
mod sync;
mod table;
mod template;

pub use apply::resources_of_file;
pub use sync::resources_of_template;

use args::{ClusterCommand, KubernetesCommand, Omnictl, OmnictlCommand, TemplateCommand};
use clap::Parser as _;
use client::Connection;
use serde_json::Value;

use super::failure::{ToolError, exit_code};
use super::protocol::{self, Start};
use super::{out, unknown_call};
use crate::omni::api::OmniCall;

/// A document of a YAML file.
struct Document {
    /// Line number of its `---` or, without one, of its first content.
    line: usize,
    text: String,
}

impl Document {
    /// Decodes the document, merging `<<` as yaml.v3 does.
    fn value(&self) -> Result<Value, String> {
        let merged = |mut value: serde_yaml::Value| value.apply_merge().map(|()| value);
        let value = serde_yaml::from_str(&self.text).and_then(merged);
        value.and_then(serde_yaml::from_value).map_err(|why| format!("yaml: {why}"))
    }
}

/// Splits a YAML file at its `---` lines.
fn documents(text: &str) -> Vec<Document> {
    let mut found: Vec<Document> = Vec::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let content = || !line.trim().is_empty() && !line.starts_with(['#', '%']);
        match (found.last_mut(), line.strip_prefix("---").filter(|rest| rest.is_empty() || rest.starts_with(' '))) {
            (_, Some(rest)) => found.push(Document { line: number + 1, text: format!("{rest}\n") }),
            (Some(last), None) => last.text += &format!("{line}\n"),
            (None, None) if content() => found.push(Document { line: number + 1, text: format!("{line}\n") }),
            (None, None) => {}
        }
    }
    found
}

/// The text of a scalar of any type; empty for null.
fn scalar(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Runs the stand-in and returns its exit code.
pub fn run(argv0: &str, argv: &[String]) -> i32 {
    let call = match Omnictl::try_parse_from(std::iter::once("omnictl").chain(argv.iter().map(String::as_str))) {
        Ok(call) if call.version || call.command.is_some() => call,
        _ => return unknown_call("omnictl", argv),
    };
    let outcome = protocol::begin("omnictl", argv0, argv)
        .map_err(ToolError::from)
        .and_then(|(client, start)| execute(&call, client, &start));
    exit_code("omnictl", argv, "Error: ", outcome)
}

fn execute(call: &Omnictl, client: protocol::Client, start: &Start) -> Result<(), ToolError> {
    let Some(command) = &call.command else {
        out(&format!("omnictl version {} (API Version: 2)\n", start.release.tag()));
        return Ok(());
    };
    if let OmnictlCommand::Cluster(ClusterCommand::Template(TemplateCommand::Validate { file })) = command {
        template::load(start.release, file)?;
        return Ok(());
    }
    let connection = &mut Connection::connect(client, start, call.insecure_skip_tls_verify)?;
    match command {
        OmnictlCommand::Apply { file } => apply::run(connection, file),
        OmnictlCommand::Get(get) => get::run(connection, get),
        OmnictlCommand::Delete { kind, ids } => get::delete(connection, kind, ids),
        OmnictlCommand::Cluster(ClusterCommand::Lock { cluster }) => get::lock(connection, cluster, true),
        OmnictlCommand::Cluster(ClusterCommand::Unlock { cluster }) => get::lock(connection, cluster, false),
        OmnictlCommand::Cluster(ClusterCommand::Delete { name, dry_run, destroy_disconnected_machines }) => {
            sync::delete_cluster(connection, name, *dry_run, *destroy_disconnected_machines)
        }
        OmnictlCommand::Cluster(ClusterCommand::Template(TemplateCommand::Sync { file, dry_run, verbose })) => {
            sync::sync(connection, file, *dry_run, *verbose)
        }
        OmnictlCommand::Cluster(ClusterCommand::Template(TemplateCommand::Export { cluster })) => {
            export::run(connection, cluster)
        }
        OmnictlCommand::Cluster(ClusterCommand::Kubernetes(KubernetesCommand::UpgradePreChecks { cluster, to })) => {
            connection.call(OmniCall::UpgradePreChecks { cluster: cluster.clone(), to: to.clone() })
        }
        // Handled above, without the server.
        OmnictlCommand::Cluster(ClusterCommand::Template(TemplateCommand::Validate { .. })) => Ok(()),
        OmnictlCommand::Kubeconfig(call) => kubeconfig::run(connection, call),
        OmnictlCommand::Talosconfig(call) => kubeconfig::talosconfig(connection, call),
        OmnictlCommand::MachineLogs(call) => logs::run(connection, call),
        OmnictlCommand::Infraprovider(call) => accounts::provider(connection, call),
        OmnictlCommand::Serviceaccount(call) => accounts::service_account(connection, call),
    }
}
