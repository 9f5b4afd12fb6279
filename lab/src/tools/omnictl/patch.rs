//! What a patch of a machine configuration may hold, as the client judges it before anything is sent (omni v1.9.3
//! client/pkg/omni/resources/omni `ValidateConfigPatch`; talos v1.14.0-alpha.1 pkg/machinery config/configloader/internal/
//! decoder, whose words the errors are).

use serde_json::{Map, Value};

use super::decode::plain;
use super::yamltext::{self, YamlKind, YamlNode};
use crate::omni::kinds::OmniRelease;
use crate::omni::status::multierror;

/// What Omni controls itself in a machine configuration.
const FORBIDDEN: &str = "cluster.clusterName cluster.id cluster.controlPlane.endpoint cluster.token cluster.secret \
     cluster.aescbcEncryptionSecret cluster.secretboxEncryptionSecret cluster.acceptedCAs machine.token \
     machine.ca machine.type machine.install.extensions machine.acceptedCAs";
/// More of it from 1.10 on (omni v1.10.4, ibid.).
const FORBIDDEN_1_10: &[&str] = &["cluster.ca", "cluster.serviceAccount"];
/// Keys and kinds; the file says where they are from.
const LISTS: &str = include_str!("../../../data/machine-config.txt");

/// Whether a list has this word.
fn has(list: &str, word: &str) -> bool {
    let words = LISTS.lines().find_map(|line| line.strip_prefix(list)?.strip_prefix(": "));
    words.unwrap_or_default().split(' ').any(|known| known == word)
}

/// Judges the text of a patch.
pub fn check(release: OmniRelease, content: &str) -> Result<(), String> {
    let documents = yamltext::read(OmniRelease::default(), content).map_err(|why| format!("decode error: {why}"))?;
    let mut known: Vec<[String; 3]> = Vec::new();
    for document in documents.iter().filter(|document| !document.root.is_null()) {
        let root = &document.root;
        let YamlKind::Map(pairs) = &root.kind else {
            return Err(format!("expected a YAML document at line {}", root.line));
        };
        // Nothing to configure is no configuration; what deletes is taken out before the rest is read.
        if pairs.is_empty() {
            continue;
        }
        if root.get("$patch").is_some() {
            known.push([String::new(), "$patch".to_owned(), root.line.to_string()]);
            continue;
        }
        let text = |key: &str| root.get(key).and_then(YamlNode::text).unwrap_or_default().to_owned();
        let kind = Some(text("kind")).filter(|kind| !kind.is_empty()).unwrap_or_else(|| "v1alpha1".to_owned());
        let id = [text("apiVersion"), kind, text("name")];
        let shown = id.join("/");
        if known.contains(&id) {
            return Err(format!("duplicate document {shown} is not allowed (line {})", root.line));
        }
        known.push(id);
        // 1.4.9 does not say which document it is (talos v1.12.0-beta.1, ibid.).
        decode(release, root).map_err(|why| match release.old() {
            true => why,
            false => format!("error decoding document {shown} (line {}): {why}", root.line),
        })?;
    }
    if known.is_empty() {
        return Err("config not found".to_owned());
    }
    // Before 1.10 only the first document is looked at for what may not be overridden.
    let looked_at = if release >= OmniRelease::V1_10_6 { documents.len() } else { 1 };
    let errors: Vec<String> =
        documents.iter().take(looked_at).flat_map(|document| overrides(release, &plain(&document.root))).collect();
    if errors.is_empty() { Ok(()) } else { Err(multierror(&errors)) }
}

/// One document: of which kind it is, and whether that kind has its keys.
fn decode(release: OmniRelease, root: &YamlNode) -> Result<(), String> {
    let text = |key: &str| root.get(key).and_then(YamlNode::text).unwrap_or_default();
    let old = ["machine", "cluster", "debug", "persist"].iter().any(|key| root.get(key).is_some());
    let version = if old { "v1alpha1" } else { text("apiVersion") };
    match (version, text("kind")) {
        ("v1alpha1", "") => {}
        (_, "") => return Err("missing kind".to_owned()),
        ("", _) if !release.old() => return Err("missing apiVersion".to_owned()),
        ("v1alpha1", kind) if has("kinds", kind) => return twice(root, kind),
        ("v1alpha1", kind) if release >= OmniRelease::V1_10_6 && has("kinds-1.10", kind) => {
            return twice(root, kind);
        }
        (version, kind) => return Err(format!("{kind:?} {version:?}: not registered")),
    }
    twice(root, "")?;
    let unknown = unknown_keys(&plain(root));
    if unknown.is_empty() {
        return Ok(());
    }
    // Go indents by four.
    let indent = |line: &str| format!("{}{line}\n", " ".repeat(line.len() - line.trim_start().len()));
    let unknown: String = serde_yaml::to_string(&unknown).unwrap_or_default().lines().map(indent).collect();
    Err(format!("unknown keys found during decoding:\n{unknown}"))
}

/// Keys that a mapping has twice, wherever it is.
fn twice(root: &YamlNode, kind: &str) -> Result<(), String> {
    let mut errors = Vec::new();
    let mut left = vec![root];
    while let Some(node) = left.pop() {
        for (key, first) in node.duplicates() {
            let name = key.text().unwrap_or_default();
            errors.push((key.line, format!("mapping key {name:?} already defined at line {}", first.line)));
        }
        match &node.kind {
            YamlKind::Map(pairs) => left.extend(pairs.iter().map(|(_, value)| value)),
            YamlKind::Seq(items) => left.extend(items),
            YamlKind::Scalar(..) => {}
        }
    }
    errors.sort();
    let type_name = if kind.is_empty() { "*v1alpha1.Config" } else { "its document" };
    let lines: Vec<String> = errors.into_iter().map(|(line, text)| format!("\n  line {line}: {text}")).collect();
    match lines.is_empty() {
        true => Ok(()),
        false => Err(format!("error decoding {kind} to {type_name}: yaml: construct errors:{}", lines.concat())),
    }
}

