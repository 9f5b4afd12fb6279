//! Copies of the checked files for omnictl to read. If a file is edited while a task runs, the edit reaches Omni with the next
//! run, which checks it, and not half-way through this one.

use std::path::{Component, Path, PathBuf};

use crate::flow::inputs::Template;
use crate::flow::project_files::CheckedFile;
use crate::prelude::*;
use runtime::files::Scratch;

/// Name of the scratch directory.
const DIR: &str = "checked";

/// A template for omnictl to read.
pub struct Staged {
    pub file: PathBuf,
    /// Files that omnictl reads in place, without a copy: they must be unchanged when they are read.
    pub unchanged: Vec<CheckedFile>,
}

/// Copies a file of machine classes to a directory of this run, which is removed when the value is dropped.
///
/// # Errors
/// Returns an error if the copy cannot be written.
pub fn copy_class(cx: &Cx, file: &CheckedFile) -> Result<(Scratch, PathBuf), Failure> {
    let scratch = Scratch::new(&cx.paths.scratch_root(), DIR)?;
    let copy = scratch.write(file_name(&file.path), &file.bytes)?;
    Ok((scratch, copy))
}

/// Copies templates, each with the files that it refers to. A template that refers to a file by an absolute path, or outside its
/// directory, is not copied: in the copy, the path would refer to another file.
///
/// # Errors
/// Returns an error if a copy cannot be written.
pub fn copy_templates(cx: &Cx, templates: &[Template]) -> Result<(Scratch, Vec<Staged>), Failure> {
    let scratch = Scratch::new(&cx.paths.scratch_root(), DIR)?;
    let copy = |(at, template): (usize, &Template)| copy_template(&scratch, Path::new(&at.to_string()), template);
    let staged = templates.iter().enumerate().map(copy).collect::<Result<_, _>>()?;
    Ok((scratch, staged))
}

/// Copies one template into `dir` of the scratch directory.
fn copy_template(scratch: &Scratch, dir: &Path, template: &Template) -> Result<Staged, Failure> {
    let Template { file, beside, .. } = template;
    let places: Option<Vec<PathBuf>> = beside.iter().map(|(name, _)| path_inside(name)).collect();
    let Some(places) = places else {
        let folder = file.path.parent().unwrap_or(Path::new("."));
        let named = beside.iter().map(|(name, bytes)| CheckedFile { path: folder.join(name), bytes: bytes.clone() });
        return Ok(Staged { file: file.path.clone(), unchanged: std::iter::once(file.clone()).chain(named).collect() });
    };
    for (place, (_, bytes)) in places.iter().zip(beside) {
        scratch.write(&dir.join(place), bytes)?;
    }
    let copy = scratch.write(&dir.join(file_name(&file.path)), &file.bytes)?;
    Ok(Staged { file: copy, unchanged: Vec::new() })
}

fn file_name(path: &Path) -> &Path {
    path.file_name().map_or(Path::new("file.yaml"), Path::new)
}

/// Normalizes a relative path; `None` if it leaves its directory.
fn path_inside(name: &str) -> Option<PathBuf> {
    let mut place = PathBuf::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => place.push(part),
            Component::CurDir => {}
            Component::ParentDir => place.pop().then_some(())?,
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!place.as_os_str().is_empty()).then_some(place)
}

/// Replaces the path of the copy in `failure` with that of the operator's file.
pub fn unstage(cx: &Cx, failure: Failure, copy: &Path, original: &Path) -> Failure {
    replace_paths(failure, &[&copy.to_string_lossy(), &cx.paths.show(copy)], &cx.paths.show(original))
}

fn replace_paths(mut failure: Failure, copies: &[&str], shown: &str) -> Failure {
    for text in [&mut failure.message, &mut failure.cause, &mut failure.hint] {
        copies.iter().for_each(|copy| *text = text.replace(copy, shown));
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::failure::Code;

    #[test]
    fn path_inside_refuses_paths_outside_the_directory() {
        let place = |name: &str| path_inside(name).map(|place| place.to_string_lossy().into_owned());
        assert_eq!(place("patches/a.yaml").as_deref(), Some("patches/a.yaml"));
        assert_eq!(place("./x/../patches//a.yaml").as_deref(), Some("patches/a.yaml"));
        for outside in ["../a.yaml", "x/../../a.yaml", "/etc/a.yaml", "", "."] {
            assert_eq!(place(outside), None, "{outside:?}");
        }
    }

    #[test]
    fn replace_paths_names_the_operators_file() {
        let failure = Failure::new(Code::Invalid, "applying `target/xtask-checked-7/a.yaml`: no")
            .cause("/p/target/xtask-checked-7/a.yaml:3: bad");
        let copies = ["/p/target/xtask-checked-7/a.yaml", "target/xtask-checked-7/a.yaml"];
        let failure = replace_paths(failure, &copies, "machine-classes/a.yaml");
        assert_eq!(failure.message, "applying `machine-classes/a.yaml`: no");
        assert_eq!(failure.cause, "machine-classes/a.yaml:3: bad");
    }
}
