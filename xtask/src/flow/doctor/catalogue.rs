//! The checks, each with why it matters, what fixes it, and where to read on.

use super::{Installation, certificates, files, host, keys, network, services, stack};
use check::diagnosis::{Area, Diagnosis};
use domain::failure::Code;

/// A check.
pub struct Entry {
    /// Stable: documents and scripts name it.
    pub id: &'static str,
    pub area: Area,
    pub title: &'static str,
    /// What goes wrong without it.
    pub why: &'static str,
    /// What fixes it, when the check has nothing more exact to say.
    pub fix: &'static str,
    /// File and heading of the documentation.
    pub anchor: &'static str,
    /// What its failure is.
    pub code: Code,
    pub run: fn(&Installation<'_>) -> Diagnosis,
}

macro_rules! check {
    ($id:literal, $area:ident, $code:ident, $run:path, $title:literal, why: $why:literal, fix: $fix:literal, $anchor:literal) => {
        Entry {
            id: $id,
            area: Area::$area,
            title: $title,
            why: $why,
            fix: $fix,
            anchor: $anchor,
            code: Code::$code,
            run: $run,
        }
    };
}

/// All checks, in the order in which they are shown.
#[rustfmt::skip]
pub const CHECKS: &[Entry] = &[
    check!("tools.curl", Tools, Prerequisite, host::curl, "curl is installed",
        why: "every question to Omni, Proxmox and tsidp goes through it",
        fix: "install curl", "docs/how-to/deployment.md#what-you-need"),
    check!("tools.compose", Tools, Prerequisite, host::compose, "docker has a compose plugin that is new enough",
        why: "the compose file holds the contents of files, which compose understands from 2.23.1 on",
        fix: "install docker-compose-v2 (Ubuntu) or docker-compose (Debian 13), or follow docs.docker.com/compose/install", "docs/how-to/deployment.md#6-omni"),
    check!("tools.omnictl", Tools, Prerequisite, host::omnictl, "omnictl works",
        why: "classes, clusters and keys are made with it",
        fix: "`cargo xtask omnictl-install`", "docs/how-to/deployment.md#6-omni"),
    check!("tools.helpers", Tools, Prerequisite, host::helpers, "git, gpg and openssl are installed",
        why: "keys are made and proved, and certificates looked at, with them",
        fix: "install what is missing", "docs/how-to/deployment.md#what-you-need"),
    check!("docker.engine", Docker, Unreachable, host::engine, "the Docker engine answers",
        why: "without it nothing of the stack runs or can be seen",
        fix: "`systemctl start docker`; without root, your user must be in the group `docker`", "docs/how-to/deployment.md#6-omni"),
    check!("docker.containers", Docker, Failed, stack::containers, "the containers of the stack run",
        why: "the three share one network and need each other",
        fix: "`cargo xtask stack-up`, then `cargo xtask stack-logs`", "docs/how-to/operations.md#start-and-stop"),
    check!("docker.other-omni", Docker, Failed, stack::other, "there is no other Omni on this host",
        why: "machines and clusters belong to one Omni: a second one beside it starts empty",
        fix: "`cargo xtask omni-adopt` takes it over, with `--undo` it goes back; remove what is left of an old one", "docs/how-to/operations.md#move-an-existing-omni-to-this-kit"),
    check!("host.disk", Host, Failed, host::disk, "there is space left on the disks",
        why: "etcd stops when its disk is full, and Omni with it",
        fix: "free some: `docker system df` shows what Docker holds; never prune volumes while the stack is down", "docs/how-to/operations.md#backup"),
    check!("host.clock", Host, Failed, host::clock, "the clocks agree",
        why: "a provider whose clock is 31 s off counts as gone, and logins live five minutes",
        fix: "keep time by NTP on this host and on Proxmox: `timedatectl set-ntp true`", "docs/how-to/deployment.md#what-you-need"),
    check!("host.tun", Host, Prerequisite, host::tun, "there is a /dev/net/tun",
        why: "Tailscale and SideroLink are network interfaces made with it",
        fix: "`modprobe tun`; in an LXC container the host must pass the device in", "docs/how-to/deployment.md#what-you-need"),
    check!("host.boot", Host, Failed, host::boot, "the stack comes back after a reboot",
        why: "Docker starts all three at once, and two of them cannot join a network that is not there yet",
        fix: "install docker/omni-scale.service", "docs/how-to/operations.md#reboot"),
    check!("host.tsidp", Host, Failed, host::tsidp, "tsidp is on another host",
        why: "Omni needs it at its start; on one host they fail together, and traffic between them does not pass Tailscale",
        fix: "move tsidp to a VM of its own", "docs/how-to/deployment.md#2-tsidp"),
    check!("network.lan-address", Network, Failed, network::lan_address, "the LAN address is this host's",
        why: "machines reach Omni there before they belong to anything",
        fix: "set OMNI_LAN_ADDRESS in docker/.env to this host's address on the LAN of the machines", "docs/explanation/networking.md#ports"),
    check!("network.ports", Network, Failed, network::ports, "Omni's ports are published on the LAN",
        why: "fresh machines are not on the tailnet: without these ports they never join",
        fix: "end what holds the port, then `cargo xtask stack-up`", "docs/explanation/networking.md#ports"),
    check!("network.dns", Network, Failed, network::dns, "machines are told Omni's LAN address",
        why: "a machine that is told the tailnet's address, or nothing, waits silently",
        fix: "on the LAN's DNS server, resolve OMNI_DOMAIN to OMNI_LAN_ADDRESS; let the machines' DHCP hand out that server alone", "docs/explanation/networking.md#dns-one-name-two-answers"),
    check!("certificates.file", Certificates, Failed, certificates::file, "the certificate is for Omni's name, whole and in date",
        why: "machines, omnictl and the provider refuse another one, a leaf without its chain among them",
        fix: "use the full chain for OMNI_DOMAIN", "docs/how-to/deployment.md#4-name-dns-certificate"),
    check!("certificates.served", Certificates, Failed, certificates::served, "Omni serves that certificate",
        why: "files are mounted when the containers start: a renewed one is served only after that",
        fix: "`cargo xtask stack-up --recreate`", "docs/how-to/operations.md#keys-and-their-dates"),
    check!("keys.store", Keys, Failed, keys::store, "the key of Omni's store can be used",
        why: "with a passphrase, or without an encryption subkey, Omni does not start, and the try spoils an empty store",
        fix: "see docs/how-to/gpg-key-setup.md; never replace the key of a store that is in use", "docs/how-to/gpg-key-setup.md#the-key-of-omnis-store"),
    check!("keys.slots", Keys, Failed, keys::slots, "more than one key opens Omni's store",
        why: "a recovery key that is kept elsewhere opens the store when docker/omni.asc is lost",
        fix: "give Omni the public half of a recovery key", "docs/how-to/gpg-key-setup.md#rotate-it"),
    check!("keys.provider", Keys, Failed, keys::provider, "the provider's key is its own, and in date",
        why: "another kind of key, another id or an expired key is refused as `invalid signature`, and nothing else is said",
        fix: "`cargo xtask keys --rotate provider`", "docs/how-to/operations.md#keys-and-their-dates"),
    check!("keys.account", Keys, Failed, keys::account, "your service-account key is in date",
        why: "Omni lets keys expire silently after a year",
        fix: "`cargo xtask omni-setup --service-account Admin` renews it", "docs/how-to/operations.md#keys-and-their-dates"),
    check!("keys.shadow", Keys, Failed, keys::shadow, "no other variable overrides the key",
        why: "omnictl takes SIDERO_SERVICE_ACCOUNT_KEY before OMNI_SERVICE_ACCOUNT_KEY, even an old one",
        fix: "`unset SIDERO_SERVICE_ACCOUNT_KEY`", "docs/how-to/operations.md#keys-and-their-dates"),
    check!("omni.health", Omni, Unreachable, services::health, "Omni answers",
        why: "nothing can be made or changed without it; running clusters go on",
        fix: "`cargo xtask omni-status`", "docs/how-to/operations.md#every-day"),
    check!("omni.data", Omni, Failed, stack::data, "Omni's data is on mounts",
        why: "what is not on a mount is gone when the container is remade",
        fix: "copy the data out before anything else: `docker cp omni-scale-omni-1:/_out - > omni-data.tar`", "docs/how-to/upgrade.md#omni"),
    check!("omni.backup", Omni, Failed, stack::backup, "there is a backup of Omni, current and verified",
        why: "without one the loss of this host is the loss of every cluster's access and configuration",
        fix: "`cargo xtask omni-backup --to DIR`, then `cargo xtask omni-backup-verify`; docker/omni-backup.timer does it daily", "docs/how-to/operations.md#backup"),
    check!("omni.store", Omni, Failed, stack::store, "Omni uses the store that it had before",
        why: "with another account id or another volume Omni is healthy, empty, and without its machines",
        fix: "`cargo xtask stack-down`, then compare OMNI_ACCOUNT_UUID in docker/.env and the volumes with the last backup", "docs/how-to/operations.md#restore"),
    check!("omni.break-glass", Omni, Failed, stack::break_glass, "break-glass configurations are on or off by decision",
        why: "they are the only way to a cluster without Omni, must be on before that, and bypass its access control",
        fix: "set features.enableBreakGlassConfigs in docker/site.yaml to true or to false, then `cargo xtask stack-up`", "docs/how-to/site-settings.md#break-glass"),
    check!("omni.etcd-backups", Omni, Failed, stack::etcd_backups, "the etcd of each cluster is backed up",
        why: "a backup of Omni does not hold it: a cluster that loses its control planes is lost with its objects",
        fix: "set features.backupConfiguration.interval in the cluster's template, and give Omni a place for the backups", "docs/how-to/operations.md#etcd-backups-of-the-clusters"),
    check!("omni.account", Omni, Failed, stack::account, "Omni has an account id of its own",
        why: "machines belong to it: another one later, and they no longer do",
        fix: "`cargo xtask omni-setup` makes one, once", "docker/README.md#settings-in-env"),
    check!("omni.user", Omni, Failed, stack::user, "the first administrator is named as tsidp names them",
        why: "another spelling is another person, who may not log in",
        fix: "set OMNI_INITIAL_USER in docker/.env; once Omni has users, `omnictl user create`", "docs/how-to/operations.md#users"),
    check!("omni.licence", Omni, Failed, services::licence, "Omni's licence is accepted",
        why: "since 1.7 Omni answers no API call before a person has accepted it",
        fix: "read it at https://<OMNI_DOMAIN>/eula and decide; no task does that for you", "docs/how-to/deployment.md#6-omni"),
    check!("omni.versions", Omni, Failed, services::versions, "Omni and omnictl belong together",
        why: "another API version is refused, another minor drops what it does not know",
        fix: "`cargo xtask omnictl-install`", "docs/how-to/upgrade.md#what-is-pinned-together"),
    check!("provider.version", Provider, Failed, stack::provider_version, "provider and Omni versions are compatible",
        why: "the two speak one protocol, which changes with Omni",
        fix: "pin a pair in docker/compose.yaml", "docs/how-to/upgrade.md#what-is-pinned-together"),
    check!("provider.id", Provider, Failed, services::provider_id, "Omni knows the provider by this id",
        why: "ids are compared letter by letter, capitals too",
        fix: "set OMNI_PROVIDER_ID in docker/.env to the id in Omni", "docs/how-to/deployment.md#7-the-proxmox-provider"),
    check!("provider.config", Provider, Failed, files::config, "the provider's configuration is understood",
        why: "a key that the provider does not know is ignored, and with another address or login every call fails",
        fix: "compare docker/config.yaml with docker/config.yaml.example", "docs/how-to/deployment.md#7-the-proxmox-provider"),
    check!("provider.proxmox", Provider, Unreachable, services::proxmox, "Proxmox answers the provider's login",
        why: "the provider's heartbeat never looks at Proxmox: Omni shows it well all the same",
        fix: "`cargo xtask provider-verify`", "docs/how-to/deployment.md#5-proxmox-user-roles-token"),
    check!("provider.permissions", Provider, Failed, services::permissions, "the login has the privileges that the provider needs",
        why: "without them no machine is created, and the provider itself only reports `not authorized to access endpoint`",
        fix: "`cargo xtask proxmox-audit` prints the pveum lines", "docs/how-to/deployment.md#5-proxmox-user-roles-token"),
    check!("provider.storages", Provider, Failed, services::storages, "the storages have room for machines",
        why: "Proxmox refuses the disk or the image, and the provider only says `stopped`",
        fix: "free some space, or select another storage in the class; `cargo xtask cluster-plan` shows what fits", "docs/how-to/deployment.md#7-the-proxmox-provider"),
    check!("provider.registration", Provider, Failed, services::registration, "Omni hears from the provider",
        why: "machine requests wait until it does",
        fix: "`cargo xtask provider-status`", "docs/how-to/deployment.md#7-the-proxmox-provider"),
    check!("tsidp.issuer", Tsidp, Failed, services::issuer, "the issuer is written as tsidp writes it",
        why: "it is compared byte by byte with the one in every token",
        fix: "set OIDC_ISSUER_URL in docker/.env", "docs/how-to/deployment.md#3-omnis-client-in-tsidp"),
    check!("tsidp.discovery", Tsidp, Unreachable, services::discovery, "tsidp answers Omni's network",
        why: "Omni fetches the document at its start, and ends without it",
        fix: "`cargo xtask tsidp-verify`", "docs/how-to/deployment.md#2-tsidp"),
    check!("tsidp.claims", Tsidp, Failed, services::claims, "the grant sends `email_verified`",
        why: "without the claim email_verified Omni refuses every login as `invalid jwt`",
        fix: "merge tsidp/grant.json into the tailnet's policy; `cargo xtask tsidp-verify --policy FILE` reads yours", "docs/how-to/deployment.md#1-tailnet-policy"),
    check!("tailscale.state", Tailscale, Failed, services::tailscale, "the sidecar is on the tailnet under Omni's name",
        why: "with its state lost it comes back as omni-1, and the name points nowhere",
        fix: "delete the old device in the admin console, then `cargo xtask stack-up --recreate`", "docs/explanation/networking.md#the-nodes-name"),
    check!("tailscale.data", Tailscale, Failed, stack::login, "the sidecar's login is on a mount",
        why: "the node's identity goes with its container otherwise, and it comes back as omni-1",
        fix: "mount the volume ts-state at /var/lib/tailscale, as docker/compose.yaml does", "docs/explanation/networking.md#the-nodes-name"),
    check!("tailscale.key", Tailscale, Failed, keys::tailscale, "Tailscale auth key has the expected form",
        why: "the sidecar logs in with it, once",
        fix: "make an auth key in the admin console: tagged, pre-approved, not ephemeral", "docs/how-to/deployment.md#1-tailnet-policy"),
    check!("files.env", Files, Failed, files::env, "docker/.env is complete",
        why: "compose refuses to start with a value missing, and starts nonsense with an example's",
        fix: "`cargo xtask omni-setup` asks for what is missing", "docker/README.md#settings-in-env"),
    check!("files.site", Files, Failed, files::site, "Omni can start with the site's own settings",
        why: "Omni does not start with an unknown key or a wrong value, and ignores what the compose file sets",
        fix: "`cargo xtask stack-up`", "docs/how-to/site-settings.md#how-it-works"),
    check!("files.modes", Files, Failed, files::modes, "files with secrets are for their owner alone",
        why: "every user and every backup of the host could read them otherwise",
        fix: "`chmod 600 docker/.env docker/config.yaml docker/omni.asc docker/site.yaml`", "docker/README.md#files"),
    check!("files.tracked", Files, Failed, files::tracked, "git tracks no file with secrets",
        why: "what is pushed once is public for good",
        fix: "`git rm --cached FILE`, and replace every secret in it", "docker/README.md#files"),
    check!("files.secrets", Files, Failed, files::secrets, "no secret stands in a tracked file",
        why: "a token pasted into a document is pushed with it",
        fix: "remove it from the file and its history, and replace the secret", "docker/README.md#files"),
    check!("state.reality", State, Failed, services::state, "the state says what Omni says",
        why: "tasks and the assistant take their defaults from it",
        fix: "`cargo xtask machineclass-apply NAME` or `cargo xtask cluster-sync NAME` creates it again; `cargo xtask cluster-delete NAME` forgets a cluster", "docs/how-to/operations.md#every-day"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A heading as GitHub makes an anchor of it.
    fn slug(heading: &str) -> String {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        kept.chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    }

    #[test]
    fn every_anchor_leads_somewhere() {
        for check in CHECKS {
            let (file, anchor) = check.anchor.split_once('#').expect("file#heading");
            let path = format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(&path).expect(&path);
            let found = text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor);
            assert!(found, "{}: {}", check.id, check.anchor);
        }
    }

    #[test]
    fn ids_are_unique_and_start_with_their_area() {
        for (at, check) in CHECKS.iter().enumerate() {
            let area = serde_json::to_value(check.area).unwrap();
            assert!(check.id.starts_with(&format!("{}.", area.as_str().unwrap())), "{}", check.id);
            assert!(CHECKS[..at].iter().all(|other| other.id != check.id), "{}", check.id);
            assert!(!check.why.is_empty() && !check.fix.is_empty());
        }
    }
}
