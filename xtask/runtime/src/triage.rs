//! Known issues: a table (`data/known-issues.yaml`) that is matched against the output and logs of programs.

mod signatures;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;

use signatures::Signatures;

use crate::cx::Cx;
use crate::{files, proc};
use domain::failure::Failure;
use domain::log::format_line;
use domain::secret::redact;
use domain::spec::config::{Auth, ProviderConfig};

/// One known issue.
#[derive(Debug, Clone, Deserialize)]
pub struct Issue {
    pub id: String,
    pub title: String,
    pub area: String,
    /// Where its signature appears: `provider-log`, `omnictl`, `curl`, `compose`, ….
    #[serde(rename = "where")]
    pub places: Vec<String>,
    /// Regular expressions, any of which matches one line. A named group fills `{name}` of `cause`, `fix` and `next`.
    #[serde(rename = "match")]
    pub signatures: Vec<String>,
    /// Reported only if no other issue matches the line: the general case of a family.
    #[serde(default)]
    pub fallback: bool,
    /// A line that the program really prints.
    pub sample: String,
    /// More samples, for signatures that do not match `sample`.
    #[serde(default)]
    pub more: Vec<String>,
    pub cause: String,
    pub fix: String,
    pub next: String,
    /// Replaces `cause`, `fix` and `next` if the line is in a provider's own log.
    #[serde(default)]
    provider: Option<[String; 3]>,
    /// Where it was seen, as text for people.
    pub versions: String,
    /// Which releases have it, by program (`omni`, `provider`), as Cargo version requirements.
    #[serde(default)]
    pub applies: BTreeMap<String, String>,
    pub reference: String,
}

/// Values for the placeholders of a text, from the matched line or the project.
type Values = BTreeMap<String, String>;

/// The placeholders that the project fills; the others are filled by named groups of the issue's own signatures.
pub const PROJECT_VALUES: [&str; 4] = ["docker", "omni_domain", "provider_id", "user"];

impl Issue {
    /// `text` with its placeholders filled from `values`; one without a value becomes its name in capitals.
    fn fill(text: &str, values: &Values, show: impl Fn(&str) -> String) -> String {
        static HOLE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\{([a-z_]+)\}").ok());
        let Some(hole) = HOLE.as_ref() else { return text.to_owned() };
        let filled = hole.replace_all(text.trim(), |found: &Captures<'_>| match values.get(&found[1]) {
            Some(value) => show(value),
            None if &found[1] == "docker" => "docker".to_owned(),
            None => found[1].to_uppercase(),
        });
        filled.into_owned()
    }

    /// The text as shown on a page: without a case, so every placeholder becomes its name in capitals.
    pub fn page_text(text: &str) -> String {
        Issue::fill(text, &Values::new(), str::to_owned)
    }

    /// The reason why these releases do not have the issue; an unknown release may have it.
    fn excluded_by(&self, versions: &BTreeMap<String, Version>) -> Option<String> {
        self.applies.iter().find_map(|(program, releases)| {
            let pinned = versions.get(program)?;
            let other = !VersionReq::parse(releases).ok()?.matches(pinned);
            other.then(|| format!("applies to {program} {releases}; this project pins {program} {pinned}"))
        })
    }
}

/// The known issues, ready for matching.
#[derive(Debug)]
pub struct Issues {
    list: Vec<Issue>,
    signatures: Signatures,
    project: Project,
}

impl Issues {
    /// All known issues, of any release.
    ///
    /// # Errors
    /// Returns an error if the table cannot be parsed; a test verifies that it can.
    pub fn read() -> Result<Issues, String> {
        Issues::for_any_release(Project::default())
    }

    /// The issues that can occur in the releases pinned by the project, with the project's own values for their commands.
    ///
    /// # Errors
    /// Fails like [`Issues::read`].
    pub fn of(cx: &Cx) -> Result<Issues, String> {
        Issues::new(Project::of(cx), false)
    }

