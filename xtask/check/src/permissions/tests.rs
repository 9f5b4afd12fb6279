use super::random::{Cfg, TOKEN, USER, names as set};
use super::*;

/// Three nodes like those of the lab, with one class on local-lvm and one network with a VLAN.
fn scope(provider: Provider) -> Scope {
    let by_node =
        |names: &[&str]| ["pve1", "pve2", "pve3"].iter().map(|node| ((*node).to_owned(), set(names))).collect();
    Scope {
        provider,
        vmid: 100,
        nodes: set(&["pve1", "pve2", "pve3"]),
        iso: by_node(&["local"]),
        disks: by_node(&["local-lvm"]),
        networks: BTreeSet::from([
            Network { bridge: "vmbr0".into(), vlan: None },
            Network { bridge: "vmbr1".into(), vlan: Some(7) },
            Network { bridge: "blue".into(), vlan: None },
        ]),
        zones: BTreeMap::from([("blue".into(), "evpn".into())]),
        pci: set(&["card"]),
        sets: set(&["demo-control-planes", "demo-workers"]),
        ..Scope::default()
    }
}

#[test]
fn ha_class_needs_proxmox_9() {
    let warns = |ha, provider, version: &str| Scope { ha, ..scope(provider) }.without_ha(version).is_some();
    assert!(warns(true, Provider::V0_2, "8.4.1"));
    assert!(!warns(true, Provider::V0_2, "9.0.3") && !warns(true, Provider::V0_2, ""));
    assert!(!warns(false, Provider::V0_2, "8.4.1") && !warns(true, Provider::Untagged, "8.4.1"));
}

/// Roles, and the entries of one user, whose token has the user's privileges.
fn acl() -> Cfg {
    let mut acl = Cfg::default();
    acl.roles.insert("NoAccess".to_owned(), BTreeSet::new());
    acl
}

fn grant(acl: &mut Cfg, path: &str, role: &str, privileges: &[&str], propagates: bool) {
    acl.roles.entry(role.to_owned()).or_default().extend(set(privileges));
    acl.grant(path, "user", USER, role, propagates);
}

fn login() -> Login<'static> {
    Login { user: USER, token: Some(TOKEN), privsep: Some(false), roles: None, acl: &[] }
}

fn missing(scope: &Scope, permissions: &Permissions) -> Vec<String> {
    let rows = rows(scope, permissions);
    let missing = rows.iter().filter(|row| row.status == Verdict::Missing);
    let names: BTreeSet<String> = missing.map(|row| format!("{} {}", row.privilege, row.path)).collect();
    names.into_iter().collect()
}

/// The minimal grants of this project's guide.
fn minimal_grants() -> Cfg {
    let mut acl = self::acl();
    let vm = "VM.Allocate VM.Audit VM.PowerMgmt VM.Config.CDROM VM.Config.CPU VM.Config.Disk VM.Config.HWType VM.Config.Memory \
              VM.Config.Network VM.Config.Options";
    grant(&mut acl, "/vms", "OmniVM", &vm.split(' ').collect::<Vec<_>>(), true);
    grant(&mut acl, "/nodes", "OmniNode", &["Sys.Audit", "Sys.AccessNetwork"], true);
    let iso = ["Datastore.Audit", "Datastore.AllocateTemplate", "Datastore.Allocate"];
    grant(&mut acl, "/storage/local", "OmniISO", &iso, true);
    grant(&mut acl, "/storage/local-lvm", "OmniDisk", &["Datastore.Audit", "Datastore.AllocateSpace"], true);
    for path in ["/sdn/zones/localnetwork/vmbr0", "/sdn/zones/localnetwork/vmbr1", "/sdn/zones/evpn/blue"] {
        grant(&mut acl, path, "OmniNet", &["SDN.Use"], true);
    }
    grant(&mut acl, "/mapping/pci/card", "OmniMap", &["Mapping.Use"], true);
    acl
}

#[test]
fn minimal_grants_are_enough() {
    let (acl, scope) = (minimal_grants(), scope(Provider::Untagged));
    let permissions = acl.responses(&scope);
    assert_eq!(missing(&scope, &permissions), Vec::<String>::new());
    assert_eq!(script(&scope, &permissions, &login()), None);
    assert_eq!(excess(&scope, &permissions, true), BTreeMap::new());
    let optional = rows(&scope, &permissions).into_iter().filter(|row| row.status == Verdict::Optional);
    assert_eq!(optional.map(|row| row.call).collect::<Vec<_>>(), ["GET /cluster/status"]);
}

