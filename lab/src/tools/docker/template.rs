//! The part of Go's templates (text/template) that `docker … --format` is called with: fields, `json`, `println`, `len`,
//! `range`, `if` and text. The program executes them on the document that it would print without a format, and says of a
//! key that is not there what the recorded docker 28.2 said.

use serde_yaml::Value;

/// Why a template gave nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum Problem {
    /// What docker says of it.
    Said(String),
    /// It is of a form that is not simulated.
    Unknown,
}

enum Node {
    Text(String),
    Show(Vec<Word>),
    Range(Field, Vec<Node>),
    If(Field, Vec<Node>, Vec<Node>),
}

enum Word {
    Field(Field),
    Text(String),
    Name(String),
}

/// `.A.B`, and where it stands in the template.
struct Field {
    path: Vec<String>,
    at: usize,
}

/// What an open block ends with.
#[derive(PartialEq, Eq)]
enum Stop {
    Text,
    End,
    Else,
}

/// Executes a template on a document.
pub fn execute(template: &str, document: &Value) -> Result<String, Problem> {
    let mut at = 0;
    let (nodes, end) = block(template, &mut at)?;
    if end != Stop::Text {
        return Err(Problem::Unknown);
    }
    let mut out = String::new();
    run(&nodes, document, &mut out)?;
    Ok(out)
}

fn block(template: &str, at: &mut usize) -> Result<(Vec<Node>, Stop), Problem> {
    let mut nodes = Vec::new();
    loop {
        let rest = &template[*at..];
        let Some(open) = rest.find("{{") else {
            nodes.push(Node::Text(rest.to_owned()));
            *at = template.len();
            return Ok((nodes, Stop::Text));
        };
        nodes.push(Node::Text(rest[..open].to_owned()));
        let start = *at + open + 2;
        let close = template[start..].find("}}").ok_or(Problem::Unknown)?;
        let inner = &template[start..start + close];
        *at = start + close + 2;
        let mut words = words(inner, start)?;
        match words.first() {
            Some(Word::Name(name)) if name == "end" && words.len() == 1 => return Ok((nodes, Stop::End)),
            Some(Word::Name(name)) if name == "else" && words.len() == 1 => return Ok((nodes, Stop::Else)),
            Some(Word::Name(name)) if (name == "range" || name == "if") && words.len() == 2 => {
                let range = name == "range";
                let Some(Word::Field(field)) = words.pop() else { return Err(Problem::Unknown) };
                let (inside, end) = block(template, at)?;
                let otherwise = match (range, end) {
                    (_, Stop::End) => Vec::new(),
                    (false, Stop::Else) => match block(template, at)? {
                        (otherwise, Stop::End) => otherwise,
                        _ => return Err(Problem::Unknown),
                    },
                    _ => return Err(Problem::Unknown),
                };
                nodes.push(if range { Node::Range(field, inside) } else { Node::If(field, inside, otherwise) });
            }
            Some(_) => nodes.push(Node::Show(words)),
            None => return Err(Problem::Unknown),
        }
    }
}

/// The words of an action that begins at byte `start` of the template.
fn words(inner: &str, start: usize) -> Result<Vec<Word>, Problem> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < inner.len() {
        let rest = &inner[at..];
        if rest.starts_with(' ') {
            at += 1;
            continue;
        }
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').ok_or(Problem::Unknown)?;
            out.push(Word::Text(quoted[..end].replace("\\n", "\n").replace("\\t", "\t")));
            at += end + 2;
            continue;
        }
        let end = rest.find(' ').unwrap_or(rest.len());
        let word = &rest[..end];
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        out.push(match word.strip_prefix('.') {
            Some("") => Word::Field(Field { path: Vec::new(), at: start + at }),
            Some(path) if path.split('.').all(|part| !part.is_empty() && part.chars().all(plain)) => {
                Word::Field(Field { path: path.split('.').map(str::to_owned).collect(), at: start + at })
            }
            None if word.chars().all(plain) => Word::Name(word.to_owned()),
            _ => return Err(Problem::Unknown),
        });
        at += end;
    }
    Ok(out)
}

fn run(nodes: &[Node], dot: &Value, out: &mut String) -> Result<(), Problem> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Show(words) => out.push_str(&show(words, dot)?),
            Node::Range(field, inside) => match value(field, dot)? {
                Value::Sequence(items) => items.iter().try_for_each(|item| run(inside, item, out))?,
                Value::Mapping(map) => map.values().try_for_each(|item| run(inside, item, out))?,
                _ => {}
            },
            Node::If(field, inside, otherwise) => {
                run(if truth(value(field, dot)?) { inside } else { otherwise }, dot, out)?;
            }
        }
    }
    Ok(())
}

