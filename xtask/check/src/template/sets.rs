//! Checks machine sets and machines, individually and in combination.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

use super::{Checker, PatchScope};
use crate::placeholder;
use crate::releases::Omni;
use crate::values::is_label;
use domain::releases::table;
use domain::spec::template::{ClassRef, ClusterTemplate, MachineSet, SetKind, Size};
use yaml::{Finding, Position, Severity};

/// How many classes are searched for a similar name: more would cost more than the checks themselves.
const SUGGESTED: usize = 32;

impl Checker<'_> {
    pub(super) fn sets(&mut self, t: &ClusterTemplate) {
        for (n, set) in t.sets.iter().enumerate() {
            self.labels(&set.labels);
            match &set.kind {
                SetKind::ControlPlane => self.control_plane(set),
                SetKind::Workers { .. } => self.workers(set),
            }
            self.source(t, set);
            self.patches(&set.patches, PatchScope::Set(n));
        }
        self.counts(t);
        self.machines(t);
        self.ids(t);
    }

    fn control_plane(&mut self, set: &MachineSet) {
        let start = at(set);
        if let Some((name, at)) = &set.name
            && !name.is_empty()
        {
            self.error("template-control-plane-name", *at, "the control plane must not have a `name`", "remove it");
        }
        if let Some(spec) = &set.bootstrap_spec {
            let omni = self.context.omni.map(Omni::version);
            let bugs = omni.iter().flat_map(|omni| table().bugs_of(Some(omni), None, None));
            for bug in bugs.filter(|bug| bug.id == "omni-restored-etcd") {
                let message = format!("`bootstrapSpec` with this Omni version: {} (fixed in {})", bug.harm, bug.fixed);
                let fix = "update Omni first (docs/how-to/upgrade.md), or keep the backup until the cluster is ready";
                self.warning("template-restore-reboot", spec.at, message, fix);
            }
            for (value, key) in [(&spec.cluster_uuid, "clusterUUID"), (&spec.snapshot, "snapshot")] {
                if value.is_empty() {
                    let message = format!("`bootstrapSpec` needs `{key}`");
                    self.error("template-bootstrap", spec.at, message, "add it: the backup shows both");
                }
            }
        }
        for (strategy, key) in [(&set.update_strategy, "updateStrategy"), (&set.delete_strategy, "deleteStrategy")] {
            if let Some(strategy) = strategy {
                let message = format!("`{key}` is not allowed in the control plane");
                let fix = "remove it; upgradeStrategy is allowed";
                self.error("template-control-plane-strategy", strategy.at, message, fix);
            }
        }
        let mut names: Vec<&str> = set.machines.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        // A machine that is listed twice is reported separately, and so is an invalid size.
        let count = set.machine_count().filter(|_| names.windows(2).all(|pair| pair[0] != pair[1]));
        let valid = !self.findings.iter().any(|finding| finding.rule == "template-size");
        if count == Some(0) && valid {
            let message = "the control plane has no machines: the cluster never starts";
            self.error("template-no-machines", start, message, "add `machineClass` with a size of at least 1");
        }
        if let Some(n) = count
            && n > 0
            && n % 2 == 0
        {
            let at = set.class.as_ref().map_or(start, |c| c.size_at);
            let message = format!("{n} control planes: etcd survives no more failures with {n} than with {}", n - 1);
            self.warning("template-even-control-planes", at, message, "use 1, 3 or 5");
        }
    }

    fn workers(&mut self, set: &MachineSet) {
        if let Some((name, at)) = &set.name
            && name == "control-planes"
        {
            self.error("template-workers-name", *at, "`control-planes` cannot be used in workers", "use another name");
        }
        if let Some(spec) = &set.bootstrap_spec {
            let fix = "move it to the ControlPlane";
            self.error("template-bootstrap", spec.at, "`bootstrapSpec` is not allowed in workers", fix);
        }
    }

    /// Checks where the set's machines come from.
    fn source(&mut self, t: &ClusterTemplate, set: &MachineSet) {
        for (machine, at) in &set.machines {
            if let Some(why) = not_a_uuid(machine) {
                let message = format!("`{machine}` is not a valid machine ID: {why}");
                self.error("template-machine-id", *at, message, "use the machine's UUID, see `omnictl get machines`");
            }
        }
        let Some(class) = &set.class else { return };
        if !set.machines.is_empty() {
            let message = "a machine set has `machines` or `machineClass`, not both";
            self.error("template-both-sources", class.name_at, message, "keep only one of them");
        }
        if let (Some(_), Some(at)) = (&set.kernel_args, set.kernel_args_at) {
            let message = "`kernelArgs` cannot be set for machines of a class";
            self.error("template-kernel-args-set", at, message, "put them into the machine class: `kernelargs`");
        }
        if t.kernel_args.is_some() {
            let message = "the cluster's `kernelArgs` cannot be set for machines of a class: the sync fails";
            let fix = "put them into the machine class: `kernelargs`";
            self.error("template-kernel-args-cluster", class.name_at, message, fix);
        }
        if !placeholder::is_placeholder(&class.name) {
            self.class(t, set, class);
        }
    }

    fn class(&mut self, t: &ClusterTemplate, set: &MachineSet, class: &ClassRef) {
        let name = &class.name;
        if name.is_empty() {
            let message = "a `machineClass` without `name`: the server rejects the set";
            self.error("template-class-unknown", class.name_at, message, "add the class's `name`");
            return;
        }
        let known = self.context.class(name).cloned();
        if known.as_ref().is_some_and(|c| c.provisions) {
            self.vm_names(t, set);
        }
        match &known {
            None if self.context.omni_classes.is_some() => {
                let fix = "apply it first with `cargo xtask machineclass-apply`";
                self.error("template-class-unknown", class.name_at, format!("Omni has no machine class `{name}`"), fix);
            }
            None if self.context.local_classes.is_some() => {
                let message = format!("no file in machine-classes/ defines `{name}`, and Omni was not queried");
                let names =
                    self.context.local_classes.unwrap_or_default().iter().take(SUGGESTED).map(|c| c.name.as_str());
                let fix = domain::nearest::nearest(name, names).map(|n| format!("did you mean `{n}`?"));
                let fix = fix.unwrap_or_else(|| "check the name, or run without --offline to query Omni".to_owned());
                self.warning("template-class-elsewhere", class.name_at, message, &fix);
            }
            _ => {}
        }
        if class.size != Size::Unlimited {
            return;
        }
        // A provider creates the machines of a set only for that set.
        if known.is_some_and(|c| c.provisions) {
            let message = format!(
                "`{name}` provisions machines: the server rejects `unlimited` after it has created the cluster"
            );
            self.error("template-unlimited", class.size_at, message, "use a number");
            return;
        }
        let shared = t.control_plane().and_then(|cp| cp.class.as_ref()).is_some_and(|c| c.name == *name);
        if shared && set.kind != SetKind::ControlPlane {
            let message = format!("unlimited workers share `{name}` with the control plane and can take its machines");
            self.warning("template-shared-class", class.name_at, message, "use a separate class for the workers");
        }
    }

    /// Checks the names of machines, which are those of their requests: the set's ID and six characters (siderolabs/omni v1.9.3
    /// machine_request_set_status.go; the provider uses them for its VMs).
    fn vm_names(&mut self, t: &ClusterTemplate, set: &MachineSet) {
        let id = set.id(&t.name);
        if placeholder::is_placeholder(&t.name) || is_vm_name(&format!("{id}-abcdef")) {
            return;
        }
        let at = match &set.name {
            Some((_, at)) if is_vm_name(&t.name) => *at,
            _ => t.name_at,
        };
        let place = at.in_file(self.file);
        let said = |f: &Finding| f.place == place && matches!(f.rule, "template-name" | "template-vm-name");
        if self.findings.iter().any(said) {
            return;
        }
        let message = format!("the provider names this set's VMs `{id}-…`: Proxmox rejects such names");
        self.report(Severity::Error, "template-vm-name", place, message, "use a-z, 0-9 and `-`");
    }

    fn counts(&mut self, t: &ClusterTemplate) {
        let control_planes: Vec<&MachineSet> = t.sets.iter().filter(|s| s.kind == SetKind::ControlPlane).collect();
        if let [_, second, ..] = control_planes.as_slice() {
            let message = format!("template should contain 1 controlplane, got {}", control_planes.len());
            let fix = "keep one document with the intended size: control planes have no names";
            self.error("template-many-control-planes", at(second), message, fix);
        }
        let mut names: Vec<&str> = Vec::new();
        for set in t.workers() {
            let name = set.name.as_ref().map_or("", |(n, _)| n.as_str());
            if names.contains(&name) {
                let message = format!("the worker set `{name}` is defined twice");
                self.error("template-workers-duplicate", at(set), message, "give each set its own `name`");
            }
            names.push(name);
        }
    }

    fn machines(&mut self, t: &ClusterTemplate) {
        let mut users: HashMap<&str, Vec<&SetKind>> = HashMap::new();
        for set in &t.sets {
            for (machine, at) in &set.machines {
                let used = users.entry(machine).or_default();
                let control_plane = |kind: &SetKind| *kind == SetKind::ControlPlane;
                let here = used.contains(&&set.kind);
                if here && control_plane(&set.kind) && used.iter().all(|kind| control_plane(kind)) {
                    let message = format!("machine `{machine}` is listed twice: the sync fails");
                    self.error("template-duplicate-id", *at, message, "remove one of them, or use another machine");
                } else if !used.is_empty() {
                    let message = match here {
                        true => format!("machine `{machine}` is listed twice in {}", set.title()),
                        false => format!("machine `{machine}` is already in another set"),
                    };
                    self.error("template-machine-shared", *at, message, "keep only one of them");
                }
                used.push(&set.kind);
            }
        }
        for (n, machine) in t.machines.iter().enumerate() {
            self.labels(&machine.labels);
            self.patches(&machine.patches, PatchScope::Machine(n));
            if let Some(why) = not_a_uuid(&machine.name) {
                let message = format!("`{}` is not a valid machine ID: {why}", machine.name);
                self.error("template-machine-id", machine.name_at, message, "use the machine's UUID");
            }
            match users.get(machine.name.as_str()) {
                None => {
                    let message = format!("machine `{}` is not in any set", machine.name);
                    let fix = "add it to the `machines` of a set";
                    self.error("template-machine-unused", machine.name_at, message, fix);
                }
                Some(kinds) if machine.locked && kinds.contains(&&SetKind::ControlPlane) => {
                    let message = format!("machine `{}` is locked, but belongs to the control plane", machine.name);
                    let at = machine.locked_at.unwrap_or(machine.name_at);
                    self.error("template-machine-locked", at, message, "unlock it: control planes cannot be locked");
                }
                Some(_) => {}
            }
        }
    }

    /// Reports IDs that the sync would assign twice.
    fn ids(&mut self, t: &ClusterTemplate) {
        // Two sets of exactly the same name are reported separately; the unnamed set is called `workers`.
        let mut sets: Vec<(String, &str)> = Vec::new();
        for set in t.workers() {
            let name = set.name.as_ref().map_or("", |(n, _)| n.as_str());
            let id = set.id(&t.name);
            if sets.iter().any(|(i, n)| *i == id && *n != name) {
                let message = format!("two sets would get the id `{id}`: the sync fails");
                let fix = "rename one: `workers` is the name of the unnamed set";
                self.error("template-duplicate-id", at(set), message, fix);
            }
            sets.push((id, name));
        }
        let all = t
            .patches
            .iter()
            .chain(t.sets.iter().flat_map(|s| &s.patches))
            .chain(t.machines.iter().flat_map(|m| &m.patches));
        let mut overrides: Vec<&str> = Vec::new();
        for patch in all.filter(|p| !p.id_override.is_empty()) {
            if overrides.contains(&patch.id_override.as_str()) {
                let message = format!("two patches have the id `{}`: the sync fails", patch.id_override);
                self.error("template-duplicate-id", patch.at, message, "give each its own idOverride");
            }
            overrides.push(&patch.id_override);
        }
    }
}

fn at(set: &MachineSet) -> Position {
    Position { line: set.place.line, column: set.place.column }
}

/// Returns true for PVE's `dns-name` (pve-common src/PVE/JSONSchema.pm).
fn is_vm_name(name: &str) -> bool {
    name.split('.').all(|label| is_label(label, u8::is_ascii_alphanumeric))
}

/// Returns why google/uuid's Parse refuses a text: it accepts the usual form, `urn:uuid:`, braces, and 32 digits.
fn not_a_uuid(text: &str) -> Option<String> {
    static FORM: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let usual = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
        Regex::new(&format!("(?is)^(?:(?:urn:uuid:)?{usual}|.{usual}.|[0-9a-f]{{32}})$")).ok()
    });
    let urn = text.get(..9).is_some_and(|start| start.eq_ignore_ascii_case("urn:uuid:"));
    match text.len() {
        32 | 36 | 38 => {}
        45 if urn => {}
        length => return Some(format!("invalid UUID length: {length}")),
    }
    let fits = FORM.as_ref().is_some_and(|form| form.is_match(text));
    (!fits).then(|| "invalid UUID format".to_owned())
}
