//! Plans that one run saves and a later run applies: the contents of the file, and what has changed since.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock;
use crate::secret::{hide_in, redact};
use crate::words::count;

/// The format version that this program reads and writes.
const FORMAT: u64 = 1;

/// The contents of a plan file. It contains no diffs and no file contents, which may contain secrets: the inputs of the plan are
/// bound by hash, and read again from the project and from Omni when the plan is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    format: u64,
    /// The task that made the plan.
    pub task: String,
    made: String,
    expires: String,
    /// The endpoint of the Omni that the plan is for.
    pub omni: String,
    /// The rules whose errors were allowed.
    pub allowed: Vec<String>,
    /// The files that were passed to the task.
    pub files: Vec<String>,
    /// The inputs of the plan, each with its hash or version.
    pub bound: BTreeMap<String, String>,
    pub changes: Vec<PlannedChange>,
    /// Hash of all fields above. It detects edits but is not a signature.
    seal: String,
}

/// A change, with the wording in which it was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedChange {
    pub verb: String,
    pub object: String,
    pub effect: String,
    pub undo: String,
    pub destroys: Vec<String>,
}

/// The inputs that bind a plan: the Omni, files and resource versions that it was made for.
#[derive(Debug, Default)]
pub struct PlanBinding {
    pub omni: String,
    pub allowed: Vec<String>,
    pub files: Vec<String>,
    pub bound: BTreeMap<String, String>,
}

/// Returns `sha256:` followed by the hash of `bytes`.
pub fn hash(bytes: &[u8]) -> String {
    let digits: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// Returns the key under which a file is bound.
pub fn file_key(path: &str) -> String {
    format!("file {path}")
}

impl SavedPlan {
    /// Creates a sealed plan with every known secret redacted. Times are in seconds since the Unix epoch.
    pub fn new(
        task: &str,
        grounds: PlanBinding,
        changes: Vec<PlannedChange>,
        (made, expires): (u64, u64),
    ) -> SavedPlan {
        let clean = |text: &str| {
            hide_in(text);
            redact(text).into_owned()
        };
        let change = |change: PlannedChange| PlannedChange {
            effect: clean(&change.effect),
            undo: clean(&change.undo),
            destroys: change.destroys.iter().map(|what| clean(what)).collect(),
            ..change
        };
        let PlanBinding { omni, allowed, files, bound } = grounds;
        let mut plan = SavedPlan {
            format: FORMAT,
            task: task.to_owned(),
            made: clock::rfc3339_of(made),
            expires: clock::rfc3339_of(expires),
            omni: clean(&omni),
            allowed,
            files,
            bound: bound.into_iter().map(|(key, value)| (clean(&key), value)).collect(),
            changes: changes.into_iter().map(change).collect(),
            seal: String::new(),
        };
        plan.seal = plan.compute_seal();
        plan
    }

    /// Parses the text of a plan file.
    ///
    /// # Errors
    /// Returns the reason if it is not a plan, has another format, or was edited.
    pub fn parse(text: &str) -> Result<SavedPlan, String> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|error| match error.is_eof() {
            true => format!("it is empty or truncated: {error}"),
            false => error.to_string(),
        })?;
        match value["format"].as_u64() {
            Some(FORMAT) => {}
            Some(newer) if newer > FORMAT => {
                return Err(format!(
                    "it has format {newer}, but this program reads format {FORMAT}: the program is older than the plan"
                ));
            }
            _ => return Err("its `format` is missing or unknown to this program".to_owned()),
        }
        let plan: SavedPlan = serde_json::from_value(value).map_err(|error| error.to_string())?;
        if plan.seal != plan.compute_seal() {
            return Err("its checksum does not match its contents: the plan was edited or damaged".to_owned());
        }
        if clock::parse_rfc3339(&plan.expires).is_none() {
            return Err(format!("{:?} is not a valid time", plan.expires));
        }
        Ok(plan)
    }

    /// Returns the text of the plan file.
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    fn compute_seal(&self) -> String {
        let open = SavedPlan { seal: String::new(), ..self.clone() };
        hash(serde_json::to_string(&open).unwrap_or_default().as_bytes())
    }

    /// Returns the expiry time if the plan is expired at `now` (seconds since the Unix epoch).
    pub fn expired(&self, now: u64) -> Option<&str> {
        clock::parse_rfc3339(&self.expires).is_none_or(|end| end <= now).then_some(&self.expires)
    }

    /// Returns what is new or different in the plan `now`; empty if it contains only changes of this plan. Changes of this plan
    /// that are already done, for example by an interrupted run, do not count.
    pub fn differences(&self, now: &SavedPlan) -> Vec<String> {
        let mut found = describe_differences(&self.bound, &now.bound);
        // Effects are not compared: their wording derives from the bound values and from current figures.
        let of = |plan: &SavedPlan| -> BTreeMap<String, String> {
            let lost = |change: &PlannedChange| -> Vec<String> {
                change.destroys.iter().map(|what| format!("{} destroys {what}", change.title())).collect()
            };
            let all = plan.changes.iter().flat_map(|change| std::iter::once(change.title()).chain(lost(change)));
            all.map(|words| (words, String::new())).collect()
        };
        found.extend(describe_differences(&of(self), &of(now)));
        found
    }

    /// Describes what changes, what is destroyed, and which inputs the plan depends on.
    pub fn describe(&self) -> String {
        let mut lines = vec![
            format!("{} by `{}`, for {}", count(self.changes.len(), "change"), self.task, self.omni),
            format!("created {}, valid until {}", self.made, self.expires),
        ];
        for change in &self.changes {
            lines.push(format!("\n{}: {}", change.title(), change.effect));
            lines.extend(change.destroys.iter().map(|what| format!("  DESTROYS {what}")));
            lines.push(format!("  undo: {}", change.undo));
        }
        if !self.allowed.is_empty() {
            lines.push(format!("\nerrors of these rules are allowed: {}", self.allowed.join(", ")));
        }
        lines.push("\nit is valid as long as the following do not change:".to_owned());
        let short =
            |value: &str| value.get(..19).filter(|short| short.starts_with("sha256:")).unwrap_or(value).to_owned();
        lines.extend(self.bound.iter().map(|(key, value)| format!("  {key} ({})", short(value))));
        lines.join("\n")
    }

    /// Same as [`SavedPlan::describe`] for a pull request comment, in a code fence because names from files are not Markdown.
    pub fn markdown(&self) -> String {
        let title = match self.changes.iter().any(|change| !change.destroys.is_empty()) {
            true => format!("{}, **with destruction**", count(self.changes.len(), "change")),
            false => count(self.changes.len(), "change"),
        };
        let words = self.describe();
        let longest = words.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        format!("### Plan: {title}\n\n{fence}text\n{words}\n{fence}\n")
    }
}

