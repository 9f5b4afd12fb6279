//! The contributors' tasks: every check of `ci` on a planted fault, the guard on staged secrets, commit messages,
//! completion, and what each says when its program is missing.
//!
//! Programs that a contributor may not have are played by scripts that print what the real ones printed for the same
//! fault; `ci/outside.rs` names their versions.

#![allow(clippy::unwrap_used)] // a test that cannot set up its fault must stop

mod others;
mod planted;
mod real;
mod shells;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use domain::releases::Minor;
use serde_json::Value;

use crate::sandbox::{Scratch, lab_program, program_at, root};

/// A repository of its own, with a PATH of its own.
struct Kit(Scratch);

impl Kit {
    fn new() -> Kit {
        lab_program();
        let kit = Kit(Scratch::new());
        kit.write("docker/compose.yaml", "services: {}\n");
        kit.write(".gitignore", "target/\ndocker/.env\n/bin/\n");
        for program in ["git", "sh", "bash"] {
            let real = which::which(program).unwrap_or_else(|_| panic!("{program} is needed by these tests"));
            fs::create_dir_all(kit.path().join("bin")).unwrap();
            symlink(real, kit.path().join("bin").join(program)).unwrap();
        }
        kit.git(&["init", "--quiet", "--initial-branch", "main"]);
        kit
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A program on PATH that prints `output` and exits with `code`.
    fn plays(&self, program: &str, output: &str, code: i32) {
        self.write(&format!("bin/{program}.txt"), output);
        let text = self.path().join(format!("bin/{program}.txt"));
        // cargo-deny talks on stderr, the others on stdout.
        let stream = if program == "cargo-deny" { ">&2" } else { "" };
        program_at(
            &self.path().join("bin").join(program),
            &format!("#!/bin/sh\n/bin/cat '{}' {stream}\nexit {code}\n", text.display()),
        );
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path()).env_clear().stdin(Stdio::null());
        command.env("PATH", self.path().join("bin")).env("HOME", self.path()).env("LC_ALL", "C");
        command.env("CARGO_MANIFEST_DIR", env!("CARGO_MANIFEST_DIR"));
        command
    }

