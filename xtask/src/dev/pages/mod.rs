//! The generated pages: each is a function of the code and of data, and of the file as it is where only a region of it
//! is generated. `cargo xtask docs` writes them, `--check` compares them.

pub mod aliases;
pub mod checks;
pub mod commands;
pub mod faults;
pub mod issues;
pub mod man;
pub mod recording;
pub mod svg;
pub mod tasks;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::flow::fleet;
use domain::status::proxmox::Inventory;

/// Makes the whole file, from the file as it is; `None` where there is none.
type Render = dyn Fn(Option<&str>, &Inputs) -> Result<String, String> + Send + Sync;

/// What is rendered, and from what.
pub struct Page {
    /// Relative to the project root.
    pub path: String,
    /// Where to change what it says.
    pub source: &'static str,
    render: Box<Render>,
}

/// What pages are made of beside the code.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The recordings, by name: what a task printed when it was run against the lab.
    pub recordings: BTreeMap<String, String>,
    /// The lab's table of faults, as it stands in its file.
    pub faults: String,
    /// The inventory of a lab, as `proxmox-inventory --save` wrote it.
    pub fleet: String,
}

/// Where that inventory is.
pub const FLEET: &str = "docs/recordings/fleet.json";

/// All generated pages. A new one is a row here.
pub static PAGES: LazyLock<Vec<Page>> = LazyLock::new(|| {
    let command = |entry: &'static commands::Entry| {
        page(&format!("commands/{}.md", entry.task), commands::SOURCE, move |_, _| entry.page())
    };
    let mut pages = vec![
        page("docs/reference/tasks.md", "xtask/src/cli.rs", |_, _| Ok(tasks::render())),
        page("docs/reference/checks.md", "xtask/data/rules.yaml", |_, _| Ok(checks::render())),
        page("docs/reference/xtask.1", "xtask/src/cli.rs", |_, _| man::render()),
        page("mise.toml", "xtask/src/cli.rs", |old, _| {
            between(old.ok_or("the file is not there")?, aliases::BEGIN, aliases::END, &aliases::render())
        }),
        page("docker/TROUBLESHOOTING.md", "xtask/data/known-issues.yaml", |old, _| {
            let issues = issues::page(runtime::triage::Issues::read()?.list());
            splice(old.ok_or("the file is not there")?, "known-issues", &issues)
        }),
        page("skills/omni-proxmox/references/troubleshooting.md", "xtask/data/known-issues.yaml", |_, _| {
            Ok(issues::reference(runtime::triage::Issues::read()?.list()))
        }),
        page("docs/reference/faults.md", faults::SOURCE, |_, inputs| faults::render(&inputs.faults)),
        page("docs/tutorial/rehearsal.md", "docs/recordings/", |old, inputs| {
            recording::insert(old, &inputs.recordings)
        }),
        page("docs/recordings/rehearse.svg", "docs/recordings/", |_, inputs| {
            Ok(svg::render(inputs.recordings.get("rehearse").ok_or("it was not recorded yet")?))
        }),
        page("docs/recordings/fleet.svg", FLEET, |_, inputs| {
            let inventory = Inventory::parse(&inputs.fleet).map_err(|why| format!("{FLEET}: {why}"))?;
            fleet::picture(&fleet::of_inventory(&inventory)).map_err(|failure| failure.to_string())
        }),
    ];
    pages.extend(commands::COMMANDS.iter().map(command));
    pages
});

fn page(
    path: &str,
    source: &'static str,
    render: impl Fn(Option<&str>, &Inputs) -> Result<String, String> + Send + Sync + 'static,
) -> Page {
    Page { path: path.to_owned(), source, render: Box::new(render) }
}

impl Page {
    /// The file as it should be.
    ///
    /// # Errors
    /// Why it cannot be made: a marker or a recording is missing, or data is broken.
    pub fn rendered(&self, old: Option<&str>, inputs: &Inputs) -> Result<String, String> {
        (self.render)(old, inputs)
    }
}

/// `old` with the text between `<!-- name:begin -->` and `<!-- name:end -->` replaced by `body`.
///
/// # Errors
/// When a marker is missing, or they stand the wrong way round.
pub fn splice(old: &str, name: &str, body: &str) -> Result<String, String> {
    let (begin, end) = (format!("<!-- {name}:begin -->"), format!("<!-- {name}:end -->"));
    between(old, &begin, &end, &format!("\n\n{}\n\n", body.trim()))
}

/// `old` with everything between the markers replaced by `body`.
fn between(old: &str, begin: &str, end: &str, body: &str) -> Result<String, String> {
    let missing = |marker: &str| format!("its line `{marker}` is missing");
    let (head, rest) = old.split_once(begin).ok_or_else(|| missing(begin))?;
    let (_, tail) = rest.split_once(end).ok_or_else(|| missing(end))?;
    Ok(format!("{head}{begin}{body}{end}{tail}"))
}

/// The first line that differs, from 1, with both versions of it; `None` when they are the same.
pub fn difference<'a>(old: &'a str, new: &'a str) -> Option<(usize, &'a str, &'a str)> {
    if old == new {
        return None;
    }
    let (mut ours, mut theirs) = (old.lines(), new.lines());
    for at in 1.. {
        let (a, b) = (ours.next(), theirs.next());
        if a != b || a.is_none() {
            return Some((at, a.unwrap_or("(the end)"), b.unwrap_or("(the end)")));
        }
    }
    None
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_replaced_and_the_rest_stays() {
        let old = "a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb\n";
        let new = splice(old, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- x:begin -->\n\nnew\n\n<!-- x:end -->\nb\n");
        assert_eq!(splice(&new, "x", "new").unwrap(), new, "rendering twice changes nothing");
        assert!(splice("no markers", "x", "").unwrap_err().contains("<!-- x:begin -->"));
        assert!(splice("<!-- x:end --><!-- x:begin -->", "x", "").unwrap_err().contains("<!-- x:end -->"));
    }

    #[test]
    fn a_page_has_one_source() {
        let mut paths: Vec<&str> = PAGES.iter().map(|page| page.path.as_str()).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), PAGES.len());
    }

    #[test]
    fn the_first_difference_is_named() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(difference("a\nb\n", "a\nc\n"), Some((2, "b", "c")));
        assert_eq!(difference("a\n", "a\nc\n"), Some((2, "(the end)", "c")));
        assert_eq!(difference("a\n", "a"), Some((2, "(the end)", "(the end)")));
    }
}
