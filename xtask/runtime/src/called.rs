//! The name by which the operator calls this program: `cargo xtask` in a checkout of the repository, `omni-scale` from a
//! release. All texts are written with the first; the output contains the name that can be pasted.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::OnceLock;

use crate::proc;

/// The name in all texts.
const NAME_IN_TEXTS: &str = "cargo xtask";
/// The program of a release.
pub const RELEASED_PROGRAM: &str = "omni-scale";

static NAME: OnceLock<String> = OnceLock::new();

/// Stores the first word of the command line.
pub fn set_program_name(word: &OsStr) {
    NAME.get_or_init(|| name_to_paste(word));
}

/// The name to paste for a program that was called as `word`: cargo calls its own `xtask`; a name without a directory was found
/// in PATH, and a path can be shortened to its name if PATH leads to the same program.
fn name_to_paste(word: &OsStr) -> String {
    let path = Path::new(word);
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or("xtask");
    let whole = |path: &Path| path.canonicalize().ok();
    let in_path =
        || whole(path).is_some_and(|own| which::which(name).ok().and_then(|found| whole(&found)) == Some(own));
    match name {
        "xtask" => NAME_IN_TEXTS.to_owned(),
        name if path == Path::new(name) || in_path() => proc::quote(name),
        _ => proc::quote_os(word),
    }
}

/// The name to paste.
pub fn program_name() -> &'static str {
    NAME.get().map_or(NAME_IN_TEXTS, String::as_str)
}

/// Returns true if this is the program of a release, not of a checkout.
pub fn is_released() -> bool {
    program_name() != NAME_IN_TEXTS
}

/// `text` with the name to paste in every command.
pub fn with_program_name(text: &str) -> Cow<'_, str> {
    replace_program_name(text, program_name())
}

/// Like [`with_program_name`], for a file, whose reader may have the program in another directory.
pub fn with_portable_program_name(text: &str) -> Cow<'_, str> {
    replace_program_name(text, if is_released() { RELEASED_PROGRAM } else { NAME_IN_TEXTS })
}

fn replace_program_name<'a>(text: &'a str, name: &str) -> Cow<'a, str> {
    match name != NAME_IN_TEXTS && text.contains(NAME_IN_TEXTS) {
        true => Cow::Owned(text.replace(NAME_IN_TEXTS, name)),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_to_paste_is_that_of_the_call() {
        for (word, name) in [
            ("target/debug/xtask", NAME_IN_TEXTS),
            ("/x/xtask", NAME_IN_TEXTS),
            ("", NAME_IN_TEXTS),
            ("omni-scale", "omni-scale"),
            ("./omni-scale", "./omni-scale"),
            ("/opt/a b/omni-scale", "'/opt/a b/omni-scale'"),
            ("oscale", "oscale"),
        ] {
            assert_eq!(name_to_paste(OsStr::new(word)), name, "{word}");
        }
        assert_eq!(name_to_paste(which::which("sh").unwrap().as_os_str()), "sh", "PATH leads there");
        assert_eq!(replace_program_name("`cargo xtask doctor`", "omni-scale"), "`omni-scale doctor`");
    }
}
