//! YAML as nodes with positions and the text of every scalar as it was written, which omnictl's messages and its
//! reading of `1.30` as a string need. Syntax is checked by libyaml first, whose messages are Go's; what the parser with
//! positions refuses is taken from there, without them.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};
use serde_yaml::Value;

use crate::omni::kinds::OmniRelease;

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub struct YamlNode {
    /// Line in the file, from 1; 0 if unknown.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    pub kind: YamlKind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum YamlKind {
    /// A scalar, and whether it was written plain.
    Scalar(String, bool),
    /// A mapping in its order.
    Map(Vec<(YamlNode, YamlNode)>),
    Seq(Vec<YamlNode>),
}

impl YamlKind {
    /// What an absent value is.
    fn null() -> YamlKind {
        YamlKind::Scalar(String::new(), true)
    }
}

/// A document of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Where it begins: its `---`, else its first content.
    pub line: usize,
    /// Its root; a null scalar if it is empty.
    pub root: YamlNode,
    /// The lines of its content, for counting as omnictl counts after it has rewritten the document.
    text: Vec<(usize, String)>,
}

impl Document {
    /// The line of a node as omnictl names it in templates: the document is rewritten without blank lines before it is
    /// decoded (client/pkg/template/template.go).
    pub fn rewritten_line(&self, node: &YamlNode) -> usize {
        self.text.iter().filter(|(line, text)| *line <= node.line && !text.trim().is_empty()).count().max(1)
    }
}

impl YamlNode {
    /// An explicit or implied null.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, YamlKind::Scalar(text, true) if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&YamlNode> {
        let YamlKind::Map(pairs) = &self.kind else { return None };
        pairs.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// The keys of a mapping that stand there twice: each with the first one.
    pub fn duplicates(&self) -> impl Iterator<Item = (&YamlNode, &YamlNode)> {
        let pairs: &[_] = if let YamlKind::Map(pairs) = &self.kind { pairs } else { &[] };
        pairs.iter().enumerate().filter_map(move |(at, (key, _))| {
            let (first, _) = pairs[..at].iter().find(|(other, _)| other.text() == key.text())?;
            Some((key, first))
        })
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            YamlKind::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// The tag that Go names in its messages.
    pub fn tag(&self) -> &'static str {
        match &self.kind {
            YamlKind::Map(_) => "!!map",
            YamlKind::Seq(_) => "!!seq",
            YamlKind::Scalar(_, false) => "!!str",
            YamlKind::Scalar(text, true) => match text.as_str() {
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

    /// `!!str `x`` or `!!map`: how a node is in `cannot construct … into …`.
    pub fn described(&self) -> String {
        match &self.kind {
            YamlKind::Scalar(text, _) => {
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
            YamlKind::Seq(_) => 2,
            YamlKind::Map(_) => 4,
            YamlKind::Scalar(..) => 8,
        }
    }
}

/// Reads a stream. The error is Go's, beginning with `yaml: `.
pub fn read(release: OmniRelease, text: &str) -> Result<Vec<Document>, String> {
    let mut out = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for part in split(text) {
        let source: String = part.lines.iter().map(|(_, line)| format!("{line}\n")).collect();
        let first = part.lines.first().map_or(part.line, |(line, _)| *line);
        if let Err(why) = serde_yaml::from_str::<Value>(&source)
            && !why.to_string().contains("duplicate entry")
        {
            return Err(syntax_error(release, &why, first));
        }
        let root = Builder::root(&source, first).ok_or("yaml: the lab cannot read this document")?;
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

/// A comment above a document and apart from it is not rewritten.
fn counted(lines: Vec<(usize, String)>) -> Vec<(usize, String)> {
    let head = lines.iter().take_while(|(_, text)| text.trim_start().starts_with('#')).count();
    let apart = head > 0 && lines.get(head).is_some_and(|(_, text)| text.trim().is_empty());
    lines.into_iter().skip(if apart { head } else { 0 }).collect()
}

fn syntax_error(release: OmniRelease, why: &serde_yaml::Error, first: usize) -> String {
    let said = why.to_string();
    let what = said.split(" at line ").next().unwrap_or(&said).to_owned();
    let place = why.location().map(|place| (place.line() + first - 1, place.column()));
    match place {
        Some((line, _)) if release.old() => format!("yaml: line {line}: {what}"),
        Some((line, column)) => format!("yaml: line {line}, column {column}: {what}"),
        None => format!("yaml: {what}"),
    }
}

/// Makes the nodes of one document out of the parser's events.
struct Builder<'t> {
    events: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, YamlNode>,
    /// Line in the file of the document's first line.
    first: usize,
}

impl<'t> Builder<'t> {
    /// The root of a document whose syntax libyaml has accepted; `None` if this parser refuses it.
    fn root(source: &'t str, first: usize) -> Option<YamlNode> {
        let mut builder = Builder { events: Parser::new_from_str(source), anchors: HashMap::new(), first };
        loop {
            match builder.next()? {
                (Event::StreamStart | Event::DocumentStart(_), _) => {}
                (Event::StreamEnd, _) => return Some(YamlNode { line: first, column: 1, kind: YamlKind::null() }),
                (event, span) => return builder.node(event, span),
            }
        }
    }

    fn next(&mut self) -> Option<(Event<'t>, Span)> {
        self.events.next()?.ok()
    }

    fn node(&mut self, event: Event<'t>, span: Span) -> Option<YamlNode> {
        let (anchor, kind) = match event {
            Event::Alias(anchor) => return self.anchors.get(&anchor).cloned(),
            // An absent value has no length.
            Event::Scalar(_, ScalarStyle::Plain, anchor, None) if span.start == span.end => (anchor, YamlKind::null()),
            Event::Scalar(text, style, anchor, tag) => {
                (anchor, YamlKind::Scalar(text.into_owned(), style == ScalarStyle::Plain && tag.is_none()))
            }
            Event::SequenceStart(anchor, _) => (anchor, YamlKind::Seq(self.items()?)),
            Event::MappingStart(anchor, _) => (anchor, YamlKind::Map(self.pairs()?)),
            _ => return None,
        };
        let node = YamlNode { line: span.start.line() + self.first - 1, column: span.start.col() + 1, kind };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Some(node)
    }

    fn items(&mut self) -> Option<Vec<YamlNode>> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Some(items),
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn pairs(&mut self) -> Option<Vec<(YamlNode, YamlNode)>> {
        let mut pairs = Vec::new();
        loop {
            match self.next()? {
                (Event::MappingEnd, _) => return Some(pairs),
                (event, span) => {
                    let key = self.node(event, span)?;
                    let (event, span) = self.next()?;
                    pairs.push((key, self.node(event, span)?));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_keep_their_text_and_documents_their_lines() {
        let documents = read(OmniRelease::V1_9_3, "# head\n\nv: 1.30\n---\n\nkind: A\n\nb: 2\n---\n").unwrap();
        assert_eq!(documents[0].root.get("v").and_then(YamlNode::text), Some("1.30"));
        assert_eq!(documents.iter().map(|document| document.line).collect::<Vec<_>>(), [3, 4, 9]);
        let b = documents[1].root.get("b").unwrap();
        assert_eq!((b.line, documents[1].rewritten_line(b)), (8, 2));
        assert!(documents[2].root.is_null());
        assert_eq!(read(OmniRelease::V1_9_3, "").unwrap().len(), 0);
        assert_eq!(
            read(OmniRelease::V1_9_3, "a: b: c\n").unwrap_err(),
            "yaml: line 1, column 5: mapping values are not allowed in this context"
        );
    }
}
