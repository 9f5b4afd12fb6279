//! Reading the plugin's texts: front matter, code spans, flags, links.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_yaml::Value;

/// A Markdown file in two parts.
pub struct Page {
    /// Front matter as a mapping; Claude Code drops all of it without a word when it does not parse.
    pub front: serde_yaml::Mapping,
    /// Everything below the closing `---`.
    pub body: String,
    /// Lines of the whole file.
    pub lines: usize,
}

impl Page {
    /// Reads a Markdown file with front matter, by a strict YAML parser.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        let rest = text.strip_prefix("---\n").ok_or("has no front matter")?;
        let (front, body) = rest.split_once("\n---\n").ok_or("its front matter is not closed")?;
        let front = serde_yaml::from_str::<Value>(front).map_err(|error| format!("front matter: {error}"))?;
        let Value::Mapping(front) = front else { return Err("its front matter is no mapping".into()) };
        Ok(Self { front, body: body.to_owned(), lines: text.lines().count() })
    }

    /// A key's value when it is a string.
    pub fn string(&self, key: &str) -> Option<&str> {
        self.front.get(key).and_then(Value::as_str)
    }

    /// A key's value when it is a list of strings.
    pub fn list(&self, key: &str) -> Option<Vec<&str>> {
        self.front.get(key)?.as_sequence()?.iter().map(Value::as_str).collect()
    }

    /// The keys that stand in the front matter and not in `allowed`.
    pub fn unknown_keys(&self, allowed: &[&str]) -> Vec<String> {
        self.front.keys().filter_map(Value::as_str).filter(|key| !allowed.contains(key)).map(str::to_owned).collect()
    }
}

/// The names of a directory's entries, sorted; a directory that is missing has none.
pub fn entries(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

/// Every file below a directory whose name ends in one of `endings`.
pub fn files_below(directory: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let found = runtime::files::tree(directory).unwrap_or_default().into_iter().map(|(name, _)| directory.join(name));
    found.filter(|path| endings.iter().any(|ending| path.to_string_lossy().ends_with(ending))).collect()
}

/// The texts of the plugin.
pub fn pages(root: &Path) -> Vec<PathBuf> {
    let texts = ["commands", "skills", "agents"].map(|dir| files_below(&root.join(dir), &[".md", ".yaml"]));
    [vec![root.join(".claude/CLAUDE.md")], texts.concat()].concat()
}

/// What stands between backticks on one line.
pub fn code_spans(text: &str) -> Vec<&str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// The lines of a page's fenced blocks in one language.
pub fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            inside = !inside && fence == language;
        } else if inside {
            found.push(line);
        }
    }
    found
}

/// The long flags among the words of a text: `[--cores` and `--cores,` both name `--cores`.
pub fn flags(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for word in text.split_whitespace() {
        let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let Some(name) = word.strip_prefix("--") else { continue };
        let name: String = name.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        if name.starts_with(|c: char| c.is_ascii_lowercase()) {
            found.insert(format!("--{name}"));
        }
    }
    found
}

/// The targets of a page's links, code left out.
pub fn link_targets(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        }
        if in_block {
            continue;
        }
        // Every second part of a line stands between backticks. A link may hold a code span, so the parts are joined.
        let prose: String = line.split('`').step_by(2).collect();
        for (start, marker) in prose.match_indices("](") {
            let rest = &prose[start + marker.len()..];
            targets.push(rest.split(')').next().unwrap_or(rest).to_owned());
        }
    }
    targets
}
