//! The resolver of the lab's LAN, which Proxmox's nodes and the machines on them use (RFC 1035, A records over UDP). It
//! resolves every name to the address of Omni.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Packet, PacketFlag, RCODE, ResourceRecord, TYPE};
use tokio::net::UdpSocket;

use crate::faults::Faults;

/// The address of Omni that machines must get.
const LAN: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// The address of Omni in the tailnet, which machines are not part of.
const TAILNET: Ipv4Addr = Ipv4Addr::new(100, 101, 102, 103);

/// Starts the resolver and returns its address. It ends with the runtime.
pub async fn serve(at: SocketAddr, faults: Arc<Faults>) -> Result<SocketAddr> {
    let socket = UdpSocket::bind(at).await.context("cannot listen for DNS on loopback")?;
    let address = socket.local_addr()?;
    tokio::spawn(async move {
        let mut buffer = [0u8; 512];
        // A datagram that cannot be read or answered counts as lost.
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            if let Some(answer) = answer(&buffer[..length], addresses(&faults)) {
                let _ = socket.send_to(&answer, from).await;
            }
        }
    });
    Ok(address)
}

fn addresses(faults: &Faults) -> &'static [Ipv4Addr] {
    let faulty =
        [("dns-no-name", &[][..]), ("dns-tailnet-address", &[TAILNET]), ("dns-two-addresses", &[LAN, TAILNET])];
    faulty.iter().find(|(name, _)| faults.has(name)).map_or(&[LAN], |(_, found)| found)
}

/// Returns the response to a query with one question, with addresses if it is for A records; `None` for anything else.
fn answer(query: &[u8], addresses: &[Ipv4Addr]) -> Option<Vec<u8>> {
    let query = Packet::parse(query).ok().filter(|query| !query.has_flags(PacketFlag::RESPONSE))?;
    let [question] = query.questions.as_slice() else { return None };
    let mut reply = Packet::new_reply(query.id());
    // The query is recursive, so the response comes from a recursive resolver.
    reply.set_flags(PacketFlag::RECURSION_DESIRED | PacketFlag::RECURSION_AVAILABLE);
    if addresses.is_empty() {
        *reply.rcode_mut() = RCODE::NameError;
    }
    let record =
        |address: &Ipv4Addr| ResourceRecord::new(question.qname.clone(), CLASS::IN, 60, RData::A((*address).into()));
    let wanted = question.qtype == TYPE::A.into();
    reply.answers = addresses.iter().filter(|_| wanted).map(record).collect();
    reply.questions.push(question.clone());
    reply.build_bytes_vec().ok()
}
