//! Regular expressions as Go has them, the part that selectors and `--id-match-regexp` use: characters, classes, groups,
//! alternatives, repetition and anchors. Matching never takes more than states × length steps.

/// A compiled expression.
#[derive(Clone, Debug)]
pub struct Pattern {
    program: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Char(Class),
    Start,
    End,
    WordEdge(bool),
    Split(usize, usize),
    Jump(usize),
    Match,
}

#[derive(Clone, Debug, PartialEq)]
struct Class {
    negated: bool,
    ranges: Vec<(char, char)>,
}

impl Class {
    fn has(&self, c: char) -> bool {
        self.ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != self.negated
    }
}

#[derive(Clone, Debug)]
enum Node {
    Empty,
    Char(Class),
    Start,
    End,
    WordEdge(bool),
    Sequence(Vec<Node>),
    Either(Vec<Node>),
    Repeat(Box<Node>, usize, Option<usize>),
}

/// Repetitions beyond this are refused, as Go refuses them.
const MOST: usize = 1000;

struct Parser {
    chars: Vec<char>,
    at: usize,
    fold: bool,
    depth: usize,
}

impl Pattern {
    /// Compiles an expression. The error is Go's, without its `error parsing regexp: `.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let mut parser = Parser { chars: text.chars().collect(), at: 0, fold: false, depth: 0 };
        let node = parser.either()?;
        if parser.at < parser.chars.len() {
            return Err(format!("unexpected ): `{text}`"));
        }
        let mut program = Vec::new();
        emit(&node, &mut program);
        program.push(Step::Match);
        if program.len() > 20_000 {
            return Err("expression nests too deeply".to_owned());
        }
        Ok(Pattern { program })
    }

    /// Whether the expression occurs anywhere in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        let chars: Vec<char> = text.chars().collect();
        let mut states = Vec::new();
        for at in 0..=chars.len() {
            let mut seen = vec![false; self.program.len()];
            let mut now = Vec::new();
            for state in states.drain(..).chain([0]) {
                if self.follow(state, &chars, at, &mut seen, &mut now) {
                    return true;
                }
            }
            if let Some(c) = chars.get(at) {
                let moved =
                    now.into_iter().filter(|state| matches!(&self.program[*state], Step::Char(class) if class.has(*c)));
                states = moved.map(|state| state + 1).collect();
            }
        }
        false
    }

    /// Adds the character steps reachable from `state` without reading; true if the end is among them.
    fn follow(&self, state: usize, chars: &[char], at: usize, seen: &mut [bool], out: &mut Vec<usize>) -> bool {
        let mut todo = vec![state];
        while let Some(state) = todo.pop() {
            if std::mem::replace(&mut seen[state], true) {
                continue;
            }
            let word = |index: Option<usize>| {
                index.and_then(|index| chars.get(index)).is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_')
            };
            match &self.program[state] {
                Step::Match => return true,
                Step::Char(_) => out.push(state),
                Step::Jump(to) => todo.push(*to),
                Step::Split(a, b) => todo.extend([*b, *a]),
                Step::Start if at == 0 => todo.push(state + 1),
                Step::End if at == chars.len() => todo.push(state + 1),
                Step::WordEdge(wanted) if (word(at.checked_sub(1)) != word(Some(at))) == *wanted => {
                    todo.push(state + 1)
                }
                Step::Start | Step::End | Step::WordEdge(_) => {}
            }
        }
        false
    }
}

