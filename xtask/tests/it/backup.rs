//! Backup, verification and restore in a lab: the restored Omni is the same, and all damage to an archive is detected.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use runtime::files;
use serde_json::Value;

use crate::interrupted::gate::Gate;
use crate::sandbox::Sandbox;

const STATE: &str = ".claude/omni-scale.local.md";

/// A lab whose stack runs, with a gpg key to encrypt for.
fn running() -> Sandbox {
    let mut lab = Sandbox::new();
    lab.set("DOCKER_HOST", Some("tcp://lab"));
    lab.run("stack-up --yes").exits(0);
    lab
}

pub fn docker(lab: &Sandbox, words: &str) {
    let docker = std::env::split_paths(lab.env("PATH")).map(|dir| dir.join("docker")).find(|file| file.exists());
    let status = Command::new(docker.expect("a docker")).args(words.split(' ')).status().expect("it starts");
    assert!(status.success(), "docker {words}");
}

/// Runs a task with a backup, which replaces `{}` in the line with its full path.
fn run(lab: &Sandbox, line: &str, name: &str) -> crate::sandbox::CommandOutput {
    let file = lab.file(&format!("backups/{name}"));
    lab.run(&line.replace("{}", &file.display().to_string()))
}

/// Returns the checksums of the parts of a backup.
fn parts(lab: &Sandbox, file: &str) -> BTreeMap<String, String> {
    let verified = run(lab, "omni-backup-verify {} --json", file);
    let parts = verified.json()["data"]["manifest"]["parts"].as_object().cloned().unwrap_or_default();
    parts.into_iter().map(|(name, part)| (name, part["sha256"].as_str().unwrap_or_default().to_owned())).collect()
}

/// Simulates the loss of the host, except for the archive: volumes, `docker/.env` and configuration.
pub fn lose_host(lab: &Sandbox) {
    lab.run("stack-down --yes").exits(0);
    docker(lab, "volume rm omni-scale_omni-etcd omni-scale_omni-sqlite omni-scale_ts-state");
    for file in ["docker/.env", "docker/omni.asc", ".claude/omni-scale.local.md"] {
        fs::remove_file(lab.file(file)).expect("it was there");
    }
    let _ = fs::remove_file(lab.file("docker/site.yaml"));
    let _ = fs::remove_dir_all(lab.file("docker/site"));
}

#[test]
fn restored_backup_is_the_same_omni() {
    let lab = running();
    let key = lab.read("docker/omni.asc");
    let settings = "features:\n  enableBreakGlassConfigs: true\n";
    lab.write("docker/site.yaml", settings);
    lab.write("docker/site/ca/own.pem", "a certificate\n");
    lab.run("stack-up --yes").exits(0);
    run(&lab, "omni-backup --to {}", "plain.tar.gz").exits(0).says(&["the store key is omitted", "39 machines"]);
    let mode = fs::metadata(lab.file("backups/plain.tar.gz")).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let before = parts(&lab, "plain.tar.gz");
    assert!(before.contains_key("sqlite/omni.db-wal") && !before.contains_key("docker/omni.asc"), "{before:?}");
    lose_host(&lab);
    run(&lab, "omni-restore {} --yes", "plain.tar.gz").exits(4).says(&["docker/omni.asc does not exist"]);
    lab.write("docker/omni.asc", &key);
    run(&lab, "omni-restore {} --dry-run", "plain.tar.gz")
        .exits(3)
        .says(&["create docker/.env", "restore Omni's data"]);
    assert!(!lab.file("docker/.env").exists(), "a dry run wrote it");
    run(&lab, "omni-restore {} --yes", "plain.tar.gz").exits(0).says(&["Omni is restored and answers"]);
    assert_eq!((lab.read("docker/site.yaml").as_str(), lab.read("docker/site/ca/own.pem").len()), (settings, 14));
    lab.run("stack-up --dry-run").exits(0);
    lab.run("omni-verify").exits(0);
    run(&lab, "omni-backup --to {}", "again.tar.gz").exits(0);
    let mut after = parts(&lab, "again.tar.gz");
    // Verification lets SQLite apply its log, so the restored database has no log.
    let database = |all: &mut BTreeMap<String, String>| {
        all.remove("sqlite/omni.db");
        all.remove("sqlite/omni.db-wal")
    };
    let mut wanted = before;
    assert!(database(&mut wanted).is_some());
    database(&mut after);
    assert_eq!(after, wanted, "etcd, the tailnet identity, and every file");
    // It is restored now, so a second restore is refused.
    run(&lab, "omni-restore {} --yes", "plain.tar.gz").exits(1).says(&["this host already has a stack"]);
}

