//! What happens to a task from outside: a terminal that closes, a standard error that cannot be written, a service or a program
//! with endless output, text that controls a terminal, limits on threads, and pipes in place of files. Each results in a single
//! clear error or none at all, in bounded time and memory.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::Deserialize;

use crate::sandbox::{
    self, CommandOutput, MeasuredRun, Sandbox, class_line, is_alive, kill, list, wait_for, web_server, words,
};

/// Additional memory that a task may use compared with the lab.
const MORE_KIB: u64 = 64 << 10;

/// Runs a task and measures its peak memory, in KiB, and its duration.
fn measured(lab: &Sandbox, line: &str) -> (CommandOutput, u64, Duration) {
    let MeasuredRun { ran, peak_kib, took, .. } = sandbox::measured(&mut lab.command(words(line)), lab.scratch());
    (ran, peak_kib, took)
}

/// Runs a task that may use little more memory than in the lab, and not take long.
#[track_caller]
fn bounded(lab: &Sandbox, line: &str, usual: u64, case: &str) -> CommandOutput {
    let (ran, peak, took) = measured(lab, line);
    assert!(peak <= usual + MORE_KIB, "{case}: {peak} KiB, {usual} KiB in the lab");
    assert!(took < Duration::from_secs(40), "{case}: {took:?}");
    ran
}

/// Returns the memory that a task uses in the lab, where nothing is wrong.
fn usual(lab: &Sandbox, line: &str) -> u64 {
    measured(lab, line).1
}

#[track_caller]
fn document(ran: &CommandOutput) -> serde_json::Value {
    assert!(!ran.stderr.contains("panicked"), "{ran:#?}");
    assert_eq!(ran.stdout.lines().count(), 1, "one document: {ran:#?}");
    ran.json()
}

// ---- signals

