use super::*;
use domain::spec::machine_class::MachineClass;

/// What every class of these tests says, unless the case says it itself.
const REST: &[(&str, &str)] =
    &[("cpu", "4"), ("memory", "8192"), ("diskSize", "40"), ("storageSelector", "name == \"local-lvm\"")];

fn older(lines: &[&str]) -> String {
    let means = |line: &str, key: &str| {
        known(line.split(':').next().unwrap_or_default(), KEYS).map(|k| k.name) == known(key, KEYS).map(|k| k.name)
    };
    let rest = REST.iter().filter(|(key, _)| !lines.iter().any(|line| means(line, key)));
    let config: String = rest
        .map(|(key, value)| format!("    {key}: {value}\n"))
        .chain(lines.iter().map(|l| format!("    {l}\n")))
        .collect();
    format!(
        "apiVersion: infrastructure.omni.siderolabs.io/v1alpha1\nkind: MachineClass\nmetadata:\n  name: old\nspec:\n  type: auto-provision\n  provider: proxmox\n  config:\n{config}"
    )
}

/// What comes of a file: the provider data of each class, and every change as `what (why)`.
fn converted(text: &str) -> Result<(String, Vec<String>, Vec<MachineClass>), Vec<String>> {
    match classes("old.yaml", text.as_bytes()) {
        Outcome::Converted { text, changes } => {
            let checked = machine_class::check("new.yaml", text.as_bytes(), &machine_class::ClassContext::default());
            let errors: Vec<_> = checked.findings.iter().filter(|finding| finding.is_error()).collect();
            assert!(errors.is_empty(), "{errors:?}\n{text}");
            assert_eq!(classes("new.yaml", text.as_bytes()), Outcome::Unchanged, "{text}");
            let words = changes.into_iter().map(|change| format!("{} ({})", change.what, change.why)).collect();
            Ok((text, words, checked.value.unwrap_or_default()))
        }
        Outcome::Refused(findings) => {
            Err(findings.into_iter().map(|f| format!("{}: {}", f.place, f.message)).collect())
        }
        Outcome::Unchanged => panic!("not seen as the older form:\n{text}"),
    }
}

