//! Backup, verification and restore in a lab: the restored Omni is the same, and every damage of an archive is detected.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::sandbox::Sandbox;

/// A lab whose stack runs, with a gpg key to encrypt to.
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

/// Runs a task with a backup, `{}` in the line, by its whole path.
fn run(lab: &Sandbox, line: &str, name: &str) -> crate::sandbox::CommandOutput {
    let file = lab.file(&format!("backups/{name}"));
    lab.run(&line.replace("{}", &file.display().to_string()))
}

/// The checksums of the parts of a backup.
fn parts(lab: &Sandbox, file: &str) -> BTreeMap<String, String> {
    let verified = run(lab, "omni-backup-verify {} --json", file);
    let parts = verified.json()["data"]["manifest"]["parts"].as_object().cloned().unwrap_or_default();
    parts.into_iter().map(|(name, part)| (name, part["sha256"].as_str().unwrap_or_default().to_owned())).collect()
}

/// The host is lost but for the archive: volumes, `docker/.env` and configuration.
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
    run(&lab, "omni-backup --to {}", "plain.tar.gz").exits(0).says(&["the store key is left out", "39 machines"]);
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
    // It is here now: once more is one too many.
    run(&lab, "omni-restore {} --yes", "plain.tar.gz").exits(1).says(&["a stack is here already"]);
}

/// Backs up to `recipient`, loses the host, and restores with `means` alone.
fn restores_from_encrypted(lab: &Sandbox, name: &str, recipient: &str, means: &str) {
    run(lab, &format!("omni-backup --to {{}} --recipient {recipient}"), name).exits(0).says(&["with the store key"]);
    let sealed = fs::read(lab.file(&format!("backups/{name}"))).expect("it is there");
    let key = lab.read("docker/omni.asc");
    assert!(!String::from_utf8_lossy(&sealed).contains(&key[100..160]), "it is encrypted");
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
    restores_from_encrypted(&lab, "x.tar.gz.gpg", "backup@example.com", "--timeout 60s");
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
    restores_from_encrypted(&lab, "x.tar.gz.age", &recipient, &format!("--identity {own}"));
    run(&lab, &format!("omni-backup-verify {{}} --identity {other}"), "x.tar.gz.age")
        .exits(5)
        .says(&["cannot be decrypted"]);
    run(&lab, "omni-backup-verify {}", "x.tar.gz.age").exits(2).says(&["--identity FILE"]);
    run(&lab, "omni-backup --to {} --recipient age1nonsense", "y.tar.gz.age")
        .exits(1)
        .says(&["a recipient cannot be used"]);
}

/// What gzip makes of an archive; `None` if it does not take it.
fn unpacked(file: &Path, archive: &[u8]) -> Option<Vec<u8>> {
    fs::write(file, archive).expect("written");
    let output = Command::new("gzip").arg("-dc").arg(file).output().expect("it starts");
    output.status.success().then_some(output.stdout)
}

#[test]
fn every_damage_of_an_archive_is_detected() {
    let lab = running();
    run(&lab, "omni-backup --to {}", "good.tar.gz").exits(0);
    let good = fs::read(lab.file("backups/good.tar.gz")).expect("it is there");
    let refused = |what: &str, bytes: &[u8]| {
        fs::write(lab.file("backups/bad.tar.gz"), bytes).expect("written");
        let ran = run(&lab, "omni-backup-verify {}", "bad.tar.gz");
        assert_eq!(ran.code, 1, "{what}: {ran:#?}");
        ran.exits(1)
    };
    let mut random = fastrand::Rng::with_seed(19);
    for round in 0..60 {
        let mut bytes = good.clone();
        if round % 4 == 0 {
            bytes.truncate(random.usize(..bytes.len()));
        } else {
            // Before it, gzip notes a time and a system, which are not read.
            let at = random.usize(10..bytes.len());
            bytes[at] ^= 1 << random.u32(..8);
            // Some bits of a compressed stream stand for nothing.
            let file = lab.file("backups/bad.tar.gz");
            if unpacked(&file, &bytes) == unpacked(&file, &good) {
                continue;
            }
        }
        refused(&format!("round {round}"), &bytes);
    }
    refused("empty", b"");
    // Archives that are whole, and are not the backup.
    let dir = lab.file("parts");
    let tar = |flag: &str, file: &str, dir: &Path| {
        let status = Command::new("tar")
            .args([flag, file, "-C"])
            .arg(dir)
            .args((flag == "-czf").then_some("."))
            .current_dir(lab.project())
            .status();
        assert!(status.expect("it starts").success(), "tar {flag} {file}");
    };
    fs::create_dir(&dir).expect("a directory");
    tar("-xzf", "backups/good.tar.gz", &dir);
    let manifest: Value = serde_json::from_str(&lab.read("parts/manifest.json")).expect("JSON");
    let names: Vec<String> = manifest["parts"].as_object().expect("a map").keys().cloned().collect();
    let packed = |what: &str| {
        tar("-czf", "backups/packed.tar.gz", &dir);
        refused(what, &fs::read(lab.file("backups/packed.tar.gz")).expect("it is there"))
    };
    for name in names.iter().map(String::as_str).chain(["manifest.json"]) {
        let (place, kept) = (dir.join(name), fs::read(dir.join(name)).expect("it is there"));
        fs::remove_file(&place).expect("it is ours");
        packed(name).says(&[&format!("{name} is missing")]);
        let changed: Vec<u8> = kept.iter().rev().copied().collect();
        fs::write(&place, changed).expect("written");
        packed(name).says(&[name]);
        fs::write(&place, kept).expect("written");
    }
    lab.write("parts/extra", "x");
    packed("extra").says(&["extra does not belong to the backup"]);
    fs::remove_file(dir.join("extra")).expect("it is ours");
    lab.write("parts/manifest.json", &manifest.to_string().replace("\"Machines\":39", "\"Machines\":40"));
    packed("counts").says(&["the store is not the one of the manifest"]);
    lab.write("parts/manifest.json", &manifest.to_string().replace("\"format\":1", "\"format\":9"));
    packed("newer").says(&["its format is 9"]);
}

#[test]
fn keep_removes_only_older_backups_of_its_own_names() {
    let lab = running();
    let old = [
        "omni-scale-20200105T000000Z.tar.gz",
        "omni-scale-20200106T000000Z.tar.gz.gpg",
        "omni-scale-20200106T010000Z.tar.gz",
    ];
    for name in old.into_iter().chain(["notes.txt", "omni-scale-20200101T000000Z.tar"]) {
        lab.write(&format!("backups/{name}"), "x");
    }
    run(&lab, "omni-backup --to {} --keep daily=1,weekly=2", "").exits(0);
    let mut left: Vec<String> = fs::read_dir(lab.file("backups"))
        .expect("it is there")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    left.sort();
    left.retain(|name| !name.starts_with("omni-scale-2026") && !name.starts_with("omni-scale-203"));
    assert_eq!(left, ["notes.txt", "omni-scale-20200101T000000Z.tar", "omni-scale-20200106T010000Z.tar.gz"]);
}
