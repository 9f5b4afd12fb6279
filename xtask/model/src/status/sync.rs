//! What a sync of a cluster template does, read from what omnictl prints of it.

/// What a sync would do or did to one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncAction {
    /// `create`, `update` or `destroy`.
    pub verb: &'static str,
    /// `Clusters`, `MachineSets`, `ConfigPatches`, …
    pub kind: String,
    pub id: String,
    /// The machine count before and after, where it changes.
    pub machines: Option<(u64, u64)>,
}

crate::written!(SyncAction { verb, kind, id, machines });

impl SyncAction {
    /// Whether machines or more go with it.
    pub fn destroys(&self) -> bool {
        match self.verb {
            "destroy" => matches!(self.kind.as_str(), "Clusters" | "MachineSets" | "MachineSetNodes"),
            _ => self.machines.is_some_and(|(before, after)| after < before),
        }
    }

    /// What goes with it, in words, for one that [`SyncAction::destroys`].
    pub fn loss(&self) -> String {
        match self.machines {
            Some((before, after)) if self.verb != "destroy" => {
                let count = before.saturating_sub(after);
                let machines = if count == 1 { "machine" } else { "machines" };
                format!("{count} {machines} of machine set {} (from {before} to {after})", self.id)
            }
            _ => self.words().trim_start_matches("destroy ").to_owned(),
        }
    }

    /// In words: `destroy machine set demo-workers with its machines`.
    pub fn words(&self) -> String {
        let what = match self.kind.as_str() {
            "Clusters" => "cluster".to_owned(),
            "MachineSets" => "machine set".to_owned(),
            "ConfigPatches" => "config patch".to_owned(),
            kind => kind.to_owned(),
        };
        let more = match (self.verb, self.machines) {
            ("destroy", _) if self.destroys() => " with its machines".to_owned(),
            (_, Some((before, after))) => format!(" from {before} to {after} machines"),
            _ => String::new(),
        };
        format!("{} {what} {}{more}", self.verb, self.id)
    }
}

/// The actions in what `omnictl cluster template sync [--dry-run] [--verbose]` printed (omni v1.9.3
/// `client/pkg/template/operations/sync.go`): lines `* creating (dry run) Clusters.omni.sidero.dev(demo)`, each followed
/// by its diff.
pub fn sync_actions(text: &str) -> Vec<SyncAction> {
    let mut actions: Vec<SyncAction> = Vec::new();
    let mut before = None;
    for line in text.lines() {
        if let Some(action) = line.strip_prefix("* ").and_then(sync_action) {
            actions.push(action);
            before = None;
            continue;
        }
        let count = |sign| {
            let field = line.strip_prefix(sign)?.trim_start().strip_prefix("machinecount:")?;
            field.trim().parse::<u64>().ok()
        };
        before = count('-').or(before);
        if let (Some(before), Some(after), Some(action)) = (before, count('+'), actions.last_mut()) {
            action.machines = (action.verb == "update").then_some((before, after));
        }
    }
    actions
}

fn sync_action(line: &str) -> Option<SyncAction> {
    let verbs = [("creating", "create"), ("updating", "update"), ("tearing down", "destroy")];
    let (rest, verb) = verbs.iter().find_map(|(said, verb)| Some((line.strip_prefix(said)?, *verb)))?;
    let rest = rest.trim_start().trim_start_matches("(dry run)").trim_start();
    let (kind, id) = rest.strip_suffix(')')?.split_once('(')?;
    let kind = kind.split('.').next()?.to_owned();
    Some(SyncAction { verb, kind, id: id.to_owned(), machines: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::testing::recorded;

    #[test]
    fn what_a_sync_does_is_read() {
        let done = sync_actions(&recorded("omnictl", "template-sync-unlimited").stdout);
        let words: Vec<String> = done.iter().map(SyncAction::words).collect();
        let expected =
            ["create cluster demo2", "create machine set demo2-control-planes", "create machine set demo2-workers"];
        assert_eq!(words, expected);
        let gone = sync_actions(&recorded("omnictl", "cluster-delete-dry").stdout);
        assert!(gone[0].destroys());
        assert_eq!(gone[0].words(), "destroy cluster demo with its machines");
        let scaled = "* updating (dry run) MachineSets.omni.sidero.dev(demo-workers)\n--- a\n+++ b\n-        machinecount: 3\n+        machinecount: 1\n";
        let scaled = sync_actions(scaled);
        assert!(scaled[0].destroys());
        assert_eq!(scaled[0].words(), "update machine set demo-workers from 3 to 1 machines");
        assert_eq!(sync_actions(""), []);
    }
}
