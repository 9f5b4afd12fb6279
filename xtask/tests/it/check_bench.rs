//! Benchmarks that print figures: `cargo test -p xtask --test it bench -- --ignored --nocapture`.

use std::time::Instant;

use xtask::check::cel::{Storage, compile};

#[test]
#[ignore = "prints figures"]
fn bench_selectors() {
    let names: Vec<String> = (0..500).map(|n| format!("pool-{n}")).collect();
    let nodes: Vec<String> = (0..64).map(|n| format!("pve{n}")).collect();
    for selector in [
        "storageType == \"rbd\" && name == \"vm_ssd\"",
        "name.matches(\"^pool-[0-9]+$\") && availableSpace > 100u",
        "[\"pool-1\", \"pool-2\"].exists(p, p == name)",
    ] {
        let started = Instant::now();
        let program = compile(selector).expect("valid");
        let of = |node| move |name| Storage { name, node, storage_type: "rbd", available_space: 1 << 40 };
        let storages: Vec<Storage<'_>> =
            nodes.iter().flat_map(|node| names.iter().map(|n| n.as_str()).map(of(node))).collect();
        let matched = program.matches_all(&storages).into_iter().filter(|m| *m == Ok(true)).count();
        println!("500 storages x 64 nodes: {:?} ({matched} match) {selector}", started.elapsed());
    }
}
