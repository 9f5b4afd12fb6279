use super::*;
use domain::status::proxmox::parent;

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Three nodes as the lab has them, with one class on local-lvm and one network with a VLAN.
fn scope(provider: Provider) -> Scope {
    let by_node =
        |names: &[&str]| ["pve1", "pve2", "pve3"].iter().map(|node| ((*node).to_owned(), set(names))).collect();
    Scope {
        provider,
        known: None,
        vmid: 100,
        nodes: set(&["pve1", "pve2", "pve3"]),
        iso: by_node(&["local"]),
        guessed_iso: None,
        disks: by_node(&["local-lvm"]),
        networks: BTreeSet::from([
            Network { bridge: "vmbr0".into(), vlan: None },
            Network { bridge: "vmbr1".into(), vlan: Some(7) },
            Network { bridge: "blue".into(), vlan: None },
        ]),
        zones: BTreeMap::from([("blue".into(), "evpn".into())]),
        pci: set(&["card"]),
        usb: BTreeSet::new(),
        sets: set(&["demo-control-planes", "demo-workers"]),
        pools: BTreeSet::new(),
        ha: false,
    }
}

/// Roles, and the entries of one user: path → role → whether it propagates.
#[derive(Default, Clone)]
struct Acl {
    roles: BTreeMap<String, BTreeSet<String>>,
    entries: BTreeMap<String, BTreeMap<String, bool>>,
}

impl Acl {
    fn grant(&mut self, path: &str, role: &str, privileges: &[&str], propagates: bool) {
        self.roles.entry(role.to_owned()).or_default().extend(set(privileges));
        self.entries.entry(path.to_owned()).or_default().insert(role.to_owned(), propagates);
    }

    /// The privileges on a path: the lowest level that says anything counts alone (`AccessControl.pm` `roles`).
    fn on(&self, path: &str) -> BTreeMap<String, bool> {
        let levels = std::iter::successors(Some(path), |path| parent(path));
        let said = levels.enumerate().find_map(|(height, level)| {
            let heard = self.entries.get(level)?.iter().filter(|(_, propagates)| height == 0 || **propagates);
            let heard: Vec<_> = heard.collect();
            (!heard.is_empty()).then_some(heard)
        });
        let mut privileges = BTreeMap::new();
        for (role, propagates) in said.unwrap_or_default() {
            for privilege in &self.roles[role] {
                *privileges.entry(privilege.clone()).or_insert(false) |= propagates;
            }
        }
        privileges
    }

    fn permissions(&self, scope: &Scope) -> Permissions {
        let top = ["/", "/access", "/nodes", "/pool", "/sdn", "/storage", "/vms"].map(str::to_owned);
        let tree = top.into_iter().chain(self.entries.keys().cloned());
        let tree = tree.map(|path| (path.clone(), self.on(&path))).filter(|(_, privileges)| !privileges.is_empty());
        let exact = scope.paths().into_iter().map(|path| (path.clone(), self.on(&path).into_keys().collect()));
        Permissions { tree: tree.collect(), exact: exact.collect() }
    }

    /// Runs a script of ours.
    fn run(&mut self, script: &str) {
        for line in script.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let after = |flag: &str| words.iter().position(|word| *word == flag).map(|at| words[at + 1]);
            match words[..3] {
                ["pveum", "role", "add" | "modify"] => {
                    let privileges: Vec<&str> = after("--privs").unwrap().split(',').collect();
                    self.roles.entry(words[3].to_owned()).or_default().extend(set(&privileges));
                }
                ["pveum", "acl", "modify"] => {
                    for role in after("--roles").unwrap().split(',') {
                        assert!(self.roles.contains_key(role), "{role} is used before it is made:\n{script}");
                        self.grant(words[3], role, &[], after("--propagate") != Some("0"));
                    }
                }
                ["pveum", "acl", "delete"] => {
                    let role = after("--roles").unwrap();
                    self.entries.get_mut(words[3]).map(|entries| entries.remove(role));
                }
                _ => panic!("{line}"),
            }
        }
    }
}

