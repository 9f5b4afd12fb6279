//! Runs the library's checks over whole files: corpora with the answers of the real programs, and every rule.

// Tests rewrite their own corpora.
#![allow(clippy::disallowed_methods)]

mod convert;
mod corpus;
mod editors;
mod patches;
mod rules;
mod upgrades;
mod versions;

use std::path::{Path, PathBuf};

/// Returns the path of a file or folder of the corpora.
fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name)
}

/// Compares a file with the current output, line by line; `UPDATE_EXPECT=1` rewrites it.
fn assert_file(path: &Path, now: &str) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, now).expect("written");
    }
    let text = std::fs::read_to_string(path).expect("the file");
    for (was, is) in text.lines().zip(now.lines()) {
        assert_eq!(was, is, "{}", path.display());
    }
    assert_eq!(text.len(), now.len(), "{}", path.display());
}
