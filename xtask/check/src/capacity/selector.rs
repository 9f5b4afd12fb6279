//! The seam to the language of storage selectors.

use domain::status::proxmox::Storage;

/// Whether a selector (CEL) takes a storage, or why that cannot be said. The evaluator is a parameter of everything here,
/// so that placing is tested without the language.
pub type Selects<'a> = dyn Fn(&str, &Storage) -> Result<bool, String> + 'a;

/// Whether `selector` takes `storage`, as the provider would say.
///
/// # Errors
/// Why it does not compile, or why it fails on this storage, in cel-go's words.
pub fn selects(selector: &str, storage: &Storage) -> Result<bool, String> {
    let program = selector::compile(selector).map_err(|error| error.to_string())?;
    let storage = selector::Storage {
        name: &storage.name,
        node: &storage.node,
        storage_type: &storage.kind,
        available_space: storage.available,
    };
    program.matches(&storage).map_err(|error| error.to_string())
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
    fn a_selector_sees_what_the_provider_shows_it() {
        let text = r#"{"name": "vm_ssd", "node": "pve1", "storageType": "rbd", "availableSpace": 1}"#;
        let storage: Storage = serde_json::from_str(text).unwrap();
        for (selector, verdict) in [
            (r#"storageType == "rbd" && name == "vm_ssd""#, true),
            (r#"name == "local-lvm""#, false),
            (r#"node == "pve1" && availableSpace == 1u"#, true),
        ] {
            assert_eq!(selects(selector, &storage), Ok(verdict), "{selector}");
        }
        for beyond in ["", "availableSpace > 1", "name == x", "type == \"rbd\""] {
            assert!(selects(beyond, &storage).is_err(), "{beyond}");
        }
    }

    #[test]
    fn names_are_found_in_literals() {
        assert_eq!(named(r#"name in ["local-lvm", 'fast'] && node != "n 1""#), ["local-lvm", "fast"]);
        assert_eq!(named("true"), Vec::<&str>::new());
    }
}