#[test]
fn converted_values_keep_their_meaning() {
    for (lines, wanted) in [
        (&["memory: 8Gi"][..], "memory: 8192"),
        (&["memory: 8GiB"], "memory: 8192"),
        (&["memory: '8 Gi'"], "memory: 8192"),
        (&["memory: 8192Mi"], "memory: 8192"),
        (&["memory: 8388608Ki"], "memory: 8192"),
        (&["memory: 8192"], "memory: 8192"),
        (&["memory: \"8192\""], "memory: 8192"),
        (&["ram: 8192"], "memory: 8192"),
        (&["mem: 8Gi"], "memory: 8192"),
        (&["diskSize: 40"], "disk_size: 40"),
        (&["diskSize: 40Gi"], "disk_size: 40"),
        (&["diskSize: 40960Mi"], "disk_size: 40"),
        (&["diskSize: 1Ti"], "disk_size: 1024"),
        (&["diskSize: '40'"], "disk_size: 40"),
        (&["disk_size: 40"], "disk_size: 40"),
        (&["disk: 40Gi"], "disk_size: 40"),
        (&["cpu: 4"], "cores: 4"),
        (&["cpus: 4"], "cores: 4"),
        (&["vcpus: \"4\""], "cores: 4"),
        (&["cores: 4"], "cores: 4"),
        (&["CPU: 4"], "cores: 4"),
        (&["sockets: 2"], "sockets: 2"),
        (&["diskSsd: true"], "disk_ssd: true"),
        (&["diskSSD: true"], "disk_ssd: true"),
        (&["disk-ssd: true"], "disk_ssd: true"),
        (&["diskSsd: \"true\""], "disk_ssd: true"),
        (&["diskSsd: yes"], "disk_ssd: true"),
        (&["diskDiscard: 'off'"], "disk_discard: false"),
        (&["diskIOThread: true"], "disk_iothread: true"),
        (&["diskCache: none"], "disk_cache: none"),
        (&["diskAIO: io_uring"], "disk_aio: io_uring"),
        (&["cpuType: host"], "cpu_type: host"),
        (&["machineType: q35"], "machine_type: q35"),
        (&["networkBridge: vmbr1"], "network_bridge: vmbr1"),
        (&["bridge: vmbr1"], "network_bridge: vmbr1"),
        (&["network: vmbr1"], "network_bridge: vmbr1"),
        (&["vlan: 20"], "vlan: 20"),
        (&["vlan: \"20\""], "vlan: 20"),
        (&["node: pve1"], "node: pve1"),
        (
            &["storageSelector: storage.filter(s, s.type == 'rbd' && s.storage == 'vm_ssd')[0].storage"],
            "storage_selector: storageType == 'rbd' && name == 'vm_ssd'",
        ),
        (
            &["storageSelector: >-", "  storage.filter(s,", "  s.storage == \"a\")[0].storage"],
            "storage_selector: name == \"a\"",
        ),
        (
            &["storageSelector: |", "  storage.filter(s, s.storage == \"a\")[0].storage"],
            "storage_selector: name == \"a\"",
        ),
        (
            &[
                "additionalDisks:",
                "  - diskSize: 100Gi",
                "    storageSelector: storage.filter(s, s.storage == \"big\")[0].storage",
                "    diskSSD: true",
            ],
            "additional_disks:\n        - disk_size: 100\n          storage_selector: name == \"big\"\n          disk_ssd: true",
        ),
        (
            &["additionalNics: [{bridge: vmbr1, vlan: \"7\"}, {bridge: vmbr2}]"],
            "additional_nics:\n        - bridge: vmbr1\n          vlan: 7\n        - bridge: vmbr2",
        ),
        (
            &["machineType: q35", "pciDevices:", "- mapping: gpu", "  primaryGPU: true"],
            "pci_devices:\n        - mapping: gpu\n          primary_gpu: true",
        ),
        (&["tags: [a, b]"], "tags:\n        - a\n        - b"),
    ] {
        let text = older(lines);
        let (new, changes, _) = converted(&text).unwrap_or_else(|why| panic!("{lines:?}: {why:?}"));
        assert!(new.contains(&format!("      {wanted}\n")), "{lines:?}\n{new}");
        // Whatever stands there otherwise than it was written is explained.
        let first = wanted.lines().next().unwrap_or_default();
        let key = first.split(':').next().unwrap_or_default();
        assert!(
            lines.contains(&first)
                || lines[0].starts_with(first)
                || changes
                    .iter()
                    .any(|c| c.contains(key) || c.contains(lines[0].split(':').next().unwrap_or_default())),
            "{lines:?}: {changes:?}"
        );
    }
}

#[test]
fn ambiguous_values_are_refused() {
    for (lines, why) in [
        (&["memory: 8GB"][..], "`8GB` is not an exact size"),
        (&["memory: 8G"], "`8G` is not an exact size"),
        (&["memory: 8192MB"], "`8192MB` is not an exact size"),
        (&["memory: 8.5Gi"], "`8.5Gi` is not an exact size"),
        (&["memory: 8e3"], "`8e3` is not an exact size"),
        (&["memory: 8gb"], "`8gb` is not an exact size"),
        (&["memory: lots"], "`lots` is not an exact size"),
        (&["memory:"], "is not an exact size"),
        (&["memory: [8192]"], "is not an exact size"),
        (&["memory: 8"], "what comes of it is refused: config value \".memory\": must be at least 2048"),
        (&["memory: -8192"], "what comes of it is refused"),
        (&["memory: 99999999999999999999Gi"], "is not an exact size"),
        (&["diskSize: 40GB"], "`40GB` is not an exact size"),
        (&["diskSize: 100Mi"], "`100Mi` is not an exact size"),
        (&["diskSize: 3"], "must be at least 5"),
        (&["cpu: four"], "`cpu: four` is not a whole number"),
        (&["cpu: 2.5"], "`cpu: 2.5` is not a whole number"),
        (&["cpu: 0"], "must be at least 1"),
        (&["cpu: 4", "cores: 4"], "`cpu` and `cores` are both the provider's `cores`"),
        (&["diskSsd: maybe"], "`diskSsd: maybe` is neither true nor false"),
        (&["diskCache: fast"], "must be one of"),
        (&["machineType: i440fx"], "Proxmox refuses `machine_type: i440fx`"),
        (&["vlan: 5000"], "Proxmox takes VLAN tags"),
        (&["gpu: 1"], "`gpu` has no counterpart"),
        (&["additionalDisks: [{diskSize: 10}]"], "what comes of it is refused"),
        (&["additionalDisks: [{size: 10, storageSelector: 'true'}]"], "`size` has no counterpart"),
        (&["additionalNics: vmbr1"], "what comes of it is refused"),
        (&["storageSelector: storage.max(s, s.avail).storage"], "picks by size"),
        (&["storageSelector: storage[0].storage"], "picks the first storage"),
        (&["storageSelector: local-lvm"], "what comes of it is refused: the selector does not compile"),
        (&["storageSelector: ''"], "what comes of it is refused"),
    ] {
        let text = older(lines);
        let refused = converted(&text).err().unwrap_or_else(|| panic!("{lines:?} was converted"));
        assert!(refused.iter().any(|r| r.contains(why)), "{lines:?}: {refused:?}");
        assert!(refused.iter().all(|r| r.starts_with("old.yaml:") && !r.starts_with("old.yaml:0")), "{refused:?}");
    }
}

