//! Checks whether the values of `docker/.env` are valid for their purpose. Pure functions.

use std::net::{IpAddr, Ipv4Addr};

use super::diagnosis::Diagnosis;
use super::stack::is_tailnet;
use domain::spec::env::{EnvFile, REQUIRED};

/// Returns the value of `key`, unless it is still the example's.
pub fn own_value<'a>(env: &'a EnvFile, example: &EnvFile, key: &str) -> Option<&'a str> {
    env.get(key).filter(|value| example.get(key) != Some(value))
}

/// Returns why no variable of the stack can have this value: compose puts it into a line of YAML, an argument or a host name. In
/// Omni's own configuration a line break ends the client secret, and surrounding blanks are lost.
pub fn invalid_reason(value: &str) -> Option<&'static str> {
    if value.chars().any(char::is_control) {
        return Some("contains a line break or another control character");
    }
    (value.trim() != value).then_some("starts or ends with a space")
}

/// The provider's variables, which compose also reads and which may be empty.
pub const PROVIDER: [&str; 3] = ["OMNI_INFRA_PROVIDER_KEY", "OMNI_PROVIDER_ID", "PROVIDER_CA_FILE"];

/// The fix for a value that compose would interpolate.
pub const NO_VARIABLE: &str =
    "put the value in single quotes if the dollar sign is literal; otherwise write the value out in docker/.env";

/// Variables whose example value is of no use to anyone. The example's names and addresses, in contrast, are ones that a
/// network may have, if only to try out the stack.
const PLACEHOLDERS: [&str; 4] = ["OMNI_ACCOUNT_UUID", "TS_AUTHKEY", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET"];

/// Checks that every variable is set literally to a value other than the example's.
pub fn check_complete(env: &EnvFile, example: &EnvFile) -> Diagnosis {
    check_filled_in(env, example, &|_| true)
}

/// Checks that the stack can be started with these values: like [`check_complete`], but a name or an address may be the example's.
pub fn check_startable(env: &EnvFile, example: &EnvFile) -> Diagnosis {
    check_filled_in(env, example, &|key| PLACEHOLDERS.contains(&key))
}

/// Checks that every variable has a value, and that the variables selected by `own` differ from the example.
fn check_filled_in(env: &EnvFile, example: &EnvFile, own: &dyn Fn(&str) -> bool) -> Diagnosis {
    let named = |filter: &dyn Fn(&str) -> bool| -> Vec<&str> {
        REQUIRED.iter().map(|each| each.key).filter(|key| filter(key)).collect()
    };
    let absent = named(&|key| env.get(key).is_none());
    let example = named(&|key| own(key) && env.get(key).is_some() && own_value(env, example, key).is_none());
    let keys = REQUIRED.iter().map(|each| each.key).chain(PROVIDER).chain(["OMNI_SERVICE_ACCOUNT_KEY"]);
    let foreign: Vec<&str> = keys.filter(|key| env.refers_to_environment(key)).collect();
    if !foreign.is_empty() {
        return Diagnosis::failed(format!(
            "compose treats the text after a `$` as a variable in {}",
            foreign.join(", ")
        ))
        .fix(NO_VARIABLE);
    }
    let keys = REQUIRED.iter().map(|each| each.key).chain(PROVIDER);
    if let Some((key, why)) = keys.filter_map(|key| Some((key, invalid_reason(env.get(key)?)?))).next() {
        return Diagnosis::failed(format!("{key} {why}"))
            .fix(format!("write the value of {key} in docker/.env on one line, in single quotes"));
    }
    if let Some(why) = env.get("OMNI_DOMAIN").and_then(|value| check_domain(value).err()) {
        return Diagnosis::failed(format!("OMNI_DOMAIN {why}"))
            .fix("set it to Omni's host name, such as omni.example.com");
    }
    match (absent.is_empty(), example.is_empty()) {
        (true, true) => Diagnosis::ok(domain::words::count(REQUIRED.len(), "value")),
        (false, _) => Diagnosis::failed(format!("no value for {}", absent.join(", "))),
        (true, false) => Diagnosis::failed(format!("still the example's value: {}", example.join(", "))),
    }
}

/// Checks that `value` can be Omni's domain name.
///
/// # Errors
/// Returns why it is not valid, as the end of a sentence.
pub fn check_domain(value: &str) -> Result<(), &'static str> {
    let (host, port) = split_port(value);
    if !is_host(host) {
        return Err("is not a valid host name");
    }
    // The compose file serves three ports of that name and appends each of them to it.
    let trial = host == "localhost" || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
    if port.is_some() && !trial { Err("has a port: Omni uses ports 443, 8090 and 8100 of this name") } else { Ok(()) }
}

