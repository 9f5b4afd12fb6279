//! YAML as nodes with positions and the text of every scalar as it was written, which omnictl's messages and its
//! reading of `1.30` as a string need. Syntax is judged by libyaml first; what this reader does not know (complex keys) is
//! taken from there, without positions.

use std::collections::HashMap;

use serde_yaml::Value;

use crate::omni::kinds::Release;

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Line in the file, from 1; 0 if unknown.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// What it is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A scalar, and whether it was written plain.
    Scalar(String, bool),
    /// A mapping in its order.
    Map(Vec<(Node, Node)>),
    /// A list.
    Seq(Vec<Node>),
}

/// A document of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Where it begins: its `---`, else its first content.
    pub line: usize,
    /// Its root; a null scalar if it is empty.
    pub root: Node,
    /// The lines of its content, for counting as omnictl counts after it has written the document anew.
    text: Vec<(usize, String)>,
}

impl Document {
    /// The line of a node as omnictl names it in templates: the document is written anew without blank lines before it is
    /// decoded (client/pkg/template/template.go).
    pub fn rewritten_line(&self, node: &Node) -> usize {
        self.text.iter().filter(|(line, text)| *line <= node.line && !text.trim().is_empty()).count().max(1)
    }
}

impl Node {
    /// An explicit or implied null.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(text, true) if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let Kind::Map(pairs) = &self.kind else { return None };
        pairs.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// The tag that Go names in its messages.
    pub fn tag(&self) -> &'static str {
        match &self.kind {
            Kind::Map(_) => "!!map",
            Kind::Seq(_) => "!!seq",
            Kind::Scalar(_, false) => "!!str",
            Kind::Scalar(text, true) => match text.as_str() {
                _ if self.is_null() => "!!null",
                "true" | "false" | "True" | "False" | "TRUE" | "FALSE" => "!!bool",
                text if text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok() => "!!int",
                text if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
                    && text.parse::<f64>().is_ok() =>
                {
                    "!!float"
                }
                _ => "!!str",
            },
        }
    }

    /// `!!str `x`` or `!!map`: how a node stands in `cannot construct … into …`.
    pub fn described(&self) -> String {
        match &self.kind {
            Kind::Scalar(text, _) => {
                let short: String = if text.chars().count() > 10 {
                    format!("{}...", text.chars().take(7).collect::<String>())
                } else {
                    text.clone()
                };
                format!("{} `{short}`", self.tag())
            }
            _ => self.tag().to_owned(),
        }
    }

    /// The number by which Go's library calls the kind: 2 list, 4 mapping, 8 scalar.
    pub fn kind_number(&self) -> u8 {
        match self.kind {
            Kind::Seq(_) => 2,
            Kind::Map(_) => 4,
            Kind::Scalar(..) => 8,
        }
    }
}

/// Reads a stream. The error is Go's, beginning with `yaml: `.
pub fn read(release: Release, text: &str) -> Result<Vec<Document>, String> {
    let mut out = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for part in split(text) {
        let source: String = part.lines.iter().map(|(_, line)| format!("{line}\n")).collect();
        let first = part.lines.first().map_or(part.line, |(line, _)| *line);
        let value: Value = match serde_yaml::from_str(&source) {
            Ok(value) => value,
            Err(why) if why.to_string().contains("duplicate entry") => Value::Null,
            Err(why) => return Err(syntax_error(release, &why, first)),
        };
        let mut reader = Reader { lines: part.lines.clone(), l: 0, anchors: HashMap::new() };
        let root = reader.root().unwrap_or_else(|()| from_value(&value));
        out.push(Document { line: part.line, root, text: counted(part.lines) });
    }
    Ok(out)
}

struct Part {
    line: usize,
    lines: Vec<(usize, String)>,
}

