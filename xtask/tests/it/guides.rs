//! The guides: every command that they show is one that there is, with flags that it has.

use std::collections::BTreeMap;
use std::fs;

use clap::Parser;
use xtask::cli::Cli;

use crate::sandbox::root;

/// Pages that people copy commands from.
const PAGES: &str = "README.md docs/tutorial/rehearsal.md docs/reference/settings.md docs/how-to/deployment.md \
     docs/how-to/operations.md docs/how-to/saved-plans.md docs/how-to/upgrade.md docs/explanation/networking.md \
     docs/how-to/gpg-key-setup.md docs/how-to/questions.md docs/how-to/site-settings.md docker/README.md docker/TROUBLESHOOTING.md tsidp/README.md";

/// What the guides warn of.
const WARNED_OF: [&str; 3] = ["docker compose down -v", "docker volume prune", "docker system prune"];

/// Programs of the system, whose flags are for their own manuals.
const SYSTEM: &str = include_str!("../fixtures/system-programs.txt");

/// Commands as far as the guides use them, each with its flags; those of `omnictl` 1.9.3 are what its own help lists.
const OMNICTL: &str = include_str!("../fixtures/omnictl-commands.txt");
const DOCKER: &str = include_str!("../fixtures/docker-commands.txt");
const PVEUM: &str = include_str!("../fixtures/pveum-commands.txt");

/// Flags that take the next word.
const WITH_VALUE: &str = "-f --profile --env-file --tail --format --filter --role --ttl --cluster -c --user --to -l -o --privs \
                          --comment --privsep --users --roles --tokens --path --file --tcp -v -p";

/// The commands of a page, each with its line: those of shell blocks, and code within the text that begins with a program
/// and goes on.
fn commands(text: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    let (mut shell, mut fenced, mut open) = (false, false, String::new());
    for (number, line) in text.lines().enumerate() {
        let bare = line.trim();
        if bare.starts_with("```") {
            shell = !fenced && bare == "```sh";
            fenced = !fenced;
            continue;
        }
        if fenced && !shell {
            continue;
        }
        if shell {
            match bare.strip_suffix('\\') {
                Some(part) => open.push_str(part),
                None => out.push((number + 1, std::mem::take(&mut open) + bare)),
            }
            continue;
        }
        for span in line.split('`').skip(1).step_by(2) {
            let program = span.split(' ').next().unwrap_or_default();
            // A task may be named without what it needs.
            let named = span.matches(' ').count() == 2 && span.starts_with("cargo xtask ");
            let shown = span.contains(' ') && !span.contains('<') && !named && !WARNED_OF.contains(&span);
            if shown && ["cargo", "omnictl", "docker", "pveum"].contains(&program) {
                out.push((number + 1, span.to_owned()));
            }
        }
    }
    out
}

/// A line as simple commands: words of each, without what feeds or follows it.
pub fn simple(line: &str) -> Vec<Vec<String>> {
    let (mut out, mut words, mut word, mut quote) = (Vec::new(), Vec::new(), String::new(), None);
    let line = line.split(" #").next().unwrap_or_default();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => quote = Some(c),
            (None, '|' | ';') => {
                words.push(std::mem::take(&mut word));
                out.push(std::mem::take(&mut words));
            }
            (None, '&') if chars.peek() == Some(&'&') => {
                chars.next();
                words.push(std::mem::take(&mut word));
                out.push(std::mem::take(&mut words));
            }
            (None, '(' | ')') => {}
            (None, c) if c.is_whitespace() => words.push(std::mem::take(&mut word)),
            (None, c) => word.push(c),
        }
    }
    words.push(word);
    out.push(words);
    for words in &mut out {
        words.retain(|word| !word.is_empty());
    }
    out.retain(|words| !words.is_empty() && !words[0].starts_with('#'));
    out
}

/// Whether a command of a table is called with flags that it has.
fn known(table: &str, words: &[String]) -> Result<(), String> {
    let table: BTreeMap<&str, &str> = table.lines().filter_map(|line| line.split_once(':')).collect();
    let mut plain = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match word {
            flag if WITH_VALUE.split(' ').any(|known| known == flag) => drop(rest.next()),
            flag if flag.starts_with('-') => {}
            word => plain.push(word.as_str()),
        }
    }
    let name = |count: &usize| plain[..*count].join(" ");
    let Some(count) = (1..=plain.len()).rev().find(|count| table.contains_key(name(count).as_str())) else {
        return Err("there is no such command".to_owned());
    };
    let command = name(&count);
    let mut flags: Vec<&str> = table[command.as_str()].split(' ').collect();
    // Compose takes some before the command.
    flags.extend(table.get(plain[0]).into_iter().flat_map(|flags| flags.split(' ')));
    for word in words.iter().filter(|word| word.starts_with('-') && *word != "-") {
        let flag = word.split('=').next().unwrap_or_default();
        if !flags.contains(&flag) {
            return Err(format!("`{command}` has no {flag}"));
        }
    }
    Ok(())
}

fn runner(words: &[String]) -> Result<(), String> {
    // What stands for a value of one's own may be any.
    let word = |word: &String| word.trim_matches(['[', ']']).replace('…', "x");
    let words = ["xtask".to_owned()].into_iter().chain(words.iter().map(word)).filter(|word| !word.is_empty());
    match Cli::try_parse_from(words) {
        Ok(_) => Ok(()),
        Err(error) if !error.use_stderr() => Ok(()),
        Err(error) => Err(error.to_string().lines().next().unwrap_or_default().to_owned()),
    }
}

