//! Compares selectors with the recorded results of cel-go in `truth.tsv`, created as described in README.md.

use selector::{Storage, check_for_talos, compile, is_letter_or_digit, words};

const TRUTH: &str = include_str!("truth.tsv");

/// The storages behind the evaluation columns, in order.
const STORAGES: [Storage<'static>; 4] = [
    Storage { name: "local-lvm", node: "pve1", storage_type: "lvmthin", available_space: 107_374_182_400 },
    Storage { name: "vm_ssd", node: "pve1", storage_type: "rbd", available_space: 5_497_558_138_880 },
    Storage { name: "local", node: "pve2", storage_type: "dir", available_space: 0 },
    Storage { name: "größe.1", node: "", storage_type: "zfspool", available_space: u64::MAX },
];

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some('\\') => out.push('\\'),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}

/// Stands for a row whose expression compiles but is not evaluated here.
const UNDECIDED: &str = "undecided";

/// Returns our row for an expression, in the format of the file.
fn row(expression: &str) -> String {
    let source = unescape(expression);
    let mut columns = vec![expression.to_owned()];
    match compile(&source) {
        Err(error) if !error.certain => return UNDECIDED.to_owned(),
        Err(error) => columns.push(error.line.split('\n').next().unwrap_or_default().replace('\t', "\\t")),
        Ok(program) => {
            columns.push("ok".to_owned());
            for storage in &STORAGES {
                columns.push(match program.matches(storage) {
                    Ok(matched) => matched.to_string(),
                    Err(error) => format!("error: {}", error.to_string().split('\n').next().unwrap_or_default()),
                });
            }
        }
    }
    columns.join("\t")
}

/// Whether an expression contains times or patterns.
fn uses_time_or_pattern(expression: &str) -> bool {
    let words = ["timestamp(", "duration(", ".Timestamp", ".Duration", ".get", "matches("];
    words.iter().any(|word| expression.contains(word))
}

/// Removes the details of regular expression errors from a row: those of Go and of the regex crate differ.
fn without_regex_details(row: &str) -> String {
    const WORDS: [&str; 2] = ["error: error parsing regexp", "error: invalid regular expression"];
    let column = |text: &str| match WORDS.iter().any(|words| text.starts_with(words)) {
        true => WORDS[1].to_owned(),
        false => text.to_owned(),
    };
    row.split('\t').map(column).collect::<Vec<_>>().join("\t")
}