/// Backs up for `recipient`, loses the host, and restores with only `means`.
fn check_encrypted_restore(lab: &Sandbox, name: &str, recipient: &str, means: &str) {
    run(lab, &format!("omni-backup --to {{}} --recipient {recipient}"), name).exits(0).says(&["with the store key"]);
    let sealed = fs::read(lab.file(&format!("backups/{name}"))).expect("it is there");
    let key = lab.read("docker/omni.asc");
    assert!(!String::from_utf8_lossy(&sealed).contains(&key[100..160]), "it is encrypted");
    let mut random = fastrand::Rng::with_seed(19);
    for round in 0..damages() / 8 {
        let mut bytes = sealed.clone();
        damage(&mut random, &mut bytes);
        fs::write(lab.file(&format!("backups/bad-{name}")), bytes).expect("written");
        let ran = run(lab, &format!("omni-backup-verify {{}} {means}"), &format!("bad-{name}"));
        assert!([1, 5].contains(&ran.code), "round {round}: {ran:#?}");
    }
    run(lab, &format!("omni-backup-verify {{}} {means}"), name).exits(0).says(&["the key in the archive"]);
    lose_host(lab);
    run(lab, &format!("omni-restore {{}} {means} --yes"), name).exits(0);
    assert_eq!(lab.read("docker/omni.asc"), key);
}

#[test]
fn gpg_encrypted_backup_has_the_store_key_and_restores_alone() {
    let mut lab = running();
    let home = lab.scratch().join("gnupg");
    fs::create_dir(&home).expect("a directory");
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).expect("it is ours");
    let gpg = |words: &[&str]| Command::new("gpg").env("GNUPGHOME", &home).args(words).status();
    let make =
        ["--batch", "--quiet", "--passphrase", "", "--quick-gen-key", "backup@example.com", "default", "default"];
    if !gpg(&make).is_ok_and(|status| status.success()) {
        eprintln!("SKIP gpg_encrypted_backup_has_the_store_key_and_restores_alone: gpg is not installed");
        return;
    }
    lab.set("GNUPGHOME", Some(&home.display().to_string()));
    let refused = run(&lab, "omni-backup --to {} --recipient nobody@example.com", "x.tar.gz.gpg");
    refused.exits(1).says(&["a recipient cannot be used"]);
    assert!(!lab.file("backups").exists(), "nothing was written");
    check_encrypted_restore(&lab, "x.tar.gz.gpg", "backup@example.com", "--timeout 60s");
    lab.set("GNUPGHOME", None);
    run(&lab, "omni-backup-verify {}", "x.tar.gz.gpg").exits(5).says(&["cannot be decrypted"]);
    let _ = Command::new("gpgconf").env("GNUPGHOME", &home).args(["--kill", "gpg-agent"]).status();
}

#[test]
fn age_encrypted_backup_has_the_store_key_and_restores_alone() {
    let lab = running();
    let identity = |name: &str| {
        let file = lab.scratch().join(name).display().to_string();
        let made = Command::new("age-keygen").args(["-o", &file]).output().ok()?;
        let said = String::from_utf8_lossy(&made.stderr).into_owned();
        Some((file, said.split_whitespace().last()?.to_owned()))
    };
    let (Some((own, recipient)), Some((other, _))) = (identity("own"), identity("other")) else {
        eprintln!("SKIP age_encrypted_backup_has_the_store_key_and_restores_alone: age is not installed");
        return;
    };
    check_encrypted_restore(&lab, "x.tar.gz.age", &recipient, &format!("--identity {own}"));
    run(&lab, &format!("omni-backup-verify {{}} --identity {other}"), "x.tar.gz.age")
        .exits(5)
        .says(&["cannot be decrypted"]);
    run(&lab, "omni-backup-verify {}", "x.tar.gz.age").exits(2).says(&["--identity FILE"]);
    run(&lab, "omni-backup --to {} --recipient age1nonsense", "y.tar.gz.age")
        .exits(1)
        .says(&["a recipient cannot be used"]);
}

fn quiet(program: &str, words: &[&str], dir: &Path) -> Vec<u8> {
    let output = Command::new(program).args(words).current_dir(dir).output().expect("it starts");
    assert!(output.status.success(), "{program} {words:?}: {output:?}");
    output.stdout
}

