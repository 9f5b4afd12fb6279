//! A recording as an animated SVG: a terminal whose lines appear one after another and scroll. It needs neither scripts nor a
//! separate font, so a README can show it.

use serde_json::{Value, json};

/// Columns and rows of the terminal, and the size of a character in pixels.
const COLUMNS: usize = 112;
const ROWS: usize = 26;
const CHARACTER: (f64, f64) = (7.23, 17.0);
const MARGIN: f64 = 14.0;
/// Seconds for a line of output, for a command, and for the end of the recording.
const LINE: f64 = 0.12;
const COMMAND: f64 = 0.9;
const END: f64 = 6.0;

/// Returns the model of `data/pages/recording.svg.jinja` for a recording made by `cargo xtask docs --record`.
pub fn model(recording: &str) -> Value {
    let mut times = vec![0.3];
    for line in recording.lines() {
        times.push(times[times.len() - 1] + if line.starts_with("$ ") { COMMAND } else { LINE });
    }
    let total = times[times.len() - 1] + END;
    let (width, height) = (COLUMNS as f64 * CHARACTER.0, ROWS as f64 * CHARACTER.1);
    let below = |lines: usize| lines as f64 * CHARACTER.1;
    let pixels = |length: f64| format!("{length:.0}");
    let line = |(at, (line, time)): (usize, (&str, &f64))| {
        json!({
            "text": clip(line), "class": class(line), "at": format!("{:.3}", time / total * 100.0),
            "end": pixels(below(at + 1)), "up": (at >= ROWS).then(|| pixels(below(at + 1 - ROWS))),
            "y": pixels((at as f64 + 0.8) * CHARACTER.1),
        })
    };
    let lines: Vec<Value> = recording.lines().zip(&times[1..]).enumerate().map(line).collect();
    // Without animation, the end is shown.
    let rest = below(lines.len());
    json!({
        "lines": lines, "total": format!("{total:.2}"), "rest": pixels(rest), "last": pixels((height - rest).min(0.0)),
        "margin": MARGIN, "width": pixels(width + 2.0 * MARGIN), "height": pixels(height + 2.0 * MARGIN),
        "inner_width": pixels(width), "inner_height": pixels(height),
    })
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

fn clip(line: &str) -> String {
    match line.char_indices().nth(COLUMNS - 1) {
        Some((end, _)) if line.chars().count() > COLUMNS => format!("{}…", &line[..end]),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dev::pages::render;

    fn svg(recording: &str) -> String {
        render("recording.svg.jinja", model(recording)).unwrap()
    }

    #[test]
    fn svg_escapes_text_and_clips_long_lines() {
        let svg = svg(&format!("$ cargo xtask <x> & y\n  ok       fine\n{}\n", "w".repeat(200)));
        assert!(svg.contains("class=\"c\"") && svg.contains("$ cargo xtask &lt;x&gt; &amp; y"), "{svg}");
        assert!(svg.contains("class=\"k\"") && svg.contains(&format!(">{}…</text>", "w".repeat(COLUMNS - 1))), "{svg}");
    }

    #[test]
    fn svg_scrolls_only_when_the_screen_is_full() {
        assert!(!svg(&"x\n".repeat(ROWS)).contains("translateY(-1"));
        assert_eq!(svg(&"x\n".repeat(ROWS + 3)).matches("translateY(-").count(), 4);
    }
}
