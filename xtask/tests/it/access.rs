//! The provider's access to Proxmox: which login counts, over what, and whether it has the privileges that it needs.

use std::process::Command;

use serde_json::Value;

use crate::sandbox::{CommandOutput, Sandbox, class_words, web_server};

/// The password of root@pam in the lab.
const PASSWORD: &str = "omni-scale";

/// `docker/config.yaml` with the login of root and its password in place of the token's.
fn with_password(lab: &Sandbox, password: &str) {
    let config = lab.read("docker/config.yaml");
    let ours = ["token", "username", "password", "realm"];
    let lines = config.lines().filter(|line| !ours.iter().any(|key| line.trim_start().starts_with(key)));
    let config: Vec<String> = lines.map(str::to_owned).collect();
    let login = format!("  username: root\n  password: {password}\n  realm: pam\n");
    lab.write("docker/config.yaml", &format!("{}\n{login}", config.join("\n")));
}

fn step<'a>(document: &'a Value, id: &str) -> &'a Value {
    let steps = document["steps"].as_array().expect("a list");
    steps.iter().find(|step| step["id"] == id).unwrap_or_else(|| panic!("no step {id}: {document:#}"))
}

#[test]
fn password_login_is_judged_by_the_providers_version() {
    let lab = Sandbox::new();
    lab.provider();
    with_password(&lab, PASSWORD);
    // docker/compose.yaml pins a release that renews its ticket.
    let document = lab.run("provider-verify --json").exits(0).json();
    let proxmox = step(&document, "proxmox");
    assert_eq!(proxmox["status"], "warning", "{document:#}");
    assert!(proxmox["detail"].as_str().unwrap().contains("root@pam logs in with a password"), "{proxmox}");
    assert_eq!(step(&document, "permissions")["status"], "ok");
    for line in
        ["proxmox-inventory", "proxmox-audit", "selector-test true", "doctor --area provider", "provider-setup --yes"]
    {
        let ran = lab.run(line).exits(0);
        assert!(!ran.stderr.contains("renew"), "{ran:#?}");
    }
    let doctor = lab.run("doctor --area provider --json").exits(0).json();
    assert_eq!(step(&doctor, "provider.config")["status"], "warning", "{doctor:#}");
    // A wrong one is refused by Proxmox, and named as what it is.
    with_password(&lab, "not-the-password-1");
    let ran = lab.run("proxmox-inventory").exits(5).says(&["refuses the login of root@pam", "`realm`"]);
    assert!(!format!("{ran:?}").contains("not-the-password"), "{ran:#?}");
}

#[test]
fn password_login_fails_with_the_provider_that_never_renews_it() {
    let lab = Sandbox::new();
    lab.provider();
    with_password(&lab, PASSWORD);
    let compose = lab.read("docker/compose.yaml");
    let at = compose.find("omni-infra-provider-proxmox:").expect("the provider's image")
        + "omni-infra-provider-proxmox:".len();
    let end = at + compose[at..].find(char::is_whitespace).expect("more lines");
    lab.write("docker/compose.yaml", &format!("{}0d9fd58{}", &compose[..at], &compose[end..]));
    for line in ["proxmox-inventory", "proxmox-audit", "provider-setup --yes"] {
        lab.run(line)
            .exits(1)
            .says(&["provider 0d9fd58 (docker/compose.yaml) never renews it", "run provider v0.1.0 or later"]);
    }
    lab.run("doctor --area provider").exits(1).says(&["never renews it"]);
    // Without a realm Proxmox knows no such user, whatever the release.
    lab.write("docker/compose.yaml", &compose);
    lab.write("docker/config.yaml", &lab.read("docker/config.yaml").replace("  realm: pam\n", ""));
    lab.run("proxmox-inventory").exits(1).says(&["there is no `realm`", "realm: pam"]);
}

/// Changes something in the lab's Proxmox by hand, as root.
pub fn as_root(lab: &Sandbox, path: &str, fields: &[&str]) {
    as_root_with("PUT", lab, path, fields);
}