#[test]
fn missing_privileges_are_reported_and_granted() {
    let full = minimal_grants();
    for provider in [Provider::Untagged, Provider::V0_2] {
        let scope = scope(provider);
        let mut full = full.clone();
        if provider > Provider::Untagged {
            grant(&mut full, "/pool", "OmniPool", &["Pool.Allocate", "Pool.Audit"], true);
        }
        let cuts: Vec<(String, String)> = full
            .roles
            .iter()
            .flat_map(|(role, held)| held.iter().map(move |each| (role.clone(), each.clone())))
            .collect();
        for (role, privilege) in cuts {
            let mut acl = full.clone();
            acl.roles.get_mut(&role).unwrap().remove(&privilege);
            let permissions = acl.responses(&scope);
            let found = missing(&scope, &permissions);
            // AllocateSpace makes a storage visible just as Audit does, and the other way round; so do Allocate and Audit.
            if found.is_empty() {
                assert_eq!((role.as_str(), privilege.as_str()), ("OmniDisk", "Datastore.Audit"));
                continue;
            }
            assert!(found.iter().all(|row| row.starts_with(&privilege)), "{role} − {privilege}: {found:?}");
            let roles = acl.roles.clone();
            let script = script(&scope, &permissions, &Login { roles: Some(&roles), ..login() }).unwrap();
            acl.run(&script);
            assert_eq!(missing(&scope, &acl.responses(&scope)), Vec::<String>::new(), "{script}");
        }
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
    let mut known: BTreeSet<String> = minimal_grants().roles.into_values().flatten().collect();
    known.extend(set(&["Sys.Modify", "Pool.Allocate", "Pool.Audit"]));
    for newer in ["Sys.AccessNetwork", "SDN.Use", "Mapping.Use"] {
        known.remove(newer);
    }
    let scope = Scope { known: Some(known), ..scope(Provider::Untagged) };
    let mut acl = minimal_grants();
    acl.roles.get_mut("OmniNode").unwrap().remove("Sys.AccessNetwork");
    assert_eq!(missing(&scope, &acl.responses(&scope)), ["Sys.Audit /", "Sys.Modify /"]);
    let script = script(&scope, &acl.responses(&scope), &login()).unwrap();
    assert!(script.contains("pveum acl modify / --users omni@pve --roles OmniDownload --propagate 0"), "{script}");
    assert!(!script.contains("SDN") && !script.contains("AccessNetwork"), "{script}");
    acl.run(&script);
    assert_eq!(missing(&scope, &acl.responses(&scope)), Vec::<String>::new());
    let unneeded = rows(&scope, &acl.responses(&scope)).into_iter().filter(|row| row.privilege == "SDN.Use");
    assert!(unneeded.map(|row| row.status).all(|status| status == Verdict::Unneeded));
}

#[test]
fn alternatives_of_a_call_are_listed() {
    let scope = scope(Provider::Untagged);
    let mut acl = minimal_grants();
    acl.roles.get_mut("OmniNode").unwrap().remove("Sys.AccessNetwork");
    grant(&mut acl, "/", "Old", &["Sys.Audit", "Sys.Modify"], false);
    let rows = rows(&scope, &acl.responses(&scope));
    let row = rows.iter().find(|row| row.privilege == "Sys.Modify").unwrap();
    assert_eq!(row.alternatives, ["Sys.AccessNetwork on /nodes/pve1"]);
}

#[test]
fn pool_privileges_are_enough() {
    let scope = scope(Provider::V0_1);
    let mut acl = minimal_grants();
    let of_vms = acl.acl.iter_mut().filter(|(entry, _)| entry.path == "/vms");
    of_vms.for_each(|(entry, _)| entry.path = "/pool".to_owned());
    grant(&mut acl, "/pool", "OmniPool", &["Pool.Allocate", "Pool.Audit"], true);
    assert_eq!(missing(&scope, &acl.responses(&scope)), Vec::<String>::new());
    let untagged = self::scope(Provider::Untagged);
    assert!(missing(&untagged, &acl.responses(&untagged)).contains(&"VM.Allocate /vms/100".to_owned()));
}

/// What is missing from the minimal grants, which include no pool.
#[test]
fn every_release_needs_what_it_calls() {
    for (provider, lacks, some) in [
        (Provider::Untagged, "", &[][..]),
        (
            Provider::V0_1,
            "Pool.Allocate Pool.Audit",
            &["Pool.Allocate /pool/demo-workers", "Pool.Audit /pool/demo-workers"],
        ),
        (
            Provider::V0_2,
            "Pool.Allocate Pool.Audit Sys.Audit Sys.Console",
            &["Sys.Console /", "Sys.Audit /", "Pool.Audit /pool/demo-workers"],
        ),
        (
            Provider::V0_3,
            "Mapping.Use Pool.Allocate Pool.Audit Sys.Audit Sys.Console",
            &["Mapping.Use /mapping/usb/stick", "Pool.Allocate /pool/demo-workers"],
        ),
    ] {
        let scope = Scope { ha: true, usb: set(&["stick"]), ..scope(provider) };
        let found = missing(&scope, &minimal_grants().responses(&scope));
        for row in some {
            assert!(found.contains(&(*row).to_owned()), "{provider}: {row} in {found:?}");
        }
        let found: BTreeSet<&str> = found.iter().filter_map(|each| each.split(' ').next()).collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>().join(" "), lacks, "{provider}");
    }
}

