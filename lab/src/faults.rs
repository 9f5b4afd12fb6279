//! The faults that the lab can simulate. A fault is data (`data/faults.yaml`): a name, what the service does, where it was
//! seen, what a task should report, and what ends it. The simulated services call [`Faults::hit`] where it takes effect.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};

/// A fault that occurs in real deployments.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Name on the command line.
    pub name: String,
    /// The group that it belongs to, e.g. `omni` or `storage`.
    pub group: String,
    /// What the simulated service does.
    pub does: String,
    /// Where it was seen: a program and a place in its source, a recording, or a thread.
    pub source: String,
    /// How far the operator is in the runbook when the fault occurs: a name in `data/before.yaml`.
    #[serde(serialize_with = "tasks_before")]
    pub before: String,
    /// The task that is affected.
    pub task: String,
    /// The exit status of that task.
    pub exit: u8,
    /// What the task must report.
    pub says: String,
    pub heals: String,
    /// The commands that fix it, in order; `person` if somebody must act elsewhere first, empty if it ends by itself.
    #[serde(default)]
    pub fix: Vec<String>,
    /// The link of the chain that `cluster-explain` shows as broken; empty if none is.
    #[serde(default)]
    pub breaks: String,
    /// The IDs of the causes that it names, in order.
    #[serde(default)]
    pub causes: Vec<String>,
    /// The last log line of Omni's container, which then exits at each start (omni v1.9.3, run); empty if it keeps running.
    #[serde(default, skip_serializing)]
    pub last_words: String,
    /// The default WHEN, for a transient fault: if it occurred every time, nobody would see it pass.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub when: String,
}

/// Serializes the tasks that lead to this point, as an operator types them.
fn tasks_before<S: Serializer>(before: &str, serializer: S) -> Result<S::Ok, S::Error> {
    static TASKS: LazyLock<BTreeMap<String, Vec<String>>> =
        LazyLock::new(|| data("before", include_str!("../data/before.yaml")));
    TASKS.get(before).ok_or_else(|| S::Error::custom(format!("before.yaml has no `{before}`")))?.serialize(serializer)
}

fn data<T: DeserializeOwned>(name: &str, text: &str) -> T {
    serde_yaml::from_str(text).unwrap_or_else(|why| panic!("data/{name}.yaml: {why}"))
}

/// Returns every fault that the lab can simulate, grouped.
///
/// # Panics
/// Panics if the data cannot be parsed; a test makes sure that it can.
pub fn table() -> &'static [Fault] {
    static TABLE: LazyLock<Vec<Fault>> = LazyLock::new(|| data("faults", include_str!("../data/faults.yaml")));
    &TABLE
}

struct Active {
    fault: &'static Fault,
    /// The occasions on which it occurs, counted from 1.
    when: RangeInclusive<u64>,
    occasions: AtomicU64,
    /// Whether somebody has fixed it.
    ended: AtomicBool,
}

impl Active {
    fn is_active(&self) -> bool {
        !self.ended.load(Ordering::Relaxed)
    }
}

/// The faults of one lab.
#[derive(Default)]
pub struct Faults {
    active: Vec<Active>,
}

impl Faults {
    /// Parses `NAME[:WHEN]`. WHEN selects the occasions on which the fault occurs: `2` only the second, `2+` from the second
    /// on, `..2` the first two; all if it is missing.
    ///
    /// # Errors
    /// Returns an error that suggests a fix if the fault does not exist or WHEN is not valid.
    pub fn parse(texts: &[String]) -> Result<Faults> {
        let active = texts.iter().map(|text| parse_fault(text)).collect::<Result<_, _>>()?;
        Ok(Faults { active })
    }

    /// Returns true if the fault is active. Does not count as an occasion.
    pub fn has(&self, name: &str) -> bool {
        self.find_active(name).is_some()
    }

    /// Returns the names of the active faults.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.active.iter().filter(|active| active.is_active()).map(|active| active.fault.name.as_str())
    }

    fn active(&self, name: &str) -> Option<&Active> {
        self.active.iter().find(|active| active.fault.name == name)
    }

    fn find_active(&self, name: &str) -> Option<&Active> {
        debug_assert!(table().iter().any(|fault| fault.name == name), "{name}");
        self.active(name).filter(|active| active.is_active())
    }

    /// Returns true if the lab was started with this fault.
    pub fn was_given(&self, name: &str) -> bool {
        self.active(name).is_some()
    }

    /// Returns true if a fault makes Omni exit at each start.
    pub fn stops_omni(&self) -> bool {
        self.active.iter().any(|active| active.is_active() && !active.fault.last_words.is_empty())
    }

    /// Returns Omni's last log line, if a fault makes it exit at this start.
    pub fn last_words(&self) -> Option<&'static str> {
        let ending = table().iter().filter(|fault| !fault.last_words.is_empty());
        ending
            .map(|fault| (fault, fault.last_words.as_str()))
            .find(|(fault, _)| self.hit(&fault.name))
            .map(|(_, words)| words)
    }

    /// Ends a fault, because somebody has fixed it. Returns false if it is not active.
    pub fn end(&self, name: &str) -> bool {
        self.active(name).is_some_and(|active| !active.ended.swap(true, Ordering::Relaxed))
    }

    /// Returns the active faults that have occurred. Faults that apply from the start do not count occasions.
    pub fn triggered(&self) -> Vec<&str> {
        let bitten =
            |active: &&Active| active.is_active() && active.occasions.load(Ordering::Relaxed) >= *active.when.start();
        self.active.iter().filter(bitten).map(|active| active.fault.name.as_str()).collect()
    }

    /// Returns the number of occasions that a fault has had to occur.
    pub fn occasions(&self, name: &str) -> u64 {
        self.active(name).map_or(0, |active| active.occasions.load(Ordering::Relaxed))
    }

    /// Counts an occasion on which a fault could occur. Returns true if it does.
    pub fn hit(&self, name: &str) -> bool {
        let occasion = |active: &Active| active.occasions.fetch_add(1, Ordering::Relaxed) + 1;
        self.find_active(name).is_some_and(|active| active.when.contains(&occasion(active)))
    }
}

