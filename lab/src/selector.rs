//! Storage selectors as the provider evaluates them, by the runner's own crate, which is tested against cel-go's results.

/// Returns true if a selector matches a storage. The error is the text that the provider logs.
pub fn matches(selector: &str, storage: &::selector::Storage<'_>) -> Result<bool, String> {
    let program = ::selector::compile(selector).map_err(|error| error.report)?;
    program.matches(storage).map_err(|error| error.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line has an expression and the result of cel-go v0.27: a value, `C:` a compilation error, `E:` an evaluation error.
    #[test]
    fn errors_are_reported_as_cel_go_prints_them() {
        let storage = ::selector::Storage {
            name: "local-lvm",
            node: "pve1",
            storage_type: "lvmthin",
            available_space: 858_993_459_200,
        };
        let mut checked = 0;
        for line in include_str!("selector/truth.jsonl").lines() {
            let [source, expected]: [String; 2] = serde_json::from_str(line).unwrap();
            let got = matches(&source, &storage).map_or_else(|text| text, |value| value.to_string());
            let expected = expected.trim_start_matches("C:").trim_start_matches("E:");
            assert_eq!(got, expected, "{source}");
            checked += 1;
        }
        assert!(checked > 60, "{checked}");
    }
}