/// Splits a stream at its `---` lines.
fn split(text: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut current: Option<Part> = None;
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        let marker = line == "---" || line.starts_with("--- ") || line.starts_with("---\t");
        if marker || line == "..." {
            parts.extend(current.take());
            if marker {
                let rest = line[3..].trim_start();
                let lines = if rest.is_empty() || rest.starts_with('#') {
                    Vec::new()
                } else {
                    vec![(number, format!("    {rest}"))]
                };
                current = Some(Part { line: number, lines });
            }
            continue;
        }
        match &mut current {
            Some(part) => part.lines.push((number, line.to_owned())),
            None if line.trim().is_empty() || line.trim_start().starts_with('#') || line.starts_with('%') => {}
            None => current = Some(Part { line: number, lines: vec![(number, line.to_owned())] }),
        }
    }
    parts.extend(current);
    parts
}

/// A comment above a document and apart from it is not written anew.
fn counted(lines: Vec<(usize, String)>) -> Vec<(usize, String)> {
    let head = lines.iter().take_while(|(_, text)| text.trim_start().starts_with('#')).count();
    let apart = head > 0 && lines.get(head).is_some_and(|(_, text)| text.trim().is_empty());
    lines.into_iter().skip(if apart { head } else { 0 }).collect()
}

fn syntax_error(release: Release, why: &serde_yaml::Error, first: usize) -> String {
    let said = why.to_string();
    let what = said.split(" at line ").next().unwrap_or(&said).to_owned();
    let place = why.location().map(|place| (place.line() + first - 1, place.column()));
    match place {
        Some((line, _)) if release.old() => format!("yaml: line {line}: {what}"),
        Some((line, column)) => format!("yaml: line {line}, column {column}: {what}"),
        None => format!("yaml: {what}"),
    }
}

fn from_value(value: &Value) -> Node {
    let make = |kind| Node { line: 0, column: 0, kind };
    match value {
        Value::Null => make(Kind::Scalar(String::new(), true)),
        Value::Bool(yes) => make(Kind::Scalar(yes.to_string(), true)),
        Value::Number(number) => make(Kind::Scalar(number.to_string(), true)),
        Value::String(text) => make(Kind::Scalar(text.clone(), false)),
        Value::Sequence(items) => make(Kind::Seq(items.iter().map(from_value).collect())),
        Value::Mapping(pairs) => {
            make(Kind::Map(pairs.iter().map(|(key, value)| (from_value(key), from_value(value))).collect()))
        }
        Value::Tagged(tagged) => from_value(&tagged.value),
    }
}

/// Reads one document whose syntax is known to be right. `Err(())` means that it uses what this reader does not know.
struct Reader {
    lines: Vec<(usize, String)>,
    l: usize,
    anchors: HashMap<String, Node>,
}

type Read = Result<Node, ()>;

impl Reader {
    fn root(&mut self) -> Read {
        let Some(indent) = self.next_content() else {
            let line = self.lines.first().map_or(0, |(line, _)| *line);
            return Ok(Node { line, column: 1, kind: Kind::Scalar(String::new(), true) });
        };
        let node = self.block(indent, None)?;
        if self.next_content().is_some() { Err(()) } else { Ok(node) }
    }

    /// Moves to the next line with content; its indent.
    fn next_content(&mut self) -> Option<usize> {
        while let Some((_, line)) = self.lines.get(self.l) {
            let body = line.trim_start_matches(' ');
            if !body.trim().is_empty() && !body.starts_with('#') {
                return Some(line.len() - body.len());
            }
            self.l += 1;
        }
        None
    }

    fn line(&self) -> &str {
        self.lines.get(self.l).map_or("", |(_, line)| line)
    }

    fn node(&self, at: usize, kind: Kind) -> Node {
        Node { line: self.lines.get(self.l).map_or(0, |(line, _)| *line), column: at + 1, kind }
    }