/// Unpacks an archive with gzip; `None` if gzip rejects it.
fn unpacked(dir: &Path, archive: &[u8]) -> Option<Vec<u8>> {
    fs::write(dir.join("x.gz"), archive).expect("written");
    let output = Command::new("gzip").args(["-dc", "x.gz"]).current_dir(dir).output().expect("it starts");
    output.status.success().then_some(output.stdout)
}

/// Damages the bytes of a file, which may be an archive: a bit, its end, a run of zeros, a gap, or inserted bytes.
fn damage(random: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    let (at, run) = (random.usize(..bytes.len()), random.usize(1..512));
    let end = bytes.len().min(at + run);
    match random.u8(..5) {
        0 => bytes[at] ^= 1 << random.u32(..8),
        1 => bytes.truncate(at),
        2 => bytes[at..end].fill(0),
        3 => drop(bytes.drain(at..end)),
        _ => drop(bytes.splice(at..at, (0..run).map(|_| random.u8(..)).collect::<Vec<_>>())),
    }
}

/// Changes or removes one value of a manifest, at any depth.
fn damage_value(random: &mut fastrand::Rng, value: &mut Value) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let key = map.keys().nth(random.usize(..map.len())).expect("it has one").clone();
            if random.u8(..8) == 0 { drop(map.remove(&key)) } else { damage_value(random, &mut map[&key]) }
        }
        Value::Array(list) if !list.is_empty() => damage_value(random, &mut list[0]),
        Value::Number(number) => *value = (number.as_u64().expect("a number") + random.u64(1..9)).into(),
        Value::String(text) => text.push('0'),
        _ => *value = "0".into(),
    }
}

/// Makes one change in the unpacked backup in `dir`.
fn damage_parts(random: &mut fastrand::Rng, kind: usize, dir: &Path) {
    let names =
        files::list_files(dir).expect("it is there").into_iter().map(|(name, _)| dir.join(name)).collect::<Vec<_>>();
    let (one, other) = (&names[random.usize(..names.len())], &names[random.usize(..names.len())]);
    let bytes = |file: &Path| fs::read(file).expect("it is there");
    match kind {
        0 => fs::remove_file(one).expect("it is ours"),
        1 => {
            let (kept, moved) = (bytes(one), bytes(other));
            fs::write(one, moved).and_then(|()| fs::write(other, kept)).expect("written");
        }
        2 => fs::write(dir.join(format!("docker/{}", random.u32(..))), "x").expect("written"),
        3 => std::os::unix::fs::symlink("env", dir.join("docker/link")).expect("a link"),
        4 => {
            let mut manifest: Value = serde_json::from_slice(&bytes(&dir.join("manifest.json"))).expect("JSON");
            damage_value(random, &mut manifest);
            fs::write(dir.join("manifest.json"), manifest.to_string()).expect("written");
        }
        _ => {
            let mut changed = bytes(one);
            damage(random, &mut changed);
            fs::write(one, changed).expect("written");
        }
    }
}

/// `CORRUPT=200` tries that many random kinds of damage; the default is a few of each kind.
fn damages() -> usize {
    std::env::var("CORRUPT").ok().and_then(|text| text.parse().ok()).unwrap_or(24)
}

