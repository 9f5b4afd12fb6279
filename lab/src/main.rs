//! The simulated Proxmox, Omni and Docker: the `lab` commands and, under other names, the simulated programs.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use lab::daemon::{self, LabOptions};
use lab::faults;
use lab::proxmox::standalone;
use lab::tools::protocol::{self, Request};
use lab::tools::{docker, node, omnictl};

/// Simulate Proxmox VE, Omni, its provider, omnictl and docker on loopback
#[derive(Parser)]
#[command(name = "lab", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a lab until a signal or `lab stop`
    Serve(LabOptions),
    /// Print the simulated state as JSON
    Dump(Running),
    /// Stop a lab
    Stop(Running),
    /// Switch a Proxmox node and its guests off or on
    Node {
        #[command(flatten)]
        lab: Running,
        /// Name of the node; `second/NAME` for a node of the second Proxmox
        name: String,
        #[arg(value_parser = ["off", "on"])]
        power: String,
    },
    /// End a fault in a running lab
    Heal {
        #[command(flatten)]
        lab: Running,
        name: String,
    },
    /// Print all faults as JSON
    Faults,
    /// Run only Proxmox, for clients written for the real Proxmox
    Proxmox(standalone::Arguments),
}

/// A running lab.
#[derive(Args)]
struct Running {
    /// Directory of the lab
    #[arg(long)]
    dir: PathBuf,
}

fn main() {
    let words: Result<Vec<String>, _> = std::env::args_os().map(std::ffi::OsString::into_string).collect();
    let Ok(args) = words else {
        lab::tools::err("lab: arguments must be UTF-8, paths too\n");
        std::process::exit(1);
    };
    let called = args.first().cloned().unwrap_or_default();
    let rest = args.get(1..).unwrap_or_default();
    let name = Path::new(&called).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let code = match name.as_str() {
        "omnictl" => omnictl::run(&called, rest),
        "docker" => docker::run(&called, rest),
        name if node::PROGRAMS.contains(&name) => node::run(name, &called, rest),
        // A downloaded omnictl may have any name.
        other if other != "lab" && protocol::trailer().is_some() => omnictl::run(&called, rest),
        _ => match run(Cli::parse().command) {
            Ok(()) => 0,
            Err(why) => {
                lab::tools::err(&format!("lab: {why:#}\n"));
                1
            }
        },
    };
    std::process::exit(code);
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Serve(options) => runtime()?.block_on(daemon::serve(options)),
        Command::Dump(lab) => {
            let state: serde_json::Value = daemon::ask(&lab.dir, &Request::Dump)?;
            lab::tools::out(&format!("{state}\n"));
            Ok(())
        }
        Command::Stop(lab) => {
            daemon::ask::<()>(&lab.dir, &Request::Stop)?;
            daemon::wait_for_end(&lab.dir)
        }
        Command::Node { lab, name, power } => daemon::ask(&lab.dir, &Request::Node { name, online: power == "on" }),
        Command::Heal { lab, name } => daemon::ask(&lab.dir, &Request::Heal { name }),
        Command::Faults => {
            lab::tools::out(&format!("{}\n", serde_json::to_string(faults::table())?));
            Ok(())
        }
        Command::Proxmox(arguments) => runtime()?.block_on(standalone::run(arguments)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().context("cannot start the runtime")
}
