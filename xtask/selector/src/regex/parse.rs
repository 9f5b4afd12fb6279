//! The syntax of patterns and what is wrong with one, in the words of Go's regexp/syntax (flags as regexp.Compile sets
//! them: Perl classes and groups, `^` and `$` at the ends of the text).

use super::class::Class;
use super::{Assertion, Node, unicode};

const MAX_REPEAT: u32 = 1000;
const MAX_NESTING: usize = 250;

/// Flags inside a group.
#[derive(Debug, Clone, Copy, Default)]
struct Flags {
    fold: bool,
    multi_line: bool,
    dot_all: bool,
}

struct Parser<'a> {
    rest: &'a str,
    flags: Flags,
    depth: usize,
    whole: &'a str,
}

/// The tree of a pattern, or Go's message about it.
pub(super) fn parse(pattern: &str) -> Result<Node, String> {
    let mut parser = Parser { rest: pattern, flags: Flags::default(), depth: 0, whole: pattern };
    let node = parser.alternatives()?;
    match parser.rest.is_empty() {
        true => Ok(node),
        false => Err(error("unexpected )", pattern)),
    }
}

fn error(what: &str, text: &str) -> String {
    format!("{what}: `{text}`")
}

impl<'a> Parser<'a> {
    fn take(&mut self, prefix: &str) -> bool {
        match self.rest.strip_prefix(prefix) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn alternatives(&mut self) -> Result<Node, String> {
        let flags = self.flags;
        let mut all = vec![self.sequence()?];
        while self.take("|") {
            all.push(self.sequence()?);
        }
        self.flags = flags;
        Ok(if all.len() == 1 { all.remove(0) } else { Node::Alternate(all) })
    }

    fn sequence(&mut self) -> Result<Node, String> {
        let mut nodes: Vec<Node> = Vec::new();
        // The operator before, with all that follows it: two in a row are an error.
        let mut last_repeat: Option<&'a str> = None;
        while let Some(c) = self.rest.chars().next() {
            let before = self.rest;
            let this_repeat = match c {
                '|' | ')' => break,
                '*' | '+' | '?' => Some((u32::from(c == '+'), (c == '?').then_some(1), 1)),
                '{' => repeat_count(self.rest),
                _ => None,
            };
            let Some((least, most, len)) = this_repeat else {
                last_repeat = None;
                if self.take("\\Q") {
                    let (literal, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
                    self.rest = rest;
                    nodes.extend(literal.chars().map(|c| Node::One(Class::one(c, self.flags.fold))));
                } else if let Some(node) = self.atom()? {
                    nodes.push(node);
                }
                continue;
            };
            self.rest = &self.rest[len..];
            let count = &before[..len];
            if c == '{' && (least > MAX_REPEAT || most.is_some_and(|m| m > MAX_REPEAT || m < least)) {
                return Err(error("invalid repeat count", count));
            }
            self.take("?");
            let spelt = |from: &'a str, rest: &str| from[..from.len() - rest.len()].to_owned();
            if let Some(last) = last_repeat {
                return Err(error("invalid nested repetition operator", &spelt(last, self.rest)));
            }
            let Some(node) = nodes.pop() else {
                return Err(error("missing argument to repetition operator", &spelt(before, self.rest)));
            };
            if repeats(&node).saturating_mul(least.max(most.unwrap_or(0)).max(1)) > MAX_REPEAT && c == '{' {
                return Err(error("invalid repeat count", count));
            }
            last_repeat = Some(before);
            nodes.push(Node::Repeat { node: Box::new(node), least, most });
        }
        Ok(match nodes.len() {
            0 => Node::Empty,
            1 => nodes.remove(0),
            _ => Node::Concat(nodes),
        })
    }

    fn atom(&mut self) -> Result<Option<Node>, String> {
        let fold = self.flags.fold;
        let start = self.rest;
        let Some(c) = self.next() else { return Ok(None) };
        Ok(Some(match c {
            '(' => {
                self.rest = start;
                return self.group();
            }
            '[' => {
                self.rest = start;
                Node::One(self.class()?)
            }
            '.' => Node::One(Class::any(self.flags.dot_all)),
            '^' => Node::Assert(if self.flags.multi_line { Assertion::LineStart } else { Assertion::TextStart }),
            '$' => Node::Assert(if self.flags.multi_line { Assertion::LineEnd } else { Assertion::TextEnd }),
            '\\' => {
                self.rest = start;
                return self.escape().map(Some);
            }
            c => Node::One(Class::one(c, fold)),
        }))
    }

    /// A group, or flags for what follows, which give no node.
    fn group(&mut self) -> Result<Option<Node>, String> {
        let start = self.rest;
        let outer = self.flags;
        if (start.starts_with("(?P<") && start.len() > 4) || (start.starts_with("(?<") && start.len() > 3) {
            let from = if start.starts_with("(?P<") { 4 } else { 3 };
            let Some(end) = start.find('>') else { return Err(error("invalid named capture", start)) };
            let name = &start[from..end];
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(error("invalid named capture", &start[..=end]));
            }
            self.rest = &start[end + 1..];
        } else if let Some(rest) = start.strip_prefix("(?") {
            self.rest = rest;
            if self.perl_flags(start)? {
                return Ok(None);
            }
        } else {
            self.rest = &start[1..];
        }
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return Err("expression nests too deeply: `".to_owned() + self.whole + "`");
        }
        let node = self.alternatives()?;
        self.depth -= 1;
        if !self.take(")") {
            return Err(error("missing closing )", self.whole));
        }
        self.flags = outer;
        // A group is an operand of its own even if it is empty.
        Ok(Some(node))
    }

