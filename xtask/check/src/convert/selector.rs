//! Converts selectors that filter a list: `storage.filter(s, s.type == "rbd" && s.storage == "vm_ssd")[0].storage`.

/// A selector rewritten for the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    pub text: String,
    /// Reasons, one for each kind of change.
    pub why: Vec<&'static str>,
}

const ONCE: &str = "the provider evaluates the expression once for each storage and picks the first match";
const AVAILABLE: &str = "the provider does not expose `enabled` and `active`; a disabled storage has no free space";
const UNSIGNED: &str = "availableSpace is unsigned, so numbers compared with it need the suffix `u`";

const ANY: &str =
    "it picks the first storage in the list, and Proxmox lists storages in random order: select one by name";

/// The names of the list in the older form.
const LISTS: &[&str] = &["storage", "storages"];

/// Rewrites a selector in the older form; `None` if it is not in that form.
///
/// # Errors
/// Returns why it cannot be rewritten faithfully.
pub fn selector(text: &str) -> Option<Result<Selector, String>> {
    let tokens = selector::words(text)?;
    let mut words = tokens.as_slice();
    // Brackets around the whole expression have no effect.
    while words.first()?.0 == "(" && closing_bracket(words, 0) == Some(words.len() - 1) {
        words = &words[1..words.len() - 1];
    }
    let is_list =
        |n: usize| LISTS.contains(&words[n].0) && n.checked_sub(1).is_none_or(|before| words[before].0 != ".");
    let used = (0..words.len()).find(|n| is_list(*n) && matches!(word_at(words, n + 1), "." | "["))?;
    Some(rewrite_older(text, words, used))
}

fn word_at<'a>(words: &[Word<'a>], n: usize) -> &'a str {
    words.get(n).map_or("", |(word, _)| *word)
}

