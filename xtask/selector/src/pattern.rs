//! Regular expressions as Go reads them, for `matches()`. The regex crate matches; its syntax is RE2's with differences,
//! which are translated here (Go 1.26 regexp/syntax/parse.go): classes and word boundaries of ASCII, `\Q…\E`, octal
//! escapes, a `{` that counts nothing, brackets inside a class, and Go's limits on repetition.

use regex::bytes;
use regex_syntax::hir::{Hir, HirKind};
use regex_syntax::is_meta_character;

/// Go's maxRepeat and maxHeight.
const MAX_REPEAT: u32 = 1000;
const MAX_NESTING: u32 = 1000;

/// Classes by their name inside `[:…:]`, which the regex crate would read as letters when it does not know one.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// A compiled pattern.
#[derive(Debug, Clone)]
pub(super) struct Pattern(bytes::Regex);

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// What is wrong with it; Go refuses the same patterns in other words.
    pub(super) fn new(pattern: &str) -> Result<Pattern, String> {
        compile(pattern).map(Pattern).map_err(|why| format!("invalid regular expression `{pattern}`: {why}"))
    }

    /// True if the pattern matches anywhere in the text.
    pub(super) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text.as_bytes())
    }
}

fn compile(pattern: &str) -> Result<bytes::Regex, String> {
    let mut translation = Translation { rest: pattern, out: String::new() };
    translation.run()?;
    let translated = translation.out;
    let mut parser = regex_syntax::ParserBuilder::new().utf8(false).nest_limit(MAX_NESTING).build();
    let hir = parser.parse(&translated).map_err(|error| match error {
        regex_syntax::Error::Parse(error) => error.kind().to_string(),
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        error => error.to_string(),
    })?;
    if repeats(&hir) > MAX_REPEAT {
        return Err(format!("repetitions multiply to more than {MAX_REPEAT}"));
    }
    bytes::RegexBuilder::new(&translated).nest_limit(MAX_NESTING).build().map_err(|error| error.to_string())
}

/// How often counted repetitions inside each other repeat.
fn repeats(hir: &Hir) -> u32 {
    match hir.kind() {
        HirKind::Repetition(repetition) => {
            let times = repetition.min.max(repetition.max.unwrap_or(0)).max(1);
            repeats(&repetition.sub).saturating_mul(times)
        }
        HirKind::Capture(capture) => repeats(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(repeats).max().unwrap_or(1),
        _ => 1,
    }
}

/// From Go's syntax to the regex crate's.
struct Translation<'a> {
    rest: &'a str,
    out: String,
}