fn emit(node: &Node, out: &mut Vec<Step>) {
    if out.len() > 20_000 {
        return;
    }
    match node {
        Node::Empty => {}
        Node::Char(class) => out.push(Step::Char(class.clone())),
        Node::Start => out.push(Step::Start),
        Node::End => out.push(Step::End),
        Node::WordEdge(wanted) => out.push(Step::WordEdge(*wanted)),
        Node::Sequence(nodes) => nodes.iter().for_each(|node| emit(node, out)),
        Node::Either(nodes) => {
            let mut ends = Vec::new();
            for (number, node) in nodes.iter().enumerate() {
                let last = number + 1 == nodes.len();
                let split = out.len();
                if !last {
                    out.push(Step::Jump(0));
                }
                emit(node, out);
                if !last {
                    ends.push(out.len());
                    out.push(Step::Jump(0));
                    out[split] = Step::Split(split + 1, out.len());
                }
            }
            let end = out.len();
            for at in ends {
                out[at] = Step::Jump(end);
            }
        }
        Node::Repeat(inner, least, most) => {
            for _ in 0..*least {
                emit(inner, out);
            }
            match most {
                Some(most) => {
                    let mut splits = Vec::new();
                    for _ in *least..*most {
                        splits.push(out.len());
                        out.push(Step::Jump(0));
                        emit(inner, out);
                    }
                    let end = out.len();
                    for at in splits {
                        out[at] = Step::Split(at + 1, end);
                    }
                }
                None => {
                    let start = out.len();
                    out.push(Step::Jump(0));
                    emit(inner, out);
                    out.push(Step::Jump(start));
                    out[start] = Step::Split(start + 1, out.len());
                }
            }
        }
    }
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn rest(&self, from: usize) -> String {
        self.chars[from.min(self.chars.len())..].iter().collect()
    }

    fn either(&mut self) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > 200 {
            return Err("expression nests too deeply".to_owned());
        }
        let mut options = vec![self.sequence()?];
        while self.peek() == Some('|') {
            self.at += 1;
            options.push(self.sequence()?);
        }
        self.depth -= 1;
        Ok(if options.len() == 1 { options.remove(0) } else { Node::Either(options) })
    }

    fn sequence(&mut self) -> Result<Node, String> {
        let mut nodes = Vec::new();
        while let Some(c) = self.peek() {
            if c == '|' || c == ')' {
                break;
            }
            let atom = self.atom()?;
            nodes.push(self.repeat(atom)?);
        }
        Ok(match nodes.len() {
            0 => Node::Empty,
            _ => Node::Sequence(nodes),
        })
    }

    fn repeat(&mut self, atom: Node) -> Result<Node, String> {
        let start = self.at;
        let (least, most) = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => match self.counts() {
                Some(counts) => counts,
                None => return Ok(atom),
            },
            _ => return Ok(atom),
        };
        self.at += 1;
        if self.peek() == Some('?') {
            self.at += 1; // lazy or not: the same texts match
        }
        if least > MOST || most.is_some_and(|most| most > MOST || most < least) {
            let shown: String = self.chars[start..self.at].iter().collect();
            return Err(format!("invalid repeat count: `{shown}`"));
        }
        if matches!(self.peek(), Some('*' | '+')) {
            let shown: String = self.chars[start..=self.at].iter().collect();
            return Err(format!("invalid nested repetition operator: `{shown}`"));
        }
        Ok(Node::Repeat(Box::new(atom), least, most))
    }

    /// `{2}`, `{2,}`, `{2,3}`: leaves the position at the closing brace. Anything else is a plain brace.
    fn counts(&mut self) -> Option<(usize, Option<usize>)> {
        let close = self.chars[self.at..].iter().position(|c| *c == '}')? + self.at;
        let inner: String = self.chars[self.at + 1..close].iter().collect();
        let counts = match inner.split_once(',') {
            None => inner.parse().ok().map(|count| (count, Some(count))),
            Some((least, "")) => least.parse().ok().map(|least| (least, None)),
            Some((least, most)) => least.parse().ok().zip(most.parse().ok()).map(|(least, most)| (least, Some(most))),
        }?;
        self.at = close;
        Some(counts)
    }

    fn class(&self, mut ranges: Vec<(char, char)>, negated: bool) -> Node {
        if self.fold {
            let folded: Vec<(char, char)> = ranges
                .iter()
                .filter(|(from, to)| from.is_ascii_alphabetic() && to.is_ascii_alphabetic())
                .flat_map(|(from, to)| {
                    [
                        (from.to_ascii_lowercase(), to.to_ascii_lowercase()),
                        (from.to_ascii_uppercase(), to.to_ascii_uppercase()),
                    ]
                })
                .collect();
            ranges.extend(folded);
        }
        Node::Char(Class { negated, ranges })
    }

    fn atom(&mut self) -> Result<Node, String> {
        let start = self.at;
        let c = self.chars[self.at];
        self.at += 1;
        Ok(match c {
            '^' => Node::Start,
            '$' => Node::End,
            '.' => self.class(vec![('\n', '\n')], true),
            '*' | '+' | '?' => return Err(format!("missing argument to repetition operator: `{c}`")),
            '(' => {
                self.flags()?;
                let inner = self.either()?;
                if self.peek() != Some(')') {
                    return Err(format!("missing closing ): `{}`", self.rest(0)));
                }
                self.at += 1;
                inner
            }
            '[' => self.set(start)?,
            '\\' => {
                let Some(escape) = self.peek() else {
                    return Err("trailing backslash at end of expression: ``".to_owned());
                };
                self.at += 1;
                match escape {
                    'b' => Node::WordEdge(true),
                    'B' => Node::WordEdge(false),
                    'A' => Node::Start,
                    'z' => Node::End,
                    other => match perl(other) {
                        Some((ranges, negated)) => self.class(ranges, negated),
                        None if other.is_ascii_alphanumeric() && control(other).is_none() => {
                            return Err(format!("invalid escape sequence: `\\{other}`"));
                        }
                        None => {
                            let c = control(other).unwrap_or(other);
                            self.class(vec![(c, c)], false)
                        }
                    },
                }
            }
            other => self.class(vec![(other, other)], false),
        })
    }

    /// `(?:`, `(?i)`, `(?P<name>`: read and, but for `i`, without effect.
    fn flags(&mut self) -> Result<(), String> {
        if self.peek() != Some('?') {
            return Ok(());
        }
        let start = self.at;
        self.at += 1;
        while let Some(c) = self.peek() {
            self.at += 1;
            match c {
                ':' | '>' => return Ok(()),
                ')' => {
                    self.at -= 1;
                    return Ok(());
                }
                'i' => self.fold = true,
                'P' | '<' | 's' | 'm' | 'U' => {}
                c if c.is_ascii_alphanumeric() || c == '_' => {}
                _ => break,
            }
        }
        let shown: String = self.chars[start - 1..self.at].iter().collect();
        Err(format!("invalid or unsupported Perl syntax: `{shown}`"))
    }

    fn set(&mut self, start: usize) -> Result<Node, String> {
        let missing = |parser: &Parser| format!("missing closing ]: `{}`", parser.rest(start));
        let negated = self.peek() == Some('^');
        self.at += usize::from(negated);
        let mut ranges = Vec::new();
        let mut first = true;
        loop {
            let Some(c) = self.peek() else { return Err(missing(self)) };
            self.at += 1;
            if c == ']' && !first {
                return Ok(self.class(ranges, negated));
            }
            first = false;
            let mut from = c;
            if c == '\\' {
                let Some(escape) = self.peek() else { return Err(missing(self)) };
                self.at += 1;
                if let Some((more, false)) = perl(escape) {
                    ranges.extend(more);
                    continue;
                }
                from = control(escape).unwrap_or(escape);
            }
            let mut to = from;
            if self.peek() == Some('-') && self.chars.get(self.at + 1).is_some_and(|next| *next != ']') {
                to = self.chars[self.at + 1];
                self.at += 2;
                if to == '\\' {
                    to = self.peek().unwrap_or('\\');
                    self.at += 1;
                }
                if to < from {
                    return Err(format!("invalid character class range: `{from}-{to}`"));
                }
            }
            ranges.push((from, to));
        }
    }
}

