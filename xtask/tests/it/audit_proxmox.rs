//! A project in a scratch directory, and a Proxmox on loopback that answers what these tests give it: just enough of the
//! API for the tasks that only look.

#![allow(clippy::disallowed_methods)] // tests write files and run the binary as its users do

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::sandbox::{Scratch, root};

/// The secret of the login: no output may hold it.
const CANARY: &str = "canary-proxmox-secret-1";

/// What the far end answers: status line and body by path below `/api2/json`, the query included.
type Replies = BTreeMap<String, (String, Value)>;

/// A Proxmox that answers from a table; the thread ends with the process.
pub struct Proxmox {
    url: String,
    replies: Arc<Mutex<Replies>>,
    /// Privileges by path, for `/access/permissions`.
    granted: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
    pub asked: Arc<Mutex<Vec<String>>>,
}

impl Proxmox {
    /// Three nodes of 64 GiB with the storages and bridges that the kit's own classes use, and no rights at all.
    pub fn start() -> Proxmox {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let proxmox = Proxmox { url, replies: Arc::default(), granted: Arc::default(), asked: Arc::default() };
        let nodes = ["pve1", "pve2", "pve3"];
        proxmox.answer("/version", json!({"version": "9.0.10", "release": "9.0"}));
        proxmox.answer("/nodes", nodes.iter().map(|node| node_json(node)).collect());
        for node in nodes {
            proxmox.answer(&format!("/nodes/{node}/storage"), storages_json());
            let bridges =
                json!([{"iface": "vmbr0", "type": "bridge", "active": "1"}, {"iface": "eno1", "type": "eth"}]);
            proxmox.answer(&format!("/nodes/{node}/network?type=any_bridge"), bridges);
            proxmox.answer(&format!("/nodes/{node}/qemu"), json!([]));
        }
        proxmox.answer("/cluster/nextid", json!("100"));
        proxmox.answer("/cluster/sdn/vnets", json!([]));
        proxmox.answer("/access/roles", json!([]));
        let (replies, granted, asked) = (proxmox.replies.clone(), proxmox.granted.clone(), proxmox.asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (replies, granted, asked) = (replies.clone(), granted.clone(), asked.clone());
                std::thread::spawn(move || serve(stream, &replies, &granted, &asked));
            }
        });
        proxmox
    }

    /// Answers 200 with `data` from now on.
    pub fn answer(&self, path: &str, data: Value) {
        let reply = ("200 OK".to_owned(), json!({ "data": data }));
        self.replies.lock().expect("no test panicked").insert(path.to_owned(), reply);
    }

    /// Answers with this status line from now on.
    pub fn refuse(&self, path: &str, status: &str) {
        self.replies
            .lock()
            .expect("no test panicked")
            .insert(path.to_owned(), (status.to_owned(), json!({ "data": null })));
    }

    /// Gives the login privileges on exactly this path.
    pub fn grant(&self, path: &str, privileges: &[&str]) {
        let mut granted = self.granted.lock().expect("no test panicked");
        granted.entry(path.to_owned()).or_default().extend(privileges.iter().map(|name| (*name).to_owned()));
    }

    /// Takes away what the login has on exactly this path.
    pub fn forget(&self, path: &str) {
        self.granted.lock().expect("no test panicked").remove(path);
    }
}

fn node_json(name: &str) -> Value {
    let used = name.bytes().last().map_or(0, |digit| u64::from(digit - b'0')) * 10;
    json!({"node": name, "status": "online", "maxmem": 64u64 << 30, "mem": used << 30, "maxcpu": 16, "cpu": 0.02})
}

fn storages_json() -> Value {
    let storage = |name: &str, kind: &str, content: &str, shared: u8, avail: u64| {
        json!({"storage": name, "type": kind, "content": content, "enabled": 1, "active": 1, "shared": shared,
               "avail": avail << 30, "total": (avail * 2) << 30})
    };
    json!([
        storage("vm_ssd", "rbd", "images", 1, 4000),
        storage("local", "dir", "iso,vztmpl,backup", 0, 80),
        storage("local-lvm", "lvmthin", "images,rootdir", 0, 500)
    ])
}