fn parse_fault(text: &str) -> Result<Active> {
    let (name, when) = text.split_once(':').map_or((text, None), |(name, when)| (name, Some(when)));
    let Some(fault) = table().iter().find(|fault| fault.name == name) else {
        let mut near: Vec<(usize, &str)> =
            table().iter().map(|fault| (distance(name, &fault.name), fault.name.as_str())).collect();
        near.sort_unstable();
        let near: Vec<&str> = near.into_iter().take(3).map(|(_, name)| name).collect();
        bail!("there is no fault {name:?}: did you mean {}? `lab faults` lists them all", near.join(", "));
    };
    let count = |text: &str| text.parse::<u64>().ok().filter(|count| *count > 0);
    let own = Some(fault.when.as_str()).filter(|own| !own.is_empty());
    let when = match when.or(own) {
        None => Some(1..=u64::MAX),
        Some(text) => match (text.strip_suffix('+'), text.strip_prefix("..")) {
            (Some(first), _) => count(first).map(|first| first..=u64::MAX),
            (_, Some(last)) => count(last).map(|last| 1..=last),
            _ => count(text).map(|only| only..=only),
        },
    };
    let shown = text.split_once(':').map_or("", |(_, when)| when);
    let hint = || format!("{shown:?} says not when {name} is to happen: use 2 (the second time), 2+ or ..2");
    Ok(Active { fault, when: when.with_context(hint)?, occasions: AtomicU64::new(0), ended: AtomicBool::new(false) })
}

/// Returns how different two names are: the edit distance, reduced for each common word.
fn distance(a: &str, b: &str) -> usize {
    let shared = a.split('-').filter(|word| word.len() > 2 && b.split('-').any(|other| other == *word)).count();
    strsim::levenshtein(a, b).saturating_sub(4 * shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_field_is_filled() {
        let faults = table();
        serde_json::to_string(faults).unwrap();
        assert!(faults.len() >= 60, "{} faults", faults.len());
        for (number, fault) in faults.iter().enumerate() {
            assert!(faults[..number].iter().all(|other| other.name != fault.name), "{}", fault.name);
            let texts = [&fault.does, &fault.source, &fault.says, &fault.heals];
            assert!(texts.iter().all(|text| text.len() > 10 && !text.ends_with('.')), "{}", fault.name);
            assert!(fault.task.len() > 5, "{}", fault.name);
            assert!([0, 1, 2, 3, 4, 5, 124].contains(&fault.exit), "{}", fault.name);
        }
        let mut groups: Vec<&str> = faults.iter().map(|fault| fault.group.as_str()).collect();
        groups.dedup();
        let known = "tools omni keys docker tailnet tsidp provider proxmox permissions storage image \
                     placement network machines clusters time";
        assert_eq!(groups.join(" "), known);
    }

    /// A fault whose name no service uses would do nothing.
    #[test]
    fn every_fault_is_used_by_a_service() {
        fn walk(dir: &std::path::Path, text: &mut String) {
            for entry in std::fs::read_dir(dir).unwrap().flatten() {
                match entry.path() {
                    path if path.is_dir() => walk(&path, text),
                    path => text.push_str(&std::fs::read_to_string(path).unwrap_or_default()),
                }
            }
        }
        let mut code = String::new();
        walk(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut code);
        for fault in table().iter().filter(|fault| fault.last_words.is_empty()) {
            assert!(code.contains(&format!("\"{}\"", fault.name)), "no service asks for {}", fault.name);
        }
    }

    #[test]
    fn when_counts_occasions() {
        for (text, wanted) in [
            ("docker-down", [true, true, true]),
            ("docker-down:2", [false, true, false]),
            ("docker-down:2+", [false, true, true]),
            ("docker-down:..2", [true, true, false]),
        ] {
            let faults = Faults::parse(&[text.to_owned()]).unwrap();
            assert_eq!([(); 3].map(|()| faults.hit("docker-down")), wanted, "{text}");
            assert!(!faults.hit("omni-html"));
        }
    }
}
