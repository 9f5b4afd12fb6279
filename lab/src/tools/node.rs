//! The commands of root on a Proxmox node, as far as the tasks print them. Each command is an API call (pve-access-control
//! `CLI/pveum.pm`, qemu-server `CLI/qm.pm`, pve-storage `CLI/pvesm.pm`, pve-ha-manager `CLI/ha_manager.pm`).

use anyhow::Context as _;

use super::protocol::{Client, Refusal, Request, find};
use super::{UNKNOWN_CALL, err, unknown_call};

/// The names of the programs.
pub const PROGRAMS: &[&str] = &["pveum", "qm", "pvesm", "ha-manager"];

/// Commands with the names of their arguments, and the method and path of the API call.
const COMMANDS: &[(&str, &str, &str)] = &[
    ("pveum role add {roleid}", "POST", "/access/roles"),
    ("pveum role modify {roleid}", "PUT", "/access/roles/{roleid}"),
    ("pveum acl modify {path}", "PUT", "/access/acl"),
    ("pveum acl delete {path}", "PUT", "/access/acl?delete=1"),
    ("pveum user token modify {userid} {tokenid}", "PUT", "/access/users/{userid}/token/{tokenid}"),
    ("qm start {vmid}", "POST", "/nodes/{node}/qemu/{vmid}/status/start"),
    ("qm stop {vmid}", "POST", "/nodes/{node}/qemu/{vmid}/status/stop"),
    ("qm destroy {vmid}", "DELETE", "/nodes/{node}/qemu/{vmid}"),
    ("qm unlock {vmid}", "UNLOCK", "/nodes/{node}/qemu/{vmid}"),
    ("pvesm set {storage}", "PUT", "/storage/{storage}"),
    ("ha-manager remove {sid}", "DELETE", "/cluster/ha/resources/{sid}"),
];

/// Runs a program and returns its exit code.
pub fn run(program: &str, argv0: &str, argv: &[String]) -> i32 {
    let found = COMMANDS.iter().find_map(|(command, verb, path)| Some((verb, path, parse(command, program, argv)?)));
    let Some((verb, path, mut args)) = found else { return unknown_call(program, argv) };
    let (path, fixed) = path.split_once('?').unwrap_or((path, ""));
    args.extend(fixed.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
    // A program on a real node only knows its own Proxmox; with several, this variable selects one.
    let second = std::env::var_os("LAB_ON_SECOND_PROXMOX").is_some();
    let ask = Request::OnNode { second, verb: (*verb).to_owned(), path: path.to_owned(), args };
    let link = find(argv0).context("this stand-in belongs to no lab that it can find");
    let Err(why) = link.and_then(|link| Client::open(&link)?.ask::<()>(&ask)) else { return 0 };
    err(&format!("{why:#}\n"));
    if why.is::<Refusal>() { 255 } else { UNKNOWN_CALL }
}

/// Parses the arguments of a call if it matches the command: positional ones, then `--name value`, where a switch has value 1.
fn parse(command: &str, program: &str, argv: &[String]) -> Option<Vec<(String, String)>> {
    let mut words = std::iter::once(program).chain(argv.iter().map(String::as_str)).peekable();
    let mut args = Vec::new();
    for part in command.split(' ') {
        let word = words.next()?;
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) if !word.starts_with('-') => args.push((name.to_owned(), word.to_owned())),
            None if part == word => {}
            _ => return None,
        }
    }
    while let Some(word) = words.next() {
        let option = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => (option, words.next_if(|next| !next.starts_with('-')).unwrap_or("1").to_owned()),
        };
        args.push((name.to_owned(), value));
    }
    Some(args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_becomes_arguments() {
        let parsed = |command: &str, line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let args = parse(command, &words[0], &words[1..])?;
            Some(args.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
        };
        let acl = "pveum acl modify {path}";
        for (command, line, args) in [
            (
                acl,
                "pveum acl modify / --users omni@pve --roles=A,B --propagate 0",
                Some("path=/ users=omni@pve roles=A,B propagate=0"),
            ),
            ("pveum role modify {roleid}", "pveum role modify A -append --privs X", Some("roleid=A append=1 privs=X")),
            ("qm start {vmid}", "qm start 100", Some("vmid=100")),
            (acl, "pveum acl modify --users omni@pve", None),
            (acl, "pveum role modify /", None),
            ("qm start {vmid}", "qm start 100 101", None),
        ] {
            assert_eq!(parsed(command, line).as_deref(), args, "{line}");
        }
    }
}
