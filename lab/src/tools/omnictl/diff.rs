//! The diffs that `omnictl cluster template sync --verbose` prints (client/pkg/diff,
//! client/pkg/template/operations/internal/utils); keys are sorted and strings quoted as serde_yaml does, not as Go.

use similar::{ChangeTag, TextDiff};

use crate::omni::kinds::OmniRelease;
use crate::omni::resource::Resource;

/// What `RenderDiff` prints of a change: nothing if nothing changed.
pub fn render(release: OmniRelease, old: Option<&Resource>, new: Option<&Resource>) -> String {
    let yaml = |resource: Option<&Resource>| {
        resource.and_then(|resource| serde_yaml::to_string(&resource.to_json()).ok()).unwrap_or_default()
    };
    let name = |resource: Option<&Resource>| resource.map_or("/dev/null".to_owned(), Resource::name);
    let body = unified(release, &yaml(old), &yaml(new));
    if body.is_empty() { body } else { format!("--- {}\n+++ {}\n{body}", name(old), name(new)) }
}

/// A unified diff with three lines of context, without its head.
fn unified(release: OmniRelease, old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    let range = |lines: std::ops::Range<usize>| match (lines.len(), release.old()) {
        (0, false) => format!("{},0", lines.start),
        (0 | 1, true) => format!("{}", lines.start + 1),
        (length, _) => format!("{},{length}", lines.start + 1),
    };
    let mut out = String::new();
    for hunk in diff.grouped_ops(3) {
        let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { continue };
        let old = first.old_range().start..last.old_range().end;
        let new = first.new_range().start..last.new_range().end;
        out.push_str(&format!("@@ -{} +{} @@\n", range(old), range(new)));
        for change in hunk.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            };
            out.push_str(&format!("{sign}{}\n", change.value().trim_end_matches('\n')));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_compared_with_context() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\n";
        let new = "a\nb\nX\nd\ne\nf\ng\nh\n";
        assert_eq!(unified(OmniRelease::V1_9_3, old, new), "@@ -1,6 +1,6 @@\n a\n b\n-c\n+X\n d\n e\n f\n");
        assert_eq!(unified(OmniRelease::V1_9_3, "", "x\ny\n"), "@@ -0,0 +1,2 @@\n+x\n+y\n");
        assert_eq!(unified(OmniRelease::V1_9_3, "x\n", "y\n"), "@@ -1,1 +1,1 @@\n-x\n+y\n");
        assert_eq!(unified(OmniRelease::V1_4_9, "x\ny\n", ""), "@@ -1,2 +1 @@\n-x\n-y\n");
        assert_eq!(unified(OmniRelease::V1_9_3, old, old), "");
    }
}
