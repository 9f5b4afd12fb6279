//! What can be made to go wrong. A fault is data: a name, what the far end then does, where it was seen, and what a good
//! task says. The far ends ask [`Faults::hit`] where it would bite; they never ask why.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

/// One way in which things go wrong in the field.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it belongs to.
    pub group: &'static str,
    /// What the far end does.
    pub does: &'static str,
    /// Who saw it: a program and a place in its source, a recording, or a thread.
    pub source: &'static str,
    /// What a good task must say.
    pub says: &'static str,
}

/// Every fault that the lab knows, grouped.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "omnictl-missing",
        group: "tools",
        does: "there is no `omnictl` on PATH; Omni offers it for download",
        source: "omni v1.9.3 internal/backend/server.go:892 serves /omnictl/",
        says: "that omnictl is missing, and installs it from the user's own Omni or says how",
    },
    Fault {
        name: "omnictl-hangs",
        group: "tools",
        does: "every `omnictl` call that needs the server waits for an answer that never comes",
        source: "omni v1.9.3 client/pkg/omnictl: no command but those with --wait has a network timeout",
        says: "that omnictl did not answer within the deadline, and ends it",
    },
    Fault {
        name: "omnictl-api-mismatch",
        group: "tools",
        does: "the server's API version is 3, omnictl's is 2",
        source: "omni v1.9.3 client/pkg/omnictl/internal/access/client.go:206",
        says: "that omnictl and Omni do not fit, and to take omnictl from this Omni",
    },
    Fault {
        name: "omni-unreachable",
        group: "omni",
        does: "nothing listens at Omni's endpoint",
        source: "omnictl 1.4.9, recorded: transport: Error while dialing: dial tcp … connect: connection refused",
        says: "that Omni does not answer at its endpoint, and to look at the stack",
    },
    Fault {
        name: "omni-unhealthy",
        group: "omni",
        does: "/healthz answers 500",
        source: "omni v1.9.3 internal/backend/health: 500 when the store cannot be read",
        says: "that Omni runs but is not healthy, and to read its log",
    },
    Fault {
        name: "omni-html",
        group: "omni",
        does: "every path, /healthz too, answers 200 with an HTML page: a proxy or portal in between",
        source: "omni-infra-provider-proxmox issue 32: 403 text/html from a portal; omni v1.9.3: unknown paths are 200 HTML",
        says: "that something else than Omni answered",
    },
    Fault {
        name: "omni-eula",
        group: "omni",
        does: "every API call fails until a person accepts the licence",
        source: "omni issue 2576, pull request 2657: EULA blocks the API since 1.7",
        says: "that the licence must be accepted, by a person, and where",
    },
    Fault {
        name: "omni-unknown-ca",
        group: "omni",
        does: "Omni shows a certificate that nobody vouches for",
        source: "omni issue 3326, proxmox provider issue 59: x509: certificate signed by unknown authority",
        says: "that the certificate is not trusted, and how to name its CA",
    },
    Fault {
        name: "key-wrong-role",
        group: "keys",
        does: "the key in DIR/env has role Reader",
        source: "omni v1.9.3 internal/pkg/auth: insufficient role",
        says: "which role the key has and which the task needs",
    },
    Fault {
        name: "key-expired",
        group: "keys",
        does: "the key in DIR/env ended yesterday",
        source: "omni v1.9.3: keys end after a year without a word; Unauthenticated desc = invalid signature",
        says: "that the key has expired, when, and how to renew it",
    },
    Fault {
        name: "docker-down",
        group: "docker",
        does: "the engine's socket refuses",
        source: "docker compose 5.5.1, recorded: failed to connect to the docker API",
        says: "that the engine does not run, and how to start it",
    },
    Fault {
        name: "docker-sidecar-died",
        group: "docker",
        does: "the tailscale sidecar exits with 137 a second after it became healthy; the others lose their network",
        source: "docker compose 5.5.1, recorded: cannot join network of a non running container",
        says: "that the sidecar is down, and that the three must be recreated together",
    },
    Fault {
        name: "docker-sidecar-unhealthy",
        group: "docker",
        does: "the sidecar never becomes healthy, so nothing that depends on it starts",
        source: "docker compose: dependency failed to start: container … is unhealthy",
        says: "that the sidecar is unhealthy and why the others were not started",
    },
    Fault {
        name: "tailnet-name-taken",
        group: "tailnet",
        does: "the sidecar is on the tailnet as omni-1: its name belongs to an older device",
        source: "tailscale issues 6733, 9308: a new device with a number after a restart without its state",
        says: "under which name it is, and to delete the old device",
    },
    Fault {
        name: "tailnet-logged-out",
        group: "tailnet",
        does: "the sidecar's login has ended: it has no address, and becomes unhealthy",
        source: "tailscale v1.102 ipn/backend.go: NeedsLogin; cmd/containerboot/healthz.go: 503 without an address",
        says: "that the sidecar must log in again, with a new key",
    },
    Fault {
        name: "tailnet-key-expires",
        group: "tailnet",
        does: "the sidecar's login ends in six days: the node is not tagged",
        source: "tailscale v1.102 ipn/ipnstate: Self.KeyExpiry, set for nodes without tags",
        says: "when the login ends, and how to make it last",
    },
    Fault {
        name: "tailnet-no-magicdns",
        group: "tailnet",
        does: "MagicDNS is off, and the issuer's name resolves nowhere",
        source: "tailscale v1.102 ipn/ipnstate: CurrentTailnet.MagicDNSEnabled",
        says: "to switch MagicDNS on in the admin console",
    },
    Fault {
        name: "dns-tailnet-address",
        group: "network",
        does: "the LAN's resolver answers Omni's name with its address on the tailnet",
        source: "basher83/Omni-Scale: hypervisors on public DNS, four days until the machines joined",
        says: "which resolver machines are given, what it answers, and what it should",
    },
    Fault {
        name: "dns-two-addresses",
        group: "network",
        does: "the LAN's resolver answers Omni's name with both its addresses",
        source: "RFC 1035: an answer is a set without an order; Talos takes the first that connects",
        says: "that a machine may take the one that it cannot reach",
    },
    Fault {
        name: "dns-no-name",
        group: "network",
        does: "the LAN's resolver does not know Omni's name",
        source: "basher83/Omni-Scale: a name of the tailnet alone, asked from the LAN",
        says: "which resolver does not know the name, and to add a record there",
    },
    Fault {
        name: "tsidp-unreachable",
        group: "tsidp",
        does: "the issuer's name resolves, and nobody answers there",
        source: "omni v1.9.3: failed to run server: Get \"https://…/.well-known/openid-configuration\": connection refused",
        says: "that tsidp cannot be reached from Omni's network, and what to look at",
    },
    Fault {
        name: "tsidp-renamed",
        group: "tsidp",
        does: "tsidp came back as idp-1: the issuer in its document is another one",
        source: "tsidp v0.0.12: a new node takes a number when its name is taken; Omni compares issuers byte by byte",
        says: "both issuers, and to delete the old device",
    },
    Fault {
        name: "tsidp-admin-open",
        group: "tsidp",
        does: "the admin page opens for the sidecar, a tagged node",
        source: "the sample grant of tsidp's README: src * with allow_admin_ui",
        says: "that the grant of the admin page is too wide",
    },
    Fault {
        name: "proxmox-unauthorized",
        group: "proxmox",
        does: "every call answers 401",
        source: "pve-http-server: 401 authentication failure; go-proxmox v0.3.2: not authorized to access endpoint",
        says: "that the token is not accepted",
    },
    Fault {
        name: "proxmox-download-forbidden",
        group: "permissions",
        does: "download-url answers 403: the token lacks Datastore.AllocateTemplate or Sys.AccessNetwork",
        source: "pve-storage Status.pm:745; provider: not authorized to access endpoint at step uploadISO",
        says: "which privilege is missing on which path, with the pveum command",
    },
    Fault {
        name: "proxmox-self-signed",
        group: "proxmox",
        does: "the API shows a certificate signed by its own key",
        source: "a fresh Proxmox VE; proxmox provider: tls: failed to verify certificate: x509",
        says: "that the certificate is not trusted, and how to name its CA",
    },
    Fault {
        name: "proxmox-node-offline",
        group: "proxmox",
        does: "the last node is offline: calls to it answer 595",
        source: "omni-infra-provider-proxmox pull request 61: one offline node breaks automatic placement",
        says: "which node is offline and that the provider cannot place machines because of it",
    },
    Fault {
        name: "proxmox-storage-full",
        group: "storage",
        does: "local-lvm and vm_ssd have one GiB left",
        source: "pve-storage: no such amount of free space; lvmthin: out of data space",
        says: "which storage is full and how much the class needs",
    },
    Fault {
        name: "proxmox-create-fails",
        group: "proxmox",
        does: "every task that creates a machine fails",
        source: "omni-infra-provider-proxmox provision.go:648, issue 83: the provider repeats `stopped` for ever",
        says: "what the task's own log says, and that the request must be deleted",
    },
    Fault {
        name: "proxmox-hangs",
        group: "proxmox",
        does: "no call is ever answered",
        source: "omni-infra-provider-proxmox main.go: the default HTTP client has no timeout",
        says: "that Proxmox does not answer within the deadline",
    },
    Fault {
        name: "provider-never-registers",
        group: "provider",
        does: "the provider runs but Omni hears nothing of it",
        source: "omni-infra-provider-proxmox: no log line says that it registered",
        says: "that the provider is not registered, with its last log lines",
    },
    Fault {
        name: "provider-crashes",
        group: "provider",
        does: "the provider exits 1 ten seconds after it started: Omni's watch was lost",
        source: "cosi-project/runtime: Error: controller runtime watch error",
        says: "that the provider exited, with its last log lines",
    },
    Fault {
        name: "machine-never-joins",
        group: "machines",
        does: "virtual machines start and are never heard of",
        source: "omni issue 2642: machines that never joined",
        says: "which machines have not joined and what to look at",
    },
    Fault {
        name: "far-ends-slow",
        group: "time",
        does: "every far end takes a second longer",
        source: "a lab on another continent; the measure of provider-verify",
        says: "nothing: the checks run side by side and take 1.5 s in all",
    },
];

