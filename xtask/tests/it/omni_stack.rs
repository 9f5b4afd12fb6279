//! The tasks of the hub, through the real binary, in a project of their own with stand-ins for the programs: small
//! scripts, first on PATH, that answer from files, write down every call, and refuse any other.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // tests play the operator and the far ends

mod doctor;
mod omni;
mod stack;
mod terminal;
mod triage;
mod tsidp;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::sandbox::{CommandOutput, Scratch, pin, program_at, root};

/// A secret that must never be seen again: the sandbox fails any run that says it or leaves it in the journal.
const CANARY: &str = "canary-5f1d9c";

/// A project with stand-ins, removed with it.
pub struct Hub {
    dir: PathBuf,
    _scratch: Scratch,
}

impl Hub {
    /// A checkout in which nothing is set up, and Docker with nothing in it.
    pub fn new() -> Hub {
        let scratch = Scratch::new();
        let hub = Hub { dir: scratch.path().to_path_buf(), _scratch: scratch };
        for dir in ["project/docker", "project/target", "project/.claude", "bin", "say", "home"] {
            fs::create_dir_all(hub.dir.join(dir)).unwrap();
        }
        for file in ["docker/compose.yaml", "docker/.env.example", "docker/config.yaml.example"] {
            fs::copy(root().join(file), hub.project().join(file)).unwrap();
        }
        for (name, script) in SCRIPTS {
            let script = script.replace("@DIR@", &hub.dir.display().to_string()).replace("@OMNI@", &pin("omni"));
            let path = hub.dir.join("bin").join(name);
            program_at(&path, &format!("#!/bin/sh\necho \"{name} $*\" >> {}/calls\n{script}", hub.dir.display()));
        }
        hub.say("mounts.json", MOUNTS);
        hub
    }

    /// A hub that is set up, runs, and has nothing wrong with it.
    pub fn healthy() -> Hub {
        let hub = Hub::new();
        let root = fixture("certificates/local-root.pem");
        hub.put("chain.pem", &format!("{}{root}", fixture("certificates/local.pem")), 0o644);
        hub.put("key.pem", &armored("PRIVATE KEY", &fixture("certificates/local-key.b64")), 0o600);
        hub.put("root.pem", &root, 0o644);
        hub.put("docker/omni.asc", &armored("PGP PRIVATE KEY BLOCK", &fixture("pgp/good.b64")), 0o600);
        let env: String = hub.values().iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        hub.put("docker/.env", &env, 0o600);
        hub.put("docker/config.yaml", &format!("proxmox:\n  url: https://pve.home.arpa:8006/api2/json\n  tokenID: omni@pve!provider\n  tokenSecret: {CANARY}-pve-token\n  insecureSkipVerify: false\n"), 0o600);
        hub.put("tsidp/grant.json", POLICY, 0o644);
        hub.put(".gitignore", "target/\ndocker/.env\ndocker/config.yaml\ndocker/*.asc\n*.pem\n", 0o644);
        hub.git(&["init", "--quiet"]);
        hub.git(&["add", "."]);
        // A backup on another disk than Docker's, and of any test's future.
        let at = "\"2099-01-01T00:00:00Z\"";
        let backup = format!("---\nlast_backup: /proc/version\nlast_backup_at: {at}\nverified_backup_at: {at}\n---\n");
        hub.put(".claude/omni-scale.local.md", &backup, 0o600);
        hub.say("ps.json", &ps("running", "running", Some("running")));
        hub.say("volume", "omni-scale_omni-etcd");
        hub.say("served.pem", &format!("{}{root}", fixture("certificates/local.pem")));
        hub.say("tailscale.json", r#"{"BackendState":"Running","Self":{"DNSName":"127.tail1.ts.net."},"CurrentTailnet":{"MagicDNSEnabled":true}}"#);
        hub.say("discovery.json", &discovery("https://idp.tail1.ts.net"));
        hub.say("jwks.json", r#"{"keys":[{"use":"sig","kty":"RSA","kid":"1","alg":"RS256","n":"abc","e":"AQAB"}]}"#);
        hub
    }

    /// The values of a hub that is set up.
    pub fn values(&self) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.project().join(name).display().to_string();
        vec![
            ("OMNI_DOMAIN", "127.0.0.1".into()),
            ("OMNI_LAN_ADDRESS", "127.0.0.1".into()),
            ("OMNI_ACCOUNT_UUID", "6d4a3c2b-1f0e-4d5c-8b7a-9a8b7c6d5e4f".into()),
            ("OMNI_INITIAL_USER", "admin@example.org".into()),
            ("OMNI_TLS_CERT", path("chain.pem")),
            ("OMNI_TLS_KEY", path("key.pem")),
            ("TS_AUTHKEY", format!("tskey-auth-{CANARY}")),
            ("OIDC_ISSUER_URL", "https://idp.tail1.ts.net".into()),
            ("OIDC_CLIENT_ID", "0123456789abcdef".repeat(2)),
            ("OIDC_CLIENT_SECRET", "0f1e2d3c4b5a6978".repeat(4)),
            ("OMNI_INFRA_PROVIDER_KEY", key("infra-provider:proxmox", 300)),
            ("OMNI_PROVIDER_ID", "proxmox".into()),
            ("OMNI_SERVICE_ACCOUNT_KEY", key("automation", 300)),
        ]
    }

    pub fn project(&self) -> PathBuf {
        self.dir.join("project")
    }

    /// What a stand-in answers with.
    pub fn say(&self, name: &str, text: &str) {
        fs::write(self.dir.join("say").join(name), text).unwrap();
    }

    pub fn unsay(&self, name: &str) {
        let _ = fs::remove_file(self.dir.join("say").join(name));
    }

    /// A file of the project.
    pub fn put(&self, name: &str, text: &str, mode: u32) {
        let path = self.project().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn get(&self, name: &str) -> String {
        fs::read_to_string(self.project().join(name)).unwrap_or_default()
    }

    pub fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.project().join(name)).map_or(0, |meta| meta.permissions().mode() & 0o777)
    }

