//! openssl, because curl does not show the certificate chain of a server everywhere.

use std::time::Duration;

use xshell::cmd;

use super::Tool;
use crate::cx::Cx;
use crate::proc::{self, Job};
use domain::failure::{Code, Failure};
use domain::status::certificate::{self, Certificate};

/// The chain that `address` (`host:port`) serves to a client that requests `host`, leaf first. It is not verified.
///
/// # Errors
/// [`Code::Prerequisite`] if openssl is not installed; [`Code::Unreachable`] if there is no TLS server.
pub fn served_certificates(cx: &Cx, address: &str, host: &str) -> Result<Vec<Certificate>, Failure> {
    let openssl = Tool::Openssl.find()?;
    let shell = proc::shell()?;
    // An address is not a valid server name (RFC 6066).
    let name: &[&str] =
        if host.parse::<std::net::IpAddr>().is_ok() { &["-noservername"] } else { &["-servername", host] };
    let cmd = cmd!(shell, "{openssl} s_client -connect {address} {name...} -showcerts");
    let job = Job::new(format!("reading the certificate that {address} serves"), cmd);
    let ended = cx.proc.run(job.stdin("").deadline(Duration::from_secs(10)))?;
    let chain = certificate::read_pem(&ended.stdout)
        .map_err(|why| Failure::new(Code::Failed, format!("the certificate that {address} serves")).cause(why))?;
    if chain.is_empty() {
        let output =
            ended.stderr.lines().find(|line| line.contains("error") || line.contains("errno")).unwrap_or_default();
        return Err(Failure::new(Code::Unreachable, format!("no TLS connection to {address}"))
            .cause(output.trim().to_owned())
            .hint("check that the stack runs: `cargo xtask omni-status`"));
    }
    Ok(chain)
}
