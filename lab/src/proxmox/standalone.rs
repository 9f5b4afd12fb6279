//! `lab proxmox`: the simulated Proxmox alone, for clients written for the real Proxmox.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;

use super::world::{DEFAULT_TOKEN_SECRET, PROVIDER_TOKEN};
use super::{Proxmox, World};
use crate::clock::Clock;
use crate::http::Listen;
use crate::tls::{Ca, Leaf};

/// The options of `lab proxmox`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Address to listen on; port 0 picks a free port
    #[arg(long, default_value = "127.0.0.1:8006")]
    listen: SocketAddr,
    /// Time scale: simulated seconds per second; 1 is real time
    #[arg(long, default_value = "1", value_parser = crate::clock::factor)]
    clock: f64,
    /// Secret of the token `omni@pve!provider`
    #[arg(long, default_value = DEFAULT_TOKEN_SECRET)]
    token_secret: String,
    /// Write the CA certificate of the lab to this file
    #[arg(long)]
    ca_file: Option<PathBuf>,
}

/// Serves a world until the process ends. When ready, prints one line of JSON with the URL, CA file and token ID (not the
/// secret). Fails if it cannot listen or cannot write the CA's certificate.
pub async fn run(arguments: Arguments) -> Result<()> {
    let ca = Ca::new()?;
    if let Some(path) = &arguments.ca_file {
        std::fs::write(path, ca.pem()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let world = World::lab(&arguments.token_secret);
    let options = Listen {
        addr: arguments.listen,
        tls: Some(ca.server_config_showing(|| Leaf::Good)?.0),
        latency: Duration::ZERO,
    };
    let proxmox = Proxmox::start(world, options, Clock::new(arguments.clock), Arc::default()).await?;
    let ready = serde_json::json!({
        "ready": true,
        "pid": std::process::id(),
        "proxmox_url": proxmox.url(),
        "ca_file": arguments.ca_file,
        "token_id": PROVIDER_TOKEN,
    });
    crate::tools::out(&format!("{ready}\n"));
    std::future::pending::<()>().await;
    Ok(())
}
