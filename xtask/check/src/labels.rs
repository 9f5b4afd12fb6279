//! Selectors over machine labels, as a class's `matchlabels` has them (siderolabs/omni v1.9.3 client/pkg/cosi/labels).

use std::iter::Peekable;
use std::vec::IntoIter;

/// The label keys in a selector.
///
/// # Errors
/// Omni's message for a selector that cannot be parsed.
pub fn parse(selector: &str) -> Result<Vec<String>, String> {
    let mut tokens = Tokens(lex(selector).into_iter().peekable());
    let mut keys = Vec::new();
    loop {
        match tokens.peek() {
            "" if keys.is_empty() => return Ok(keys),
            first if starts_term(first) => keys.push(tokens.term()?.to_owned()),
            other => return Err(format!("found '{other}', expected: !, identifier, or 'end of string'")),
        }
        match (tokens.next(), tokens.peek()) {
            ("", _) => return Ok(keys),
            (",", next) if starts_term(next) => {}
            (",", other) => return Err(format!("found '{other}', expected: identifier after ','")),
            (other, _) => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
        }
    }
}

const OPS: [&str; 11] = ["!=", "==", ">=", "<=", "=", "!", ">", "<", "(", ")", ","];

fn is_word(token: &str) -> bool {
    !token.is_empty() && !OPS.contains(&token)
}

fn starts_term(token: &str) -> bool {
    token == "!" || is_word(token)
}

fn lex(selector: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = selector.trim_start();
    // Behind an operator, a value runs to the next special character and may hold spaces.
    let mut value = false;
    while !rest.is_empty() {
        let special = |c: char| matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<');
        let end = match OPS.iter().find(|op| rest.starts_with(**op)) {
            Some(op) => {
                value = !matches!(*op, "!" | "(" | ")" | ",");
                op.len()
            }
            None => rest.find(|c: char| special(c) || (c.is_whitespace() && !value)).unwrap_or(rest.len()),
        };
        tokens.push(rest[..end].trim_end());
        rest = rest[end..].trim_start();
    }
    tokens
}

/// Operators and words; the end is an empty one.
struct Tokens<'a>(Peekable<IntoIter<&'a str>>);

impl<'a> Tokens<'a> {
    fn peek(&mut self) -> &'a str {
        self.0.peek().copied().unwrap_or_default()
    }

    fn next(&mut self) -> &'a str {
        self.0.next().unwrap_or_default()
    }

    fn term(&mut self) -> Result<&'a str, String> {
        let unparsed = |what: String| Err(format!("unable to parse term: {what}"));
        let mut key = self.next();
        let negated = key == "!";
        if negated {
            key = self.next();
        }
        if !is_word(key) {
            return unparsed(format!("found '{key}', expected: identifier"));
        }
        match self.peek() {
            "" | "," => return Ok(key),
            other if negated => return unparsed(format!("expected EOF or ',', found {other}")),
            _ => {}
        }
        match self.next() {
            "==" | "=" | "!=" | ">=" | ">" | "<=" | "<" => match self.peek() {
                "" | "," => Ok(key),
                value if is_word(value) => {
                    self.next();
                    Ok(key)
                }
                other => unparsed(format!("found '{other}', expected: identifier")),
            },
            "in" | "notin" => self.values().map(|()| key),
            other => unparsed(format!("found '{other}', expected: ==, =, !=, >=, >, in, notin, <=, <")),
        }
    }

    /// `(a, b)`; empty values are allowed.
    fn values(&mut self) -> Result<(), String> {
        let open = self.next();
        if open != "(" {
            return Err(format!("unable to parse term: found '{open}' expected: '('"));
        }
        loop {
            match self.next() {
                ")" => return Ok(()),
                "," => {}
                word if is_word(word) && matches!(self.peek(), "," | ")") => {}
                other => return Err(format!("unable to parse term: found '{other}', expected: ',', or identifier")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn label_selectors_are_parsed_like_omni() {
        let goods = "a|!a|a = b|a==b|a != b, c|omni.sidero.dev/platform=nocloud, omni.sidero.dev/cores >= 4|\
             a in (x, y)|a notin ()|a =||a = b c";
        for good in goods.split('|') {
            assert!(parse(good).is_ok(), "{good}: {:?}", parse(good));
        }
        for bad in ["a b", "a ==b,", "=", "a in x", "a in (x", "!", "!a = b", "a, =", "(a)"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse("a, !b, c >= 4"), Ok(vec!["a".into(), "b".into(), "c".into()]));
    }
}