    /// Like [`Issues::of`], for the log of the provider of `cx`, in which a key is the provider's and not the user's.
    ///
    /// # Errors
    /// Fails like [`Issues::read`].
    pub fn for_provider_log(cx: &Cx) -> Result<Issues, String> {
        let mut issues = Issues::of(cx)?;
        for issue in &mut issues.list {
            if let Some(advice) = issue.provider.take() {
                [issue.cause, issue.fix, issue.next] = advice;
            }
        }
        Ok(issues)
    }

    /// All known issues, with the project's own values, for a log of unknown origin. A hit that applies to another release than
    /// the project's has a note about that.
    ///
    /// # Errors
    /// Fails like [`Issues::read`].
    pub fn for_any_release(project: Project) -> Result<Issues, String> {
        Issues::new(project, true)
    }

    fn new(project: Project, any_release: bool) -> Result<Issues, String> {
        let mut list: Vec<Issue> =
            serde_yaml::from_str(include_str!("../../data/known-issues.yaml")).map_err(|error| error.to_string())?;
        list.retain(|issue| any_release || issue.excluded_by(&project.versions).is_none());
        let all = list.iter().enumerate().flat_map(|(at, issue)| issue.signatures.iter().map(move |text| (at, text)));
        let signatures = Signatures::new(all)?;
        Ok(Issues { list, signatures, project })
    }

    /// The issues in the order of the table.
    pub fn list(&self) -> &[Issue] {
        &self.list
    }

    /// The issues that match `text`, each once with its first matching line, in the order of these lines.
    pub fn find(&self, text: &str) -> Vec<Hit<'_>> {
        let mut found: Vec<Hit<'_>> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let plain = plain(line);
            let matching = self.match_line(&plain);
            if matching.is_empty() || is_harmless(&plain) {
                continue;
            }
            for at in matching {
                match found.iter_mut().find(|hit| hit.issue.id == self.list[at].id) {
                    Some(hit) => {
                        (hit.count, hit.last) = (hit.count + 1, number + 1);
                        // The first line that names the object fills the advice.
                        if hit.values.len() == self.project.values.len() {
                            hit.values.extend(captured_values(self.signatures.of(at), &plain));
                        }
                    }
                    None => found.push(self.hit(at, number + 1, (line, &plain))),
                }
            }
        }
        found
    }

    /// Like [`Issues::find`], but only issues of one place (`talos-console`): a line that indicates a problem of this host in
    /// the output of another program does not do so in the log of a machine.
    pub fn find_in(&self, place: &str, text: &str) -> Vec<Hit<'_>> {
        let mut found = self.find(text);
        found.retain(|hit| hit.issue.places.iter().any(|of| of == place));
        found
    }

    /// Like [`Issues::find`], but sorted by last match, newest first: an older issue may be over.
    pub fn find_newest_first(&self, text: &str) -> Vec<Hit<'_>> {
        let mut found = self.find(text);
        found.sort_by_key(|hit| std::cmp::Reverse(hit.last));
        found
    }

    /// The indices of the issues that match one line.
    fn match_line(&self, plain: &str) -> BTreeSet<usize> {
        let mut found = self.signatures.matches(plain);
        if found.iter().any(|at| !self.list[*at].fallback) {
            found.retain(|at| !self.list[*at].fallback);
        }
        found
    }

    fn hit(&self, at: usize, line: usize, (raw, plain): (&str, &str)) -> Hit<'_> {
        let mut values = self.project.values.clone();
        values.extend(captured_values(self.signatures.of(at), plain));
        // Removing the escapes can make a JSON entry invalid, so such an entry is shown unchanged.
        let entry = Some(format_line(raw.trim())).filter(|entry| raw.contains('{') && *entry != raw.trim());
        let shown = entry.unwrap_or_else(|| format_line(plain.trim()));
        // Redact before truncating: a truncated secret is not recognized.
        let text = redact(&shown).chars().take(MAX_SHOWN_CHARS).collect();
        let issue = &self.list[at];
        Hit {
            issue,
            line,
            last: line,
            text,
            count: 1,
            values,
            other_release: issue.excluded_by(&self.project.versions),
        }
    }
}

