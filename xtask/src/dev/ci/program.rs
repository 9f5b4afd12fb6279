//! The programs that contributors' tasks call. One that is missing is a prerequisite with the hint of `data/programs.yaml`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use domain::failure::{Code, Failure};
use runtime::paths::Paths;

/// How each is installed, by name.
static INSTALL: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let text = include_str!("../../../data/programs.yaml");
    serde_yaml::from_str(text).unwrap_or_else(|error| panic!("data/programs.yaml: {error}"))
});

/// Where the program is: on PATH, or where `.ci/run` installs what it needs.
///
/// # Errors
/// [`Code::Prerequisite`] with how to install it.
pub fn find(name: &str, paths: &Paths) -> Result<PathBuf, Failure> {
    let ours = paths.target().join("ci/bin").join(name);
    which::which(name).or_else(|_| which::which(ours)).map_err(|_| {
        Failure::new(Code::Prerequisite, format!("`{name}` is not installed"))
            .cause("neither PATH nor target/ci/bin holds it")
            .hint(INSTALL.get(name).map_or("", String::as_str))
    })
}
