//! `stack-up`, `stack-down`, `stack-logs`.

use super::{Hub, ps};

#[test]
fn the_stack_starts_with_the_provider_and_is_made_anew_when_asked() {
    let hub = Hub::healthy();
    let with = "docker compose -f @/project/docker/compose.yaml --profile provider up -d";
    assert_eq!(hub.run(&["stack-up", "--yes", "--json"]).code, 0);
    assert_eq!(hub.run(&["stack-up", "--yes", "--recreate"]).code, 0);
    // A sidecar that ended alone: what stayed has a dead network.
    hub.say("ps.json", &ps("exited", "running", Some("running")));
    hub.say("up.json", &ps("running", "running", Some("running")));
    assert_eq!(hub.run(&["stack-up", "--yes"]).code, 0);
    let anew = format!("{with} --force-recreate");
    assert_eq!(hub.changes(), [with, &anew, &anew]);
}

/// [`crate::omni_stack_in_lab`] has data on no mount; mounts that cannot be read stop the same tasks.
#[test]
fn unknown_mounts_stop_what_would_lose_data() {
    let hub = Hub::healthy();
    hub.say("mounts.json", "nonsense");
    for task in ["stack-up", "stack-down"] {
        let ran = hub.run(&[task, "--yes", "--json"]);
        assert_eq!(ran.code, 1, "{}", ran.stdout);
        assert!(ran.json()["error"]["message"].as_str().unwrap().contains("not known"));
    }
    assert_eq!(hub.changes(), Vec::<String>::new());
}

#[test]
fn the_stack_ends_and_keeps_its_volumes() {
    let hub = Hub::healthy();
    let ran = hub.run(&["stack-down", "--yes"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(hub.changes(), ["docker compose -p omni-scale --env-file /dev/null down"]);
    let again = hub.run(&["stack-down", "--yes"]);
    assert!(again.code == 0 && again.stderr.contains("down already"), "{}", again.stderr);
    assert_eq!(hub.changes().len(), 1);
    assert_eq!(hub.calls(|line| line.contains(" -v") || line.contains("--volumes")), Vec::<String>::new());
    // There is no flag for it either.
    assert_eq!(hub.run(&["stack-down", "--yes", "--volumes"]).code, 2);
}

#[test]
fn logs_name_what_is_known() {
    let hub = Hub::healthy();
    hub.say("log", "one\nfailed to read private key file '/omni.asc': open /omni.asc: no such file or directory\n");
    let ran = hub.run(&["stack-logs", "omni", "--tail", "7", "--json"]);
    let document = ran.json();
    assert_eq!(ran.code, 0);
    assert_eq!(document["data"]["logs"]["omni"].as_array().unwrap().len(), 2);
    let known = &document["data"]["known_issues"][0];
    assert_eq!((known["service"].as_str(), known["line"].as_u64()), (Some("omni"), Some(2)), "{document}");
    assert_eq!(hub.calls(|line| line.contains("--tail=7")).len(), 1);
    let all = hub.run(&["stack-logs"]);
    assert!(all.stdout.contains("==> omni-tailscale <==") && all.stdout.contains("==> proxmox-provider <=="));
    assert!(all.stdout.contains("known issue "), "{}", all.stdout);
    let followed = hub.run(&["stack-logs", "omni", "--follow"]);
    assert!(followed.code == 0 && followed.stdout.contains("known issue "), "{}", followed.stdout);
    assert_eq!(hub.run(&["stack-logs", "--follow", "--json"]).code, 2);
    let unknown = hub.run(&["stack-logs", "onmi", "--json"]);
    assert_eq!((unknown.code, unknown.json()["error"]["hint"].as_str()), (1, Some("did you mean `omni`?")));
}

/// Compose's own variables, left over from another project, would make it start a second, empty Omni beside this one.
#[test]
fn the_stack_is_this_projects_whatever_the_shell_says_of_compose() {
    let env = [
        ("COMPOSE_PROJECT_NAME", "other"),
        ("COMPOSE_PROFILES", "debug"),
        ("COMPOSE_ENV_FILES", "/nowhere"),
        ("COMPOSE_DISABLE_ENV_FILE", "1"),
    ];
    for words in [&["stack-up", "--yes"][..], &["stack-logs", "omni"], &["omni-status"], &["stack-down", "--yes"]] {
        let ran = Hub::healthy().run_with(words, &env, "");
        assert_eq!(ran.code, 0, "{words:?}: {}", ran.stderr);
    }
}

#[test]
fn provider_that_keeps_ending_leads_to_doctor() {
    let hub = Hub::healthy();
    hub.say("ps.json", &ps("running", "running", Some("restarting")));
    let status = hub.run(&["provider-status", "--json"]).json();
    assert_eq!(status["next"][0], "cargo xtask doctor --area provider", "{status:#}");
    hub.say("ps.json", &ps("exited", "running", Some("running")));
    let omni = hub.run(&["omni-status", "--json"]).json();
    assert_eq!((&omni["steps"][0]["status"], &omni["steps"][0]["detail"]), (&"warning".into(), &"2 of 3 run".into()));
}

#[test]
fn first_heartbeat_of_a_provider_is_waited_for() {
    let registration = |hub: &Hub, words: &[&str]| {
        let document = hub.run(&[&["provider-verify", "--json"], words].concat()).json();
        let steps = document["steps"].as_array().unwrap();
        let step = steps.iter().find(|step| step["id"] == "registration").unwrap();
        ["status", "detail"].map(|field| step[field].as_str().unwrap_or_default().to_owned())
    };
    let hub = Hub::healthy();
    let up =
        |ago: &str| hub.say("ps.json", &ps("running", "running", Some("running")).replace("running for a while", ago));
    hub.say("connected", "false");
    up("Up 2 hours");
    assert_eq!(registration(&hub, &[])[0], "failed", "an hour is long enough");
    up("Up 5 seconds");
    let [status, detail] = registration(&hub, &["--timeout", "1s"]);
    assert!(status == "warning" && detail.contains("the first takes up to 30 s"), "{status}: {detail}");
    let [status, _] = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_secs(2));
            hub.say("connected", "true");
        });
        registration(&hub, &[])
    });
    assert_eq!(status, "ok", "it came while it was waited for");
}