#[test]
fn rights_on_all_pools_must_propagate() {
    let scope = Scope { sets: BTreeSet::new(), new_sets: true, ..scope(Provider::V0_3) };
    let mut acl = minimal_grants();
    let wanted = ["Pool.Allocate /pool", "Pool.Audit /pool"];
    assert_eq!(missing(&scope, &acl.responses(&scope)), wanted);
    grant(&mut acl, "/pool", "OmniPool", &["Pool.Allocate", "Pool.Audit"], false);
    assert_eq!(missing(&scope, &acl.responses(&scope)), wanted);
    let roles = acl.roles.clone();
    let script = script(&scope, &acl.responses(&scope), &Login { roles: Some(&roles), ..login() }).unwrap();
    assert!(script.contains("pveum acl modify /pool --users"), "{script}");
    acl.run(&script);
    assert_eq!(missing(&scope, &acl.responses(&scope)), Vec::<String>::new());
    assert_eq!(excess(&scope, &acl.responses(&scope), true), BTreeMap::new());
}

#[test]
fn excess_privileges_are_reported_once() {
    let scope = scope(Provider::Untagged);
    let mut acl = self::acl();
    let everything = ["Permissions.Modify", "Sys.Modify", "Sys.Audit", "VM.Allocate", "VM.Console"];
    grant(&mut acl, "/", "Administrator", &everything, true);
    grant(&mut acl, "/storage/backup", "Files", &["Datastore.AllocateSpace", "Datastore.Allocate"], true);
    grant(&mut acl, "/sdn/zones/localnetwork/vmbr9", "OmniNet", &["SDN.Use"], true);
    let found = excess(&scope, &acl.responses(&scope), true);
    assert_eq!(found["/"], set(&["Permissions.Modify", "VM.Console"]));
    assert_eq!(found["/storage/backup"], set(&["Datastore.Allocate"]), "disks may go there with the next class");
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(excess(&scope, &acl.responses(&scope), false), found);
}

#[test]
fn hidden_no_access_is_reported_only_with_roles() {
    let scope = scope(Provider::Untagged);
    let mut acl = minimal_grants();
    let mut bare = acl.clone();
    bare.acl.clear();
    let scripted = |acl: &Cfg| script(&scope, &acl.responses(&scope), &Login { roles: Some(&acl.roles), ..login() });
    assert!(!scripted(&bare).unwrap().contains("NoAccess"), "a token that has nothing yet needs the grants alone");
    let mut vms = acl.clone();
    for (acl, path, role) in [(&mut acl, "/storage/local", "OmniISO"), (&mut vms, "/vms", "OmniVM")] {
        grant(acl, path, "NoAccess", &[], true);
        acl.revoke(path, USER, role);
    }
    // The role applies to all VMs and was granted there; a role for storages may be granted only on others.
    assert!(scripted(&vms).unwrap().contains("pveum acl delete /vms --users omni@pve --roles NoAccess\n"));
    let text = scripted(&acl).unwrap();
    let advice =
        "# If a path is still missing, it has NoAccess: pveum acl delete PATH --users omni@pve --roles NoAccess\n";
    assert!(text.ends_with(advice), "{text}");
}
