//! What Talos refuses of all patches that reach a machine, which gets them as one configuration.

use super::{Checker, PatchScope};
use crate::Finding;
use crate::patch::{Content, LEGACY, on_machine};
use crate::talos::{self, Fault, Kind, Reader, V1ALPHA1};
use domain::spec::Position;
use domain::spec::template::{ClusterTemplate, SetKind};
use domain::spec::yaml::Node;

type Patches<'a> = [(PatchScope, &'a Content)];

impl Checker<'_> {
    pub(super) fn merged(&mut self, t: &ClusterTemplate, contents: &Patches<'_>) {
        for (n, set) in t.sets.iter().enumerate() {
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

    /// Merges patches in their order, and checks the result.
    fn configuration(&mut self, patches: &[&Content], control_plane: bool) {
        let Some((minor, reader)) = self.talos.and_then(|minor| Some((minor, Reader::talos(minor, control_plane)?)))
        else {
            return;
        };
        let mut merged: Vec<(Kind, Node, bool)> = Vec::new();
        for document in patches.iter().flat_map(|content| &content.documents).filter(|document| document.is_map()) {
            let same = |(_, other, _): &(Kind, Node, bool)| {
                ["kind", "name"].iter().all(|key| text(other, key) == text(document, key))
            };
            let at = merged.iter().position(same);
            if talos::deletes(document) {
                at.map(|at| merged.remove(at));
                continue;
            }
            let name = match text(document, "kind") {
                Some(name) => Some(name).filter(|_| text(document, "apiVersion") == Some(V1ALPHA1)),
                None => LEGACY.iter().any(|key| document.get(key).is_some()).then_some(V1ALPHA1),
            };
            let kind = name.and_then(Kind::find).filter(|kind| kind.known_to(reader) == Some(true));
            let Some(kind) = kind else { continue };
            let further = at.is_some();
            let at = at.unwrap_or_else(|| {
                merged.push((kind, Node::mapping(document.at), false));
                merged.len() - 1
            });
            let (kind, node, several) = &mut merged[at];
            *several |= further && text(document, "kind").is_some();
            talos::merge(node, document, kind);
        }
        for (kind, node, several) in &merged {
            for problem in talos::walk(node, kind, reader).problems {
                let from = |content: &&&Content| content.documents.iter().any(|document| has(document, problem.at));
                let Some(content) = patches.iter().rev().find(from) else { continue };
                let mut finding = on_machine(&content.file, &problem, text(node, "kind").unwrap_or_default(), minor);
                if *several && finding.fix.starts_with("add ") {
                    finding.fix += " in its last patch, which drops the selectors and sizes that it does not repeat";
                }
                // Of values, what omnictl refuses is not said of Talos again.
                let said = |other: &Finding| match problem.fault {
                    Fault::Relation(_) => other.repeats(&finding),
                    _ => other.is_error(),
                };
                if !self.findings.iter().any(|other| other.place == finding.place && said(other)) {
                    self.findings.push(finding);
                }
            }
        }
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
