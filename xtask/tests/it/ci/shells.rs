//! Completion in the shells themselves: each gets its script, and then what a person types.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;

use super::Kit;
use super::real::program;
use crate::sandbox::{CommandOutput, wait_for};

/// What is typed after the name of the runner, and its completion after one key press: tasks, options, and the names of this
/// project.
const TYPED: [(&str, &str); 6] = [
    ("provider-v", "provider-verify"),
    ("machineclass-apply ", "dev-small"),
    ("cluster-status m", "matrix"),
    ("cluster-create x --worker-class d", "dev-small"),
    ("rehearse --clo", "--clock"),
    ("completions f", "fish"),
];

/// The names of the runner, each with the function that completes its arguments in bash.
const CALLED: [(&str, &str); 2] = [("cargo xtask", "__omni_scale_cargo"), ("omni-scale", "__omni_scale")];

/// Returns the command lines that are typed, with their completions.
fn typed(called: &str) -> impl Iterator<Item = (String, &'static str)> {
    TYPED.iter().map(move |(typed, becomes)| (format!("{called} {typed}"), *becomes))
}

/// A project with a class, a cluster and a runner under both names, and the script for one shell.
fn project(shell: &str, called: &str) -> Kit {
    let kit = Kit::new();
    kit.write("machine-classes/dev-small.yaml", "");
    kit.write("clusters/matrix.yaml", "");
    for name in ["target/debug/xtask", "target/debug/omni-scale"] {
        fs::create_dir_all(kit.path().join("target/debug")).unwrap();
        symlink(env!("CARGO_BIN_EXE_xtask"), kit.path().join(name)).unwrap();
    }
    let own = kit.path().join("target/debug").join(called.replace("cargo ", ""));
    let script = CommandOutput::of(kit.command(own.to_str().unwrap()).args(["completions", shell])).exits(0);
    kit.write("script", &script.stdout);
    kit
}

/// Runs a script in a shell without this machine's settings, and returns its output.
fn runs(kit: &Kit, shell: &str, flags: &[&str], script: &str) -> String {
    let mut command = kit.command(program(shell).unwrap().to_str().unwrap());
    let path = format!("{}:/usr/bin:/bin", kit.path().join("target/debug").display());
    command.env("PATH", path).env("TERM", "dumb").args(flags).args(["-c", script]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&format!("{shell} hangs"), || child.try_wait().unwrap().is_some());
    CommandOutput::from(&child.wait_with_output().unwrap()).exits(0).stdout.clone()
}

#[test]
fn bash_completes_what_is_typed() {
    for (called, function) in CALLED {
        let kit = project("bash", called);
        let complete = |line: &str| {
            let count = line.split(' ').count() - 1;
            let words = line.split(' ').map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
            let script = format!(
                "before() {{ COMPREPLY=(of-cargo); }}; complete -F before cargo; source ./script; \
                 COMP_WORDS=({words}); COMP_CWORD={count}; {function}; printf '%s ' \"${{COMPREPLY[@]}}\""
            );
            runs(&kit, "bash", &["--norc"], &script).trim().to_owned()
        };
        for (typed, becomes) in typed(called) {
            assert_eq!(complete(&typed), becomes, "{typed}");
        }
        if called == "cargo xtask" {
            assert_eq!(complete("cargo bui"), "of-cargo", "cargo's own completion goes on");
        }
    }
}

/// Uses the key itself in a separate terminal; `^Xp` then prints the line.
#[test]
fn zsh_completes_what_is_typed() {
    for (called, _) in CALLED.iter().filter(|_| program("zsh").is_some()) {
        let kit = project("zsh", called);
        let mut script = String::from(
            "zmodload zsh/zpty; zpty z zsh -f -i\n\
             zpty -w z 'PROMPT=; autoload -Uz compinit; compinit -D -u; source ./script; \
             show() { print -r -- \"LINE<$BUFFER>\"; BUFFER=; }; zle -N show; bindkey ^Xp show; print READ\"\"Y'\n\
             zpty -r -m z out '*READY*'\n",
        );
        for (typed, _) in typed(called) {
            script.push_str(&format!(
                "zpty -n -w z '{typed}'$'\\t'; zpty -n -w z $'\\x18p'; zpty -r -m z out '*LINE<*>*'\n\
                 print -r -- \"${{${{out##*LINE<}}%%>*}}\"\n"
            ));
        }
        let shown = runs(&kit, "zsh", &["-f"], &script);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), TYPED.len(), "{shown}");
        for ((typed, becomes), line) in typed(called).zip(lines) {
            assert_eq!(line.trim_end().rsplit(' ').next(), Some(becomes), "{typed}: {shown}");
        }
    }
}

#[test]
fn fish_completes_what_is_typed() {
    for (called, _) in CALLED.iter().filter(|_| program("fish").is_some()) {
        let kit = project("fish", called);
        for (typed, becomes) in typed(called) {
            let shown = runs(&kit, "fish", &["--no-config"], &format!("source script; complete -C '{typed}'"));
            let words: Vec<&str> = shown.lines().filter_map(|line| line.split('\t').next()).collect();
            assert_eq!(words, [becomes], "{typed}");
        }
    }
}