/// The values of the named groups of an issue's signatures in a line.
fn captured_values<'a>(signatures: impl Iterator<Item = &'a Regex>, plain: &str) -> Values {
    let mut values = Values::new();
    for pattern in signatures {
        let Some(found) = pattern.captures(plain) else { continue };
        for name in pattern.capture_names().flatten() {
            let value = found.name(name).map(|value| value.as_str().trim()).filter(|value| is_usable(value));
            if let Some(value) = value {
                values.entry(name.to_owned()).or_insert_with(|| redact(value).into_owned());
            }
        }
    }
    values
}

/// Whether a value from a log may be part of a command: it is not a flag and has no control characters.
fn is_usable(value: &str) -> bool {
    let plain = |c: char| !c.is_control() && c != '`';
    !value.is_empty() && value.len() <= 200 && !value.starts_with('-') && value.chars().all(plain)
}

/// A project's pinned releases and its values for [`PROJECT_VALUES`].
#[derive(Debug, Clone, Default)]
pub struct Project {
    versions: BTreeMap<String, Version>,
    values: Values,
}

impl Project {
    /// The project of a task.
    pub fn of(cx: &Cx) -> Project {
        let compose = files::read_text_or_empty(&cx.paths.compose());
        let endpoint = cx.settings.omni_endpoint(None).map(|found| found.value);
        // A relative path is valid only if the task runs in the project root.
        let elsewhere = std::env::current_dir().is_ok_and(|cwd| cwd != cx.paths.root());
        let docker = cx.paths.compose().parent().filter(|_| elsewhere).map(|dir| dir.display().to_string());
        let values = [
            ("omni_domain", endpoint.and_then(|url| Some(url.strip_prefix("https://")?.to_owned()))),
            ("provider_id", Some(cx.settings.provider_id(None).value)),
            ("user", login_user(&cx.paths.config())),
            ("docker", docker),
        ];
        let known = values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Project { versions: pinned_releases(&compose), values: known.filter(|(_, value)| is_usable(value)).collect() }
    }
}

/// The releases of Omni and the provider that a compose file pins.
fn pinned_releases(compose: &str) -> BTreeMap<String, Version> {
    let images = [("omni", "siderolabs/omni:"), ("provider", "siderolabs/omni-infra-provider-proxmox:")];
    let tag = |image: &str| {
        let line = compose.lines().find(|line| line.trim_start().starts_with("image:") && line.contains(image))?;
        let tag = line.split_once(image)?.1.split(['@', ' ', '"', '\'']).next()?;
        Version::parse(tag.trim_start_matches('v')).ok()
    };
    images.into_iter().filter_map(|(program, image)| Some((program.to_owned(), tag(image)?))).collect()
}

/// `user@realm` of the login in `docker/config.yaml`.
fn login_user(config: &Path) -> Option<String> {
    match ProviderConfig::parse("docker/config.yaml", &files::read_text_or_empty(config)).ok()?.auth {
        Auth::Token { id, .. } => Some(id.split_once('!')?.0.to_owned()),
        Auth::Password { user, .. } => Some(user),
        Auth::None => None,
    }
}

/// Lines of Omni's access log: each call with its response code. An error there is the caller's, and a healthy Omni writes some
/// at every start (grpc-ecosystem/go-grpc-middleware v1 `logging/zap/options.go`).
const ACCESS: [&str; 2] = ["\"msg\":\"finished unary call with code ", "\"msg\":\"finished streaming call with code "];

/// The line that Omni repeats every few seconds for a machine that has a request but has not joined yet: its link is created
/// when it joins (Omni 1.4.9, run; internal/backend/runtime/omni/controllers/omni/machine_request_link.go).
const MACHINE_NOT_JOINED: [&str; 2] =
    ["\"controller\":\"MachineRequestLinkController\"", "resource Links.omni.sidero.dev("];

/// Whether a healthy Omni prints the line.
fn is_harmless(plain: &str) -> bool {
    ACCESS.iter().any(|access| plain.contains(access)) || MACHINE_NOT_JOINED.iter().all(|part| plain.contains(part))
}

