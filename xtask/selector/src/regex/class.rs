//! Sets of characters.

use std::sync::Arc;

use super::unicode;

/// Sorted ranges of characters.
type Ranges = Arc<[(char, char)]>;

/// One character position of a pattern.
#[derive(Debug, Clone, Default)]
pub(super) struct Class {
    ranges: Vec<(char, char)>,
    /// Named classes, in order: folding comes before their own negation.
    groups: Vec<(Ranges, bool)>,
    negated: bool,
    fold: bool,
    /// The answer for each ASCII character, worked out by [`Class::freeze`].
    ascii: Option<u128>,
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

    /// Adds a named class (`\d`, `[:alpha:]`, `\p{Lu}`), or everything outside of it.
    pub(super) fn add_group(&mut self, ranges: impl Into<Ranges>, negated: bool) {
        self.groups.push((ranges.into(), negated));
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
        let folded = if self.fold { unicode::folds(c) } else { [None; 7] };
        let any = |inside: &dyn Fn(char) -> bool| inside(c) || folded.into_iter().flatten().any(inside);
        let found = any(&|c| self.ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)))
            || self.groups.iter().any(|(ranges, negated)| any(&|c| within(ranges, c)) != *negated);
        found != self.negated
    }
}

/// Whether sorted ranges hold the character.
fn within(ranges: &[(char, char)], c: char) -> bool {
    let next = ranges.partition_point(|(from, _)| *from <= c);
    next > 0 && c <= ranges[next - 1].1
}