impl PlannedChange {
    fn title(&self) -> String {
        format!("{} {}", self.verb, self.object)
    }
}

/// The bound value of new machines that fit. It matches whatever value the plan was made with.
pub const FIT: &str = "they fit";

/// Describes what is new or different in `now`. For hashes, reports only that they differ.
pub fn describe_differences(planned: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = Vec::new();
    for (key, was) in planned {
        match now.get(key) {
            Some(is) if is == was || is == FIT => {}
            Some(is) if is.starts_with("sha256:") => found.push(format!("{key}: has changed")),
            Some(is) => found.push(format!("{key}: was planned with `{was}`, now it is `{is}`")),
            None => {}
        }
    }
    let new = now.keys().filter(|key| !planned.contains_key(*key));
    found.extend(new.map(|key| format!("{key}: not in the plan")));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(effect: &str) -> SavedPlan {
        let change = PlannedChange {
            verb: "sync".to_owned(),
            object: "cluster demo".to_owned(),
            effect: effect.to_owned(),
            undo: "restore it".to_owned(),
            destroys: vec!["1 machine".to_owned()],
        };
        let bound =
            [("file a.yaml".to_owned(), hash(b"a")), ("machine class small".to_owned(), "version 3".to_owned())];
        let grounds = PlanBinding { omni: "https://o".to_owned(), bound: bound.into(), ..PlanBinding::default() };
        SavedPlan::new("cluster-sync", grounds, vec![change], (0, 86_400))
    }

    #[test]
    fn parse_refuses_edited_plan() {
        let text = plan("update machine set").text();
        assert_eq!(SavedPlan::parse(&text).unwrap(), plan("update machine set"));
        for (from, to, why) in [
            ("\"format\": 1", "\"format\": 2", "older than the plan"),
            ("\"format\": 1", "\"format\": \"1\"", "`format` is missing"),
            ("1970-01-02", "2970-01-02", "edited or damaged"),
            ("\"destroys\": [\n        \"1 machine\"\n      ]", "\"destroys\": []", "edited or damaged"),
            ("\"task\"", "\"more\": 1, \"task\"", "unknown field"),
            ("{", "[", "expected"),
        ] {
            let edited = text.replacen(from, to, 1);
            assert_ne!(edited, text);
            assert!(SavedPlan::parse(&edited).unwrap_err().contains(why), "{why}");
        }
        assert_eq!((plan("").expired(86_399), plan("").expired(86_400)), (None, Some("1970-01-02T00:00:00Z")));
    }

    #[test]
    fn differences_name_changes() {
        let (planned, mut now) = (plan("a"), plan("b"));
        assert_eq!(planned.differences(&planned), [""; 0]);
        now.changes[0].destroys.push("VM 7".to_owned());
        now.bound = [("file a.yaml".to_owned(), hash(b"b")), ("create x".to_owned(), hash(b""))].into();
        assert_eq!(
            planned.differences(&now),
            [
                "file a.yaml: has changed",
                "create x: not in the plan",
                "sync cluster demo destroys VM 7: not in the plan",
            ]
        );
        (now.bound, now.changes) = ([("file a.yaml".to_owned(), hash(b"a"))].into(), Vec::new());
        assert_eq!(planned.differences(&now), [""; 0], "it is done");
        let fit = |words: &str| BTreeMap::from([("new machines".to_owned(), words.to_owned())]);
        assert_eq!(describe_differences(&fit("unknown"), &fit(FIT)), [""; 0]);
        assert_eq!(describe_differences(&fit(FIT), &fit("unknown")).len(), 1);
    }

    #[test]
    fn markdown_fences_names() {
        let text = plan("label `x` ```\n@all <b>").markdown();
        assert!(text.starts_with("### Plan: 1 change, **with destruction**\n\n````text\n"), "{text}");
        assert!(text.ends_with("\n````\n"));
    }

    #[test]
    fn known_secrets_are_redacted() {
        crate::secret::hide("plan-canary-secret");
        assert!(!plan("kernelargs plan-canary-secret").text().contains("canary"));
    }
}
