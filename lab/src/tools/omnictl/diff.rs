//! The two diffs that omnictl prints: by lines for templates, by characters for `apply --dry-run`
//! (client/pkg/diff, client/pkg/template/operations/internal/utils; sergi/go-diff v1.4.0).

use crate::omni::goyaml;
use crate::omni::kinds::{self, Release};
use crate::omni::resource::Resource;

/// What `RenderDiff` prints of a change: nothing if nothing changed.
pub fn render(release: Release, old: Option<&Resource>, new: Option<&Resource>) -> String {
    let yaml = |resource: Option<&Resource>| {
        resource
            .map(|resource| goyaml::resource(resource, kinds::by_type(release, &resource.md.typ), 2))
            .unwrap_or_default()
    };
    let name = |resource: Option<&Resource>| resource.map_or("/dev/null".to_owned(), Resource::name);
    let body = unified(release, &yaml(old), &yaml(new));
    if body.is_empty() { body } else { format!("--- {}\n+++ {}\n{body}", name(old), name(new)) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Keep,
    Delete,
    Insert,
}

/// A unified diff with three lines of context, without its head.
fn unified(release: Release, old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let edits = edits(&old, &new);
    let mut out = String::new();
    let changed: Vec<usize> = (0..edits.len()).filter(|at| edits[*at].0 != Op::Keep).collect();
    let mut next = 0;
    while next < changed.len() {
        let first = changed[next];
        let mut last = first;
        while next < changed.len() && changed[next] <= last + 6 {
            last = changed[next];
            next += 1;
        }
        let hunk = &edits[first.saturating_sub(3)..(last + 4).min(edits.len())];
        let before = &edits[..first.saturating_sub(3)];
        let count =
            |from: &[(Op, &str)], side: Op| from.iter().filter(|(op, _)| *op == Op::Keep || *op == side).count();
        let range = |side: Op| {
            let (start, length) = (count(before, side), count(hunk, side));
            match (length, release.old()) {
                (0, false) => format!("{start},0"),
                (0 | 1, true) => format!("{}", start + 1),
                _ => format!("{},{length}", start + 1),
            }
        };
        out.push_str(&format!("@@ -{} +{} @@\n", range(Op::Delete), range(Op::Insert)));
        for (op, line) in hunk {
            let sign = match op {
                Op::Keep => ' ',
                Op::Delete => '-',
                Op::Insert => '+',
            };
            out.push_str(&format!("{sign}{line}\n"));
        }
    }
    out
}

/// A shortest edit script, deletions before insertions.
fn edits<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(Op, &'a str)> {
    let (n, m) = (old.len(), new.len());
    let mut longest = vec![vec![0u32; m + 1]; n + 1];
    for i in (0..n).rev() {
        for j in (0..m).rev() {
            longest[i][j] =
                if old[i] == new[j] { longest[i + 1][j + 1] + 1 } else { longest[i + 1][j].max(longest[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while i < n || j < m {
        if i < n && j < m && old[i] == new[j] {
            out.push((Op::Keep, old[i]));
            i += 1;
            j += 1;
        } else if i < n && (j == m || longest[i + 1][j] >= longest[i][j + 1]) {
            out.push((Op::Delete, old[i]));
            i += 1;
        } else {
            out.push((Op::Insert, new[j]));
            j += 1;
        }
    }
    out
}

type Diffs = Vec<(Op, Vec<char>)>;

/// What `diffmatchpatch.DiffPrettyText(DiffMain(old, new))` prints: red for what goes, green for what comes.
pub fn by_characters(old: &str, new: &str) -> String {
    let (old, new): (Vec<char>, Vec<char>) = (old.chars().collect(), new.chars().collect());
    let mut out = String::new();
    for (op, text) in main(&old, &new) {
        let text: String = text.into_iter().collect();
        let color = match op {
            Op::Keep => {
                out.push_str(&text);
                continue;
            }
            Op::Delete => "\u{1b}[31m",
            Op::Insert => "\u{1b}[32m",
        };
        let lines: Vec<String> = text.split('\n').map(|line| format!("{color}{line}\u{1b}[0m")).collect();
        out.push_str(&lines.join("\n"));
    }
    out
}

fn prefix(a: &[char], b: &[char]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

fn suffix(a: &[char], b: &[char]) -> usize {
    a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count()
}

fn find(within: &[char], what: &[char], from: usize) -> Option<usize> {
    if what.is_empty() {
        return (from <= within.len()).then_some(from);
    }
    (from..(within.len() + 1).saturating_sub(what.len())).find(|at| within[*at..*at + what.len()] == *what)
}

fn main(old: &[char], new: &[char]) -> Diffs {
    if old == new {
        return if old.is_empty() { Vec::new() } else { vec![(Op::Keep, old.to_vec())] };
    }
    let head = prefix(old, new);
    let (a, b) = (&old[head..], &new[head..]);
    let tail = suffix(a, b);
    let mut diffs = compute(&a[..a.len() - tail], &b[..b.len() - tail]);
    if head > 0 {
        diffs.insert(0, (Op::Keep, old[..head].to_vec()));
    }
    if tail > 0 {
        diffs.push((Op::Keep, a[a.len() - tail..].to_vec()));
    }
    merge(diffs)
}

fn compute(a: &[char], b: &[char]) -> Diffs {
    if a.is_empty() {
        return vec![(Op::Insert, b.to_vec())];
    }
    if b.is_empty() {
        return vec![(Op::Delete, a.to_vec())];
    }
    let (long, short) = if a.len() > b.len() { (a, b) } else { (b, a) };
    if let Some(at) = find(long, short, 0) {
        let op = if a.len() > b.len() { Op::Delete } else { Op::Insert };
        return vec![(op, long[..at].to_vec()), (Op::Keep, short.to_vec()), (op, long[at + short.len()..].to_vec())];
    }
    if short.len() == 1 {
        return vec![(Op::Delete, a.to_vec()), (Op::Insert, b.to_vec())];
    }
    if let Some(half) = half_match(a, b) {
        let mut diffs = main(&half.a1, &half.b1);
        diffs.push((Op::Keep, half.common));
        diffs.extend(main(&half.a2, &half.b2));
        return diffs;
    }
    bisect(a, b)
}

struct Half {
    a1: Vec<char>,
    a2: Vec<char>,
    b1: Vec<char>,
    b2: Vec<char>,
    common: Vec<char>,
}

fn half_match(a: &[char], b: &[char]) -> Option<Half> {
    let (long, short) = if a.len() > b.len() { (a, b) } else { (b, a) };
    if long.len() < 4 || short.len() * 2 < long.len() {
        return None;
    }
    let first = half_match_at(long, short, long.len().div_ceil(4));
    let second = half_match_at(long, short, long.len().div_ceil(2));
    let best = match (first, second) {
        (Some(one), Some(two)) => Some(if one.common.len() > two.common.len() { one } else { two }),
        (one, two) => one.or(two),
    }?;
    Some(match a.len() > b.len() {
        true => best,
        false => Half { a1: best.b1, a2: best.b2, b1: best.a1, b2: best.a2, common: best.common },
    })
}

fn half_match_at(long: &[char], short: &[char], at: usize) -> Option<Half> {
    let seed = &long[at..(at + long.len() / 4).min(long.len())];
    let mut best: Option<Half> = None;
    let mut from = 0;
    while let Some(found) = find(short, seed, from) {
        let ahead = prefix(&long[at..], &short[found..]);
        let behind = suffix(&long[..at], &short[..found]);
        if best.as_ref().map_or(0, |half| half.common.len()) < ahead + behind {
            best = Some(Half {
                a1: long[..at - behind].to_vec(),
                a2: long[at + ahead..].to_vec(),
                b1: short[..found - behind].to_vec(),
                b2: short[found + ahead..].to_vec(),
                common: short[found - behind..found + ahead].to_vec(),
            });
        }
        from = found + 1;
    }
    best.filter(|half| half.common.len() * 2 >= long.len())
}

/// One direction of Myers' search.
struct Front {
    v: Vec<isize>,
    start: isize,
    end: isize,
}

fn bisect(a: &[char], b: &[char]) -> Diffs {
    let (n, m) = (a.len() as isize, b.len() as isize);
    let most = (n + m + 1) / 2;
    let (offset, length) = (most, 2 * most);
    let make = || {
        let mut v = vec![-1; length.max(2) as usize];
        v[(offset + 1).min(length.max(2) - 1) as usize] = 0;
        Front { v, start: 0, end: 0 }
    };
    let (mut one, mut two) = (make(), make());
    let delta = n - m;
    let front = delta % 2 != 0;
    for d in 0..most {
        for reverse in [false, true] {
            let (own, other) = if reverse { (&mut two, &one) } else { (&mut one, &two) };
            let mut k = -d + own.start;
            while k <= d - own.end {
                let at = (offset + k) as usize;
                let down = k == -d || (k != d && own.v[at - 1] < own.v[at + 1]);
                let mut x = if down { own.v[at + 1] } else { own.v[at - 1] + 1 };
                let mut y = x - k;
                while x < n && y < m {
                    let same = match reverse {
                        false => a[x as usize] == b[y as usize],
                        true => a[(n - x - 1) as usize] == b[(m - y - 1) as usize],
                    };
                    if !same {
                        break;
                    }
                    x += 1;
                    y += 1;
                }
                own.v[at] = x;
                if x > n {
                    own.end += 2;
                } else if y > m {
                    own.start += 2;
                } else if front != reverse {
                    let mirror = offset + delta - k;
                    if mirror >= 0 && mirror < length && other.v[mirror as usize] != -1 {
                        let seen = other.v[mirror as usize];
                        let (x1, y1, x2) =
                            if reverse { (seen, offset + seen - mirror, n - x) } else { (x, y, n - seen) };
                        if x1 >= x2 {
                            let (x1, y1) = (x1 as usize, y1 as usize);
                            let mut diffs = main(&a[..x1], &b[..y1]);
                            diffs.extend(main(&a[x1..], &b[y1..]));
                            return diffs;
                        }
                    }
                }
                k += 2;
            }
        }
    }
    vec![(Op::Delete, a.to_vec()), (Op::Insert, b.to_vec())]
}

/// Joins neighbours of one kind, moves what deletions and insertions share into the equalities around them, and shifts
/// single edits over an equality that they repeat.
fn merge(mut diffs: Diffs) -> Diffs {
    loop {
        diffs = gather(diffs);
        if !shift(&mut diffs) {
            return diffs;
        }
    }
}

fn gather(mut diffs: Diffs) -> Diffs {
    diffs.push((Op::Keep, Vec::new()));
    let (mut at, mut deletes, mut inserts) = (0, 0, 0);
    let (mut gone, mut come): (Vec<char>, Vec<char>) = (Vec::new(), Vec::new());
    while at < diffs.len() {
        match diffs[at].0 {
            Op::Insert => {
                inserts += 1;
                come.extend(&diffs[at].1);
                at += 1;
                continue;
            }
            Op::Delete => {
                deletes += 1;
                gone.extend(&diffs[at].1);
                at += 1;
                continue;
            }
            Op::Keep => {}
        }
        if deletes + inserts > 1 {
            if deletes != 0 && inserts != 0 {
                let head = prefix(&come, &gone);
                if head != 0 {
                    let before = at - deletes - inserts;
                    if before > 0 && diffs[before - 1].0 == Op::Keep {
                        diffs[before - 1].1.extend(&come[..head]);
                    } else {
                        diffs.insert(0, (Op::Keep, come[..head].to_vec()));
                        at += 1;
                    }
                    come.drain(..head);
                    gone.drain(..head);
                }
                let tail = suffix(&come, &gone);
                if tail != 0 {
                    let shared: Vec<char> = come.split_off(come.len() - tail);
                    gone.truncate(gone.len() - tail);
                    diffs[at].1.splice(0..0, shared);
                }
            }
            let start = at - deletes - inserts;
            let mut merged = Vec::new();
            if deletes != 0 {
                merged.push((Op::Delete, std::mem::take(&mut gone)));
            }
            if inserts != 0 {
                merged.push((Op::Insert, std::mem::take(&mut come)));
            }
            let count = merged.len();
            diffs.splice(start..at, merged);
            at = start + count + 1;
        } else if at != 0 && diffs[at - 1].0 == Op::Keep {
            let text = diffs.remove(at).1;
            diffs[at - 1].1.extend(text);
        } else {
            at += 1;
        }
        (deletes, inserts) = (0, 0);
        gone.clear();
        come.clear();
    }
    if diffs.last().is_some_and(|(_, text)| text.is_empty()) {
        diffs.pop();
    }
    diffs
}

fn shift(diffs: &mut Diffs) -> bool {
    let mut changed = false;
    let mut at = 1;
    while at + 1 < diffs.len() {
        if diffs[at - 1].0 == Op::Keep && diffs[at + 1].0 == Op::Keep {
            let (before, edit, after) = (diffs[at - 1].1.clone(), diffs[at].1.clone(), diffs[at + 1].1.clone());
            if edit.ends_with(&before) {
                diffs[at].1 = [before.as_slice(), &edit[..edit.len() - before.len()]].concat();
                diffs[at + 1].1 = [before, after].concat();
                diffs.remove(at - 1);
                changed = true;
            } else if edit.starts_with(&after) {
                diffs[at - 1].1.extend(&after);
                diffs[at].1 = [&edit[after.len()..], after.as_slice()].concat();
                diffs.remove(at + 1);
                changed = true;
            }
        }
        at += 1;
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_compared_with_context() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\n";
        let new = "a\nb\nX\nd\ne\nf\ng\nh\n";
        assert_eq!(unified(Release::V1_9_3, old, new), "@@ -1,6 +1,6 @@\n a\n b\n-c\n+X\n d\n e\n f\n");
        assert_eq!(unified(Release::V1_9_3, "", "x\ny\n"), "@@ -0,0 +1,2 @@\n+x\n+y\n");
        assert_eq!(unified(Release::V1_9_3, "x\n", "y\n"), "@@ -1,1 +1,1 @@\n-x\n+y\n");
        assert_eq!(unified(Release::V1_4_9, "x\ny\n", ""), "@@ -1,2 +1 @@\n-x\n-y\n");
    }

    /// A line of the recording of `apply --dry-run` by omnictl 1.4.9.
    #[test]
    fn characters_are_compared_as_by_diffmatchpatch() {
        let show = |old: &str, new: &str| by_characters(old, new).replace('\u{1b}', "^");
        assert_eq!(show("version: 3\n", "version: undefined\n"), "version: ^[31m3^[0m^[32mundefined^[0m\n");
        assert_eq!(show("a: nope\n", "a: proxmox\n"), "a: ^[31mn^[0m^[32mproxm^[0mo^[31mpe^[0m^[32mx^[0m\n");
        assert_eq!(show("same", "same"), "same");
    }

    /// The recording of `apply --dry-run` by omnictl 1.4.9, byte for byte: every character is coloured as there.
    #[test]
    fn a_recorded_dry_run_is_reproduced() {
        let recorded = include_str!("../../../tests/fixtures/omnictl/apply-dry-run.txt");
        let wanted = recorded.split_once("--- stdout\n").unwrap().1.split_once("--- stderr").unwrap().0;
        let kind = kinds::by_type(Release::V1_4_9, "MachineClasses.omni.sidero.dev").unwrap();
        let class = |provider: &str, data: &str| {
            let spec = serde_json::json!({"autoprovision": {"providerid": provider, "providerdata": data}});
            Resource::new(&kind.typ, "default", "worker", kind.complete(&spec), crate::omni::resource::ZERO_TIME)
        };
        let data = "cores: 4\nsockets: 1\nmemory: 8192\ndisk_size: 40\nstorage_selector: name == \"local-lvm\"\n";
        let mut old = class("nope", data);
        let time = |text: &str| crate::omni::resource::parse_rfc3339(text).unwrap();
        (old.md.version, old.md.created, old.md.updated) =
            (3, time("2026-11-22T01:10:42Z"), time("2026-11-22T01:11:25Z"));
        let new = class("proxmox", &data.replace("memory: 8192\n", ""));
        let yaml = |resource: &Resource| goyaml::resource(resource, Some(kind), 4);
        let text = by_characters(&yaml(&old), &yaml(&new));
        assert_eq!(format!("Updating resource 'worker'\n\n{text}\n\n"), wanted);
    }
}
