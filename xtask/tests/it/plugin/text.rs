//! Parsing of the plugin's texts: front matter, code spans, blocks.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A Markdown file in two parts.
pub struct Page {
    /// Front matter as a mapping; Claude Code silently drops all of it if it cannot be parsed.
    pub front: Value,
    /// Everything below the closing `---`.
    pub body: String,
}

impl Page {
    /// Reads a Markdown file with front matter, using a strict YAML parser.
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

/// Returns the names of a directory's entries, sorted; empty if the directory is missing.
pub fn entries(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Returns the text files of the plugin.
pub fn pages(root: &Path) -> Vec<PathBuf> {
    let below = |dir: &str| {
        let files = runtime::files::list_files(&root.join(dir)).expect("readable").into_iter();
        files.map(|(name, _)| root.join(dir).join(name)).collect::<Vec<_>>()
    };
    let texts = ["commands", "skills", "agents"].map(below).concat().into_iter();
    let texts = texts.filter(|path| path.extension().is_some_and(|end| end == "md" || end == "yaml"));
    [root.join(".claude/CLAUDE.md")].into_iter().chain(texts).collect()
}

/// Returns the text between backticks on one line.
pub fn code_spans(text: &str) -> Vec<&str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// Returns the lines of a page's fenced blocks in one language.
pub fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let blocks = text.split("\n```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    blocks.filter(|(of, _)| *of == language).flat_map(|(_, lines)| lines.lines()).collect()
}
