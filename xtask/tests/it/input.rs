//! Bad input and broken surroundings: one clear error each, the exit code of the design, and every file as it was.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::sandbox::{CheckedOutput, Options, Sandbox, class_words};

/// Runs `line`, which must fail with `code`, say all of `words`, and leave every file as it was.
#[track_caller]
fn refused(lab: &Sandbox, line: &str, code: i32, words: &[&str]) -> CheckedOutput {
    let before = kept(lab);
    let ran = lab.run(line).exits(code).says(words);
    assert_eq!(kept(lab), before, "`{line}` left something behind");
    assert!(!ran.stderr.contains("panicked"), "{ran:#?}");
    ran
}

/// The project without the journal and the lock, which hold nothing of the operator's.
fn kept(lab: &Sandbox) -> std::collections::BTreeMap<std::path::PathBuf, (u32, Vec<u8>)> {
    let mut tree = lab.tree();
    tree.retain(|path, _| !path.starts_with(lab.file("target")));
    tree
}

/// A key of the real structure for `name`, made `created` seconds after 1970 and good for `lifetime` seconds.
pub fn key(name: &str, created: u32, lifetime: u32) -> String {
    let mut secret = vec![4];
    secret.extend(created.to_be_bytes());
    secret.extend([22; 40]);
    let mut fields = vec![5, 2];
    fields.extend(created.to_be_bytes());
    fields.extend([5, 9]);
    fields.extend(lifetime.to_be_bytes());
    let mut signature = vec![4, 0x13, 22, 8, 0, fields.len() as u8];
    signature.extend(fields);
    signature.extend([0; 20]);
    let mut packets = Vec::new();
    for (tag, body) in [(5u8, secret), (13, b"a <a@b>".to_vec()), (2, signature)] {
        packets.extend([0xc0 | tag, body.len() as u8]);
        packets.extend(body);
    }
    let armored = format!(
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{}\n-----END PGP PRIVATE KEY BLOCK-----\n",
        STANDARD.encode(packets)
    );
    STANDARD.encode(serde_json::json!({ "name": name, "pgp_key": armored }).to_string())
}

fn with_key(lab: &Sandbox, key: &str) {
    let env = lab.read("docker/.env");
    let lines: Vec<String> = env
        .lines()
        .map(|line| {
            if line.starts_with("OMNI_INFRA_PROVIDER_KEY=") {
                format!("OMNI_INFRA_PROVIDER_KEY={key}")
            } else {
                line.to_owned()
            }
        })
        .collect();
    lab.write("docker/.env", &(lines.join("\n") + "\n"));
}

#[test]
fn a_key_that_cannot_register_is_refused_before_anything_changes() {
    let lab = Sandbox::new();
    let year = 365 * 86_400;
    let cases = [
        (key("automation", 1_790_000_000, 10 * year), "ordinary service account"),
        (key("infra-provider:other", 1_790_000_000, 10 * year), "`other`"),
        (key("infra-provider:Proxmox", 1_790_000_000, 10 * year), "letter by letter"),
        (key("infra-provider:proxmox", 1_000_000_000, year), "expired"),
        ("not-a-key".to_owned(), "not base64"),
        (STANDARD.encode("{\"name\":1}"), "not of the JSON"),
    ];
    for (key, why) in cases {
        with_key(&lab, &key);
        let ran = refused(&lab, "provider-setup --yes", 1, &["the provider's key", why, "infraprovider"]);
        assert!(!ran.stderr.contains(&key), "the key is quoted");
        assert!(!lab.file("docker/config.yaml").exists());
    }
}

#[test]
fn without_a_login_and_without_a_key_the_page_that_makes_one_is_named() {
    let mut lab = Sandbox::new();
    lab.set("OMNI_SERVICE_ACCOUNT_KEY", None);
    let ran = refused(&lab, "provider-setup --yes --json", 2, &["/settings/infraproviders"]);
    let missing = &ran.json()["error"]["missing"][0];
    assert_eq!(missing["env"], "OMNI_INFRA_PROVIDER_KEY");
    assert_eq!(missing["secret"], true);
}

#[test]
fn a_missing_program_is_named_with_how_to_install_it() {
    let mut lab = Sandbox::new();
    lab.set("PATH", Some("/nowhere"));
    refused(&lab, "provider-setup --yes", 4, &["`curl` is not installed", "apt-get install curl"]);
    refused(&lab, "provider-status", 4, &["`docker` is not installed", "Docker Engine"]);
    refused(&lab, "cluster-status", 4, &["`omnictl` is not installed", "cargo xtask omnictl-install"]);
}

