//! What docker compose prints, understood (texts of docker compose 5.5.1).

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
    /// `healthy`, `unhealthy`, `starting`, or empty when the image has no health check.
    #[serde(rename(deserialize = "Health"), alias = "health", default)]
    pub health: String,
    #[serde(rename(deserialize = "ExitCode"), alias = "exit_code", default)]
    pub exit_code: i32,
    /// Docker's own text: `Up 3 seconds (healthy)`.
    #[serde(rename(deserialize = "Status"), alias = "status", default)]
    pub status: String,
    #[serde(rename(deserialize = "Image"), alias = "image", default)]
    pub image: String,
    /// What is published on the host; `None` when docker does not say.
    #[serde(rename(deserialize = "Publishers"), alias = "publishers", default)]
    pub publishers: Option<Vec<Publisher>>,
    /// A text of `NAME=VALUE`, with commas between them and in some values; other engines have their own form.
    #[serde(rename(deserialize = "Labels"), skip_serializing, default)]
    pub labels: Value,
}

/// A port of a container that is reachable at the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publisher {
    #[serde(rename(deserialize = "URL"), alias = "url", default)]
    pub url: String,
    #[serde(rename(deserialize = "PublishedPort"), alias = "published", default)]
    pub published: u16,
    #[serde(rename(deserialize = "Protocol"), alias = "protocol", default)]
    pub protocol: String,
}

/// A container's mounts and arguments from `docker inspect`, by `INSPECT`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ContainerDetails {
    pub mounts: Vec<Mount>,
    /// May hold secrets of stacks that are not ours: never shown.
    pub args: Vec<String>,
    /// Where its compose file is, by [`INSPECT_FOREIGN`].
    pub dir: String,
    /// Its restart policy, by the same.
    pub restart: String,
}

impl ContainerDetails {
    /// The value of a flag, in either form.
    pub fn flag(&self, flag: &str) -> Option<String> {
        let mut args = self.args.iter().enumerate();
        args.find_map(|(at, arg)| match arg.strip_prefix(flag)? {
            "" => self.args.get(at + 1).cloned(),
            rest => rest.strip_prefix('=').map(str::to_owned),
        })
    }

    /// The mount that a path of the container is on: the innermost.
    pub fn mount_of(&self, path: &str) -> Option<&Mount> {
        let holds = |destination: &str| {
            let destination = destination.trim_end_matches('/');
            path == destination || path.strip_prefix(destination).is_some_and(|rest| rest.starts_with('/'))
        };
        self.mounts.iter().filter(|mount| holds(&mount.destination)).max_by_key(|mount| mount.destination.len())
    }

    /// The file of this host that a path of the container is.
    pub fn on_host(&self, path: &str) -> Option<String> {
        let mount = self.mount_of(path).filter(|mount| mount.kind == "bind")?;
        Some(mount.source.clone() + path.strip_prefix(&*mount.destination)?)
    }
}

/// What a container has mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Mount {
    /// `volume`, `bind` or `tmpfs`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Of a volume.
    pub name: String,
    pub destination: String,
    /// On the host.
    pub source: String,
}

/// The format for `docker inspect`: mounts and arguments, and nothing of the environment, which holds secrets.
pub const INSPECT: &str = r#"{"mounts":{{json .Mounts}},"args":{{json .Args}}}"#;

/// The same of a container of another project, with where it comes from and when docker starts it.
pub const INSPECT_FOREIGN: &str = r#"{"mounts":{{json .Mounts}},"args":{{json .Args}},"dir":{{json (index .Config.Labels "com.docker.compose.project.working_dir")}},"restart":{{json .HostConfig.RestartPolicy.Name}}}"#;

/// The format for `docker ps`, for [`listed`].
pub const LISTED: &str = r#"{{.Names}}	{{.Image}}	{{.State}}	{{.Label "com.docker.compose.project"}}"#;

/// A container in a list of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedContainer {
    pub name: String,
    pub image: String,
    pub state: String,
    /// The compose project; empty without one.
    pub project: String,
}

impl ListedContainer {
    /// Whether its image is this one, of whatever registry and tag.
    pub fn is(&self, image: &str) -> bool {
        let tagged = self.image.split('@').next().unwrap_or_default();
        // A colon before the last slash is that of a registry's port.
        tagged.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(tagged, |(path, _)| path).ends_with(image)
    }

    pub fn words(&self) -> String {
        let ListedContainer { name, image, state, project } = self;
        match project.as_str() {
            "" => format!("`{name}` ({image}, {state})"),
            _ => format!("`{name}` of the compose project `{project}` ({image}, {state})"),
        }
    }
}

/// The containers of other projects than `own`, in what `docker ps` printed by [`LISTED`].
pub fn listed(text: &str, own: &str) -> Vec<ListedContainer> {
    let one = |line: &str| {
        let [name, image, state, project] = line.split('\t').map(str::to_owned).collect::<Vec<_>>().try_into().ok()?;
        Some(ListedContainer { name, image, state, project }).filter(|container| container.project != own)
    };
    text.lines().filter_map(one).collect()
}

