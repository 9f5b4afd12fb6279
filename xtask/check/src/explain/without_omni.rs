//! What can still be checked if Omni cannot be queried: its host, its provider, Proxmox and the template.

use strum::VariantArray;

use super::{Cause, Chain, Facts, Link, Vm};
use domain::status::proxmox::Observed;
use domain::words::count;

/// The command that starts an Omni that is not running on this host.
const STACK_UP: &str = "cargo xtask stack-up";

/// How a failed check of `doctor` relates to an Omni that cannot be queried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// May be the reason.
    Root,
    /// Not the reason, but worth fixing.
    Beside,
    /// Unrelated, or better explained by another cause.
    Elsewhere,
}

/// The checks of the host that Omni runs on.
const HOST: [&str; 4] = ["docker.", "tailscale.", "host.", "tools.compose"];
/// Issues that keep the sidecar from running, without which neither Omni nor its provider has a network.
const SIDECAR: [&str; 3] = ["sidecar-down", "tailscale-key-invalid", "tailscale.state"];

impl Chain {
    /// Adds the causes outside Omni, which are the only ones that can be seen.
    pub(super) fn without_omni(&mut self, facts: &Facts, why: &Cause) {
        // A server that responds is running, so its host is not the reason for the silence.
        let answers = |cause: &Cause| ["omni-unhealthy", "certificates.served"].contains(&cause.id.as_str());
        let silent = ["omni-unreachable", "omni-timeout", "omni-unasked"].contains(&why.id.as_str())
            && !facts.site.iter().any(answers);
        // If the sidecar is down, it is the reason why its containers are not running.
        let sidecar = match &facts.provider {
            Observed::Known(Some(cause)) if SIDECAR.contains(&cause.id.as_str()) => Some(cause),
            _ => None,
        };
        let role = |cause: &Cause| match cause.id.as_str() {
            _ if cause.link != Link::Omni => Role::Elsewhere,
            "tsidp.discovery" | "tsidp.issuer" | "host.clock" => Role::Beside,
            // These affect people, or only the next start.
            "host.tsidp" | "keys.provider" => Role::Elsewhere,
            id if id.starts_with("tsidp.") => Role::Elsewhere,
            // This check made the same request.
            "omni.health" if why.id == "omni-foreign" => Role::Elsewhere,
            "docker.containers" if !silent || sidecar.is_some() => Role::Elsewhere,
            _ if !silent && cause.next == [STACK_UP] => Role::Elsewhere,
            // The host can be the reason only if Omni does not respond.
            id if !silent && HOST.iter().any(|area| id.starts_with(area)) => Role::Beside,
            _ => Role::Root,
        };
        let with = |of: Role| facts.site.iter().filter(move |cause| role(cause) == of);
        let roots: Vec<&Cause> = sidecar.filter(|_| silent).into_iter().chain(with(Role::Root)).collect();
        if !roots.iter().any(|root| explains_failure(&root.id, &why.id)) {
            self.add_blocking(why.clone());
        }
        roots.into_iter().for_each(|root| self.add_blocking(root.clone()));
        self.causes.extend(with(Role::Beside).map(|cause| Cause { blocks: false, ..cause.clone() }));
        for link in Link::VARIANTS.iter().filter(|link| !matches!(link, Link::Omni | Link::Template)) {
            self.unknown.insert(*link, "Omni could not be queried".to_owned());
        }
        self.unknown.insert(Link::Omni, why.cause.clone());
        if let Observed::Known(None) = facts.provider {
            self.unknown.remove(&Link::ProviderStep);
        }
        if let Some(vms) = facts.vms.known().filter(|vms| !vms.is_empty()) {
            let off: Vec<String> = vms.values().filter(|vm| vm.status != "running").map(Vm::describe).collect();
            let off = if off.is_empty() { String::new() } else { format!("; {}", off.join(", ")) };
            let seen = format!("Omni could not be queried; Proxmox shows {} of this name{off}", count(vms.len(), "VM"));
            self.unknown.insert(Link::Vm, seen);
        }
        self.template(facts);
    }
}

/// Returns true if a failed `doctor` check explains why Omni cannot be queried: a refusal or a foreign server has its own reason.
fn explains_failure(root: &str, why: &str) -> bool {
    let of: &[&str] = match why {
        "omni-certificate" => &["certificates."],
        "omni-licence" => &["omni.licence"],
        "omnictl-version" => &["omni.versions", "tools.omnictl"],
        "omni-refuses" | "omni-login" => &["keys."],
        "omni-foreign" => &[],
        // A wrong program or a stopped engine does not delay a response.
        "omni-timeout" => &[
            "docker.containers",
            "omni.health",
            "omni-unhealthy",
            "certificates.",
            "network.",
            "host.",
            "tailscale",
            "sidecar",
        ],
        _ => return !["keys.", "omni.versions", "files."].iter().any(|prefix| root.starts_with(prefix)),
    };
    of.iter().any(|prefix| root.starts_with(prefix))
}
