//! The lab as operators use it: rehearse, lab-up, lab-down, and omnictl from the lab's Omni.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use domain::status::proxmox::Inventory;
use runtime::ui::MAX_DOCUMENT_BYTES;
use serde_json::Value;

use crate::sandbox::{CommandOutput, Sandbox, lab_program, pin, root, wait_for, web_server};

/// The runner in this repository, with a clean environment; the arguments in `line` are separated by spaces.
pub fn runner(line: &str) -> Command {
    lab_program();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(line.split(' ')).current_dir(root()).stdin(Stdio::null());
    // The variables that cargo sets for a test must not reach the runner.
    let keys = ["OMNI_SERVICE_ACCOUNT_KEY", "SIDERO_SERVICE_ACCOUNT_KEY"];
    ["CARGO", "OMNI_ENDPOINT"].into_iter().chain(keys).for_each(|name| _ = command.env_remove(name));
    // The runner must not use this user's own state.
    command.env("XDG_STATE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("state"));
    command
}

#[test]
fn a_rehearsal_is_one_document_and_leaves_nothing() {
    let running = runner("rehearse --json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let scratch = root().join("target").join(format!("rehearsal-{}", running.id()));
    let ran = CommandOutput::from(&running.wait_with_output().unwrap()).exits(0);
    assert_eq!(ran.stdout.trim().lines().count(), 1, "one document, on one line");
    let document = ran.json();
    let tasks = document["data"]["tasks"].as_array().unwrap().iter();
    let tasks: Vec<&str> = tasks.map(|ran| ran["document"]["task"].as_str().unwrap()).collect();
    let order = "provider-setup provider-verify machineclass-create machineclass-apply cluster-create cluster-status";
    assert_eq!(tasks.join(" "), order);
    assert_eq!(document["data"]["state"]["proxmox"]["vms"].as_array().map(Vec::len), Some(6));
    assert!(!scratch.exists(), "it left its scratch directory");
}

/// Interrupted rehearsals are tested in `interrupted::of_the_lab`.
#[test]
fn lab_of_a_killed_rehearsal_ends() {
    let mut running = runner("rehearse").stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let dir = root().join("target").join(format!("rehearsal-{}", running.id()));
    // The file exists a moment before it is complete.
    let lab = || -> Option<Value> { serde_json::from_slice(&fs::read(dir.join("lab.json")).ok()?).ok() };
    wait_for("no lab", || lab().is_some());
    let pid = lab().unwrap()["pid"].as_u64().unwrap();
    running.kill().unwrap();
    assert_eq!(running.wait().unwrap().code(), None);
    wait_for("the lab stays", || !Path::new(&format!("/proc/{pid}")).exists());
    // A killed runner cannot remove it; the next rehearsal does.
    let _ = fs::remove_dir_all(&dir);
}

#[test]
fn a_lab_stays_up_and_goes_down() {
    let lab = Sandbox::new();
    // A separate project, because the repository's own may have a lab that is in use.
    for file in ["docker/.env.example", "docker/config.yaml.example"] {
        assert!(lab.file(file).exists());
    }
    let project = lab.project();
    let call = |line: &str| CommandOutput::of(runner(line).arg("--project-dir").arg(&project));
    let up = call("lab-up --json --yes").exits(0).json();
    for key in ["env_file", "proxmox_url", "omni_endpoint", "ca_file", "project_dir"] {
        assert!(up["data"][key].is_string(), "{key}: {up:#}");
    }
    let [env_file, in_lab] = ["env_file", "project_dir"].map(|key| up["data"][key].as_str().unwrap());
    let env = fs::read_to_string(env_file).unwrap();
    let token = env.lines().find_map(|line| line.split_once("PROXMOX_VE_API_TOKEN=")).unwrap().1;
    assert!(!up.to_string().contains(token.trim_matches('\'')), "no token in the document");
    call("lab-up --yes").exits(1);
    let xtask = env!("CARGO_BIN_EXE_xtask");
    let script = format!(". '{env_file}' && '{xtask}' --project-dir '{in_lab}' provider-setup --yes");
    CommandOutput::of(Command::new("sh").args(["-c", &script]).env("HOME", lab.scratch())).exits(0);
    let dump = call("lab-up --dump --json").exits(0).json();
    assert_eq!(dump["data"]["omni"]["providers"][0]["connected"], true, "{dump:#}");
    // Not from inside the lab: in the lab's own project, the task finds the lab, and suggests where to go.
    let mut inside = runner("lab-down --yes");
    CommandOutput::of(inside.current_dir(project.join("target/lab/project/clusters"))).exits(1).says(&["next: cd "]);
    call("lab-down --yes").exits(0);
    assert!(!project.join("target/lab").exists());
    call("lab-down").exits(0);
    // Does not remove files that no lab has created.
    lab.write("target/lab/notes.txt", "mine");
    for line in ["lab-down --yes", "lab-up --yes"] {
        call(line).exits(1).says(&["was not made by lab-up"]);
    }
    assert_eq!(lab.read("target/lab/notes.txt"), "mine");
}

/// A lab of a given size that keeps running, and tasks in its project.
struct Site {
    lab: Sandbox,
    env: String,
    at: String,
}

impl Site {
    fn up(size: &str) -> Site {
        let lab = Sandbox::new();
        let up = CommandOutput::of(&mut Site::runner(&lab, &format!("lab-up --json --yes {size}"))).json();
        let text = |key: &str| up["data"][key].as_str().expect("a text").to_owned();
        Site { lab, env: text("env_file"), at: text("project_dir") }
    }

    fn runner(lab: &Sandbox, line: &str) -> Command {
        let mut command = runner(line);
        command.arg("--project-dir").arg(lab.project());
        command
    }

    /// Runs a task. Returns its output, and the number of programs that it called.
    fn task(&self, line: &str) -> (CommandOutput, usize) {
        let journal = self.lab.scratch().join(".local/state/omni-scale/journal.jsonl");
        let _ = fs::remove_file(&journal);
        let (env, at, xtask) = (&self.env, &self.at, env!("CARGO_BIN_EXE_xtask"));
        let script = format!(". '{env}' && exec '{xtask}' --project-dir '{at}' {line}");
        let ran = CommandOutput::of(Command::new("sh").args(["-c", &script]).env("HOME", self.lab.scratch()));
        (ran, fs::read_to_string(&journal).unwrap_or_default().lines().count())
    }

    fn edit(&self, number: u32, from: &str, to: &str) {
        let file = Path::new(&self.at).join(format!("clusters/fleet-{number:03}.yaml"));
        let text = fs::read_to_string(&file).expect("it is there");
        assert!(text.contains(from), "{text}");
        fs::write(&file, text.replacen(from, to, 1)).expect("written");
    }

    fn down(self) {
        CommandOutput::of(&mut Site::runner(&self.lab, "lab-down --yes")).exits(0);
    }
}

/// One of several faults can be ended by name, from the lab's own project too, and twice; an unknown fault cannot.
#[test]
fn lab_heal_ends_one_fault_of_several() {
    let site = Site::up("--fault omni-eula --fault docker-down");
    let heal = |name: &str| CommandOutput::of(&mut Site::runner(&site.lab, &format!("lab-heal {name}")));
    site.task("cluster-status").0.exits(5).says(&["licence"]);
    heal("omni-eula").exits(0).says(&["the fault omni-eula has ended", "cluster-explain"]);
    site.task("cluster-status").0.exits(0);
    let set_up = || site.task("provider-setup --yes").0.code;
    assert_ne!(set_up(), 0);
    for _ in 0..2 {
        site.task("lab-heal docker-down").0.exits(0);
    }
    assert_eq!(set_up(), 0);
    heal("docker-denied").exits(1).says(&["not one of this lab"]);
    heal("docker-dwon").exits(2).says(&["did you mean docker-down"]);
    let lab = Sandbox::new();
    site.down();
    CommandOutput::of(&mut Site::runner(&lab, "lab-heal docker-down")).says(&["no lab is running", "lab-up"]);
}

/// The limit of an assistant: the document, and the output on standard error.
#[test]
fn reading_tasks_print_at_most_8_kib() {
    const LOOKS: &str = "doctor, omni-status, omni-verify, provider-status, provider-verify, stack-logs, proxmox-audit, \
        proxmox-inventory, cluster-status, cluster-status fleet-001, cluster-plan, cluster-plan fleet-001, cluster-explain, drift, \
        upgrade-plan, keys, machineclass-check, cluster-check, tsidp-verify, triage";
    for size in ["--nodes 3", "--clusters 1 --vms 3", "--clusters 1 --vms 30", "--nodes 12 --clusters 30 --vms 120"] {
        let site = Site::up(size);
        if size.contains("vms") {
            site.task("provider-setup --yes").0.exits(0);
        }
        for line in LOOKS.split(", ") {
            let ran = site.task(&format!("{line} --json")).0;
            let bytes = ran.stdout.len() + ran.stderr.len();
            assert!(bytes <= MAX_DOCUMENT_BYTES, "{size}: {line}: {bytes}\n{:#}\n{}", ran.json(), ran.stderr);
        }
        let all = site.task("proxmox-inventory --all --json").0.exits(0).json();
        let inventory = serde_json::from_value::<Inventory>(all["data"].clone()).expect("an inventory");
        assert_eq!(inventory.nodes.len(), if size.contains("12") { 12 } else { 3 });
        site.down();
    }
}

/// Many clusters are compared in few starts of omnictl, with the same results as one at a time: for one that differs, for one
/// with a patch in a file, and for one that omnictl rejects.
#[test]
fn many_clusters_are_compared_in_few_starts() {
    let site = Site::up("--nodes 3 --vms 60 --clusters 30");
    let sync = |line: &str| {
        let (ran, calls) = site.task(line);
        let scratch = fs::read_dir(site.lab.scratch().join(".local/state/omni-scale/tmp")).unwrap().flatten();
        let names: Vec<String> = scratch.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        assert_eq!(names, ["lock"], "links were left behind");
        (ran, calls)
    };
    // The links of a run that was killed.
    fs::create_dir_all(site.lab.scratch().join(".local/state/omni-scale/tmp/sync-x1Y2z3/0")).unwrap();
    let (ran, calls) = sync("cluster-sync --all --yes --json");
    let document = ran.exits(0).json();
    assert_eq!(
        calls,
        1 + 3 + 7 + 3,
        "the clusters, ten a start, seven reads for all, and what Omni offers: {document:#}"
    );
    assert_eq!(document["data"]["clusters"].as_array().map(Vec::len), Some(30));

    site.edit(7, "kind: Cluster\n", "kind: Cluster\nlabels:\n  tier: gold\n");
    let patches = Path::new(&site.at).join("clusters/patches");
    fs::create_dir_all(&patches).unwrap();
    fs::write(patches.join("mtu.yaml"), "machine:\n  network:\n    hostname: ''\n").unwrap();
    site.edit(9, "kind: Cluster\n", "kind: Cluster\npatches:\n  - file: patches/mtu.yaml\n");
    let document = sync("cluster-sync --all --dry-run --json").0.exits(3).json();
    let plan = document["data"]["plan"].as_array().unwrap();
    let objects: Vec<&str> = plan.iter().map(|step| step["object"].as_str().unwrap()).collect();
    assert_eq!(objects, ["cluster fleet-007", "cluster fleet-009"]);
    site.down();
}

/// A site in use: Omni matches the files, every machine is a VM, and a task makes as many program calls as for one machine, or
/// one for each cluster.
#[test]
fn lab_starts_with_the_requested_size() {
    let site = Site::up("--nodes 5 --vms 40 --storages 9 --clusters 4 --tool-start-ms 5");
    site.task("provider-setup --yes").0.exits(0);
    site.task("cluster-status").0.exits(0).says(&["4 of 4 clusters Running and ready"]);
    let (ran, calls) = site.task("cluster-status fleet-001");
    assert!(ran.exits(0).stdout.matches("  Running").count() >= 12);
    assert_eq!(calls, 9 + 1, "of ten machines each, and their VMs");
    let (ran, calls) = site.task("cluster-explain fleet-001");
    ran.exits_with_one_of(&[0, 1]);
    assert!(calls <= 50, "{calls}");
    let (ran, calls) = site.task("cluster-sync --all --yes");
    ran.exits(0).says(&["4 clusters are in sync"]);
    assert_eq!(calls, 1 + 4 + 7 + 1 + 3, "the clusters, one a cluster, seven reads for all, the VMs, what Omni offers");
    let (ran, calls) = site.task("provider-verify");
    ran.exits(0);
    // Docker, Omni, Proxmox, provider and heartbeat; two for the privileges of the login, two for eight pools that do not exist.
    // On a busy machine, seven short queries are repeated one by one.
    assert!([5 + 2 + 2, 5 + 2 + 2 + 7].contains(&calls), "{calls}");
    // The machines are real: a cluster that shrinks frees some.
    site.edit(4, "size: 7", "size: 5");
    site.task("cluster-sync fleet-004 --yes --allow-destroy fleet-004").0.exits(0);
    let dump = |part: &str| -> usize {
        let document = CommandOutput::of(&mut Site::runner(&site.lab, "lab-up --dump --json")).json();
        document["data"]["proxmox"][part].as_array().map_or(0, Vec::len)
    };
    assert_eq!(dump("nodes"), 5);
    wait_for("no machine goes", || dump("vms") == 38);
    site.down();
}

/// Starts a web server that responds to each path with the result of `answer`. Returns its address.
fn serve(answer: impl Fn(&str) -> Option<(String, Vec<u8>)> + Send + Sync + 'static) -> String {
    web_server(move |head, stream| match answer(head.split(' ').nth(1).unwrap_or("/")) {
        Some((headers, body)) => {
            write!(stream, "HTTP/1.1 200 OK\r\n{headers}\r\n\r\n")?;
            stream.write_all(&body)
        }
        None => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
    })
}

#[test]
fn invalid_omnictl_download_is_refused_and_removed() {
    let mut lab = Sandbox::new();
    lab.set("PATH", Some("/usr/local/bin:/usr/bin:/bin"));
    let own = fs::read(lab_program()).unwrap();
    let mut foreign = own[..4096].to_vec();
    foreign[18] ^= 0xff;
    let octets = |bytes: &[u8]| (format!("Content-Length: {}\r\nConnection: close", bytes.len()), bytes.to_vec());
    let short = (format!("Content-Length: {}\r\nConnection: close", own.len()), own[..1000].to_vec());
    let html = ("Content-Type: text/html\r\nConnection: close".to_owned(), b"<html>sign in</html>".to_vec());
    let cases = [
        (Some(short), "is incomplete"),
        (Some(html), "web page"),
        (Some(octets(&foreign)), "another processor"),
        (Some(octets(b"")), "empty"),
        (Some(octets(&own[..4096])), "checksum"),
        (None, "status 404"),
    ];
    for (answer, why) in cases {
        let url = serve(move |path| if path.ends_with("sha256sum.txt") { None } else { answer.clone() });
        lab.run(&format!("omnictl-install --yes --release v{} --mirror {url}", pin("omni")))
            .says(&["could not be installed", why]);
        let bin = lab.scratch().join("home/.local/bin");
        assert_eq!(fs::read_dir(&bin).map_or(0, Iterator::count), 0, "{why}: something was left behind");
    }
}

#[test]
fn a_release_is_verified_by_its_checksum() {
    let mut lab = Sandbox::new();
    lab.set("PATH", Some("/usr/local/bin:/usr/bin:/bin"));
    // The program from the lab's Omni, which finds its lab without a link in its directory.
    lab.run("omnictl-install --yes").exits(0);
    let place = lab.scratch().join("home/.local/bin/omnictl");
    let own = fs::read(&place).unwrap();
    let sum = Command::new("sha256sum").arg(&place).output().unwrap();
    let sum = String::from_utf8(sum.stdout).unwrap().split(' ').next().unwrap().to_owned();
    fs::remove_file(&place).unwrap();
    for (sum, code) in [(sum.clone(), 0), (sum.replace(['0', '1', '2'], "f"), 1)] {
        let own = own.clone();
        let url = serve(move |path| {
            if path.ends_with("sha256sum.txt") {
                let text =
                    format!("{sum}  omnictl-linux-amd64\n{sum}  omnictl-linux-arm64\n{sum}  omnictl-darwin-arm64\n");
                return Some((format!("Content-Length: {}\r\nConnection: close", text.len()), text.into_bytes()));
            }
            Some((format!("Content-Length: {}\r\nConnection: close", own.len()), own.clone()))
        });
        let ran = lab.run(&format!("omnictl-install --yes --release v{} --mirror {url}", pin("omni")));
        assert_eq!(ran.code == 0, code == 0, "{ran:#?}");
        if code == 0 {
            fs::remove_file(&place).unwrap();
        } else {
            ran.says(&["its checksum is wrong"]);
        }
    }
}
