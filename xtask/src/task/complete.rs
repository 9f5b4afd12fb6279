//! `complete`: what could stand next on a command line, one candidate a line with its meaning after a tab. The scripts of
//! `completions` call it at every press of the key, so it reads two directories and starts nothing.

use crate::cli::{CHECKS, Complete, built};
use crate::complete::{Names, candidates};
use crate::outcome::Outcome;
use runtime::cx::Cx;

pub fn run(args: &Complete, cx: &Cx) -> anyhow::Result<Outcome> {
    let names = Names {
        classes: stems(&cx.paths.machine_classes()),
        clusters: stems(&cx.paths.clusters()),
        checks: CHECKS.iter().map(|name| (*name).to_owned()).collect(),
    };
    let found = candidates(&built(), &args.words, &names);
    let lines: Vec<String> = found.iter().map(|found| format!("{}\t{}", found.word, found.help)).collect();
    if !lines.is_empty() {
        cx.ui.data(&lines.join("\n"));
    }
    Ok(Outcome::done(""))
}

/// The names of the YAML files in `dir`; none when it cannot be read, since an error would disturb the typing.
fn stems(dir: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let yaml = entries.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let mut names: Vec<String> = yaml.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    names
}
