//! The tasks that start a lab, whose secrets are created while they run: the test watches all processes of this machine
//! meanwhile, and checks what is left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use domain::spec::env::EnvFile;

use crate::lab::runner;
use crate::sandbox::{CommandOutput, Sandbox};

/// Returns the key and the token of a lab, from the file that a shell would source.
fn secrets_of(env_file: &Path) -> Option<Vec<String>> {
    let text = fs::read_to_string(env_file).ok()?;
    let env = EnvFile::parse("env", &text).ok()?;
    let token = env.get("PROXMOX_VE_API_TOKEN")?.split_once('=')?.1.to_owned();
    Some(vec![env.get("OMNI_SERVICE_ACCOUNT_KEY")?.to_owned(), token])
}

/// The command lines of all observed processes, and the environments by program name.
#[derive(Default)]
struct SeenProcesses {
    lines: BTreeSet<String>,
    environments: BTreeMap<String, BTreeSet<Vec<u8>>>,
}

impl SeenProcesses {
    fn look(&mut self) {
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let line = || fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let (before, environment) = (line(), fs::read(entry.path().join("environ")).unwrap_or_default());
            // A process that became another program in between is read again the next time.
            if before.is_empty() || before != line() {
                continue;
            }
            let line = String::from_utf8_lossy(&before).replace('\0', " ");
            let program = line.split(' ').next().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned();
            self.environments.entry(program).or_default().insert(environment);
            self.lines.insert(line);
        }
    }

    /// Checks that no command line contains a secret, and that only programs that log in have the key in their environment.
    #[track_caller]
    fn hold_none(&self, task: &str, secrets: &[String]) {
        for secret in secrets {
            let line = self.lines.iter().find(|line| line.contains(secret.as_str()));
            assert!(line.is_none(), "{task}: a secret is in a command line: {line:?}");
            for (program, environments) in &self.environments {
                let holds = environments.iter().any(|text| String::from_utf8_lossy(text).contains(secret.as_str()));
                // The runner and the shell get it from the operator, whose part the rehearsal plays.
                assert!(
                    !holds || ["xtask", "omnictl", "sh"].contains(&program.as_str()),
                    "{task}: {program} gets a secret"
                );
            }
        }
    }
}

/// Returns every file in `dir` with its mode.
fn files(dir: &Path) -> Vec<(PathBuf, u32)> {
    use std::os::unix::fs::PermissionsExt;
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => found.extend(files(&path)),
            Ok(meta) if meta.is_file() => found.push((path, meta.permissions().mode() & 0o777)),
            _ => {}
        }
    }
    found
}

#[test]
fn no_secret_of_a_rehearsal_leaks() {
    let lab = Sandbox::new();
    for form in ["-v", "--json"] {
        let mut command = runner(&format!("rehearse {form}"));
        command.arg("--project-dir").arg(lab.project());
        let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the runner starts");
        let env_file = lab.file(&format!("target/rehearsal-{}/env", running.id()));
        let (mut seen, mut secrets) = (SeenProcesses::default(), None);
        let ended = std::thread::spawn(move || running.wait_with_output().expect("it is ours"));
        let end = Instant::now() + Duration::from_secs(60);
        while !ended.is_finished() && Instant::now() < end {
            seen.look();
            secrets = secrets.or_else(|| secrets_of(&env_file));
            std::thread::sleep(Duration::from_millis(5));
        }
        let ran = CommandOutput::from(&ended.join().expect("no panic")).exits(0);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        let secrets = secrets.expect("the lab writes its environment");
        assert!(seen.environments.contains_key("omnictl"), "no call was seen at all");
        assert!(secrets.iter().all(|secret| !said.contains(secret.as_str())), "{form}: a secret was said");
        seen.hold_none(&format!("rehearse {form}"), &secrets);
        for (file, _) in files(&lab.file("target")) {
            let text = String::from_utf8_lossy(&fs::read(&file).expect("ours")).into_owned();
            assert!(secrets.iter().all(|secret| !text.contains(secret.as_str())), "{} holds a secret", file.display());
        }
    }
}

#[test]
fn no_secret_of_a_lab_that_stays_up_leaks() {
    let lab = Sandbox::new();
    for form in ["-v", "--json"] {
        let mut said = String::new();
        let mut run = |line: &str, code: i32| {
            let mut command = runner(line);
            let ran = CommandOutput::of(command.args([form, "--project-dir"]).arg(lab.project())).exits(code);
            said += &format!("{}{}", ran.stdout, ran.stderr);
        };
        run("lab-up --yes --nodes 3 --vms 10", 0);
        let env_file = lab.file("target/lab/env");
        let secrets = secrets_of(&env_file).expect("the lab writes its environment");
        run("lab-up --dump", 0);
        // One lab is already up, so a second one is refused; so is an unknown fault.
        run("lab-up --yes", 1);
        run("lab-faults", 0);
        let mut seen = SeenProcesses::default();
        seen.look();
        let mut kept = Vec::new();
        for (file, mode) in files(&lab.file("target")) {
            let text = String::from_utf8_lossy(&fs::read(&file).expect("ours")).into_owned();
            if secrets.iter().any(|secret| text.contains(secret.as_str())) {
                kept.push(file.strip_prefix(lab.file("target/lab")).expect("only the lab's own").to_owned());
                assert_eq!(mode, 0o600, "{}", file.display());
            }
        }
        assert!(kept.contains(&PathBuf::from("env")), "{kept:?}");
        run("lab-down --yes", 0);
        run("lab-up --yes --fault no-such-fault", 2);
        assert!(secrets.iter().all(|secret| !said.contains(secret.as_str())), "{form}: a secret was said");
        seen.hold_none(form, &secrets);
        assert!(!lab.file("target/lab").exists());
    }
}
