//! Sets of characters.

/// One character position of a pattern.
#[derive(Debug, Clone, Default)]
pub(super) struct Class {
    ranges: Vec<(char, char)>,
    /// Named classes: folding comes before their own negation.
    groups: Vec<(&'static [(char, char)], bool)>,
    properties: Vec<(Property, bool)>,
    negated: bool,
    fold: bool,
    /// The answer for each ASCII character, worked out by [`Class::freeze`].
    ascii: Option<u128>,
}

/// What a character may be, for the Unicode categories that the standard library can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Property {
    Letter,
    Upper,
    Lower,
    Number,
    Space,
}

impl Class {
    pub(super) fn one(c: char, fold: bool) -> Class {
        Class { ranges: vec![(c, c)], fold, ..Class::default() }
    }

    pub(super) fn empty(fold: bool) -> Class {
        Class { fold, ..Class::default() }
    }

    /// Every character, or every one but a line feed.
    pub(super) fn any(with_line_feed: bool) -> Class {
        match with_line_feed {
            true => Class { negated: true, ..Class::default() },
            false => Class { ranges: vec![('\n', '\n')], negated: true, ..Class::default() },
        }
    }

    pub(super) fn add(&mut self, from: char, to: char) {
        self.ranges.push((from, to));
    }

    pub(super) fn add_property(&mut self, property: Property, negated: bool) {
        self.properties.push((property, negated));
    }

    /// Adds a named class (`\d`, `[:alpha:]`), or everything outside of it.
    pub(super) fn add_group(&mut self, ranges: &'static [(char, char)], negated: bool) {
        self.groups.push((ranges, negated));
    }

    pub(super) fn negate(&mut self) {
        self.negated = true;
    }

    /// Works out the answers for ASCII, which is what names of storages are made of.
    pub(super) fn freeze(&mut self) {
        let answers = (0..128u8).filter(|b| self.look_up(char::from(*b)));
        self.ascii = Some(answers.fold(0, |bits, b| bits | 1 << b));
    }

    pub(super) fn contains(&self, c: char) -> bool {
        match self.ascii {
            Some(bits) if c.is_ascii() => bits >> (c as u32) & 1 == 1,
            _ => self.look_up(c),
        }
    }

    fn look_up(&self, c: char) -> bool {
        let folded = if self.fold { folds(c) } else { [None; 3] };
        let any = |ranges: &[(char, char)]| {
            let inside = |c: char| ranges.iter().any(|(from, to)| (*from..=*to).contains(&c));
            inside(c) || folded.into_iter().flatten().any(inside)
        };
        let found = any(&self.ranges)
            || self.groups.iter().any(|(ranges, negated)| any(ranges) != *negated)
            || self.properties.iter().any(|(p, negated)| p.holds(c) != *negated);
        found != self.negated
    }
}

impl Property {
    fn holds(self, c: char) -> bool {
        match self {
            Property::Letter => c.is_alphabetic(),
            Property::Upper => c.is_uppercase(),
            Property::Lower => c.is_lowercase(),
            Property::Number => c.is_numeric(),
            Property::Space => c == ' ' || (c.is_whitespace() && !c.is_control()),
        }
    }
}

/// The characters that are the same without regard to case: upper, lower, and the Kelvin sign and long s of RE2.
fn folds(c: char) -> [Option<char>; 3] {
    let single = |mut it: Box<dyn Iterator<Item = char>>| it.next().filter(|_| it.next().is_none());
    let special = match c {
        'k' | 'K' => Some('\u{212a}'),
        's' | 'S' => Some('\u{17f}'),
        _ => None,
    };
    [single(Box::new(c.to_lowercase())), single(Box::new(c.to_uppercase())), special]
}
