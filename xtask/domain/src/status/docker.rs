//! Parses the output of docker compose (as printed by docker compose 5.5.1).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A container of the stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    #[serde(rename(deserialize = "Service"), alias = "service")]
    pub service: String,
    #[serde(rename(deserialize = "Name"), alias = "name")]
    pub name: String,
    /// `running`, `exited`, `restarting`, `created`, `paused`, `dead`.
    #[serde(rename(deserialize = "State"), alias = "state")]
    pub state: String,
    /// `healthy`, `unhealthy`, `starting`, or empty if the image has no health check.
    #[serde(rename(deserialize = "Health"), alias = "health", default)]
    pub health: String,
    #[serde(rename(deserialize = "ExitCode"), alias = "exit_code", default)]
    pub exit_code: i32,
    /// The status text of Docker: `Up 3 seconds (healthy)`.
    #[serde(rename(deserialize = "Status"), alias = "status", default)]
    pub status: String,
    #[serde(rename(deserialize = "Image"), alias = "image", default)]
    pub image: String,
    /// Ports that are published on the host; `None` if Docker does not report them.
    #[serde(rename(deserialize = "Publishers"), alias = "publishers", default)]
    pub publishers: Option<Vec<Publisher>>,
    /// `NAME=VALUE` pairs separated by commas, which some values also contain; other engines use their own format.
    #[serde(rename(deserialize = "Labels"), skip_serializing, default)]
    pub labels: Value,
}

/// A container port that is published on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publisher {
    #[serde(rename(deserialize = "URL"), alias = "url", default)]
    pub url: String,
    #[serde(rename(deserialize = "PublishedPort"), alias = "published", default)]
    pub published: u16,
    #[serde(rename(deserialize = "Protocol"), alias = "protocol", default)]
    pub protocol: String,
}

/// Mounts and arguments of a container from `docker inspect`, formatted with `INSPECT`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ContainerDetails {
    pub mounts: Vec<Mount>,
    /// May contain secrets of stacks that are not ours; never shown.
    pub args: Vec<String>,
    /// The directory of the compose file, if formatted with [`INSPECT_FOREIGN`].
    pub dir: String,
    /// The restart policy, if formatted with [`INSPECT_FOREIGN`].
    pub restart: String,
}

impl ContainerDetails {
    /// Returns the value of a flag, written as `--flag value` or `--flag=value`.
    pub fn flag(&self, flag: &str) -> Option<String> {
        let mut args = self.args.iter().enumerate();
        args.find_map(|(at, arg)| match arg.strip_prefix(flag)? {
            "" => self.args.get(at + 1).cloned(),
            rest => rest.strip_prefix('=').map(str::to_owned),
        })
    }

    /// Returns the innermost mount that contains a path in the container.
    pub fn mount_of(&self, path: &str) -> Option<&Mount> {
        let holds = |destination: &str| {
            let destination = destination.trim_end_matches('/');
            path == destination || path.strip_prefix(destination).is_some_and(|rest| rest.starts_with('/'))
        };
        self.mounts.iter().filter(|mount| holds(&mount.destination)).max_by_key(|mount| mount.destination.len())
    }

    /// Returns the path on the host of a file in the container, if it is in a bind mount.
    pub fn host_path(&self, path: &str) -> Option<String> {
        let mount = self.mount_of(path).filter(|mount| mount.kind == "bind")?;
        Some(mount.source.clone() + path.strip_prefix(&*mount.destination)?)
    }
}

/// A mount of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Mount {
    /// `volume`, `bind` or `tmpfs`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The name of the volume; empty for other kinds.
    pub name: String,
    pub destination: String,
    /// Path on the host.
    pub source: String,
}

/// Format for `docker inspect`: mounts and arguments, but not the environment, which contains secrets.
pub const INSPECT: &str = r#"{"mounts":{{json .Mounts}},"args":{{json .Args}}}"#;

/// Same as [`INSPECT`] for containers of other projects, plus the directory of the compose file and the restart policy.
pub const INSPECT_FOREIGN: &str = r#"{"mounts":{{json .Mounts}},"args":{{json .Args}},"dir":{{json (index .Config.Labels "com.docker.compose.project.working_dir")}},"restart":{{json .HostConfig.RestartPolicy.Name}}}"#;