fn show(words: &[Word], dot: &Value) -> Result<String, Problem> {
    match words {
        [Word::Name(name), args @ ..] if name == "println" => {
            let args: Vec<String> = args.iter().map(|arg| text(arg, dot)).collect::<Result<_, _>>()?;
            Ok(args.join(" ") + "\n")
        }
        [Word::Name(name), Word::Field(field)] if name == "json" => {
            serde_json::to_string(value(field, dot)?).map_err(|_| Problem::Unknown)
        }
        [Word::Name(name), Word::Field(field)] if name == "len" => match value(field, dot)? {
            Value::Sequence(items) => Ok(items.len().to_string()),
            Value::Mapping(map) => Ok(map.len().to_string()),
            _ => Err(Problem::Unknown),
        },
        [Word::Name(_), ..] => Err(Problem::Unknown),
        [word] => text(word, dot),
        _ => Err(Problem::Unknown),
    }
}

fn text(word: &Word, dot: &Value) -> Result<String, Problem> {
    match word {
        Word::Text(text) => Ok(text.clone()),
        Word::Name(_) => Err(Problem::Unknown),
        Word::Field(field) => Ok(go(value(field, dot)?)),
    }
}

/// A value as fmt's `%v` prints it.
fn go(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(yes) => yes.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Sequence(items) => format!("[{}]", items.iter().map(go).collect::<Vec<_>>().join(" ")),
        Value::Mapping(map) => {
            let pairs = map.iter().map(|(key, value)| format!("{}:{}", go(key), go(value)));
            format!("map[{}]", pairs.collect::<Vec<_>>().join(" "))
        }
        Value::Tagged(tagged) => go(&tagged.value),
    }
}

fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Sequence(items) => !items.is_empty(),
        Value::Mapping(map) => !map.is_empty(),
        Value::Tagged(tagged) => truth(&tagged.value),
    }
}

fn value<'v>(field: &Field, dot: &'v Value) -> Result<&'v Value, Problem> {
    let (mut found, mut at) = (dot, field.at);
    for key in &field.path {
        found = found.get(key.as_str()).ok_or_else(|| {
            let whole = field.path.join(".");
            Problem::Said(format!(
                "template parsing error: template: :1:{at}: executing \"\" at <.{whole}>: map has no entry for key {key:?}"
            ))
        })?;
        at += key.len() + 1;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_executed_as_by_docker() {
        let document: Value = serde_yaml::from_str(
            "{A: {B: x, N: 3, Empty: ''}, List: [{D: /one, RW: true}, {D: /two, RW: false}], Text: 'a <b>'}",
        )
        .unwrap();
        for (template, wanted) in [
            ("{{.A.B}}-{{.A.N}}", "x-3"),
            (r#"{"l":{{json .List}}}"#, r#"{"l":[{"D":"/one","RW":true},{"D":"/two","RW":false}]}"#),
            ("{{range .List}}{{.D}}{{\"\\n\"}}{{end}}", "/one\n/two\n"),
            ("{{range .List}}{{println .D .RW}}{{end}}", "/one true\n/two false\n"),
            ("{{if .A.Empty}}yes{{else}}no{{end}} {{if .A.N}}n{{end}}", "no n"),
            ("{{len .List}}", "2"),
        ] {
            assert_eq!(execute(template, &document).as_deref(), Ok(wanted), "{template}");
        }
        // Recorded with docker 28.2.2.
        for (template, wanted) in [
            ("{{.Nope}}", ":1:2: executing \"\" at <.Nope>: map has no entry for key \"Nope\""),
            ("{{.A.Health.Status}}", ":1:4: executing \"\" at <.A.Health.Status>: map has no entry for key \"Health\""),
        ] {
            let wanted = format!("template parsing error: template: {wanted}");
            assert_eq!(execute(template, &document), Err(Problem::Said(wanted)));
        }
        for template in ["{{.A | json}}", "{{index .A \"B\"}}", "{{end}}", "{{.A", "{{range .List}}", "{{}}"] {
            assert_eq!(execute(template, &document), Err(Problem::Unknown), "{template}");
        }
    }
}
