//! Writes what Omni has to files: cluster templates and machine classes in the format that the other tasks read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use serde_yaml::Value as Yaml;

use crate::cli::Export;
use crate::flow::inputs::{self, Template, TemplateFacts};
use crate::flow::{machine_class, project_files};
use crate::prelude::*;
use domain::status::omni::Resource;
use domain::status::sync::{SyncAction, sync_actions};
use runtime::files::Scratch;
use runtime::tool::omnictl::Omnictl;

/// The files to write for one cluster or machine class.
#[derive(Debug, Default)]
pub struct ExportedFiles {
    pub name: String,
    /// The file that `-check NAME` reads, then the files that it refers to.
    pub files: Vec<(PathBuf, String)>,
    /// The project's own file is equivalent, even if it is written differently.
    pub is_same: bool,
    /// What applying the files would still change in Omni, because omnictl exports less than it syncs.
    pub remaining: Vec<SyncAction>,
}

/// Exports the template of a cluster with `omnictl cluster template export`, which drops the comments and indentation of patches
/// that came from files, so that a sync would change them. Such a patch becomes a file with the bytes that Omni has.
///
/// # Errors
/// Returns an error if omnictl fails, or [`Code::Failed`] if its template cannot be parsed.
pub fn export_cluster(cx: &Cx, omnictl: &Omnictl<'_>, name: &str) -> Result<ExportedFiles, Failure> {
    let own = inputs::cluster_file(cx, name);
    let facts = TemplateFacts::default();
    if let Some(other) = cx.read(&own, "").ok().and_then(|bytes| Template::check(cx, &own, &bytes, &facts).value) {
        inputs::check_cluster_name(cx, name, &other)?;
    }
    // A file that omnictl rejects is different.
    let same = own.is_file() && omnictl.sync_plan(&own).is_ok_and(|plan| sync_actions(&plan).is_empty());
    let scratch = Scratch::new(&cx.paths.scratch_root(), "export")?;
    let mut text = omnictl.export(name)?;
    let mut patches = Vec::new();
    let compare = |text: &str, patches: &[(String, String)]| {
        for (file, text) in patches {
            scratch.write(Path::new(file), text.as_bytes())?;
        }
        let file = scratch.write(Path::new(&format!("{name}.yaml")), text.as_bytes())?;
        Ok::<_, Failure>(sync_actions(&omnictl.sync_plan(&file)?))
    };
    let mut left = compare(&text, &patches)?;
    let changed = |action: &&SyncAction| action.verb == "update" && action.kind == "ConfigPatches";
    let rewritten: BTreeSet<&str> = left.iter().filter(changed).map(|action| action.id.as_str()).collect();
    if !rewritten.is_empty() {
        let found = omnictl.list("configpatches", Some(&format!("omni.sidero.dev/cluster={name}")))?;
        (text, patches) = move_patches_to_files(name, &text, &found, &rewritten).map_err(|error| {
            Failure::new(Code::Failed, format!("the exported template of cluster `{name}` was not understood"))
                .cause(error.to_string())
        })?;
        left = compare(&text, &patches)?;
    }
    let head = format!(
        "# yaml-language-server: $schema=../schemas/cluster-template.schema.json\n# Exported from Omni. Check it with \
         `cargo xtask cluster-check {name}`, and bring changes to Omni with `cargo xtask cluster-sync {name}`.\n"
    );
    let dir = own.parent().map(PathBuf::from).unwrap_or_default();
    let beside = patches.into_iter().map(|(file, text)| (dir.join(file), text));
    let files = std::iter::once((own.clone(), head + &text)).chain(beside).collect();
    Ok(ExportedFiles { name: name.to_owned(), files, is_same: same, remaining: left })
}

