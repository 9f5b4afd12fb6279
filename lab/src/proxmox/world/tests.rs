use super::*;

fn lab() -> World {
    World::lab(DEFAULT_TOKEN_SECRET).unwrap()
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
