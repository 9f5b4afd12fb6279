//! Checks random users, tokens, groups, roles, pools and ACLs against a plain model of Proxmox's own rules (pve-access-control
//! 9.1 `AccessControl.pm` `roles`, `RPCEnvironment.pm` `permissions` and `get_effective_permissions`, `API2/ACL.pm`): the
//! audit passes exactly if every call in a machine's life would be allowed, and its script fixes whatever is missing.

use std::iter::successors;

use super::*;
use domain::status::proxmox::{AclEntry, conclusive_privileges, parent};

pub(super) const USER: &str = "omni@pve";
pub(super) const TOKEN: &str = "omni@pve!provider";
const NODES: [&str; 2] = ["pve1", "pve2"];

/// A random generator that produces the same cases in every run.
struct Random(fastrand::Rng);

impl Random {
    fn pick_one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.0.usize(..of.len())]
    }

    fn one_in(&mut self, of: usize) -> bool {
        self.0.usize(..of) == 0
    }
}

/// `user.cfg`, as far as it determines what one token may do.
#[derive(Clone, Debug, Default)]
pub(super) struct Cfg {
    privsep: bool,
    /// The groups of the user.
    groups: BTreeSet<String>,
    pub(super) roles: BTreeMap<String, BTreeSet<String>>,
    /// Each entry, and whether it propagates.
    pub(super) acl: Vec<(AclEntry, bool)>,
    /// The storages of each pool.
    pools: BTreeMap<String, BTreeSet<String>>,
}

impl Cfg {
    /// Mirrors `AccessControl.pm` `roles`.
    fn roles(&self, who: &str, path: &str) -> BTreeMap<String, bool> {
        if who == TOKEN && !self.privsep {
            return self.roles(USER, path);
        }
        let mut levels: Vec<&str> = successors(Some(path), |path| parent(path)).collect();
        levels.reverse();
        let mut roles = BTreeMap::new();
        for level in levels {
            let said = |kind: &str, of: &dyn Fn(&str) -> bool| -> BTreeMap<String, bool> {
                let here = self.acl.iter().filter(|(entry, propagates)| {
                    entry.path == level && entry.kind == kind && of(&entry.who) && (level == path || *propagates)
                });
                here.map(|(entry, propagates)| (entry.role.clone(), *propagates)).collect()
            };
            let own = |id: &str| id == who;
            let group = |id: &str| who == USER && self.groups.contains(id);
            let by_strength = [said("token", &own), said("user", &own), said("group", &group)];
            if let Some(new) = by_strength.into_iter().find(|new| !new.is_empty()) {
                roles = new;
            }
        }
        match roles.get("NoAccess") {
            Some(propagates) => BTreeMap::from([("NoAccess".to_owned(), *propagates)]),
            None => roles,
        }
    }

    /// Mirrors `RPCEnvironment.pm` `permissions`: privilege → whether it propagates.
    fn permissions(&self, who: &str, path: &str) -> BTreeMap<String, bool> {
        let of_user = (who == TOKEN).then(|| self.permissions(USER, path));
        if let Some(of_user) = &of_user
            && !self.privsep
        {
            return of_user.clone();
        }
        let mut roles = self.roles(who, path);
        let storage = path.strip_prefix("/storage/").unwrap_or_default();
        let pools = self.pools.iter().filter(|(_, storages)| storages.contains(storage));
        let pooled: BTreeSet<String> =
            pools.flat_map(|(pool, _)| self.roles(who, &format!("/pool/{pool}")).into_keys()).collect();
        if !roles.contains_key("NoAccess") {
            if pooled.contains("NoAccess") {
                roles = BTreeMap::from([("NoAccess".to_owned(), false)]);
            } else {
                pooled.into_iter().for_each(|role| _ = roles.entry(role).or_insert(false));
            }
        }
        let mut held = BTreeMap::new();
        for (role, propagates) in roles {
            for privilege in self.roles.get(&role).into_iter().flatten() {
                *held.entry(privilege.clone()).or_insert(false) |= propagates;
            }
        }
        match of_user {
            Some(user) => {
                let both = held.into_iter().filter_map(|(privilege, propagates)| {
                    user.get(&privilege).map(|also| (privilege.clone(), propagates && *also))
                });
                both.collect()
            }
            None => held,
        }
    }

