//! The lab's faults, as the lab lists them.

use serde::{Deserialize, Serialize};
use std::path::Path;

use xshell::cmd;

use crate::cx::Cx;
use crate::proc::{self, Job};
use domain::failure::{Code, Failure};
use domain::nearest;

/// A failure seen in real use that the lab simulates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fault {
    pub name: String,
    pub group: String,
    /// The effect in the simulated service.
    pub does: String,
    /// Who has seen it.
    pub source: String,
    /// The tasks that an operator has run before it happens, and `edit FILE: FROM -> TO` for a line changed by hand.
    pub before: Vec<String>,
    /// The task that fails because of it.
    pub task: String,
    /// The exit status of that task.
    pub exit: i32,
    /// What the task must report.
    pub says: String,
    /// How it is fixed.
    pub heals: String,
    /// The commands that fix it, in order: of a task, of a program, or `person`, `next`, `pveum` (`faults.yaml`).
    pub fix: Vec<String>,
    /// The link of the chain that `cluster-explain` then shows as broken; empty if none is.
    pub breaks: String,
    /// The IDs of the causes that `cluster-explain` names, the first one first.
    pub causes: Vec<String>,
    /// When it happens by default; empty for always.
    pub when: String,
}

/// All faults of the lab at `program`, grouped.
///
/// # Errors
/// Returns an error if the lab cannot list them.
pub fn list(cx: &Cx, program: &Path) -> anyhow::Result<Vec<Fault>> {
    let shell = proc::shell()?;
    let ended =
        cx.proc.run(Job::new("listing the lab's faults", cmd!(shell, "{program} faults")))?.require_success()?;
    Ok(serde_json::from_str(&ended.stdout)?)
}

/// The fault for `text`, which is `NAME` or `NAME:WHEN`.
///
/// # Errors
/// [`Code::Usage`] with similar names.
pub fn find<'a>(table: &'a [Fault], text: &str) -> Result<&'a Fault, Failure> {
    let (name, when) = text.split_once(':').map_or((text, None), |(name, when)| (name, Some(when)));
    let found = table.iter().find(|fault| fault.name == name).ok_or_else(|| {
        let near = nearest::list_nearest(name, table.iter().map(|fault| fault.name.as_str()), 3);
        let of_group: Vec<&str> =
            table.iter().filter(|fault| fault.group == name).map(|fault| fault.name.as_str()).collect();
        let hint = match (near.as_slice(), of_group.as_slice()) {
            ([], []) => String::new(),
            ([], group) => format!("`{name}` is a group: {}", group.join(", ")),
            (near, _) => format!("did you mean {}?", near.join(", ")),
        };
        let failure = Failure::new(Code::Usage, format!("fault `{name}` does not exist")).hint(hint);
        failure.next("cargo xtask lab-faults")
    })?;
    let number = |text: &str| text.parse::<u64>().is_ok_and(|count| count > 0);
    let good = |when: &str| number(when.strip_suffix('+').or(when.strip_prefix("..")).unwrap_or(when));
    match when {
        Some(when) if !good(when) => Err(Failure::new(Code::Usage, format!("`{when}` is not a valid time for {name}"))
            .hint(
                "2: only the second time; 2+: from the second time on; ..2: the first two times; without it: always",
            )),
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(name: &str, group: &str) -> Fault {
        let (name, group) = (name.to_owned(), group.to_owned());
        Fault { name, group, ..Fault::default() }
    }

    #[test]
    fn misspelt_fault_gets_suggestions() {
        let table = [fault("docker-down", "docker"), fault("docker-denied", "docker"), fault("key-expired", "keys")];
        assert_eq!(find(&table, "docker-down:2+").unwrap().name, "docker-down");
        let error = |text: &str| find(&table, text).unwrap_err();
        assert_eq!((error("docker-dwon").code, error("docker-dwon").hint.contains("docker-down")), (Code::Usage, true));
        assert!(error("key-old").hint.contains("key-expired"), "{:?}", error("key-old"));
        assert_eq!(error("keys").hint, "`keys` is a group: key-expired");
        assert!(error("docker-down:soon").hint.contains("..2"));
        assert_eq!(error("zzz").next, ["cargo xtask lab-faults"]);
    }
}