/// The same by another method, with the answer.
pub fn as_root_with(method: &str, lab: &Sandbox, path: &str, fields: &[&str]) -> Value {
    let endpoint = lab.env("PROXMOX_VE_ENDPOINT").trim_end_matches("/api2/json").to_owned() + "/api2/json";
    let curl = |arguments: &[&str]| {
        let output = Command::new("curl").args(["-sSkf"]).args(arguments).output().expect("curl starts");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    let login = format!("password={PASSWORD}");
    let ticket = curl(&["-d", "username=root@pam", "-d", &login, &format!("{endpoint}/access/ticket")]);
    let text = |name: &str| ticket["data"][name].as_str().expect("a ticket").to_owned();
    let cookie = format!("PVEAuthCookie={}", text("ticket"));
    let token = format!("CSRFPreventionToken: {}", text("CSRFPreventionToken"));
    let fields: Vec<&str> = fields.iter().flat_map(|field| ["-d", *field]).collect();
    curl(&[&["-X", method, "-b", &cookie, "-H", &token, &format!("{endpoint}{path}")], fields.as_slice()].concat())
}

/// An entry below what a login inherits is in no answer about the paths above.
#[test]
fn verify_finds_entry_that_denies_what_is_inherited() {
    let lab = Sandbox::new();
    lab.provider();
    lab.class("small");
    lab.run("provider-verify").exits(0);
    for path in ["/nodes/pve2", "/storage/local"] {
        let entry = format!("path={path}");
        as_root(&lab, "/access/acl", &[&entry, "roles=NoAccess", "users=omni@pve"]);
        for task in ["provider-verify --json", "proxmox-audit --json"] {
            let document = lab.run(task).exits(1).json();
            let cause = document["error"]["cause"].as_str().unwrap_or_default();
            assert!(cause.contains(&format!(" on {path}")), "{document:#}");
        }
        as_root(&lab, "/access/acl", &[&entry, "roles=NoAccess", "users=omni@pve", "delete=1"]);
        lab.run("provider-verify").exits(0);
    }
}

/// `GET /cluster/resources` wants Datastore.Audit; each node's own list does not.
#[test]
fn verify_counts_storages_that_one_list_hides() {
    let lab = Sandbox::new();
    lab.provider();
    // No name in the selector: a storage that is not seen would not be counted.
    let mut words = class_words("small");
    let selector = words.iter().position(|word| *word == "--selector").expect("a selector") + 1;
    words[selector] = "storageType == \"lvmthin\"";
    lab.run_words(&words).exits(0);
    as_root(&lab, "/access/roles/OmniDisk", &["privs=Datastore.AllocateSpace"]);
    lab.run("provider-verify").exits(0);
    as_root(&lab, "/access/roles/OmniDisk", &["privs=Datastore.Audit"]);
    let document = lab.run("provider-verify --json").exits(1).json();
    assert_eq!(document["error"]["cause"], "Datastore.AllocateSpace on /storage/local-lvm", "{document:#}");
    as_root(&lab, "/access/roles/OmniDisk", &["privs=Datastore.AllocateSpace"]);
    let detail = step(&lab.run("provider-verify --json").exits(0).json(), "permissions")["detail"].clone();
    assert_eq!(detail, "21 privileges present", "one of them on the storage");
}

#[test]
fn http_address_of_proxmox_is_refused_before_the_token_is_sent() {
    let mut lab = Sandbox::new();
    let (send, sent) = std::sync::mpsc::channel();
    let url = web_server(move |head| {
        let _ = send.send(head.to_owned());
        let body = "{\"data\":{\"version\":\"9.0.10\"}}";
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
            .into_bytes()
    });
    let refused =
        |ran: CommandOutput| drop(ran.exits(1).says(&["is not an https:// address", "unencrypted", "--insecure-http"]));
    // From a flag, from the environment, and from docker/config.yaml.
    refused(lab.run(&format!("provider-setup --yes --proxmox-url {url}")));
    lab.set("PROXMOX_VE_ENDPOINT", Some(&url));
    for line in ["provider-setup --yes", "proxmox-audit", "proxmox-inventory", "selector-test true"] {
        refused(lab.run(line));
    }
    assert!(!lab.file("docker/config.yaml").exists());
    lab.run("provider-setup --yes --insecure-http").exits(0);
    assert!(sent.recv().is_ok_and(|head| head.contains("PVEAPIToken")), "with the flag it is asked");
    while sent.try_recv().is_ok() {}
    for line in ["provider-verify", "provider-setup --yes", "proxmox-inventory", "cluster-plan --all"] {
        let ran = lab.run(line);
        assert!(ran.code == 1, "{line}: {ran:#?}");
    }
    assert!(sent.try_recv().is_err(), "nothing was sent");
    lab.run("doctor --area provider").says(&["the provider sends its login unencrypted"]);
}
