//! The stand-in for `omnictl` (siderolabs/omni v1.9.3 client/pkg/omnictl; 1.4.9 where the lab is started as that).

mod accounts;
mod apply;
mod args;
mod client;
mod decode;
mod diff;
mod get;
mod kubeconfig;
mod patch;
mod sync;
mod table;
mod template;
mod yamltext;

pub use apply::resources_of_file;
pub use sync::resources_of_template;
pub use table::align;

use args::{Cluster, Command, Omnictl, Template};
use clap::Parser as _;
use client::{Client, Fail};

use super::wire::{self, Ask, Line, Start, Told};
use super::{UNKNOWN_CALL, err, out, unknown_call};

/// Runs the stand-in; the value is its exit code.
pub fn run(argv0: &str, argv: &[String]) -> i32 {
    let call = match Omnictl::try_parse_from(std::iter::once("omnictl").chain(argv.iter().map(String::as_str))) {
        Ok(call) if call.version || call.command.is_some() => call,
        _ => return unknown_call("omnictl", argv),
    };
    let outcome = begin(argv0, argv).map_err(Fail::Lab).and_then(|(line, start)| execute(&call, line, &start));
    match outcome {
        Ok(()) => 0,
        Err(Fail::Lab(why)) => {
            err(&format!("lab: {why:#}\n"));
            UNKNOWN_CALL
        }
        Err(other) => {
            err(&format!("Error: {}\n", other.text()));
            1
        }
    }
}

fn begin(argv0: &str, argv: &[String]) -> anyhow::Result<(Line, Start)> {
    let link = wire::find(argv0).ok_or_else(|| anyhow::anyhow!("this stand-in belongs to no lab that it can find"))?;
    let mut line = Line::open(&link)?;
    let asked = Ask::Start { program: "omnictl".to_owned(), argv: argv.to_vec() };
    match line.ask(&asked)? {
        Told::Started(start) => {
            super::busy(start.busy_ms);
            Ok((line, start))
        }
        other => anyhow::bail!("unexpected answer of the lab: {other:?}"),
    }
}

fn execute(call: &Omnictl, line: Line, start: &Start) -> Result<(), Fail> {
    let Some(command) = &call.command else {
        out(&format!("omnictl version {} (API Version: 2)\n", start.release.tag()));
        return Ok(());
    };
    if let Command::Cluster(Cluster::Template(Template::Validate { file })) = command {
        return Ok(template::load_file(start.release, file)?.validate()?);
    }
    let client = &mut Client::connect(line, start, call.insecure_skip_tls_verify)?;
    match command {
        Command::Apply { file } => apply::run(client, file),
        Command::Get(get) => get::run(client, get),
        Command::Delete { kind, ids } => get::delete(client, kind, ids),
        Command::Cluster(Cluster::Delete { name, dry_run, verbose }) => {
            sync::delete_cluster(client, name, *dry_run, *verbose)
        }
        Command::Cluster(Cluster::Template(Template::Sync { file, dry_run, verbose })) => {
            sync::sync(client, file, *dry_run, *verbose)
        }
        // Done without the server.
        Command::Cluster(Cluster::Template(Template::Validate { .. })) => Ok(()),
        Command::Kubeconfig(call) => kubeconfig::run(client, call),
        Command::Infraprovider(call) => accounts::provider(client, call),
        Command::Serviceaccount(call) => accounts::service_account(client, call),
    }
}
