//! The seam to the language of storage selectors.

use crate::status::proxmox::Storage;

/// Whether a selector (CEL) takes a storage, or why that cannot be said. The evaluator is a parameter of everything here,
/// so that placing is tested without the language.
pub type Selects<'a> = dyn Fn(&str, &Storage) -> Result<bool, String> + 'a;

/// The selectors of this kit's own classes: comparisons of `name`, `node` and `storageType` with a string, joined by `&&`.
///
/// # Errors
/// For every other expression, with the part that is not understood.
pub fn selects(selector: &str, storage: &Storage) -> Result<bool, String> {
    let mut all = true;
    for part in selector.split("&&").map(str::trim) {
        let unknown = || format!("{part:?} is beyond this evaluator");
        if part == "true" {
            continue;
        }
        let (name, value) = part.split_once("==").ok_or_else(unknown)?;
        let value = value.trim().strip_prefix('"').and_then(|value| value.strip_suffix('"')).ok_or_else(unknown)?;
        let seen = match name.trim() {
            "name" => &storage.name,
            "node" => &storage.node,
            "storageType" => &storage.kind,
            _ => return Err(unknown()),
        };
        all &= seen == value;
    }
    Ok(all)
}

/// The names that a selector may mean: its string literals that could be the id of a storage. A storage that the login may
/// not see is in no list, and only its name in the selector tells that it is wanted.
pub fn named(selector: &str) -> Vec<&str> {
    let id = |text: &&str| {
        text.len() >= 2
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let quoted = selector.split(['"', '\'']).skip(1).step_by(2);
    quoted.filter(id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kits_own_selectors_are_understood() {
        let text = r#"{"name": "vm_ssd", "node": "pve1", "storageType": "rbd", "availableSpace": 1}"#;
        let storage: Storage = serde_json::from_str(text).unwrap();
        for (selector, verdict) in [
            (r#"storageType == "rbd" && name == "vm_ssd""#, Ok(true)),
            (r#"name == "local-lvm""#, Ok(false)),
            (r#"node == "pve1""#, Ok(true)),
            ("true", Ok(true)),
        ] {
            assert_eq!(selects(selector, &storage), verdict, "{selector}");
        }
        for beyond in ["", "availableSpace > 1u", "name == x", "type == \"rbd\""] {
            assert!(selects(beyond, &storage).is_err(), "{beyond}");
        }
    }

    #[test]
    fn names_are_found_in_literals() {
        assert_eq!(named(r#"name in ["local-lvm", 'fast'] && node != "n 1""#), ["local-lvm", "fast"]);
        assert_eq!(named("true"), Vec::<&str>::new());
    }
}