    /// Flags behind `(?`; true if they end with `)` and so hold to the end of the group around them.
    fn perl_flags(&mut self, start: &str) -> Result<bool, String> {
        let (mut sign, mut seen) = (true, false);
        let mut flags = self.flags;
        while let Some(c) = self.next() {
            match c {
                'i' => flags.fold = sign,
                'm' => flags.multi_line = sign,
                's' => flags.dot_all = sign,
                // Greed does not matter for whether there is a match.
                'U' => {}
                '-' if sign => {
                    sign = false;
                    seen = false;
                    continue;
                }
                ':' | ')' if sign || seen => {
                    self.flags = flags;
                    return Ok(c == ')');
                }
                _ => return Err(error("invalid or unsupported Perl syntax", &start[..start.len() - self.rest.len()])),
            }
            seen = true;
        }
        Err(error("invalid or unsupported Perl syntax", start))
    }

    fn escape(&mut self) -> Result<Node, String> {
        let start = self.rest;
        let assertion = match start.as_bytes().get(1) {
            Some(b'A') => Some(Assertion::TextStart),
            Some(b'z') => Some(Assertion::TextEnd),
            Some(b'b') => Some(Assertion::WordBoundary),
            Some(b'B') => Some(Assertion::NoWordBoundary),
            _ => None,
        };
        if let Some(assertion) = assertion {
            self.rest = &start[2..];
            return Ok(Node::Assert(assertion));
        }
        if start.starts_with("\\C") {
            return Err(error("invalid escape sequence", "\\C"));
        }
        let mut class = Class::empty(self.flags.fold);
        if self.perl_class(&mut class) || self.unicode_class(&mut class)? {
            return Ok(Node::One(class));
        }
        Ok(Node::One(Class::one(self.escaped_char()?, self.flags.fold)))
    }

    /// `\d`, `\W` and their relatives.
    fn perl_class(&mut self, class: &mut Class) -> bool {
        const DIGIT: &[(char, char)] = &[('0', '9')];
        const SPACE: &[(char, char)] = &[('\t', '\n'), ('\u{c}', '\r'), (' ', ' ')];
        const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
        let Some(letter) = self.rest.strip_prefix('\\').and_then(|r| r.chars().next()) else { return false };
        let ranges = match letter.to_ascii_lowercase() {
            'd' => DIGIT,
            's' => SPACE,
            'w' => WORD,
            _ => return false,
        };
        class.add_group(ranges, letter.is_ascii_uppercase());
        self.rest = &self.rest[2..];
        true
    }

    /// `\pL`, `\p{Lu}`, `\P{Greek}`.
    fn unicode_class(&mut self, class: &mut Class) -> Result<bool, String> {
        let start = self.rest;
        let Some(sign) = start.strip_prefix('\\').and_then(|r| r.chars().next()).filter(|c| matches!(c, 'p' | 'P'))
        else {
            return Ok(false);
        };
        let body = &start[2..];
        let (name, len) = match body.chars().next() {
            Some('{') => match body.find('}') {
                Some(end) => (&body[1..end], 2 + end + 1),
                None => return Err(error("invalid character class range", start)),
            },
            Some(c) => (&body[..c.len_utf8()], 2 + c.len_utf8()),
            None => return Err(error("invalid character class range", start)),
        };
        let (name, inverted) = name.strip_prefix('^').map_or((name, false), |n| (n, true));
        let Some((ranges, outside)) = unicode::table(name) else {
            return Err(error("invalid character class range", &start[..len]));
        };
        class.add_group(ranges, ((sign == 'P') != inverted) != outside);
        self.rest = &start[len..];
        Ok(true)
    }

