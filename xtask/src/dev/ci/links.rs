//! Links and commands in Markdown: every relative link leads to a file that is there and to a heading that it has, and
//! every `cargo xtask …` names a task that exists. Pure: the texts of all Markdown files and the names of all files in,
//! findings out. Addresses on the network are not looked at.

use std::collections::{BTreeMap, BTreeSet};

use check::Finding;
use domain::nearest::nearest;
use domain::spec::Place;

/// What links may lead to.
pub struct Site<'a> {
    /// Every file and directory of the repository, relative to its root.
    pub files: BTreeSet<String>,
    /// The text of every Markdown file.
    pub pages: BTreeMap<String, String>,
    /// The names of the tasks.
    pub tasks: BTreeSet<&'a str>,
}

/// What is wrong with the links and commands of all pages.
pub fn check(site: &Site<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (page, text) in &site.pages {
        let mut fenced = false;
        for (at, line) in text.lines().enumerate() {
            let place = |column: usize| Place { file: page.clone(), line: at as u32 + 1, column: column as u32 + 1 };
            fenced ^= line.trim_start().starts_with("```");
            if !fenced {
                for (column, target) in targets(line) {
                    findings.extend(broken(site, page, target, place(column)));
                }
            }
            for (column, task) in commands(line) {
                if !site.tasks.contains(task) {
                    let fix = match nearest(task, site.tasks.iter().copied()) {
                        Some(near) => format!("did you mean `cargo xtask {near}`?"),
                        None => "see `cargo xtask --help` for the tasks that there are".to_owned(),
                    };
                    findings.push(Finding::error(
                        "unknown-task",
                        place(column),
                        format!("there is no task `{task}`"),
                        fix,
                    ));
                }
            }
        }
    }
    findings
}

fn broken(site: &Site<'_>, page: &str, target: &str, place: Place) -> Option<Finding> {
    if target.contains("://") || target.starts_with("mailto:") || target.is_empty() {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let full = if path.is_empty() { page.to_owned() } else { resolve(page, path) };
    if !site.files.contains(full.trim_end_matches('/')) {
        let message = format!("the link `{target}` leads nowhere: there is no `{full}`");
        let name = full.rsplit('/').next().unwrap_or(&full);
        let same = site.files.iter().find(|file| file.rsplit('/').next() == Some(name));
        let fix = same.map_or("mend the path, or take the link out".to_owned(), |file| format!("is `{file}` meant?"));
        return Some(Finding::error("broken-link", place, message, fix));
    }
    let text = site.pages.get(&full).filter(|_| !anchor.is_empty())?;
    let anchors = anchors(text);
    if anchors.contains(anchor) {
        return None;
    }
    let near = nearest(anchor, anchors.iter().map(String::as_str));
    let fix = near.map_or("link to one of its headings".to_owned(), |near| format!("is `#{near}` meant?"));
    Some(Finding::error("broken-anchor", place, format!("`{full}` has no heading for `#{anchor}`"), fix))
}

/// `path` seen from the directory of `page`, with `.` and `..` resolved.
fn resolve(page: &str, path: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The targets of inline links outside code spans, with their columns.
fn targets(line: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut code = false;
    for (at, c) in line.char_indices() {
        code ^= c == '`';
        let Some(rest) = line[at..].strip_prefix("](").filter(|_| !code) else { continue };
        if let Some(end) = rest.find([')', ' ']) {
            found.push((line[..at + 2].chars().count(), rest[..end].trim_matches(['<', '>'])));
        }
    }
    found
}

/// The task names after `cargo xtask `, with their columns; what starts with a capital, `<`, `-`, `[` or `…` is a
/// placeholder or an option.
fn commands(line: &str) -> Vec<(usize, &str)> {
    const CALL: &str = "cargo xtask ";
    let found = line.match_indices(CALL).filter_map(|(at, _)| {
        let start = at + CALL.len();
        let rest = &line[start..];
        let end =
            rest.find(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')).unwrap_or(rest.len());
        let name = rest[..end].trim_end_matches('-');
        // `stack-*` stands for several.
        let whole = !rest[end..].starts_with(['*', '_', '{']) && name.len() == end;
        (whole && name.starts_with(|c: char| c.is_ascii_lowercase())).then_some((line[..start].chars().count(), name))
    });
    found.collect()
}

/// The anchors that GitHub gives to the headings of a page: lower case, spaces as dashes, no punctuation; a second
/// heading of the same text gets `-1`.
pub fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut fenced = false;
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        let title = line.trim_start_matches('#');
        if fenced || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let keep = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let slug: String =
            title.trim().to_lowercase().chars().filter(keep).map(|c| if c == ' ' { '-' } else { c }).collect();
        let count = seen.entry(slug.clone()).or_default();
        anchors.insert(if *count == 0 { slug } else { format!("{slug}-{count}") });
        *count += 1;
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let pages = [("docs/a.md", text), ("docs/b.md", "# The title\n\n## `omni` & 2 more!\n\n## Fix\n\n## Fix\n")];
        let pages: BTreeMap<String, String> =
            pages.iter().map(|(path, text)| ((*path).into(), (*text).into())).collect();
        let files = ["docs", "docs/a.md", "docs/b.md", "docker", "docker/compose.yaml"].map(String::from).into();
        let site = Site { files, pages, tasks: ["rehearse", "provider-setup"].into() };
        check(&site).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        let text = "[b](b.md) [c](../docker/compose.yaml) [d](b.md#the-title) [e](#top) [w](https://x.y/z)\n# Top\n\
            [two](b.md#omni--2-more) [fix](b.md#fix-1) [dir](../docker/) `[no](link.md)` cargo xtask rehearse, `cargo xtask <task>`\n\
            ```text\n[not](a-link.md)\n```\n`cargo xtask stack-*` cargo xtask provider-setup --yes\n";
        assert_eq!(found(text), Vec::<String>::new());
    }

    #[test]
    fn each_broken_one_is_named_with_its_place_and_a_way_out() {
        for (text, place, fix) in [
            ("\nsee [b](c.md)", "docs/a.md:2:9: error[broken-link]", "mend the path"),
            ("[b](compose.yaml)", "docs/a.md:1:5: error[broken-link]", "`docker/compose.yaml` meant?"),
            ("[b](b.md#the-titel)", "docs/a.md:1:5: error[broken-anchor]", "`#the-title` meant?"),
            ("[b](#nothing)", "docs/a.md:1:5: error[broken-anchor]", "link to one"),
            ("run cargo xtask provider-stup", "docs/a.md:1:17: error[unknown-task]", "cargo xtask provider-setup`?"),
            ("```sh\ncargo xtask frobnicate\n```", "docs/a.md:2:13: error[unknown-task]", "--help"),
        ] {
            let all = found(text);
            assert_eq!(all.len(), 1, "{text}: {all:?}");
            assert!(all[0].starts_with(place) && all[0].contains(fix), "{}", all[0]);
        }
    }
}
