//! The Proxmox alone, for clients that were written for the real one: `lab proxmox`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::hooks::NoFaults;
use super::world::{DEFAULT_TOKEN_SECRET, PROVIDER_TOKEN};
use super::{Options, Proxmox, World};
use crate::clock::Clock;
use crate::tls::Ca;

/// How it is called.
pub const USAGE: &str = "usage: lab proxmox --listen ADDR:PORT [--plain-http] [--clock N] [--token-secret UUID] \
    [--ca-file PATH] [--nodes N] [--vms N] [--storages N]";

/// What was asked for.
struct Request {
    listen: SocketAddr,
    plain_http: bool,
    clock: f64,
    token_secret: String,
    ca_file: Option<PathBuf>,
    size: [usize; 3],
}

/// Serves a world until the process ends. When it is ready it prints one line of JSON with URL, CA file and token id (not
/// the secret). Fails on arguments that it does not know and if it cannot listen or write the CA's certificate.
pub async fn run_alone(args: &[String]) -> Result<()> {
    let request = parse(args)?;
    let ca = Ca::new()?;
    if let Some(path) = &request.ca_file {
        std::fs::write(path, ca.pem()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let tls = if request.plain_http { None } else { Some(ca.server_config()?) };
    let [nodes, vms, storages] = request.size;
    let world = World::sized(nodes, vms, storages, &request.token_secret)?;
    let options = Options { addr: request.listen, tls, latency: Duration::ZERO };
    let proxmox = Proxmox::start(world, options, Clock::new(request.clock), Arc::new(NoFaults)).await?;
    let ready = serde_json::json!({
        "ready": true,
        "pid": std::process::id(),
        "proxmox_url": proxmox.url(),
        "ca_file": request.ca_file,
        "token_id": PROVIDER_TOKEN,
    });
    println!("{ready}");
    std::future::pending::<()>().await;
    Ok(())
}

fn parse(args: &[String]) -> Result<Request> {
    let mut request = Request {
        listen: SocketAddr::from(([127, 0, 0, 1], 8006)),
        plain_http: false,
        clock: 1.0,
        token_secret: DEFAULT_TOKEN_SECRET.to_owned(),
        ca_file: None,
        size: [3, 0, 3],
    };
    let mut args = args.iter();
    while let Some(flag) = args.next() {
        if flag == "--plain-http" {
            request.plain_http = true;
            continue;
        }
        let Some(value) = args.next() else { bail!("{flag} needs a value\n{USAGE}") };
        let wrong = || format!("{flag}: '{value}' is no valid value\n{USAGE}");
        match flag.as_str() {
            "--listen" => request.listen = value.parse().with_context(wrong)?,
            "--clock" => request.clock = value.parse().with_context(wrong)?,
            "--token-secret" => request.token_secret = value.clone(),
            "--ca-file" => request.ca_file = Some(value.into()),
            "--nodes" => request.size[0] = value.parse().with_context(wrong)?,
            "--vms" => request.size[1] = value.parse().with_context(wrong)?,
            "--storages" => request.size[2] = value.parse().with_context(wrong)?,
            _ => bail!("unknown argument '{flag}'\n{USAGE}"),
        }
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&args)
    }

    #[test]
    fn arguments_are_read() {
        let request = parsed("--listen 127.0.0.1:9 --plain-http --clock 100 --vms 5").unwrap();
        assert_eq!((request.listen.port(), request.plain_http, request.clock), (9, true, 100.0));
        assert_eq!(request.size, [3, 5, 3]);
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (line, said) in [("--port 1", "--port"), ("--clock", "needs a value"), ("--clock x", "'x'")] {
            let why = parsed(line).err().map(|why| format!("{why:#}")).unwrap_or_default();
            assert!(why.contains(said) && why.contains("usage:"), "{line}: {why}");
        }
    }
}
