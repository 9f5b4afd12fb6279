//! Parses the output of omnictl for a sync of a cluster template.

use crate::words::count;
use serde::Serialize;
use std::collections::BTreeMap;

/// The action of a sync, planned or done, on one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SyncAction {
    /// `create`, `update` or `destroy`.
    pub verb: &'static str,
    /// `Clusters`, `MachineSets`, `ConfigPatches`, …
    pub kind: String,
    pub id: String,
    /// The machine count before and after, if it changes.
    pub machines: Option<(u64, u64)>,
    /// The Talos and Kubernetes versions before and after, if they change.
    pub versions: Vec<VersionChange>,
}

/// A version change of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionChange {
    /// `Talos` or `Kubernetes`.
    pub program: &'static str,
    pub from: String,
    pub to: String,
}

/// The versioned programs, by their key in the diff of a Cluster (omni v1.9.3 `client/api/omni/specs/omni.proto`, ClusterSpec).
const VERSIONS: [(&str, &str); 2] = [("talosversion", "Talos"), ("kubernetesversion", "Kubernetes")];

impl SyncAction {
    /// Whether the action destroys machines, machine sets or clusters.
    pub fn destroys(&self) -> bool {
        match self.verb {
            "destroy" => matches!(self.kind.as_str(), "Clusters" | "MachineSets" | "MachineSetNodes"),
            _ => self.machines.is_some_and(|(before, after)| after < before),
        }
    }

    /// Describes what the action destroys; only for actions for which [`SyncAction::destroys`] is true.
    pub fn describe_loss(&self) -> String {
        match self.machines {
            Some((before, after)) if self.verb != "destroy" => {
                let machines = count(before.saturating_sub(after), "machine");
                format!("{machines} of machine set {} (from {before} to {after})", self.id)
            }
            _ => self.describe().trim_start_matches("destroy ").to_owned(),
        }
    }

    /// Applies a changed field of the diff.
    fn apply_change(&mut self, key: &str, from: &str, to: &str) {
        if let Some((_, program)) = VERSIONS.iter().find(|(name, _)| *name == key && self.kind == "Clusters") {
            self.versions.push(VersionChange { program, from: from.to_owned(), to: to.to_owned() });
        }
        if let (true, Ok(from), Ok(to)) = (key == "machinecount", from.parse(), to.parse()) {
            self.machines = Some((from, to));
        }
    }

    /// Describes the action: `destroy machine set demo-workers with its machines`.
    pub fn describe(&self) -> String {
        let what = match self.kind.as_str() {
            "Clusters" => "cluster".to_owned(),
            "MachineSets" => "machine set".to_owned(),
            "ConfigPatches" => "config patch".to_owned(),
            kind => kind.to_owned(),
        };
        let more = match (self.verb, self.machines) {
            ("destroy", _) if self.destroys() => " with its machines".to_owned(),
            (_, Some((before, after))) => format!(" from {before} to {}", count(after, "machine")),
            _ => String::new(),
        };
        format!("{} {what} {}{more}", self.verb, self.id)
    }
}

/// Parses the actions in the output of `omnictl cluster template sync [--dry-run] [--verbose]` (omni v1.9.3
/// `client/pkg/template/operations/sync.go`): lines `* creating (dry run) Clusters.omni.sidero.dev(demo)`, each followed by its
/// diff.
pub fn sync_actions(text: &str) -> Vec<SyncAction> {
    let mut actions: Vec<SyncAction> = Vec::new();
    // The keys that the current diff removes.
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    for line in text.lines() {
        if let Some(action) = line.strip_prefix("* ").and_then(sync_action) {
            actions.push(action);
            before.clear();
            continue;
        }
        if let Some((key, value)) = line.strip_prefix('-').and_then(field) {
            before.insert(key, value);
        }
        let added = line.strip_prefix('+').and_then(field);
        let (Some((key, after)), Some(action)) = (added, actions.last_mut()) else { continue };
        if let Some(from) = before.get(key).filter(|_| action.verb == "update") {
            action.apply_change(key, from, after);
        }
    }
    actions
}