/// Normalizes an operator's input to an https address without a path; scheme and port may be missing.
///
/// # Errors
/// Returns why it is not valid, as the end of a sentence.
pub fn https_address(text: &str, port: Option<u16>) -> Result<String, &'static str> {
    let text = text.trim().trim_end_matches('/');
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    if !matches!(scheme.to_ascii_lowercase().as_str(), "" | "https") {
        return Err("is not an https URL");
    }
    if rest.contains('@') {
        return Err("contains a login, but addresses are shown in output");
    }
    let bracketed = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let valid = match bracketed {
        Some((host, tail)) => host.parse::<std::net::Ipv6Addr>().is_ok() && (tail.is_empty() || is_port(tail)),
        None => is_host(split_port(rest).0),
    };
    if !valid {
        return Err("is not the address of a host");
    }
    let has_port = bracketed.map_or_else(|| split_port(rest).1.is_some(), |(_, tail)| !tail.is_empty());
    let port = port.filter(|_| scheme.is_empty() && !has_port).map_or(String::new(), |port| format!(":{port}"));
    Ok(format!("https://{rest}{port}"))
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

/// Normalizes an operator's input to Omni's host name; the input may be a URL or contain capitals.
pub fn bare_domain(text: &str) -> String {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(&text);
    text.trim_end_matches('/').to_owned()
}

/// Checks that `key` can log in a device: an auth key or an OAuth client's secret (tailscale.com/kb/1085, kb/1215).
pub fn check_tailscale_key(key: &str) -> Diagnosis {
    let mut parts = key.splitn(3, '-');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("tskey"), Some("auth"), Some(rest)) if !rest.is_empty() => Diagnosis::ok("an auth key"),
        (Some("tskey"), Some("client"), Some(rest)) if !rest.is_empty() => Diagnosis::ok("an OAuth client's secret"),
        (Some("tskey"), Some("auth" | "client") | None, _) => {
            Diagnosis::failed("it is only the prefix of a key: tskey-auth-…").fix("copy the whole key")
        }
        (Some("tskey"), Some(kind), _) => Diagnosis::failed(format!(
            "it is a key of type `{}`, which cannot log in a device",
            domain::secret::redact(kind)
        )),
        // Other control servers have their own key formats.
        _ => Diagnosis::warning("it does not look like a Tailscale key (tskey-auth-…)"),
    }
}

/// Checks that a value has as many hexadecimal digits as tsidp generates: IDs have 32, secrets 64 (tailscale/tsidp v0.0.12
/// `server/clients.go`).
pub fn check_client(key: &str, value: &str) -> Diagnosis {
    let (what, digits) = if key == "OIDC_CLIENT_ID" { ("id", 32) } else { ("secret", 64) };
    match value.len() == digits && value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Diagnosis::ok(format!("has the form of tsidp's {what}s")),
        false => {
            Diagnosis::warning(format!("{key} does not have the {digits} hexadecimal digits of a tsidp client {what}"))
        }
    }
}

/// Splits off the port, if there is one.
fn split_port(text: &str) -> (&str, Option<u16>) {
    match text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    }
}

/// Returns true for letters, digits and dashes between dots (RFC 1123), including IPv4 addresses.
fn is_host(host: &str) -> bool {
    let label = |label: &str| label.len() <= 63 && is_label(label, u8::is_ascii_alphanumeric);
    host.len() < 254 && host.split('.').all(label)
}

/// Returns true for `plain` characters and dashes, with no dash at either end.
pub(crate) fn is_label(text: &str, plain: fn(&u8) -> bool) -> bool {
    let dashed = text.starts_with('-') || text.ends_with('-');
    !text.is_empty() && !dashed && text.bytes().all(|byte| byte == b'-' || plain(&byte))
}

/// Checks that machines can reach Omni at `address`.
pub fn check_lan_address(address: &str) -> Diagnosis {
    let Ok(ip) = address.parse::<IpAddr>() else {
        return Diagnosis::failed(format!("{address:?} is not a valid IP address"))
            .fix("Omni advertises WireGuard at this address, so it cannot be a name: set OMNI_LAN_ADDRESS");
    };
    if is_tailnet(ip) {
        return Diagnosis::failed(format!("{ip} is a tailnet address, which new machines cannot reach"));
    }
    let IpAddr::V4(four) = ip else {
        return Diagnosis::failed(format!("{ip} is an IPv6 address, but Omni's WireGuard is bound to IPv4"))
            .fix("set OMNI_LAN_ADDRESS to this host's IPv4 address on the LAN of the machines");
    };
    if ip.is_unspecified() {
        return Diagnosis::failed(format!("{ip} means all addresses: machines cannot connect to it"));
    }
    if ip.is_loopback() {
        return Diagnosis::failed(format!("{ip} is a loopback address"));
    }
    if four.is_link_local() || four.is_broadcast() || ip.is_multicast() {
        return Diagnosis::failed(format!("{ip} is not the address of a host on the LAN"));
    }
    Diagnosis::ok(ip.to_string())
}