#[test]
fn far_ends_that_do_not_answer_are_named() {
    let mut lab = Sandbox::new();
    let (omni, proxmox) = (lab.env("OMNI_ENDPOINT").to_owned(), lab.env("PROXMOX_VE_ENDPOINT").to_owned());
    lab.set("OMNI_ENDPOINT", Some("https://127.0.0.1:1"));
    refused(&lab, "provider-setup --yes", 5, &["no connection to https://127.0.0.1:1/healthz"]);
    refused(&lab, "cluster-status", 5, &["Omni at https://127.0.0.1:1 is not reachable", "connection refused"]);
    lab.set("OMNI_ENDPOINT", Some("https://no-such-name.invalid"));
    refused(
        &lab,
        "provider-setup --yes",
        5,
        &["the host name in https://no-such-name.invalid/healthz does not resolve"],
    );
    // Proxmox's port does not answer as Omni does, nor Omni's as Proxmox.
    lab.set("OMNI_ENDPOINT", Some(&proxmox));
    refused(&lab, "provider-setup --yes", 5, &["is not Omni's endpoint"]);
    lab.set("OMNI_ENDPOINT", Some(&omni));
    lab.set("PROXMOX_VE_ENDPOINT", Some(&omni));
    refused(&lab, "provider-setup --yes", 5, &["is not a Proxmox API"]);
}

