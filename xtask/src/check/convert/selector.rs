//! Selectors that filter a list: `storage.filter(s, s.type == "rbd" && s.storage == "vm_ssd")[0].storage`.

use crate::check::cel;

/// A selector rewritten for the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    pub text: String,
    /// Reasons, one for each kind of change.
    pub why: Vec<&'static str>,
}

const ONCE: &str = "the provider evaluates the expression once for each storage and takes the first that is true";
const AVAILABLE: &str = "the provider does not show `enabled` and `active`; a storage that is off has no free space";
const UNSIGNED: &str = "availableSpace is unsigned, so numbers beside it need a `u`";

/// Rewrites a selector of the older form; `None` if it is not of that form.
///
/// # Errors
/// Why it cannot be rewritten faithfully.
pub fn selector(text: &str) -> Option<Result<Selector, String>> {
    let tokens = cel::words(text)?;
    let words: Vec<&str> = tokens.iter().map(|(word, _)| *word).collect();
    let (list, method, variable) = match words.as_slice() {
        [list @ ("storage" | "storages"), ".", method, "(", variable, ",", ..] => (list, method, variable),
        [list @ ("storage" | "storages"), ".", method, ..] => {
            return Some(Err(format!(
                "`{list}.{method}` has no counterpart: the provider looks at one storage at a time"
            )));
        }
        _ => return None,
    };
    let close = closing(&words)?;
    let (inside, behind) = (&tokens[6..close], &words[close + 1..]);
    let whole = match (*method, behind) {
        ("filter", ["[", "0", "]", ".", "storage" | "name"] | ["[", "0", "]"] | []) => true,
        ("exists", []) => true,
        ("max" | "min" | "sort" | "sortBy" | "orderBy", _) => {
            return Some(Err(format!(
                "`{list}.{method}` picks by size, which the provider cannot: name the storage instead"
            )));
        }
        _ => false,
    };
    if !whole {
        let rest = behind.join("");
        return Some(Err(format!("`{list}.{method}(…){rest}` has no counterpart")));
    }
    Some(rewrite(text, inside, variable))
}

/// The index of the bracket that closes the one behind the method.
fn closing(words: &[&str]) -> Option<usize> {
    let mut depth = 0;
    for (n, word) in words.iter().enumerate().skip(3) {
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

fn rewrite(source: &str, words: &[Word<'_>], variable: &str) -> Result<Selector, String> {
    let mut out = String::new();
    let mut why = vec![ONCE];
    let mut last = words.first().map_or(0, |w| w.1.start);
    let mut n = 0;
    while n < words.len() {
        let (word, range) = &words[n];
        out.push_str(&source[last..range.start]);
        last = range.end;
        let field = match words.get(n + 1..n + 3) {
            Some([(".", _), (field, end)]) if *word == variable => Some((*field, end.end)),
            _ => None,
        };
        let Some((field, end)) = field else {
            if *word == variable {
                return Err(format!("`{variable}` is used as a whole, and there is no such value"));
            }
            out.push_str(word);
            n += 1;
            continue;
        };
        n += 3;
        last = end;
        match field {
            "type" => out.push_str("storageType"),
            "storage" | "name" => out.push_str("name"),
            "node" => out.push_str("node"),
            "avail" | "available" => out.push_str("availableSpace"),
            "enabled" | "active" => {
                if out.trim_end().ends_with('!') {
                    return Err(format!("`!{variable}.{field}` cannot be told: the provider does not show it"));
                }
                // `s.enabled == true` and `s.enabled == 1` say no more than `s.enabled`.
                if let Some([("==", _), ("true" | "1", end)]) = words.get(n..n + 2) {
                    n += 2;
                    last = end.end;
                } else if words.get(n).is_some_and(|(w, _)| matches!(*w, "==" | "!=" | "in")) {
                    return Err(format!("what `{variable}.{field}` is compared with cannot be told to the provider"));
                }
                out.push_str("availableSpace > 0u");
                why.push(AVAILABLE);
            }
            other => {
                return Err(format!(
                    "`{variable}.{other}` cannot be told: the provider shows name, node, type and free space"
                ));
            }
        }
    }
    let mut text = out.trim().to_owned();
    let twice = "availableSpace > 0u && availableSpace > 0u";
    while text.contains(twice) {
        text = text.replace(twice, "availableSpace > 0u");
    }
    if let Err(error) = cel::compile(&text) {
        text = unsigned(&text).unwrap_or(text);
        cel::compile(&text).map_err(|_| format!("what is left of it does not compile: {}", error.message))?;
        why.push(UNSIGNED);
    }
    why.dedup();
    Ok(Selector { text, why })
}

/// Every plain number with a `u`.
fn unsigned(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut last = 0;
    for (word, range) in cel::words(text)? {
        out.push_str(&text[last..range.end]);
        last = range.end;
        if word.bytes().all(|b| b.is_ascii_digit()) {
            out.push('u');
        }
    }
    out.push_str(&text[last..]);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_selectors_become_real_ones() {
        for (old, new) in [
            (
                r#"storage.filter(s, s.type == "rbd" && s.storage == "vm_ssd")[0].storage"#,
                r#"storageType == "rbd" && name == "vm_ssd""#,
            ),
            (
                r#"storage.filter(s, s.type == "lvmthin" && s.enabled && s.active)[0].storage"#,
                r#"storageType == "lvmthin" && availableSpace > 0u"#,
            ),
            (r#"storage.filter(x, x.storage == "local-lvm")[0].storage"#, r#"name == "local-lvm""#),
            (r#"storages.exists(s, s.type in ["zfspool", "dir"])"#, r#"storageType in ["zfspool", "dir"]"#),
            (
                r#"storage.filter(s, s.type == "zfspool" && s.avail > 100000000000)[0].storage"#,
                r#"storageType == "zfspool" && availableSpace > 100000000000u"#,
            ),
            (
                r#"storage.filter(s, s.enabled == true && s.node == "pve1")[0].storage"#,
                r#"availableSpace > 0u && node == "pve1""#,
            ),
        ] {
            let got = selector(old).expect("the older form").expect(old);
            assert_eq!(got.text, new);
            assert!(cel::compile(&got.text).is_ok());
        }
    }

    #[test]
    fn what_has_no_counterpart_is_refused() {
        for old in [
            "storage.max(s, s.avail).storage",
            r#"storage.filter(s, s.content.contains("images"))[0].storage"#,
            r#"storage.filter(s, s.type == "rbd")[1].storage"#,
            r#"storage.filter(s, !s.enabled)[0].storage"#,
            "storage.size() > 1",
            "storage.filter(s, s)[0].storage",
            "storage.filter(s, s.shared == 1)[0].storage",
        ] {
            assert!(selector(old).expect("the older form").is_err(), "{old}");
        }
        assert_eq!(selector(r#"name == "local-lvm""#), None);
        assert_eq!(selector("storage"), None);
    }
}
