//! Evaluates storage selectors for Proxmox storages.

use std::cell::RefCell;
use std::collections::HashMap;

use domain::status::proxmox::Storage;
use selector::Program;

/// Returns whether `selector` (CEL) matches `storage`, as the provider evaluates it.
///
/// # Errors
/// Returns cel-go's message if the selector does not compile or fails on this storage.
pub fn selects(selector: &str, storage: &Storage) -> Result<bool, String> {
    thread_local! {
        /// Thousands of machines may share a selector, so each selector is compiled only once.
        static COMPILED: RefCell<HashMap<String, Result<Program, String>>> = RefCell::default();
    }
    COMPILED.with_borrow_mut(|compiled| {
        let compile = || selector::compile(selector).map_err(|error| error.to_string());
        let program = compiled.entry(selector.to_owned()).or_insert_with(compile).as_ref().map_err(String::clone)?;
        program.matches(&selector_view(storage)).map_err(|error| error.to_string())
    })
}

/// Returns the properties of a storage that selectors can use.
pub fn selector_view(storage: &Storage) -> selector::Storage<'_> {
    let Storage { name, node, kind, available, .. } = storage;
    selector::Storage { name, node, storage_type: kind, available_space: *available }
}

/// Returns the storage names in a selector: its string literals that could be the ID of a storage. A storage that the login
/// cannot see is in no list; only its name in the selector shows that it is needed.
pub fn storage_names(selector: &str) -> Vec<&str> {
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
    fn selector_gets_the_providers_variables() {
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
        assert_eq!(storage_names(r#"name in ["local-lvm", 'fast'] && node != "n 1""#), ["local-lvm", "fast"]);
        assert_eq!(storage_names("true"), Vec::<&str>::new());
    }
}
