//! `.claude/omni-scale.local.md`: the tasks' data about this deployment, as YAML front matter, and two sections for people.
//! Unknown keys, their order and the user's own text survive every change; the file never contains a secret.

use std::path::Path;

use serde_yaml::Value;

use crate::files;
use domain::failure::{Code, Failure};

/// The text of a new state file.
const NEW_FILE: &str = "---\n---\n\n# Omni-Scale\n\n## Current Status\n\n## Next Steps\n";

/// The state file: its lines, and its parsed front matter.
#[derive(Debug, Clone)]
pub struct State {
    front: Vec<String>,
    body: String,
    values: serde_yaml::Mapping,
    /// Whether anything differs from the file that was read.
    changed: bool,
}

impl Default for State {
    fn default() -> State {
        State {
            front: Vec::new(),
            body: NEW_FILE.trim_start_matches("---\n").to_owned(),
            values: Default::default(),
            changed: false,
        }
    }
}

impl State {
    /// Reads the state from `path`; a missing file is an empty state.
    ///
    /// # Errors
    /// [`Code::Invalid`] with file, line and column if the file exists and cannot be parsed: a broken state is never replaced,
    /// because it may contain the user's text.
    pub fn load(path: &Path, shown: &str) -> Result<State, Failure> {
        match files::read_optional_text(path)? {
            Some(text) if !text.trim().is_empty() => State::parse(shown, &text),
            _ => Ok(State::default()),
        }
    }

    fn parse(file: &str, text: &str) -> Result<State, Failure> {
        let broken = |line: usize, column: usize, why: &str| {
            Failure::new(Code::Invalid, format!("{file}:{line}:{column}: the state file cannot be read"))
                .cause(why)
                .hint("fix the YAML between its two `---` lines, or move the file away: the tasks create a new one")
        };
        if text.len() > yaml::MAX_BYTES {
            return Err(broken(1, 1, "it is larger than any state file that these tasks write"));
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
        let Some(rest) = text.strip_prefix("---\n") else {
            return Err(broken(1, 1, "it does not start with a line `---`"));
        };
        let lines: Vec<&str> = rest.split('\n').collect();
        let Some(end) = lines.iter().position(|line| line.trim_end() == "---") else {
            return Err(broken(1, 1, "its front matter has no closing line `---`"));
        };
        let front = lines[..end].join("\n");
        if let Some(limit) = yaml::limit(file, &front) {
            return Err(broken(limit.place.line as usize + 1, limit.place.column as usize, &limit.message));
        }
        let values: Option<serde_yaml::Mapping> = serde_yaml::from_str(&front).map_err(|error| {
            let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
            broken(line + 1, column, &error.to_string())
        })?;
        let front = lines[..end].iter().map(|line| (*line).to_owned()).collect();
        let body = lines[end + 1..].join("\n");
        Ok(State { front, body, values: values.unwrap_or_default(), changed: false })
    }

    /// A scalar of any type, as text.
    pub fn get(&self, key: &str) -> Option<String> {
        match self.values.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(value) => Some(value.to_string()),
            _ => None,
        }
        .filter(|text| !text.is_empty())
    }

    /// A list of texts; empty if the key does not exist.
    pub fn list(&self, key: &str) -> Vec<String> {
        let Some(Value::Sequence(items)) = self.values.get(key) else { return Vec::new() };
        items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    }

    /// Sets a scalar.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        let value = value.into();
        if self.values.get(key) == Some(&value) {
            return;
        }
        self.changed = true;
        let line = format!("{key}: {}", inline_yaml(&value));
        let start = self.front.iter().position(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')));
        match start {
            Some(start) => {
                // The lines of the old value: those indented under it, or the items of a list.
                let more = self.front[start + 1..].iter();
                let more = more.take_while(|line| line.starts_with([' ', '\t']) || line.starts_with("- ")).count();
                self.front.splice(start..=start + more, [line]);
            }
            None => self.front.push(line),
        }
        self.values.insert(key.into(), value);
    }

    /// Sets a list of texts.
    pub fn set_list(&mut self, key: &str, items: &[String]) {
        self.set(key, Value::Sequence(items.iter().map(|item| Value::from(item.as_str())).collect()));
    }

    /// Adds `item` to a sorted list, unless the list contains it.
    pub fn add_to_list(&mut self, key: &str, item: &str) {
        let mut items = self.list(key);
        if !items.iter().any(|each| each == item) {
            items.push(item.to_owned());
            items.sort();
        }
        self.set_list(key, &items);
    }

    /// Replaces the text under the heading `## title`, or appends the section.
    pub fn set_section(&mut self, title: &str, text: &str) {
        let heading = format!("## {title}");
        let mut lines: Vec<&str> = self.body.lines().collect();
        let new = format!("\n{}\n", text.trim_end());
        let start = lines.iter().position(|line| line.trim_end() == heading);
        match start {
            Some(start) => {
                let rest = lines[start + 1..].iter();
                let length = rest.take_while(|line| !line.starts_with("# ") && !line.starts_with("## ")).count();
                lines.splice(start + 1..start + 1 + length, new.split('\n'));
            }
            None => {
                lines.extend(["", heading.as_str()]);
                lines.extend(new.split('\n'));
            }
        }
        let body = lines.join("\n").trim_end().to_owned() + "\n";
        if body != self.body {
            (self.body, self.changed) = (body, true);
        }
    }

