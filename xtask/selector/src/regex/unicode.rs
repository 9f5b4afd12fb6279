//! The classes of Unicode that a pattern can name, and which characters are the same without regard to case, as Go's
//! regexp/syntax has them (Go 1.26 parse.go unicodeTable, unicode.SimpleFold).

const TABLE: &str = include_str!("../../data/unicode-classes.txt");

/// The long names that Go takes for a category, without `_` (unicode.CategoryAliases).
const ALIASES: &[(&str, &str)] = &[
    ("Casedletter", "Lc"),
    ("Closepunctuation", "Pe"),
    ("Cntrl", "Cc"),
    ("Combiningmark", "M"),
    ("Connectorpunctuation", "Pc"),
    ("Control", "Cc"),
    ("Currencysymbol", "Sc"),
    ("Dashpunctuation", "Pd"),
    ("Decimalnumber", "Nd"),
    ("Digit", "Nd"),
    ("Enclosingmark", "Me"),
    ("Finalpunctuation", "Pf"),
    ("Format", "Cf"),
    ("Initialpunctuation", "Pi"),
    ("Letter", "L"),
    ("Letternumber", "Nl"),
    ("Lineseparator", "Zl"),
    ("Lowercaseletter", "Ll"),
    ("Mark", "M"),
    ("Mathsymbol", "Sm"),
    ("Modifierletter", "Lm"),
    ("Modifiersymbol", "Sk"),
    ("Nonspacingmark", "Mn"),
    ("Number", "N"),
    ("Openpunctuation", "Ps"),
    ("Other", "C"),
    ("Otherletter", "Lo"),
    ("Othernumber", "No"),
    ("Otherpunctuation", "Po"),
    ("Othersymbol", "So"),
    ("Paragraphseparator", "Zp"),
    ("Privateuse", "Co"),
    ("Punct", "P"),
    ("Punctuation", "P"),
    ("Separator", "Z"),
    ("Spaceseparator", "Zs"),
    ("Spacingmark", "Mc"),
    ("Surrogate", "Cs"),
    ("Symbol", "S"),
    ("Titlecaseletter", "Lt"),
    ("Unassigned", "Cn"),
    ("Uppercaseletter", "Lu"),
];

/// Characters that are the same without regard to case and that lower and upper case alone do not bring together.
const ORBITS: &[&str] = &[
    "Kk\u{212a}",
    "Ssſ",
    "\u{b5}\u{39c}\u{3bc}",
    "Åå\u{212b}",
    "ßẞ",
    "Ǆǅǆ",
    "Ǉǈǉ",
    "Ǌǋǌ",
    "Ǳǲǳ",
    "\u{345}\u{399}\u{3b9}\u{1fbe}",
    "Ββϐ",
    "Εεϵ",
    "Θθϑϴ",
    "Κκϰ",
    "Ππϖ",
    "Ρρϱ",
    "Σςσ",
    "Φφϕ",
    "Ωω\u{2126}",
    "Ввᲀ",
    "Ддᲁ",
    "Ооᲂ",
    "Ссᲃ",
    "Ттᲄᲅ",
    "Ъъᲆ",
    "Ѣѣᲇ",
    "ᲈꙊꙋ",
    "Ṡṡẛ",
];

/// Sorted ranges of a class; the flag says that everything outside of them is meant.
pub(super) type Table = (Vec<(char, char)>, bool);

/// The class of that name: case, spaces, `-` and `_` in it do not matter. `None` if Go knows none.
pub(super) fn table(name: &str) -> Option<Table> {
    let name = canonical(name);
    let name = ALIASES.iter().find(|(long, _)| *long == name).map_or(name.as_str(), |(_, short)| short);
    match name {
        "Any" => return Some((vec![('\0', char::MAX)], false)),
        "Ascii" => return Some((vec![('\0', '\u{7f}')], false)),
        "Assigned" => return Some((collect(|_| true), false)),
        "Cn" => return Some((collect(|_| true), true)),
        // No character of a text is a surrogate.
        "Cs" => return Some((Vec::new(), false)),
        // Everything that is in none of the other categories.
        "C" => return Some((collect(|n| !n.starts_with('C')), true)),
        "Lc" => return Some((collect(|n| matches!(n, "Lu" | "Ll" | "Lt")), false)),
        _ => {}
    }
    let ranges = match name.len() {
        1 => collect(|n| n.starts_with(name)),
        _ => lines().find(|(n, _)| *n == name).map(|(_, body)| ranges(body))?,
    };
    (!ranges.is_empty()).then_some((ranges, false))
}

