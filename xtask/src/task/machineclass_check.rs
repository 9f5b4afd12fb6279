//! `machineclass-check [name…|--all]`: machine classes as Omni's server and the provider would judge them.
//!
//! 1. The files are found; with `--convert` older forms are rewritten, after consent.
//! 2. Omni is asked once for its providers and their schemas, if it can be: the built-in table stands in for them.
//! 3. Each file is checked, and two things are told apart: the server's answer to a new class, and our findings.

use super::{Outcome, checking, known, load};
use crate::check::convert;
use crate::check::machine_class;
use crate::cli::MachineclassCheck;
use crate::cx::Cx;

pub fn run(args: &MachineclassCheck, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = args.convert.then(|| cx.lock_checkout()).transpose()?;
    let all = args.all || args.name.is_empty();
    let paths = load::chosen(&args.name, all, &cx.paths.machine_classes(), "machine class", |name| {
        cx.paths.machine_class(name)
    })?;
    let converted = match args.convert {
        true => checking::convert(cx, &paths, convert::machine_class)?,
        false => checking::Converted::default(),
    };
    let found = known::ask(cx, args.offline, &[known::PROVIDERS]).into_iter().next().flatten();
    let providers = found.as_deref().map(known::providers);
    let around = known::around(cx);
    let context = around.of_classes(providers.as_deref());
    let checked =
        checking::check(cx, &paths, &converted, |name, _, bytes| machine_class::check(name, bytes, &context))?;
    let next = match args.name.as_slice() {
        [one] => format!("cargo xtask machineclass-apply {one}"),
        _ => "cargo xtask machineclass-apply --all".to_owned(),
    };
    checking::report(cx, "file", &checked, &converted, &args.allow, &next)
}
