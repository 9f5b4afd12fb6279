//! The provider's access to Proxmox over http://. The transcripts `access` and `logins` cover the rest.

use std::io::Write;
use std::process::Command;

use serde_json::Value;

use crate::sandbox::{CommandOutput, Sandbox, web_server};

/// The password of root@pam in the lab.
const PASSWORD: &str = "omni-scale";

/// Changes something in the lab's Proxmox manually, as root.
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

/// Creates a token in Proxmox and passes it to the tasks.
pub fn new_token(lab: &mut Sandbox, name: &str, privsep: &str) {
    let made = as_root_with("POST", lab, &format!("/access/users/omni@pve/token/{name}"), &[privsep]);
    let secret = made["data"]["value"].as_str().expect("a secret");
    lab.set("PROXMOX_VE_API_TOKEN", Some(&format!("omni@pve!{name}={secret}")));
}

#[test]
fn http_address_of_proxmox_is_refused_before_the_token_is_sent() {
    let mut lab = Sandbox::new();
    let (send, sent) = std::sync::mpsc::channel();
    let url = web_server(move |head, stream| {
        let _ = send.send(head.to_owned());
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 29\r\nConnection: close";
        write!(stream, "{head}\r\n\r\n{{\"data\":{{\"version\":\"9.0.10\"}}}}")
    });
    let refused =
        |ran: CommandOutput| drop(ran.exits(1).says(&["is not an https:// address", "unencrypted", "--insecure-http"]));
    // Given as a flag, in the environment, and in docker/config.yaml.
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
