//! Checks what Talos refuses in the patches of a machine, which receives them as one configuration.

use super::deletions::Machine;
use super::{Checker, PatchScope};
use crate::patch::{Content, LEGACY, finding_for_machine};
use crate::talos::{self, Fault, Kind, Reader, V1ALPHA1};
use domain::spec::template::{ClusterTemplate, SetKind};
use yaml::{Finding, Node, Position};

/// A document, merged from all patches that contain it.
struct Merged {
    kind: Kind,
    node: Node,
    /// Whether it comes from more than one patch and has a kind.
    several: bool,
    deleted: bool,
}

type Patches<'a> = [(PatchScope, &'a Content)];

impl Checker<'_> {
    pub(super) fn merged(&mut self, t: &ClusterTemplate, contents: &Patches<'_>) {
        for (n, set) in t.sets.iter().enumerate().filter(|(_, set)| set.machine_count() != Some(0)) {
            let listed = |name: &str| set.machines.iter().any(|(machine, _)| machine == name);
            let own = (0..t.machines.len()).filter(|n| listed(&t.machines[*n].name)).map(PatchScope::Machine);
            let own: Vec<PatchScope> = own.filter(|own| contents.iter().any(|(scope, _)| scope == own)).collect();
            let others = own.is_empty() || own.len() < set.machines.len();
            for own in own.into_iter().chain(others.then_some(PatchScope::Set(n))) {
                let reaches = |scope: PatchScope| [PatchScope::Cluster, PatchScope::Set(n), own].contains(&scope);
                let patches: Vec<&Content> =
                    contents.iter().filter(|(scope, _)| reaches(*scope)).map(|(_, content)| *content).collect();
                self.configuration(&patches, set.kind == SetKind::ControlPlane);
            }
        }
    }

    /// Merges patches in order, and checks the result.
    fn configuration(&mut self, patches: &[&Content], control_plane: bool) {
        let Some((minor, reader)) = self.talos.and_then(|minor| Some((minor, Reader::talos(minor, control_plane)?)))
        else {
            return;
        };
        let mut merged: Vec<Merged> = Vec::new();
        let documents = patches.iter().flat_map(|content| content.documents.iter().map(|d| (&*content.file, d)));
        let documents: Vec<(&str, &Node)> = documents.filter(|(_, document)| document.is_map()).collect();
        let machine = |kind| Machine { kind, minor, control_plane };
        for (file, document) in &documents {
            let Some(kind) = kind_of(document).filter(|kind| kind.known_to(reader) == Some(true)) else { continue };
            let at = merged.iter().position(|other| !other.deleted && is_same(&other.node, document));
            self.deletions(file, document, at.map(|at| &merged[at].node), machine(kind));
            if talos::deletes(document) {
                at.into_iter().for_each(|at| merged[at].deleted = true);
                continue;
            }
            let further = at.is_some();
            let at = at.unwrap_or_else(|| {
                merged.push(Merged { kind, node: Node::mapping(document.at), several: false, deleted: false });
                merged.len() - 1
            });
            let Merged { kind, node, several, .. } = &mut merged[at];
            *several |= further && text(document, "kind").is_some();
            for at in talos::merge(node, document, kind, reader) {
                let message = format!("Talos 1.{minor} cannot merge this with an earlier patch");
                self.refused(file, at, message, "write it in a single patch, with values of the same type");
            }
        }
        for (file, document) in documents {
            let same = merged.iter().find(|other| !other.deleted && is_same(&other.node, document));
            same.into_iter().for_each(|same| self.check_required(file, document, &same.node, machine(same.kind)));
        }
        for Merged { kind, node, several, deleted } in &merged {
            // Talos also decodes what it deletes afterwards.
            let reader = if *deleted { reader.decoding() } else { reader };
            for problem in talos::walk(node, kind, reader).problems {
                let from = |content: &&&Content| content.documents.iter().any(|document| has(document, problem.at));
                let Some(content) = patches.iter().rev().find(from) else { continue };
                let mut finding =
                    finding_for_machine(&content.file, &problem, text(node, "kind").unwrap_or_default(), minor);
                if *several && finding.fix.starts_with("add ") {
                    finding.fix += " in its last patch, which drops the selectors and sizes that it does not repeat";
                }
                // A value that omnictl refuses is not reported again for Talos.
                let said = |other: &Finding| match problem.fault {
                    Fault::Relation(_) => other.is_repeat_of(&finding),
                    _ => other.is_error(),
                };
                if !self.findings.iter().any(|other| other.place == finding.place && said(other)) {
                    self.findings.push(finding);
                }
            }
        }
    }
}

/// Returns true for two documents that Talos merges.
fn is_same(one: &Node, other: &Node) -> bool {
    ["kind", "name"].iter().all(|key| text(one, key) == text(other, key))
}

fn kind_of(document: &Node) -> Option<Kind> {
    match text(document, "kind") {
        Some(name) if text(document, "apiVersion") == Some(V1ALPHA1) => Kind::find(name),
        Some(_) => None,
        None => LEGACY.iter().any(|key| document.get(key).is_some()).then(|| Kind::find(V1ALPHA1))?,
    }
}

fn text<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.get(key).and_then(Node::text).filter(|text| !text.is_empty())
}

fn has(node: &Node, at: Position) -> bool {
    let entries = node.entries().iter();
    node.at == at
        || node.items().iter().chain(entries.map(|entry| &entry.value)).any(|node| has(node, at))
        || node.entries().iter().any(|entry| entry.at == at)
}
