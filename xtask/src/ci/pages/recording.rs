//! Recordings: what a task really printed, shown in the README between markers.
//!
//! ```text
//! <!-- recording: rehearse -->
//! (a fenced block, generated)
//! <!-- /recording -->
//! ```
//!
//! `docs/recordings/NAME.txt` holds one; `cargo xtask docs --record` makes them anew. What differs from run to run
//! (times, ports, process ids) is made the same, so that a page changes only when the tasks do.

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

/// `output` with what changes from run to run made the same: durations in parentheses and in tables, loopback ports, the
/// scratch directory, and colours.
pub fn steady(output: &str) -> String {
    let lines = console::strip_ansi_codes(output).lines().map(steady_line).collect::<Vec<_>>();
    lines.join("\n").trim().to_owned() + "\n"
}

fn steady_line(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(steady_word).collect();
    for at in 1..words.len() {
        let unit = words[at].trim_end_matches([')', ':', ',']).to_owned();
        let number = words[at - 1].trim_start_matches('(').to_owned();
        if ["ms", "s", "min"].contains(&unit.as_str())
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        {
            words[at - 1] = words[at - 1].replace(&number, "…");
            words[at] = words[at].replace(&unit, "s");
        }
    }
    // Padding after a shortened time would still tell its length.
    words.join(" ").trim_end().to_owned()
}

fn steady_word(word: &str) -> String {
    let mut word = word.to_owned();
    if let Some(at) = word.find("127.0.0.1:") {
        let port = at + "127.0.0.1:".len();
        let end = word[port..].find(|c: char| !c.is_ascii_digit()).map_or(word.len(), |end| port + end);
        word.replace_range(port..end, "…");
    }
    if let Some(at) = word.find("rehearsal-") {
        let start = at + "rehearsal-".len();
        let end = word[start..].find(|c: char| !c.is_ascii_digit()).map_or(word.len(), |end| start + end);
        if end > start {
            word.replace_range(start..end, "…");
        }
    }
    word
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
    fn what_changes_from_run_to_run_is_made_the_same() {
        let one = "  \u{1b}[32mok\u{1b}[0m  the lab is up: Proxmox https://127.0.0.1:41233, clock 100 (87 ms)\nin 1.4 s: done\nx 1 min 3 s\nt/rehearsal-123/a  \n";
        let two = "  ok  the lab is up: Proxmox https://127.0.0.1:9, clock 100 (1.2 s)\nin 87 ms: done\nx 2 min 14 s\nt/rehearsal-9/a\n";
        assert_eq!(steady(one), steady(two));
        assert!(steady(one).contains("https://127.0.0.1:…, clock 100 (… s)"), "{}", steady(one));
        assert_eq!(steady("cluster 3 s-curve 100"), "cluster 3 s-curve 100\n");
    }
}
