//! The files of a new project, embedded in the program: those that an operator uses or changes, without the repository's own.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::flow::backup::io_failure;
use domain::failure::{Code, Failure};
use runtime::{called, files};

/// Includes each file under its path in the repository.
macro_rules! kit {
    ($($file:literal)*) => {
        const FILES: &[(&str, &str)] = &[$(($file, include_str!(concat!("../../../", $file)))),*];
    };
}

// The last file marks a project: until it exists, no task treats the directory as one.
kit! {
    ".gitignore"
    "clusters/matrix.yaml"
    "docker/.env.example"
    "docker/certificate-renewed.sh"
    "docker/config.yaml.example"
    "docker/no-providers.yaml"
    "docker/omni-backup.service"
    "docker/omni-backup.timer"
    "docker/omni-certificate.service"
    "docker/omni-certificate.timer"
    "docker/omni-scale.service"
    "docker/site.yaml.example"
    "docker/site/.gitignore"
    "machine-classes/dev-small.yaml"
    "machine-classes/matrix-controlplane.yaml"
    "machine-classes/matrix-worker.yaml"
    "schemas/cluster-template.schema.json"
    "schemas/machine-class.schema.json"
    "schemas/site.schema.json"
    "tsidp/backup.sh"
    "tsidp/grant.json"
    "tsidp/install.sh"
    "tsidp/lib.sh"
    "tsidp/tsidp.service"
    "tsidp/uninstall.sh"
    "tsidp/upgrade.sh"
    "docker/compose.yaml"
}

/// Returns every file with its contents.
pub fn list_files() -> impl Iterator<Item = (&'static str, Cow<'static, str>)> {
    FILES.iter().map(|(file, text)| (*file, called::with_portable_program_name(text)))
}

/// Returns the files that `dir` lacks, with their contents.
///
/// # Errors
/// Fails with [`Code::Conflict`] if `dir` contains anything but the kit and a git repository, or if it cannot be read.
pub fn missing_files(dir: &Path) -> Result<Vec<(&'static str, Cow<'static, str>)>, Failure> {
    let failed = |error: std::io::Error| io_failure("read", dir, &error);
    let refused = |what: &Path| {
        Failure::new(Code::Conflict, format!("`{}` is not empty", dir.display()))
            .cause(format!("it contains `{}`, which is not a file of a new project", what.display()))
            .hint("specify a directory that does not exist yet, or an empty one")
    };
    let is_same = |file: &Path| {
        let known = list_files().find(|(known, _)| file == Path::new(known));
        let there = || files::read_optional_text(&dir.join(file)).ok().flatten();
        known.is_some_and(|(_, text)| there().is_some_and(|there| there == text))
    };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(list_files().collect()),
        entries => entries.map_err(failed)?,
    };
    // Remove temporary files of a killed run.
    let dirs: BTreeSet<_> = FILES.iter().filter_map(|(file, _)| Path::new(file).parent()).collect();
    dirs.into_iter().for_each(|inner| files::remove_stale_temp_files(&dir.join(inner)));
    for entry in entries {
        let (name, path) = entry.map(|entry| (entry.file_name(), entry.path())).map_err(failed)?;
        let is_dir = path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
        let found = match is_dir {
            _ if name == ".git" => continue,
            true if list_files().any(|(file, _)| Path::new(file).starts_with(&name) && file.contains('/')) => {
                files::list_files(&path)
                    .map_err(failed)?
                    .into_iter()
                    .map(|(file, _)| Path::new(&name).join(file))
                    .collect()
            }
            _ => vec![name.into()],
        };
        if let Some(other) = found.iter().find(|file| dir.join(file).is_symlink() || !is_same(file)) {
            return Err(refused(other));
        }
    }
    Ok(list_files().filter(|(file, _)| !dir.join(file).is_file()).collect())
}

/// Writes one file; scripts are made executable.
///
/// # Errors
/// As [`files::write_atomically`].
pub fn write_file(path: &Path, text: &str) -> Result<(), Failure> {
    let mode = if text.starts_with("#!") { 0o755 } else { files::SHARED };
    files::write_atomically(path, text.as_bytes(), mode)
}
