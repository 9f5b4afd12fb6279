//! The rows below the spinner: what a long step is waiting for, one per line.

use console::truncate_str;

use super::plain::shown;

/// A row below the spinner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub text: String,
    /// Whether this item is finished; `None` for a heading.
    pub finished: Option<bool>,
}

/// The characters of a tree.
const BRANCHES: [char; 5] = ['│', '├', '└', '─', ' '];

impl Row {
    pub fn new(text: impl Into<String>, finished: Option<bool>) -> Row {
        Row { text: text.into(), finished }
    }

    /// The text without the tree's branches.
    pub fn without_branches(&self) -> &str {
        self.text.trim_start_matches(BRANCHES)
    }
}

/// The lines that fit into `height` and `width`. If there is no room for all rows, headings are omitted, unfinished rows come
/// first, and the others are counted.
pub(super) fn fit_rows(rows: &[Row], height: usize, width: usize) -> Vec<String> {
    let line = |text: &str| truncate_str(&shown(text).replace(['\n', '\t'], " "), width, "…").into_owned();
    if rows.len() <= height {
        return rows.iter().map(|row| line(&row.text)).collect();
    }
    let of = |finished: bool| rows.iter().filter(move |row| row.finished == Some(finished));
    let room = height.saturating_sub(1);
    let mut lines: Vec<String> = of(false).chain(of(true)).take(room).map(|row| line(row.without_branches())).collect();
    let (left, all) = (of(false).count().saturating_sub(room), of(false).count() + of(true).count());
    let more = all.saturating_sub(room);
    let finished = if left == 0 { "all finished".to_owned() } else { format!("{left} not finished") };
    lines.push(line(&format!("and {more} more, {finished}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_room_begin_with_the_unfinished() {
        let set = Row::new("└── web-workers  ScalingUp", None);
        let machines = (0..6).map(|at| Row::new(format!("    ├── web-workers-{at}  state"), Some(at % 2 == 0)));
        let rows: Vec<Row> = [set].into_iter().chain(machines).collect();
        let all = fit_rows(&rows, 7, 80);
        assert_eq!((all.len(), all[0].as_str()), (7, "└── web-workers  ScalingUp"));
        assert_eq!(
            fit_rows(&rows, 3, 80),
            ["web-workers-1  state", "web-workers-3  state", "and 4 more, 1 not finished"]
        );
        assert_eq!(fit_rows(&rows, 5, 80)[3..], ["web-workers-0  state", "and 2 more, all finished"]);
        assert_eq!(fit_rows(&rows, 3, 12)[0], "web-workers…");
        assert_eq!(fit_rows(&rows, 0, 12).len(), 1);
    }
}
