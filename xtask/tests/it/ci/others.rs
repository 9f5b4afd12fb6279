//! The real prek, git-cliff, gitleaks and mise, with this repository's own configuration.

use std::collections::BTreeSet;
use std::fs;

use super::real::program;
use super::{Kit, private_key};
use crate::sandbox::{CommandOutput, root};

/// A repository with this one's hooks, installed by prek, and a first commit.
fn hooked() -> Option<Kit> {
    let kit = Kit::new();
    if !["prek", "lychee", "committed"].iter().all(|program| kit.add_program(program)) {
        return None;
    }
    kit.add_xtask();
    kit.copy_files(&[".pre-commit-config.yaml", "committed.toml"]);
    kit.write(".gitignore", "/bin/\n/target/\n/.cache/\n/.local/\n/.config/\n/message\n");
    kit.xtask("hooks-install").exits(0);
    for hook in ["pre-commit", "commit-msg"] {
        assert!(kit.path().join(".git/hooks").join(hook).is_file(), "{hook} is not installed");
    }
    kit.write("notes/begin.txt", "Fine.\n");
    kit.git(&["add", "notes/begin.txt", ".gitignore", ".pre-commit-config.yaml"]);
    let (committed, said) = commit(&kit, "feat(lab): begin");
    assert!(committed, "{said}");
    Some(kit)
}

/// Commits what is staged. Returns whether git made the commit, and the output of the hooks.
fn commit(kit: &Kit, message: &str) -> (bool, String) {
    let words = ["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--message", message];
    let path = format!("{}:/usr/bin:/bin", kit.path().join("bin").display());
    let ran = CommandOutput::of(kit.command("git").env("PATH", path).args(words));
    (ran.code == 0, ran.stdout + &ran.stderr)
}

fn head(kit: &Kit) -> String {
    CommandOutput::of(kit.command("git").args(["rev-parse", "HEAD"])).exits(0).stdout.clone()
}

#[test]
fn hooks_refuse_secrets_untidy_files_and_messages() {
    let Some(kit) = hooked() else { return };
    let before = head(&kit);
    let refuses = |file: &str, text: &str, word: &str| {
        kit.write(file, text);
        kit.git(&["add", "--force", file]);
        let (committed, said) = commit(&kit, "feat(lab): add it");
        assert!(!committed && said.contains(word), "{file}: {said}");
        assert!(!said.contains(text) || text.len() < 40, "the hook quotes what it found: {said}");
        kit.git(&["rm", "--quiet", "--cached", "--force", file]);
        fs::remove_file(kit.path().join(file)).unwrap();
    };
    // `staged-check`, which the hook calls, decides what is a secret.
    refuses("docker/.env", "OMNI_DOMAIN=omni.example.com\n", "secret-file");
    refuses("notes/automation.txt", &crate::input::key("automation", 1_700_000_000, 86_400), "service-account-key");
    refuses("notes/a.txt", "a \n", "trailing-whitespace");
    refuses("notes/a.txt", "no end of line", "end-of-file-fixer");
    refuses("notes/a.json", "{\n", "check-json");
    refuses("notes/a.toml", "a = \n", "check-toml");
    refuses("clusters/a.yaml", "name: a\nname: b\n", "ci --only yaml");
    refuses("notes/a.bin", &"x\n".repeat(600 << 10), "check-added-large-files");
    refuses("docs/a.md", "# A\n\nSee [b](b.md).\n", "docs/a.md:3:1: error[links]");

    kit.write("notes/fine.txt", "Fine.\n");
    kit.git(&["add", "notes/fine.txt"]);
    let (committed, said) = commit(&kit, "added things");
    assert!(!committed && said.contains("Missing type"), "{said}");
    assert_eq!(head(&kit), before);
    let (committed, said) = commit(&kit, "feat(lab): add notes");
    assert!(committed && head(&kit) != before, "{said}");
}

#[test]
fn git_cliff_writes_the_changelog_from_the_messages() {
    let kit = Kit::new();
    if !kit.add_program("git-cliff") {
        return;
    }
    kit.copy_files(&["cliff.toml", "Cargo.toml", "Cargo.lock", ".claude-plugin/plugin.json"]);
    kit.write(".gitignore", "/bin/\n/target/\n");
    kit.git(&["add", "docker", ".gitignore"]);
    for message in [
        "feat(provider): read the key's expiry",
        "fix(cluster)!: refuse an even number of control planes",
        "chore(deps): move Omni, omnictl and the provider together",
        "what has no type is left out",
    ] {
        kit.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
    }
    let read = || fs::read_to_string(kit.path().join("CHANGELOG.md")).unwrap();
    kit.xtask("changelog").exits(0);
    let written = read();
    for part in [
        "# Changelog\n",
        "## Unreleased\n",
        "### Features\n",
        "- **provider:** read the key's expiry\n",
        "### Fixes\n",
        "- **cluster:** **breaking:** refuse an even number of control planes\n",
    ] {
        assert!(written.contains(part), "{part}\n{written}");
    }
    assert!(!written.contains("together") && !written.contains("no type"), "{written}");

    kit.xtask("changelog-bump 99.1.0").exits(0);
    assert!(read().contains("## 99.1.0 - 2") && !read().contains("Unreleased"), "{}", read());
}

