//! The functions and operators of CEL's standard library with their overloads, parsed from `stdlib.txt`.

use std::sync::LazyLock;

use super::types::Type;

/// An overload: its arguments (the receiver first) and its result; its type variables are 0 and 1.
#[derive(Debug)]
pub(super) struct Overload {
    pub member: bool,
    /// Whether it compares numbers of different types. cel-go disables these overloads in the environment, but not after it has
    /// entered the scope of a comprehension (checker/env.go enterScope): `availableSpace > 1` is rejected, but
    /// `[1].all(x, true) && availableSpace > 1` is not.
    pub mixed: bool,
    pub args: Vec<Type>,
    pub result: Type,
}

/// A function of the library; operators have their name in cel-go, `_==_`.
#[derive(Debug)]
pub(super) struct Function {
    pub name: &'static str,
    pub overloads: Vec<Overload>,
}

/// Returns the function with this name.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    static FUNCTIONS: LazyLock<Vec<Function>> = LazyLock::new(|| {
        let lines = include_str!("stdlib.txt").lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| function(line).unwrap_or_else(|| panic!("stdlib.txt: {line}"))).collect()
    });
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// Parses a line of the table.
pub(super) fn function(line: &'static str) -> Option<Function> {
    let mut words = line.split(' ');
    Some(Function { name: words.next()?, overloads: words.map(overload).collect::<Option<_>>()? })
}

fn overload(text: &'static str) -> Option<Overload> {
    let (args, result) = text.trim_start_matches(['.', '~']).split_once(':')?;
    let args = args.split(',').map(Type::parse_table_type).collect::<Option<_>>()?;
    Some(Overload {
        member: text.starts_with('.'),
        mixed: text.starts_with('~'),
        args,
        result: Type::parse_table_type(result)?,
    })
}
