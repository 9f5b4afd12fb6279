//! What would be done, as data: what `--dry-run` prints, `--json` shows and [`crate::apply`] carries out are the same.
//!
//! A plan holds every change that a run makes to files, containers, Omni and Proxmox. The project's own notes
//! (`.claude/omni-scale.local.md`, written after a change was verified) are not part of it.

use std::path::PathBuf;

use crate::secret::Secret;

/// The steps of a task's change, in order.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub steps: Vec<Step>,
}

/// One change.
#[derive(Debug, Clone)]
pub struct Step {
    /// `create`, `update`, `restart`, `apply`, `sync`, `install`.
    pub verb: &'static str,
    /// What is changed: a path, a resource, the stack.
    pub object: String,
    /// What that brings about.
    pub effect: String,
    /// How to take it back.
    pub undo: String,
    /// What is deleted and cannot be taken back: machines with their VMs and disks.
    pub destroys: Vec<String>,
    /// Whose name confirms that; `--allow-destroy` takes it.
    pub owner: String,
    pub action: Action,
}

crate::written!(Step { verb, object, effect, undo, destroys });

/// A file that was checked, with the bytes that it had then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedFile {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

/// What Omni says of a service account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownAccount {
    pub exists: bool,
    /// The key in `docker/.env` may not manage accounts; the operator's own login may.
    pub as_person: bool,
}

/// How a step is carried out. Holds everything that is needed, so that nothing is decided while acting.
#[derive(Debug, Clone)]
pub enum Action {
    /// Write a file, whole, with this mode.
    Write { path: PathBuf, contents: Secret, mode: u32 },
    /// Give a key of `docker/.env` a value.
    SetEnv { key: &'static str, value: Secret },
    /// Have Omni make a key for the provider and store it in `docker/.env`.
    ProviderKey { id: String, exists: bool },
    /// Recreate all containers of the stack.
    RecreateStack,
    /// Apply a file of machine classes: the bytes that were checked, whatever the file holds by now.
    ApplyClass { file: CheckedFile },
    /// Sync a cluster template: a copy of `original` as it was checked. `unchanged` are files that omnictl reads where they
    /// are, and that must still be the same.
    Sync { file: PathBuf, original: PathBuf, unchanged: Vec<CheckedFile> },
    /// Make the key of Omni's store for this user, prove it, and write it where no file is yet.
    StoreKey { path: PathBuf, user: String },
    /// Take a file from everyone but its owner.
    Protect { path: PathBuf },
    /// Start the stack; with `recreate` recreate every container.
    StackUp { provider: bool, recreate: bool },
    /// End the stack; volumes stay.
    StackDown,
    /// Have Omni make a key for a service account and store it in `docker/.env`. What is `known` of the account may take an
    /// Omni that a step before starts.
    ServiceAccount { name: String, role: String, known: Option<KnownAccount> },
    /// The task carries it out itself, after [`crate::apply::agree`].
    ByTask,
}

impl Plan {
    /// Adds a step.
    pub fn push(
        &mut self,
        verb: &'static str,
        object: impl Into<String>,
        effect: impl Into<String>,
        undo: impl Into<String>,
        action: Action,
    ) {
        self.push_destroying(verb, object, effect, undo, action, (String::new(), Vec::new()));
    }

    /// Adds a step that destroys what cannot be taken back, if anything: the name that confirms it, and what is destroyed.
    pub fn push_destroying(
        &mut self,
        verb: &'static str,
        object: impl Into<String>,
        effect: impl Into<String>,
        undo: impl Into<String>,
        action: Action,
        (owner, destroys): (String, Vec<String>),
    ) {
        let (object, effect, undo) = (object.into(), effect.into(), undo.into());
        self.steps.push(Step { verb, object, effect, undo, destroys, owner, action });
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whose names confirm what this plan destroys, each once, in the order of the steps.
    pub fn owners(&self) -> Vec<&str> {
        let mut owners: Vec<&str> = Vec::new();
        for step in self.steps.iter().filter(|step| !step.destroys.is_empty()) {
            if !owners.contains(&step.owner.as_str()) {
                owners.push(&step.owner);
            }
        }
        owners
    }
}