/// Rewrites an expression whose word `used` is the list, or is named like it.
fn rewrite_older(text: &str, words: &[Word<'_>], used: usize) -> Result<Selector, String> {
    let list = words[used].0;
    let (step, method) = (word_at(words, used + 1), word_at(words, used + 2));
    let calls = word_at(words, used + 3) == "(";
    let field = if step == "[" { unquoted(method) } else { (!calls).then_some(method) };
    if FIELDS.iter().any(|(known, _)| field == Some(*known)) {
        // `storage.type == "rbd"` tests one storage at a time, under that name.
        return rewrite(text, &[(words, list)]);
    }
    if step == "." && matches!(method, "max" | "min" | "sort" | "sortBy" | "orderBy") {
        return Err(format!(
            "`{list}.{method}` selects by size, which the provider does not support: select the storage by name"
        ));
    }
    // `size(storage.filter(…)) > 0` tests the same as `storage.exists(…)`.
    let words = match (used, word_at(words, 0), closing_bracket(words, 1)) {
        (0, ..) => words,
        (2, "size", Some(end)) if is_nonempty_test(&words[end + 1..]) => &words[2..end],
        _ => return Err(format!("`{list}` within an expression has no counterpart")),
    };
    let mut parts = Vec::new();
    let mut at = 1;
    while let (".", method @ ("filter" | "exists" | "find"), "(", variable, ",") = (
        word_at(words, at),
        word_at(words, at + 1),
        word_at(words, at + 2),
        word_at(words, at + 3),
        word_at(words, at + 4),
    ) {
        let close = closing_bracket(words, at + 2).ok_or("a bracket is not closed")?;
        parts.push((&words[at + 5..close], variable));
        at = close + 1;
        if method != "filter" {
            break;
        }
    }
    let rest = &words[at..];
    let shown = rest.iter().map(|(word, _)| *word).collect::<String>();
    if parts.is_empty() {
        let first = rest.first().is_some_and(|(word, _)| *word == "[") || matches!(method, "map" | "first");
        return Err(match first {
            true => format!("`{list}{shown}`: {ANY}"),
            false => format!("`{list}.{method}` has no counterpart: the provider evaluates one storage at a time"),
        });
    }
    if !takes_first(rest) {
        return Err(format!("`{list}.{method}(…){shown}` has no counterpart"));
    }
    rewrite(text, &parts)
}

/// Returns true if the part after a filter takes its first storage, or tests whether there is one.
fn takes_first(rest: &[Word<'_>]) -> bool {
    let words: Vec<&str> = rest.iter().map(|(word, _)| *word).collect();
    let words = match words.as_slice() {
        // `.map(s, s.storage)` before the first item is taken gives the name of the first storage.
        [".", "map", "(", a, ",", b, ".", "storage" | "name", ")", rest @ ..] if a == b => rest,
        words => words,
    };
    let words = match words {
        [".", "first", "(", ")", rest @ ..] | ["[", "0", "]", rest @ ..] => rest,
        [".", "size", "(", ")", ..] => return is_nonempty_test(&rest[4..]),
        words => words,
    };
    matches!(words, [] | [".", "storage" | "name"])
        || matches!(words, ["[", key, "]"] if matches!(unquoted(key), Some("storage" | "name")))
}

/// Returns true for `> 0` and its equivalents.
fn is_nonempty_test(rest: &[Word<'_>]) -> bool {
    let words: Vec<&str> = rest.iter().map(|(word, _)| *word).collect();
    matches!(words.as_slice(), [">" | "!=", "0"] | [">=", "1"])
}

/// Returns the text of a string literal without escapes.
fn unquoted(literal: &str) -> Option<&str> {
    let inner = literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let inner = inner.or_else(|| literal.strip_prefix('\'')?.strip_suffix('\''));
    inner.filter(|inner| !inner.contains('\\'))
}

/// Returns the index of the bracket that closes the one at `open`.
fn closing_bracket(words: &[Word<'_>], open: usize) -> Option<usize> {
    let mut depth = 0;
    for (n, (word, _)) in words.iter().enumerate().skip(open) {
        match *word {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth -= 1;
                if depth == 0 {
                    return Some(n);
                }
            }
            _ => {}
        }
    }
    None
}

type Word<'a> = (&'a str, std::ops::Range<usize>);

/// Fields of a storage in the older form, in Proxmox's API and in the provider, with the provider's name; the provider does not
/// have the two flags.
const FIELDS: &[(&str, &str)] = &[
    ("type", "storageType"),
    ("plugintype", "storageType"),
    ("storageType", "storageType"),
    ("storage", "name"),
    ("name", "name"),
    ("node", "node"),
    ("avail", "availableSpace"),
    ("available", "availableSpace"),
    ("availableSpace", "availableSpace"),
    ("enabled", FLAG),
    ("active", FLAG),
];
const FLAG: &str = "availableSpace > 0u";

/// Combines the conditions of a chain, each with its variable, into one.
fn rewrite(source: &str, parts: &[(&[Word<'_>], &str)]) -> Result<Selector, String> {
    let mut why = vec![ONCE];
    let mut texts = Vec::new();
    for (words, variable) in parts {
        let (text, flags) = rewrite_condition(source, words, variable)?;
        why.extend(flags.then_some(AVAILABLE));
        texts.push(text);
    }
    let mut text = match texts.as_slice() {
        [one] => one.clone(),
        several => several.iter().map(|text| format!("({text})")).collect::<Vec<_>>().join(" && "),
    };
    if let Err(error) = selector::compile(&text) {
        text = unsigned(&text).unwrap_or(text);
        selector::compile(&text)
            .map_err(|_| format!("the remaining expression does not compile: {}", error.message))?;
        why.push(UNSIGNED);
    }
    if !selector::compile(&text).is_ok_and(|program| program.uses_storage()) {
        return Err(ANY.to_owned());
    }
    why.dedup();
    Ok(Selector { text, why })
}

/// Rewrites a condition on `variable` into the provider's form, and returns whether it tests a flag.
fn rewrite_condition(source: &str, words: &[Word<'_>], variable: &str) -> Result<(String, bool), String> {
    let (mut out, mut flags) = (String::new(), false);
    let mut last = words.first().map_or(0, |w| w.1.start);
    let mut n = 0;
    while n < words.len() {
        let (word, range) = &words[n];
        if *word != variable || n > 0 && words[n - 1].0 == "." {
            out.push_str(&source[last..range.end]);
            last = range.end;
            n += 1;
            continue;
        }
        let (field, width) = match words.get(n + 1..).unwrap_or_default() {
            [(".", _), (field, _), ..] => (*field, 3),
            [("[", _), (key, _), ("]", _), ..] if unquoted(key).is_some() => (unquoted(key).unwrap_or_default(), 4),
            _ => return Err(format!("`{variable}` is used as a value, but it does not exist")),
        };
        let Some((_, new)) = FIELDS.iter().find(|(old, _)| *old == field) else {
            return Err(format!(
                "`{variable}.{field}` is not available: a selector has only name, node, type and free space"
            ));
        };
        out.push_str(&source[last..range.start]);
        let mut next = n + width;
        if *new == FLAG {
            flags = true;
            next = rewrite_flag(words, n, next, &mut out).map_err(|why| format!("{why} `{variable}.{field}`"))?;
        }
        out.push_str(new);
        last = words[next - 1].1.end;
        n = next;
    }
    let mut text = out.trim().to_owned();
    let twice = "availableSpace > 0u && availableSpace > 0u";
    while text.contains(twice) {
        text = text.replace(twice, FLAG);
    }
    Ok((text, flags))
}

/// Consumes a flag that is alone or is compared with an equivalent value. `at..end` is its range; a preceding comparison is
/// removed from `out`. Returns the end of its comparison.
fn rewrite_flag(words: &[Word<'_>], at: usize, end: usize, out: &mut String) -> Result<usize, &'static str> {
    const COMPARED: &str = "the comparison is unclear: it uses";
    let negated =
        (0..at).any(|n| words[n].0 == "!" && (n + 1 == at || closing_bracket(words, n + 1).is_some_and(|c| c > at)));
    if negated {
        return Err("selectors have no such field, and a full storage would match too: the negation of");
    }
    let boundary = |word: &str| matches!(word, "" | "&&" | "||" | "(" | ")" | "," | "[" | "]" | "?" | ":");
    let before = at.checked_sub(1).map_or("", |n| words[n].0);
    let end = match (word_at(words, end), word_at(words, end + 1)) {
        ("==", "true" | "1") | ("!=", "false" | "0") | (">", "0") | (">=", "1") => end + 2,
        _ => end,
    };
    if !boundary(word_at(words, end)) || word_at(words, end) == "?" {
        return Err(COMPARED);
    }
    if boundary(before) {
        return Ok(end);
    }
    let turned = at.checked_sub(2).map(|n| words[n].0);
    let first = at.checked_sub(3).map_or("", |n| words[n].0);
    if before == "==" && matches!(turned, Some("true" | "1")) && boundary(first) {
        let kept = out.trim_end().trim_end_matches("==").trim_end();
        let kept = kept.strip_suffix("true").or_else(|| kept.strip_suffix('1')).unwrap_or(kept);
        out.truncate(kept.len());
        return Ok(end);
    }
    Err(COMPARED)
}

/// Adds a `u` to every plain number; a number such as `1e11` is written in digits.
fn unsigned(text: &str) -> Option<String> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let mut out = String::new();
    let mut last = 0;
    for (word, range) in selector::words(text)? {
        out.push_str(&text[last..range.start]);
        last = range.end;
        let number = word.starts_with(|c: char| c.is_ascii_digit()).then(|| word.parse::<f64>().ok()).flatten();
        match number.filter(|number| number.fract() == 0.0 && *number < EXACT) {
            _ if word.bytes().all(|b| b.is_ascii_digit()) => out.push_str(&format!("{word}u")),
            Some(number) => out.push_str(&format!("{}u", number as u64)),
            None => out.push_str(word),
        }
    }
    out.push_str(&text[last..]);
    Some(out)
}
