//! The resolver of the lab's LAN: what Proxmox's nodes and the machines on them ask (RFC 1035, A records over UDP). It
//! knows one thing, where Omni is, and says it of every name.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::net::UdpSocket;

use crate::faults::Faults;

/// Omni, as machines must be told.
const LAN: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Omni, as the tailnet knows it, where no machine is.
const TAILNET: Ipv4Addr = Ipv4Addr::new(100, 101, 102, 103);

/// Listens; the value is where. Ends with the runtime.
pub async fn serve(at: SocketAddr, faults: Arc<Faults>) -> Result<SocketAddr> {
    let socket = UdpSocket::bind(at).await.context("cannot listen for DNS on loopback")?;
    let address = socket.local_addr()?;
    tokio::spawn(async move {
        let mut buffer = [0u8; 512];
        // A datagram that cannot be read or answered is one that got lost.
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            if let Some(answer) = answer(&buffer[..length], &told(&faults)) {
                let _ = socket.send_to(&answer, from).await;
            }
        }
    });
    Ok(address)
}

fn told(faults: &Faults) -> Vec<Ipv4Addr> {
    if faults.has("dns-no-name") {
        return Vec::new();
    }
    match (faults.has("dns-tailnet-address"), faults.has("dns-two-addresses")) {
        (true, _) => vec![TAILNET],
        (_, true) => vec![LAN, TAILNET],
        _ => vec![LAN],
    }
}

/// The answer to a query for one name's A records; `None` for anything else.
fn answer(query: &[u8], addresses: &[Ipv4Addr]) -> Option<Vec<u8>> {
    // One question, and no answer yet.
    if query.len() < 17 || query[2] & 0x80 != 0 || query[4..6] != [0, 1] {
        return None;
    }
    let mut end = 12;
    while *query.get(end)? != 0 {
        end += usize::from(query[end]) + 1;
    }
    let question = query.get(12..end + 5)?;
    let wanted = question.ends_with(&[0, 1, 0, 1]);
    let found = if wanted { addresses } else { &[] };
    let code = if addresses.is_empty() { 3 } else { 0 };
    let mut out = query[..2].to_vec();
    // An answer to a recursive question, from one who recurses.
    out.extend([0x81, 0x80 | code, 0, 1, 0, u8::try_from(found.len()).ok()?, 0, 0, 0, 0]);
    out.extend(question);
    for address in found {
        // The name is the one at byte 12; A, IN, a minute, four bytes.
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        out.extend(address.octets());
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(kind: u8) -> Vec<u8> {
        let mut out = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        out.extend(b"\x04omni\x07example\x03com\x00\x00");
        out.extend([kind, 0, 1]);
        out
    }

    #[test]
    fn a_question_for_an_address_gets_one() {
        let found = answer(&query(1), &[LAN, TAILNET]).unwrap();
        assert_eq!(found[..4], [7, 9, 0x81, 0x80]);
        assert_eq!(found[6..8], [0, 2]);
        assert!(found.ends_with(&TAILNET.octets()));
        // No such name, and no record of another kind.
        assert_eq!(answer(&query(1), &[]).unwrap()[3], 0x83);
        assert_eq!(answer(&query(28), &[LAN]).unwrap()[6..8], [0, 0]);
    }
}