fn script(name: &str, words: &[String]) -> Result<(), String> {
    let text = fs::read_to_string(root().join(name)).map_err(|error| error.to_string())?;
    for flag in words.iter().filter(|word| word.starts_with("--")) {
        if !text.contains(&format!("    {flag})")) {
            return Err(format!("{name} has no {flag}"));
        }
    }
    Ok(())
}

pub fn check(words: &[String]) -> Result<(), String> {
    let mut words = words;
    let before = |word: &String| word == "sudo" || (word.contains('=') && !word.contains('$') && words.len() > 1);
    while words.first().is_some_and(before) {
        words = &words[1..];
    }
    let Some((program, rest)) = words.split_first() else { return Ok(()) };
    match program.as_str() {
        "cargo" if rest.first().is_some_and(|word| word == "xtask") => runner(&rest[1..]),
        "cargo" => Ok(()),
        "omnictl" => known(OMNICTL, rest),
        "docker" => known(DOCKER, rest),
        "pveum" => known(PVEUM, rest),
        script_name if script_name.ends_with(".sh") => script(script_name, rest),
        "umask" | "." => Ok(()),
        other if SYSTEM.lines().any(|known| known == other) || other.contains('=') => Ok(()),
        other => Err(format!("`{other}` is a program that no guide explains")),
    }
}

#[test]
fn every_command_of_the_guides_is_one_that_there_is() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for page in PAGES.split(' ') {
        let text = fs::read_to_string(root().join(page)).expect(page);
        for (line, command) in commands(&text) {
            for words in simple(&command) {
                seen += 1;
                if let Err(why) = check(&words) {
                    wrong.push(format!("{page}:{line}: {why}: {command}"));
                }
            }
        }
    }
    assert!(seen > 150, "{seen} commands: are the pages read?");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_command_that_is_none_is_found() {
    for (command, wanted) in [
        ("cargo xtask stack-up --rebuild", "unexpected argument"),
        ("cargo xtask stackup", "unrecognized subcommand"),
        ("omnictl login", "there is no such command"),
        ("omnictl get machines --cluster x", "has no --cluster"),
        ("docker compose -f docker/compose.yaml down -v", "has no -v"),
        ("sudo tsidp/install.sh --auth-key x", "has no --auth-key"),
        ("frobnicate", "no guide explains"),
        ("BROWSER=echo omnictl get sysversion --nonsense", "has no --nonsense"),
    ] {
        let found = simple(command).iter().find_map(|words| check(words).err()).unwrap_or_default();
        assert!(found.contains(wanted), "{command}: {found:?}");
    }
}

/// `docker/compose.yaml` is where versions are pinned; wherever else one stands, it is the same.
#[test]
fn versions_are_pinned_in_one_place() {
    let read = |name: &str| fs::read_to_string(root().join(name)).expect(name);
    let compose = read("docker/compose.yaml");
    let pinned = |image: &str| -> String {
        let line = compose.lines().find_map(|line| line.trim().strip_prefix(&format!("image: {image}:")));
        line.unwrap_or_else(|| panic!("{image} is not pinned")).to_owned()
    };
    let omni = pinned("ghcr.io/siderolabs/omni");
    let provider = pinned("ghcr.io/siderolabs/omni-infra-provider-proxmox");
    let tailscale = pinned("docker.io/tailscale/tailscale");
    let upgrade = read("docs/how-to/upgrade.md");
    let lib = read("tsidp/lib.sh");
    let tsidp = lib.lines().find_map(|line| line.strip_prefix("readonly TSIDP_DEFAULT_VERSION=")).expect("a default");
    let cluster = read("clusters/matrix.yaml");
    let version = |name: &str| -> String {
        let after = cluster.split(&format!("{name}:")).nth(1).and_then(|rest| rest.split("version:").nth(1));
        after.and_then(|rest| rest.split_whitespace().next()).expect(name).trim_matches(['"', '}']).to_owned()
    };
    let both = format!("| Talos, Kubernetes | {}, {} |", version("talos"), version("kubernetes"));
    for row in [
        format!("| Omni | {omni} |"),
        format!("| omnictl | {omni} |"),
        format!("| Proxmox infrastructure provider | {provider} |"),
        format!("| Tailscale | {tailscale} |"),
        both,
        format!("| tsidp | {tsidp} |"),
    ] {
        assert!(upgrade.contains(&row), "docs/how-to/upgrade.md has no row {row:?}");
    }
    for (page, text) in [("README.md", read("README.md")), ("tsidp/install.sh", read("tsidp/install.sh"))] {
        let wanted = if page == "README.md" { [&omni, &provider] } else { [&tsidp.to_owned(), &tsidp.to_owned()] };
        assert!(wanted.iter().all(|version| text.contains(version.as_str())), "{page} names {wanted:?}");
    }
}

/// The example of the provider's configuration shows selectors that are ones.
#[test]
fn the_examples_selectors_compile() {
    let text = fs::read_to_string(root().join("docker/config.yaml.example")).expect("the example");
    let selectors: Vec<&str> =
        text.lines().filter_map(|line| line.trim().strip_prefix("#   storage_selector: ")).collect();
    assert!(selectors.len() >= 3, "{selectors:?}");
    for selector in selectors {
        let expression = selector.trim_matches('\'');
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["selector-test", expression, "--offline", "--json", "--project-dir"])
            .arg(root())
            .output()
            .expect("the runner starts");
        assert!(output.status.success(), "{selector}: {}", String::from_utf8_lossy(&output.stdout));
    }
}