#[test]
fn class_metadata_is_kept_or_refused() {
    let plain = older(&[]);
    let with = |from: &str, to: &str| {
        assert!(plain.contains(from), "{from}");
        plain.replace(from, to)
    };
    let head = "metadata:\n  namespace: default\n  type: MachineClasses.omni.sidero.dev\n  id: old\n";
    for (text, wanted) in [
        (plain.clone(), head),
        (plain.replace('\n', "\r\n"), head),
        (format!("\u{feff}{plain}"), head),
        (format!("---\n{plain}---\n"), head),
        (format!("# head\n{plain}"), "# head\nmetadata:\n"),
        (format!("# head\n---\n# more\n{plain}"), "# head\n# more\nmetadata:\n"),
        (with("apiVersion: infrastructure.omni.siderolabs.io/v1alpha1\n", ""), head),
        (with("v1alpha1", "v1beta1"), head),
        (with("kind: MachineClass\n", ""), head),
        (with("  type: auto-provision\n", ""), "providerid: proxmox\n"),
        (with("auto-provision", "autoProvision"), "providerid: proxmox\n"),
        (with("  provider: proxmox\n", ""), "providerid: proxmox\n"),
        (with("provider: proxmox", "provider: 'site a'"), "providerid: site a\n"),
        (with("  name: old\n", "  labels: {env: prod}\n  name: old\n"), "  id: old\n  labels:\n    env: prod\n"),
        (with("  name: old\n", "  name: \"old\"\n  namespace: omni\n"), head),
        (with("  name: old\n", "  name: old\n  annotations:\n    a/b: \"1\"\n"), "  annotations:\n    a/b: '1'\n"),
        (
            format!("{plain}---\n{}", plain.replace("name: old", "name: other")),
            "---\nmetadata:\n  namespace: default\n  type: MachineClasses.omni.sidero.dev\n  id: other\n",
        ),
    ] {
        let (new, _, found) = converted(&text).unwrap_or_else(|why| panic!("{why:?}\n{text}"));
        assert!(new.contains(wanted), "{text}\n{new}");
        assert!(!found.is_empty());
    }
    for (text, why) in [
        (with("  name: old\n", "  labels: {}\n"), "no `metadata.name`"),
        (with("  name: old\n", "  name: old\n  generateName: x\n"), "`generateName` of metadata"),
        (with("kind: MachineClass\n", "kind: MachineClass\nstatus: {}\n"), "`status` of the class"),
        (with("provider: proxmox", "provider: {name: proxmox}"), "`provider` is not a name"),
        (with("provider: proxmox", "providerID: proxmox"), "`providerID` of spec"),
        (with("provider: proxmox", "provider: proxmox\n  machineClass: x"), "`machineClass` of spec"),
        (with("auto-provision", "static"), "`type: static` has no counterpart"),
        (plain.split("  config:").next().unwrap().to_owned(), "no `config`"),
        (with("  config:\n", "  config: |\n"), "`config` is not a mapping"),
        (with("    cpu: 4\n", ""), "nothing says `cores`"),
        (plain.split("spec:").next().unwrap().to_owned(), "no `spec`"),
        (format!("{plain}---\nmetadata: {{}}\nspec: {{}}\n"), "next to a document of another form"),
        (with("    cpu: 4\n", "    cpu: 4\n    cpu: 5\n"), "is already defined"),
    ] {
        let refused = converted(&text).err().unwrap_or_else(|| panic!("converted:\n{text}"));
        assert!(refused.iter().any(|r| r.contains(why)), "{why}: {refused:?}");
    }
}