/// Format for `docker ps`, parsed by [`parse_docker_ps`].
pub const LISTED: &str = r#"{{.Names}}	{{.Image}}	{{.State}}	{{.Label "com.docker.compose.project"}}"#;

/// A container in the list of all containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedContainer {
    pub name: String,
    pub image: String,
    pub state: String,
    /// The compose project; empty if there is none.
    pub project: String,
}

impl ListedContainer {
    /// Whether the container runs this image, from any registry and with any tag.
    pub fn has_image(&self, image: &str) -> bool {
        let tagged = self.image.split('@').next().unwrap_or_default();
        // A colon before the last slash belongs to the port of a registry.
        tagged.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(tagged, |(path, _)| path).ends_with(image)
    }

    pub fn describe(&self) -> String {
        let ListedContainer { name, image, state, project } = self;
        match project.as_str() {
            "" => format!("`{name}` ({image}, {state})"),
            _ => format!("`{name}` of the compose project `{project}` ({image}, {state})"),
        }
    }
}

/// Returns the containers of projects other than `own` in the output of `docker ps` formatted with [`LISTED`].
pub fn parse_docker_ps(text: &str, own: &str) -> Vec<ListedContainer> {
    let one = |line: &str| {
        let [name, image, state, project] = line.split('\t').map(str::to_owned).collect::<Vec<_>>().try_into().ok()?;
        Some(ListedContainer { name, image, state, project }).filter(|container| container.project != own)
    };
    text.lines().filter_map(one).collect()
}

/// Parses the output of `docker inspect` formatted with [`INSPECT`].
///
/// # Errors
/// Returns the reason if the output cannot be parsed.
pub fn parse_inspect(text: &str) -> Result<ContainerDetails, String> {
    serde_json::from_str(text.trim()).map_err(|error| error.to_string())
}

impl Container {
    /// Whether it is running, and healthy if it has a health check.
    pub fn is_healthy(&self) -> bool {
        self.state == "running" && matches!(self.health.as_str(), "" | "healthy")
    }

    /// Returns the directory of the compose file that it was created from; `None` if Docker does not report it.
    pub fn working_dir(&self) -> Option<&str> {
        let (_, value) = self.labels.as_str()?.split_once("com.docker.compose.project.working_dir=")?;
        Some(value.split(",com.docker.compose.").next().unwrap_or(value))
    }

    /// Whether it exits by itself, so that its log contains the reason; a container that was stopped exits with 0.
    pub fn keeps_exiting(&self) -> bool {
        self.state == "restarting" || (self.state == "exited" && self.exit_code != 0)
    }

    /// Returns the minimum time since the last restart; `None` if it is not running or Docker does not report it. Docker prints
    /// it as text, by its own clock: `Up 45 seconds (healthy)` (docker/go-units v0.5.0 `HumanDuration`).
    pub fn uptime(&self) -> Option<Duration> {
        let words = self.status.strip_prefix("Up ").filter(|_| self.state == "running")?;
        let mut words = words.split(' ');
        let seconds = match (words.next()?, words.next().unwrap_or_default(), words.next().unwrap_or_default()) {
            ("Less", ..) => 0,
            ("About", _, "minute") => 60,
            ("About", _, "hour") => 3_600,
            (number, unit, _) => {
                let unit = match unit.trim_end_matches('s') {
                    "second" => 1,
                    "minute" => 60,
                    "hour" => 3_600,
                    // Days, weeks, months and years: long enough for every caller.
                    _ => 86_400,
                };
                number.parse::<u64>().ok()?.checked_mul(unit)?
            }
        };
        Some(Duration::from_secs(seconds))
    }
}