/// A line without terminal colors, and without the escapes of a log that stores lines in JSON (Docker's json-file driver,
/// `journalctl -o json`) or was copied from a web page.
fn plain(line: &str) -> Cow<'_, str> {
    // A color sequence consists of parameters and one letter (ECMA-48).
    static ESCAPE: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r#"(?:\\+u001b|\x1b)\[[0-9;?]*[A-Za-z]?|\\+("|u003c|u003e|u0026|u0022|u0027)|\\*&(quot|lt|gt|amp|#34|#39|#x27|apos);"#,
        )
        .ok()
    });
    // Searches bytes, which compares many at a time even without optimization.
    let escaped = [b'\\', b'&', 0x1b].iter().any(|byte| line.as_bytes().contains(byte));
    let Some(escape) = ESCAPE.as_ref().filter(|_| escaped) else { return Cow::Borrowed(line) };
    escape.replace_all(line, |found: &Captures<'_>| match found.get(1).or(found.get(2)).map(|letter| letter.as_str()) {
        None => "",
        Some("u003c" | "lt") => "<",
        Some("u003e" | "gt") => ">",
        Some("u0026" | "amp") => "&",
        Some("u0027" | "#39" | "#x27" | "apos") => "'",
        Some(_) => "\"",
    })
}

/// The maximum length of a shown line: a line may contain a whole machine configuration.
const MAX_SHOWN_CHARS: usize = 400;

/// A known issue in a log, with the first line that matches and the values of that line.
#[derive(Debug, Clone)]
pub struct Hit<'a> {
    pub issue: &'a Issue,
    /// The number of the line, from 1.
    pub line: usize,
    /// The number of the last matching line.
    pub last: usize,
    pub text: String,
    /// The number of matching lines.
    pub count: usize,
    values: Values,
    /// The reason why the project's own releases do not have the issue.
    other_release: Option<String>,
}

impl Hit<'_> {
    /// The cause of the issue.
    pub fn cause(&self) -> String {
        Issue::fill(&self.issue.cause, &self.values, str::to_owned)
    }

    /// How to fix the issue.
    pub fn fix(&self) -> String {
        Issue::fill(&self.issue.fix, &self.values, proc::quote)
    }

    /// The next command, with the objects of this case or placeholders in capitals.
    pub fn next(&self) -> String {
        Issue::fill(&self.issue.next, &self.values, proc::quote)
    }

    /// The hint of a failure that this issue explains.
    pub fn hint(&self) -> String {
        format!("known issue `{}`: {} {}", self.issue.id, self.cause(), self.fix())
    }

    /// The issue as text for people.
    pub fn shown(&self) -> String {
        let note = self.other_release.as_ref().map(|note| format!("\n   note: {note}")).unwrap_or_default();
        format!(
            "known issue {}: {}{note}\n  cause: {}\n    fix: {}\n   next: {}\n    ref: {}",
            self.issue.id,
            self.issue.title,
            self.cause(),
            self.fix(),
            self.next(),
            self.issue.reference
        )
    }
}

/// The issue's fields for this case, without the samples, which name other people's objects.
impl Serialize for Hit<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Issue { id, title, area, versions, reference, .. } = self.issue;
        let mut fields = json!({
            "id": id, "title": title, "area": area, "versions": versions, "reference": reference,
            "cause": self.cause(), "fix": self.fix(), "next": self.next(),
            "where": self.issue.places, "match": self.issue.signatures,
            "line": self.line, "text": self.text, "count": self.count,
        });
        if let Some(note) = &self.other_release {
            fields["note"] = json!(note);
        }
        fields.serialize(serializer)
    }
}

/// Adds the advice of a known issue to `failure`; the issue was found in the log of the container that failed.
pub fn explain(mut failure: Failure, hit: &Hit<'_>) -> Failure {
    failure.cause.push_str(&format!("\nits log: {}", hit.text));
    failure.hint = hit.hint();
    failure.next(hit.next())
}

