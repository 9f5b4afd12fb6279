//! `cluster-check [name…|--all]`: checks cluster templates by the rules of omnictl, the Omni server, and experience.
//!
//! 1. Finds the files; with `--convert`, rewrites the nested form after confirmation.
//! 2. Reads the machine classes, Talos versions and version of Omni, once. If Omni cannot be queried, uses the files in
//!    `machine-classes/`, the built-in table and `docker/compose.yaml` instead.
//! 3. Checks each file with the files that it refers to, with two separate results: the output of
//!    `omnictl cluster template validate`, and our findings.

use std::path::Path;

use crate::cli::ClusterCheck;
use crate::flow::inputs::{self, Input};
use crate::flow::{check_report, lookup};
use crate::prelude::*;
use check::convert;

pub fn run(args: &ClusterCheck, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = (args.convert && cx.paths.is_project()).then(|| cx.lock_checkout()).transpose()?;
    let paths = inputs::resolve_files_or_stdin(cx, Input::Cluster, &args.name)?;
    let converted = match args.convert {
        true => check_report::convert(cx, &paths, convert::cluster_template)?,
        false => check_report::Conversions::default(),
    };
    let sources = lookup::TemplateSources::read_sources(cx, args.offline, args.omni_version);
    lookup::note_versions(cx, &sources.release, None);
    let known = sources.facts();
    let check = |_: &str, path: &Path, bytes: &[u8]| inputs::check_template(cx, path, bytes, &known);
    let names = |template| vec![inputs::cluster_location(&template)];
    let checked = check_report::check(cx, &paths, &converted, check, ("cluster", "template-cluster-twice", names))?;
    let next = match args.name.as_slice() {
        [] if paths.iter().all(|path| inputs::is_example_file(path)) => "cargo xtask cluster-create".to_owned(),
        given => format!("cargo xtask cluster-sync {}", inputs::shell_arguments(given)),
    };
    let versions = json!({ "omni": sources.release.data() });
    check_report::report(cx, ("template", versions), &checked, &converted, &args.allow.rules, &next)
}