#[test]
fn every_damage_of_an_archive_is_detected() {
    let lab = running();
    run(&lab, "omni-backup --to {}", "good.tar.gz").exits(0);
    let (place, dir) = (lab.file("backups"), lab.file("backups/parts"));
    let good = fs::read(place.join("good.tar.gz")).expect("it is there");
    let refused = |what: &str, bytes: &[u8]| {
        fs::write(place.join("bad.tar.gz"), bytes).expect("written");
        let ran = run(&lab, "omni-backup-verify {}", "bad.tar.gz");
        assert_eq!(ran.code, 1, "{what}: {ran:#?}");
        assert_eq!(lab.leftovers(), Vec::<String>::new(), "{what}: scratch files stay");
        ran.exits(1)
    };
    let fresh = || {
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("a directory");
        quiet("tar", &["-xzf", "../good.tar.gz"], &dir);
    };
    let packed = || quiet("tar", &["-cz", "."], &dir);
    fresh();
    let contents = || {
        let names = files::list_files(&dir).expect("it is there").into_iter();
        names.map(|(name, _)| (fs::read(dir.join(&name)).expect("it is there"), name)).collect::<Vec<_>>()
    };
    let (whole, kept) = (unpacked(&place, &good), contents());
    let mut random = fastrand::Rng::with_seed(19);
    for round in 0..damages() {
        let bytes = loop {
            let mut bytes = good.clone();
            if round % 2 == 0 {
                damage(&mut random, &mut bytes);
            } else {
                fresh();
                damage_parts(&mut random, round / 2 % 7, &dir);
                bytes = if contents() == kept { continue } else { packed() };
            }
            // Some bits of a compressed stream have no effect.
            if unpacked(&place, &bytes) != whole {
                break bytes;
            }
        };
        refused(&format!("round {round}"), &bytes);
    }
    refused("empty", b"");
    let foreign = quiet("tar", &["-cz", "docker/.env.example"], &lab.project());
    refused("foreign", &foreign).says(&["manifest.json is missing"]);
    refused("two archives", &[good.as_slice(), &foreign].concat()).says(&["docker/.env.example does not belong"]);
    fresh();
    let manifest: Value = serde_json::from_str(&lab.read("backups/parts/manifest.json")).expect("JSON");
    let with = |what: &str, from: &str, to: &str, says: &str| {
        lab.write("backups/parts/manifest.json", &manifest.to_string().replace(from, to));
        let sum = quiet("sha256sum", &["manifest.json"], &dir);
        fs::write(dir.join("manifest.sha256"), &sum[..64]).expect("written");
        refused(what, &packed()).says(&[says]);
    };
    with("counts", "\"Machines\":39", "\"Machines\":40", "the store does not match the manifest");
    with("newer", "\"format\":2", "\"format\":9", "its format is 9");
    with("older, with the sum of a newer one", "\"format\":2", "\"format\":1", "manifest.json was changed");
    // An archive made before this checksum existed.
    fs::remove_file(dir.join("manifest.sha256")).expect("it is there");
    fs::write(place.join("old.tar.gz"), packed()).expect("written");
    run(&lab, "omni-backup-verify {}", "old.tar.gz").exits(0);
}

