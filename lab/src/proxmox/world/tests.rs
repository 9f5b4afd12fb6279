use super::disk::{is_iso, parse_volname, split_volid};
use super::vm::{default_boot, is_drive, size_text};
use super::*;

fn lab() -> World {
    World::lab(DEFAULT_TOKEN_SECRET).unwrap()
}

#[test]
fn a_drive_is_read_and_written() {
    let drive = Drive::parse("local-lvm:40,ssd=1,discard=on").unwrap();
    assert_eq!(drive.new_disk(), Some((Some("local-lvm"), 40.0)));
    assert_eq!(drive.to_string(), "local-lvm:40,discard=on,ssd=1");
    let iso = Drive::parse("local:iso/x.iso,media=cdrom").unwrap();
    assert!(iso.is_cdrom() && iso.new_disk().is_none());
    assert_eq!(Drive::parse("file=local:9").unwrap().new_disk(), Some((Some("local"), 9.0)));
    for (text, size) in [("local-lvm:vm-100-disk-0", None), ("local:inf", None), ("a:1e9", None)] {
        assert_eq!(Drive::parse(text).unwrap().new_disk(), size, "{text}");
    }
    assert_eq!(Drive::parse("ssd=1"), None);
}

#[test]
fn names_tell_what_a_volume_is() {
    assert_eq!(split_volid("local:iso/x.iso"), Some(("local", "iso/x.iso")));
    assert_eq!(split_volid("no-colon"), None);
    assert_eq!(parse_volname(StorageKind::Dir, "iso/x.iso"), Some(("iso", None)));
    assert_eq!(parse_volname(StorageKind::Dir, "iso/x.exe"), None);
    assert_eq!(parse_volname(StorageKind::Dir, "100/vm-100-disk-0.raw"), Some(("images", Some(100))));
    assert_eq!(parse_volname(StorageKind::LvmThin, "vm-100-disk-0"), Some(("images", Some(100))));
    assert_eq!(parse_volname(StorageKind::Rbd, "iso/x.iso"), None);
    let backup = "backup/vzdump-qemu-100-2026_01_01-00_00_00.vma.zst";
    assert_eq!(parse_volname(StorageKind::Dir, backup), Some(("backup", Some(100))));
    assert!(is_iso("a.ISO") && is_iso("b.img") && !is_iso(".iso"));
    assert!(is_drive("scsi30") && !is_drive("scsi31") && !is_drive("scsihw"));
}

#[test]
fn sizes_take_their_largest_exact_unit() {
    assert_eq!(
        [size_text(40 * GIB), size_text(1536 << 20), size_text(51_200), size_text(7)],
        ["40G", "1536M", "50K", "7"]
    );
}

#[test]
fn the_first_of_each_is_booted() {
    let mut config = Config::new();
    for (option, value) in
        [("scsi0", "a:vm-1-disk-0"), ("ide2", "local:iso/x.iso,media=cdrom"), ("net0", "virtio,bridge=vmbr0")]
    {
        config.insert(option.into(), value.into());
    }
    assert_eq!(default_boot(&config), "order=scsi0;ide2;net0");
}

#[test]
fn a_full_storage_refuses_disks_in_the_words_of_its_kind() {
    let mut world = lab();
    assert_eq!(world.allocate("local-lvm", "pve1", 100, 9000 * GIB, 0).unwrap(), "local-lvm:vm-100-disk-0");
    assert_eq!(world.allocate("local-lvm", "pve1", 100, GIB, 0).unwrap(), "local-lvm:vm-100-disk-1");
    assert!(world.fill_storage("local-lvm", 0) && world.fill_storage("vm_ssd", 0));
    let full = world.allocate("local-lvm", "pve1", 101, GIB, 0).unwrap_err();
    assert!(full.contains("Cannot create new thin volume"), "{full}");
    let full = world.allocate("vm_ssd", "pve1", 101, GIB, 0).unwrap_err();
    assert!(full.starts_with("error with cfs lock 'storage-vm_ssd': rbd create"), "{full}");

    assert!(world.free_volume("pve1", "local-lvm:vm-100-disk-0"));
    assert!(!world.free_volume("pve1", "local-lvm:vm-100-disk-0"));
}

#[test]
fn a_storage_says_why_it_cannot_be_used() {
    let mut world = lab();
    world.storages.get_mut("local").unwrap().disabled = true;
    world.storages.get_mut("vm_ssd").unwrap().nodes = Some(["pve1".to_owned()].into());
    let why = |world: &World, id, node| world.usable_storage(id, node).map(|_| ()).unwrap_err();
    assert_eq!(why(&world, "gone", "pve1"), "storage 'gone' does not exist");
    assert_eq!(why(&world, "local", "pve1"), "storage 'local' is disabled");
    assert_eq!(why(&world, "vm_ssd", "pve2"), "storage 'vm_ssd' is not available on node 'pve2'");
}

#[test]
fn a_guest_that_runs_takes_memory_and_fills_its_disk() {
    let mut world = World::sized(1, 1, 3, DEFAULT_TOKEN_SECRET).unwrap();
    world.power_off(100);
    world.take_events();
    let before = world.loads()["pve1"];
    world.power_on(100, 1_800_000_000);
    let after = world.loads()["pve1"];
    assert_eq!((after.memory, after.cpus), (before.memory + 2 * GIB, before.cpus + 2));
    assert_eq!(world.volume("pve1", "local-lvm:vm-100-disk-0").unwrap().used, 6 * GIB);
    world.power_on(100, 1_800_000_001);
    let events = world.take_events();
    assert_eq!(events.len(), 1);
    assert!(events[0].running && events[0].cidata.is_none() && events[0].uuid.len() == 36);
}

#[test]
fn the_large_world_has_what_was_asked_for() {
    let world = World::sized(64, 10_000, 500, DEFAULT_TOKEN_SECRET).unwrap();
    assert_eq!((world.nodes.len(), world.vms.len(), world.storages.len()), (64, 10_000, 500));
    let ips: BTreeSet<&str> = world.nodes.values().map(|node| node.ip.as_str()).collect();
    assert_eq!(ips.len(), 64);
}

#[test]
fn versions_know_what_they_tell() {
    let mut world = lab();
    for (version, tells) in [("9.0.10", true), ("9.1.5", false), ("9.2.11", false), ("8.4.1", true)] {
        world.version = version.into();
        assert_eq!(world.tells_why_not_authenticated(), tells, "{version}");
    }
}

#[test]
fn a_dump_holds_no_secret() {
    let mut world = lab();
    world.change_token(PROVIDER_TOKEN, |token| token.secret = "canary".into());
    let dump = world.dump().to_string();
    assert!(!dump.contains("canary") && !dump.contains(DEFAULT_ROOT_PASSWORD), "{dump}");
    assert!(!format!("{:?}", world.keys).contains("Key("));
}

#[test]
fn guests_go_down_with_their_node_and_come_up_if_told_to() {
    let mut world = World::sized(2, 4, 3, DEFAULT_TOKEN_SECRET).unwrap();
    world.vms.get_mut(&100).unwrap().config.insert("onboot".into(), "1".into());
    let seen = |world: &mut World| -> Vec<(u32, bool)> {
        world.take_events().into_iter().map(|event| (event.vmid, event.running)).collect()
    };
    assert!(world.set_node_online("pve1", false) && world.set_node_online("pve1", false));
    assert_eq!(seen(&mut world), [(100, false), (102, false)]);
    assert!(world.set_node_online("pve1", true));
    assert_eq!(seen(&mut world), [(100, true)]);
    assert!(!world.set_node_online("pve9", false));
}
