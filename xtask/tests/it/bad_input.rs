//! Bad input to the real binary: every kind of file that a task reads, invalid in every possible way. The result is an error,
//! never a panic, and never takes more than 200 MB or 2 s of work.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::sandbox::{MeasuredRun, Scratch, kill, measured, outside, root, wait_for};

const MOST_KIB: u64 = 200 * 1024;
const LONGEST: Duration = Duration::from_secs(2);
const TEMPLATE: &str = "kind: Cluster\nname: a\nkubernetes: {version: v1.36.2}\ntalos: {version: v1.13.5}\n---\nkind: ControlPlane\nmachineClass: {name: cp, size: 3}\n";

/// A kind of file: its name, its path, and the task that reads it.
const KINDS: &[(&str, &str, &[&str])] = &[
    ("class", "machine-classes/x.yaml", &["machineclass-check", "machine-classes/x.yaml", "--offline"]),
    ("template", "clusters/x.yaml", &["cluster-check", "clusters/x.yaml", "--offline"]),
    ("patch", "clusters/p.yaml", &["cluster-check", "clusters/patched.yaml", "--offline"]),
    (".env", "docker/.env", &["cluster-status"]),
    ("config", "docker/config.yaml", &["proxmox-inventory"]),
    ("state", ".claude/omni-scale.local.md", &["provider-status"]),
    ("policy", "policy.json", &["tsidp-verify", "--policy", "policy.json"]),
    ("storages", "s.json", &["selector-test", "true", "--offline", "--storages", "s.json"]),
    ("inventory", "i.json", &["cluster-plan", "ok", "--inventory", "i.json"]),
];

