//! Sends malformed input to all of the lab's interfaces except Proxmox: the stand-ins' arguments and files, Omni's front and
//! the control socket. Everything must be rejected with a message, without panics or hangs, and the lab must keep running.
//!
//! Limited and reproducible by default; `FUZZ_COUNT=2000 FUZZ_SEED=7 cargo test -p lab --test stand_ins fuzz` runs more cases.
#![allow(clippy::unwrap_used)] // a test that cannot continue should panic

mod harness;
#[path = "harness/random.rs"]
mod random;

use std::io::Read as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use harness::{CLASS, Lab, cluster};
use random::{Random, cases, exchange};

const OMNICTL: &str = "get apply delete cluster template sync status validate kubeconfig infraprovider serviceaccount \
    create renew renewkey list destroy clusters machines ms rd sysversion links nonsense demo worker -o json \
    table -o= -n infra-provider -l omni.sidero.dev/cluster=demo !,,= -f cluster.yaml class.yaml missing.yaml \
    . /dev/null -- - --- -v -d -q --all --version --help --role Admin --use-user-role=false \
    --use-user-role=maybe --insecure-skip-tls-verify x --unknown-flag -zzz %s%n \u{1F980}";
const DOCKER: &str = "compose -f docker/compose.yaml missing.yaml --profile provider ps up -d down -v logs --tail --tail=-1 20 \
    99999999999999999999 restart config --format json {{ {{.ID}} --all version info inspect exec volume ls \
    run proxmox-provider nonsense --no-color --since yesterday -- - --project-name --env-file /dev/null \
    \u{1F980} --wait -zzz";

/// Whether a call may wait indefinitely, like that of the real program.
fn may_wait(argv: &[String]) -> bool {
    argv.iter().any(|arg| arg.starts_with("-w") || arg.starts_with("--w") || arg.starts_with("-f") || arg == "exec")
        || argv.iter().any(|arg| ["status", "run", "delete", "sync"].contains(&arg.as_str()))
}