    /// The node whose content begins at column `at` of this line. `parent` is the indent of what it belongs to.
    fn block(&mut self, at: usize, parent: Option<usize>) -> Read {
        let rest = self.line()[at..].to_owned();
        if rest == "-" || rest.starts_with("- ") {
            return self.sequence(at);
        }
        if rest.starts_with("? ") || rest == "?" {
            return Err(());
        }
        if colon(&rest).is_some() {
            return self.mapping(at);
        }
        self.value(at, parent)
    }

    fn sequence(&mut self, at: usize) -> Read {
        let mut out = self.node(at, Kind::Seq(Vec::new()));
        let mut items = Vec::new();
        // The first dash may stand in the middle of a line, behind another one.
        loop {
            let rest = &self.line()[at + 1..];
            let body = rest.trim_start_matches(' ');
            let start = at + 1 + (rest.len() - body.len());
            items.push(match body.is_empty() || body.starts_with('#') {
                true => self.below(at, false)?,
                false => self.block(start, Some(at))?,
            });
            let more =
                self.next_content() == Some(at) && (self.line()[at..] == *"-" || self.line()[at..].starts_with("- "));
            if !more {
                break;
            }
        }
        out.kind = Kind::Seq(items);
        Ok(out)
    }

    /// What stands on the lines below, deeper than `at`; null if nothing does.
    fn below(&mut self, at: usize, in_map: bool) -> Read {
        let null = self.node(at, Kind::Scalar(String::new(), true));
        self.l += 1;
        match self.next_content() {
            Some(indent) if indent > at => self.block(indent, Some(at)),
            Some(indent)
                if in_map
                    && indent == at
                    && self.line()[at..].starts_with('-')
                    && colon(&self.line()[at..]).is_none() =>
            {
                self.sequence(at)
            }
            _ => Ok(null),
        }
    }

    fn mapping(&mut self, at: usize) -> Read {
        let mut out = self.node(at, Kind::Map(Vec::new()));
        let mut pairs = Vec::new();
        loop {
            let rest = self.line()[at..].to_owned();
            let Some(end) = colon(&rest) else { return Err(()) };
            let key = self.node(at, scalar_key(&rest[..end]).ok_or(())?);
            let after = &rest[end + 1..];
            let body = after.trim_start_matches([' ', '\t']);
            let start = at + end + 1 + (after.len() - body.len());
            let value = match body.is_empty() || body.starts_with('#') {
                true => self.below(at, true)?,
                false => self.value(start, Some(at))?,
            };
            pairs.push((key, value));
            if self.next_content() != Some(at) {
                break;
            }
        }
        out.kind = Kind::Map(pairs);
        Ok(out)
    }

    /// A value that begins in the middle of a line and is no block collection; moves to the line after it.
    fn value(&mut self, at: usize, parent: Option<usize>) -> Read {
        let rest = self.line()[at..].to_owned();
        let first = rest.chars().next().unwrap_or(' ');
        let column = self.node(at, Kind::Seq(Vec::new()));
        let finish = |mut node: Node| {
            (node.line, node.column) = (column.line, column.column);
            node
        };
        match first {
            '|' | '>' => Ok(finish(self.literal(&rest, parent)?)),
            '"' | '\'' => {
                let text = self.gather(at, |text| quoted_end(text).is_some())?;
                let end = quoted_end(&text).ok_or(())?;
                Ok(finish(Node { line: 0, column: 0, kind: Kind::Scalar(unquote(&text[..end]), false) }))
            }
            '[' | '{' => {
                let line = column.line;
                let text = self.gather(at, |text| flow_end(text).is_some())?;
                let mut flow = Flow { text: text.chars().collect(), at: 0, line };
                Ok(finish(flow.node()?))
            }
            '&' | '!' => {
                let word = rest.split([' ', '\t']).next().unwrap_or_default().to_owned();
                let after = rest[word.len()..].trim_start();
                let start = at + rest.len() - after.len();
                let node = match after.is_empty() || after.starts_with('#') {
                    true => self.below(parent.unwrap_or(0), true)?,
                    false => self.value(start, parent)?,
                };
                if let Some(name) = word.strip_prefix('&') {
                    self.anchors.insert(name.to_owned(), node.clone());
                }
                Ok(match (word.as_str(), node.kind.clone()) {
                    ("!!str", Kind::Scalar(text, _)) => Node { kind: Kind::Scalar(text, false), ..node },
                    _ => node,
                })
            }
            '*' => {
                let name = rest[1..].split([' ', '\t', '#']).next().unwrap_or_default();
                let found = self.anchors.get(name).cloned().ok_or(())?;
                self.l += 1;
                Ok(found)
            }
            _ => {
                let mut text = uncomment(&rest).to_owned();
                self.l += 1;
                // A plain scalar goes on over deeper lines.
                let mut blank = 0;
                while let Some((_, line)) = self.lines.get(self.l) {
                    let body = line.trim();
                    let indent = line.len() - line.trim_start_matches(' ').len();
                    if body.is_empty() {
                        blank += 1;
                        self.l += 1;
                        continue;
                    }
                    if body.starts_with('#') || parent.is_some_and(|parent| indent <= parent) || parent.is_none() {
                        break;
                    }
                    text.push_str(&if blank == 0 { " ".to_owned() } else { "\n".repeat(blank) });
                    text.push_str(uncomment(body));
                    blank = 0;
                    self.l += 1;
                }
                Ok(finish(Node { line: 0, column: 0, kind: Kind::Scalar(text, true) }))
            }
        }
    }

