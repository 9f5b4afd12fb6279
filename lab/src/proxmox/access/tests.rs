use super::*;

fn access() -> Access {
    let mut access = Access::default();
    let token = |privsep| Token { privsep, ..Token::default() };
    let user = User {
        enabled: true,
        tokens: BTreeMap::from([("full".into(), token(false)), ("cut".into(), token(true))]),
        ..User::default()
    };
    access.users.insert("omni@pve".into(), user);
    access.roles.insert("OmniVM".into(), Privs::from(["VM.Allocate", "VM.Audit"]));
    access
}

fn names(access: &Access, auth: &str, path: &str) -> Vec<&'static str> {
    access.permissions(auth, path).set.into_iter().collect()
}

#[test]
fn a_role_reaches_down_only_if_it_propagates() {
    let mut access = access();
    access.set_acl("/vms", "omni@pve", "OmniVM", Some(false));
    assert_eq!(names(&access, "omni@pve", "/vms"), ["VM.Allocate", "VM.Audit"]);
    assert!(names(&access, "omni@pve", "/vms/100").is_empty());
    access.set_acl("/vms", "omni@pve", "OmniVM", Some(true));
    assert_eq!(names(&access, "omni@pve", "/vms/100"), ["VM.Allocate", "VM.Audit"]);
    assert!(names(&access, "omni@pve", "/").is_empty());
}

#[test]
fn a_deeper_entry_replaces_what_is_above_it() {
    let mut access = access();
    access.grant("/", "omni@pve", "Administrator");
    access.grant("/storage/local", "omni@pve", "PVEDatastoreUser");
    assert!(access.may("omni@pve", "/storage/other", &["Datastore.Allocate"]));
    assert!(!access.may("omni@pve", "/storage/local", &["Datastore.Allocate"]));
    access.grant("/vms/100", "omni@pve", "NoAccess");
    access.grant("/vms/100", "omni@pve", "OmniVM");
    assert!(names(&access, "omni@pve", "/vms/100").is_empty());
}

#[test]
fn a_separated_token_has_what_both_have() {
    let mut access = access();
    access.grant("/vms", "omni@pve", "OmniVM");
    assert!(access.may("omni@pve!full", "/vms/100", &["VM.Allocate"]));
    assert!(names(&access, "omni@pve!cut", "/vms/100").is_empty());
    access.set_acl("/vms", "omni@pve!cut", "PVEAuditor", Some(true));
    assert_eq!(names(&access, "omni@pve!cut", "/vms/100"), ["VM.Audit"]);
    assert!(names(&access, "omni@pve!gone", "/vms/100").is_empty());
}

#[test]
fn a_pool_lends_its_rights_to_its_members() {
    let mut access = access();
    let pool = Pool { vms: [100].into(), ..Pool::default() };
    access.pools.insert("omni".into(), pool);
    access.vm_pool.insert(100, "omni".into());
    access.grant("/pool/omni", "omni@pve", "PVEDatastoreUser");
    access.grant("/pool/omni", "omni@pve", "OmniVM");
    assert!(access.may("omni@pve", "/vms/100", &["VM.Audit"]));
    assert!(!access.may("omni@pve", "/vms/101", &["VM.Audit"]));
    assert!(access.permissions("omni@pve", "/vms/100").propagated.is_empty());
    access.grant("/vms/100", "omni@pve", "NoAccess");
    assert!(!access.may("omni@pve", "/vms/100", &["VM.Audit"]));
}

#[test]
fn paths_are_normalized_and_known() {
    assert_eq!(normalize_path("//vms//100/"), Some("/vms/100".into()));
    assert_eq!(normalize_path("vms"), Some("/vms".into()));
    assert_eq!(normalize_path("/vms/1 0"), None);
    let paths = "/|/vms/100|/sdn/zones/localnetwork/vmbr0/20|/pool/a/b/c|/mapping/pci/gpu|\
         /sdn/prefix-lists|/sdn/prefix-lists/pl1|/sdn/route-maps/to-core|/sdn/fabrics/core1|\
         /sdn/zones/a-b.c";
    for path in paths.split('|') {
        assert!(known_path(path), "{path}");
    }
    let paths = "/vms/99|/nodes/a/b|/sdn/zones/a/b/c|/x|/sdn/controllers/a-b|/sdn/dns/a.b|/sdn/ipams/a-b|\
         /sdn/fabrics/a.b|/sdn/vnets";
    for path in paths.split('|') {
        assert!(!known_path(path), "{path}");
    }
    assert_eq!(prefixes("/vms/100").collect::<Vec<_>>(), [("/", false), ("/vms", false), ("/vms/100", true)]);
    assert_eq!(prefixes("/").collect::<Vec<_>>(), [("/", true)]);
}

#[test]
fn the_effective_tree_hides_what_is_empty() {
    let mut access = access();
    access.grant("/vms", "omni@pve", "OmniVM");
    let tree = access.effective("omni@pve!full");
    assert_eq!(tree.keys().collect::<Vec<_>>(), ["/vms"]);
    assert_eq!(tree["/vms"].to_json(), serde_json::json!({"VM.Allocate": 1, "VM.Audit": 1}));
    // The paths between an entry and the root are nodes of the tree, too (`iterate_acl_tree`).
    access.grant("/", "omni@pve", "OmniVM");
    access.grant("/sdn/zones/localnetwork/vmbr0", "omni@pve", "NoAccess");
    let tree = access.effective("omni@pve!full");
    let sdn: Vec<_> = tree.keys().filter(|path| path.starts_with("/sdn")).collect();
    assert_eq!(sdn, ["/sdn", "/sdn/zones", "/sdn/zones/localnetwork"]);
}