/// The keys that a configuration without a kind does not have, with what is under them.
fn unknown_keys(config: &Value) -> Map<String, Value> {
    let beyond = |part: &Value, known: &str| -> Map<String, Value> {
        let all = part.as_object().into_iter().flatten();
        let gone = part.get("$patch").is_some();
        all.filter(|(key, _)| !gone && !has(known, key)).map(|(k, v)| (k.clone(), v.clone())).collect()
    };
    let mut unknown = beyond(config, "config");
    ["apiVersion", "kind"].iter().for_each(|key| drop(unknown.remove(*key)));
    for name in ["cluster", "machine"] {
        let inside = beyond(&config[name], name);
        if !inside.is_empty() {
            unknown.insert(name.to_owned(), Value::Object(inside));
        }
    }
    unknown
}

fn overrides(release: OmniRelease, config: &Value) -> Vec<String> {
    let kind = config["kind"].as_str().filter(|_| release >= OmniRelease::V1_10_6);
    let (fields, place): (Vec<&str>, &str) = match kind {
        Some(kind) if has("forbidden-1.10", kind) => {
            return vec![format!("the {kind:?} document is not allowed in the config patch")];
        }
        Some("KubeServiceAccountConfig") => (vec!["issuer.privateKey"], ""),
        Some("KubeTalosAPIAccessConfig") => (Vec::new(), "allowedRoles"),
        Some(_) => return Vec::new(),
        None => {
            let more = if release >= OmniRelease::V1_10_6 { FORBIDDEN_1_10 } else { &[] };
            let mut all: Vec<&str> = FORBIDDEN.split(' ').collect();
            // Its own list has these two before `cluster.acceptedCAs` and after it.
            let at = all.iter().position(|field| *field == "cluster.acceptedCAs").unwrap_or_default();
            more.iter().zip([at, at + 2]).for_each(|(field, at)| all.insert(at, field));
            (all, "machine.features.kubernetesTalosAPIAccess.allowedRoles")
        }
    };
    let at = |field: &str| config.pointer(&format!("/{}", field.replace('.', "/"))).unwrap_or(&Value::Null);
    let set = fields.iter().filter(|field| !at(field).is_null());
    let mut errors: Vec<String> =
        set.map(|field| format!("overriding {field:?} is not allowed in the config patch")).collect();
    if at(place).as_array().is_some_and(|roles| roles.iter().any(|role| role == "os:admin")) {
        errors.push(format!("element \"os:admin\" is not allowed in field {place:?}"));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each taken from a run of the unmodified omnictl 1.9.3.
    #[test]
    fn the_words_are_those_of_omnictl() {
        for (text, said) in [
            ("", "config not found"),
            ("{}", "config not found"),
            ("null", "config not found"),
            ("- a", "expected a YAML document at line 1"),
            ("foo: bar", "error decoding document /v1alpha1/ (line 1): missing kind"),
            (
                "kind: HostnameConfig\nauto: stable",
                "error decoding document /HostnameConfig/ (line 1): missing apiVersion",
            ),
            (
                "apiVersion: v1\nkind: ConfigMap",
                "error decoding document v1/ConfigMap/ (line 1): \"ConfigMap\" \"v1\": not registered",
            ),
            (
                "machine:\n  sysctlz: {}",
                "error decoding document /v1alpha1/ (line 1): unknown keys found during decoding:\nmachine:\n    sysctlz: {}\n",
            ),
            (
                "machine: {}\nmachine: {}",
                "error decoding document /v1alpha1/ (line 1): error decoding  to *v1alpha1.Config: yaml: construct errors:\n  line 2: mapping key \"machine\" already defined at line 1",
            ),
            ("machine:\n  sysctls: {a: b}\n---\ncluster: {}", "duplicate document /v1alpha1/ is not allowed (line 4)"),
        ] {
            assert_eq!(check(OmniRelease::V1_9_3, text).unwrap_err(), said, "{text}");
        }
        for text in [
            "machine:\n  sysctls: {a: b}",
            "cluster:\n  $patch: delete",
            "apiVersion: v1alpha1\nkind: HostnameConfig\nauto: stable\n---\nmachine:\n  type: worker",
        ] {
            assert_eq!(check(OmniRelease::V1_9_3, text), Ok(()), "{text}");
        }
        for (text, said) in [
            ("foo: bar", "missing kind"),
            ("kind: HostnameConfig\nauto: stable", "\"HostnameConfig\" \"\": not registered"),
        ] {
            assert_eq!(check(OmniRelease::V1_4_9, text).unwrap_err(), said, "{text}");
        }
        let new = "cluster:\n  ca: {crt: x}\n---\napiVersion: v1alpha1\nkind: UnattendedInstallConfig\n";
        assert!(check(OmniRelease::V1_9_3, new).unwrap_err().contains("not registered"));
        assert_eq!(check(OmniRelease::V1_9_3, "cluster:\n  ca: {crt: x}\n"), Ok(()));
        let refused = check(OmniRelease::V1_10_6, new).unwrap_err();
        assert!(refused.contains("2 errors occurred") && refused.contains("overriding \"cluster.ca\""), "{refused}");
        assert!(refused.contains("the \"UnattendedInstallConfig\" document is not allowed"), "{refused}");
        let refused = check(OmniRelease::V1_9_3, "machine:\n  type: worker").unwrap_err();
        assert!(refused.contains("overriding \"machine.type\" is not allowed in the config patch"), "{refused}");
    }
}
