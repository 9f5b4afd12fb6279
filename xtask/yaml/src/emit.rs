//! Writes a tree as YAML, for conversions. Comments are not part of the tree and are lost.

use super::quote::quote;
use super::scalar::{Style, Value};
use super::tree::{Data, Node};

/// Formats a node as block YAML; each line is indented by `indent` spaces and ends with a line feed. A scalar is one line.
pub fn emit(node: &Node, indent: usize) -> String {
    let mut out = String::new();
    write(node, indent, &mut out);
    out
}

fn write(node: &Node, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    match &node.data {
        Data::Map(entries) => {
            for entry in entries {
                out.push_str(&format!("{pad}{}:", quote(&entry.key)));
                write_value(&entry.value, indent + 2, out);
            }
        }
        Data::Seq(items) => {
            for item in items {
                let mut inner = String::new();
                match &item.data {
                    Data::Map(entries) if !entries.is_empty() => {
                        write(item, indent + 2, &mut inner);
                        out.push_str(&format!("{pad}- {}", inner.trim_start_matches(' ')));
                    }
                    _ => {
                        out.push_str(&format!("{pad}-"));
                        write_value(item, indent + 2, out);
                    }
                }
            }
        }
        Data::Scalar(_) => out.push_str(&format!("{pad}{}\n", scalar(node))),
    }
}

/// Writes a value after `key:` or `-`.
fn write_value(node: &Node, indent: usize, out: &mut String) {
    match &node.data {
        Data::Map(entries) if entries.is_empty() => out.push_str(" {}\n"),
        Data::Seq(items) if items.is_empty() => out.push_str(" []\n"),
        Data::Map(_) | Data::Seq(_) => {
            out.push('\n');
            write(node, indent, out);
        }
        Data::Scalar(s) if is_block(&s.text) => {
            let pad = " ".repeat(indent);
            let keep = match s.text.strip_suffix('\n') {
                None => "-",
                Some(rest) if rest.ends_with('\n') => "+",
                Some(_) => "",
            };
            out.push_str(&format!(" |{keep}\n"));
            for line in s.text.strip_suffix('\n').unwrap_or(&s.text).split('\n') {
                out.push_str(&if line.is_empty() { "\n".to_owned() } else { format!("{pad}{line}\n") });
            }
        }
        Data::Scalar(_) => out.push_str(&format!(" {}\n", scalar(node))),
    }
}

/// Whether a text has several lines and can be written unchanged as a literal block.
fn is_block(text: &str) -> bool {
    let odd = |c: char| c.is_control() && c != '\n' && c != '\t';
    text.contains('\n') && !text.starts_with([' ', '\n', '\t']) && !text.contains(odd) && !text.contains('\u{feff}')
}

fn scalar(node: &Node) -> String {
    match (node.value(), node.scalar()) {
        (Some(Value::Str(text)), _) => quote(text),
        (Some(Value::Null), _) => "null".to_owned(),
        (_, Some(s)) if s.style == Style::Plain => s.text.clone(),
        (_, Some(s)) => quote(&s.text),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load;

    #[test]
    fn emitted_text_parses_back() {
        let text = "a: 1\nb: [x, {c: d, e: [1, '2']}, [], {}]\nf: |\n  line\n\n    more\n  end\ng: \"yes\"\nh:\ni: >-\n  a b\n- bad";
        let text = text.strip_suffix("\n- bad").expect("a suffix");
        let first = load("a", text.as_bytes());
        assert!(first.findings.is_empty(), "{:?}", first.findings);
        let root = &first.documents[0].root;
        let written = emit(root, 0);
        let second = load("b", written.as_bytes());
        assert_eq!(plain(root), plain(&second.documents[0].root), "{written}");
        assert_eq!(emit(&second.documents[0].root, 0), written);
    }

    fn plain(node: &Node) -> String {
        match &node.data {
            Data::Map(entries) => {
                let all: Vec<String> = entries.iter().map(|e| format!("{:?}: {}", e.key, plain(&e.value))).collect();
                format!("{{{}}}", all.join(", "))
            }
            Data::Seq(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(", ")),
            Data::Scalar(_) => format!("{:?}", node.value()),
        }
    }
}