    /// Replaces text in a file of the project, which must hold it.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let (text, mode) = (self.get(name), self.mode(name));
        assert!(text.contains(from), "{name} does not hold {from}");
        self.put(name, &text.replacen(from, to, 1), mode);
    }

    /// Gives a key of `docker/.env` another value.
    pub fn set(&self, key: &str, value: &str) {
        let text = self.get("docker/.env");
        let old = text.lines().find(|line| line.starts_with(&format!("{key}="))).unwrap().to_owned();
        self.edit("docker/.env", &old, &format!("{key}={value}"));
    }

    pub fn git(&self, words: &[&str]) {
        let done =
            Command::new("git").args(words).current_dir(self.project()).env("HOME", self.dir.join("home")).output();
        assert!(done.expect("git is installed").status.success(), "git {words:?}");
    }

    /// The calls of stand-ins that `wanted` likes, in their order.
    pub fn calls(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join("calls")).unwrap_or_default();
        text.lines()
            .filter(|line| wanted(line))
            .map(|line| line.replace(&self.dir.display().to_string(), "@"))
            .collect()
    }

    /// The calls that change what Docker has.
    pub fn changes(&self) -> Vec<String> {
        self.calls(|line| {
            line.contains(" up ") || line.ends_with(" down") || line.contains(" down ") || line.contains(" rm ")
        })
    }

    pub fn run(&self, words: &[&str]) -> CommandOutput {
        self.run_with(words, &[], "")
    }

    /// The runner with the stand-ins first on PATH and nothing else in its environment.
    pub fn command(&self, words: &[&str]) -> Command {
        let bin = self.dir.join("bin").display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(words).current_dir(self.project()).env_clear();
        command.env("PATH", format!("{bin}:/usr/local/bin:/usr/bin:/bin")).env("HOME", self.dir.join("home"));
        // The stand-in is no engine of this host: what is here says nothing about it.
        command.env("DOCKER_HOST", "tcp://stand-in").env("LC_ALL", "C");
        command.env("SSL_CERT_FILE", self.project().join("root.pem"));
        command
    }

    /// Runs a task with more variables and something on standard input.
    pub fn run_with(&self, words: &[&str], env: &[(&str, &str)], stdin: &str) -> CommandOutput {
        let mut command = self.command(words);
        command.envs(env.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the runner starts");
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), stdin.as_bytes()).ok();
        let ran = CommandOutput::from(&child.wait_with_output().unwrap());
        for place in [
            &ran.stdout,
            &ran.stderr,
            &self.get("../home/.local/state/omni-scale/journal.jsonl"),
            &self.get(".claude/omni-scale.local.md"),
        ] {
            assert!(!place.contains(CANARY), "a secret was said: {place}");
        }
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        ran
    }
}