/// Kills a task at each of its calls and runs it again, until it succeeds; calls `look` after each kill.
fn kill_at_each_call(lab: &Sandbox, gate: &Gate, words: &[&str], look: impl Fn(&str)) {
    gate.reset();
    for round in 0.. {
        assert!(round < 100, "{words:?} has no end");
        gate.arm();
        let mut running = lab.command(words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let held = gate.wait_for_call(&mut running);
        if held.is_some() {
            running.kill().expect("it is ours");
        }
        let output = running.wait_with_output().expect("it is ours");
        let Some(held) = held else {
            assert!(output.status.success(), "{words:?} in the end: {output:#?}");
            assert!(round > 3, "{words:?} was hardly killed");
            assert_eq!(lab.leftovers(), Vec::<String>::new(), "{words:?}: scratch files stay");
            return gate.open();
        };
        let _ = Command::new("kill").arg("-9").args(&held.pids).stderr(Stdio::null()).status();
        look(&held.words);
    }
}

/// Checks that private files are never readable by others, wherever a run was interrupted.
fn private(lab: &Sandbox, place: &str) {
    for (path, (mode, bytes)) in lab.tree() {
        let text = String::from_utf8_lossy(&bytes);
        let secret = ["PGP PRIVATE KEY", "_machinekey", "OIDC_CLIENT_SECRET="].iter().any(|word| text.contains(word));
        let ours = path.starts_with(lab.state_dir()) || path.starts_with(lab.file("backups"));
        assert!(!(secret && ours) || mode & 0o077 == 0, "{place}: {} has mode {mode:o}", path.display());
    }
}

#[test]
fn kill_in_any_step_leaves_omni_and_the_last_backup_alone() {
    let mut lab = running();
    let gate = Gate::new(&mut lab);
    run(&lab, "omni-backup --to {}", "kept.tar.gz").exits(0);
    let kept = || fs::read(lab.file("backups/kept.tar.gz")).expect("it is there");
    let (before, stack) = (kept(), lab.dump()["docker"]["containers"].clone());
    let file = |name: &str| lab.file(&format!("backups/{name}")).display().to_string();
    kill_at_each_call(&lab, &gate, &["omni-backup", "--to", &file("new.tar.gz")], |place| {
        assert_eq!((kept() == before, &lab.dump()["docker"]["containers"]), (true, &stack), "{place}");
        private(&lab, place);
    });
    let all = || fs::read_dir(lab.file("backups")).expect("it is there").count();
    assert_eq!(all(), 2, "no half backup is left");
    kill_at_each_call(&lab, &gate, &["omni-backup-verify", &file("new.tar.gz")], |place| private(&lab, place));
    let key = lab.read("docker/omni.asc");
    crate::store_keys::write(&lab, "next", "next.asc");
    let next = lab.file("next.asc").display().to_string();
    kill_at_each_call(&lab, &gate, &["omni-key-rotate", "--key", &next, "--yes"], |place| {
        let now = lab.read("docker/omni.asc");
        assert!(now == key || now == lab.read("next.asc"), "{place}: the key is not whole");
        assert!(kept() == before, "{place}: the backup was changed");
        private(&lab, place);
    });
    assert_eq!(lab.read("docker/omni.asc"), lab.read("next.asc"));
    let again = lab.run(&format!("omni-key-rotate --key {next} --yes"));
    assert!(again.code == 0 && !again.stderr.contains("changed"), "{again:#?}");
    run(&lab, "omni-backup --to {}", "rotated.tar.gz").exits(0);
    run(&lab, "omni-backup-verify {}", "rotated.tar.gz")
        .exits(0)
        .says(&["docker/omni.asc, Omni (etcd encryption) <next@example.com>"]);
    fs::remove_file(lab.file("backups/rotated.tar.gz")).expect("it is there");
    lose_host(&lab);
    lab.write("docker/omni.asc", &key);
    kill_at_each_call(&lab, &gate, &["omni-restore", &file("kept.tar.gz"), "--yes"], |place| private(&lab, place));
    lab.run("omni-verify").exits(0);
    assert_eq!((kept() == before, all()), (true, 2));
}

/// Runs a task with a disk that is nearly full, with more space each time, until it fits; calls `look` after each failure.
fn full_disk(lab: &Sandbox, line: &str, look: impl Fn(&str)) {
    let mut fits = Vec::new();
    // The largest file is the snapshot of etcd, which has 88 blocks.
    for blocks in [0, 1, 4, 8, 12, 20, 40, 80, 87, 1000] {
        let _ = fs::remove_file(lab.journal());
        let ran = lab.run_limited(blocks, line);
        assert_eq!(lab.leftovers(), Vec::<String>::new(), "{line}, {blocks}: {ran:#?}");
        fits.push(ran.code == 0);
        if ran.code == 0 {
            break;
        }
        assert_eq!(ran.stderr.matches("error: ").count(), 1, "{line}, {blocks}: {ran:#?}");
        look(&format!("{line}, {blocks}: {ran:#?}"));
    }
    assert_eq!((fits.len() > 6, fits.last()), (true, Some(&true)), "{line}: {fits:?}");
}

#[test]
fn disk_that_is_full_at_any_byte_leaves_no_half_backup_and_no_lost_key() {
    let lab = running();
    run(&lab, "omni-backup --to {}", "kept.tar.gz").exits(0);
    let kept = || fs::read(lab.file("backups/kept.tar.gz")).expect("it is there");
    let (before, note) = (kept(), lab.read(STATE));
    let file = |name: &str| lab.file(&format!("backups/{name}")).display().to_string();
    full_disk(&lab, &format!("omni-backup --to {}", file("new.tar.gz")), |place| {
        assert!(kept() == before && lab.read(STATE) == note, "{place}: the last backup or its note was changed");
        assert_eq!(fs::read_dir(lab.file("backups")).expect("it is there").count(), 1, "{place}");
    });
    full_disk(&lab, &format!("omni-backup-verify {}", file("new.tar.gz")), |_| {});
    let key = lab.read("docker/omni.asc");
    crate::store_keys::write(&lab, "next", "next.asc");
    full_disk(&lab, &format!("omni-key-rotate --key {} --yes", lab.file("next.asc").display()), |place| {
        assert_eq!(lab.read("docker/omni.asc"), key, "{place}");
        assert_eq!(lab.dump()["docker"]["containers"].as_array().map(Vec::len), Some(2), "{place}: Omni runs on");
    });
    lose_host(&lab);
    lab.write("docker/omni.asc", &key);
    full_disk(&lab, &format!("omni-restore {} --yes", file("kept.tar.gz")), |place| {
        assert!(kept() == before, "{place}")
    });
    lab.run("omni-verify").exits(0);
}