impl Translation<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn take(&mut self, prefix: &str) -> bool {
        self.rest.strip_prefix(prefix).map(|rest| self.rest = rest).is_some()
    }

    fn run(&mut self) -> Result<(), String> {
        let mut after_repetition = false;
        while let Some(c) = self.next() {
            let operator = match c {
                '*' | '+' | '?' => Some(c.to_string()),
                '{' => self.count()?,
                _ => None,
            };
            if let Some(operator) = operator {
                if std::mem::replace(&mut after_repetition, true) {
                    return Err(format!("`{operator}` repeats a repetition"));
                }
                self.out.push_str(&operator);
                if self.take("?") {
                    self.out.push('?');
                }
                continue;
            }
            after_repetition = false;
            match c {
                '.' | '^' | '$' | '|' | ')' => self.out.push(c),
                '(' => self.group()?,
                '[' => self.class()?,
                '\\' => self.escape()?,
                c => self.literal(c),
            }
        }
        Ok(())
    }

    fn literal(&mut self, c: char) {
        if is_meta_character(c) {
            self.out.push('\\');
        }
        self.out.push(c);
    }

    /// `{2}`, `{2,}` or `{2,3}` after its `{`; anything else is text.
    fn count(&mut self) -> Result<Option<String>, String> {
        let Some((body, rest)) = self.rest.split_once('}') else { return Ok(None) };
        let (least, most) = body.split_once(',').unwrap_or((body, body));
        let number = |text: &str| {
            let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
            (plain && !text.is_empty()).then(|| text.parse().unwrap_or(u32::MAX))
        };
        let Some(at_least) = number(least) else { return Ok(None) };
        let at_most = if most.is_empty() { Some(at_least) } else { number(most) };
        let Some(at_most) = at_most else { return Ok(None) };
        if at_least > MAX_REPEAT || at_most > MAX_REPEAT || at_most < at_least {
            return Err(format!("invalid repeat count {{{body}}}"));
        }
        self.rest = rest;
        Ok(Some(format!("{{{body}}}")))
    }

    /// A group after its `(`. Names do not matter for whether there is a match.
    fn group(&mut self) -> Result<(), String> {
        if self.take("?P<") || self.take("?<") {
            let (name, rest) = self.rest.split_once('>').ok_or("a group's name has no `>`")?;
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(format!("`{name}` is not a valid name of a group"));
            }
            self.rest = rest;
        } else if self.take("?") {
            return self.flags();
        }
        self.out.push_str("(?:");
        Ok(())
    }

    /// `i-s)` or `i-s:` after `(?`. Greed does not matter for whether there is a match.
    fn flags(&mut self) -> Result<(), String> {
        let (mut on, mut off, mut sign, mut seen) = (String::new(), String::new(), true, false);
        while let Some(c) = self.next() {
            match c {
                'i' | 'm' | 's' => {
                    on.retain(|flag| flag != c);
                    off.retain(|flag| flag != c);
                    if sign { on.push(c) } else { off.push(c) }
                }
                'U' => {}
                '-' if sign => {
                    (sign, seen) = (false, false);
                    continue;
                }
                ':' | ')' if sign || seen => {
                    let off = if off.is_empty() { off } else { format!("-{off}") };
                    match (c, on.is_empty() && off.is_empty()) {
                        (')', true) => {}
                        _ => self.out.push_str(&format!("(?{on}{off}{c}")),
                    }
                    return Ok(());
                }
                _ => return Err(format!("unsupported flag or group `(?{c}`")),
            }
            seen = true;
        }
        Err("flags have no `)`".to_owned())
    }

    fn escape(&mut self) -> Result<(), String> {
        let c = self.next().ok_or("trailing backslash")?;
        match c {
            'Q' => {
                let (text, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
                self.rest = rest;
                text.chars().for_each(|c| self.literal(c));
            }
            'A' | 'z' => self.out.extend(['\\', c]),
            'b' | 'B' => self.out.push_str(&format!("(?-u:\\{c})")),
            c => match named_class(c) {
                Some(class) => self.out.push_str(class),
                None if matches!(c, 'p' | 'P') => self.unicode(c)?,
                None => {
                    let c = self.escaped(c)?;
                    self.literal(c);
                }
            },
        }
        Ok(())
    }

    /// `\pL`, `\p{Lu}`, `\P{^Greek}`: a category or a script, and no other property.
    fn unicode(&mut self, sign: char) -> Result<(), String> {
        let name = match self.take("{") {
            true => {
                let (name, rest) = self.rest.split_once('}').ok_or("a class has no `}`")?;
                self.rest = rest;
                name.to_owned()
            }
            false => self.next().ok_or("`\\p` needs a class")?.to_string(),
        };
        let (plain, sign) = match name.strip_prefix('^') {
            Some(plain) => (plain, if sign == 'p' { 'P' } else { 'p' }),
            None => (name.as_str(), sign),
        };
        let forms = ["gc", "sc"].map(|kind| format!("\\{sign}{{{kind}={plain}}}"));
        let known = forms.iter().find(|form| regex_syntax::parse(form).is_ok());
        self.out.push_str(known.ok_or(format!("unknown class \\{sign}{{{plain}}}"))?);
        Ok(())
    }

    /// The character that an escape after its backslash means.
    fn escaped(&mut self, c: char) -> Result<char, String> {
        let bad = || format!("invalid escape sequence \\{c}");
        let code = match c {
            'a' => 7,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            'x' => self.hexadecimal().ok_or_else(bad)?,
            // `\1` to `\7` alone would be a back reference, which RE2 has not.
            '0'..='7' if c == '0' || self.rest.starts_with(|next| matches!(next, '0'..='7')) => {
                let len = self.rest.bytes().take(2).take_while(|digit| matches!(digit, b'0'..=b'7')).count();
                let (digits, rest) = self.rest.split_at(len);
                self.rest = rest;
                u32::from_str_radix(&format!("{c}{digits}"), 8).unwrap_or(0)
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => c.into(),
            _ => return Err(bad()),
        };
        char::from_u32(code).ok_or_else(bad)
    }

    /// `6c` or `{6c}` after `\x`.
    fn hexadecimal(&mut self) -> Option<u32> {
        let (digits, rest) = match self.rest.strip_prefix('{') {
            Some(body) => body.split_once('}')?,
            None => self.rest.split_at_checked(2)?,
        };
        self.rest = rest;
        // from_str_radix takes a sign.
        digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
    }

    /// A class after its `[`. Characters are written by their numbers: the regex crate gives `[`, `&&` and `~~` a meaning.
    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.take("^") {
            self.out.push('^');
        }
        let mut first = true;
        while first || !self.take("]") {
            first = false;
            if self.named()? {
                continue;
            }
            let low = self.class_char()?;
            let open = self.rest.strip_prefix('-').is_some_and(|rest| !rest.is_empty() && !rest.starts_with(']'));
            let high = if open && self.take("-") { self.class_char()? } else { low };
            if high < low {
                return Err(format!("the range {low}-{high} is reversed"));
            }
            self.out.push_str(&format!("\\x{{{:x}}}-\\x{{{:x}}}", u32::from(low), u32::from(high)));
        }
        self.out.push(']');
        Ok(())
    }

    /// `[:alpha:]`, `\d` or `\pL` inside a class.
    fn named(&mut self) -> Result<bool, String> {
        if let Some((name, rest)) = self.rest.strip_prefix("[:").and_then(|rest| rest.split_once(":]")) {
            if !POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
                return Err(format!("unknown class [:{name}:]"));
            }
            self.out.push_str(&format!("[:{name}:]"));
            self.rest = rest;
            return Ok(true);
        }
        let Some(c) = self.rest.strip_prefix('\\').and_then(|rest| rest.chars().next()) else { return Ok(false) };
        let class = named_class(c);
        if class.is_none() && !matches!(c, 'p' | 'P') {
            return Ok(false);
        }
        self.rest = &self.rest[2..];
        match class {
            Some(class) => self.out.push_str(class),
            None => self.unicode(c)?,
        }
        Ok(true)
    }

    fn class_char(&mut self) -> Result<char, String> {
        match self.next().ok_or("unclosed character class")? {
            '\\' => {
                let c = self.next().ok_or("trailing backslash")?;
                self.escaped(c)
            }
            c => Ok(c),
        }
    }
}

