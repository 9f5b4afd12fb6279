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

/// Peak memory of this process in MiB, from the kernel; 0 where there is none.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or_default() / 1024
}

#[test]
#[ignore = "prints figures"]
fn bench_bad_input() {
    let full = |unit: &str| unit.repeat((1 << 20) / unit.len());
    let data = |text: String| {
        let head = "metadata:\n  namespace: default\n  type: MachineClasses.omni.sidero.dev\n  id: a\nspec:\n  autoprovision:\n    providerid: p\n    providerdata: |\n";
        format!("{head}      {text}\n")
    };
    for (name, text) in [
        ("brackets", full("[")),
        ("commas", format!("[{}", full("a,"))),
        ("braces", full("{a: ")),
        ("dashes", full("- ")),
        ("questions", full("? ")),
        ("anchors", full("- &a b\n")),
        ("documents", full("--- a\n")),
        ("keys", (0..80_000).map(|n| format!("k{n}: v\n")).collect()),
        ("same keys", full("k: v\n")),
        ("one line", format!("a: {}", full("x"))),
        ("quoted", format!("a: \"{}\"", full("x\\n"))),
        ("block", format!("a: |\n{}", full("  x\n"))),
        ("comments", full("# x\n")),
        ("line feeds", full("\n")),
        ("tags", full("- !a b\n")),
        ("wide text", format!("a: {}", full("é"))),
        ("data with brackets", data(full("[").chars().take(900_000).collect())),
        ("data with keys", data((0..60_000).map(|n| format!("k{n}: v\n      ")).collect())),
        (
            "data with a selector",
            data(format!("storage_selector: {}", full("(").chars().take(90_000).collect::<String>())),
        ),
        ("data with a long selector", data(format!("storage_selector: {}true", "true && ".repeat(12_000)))),
    ] {
        let text: String = text.chars().take((1 << 20) - 10).collect();
        let started = Instant::now();
        let class = xtask::check::machine_class::check("a.yaml", text.as_bytes(), &Default::default());
        let one = started.elapsed();
        let template = xtask::check::template::check("a.yaml", text.as_bytes(), &Default::default());
        let found = (class.findings.len(), template.findings.len());
        println!(
            "{name}: {} bytes, class {one:?}, template {:?}, findings {found:?}, peak {} MiB",
            text.len(),
            started.elapsed() - one,
            peak_mib()
        );
    }
}

/// A file as an operator would have it, with something of its own.
fn class_text(n: usize) -> String {
    include_str!("../../../machine-classes/matrix-worker.yaml").replace("matrix-worker", &format!("worker-{n}"))
}

fn template_text(n: usize) -> String {
    let text = include_str!("../../../clusters/matrix.yaml").replace("name: matrix\n", &format!("name: matrix-{n}\n"));
    text.replacen("---", "patches:\n  - name: sysctls\n    inline:\n      machine:\n        sysctls:\n          vm.max_map_count: \"262144\"\n---", 1)
}

#[test]
#[ignore = "prints figures"]
fn bench_files() {
    use xtask::check::{machine_class, side_by_side, template};
    for count in [1_000, 10_000] {
        let classes: Vec<(String, String)> =
            (0..count).map(|n| (format!("machine-classes/worker-{n}.yaml"), class_text(n))).collect();
        let templates: Vec<(String, String)> =
            (0..count).map(|n| (format!("clusters/matrix-{n}.yaml"), template_text(n))).collect();
        let bytes: usize = classes.iter().chain(&templates).map(|(_, t)| t.len()).sum();
        let started = Instant::now();
        let a =
            side_by_side(&classes, |(f, t)| machine_class::check(f, t.as_bytes(), &Default::default()).findings.len());
        let b = side_by_side(&templates, |(f, t)| template::check(f, t.as_bytes(), &Default::default()).findings.len());
        let found: usize = a.iter().chain(&b).sum();
        println!(
            "{count} classes + {count} templates ({bytes} bytes): {:?}, {found} findings, peak {} MiB",
            started.elapsed(),
            peak_mib()
        );
    }
}