    fn git(&self, words: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"];
        let output = self.command("git").env("PATH", "/usr/bin:/bin").args(identity).args(words).output().unwrap();
        assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Exit code, stdout and stderr of a task.
    fn xtask(&self, words: &[&str]) -> (i32, String, String) {
        let output = self.command(env!("CARGO_BIN_EXE_xtask")).args(words).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// One check, as its row of the JSON document.
    fn check(&self, name: &str) -> (i32, Value) {
        let (code, stdout, stderr) = self.xtask(&["ci", "--only", name, "--json"]);
        let document: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
        assert_eq!(document["schema_version"], 1);
        assert_eq!(document["ok"], code == 0, "{stdout}");
        (code, document["data"]["checks"][0].clone())
    }

    /// A check that must find its planted fault in `place` and say what mends it.
    fn finds(&self, name: &str, place: &str, fix: &str) {
        let (code, row) = self.check(name);
        assert_eq!((code, row["status"].as_str()), (1, Some("failed")), "{name}: {row:#}");
        let found = &row["findings"][0];
        let at = format!("{}:{}", found["file"].as_str().unwrap_or_default(), found["line"]);
        assert_eq!(at, place, "{name}: {row:#}");
        assert!(row["fix"].as_str().is_some_and(|said| said.contains(fix)), "{name}: {row:#}");
        // A person reads the same.
        let (_, stdout, stderr) = self.xtask(&["ci", "--only", name]);
        assert!(stdout.contains(&format!("{place}:")) && stdout.contains(fix), "{stdout}");
        assert!(stderr.contains(&format!("1 of 1 check failed: {name}")), "{stderr}");
    }

    fn passes(&self, name: &str) {
        let (code, row) = self.check(name);
        assert_eq!((code, row["status"].as_str()), (0, Some("ok")), "{name}: {row:#}");
    }
}

#[test]
fn a_failing_program_of_ours_is_shown_with_what_it_said() {
    let kit = Kit::new();
    kit.plays("cargo", "running 1 test\ntest tests::b ... FAILED\n\nfailures:\n    tests::b\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored\n", 101);
    let (code, stdout, stderr) = kit.xtask(&["ci", "--only", "test"]);
    assert_eq!(code, 1);
    assert!(stdout.contains("    tests::b\n") && stdout.contains("fix: cargo test --workspace NAME"), "{stdout}");
    assert!(stderr.contains("next: cargo xtask ci --only test"), "{stderr}");
    let log = fs::read_to_string(kit.path().join("target/ci/log/test.log")).unwrap();
    assert!(log.contains("test tests::b ... FAILED"), "{log}");

    kit.plays("cargo", "test result: ok. 7 passed; 0 failed; 0 ignored\ntest result: ok. 5 passed; 0 failed\n", 0);
    let (_, row) = kit.check("test");
    assert_eq!(row["detail"], "12 passed, 0 failed");

    kit.write(".ci/plugin.sh", "echo 'FAILED  claude: validate the manifest'\nexit 1\n");
    let (code, stdout, _) = kit.xtask(&["ci", "--only", "plugin"]);
    assert_eq!(code, 1);
    assert!(
        stdout.contains("FAILED  claude: validate the manifest\n") && stdout.contains("fix: .ci/plugin.sh"),
        "{stdout}"
    );
}

#[test]
fn a_rehearsal_that_does_not_end_is_shown_with_the_reason() {
    let kit = Kit::new();
    kit.plays("cargo", "", 101);
    program_at(&kit.path().join("bin/curl"), "#!/bin/sh\nexit 2\n");
    let (code, stdout, stderr) = kit.xtask(&["ci", "--only", "rehearsal"]);
    assert_eq!(code, 1);
    assert!(stdout.contains("building `lab` failed") && stdout.contains("fix: `cargo xtask rehearse`"), "{stdout}");
    assert!(stderr.contains("1 of 1 check failed: rehearsal"), "{stderr}");
}

#[test]
fn what_cannot_be_looked_at_is_skipped_by_name_and_says_what_to_install() {
    let kit = Kit::new();
    for (name, hint) in [
        ("markdown", "markdownlint-cli2"),
        ("shell", "apt-get install shellcheck"),
        ("shell-format", "mvdan.cc/sh"),
        ("workflows", "actionlint"),
        ("licences", "cargo install --locked cargo-deny"),
        ("advisories", "cargo-deny"),
        ("kill", "there is no .ci/kill.sh"),
    ] {
        let (code, row) = kit.check(name);
        assert_eq!((code, row["status"].as_str()), (0, Some("skipped")), "{name}: {row:#}");
        assert!(row["detail"].as_str().is_some_and(|said| said.contains(hint)), "{name}: {row:#}");
    }
    let offline = r#"{"fields":{"level":"ERROR","message":"failed to fetch advisory database https://github.com/RustSec/advisory-db: An IO error occurred"},"type":"log"}"#;
    kit.plays("cargo-deny", offline, 1);
    let (code, row) = kit.check("advisories");
    assert_eq!((code, row["status"].as_str()), (0, Some("skipped")), "{row:#}");
    let (_, stdout, stderr) = kit.xtask(&["ci", "--only", "advisories,yaml"]);
    assert!(stdout.contains("advisories  skipped") && stderr.contains("1 check passed, 1 skipped"), "{stdout}{stderr}");
}

#[test]
fn groups_run_when_they_are_asked_for() {
    let kit = Kit::new();
    kit.write(".ci/fuzz.sh", "echo 1000 inputs, no panic\n");
    let (code, row) = kit.check("fuzz");
    assert_eq!((code, row["status"].as_str()), (0, Some("ok")), "{row:#}");
    assert_eq!(row["detail"], "1000 inputs, no panic");
    // What a machine has not is skipped by name with the reason, and what goes wrong is not.
    for (status, is, exit) in [(4, "skipped", 0), (5, "skipped", 0), (1, "failed", 1), (2, "failed", 1)] {
        kit.write(".ci/docker.sh", &format!("echo begun\necho 'error: no engine here' >&2\nexit {status}\n"));
        let (code, row) = kit.check("docker");
        assert_eq!((code, row["status"].as_str()), (exit, Some(is)), "{row:#}");
        let (_, stdout, _) = kit.xtask(&["ci", "--only", "docker"]);
        assert!(stdout.contains("no engine here"), "{stdout}");
    }
    let (code, _, stderr) = kit.xtask(&["ci", "--only", "fuz"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("there is no check `fuz`") && stderr.contains("`fuzz`"), "{stderr}");
    let (_, stdout, stderr) = kit.xtask(&["ci", "--list"]);
    assert!(stdout.contains("clippy") && !stdout.contains("\nfuzz"), "{stdout}");
    assert!(stderr.contains("off by default: slow, kill, fuzz, docker, clients, browser"), "{stderr}");
}

#[test]
fn what_can_be_mended_is_mended() {
    let kit = Kit::new();
    // Formats when it is asked to write, and says no as long as it has not.
    program_at(
        &kit.path().join("bin/shfmt"),
        "#!/bin/sh\nfor last; do :; done\ncase $1 in\n-w) echo formatted >\"$last\" ;;\n*) read -r first <\"$last\"; [ \"$first\" = formatted ] || { echo \"diff $last.orig $last\"; exit 1; } ;;\nesac\n",
    );
    kit.write("a.sh", "badly\n");
    kit.finds("shell-format", "a.sh:1", "--fix");
    let (code, _, stderr) = kit.xtask(&["ci", "--only", "shell-format", "--fix", "--dry-run"]);
    assert_eq!(code, 3, "{stderr}");
    assert_eq!(fs::read_to_string(kit.path().join("a.sh")).unwrap(), "badly\n");
    let (code, _, stderr) = kit.xtask(&["ci", "--only", "shell-format", "--fix"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(fs::read_to_string(kit.path().join("a.sh")).unwrap(), "formatted\n");
}

/// A key that is none, in the form of one; made here, so that no file of the repository holds it.
fn private_key() -> String {
    let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
    format!("-----BEGIN {0}-----\n{line}\n-----END {0}-----\n", "PRIVATE KEY")
}

#[test]
fn a_commit_with_a_secret_is_refused() {
    let kit = Kit::new();
    kit.write("README.md", "# Fine\n");
    kit.write("clusters/config.yaml", "x\n");
    kit.git(&["add", "README.md", "clusters/config.yaml"]);
    let (code, _, stderr) = kit.xtask(&["staged-check"]);
    assert_eq!(code, 0, "{stderr}");
    kit.passes("secrets");
    let uuid = "7c1e9f04-5b2d-4a86-93fe-0d8b61c2a7f5";
    let token = format!("url: x\ntokenSecret: {uuid}\n");
    for (file, text, rule) in [
        ("docker/.env", "OMNI_DOMAIN=x\n", "secret-file"),
        ("docker/config.yaml", "proxmox: {}\n", "secret-file"),
        ("docker/site.yaml", "features: {}\n", "secret-file"),
        (".claude/omni-scale.local.md", "---\n---\n", "secret-file"),
        ("docker/omni.asc", "x\n", "secret-file"),
        ("docker/tls.key", "x\n", "secret-file"),
        (".claude/settings.local.md", "x\n", "secret-file"),
        ("DEPLOYMENT.md", "x\n", "secret-file"),
        ("demo.kubeconfig", "x\n", "secret-file"),
        ("demo.talosconfig", "x\n", "secret-file"),
        ("notes/key.txt", &private_key(), "private-key"),
        ("notes/provider.yaml", &token, "proxmox-token"),
    ] {
        kit.write(file, text);
        kit.git(&["add", "--force", file]);
        let (code, stdout, stderr) = kit.xtask(&["staged-check"]);
        assert_eq!(code, 1, "{file}: {stdout}{stderr}");
        assert!(
            stdout.starts_with(&format!("{file}:")) && stdout.contains(rule) && stdout.contains("fix: "),
            "{stdout}"
        );
        assert!(stderr.contains("git restore --staged FILE"), "{stderr}");
        let secret = text.lines().map(|line| line.rsplit(' ').next().unwrap()).max_by_key(|word| word.len()).unwrap();
        assert!(secret.len() < 20 || !format!("{stdout}{stderr}").contains(secret), "the secret is quoted: {stdout}");
        let (code, row) = kit.check("secrets");
        assert_eq!((code, row["findings"][0]["file"].as_str()), (1, Some(file)), "{row:#}");
        kit.git(&["rm", "--quiet", "--cached", "--force", file]);
        fs::remove_file(kit.path().join(file)).unwrap();
    }
}

#[test]
fn what_is_staged_counts_and_not_what_lies_in_the_directory() {
    let kit = Kit::new();
    kit.write("a.txt", &private_key());
    kit.git(&["add", "a.txt"]);
    kit.write("a.txt", "harmless\n");
    assert_eq!(kit.xtask(&["staged-check"]).0, 1);
    kit.git(&["add", "a.txt"]);
    kit.write("a.txt", &private_key());
    assert_eq!(kit.xtask(&["staged-check"]).0, 0);
}

#[test]
fn commit_messages_are_checked_as_hook_and_in_a_range() {
    let kit = Kit::new();
    kit.write("message", "added things\n");
    let (code, stdout, _) = kit.xtask(&["commit-check", "message"]);
    assert_eq!(code, 1);
    assert!(stdout.starts_with("message:1:1: error[commit-form]"), "{stdout}");
    kit.write("message", "feat(lab): say what is missing\n\nWhy.\n");
    assert_eq!(kit.xtask(&["commit-check", "message"]).0, 0);

    kit.git(&["add", "docker", ".gitignore"]);
    kit.git(&["commit", "--quiet", "--message", "first steps"]);
    kit.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    kit.git(&["commit", "--quiet", "--allow-empty", "--message", "feat(lab): one"]);
    kit.git(&["commit", "--quiet", "--allow-empty", "--message", "featt(lab): two"]);
    let (code, row) = kit.check("commits");
    assert_eq!((code, row["findings"][0]["rule"].as_str()), (1, Some("commit-type")), "{row:#}");
    assert!(row["fix"].as_str().is_some_and(|fix| fix.contains("git rebase")), "{row:#}");
    let (code, stdout, _) = kit.xtask(&["commit-check", "--range", "HEAD~1..HEAD~1"]);
    assert_eq!(code, 0, "an empty range has no faults: {stdout}");
    // What main has can no longer be fixed.
    kit.git(&["update-ref", "refs/remotes/origin/main", "HEAD~1"]);
    kit.git(&["reset", "--quiet", "--soft", "HEAD~1"]);
    kit.passes("commits");
}

#[test]
fn programs_are_called_with_their_words_and_their_no_is_a_failure() {
    let kit = Kit::new();
    let calls = [
        (&["changelog"][..], "--output CHANGELOG.md\n", "pip install git-cliff"),
        (&["hooks-install"], "install --overwrite\n", "pip install prek"),
        (&["pre-commit-run"], "run --all-files\n", "pip install prek"),
        (&["markdown-lint"], "\n", "npm install --global markdownlint-cli2"),
        (&["markdown-fix"], "--fix\n", "npm install --global markdownlint-cli2"),
        (&["infisical-scan"], "scan --redact --config .infisical-scan.toml\n", "@infisical/cli"),
        (
            &["infisical-scan", "--staged"],
            "scan git-changes --staged --redact --config .infisical-scan.toml\n",
            "@infisical/cli",
        ),
    ];
    for (words, _, hint) in calls.iter().chain([&(&["changelog-bump", "99.0.0"][..], "", "pip install git-cliff")]) {
        let (code, stdout, stderr) = kit.xtask(words);
        assert_eq!(code, 4, "{words:?}: {stdout}{stderr}");
        assert!(stderr.contains("is not installed") && stderr.contains(hint), "{words:?}: {stderr}");
    }
    for program in ["git-cliff", "prek", "markdownlint-cli2", "infisical"] {
        program_at(&kit.path().join("bin").join(program), "#!/bin/sh\nprintf '%s\\n' \"$*\"\n[ ! -e no ]\n");
    }
    for code in [0, 1] {
        for (words, said, _) in calls {
            let (ended, stdout, stderr) = kit.xtask(words);
            assert_eq!((ended, stdout.as_str()), (code, said), "{words:?}: {stderr}");
            assert!(code == 0 || stderr.contains("exited with 1"), "{stderr}");
        }
        kit.write("no", "");
    }
    let (code, stdout, _) = kit.xtask(&["markdown-fix", "--dry-run"]);
    assert_eq!((code, stdout.as_str()), (3, ""), "a dry run calls nothing");
}

#[test]
fn a_release_is_made_ready_and_not_made() {
    let kit = Kit::new();
    kit.plays("git-cliff", "", 0);
    let files = ["Cargo.toml", "Cargo.lock", ".claude-plugin/plugin.json"];
    kit.copies(&files);
    let read = || files.map(|file| fs::read_to_string(kit.path().join(file)).unwrap());
    let (version, before) = (env!("CARGO_PKG_VERSION"), read());
    for bad in ["1", "1.2", "1.2.3.4", "v1.x.0", "01.2.3", "1.2.3-rc.1", "1.2.3+a", "1..2", version] {
        let (code, _, stderr) = kit.xtask(&["changelog-bump", bad]);
        let why = if bad == version { "not higher" } else { "three numbers" };
        assert!(code == 2 && stderr.contains(why), "{bad}: {stderr}");
    }
    assert_eq!((kit.xtask(&["changelog-bump", "99.1.0", "--dry-run"]).0, read()), (3, before.clone()));
    let (code, _, stderr) = kit.xtask(&["changelog-bump", "v99.1.0"]);
    assert_eq!(code, 0, "{stderr}");
    let after = read();
    assert_eq!(
        after.clone().map(|text| text.replace("\"99.1.0\"", &format!("\"{version}\""))),
        before,
        "and nothing else"
    );
    let members = before[0].lines().find(|line| line.starts_with("members = ")).unwrap();
    let counts = after.map(|text| text.matches("\"99.1.0\"").count());
    assert_eq!(counts, [1, members.matches("\", \"").count() + 1, 1], "{members}");
    assert!(stderr.contains("git tag --annotate v99.1.0") && stderr.contains("git push"), "{stderr}");
}

/// One line `name = "version"` of mise.toml.
fn pinned(tool: &str) -> String {
    let text = fs::read_to_string(root().join("mise.toml")).unwrap();
    let line =
        text.lines().find_map(|line| line.strip_prefix(&format!("{tool} = \""))).unwrap_or_else(|| panic!("{tool}"));
    line.trim_end_matches('"').to_owned()
}

#[test]
fn one_version_of_each_tool() {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    assert!(read(".ci/plugin.sh").contains(&format!("markdownlint_version={}\n", pinned("markdownlint-cli2"))));
    assert!(read(".github/workflows/ci.yml").contains(&format!("go-version: \"{}\"", pinned("go"))));
    let (run, tools) = (read(".ci/run"), read(".ci/tools.sh"));
    for tool in
        ["markdownlint-cli2", "shellcheck", "shfmt", "actionlint", "cargo-deny", "prek", "git-cliff", "gitleaks"]
    {
        assert!(tools.contains(&format!("pin {tool})")), "{tool} is not installed at the version of mise.toml");
        assert!(pinned(tool).split('.').count() == 3, "{tool} is not pinned in full");
    }
    assert!(run.contains(".ci/tools.sh") && run.contains("cargo test --workspace"));
    // `cargo test` has run the slow tests.
    let groups = xtask::dev::ci::table::CHECKS.iter().filter(|check| check.group).map(|check| check.name.as_str());
    let groups: Vec<&str> = groups.filter(|group| *group != "slow").collect();
    let checks = format!("cargo xtask ci --skip test --with {} ", groups.join(","));
    assert!(run.contains(&checks), "the pipeline runs every group: {checks}");
    assert!(read(".github/workflows/ci.yml").contains("run: bash .ci/run"));
}

#[test]
fn omni_omnictl_and_the_provider_move_together() {
    let text = fs::read_to_string(root().join("renovate.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    let rules = config["packageRules"].as_array().unwrap();
    let group = rules.iter().find(|rule| rule["groupSlug"] == "omni").unwrap();
    let names: Vec<&str> = group["matchPackageNames"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let compose = fs::read_to_string(root().join("docker/compose.yaml")).unwrap();
    let images = compose
        .lines()
        .filter_map(|line| line.trim().strip_prefix("image: "))
        .filter(|image| image.contains("siderolabs"));
    let images: Vec<&str> = images.filter_map(|image| image.split([':', '@']).next()).collect();
    assert_eq!(images.len(), 2, "{images:?}");
    assert!(images.iter().all(|image| names.contains(image)), "{images:?} {names:?}");
    // What the release table allows: one minor of Omni at a time, what that Omni manages, nothing that is not known.
    let (table, pins) = (domain::releases::table(), &domain::releases::table().recommended);
    let omni = Minor::from(&pins.omni.version);
    let talos = table.omni.iter().find(|release| release.minor == omni).and_then(|release| release.talos.as_ref());
    let talos = talos.and_then(|support| support.max).unwrap();
    let limits = [
        ("{ghcr.io/,}siderolabs/omni", omni.minor + 2),
        ("{ghcr.io/,}siderolabs/omni-infra-provider-proxmox", Minor::from(&table.facts.provider).minor + 1),
        ("siderolabs/talos", talos.minor + 1),
        ("kubernetes/kubernetes", table.kubernetes_of_talos(talos).unwrap().1.minor + 1),
    ];
    for (name, below) in limits {
        let rule = rules.iter().find(|rule| rule["matchPackageNames"] == serde_json::json!([name])).expect(name);
        let major = u8::from(name != "{ghcr.io/,}siderolabs/omni-infra-provider-proxmox");
        assert_eq!(rule["allowedVersions"], format!("<{major}.{below}.0"), "{name}");
    }
}