fn serve(
    mut stream: TcpStream,
    replies: &Mutex<Replies>,
    granted: &Mutex<BTreeMap<String, Vec<String>>>,
    asked: &Mutex<Vec<String>>,
) {
    let mut lines = BufReader::new(stream.try_clone().expect("a second handle")).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches("/api2/json").to_owned();
    asked.lock().expect("no test panicked").push(path.clone());
    let logged_in = headers.iter().any(|line| line.ends_with(&format!("PVEAPIToken=omni@pve!provider={CANARY}")));
    let (status, body) = match (logged_in, path.strip_prefix("/access/permissions")) {
        (false, _) => ("401 invalid token value!".to_owned(), json!({ "data": null })),
        (true, Some(query)) => {
            ("200 OK".to_owned(), json!({ "data": permissions(query, &granted.lock().expect("no test panicked")) }))
        }
        (true, None) => replies
            .lock()
            .expect("no test panicked")
            .get(&path)
            .cloned()
            .unwrap_or_else(|| ("403 Permission check failed".to_owned(), json!({ "data": null }))),
    };
    let body = body.to_string();
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json;charset=UTF-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
}

fn permissions(query: &str, granted: &BTreeMap<String, Vec<String>>) -> Value {
    let of = |names: &Vec<String>| names.iter().map(|name| (name.clone(), json!(1))).collect::<serde_json::Map<_, _>>();
    match query.strip_prefix("?path=") {
        Some(path) => {
            let path = path.replace("%2F", "/");
            let found = granted.get(&path).map(of).unwrap_or_default();
            json!({ path: found })
        }
        None => granted
            .iter()
            .map(|(path, names)| (path.clone(), of(names).into()))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

/// A project with the kit's own files, gone with the value.
pub struct Project(Scratch);

impl Project {
    pub fn new() -> Project {
        let (project, kit) = (Project(Scratch::new()), root());
        for folder in ["docker", "machine-classes", "clusters"] {
            fs::create_dir_all(project.path().join(folder)).expect("the temporary directory can be written");
        }
        for file in ["docker/compose.yaml", "machine-classes/matrix-worker.yaml", "clusters/matrix.yaml"]
            .into_iter()
            .chain(["machine-classes/matrix-controlplane.yaml"])
        {
            // The operator's own, not the shipped examples.
            let text = fs::read_to_string(kit.join(file)).expect(file);
            let own: Vec<&str> = text.lines().filter(|line| !line.contains("omni-scale: example")).collect();
            fs::write(project.path().join(file), own.join("\n") + "\n").expect(file);
        }
        project
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs the real xtask as the login of `proxmox`, or as nobody: exit status, standard output, standard error.
    pub fn run(&self, proxmox: Option<&Proxmox>, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        // This Proxmox speaks plain HTTP.
        command.args(arguments).arg("--insecure-http").current_dir(self.path()).env_clear();
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", self.path());
        // What is kept on the host is kept beside the project.
        command.env("XDG_STATE_HOME", self.path().join("target/state"));
        if let Some(proxmox) = proxmox {
            command.env("PROXMOX_VE_ENDPOINT", &proxmox.url);
            command.env("PROXMOX_VE_API_TOKEN", format!("omni@pve!provider={CANARY}"));
        }
        let output = command.output().expect("xtask was built with these tests");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert!(!stdout.contains(CANARY) && !stderr.contains(CANARY), "the secret is shown:\n{stdout}\n{stderr}");
        (output.status.code().expect("an exit status"), stdout, stderr)
    }

    /// The same with `--json`: exit status and document.
    pub fn json(&self, proxmox: Option<&Proxmox>, arguments: &[&str]) -> (i32, Value) {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        let (status, stdout, stderr) = self.run(proxmox, &arguments);
        let document = serde_json::from_str(&stdout);
        (status, document.unwrap_or_else(|error| panic!("{error}\n{stdout}\n{stderr}")))
    }
}