    /// The text from here to where `done` holds, lines joined; moves to the line after it.
    fn gather(&mut self, at: usize, done: impl Fn(&str) -> bool) -> Result<String, ()> {
        let mut text = self.line()[at..].to_owned();
        self.l += 1;
        while !done(&text) {
            let (_, line) = self.lines.get(self.l).ok_or(())?;
            text.push('\n');
            text.push_str(line.trim());
            self.l += 1;
        }
        Ok(text)
    }

    fn literal(&mut self, header: &str, parent: Option<usize>) -> Read {
        let folded = header.starts_with('>');
        let marks = uncomment(&header[1..]);
        let base = parent.map_or(0, |parent| parent + 1);
        self.l += 1;
        let start = self.l;
        let lines = &self.lines[start..];
        let indent_of = |line: &str| line.len() - line.trim_start_matches(' ').len();
        let first = lines.iter().find(|(_, line)| !line.trim().is_empty());
        let given = marks.chars().find_map(|c| c.to_digit(10)).map(|n| n as usize + parent.unwrap_or(0));
        let indent = given.unwrap_or_else(|| first.map_or(base, |(_, line)| indent_of(line)).max(base));
        let mut body = Vec::new();
        for (_, line) in lines {
            if !line.trim().is_empty() && indent_of(line) < indent {
                break;
            }
            body.push(line.get(indent..).unwrap_or_default().to_owned());
        }
        self.l = start + body.len();
        let blank = body.iter().rev().take_while(|line| line.trim().is_empty()).count();
        body.truncate(body.len() - blank);
        let mut text = if folded { fold(&body) } else { body.join("\n") };
        let ends = match (marks.contains('-'), marks.contains('+'), body.is_empty()) {
            (true, ..) => 0,
            (_, true, _) => blank + usize::from(!body.is_empty()),
            (_, _, true) => 0,
            _ => 1,
        };
        text.push_str(&"\n".repeat(ends));
        Ok(Node { line: 0, column: 0, kind: Kind::Scalar(text, false) })
    }
}

fn fold(lines: &[String]) -> String {
    let mut out = String::new();
    let mut blank = 0;
    for (number, line) in lines.iter().enumerate() {
        if line.is_empty() {
            blank += 1;
            continue;
        }
        if number > 0 && blank == 0 {
            out.push(' ');
        }
        out.push_str(&"\n".repeat(blank));
        out.push_str(line);
        blank = 0;
    }
    out
}

