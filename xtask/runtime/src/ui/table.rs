//! Tables: columns padded to their widest cell and wrapped to the terminal's width, with colored states.

use std::borrow::Cow;
use std::sync::LazyLock;

use crate::settings::environment;
use console::{Term, measure_text_width, style};
use regex::{Captures, Regex};
use textwrap::{Options, WordSplitter, wrap};

/// A column is never narrower than its longest word, up to this many characters.
const WORD: usize = 24;

/// Rows under a header, two spaces apart; the last column is not padded. On a terminal, or if `COLUMNS` sets a width, the
/// widest columns are wrapped.
pub fn table(header: &[&str], rows: impl IntoIterator<Item = impl AsRef<[String]>>) -> String {
    let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.as_ref().to_vec()).collect();
    let given = environment("COLUMNS").and_then(|columns| columns.parse().ok());
    let terminal = || Some(Term::stdout()).filter(Term::is_term)?.size_checked().map(|(_, columns)| columns.into());
    render(header, &rows, given.or_else(terminal).filter(|columns| *columns > 0))
}

fn render(header: &[&str], rows: &[Vec<String>], limit: Option<usize>) -> String {
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&header).chain(rows).collect();
    let columns = all.iter().map(|row| row.len()).max().unwrap_or(0);
    let most = |column: usize, width: fn(&str) -> usize| {
        all.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or(0)
    };
    let word = |cell: &str| cell.split_whitespace().map(measure_text_width).max().unwrap_or(0).min(WORD);
    let mut widths: Vec<usize> = (0..columns).map(|column| most(column, measure_text_width)).collect();
    let mut over = limit.map_or(0, |limit| (widths.iter().sum::<usize>() + 2 * columns).saturating_sub(limit + 2));
    while over > 0
        && let Some(widest) = (0..columns).filter(|at| widths[*at] > most(*at, word)).max_by_key(|at| widths[*at])
    {
        widths[widest] -= 1;
        over -= 1;
    }
    let mut text = String::new();
    for row in all {
        let cells: Vec<Vec<Cow<'_, str>>> = row.iter().zip(&widths).map(|(cell, width)| lines(cell, *width)).collect();
        for at in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            let mut line = String::new();
            for (cell, width) in cells.iter().zip(&widths) {
                let part = cell.get(at).map_or("", AsRef::as_ref);
                line.push_str(part);
                line.push_str(&" ".repeat((width + 2).saturating_sub(measure_text_width(part))));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    text
}

fn lines(cell: &str, width: usize) -> Vec<Cow<'_, str>> {
    match measure_text_width(cell) > width {
        true => wrap(cell, Options::new(width).word_splitter(WordSplitter::NoHyphenation)),
        false => vec![Cow::Borrowed(cell)],
    }
}

/// `text` with the states of its cells, and usage over 80 %, in color if standard output uses colors.
pub fn colored(text: &str) -> String {
    if console::colors_enabled() { paint(text) } else { text.to_owned() }
}

pub(super) fn paint(text: &str) -> String {
    static STATE: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let bad = r"no|failed|FAILS|broken|MISSING|PoweredOff|Failed|offline|expired|reject|Exited|Dead";
        let open = r"warning|waiting|unknown|Unknown|Pending|Restarting|Created|Scaling\w+|Destroying|being destroyed|Booting|Installing|Configuring|Upgrading|Rebooting";
        let good = r"yes|ok|Running|online|present|match|accept|Up";
        Regex::new(&format!(
            r"(?m)(?P<before>^|  )(?:(?P<bad>{bad})|(?P<open>{open})|(?P<good>{good}))\b|(?P<full>\b(?:8[1-9]|9\d|1\d\d) %|\bnot ready\b)"
        ))
        .ok()
    });
    let Some(state) = STATE.as_ref() else { return text.to_owned() };
    let paint = |found: &Captures<'_>| {
        // A name that begins with such a word is not a state.
        if text[found.get_match().end()..].starts_with('-') {
            return found[0].to_owned();
        }
        let part = |name| found.name(name).map(|part| style(part.as_str()).force_styling(true));
        let painted = part("bad").map(|word| word.red()).or_else(|| part("good").map(|word| word.green()));
        let painted = painted.or_else(|| part("open").or_else(|| part("full")).map(|word| word.yellow()));
        let before = found.name("before").map_or("", |before| before.as_str());
        format!("{before}{}", painted.map(|word| word.to_string()).unwrap_or_default())
    };
    state.replace_all(text, paint).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_aligns_wide_and_colored_cells() {
        let rows = [vec!["é".to_owned(), "1".to_owned()], vec!["\u{1b}[31mred\u{1b}[0m".to_owned(), "2".to_owned()]];
        assert_eq!(render(&["NAME", "N"], &rows, None), "NAME  N\né     1\n\u{1b}[31mred\u{1b}[0m   2\n");
    }
    #[test]
    fn table_wraps_its_widest_columns_to_the_width() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let bar = "█".repeat(24);
        let rows = [row(&["disk-full", &bar, "the disk is full, and nothing is written", "a larger disk"])];
        let wide = render(&["FAULT", "BAR", "DOES", "ENDS"], &rows, Some(120));
        assert_eq!(wide, render(&["FAULT", "BAR", "DOES", "ENDS"], &rows, None));
        let narrow = render(&["FAULT", "BAR", "DOES", "ENDS"], &rows, Some(70));
        assert!(narrow.lines().all(|line| measure_text_width(line) <= 70), "{narrow}");
        let lines: Vec<&str> = narrow.lines().skip(1).collect();
        assert_eq!(lines.len(), 3, "{narrow}");
        assert!(lines[0].starts_with(&format!("disk-full  {bar}  the disk is")), "{narrow}");
        assert!(render(&["A"], &[row(&["x/".repeat(40).as_str()])], Some(30)).lines().all(|line| line.len() <= 30));
    }

    #[test]
    fn states_and_high_usage_are_colored() {
        let red = |word: &str| format!("\u{1b}[31m{word}\u{1b}[0m");
        let shown = paint("pve1  offline  yes\nweb  ScalingUp, not ready  no\nno-1  unknowns  91 %  80 %");
        assert!(shown.starts_with(&format!("pve1  {}  \u{1b}[32myes", red("offline"))), "{shown:?}");
        assert!(shown.contains("\u{1b}[33mScalingUp\u{1b}[0m, \u{1b}[33mnot ready\u{1b}[0m"), "{shown:?}");
        assert!(shown.ends_with("\nno-1  unknowns  \u{1b}[33m91 %\u{1b}[0m  80 %"), "{shown:?}");
        assert!(shown.contains(&format!("  {}\n", red("no"))), "{shown:?}");
    }
}
