//! The stand-in for `omnictl` (siderolabs/omni v1.9.3 client/pkg/omnictl; 1.4.9 where the lab is told so).

mod accounts;
mod apply;
mod args;
mod client;
mod configs;
mod decode;
mod diff;
mod get;
mod jsonpath;
mod patch;
mod status;
mod sync;
mod table;
pub use apply::resources_of_file;
pub use sync::resources_of_template;
pub use table::align;
mod template;
mod yamltext;

use args::{Parsed, Refused};
use client::{Client, Fail};

use super::wire::{self, Ask, Line, Start, Told};
use super::{UNKNOWN_CALL, err, out, unknown_call};

/// Runs the stand-in; the value is its exit code.
pub fn run(argv0: &str, argv: &[String]) -> i32 {
    let parsed = match args::parse(argv) {
        Ok(parsed) => parsed,
        Err(Refused::Error(text)) => return fail(&text),
        Err(Refused::Unknown) => return unknown_call("omnictl", argv),
    };
    match begin(argv0, argv) {
        Ok((line, start)) => finish(command(&parsed, line, &start)),
        Err(why) => finish(Err(Fail::Lab(why))),
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

fn fail(text: &str) -> i32 {
    err(&format!("Error: {text}\n"));
    1
}

fn finish(outcome: Result<(), Fail>) -> i32 {
    match outcome {
        Ok(()) => 0,
        Err(Fail::Lab(why)) => {
            err(&format!("lab: {why:#}\n"));
            UNKNOWN_CALL
        }
        Err(other) => fail(&other.text()),
    }
}

fn command(parsed: &Parsed, line: Line, start: &Start) -> Result<(), Fail> {
    if parsed.command.is_empty() {
        out(&format!("omnictl version {} (API Version: 2)\n", start.release.tag()));
        return Ok(());
    }
    match parsed.command.as_str() {
        "cluster template validate" => {
            let template = template::load_file(start.release, parsed.text("file"), parsed.text("allowed-dir"))?;
            return Ok(template.validate()?);
        }
        "cluster template render" => {
            let template = template::load_file(start.release, parsed.text("file"), parsed.text("allowed-dir"))?;
            template.validate()?;
            return sync::render(&template, start.release);
        }
        _ => {}
    }
    let mut client = Client::connect(line, start, parsed.on("insecure-skip-tls-verify"))?;
    match parsed.command.as_str() {
        "get" => get::run(&mut client, parsed),
        "apply" => apply::run(&mut client, parsed),
        "delete" => get::delete(&mut client, parsed),
        "cluster template sync" => sync::sync(&mut client, parsed),
        "cluster template diff" => sync::diff(&mut client, parsed),
        "cluster template delete" => sync::delete_template(&mut client, parsed),
        "cluster template status" => status::template(&mut client, parsed),
        "cluster status" => status::cluster(&mut client, &parsed.args[0], parsed),
        "cluster delete" => sync::delete_cluster(&mut client, &parsed.args[0], parsed),
        "kubeconfig" => configs::kubeconfig(&mut client, parsed),
        "talosconfig" => configs::talosconfig(&mut client, parsed),
        other => accounts::run(&mut client, other, parsed),
    }
}