/// Where the colon of a key stands, if the text begins with one.
fn colon(text: &str) -> Option<usize> {
    let start = match text.chars().next()? {
        '"' | '\'' => quoted_end(text)?,
        '[' | '{' | '|' | '>' | '#' => return None,
        _ => 0,
    };
    let bytes = text.as_bytes();
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b':' if bytes.get(at + 1).is_none_or(|next| matches!(next, b' ' | b'\t')) => return Some(at),
            b'#' if at > 0 && bytes[at - 1] == b' ' => return None,
            b' ' | b'\t' => {}
            _ if start > 0 => return None,
            _ => {}
        }
        at += 1;
    }
    None
}

fn scalar_key(text: &str) -> Option<Kind> {
    let text = text.trim_end();
    match text.chars().next()? {
        '"' | '\'' => Some(Kind::Scalar(unquote(text), false)),
        '&' | '!' | '*' => None,
        _ => Some(Kind::Scalar(text.to_owned(), true)),
    }
}

/// Without a comment at its end, trimmed.
fn uncomment(text: &str) -> &str {
    let cut = text.match_indices('#').find(|(at, _)| *at == 0 || text[..*at].ends_with([' ', '\t']));
    text[..cut.map_or(text.len(), |(at, _)| at)].trim()
}

/// Where a quoted scalar ends, if it does.
fn quoted_end(text: &str) -> Option<usize> {
    let quote = text.chars().next()?;
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && quote == '"' {
            chars.next();
        } else if c == quote {
            if quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == '\'') {
                chars.next();
                continue;
            }
            return Some(at + 1);
        }
    }
    None
}

fn unquote(text: &str) -> String {
    // One quoted scalar alone is a document: libyaml knows every escape.
    match serde_yaml::from_str::<Value>(text) {
        Ok(Value::String(text)) => text,
        _ => text.trim_matches(['"', '\'']).to_owned(),
    }
}

fn flow_end(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        match c {
            '"' | '\'' => {
                at += quoted_end(&text[at..])?;
                continue;
            }
            '[' | '{' => depth += 1,
            ']' | '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += c.len_utf8();
    }
    None
}

/// A flow collection.
struct Flow {
    text: Vec<char>,
    at: usize,
    line: usize,
}

impl Flow {
    fn peek(&self) -> char {
        self.text.get(self.at).copied().unwrap_or('\0')
    }

    fn skip(&mut self) {
        loop {
            match self.peek() {
                '\n' => {
                    self.line += 1;
                    self.at += 1;
                }
                c if c.is_whitespace() => self.at += 1,
                '#' => {
                    while !matches!(self.peek(), '\n' | '\0') {
                        self.at += 1;
                    }
                }
                _ => return,
            }
        }
    }

