//! Selectors over machine labels, as a class's `matchlabels` has them (siderolabs/omni v1.9.3 client/pkg/cosi/labels).

/// The keys that a selector asks for.
///
/// # Errors
/// What cannot be read, in Omni's words.
pub fn parse(selector: &str) -> Result<Vec<String>, String> {
    let mut parser = Parser { tokens: lex(selector), at: 0 };
    let mut keys = Vec::new();
    loop {
        match parser.peek() {
            Token::End if keys.is_empty() => return Ok(keys),
            Token::Word(_) | Token::Op("!") => keys.push(parser.term()?),
            other => return Err(format!("found '{}', expected: !, identifier, or 'end of string'", other.text())),
        }
        match parser.next() {
            Token::End => return Ok(keys),
            Token::Op(",") if matches!(parser.peek(), Token::Word(_) | Token::Op("!")) => {}
            Token::Op(",") => {
                return Err(format!("found '{}', expected: identifier after ','", parser.peek().text()));
            }
            other => return Err(format!("found '{}', expected: ',' or 'end of string'", other.text())),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Op(&'static str),
    End,
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Token::Word(word) => word,
            Token::Op(op) => op,
            Token::End => "",
        }
    }
}

fn lex(selector: &str) -> Vec<Token> {
    const OPS: [&str; 10] = ["!=", "==", ">=", "<=", "=", "!", ">", "<", "(", ")"];
    let mut tokens = Vec::new();
    let mut rest = selector.trim_start();
    // Behind an operator, a value runs to the next special character and may hold spaces.
    let mut value = false;
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix(',') {
            tokens.push(Token::Op(","));
            value = false;
            rest = tail;
        } else if let Some(op) = OPS.iter().find(|op| rest.starts_with(**op)) {
            tokens.push(Token::Op(op));
            value = !matches!(*op, "!" | "(" | ")");
            rest = &rest[op.len()..];
        } else {
            let special = |c: char| matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<');
            let end = rest.find(|c: char| special(c) || (c.is_whitespace() && !value)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].trim_end().to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    tokens.push(Token::End);
    tokens
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Token {
        self.tokens.get(self.at).cloned().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn term(&mut self) -> Result<String, String> {
        let mut token = self.next();
        let negated = token == Token::Op("!");
        if negated {
            token = self.next();
        }
        let Token::Word(key) = token else {
            return Err(format!("unable to parse term: found '{}', expected: identifier", token.text()));
        };
        match self.peek() {
            Token::End | Token::Op(",") => return Ok(key),
            other if negated => {
                return Err(format!("unable to parse term: expected EOF or ',', found {}", other.text()));
            }
            _ => {}
        }
        match self.next() {
            Token::Op("==" | "=" | "!=" | ">=" | ">" | "<=" | "<") => match self.peek() {
                Token::End | Token::Op(",") => Ok(key),
                Token::Word(_) => {
                    self.at += 1;
                    Ok(key)
                }
                other => Err(format!("unable to parse term: found '{}', expected: identifier", other.text())),
            },
            Token::Word(word) if word == "in" || word == "notin" => self.values().map(|()| key),
            other => {
                let wanted = "==, =, !=, >=, >, in, notin, <=, <";
                Err(format!("unable to parse term: found '{}', expected: {wanted}", other.text()))
            }
        }
    }

    /// `(a, b)`; empty values are allowed.
    fn values(&mut self) -> Result<(), String> {
        let open = self.next();
        if open != Token::Op("(") {
            return Err(format!("unable to parse term: found '{}' expected: '('", open.text()));
        }
        loop {
            match self.next() {
                Token::Op(")") => return Ok(()),
                Token::Word(_) if matches!(self.peek(), Token::Op("," | ")")) => {}
                Token::Op(",") => {}
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
    fn selectors_as_omni_reads_them() {
        for good in [
            "a",
            "!a",
            "a = b",
            "a==b",
            "a != b, c",
            "omni.sidero.dev/platform=nocloud, omni.sidero.dev/cores >= 4",
            "a in (x, y)",
            "a notin ()",
            "a =",
            "",
            "a = b c",
        ] {
            assert!(parse(good).is_ok(), "{good}: {:?}", parse(good));
        }
        for bad in ["a b", "a ==b,", "=", "a in x", "a in (x", "!", "!a = b", "a, =", "(a)"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse("a, !b, c >= 4"), Ok(vec!["a".into(), "b".into(), "c".into()]));
    }
}