/// Starts a task that waits in omnictl, which has started another program. Returns the process IDs of both.
fn waiting(lab: &mut Sandbox, wrap: &[&str]) -> (Child, Vec<String>) {
    let pids = lab.scratch().join("pids");
    let _ = fs::remove_file(&pids);
    lab.wrap_program(
        "omnictl",
        &format!(
            "case \"$*\" in *'get clusters'*) sleep 313 & echo \"$$ $!\" > {0}.new; mv {0}.new {0}; wait;; esac\nexec @REAL@ \"$@\"",
            pids.display()
        ),
    );
    let words = [wrap, &[env!("CARGO_BIN_EXE_xtask"), "cluster-status", "--json", "--project-dir"]].concat();
    let mut command = lab.program(words[0]);
    command.args(&words[1..]).arg(lab.project()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let running = command.spawn().expect("the runner starts");
    wait_for("omnictl is not called", || pids.exists());
    let text = fs::read_to_string(&pids).expect("it is there");
    (running, text.split_whitespace().map(str::to_owned).collect())
}

#[test]
fn every_signal_that_stops_a_task_stops_its_programs_too() {
    let mut lab = Sandbox::new();
    // `timeout` sends its signal twice, in quick succession.
    for (signal, cause) in
        [("HUP", "SIGHUP"), ("QUIT", "SIGQUIT"), ("TERM", "SIGTERM"), ("INT", "Ctrl-C"), ("TERM TERM", "SIGTERM")]
    {
        // If the tests themselves run under nohup, their programs would ignore this signal.
        let (running, pids) = waiting(&mut lab, &["env", "--default-signal=HUP"]);
        let kills: Vec<String> = signal.split(' ').map(|name| format!("kill -{name} {}", running.id())).collect();
        assert!(Command::new("sh").args(["-c", &kills.join("; ")]).status().is_ok_and(|status| status.success()));
        let document = CommandOutput::from(&running.wait_with_output().expect("it is ours")).exits(130).json();
        assert!(document["error"]["cause"].as_str().is_some_and(|text| text.contains(cause)), "{signal}: {document}");
        assert!(pids.len() == 2 && pids.iter().all(|pid| !is_alive(pid)), "{signal}: a program lives on: {pids:?}");
    }
}

#[test]
fn nohup_keeps_a_task_running_when_the_terminal_closes() {
    let mut lab = Sandbox::new();
    let (running, pids) = waiting(&mut lab, &["nohup"]);
    kill("HUP", running.id());
    std::thread::sleep(Duration::from_millis(300));
    assert!(is_alive(&running.id().to_string()) && is_alive(&pids[0]), "it ended");
    kill("TERM", running.id());
    assert_eq!(running.wait_with_output().expect("it is ours").status.code(), Some(130));
}

#[test]
fn signals_that_pause_or_resize_change_nothing() {
    let lab = Sandbox::new();
    lab.provider();
    let mut command = lab.command(&["provider-verify", "--json"]);
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    while running.try_wait().expect("it is ours").is_none() {
        for signal in ["WINCH", "STOP", "CONT"] {
            let _ = Command::new("kill")
                .args([&format!("-{signal}"), &running.id().to_string()])
                .stderr(Stdio::null())
                .status();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    CommandOutput::from(&running.wait_with_output().expect("it is ours")).exits(0).json();
}

// ---- standard error

#[test]
fn verbose_survives_a_standard_error_that_takes_nothing() {
    let lab = Sandbox::new();
    lab.provider();
    let full = File::options().write(true).open("/dev/full").expect("Linux has it");
    CommandOutput::of(lab.command(["-v", "--json", "provider-verify"]).stderr(full)).exits(0).json();
    // `2>&1 | head -1` in the middle of a task that changes something.
    let mut command = lab.command(words(&format!("-v {}", class_line("small"))));
    let mut running = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the runner starts");
    drop(running.stderr.take());
    let status = running.wait().expect("it is ours");
    assert_eq!((status.code(), status.signal()), (Some(0), None));
    assert!(lab.file("machine-classes/small.yaml").exists());
    // The calls are shown where that is possible.
    lab.run("-v provider-verify").exits(0).says(&["$ ", "exited with 0"]);
}

/// `provider-status --follow | head` exits when head does, even if the log has no more lines.
#[test]
fn following_a_log_ends_with_its_reader() {
    let lab = Sandbox::new();
    lab.provider();
    let mut command = lab.command(&["provider-status", "--follow"]);
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(running.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    assert!(!line.trim().is_empty());
    wait_for("it goes on without a reader", || running.try_wait().expect("it is ours").is_some());
    assert_eq!(running.wait().expect("it is ours").code(), Some(0));
}

// ---- answers without end

/// A row of `fixtures/answers.yaml`, which explains each field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    case: String,
    says: String,
    #[serde(default)]
    more: String,
    times: Option<usize>,
    #[serde(default)]
    pause_ms: u64,
    codes: Vec<i32>,
    #[serde(default)]
    names: String,
}

/// The result is one error in one document, in bounded time and memory, and the token is sent nowhere else.
#[test]
fn odd_answers_of_a_service_are_one_error_and_cost_little() {
    let mut lab = Sandbox::new();
    let thief = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let asked = std::sync::Arc::clone(&thief);
    let elsewhere = web_server(move |_, stream| {
        asked.store(true, std::sync::atomic::Ordering::Relaxed);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    });
    let usual = usual(&lab, "proxmox-inventory --insecure-http --json");
    let answers: Vec<Answer> = serde_yaml::from_str(include_str!("../fixtures/answers.yaml")).expect("the answers");
    for Answer { case, says, more, times, pause_ms, codes, names } in answers {
        // `\u00XX` in the table means that byte.
        let bytes = |text: &str| text.chars().map(|c| c as u8).collect::<Vec<u8>>();
        let (says, more) = (bytes(&says.replace("ELSEWHERE", &elsewhere)), bytes(&more));
        let more = if times.is_none() && more.len() < 4096 { more.repeat((1 << 20) / more.len().max(1)) } else { more };
        let url = web_server(move |_, stream| {
            stream.write_all(&says)?;
            for _ in 0..times.unwrap_or(usize::MAX) {
                std::thread::sleep(Duration::from_millis(pause_ms));
                stream.write_all(&more)?;
            }
            Ok(())
        });
        lab.set("PROXMOX_VE_ENDPOINT", Some(&url));
        let ran = bounded(&lab, "proxmox-inventory --insecure-http --json", usual, &case);
        let error = document(&ran)["error"].clone();
        assert!(codes.contains(&ran.code) && (ran.code == 0) == error.is_null(), "{case}: {ran:#?}");
        assert!(error["message"].as_str().unwrap_or_default().contains(&names), "{case}: {ran:#?}");
    }
    assert!(!thief.load(std::sync::atomic::Ordering::Relaxed), "the token went to another server");
}

#[test]
fn endless_output_costs_little_and_names_the_limit() {
    let mut lab = Sandbox::new();
    let usual = usual(&lab, "cluster-status --json");
    for (name, script) in [
        ("standard output", "yes '{\"metadata\":'"),
        ("standard error", "yes error >&2"),
        ("a line without end", "cat /dev/zero"),
        ("deaf", "trap '' TERM INT HUP; yes"),
    ] {
        lab.wrap_program("omnictl", &format!("case \"$*\" in *--version*) exec @REAL@ \"$@\";; esac\n{script}"));
        let ran = bounded(&lab, "cluster-status --json", usual, name);
        let error = document(&ran)["error"].clone();
        let named = error["message"].as_str().is_some_and(|text| text.contains("48 MiB"));
        assert!(ran.code == 1 && named, "{name}: {ran:#?}");
    }
}

#[test]
fn logs_without_end_cost_little() {
    let mut lab = Sandbox::new();
    lab.provider();
    let usual = usual(&lab, "provider-status --json");
    // A docker that ignores --tail.
    let text = r#"omni  | {"level":"info","msg":"reconcile ok, nothing to do here, and a little more text"}"#;
    lab.wrap_program("docker", &format!("case \"$*\" in *logs*) yes '{text}';; esac\nexec @REAL@ \"$@\""));
    for line in ["stack-logs --tail 20", "stack-logs --json --tail 20", "provider-status"] {
        bounded(&lab, line, usual, line).exits(1).says(&["48 MiB"]);
    }
    let mut command = lab.command(&["stack-logs", "--follow"]);
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut some = [0; 1000];
    running.stdout.take().expect("piped").read_exact(&mut some).expect("lines come");
    wait_for("it goes on without a reader", || running.try_wait().expect("it is ours").is_some());
}

/// 200 MB without a line break, as from a program that repeats an error.
#[test]
fn huge_log_costs_neither_memory_nor_the_explanation() {
    let mut lab = crate::operation::with_cluster(1);
    let log = "yes 'storage selector matched nothing' | tr '\\n' ' ' | head -c 200000000";
    lab.wrap_program("docker", &format!("case \"$*\" in *logs*) {log};; *) exec @REAL@ \"$@\";; esac"));
    let (ran, peak, _) = measured(&lab, "cluster-explain demo --json");
    assert!(peak < 150 * 1024, "{peak} KiB");
    assert_eq!(document(&ran)["data"]["causes"], serde_json::json!([]), "{ran:#?}");
}

#[test]
fn task_ends_although_a_grandchild_keeps_the_pipe_open() {
    let mut lab = Sandbox::new();
    let pid = lab.scratch().join("pid");
    for start in ["sleep 313", "setsid sleep 313"] {
        let script = format!("{start} & echo $! > {}\n@REAL@ \"$@\"", pid.display());
        lab.wrap_program("omnictl", &script);
        let (ran, _, took) = measured(&lab, "cluster-status --json");
        assert_eq!((ran.code, document(&ran)["ok"].as_bool()), (0, Some(true)), "{start}: {ran:#?}");
        assert!(took < Duration::from_secs(20), "{start}: {took:?}");
        let left = fs::read_to_string(&pid).expect("it was started");
        wait_for(&format!("{start} lives on"), || !is_alive(&left));
    }
}

// ---- text that steers a terminal

/// Sets the title, clears the screen, hides the text that follows, as C0 and as C1, and reverses the writing direction.
const EVIL: &str = "\u{1b}]0;PWNED\u{7}\u{1b}[2J\u{1b}[8m\u{9b}2J\u{202e}x\rok";

#[track_caller]
fn harmless(what: &str, ran: &CommandOutput) {
    let all = format!("{}{}", ran.stdout, ran.stderr);
    let steers = |c: char| c.is_control() && !['\n', '\t'].contains(&c) || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(all.contains("PWNED"), "{what}: the text did not come: {ran:#?}");
    assert!(!all.contains(steers), "{what}: {ran:#?}");
}

#[test]
fn text_from_outside_cannot_steer_the_terminal() {
    let mut lab = Sandbox::new();
    lab.provider();
    let say = lab.scratch().join("say");
    fs::write(&say, format!("omni  | {EVIL} code = Unauthenticated desc = invalid signature\n")).expect("written");
    let docker = format!("case \"$*\" in *logs*) cat {}; exit 0;; esac\nexec @REAL@ \"$@\"", say.display());
    let place = lab.wrap_program("docker", &docker);
    for line in ["stack-logs", "stack-logs omni", "stack-logs --follow", "stack-logs --json", "provider-status"] {
        harmless(line, &lab.run(line));
    }
    fs::remove_file(place).expect("it is ours");
    let url = web_server(|_, stream| write!(stream, "HTTP/1.1 403 {EVIL}\r\nContent-Length: 0\r\n\r\n"));
    lab.set("PROXMOX_VE_ENDPOINT", Some(&url));
    fs::rename(lab.file("docker/config.yaml"), lab.file("docker/config.kept")).expect("it is there");
    harmless("Proxmox's reason", &lab.run("proxmox-inventory --insecure-http"));
    fs::rename(lab.file("docker/config.kept"), lab.file("docker/config.yaml")).expect("it is there");
    let words = lab.scratch().join("words");
    fs::write(&words, format!("Error: rpc error: {EVIL} no\n")).expect("written");
    let place = lab.wrap_program("omnictl", &format!("cat {} >&2; exit 1", words.display()));
    for line in ["cluster-status", "provider-verify", "cluster-status --json"] {
        harmless(line, &lab.run(line));
    }
    fs::remove_file(place).expect("it is ours");
    harmless("an argument", &lab.run_words(&["cluster-status", EVIL]));
    harmless("an unknown option", &lab.run_words(&["cluster-status", &format!("--{EVIL}PWNED")]));
    harmless("an unknown task", &lab.run_words(&[&format!("{EVIL}PWNED")]));
    let storage = serde_json::json!([{ "name": EVIL, "node": "n", "storageType": "dir", "availableSpace": 1 }]);
    lab.write("s.json", &storage.to_string());
    harmless("a storage", &lab.run(&format!("selector-test true --storages {}", lab.file("s.json").display())));
    lab.write(&format!("machine-classes/a{EVIL}.yaml"), "metadata: {type: x}\n");
    harmless("a file's name", &lab.run("machineclass-check --offline"));
    lab.write("log", &fs::read_to_string(&say).expect("written"));
    let triaged = lab.run(&format!("triage {}", lab.file("log").display()));
    let all = format!("{}{}", triaged.stdout, triaged.stderr);
    assert!(!all.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}']), "{triaged:#?}");
}

// ---- limits

/// Runs the runner with a limit that `sh` sets first, inside `wrap`.
fn limited(lab: &Sandbox, wrap: &[&str], limit: &str, line: &str) -> CommandOutput {
    let text = format!("ulimit {limit}; exec \"$0\" {line} --json --project-dir \"$1\"");
    let words = [wrap, &["sh", "-c", &text, env!("CARGO_BIN_EXE_xtask")]].concat();
    CommandOutput::of(lab.program(words[0]).args(&words[1..]).arg(lab.project()))
}

const EXITS: [i32; 7] = [0, 1, 2, 3, 4, 5, 124];

#[test]
fn too_few_descriptors_are_an_error() {
    let lab = Sandbox::new();
    for count in [4, 5, 6, 8, 10, 12, 16, 24] {
        let ran = limited(&lab, &[], &format!("-n {count}"), "cluster-status");
        assert!(EXITS.contains(&ran.code), "-n {count}: {ran:#?}");
        document(&ran);
    }
}

/// Root has no limit on processes, so the task runs as a user without other processes.
#[test]
fn too_few_processes_are_an_error() {
    const NAME: &str = "too_few_processes_are_an_error";
    let lab = Sandbox::new();
    let wrap = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"];
    let runner = Path::new(env!("CARGO_BIN_EXE_xtask"));
    let reached = Command::new(wrap[0]).args(&wrap[1..]).arg(runner).arg("--version").output();
    if !reached.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIP {NAME}: needs root, setpriv, and a checkout that others may read");
        return;
    }
    lab.provider();
    lab.class("m1");
    let status = Command::new("chown").args(["-R", "54321:54321"]).arg(lab.scratch()).status();
    assert!(status.is_ok_and(|status| status.success()));
    for count in [1, 2, 3, 4, 6, 8, 12, 16, 20] {
        for line in ["provider-verify", "doctor", "cluster-status", "machineclass-apply m1 --yes"] {
            let ran = limited(&lab, &wrap, &format!("-u {count}"), line);
            assert!(EXITS.contains(&ran.code), "-u {count}: {line}: {ran:#?}");
            document(&ran);
        }
    }
    let ran = limited(&lab, &wrap, "-u 100", "provider-verify");
    assert_eq!(ran.code, 0, "{ran:#?}");
}

// ---- files

fn pipe_at(place: &Path) {
    let _ = fs::remove_file(place);
    assert!(Command::new("mkfifo").arg(place).status().expect("coreutils").success());
}

#[test]
fn pipe_in_place_of_a_file_is_refused_by_name() {
    let lab = Sandbox::new();
    lab.provider();
    lab.class("m1");
    lab.run("cluster-create c1 --control-planes 1 --workers 0 --yes --no-wait").exits(0);
    for name in [
        "docker/.env",
        "docker/config.yaml",
        ".claude/omni-scale.local.md",
        "docker/omni.asc",
        "machine-classes/m1.yaml",
    ] {
        let kept = fs::read(lab.file(name)).expect("it is there");
        pipe_at(&lab.file(name));
        for line in list("piped") {
            let (ran, _, took) = measured(&lab, &format!("{line} --json"));
            document(&ran);
            assert!(took < Duration::from_secs(60), "{name}: {line}: {took:?}");
            assert!(ran.code != 124, "{name}: {line}: {ran:#?}");
        }
        assert!(fs::remove_file(lab.file(name)).is_ok(), "{name} is gone");
        fs::write(lab.file(name), kept).expect("put back");
    }
    for (name, line, code) in [("lock", "provider-setup --yes", 1), ("journal.jsonl", "provider-verify", 0)] {
        pipe_at(&lab.state_dir().join(name));
        let ran = lab.run(line).exits(code);
        assert!(code == 0 || ran.stderr.contains("it is a pipe, not a file"), "{name}: {ran:#?}");
        fs::remove_file(lab.state_dir().join(name)).expect("it is there");
    }
    // The configuration of omnictl, and that of docker.
    let mut lab = lab;
    let (omni, docker) = (lab.scratch().join("omniconfig"), lab.scratch().join("docker-config"));
    pipe_at(&omni);
    fs::create_dir(&docker).expect("a directory");
    pipe_at(&docker.join("config.json"));
    lab.set("OMNICONFIG", Some(&omni.display().to_string()));
    lab.set("DOCKER_CONFIG", Some(&docker.display().to_string()));
    lab.set("OMNI_SERVICE_ACCOUNT_KEY", None);
    document(&measured(&lab, "doctor --json").0);
}

#[test]
fn cargo_clean_does_not_release_the_lock() {
    let mut lab = Sandbox::new();
    let (gate, went) = (lab.scratch().join("go"), lab.scratch().join("went"));
    lab.wrap_program(
        "omnictl",
        &format!(
            "case \"$*\" in *infraprovider*create*) : > {1}; while [ ! -e {0} ]; do sleep 0.02; done;; esac\nexec @REAL@ \"$@\"",
            gate.display(),
            went.display()
        ),
    );
    let mut first = lab.start("provider-setup --yes");
    wait_for("it makes no provider", || went.exists());
    let _ = fs::remove_dir_all(lab.file("target"));
    let pid = format!("pid {}", first.id());
    lab.run("provider-setup --yes").exits(1).says(&["`provider-setup`", &pid, "is changing this project"]);
    // Another checkout of the same user uses the same Docker and Omni.
    let other = lab.scratch().join("other");
    let copied = Command::new("cp").arg("-r").arg(lab.project()).arg(&other).status().expect("coreutils");
    assert!(copied.success());
    let elsewhere = |line: &str| CommandOutput::of(&mut lab.command_in(&other, words(line)));
    elsewhere("provider-setup --yes").exits(1).says(&[&pid, "is changing Docker or Omni"]);
    // A task that only changes the files of a checkout waits only for that checkout.
    elsewhere(&class_line("small")).exits(0);
    lab.run(&class_line("small")).exits(1).says(&["is changing this project"]);
    fs::write(&gate, "").expect("written");
    assert!(first.wait().expect("it is ours").success());
}

/// An operator edits files in the middle of a task: the edit is kept, whatever the task writes.
#[test]
fn edits_by_hand_during_a_task_are_kept() {
    let mut lab = Sandbox::new();
    lab.provider();
    lab.class("small");
    let (gate, went) = (lab.scratch().join("go"), lab.scratch().join("went"));
    let hold = format!(": > {1}; while [ ! -e {0} ]; do sleep 0.02; done", gate.display(), went.display());
    let edited = |lab: &mut Sandbox, program: &str, at: &str, line: &str, edit: &dyn Fn(&Sandbox)| {
        let _ = (fs::remove_file(&gate), fs::remove_file(&went));
        let place = lab.wrap_program(program, &format!("case \"$*\" in {at}) {hold};; esac\nexec @REAL@ \"$@\""));
        let mut running = lab.start(line);
        wait_for(&format!("{line} does not call {program} {at}"), || went.exists());
        edit(lab);
        fs::write(&gate, "").expect("written");
        let code = running.wait().expect("it is ours").code();
        fs::remove_file(place).expect("it is ours");
        code
    };
    // In one write, because checks in parallel with the held call may read the file.
    let append = |lab: &Sandbox, name: &str, line: &str| {
        let mut file = File::options().append(true).open(lab.file(name)).expect("it is there");
        std::io::Write::write_all(&mut file, format!("\n{line}\n").as_bytes()).expect("written");
    };
    // The task itself writes the key, after Omni has created it.
    let env = lab.read("docker/.env");
    let kept: String = env
        .lines()
        .filter(|line| !line.starts_with("OMNI_INFRA_PROVIDER_KEY="))
        .fold(String::new(), |all, line| all + line + "\n");
    lab.write("docker/.env", &kept);
    lab.set("OMNI_INFRA_PROVIDER_KEY", None);
    let code = edited(&mut lab, "omnictl", "*infraprovider*", "provider-setup --yes", &|lab| {
        append(lab, "docker/.env", "MY_EDIT=1")
    });
    let env = lab.read("docker/.env");
    assert!(env.contains("MY_EDIT=1") && env.contains("OMNI_INFRA_PROVIDER_KEY=e"), "{code:?}: {env}");
    let create = "cluster-create c1 --yes --no-wait --control-planes 1 --workers 0";
    let code = edited(&mut lab, "omnictl", "*dry-run*) ;; *template*sync*", create, &|lab| {
        append(lab, "clusters/c1.yaml", "# my words");
        append(lab, ".claude/omni-scale.local.md", "## Mine\n\nMy own words.");
    });
    assert!(lab.read("clusters/c1.yaml").contains("# my words"), "{code:?}");
    assert!(lab.read(".claude/omni-scale.local.md").contains("My own words."), "{code:?}");
    let scale = "cluster-scale c1 --set control-planes=3 --yes --no-wait";
    let code = edited(&mut lab, "omnictl", "*template*sync*dry-run*", scale, &|lab| {
        append(lab, "clusters/c1.yaml", "# more of them");
    });
    let template = lab.read("clusters/c1.yaml");
    assert!(
        code == Some(1) && template.contains("# more of them") && template.contains("size: 1"),
        "{code:?}: {template}"
    );
}
