//! "Did you mean …?": suggests the known name that is nearest to a misspelt one.

/// Returns the candidate nearest to `name`, if one is similar enough: case, `-` and `_` do not count, and up to a third of the
/// letters may differ.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = normalize(name);
    if wanted.is_empty() || wanted.len() > 64 {
        return None;
    }
    let limit = (wanted.len() / 3).max(1);
    candidates
        .into_iter()
        // Skip candidates that are too short to be near; longer ones may contain `-` and `_`, which do not count.
        .filter(|c| c.len() + limit >= wanted.len())
        .filter_map(|c| Some((distance(&wanted, &normalize(c), limit)?, c)))
        .filter(|(_, c)| *c != name)
        .min_by_key(|(d, c)| (*d, c.len()))
        .map(|(_, c)| c)
}

/// Returns up to `most` likely candidates, nearest first: those that [`nearest`] accepts, then those that share a word with
/// `name` (words are separated by `-`).
pub fn list_nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
    let wanted = normalize(name);
    if wanted.is_empty() || wanted.len() > 64 {
        return Vec::new();
    }
    let limit = (wanted.len() / 3).max(1);
    let words: Vec<&str> = name.split('-').filter(|word| word.len() > 2).collect();
    let mut found: Vec<(usize, usize, &str)> = Vec::new();
    for candidate in candidates {
        let far = wanted.len() + candidate.len();
        let distance = distance(&wanted, &normalize(candidate), far).unwrap_or(far);
        let shared = candidate.split('-').filter(|word| words.contains(word)).count();
        if distance <= limit || shared > 0 {
            found.push((distance.saturating_sub(limit * shared), distance, candidate));
        }
    }
    found.sort();
    found.into_iter().take(most).map(|(.., candidate)| candidate).collect()
}

/// Returns "did you mean `x`?" for the nearest candidate, or else the list of all known names.
pub fn suggestion(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

fn normalize(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// Returns the edit distance, with a swap of two neighbors, the most frequent typo, counted once; `None` beyond `limit`.
fn distance(a: &str, b: &str, limit: usize) -> Option<usize> {
    (a.len().abs_diff(b.len()) <= limit).then(|| strsim::osa_distance(a, b)).filter(|distance| *distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_misspelled_names() {
        assert_eq!(nearest("providerId", ["providerid", "providerdata"]), Some("providerid"));
        assert_eq!(nearest("storageSelector", ["storage_selector", "node"]), Some("storage_selector"));
        assert_eq!(nearest("vesrion", ["version"]), Some("version"));
        assert_eq!(nearest("frobnicate", ["cores", "memory"]), None);
        assert_eq!(nearest("ab", ["ba", "xy"]), Some("ba"), "a swap counts once");
        assert_eq!(nearest("memory", ["menary", "cores"]), Some("menary"), "a third of the letters");
        assert_eq!(nearest("memory", ["mnnary", "cores"]), None, "half of them");
    }

    #[test]
    fn list_nearest_returns_several_candidates() {
        let known = ["yaml-syntax", "yaml-encoding", "class-type", "class-wrong-type", "template-name"];
        assert_eq!(list_nearest("yaml-sintax", known, 2), ["yaml-syntax", "yaml-encoding"]);
        assert_eq!(list_nearest("wrong-type", known, 3), ["class-wrong-type", "class-type"]);
        assert_eq!(list_nearest("frobnicate", known, 3), Vec::<&str>::new());
        assert_eq!(list_nearest("memory", ["mnnary", "menary"], 3), ["menary"]);
    }
}
