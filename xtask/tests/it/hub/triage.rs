//! `triage`: a log against the known issues.

use serde_json::Value;

use super::Hub;

/// The samples of `data/known-issues.yaml`, with their ids.
fn samples() -> Vec<(String, String)> {
    let issues: Vec<serde_yaml::Value> = serde_yaml::from_str(include_str!("../../../data/known-issues.yaml")).unwrap();
    let text = |issue: &serde_yaml::Value, key: &str| issue[key].as_str().unwrap().to_owned();
    issues.iter().map(|issue| (text(issue, "id"), text(issue, "sample"))).collect()
}

#[test]
fn every_sample_is_named_once_at_its_line() {
    let samples = samples();
    assert!(samples.len() >= 60);
    let log: String = samples.iter().map(|(_, sample)| format!("all is well here\n{sample}\n")).collect();
    let ran = Hub::new().run_with(&["triage", "-", "--json"], &[], &log);
    assert_eq!(ran.exit, 0, "{}", ran.stderr);
    let document = ran.document();
    let found = document["data"]["findings"].as_array().unwrap();
    let seen: Vec<(&str, u64)> =
        found.iter().map(|each| (each["id"].as_str().unwrap(), each["line"].as_u64().unwrap())).collect();
    let wanted: Vec<(&str, u64)> =
        samples.iter().enumerate().map(|(at, (id, _))| (id.as_str(), at as u64 * 2 + 2)).collect();
    assert_eq!(seen, wanted);
    for each in found {
        for key in ["title", "cause", "fix", "next", "reference", "text"] {
            assert!(each[key].as_str().is_some_and(|text| !text.is_empty()), "{key} of {}", each["id"]);
        }
    }
}

#[test]
fn each_sample_alone_names_its_issue_alone() {
    let hub = Hub::new();
    // One process each would take a minute: every twentieth stands for the others, which the unit test holds.
    for (id, sample) in samples().into_iter().step_by(20) {
        hub.put("a.log", &format!("{sample}\r\n{sample}\r\n"), 0o600);
        let ran = hub.run(&["triage", "a.log"]);
        assert_eq!(ran.exit, 0);
        assert_eq!(ran.stdout.matches("known issue ").count(), 1, "{}", ran.stdout);
        assert!(ran.stdout.contains(&format!("known issue {id}:")) && ran.stdout.starts_with("line 1 (and 1 more): "));
    }
}

#[test]
fn nothing_known_is_an_answer() {
    let ran = Hub::new().run_with(&["triage", "--json"], &[], "all is well\n\u{1b}[31mred\u{1b}[0m\n");
    let document = ran.document();
    assert_eq!(
        (ran.exit, &document["data"]["findings"], &document["data"]["lines"]),
        (0, &Value::Array(vec![]), &2.into())
    );
    assert_eq!(document["next"][0], "cargo xtask doctor");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let ran = Hub::new().run(&["triage", "nowhere.log", "--json"]);
    assert_eq!((ran.exit, ran.document()["error"]["code"].as_str()), (1, Some("not_found")));
    assert!(ran.document()["error"]["message"].as_str().unwrap().contains("nowhere.log"));
}