/// Parses the output of `docker compose ps --format json`: one object per line, or one array from older plugins.
///
/// # Errors
/// Returns the reason and the line number if a line cannot be parsed.
pub fn parse_compose_ps(text: &str) -> Result<Vec<Container>, String> {
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

/// Parses the version in the output of `docker compose version --format json`.
pub fn parse_compose_version(text: &str) -> Option<String> {
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
    fn parse_docker_ps_finds_other_projects() {
        let text = "docker-omni-1\tghcr.io/siderolabs/omni:latest\trunning\tdocker\n\
                    omni-scale-omni-1\tghcr.io/siderolabs/omni:v1.10.6\trunning\tomni-scale\n\
                    omni\tmirror:5000/siderolabs/omni@sha256:00\texited\t\n\
                    p\tghcr.io/siderolabs/omni-infra-provider-proxmox:v0.3.0\trunning\tdocker\nx\tother/omni:1\trunning\ty\n\
                    not understood\n";
        let found = parse_docker_ps(text, "omni-scale");
        let omnis: Vec<&ListedContainer> =
            found.iter().filter(|container| container.has_image("siderolabs/omni")).collect();
        assert_eq!(omnis.iter().map(|omni| omni.name.as_str()).collect::<Vec<_>>(), ["docker-omni-1", "omni"]);
        assert!(omnis[0].describe().contains("`docker-omni-1` of the compose project `docker`"), "{found:?}");
    }

    #[test]
    fn recorded_containers_are_read() {
        let found = parse_compose_ps(&recorded("ps-running")).unwrap();
        let seen: Vec<_> = found.iter().map(|c| (c.service.as_str(), c.state.as_str(), c.is_healthy())).collect();
        assert_eq!(
            seen,
            [("omni", "running", true), ("omni-tailscale", "running", true), ("proxmox-provider", "exited", false)]
        );
        assert_eq!(found[2].exit_code, 1);
        assert!(found.iter().all(|container| container.working_dir() == Some("/srv/omni-scale/docker")), "{found:?}");
        let publisher = Publisher { url: "127.0.0.1".into(), published: 8443, protocol: "tcp".into() };
        assert_eq!(found[1].publishers, Some(vec![publisher]));
        assert_eq!(parse_compose_ps(&recorded("ps-nothing")).unwrap(), []);
        let died = parse_compose_ps(&recorded("ps-after-sidecar-died")).unwrap();
        assert_eq!(died.iter().filter(|container| container.is_healthy()).count(), 1);
    }

    #[test]
    fn uptime_is_parsed_from_status() {
        let up = |state: &str, status: &str| {
            let container = format!(r#"[{{"Service":"x","Name":"x","State":"{state}","Status":"{status}"}}]"#);
            parse_compose_ps(&container).unwrap()[0].uptime().map(|up| up.as_secs())
        };
        for (status, seconds) in [
            ("Up Less than a second", 0),
            ("Up 1 second", 1),
            ("Up 45 seconds (healthy)", 45),
            ("Up About a minute (health: starting)", 60),
            ("Up 3 minutes", 180),
            ("Up About an hour", 3_600),
            ("Up 2 weeks", 172_800),
        ] {
            assert_eq!(up("running", status), Some(seconds), "{status}");
        }
        assert_eq!(up("restarting", "Restarting (1) 5 seconds ago"), None);
        assert_eq!(up("paused", "Up 3 minutes (Paused)"), None);
        assert_eq!(up("running", ""), None);
    }

    #[test]
    fn parse_compose_ps_accepts_lines_and_array() {
        let line = r#"{"Service":"omni","Name":"x","State":"running"}"#;
        assert_eq!(parse_compose_ps(line).unwrap(), parse_compose_ps(&format!("[{line}]")).unwrap());
        assert!(parse_compose_ps("nonsense").unwrap_err().contains("line 1"));
    }

    #[test]
    fn parse_inspect_reads_docker_28_mounts() {
        let text = r#"{"mounts":[{"Type":"volume","Name":"omni-scale_omni-etcd","Source":"/var/lib/docker/volumes/omni-scale_omni-etcd/_data","Destination":"/_out/etcd","Driver":"local","Mode":"z","RW":true,"Propagation":""},{"Type":"bind","Source":"/srv/omni.asc","Destination":"/omni.asc","Mode":"","RW":false,"Propagation":"rprivate"}],"args":["--name=omni"]}"#;
        let found = parse_inspect(text).unwrap();
        assert_eq!((found.mounts[0].kind.as_str(), found.mounts[1].destination.as_str()), ("volume", "/omni.asc"));
        assert_eq!(parse_inspect(r#"{"mounts":[],"args":[]}"#), Ok(ContainerDetails::default()));
        assert!(parse_inspect("null").is_err());
    }

    #[test]
    fn parse_compose_version_accepts_source_build() {
        assert_eq!(parse_compose_version(&recorded("version-json")).as_deref(), Some("dev"));
        assert_eq!(parse_compose_version("{\"version\":\"v2.40.3\"}").as_deref(), Some("2.40.3"));
        assert_eq!(parse_compose_version("Docker version 20"), None);
    }
}