fn fuzz_calls(lab: &Lab, program: &str, words: &str, count: u64) {
    let words: Vec<&str> = words.split(' ').chain(["", "Bad Name", "a in ("]).collect();
    let (count, mut random) = cases(program, count);
    for number in 0..count {
        let mut argv: Vec<String> = (0..random.next(8)).map(|_| random.pick(&words).to_owned()).collect();
        if !argv.is_empty() && random.next(4) == 0 {
            let damaged = random.next(argv.len());
            let at = random.next(argv[damaged].chars().count() + 1);
            let mut chars: Vec<char> = argv[damaged].chars().collect();
            chars.insert(at, ['-', '=', '\u{7f}', '\n', '"', '\u{10FFFF}'][random.next(6)]);
            argv[damaged] = chars.into_iter().collect();
        }
        let args: Vec<&str> = argv.iter().map(String::as_str).collect();
        let shown = format!("case {number}: {program} {argv:?}");
        let mut child = lab.command(program, &args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let reader = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let limit = Duration::from_millis(if may_wait(&argv) { 300 } else { 20_000 });
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if begun.elapsed() > limit {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let said = reader.join().unwrap();
        assert!(!said.contains("panicked at"), "{shown}: {said}");
        match status {
            Some(status) => {
                let code = status.code().unwrap_or_else(|| panic!("{shown}: {status}: {said}"));
                assert!([0, 1, 2, 16, 64, 125].contains(&code), "{shown}: {code}: {said}");
                assert!(code == 0 || !said.is_empty(), "{shown}: it fails and says nothing");
            }
            None => assert!(may_wait(&argv), "{shown} hangs"),
        }
    }
    let sound = lab.omnictl("get clusters -o json");
    assert_eq!(sound.code, 0, "the lab does not answer any more: {sound:?}");
}

#[test]
fn fuzz_omnictl_arguments() {
    let lab = Lab::start(&["--clock", "2000"]);
    lab.project.write("class.yaml", CLASS);
    lab.project.write("cluster.yaml", &cluster(1, 0));
    fuzz_calls(&lab, "omnictl", OMNICTL, 150);
}

#[test]
fn fuzz_docker_arguments() {
    let lab = Lab::start(&["--clock", "2000"]);
    lab.up();
    fuzz_calls(&lab, "docker", DOCKER, 100);
}

/// Damages a text: changes bytes, truncates it, and copies or removes pieces.
fn damage(random: &mut Random, text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.next(5) {
        let at = random.next(bytes.len());
        match random.next(5) {
            0 => bytes[at] = b":-{}[]\"'&*!|>%@`#\t\n\0\xff"[random.next(21)],
            1 => bytes.truncate(at.max(1)),
            2 => bytes.insert(at, random.next(256) as u8),
            3 => {
                let piece = bytes[at..(at + random.next(40)).min(bytes.len())].to_vec();
                let to = random.next(bytes.len());
                bytes.splice(to..to, piece);
            }
            _ => drop(bytes.splice(at..(at + random.next(20)).min(bytes.len()), [])),
        }
        if bytes.is_empty() {
            bytes.push(b'\n');
        }
    }
    bytes
}

#[test]
fn fuzz_omnictl_files() {
    let lab = Lab::start(&["--clock", "2000"]);
    let (count, mut random) = cases("files", 120);
    let template = cluster(3, 2) + "patches:\n  - name: a\n    inline:\n      machine: {install: {disk: /dev/sda}}\n";
    for number in 0..count {
        let (text, call) = match number % 3 {
            0 => (CLASS, "apply -f damaged.yaml"),
            1 => (template.as_str(), "cluster template validate -f damaged.yaml"),
            _ => (template.as_str(), "cluster template sync --dry-run -f damaged.yaml"),
        };
        let bytes = damage(&mut random, text);
        std::fs::write(lab.project.0.join("damaged.yaml"), &bytes).unwrap();
        let output = lab.command("omnictl", &call.split(' ').collect::<Vec<_>>()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let shown = format!("case {number}: {call}\n{}\n{said}", String::from_utf8_lossy(&bytes));
        assert!(!said.contains("panicked at"), "{shown}");
        // 2 is the exit code of the real program's panic on an empty document, which the stand-in prints as Go does.
        assert!(matches!(output.status.code(), Some(0..=2)), "{shown}");
    }
}

#[test]
fn fuzz_control_socket_and_front() {
    let lab = Lab::start(&["--clock", "2000"]);
    let text = std::fs::read_to_string(lab.dir.0.join("lab/lab.json")).unwrap();
    let handle: serde_json::Value = serde_json::from_str(&text).unwrap();
    let (control, token) = (handle["control"].as_str().unwrap(), handle["token"].as_str().unwrap());
    let front = lab.ready["omni_domain"].as_str().unwrap();
    let (count, mut random) = cases("doors", 300);
    let asks = [
        r#"{"Start":{"program":"omnictl","argv":["get","clusters"]}}"#,
        r#"{"Omni":{"key":null,"call":{"Get":{"typ":"T","namespace":"n","id":"i"}}}}"#,
        r#"{"Omni":{"key":"x","call":"ListServiceAccounts"}}"#,
        r#"{"Change":{"after":18446744073709551615,"within_ms":1}}"#,
        r#""Dump""#,
        "[[[[[[[[[[[[[[[[[[[[",
        "{\"a\":1e999}",
    ];
    for number in 0..count {
        let ask = asks[random.next(asks.len())];
        let mut line = format!("{token:?}\n").into_bytes();
        match random.next(3) {
            0 => line.extend(damage(&mut random, ask)),
            1 => line = damage(&mut random, &format!("{token:?}\n{ask}\n")),
            _ => line = damage(&mut random, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"),
        }
        let shown = format!("case {number}: {}", String::from_utf8_lossy(&line));
        exchange(control, &line).unwrap_or_else(|| panic!("control hangs: {shown}"));
        // Omni's front speaks TLS and closes other connections.
        exchange(front, &line).unwrap_or_else(|| panic!("the front hangs: {shown}"));
    }
    assert_eq!(lab.omnictl("get clusters").code, 0);
    assert!(lab.dump()["omni"]["clusters"].as_array().unwrap().is_empty());
}