/// Checks that `issuer` has the form that Omni and tsidp agree on: byte for byte the issuer in tokens.
pub fn check_issuer(issuer: &str, domain: Option<&str>) -> Diagnosis {
    let bad = |detail: String, fix: &str| Diagnosis::failed(detail).fix(fix.to_owned());
    let Some(host) = issuer.strip_prefix("https://") else {
        return bad(format!("{issuer} is not a valid https URL"), "write it as https://idp.<tailnet>.ts.net");
    };
    if !is_host(split_port(host.split('/').next().unwrap_or_default()).0) {
        return bad(format!("{issuer:?} contains no host"), "write it as https://idp.<tailnet>.ts.net");
    }
    if issuer.contains("/.well-known") {
        return bad(
            format!("{issuer} is the URL of a document, not the issuer"),
            "remove everything from /.well-known on",
        );
    }
    if issuer.ends_with('/') {
        return bad(format!("{issuer} ends with a slash"), "remove the slash: the issuer must match exactly");
    }
    if domain.is_some_and(|domain| domain.eq_ignore_ascii_case(host)) {
        return bad(format!("{issuer} is Omni itself"), "tsidp has its own name, on its own VM");
    }
    let label = host.split('.').next().unwrap_or_default();
    if label
        .rsplit_once('-')
        .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    {
        return Diagnosis::warning(format!(
            "{issuer} has a number in its name, which Tailscale adds when a name is already in use"
        ))
        .fix("if that is unintended, delete the old device in the admin console and restore tsidp's name");
    }
    Diagnosis::ok(issuer)
}

/// Checks that `user` can be the e-mail address that tsidp reports.
pub fn check_initial_user(user: &str, issuer: Option<&str>) -> Diagnosis {
    // A plain address, not the form of a mail header: `Alice <alice@example.com>`.
    let plain = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "@<>,;\"()".contains(c));
    let Some((name, domain)) = user.split_once('@').filter(|(name, domain)| plain(name) && plain(domain)) else {
        return Diagnosis::failed(format!("{user:?} is not a valid e-mail address"));
    };
    if matches!(domain, "github" | "passkey") {
        let host = issuer.and_then(|issuer| issuer.strip_prefix("https://")).unwrap_or("<tsidp's name>");
        return Diagnosis::failed(format!(
            "{user} is your Tailscale login name; tsidp reports {name}@{domain}.{host} to Omni"
        ))
        .fix(format!("set OMNI_INITIAL_USER to {name}@{domain}.{host}"));
    }
    if user.chars().any(char::is_uppercase) {
        return Diagnosis::warning(format!("{user} has capital letters, but Omni compares in lower case"))
            .fix(user.to_lowercase());
    }
    Diagnosis::ok(user)
}

/// Returns true if `text` is a UUID other than the nil UUID.
pub fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let hex = |group: &&str| group.bytes().all(|byte| byte.is_ascii_hexdigit());
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(hex)
        && text.bytes().any(|byte| !matches!(byte, b'0' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_gets_scheme_and_port() {
        for (typed, port, address) in [
            ("10.0.0.5", Some(8006), "https://10.0.0.5:8006"),
            ("pve.example.org:443", Some(8006), "https://pve.example.org:443"),
            ("https://pve.example.org/", Some(8006), "https://pve.example.org"),
            ("HTTPS://omni.example.org", None, "https://omni.example.org"),
            ("omni.example.org", None, "https://omni.example.org"),
            ("[fd00::5]", Some(8006), "https://[fd00::5]:8006"),
            ("https://[fd00::5]:8006", Some(8006), "https://[fd00::5]:8006"),
        ] {
            assert_eq!(https_address(typed, port).as_deref(), Ok(address), "{typed}");
        }
        for typed in ["http://10.0.0.5:8006", "ftp://x", "https://", "", "a b", "root@10.0.0.5", "x/y", "[fd00::5"] {
            assert!(https_address(typed, Some(8006)).is_err(), "{typed}");
        }
        for typed in ["https://omni.example.org/", "omni.example.org", "OMNI.example.org/", "http://omni.example.org"] {
            assert_eq!(bare_domain(typed), "omni.example.org", "{typed}");
        }
    }
}