/// When a fault bites, counted in occasions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    /// This occasion only, from 1.
    Only(u64),
    /// This occasion and all after it.
    From(u64),
    /// This many occasions, then never again.
    First(u64),
}

struct Active {
    fault: &'static Fault,
    when: When,
    occasions: AtomicU64,
}

/// The faults of one lab.
#[derive(Default)]
pub struct Faults {
    active: Vec<Active>,
}

/// A fault that cannot be had, said so that the next try succeeds.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownFault(String);

impl fmt::Display for UnknownFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UnknownFault {}

impl Faults {
    /// Reads `NAME[:WHEN]`. WHEN counts the occasions on which the fault could bite: `2` only the second, `2+` from the
    /// second on, `..2` the first two; without it always.
    pub fn parse(texts: &[String]) -> Result<Faults, UnknownFault> {
        let active = texts.iter().map(|text| one(text)).collect::<Result<_, _>>()?;
        Ok(Faults { active })
    }

    /// Whether a fault was asked for at all. Counts nothing.
    pub fn has(&self, name: &str) -> bool {
        debug_assert!(FAULTS.iter().any(|fault| fault.name == name), "{name}");
        self.active.iter().any(|active| active.fault.name == name)
    }

    /// An occasion on which a fault could bite: whether it does.
    pub fn hit(&self, name: &str) -> bool {
        debug_assert!(FAULTS.iter().any(|fault| fault.name == name), "{name}");
        let found = self.active.iter().find(|active| active.fault.name == name);
        found.is_some_and(|active| {
            let occasion = active.occasions.fetch_add(1, Ordering::Relaxed) + 1;
            match active.when {
                When::Always => true,
                When::Only(wanted) => occasion == wanted,
                When::From(first) => occasion >= first,
                When::First(last) => occasion <= last,
            }
        })
    }
}