/// Moves these patches to files below `NAME/`; returns the template and the files.
fn move_patches_to_files(
    cluster: &str,
    text: &str,
    found: &[Resource],
    rewritten: &BTreeSet<&str>,
) -> Result<(String, Vec<(String, String)>), serde_yaml::Error> {
    let mut files = Vec::new();
    let mut documents = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let mut document = Yaml::deserialize(document)?;
        let patches = document.get_mut("patches").and_then(Yaml::as_sequence_mut);
        for patch in patches.into_iter().flatten().filter_map(Yaml::as_mapping_mut) {
            let id = patch.get("idOverride").and_then(Yaml::as_str).unwrap_or_default().to_owned();
            let resource = found.iter().find(|found| found.metadata.id == id && rewritten.contains(id.as_str()));
            let Some(data) = resource.and_then(|found| found.at(&["data"]).as_str()) else { continue };
            let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
            let name: String = id.trim_end_matches(".yaml").chars().map(plain).collect();
            let file = format!("{cluster}/{name}.yaml");
            patch.remove("inline");
            patch.insert("file".into(), file.clone().into());
            files.push((file, data.to_owned()));
        }
        documents.push(serde_yaml::to_string(&document)?);
    }
    Ok((documents.join("---\n"), files))
}

/// Returns the file of a machine class: what `omnictl apply` reads, without fields that only Omni writes.
///
/// # Errors
/// Fails with [`Code::Failed`] if the class cannot be written as YAML.
pub fn export_class(cx: &Cx, resource: &Resource) -> Result<(PathBuf, String), Failure> {
    let id = &resource.metadata.id;
    let text = serde_yaml::to_string(&machine_class::document(resource)).map_err(|error| {
        Failure::new(Code::Failed, format!("machine class `{id}` cannot be written as YAML")).cause(error.to_string())
    })?;
    let head = format!(
        "# yaml-language-server: $schema=../schemas/machine-class.schema.json\n# Exported from Omni. Check it with \
         `cargo xtask machineclass-check {id}`, and bring changes to Omni with `cargo xtask machineclass-apply {id}`.\n"
    );
    Ok((cx.paths.machine_class(id), head + &text))
}

/// Writes exported files. A file that is equivalent is kept; one that differs is replaced only with `--force`, and is skipped
/// with `--all` alone.
///
/// # Errors
/// Fails with [`Code::Conflict`] if a file differs and was requested by name, or if a file cannot be written.
pub fn write_files(
    cx: &Cx,
    args: &Export,
    (what, check): (&str, &str),
    exported: &[ExportedFiles],
) -> anyhow::Result<Outcome> {
    let mut plan = Plan::default();
    let mut data = Vec::new();
    for each in exported {
        let Some((own, _)) = each.files.first() else { continue };
        let shown = cx.paths.show(own);
        let kept = match (each.is_same, own.exists() && args.all && !args.force) {
            (true, _) => Some("it matches Omni"),
            (false, true) => Some("it differs from Omni; --force replaces it"),
            (false, false) => None,
        };
        if let Some(why) = kept {
            cx.ui.note("file", format!("`{shown}` is kept"), Status::Skipped, why);
        } else {
            for (path, text) in &each.files {
                let next = format!("cargo xtask {} {} --force", cx.task, each.name);
                let may = (args.force, "compare it with Omni's first: git shows what --force replaced", next);
                let effect = format!("{what} `{}` as Omni has it", each.name);
                project_files::create(cx, path, text.clone(), effect, may)?.into_iter().for_each(|c| plan.push(c));
            }
        }
        let left: Vec<String> = each.remaining.iter().map(SyncAction::describe).collect();
        if !left.is_empty() && kept.is_none() {
            let detail = format!("omnictl does not export all of it: a sync of the file would {}", left.join(", "));
            cx.ui.note("export", format!("{what} `{}`", each.name), Status::Warning, detail);
        }
        let files: Vec<String> = each.files.iter().map(|(path, _)| cx.paths.show(path)).collect();
        data.push(json!({ "name": each.name, "files": files, "kept": kept, "differs": left }));
    }
    let data = json!({ "exported": data });
    let written = plan.changes().count();
    plan.carry_out_unasked(cx, &data)?;
    let outcome = match written {
        0 => Outcome::done("nothing to write"),
        some => Outcome::done(format!("{} written", count(some, "file"))),
    };
    let names: Vec<&str> = exported.iter().map(|each| each.name.as_str()).collect();
    Ok(outcome.with(data).next(match names.as_slice() {
        [one] => format!("cargo xtask {check} {one}"),
        _ => format!("cargo xtask {check} --all"),
    }))
}