#[test]
fn a_login_that_is_refused_is_named() {
    let mut lab = Sandbox::new();
    lab.set("PROXMOX_VE_API_TOKEN", Some("omni@pve!provider=11111111-2222-3333-4444-555555555555"));
    let ran =
        refused(&lab, "provider-setup --yes", 5, &["refuses the token omni@pve!provider", "pveum user token list"]);
    assert!(!ran.stderr.contains("11111111-2222"), "{ran:#?}");
    lab.set("PROXMOX_VE_API_TOKEN", Some("omni@pve=nonsense"));
    refused(
        &lab,
        "provider-setup --yes",
        1,
        &["no `!` before the token's name", "PROXMOX_VE_API_TOKEN in the environment"],
    );
    let year = 365 * 86_400;
    lab.set("OMNI_SERVICE_ACCOUNT_KEY", Some(&key("automation", 1_000_000_000, year)));
    refused(&lab, "cluster-status", 5, &["the key of `automation`", "has expired", "serviceaccount renew"]);
    // A good key, of another Omni.
    lab.set("OMNI_SERVICE_ACCOUNT_KEY", Some(Sandbox::new().env("OMNI_SERVICE_ACCOUNT_KEY")));
    refused(&lab, "cluster-status", 5, &["does not accept", "serviceaccount list"]);
    lab.set("OMNI_SERVICE_ACCOUNT_KEY", Some("garbage"));
    refused(
        &lab,
        "cluster-status",
        1,
        &["OMNI_SERVICE_ACCOUNT_KEY in the environment", "not a valid service-account key"],
    );
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused_and_the_way_out_named() {
    let mut lab = Sandbox::new();
    lab.set("SSL_CERT_FILE", None);
    refused(&lab, "provider-setup --yes", 5, &["is not trusted", "--ca-file", "/etc/pve/pve-root-ca.pem"]);
    refused(&lab, "cluster-status", 5, &["the certificate of", "is not trusted", "SSL_CERT_FILE"]);
    lab.set("SSL_CERT_FILE", Some("/nowhere/ca.pem"));
    refused(&lab, "provider-setup --yes", 4, &["the CA file cannot be read"]);
}

#[test]
fn broken_files_are_named_with_their_place_and_stay() {
    let lab = Sandbox::new();
    lab.provider();
    let good = lab.read(".claude/omni-scale.local.md");
    for (text, place) in [
        ("---\na: [\n---\n", ".claude/omni-scale.local.md:"),
        ("no front matter", ".claude/omni-scale.local.md:1:1"),
        ("---\nopen: 1\n", "no closing line"),
    ] {
        lab.write(".claude/omni-scale.local.md", text);
        refused(&lab, "machineclass-create x --cores 1 --memory 2048 --disk 5 --selector true --yes", 1, &[place]);
        refused(&lab, "provider-status", 1, &[place]);
    }
    lab.write(".claude/omni-scale.local.md", &good);
    let env = lab.read("docker/.env");
    lab.write("docker/.env", &format!("{env}this is canary-of-a-broken-line\n"));
    let line = format!("docker/.env:{}", env.lines().count() + 1);
    let ran = refused(&lab, "provider-verify", 1, &[&line, "it has no `=`"]);
    assert!(!ran.stderr.contains("canary"), "{ran:#?}");
    lab.write("docker/.env", &env);
    let config = lab.read("docker/config.yaml");
    lab.write("docker/config.yaml", "proxmox:\n  url: [\n");
    refused(&lab, "provider-setup --yes", 1, &["docker/config.yaml:"]);
    lab.write("docker/config.yaml", &config.replace("/api2/json", ""));
    refused(&lab, "provider-setup --yes", 1, &["must end in /api2/json"]);
    lab.write("docker/config.yaml", &config.replace("tokenID", "tokenId"));
    refused(&lab, "provider-setup --yes", 1, &["there is no login in it", "tokenID"]);
}

#[test]
fn files_that_cannot_be_written_are_found_before_anything_changes() {
    let lab = Sandbox::new();
    // Root writes anywhere: a file where the directory belongs stops it too.
    lab.write(".claude", "in the way");
    let ran = lab.run("provider-setup --yes");
    assert_eq!(ran.code, 4, "{ran:#?}");
    assert!(!lab.file("docker/config.yaml").exists(), "{ran:#?}");
    let user = Command::new("id").arg("-u").output().expect("id runs");
    if String::from_utf8_lossy(&user.stdout).trim() != "0" {
        fs::remove_file(lab.file(".claude")).unwrap();
        fs::set_permissions(lab.file("docker"), fs::Permissions::from_mode(0o555)).unwrap();
        let ran = lab.run("provider-setup --yes");
        fs::set_permissions(lab.file("docker"), fs::Permissions::from_mode(0o755)).unwrap();
        ran.exits(4).says(&["cannot be written"]);
    }
}

#[test]
fn names_are_checked_and_near_ones_offered() {
    let lab = Sandbox::new();
    for bad in ["Web", "a_b", "-a", "a.b/c", "ä"] {
        let ran = lab.run(&format!("cluster-create {bad} --control-planes 1 --workers 1 --yes"));
        assert_eq!(ran.code, 2, "{ran:#?}");
        let ran = lab.run(&format!("machineclass-create {bad} --cores 1 --memory 2048 --disk 5 --selector true --yes"));
        assert_eq!(ran.code, 2, "{ran:#?}");
    }
    lab.provider();
    lab.class("small");
    refused(&lab, "machineclass-apply smal --yes", 1, &["there is no machine class `smal`", "did you mean `small`?"]);
    refused(&lab, "cluster-sync nope --yes", 1, &["there is no cluster `nope`"]);
    refused(&lab, "cluster-status nope", 1, &["Omni has no cluster `nope`", "cargo xtask cluster-create nope"]);
    refused(
        &lab,
        "cluster-create demo --control-planes 1 --workers 1 --worker-class smal --yes",
        1,
        &["Omni has no machine class `smal`", "did you mean --worker-class small?"],
    );
    refused(&lab, "cluster-create demo --control-planes 2 --workers 1 --yes", 2, &["quorum"]);
    refused(
        &lab,
        "cluster-create demo --control-planes 1 --workers 1 --talos-version v9.9.9 --yes",
        1,
        &["offers no Talos 9.9.9"],
    );
    let size = |memory: &str, disk: &str| {
        format!("machineclass-create sized --cores 2 --memory {memory} --disk {disk} --selector true --dry-run --json")
    };
    let document = lab.run(&size("8GiB", "40G")).exits(3).json();
    assert_eq!((&document["data"]["memory"], &document["data"]["disk"]), (&8192.into(), &40.into()));
    refused(&lab, &size("8X", "40"), 2, &["is not a size"]);
    refused(&lab, &size("8192", "1500MiB"), 2, &["in whole GiB"]);
    refused(&lab, "machineclass-create x --cores 1 --memory 1024 --disk 5 --selector true --yes", 2, &["2048"]);
}

#[test]
fn what_is_missing_is_named_all_at_once() {
    let lab = Sandbox::new();
    let ran = refused(&lab, "machineclass-create --json", 2, &[]).json();
    let flags: Vec<&str> =
        ran["error"]["missing"].as_array().unwrap().iter().map(|each| each["flag"].as_str().unwrap()).collect();
    assert_eq!(flags, ["NAME", "--cores", "--memory", "--disk", "--selector"]);
    refused(&lab, "provider-setup --json", 2, &["--yes"]);
    let usage = refused(&lab, "no-such-task --json", 2, &[]).json();
    assert_eq!(usage["error"]["code"], "usage");
    refused(&lab, "provider-status --follow --json", 2, &["cannot be used with"]);
}

#[test]
fn a_misspelt_key_does_not_reach_omni() {
    let lab = Sandbox::new();
    lab.provider();
    lab.run_words(&class_words("small")).exits(0);
    let text = lab.read("machine-classes/small.yaml");
    lab.write("machine-classes/small.yaml", &text.replace("autoprovision:", "autoProvision:"));
    let ran = lab.run("machineclass-apply small --yes");
    assert_ne!(ran.code, 0, "omnictl drops the key without a word, and the task must not: {ran:#?}");
    assert_eq!(lab.dump()["omni"]["machine_classes"].as_array().map(Vec::len), Some(0));
}

#[test]
fn two_changing_tasks_at_once_are_one_too_many() {
    let lab = Sandbox::with(&Options { latency_ms: 800, ..Options::default() });
    let mut first = lab.command(&["provider-setup", "--yes"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    let lock = lab.state_dir().join("lock");
    wait_for(|| fs::read_to_string(&lock).is_ok_and(|text| text.starts_with("provider-setup")));
    let pid = format!("pid {}", first.id());
    lab.run("provider-setup --yes").exits(1).says(&["`provider-setup`", &pid, "is changing this project"]);
    // Reading tasks do not wait.
    lab.run("provider-status --quiet").exits_with_one_of(&[0, 1]);
    assert!(first.wait().unwrap().success());
}

#[track_caller]
fn wait_for(mut it: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !it() {
        assert!(Instant::now() < end, "it did not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a task advises can be pasted where it is printed: in text and in JSON, as a command and inside a sentence.
#[test]
fn advice_carries_the_project_that_was_given() {
    let lab = Sandbox::new();
    let given = format!(" --project-dir {}", lab.project().display());
    let said = |words: &[&str]| {
        let output = lab.command(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    for words in [&["provider-status"][..], &["cluster-status", "zebra"], &["cluster-sync", "zebra", "--json"]] {
        let text = said(words);
        let advised: Vec<&str> = text.split("cargo xtask ").skip(1).collect();
        assert!(!advised.is_empty(), "{text}");
        for rest in advised {
            let call = rest.split(['`', '\n', '"']).next().unwrap_or_default();
            assert!(call.ends_with(&given), "{call}\n\n{text}");
        }
    }
    // The next step of a dry run has it once.
    let text = said(&["provider-setup", "--dry-run", "--yes", "--json"]);
    assert_eq!(text.matches(&given).count(), 1, "{text}");
}

#[test]
fn outside_a_project_that_is_said() {
    let lab = Sandbox::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let output = command.arg("cluster-status").current_dir(lab.scratch()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--project-dir"), "{output:?}");
}

/// A comparison passes for readers: without a look at the role the template would be written, and the sync refused.
#[test]
fn a_reader_is_refused_before_anything_is_written() {
    let mut lab = Sandbox::new();
    lab.provider();
    lab.class("small");
    lab.run("cluster-create demo --control-planes 1 --workers 1 --yes --timeout 60s").exits(0);
    lab.run_words(&class_words("other")).exits(0);
    lab.write("clusters/demo.yaml", &lab.read("clusters/demo.yaml").replacen("size: 1", "size: 3", 1));
    let reader = |lab: &mut Sandbox, variable: &str| {
        let admin = lab.env("OMNI_SERVICE_ACCOUNT_KEY").to_owned();
        let mut command = Command::new(lab.scratch().join("lab/bin/omnictl"));
        command.args(["serviceaccount", "create", "watcher", "--use-user-role=false", "--role", "Reader"]).env_clear();
        for name in ["HOME", "PATH", "OMNI_ENDPOINT", "OMNI_SERVICE_ACCOUNT_KEY", "SSL_CERT_FILE"] {
            command.env(name, lab.env(name));
        }
        let output = command.output().expect("omnictl runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let key = said.split("OMNI_SERVICE_ACCOUNT_KEY=").nth(1).and_then(|rest| rest.split_whitespace().next());
        lab.set(variable, Some(key.unwrap_or_else(|| panic!("no key: {said}"))));
        admin
    };
    let admin = reader(&mut lab, "OMNI_SERVICE_ACCOUNT_KEY");
    let far = crate::runbook::settled(lab.dump());
    let words =
        ["watcher (OMNI_SERVICE_ACCOUNT_KEY in the environment) may not change", "insufficient role: \"Reader\""];
    let create = "cluster-create second --control-planes 1 --workers 0 --control-plane-class small --yes";
    for line in [create, "cluster-sync demo --yes", "machineclass-apply other --yes", "machineclass-apply --all --yes"]
    {
        refused(&lab, line, 5, &words).says(&["the role Operator"]);
    }
    assert_eq!(crate::runbook::settled(lab.dump()), far);
    // A reader may look, and what is there already needs no more.
    for (line, code) in
        [("cluster-sync demo --dry-run", 3), ("machineclass-apply small --yes", 0), ("cluster-status", 0)]
    {
        lab.run(line).exits(code);
    }
    lab.set("OMNI_SERVICE_ACCOUNT_KEY", Some(&admin));
    lab.run("cluster-sync demo --yes --timeout 60s").exits(0);
}