    fn node(&mut self) -> Read {
        self.skip();
        let line = self.line;
        let make = |kind| Ok(Node { line, column: 1, kind });
        match self.peek() {
            '[' => {
                self.at += 1;
                let mut items = Vec::new();
                loop {
                    self.skip();
                    match self.peek() {
                        ']' => {
                            self.at += 1;
                            return make(Kind::Seq(items));
                        }
                        ',' => self.at += 1,
                        '\0' => return Err(()),
                        _ => {
                            items.push(self.node()?);
                            self.skip();
                            if self.peek() == ':' {
                                return Err(());
                            }
                        }
                    }
                }
            }
            '{' => {
                self.at += 1;
                let mut pairs = Vec::new();
                loop {
                    self.skip();
                    match self.peek() {
                        '}' => {
                            self.at += 1;
                            return make(Kind::Map(pairs));
                        }
                        ',' => self.at += 1,
                        '\0' => return Err(()),
                        _ => {
                            let key = self.node()?;
                            self.skip();
                            let mut value =
                                Node { line: self.line, column: 1, kind: Kind::Scalar(String::new(), true) };
                            if self.peek() == ':' {
                                self.at += 1;
                                self.skip();
                                if !matches!(self.peek(), ',' | '}') {
                                    value = self.node()?;
                                }
                            }
                            pairs.push((key, value));
                        }
                    }
                }
            }
            '"' | '\'' => {
                let rest: String = self.text[self.at..].iter().collect();
                let end = quoted_end(&rest).ok_or(())?;
                self.at += rest[..end].chars().count();
                make(Kind::Scalar(unquote(&rest[..end]), false))
            }
            '&' | '*' | '!' => Err(()),
            _ => {
                let start = self.at;
                loop {
                    let c = self.peek();
                    let next = self.text.get(self.at + 1).copied().unwrap_or('\0');
                    let key = c == ':' && (next.is_whitespace() || matches!(next, ',' | ']' | '}' | '\0'));
                    if key || matches!(c, ',' | ']' | '}' | '\0' | '\n') || (c == '#' && self.text[self.at - 1] == ' ')
                    {
                        break;
                    }
                    self.at += 1;
                }
                let text: String = self.text[start..self.at].iter().collect();
                make(Kind::Scalar(text.trim().to_owned(), true))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reader must see what libyaml sees.
    #[test]
    fn nodes_agree_with_libyaml() {
        for text in [
            "a: 1\nb:\n  c: [x, {d: e}]\n  f: \"q: \\\"z\\\"\" # note\n",
            "- a\n- b: 1\n  c: 2\n-\n  - d\n- - e\n  - f\n",
            "k:\n- 1\n- 2\nl: >-\n  one\n  two\n\n  three\nm: |\n  x\n   y\n\n  z\n",
            "a: one\n  two\n  three\nb: 'it''s'\n",
            "# c\n\na:\n\n  # inner\n  b: {c: d, e: [1,\n    2]}\n",
            "a: &x {b: c}\nd: *x\ne: !!str 5\n",
            "url: https://x/y#z\nempty:\nnull: ~\n\"quoted key\": v\n",
            "plain text\n",
            "a:\n  - b\n  -\n    c: d\n",
            "k: |2\n    two more\nl: |+\n  keep\n\n",
        ] {
            let value: Value = serde_yaml::from_str(text).unwrap();
            let documents = read(Release::V1_9_3, text).unwrap();
            let plain = |node: &Node| to_value(node);
            assert_eq!(plain(&documents[0].root), plain(&from_value(&value)), "{text}");
            assert_ne!(documents[0].root.line, 0, "read by libyaml: {text}");
        }
    }

    fn to_value(node: &Node) -> String {
        match &node.kind {
            Kind::Scalar(text, _) => {
                let bare = node.is_null();
                if bare { "null".to_owned() } else { format!("{text:?}") }
            }
            Kind::Seq(items) => format!("[{}]", items.iter().map(to_value).collect::<Vec<_>>().join(",")),
            Kind::Map(pairs) => {
                let pairs = pairs.iter().map(|(key, value)| format!("{}:{}", to_value(key), to_value(value)));
                format!("{{{}}}", pairs.collect::<Vec<_>>().join(","))
            }
        }
    }

    #[test]
    fn scalars_keep_their_text_and_documents_their_lines() {
        let documents = read(Release::V1_9_3, "# head\n\nv: 1.30\n---\n\nkind: A\n\nb: 2\n---\n").unwrap();
        assert_eq!(documents[0].root.get("v").and_then(Node::text), Some("1.30"));
        assert_eq!(documents.iter().map(|document| document.line).collect::<Vec<_>>(), [3, 4, 9]);
        let b = documents[1].root.get("b").unwrap();
        assert_eq!((b.line, documents[1].rewritten_line(b)), (8, 2));
        assert!(documents[2].root.is_null());
        assert_eq!(read(Release::V1_9_3, "").unwrap().len(), 0);
        assert_eq!(
            read(Release::V1_9_3, "a: b: c\n").unwrap_err(),
            "yaml: line 1, column 5: mapping values are not allowed in this context"
        );
    }
}