/// Contents that no reader should get, most of them larger than any real file.
fn contents() -> Vec<(&'static str, Vec<u8>)> {
    let full = |unit: &str, bytes: usize| unit.repeat(bytes / unit.len()).into_bytes();
    let bomb: String = ('b'..='j')
        .map(|c| format!("{c}: &{c} [{}]\n", vec![format!("*{}", (c as u8 - 1) as char); 9].join(",")))
        .collect();
    let noise: Vec<u8> = (0..65_536_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    vec![
        ("binary", noise),
        ("nothing but NUL", vec![0; 1000]),
        ("10 MB of lines", full("a: b\n", 10 << 20)),
        ("10 MB of brackets", full("[", 10 << 20)),
        ("1 MB of braces", full("{a: ", 1 << 20)),
        ("1 MB of line feeds", full("\n", 1 << 20)),
        ("deep JSON", [full("[", 400_000), full("]", 400_000)].concat()),
        ("a bomb of anchors", format!("a: &a [x,x,x,x,x,x,x,x,x]\n{bomb}").into_bytes()),
        ("a cycle of aliases", b"a: &a [*a]\n".to_vec()),
        ("the same key twice", b"a: 1\na: 2\n".to_vec()),
        ("Windows line endings", b"a: b\r\nc: d\r\n".to_vec()),
        ("a byte order mark", b"\xef\xbb\xbfa: b\n".to_vec()),
        ("no UTF-8", b"a: \xff\xfe\n".to_vec()),
        ("an open quote", b"\"".to_vec()),
        ("a schema in circles", br##"{"$defs":{"v1alpha1.Config":{"anyOf":[{"$ref":"#/$defs/v1alpha1.Config"},{"$ref":"#/$defs/v1alpha1.Config"}]}}}"##.to_vec()),
    ]
}

/// Runs the runner in a project, without any programs on its PATH, and within the limits. Returns its exit code and both streams.
#[track_caller]
fn run(project: &Path, words: &[&str]) -> (i32, String) {
    let mut command = outside(env!("CARGO_BIN_EXE_xtask"), project);
    command.env("PATH", "/nowhere").args(words).args(["--json", "--project-dir"]).arg(project);
    let MeasuredRun { ran, peak_kib, worked, .. } = measured(&mut command, project);
    assert!(worked <= LONGEST && peak_kib <= MOST_KIB, "{words:?}: {worked:?} of work, {} MiB", peak_kib / 1024);
    (ran.code, ran.stdout + &ran.stderr)
}

/// Creates a project without any of the files in [`KINDS`].
fn project(project: &Path) {
    for dir in ["docker", "machine-classes", "clusters", ".claude"] {
        fs::create_dir_all(project.join(dir)).expect("a scratch directory");
    }
    for file in ["docker/compose.yaml", "docker/no-providers.yaml"] {
        fs::copy(root().join(file), project.join(file)).expect("a file of the kit");
    }
    let patched = |patches: &str| TEMPLATE.replacen("---", &format!("patches:\n  - {patches}\n---"), 1);
    fs::write(project.join("clusters/patched.yaml"), patched("file: p.yaml")).expect("a scratch file");
    let inline = patched("{name: a, inline: {machine: {sysctls: {a: b}}}}");
    fs::write(project.join("clusters/ok.yaml"), inline).expect("a scratch file");
    let class = fs::read_to_string(root().join("machine-classes/dev-small.yaml")).expect("a class of the kit");
    fs::write(project.join("machine-classes/cp.yaml"), class.replace("id: dev-small", "id: cp"))
        .expect("a scratch file");
}

#[test]
fn pipes_directories_and_devices_are_refused() {
    let scratch = Scratch::new();
    let at = scratch.path();
    project(at);
    for (kind, file, words) in KINDS {
        for (what, why) in [
            ("pipe", "it is a pipe, not a file"),
            ("directory", "it is a directory, not a file"),
            ("device", "it is a device, not a file"),
            ("circle of links", "symbolic links"),
        ] {
            let place = at.join(file);
            match what {
                "pipe" => {
                    let made = Command::new("mkfifo").arg(&place).status().expect("coreutils");
                    assert!(made.success());
                }
                "directory" => fs::create_dir(&place).expect("a scratch directory"),
                "device" => std::os::unix::fs::symlink("/dev/zero", &place).expect("a link"),
                _ => std::os::unix::fs::symlink(&place, &place).expect("a link"),
            }
            let (code, said) = run(at, words);
            // A device is outside the template's directory, where patches are not allowed, and so is every absolute link.
            let linked = *kind == "patch" && matches!(what, "device" | "circle of links");
            let expected = if linked { "is outside of" } else { why };
            let shown = || said.chars().take(600).collect::<String>();
            assert_eq!(code, 1, "{kind}, {what}: {}", shown());
            assert!(said.contains(expected), "{kind}, {what}: {}", shown());
            assert!(said.contains(file.rsplit('/').next().expect("a name")), "{kind}, {what}: {}", shown());
            fs::remove_file(&place).or_else(|_| fs::remove_dir(&place)).expect("it was there");
        }
    }
}

#[test]
fn bad_files_cause_no_panic_growth_or_hang() {
    let scratch = Scratch::new();
    let project = scratch.path();
    self::project(project);
    let contents = contents();
    for (kind, file, words) in KINDS {
        for (what, bytes) in &contents {
            fs::write(project.join(file), bytes).expect("a scratch file");
            let (code, said) = run(project, words);
            let shown = || said.chars().take(600).collect::<String>();
            assert!((0..=5).contains(&code), "{kind}, {what}: exit {code}: {}", shown());
            assert!(!said.contains("panicked"), "{kind}, {what}: {}", shown());
        }
        fs::remove_file(project.join(file)).expect("it was there");
    }
}

/// Logs from other systems: wide characters are read, compression is reported, and an interrupt ends a read that is waiting.
#[test]
fn triage_reads_text_of_other_systems() {
    let scratch = Scratch::new();
    project(scratch.path());
    let log = scratch.path().join("odd.log");
    let sample = "TASK ERROR: can't lock file '/var/lock/qemu-server/lock-4711.conf' - got timeout";
    for (mark, of) in [([0xff, 0xfe], u16::to_le_bytes as fn(u16) -> [u8; 2]), ([0xfe, 0xff], u16::to_be_bytes)] {
        let wide = format!("ok\r\n{sample}\r\n").encode_utf16().flat_map(of).collect::<Vec<u8>>();
        fs::write(&log, [&mark[..], &wide].concat()).expect("a scratch file");
        let (code, said) = run(scratch.path(), &["triage", "odd.log"]);
        assert!(code == 0 && said.contains("\"id\":\"machine-vm-locked\",\"line\":2"), "{said}");
    }
    fs::write(&log, [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]).expect("a scratch file");
    let (code, said) = run(scratch.path(), &["triage", "odd.log"]);
    assert!(code == 1 && said.contains("\"code\":\"invalid\"") && said.contains("zcat"), "{said}");

    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["triage", "-"]).current_dir(scratch.path()).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut reading = command.spawn().expect("the runner starts");
    // Time to start reading; an earlier interrupt would end the task as well.
    std::thread::sleep(Duration::from_millis(300));
    kill("INT", reading.id());
    wait_for("it still reads", || reading.try_wait().expect("it is ours").is_some());
    assert_eq!(reading.wait().expect("it is ours").code(), Some(130));
}