fn one(text: &str) -> Result<Active, UnknownFault> {
    let (name, when) = text.split_once(':').map_or((text, None), |(name, when)| (name, Some(when)));
    let Some(fault) = FAULTS.iter().find(|fault| fault.name == name) else {
        let mut near: Vec<(usize, &str)> =
            FAULTS.iter().map(|fault| (distance(name, fault.name), fault.name)).collect();
        near.sort_unstable();
        let near: Vec<&str> = near.into_iter().take(3).map(|(_, name)| name).collect();
        let text = format!("there is no fault {name:?}: did you mean {}? `lab faults` lists them all", near.join(", "));
        return Err(UnknownFault(text));
    };
    let count = |text: &str| text.parse::<u64>().ok().filter(|count| *count > 0);
    let when = match when {
        None => Some(When::Always),
        Some(text) => match (text.strip_suffix('+'), text.strip_prefix("..")) {
            (Some(first), _) => count(first).map(When::From),
            (_, Some(last)) => count(last).map(When::First),
            _ => count(text).map(When::Only),
        },
    };
    let text = || {
        let shown = text.split_once(':').map_or("", |(_, when)| when);
        UnknownFault(format!("{shown:?} says not when {name} is to happen: use 2 (the second time), 2+ or ..2"))
    };
    Ok(Active { fault, when: when.ok_or_else(text)?, occasions: AtomicU64::new(0) })
}