    fn is_allowed(&self, privilege: &str, path: &str) -> bool {
        self.permissions(TOKEN, path).contains_key(privilege)
    }

    /// Returns what `GET /access/permissions` returns for the token: the tree, and each path of interest by itself.
    pub(super) fn responses(&self, scope: &Scope) -> Permissions {
        let top = ["/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"].map(str::to_owned);
        // Every node of the tree of entries, including intermediate ones.
        let entries = self.acl.iter().flat_map(|(entry, _)| successors(Some(entry.path.as_str()), |path| parent(path)));
        let mut paths: BTreeSet<String> = top.into_iter().chain(entries.map(str::to_owned)).collect();
        paths.extend(self.pools.values().flatten().map(|storage| format!("/storage/{storage}")));
        let tree = paths.into_iter().map(|path| (path.clone(), self.permissions(TOKEN, &path)));
        let exact = scope.paths().into_iter().map(|path| {
            let held = self.permissions(TOKEN, &path).into_keys().collect();
            (path, held)
        });
        Permissions { tree: tree.filter(|(_, held)| !held.is_empty()).collect(), exact: exact.collect() }
    }

    /// Returns true if Proxmox shows the token the object of the path (pve-manager 9.2 `API2/Nodes.pm`, `API2/Pool.pm`;
    /// pve-storage 9.1 `API2/Storage/Status.pm`).
    fn is_visible(&self, path: &str) -> bool {
        let any = |privileges: &[&str]| privileges.iter().any(|privilege| self.is_allowed(privilege, path));
        match path.split('/').nth(1) {
            Some("nodes") => any(&["Sys.Audit"]),
            Some("storage") => any(&["Datastore.Audit", "Datastore.AllocateSpace"]),
            Some("pool") => any(&["Pool.Audit"]),
            _ => false,
        }
    }

    /// Returns what `GET /access/acl` returns for the token.
    fn visible_acl(&self) -> Vec<AclEntry> {
        let all = self.is_allowed("Sys.Audit", "/access");
        let visible = self.acl.iter().filter(|(entry, _)| all || self.is_allowed("Permissions.Modify", &entry.path));
        visible.map(|(entry, _)| entry.clone()).collect()
    }

    pub(super) fn grant(&mut self, path: &str, kind: &str, who: &str, role: &str, propagates: bool) {
        let [path, kind, who, role] = [path, kind, who, role].map(str::to_owned);
        let entry = AclEntry { path, kind, who, role };
        self.revoke(&entry.path, &entry.who, &entry.role);
        self.acl.push((entry, propagates));
    }

    pub(super) fn revoke(&mut self, path: &str, who: &str, role: &str) {
        self.acl
            .retain(|(entry, _)| (entry.path.as_str(), entry.who.as_str(), entry.role.as_str()) != (path, who, role));
    }

    /// Does what `pveum` does for each line of a script, and what its last comment advises for paths that stay missing.
    pub(super) fn run(&mut self, script: &str) {
        let advised =
            script.lines().find_map(|line| line.strip_prefix("# If a path is still missing, it has NoAccess: "));
        let granted = script.lines().filter_map(|line| line.strip_prefix("pveum acl modify ")?.split(' ').next());
        let deletes: Vec<String> =
            granted.flat_map(|path| advised.map(|advised| advised.replace("PATH", path))).collect();
        for line in deletes.iter().map(String::as_str).chain(script.lines().filter(|line| !line.starts_with('#'))) {
            let words: Vec<String> = line.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect();
            let after = |flag: &str| words.iter().position(|word| word == flag).map(|at| words[at + 1].as_str());
            let verb = (words[1].as_str(), words[2].as_str());
            if verb.0 == "role" {
                let privileges = after("--privs").unwrap().split(',').map(str::to_owned);
                assert!(verb.1 == "modify" || !self.roles.contains_key(&words[3]), "{line}: it exists");
                self.roles.entry(words[3].clone()).or_default().extend(privileges);
                continue;
            }
            for (kind, who) in [("user", after("--users")), ("token", after("--tokens"))] {
                for (role, who) in after("--roles").unwrap().split(',').flat_map(|role| who.map(|who| (role, who))) {
                    assert!(self.roles.contains_key(role), "{line}: no such role");
                    match verb.1 {
                        "modify" => self.grant(&words[3], kind, who, role, after("--propagate") != Some("0")),
                        _ => self.revoke(&words[3], who, role),
                    }
                }
            }
        }
    }
}

