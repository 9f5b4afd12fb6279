//! A recording as an animated SVG: a terminal whose lines appear one after another and scroll. It needs no script and no
//! font of its own, so that a README can show it.

use std::fmt::Write;

/// Columns and rows of the terminal, and the size of one character in pixels.
const COLUMNS: usize = 112;
const ROWS: usize = 26;
const CHARACTER: (f64, f64) = (7.23, 17.0);
const MARGIN: f64 = 14.0;
/// Seconds that a line of output and a command take, and that the end stays.
const LINE: f64 = 0.12;
const COMMAND: f64 = 0.9;
const END: f64 = 6.0;

/// The SVG of a recording, as [`super::recording::clean`] left it.
pub fn render(recording: &str) -> String {
    let lines: Vec<String> = recording.lines().map(clipped).collect();
    let mut times = Vec::new();
    let mut now = 0.3;
    for line in &lines {
        now += if line.starts_with("$ ") { COMMAND } else { LINE };
        times.push(now);
    }
    let total = now + END;
    let (width, height) = (COLUMNS as f64 * CHARACTER.0 + 2.0 * MARGIN, ROWS as f64 * CHARACTER.1 + 2.0 * MARGIN);
    // Without animation the end is shown.
    let rest = lines.len() as f64 * CHARACTER.1;
    let last = (ROWS as f64 * CHARACTER.1 - rest).min(0.0);
    let percent = |time: f64| time / total * 100.0;
    let (mut scroll, mut reveal) =
        ["0% { transform: none; }\n".to_owned(), "0% { transform: none; }\n".to_owned()].into();
    for (at, time) in times.iter().enumerate() {
        let end = (at + 1) as f64 * CHARACTER.1;
        let _ = writeln!(reveal, "{:.3}% {{ transform: translateY({end:.0}px); }}", percent(*time));
        if at >= ROWS {
            let up = (at + 1 - ROWS) as f64 * CHARACTER.1;
            let _ = writeln!(scroll, "{:.3}% {{ transform: translateY(-{up:.0}px); }}", percent(*time));
        }
    }
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" role=\"img\" \
         aria-label=\"A terminal that runs cargo xtask rehearse\">\n<style>\n\
         text {{ font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #d0d7de; white-space: pre; }}\n\
         .c {{ fill: #ffffff; font-weight: bold; }} .k {{ fill: #3fb950; }} .g {{ fill: #d29922; }} .n {{ fill: #58a6ff; }}\n\
         .scroll {{ transform: translateY({last:.0}px); animation: scroll {total:.2}s step-end infinite; }}\n\
         .cover {{ fill: #0d1117; transform: translateY({rest:.0}px); animation: reveal {total:.2}s step-end infinite; }}\n\
         @media (prefers-reduced-motion) {{ .scroll, .cover {{ animation: none; }} }}\n\
         @keyframes scroll {{\n{scroll}}}\n@keyframes reveal {{\n{reveal}}}\n</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#0d1117\"/>\n\
         <svg x=\"{MARGIN}\" y=\"{MARGIN}\" width=\"{:.0}\" height=\"{:.0}\"><g class=\"scroll\">\n",
        width - 2.0 * MARGIN,
        height - 2.0 * MARGIN
    );
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
        let y = (at as f64 + 0.8) * CHARACTER.1;
        let _ = writeln!(svg, "<text class=\"{}\" y=\"{y:.0}\">{}</text>", class(line), escaped(line));
    }
    let _ = writeln!(svg, "<rect class=\"cover\" width=\"100%\" height=\"{rest:.0}\"/></g></svg>\n</svg>");
    svg
}

fn class(line: &str) -> &'static str {
    let line = line.trim_start();
    match () {
        () if line.starts_with("$ ") => "c",
        () if line.starts_with("ok ") => "k",
        () if line.starts_with("changed ") => "g",
        () if line.starts_with("next:") => "n",
        () => "t",
    }
}

fn clipped(line: &str) -> String {
    match line.char_indices().nth(COLUMNS - 1) {
        Some((end, _)) if line.chars().count() > COLUMNS => format!("{}…", &line[..end]),
        _ => line.to_owned(),
    }
}

fn escaped(line: &str) -> String {
    line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn svg_escapes_text_and_clips_long_lines() {
        let svg = render(&format!("$ cargo xtask <x> & y\n  ok       fine\n{}\n", "w".repeat(200)));
        assert!(svg.contains("class=\"c\"") && svg.contains("$ cargo xtask &lt;x&gt; &amp; y"), "{svg}");
        assert!(svg.contains("class=\"k\"") && svg.contains(&format!(">{}…</text>", "w".repeat(COLUMNS - 1))), "{svg}");
    }

    #[test]
    fn svg_scrolls_only_when_the_screen_is_full() {
        assert!(!render(&"x\n".repeat(ROWS)).contains("translateY(-1"));
        assert_eq!(render(&"x\n".repeat(ROWS + 3)).matches("translateY(-").count(), 4);
    }
}
