//! Files that a template refers to, and where they may be.

use std::path::{Component, Path, PathBuf};

use super::{Checker, FileRead, Undecided};
use yaml::Position;

impl Checker<'_> {
    /// Reads a file that the template refers to. Returns the path that findings use for it, and its bytes.
    pub(super) fn file(&mut self, path: &str, at: Position) -> Option<(String, Vec<u8>)> {
        let older = self.context.omni.is_some_and(|omni| omni.is_before(8, 0));
        if older {
            self.undecided.insert(Undecided::OlderPaths);
        }
        let Some(read) = self.context.read else {
            self.undecided.extend((!older).then_some(Undecided::Files));
            return None;
        };
        match read(path) {
            FileRead::Bytes(bytes) => Some((shown(self.file, path), bytes)),
            // omnictl may find it from the directory that it is started in.
            _ if older => None,
            FileRead::Outside => {
                let message =
                    format!("`{path}` is outside of the template's directory: omnictl 1.8 and later reject that");
                self.error(
                    "template-file-outside",
                    at,
                    message,
                    "move the file into the template's directory or a subdirectory",
                );
                None
            }
            FileRead::Missing { why, above } => {
                let message = format!("`{path}` cannot be read: {why}");
                let fix = match above {
                    None => "write the path relative to the template's directory".to_owned(),
                    Some(above) => format!(
                        "paths were relative to the working directory up to omnictl 1.7, and are relative to the \
                         template from 1.8 on: `{above}` exists; move it into the template's directory, or write \
                         that path and run `omnictl cluster template` with `--allowed-dir {}` (cluster-sync has no \
                         such option)",
                        leading_dots(&above)
                    ),
                };
                self.error("template-file-missing", at, message, &fix);
                None
            }
        }
    }
}

/// Returns the path of a file as findings show it: relative paths in the template start in its directory.
fn shown(template: &str, path: &str) -> String {
    let joined = Path::new(template).parent().unwrap_or(Path::new("")).join(path);
    clean(&joined).display().to_string()
}

/// Returns the path without `.`, and without `..` after a name, as Go's filepath.Clean writes it.
pub fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for part in path.components() {
        match (part, cleaned.components().next_back()) {
            (Component::CurDir, _) | (Component::ParentDir, Some(Component::RootDir)) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => drop(cleaned.pop()),
            (part, _) => cleaned.push(part),
        }
    }
    cleaned
}

/// Returns the `../..` that a path starts with.
fn leading_dots(path: &str) -> String {
    let dots: Vec<&str> = path.split('/').take_while(|part| *part == "..").collect();
    dots.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_like_go() {
        for (path, cleaned) in [
            ("a/./b/../c", "a/c"),
            ("../a/../b", "../b"),
            ("/a/../../b", "/b"),
            ("a/../../b", "../b"),
            ("/x//y/", "/x/y"),
        ] {
            assert_eq!(clean(Path::new(path)), Path::new(cleaned), "{path}");
        }
        assert_eq!(shown("clusters/demo.yaml", "../clusters/a.yaml"), "clusters/a.yaml");
        assert_eq!(leading_dots("../../patches/a.yaml"), "../..");
    }
}
