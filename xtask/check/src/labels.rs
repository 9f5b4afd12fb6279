//! Selectors over machine labels, as a class's `matchlabels` has them (siderolabs/omni v1.9.3 client/pkg/cosi/labels).

/// The label keys in a selector.
///
/// # Errors
/// Omni's message for a selector that cannot be parsed.
pub fn parse(selector: &str) -> Result<Vec<String>, String> {
    let mut parser = Parser { tokens: lex(selector), at: 0 };
    let mut keys = Vec::new();
    loop {
        match parser.peek() {
            LabelToken::End if keys.is_empty() => return Ok(keys),
            LabelToken::Word(_) | LabelToken::Op("!") => keys.push(parser.term()?),
            other => return Err(format!("found '{}', expected: !, identifier, or 'end of string'", other.text())),
        }
        match parser.next() {
            LabelToken::End => return Ok(keys),
            LabelToken::Op(",") if matches!(parser.peek(), LabelToken::Word(_) | LabelToken::Op("!")) => {}
            LabelToken::Op(",") => {
                return Err(format!("found '{}', expected: identifier after ','", parser.peek().text()));
            }
            other => return Err(format!("found '{}', expected: ',' or 'end of string'", other.text())),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum LabelToken {
    Word(String),
    Op(&'static str),
    End,
}

impl LabelToken {
    fn text(&self) -> &str {
        match self {
            LabelToken::Word(word) => word,
            LabelToken::Op(op) => op,
            LabelToken::End => "",
        }
    }
}

fn lex(selector: &str) -> Vec<LabelToken> {
    const OPS: [&str; 10] = ["!=", "==", ">=", "<=", "=", "!", ">", "<", "(", ")"];
    let mut tokens = Vec::new();
    let mut rest = selector.trim_start();
    // Behind an operator, a value runs to the next special character and may hold spaces.
    let mut value = false;
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix(',') {
            tokens.push(LabelToken::Op(","));
            value = false;
            rest = tail;
        } else if let Some(op) = OPS.iter().find(|op| rest.starts_with(**op)) {
            tokens.push(LabelToken::Op(op));
            value = !matches!(*op, "!" | "(" | ")");
            rest = &rest[op.len()..];
        } else {
            let special = |c: char| matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<');
            let end = rest.find(|c: char| special(c) || (c.is_whitespace() && !value)).unwrap_or(rest.len());
            tokens.push(LabelToken::Word(rest[..end].trim_end().to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    tokens.push(LabelToken::End);
    tokens
}

struct Parser {
    tokens: Vec<LabelToken>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> LabelToken {
        self.tokens.get(self.at).cloned().unwrap_or(LabelToken::End)
    }

    fn next(&mut self) -> LabelToken {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn term(&mut self) -> Result<String, String> {
        let mut token = self.next();
        let negated = token == LabelToken::Op("!");
        if negated {
            token = self.next();
        }
        let LabelToken::Word(key) = token else {
            return Err(format!("unable to parse term: found '{}', expected: identifier", token.text()));
        };
        match self.peek() {
            LabelToken::End | LabelToken::Op(",") => return Ok(key),
            other if negated => {
                return Err(format!("unable to parse term: expected EOF or ',', found {}", other.text()));
            }
            _ => {}
        }
        match self.next() {
            LabelToken::Op("==" | "=" | "!=" | ">=" | ">" | "<=" | "<") => match self.peek() {
                LabelToken::End | LabelToken::Op(",") => Ok(key),
                LabelToken::Word(_) => {
                    self.at += 1;
                    Ok(key)
                }
                other => Err(format!("unable to parse term: found '{}', expected: identifier", other.text())),
            },
            LabelToken::Word(word) if word == "in" || word == "notin" => self.values().map(|()| key),
            other => {
                let expected = "==, =, !=, >=, >, in, notin, <=, <";
                Err(format!("unable to parse term: found '{}', expected: {expected}", other.text()))
            }
        }
    }

    /// `(a, b)`; empty values are allowed.
    fn values(&mut self) -> Result<(), String> {
        let open = self.next();
        if open != LabelToken::Op("(") {
            return Err(format!("unable to parse term: found '{}' expected: '('", open.text()));
        }
        loop {
            match self.next() {
                LabelToken::Op(")") => return Ok(()),
                LabelToken::Word(_) if matches!(self.peek(), LabelToken::Op("," | ")")) => {}
                LabelToken::Op(",") => {}
                other => {
                    return Err(format!(
                        "unable to parse term: found '{}', expected: ',', or identifier",
                        other.text()
                    ));
                }
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
