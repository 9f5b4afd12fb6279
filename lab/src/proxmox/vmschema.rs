//! The VM options that clients of the lab send: their names, their types, and the privileges required to change them.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::params::{Param, ParamType};
use super::world::Config;
use super::world::vm::is_drive;

/// The options of `vm-options.txt`.
static OPTIONS: LazyLock<Vec<Param>> = LazyLock::new(|| {
    let mut options: Vec<Param> = Vec::new();
    for line in include_str!("vm-options.txt").lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.trim_start().split_once(' ').unwrap_or((line, ""));
        match (options.last_mut(), line.starts_with(' ')) {
            (Some(option), true) => option.keys.push(Param::read(name, "", rest)),
            _ => {
                let (guard, kind) = rest.split_once(' ').unwrap_or((rest, ""));
                options.push(Param::read(name, guard, kind));
            }
        }
    }
    options
});

/// Returns an option by name; `None` if there is no such option.
pub fn find(option: &str) -> Option<&'static Param> {
    let option = if is_drive(option) || option == "cdrom" { "<drive>" } else { option };
    OPTIONS.iter().find(|known| known.is(option))
}

/// The type of an option; `None` if there is no such option.
pub fn kind(option: &str) -> Option<ParamType> {
    find(option).map(|option| option.kind)
}

/// The `VM.Config.` privilege required to change an option; `-` means only root@pam, and `*` is checked elsewhere, by value.
pub fn guard(option: &str) -> &'static str {
    find(option).map_or("-", |option| option.guard)
}

/// A configuration as `GET …/config` returns it: integers and booleans as numbers, everything else as text.
pub fn config_json(config: &Config) -> Map<String, Value> {
    let shown = config.iter().map(|(option, value)| {
        let number = match kind(option) {
            Some(ParamType::Int(..) | ParamType::Bool) => value.parse::<i64>().ok(),
            _ => None,
        };
        (option.clone(), number.map_or_else(|| Value::from(value.as_str()), Value::from))
    });
    shown.collect()
}

/// Normalizes tags as PVE stores them: lower case, sorted and unique.
pub fn unique_tags(text: &str) -> String {
    let mut tags: Vec<String> = super::params::split_list(text).iter().map(|tag| tag.to_ascii_lowercase()).collect();
    tags.sort();
    tags.dedup();
    tags.join(";")
}