#[test]
fn a_changelog_of_two_releases_is_tidy_markdown() {
    let kit = Kit::new();
    if !kit.add_program("git-cliff") || !kit.add_program("markdownlint-cli2") {
        return;
    }
    kit.copy_files(&["cliff.toml", ".markdownlint-cli2.yaml"]);
    kit.git(&["add", "docker"]);
    for (message, tag) in [("feat(lab): one", "v0.1.0"), ("fix(lab): two", "v0.2.0"), ("docs: three", "")] {
        kit.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        if !tag.is_empty() {
            kit.git(&["tag", tag]);
        }
    }
    kit.xtask("changelog").exits(0);
    let written = fs::read_to_string(kit.path().join("CHANGELOG.md")).unwrap();
    let titles: Vec<&str> = written.lines().filter(|line| line.starts_with("## ")).collect();
    let starts = ["## Unreleased", "## 0.2.0 - ", "## 0.1.0 - "];
    assert!(titles.len() == 3 && titles.iter().zip(starts).all(|(title, start)| title.starts_with(start)), "{written}");
    assert!(written.ends_with("- **lab:** one\n"), "it ends in one line feed: {written:?}");
    // The lint excludes this page because of the text of commit messages, but its form must be valid.
    fs::rename(kit.path().join("CHANGELOG.md"), kit.path().join("docs.md")).unwrap();
    kit.xtask("markdown-lint").exits(0);
}

/// Returns the names of all tasks, as listed in the help.
fn tasks() -> BTreeSet<String> {
    let cli = xtask::cli::command();
    cli.get_subcommands().filter(|task| !task.is_hide_set()).map(|task| task.get_name().to_owned()).collect()
}

#[test]
fn mise_lists_every_alias_and_each_is_a_command_that_parses() {
    let Some(mise) = program("mise") else { return };
    let kit = Kit::new();
    let mut command = kit.command(mise.to_str().unwrap());
    command.args(["tasks", "ls", "--json"]).current_dir(root()).env("MISE_TRUSTED_CONFIG_PATHS", root());
    let listed = CommandOutput::of(command.env("MISE_OFFLINE", "1").env("PATH", "/usr/bin:/bin")).exits(0).json();
    let mut aliases = BTreeSet::new();
    for alias in listed.as_array().unwrap() {
        let name = alias["name"].as_str().unwrap();
        assert!(!alias["description"].as_str().unwrap_or_default().is_empty(), "{alias:#}");
        let call = alias["run"][0].as_str().unwrap_or_default();
        assert_eq!(call, format!("cargo xtask {name}"), "{alias:#}");
        kit.xtask(&format!("{name} --help")).exits(0).says(&[&format!("Usage: cargo xtask {name}")]);
        aliases.insert(name.to_owned());
    }
    assert_eq!(aliases, tasks(), "an alias for each task, and none for anything else");
    for name in ["hooks-install", "pre-commit-run", "changelog", "changelog-bump", "markdown-lint", "markdown-fix"] {
        assert!(aliases.contains(name), "{name}");
    }
}

/// infisical's scan is gitleaks with additional rules, and its binary is not in any package registry; gitleaks reads the same
/// configuration.
#[test]
fn the_scan_finds_the_secrets_of_this_kit_and_none_in_its_history() {
    let Some(gitleaks) = program("gitleaks") else { return };
    let kit = Kit::new();
    let config = root().join(".infisical-scan.toml").display().to_string();
    let scan = |words: &[&str], dir: &std::path::Path| {
        let mut command = kit.command(gitleaks.to_str().unwrap());
        command.env("PATH", "/usr/bin:/bin").args(words).args(["--no-banner", "--redact", "--config", &config]);
        command.args(["--report-format", "json", "--report-path", "-"]).arg(dir);
        CommandOutput::of(&mut command)
    };
    let service_account = crate::input::key("automation", 1_700_000_000, 86_400);
    let uuid = "7c1e9f04-5b2d-4a86-93fe-0d8b61c2a7f5";
    for (file, text, rule) in [
        ("notes/sa.txt", format!("KEY={service_account}\n"), "omni-service-account-key"),
        ("notes/pve.txt", format!("token: root@pam!omni={uuid}\n"), "proxmox-api-token"),
        ("notes/ts.txt", format!("K: tskey-{}\n", "auth-kR7dZq2W9CNTRL-8fJm4xVb1HsLtYpQ6"), "tailscale-key"),
        ("notes/id.txt", private_key(), "private-key"),
    ] {
        kit.write(file, &text);
        let found = format!("\"RuleID\": \"{rule}\"");
        scan(&["dir"], &kit.path().join("notes")).exits(1).says(&[&found, "REDACTED"]);
        fs::remove_file(kit.path().join(file)).unwrap();
    }
    // The scan finds no secrets in this repository's history.
    scan(&["git"], root()).exits(0);
}
