//! `action.yml` as a runner executes it: the script of each step in bash, with its inputs and a fake GitHub; and the hooks of
//! `.pre-commit-hooks.yaml`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::sandbox::{CommandOutput, Sandbox, Scratch, lab_program, program_at, root};
use crate::site;

#[derive(Deserialize)]
struct Action {
    inputs: BTreeMap<String, Input>,
    runs: CompositeAction,
}

#[derive(Deserialize)]
struct Input {
    default: String,
}

#[derive(Deserialize)]
struct CompositeAction {
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    name: String,
    shell: String,
    #[serde(default)]
    env: BTreeMap<String, String>,
    run: String,
}

/// Fake `gh api`: the list of comments is a file, and every call is recorded.
const GH: &str = "#!/bin/sh\necho \"$*\" >>\"$CALLS\"\ncase $* in *--paginate*) cat \"$COMMENTS\" ;; esac\n";

/// Runs every step until one fails, with these environment variables. Returns the last output, and the requests to GitHub.
fn runs(place: &Scratch, dir: &Path, comments: &str, variables: &[(&str, &str)]) -> (CommandOutput, String) {
    let at = |name: &str| place.path().join(name);
    program_at(&at("bin/gh"), GH);
    // As in the archive of a release: the lab is in the same directory as the program.
    for (program, name) in [(Path::new(env!("CARGO_BIN_EXE_xtask")), "omni-scale"), (lab_program(), "omni-scale-lab")] {
        fs::copy(program, at("bin").join(name)).expect("a copy");
    }
    fs::write(at("comments"), comments).expect("written");
    fs::write(at("calls"), "").expect("written");
    let text = fs::read_to_string(root().join("action.yml")).expect("there");
    let action: Action = serde_yaml::from_str(&text).expect("an action");
    let given = |value: &str| match value.trim_start_matches("${{ ").trim_end_matches(" }}") {
        "inputs.directory" => dir.display().to_string(),
        "github.event.pull_request.number" => "7".to_owned(),
        name => action.inputs[name.strip_prefix("inputs.").expect("an input")].default.clone(),
    };
    let mut last = None;
    for step in &action.runs.steps {
        let mut command = Command::new(&step.shell);
        command
            .args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &step.run])
            .current_dir(place.path())
            .env_clear();
        command.env("PATH", format!("{}:/usr/bin:/bin", at("bin").display())).env("HOME", place.path());
        command.envs(variables.iter().copied());
        for (name, value) in step.env.iter().map(|(name, value)| (name.as_str(), given(value))) {
            command.env(name, value);
        }
        for (name, file) in [
            ("RUNNER_TEMP", "temp"),
            ("GITHUB_STEP_SUMMARY", "summary"),
            ("GITHUB_PATH", "path"),
            ("CALLS", "calls"),
            ("COMMENTS", "comments"),
        ] {
            command.env(name, at(file));
        }
        command.env("GITHUB_REPOSITORY", "me/site").env("RUNNER_OS", "Linux").env("RUNNER_ARCH", "X64");
        let output = CommandOutput::of(command.stdin(Stdio::null()));
        let failed = output.code != 0;
        assert!(!failed || step.name == "Report", "{}: {output:#?}", step.name);
        last = Some(output);
    }
    (last.expect("steps"), fs::read_to_string(at("calls")).expect("there"))
}

#[test]
fn action_checks_rehearses_and_comments_without_secrets() {
    let (place, own) = (Scratch::new(), site::site());
    let (output, calls) = runs(&place, own.path(), "", &[]);
    output.exits(0);
    assert!(calls.contains("--method POST repos/me/site/issues/7/comments --field body=@"), "{calls}");
    let comment = fs::read_to_string(place.path().join("temp/omni-scale-report/comment.md")).expect("a comment");
    for words in [
        "### Omni-Scale: passed",
        "machineclass-check: passed",
        "rehearse: passed",
        "cluster-delete demo",
        "Omni was not asked",
    ] {
        assert!(comment.contains(words), "{words}: {comment}");
    }
    assert_eq!(fs::read_to_string(place.path().join("summary")).expect("a summary"), comment);
    // Its own comment is found again, and updated with the errors.
    site::write(&own, "clusters/first.yaml", "kind: Cluster\nname: demo\n");
    let (output, calls) = runs(&place, own.path(), "4711\n", &[]);
    output.exits(1).says(&["::error::failed: cluster-check,rehearse"]);
    assert!(calls.contains("--method PATCH repos/me/site/issues/comments/4711 --field body=@"), "{calls}");
}