/// Returns the diff of each action of [`sync_actions`], in the same order, without the times, version and finalizers of the
/// resource, which change whenever Omni's controllers update it.
pub fn sync_diffs(text: &str) -> Vec<String> {
    // omnictl indents by four spaces, and the keys below `metadata` are at the first level.
    let metadata = |line: &str, keys: &[&str]| {
        let Some(rest) = line.get(1..) else { return false };
        let key = rest.trim_start();
        (1..=4).contains(&(rest.len() - key.len())) && keys.iter().any(|start| key.starts_with(start))
    };
    let mut diffs: Vec<String> = Vec::new();
    let mut finalizers = false;
    for line in text.lines() {
        let item = line.get(1..).is_some_and(|rest| rest.trim_start().starts_with("- "));
        finalizers = metadata(line, &["finalizers:"]) || finalizers && item;
        let volatile = finalizers || metadata(line, &["version: ", "created: ", "updated: "]);
        if line.strip_prefix("* ").and_then(sync_action).is_some() {
            diffs.push(String::new());
        } else if let Some(diff) = diffs.last_mut().filter(|_| !volatile) {
            diff.push_str(line);
            diff.push('\n');
        }
    }
    diffs
}

/// Parses `key: value` in a line of a diff, without quotes.
fn field(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    Some((key.trim(), value.trim().trim_matches('"')))
}

fn sync_action(line: &str) -> Option<SyncAction> {
    let verbs = [("creating", "create"), ("updating", "update"), ("tearing down", "destroy")];
    let (rest, verb) = verbs.iter().find_map(|(said, verb)| Some((line.strip_prefix(said)?, *verb)))?;
    let rest = rest.trim_start().trim_start_matches("(dry run)").trim_start();
    let (kind, id) = rest.strip_suffix(')')?.split_once('(')?;
    let kind = kind.split('.').next()?.to_owned();
    Some(SyncAction { verb, kind, id: id.to_owned(), machines: None, versions: Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::testing::recorded;

    #[test]
    fn sync_actions_parse_the_output() {
        let done = sync_actions(&recorded("omnictl", "template-sync-unlimited").stdout);
        let words: Vec<String> = done.iter().map(SyncAction::describe).collect();
        let expected =
            ["create cluster demo2", "create machine set demo2-control-planes", "create machine set demo2-workers"];
        assert_eq!(words, expected);
        let gone = sync_actions(&recorded("omnictl", "cluster-delete-dry").stdout);
        assert!(gone[0].destroys());
        assert_eq!(gone[0].describe(), "destroy cluster demo with its machines");
        let scaled = "* updating (dry run) MachineSets.omni.sidero.dev(demo-workers)\n--- a\n+++ b\n-        machinecount: 3\n+        machinecount: 1\n";
        let scaled = sync_actions(scaled);
        assert!(scaled[0].destroys());
        assert_eq!(scaled[0].describe(), "update machine set demo-workers from 3 to 1 machine");
        assert_eq!(sync_actions(""), []);
    }

    #[test]
    fn sync_diffs_omit_metadata() {
        let text = "x\n* creating (dry run) Clusters.omni.sidero.dev(a)\n+    version: 3\n+    finalizers:\n+        - A\n+    created: 2026\n+    id: a\n+        version: 1\n* tearing down (dry run) MachineSets.omni.sidero.dev(b)\n-    updated: 2026\n";
        assert_eq!(sync_diffs(text), ["+    id: a\n+        version: 1\n", ""]);
        assert_eq!(sync_diffs(text).len(), sync_actions(text).len());
    }

    #[test]
    fn versions_come_only_from_the_diff_of_the_cluster() {
        let text = "* updating (dry run) Clusters.omni.sidero.dev(up)\n--- a\n+++ b\n@@ -10,4 +10,4 @@\n spec:\n     installimage: \"\"\n-    kubernetesversion: 1.34.1\n-    talosversion: \"1.12.0\"\n+    kubernetesversion: 1.36.2\n+    talosversion: 1.13.5\n* updating (dry run) ConfigPatches.omni.sidero.dev(x)\n-    talosversion: 1\n+    talosversion: 2\n";
        let change = |program, from: &str, to: &str| VersionChange { program, from: from.into(), to: to.into() };
        let actions = sync_actions(text);
        assert_eq!(
            actions[0].versions,
            [change("Kubernetes", "1.34.1", "1.36.2"), change("Talos", "1.12.0", "1.13.5")]
        );
        assert_eq!((actions[0].machines, actions[1].versions.len()), (None, 0));
    }
}