/// `\d` and its relatives, which are of ASCII in Go.
fn named_class(letter: char) -> Option<&'static str> {
    Some(match letter {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => r"[\t\n\f\r ]",
        'S' => r"[^\t\n\f\r ]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).unwrap_or_else(|error| panic!("{error}")).is_match(text)
    }

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, text, matched) in [
            (r"^\d+$", "٣", false),
            (r"^\w+$", "größe", false),
            (r"e\b", "größe", true),
            (r"\Qa.b\E$", "a.b", true),
            (r"\Qa.b\E$", "axb", false),
            (r"^\141\x62\x{63}$", "abc", true),
            ("a{,2}", "a{,2}", true),
            ("^a{2,3}$", "aaa", true),
            ("^[[a&&b]+$", "[&b", true),
            ("^[]a-]+$", "]-a", true),
            (r"^[^\D]$", "7", true),
            (r"\<a\>", "<a>", true),
            ("(?i)(?-i)A", "a", false),
            ("(?ii)A", "a", true),
            ("()(?)a", "a", true),
            (r"^\p{Greek}\P{^Lu}$", "αA", true),
            ("(?P<1>a)(?P<1>b)", "ab", true),
            ("a$", "a\n", false),
            ("(?m)a$", "a\nb", true),
            (".", "\n", false),
            ("(?s).", "\n", true),
        ] {
            assert_eq!(matches(pattern, text), matched, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn patterns_that_go_refuses_are_invalid() {
        for pattern in [
            "(",
            ")",
            "[a",
            "[z-a]",
            r"[a-\d]",
            "*",
            "a**",
            "a{2}{3}",
            "a{2,1}",
            "a{1001}",
            "(a{1000}){2}",
            r"\q",
            r"\8",
            r"\1",
            "\\",
            "(?z)a",
            "(?=a)",
            "(?x)a",
            "(?-)a",
            "(?P<n",
            "[[:foo:]]",
            r"\pX",
            r"\p{Alphabetic}",
            r"\p{sc=Greek}",
            r"\u0061",
            r"\x4",
            r"\x{+41}",
            r"\x{d800}",
            r"[\b]",
        ] {
            let error = Pattern::new(pattern).map(|_| ()).expect_err(pattern);
            assert!(error.starts_with(&format!("invalid regular expression `{pattern}`: ")), "{error}");
        }
    }

    #[test]
    fn hostile_patterns_end() {
        assert!(Pattern::new(&"(".repeat(100_000)).is_err());
        assert!(Pattern::new(&"(a|".repeat(2_000)).is_err());
        assert!(!matches("(a*)*(a|aa)+$", &("a".repeat(2_000) + "!")));
    }
}