/// With access to Omni, the comment contains the changes that a sync would make, and nothing is changed.
#[test]
fn action_plans_with_secrets_and_shows_none() {
    let (place, lab) = (Scratch::new(), Sandbox::new());
    lab.provider();
    lab.class("small");
    lab.run("cluster-create demo --control-planes 1 --workers 1 --yes --timeout 60s").exits(0);
    let (workers, template) = ("kind: Workers", lab.read("clusters/demo.yaml"));
    let (before, after) = template.split_once(workers).expect("workers");
    lab.write("clusters/demo.yaml", &format!("{before}{workers}{}", after.replacen("size: 1", "size: 2", 1)));
    let omnictl = Path::new(lab.env("PATH").split(':').next().expect("a directory")).join("omnictl");
    program_at(&place.path().join("bin/omnictl"), &format!("#!/bin/sh\nexec {} \"$@\"\n", omnictl.display()));
    let names = ["OMNI_ENDPOINT", "OMNI_SERVICE_ACCOUNT_KEY", "SSL_CERT_FILE"];
    let variables = names.map(|name| (name, lab.env(name)));
    let (output, _) = runs(&place, &lab.project(), "", &variables);
    output.exits(0);
    let comment = fs::read_to_string(place.path().join("temp/omni-scale-report/comment.md")).expect("a comment");
    for words in
        ["### Omni-Scale: passed", "### Plan: 1 change", "set demo-workers from 1 to 2 machines", "plan: passed"]
    {
        assert!(comment.contains(words), "{words}: {comment}");
    }
    assert!(!comment.contains(lab.env(names[1])), "the key is in the comment");
    let state = lab.dump();
    let sets = state["omni"]["clusters"][0]["machine_sets"].as_array().expect("machine sets");
    assert!(sets.iter().all(|set| set["machines"].as_array().is_some_and(|machines| machines.len() == 1)), "{sets:#?}");
}

#[derive(Deserialize)]
struct Hook {
    id: String,
    entry: String,
    files: String,
    #[serde(default = "yes")]
    pass_filenames: bool,
}

fn yes() -> bool {
    true
}

#[test]
fn hooks_of_other_repositories_pass_good_files_and_refuse_bad_ones() {
    lab_program();
    let text = fs::read_to_string(root().join(".pre-commit-hooks.yaml")).expect("there");
    let hooks: Vec<Hook> = serde_yaml::from_str(&text).expect("hooks");
    assert_eq!(hooks.len(), 3);
    for hook in hooks {
        let own = site::site();
        let broken = if hook.id == "machineclass-check" { "machine-classes/small.yaml" } else { "clusters/first.yaml" };
        assert!(regex::Regex::new(&hook.files).expect("a pattern").is_match(broken), "{}", hook.id);
        let bin = Scratch::new();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_xtask"), bin.path().join("omni-scale")).expect("a link");
        let run = || {
            let words: Vec<&str> = hook.entry.split(' ').collect();
            let mut command = Command::new(bin.path().join(words[0]));
            command.args(&words[1..]).args(hook.pass_filenames.then_some(broken)).current_dir(own.path());
            command.env("HOME", bin.path()).env("XDG_STATE_HOME", bin.path().join("state"));
            CommandOutput::of(command.stdin(Stdio::null()))
        };
        run().exits(0);
        site::write(&own, broken, "kind: Nothing\n");
        run().exits(1);
    }
}