/// The answer to a `docker inspect` with the format [`INSPECT`].
///
/// # Errors
/// Why it is not understood.
pub fn inspected(text: &str) -> Result<ContainerDetails, String> {
    serde_json::from_str(text.trim()).map_err(|error| error.to_string())
}

impl Container {
    /// Running, and healthy where that can be known.
    pub fn well(&self) -> bool {
        self.state == "running" && matches!(self.health.as_str(), "" | "healthy")
    }

    /// The directory of the compose file that it was created from; `None` if docker does not say.
    pub fn working_dir(&self) -> Option<&str> {
        let (_, value) = self.labels.as_str()?.split_once("com.docker.compose.project.working_dir=")?;
        Some(value.split(",com.docker.compose.").next().unwrap_or(value))
    }

    /// Whether it ends by itself, so that its log says why; one that was stopped ends with 0.
    pub fn keeps_exiting(&self) -> bool {
        self.state == "restarting" || (self.state == "exited" && self.exit_code != 0)
    }

    /// The minimum time that it has run without a restart; `None` if it does not run or docker does not report it. Docker
    /// prints it as text, by its own clock: `Up 45 seconds (healthy)` (docker/go-units v0.5.0 `HumanDuration`).
    pub fn up_for(&self) -> Option<Duration> {
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
                    // Days, weeks, months, years: long enough for any question.
                    _ => 86_400,
                };
                number.parse::<u64>().ok()?.checked_mul(unit)?
            }
        };
        Some(Duration::from_secs(seconds))
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
    fn omnis_of_other_projects_are_found() {
        let text = "docker-omni-1\tghcr.io/siderolabs/omni:latest\trunning\tdocker\n\
                    omni-scale-omni-1\tghcr.io/siderolabs/omni:v1.10.6\trunning\tomni-scale\n\
                    omni\tmirror:5000/siderolabs/omni@sha256:00\texited\t\n\
                    p\tghcr.io/siderolabs/omni-infra-provider-proxmox:v0.3.0\trunning\tdocker\nx\tother/omni:1\trunning\ty\n\
                    not understood\n";
        let found = listed(text, "omni-scale");
        let omnis: Vec<&ListedContainer> = found.iter().filter(|container| container.is("siderolabs/omni")).collect();
        assert_eq!(omnis.iter().map(|omni| omni.name.as_str()).collect::<Vec<_>>(), ["docker-omni-1", "omni"]);
        assert!(omnis[0].words().contains("`docker-omni-1` of the compose project `docker`"), "{found:?}");
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
        assert!(found.iter().all(|container| container.working_dir() == Some("/srv/omni-scale/docker")), "{found:?}");
        let publisher = Publisher { url: "127.0.0.1".into(), published: 8443, protocol: "tcp".into() };
        assert_eq!(found[1].publishers, Some(vec![publisher]));
        assert_eq!(containers(&recorded("ps-nothing")).unwrap(), []);
        let died = containers(&recorded("ps-after-sidecar-died")).unwrap();
        assert_eq!(died.iter().filter(|container| container.well()).count(), 1);
    }

    #[test]
    fn how_long_a_container_runs_is_read_from_dockers_words() {
        let up = |state: &str, status: &str| {
            let container = format!(r#"[{{"Service":"x","Name":"x","State":"{state}","Status":"{status}"}}]"#);
            containers(&container).unwrap()[0].up_for().map(|up| up.as_secs())
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
    fn both_forms_of_the_list_are_read() {
        let line = r#"{"Service":"omni","Name":"x","State":"running"}"#;
        assert_eq!(containers(line).unwrap(), containers(&format!("[{line}]")).unwrap());
        assert!(containers("nonsense").unwrap_err().contains("line 1"));
    }

    #[test]
    fn mounts_are_read_as_docker_28_prints_them() {
        let text = r#"{"mounts":[{"Type":"volume","Name":"omni-scale_omni-etcd","Source":"/var/lib/docker/volumes/omni-scale_omni-etcd/_data","Destination":"/_out/etcd","Driver":"local","Mode":"z","RW":true,"Propagation":""},{"Type":"bind","Source":"/srv/omni.asc","Destination":"/omni.asc","Mode":"","RW":false,"Propagation":"rprivate"}],"args":["--name=omni"]}"#;
        let found = inspected(text).unwrap();
        assert_eq!((found.mounts[0].kind.as_str(), found.mounts[1].destination.as_str()), ("volume", "/omni.asc"));
        assert_eq!(inspected(r#"{"mounts":[],"args":[]}"#), Ok(ContainerDetails::default()));
        assert!(inspected("null").is_err());
    }

    #[test]
    fn a_version_built_from_source_is_a_version() {
        assert_eq!(version(&recorded("version-json")).as_deref(), Some("dev"));
        assert_eq!(version("{\"version\":\"v2.40.3\"}").as_deref(), Some("2.40.3"));
        assert_eq!(version("Docker version 20"), None);
    }
}
