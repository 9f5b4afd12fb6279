use super::*;
use crate::diagnosis::State;
use crate::values::{check_complete, check_initial_user, check_issuer, check_lan_address, check_tailscale_key};
use domain::spec::env::{EnvFile, REQUIRED};
use domain::status::docker::{Mount, Publisher};
use serde_json::json;

const LAN: &str = "192.0.2.10";

fn mount(kind: &str, name: &str, destination: &str) -> Mount {
    Mount { kind: kind.into(), name: name.into(), destination: destination.into(), ..Mount::default() }
}

fn omni(words: &[&str]) -> ContainerDetails {
    ContainerDetails { args: words.iter().map(|word| (*word).to_owned()).collect(), ..ContainerDetails::default() }
}

#[test]
fn data_paths_come_from_omnis_arguments() {
    let shipped = omni(&["--etcd-embedded-db-path=/_out/etcd", "--sqlite-storage-path=/_out/sqlite/omni.db"]);
    assert_eq!(data_paths(&shipped), ["/_out/etcd", "/_out/sqlite/omni.db"]);
    assert_eq!(data_paths(&omni(&["--sqlite-storage-path", "_out/x.db"])), ["/_out/etcd", "/_out/x.db"]);
    for line in include_str!("../tests/corpus/mounts.tsv").lines().filter(|line| !line.starts_with('#')) {
        let (mounts, wanted) = line.split_once('\t').expect(line);
        let mounts = mounts.split(' ').filter(|mount| *mount != "-").map(|text| {
            let [kind, name, destination] = text.split(',').collect::<Vec<_>>().try_into().expect(line);
            mount(kind, &name.replace("UNNAMED", &"0a".repeat(32)), destination)
        });
        let found = unmounted(&ContainerDetails { mounts: mounts.collect(), ..shipped.clone() });
        assert_eq!(found.join("|"), wanted, "{line}");
    }
}

#[test]
fn ports_must_be_on_the_lan() {
    let publish = |url: &str, protocol: Option<&str>| -> Vec<Publisher> {
        let own = |(published, own, _): &(u16, &str, &str)| Publisher {
            url: url.into(),
            published: *published,
            protocol: protocol.unwrap_or(own).into(),
        };
        PORTS.iter().map(own).collect()
    };
    for (publishers, lan, state) in [
        (Some(publish(LAN, None)), LAN, State::Ok),
        (Some(publish("0.0.0.0", None)), LAN, State::Ok),
        (Some(publish(LAN, Some("tcp"))), LAN, State::Failed),
        (Some(publish(LAN, None)), "192.0.2.11", State::Failed),
        (None, LAN, State::Unknown),
    ] {
        let text = r#"{"Service":"omni-tailscale","Name":"x","State":"running"}"#;
        let sidecar = Container { publishers, ..serde_json::from_str(text).unwrap() };
        let verdict = check_ports(&sidecar, lan);
        assert_eq!(verdict.state, state, "{sidecar:?}");
        assert!(state != State::Failed || verdict.detail.contains("50180/udp"), "{verdict:?}");
    }
}

/// `corpus/values.tsv`
#[test]
fn values_and_versions_have_their_states() {
    let some = |word: &str| (word != "-").then(|| word.to_owned());
    let api = |word: &str| word.split_once('/').map(|(version, api)| (version.to_owned(), api.parse().unwrap()));
    for line in include_str!("../tests/corpus/values.tsv").lines().filter(|line| !line.starts_with('#')) {
        let [check, value, state] = line.split('\t').collect::<Vec<_>>().try_into().expect(line);
        let words: Vec<&str> = value.split(' ').collect();
        let found = match check {
            "lan-address" => check_lan_address(value),
            "issuer" => check_issuer(value, Some("omni.example.com")),
            "initial-user" => check_initial_user(value, None),
            "tailscale-key" => check_tailscale_key(value),
            "tailscale" => check_tailscale(&tailscale_status(&words[1..]), words[0], 1_795_316_645),
            "names" => names("omni.example.com", LAN, &words.iter().map(|word| answer(word)).collect::<Vec<_>>()),
            "omni-and-provider" => {
                let [omni, provider, running] = [0, 1, 2].map(|at| some(words[at]));
                check_provider_pairing(omni.as_deref(), provider.as_deref(), running.as_deref())
            }
            "omni-and-omnictl" => check_pairing(&Versions {
                pinned: some(words[0]),
                running: some(words[1]),
                server: api(words[2]).map(|(version, api): (_, u32)| (version, u64::from(api))),
                omnictl: api(words[3]),
            }),
            _ => panic!("{line}"),
        };
        assert_eq!(format!("{:?}", found.state), state, "{line}: {found:?}");
    }
}

/// Parses `machines=ADDRESS,ADDRESS`, or `people=` for a resolver that machines do not use, or `?` for no answer.
fn answer(word: &str) -> Answer {
    let (who, found) = word.split_once('=').expect(word);
    let addresses = found.split(',').filter(|text| !text.is_empty()).map(|text| text.parse().expect(word));
    let addresses = if found == "?" { Err("no answer".to_owned()) } else { Ok(addresses.collect()) };
    Answer { resolver: "r".into(), machines: who == "machines", addresses }
}

