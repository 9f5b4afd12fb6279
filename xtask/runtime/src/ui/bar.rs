//! Bar charts made of characters.

/// A bar of `width` characters: the used part, the added part, and the rest. Both are fractions of the whole; if they exceed
/// it, the bar ends with `!`.
pub fn bar(width: usize, used: f64, added: f64) -> String {
    let cells = |fraction: f64| (fraction.clamp(0.0, 1.0) * width as f64).round() as usize;
    let end = cells(used + added);
    let full = cells(used).min(end);
    // A small value still gets one character.
    let full = if used > 0.0 && full == 0 { 1 } else { full };
    let end = if added > 0.0 { end.max(full + 1).min(width) } else { end.max(full) };
    let full = full.min(end);
    let mut bar = "█".repeat(full) + &"▒".repeat(end - full) + &"░".repeat(width - end);
    if used + added > 1.0 {
        bar.pop();
        bar.push('!');
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_show_what_is_and_what_comes() {
        for (used, added, shown) in [
            (0.0, 0.0, "░░░░░░░░"),
            (0.001, 0.0, "█░░░░░░░"),
            (0.5, 0.0, "████░░░░"),
            (0.5, 0.25, "████▒▒░░"),
            (0.5, 0.001, "████▒░░░"),
            (1.0, 0.0, "████████"),
            (0.9, 0.3, "███████!"),
            (2.0, 0.0, "███████!"),
        ] {
            assert_eq!(bar(8, used, added), shown, "{used} + {added}");
        }
    }
}
