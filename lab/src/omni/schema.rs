//! Validates provider data against its registered schema, with the runner's validator, which is tested against Omni's.
//! 1.9.3 words errors for people (omni internal/pkg/jsonschema/jsonschema.go), 1.4.9 prints santhosh-tekuri/jsonschema v6's.

use check::schema::{Mismatch, MismatchKind, validate as mismatches};
use yaml::{Node, Position};

use super::kinds::OmniRelease;

/// Validates provider data (YAML text) against a schema (JSON text). The error is the whole message.
pub fn validate(release: OmniRelease, provider: &str, schema: &str, data: &str) -> Result<(), String> {
    let schema = serde_json::from_str(schema)
        .map_err(|why| format!("failed to load json schema for provider {provider:?}: {why}"))?;
    let stream = yaml::load("yaml", data.as_bytes());
    if let Some(broken) = stream.findings.iter().find(|_| stream.is_broken()) {
        return Err(format!("failed to unmarshal YAML yaml: {}", broken.message));
    }
    let root = stream.documents.into_iter().next().map(|document| document.root).filter(|root| !root.is_null());
    let mut found = mismatches(&schema, &root.unwrap_or_else(|| Node::mapping(Position::START)));
    // These are problems of the schema, not of the data.
    found.retain(|one| !matches!(one.kind, MismatchKind::Keyword | MismatchKind::Endless));
    // By key name, not in the order of the file.
    found.sort_by(|a, b| above(a).cmp(above(b)));
    if found.is_empty() {
        return Ok(());
    }
    let together = |a: &Mismatch, b: &Mismatch| missing(a).zip(missing(b)).is_some_and(|((a, _), (b, _))| a == b);
    let lines = found.chunk_by(together).map(|same| format!("- {}", if release.old() { old(same) } else { new(same) }));
    let list = lines.collect::<Vec<_>>().join("\n");
    Err(match release.old() {
        true => format!("jsonschema validation failed with 'file://{provider}-schema.json#'\n{list}"),
        false => list,
    })
}

/// Returns the place where a key is missing, and the key.
fn missing(found: &Mismatch) -> Option<(&str, &str)> {
    found.path.rsplit_once('.').filter(|_| found.kind == MismatchKind::Required)
}

/// Returns the path of the value that a mismatch is about; for a missing key, the path of its parent.
fn above(found: &Mismatch) -> &str {
    missing(found).map_or(&found.path, |(above, _)| above)
}

fn old(same: &[Mismatch]) -> String {
    let at = |path: &str, what: String| format!("at '{}': {what}", path.trim_end_matches('.').replace('.', "/"));
    let names: Vec<String> = same.iter().filter_map(missing).map(|(_, name)| format!("'{name}'")).collect();
    if let Some((above, _)) = missing(&same[0]) {
        return at(
            above,
            format!("missing propert{} {}", if names.len() == 1 { "y" } else { "ies" }, names.join(", ")),
        );
    }
    let words = same[0].message.split_once("\": ").map_or("", |(_, words)| words);
    let types = words.strip_prefix("must be of type ").and_then(|types| types.split_once(", but got "));
    at(&same[0].path, types.map_or(words.to_owned(), |(want, got)| format!("got {got}, want {want}")))
}

fn new(same: &[Mismatch]) -> String {
    let one = |found: &Mismatch| match found.message.strip_suffix(", but got null") {
        Some(_) => format!("config value {:?}: is required but was not set", found.path),
        None => found.message.clone(),
    };
    same.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_errors_match_each_release() {
        const GOOD: &str = "cores: 4\nmemory: 8192\ndisk_size: 40\nstorage_selector: 'true'\nnonsense: 1\n";
        let new = OmniRelease::V1_9_3;
        let (text, unset) = (GOOD.replace("cores: 4", "cores: \"4\""), GOOD.replace("memory: 8192", "memory:"));
        let several = text.replace("8192", "1024") + "disk_cache: fast\n";
        let nested = format!("{GOOD}additional_nics:\n- vlan: -1\n");
        let mut both = [(OmniRelease::V1_4_9, GOOD, ""), (new, GOOD, "")].to_vec();
        both.extend([
            (
                OmniRelease::V1_4_9,
                "cores: 1\nmemory: 2048\ndisk_size: 5\n",
                "- at '': missing property 'storage_selector'",
            ),
            (new, "cores: 1\n", "value \".memory\": is required; config value \".disk_size\": is required"),
            (new, "# nothing\n", "config value \".cores\": is required"),
            (new, &unset, "config value \".memory\": is required but was not set"),
            (new, &nested, "config value \".additional_nics.0.bridge\": is required"),
            (new, "a: [\n", "failed to unmarshal YAML yaml: "),
        ]);
        let said =
            |release, data: &str| validate(release, "proxmox", crate::provider::SCHEMA, data).err().unwrap_or_default();
        assert_eq!(
            said(OmniRelease::V1_4_9, &text),
            "jsonschema validation failed with 'file://proxmox-schema.json#'\n- at '/cores': got string, want integer"
        );
        assert_eq!(
            said(new, &several),
            "- config value \".cores\": must be of type integer, but got string\n\
             - config value \".disk_cache\": must be one of 'none', 'writethrough', 'writeback', 'directsync', 'unsafe'\n\
             - config value \".memory\": must be at least 2048"
        );
        for (release, data, wanted) in both {
            let said = said(release, data);
            assert!(said.contains(wanted) && said.is_empty() == wanted.is_empty(), "{data}: {said}");
        }
    }
}