fn login() -> Login<'static> {
    Login { user: "omni@pve", token: Some("omni@pve!provider"), privsep: Some(false), roles: None, acl: &[] }
}

fn missing(scope: &Scope, permissions: &Permissions) -> Vec<String> {
    let rows = rows(scope, permissions);
    let missing = rows.iter().filter(|row| row.status == Verdict::Missing);
    let names: BTreeSet<String> = missing.map(|row| format!("{} {}", row.privilege, row.path)).collect();
    names.into_iter().collect()
}

/// The least grants of the kit's guide.
fn least() -> Acl {
    let mut acl = Acl::default();
    let vm = [
        "VM.Allocate",
        "VM.Audit",
        "VM.PowerMgmt",
        "VM.Config.CDROM",
        "VM.Config.CPU",
        "VM.Config.Disk",
        "VM.Config.HWType",
        "VM.Config.Memory",
        "VM.Config.Network",
        "VM.Config.Options",
    ];
    acl.grant("/vms", "OmniVM", &vm, true);
    acl.grant("/nodes", "OmniNode", &["Sys.Audit", "Sys.AccessNetwork"], true);
    let iso = ["Datastore.Audit", "Datastore.AllocateTemplate", "Datastore.Allocate"];
    acl.grant("/storage/local", "OmniISO", &iso, true);
    acl.grant("/storage/local-lvm", "OmniDisk", &["Datastore.Audit", "Datastore.AllocateSpace"], true);
    for path in ["/sdn/zones/localnetwork/vmbr0", "/sdn/zones/localnetwork/vmbr1", "/sdn/zones/evpn/blue"] {
        acl.grant(path, "OmniNet", &["SDN.Use"], true);
    }
    acl.grant("/mapping/pci/card", "OmniMap", &["Mapping.Use"], true);
    acl
}

#[test]
fn minimal_grants_are_enough() {
    let (acl, scope) = (least(), scope(Provider::Untagged));
    let permissions = acl.permissions(&scope);
    assert_eq!(missing(&scope, &permissions), Vec::<String>::new());
    assert_eq!(script(&scope, &permissions, &login()), None);
    assert_eq!(excess(&scope, &permissions, true), BTreeMap::new());
    let optional = rows(&scope, &permissions).into_iter().filter(|row| row.status == Verdict::Optional);
    assert_eq!(optional.map(|row| row.call).collect::<Vec<_>>(), ["GET /cluster/status"]);
}

#[test]
fn every_release_needs_what_it_calls() {
    for (provider, ha, wanted) in [
        (Provider::Untagged, true, vec![]),
        (Provider::V0_1, true, vec!["Pool.Allocate /pool/demo-workers", "Pool.Audit /pool/demo-workers"]),
        (Provider::V0_2, true, vec!["Sys.Console /", "Sys.Audit /", "Pool.Audit /pool/demo-workers"]),
        (Provider::V0_3, false, vec!["Mapping.Use /mapping/usb/stick", "Pool.Allocate /pool/demo-workers"]),
    ] {
        let scope = Scope { ha, usb: set(&["stick"]), ..scope(provider) };
        let found = missing(&scope, &least().permissions(&scope));
        assert_eq!(found.is_empty(), wanted.is_empty(), "{provider}: {found:?}");
        for want in wanted {
            assert!(found.contains(&want.to_owned()), "{provider}: {want} in {found:?}");
        }
    }
}

