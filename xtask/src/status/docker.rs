//! What docker compose prints, understood (texts of docker compose 5.5.1).

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A container of the stack.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all(deserialize = "PascalCase"))]
pub struct Container {
    pub service: String,
    pub name: String,
    /// `running`, `exited`, `restarting`, `created`, `paused`, `dead`.
    pub state: String,
    /// `healthy`, `unhealthy`, `starting`, or empty when the image has no health check.
    #[serde(default)]
    pub health: String,
    #[serde(default)]
    pub exit_code: i32,
    /// As docker says it: `Up 3 seconds (healthy)`.
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub image: String,
}

impl Container {
    /// Running, and healthy where that can be known.
    pub fn well(&self) -> bool {
        self.state == "running" && matches!(self.health.as_str(), "" | "healthy")
    }
}

/// The containers in `docker compose ps --format json`: one object a line, or one array in older plugins.
///
/// # Errors
/// The reason and the line, when one is not understood.
pub fn containers(text: &str) -> Result<Vec<Container>, String> {
    let text = text.trim();
    if text.starts_with('[') {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    text.lines()
        .enumerate()
        .map(|(number, line)| {
            serde_json::from_str(line).map_err(|error| format!("line {} of its output: {error}", number + 1))
        })
        .collect()
}

/// The version in `docker compose version --format json`.
pub fn version(text: &str) -> Option<String> {
    let document: Value = serde_json::from_str(text.trim()).ok()?;
    Some(document.get("version")?.as_str()?.trim_start_matches('v').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(name: &str) -> String {
        crate::status::testing::recorded("compose", name).stdout
    }

    #[test]
    fn recorded_containers_are_read() {
        let found = containers(&recorded("ps-running")).unwrap();
        let seen: Vec<_> = found.iter().map(|c| (c.service.as_str(), c.state.as_str(), c.well())).collect();
        assert_eq!(
            seen,
            [("omni", "running", true), ("omni-tailscale", "running", true), ("proxmox-provider", "exited", false)]
        );
        assert_eq!(found[2].exit_code, 1);
        assert_eq!(containers(&recorded("ps-nothing")).unwrap(), []);
        let died = containers(&recorded("ps-after-sidecar-died")).unwrap();
        assert_eq!(died.iter().filter(|container| container.well()).count(), 1);
    }

    #[test]
    fn both_forms_of_the_list_are_read() {
        let line = r#"{"Service":"omni","Name":"x","State":"running"}"#;
        assert_eq!(containers(line).unwrap(), containers(&format!("[{line}]")).unwrap());
        assert!(containers("nonsense").unwrap_err().contains("line 1"));
    }

    #[test]
    fn a_version_built_from_source_is_a_version() {
        assert_eq!(version(&recorded("version-json")).as_deref(), Some("dev"));
        assert_eq!(version("{\"version\":\"v2.40.3\"}").as_deref(), Some("2.40.3"));
        assert_eq!(version("Docker version 20"), None);
    }
}
