//! Reading the plugin's texts: front matter, code spans, blocks.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A Markdown file in two parts.
pub struct Page {
    /// Front matter as a mapping; Claude Code drops all of it silently when it does not parse.
    pub front: Value,
    /// Everything below the closing `---`.
    pub body: String,
}

impl Page {
    /// Reads a Markdown file with front matter, by a strict YAML parser.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        let rest = text.strip_prefix("---\n").ok_or("has no front matter")?;
        let (front, body) = rest.split_once("\n---\n").ok_or("its front matter is not closed")?;
        let front = serde_yaml::from_str::<Value>(front).map_err(|error| format!("front matter: {error}"))?;
        if front.is_object() {
            Ok(Self { front, body: body.to_owned() })
        } else {
            Err("no mapping in front".to_owned())
        }
    }
}

/// The names of a directory's entries, sorted; a directory that is missing has none.
pub fn entries(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// The texts of the plugin.
pub fn pages(root: &Path) -> Vec<PathBuf> {
    let below = |dir: &str| {
        let files = runtime::files::tree(&root.join(dir)).expect("readable").into_iter();
        files.map(|(name, _)| root.join(dir).join(name)).collect::<Vec<_>>()
    };
    let texts = ["commands", "skills", "agents"].map(below).concat().into_iter();
    let texts = texts.filter(|path| path.extension().is_some_and(|end| end == "md" || end == "yaml"));
    [root.join(".claude/CLAUDE.md")].into_iter().chain(texts).collect()
}

/// What is between backticks on one line.
pub fn code_spans(text: &str) -> Vec<&str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// The lines of a page's fenced blocks in one language.
pub fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let blocks = text.split("\n```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    blocks.filter(|(of, _)| *of == language).flat_map(|(_, lines)| lines.lines()).collect()
}
