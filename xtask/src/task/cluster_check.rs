//! `cluster-check [name…|--all]`: cluster templates as omnictl, the server and experience would judge them.
//!
//! 1. The files are found; with `--convert` the nested form is rewritten, after consent.
//! 2. Omni is asked once for its machine classes and Talos versions, if it can be; else the files in `machine-classes/`
//!    and the built-in table stand in for them.
//! 3. Each file is checked with the files that it refers to, with two separate results: the answer of
//!    `omnictl cluster template validate`, and our findings.

use std::path::Path;

use serde_json::Value;

use crate::cli::ClusterCheck;
use crate::flow::inputs::TemplateFacts;
use crate::flow::{check_report, inputs, lookup};
use crate::outcome::Outcome;
use check::convert;
use domain::failure::{Code, Failure};
use runtime::cx::Cx;

pub fn run(args: &ClusterCheck, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = args.convert.then(|| cx.lock_checkout()).transpose()?;
    let all = args.all || args.name.is_empty();
    let paths = inputs::chosen(&args.name, all, &cx.paths.clusters(), "cluster", |name| cx.paths.cluster(name))?;
    let talos_schema = args.talos_schema.as_deref().map(|file| schema(cx, file)).transpose()?;
    let converted = match args.convert {
        true => check_report::convert(cx, &paths, convert::cluster_template)?,
        false => check_report::Converted::default(),
    };
    let sources = lookup::TemplateSources::ask(cx, args.offline);
    let known = TemplateFacts { talos_schema: talos_schema.as_ref(), ..sources.facts() };
    let checked =
        check_report::check(cx, &paths, &converted, |name, path, bytes| inputs::template(name, path, bytes, &known))?;
    let next = match args.name.as_slice() {
        [one] => format!("cargo xtask cluster-sync {one}"),
        _ if paths.iter().all(|path| inputs::example_in(path)) => "cargo xtask cluster-create".to_owned(),
        _ => "cargo xtask cluster-sync --all".to_owned(),
    };
    check_report::report(cx, "template", &checked, &converted, &args.allow.rules, &next)
}

/// The schema that Talos publishes, from a file.
fn schema(cx: &Cx, file: &Path) -> Result<Value, Failure> {
    let bytes = inputs::read(cx, file, "it is the config.schema.json of your Talos version")?;
    let wrong = |why: String| {
        Failure::new(Code::Invalid, format!("`{}` is not a JSON Schema", cx.paths.show(file)))
            .cause(why)
            .hint("give the config.schema.json that Talos publishes for each version")
    };
    let schema: Value = domain::spec::json::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
    match schema.is_object() {
        true => Ok(schema),
        false => Err(wrong("it is JSON, but not an object".to_owned())),
    }
}
