//! The keys of Omni's store in a lab: rotated and added, and never without one that is known to open it.

use std::fs;
use std::process::Command;

use crate::sandbox::{CommandOutput, Sandbox};

/// The next key of the lab's Omni, the only one that it adds a slot for.
const NEXT: &str = include_str!("../fixtures/pgp/next.b64");

/// Puts the next key into `next.asc`.
pub fn write_next(lab: &Sandbox) {
    let label = "PGP PRIVATE KEY BLOCK";
    lab.write("next.asc", &format!("-----BEGIN {label}-----\n\n{NEXT}-----END {label}-----\n"));
}

/// A lab whose stack runs and was backed up, with settings of its site.
fn ready() -> Sandbox {
    let mut lab = Sandbox::new();
    lab.set("DOCKER_HOST", Some("tcp://lab"));
    lab.run("stack-up --yes").exits(0);
    lab.run("omni-backup").exits(0);
    lab.write("docker/site.yaml", "# ours\nstorage:\n  default:\n    etcd:\n      # theirs\n      embedded: true\n");
    write_next(&lab);
    lab
}

fn rotate(lab: &Sandbox, more: &str) -> CommandOutput {
    lab.run(&format!("omni-key-rotate --key {} {more}", lab.file("next.asc").display()))
}

/// The files with old keys of the store.
fn kept(lab: &Sandbox) -> Vec<String> {
    let names = lab.files().into_keys().filter(|name| name.starts_with("docker/omni-old-"));
    names.map(|name| lab.read(&name)).collect()
}

#[test]
fn rotation_switches_to_a_key_that_opens_the_store_and_keeps_the_old_one() {
    let lab = ready();
    let (old, next) = (lab.read("docker/omni.asc"), lab.read("next.asc"));
    let before = lab.files();
    let words =
        ["create docker/omni-next.asc", "update docker/site.yaml", "replace docker/omni.asc", "start the stack"];
    rotate(&lab, "--dry-run").exits(3).says(&words);
    assert_eq!(lab.files(), before);
    rotate(&lab, "--yes").exits(0).says(&["next@example.com", "guards nothing", "The key opens the store"]);
    assert_eq!((lab.read("docker/omni.asc"), kept(&lab)), (next, vec![old]));
    assert!(!lab.file("docker/omni-next.asc").exists());
    let settings = lab.read("docker/site.yaml");
    assert!(
        settings.contains("# theirs\n      embedded: true") && settings.contains("      publicKeyFiles:\n"),
        "{settings}"
    );
    lab.run("doctor --all").says(&["next@example.com"]);
    let open = |(name, (mode, _)): &(String, (u32, Vec<u8>))| {
        name.starts_with("docker/omni") && name.ends_with(".asc") && mode & 0o077 != 0
    };
    assert_eq!(lab.files().into_iter().find(open), None, "a key that others may read");
    lab.run("omni-backup").exits(0);
    lab.run("omni-backup-verify").exits(0).says(&["next@example.com"]);
}

#[test]
fn key_without_a_slot_never_replaces_one_with() {
    let lab = ready();
    let home = lab.scratch().join("gnupg");
    fs::create_dir(&home).expect("a directory");
    let gpg =
        |words: &[&str]| Command::new("gpg").env("GNUPGHOME", &home).args(words).output().expect("gpg runs").stdout;
    gpg(&[
        "--batch",
        "--passphrase",
        "",
        "--quick-generate-key",
        "Foreign <f@example.com>",
        "future-default",
        "default",
        "never",
    ]);
    lab.write("next.asc", &String::from_utf8_lossy(&gpg(&["--armor", "--export-secret-keys"])));
    let _ = Command::new("gpgconf").env("GNUPGHOME", &home).args(["--kill", "gpg-agent"]).status();
    let old = lab.read("docker/omni.asc");
    rotate(&lab, "--yes").exits(1).says(&["has no slot for the next key", "nothing was switched"]);
    assert_eq!((lab.read("docker/omni.asc"), kept(&lab).len()), (old, 0));
}
