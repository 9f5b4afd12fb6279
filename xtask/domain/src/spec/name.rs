//! Names of machine classes, clusters and providers.

use crate::failure::{Code, Failure};

/// Checks that `name` is a DNS label: at most 63 lower-case letters, digits and dashes, without a dash at either end.
///
/// Omni accepts more (capitals, underscores, any Unicode letter), but later steps fail: the name of a machine contains that of
/// the cluster, and Proxmox accepts only DNS names; since Omni 1.10 the ID of a provider must be a label.
///
/// # Errors
/// Returns [`Code::Usage`] with the first invalid character and a valid name.
pub fn check(what: &str, name: &str) -> Result<(), Failure> {
    let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let why = if name.is_empty() {
        "it is empty".to_owned()
    } else if name.len() > 63 {
        format!("it has {} characters; a DNS label has at most 63", name.chars().count())
    } else if let Some(c) = name.chars().find(|&c| !label(c)) {
        format!("{c:?} is not a lower-case letter, digit or dash")
    } else if name.starts_with('-') || name.ends_with('-') {
        "it starts or ends with a dash".to_owned()
    } else {
        return Ok(());
    };
    let failure = Failure::new(Code::Usage, format!("{name:?} cannot be the name of a {what}")).cause(why);
    let better = suggestion(name);
    Err(if better.is_empty() { failure } else { failure.hint(format!("use e.g. `{better}`")) })
}

/// Checks that `name` can be the name of an existing object in Omni: letters, digits, dashes and underscores (omni v1.9.3
/// `client/pkg/omni/resources/omni/cluster.go`). Only new names must be DNS labels.
///
/// # Errors
/// Returns [`Code::Usage`] with the first invalid character.
pub fn check_existing(what: &str, name: &str) -> Result<(), Failure> {
    let why = match name.chars().find(|c| !c.is_alphanumeric() && !matches!(c, '-' | '_')) {
        Some(c) => format!("{c:?} is not a letter, digit, dash or underscore"),
        None if name.is_empty() => "it is empty".to_owned(),
        None if name.starts_with('-') => "it starts with a dash".to_owned(),
        None => return Ok(()),
    };
    Err(Failure::new(Code::Usage, format!("{name:?} cannot be the name of a {what}")).cause(why))
}

fn suggestion(name: &str) -> String {
    let lower = name.to_lowercase();
    let dashed: String = lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let mut label = dashed.trim_matches('-').to_owned();
    label.truncate(63);
    label.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_accepts_only_dns_labels() {
        for good in ["a", "prod", "talos-1", "0", &"a".repeat(63)] {
            assert!(check("cluster", good).is_ok() && check_existing("cluster", good).is_ok(), "{good}");
        }
        for existing in ["My_Cluster", "Proxmox", "größe", "a-"] {
            assert!(check("cluster", existing).is_err() && check_existing("cluster", existing).is_ok(), "{existing}");
        }
        for never in ["", "-a", "a/b", "..", "a b", "a\n", "a;b", "$(id)"] {
            assert!(check_existing("cluster", never).is_err(), "{never:?}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "ä", "a/b", "..", "a b", &"a".repeat(64)] {
            assert!(check("cluster", bad).is_err(), "{bad}");
        }
        assert_eq!(check("cluster", "My_Prod!").unwrap_err().hint, "use e.g. `my-prod`");
    }
}