    fn escaped_char(&mut self) -> Result<char, String> {
        let start = self.rest;
        self.rest = &start[1..];
        let Some(c) = self.next() else { return Err(error("trailing backslash at end of expression", "")) };
        let bad = |rest: &str| error("invalid escape sequence", &start[..start.len() - rest.len()]);
        match c {
            '0'..='7' => {
                // `\1` to `\7` alone would be a back reference, which RE2 has not.
                let more = self.rest.starts_with(|c| matches!(c, '0'..='7'));
                if c != '0' && !more {
                    return Err(bad(self.rest));
                }
                let len = self.rest.bytes().take(2).take_while(|b| matches!(b, b'0'..=b'7')).count();
                let code = u32::from_str_radix(&start[1..2 + len], 8).unwrap_or(0);
                self.rest = &self.rest[len..];
                char::from_u32(code).ok_or_else(|| bad(self.rest))
            }
            'x' => {
                let (digits, len) = match self.rest.strip_prefix('{') {
                    Some(body) => match body.find('}') {
                        Some(end) => (&body[..end], end + 2),
                        None => return Err(bad("")),
                    },
                    None => (self.rest.get(..2).unwrap_or(self.rest), 2.min(self.rest.len())),
                };
                let code = u32::from_str_radix(digits, 16).ok().filter(|_| digits.len() > 1 || len > 2);
                match code.and_then(char::from_u32) {
                    Some(c) if !digits.starts_with('+') => {
                        self.rest = &self.rest[len..];
                        Ok(c)
                    }
                    _ => Err(bad(self.rest.get(len..).unwrap_or(""))),
                }
            }
            'a' => Ok('\u{7}'),
            'f' => Ok('\u{c}'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'v' => Ok('\u{b}'),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(c),
            _ => Err(bad(self.rest)),
        }
    }

    /// `[…]`.
    fn class(&mut self) -> Result<Class, String> {
        let start = self.rest;
        self.rest = &start[1..];
        let mut class = Class::empty(self.flags.fold);
        if self.take("^") {
            class.negate();
        }
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            if self.rest.is_empty() {
                return Err(error("missing closing ]", start));
            }
            first = false;
            if self.posix_class(&mut class)? || self.perl_class(&mut class) || self.unicode_class(&mut class)? {
                continue;
            }
            let range = self.rest;
            let from = self.class_char(start)?;
            let mut to = from;
            if self.rest.starts_with('-') && self.rest.len() > 1 && !self.rest[1..].starts_with(']') {
                self.rest = &self.rest[1..];
                to = self.class_char(start)?;
                if to < from {
                    return Err(error("invalid character class range", &range[..range.len() - self.rest.len()]));
                }
            }
            class.add(from, to);
        }
        self.rest = &self.rest[1..];
        Ok(class)
    }

    fn class_char(&mut self, start: &str) -> Result<char, String> {
        if self.rest.starts_with('\\') {
            return self.escaped_char();
        }
        self.next().ok_or_else(|| error("missing closing ]", start))
    }

    /// `[:alpha:]`.
    fn posix_class(&mut self, class: &mut Class) -> Result<bool, String> {
        if !self.rest.starts_with("[:") {
            return Ok(false);
        }
        let Some(end) = self.rest[2..].find(":]") else { return Ok(false) };
        let spelt = &self.rest[..end + 4];
        let name = &self.rest[2..end + 2];
        let (name, negated) = name.strip_prefix('^').map_or((name, false), |n| (n, true));
        let ranges: &'static [(char, char)] = match name {
            "alnum" => &[('0', '9'), ('A', 'Z'), ('a', 'z')],
            "alpha" => &[('A', 'Z'), ('a', 'z')],
            "ascii" => &[('\0', '\u{7f}')],
            "blank" => &[('\t', '\t'), (' ', ' ')],
            "cntrl" => &[('\0', '\u{1f}'), ('\u{7f}', '\u{7f}')],
            "digit" => &[('0', '9')],
            "graph" => &[('!', '~')],
            "lower" => &[('a', 'z')],
            "print" => &[(' ', '~')],
            "punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
            "space" => &[('\t', '\r'), (' ', ' ')],
            "upper" => &[('A', 'Z')],
            "word" => &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')],
            "xdigit" => &[('0', '9'), ('A', 'F'), ('a', 'f')],
            _ => return Err(error("invalid character class range", spelt)),
        };
        class.add_group(ranges, negated);
        self.rest = &self.rest[spelt.len()..];
        Ok(true)
    }
}

/// `{2}`, `{2,}` or `{2,3}`: least, most and length; anything else is literal text.
fn repeat_count(text: &str) -> Option<(u32, Option<u32>, usize)> {
    let end = text.find('}')?;
    let body = &text[1..end];
    let number = |digits: &str| {
        let plain = !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0'));
        plain.then(|| digits.parse().unwrap_or(u32::MAX))
    };
    let (least, most) = match body.split_once(',') {
        None => (number(body)?, Some(number(body)?)),
        Some((least, "")) => (number(least)?, None),
        Some((least, most)) => (number(least)?, Some(number(most)?)),
    };
    Some((least, most, end + 1))
}

/// How often the counted repetitions inside multiply.
fn repeats(node: &Node) -> u32 {
    match node {
        Node::Repeat { node, least, most } => repeats(node).saturating_mul((*least).max(most.unwrap_or(0)).max(1)),
        Node::Concat(nodes) | Node::Alternate(nodes) => nodes.iter().map(repeats).max().unwrap_or(1),
        _ => 1,
    }
}