#[test]
fn verdicts_match_cel_go() {
    let rows: Vec<&str> = TRUTH.lines().collect();
    assert!(rows.len() >= 300, "the corpus has {} expressions", rows.len());
    let mut wrong = Vec::new();
    for expected in &rows {
        let expression = expected.split('\t').next().unwrap_or_default();
        let got = row(expression);
        let undecided = got == UNDECIDED && expected.contains("\tok\t") && uses_time_or_pattern(expression);
        if !undecided && without_regex_details(&got) != without_regex_details(expected) {
            wrong.push(format!("- {expected}\n+ {got}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

/// Expressions from `talos.tsv`, whose header describes the columns.
#[test]
fn talos_selectors_compile_like_talos() {
    for line in include_str!("talos.tsv").lines().filter(|line| !line.starts_with('#')) {
        let [real, of, expression] = line.splitn(3, '\t').collect::<Vec<_>>().try_into().expect(line);
        // An empty expression selects nothing and is not rejected.
        let refused = check_for_talos(expression, of, 13).is_err();
        assert!(expression.is_empty() || refused == (real == "reject"), "{line}");
    }
}

#[test]
fn compile_error_has_position_and_hint() {
    let error = compile("name == \"a\"\n  && storagetype == \"rbd\"").expect_err("a typo");
    assert_eq!((error.at.line, error.at.column), (2, 6));
    assert_eq!(error.hint.as_deref(), Some("did you mean `storageType`?"));
    for (expression, hint) in [
        ("type == \"dir\"", "did you mean `storageType`?"),
        ("availableSpace > 100", "e.g. `100u`"),
        ("availableSpace > 1.5", "double(availableSpace)"),
        ("storage.filter(s, true)[0].storage", "once for each storage"),
        ("enabled && true", "availableSpace > 0u"),
        ("name = \"a\"", "`==`"),
        ("name == “a”", "typographic"),
        ("name == \"a\" and true", "`&&`"),
        ("name.lowerAscii() == \"a\"", "extensions"),
        ("name", "write a comparison"),
    ] {
        let error = compile(expression).expect_err(expression);
        assert!(error.hint.as_deref().unwrap_or_default().contains(hint), "{expression}: {error:?}");
    }
}

/// Same as cel-go: the column counts from 1, the dots from 0.
#[test]
fn report_marks_the_column_below_the_line() {
    let report = |source: &str| compile(source).expect_err(source).report;
    let expected =
        "ERROR: <input>:2:6: undeclared reference to 'nam' (in container '')\n |   && nam == \"b\"\n | .....^";
    assert_eq!(report("name == \"a\"\n  && nam == \"b\""), expected);
    let both = report("nam == enabled").lines().filter(|line| line.starts_with("ERROR")).count();
    assert_eq!(both, 2);
}

#[test]
fn tokens_and_letters_match_the_language() {
    assert_eq!(words("a && b"), Some(vec![("a", 0..1), ("&&", 2..4), ("b", 5..6)]));
    assert_eq!(words("a # b"), None);
    let letters: String = "aZ9ßж٣_-. €²".chars().filter(|c| is_letter_or_digit(*c)).collect();
    assert_eq!(letters, "aZ9ßж٣");
    let uses = |source: &str| compile(source).expect(source).uses_storage();
    assert_eq!(["true", "1 < 2", "name != \"\"", ".node == \"a\""].map(uses), [false, false, true, true]);
}

#[test]
fn explain_mismatch_names_the_deciding_part() {
    let why = |expression: &str| compile(expression).expect(expression).explain_mismatch(&STORAGES[2]);
    assert_eq!(why("storageType == \"dir\" && (node == \"pve2\" && name == \"x\")"), "name == \"x\"");
    assert_eq!(why("node == \"pve2\" ? name == \"x\" : true"), "name == \"x\"");
    assert_eq!(why("name == \"x\" || name == \"y\""), "name == \"x\" || name == \"y\"");
    let error = compile("name != \"\" && 1u / availableSpace > 0u").expect("valid").matches(&STORAGES[2]);
    assert_eq!(error.expect_err("division by zero").part, "1u / availableSpace");
}

#[test]
fn limits_match_cel_go() {
    let nested = |n: usize| format!("{}true{}", "(".repeat(n), ")".repeat(n));
    assert!(compile(&nested(249)).is_ok());
    let error = compile(&nested(250)).expect_err("too deep");
    assert_eq!(error.line, "ERROR: <input>:-1:0: expression recursion limit exceeded: 250");
    // Maximum number of sums in place of `N`.
    for (expression, most) in [
        ("N > 0", 249),
        ("true ? N > 0 : true", 248),
        ("true ? true : N > 0", 248),
        ("N > 0 ? true : false", 248),
        ("[N] == [1]", 249),
        ("[1][N] > 0", 248),
        ("{N: 1} == {}", 249),
        ("size([N].map(x, x)) > 0", 248),
        ("-(N) > 0", 249),
        ("true && N > 0", 249),
        ("int(N) > 0", 249),
    ] {
        let sum = |n: usize| compile(&expression.replace('N', &format!("1{}", "+1".repeat(n))));
        assert!(sum(most).is_ok(), "{expression}: {:?}", sum(most));
        assert_eq!(sum(most + 1).expect_err(expression).message, "max recursion depth exceeded", "{expression}");
    }
    assert!(compile(&format!("true{}", " && true".repeat(3000))).is_ok());
    let error = compile(&"a".repeat(100_001)).expect_err("too long");
    assert_eq!(error.message, "expression code point size exceeds limit: size: 100001, limit 100000");
}

#[test]
fn hostile_nested_comprehensions_terminate() {
    let list = format!("[{}]", vec!["1"; 40].join(","));
    let mut expression = "x0 == 2".to_owned();
    for n in 0..8 {
        expression = format!("{list}.exists(x{n}, {expression})");
    }
    let program = compile(&expression).expect("valid");
    let error = program.matches(&STORAGES[0]).expect_err("too long");
    assert!(error.message.contains("steps"), "{error}");
}
