//! The programs of this repository that normal tasks do not build: each is built when a task first needs it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use xshell::cmd;

use crate::cx::Cx;
use crate::proc::{self, Job};
use crate::settings::environment;
use domain::failure::{Code, Failure};

/// Builds the program `name` of the package with the same name, if necessary, and returns its path.
///
/// # Errors
/// [`Code::Prerequisite`] if this is not a checkout; [`Code::Failed`] with cargo's errors if it does not build.
pub fn build_program(cx: &Cx, name: &str) -> anyhow::Result<PathBuf> {
    let manifest = source_dir()?.join("Cargo.toml");
    let cargo = environment("CARGO").unwrap_or_else(|| "cargo".to_owned());
    let shell = proc::shell()?;
    let cmd = cmd!(
        shell,
        "{cargo} build --quiet --manifest-path {manifest} --package {name} --bin {name} --message-format=json-render-diagnostics"
    );
    let job = Job::new(format!("building `{name}`"), cmd).deadline(Duration::from_secs(1800));
    let ended = cx.proc.run(job)?.require_success()?;
    let executable = ended.stdout.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        let bin = message["target"]["kind"].as_array()?.iter().any(|kind| kind == "bin");
        (bin && message["target"]["name"] == name).then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    executable.ok_or_else(|| anyhow::anyhow!("cargo built `{name}`, but reported no program"))
}

/// The repository of this runner, which may differ from its project: from the variable that `cargo run` sets, or else from the
/// program's path in `target`.
fn source_dir() -> Result<PathBuf, Failure> {
    let told = environment("CARGO_MANIFEST_DIR").and_then(|dir| Path::new(&dir).parent().map(Path::to_owned));
    let program = std::env::current_exe().unwrap_or_default();
    let mut candidates = told.iter().map(PathBuf::as_path).chain(program.ancestors());
    candidates.find(|dir| dir.join("lab/Cargo.toml").is_file()).map(Path::to_owned).ok_or_else(|| {
        Failure::new(Code::Prerequisite, "the sources of this runner are not here")
            .cause(format!("no directory above `{}` contains lab/Cargo.toml", program.display()))
            .hint("keep a released program in the directory from its archive: `omni-scale-lab` belongs next to it")
    })
}