#[test]
fn missing_privileges_are_reported_and_granted() {
    let full = least();
    for provider in [Provider::Untagged, Provider::V0_2] {
        let scope = scope(provider);
        let mut full = full.clone();
        if provider > Provider::Untagged {
            full.grant("/pool", "OmniPool", &["Pool.Allocate", "Pool.Audit"], true);
        }
        let cuts: Vec<(String, String)> = full
            .roles
            .iter()
            .flat_map(|(role, held)| held.iter().map(move |each| (role.clone(), each.clone())))
            .collect();
        for (role, privilege) in cuts {
            let mut acl = full.clone();
            acl.roles.get_mut(&role).unwrap().remove(&privilege);
            let permissions = acl.permissions(&scope);
            let found = missing(&scope, &permissions);
            // AllocateSpace shows a storage as well as Audit does, and the other way round; so do Allocate and Audit.
            if found.is_empty() {
                assert_eq!((role.as_str(), privilege.as_str()), ("OmniDisk", "Datastore.Audit"));
                continue;
            }
            assert!(found.iter().all(|row| row.starts_with(&privilege)), "{role} − {privilege}: {found:?}");
            let roles = acl.roles.clone();
            let script = script(&scope, &permissions, &Login { roles: Some(&roles), ..login() }).unwrap();
            acl.run(&script);
            assert_eq!(missing(&scope, &acl.permissions(&scope)), Vec::<String>::new(), "{script}");
        }
    }
}

#[test]
fn script_grants_every_missing_privilege() {
    let scope = Scope { ha: true, ..scope(Provider::V0_2) };
    type Entry = (&'static str, &'static str, &'static [&'static str], bool);
    let starts: [&[Entry]; 6] = [
        &[],
        // Inherited from above: an entry below must not take it away.
        &[("/", "PVEAuditor", &["VM.Audit", "Sys.Audit", "Datastore.Audit", "SDN.Audit"], true)],
        &[("/vms", "PVEVMUser", &["VM.Audit", "VM.PowerMgmt", "VM.Config.CDROM"], true)],
        // Does not go on downwards.
        &[("/vms", "OmniVM", &["VM.Allocate", "VM.Audit"], false), ("/nodes", "N", &["Sys.Audit"], false)],
        // A node with less than the others.
        &[("/nodes", "OmniNode", &["Sys.Audit", "Sys.AccessNetwork"], true), ("/nodes/pve2", "NoAccess", &[], true)],
        &[("/storage", "PVEDatastoreUser", &["Datastore.Audit", "Datastore.AllocateSpace"], true)],
    ];
    for grants in starts {
        let mut acl = Acl::default();
        for (path, role, privileges, propagates) in grants {
            acl.grant(path, role, privileges, *propagates);
        }
        let script = script(&scope, &acl.permissions(&scope), &login()).unwrap();
        acl.run(&script);
        assert_eq!(missing(&scope, &acl.permissions(&scope)), Vec::<String>::new(), "{grants:?}\n{script}");
    }
}

#[test]
fn complete_script_matches_the_guide() {
    let scope = Scope {
        networks: BTreeSet::from([Network { bridge: "vmbr0".into(), vlan: Some(3) }]),
        pci: set(&[]),
        ..scope(Provider::V0_1)
    };
    let scope = Scope { guessed_iso: Some("local".into()), ..scope };
    let login = Login { privsep: None, roles: Some(&BTreeMap::new()), ..login() };
    assert_eq!(
        script(&scope, &Permissions::default(), &login).unwrap(),
        include_str!("../../../tests/fixtures/output/pveum.txt")
    );
}

#[test]
fn older_proxmox_lacks_newer_privileges() {
    // Proxmox VE 7: no Sys.AccessNetwork, no SDN.Use, no Mapping.Use.
    let mut known: BTreeSet<String> = least().roles.into_values().flatten().collect();
    known.extend(set(&["Sys.Modify", "Pool.Allocate", "Pool.Audit"]));
    for newer in ["Sys.AccessNetwork", "SDN.Use", "Mapping.Use"] {
        known.remove(newer);
    }
    let scope = Scope { known: Some(known), ..scope(Provider::Untagged) };
    let mut acl = least();
    acl.roles.get_mut("OmniNode").unwrap().remove("Sys.AccessNetwork");
    assert_eq!(missing(&scope, &acl.permissions(&scope)), ["Sys.Audit /", "Sys.Modify /"]);
    let script = script(&scope, &acl.permissions(&scope), &login()).unwrap();
    assert!(script.contains("pveum acl modify / --users omni@pve --roles OmniDownload --propagate 0"), "{script}");
    assert!(!script.contains("SDN") && !script.contains("AccessNetwork"), "{script}");
    acl.run(&script);
    assert_eq!(missing(&scope, &acl.permissions(&scope)), Vec::<String>::new());
    let unneeded = rows(&scope, &acl.permissions(&scope)).into_iter().filter(|row| row.privilege == "SDN.Use");
    assert!(unneeded.map(|row| row.status).all(|status| status == Verdict::Unneeded));
}

