//! By which name the operator calls this program: `cargo xtask` in a checkout of the repository, `omni-scale` from a release. Every
//! text is written with the first; what is printed has the one that can be pasted.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::OnceLock;

use crate::proc;

/// As every text is written.
const WRITTEN: &str = "cargo xtask";
/// The program of a release.
pub const RELEASED: &str = "omni-scale";

static NAME: OnceLock<String> = OnceLock::new();

/// Remembers the first word of the command line.
pub fn remember(word: &OsStr) {
    NAME.get_or_init(|| of(word));
}

/// What is pasted to call the program that was called as `word`: cargo calls its own `xtask`; a name without a directory was found
/// in PATH, and one with a directory needs none if PATH leads to the same program.
fn of(word: &OsStr) -> String {
    let path = Path::new(word);
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or("xtask");
    let whole = |path: &Path| path.canonicalize().ok();
    let in_path =
        || whole(path).is_some_and(|own| which::which(name).ok().and_then(|found| whole(&found)) == Some(own));
    match name {
        "xtask" => WRITTEN.to_owned(),
        name if path == Path::new(name) || in_path() => proc::quote(name),
        _ => proc::quote_os(word),
    }
}

/// The name to paste.
pub fn name() -> &'static str {
    NAME.get().map_or(WRITTEN, String::as_str)
}

/// Whether this is the program of a release, and not that of a checkout.
pub fn is_released() -> bool {
    name() != WRITTEN
}

/// `text` with the name to paste in every command.
pub fn named(text: &str) -> Cow<'_, str> {
    replaced(text, name())
}

/// The same for a file, which may be read where the program has no path.
pub fn named_in_file(text: &str) -> Cow<'_, str> {
    replaced(text, if is_released() { RELEASED } else { WRITTEN })
}

fn replaced<'a>(text: &'a str, name: &str) -> Cow<'a, str> {
    match name != WRITTEN && text.contains(WRITTEN) {
        true => Cow::Owned(text.replace(WRITTEN, name)),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_to_paste_is_that_of_the_call() {
        for (word, name) in [
            ("target/debug/xtask", WRITTEN),
            ("/x/xtask", WRITTEN),
            ("", WRITTEN),
            ("omni-scale", "omni-scale"),
            ("./omni-scale", "./omni-scale"),
            ("/opt/a b/omni-scale", "'/opt/a b/omni-scale'"),
            ("oscale", "oscale"),
        ] {
            assert_eq!(of(OsStr::new(word)), name, "{word}");
        }
        assert_eq!(of(which::which("sh").unwrap().as_os_str()), "sh", "PATH leads there");
        assert_eq!(replaced("`cargo xtask doctor`", "omni-scale"), "`omni-scale doctor`");
    }
}
