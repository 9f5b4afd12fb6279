//! Addresses, ports and names, from the point of view of a machine on the LAN.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::Installation;
use super::installation::{Verdict, is_engine_remote, proxmox_of};
use crate::flow::omni_stack::host_and_port;
use check::diagnosis::{Diagnosis, State};
use check::stack::{self, Answer, PORTS};
use check::values;
use runtime::files;
use runtime::parallel::{NO_LIMIT, map_all};
use runtime::tool::compose::SIDECAR;
use runtime::tool::dns;
use runtime::tool::docker::engine_address;

pub fn lan_address(installation: &Installation<'_>) -> Verdict {
    let address = installation.required_value("OMNI_LAN_ADDRESS")?;
    let formed = values::check_lan_address(address);
    let domain = installation.value("OMNI_DOMAIN").map(|domain| host_and_port(domain).0).unwrap_or_default();
    let local = |text: &str| text == "localhost" || text.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if local(address) && local(&domain) {
        return Err(Diagnosis::skipped("Omni is at a loopback address (a trial on one host)"));
    }
    let Ok(ip) = address.parse::<IpAddr>() else { return Ok(formed) };
    if formed.state == State::Failed || is_engine_remote() {
        return Ok(formed);
    }
    // Binding fails for addresses that are not this host's.
    Ok(match UdpSocket::bind((ip, 0)) {
        Ok(_) => formed,
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            Diagnosis::failed(format!("{ip} is not an address of this host"))
        }
        Err(error) => Diagnosis::unknown(error.to_string()),
    })
}

pub fn ports(installation: &Installation<'_>) -> Verdict {
    let lan = installation.required_value("OMNI_LAN_ADDRESS")?;
    match installation.container(SIDECAR) {
        Ok(sidecar) if sidecar.state == "running" => Ok(stack::check_ports(sidecar, lan)),
        Err(unknown) if unknown.state == State::Unknown => Err(unknown),
        _ => Ok(check_ports_free(lan)),
    }
}

/// Checks that the ports are free for a stack that is not running.
fn check_ports_free(lan: &str) -> Diagnosis {
    let Ok(ip) = lan.parse::<IpAddr>() else { return Diagnosis::skipped("OMNI_LAN_ADDRESS is not an address") };
    if is_engine_remote() {
        return Diagnosis::skipped("the Docker engine is on another host");
    }
    if let Some(verdict) = rootless_ports() {
        return verdict;
    }
    let taken: Vec<String> = PORTS
        .iter()
        .filter(|(port, protocol, _)| is_in_use(SocketAddr::new(ip, *port), protocol))
        .map(|(port, protocol, _)| format!("{port}/{protocol}"))
        .collect();
    if taken.is_empty() {
        return Diagnosis::ok("the stack is not running; nothing else uses its ports");
    }
    Diagnosis::failed(format!("another program listens on {} on {lan}", taken.join(", ")))
        .fix("`ss -lntup` shows which; stop it, or move it to another address")
}

/// A rootless engine may not publish ports below the kernel's limit, including 443.
fn rootless_ports() -> Option<Diagnosis> {
    engine_address().filter(|address| address.starts_with("unix:///run/user/"))?;
    let setting = "net.ipv4.ip_unprivileged_port_start";
    let text = files::read_optional_text(Path::new("/proc/sys/net/ipv4/ip_unprivileged_port_start")).ok().flatten()?;
    let first = text.trim().parse::<u16>().ok().filter(|first| *first > 443)?;
    Some(Diagnosis::failed(format!("the Docker engine runs without root and cannot publish ports below {first}")).fix(
        format!(
            "as root: `sysctl -w {setting}=443`, and that line in /etc/sysctl.d, or use an engine that runs as root"
        ),
    ))
}

/// Returns true if another program keeps the port for longer than such a check takes: another doctor may run at the same time.
fn is_in_use(address: SocketAddr, protocol: &str) -> bool {
    (0..4).all(|look| {
        std::thread::sleep(Duration::from_millis(20 * look));
        is_bound(address, protocol)
    })
}

fn is_bound(address: SocketAddr, protocol: &str) -> bool {
    let taken = |error: std::io::Error| match error.kind() {
        ErrorKind::AddrInUse => true,
        // Ports below 1024 are reserved for root; a program that listens there accepts connections.
        ErrorKind::PermissionDenied => TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok(),
        _ => false,
    };
    match protocol {
        "udp" => UdpSocket::bind(address).err().is_some_and(|error| error.kind() == ErrorKind::AddrInUse),
        _ => TcpListener::bind(address).err().is_some_and(taken),
    }
}

