use super::*;

/// A storage as the older form sees it.
struct Old {
    storage: String,
    node: &'static str,
    kind: &'static str,
    avail: u64,
    on: bool,
}

/// Storages of every type with names, nodes and free space of many kinds; what is off has no free space.
fn storages() -> Vec<Old> {
    let mut random = fastrand::Rng::with_seed(0x2545_f491_4f6c_dd1d);
    let mut below = |most: u64| random.u64(..most);
    let names = ["vm_ssd", "local-lvm", "local", "tank", "ceph-fast", "it's", "nas1"];
    let kinds = ["rbd", "lvmthin", "zfspool", "dir", "nfs", "lvm", "cephfs"];
    let sizes = [1, 100, 1_000, 100_000_000_000, 107_374_182_400, 107_374_182_401, 1 << 50];
    (0..500)
        .map(|_| {
            let on = below(4) > 0;
            Old {
                storage: names[below(7) as usize].to_owned(),
                node: ["pve1", "pve2"][below(2) as usize],
                kind: kinds[below(7) as usize],
                avail: if on { sizes[below(7) as usize] } else { 0 },
                on,
            }
        })
        .collect()
}

/// What becomes of a selector, and what it meant.
type Case = (&'static str, &'static str, fn(&Old) -> bool);

fn ssd(s: &Old) -> bool {
    s.kind == "rbd" && s.storage == "vm_ssd"
}