#[test]
fn lost_comments_are_reported() {
    let text = older(&["# a line", "cpu: 4 # sockets?"]) + "# the end\n";
    let (new, changes, _) = converted(&text).unwrap();
    assert!(!new.contains('#'), "{new}");
    for comment in ["left out: # a line", "left out: # sockets?", "left out: # the end"] {
        assert!(changes.iter().any(|change| change.starts_with(comment)), "{comment}: {changes:?}");
    }
}

/// Selectors of the older form inside classes of the real one: nothing else may change.
#[test]
fn selectors_are_replaced_in_place() {
    let class = |data: &str| {
        format!(
            "# kept\nmetadata: {{namespace: default, type: MachineClasses.omni.sidero.dev, id: a}}\nspec:\n  autoprovision:\n    providerid: proxmox\n{data}"
        )
    };
    let old = r#"storage.filter(s, s.storage == "a")[0].storage"#;
    let block = |selector: &str| {
        class(&format!(
            "    providerdata: |\n      cores: 4 # kept\n      sockets: 1\n      memory: 8192\n      disk_size: 40\n      storage_selector: {selector}\n"
        ))
    };
    for (written, wanted) in [
        (old.to_owned(), r#"name == "a""#),
        (format!("'{old}'"), r#"name == "a""#),
        (format!("{old} # kept"), r#"name == "a" # kept"#),
        (old.replace('"', "'"), "name == 'a'"),
        (format!("\"{}\" # kept", old.replace('"', "\\\"")), r#"name == "a" # kept"#),
    ] {
        for end in ["\n", "\r\n"] {
            let (new, _, _) =
                converted(&block(&written).replace('\n', end)).unwrap_or_else(|why| panic!("{written}: {why:?}"));
            assert_eq!(new, block(wanted).replace('\n', end), "{written}");
        }
    }
    // Where the text of the value is not that of the file, the place of the selector is not known.
    for data in [
        format!(
            "    providerdata: \"cores: 4\\nsockets: 1\\nmemory: 8192\\ndisk_size: 40\\nstorage_selector: '{}'\\n\"\n",
            old.replace('"', "\\\"")
        ),
        format!("    providerdata: >\n      cores: 4\n\n      storage_selector: {old}\n"),
        format!("    providerdata: 'storage_selector: {old}'\n").replace("a\")", "a\")"),
        format!("    providerdata: |\n      storage_selector: >-\n        {old}\n"),
        format!(
            "    providerdata: |\n      storage_selector: &x {old}\n      additional_disks: [{{disk_size: 1, storage_selector: *x}}]\n"
        ),
        format!("    providerdata: |\n      storage_selector: !!str {old}\n"),
    ] {
        let text = class(&data);
        match classes("old.yaml", text.as_bytes()) {
            Outcome::Refused(findings) => assert!(findings.iter().all(|f| f.rule == "convert-refused"), "{findings:?}"),
            Outcome::Converted { text: new, .. } => {
                let value = |text: &str| {
                    let class = parse_stream("x", &yaml::load("x", text.as_bytes())).value.unwrap().remove(0);
                    class.auto_provision.unwrap().provider_data
                };
                assert_eq!(value(&new), value(&text).replace(old, r#"name == "a""#), "{data}\n{new}");
            }
            Outcome::Unchanged => panic!("{data}"),
        }
    }
}