/// Levenshtein's distance, with a bonus for a common word.
fn distance(a: &str, b: &str) -> usize {
    let b_chars: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b_chars.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b_chars.iter().enumerate() {
            let replaced = before + usize::from(x != *y);
            before = row[j + 1];
            row[j + 1] = replaced.min(before + 1).min(row[j] + 1);
        }
    }
    let shared = a.split('-').filter(|word| word.len() > 2 && b.split('-').any(|other| other == *word)).count();
    row[b_chars.len()].saturating_sub(4 * shared)
}

/// The registry as JSON: what `lab faults` prints.
pub fn list() -> Value {
    let one = |fault: &Fault| json!({"name": fault.name, "group": fault.group, "does": fault.does, "source": fault.source, "says": fault.says});
    FAULTS.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Faults, String> {
        Faults::parse(&[text.to_owned()]).map_err(|why| why.to_string())
    }

    #[test]
    fn names_are_unique_and_every_field_is_filled() {
        for (number, fault) in FAULTS.iter().enumerate() {
            assert!(FAULTS[..number].iter().all(|other| other.name != fault.name), "{}", fault.name);
            assert!(!fault.does.is_empty() && !fault.source.is_empty() && !fault.says.is_empty(), "{}", fault.name);
        }
    }

    #[test]
    fn an_unknown_name_lists_near_ones() {
        let said = parse("omni-unreachble").err().unwrap();
        assert!(said.contains("did you mean omni-unreachable"), "{said}");
        assert!(parse("docker").err().unwrap().contains("docker-down"));
        assert!(parse("docker-down:x").err().unwrap().contains("the second time"));
    }

    #[test]
    fn when_counts_occasions() {
        for (text, wanted) in [
            ("docker-down", [true, true, true]),
            ("docker-down:2", [false, true, false]),
            ("docker-down:2+", [false, true, true]),
            ("docker-down:..2", [true, true, false]),
        ] {
            let faults = parse(text).unwrap();
            assert_eq!([(); 3].map(|()| faults.hit("docker-down")), wanted, "{text}");
            assert!(!faults.hit("omni-html"));
        }
    }
}