pub(super) fn names(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn scope(random: &mut Random) -> Scope {
    let by_node = |name: &str| NODES.iter().map(|node| ((*node).to_owned(), names(&[name]))).collect();
    let provider = random.pick_one(&[Provider::Untagged, Provider::V0_1, Provider::V0_2, Provider::V0_3]);
    let some = |random: &mut Random, name: &str| if random.one_in(3) { names(&[name]) } else { BTreeSet::new() };
    let disk = random.pick_one(&["local-lvm", "local", "vm_ssd"]);
    Scope {
        provider,
        vmid: 100,
        nodes: names(&NODES),
        iso: by_node("local"),
        disks: by_node(disk),
        networks: BTreeSet::from([Network { bridge: "vmbr0".into(), vlan: random.pick_one(&[None, Some(7)]) }]),
        pci: some(random, "card"),
        usb: some(random, "stick"),
        sets: names(&["demo-workers"]),
        new_sets: random.one_in(3),
        pools: some(random, "gpu"),
        ha: random.one_in(3),
        ..Scope::default()
    }
}

/// Returns true if Proxmox allows every call in a machine's life.
fn all_calls_allowed(cfg: &Cfg, scope: &Scope) -> bool {
    let may = |privilege: &str, path: &str| cfg.is_allowed(privilege, path);
    let pooled = scope.provider >= Provider::V0_1;
    let new = scope.new_sets.then(|| "later-workers".to_owned());
    let of_sets: Vec<&String> = scope.sets.iter().chain(&new).collect();
    let pools = of_sets.iter().copied().chain(&scope.pools).filter(|_| pooled);
    let pools: Vec<String> = pools.map(|pool| format!("/pool/{pool}")).collect();
    // qemu-server: a privilege on a VM counts on the VM or on its pool.
    let vm =
        |privilege: &str| may(privilege, "/vms/100") || !pools.is_empty() && pools.iter().all(|p| may(privilege, p));
    let node = |node: &str| {
        let at = format!("/nodes/{node}");
        let old_way = may("Sys.Audit", "/") && may("Sys.Modify", "/");
        may("Sys.Audit", &at) && (may("Sys.AccessNetwork", &at) || old_way)
    };
    let storage = |name: &str| format!("/storage/{name}");
    let iso =
        |name: &str| may("Datastore.AllocateTemplate", &storage(name)) && may("Datastore.Allocate", &storage(name));
    let seen = |name: &str| may("Datastore.Audit", &storage(name)) || may("Datastore.AllocateSpace", &storage(name));
    let vms = ["Allocate", "Audit", "PowerMgmt", "Config.CDROM", "Config.CPU", "Config.Disk", "Config.HWType"]
        .into_iter()
        .chain(["Config.Memory", "Config.Network", "Config.Options"]);
    let network = scope.networks.iter().all(|network| may("SDN.Use", &scope.network_path(network)));
    let devices = scope.pci.iter().all(|name| may("Mapping.Use", &format!("/mapping/pci/{name}")))
        && (scope.provider < Provider::V0_3
            || scope.usb.iter().all(|name| may("Mapping.Use", &format!("/mapping/usb/{name}"))));
    let ha = !scope.ha || scope.provider < Provider::V0_2 || may("Sys.Audit", "/") && may("Sys.Console", "/");
    let made = of_sets.iter().all(|set| !pooled || may("Pool.Allocate", &format!("/pool/{set}")));
    NODES.iter().all(|name| node(name))
        && scope.iso.values().flatten().all(|name| iso(name) && seen(name))
        && scope.disks.values().flatten().all(|name| may("Datastore.AllocateSpace", &storage(name)))
        && vms.into_iter().all(|privilege| vm(&format!("VM.{privilege}")))
        && network
        && devices
        && ha
        && made
        && pools.iter().all(|pool| may("Pool.Audit", pool))
}

/// The roles that a site may have: Proxmox's own as far as they matter, an empty role, and some of this project's roles.
fn roles(random: &mut Random, needed: &BTreeSet<String>) -> BTreeMap<String, BTreeSet<String>> {
    let mut roles: BTreeMap<String, BTreeSet<String>> = [
        ("NoAccess", vec![]),
        ("Nothing", vec![]),
        ("PVEAuditor", vec!["VM.Audit", "Sys.Audit", "Datastore.Audit", "SDN.Audit", "Mapping.Audit", "Pool.Audit"]),
        ("PVEVMUser", vec!["VM.Audit", "VM.PowerMgmt", "VM.Config.CDROM", "VM.Backup"]),
        ("PVEDatastoreUser", vec!["Datastore.Audit", "Datastore.AllocateSpace"]),
        ("PVESDNUser", vec!["SDN.Use", "SDN.Audit"]),
        ("PVEPoolUser", vec!["Pool.Audit"]),
    ]
    .into_iter()
    .map(|(role, held)| (role.to_owned(), names(&held)))
    .collect();
    let all: Vec<&String> = needed.iter().collect();
    let everything = needed.iter().cloned().chain(["Permissions.Modify".to_owned()]);
    roles.insert("Administrator".to_owned(), everything.collect());
    // Roles with all but one or two of the needed privileges, and roles with only a few of them.
    for (role, most) in [("Almost", 1), ("Nearly", 2)] {
        let mut held = needed.clone();
        (0..most).for_each(|_| _ = held.remove(random.pick_one(&all)));
        roles.insert(role.to_owned(), held);
    }
    for role in ["OmniVM", "OmniISO", "Site"] {
        if random.one_in(2) {
            let held = (0..random.0.usize(..6)).map(|_| random.pick_one(&all).clone()).collect();
            roles.insert(role.to_owned(), held);
        }
    }
    roles
}

fn cfg(random: &mut Random, scope: &Scope) -> Cfg {
    let mut needed: BTreeSet<String> = scope
        .call_requirements()
        .iter()
        .flat_map(|need| need.ways.iter().flatten())
        .map(|want| want.privilege.to_owned())
        .collect();
    needed.insert("Sys.Modify".into());
    let roles = roles(random, &needed);
    let groups = if random.one_in(2) { names(&["ops"]) } else { BTreeSet::new() };
    let mut cfg = Cfg { privsep: random.one_in(2), groups, roles, ..Cfg::default() };
    if random.one_in(3) {
        cfg.pools.insert(
            random.pick_one(&["gpu", "demo-workers", "old"]).into(),
            names(&[random.pick_one(&["local", "vm_ssd"])]),
        );
    }
    let mut paths: Vec<String> = scope.paths().into_iter().collect();
    paths.extend(paths.clone().iter().flat_map(|path| successors(parent(path), |p| parent(p))).map(str::to_owned));
    paths.extend(["/pool/old", "/storage/other", "/access"].map(str::to_owned));
    let names: Vec<String> = cfg.roles.keys().cloned().collect();
    if random.one_in(2) {
        // A login that has nearly all privileges from the top, as most do.
        let role = random.pick_one(&["Administrator", "Almost", "Nearly", "PVEAuditor"]);
        for (kind, who) in [("user", USER), ("token", TOKEN)] {
            cfg.grant("/", kind, who, role, !random.one_in(8));
        }
    }
    for _ in 0..random.0.usize(..9) {
        let path = paths[random.0.usize(..paths.len())].clone();
        let role = names[random.0.usize(..names.len())].clone();
        let propagates = !random.one_in(4);
        match random.0.usize(..4) {
            0 => cfg.grant(&path, "user", USER, &role, propagates),
            1 => cfg.grant(&path, "token", TOKEN, &role, propagates),
            2 => cfg.grant(&path, "group", random.pick_one(&["ops", "others"]), &role, propagates),
            _ => [("user", USER), ("token", TOKEN)]
                .into_iter()
                .for_each(|(kind, who)| cfg.grant(&path, kind, who, &role, propagates)),
        }
    }
    cfg
}

#[test]
fn audit_agrees_with_proxmox_and_its_script_fixes_all() {
    let mut random = Random(fastrand::Rng::with_seed(0x9e37_79b9_7f4a_7c15));
    let (mut passed, mut mended) = (0, BTreeMap::<u32, usize>::new());
    for case in 0..600 {
        let scope = scope(&mut random);
        let mut cfg = cfg(&mut random, &scope);
        let told = random.one_in(2);
        // NoAccess on a pool overrides what is granted on the storages in it, and nothing shows that to the login.
        let pooled_away = cfg.pools.keys().any(|pool| {
            let path = format!("/pool/{pool}");
            [USER, TOKEN].iter().any(|who| cfg.roles(who, &path).contains_key("NoAccess"))
        });
        for round in 0_u32.. {
            let permissions = cfg.responses(&scope);
            let rows = rows(&scope, &permissions);
            let missing: Vec<&Row> = rows.iter().filter(|row| row.status == Verdict::Missing).collect();
            assert_eq!(missing.is_empty(), all_calls_allowed(&cfg, &scope), "case {case}: {missing:#?}\n{cfg:#?}");
            let acl = cfg.visible_acl();
            let login = Login {
                user: USER,
                token: Some(TOKEN),
                privsep: told.then_some(cfg.privsep),
                roles: Some(&cfg.roles),
                acl: &acl,
            };
            let script = script(&scope, &permissions, &login);
            assert_eq!(script.is_none(), missing.is_empty(), "case {case}");
            let Some(script) = script else {
                passed += usize::from(round == 0);
                *mended.entry(round).or_default() += 1;
                break;
            };
            if pooled_away {
                break;
            }
            // What is not visible may need further rounds: entries in the way, and privileges that come from a pool.
            let all_shown = cfg.is_allowed("Sys.Audit", "/access") && cfg.pools.is_empty();
            let most = if all_shown { 1 } else { 3 };
            assert!(
                round < most,
                "case {case}, round {round}: missing {missing:#?}\n{script}\n{:?} {:?}\n{:?}",
                cfg.privsep,
                cfg.groups,
                cfg.acl
            );
            cfg.run(&script);
        }
    }
    assert!(passed > 20 && mended[&1] > 300, "the cases are worth something: {passed} passed, {mended:?}");
}

/// What is derived from the tree alone matches what Proxmox returns for the path itself.
#[test]
fn tree_agrees_with_the_question_about_each_path() {
    let mut random = Random(fastrand::Rng::with_seed(0x2545_f491_4f6c_dd1d));
    let (mut from_tree, mut left) = (0, 0);
    for case in 0..1000 {
        let scope = scope(&mut random);
        let mut cfg = cfg(&mut random, &scope);
        // An ID that no VM has: Proxmox deletes the entries of a VM with the VM.
        cfg.acl.retain(|(entry, _)| entry.path != "/vms/100");
        let permissions = cfg.responses(&scope);
        for (path, exact) in &permissions.exact {
            let visible = path.starts_with("/vms/") || cfg.is_visible(path);
            let Some(held) = conclusive_privileges(&permissions.tree, path, visible) else {
                left += 1;
                continue;
            };
            assert_eq!(&held, exact, "case {case}: {path}\n{cfg:#?}");
            from_tree += 1;
        }
    }
    assert!(from_tree > 3_000 && left > 1_000, "{from_tree} from the tree, {left} left");
}
