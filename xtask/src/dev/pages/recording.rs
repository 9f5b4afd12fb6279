//! Recordings: what a task really printed, shown in the README between markers.
//!
//! ```text
//! <!-- recording: rehearse -->
//! (a fenced block, generated)
//! <!-- /recording -->
//! ```
//!
//! `docs/recordings/NAME.txt` holds one; `cargo xtask docs --record` records them again. `--check` holds the page to the
//! recording, not the recording to a run: times and names differ in every one.

use std::collections::BTreeMap;

/// A task whose output pages show.
#[derive(Debug, Clone, Copy)]
pub struct Recording {
    pub name: &'static str,
    /// The words after `cargo xtask`. It must need nothing but the lab.
    pub words: &'static [&'static str],
}

/// All recordings. A new one is a row here.
pub const RECORDINGS: &[Recording] = &[Recording { name: "rehearse", words: &["rehearse"] }];

const BEGIN: &str = "<!-- recording: ";
const END: &str = "<!-- /recording -->";

/// `page` with every recording between its markers. A page without markers stays as it is, and so does what stands
/// between the markers of one that was not recorded yet.
///
/// # Errors
/// When a marker is not closed, or names a recording that there is not.
pub fn insert(page: Option<&str>, recordings: &BTreeMap<String, String>) -> Result<String, String> {
    let page = page.ok_or("the file is not there")?;
    let (mut text, mut rest) = (String::new(), page);
    while let Some(at) = rest.find(BEGIN) {
        let after = &rest[at + BEGIN.len()..];
        let (name, tail) = after.split_once(" -->").ok_or("a recording's marker is not closed by ` -->`")?;
        if !RECORDINGS.iter().any(|known| known.name == name) {
            let known: Vec<&str> = RECORDINGS.iter().map(|known| known.name).collect();
            return Err(format!("there is no recording `{name}`; there are: {}", known.join(", ")));
        }
        let (old, tail) =
            tail.split_once(END).ok_or_else(|| format!("the recording `{name}` is not closed by `{END}`"))?;
        let block = recordings.get(name).map(|new| format!("\n\n```text\n{}\n```\n\n", new.trim_end()));
        text.push_str(&format!("{}{BEGIN}{name} -->{}{END}", &rest[..at], block.as_deref().unwrap_or(old)));
        rest = tail;
    }
    Ok(text + rest)
}

/// `output` as a page shows it: without colours, without spaces at the ends of lines, and with `root`, where this
/// checkout happens to lie, as a dot. Times stay: they are what a reader wants to know.
pub fn clean(output: &str, root: &str) -> String {
    let plain = console::strip_ansi_codes(output).replace(root, ".");
    let lines: Vec<&str> = plain.lines().map(str::trim_end).collect();
    lines.join("\n").trim().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recordings() -> BTreeMap<String, String> {
        [("rehearse".to_owned(), "ok\n".to_owned())].into()
    }

    #[test]
    fn recordings_stand_between_their_markers() {
        let page = "a\n<!-- recording: rehearse -->\nold\n<!-- /recording -->\nb\n";
        let new = insert(Some(page), &recordings()).unwrap();
        assert_eq!(new, "a\n<!-- recording: rehearse -->\n\n```text\nok\n```\n\n<!-- /recording -->\nb\n");
        assert_eq!(insert(Some(&new), &recordings()).unwrap(), new);
        assert_eq!(insert(Some("plain\n"), &recordings()).unwrap(), "plain\n");
        assert_eq!(insert(Some(page), &BTreeMap::new()).unwrap(), page, "not recorded yet");
        for (bad, why) in [
            ("<!-- recording: x --><!-- /recording -->", "no recording `x`; there are: rehearse"),
            ("<!-- recording: rehearse -->", "not closed"),
            ("<!-- recording: rehearse", "not closed"),
        ] {
            assert!(insert(Some(bad), &recordings()).unwrap_err().contains(why), "{bad}");
        }
    }

    #[test]
    fn a_recording_tells_nothing_of_the_machine_it_was_made_on() {
        let output = "\n  \u{1b}[32mok\u{1b}[0m  written: /home/me/kit/target/x (87 ms)  \n\n";
        assert_eq!(clean(output, "/home/me/kit"), "ok  written: ./target/x (87 ms)\n");
    }
}