/// Adds the cause and fix of a known issue to `failure`, if it has no hint of its own.
pub fn enrich(cx: &Cx, mut failure: Failure) -> Failure {
    if !failure.hint.is_empty() {
        return failure;
    }
    let Ok(issues) = Issues::of(cx) else { return failure };
    let text = format!("{}\n{}", failure.message, failure.cause);
    if let Some(hit) = issues.find(&text).first() {
        failure.hint = hit.hint();
        if failure.next.is_empty() {
            failure.next.push(hit.next());
        }
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issues() -> Issues {
        Issues::read().unwrap()
    }

    fn lines(issue: &Issue) -> impl Iterator<Item = &String> {
        [&issue.sample].into_iter().chain(&issue.more)
    }

    fn ids<'a>(hits: &'a [Hit<'_>]) -> Vec<&'a str> {
        hits.iter().map(|hit| hit.issue.id.as_str()).collect()
    }

    #[test]
    fn omni_that_waits_for_the_link_of_a_machine_is_healthy() {
        let line = |controller: &str| {
            format!(
                r#"{{"level":"error","msg":"reconcile failed","controller":"{controller}","id":"wait-workers-rcppmm","error":"failed to get: resource Links.omni.sidero.dev(default/a30ee37e-86b1-4a3b-b16b-cd97dfb05333@undefined) doesn't exist","interval":5,"requeued":true}}"#
            )
        };
        let issues = issues();
        assert_eq!(ids(&issues.find(&line("MachineRequestLinkController"))), [""; 0]);
        assert_eq!(ids(&issues.find(&line("ClusterMachineController"))), ["omni-resource-gone"]);
    }

    #[test]
    fn line_of_a_machine_says_nothing_of_this_host() {
        let issues = issues();
        let line = "error: rpc error: code = Unavailable desc = dns: A record lookup error: lookup time.example.org on 127.0.0.1:53: refused";
        assert_eq!(ids(&issues.find(line)), ["omnictl-no-route"]);
        assert_eq!(ids(&issues.find_in("talos-console", line)), [""; 0]);
        let own =
            line.replace("rpc", "hello failed {\"error\": \"rpc").replace("time.example.org", "discovery.talos.dev");
        assert_eq!(ids(&issues.find_in("talos-console", &own)), ["talos-discovery-unreachable"]);
    }

    #[test]
    fn each_signature_matches_a_sample_of_its_own_and_no_other() {
        let issues = issues();
        assert!(issues.list().len() >= 60, "{} known issues", issues.list().len());
        for issue in issues.list() {
            for signature in &issue.signatures {
                let pattern = Regex::new(signature).unwrap();
                let shown = lines(issue).any(|line| pattern.is_match(&plain(line)));
                assert!(shown, "{}: no sample shows the signature {signature:?}", issue.id);
            }
            for line in lines(issue) {
                assert_eq!(ids(&issues.find(line)), [issue.id.as_str()], "{line}");
            }
        }
    }

    #[test]
    fn hit_has_its_first_line_and_its_count() {
        let issues = issues();
        let [first, second] = [0, 1].map(|at| &issues.list()[at]);
        let text = format!("nothing\n{0}\n{1}\r\n{0}\n", first.sample, second.sample);
        let found = issues.find(&text);
        let seen: Vec<_> = found.iter().map(|hit| (hit.issue.id.as_str(), hit.line, hit.count)).collect();
        assert_eq!(seen, [(first.id.as_str(), 2, 2), (second.id.as_str(), 3, 1)]);
        assert!(issues.find("all is well\n").is_empty());
    }

    #[test]
    fn newest_line_decides_which_issue_comes_first() {
        let issues = issues();
        let [first, second] = [0, 1].map(|at| &issues.list()[at]);
        let order = |lines: &[&str]| ids(&issues.find_newest_first(&lines.join("\n"))).join(" ");
        assert_eq!(order(&[&first.sample, &second.sample]), format!("{} {}", second.id, first.id));
        assert_eq!(order(&[&first.sample, &second.sample, &first.sample]), format!("{} {}", first.id, second.id));
    }

    /// As logs are pasted: with prefixes, in color, stored in JSON once or twice.
    #[test]
    fn samples_match_with_log_prefixes() {
        let issues = issues();
        let json = |line: &str| serde_json::to_string(line).unwrap().replace('<', "\\u003c").replace('>', "\\u003e");
        for issue in issues.list() {
            for line in lines(issue) {
                let coloured = line.replace(' ', "\u{1b}[0m \u{1b}[1;31m");
                let kept =
                    format!("{{\"log\":{},\"stream\":\"stderr\",\"time\":\"2026-11-22T02:12:11Z\"}}", json(line));
                let dresses = [
                    format!("\u{1b}[36momni-1              | \u{1b}[0m{line}\r"),
                    format!("Nov 22 02:12:11 omni dockerd[812]: {line}"),
                    format!("2026-11-22T02:12:11.009935980Z {line}"),
                    format!("> {line}"),
                    format!("\u{1b}[90m10:11AM\u{1b}[0m \u{1b}[31mERR\u{1b}[0m {coloured}\u{1b}[0m"),
                    format!("{{\"MESSAGE\":{}}}", json(&coloured)),
                    kept.clone(),
                    format!("{{\"line\":{}}}", json(&kept)),
                    line.replace('&', "&amp;").replace('"', "&#34;").replace('\'', "&#39;").replace('<', "&lt;"),
                    format!("{{\"line\":{}}}", json(line).replace("\\\"", "\\u0022").replace('\'', "\\u0027")),
                    format!("192.0.2.30: user: warning: [2026-11-22T03:10:00.12Z]: {line} \r"),
                    format!("2026-11-22T02:12:11.009935980Z stderr F {line}"),
                ];
                for dressed in dresses {
                    assert_eq!(ids(&issues.find(&dressed)), [issue.id.as_str()], "{dressed}");
                }
            }
        }
    }

    /// A value of the same kind as `value` that is in no sample.
    fn distinctive(name: &str, value: &str) -> String {
        match name {
            "type" => "zebras".to_owned(),
            "lock" => "zebra-lock".to_owned(),
            "state_dir" => "/zebra-4711".to_owned(),
            "path" => format!("{}/zebra-4711", value.rsplit_once('/').map_or("", |(before, _)| before)),
            "email" | "user" => "carol@zebra.test".to_owned(),
            "url" | "factory" if value.starts_with("https://") => "https://zebra.test".to_owned(),
            "privilege" | "selector" => value.to_owned(),
            "image" => value.replace("/", "/zebra-"),
            _ if value.chars().all(|c| c.is_ascii_digit()) => "4711".to_owned(),
            _ => "zebra-4711".to_owned(),
        }
    }

    /// For every named group of every signature: if the line names another object, so does the advice.
    #[test]
    fn advice_names_the_object_of_the_line_and_never_that_of_the_sample() {
        let issues = issues();
        let mut filled = 0;
        for issue in issues.list() {
            let holes = format!("{} {} {}", issue.cause, issue.fix, issue.next);
            for (line, pattern) in lines(issue)
                .flat_map(|line| issue.signatures.iter().map(move |text| (plain(line), Regex::new(text).unwrap())))
            {
                let Some(found) = pattern.captures(&line) else { continue };
                for name in pattern.capture_names().flatten() {
                    let Some(caught) = found.name(name) else { continue };
                    let other = distinctive(name, caught.as_str());
                    let changed = format!("{}{other}{}", &line[..caught.start()], &line[caught.end()..]);
                    let hits = issues.find(&changed);
                    let hit = hits.iter().find(|hit| hit.issue.id == issue.id);
                    let hit = hit.unwrap_or_else(|| panic!("{}: {changed}", issue.id));
                    let said = format!("{} {} {}", hit.cause(), hit.fix(), hit.next());
                    if holes.contains(&format!("{{{name}}}")) {
                        filled += 1;
                        assert!(said.contains(&other), "{}: {name} {other}: {said}", issue.id);
                        let old = caught.as_str();
                        let kept = other == old || !said.contains(old) || other.contains(old);
                        assert!(kept || old.len() < 4, "{}: {old} of the sample: {said}", issue.id);
                    }
                }
            }
        }
        assert!(filled > 30, "{filled} holes are filled");
    }

    /// The objects of the samples: none of them may appear in advice or on the pages.
    #[test]
    fn advice_has_no_value_of_a_sample_in_it() {
        let objects = Regex::new(
            r"\b(?:demo|alice|bob|carol|matrix|rehearsal|local-lvm|ceph|vmbr1|vnet20|gpu-1|automation|pve\d)\b|example\.|192\.0\.2|198\.51\.100|12345678|(?:vm:|VM |qm [a-z]+ )100\b|v1\.\d+\.\d+",
        )
        .unwrap();
        for issue in issues().list() {
            for text in [&issue.next, &issue.fix, &issue.cause] {
                let found = objects.find(text).map(|found| found.as_str());
                assert_eq!(found, None, "{}: {text}", issue.id);
            }
        }
    }

    #[test]
    fn every_placeholder_has_a_value() {
        let hole = Regex::new(r"\{([a-z_]+)\}").unwrap();
        for issue in issues().list() {
            let patterns: Vec<Regex> = issue.signatures.iter().map(|text| Regex::new(text).unwrap()).collect();
            let names: Vec<&str> = patterns.iter().flat_map(|pattern| pattern.capture_names().flatten()).collect();
            for text in [&issue.cause, &issue.fix, &issue.next] {
                for found in hole.captures_iter(text) {
                    let known = names.contains(&&found[1]) || PROJECT_VALUES.contains(&&found[1]);
                    assert!(known, "{}: nothing fills {}", issue.id, &found[0]);
                }
            }
        }
    }

    #[test]
    fn log_lines_match_issue_and_object() {
        let issues = issues();
        let cases: Vec<BTreeMap<String, String>> =
            serde_yaml::from_str(include_str!("../../tests/fixtures/log-lines.yaml")).unwrap();
        for case in &cases {
            let hits = issues.find(&case["line"]);
            assert_eq!(ids(&hits), Vec::from_iter(case.get("id")), "{case:?}");
            assert_eq!(hits.first().map(Hit::next).as_ref(), case.get("next"), "{case:?}");
            let advice = hits.first().map(|hit| format!("{} {}", hit.cause(), hit.fix())).unwrap_or_default();
            assert!(case.get("says").is_none_or(|words| advice.contains(words)), "{case:?}: {advice}");
            assert!(case.get("not").is_none_or(|words| !advice.contains(words)), "{case:?}: {advice}");
        }
    }

    /// An issue that applies only to other releases than the pinned ones is not reported.
    #[test]
    fn issue_is_offered_only_for_the_releases_that_have_it() {
        let project = |provider: &str| {
            let compose = format!(
                "services:\n  omni:\n    image: ghcr.io/siderolabs/omni:v1.9.3\n  provider:\n    image: ghcr.io/siderolabs/omni-infra-provider-proxmox:{provider}\n"
            );
            Project { versions: pinned_releases(&compose), values: Values::new() }
        };
        let pins = |provider: &str| Issues::new(project(provider), false).unwrap();
        let line =
            "500 hostname lookup 'zebra' failed - failed to get address info for: zebra: Name or service not known";
        assert_eq!(ids(&pins("v0.2.0").find(line)), ["machine-node-renamed"]);
        assert!(pins("v0.3.0@sha256:0123").find(line).is_empty());
        let pasted = Issues::for_any_release(project("v0.3.0")).unwrap();
        let note = "applies to provider <0.3.0; this project pins provider 0.3.0";
        assert!(pasted.find(line)[0].shown().contains(note), "{}", pasted.find(line)[0].shown());
        assert_eq!(serde_json::to_value(&pasted.find(line)[0]).unwrap()["note"], note);
        assert_eq!(pins("v0.2.0").find(line)[0].other_release, None);
        assert_eq!(pins("local-fix").list().len(), issues().list().len(), "an unknown release may have any");
        for issue in issues().list() {
            for (program, wanted) in &issue.applies {
                assert!(["omni", "provider"].contains(&program.as_str()), "{}: {program}", issue.id);
                VersionReq::parse(wanted).unwrap();
            }
        }
    }
}