    /// The contents of the file.
    pub fn text(&self) -> String {
        let mut text = String::from("---\n");
        for line in &self.front {
            text.push_str(line);
            text.push('\n');
        }
        format!("{text}---\n{}", self.body)
    }

    /// Writes the file atomically and privately, if anything changed.
    ///
    /// # Errors
    /// [`Code::Failed`] with the path; the old file is then unchanged.
    pub fn save(&self, path: &Path) -> Result<(), Failure> {
        if !self.changed {
            return Ok(());
        }
        // Single keys are edited as lines, but YAML has more forms: a result that does not parse to the same values is not
        // written.
        let again = State::parse("the state", &self.text());
        if again.is_ok_and(|again| again.values == self.values) {
            return files::write_atomically(path, self.text().as_bytes(), files::PRIVATE);
        }
        Err(Failure::new(Code::Invalid, format!("`{}` cannot be edited key by key", path.display()))
            .cause("in its front matter, a key spans more than one line `key: value`")
            .hint("write each key as `key: value` on its own line, then run this again"))
    }
}

/// A value as one line of YAML that every parser reads the same way: a plain word if that is safe, otherwise JSON.
fn inline_yaml(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let safe = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
            let word = text.chars().all(safe) && text.starts_with(|c: char| c.is_ascii_alphabetic());
            let reserved = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
            let bare = word && !reserved.contains(&text.to_ascii_lowercase().as_str());
            if bare { text.clone() } else { serde_json::Value::from(text.as_str()).to_string() }
        }
        Value::Sequence(items) => format!("[{}]", items.iter().map(inline_yaml).collect::<Vec<_>>().join(", ")),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        _ => "null".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests write files as others would
mod tests {
    use super::*;
    use tempfile::TempDir;

    const TEXT: &str = "---\n# mine\nprovider_configured: false\nowner: me # kept\nmachine_classes:\n- a\n- b\nzone: z\n---\n\n# Lab\n\nMy own words.\n\n---\n\n## Current Status\n\nold\n\n## Notes\n\nkeep\n";

    #[test]
    fn state_change_touches_only_its_lines() {
        let mut state = State::parse("s", TEXT).unwrap();
        state.set("provider_configured", true);
        state.add_to_list("machine_classes", "c");
        state.set("new", "name == \"x\"");
        state.set_section("Current Status", "new\n");
        let expected = TEXT
            .replace("provider_configured: false", "provider_configured: true")
            .replace("machine_classes:\n- a\n- b", "machine_classes: [a, b, c]")
            .replace("zone: z\n", "zone: z\nnew: \"name == \\\"x\\\"\"\n")
            .replace("old", "new");
        assert_eq!(state.text(), expected);
        let again = State::parse("s", &state.text()).unwrap();
        assert_eq!(again.get("new").as_deref(), Some("name == \"x\""));
        assert_eq!(again.list("machine_classes"), ["a", "b", "c"]);
        assert_eq!(again.get("owner").as_deref(), Some("me"));
    }

    #[test]
    fn strings_stay_strings() {
        for text in ["yes", "12", "1.5", "null", "a: b", "2026-11-22T03:00:00Z", "- x", "", "https://a.b:8006"] {
            let mut state = State::default();
            state.set("k", text);
            let again = State::parse("s", &state.text()).unwrap();
            assert_eq!(again.values.get("k"), Some(&Value::from(text)), "{}", state.text());
        }
    }

    #[test]
    fn state_file_that_is_broken_is_an_error_and_stays() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("state.md");
        for (text, place) in [("---\na: [\n---\n", "s:"), ("no front matter\n", "s:1:1"), ("---\na: 1\n", "s:1:1")] {
            std::fs::write(&path, text).unwrap();
            let failure = State::load(&path, "s").unwrap_err();
            assert!(failure.message.starts_with(place), "{failure}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn state_in_flow_style_is_not_edited() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("state.md");
        for front in ["\"a\": 1", "{b: 2}", "a:\n# c\n- x"] {
            let text = format!("---\n{front}\n---\n");
            std::fs::write(&path, &text).unwrap();
            let mut state = State::load(&path, "s").unwrap();
            state.set("a", "new");
            let saved = state.save(&path);
            let now = std::fs::read_to_string(&path).unwrap();
            assert!(saved.is_err() && now == text || State::load(&path, "s").is_ok(), "{front}: {now}");
        }
    }

    #[test]
    fn unchanged_state_is_not_written() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("sub/state.md");
        State::default().save(&path).unwrap();
        assert!(!path.exists());
        let mut state = State::default();
        state.set("a", 1);
        state.save(&path).unwrap();
        assert_eq!(files::mode(&path), Some(0o600));
        assert_eq!(State::load(&path, "s").unwrap().get("a").as_deref(), Some("1"));
    }
}
