//! The output of `docker compose ps` and `logs` (docker compose 5.5.1, recorded).

use serde_json::json;

use super::compose::Project;
use super::engine::ContainerInfo;
use crate::omni::resource::rfc3339;
use crate::provider::log::Line;

const SECOND: u64 = 1_000_000_000;

/// Formats a line of a log.
pub fn log_line(line: &Line, timestamps: bool) -> String {
    let whole = rfc3339(i64::try_from(line.at / SECOND).unwrap_or(0));
    let time = format!("{}.{:09}Z ", whole.trim_end_matches('Z'), line.at % SECOND);
    format!("{}{}\n", if timestamps { time.as_str() } else { "" }, line.text)
}

/// Formats a duration as docker/go-units `HumanDuration` does.
fn format_duration(seconds: u64) -> String {
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3600 => format!("{} minutes", seconds / 60),
        3600..5400 => "About an hour".to_owned(),
        5400..172_800 => format!("{} hours", (seconds + 1800) / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn format_age(then: u64, now: u64) -> String {
    format_duration(now.saturating_sub(then) / SECOND)
}

fn status(shown: &ContainerInfo, now: u64) -> String {
    match shown.state.as_str() {
        "created" => "Created".to_owned(),
        "exited" => format!("Exited ({}) {} ago", shown.exit_code, format_age(shown.finished, now)),
        "restarting" => format!("Restarting ({}) {} ago", shown.exit_code, format_age(shown.finished, now)),
        _ => {
            let health = match shown.health.as_str() {
                "" => String::new(),
                "starting" => " (health: starting)".to_owned(),
                other => format!(" ({other})"),
            };
            format!("Up {}{health}", format_age(shown.started, now))
        }
    }
}

/// The entrypoint of one of the kit's images; empty for any other image.
pub fn entrypoint(image: &str) -> &'static str {
    match image.rsplit('/').next().unwrap_or_default().split(':').next().unwrap_or_default() {
        "tailscale" => "/usr/local/bin/containerboot",
        "omni" => "/omni",
        "omni-infra-provider-proxmox" => "/omni-infra-provider-proxmox",
        _ => "",
    }
}

/// The command, quoted as in Go and truncated to twenty characters.
fn command(shown: &ContainerInfo) -> String {
    let service = &shown.service;
    let mut words: Vec<String> = Vec::new();
    if !service.entrypoint {
        words.extend(Some(entrypoint(&service.image).to_owned()).filter(|word| !word.is_empty()));
    }
    words.extend(service.argv.iter().map(|word| if word.contains(' ') { format!("'{word}'") } else { word.clone() }));
    let whole = words.join(" ");
    let short: String = match whole.chars().count() {
        0..=20 => whole,
        _ => whole.chars().take(19).chain(['…']).collect(),
    };
    format!("\"{}\"", short.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Formats a container as a line of `ps --format json`, with its keys in order.
pub fn json(project: &Project, shown: &ContainerInfo, now: u64) -> String {
    let service = &shown.service;
    let created = jiff::Timestamp::from_second(i64::try_from(shown.created / SECOND).unwrap_or(0)).unwrap_or_default();
    let volumes = service.mounts(true).map(|volume| truncate_name(&format!("{}_{}", project.name, volume.source)));
    let mounts: Vec<String> = volumes.chain(service.mounts(false).map(|bind| truncate_name(&bind.source))).collect();
    let ports: &[_] = if shown.state == "running" { &service.ports } else { &[] };
    let published = ports.iter().map(|(host, published, target, protocol)| {
        json!({"URL": host, "TargetPort": target, "PublishedPort": published, "Protocol": protocol})
    });
    let ports: Vec<String> = ports
        .iter()
        .map(|(host, published, target, protocol)| format!("{host}:{published}->{target}/{protocol}"))
        .collect();
    let line = json!({
        "Command": command(shown),
        "CreatedAt": created.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        "Engine": "",
        "ExitCode": shown.exit_code,
        "Health": shown.health,
        "ID": shown.id[..12],
        "Image": service.image,
        "Labels": labels(project, shown),
        "LocalVolumes": service.mounts(true).count().to_string(),
        "Mounts": mounts.join(","),
        "Name": service.container,
        "Names": service.container,
        "Networks": if service.network_of.is_some() { String::new() } else { format!("{}_default", project.name) },
        "Ports": ports.join(", "),
        "Project": project.name,
        "Publishers": published.collect::<Vec<_>>(),
        "RunningFor": format!("{} ago", format_age(shown.created, now)),
        "Service": service.name,
        "Size": "0B",
        "State": shown.state,
        "Status": status(shown, now),
    });
    // Go's encoder escapes these characters.
    line.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026") + "\n"
}

/// Truncates names longer than 15 characters.
fn truncate_name(name: &str) -> String {
    if name.chars().count() <= 15 { name.to_owned() } else { name.chars().take(14).chain(['…']).collect() }
}

fn labels(project: &Project, shown: &ContainerInfo) -> String {
    let service = &shown.service;
    let depends: Vec<String> =
        service.depends_on.iter().map(|(name, condition)| format!("{name}:{condition}:false")).collect();
    let image = ring::digest::digest(&ring::digest::SHA256, service.image.as_bytes());
    let mut out = vec![
        ("config-hash", service.hash.clone()),
        ("container-number", "1".to_owned()),
        ("depends_on", depends.join(",")),
        ("image", format!("sha256:{}", crate::tls::hex(image.as_ref()))),
        ("oneoff", "False".to_owned()),
        ("project", project.name.clone()),
        ("project.config_files", shown.file.clone()),
        ("project.working_dir", project.dir().display().to_string()),
        ("service", service.name.clone()),
        ("version", String::new()),
    ];
    if shown.replaced {
        out.push(("replace", format!("{}-1", service.name)));
    }
    out.into_iter().map(|(key, value)| format!("com.docker.compose.{key}={value}")).collect::<Vec<_>>().join(",")
}
