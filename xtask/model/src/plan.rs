//! What would be done, as data: what `--dry-run` prints, `--json` shows and [`crate::apply`] carries out are the same.

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
    pub action: Action,
}

crate::written!(Step { verb, object, effect, undo });

/// How a step is carried out. Holds everything that is needed, so that nothing is decided while acting.
#[derive(Debug, Clone)]
pub enum Action {
    /// Write a file, whole, with this mode.
    Write { path: PathBuf, contents: Secret, mode: u32 },
    /// Give a key of `docker/.env` a value.
    SetEnv { key: &'static str, value: Secret },
    /// Have Omni make a key for the provider and store it in `docker/.env`.
    ProviderKey { id: String, exists: bool },
    /// Make all containers of the stack anew.
    RecreateStack,
    /// Apply a file of machine classes.
    ApplyClass { file: PathBuf },
    /// Sync a cluster template.
    Sync { file: PathBuf },
    /// Make the key of Omni's store for this user, prove it, and write it where no file is yet.
    StoreKey { path: PathBuf, user: String },
    /// Take a file from everyone but its owner.
    Protect { path: PathBuf },
    /// Start the stack; with `recreate` make every container anew.
    StackUp { provider: bool, recreate: bool },
    /// End the stack; volumes stay.
    StackDown,
    /// Have Omni make a key for a service account and store it in `docker/.env`; as the operator where the key there may not.
    ServiceAccount { name: String, role: String, exists: bool, as_person: bool },
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
        self.steps.push(Step { verb, object: object.into(), effect: effect.into(), undo: undo.into(), action });
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}