const FILTERED: &[Case] = &[
    (
        r#"storage.filter(s, s.type == "rbd" && s.storage == "vm_ssd")[0].storage"#,
        r#"storageType == "rbd" && name == "vm_ssd""#,
        ssd,
    ),
    (
        r#"storage.filter(s, s.storage == "vm_ssd" && s.type == "rbd")[0].storage"#,
        r#"name == "vm_ssd" && storageType == "rbd""#,
        ssd,
    ),
    (
        r#"storage.filter(s, "rbd" == s.type && "vm_ssd" == s.storage)[0].storage"#,
        r#""rbd" == storageType && "vm_ssd" == name"#,
        ssd,
    ),
    (
        "storage.filter(s, s.type == 'rbd' && s.storage == 'vm_ssd')[0].storage",
        "storageType == 'rbd' && name == 'vm_ssd'",
        ssd,
    ),
    (
        r#"  storage . filter( s , s . type=="rbd"&&s.storage=="vm_ssd" ) [ 0 ] . storage  "#,
        r#"storageType=="rbd"&&name=="vm_ssd""#,
        ssd,
    ),
    (
        "storage.filter(s,\n  s.type == \"rbd\" &&\n  s.storage == \"vm_ssd\"\n)[0].storage\n",
        "storageType == \"rbd\" &&\n  name == \"vm_ssd\"",
        ssd,
    ),
    (
        r#"(storage.filter(s, s.type == "rbd" && s.storage == "vm_ssd")[0].storage)"#,
        r#"storageType == "rbd" && name == "vm_ssd""#,
        ssd,
    ),
    (
        r#"storages.filter(item, item.type == "rbd" && item.storage == "vm_ssd")[0].storage"#,
        r#"storageType == "rbd" && name == "vm_ssd""#,
        ssd,
    ),
    (
        r#"storage.filter(type, type.type == "rbd" && type.storage == "vm_ssd")[0].storage"#,
        r#"storageType == "rbd" && name == "vm_ssd""#,
        ssd,
    ),
    (
        r#"storage.filter(s, s["type"] == "rbd" && s['storage'] == "vm_ssd")[0]["storage"]"#,
        r#"storageType == "rbd" && name == "vm_ssd""#,
        ssd,
    ),
    (
        r#"storage.filter(s, s.type == "rbd").filter(t, t.storage == "vm_ssd")[0].storage"#,
        r#"(storageType == "rbd") && (name == "vm_ssd")"#,
        ssd,
    ),
    (
        r#"storage.filter(s, s.type == "rbd" || s.type == "zfspool").filter(s, s.avail > 100)[0].storage"#,
        r#"(storageType == "rbd" || storageType == "zfspool") && (availableSpace > 100u)"#,
        |s| (s.kind == "rbd" || s.kind == "zfspool") && s.avail > 100,
    ),
    (
        r#"storage.filter(s, s.type == "rbd" && s.storage == "vm_ssd").map(s, s.storage)[0]"#,
        r#"storageType == "rbd" && name == "vm_ssd""#,
        ssd,
    ),
    (
        r#"storage.filter(s, s.type == "rbd" && s.name == "vm_ssd")[0].name"#,
        r#"storageType == "rbd" && name == "vm_ssd""#,
        ssd,
    ),
    (r#"storage.filter(s, s.type == "zfspool")[0]"#, r#"storageType == "zfspool""#, |s| s.kind == "zfspool"),
    (r#"storage.filter(s, s.type == "zfspool").first().storage"#, r#"storageType == "zfspool""#, |s| {
        s.kind == "zfspool"
    }),
    (r#"storage.filter(s, s.type == "zfspool")"#, r#"storageType == "zfspool""#, |s| s.kind == "zfspool"),
    (r#"storage.find(s, s.type == "lvmthin").storage"#, r#"storageType == "lvmthin""#, |s| s.kind == "lvmthin"),
    (r#"storages.exists(s, s.type in ["zfspool", "dir"])"#, r#"storageType in ["zfspool", "dir"]"#, |s| {
        matches!(s.kind, "zfspool" | "dir")
    }),
    (r#"storage.filter(s, s.type == "nfs").size() > 0"#, r#"storageType == "nfs""#, |s| s.kind == "nfs"),
    (r#"size(storage.filter(s, s.type == "nfs")) >= 1"#, r#"storageType == "nfs""#, |s| s.kind == "nfs"),
    (r#"storage.filter(s, s.plugintype == "lvmthin")[0].storage"#, r#"storageType == "lvmthin""#, |s| {
        s.kind == "lvmthin"
    }),
    (r#"storage.filter(s, s.storageType == "lvmthin")[0].storage"#, r#"storageType == "lvmthin""#, |s| {
        s.kind == "lvmthin"
    }),
    (r#"storage.filter(x, x.storage == "local-lvm")[0].storage"#, r#"name == "local-lvm""#, |s| {
        s.storage == "local-lvm"
    }),
    (r#"storage.filter(s, s.storage == "it's")[0].storage"#, r#"name == "it's""#, |s| s.storage == "it's"),
    (r#"storage.filter(s, s.storage != "local")[0].storage"#, r#"name != "local""#, |s| s.storage != "local"),
    (r#"storage.filter(s, !(s.storage == "local"))[0].storage"#, r#"!(name == "local")"#, |s| s.storage != "local"),
    (r#"storage.filter(s, s.storage.startsWith("ceph"))[0].storage"#, r#"name.startsWith("ceph")"#, |s| {
        s.storage.starts_with("ceph")
    }),
    (r#"storage.filter(s, s.storage.matches("^(ceph|tank)"))[0].storage"#, r#"name.matches("^(ceph|tank)")"#, |s| {
        s.storage.starts_with("ceph") || s.storage.starts_with("tank")
    }),
    (
        r#"storage.filter(s, s.node == "pve1" && s.type.contains("lvm"))[0].storage"#,
        r#"node == "pve1" && storageType.contains("lvm")"#,
        |s| s.node == "pve1" && s.kind.contains("lvm"),
    ),
    (
        r#"storage.filter(s, ["rbd", "cephfs"].exists(t, s.type == t))[0].storage"#,
        r#"["rbd", "cephfs"].exists(t, storageType == t)"#,
        |s| matches!(s.kind, "rbd" | "cephfs"),
    ),
    (
        r#"storage.filter(s, s.type == "s.enabled" || s.storage == "tank")[0].storage"#,
        r#"storageType == "s.enabled" || name == "tank""#,
        |s| s.storage == "tank",
    ),
];

const FLAGS_AND_SPACE: &[Case] = &[
    (
        r#"storage.filter(s, s.type == "lvmthin" && s.enabled && s.active)[0].storage"#,
        r#"storageType == "lvmthin" && availableSpace > 0u"#,
        |s| s.kind == "lvmthin" && s.on,
    ),
    (
        r#"storage.filter(s, s.enabled && s.type == "lvmthin" && s.active)[0].storage"#,
        r#"availableSpace > 0u && storageType == "lvmthin" && availableSpace > 0u"#,
        |s| s.kind == "lvmthin" && s.on,
    ),
    (
        r#"storage.filter(s, s.enabled == true && s.node == "pve1")[0].storage"#,
        r#"availableSpace > 0u && node == "pve1""#,
        |s| s.on && s.node == "pve1",
    ),
    (
        r#"storage.filter(s, true == s.enabled && s.node == "pve1")[0].storage"#,
        r#"availableSpace > 0u && node == "pve1""#,
        |s| s.on && s.node == "pve1",
    ),
    (
        r#"storage.filter(s, s.type == "dir" && 1 == s.active)[0].storage"#,
        r#"storageType == "dir" && availableSpace > 0u"#,
        |s| s.on && s.kind == "dir",
    ),
    ("storage.filter(s, s.active == 1)[0].storage", "availableSpace > 0u", |s| s.on),
    ("storage.filter(s, s.active != 0 && s.enabled != false)[0].storage", "availableSpace > 0u", |s| s.on),
    ("storage.filter(s, s.active > 0)[0].storage", "availableSpace > 0u", |s| s.on),
    (
        r#"storage.filter(s, (s.enabled && s.active) && (s.type == "rbd" || s.type == "zfspool"))[0].storage"#,
        r#"(availableSpace > 0u) && (storageType == "rbd" || storageType == "zfspool")"#,
        |s| s.on && matches!(s.kind, "rbd" | "zfspool"),
    ),
    (
        r#"storage.filter(s, s["enabled"] && s.type == "rbd")[0].storage"#,
        r#"availableSpace > 0u && storageType == "rbd""#,
        |s| s.on && s.kind == "rbd",
    ),
    (
        r#"storage.filter(s, s.type == "zfspool" && s.avail > 100000000000)[0].storage"#,
        r#"storageType == "zfspool" && availableSpace > 100000000000u"#,
        |s| s.kind == "zfspool" && s.avail > 100_000_000_000,
    ),
    ("storage.filter(s, 107374182400 < s.avail)[0].storage", "107374182400u < availableSpace", |s| {
        s.avail > 107_374_182_400
    }),
    (
        "storage.filter(s, s.avail >= 100 * 1024 * 1024 * 1024)[0].storage",
        "availableSpace >= 100u * 1024u * 1024u * 1024u",
        |s| s.avail >= 107_374_182_400,
    ),
    (
        "storage.filter(s, s.avail / 1024 / 1024 / 1024 > 100)[0].storage",
        "availableSpace / 1024u / 1024u / 1024u > 100u",
        |s| s.avail / 1024 / 1024 / 1024 > 100,
    ),
    ("storage.filter(s, s.avail > 1e11)[0].storage", "availableSpace > 100000000000u", |s| s.avail > 100_000_000_000),
    ("storage.filter(s, s.avail > 100.0)[0].storage", "availableSpace > 100u", |s| s.avail > 100),
    ("storage.filter(s, s.available > 1000u)[0].storage", "availableSpace > 1000u", |s| s.avail > 1000),
    ("storage.filter(s, int(s.avail) > 1000)[0].storage", "int(availableSpace) > 1000", |s| s.avail > 1000),
    ("storage.filter(s, s.avail > uint(1000))[0].storage", "availableSpace > uint(1000)", |s| s.avail > 1000),
    ("storage.filter(s, s.avail > 0)[0].storage", "availableSpace > 0u", |s| s.avail > 0),
    (
        r#"storage.filter(s, s.avail == 0 || s.type == "dir")[0].storage"#,
        r#"availableSpace == 0u || storageType == "dir""#,
        |s| s.avail == 0 || s.kind == "dir",
    ),
    // One storage at a time, under the name of the list.
    (r#"storage.type == "rbd" && storage.storage == "vm_ssd""#, r#"storageType == "rbd" && name == "vm_ssd""#, ssd),
    (r#"storage.name == "vm_ssd" && storage.type == "rbd""#, r#"name == "vm_ssd" && storageType == "rbd""#, ssd),
    (r#"storage["type"] == "rbd" && name == "vm_ssd""#, r#"storageType == "rbd" && name == "vm_ssd""#, ssd),
    (
        r#"node == "pve1" && storage.avail > 100 && storage.active"#,
        r#"node == "pve1" && availableSpace > 100u && availableSpace > 0u"#,
        |s| s.node == "pve1" && s.avail > 100,
    ),
];

#[test]
fn older_selectors_are_converted_exactly() {
    let storages = storages();
    for (old, new, meant) in FILTERED.iter().chain(FLAGS_AND_SPACE) {
        let got = selector(old).unwrap_or_else(|| panic!("{old}: not seen as the older form")).expect(old);
        assert_eq!(got.text, *new, "{old}");
        assert!(!got.why.is_empty());
        assert_eq!(selector(&got.text), None, "{old}: it is no longer of the older form");
        let program = selector::compile(&got.text).expect(old);
        let (mut yes, mut no) = (0, 0);
        for s in &storages {
            let shown =
                selector::Storage { name: &s.storage, node: s.node, storage_type: s.kind, available_space: s.avail };
            assert_eq!(program.matches(&shown).expect(old), meant(s), "{old}: {} {} {}", s.storage, s.kind, s.avail);
            *if meant(s) { &mut yes } else { &mut no } += 1;
        }
        assert!(yes > 0 && no > 0, "{old}: nothing was told apart");
    }
}

#[test]
fn selectors_without_equivalent_are_refused() {
    for (old, why) in [
        ("storage.max(s, s.avail).storage", "picks by size"),
        ("storage.sortBy(s, s.avail)[0].storage", "picks by size"),
        (r#"storage.filter(s, s.type == "rbd").sortBy(s, s.avail)[0].storage"#, "no counterpart"),
        (r#"storage.filter(s, s.content.contains("images"))[0].storage"#, "`s.content` is not available"),
        (r#"storage.filter(s, "images" in s.content)[0].storage"#, "`s.content` is not available"),
        ("storage.filter(s, s.shared == 1)[0].storage", "`s.shared` is not available"),
        ("storage.filter(s, s.total - s.used > 100)[0].storage", "`s.total` is not available"),
        ("storage.filter(s, s.used_fraction < 0.5)[0].storage", "`s.used_fraction` is not available"),
        (r#"storage.filter(s, s["content"] == "images")[0].storage"#, "`s.content` is not available"),
        (r#"storage.filter(s, s.type == "rbd")[1].storage"#, "no counterpart"),
        (r#"storage.filter(s, s.type == "rbd")[-1].storage"#, "no counterpart"),
        (r#"storage.filter(s, s.type == "rbd")[0].id"#, "no counterpart"),
        (r#"storage.filter(s, s.type == "rbd")[0].storage == "vm_ssd""#, "no counterpart"),
        (r#"storage.filter(s, s.type == "rbd").size() > 1"#, "no counterpart"),
        (r#"storage.filter(s, s.type == "rbd").size() == 1"#, "no counterpart"),
        (r#"storage.exists_one(s, s.type == "rbd")"#, "one storage at a time"),
        (r#"storage.all(s, s.type == "rbd")"#, "one storage at a time"),
        ("storage.filter(s, !s.enabled)[0].storage", "the opposite of `s.enabled`"),
        ("storage.filter(s, !(s.enabled && s.active))[0].storage", "the opposite of `s.enabled`"),
        ("storage.filter(s, s.enabled == false)[0].storage", "compared with `s.enabled`"),
        ("storage.filter(s, s.enabled == s.active)[0].storage", "compared with `s.enabled`"),
        (r#"storage.filter(s, s.enabled ? s.type == "rbd" : s.type == "dir")[0].storage"#, "compared with `s.enabled`"),
        (r#"storage.filter(s, s.enabled in [true])[0].storage"#, "compared with `s.enabled`"),
        ("storage.size() > 1", "one storage at a time"),
        ("storage.filter(s, s)[0].storage", "as a value"),
        ("storage.filter(s, true)[0].storage", "first"),
        ("storage.filter(s, 1 == 1)[0].storage", "first"),
        ("storage[0].storage", "first"),
        ("storage[0]", "first"),
        ("storages[0].name", "first"),
        ("storage.first().storage", "first"),
        ("storage.map(s, s.storage)[0]", "first"),
        (r#"name == "a" || storage.exists(s, s.type == "rbd")"#, "in the midst"),
        (r#"storage.filter(s, s.type == "rbd")[0].storage || true"#, "no counterpart"),
        (r#"storage.filter(s, s.type.lowerAscii() == "rbd")[0].storage"#, "does not compile"),
        (r#"storage.filter(s, s.avail > "100")[0].storage"#, "does not compile"),
        ("storage.filter(s, s.avail > -1)[0].storage", "does not compile"),
        ("storage.filter(s, s.avail > 0.5)[0].storage", "does not compile"),
        ("storage.filter(s, s.avail > 100GB)[0].storage", "does not compile"),
        (r#"storage.filter(s, s.type = "rbd")[0].storage"#, ""),
    ] {
        match selector(old) {
            Some(Err(reason)) => assert!(reason.contains(why), "{old}: {reason}"),
            // What is not made of tokens at all is nobody's form.
            None => assert!(why.is_empty(), "{old}: not seen as the older form"),
            Some(Ok(new)) => panic!("{old} became {}", new.text),
        }
    }
    for other in
        [r#"name == "local-lvm""#, "storage", r#"name == "storage.filter(s, s.enabled)""#, "", "storage.filter("]
    {
        assert!(!matches!(selector(other), Some(Ok(_))), "{other}");
    }
}