#[test]
fn older_download_privileges_are_enough() {
    let scope = scope(Provider::Untagged);
    let mut acl = least();
    acl.roles.get_mut("OmniNode").unwrap().remove("Sys.AccessNetwork");
    acl.grant("/", "Old", &["Sys.Audit", "Sys.Modify"], false);
    assert_eq!(missing(&scope, &acl.permissions(&scope)), Vec::<String>::new());
    let rows = rows(&scope, &acl.permissions(&scope));
    let row = rows.iter().find(|row| row.privilege == "Sys.Modify").unwrap();
    assert_eq!(row.alternatives, ["Sys.AccessNetwork on /nodes/pve1"]);
}

#[test]
fn pool_privileges_are_enough() {
    let scope = scope(Provider::V0_1);
    let mut acl = least();
    let vm = acl.entries.remove("/vms").unwrap();
    acl.entries.insert("/pool".to_owned(), vm);
    acl.grant("/pool", "OmniPool", &["Pool.Allocate", "Pool.Audit"], true);
    assert_eq!(missing(&scope, &acl.permissions(&scope)), Vec::<String>::new());
    let untagged = self::scope(Provider::Untagged);
    assert!(missing(&untagged, &acl.permissions(&untagged)).contains(&"VM.Allocate /vms/100".to_owned()));
}

#[test]
fn excess_privileges_are_reported_once() {
    let scope = scope(Provider::Untagged);
    let mut acl = Acl::default();
    let everything = ["Permissions.Modify", "Sys.Modify", "Sys.Audit", "VM.Allocate", "VM.Console"];
    acl.grant("/", "Administrator", &everything, true);
    acl.grant("/storage/backup", "Files", &["Datastore.AllocateSpace", "Datastore.Allocate"], true);
    acl.grant("/sdn/zones/localnetwork/vmbr9", "OmniNet", &["SDN.Use"], true);
    let found = excess(&scope, &acl.permissions(&scope), true);
    assert_eq!(found["/"], set(&["Permissions.Modify", "VM.Console"]));
    assert_eq!(found["/storage/backup"], set(&["Datastore.Allocate"]), "disks may go there with the next class");
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(excess(&scope, &acl.permissions(&scope), false), found);
}

#[test]
fn hidden_no_access_is_reported_only_with_roles() {
    let scope = scope(Provider::Untagged);
    let mut acl = least();
    let bare = Acl { roles: acl.roles.clone(), ..Acl::default() };
    let scripted = |acl: &Acl| script(&scope, &acl.permissions(&scope), &Login { roles: Some(&acl.roles), ..login() });
    assert!(!scripted(&bare).unwrap().contains("NoAccess"), "a token that has nothing yet needs the grants alone");
    let mut vms = acl.clone();
    for (acl, path, role) in [(&mut acl, "/storage/local", "OmniISO"), (&mut vms, "/vms", "OmniVM")] {
        acl.grant(path, "NoAccess", &[], true);
        acl.entries.get_mut(path).unwrap().remove(role);
    }
    // The role is for all VMs and was granted there; one for storages may be granted on others alone.
    assert!(scripted(&vms).unwrap().contains("pveum acl delete /vms --users omni@pve --roles NoAccess\n"));
    let text = scripted(&acl).unwrap();
    let advice = "# A path that stays missing has NoAccess: pveum acl delete PATH --users omni@pve --roles NoAccess\n";
    assert!(text.ends_with(advice), "{text}");
}