pub fn dns(installation: &Installation<'_>) -> Verdict {
    let domain = host_and_port(installation.required_value("OMNI_DOMAIN")?).0;
    let lan = installation.required_value("OMNI_LAN_ADDRESS")?;
    if domain.parse::<IpAddr>().is_ok() {
        return Err(Diagnosis::skipped("OMNI_DOMAIN is an IP address, not a name"));
    }
    let (machines, unknown) = match proxmox_resolvers(installation) {
        Ok(found) => (found, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    let mut answers = query_resolvers(&domain, &machines);
    answers.push(resolve_locally(&domain));
    let found = stack::names(&domain, lan, &answers);
    Ok(match unknown {
        Some(why) if found.state == State::Ok => {
            Diagnosis::unknown(format!("which resolver a machine uses ({why}); {}", found.detail))
        }
        Some(_) | None => found,
    })
}

/// Queries the resolvers of machines and of this host in parallel.
fn query_resolvers(domain: &str, machines: &[(String, IpAddr)]) -> Vec<Answer> {
    let own = files::read_optional_text(std::path::Path::new("/etc/resolv.conf")).ok().flatten().unwrap_or_default();
    let own = dns::parse_resolvers(&own).into_iter().map(|ip| ("this host".to_owned(), ip, false));
    let mut asked: Vec<(String, IpAddr, bool)> = machines.iter().map(|(who, ip)| (who.clone(), *ip, true)).collect();
    for (who, ip, for_machines) in own {
        if !asked.iter().any(|(_, known, _)| *known == ip) {
            asked.push((who, ip, for_machines));
        }
    }
    map_all(asked, NO_LIMIT, |(who, ip, machines)| Answer {
        resolver: format!("{ip} ({who})"),
        machines,
        addresses: dns::resolve(ip, domain),
    })
}

/// Resolves the name as this host does, including `/etc/hosts`.
fn resolve_locally(domain: &str) -> Answer {
    let found = (domain, 443).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect::<Vec<_>>());
    let mut found = found.unwrap_or_default();
    found.dedup();
    Answer { resolver: "this host itself".to_owned(), machines: false, addresses: Ok(found) }
}

/// Returns the resolvers of the Proxmox nodes, which the machines' DHCP usually hands out too.
fn proxmox_resolvers(installation: &Installation<'_>) -> Result<Vec<(String, IpAddr)>, String> {
    let proxmox = proxmox_of(installation).map_err(|verdict| verdict.detail)?;
    let get = |path: &str| {
        proxmox.get(installation.cx, "reading the resolvers from Proxmox", path).map_err(|failure| failure.message)
    };
    let nodes = get("/nodes")?;
    let online = nodes.as_array().into_iter().flatten().filter(|node| node["status"] != "offline");
    let names = online.filter_map(|node| node["node"].as_str());
    // Nodes of one cluster are configured alike; three are enough.
    let mut answers = Vec::new();
    for name in names.take(3) {
        answers.push((name, get(&format!("/nodes/{name}/dns"))?));
    }
    parse_node_resolvers(&answers)
}

/// Returns the resolvers in the nodes' answers, without duplicates.
fn parse_node_resolvers(answers: &[(&str, Value)]) -> Result<Vec<(String, IpAddr)>, String> {
    let mut found: Vec<(String, IpAddr)> = Vec::new();
    let mut own = false;
    for (name, answer) in answers {
        let named = ["dns1", "dns2", "dns3"].iter().filter_map(|key| answer.get(key)?.as_str()?.parse::<IpAddr>().ok());
        for ip in named {
            // The node's own resolver; from here, a loopback address would be this host.
            own |= ip.is_loopback();
            if !ip.is_loopback() && !found.iter().any(|(_, known)| *known == ip) {
                found.push((format!("Proxmox node {name}"), ip));
            }
        }
    }
    match (found.is_empty(), own) {
        (true, true) => Err("Proxmox uses a resolver on its own nodes, which cannot be queried from here".to_owned()),
        (true, false) => Err("Proxmox reports no resolver".to_owned()),
        (false, _) => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn loopback_resolver_of_a_node_is_skipped() {
        let of = |answers: &[Value]| {
            let answers: Vec<(&str, Value)> = answers.iter().map(|answer| ("pve1", answer.clone())).collect();
            parse_node_resolvers(&answers).map(|found| found.iter().map(|(_, ip)| ip.to_string()).collect::<Vec<_>>())
        };
        let both = json!({"search": "lan", "dns1": "127.0.0.1", "dns2": "192.0.2.53"});
        assert_eq!(of(&[both.clone(), both]), Ok(vec!["192.0.2.53".to_owned()]));
        assert!(of(&[json!({"dns1": "127.0.0.53"})]).unwrap_err().contains("own nodes"));
        assert!(of(&[json!({"dns1": ""})]).unwrap_err().contains("no resolver"));
    }
}
