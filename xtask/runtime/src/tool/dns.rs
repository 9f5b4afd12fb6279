//! Queries a given resolver for the addresses of a name (RFC 1035, one question over UDP). The system's lookup cannot show what
//! another machine's resolver returns.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, ResourceRecord, TYPE};

use crate::settings::environment;

/// The timeout of a query. A resolver on the LAN responds in milliseconds, a remote one in tenths of a second.
const PATIENCE: Duration = Duration::from_millis(900);

/// The IPv4 addresses that `start_resolver` returns for `name`; empty if the name does not exist.
///
/// # Errors
/// A description of why there was no response.
pub fn resolve(resolver: IpAddr, name: &str) -> Result<Vec<IpAddr>, String> {
    // A lab may not use port 53, and has a single resolver for everything.
    let of_lab = environment("OMNI_SCALE_DNS").and_then(|address| address.parse().ok());
    resolve_at(of_lab.unwrap_or(SocketAddr::new(resolver, 53)), name, PATIENCE)
}

fn resolve_at(resolver: SocketAddr, name: &str, patience: Duration) -> Result<Vec<IpAddr>, String> {
    let id = (std::process::id() as u16) ^ (resolver.port()) ^ name.len() as u16;
    let question = encode_query(id, name).ok_or("it is not a valid host name")?;
    let here: SocketAddr = if resolver.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let describe = |error: std::io::Error| error.to_string();
    let socket = UdpSocket::bind(here).map_err(describe)?;
    socket.connect(resolver).map_err(describe)?;
    socket.send(&question).map_err(describe)?;
    let end = Instant::now() + patience;
    let mut buffer = [0u8; 1500];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("no answer".to_owned());
        }
        socket.set_read_timeout(Some(left)).map_err(describe)?;
        match socket.recv(&mut buffer) {
            Ok(length) => match parse_response(id, &buffer[..length]) {
                Some(found) => return found,
                // A late response to another query.
                None => continue,
            },
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                return Err("no answer".to_owned());
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// A recursive query for the A records of `name`.
fn encode_query(id: u16, name: &str) -> Option<Vec<u8>> {
    let name = name.trim_end_matches('.');
    let whole = name.split('.').all(|label| !label.is_empty());
    let name = Name::new(name).ok().filter(|name| whole && name.is_valid_hostname())?;
    let mut query = Packet::new_query(id);
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    query.questions.push(Question::new(name, TYPE::A.into(), CLASS::IN.into(), false));
    query.build_bytes_vec().ok()
}

/// Parses a response; `None` if it is not the response to `id`.
fn parse_response(id: u16, bytes: &[u8]) -> Option<Result<Vec<IpAddr>, String>> {
    let packet = match Packet::parse(bytes) {
        Ok(packet) => packet,
        Err(_) => return bytes.starts_with(&id.to_be_bytes()).then(|| Err("its answer is malformed".to_owned())),
    };
    if packet.id() != id || !packet.has_flags(PacketFlag::RESPONSE) {
        return None;
    }
    let address = |record: &ResourceRecord| match &record.rdata {
        RData::A(found) => Some(Ipv4Addr::from(found.address).into()),
        _ => None,
    };
    Some(match packet.rcode() {
        RCODE::NoError => Ok(packet.answers.iter().filter_map(address).collect()),
        RCODE::NameError => Ok(Vec::new()),
        RCODE::ServerFailure => Err("it failed (SERVFAIL)".to_owned()),
        RCODE::Refused => Err("it refuses to answer".to_owned()),
        other => Err(format!("it answered with {other:?}")),
    })
}

/// The resolvers in a `resolv.conf`.
pub fn parse_resolvers(text: &str) -> Vec<IpAddr> {
    let words = text.lines().map(|line| line.split_whitespace());
    words.filter_map(|mut line| (line.next() == Some("nameserver")).then(|| line.next()?.parse().ok())?).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A resolver that answers one query with `reply(id)`.
    fn start_resolver(reply: impl FnOnce(Vec<u8>) -> Vec<u8> + Send + 'static) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0u8; 600];
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            socket.send_to(&reply(buffer[..length].to_vec()), from).unwrap();
        });
        address
    }

    /// Turns a query into a response: a CNAME and the given addresses.
    fn respond_to(mut question: Vec<u8>, addresses: &[[u8; 4]]) -> Vec<u8> {
        question[2] = 0x81;
        question[3] = 0x80;
        question[7] = 1 + addresses.len() as u8;
        question.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, b'x', 0xc0, 17]);
        for address in addresses {
            question.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            question.extend(address);
        }
        question
    }

    #[test]
    fn dns_answer_follows_aliases() {
        let at = start_resolver(|question| respond_to(question, &[[192, 0, 2, 10], [100, 64, 0, 9]]));
        let found = resolve_at(at, "omni.example.com", Duration::from_secs(5)).unwrap();
        assert_eq!(found, [IpAddr::from([192, 0, 2, 10]), IpAddr::from([100, 64, 0, 9])]);
    }

    #[test]
    fn nxdomain_is_empty_and_timeout_is_an_error() {
        let code = |code: u8| {
            start_resolver(move |mut question| {
                question[2] = 0x81;
                question[3] = 0x80 | code;
                question
            })
        };
        assert_eq!(resolve_at(code(3), "a.b", Duration::from_secs(5)), Ok(vec![]));
        assert!(resolve_at(code(5), "a.b", Duration::from_secs(5)).unwrap_err().contains("refuses"));
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let found = resolve_at(silent.local_addr().unwrap(), "a.b", Duration::from_millis(50));
        assert_eq!(found, Err("no answer".to_owned()));
        assert!(resolve_at(code(3), "a..b", Duration::from_secs(5)).is_err());
    }

    #[test]
    fn damaged_response_does_not_panic() {
        let good = respond_to(encode_query(7, "omni.example.com").unwrap(), &[[1, 2, 3, 4]]);
        for at in 0..good.len() {
            let _ = parse_response(7, &good[..at]);
            let mut bent = good.clone();
            bent[at] ^= 0xff;
            let _ = parse_response(7, &bent);
        }
    }

    #[test]
    fn resolvers_are_found() {
        let text = "# x\nsearch lan\nnameserver 192.0.2.1\n nameserver fd00::1 # y\nnameserver nonsense\n";
        assert_eq!(parse_resolvers(text), ["192.0.2.1".parse::<IpAddr>().unwrap(), "fd00::1".parse().unwrap()]);
    }
}
