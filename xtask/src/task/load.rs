//! Reading what the operator wrote: which files are meant, and what is wrong with them.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::check::Finding;
use crate::cx::Cx;
use crate::failure::{Code, Failure};
use crate::spec::machine_class::{self, MachineClass};
use crate::spec::template::{self, ClusterTemplate};
use crate::spec::{Parsed, name};

/// The files that `given` names, or all in `dir`: a name means `<dir>/<name>.yaml`, anything with a dot or a slash is a
/// path.
///
/// # Errors
/// [`Code::NotFound`] with the names that there are; [`Code::Usage`] for a name that can be none.
pub fn chosen(
    given: &[String],
    all: bool,
    dir: &Path,
    what: &str,
    of_name: impl Fn(&str) -> PathBuf,
) -> Result<Vec<PathBuf>, Failure> {
    if all {
        let files = in_dir(dir);
        if files.is_empty() {
            return Err(Failure::new(Code::NotFound, format!("`{}` holds no {what}", dir.display())));
        }
        return Ok(files);
    }
    let of_given = |given: &String| {
        let is_path = given.contains(['/', '.']);
        let file = if is_path { PathBuf::from(given) } else { of_name(given) };
        if file.is_file() {
            return std::path::absolute(&file).map_err(|error| Failure::new(Code::Failed, error.to_string()));
        }
        if !is_path {
            name::check(what, given)?;
        }
        let names: Vec<String> =
            in_dir(dir).iter().filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect();
        let near = crate::spec::nearest::nearest(given, names.iter().map(String::as_str));
        let failure = Failure::new(Code::NotFound, format!("there is no {what} `{given}`")).cause(match names.len() {
            0 => format!("`{}` does not exist, and `{}` holds none", file.display(), dir.display()),
            _ => format!("`{}` does not exist; there are: {}", file.display(), names.join(", ")),
        });
        Err(match near {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None => failure,
        })
    };
    given.iter().map(of_given).collect()
}

/// The YAML files of a directory, in order of their names.
pub fn in_dir(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let yaml = |path: &PathBuf| path.is_file() && path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(yaml).collect();
    files.sort();
    files
}

/// The machine classes in `files`, each with its file.
///
/// # Errors
/// [`Code::Invalid`] with every finding, when one of them is an error.
pub fn machine_classes(cx: &Cx, files: &[PathBuf]) -> Result<Vec<(MachineClass, PathBuf)>, Failure> {
    let (mut found, mut findings) = (Vec::new(), Vec::new());
    for file in files {
        let bytes = cx.read(file, "write it with `cargo xtask machineclass-create`")?;
        let parsed = machine_class::parse(&cx.paths.show(file), &bytes);
        findings.extend(parsed.findings);
        found.extend(parsed.value.unwrap_or_default().into_iter().map(|class| (class, file.clone())));
    }
    report(cx, "machine class", findings)?;
    Ok(found)
}

/// The names of the clusters in `files`, each with its file.
///
/// # Errors
/// As [`machine_classes`].
pub fn templates(cx: &Cx, files: &[PathBuf]) -> Result<Vec<(String, PathBuf)>, Failure> {
    let (mut found, mut findings) = (Vec::new(), Vec::new());
    for file in files {
        let bytes = cx.read(file, "write it with `cargo xtask cluster-create`")?;
        let Parsed { value, findings: more } = template::parse(&cx.paths.show(file), &bytes);
        findings.extend(more);
        found.extend(value.map(|template: ClusterTemplate| (template.name, file.clone())));
    }
    report(cx, "cluster template", findings)?;
    Ok(found)
}

/// Shows the findings; fails when one of them is an error.
fn report(cx: &Cx, what: &str, findings: Vec<Finding>) -> Result<(), Failure> {
    for finding in &findings {
        cx.ui.say(&finding.to_string());
    }
    let errors = findings.iter().filter(|finding| finding.is_error()).count();
    let Some(first) = findings.iter().find(|finding| finding.is_error()) else { return Ok(()) };
    let count = if errors == 1 { "an error".to_owned() } else { format!("{errors} errors") };
    Err(Failure::new(Code::Invalid, format!("the {what} has {count}"))
        .cause(format!("{}: {}", first.place, first.message))
        .hint(first.fix.clone())
        .with(json!({ "findings": findings })))
}