/// A file of `tests/fixtures`.
pub fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|_| panic!("{path}"))
}

/// Base64 with the lines around it.
pub fn armored(label: &str, body: &str) -> String {
    let blank = if label.starts_with("PGP") && !body.starts_with('\n') { "\n" } else { "" };
    format!("-----BEGIN {label}-----\n{blank}{body}-----END {label}-----\n")
}

pub fn discovery(issuer: &str) -> String {
    json!({
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"), "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"), "scopes_supported": ["openid", "email", "profile"],
        "response_types_supported": ["id_token", "code"],
    })
    .to_string()
}

/// A service account's key of the real structure, good for so many days more; its secret numbers are zeros.
pub fn key(name: &str, days: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let created = (now - 65 * 86_400) as u32;
    let lifetime = ((65 + days) * 86_400) as u32;
    crate::input::key(name, created, lifetime)
}

/// What `docker compose ps` says of the three.
pub fn ps(sidecar: &str, omni: &str, provider: Option<&str>) -> String {
    let publishers: Vec<Value> = [(443, "tcp"), (8090, "tcp"), (8100, "tcp"), (50180, "udp")]
        .iter()
        .map(|(port, protocol)| json!({"URL": "127.0.0.1", "TargetPort": port, "PublishedPort": port, "Protocol": protocol}))
        .collect();
    let line = |service: &str, state: &str, health: &str, image: &str, publishers: &[Value]| {
        json!({
            "Service": service, "Name": format!("omni-scale-{service}-1"), "State": state, "Health": health, "ExitCode": 0,
            "Status": format!("{state} for a while"), "Image": image, "Publishers": publishers,
        })
        .to_string()
            + "\n"
    };
    let mut text = line(
        "omni-tailscale",
        sidecar,
        if sidecar == "running" { "healthy" } else { "" },
        &format!("tailscale/tailscale:v{}", pin("tailscale")),
        &publishers,
    );
    text += &line("omni", omni, "", &format!("ghcr.io/siderolabs/omni:v{}", pin("omni")), &[]);
    if let Some(provider) = provider {
        let image = format!("ghcr.io/siderolabs/omni-infra-provider-proxmox:v{}", pin("provider"));
        text += &line("proxmox-provider", provider, "", &image, &[]);
    }
    text
}

/// A policy with everything that tsidp and Omni need.
pub const POLICY: &str = r#"{
  // everyone
  "tagOwners": {"tag:idp": ["autogroup:admin"], "tag:omni": ["autogroup:admin"]},
  "grants": [
    {"src": ["autogroup:member", "tag:omni"], "dst": ["tag:idp"], "ip": ["tcp:443"]},
    {"src": ["autogroup:member"], "dst": ["tag:idp"], "app": {"tailscale.com/cap/tsidp": [{"extraClaims": {"email_verified": true}}]}},
  ],
}"#;

pub const MOUNTS: &str = r#"{"mounts":[{"Type":"volume","Name":"omni-scale_omni-etcd","Destination":"/_out/etcd"},{"Type":"volume","Name":"omni-scale_omni-sqlite","Destination":"/_out/sqlite"},{"Type":"volume","Name":"omni-scale_ts-state","Destination":"/var/lib/tailscale"}],"args":["--etcd-embedded-db-path=/_out/etcd","--sqlite-storage-path=/_out/sqlite/omni.db"]}"#;

const SCRIPTS: &[(&str, &str)] = &[
    ("docker", DOCKER),
    ("omnictl", OMNICTL),
    ("curl", CURL),
    (
        "openssl",
        "case $1 in s_client) cat >/dev/null; cat @DIR@/say/served.pem 2>/dev/null || { echo 'connect:errno=111' >&2; exit 1; };; *) exit 64;; esac\n",
    ),
    ("timedatectl", "echo yes\n"),
    (
        "df",
        "echo 'Filesystem 1024-blocks Used Available Capacity Mounted on'; echo \"x 9 9 $(cat @DIR@/say/df 2>/dev/null || echo 99999999) 1% /\"\n",
    ),
];

const DOCKER: &str = include_str!("../fixtures/stand-ins/docker");

const OMNICTL: &str = include_str!("../fixtures/stand-ins/omnictl");

const CURL: &str = include_str!("../fixtures/stand-ins/curl");
