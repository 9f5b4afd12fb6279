//! The guides: every command in them exists, and so do its flags.

use std::collections::BTreeMap;
use std::fs;

use clap::Parser;
use xtask::cli::Cli;

use crate::plugin::text::{blocks, pages};
use crate::sandbox::{root, tracked};

/// Pages from which people copy commands.
const PAGES: &str = "README.md docs/tutorial/rehearsal.md docs/reference/settings.md docs/how-to/deployment.md \
     docs/how-to/operations.md docs/how-to/saved-plans.md docs/how-to/upgrade.md docs/explanation/networking.md \
     docs/how-to/gpg-key-setup.md docs/how-to/questions.md docs/how-to/site-settings.md docker/README.md docker/TROUBLESHOOTING.md tsidp/README.md";

/// Commands that the guides warn about.
const WARNED_OF: [&str; 3] = ["docker compose down -v", "docker volume prune", "docker system prune"];

/// System programs, whose flags are not checked.
const SYSTEM: &str = include_str!("../fixtures/system-programs.txt");

/// Commands used in the guides, each with its flags; those of `omnictl` 1.9.3 are from its own help.
const OMNICTL: &str = include_str!("../fixtures/omnictl-commands.txt");
const DOCKER: &str = include_str!("../fixtures/docker-commands.txt");
const PVEUM: &str = include_str!("../fixtures/pveum-commands.txt");

/// Flags whose value is the next word.
const WITH_VALUE: &str = "-f --profile --env-file --tail --format --filter --role --ttl --cluster -c --user --to -l -o --privs \
                          --comment --privsep --enable --expire --users --roles --tokens --path --file --tcp -v -p";

/// Returns the commands of a page, each with its line: those in shell blocks, and code spans that start with a program and have
/// arguments.
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
            // A task may be mentioned without its arguments.
            let named = span.matches(' ').count() <= 2 && span.starts_with("cargo xtask");
            let shown = span.contains(' ') && !span.contains('<') && !named && !WARNED_OF.contains(&span);
            if shown && ["cargo", "omnictl", "docker", "pveum"].contains(&program) {
                out.push((number + 1, span.to_owned()));
            }
        }
    }
    out
}

/// Splits a line into simple commands, each a list of words, without pipes and separators.
pub fn simple(line: &str) -> Vec<Vec<String>> {
    let line = line.split(" #").next().unwrap_or_default().replace(['(', ')'], "").replace("; ", " ; ");
    let words = shlex::split(&line).unwrap_or_default();
    let commands = words.split(|word| ["|", ";", "&&"].contains(&word.as_str())).map(<[String]>::to_vec);
    commands.filter(|words| words.first().is_some_and(|word| !word.starts_with('#'))).collect()
}

/// Checks that the table contains the command and its flags.
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
    // Compose accepts some flags before the command.
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
    // A placeholder may be any value.
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
fn commands_of_the_guides_exist() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    // Commands in the known issues are checked with their source.
    let of_plugin = pages(root()).into_iter().filter(|page| !page.ends_with("troubleshooting.md"));
    for page in PAGES.split(' ').map(|page| root().join(page)).chain(of_plugin) {
        let text = fs::read_to_string(&page).expect("a page");
        let page = page.strip_prefix(root()).expect("a page of the repository").display().to_string();
        for (line, command) in commands(&text) {
            for words in simple(&command) {
                seen += 1;
                // The plugin's pages append the user's arguments.
                let open = ["required arguments", "invalid value 'NAME'"];
                if let Err(why) = check(&words)
                    && !(page.starts_with("commands") && open.iter().any(|open| why.contains(open)))
                {
                    wrong.push(format!("{page}:{line}: {why}: {command}"));
                }
            }
        }
    }
    assert!(seen > 150, "{seen} commands: are the pages read?");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn invalid_command_is_found() {
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

/// Checks every `cargo xtask TASK` on any page; `stack-*` means several tasks.
#[test]
fn tasks_that_pages_name_exist() {
    let call = regex::Regex::new(r"cargo xtask ([a-z][a-z0-9-]*[a-z0-9])([-*_{]?)").expect("a regex");
    let cli = xtask::cli::command();
    for page in tracked().iter().filter(|file| file.ends_with(".md") && *file != "CHANGELOG.md") {
        let text = fs::read_to_string(root().join(page)).unwrap_or_default();
        for found in call.captures_iter(&text).filter(|found| found[2].is_empty()) {
            assert!(cli.find_subcommand(&found[1]).is_some(), "{page}: there is no task `{}`", &found[1]);
        }
    }
}

/// Every selector in the pages compiles as the provider compiles it.
#[test]
fn shown_selectors_compile() {
    let read = |name: &str| fs::read_to_string(root().join(name)).expect(name);
    let (example, page) =
        (read("docker/config.yaml.example"), read("skills/omni-proxmox/references/cel-storage-selectors.md"));
    let examples = example.lines().filter_map(|line| line.trim().strip_prefix("#   storage_selector: "));
    let examples: Vec<&str> = examples.map(|selector| selector.trim_matches('\'')).collect();
    let recipes = blocks(&page, "cel");
    assert!(examples.len() >= 3 && recipes.len() >= 15, "{examples:?} {recipes:?}");
    for selector in examples.into_iter().chain(recipes) {
        selector::compile(selector).unwrap_or_else(|why| panic!("{selector}: {why}"));
    }
    assert!(selector::compile("storage.filter(s, s.type == \"rbd\")[0].storage").is_err(), "the older form");
}
