//! Links and commands in Markdown: every relative link leads to a file that is there and to a heading that it has, and
//! every `cargo xtask …` names a task that exists. Pure: the texts of all Markdown files and the names of all files in,
//! findings out. Addresses on the network are not looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use check::Finding;
use check::template::clean;
use domain::nearest::nearest;
use domain::spec::Location;

/// What GitHub adds to CommonMark and links may occur in.
const MARKDOWN: Options = Options::ENABLE_TABLES.union(Options::ENABLE_FOOTNOTES);

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
        for (offset, target) in targets(text) {
            findings.extend(broken(site, page, &target, place_of(page, text, offset)));
        }
        for (at, line) in text.lines().enumerate() {
            let place = |column: usize| Location { file: page.clone(), line: at as u32 + 1, column: column as u32 + 1 };
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

fn broken(site: &Site<'_>, page: &str, target: &str, place: Location) -> Option<Finding> {
    if target.contains("://") || target.starts_with("mailto:") || target.is_empty() {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let beside = Path::new(page).parent().unwrap_or(Path::new("")).join(path);
    let full = if path.is_empty() { page.to_owned() } else { clean(&beside).display().to_string() };
    if !site.files.contains(full.trim_end_matches('/')) {
        let message = format!("broken link `{target}`: `{full}` does not exist");
        let name = full.rsplit('/').next().unwrap_or(&full);
        let same = site.files.iter().find(|file| file.rsplit('/').next() == Some(name));
        let fix = same.map_or("fix the path, or remove the link".to_owned(), |file| format!("is `{file}` meant?"));
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

/// The targets of links and images, with their offsets.
fn targets(text: &str) -> Vec<(usize, String)> {
    let links = Parser::new_ext(text, MARKDOWN).into_offset_iter().filter_map(|(event, range)| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
            let at = text[range.clone()].rfind(&*dest_url).unwrap_or(0);
            Some((range.start + at, dest_url.into_string()))
        }
        _ => None,
    });
    links.collect()
}

fn place_of(page: &str, text: &str, offset: usize) -> Location {
    let before = &text[..offset];
    let line = before.rsplit('\n').next().unwrap_or_default();
    let (lines, column) = (before.matches('\n').count(), line.chars().count());
    Location { file: page.to_owned(), line: lines as u32 + 1, column: column as u32 + 1 }
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
    let mut title = None;
    for event in Parser::new_ext(text, MARKDOWN) {
        match (event, &mut title) {
            (Event::Start(Tag::Heading { .. }), _) => title = Some(String::new()),
            (Event::Text(text) | Event::Code(text), Some(title)) => title.push_str(&text),
            (Event::End(TagEnd::Heading(_)), Some(_)) => {
                let slug = slug(&title.take().unwrap_or_default());
                let count = seen.entry(slug.clone()).or_default();
                anchors.insert(if *count == 0 { slug } else { format!("{slug}-{count}") });
                *count += 1;
            }
            _ => {}
        }
    }
    anchors
}

fn slug(title: &str) -> String {
    let keep = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    title.trim().to_lowercase().chars().filter(keep).map(|c| if c == ' ' { '-' } else { c }).collect()
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
    fn existing_links_pass() {
        let text = "[b](b.md) [c](../docker/compose.yaml) [d](b.md#the-title) [e](#top) [w](https://x.y/z)\n# Top\n\
            [two](b.md#omni--2-more) [fix](b.md#fix-1) [dir](../docker/) `[no](link.md)` cargo xtask rehearse, `cargo xtask <task>`\n\
            ```text\n[not](a-link.md)\n```\n`cargo xtask stack-*` cargo xtask provider-setup --yes\n";
        assert_eq!(found(text), Vec::<String>::new());
    }

    #[test]
    fn broken_link_has_place_and_fix() {
        let rows: Vec<[String; 3]> = serde_yaml::from_str(include_str!("../../../tests/fixtures/links.yaml")).unwrap();
        for [text, place, fix] in rows {
            let all = found(&text);
            assert!(all.len() == 1 && all[0].starts_with(&place) && all[0].contains(&fix), "{text}: {all:?}");
        }
    }
}
