//! The storage selector language: CEL's standard library and macros over four variables, typed as cel-go types them, with
//! cel-go's error texts (omni-infra-provider-proxmox 0d9fd58 provision.go:585; google/cel-go through siderolabs/talos
//! pkg/machinery/cel). Extensions are not there, as they are not there.

mod check;
mod eval;
mod parse;

/// What a storage is to a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Variable `name`.
    pub name: String,
    /// Variable `node`.
    pub node: String,
    /// Variable `storageType`.
    pub storage_type: String,
    /// Variable `availableSpace`, bytes, a `uint`.
    pub available_space: u64,
}

/// Whether a selector chooses a storage. The error is the text that the provider logs.
pub fn matches(selector: &str, storage: &Storage) -> Result<bool, String> {
    let expr = parse::parse(selector)?;
    check::boolean(&expr, selector)?;
    eval::boolean(&expr, storage)
}

/// An expression and where it stands: the offset in characters that an error about it names.
#[derive(Clone, Debug, PartialEq)]
struct Expr {
    at: usize,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Str(String),
    Bytes(Vec<u8>),
    Ident(String),
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    Select(Box<Expr>, String),
    /// An operator or a function; operators by their names in cel-go, such as `_>_`.
    Call {
        name: String,
        target: Option<Box<Expr>>,
        args: Vec<Expr>,
    },
    /// `range.all(var, body)` and its kin; `map` may have a filter before its body.
    Macro {
        name: String,
        range: Box<Expr>,
        var: String,
        bodies: Vec<Expr>,
    },
    /// `has(a.b)`
    Has(Box<Expr>, String),
}

/// An error with the line of the expression and a mark below it, as cel-go prints it.
fn report(source: &str, at: usize, what: &str) -> String {
    let before: String = source.chars().take(at).collect();
    let line_number = before.matches('\n').count();
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
    let line = source.split('\n').nth(line_number).unwrap_or_default();
    if source.is_empty() {
        return format!("ERROR: <input>:1:0: {what}");
    }
    let dots = ".".repeat(column);
    format!("ERROR: <input>:{}:{}: {what}\n | {line}\n | {dots}^", line_number + 1, column + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line is an expression and what cel-go v0.27 answered: a value, `C:` an error of compilation, `E:` of evaluation.
    #[test]
    fn answers_are_those_of_cel_go() {
        let storage = Storage {
            name: "local-lvm".to_owned(),
            node: "pve1".to_owned(),
            storage_type: "lvmthin".to_owned(),
            available_space: 858_993_459_200,
        };
        let mut checked = 0;
        for line in include_str!("cel/truth.jsonl").lines() {
            let [source, wanted]: [String; 2] = serde_json::from_str(line).unwrap();
            let got = match matches(&source, &storage) {
                Ok(value) => value.to_string(),
                Err(text) => text,
            };
            let wanted = wanted.trim_start_matches("C:").trim_start_matches("E:");
            assert_eq!(got, wanted, "{source}");
            checked += 1;
        }
        assert!(checked > 60, "{checked}");
    }

    #[test]
    fn nothing_panics() {
        let storage =
            Storage { name: String::new(), node: String::new(), storage_type: String::new(), available_space: 0 };
        for source in
            ["((((", "a.b.c[", "1 ? : 2", "'\\x'", "{1:}", "[,]", "\u{1F600}", "a(b)(c)", "-9223372036854775808"]
        {
            let _ = matches(source, &storage);
        }
        let deep = "(".repeat(5_000) + "true" + &")".repeat(5_000);
        assert!(matches(&deep, &storage).unwrap_err().contains("recursion"));
    }
}