/// As Go's canonicalName: a capital, then small letters alone.
fn canonical(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut first = true;
    for c in name.chars() {
        match c {
            '_' | '-' | ' ' => {}
            c if first => out.push(c.to_ascii_uppercase()),
            c => out.push(c.to_ascii_lowercase()),
        }
        first &= matches!(c, '_' | '-' | ' ');
    }
    out
}

/// The names of the table with what follows them.
fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    let body = TABLE.find("\nCc ").map_or("", |at| &TABLE[at + 1..]);
    let mut rest = body;
    std::iter::from_fn(move || {
        let mut end = rest.find('\n')?;
        while rest[end + 1..].starts_with(' ') {
            end += 1 + rest[end + 1..].find('\n')?;
        }
        let (line, more) = rest.split_at(end + 1);
        rest = more;
        line.split_once(' ')
    })
}

fn ranges(body: &str) -> Vec<(char, char)> {
    let mut at = 0;
    let mut next = |word: &str| {
        let (gap, more) = word.split_once('+').unwrap_or((word, "0"));
        let from = at + u32::from_str_radix(gap, 16).ok()?;
        at = from + u32::from_str_radix(more, 16).ok()?;
        Some((char::from_u32(from)?, char::from_u32(at)?))
    };
    body.split_ascii_whitespace().filter_map(&mut next).collect()
}

/// The ranges of several categories together, which never overlap.
fn collect(wanted: impl Fn(&str) -> bool) -> Vec<(char, char)> {
    let mut all: Vec<(char, char)> =
        lines().filter(|(name, _)| name.len() == 2 && wanted(name)).flat_map(|(_, body)| ranges(body)).collect();
    all.sort_unstable();
    all
}

/// The characters that are the same without regard to case.
pub(super) fn folds(c: char) -> [Option<char>; 7] {
    let mut out = [None; 7];
    if let Some(orbit) = ORBITS.iter().find(|orbit| orbit.contains(c)) {
        out.iter_mut().zip(orbit.chars()).for_each(|(slot, c)| *slot = Some(c));
        return out;
    }
    fn single(mut it: impl Iterator<Item = char>) -> Option<char> {
        it.next().filter(|_| it.next().is_none())
    }
    out[0] = single(c.to_lowercase());
    out[1] = single(c.to_uppercase());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_found_as_go_finds_them() {
        for good in
            ["L", "Lu", "lu", "L u", "Greek", "latin", "Uppercase_Letter", "punct", "LC", "Any", "ASCII", "C", "Cn"]
        {
            assert!(table(good).is_some(), "{good}");
        }
        for bad in ["", "Old_Italic", "olditalic", "Foo", "X", "é", "Lx"] {
            assert!(table(bad).is_none(), "{bad}");
        }
        let size = |name: &str| {
            let (ranges, negated) = table(name).expect(name);
            let count: usize = ranges.iter().map(|(a, b)| *b as usize - *a as usize + 1).sum();
            (count, negated)
        };
        // Unicode 15.0's own counts.
        assert_eq!(size("Lu"), (1831, false));
        assert_eq!(size("Greek"), (518, false));
        assert_eq!(size("Nd"), (680, false));
    }

    #[test]
    fn folding_joins_whole_orbits() {
        let same = |a: char, b: char| folds(a).contains(&Some(b));
        assert!(same('k', '\u{212a}') && same('ς', 'Σ') && same('Σ', 'ς') && same('é', 'É') && !same('a', 'b'));
    }
}