fn perl(c: char) -> Option<(Vec<(char, char)>, bool)> {
    let ranges = match c.to_ascii_lowercase() {
        'd' => vec![('0', '9')],
        'w' => vec![('0', '9'), ('a', 'z'), ('A', 'Z'), ('_', '_')],
        's' => vec![(' ', ' '), ('\t', '\r')],
        _ => return None,
    };
    Some((ranges, c.is_ascii_uppercase()))
}

fn control(c: char) -> Option<char> {
    match c {
        'n' => Some('\n'),
        't' => Some('\t'),
        'r' => Some('\r'),
        'f' => Some('\u{c}'),
        'v' => Some('\u{b}'),
        'a' => Some('\u{7}'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_as_in_go() {
        for (pattern, text, wanted) in [
            ("^ceph", "ceph-ssd", true),
            ("^ceph", "my-ceph", false),
            ("^local(-lvm)?$", "local-lvm", true),
            ("^local(-lvm)?$", "local-zfs", false),
            ("a|b|c", "xxc", true),
            ("^(ab)+$", "ababab", true),
            ("^[a-c]{2,3}$", "abca", false),
            ("^[^0-9]+$", "abc", true),
            ("\\d+\\.\\d", "v1.9", true),
            ("(?i)LVM", "local-lvm", true),
            ("\\bpve\\b", "a pve b", true),
            ("^$", "", true),
            ("x{", "x{", true),
            ("", "anything", true),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().is_match(text), wanted, "{pattern} on {text}");
        }
        for (pattern, wanted) in [
            ("[", "missing closing ]: `[`"),
            ("(a", "missing closing ): `(a`"),
            ("a)", "unexpected ): `a)`"),
            ("*", "missing argument to repetition operator: `*`"),
            ("a**", "invalid nested repetition operator: `**`"),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap_err(), wanted);
        }
    }

    #[test]
    fn an_evil_expression_is_quick() {
        let pattern = Pattern::new("^(a+)+$").unwrap();
        assert!(!pattern.is_match(&("a".repeat(2_000) + "b")));
    }
}