#[test]
fn resolver_that_misleads_machines_is_shown_with_its_answer() {
    let verdict = names("omni.example.com", LAN, &["machines=203.0.113.1", "people=?"].map(answer));
    assert!(verdict.detail.contains("returns 203.0.113.1, not 192.0.2.10"), "{verdict:?}");
}

#[test]
fn shipped_versions_are_compatible() {
    let compose = include_str!("../../../docker/compose.yaml");
    let images = images(compose);
    let of = |service: &str| images.get(service).and_then(|image| tag(image));
    assert_eq!(check_provider_pairing(of("omni"), of("proxmox-provider"), None).state, State::Ok, "{images:?}");
    assert!(of("omni-tailscale").and_then(version::minor).is_some());
    // Every variable without a default is required, and no other.
    let mut named: Vec<&str> = compose
        .split("${")
        .filter_map(|rest| rest.split_once(":?").map(|(name, _)| name))
        .filter(|name| !name.contains(['}', '\n']))
        .collect();
    named.sort_unstable();
    named.dedup();
    let mut required: Vec<&str> = REQUIRED.iter().map(|each| each.key).collect();
    required.sort_unstable();
    assert_eq!(named, required);
}

#[test]
fn tags_are_found_behind_registries_and_digests() {
    assert_eq!(tag("ghcr.io/siderolabs/omni:v1.9.3@sha256:00"), Some("v1.9.3"));
    assert_eq!(tag("localhost:5000/omni"), None);
    assert_eq!(tag("omni:latest"), Some("latest"));
}

#[test]
fn user_of_github_needs_the_host_of_tsidp() {
    let verdict = check_initial_user("octo@github", Some("https://idp.example.ts.net"));
    assert!(verdict.detail.contains("octo@github.idp.example.ts.net"), "{verdict:?}");
}

/// Formats `STATE NAME [EXPIRY]` as `tailscale status --json` prints it.
fn tailscale_status(words: &[&str]) -> String {
    let own = json!({ "DNSName": format!("{}.tail1.ts.net.", words[1]), "KeyExpiry": words.get(2) });
    json!({ "BackendState": words[0], "Self": own, "CurrentTailnet": { "MagicDNSEnabled": true } }).to_string()
}

#[test]
fn sidecar_name_is_checked() {
    let taken = check_tailscale(&tailscale_status(&["Running", "omni-1"]), "omni.tail1.ts.net", 0);
    assert!(taken.detail.contains("another device"), "{taken:?}");
    let off = tailscale_status(&["Running", "omni"]).replace("true", "false");
    assert!(check_tailscale(&off, "omni.example.com", 0).detail.contains("MagicDNS"));
    assert_eq!(check_tailscale("nonsense", "x", 0).state, State::Unknown);
}

#[test]
fn example_values_are_placeholders() {
    let example = include_str!("../../../docker/.env.example");
    let example = EnvFile::parse("x", example).unwrap();
    let verdict = check_complete(&example, &example);
    assert!(verdict.state == State::Failed && verdict.detail.contains("TS_AUTHKEY"), "{verdict:?}");
    let mut env = example.clone();
    for each in REQUIRED {
        env.set(each.key, "something-else");
    }
    assert_eq!(check_complete(&env, &example).state, State::Ok);
    env.set("OMNI_DOMAIN", "");
    assert!(check_complete(&env, &example).detail.contains("no value for OMNI_DOMAIN"));
    env.set("OMNI_DOMAIN", "omni.example.org:8443");
    assert!(check_complete(&env, &example).detail.contains("OMNI_DOMAIN has a port"));
    env.set("OMNI_DOMAIN", "omni.example.org");
    let text = format!("{}OIDC_CLIENT_SECRET=hush$abc\nPROVIDER_CA_FILE=$HOME/ca.pem\n", env.text());
    let verdict = check_complete(&EnvFile::parse("x", &text).unwrap(), &example);
    assert_eq!(verdict.state, State::Failed);
    assert_eq!(
        verdict.detail,
        "compose treats the text after a `$` as a variable in OIDC_CLIENT_SECRET, PROVIDER_CA_FILE"
    );
}

#[test]
fn backup_store_is_read_from_flags_and_configuration() {
    let compose = |flag: &str, config: &str| {
        format!(
            "services:\n  omni:\n    command: [--name=omni{flag}]\nconfigs:\n  a:\n    content: |\n      {config}\n"
        )
    };
    for (text, stores) in [
        (include_str!("../../../docker/compose.yaml").to_owned(), Some(false)),
        (compose("", "etcdBackup: {localPath: /backup}"), Some(true)),
        (compose("", "etcdBackup: {tickInterval: 1m}"), Some(false)),
        (compose(", --etcd-backup-s3", ""), Some(true)),
        (compose(", --etcd-backup-local-path, /backup", ""), Some(true)),
        (compose(", --config-path=/mounted.yaml", ""), None),
        ("services: {omni: {image: a}}".to_owned(), None),
        (String::new(), None),
    ] {
        assert_eq!(super::backup_store(&text, ""), stores, "{text}");
    }
}
