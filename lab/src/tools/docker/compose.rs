//! Reads the compose file as docker compose does: with the `.env` next to it, variables replaced, and the parts of services
//! that the lab's engine needs (compose-spec/compose-go v2 as in docker compose 5.5.1).

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use super::engine::ContainerInfo;

/// A compose project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Project {
    pub name: String,
    /// Absolute path of the compose file.
    pub file: PathBuf,
    /// Services of the active profiles, by name.
    pub services: BTreeMap<String, Service>,
    pub volumes: Vec<String>,
    /// Warnings about unset variables, which compose prints on stderr.
    pub warnings: Vec<String>,
    /// Whether the project was given by name instead of a file, so that only the engine's containers are known.
    pub by_name: bool,
}

impl Project {
    /// Reconstructs a project from its containers.
    pub fn of(name: String, containers: Vec<ContainerInfo>) -> Project {
        let file = containers.first().map(|shown| PathBuf::from(&shown.file)).unwrap_or_default();
        let services = containers.into_iter().map(|shown| (shown.service.name.clone(), shown.service)).collect();
        Project { name, file, services, by_name: true, ..Project::default() }
    }

    /// The directory of the compose file.
    pub fn dir(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }
}

/// A service with everything that is visible in its container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    pub name: String,
    pub container: String,
    pub image: String,
    /// Entrypoint and command, if the file sets them.
    pub argv: Vec<String>,
    /// Whether `argv` starts with an entrypoint from the file.
    pub entrypoint: bool,
    pub environment: BTreeMap<String, String>,
    pub mounts: Vec<Mount>,
    /// The service whose network it joins.
    pub network_of: Option<String>,
    /// Published ports: host address, host port, container port, protocol.
    pub ports: Vec<(String, u16, u16, String)>,
    /// Additional entries in `/etc/hosts`: name and address, as split by the engine.
    pub extra_hosts: Vec<(String, String)>,
    /// Services that it depends on, and the condition of each.
    pub depends_on: BTreeMap<String, String>,
    /// Whether it has a healthcheck.
    pub healthcheck: bool,
    /// Restart policy, `restart:`.
    pub restart: String,
    /// Profiles; a service without any is always active.
    pub profiles: Vec<String>,
    /// Hash of all of the above; a container is recreated if it differs.
    pub hash: String,
    /// Contents of the files in `configs:`, which are not part of the hash (docker compose 5.5.1, tried).
    pub contents: BTreeMap<String, String>,
}

impl Service {
    /// The mounts of volumes, or those of paths on the host.
    pub fn mounts(&self, volumes: bool) -> impl Iterator<Item = &Mount> {
        self.mounts.iter().filter(move |mount| mount.volume == volumes)
    }

    /// The path on the host that is mounted at a path in the container.
    pub fn host_path(&self, target: &str) -> Option<&Path> {
        self.mounts(false).find(|mount| mount.target == target).map(|mount| Path::new(&mount.source))
    }
}

/// A mount in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The name of a volume, or a path on the host.
    pub source: String,
    pub volume: bool,
    /// The path in the container.
    pub target: String,
    pub read_only: bool,
    /// Whether the path on the host must exist: `create_host_path: false`.
    pub strict: bool,
}

/// Loads a project, with `--profile`, `--project-name` and `--env-file`. The error is compose's message for stderr.
pub fn load(file: &str, profiles: &[String], name: Option<&str>, env_file: Option<&str>) -> Result<Project, String> {
    let file = std::path::absolute(file).map_err(|why| why.to_string())?;
    let shown = file.display().to_string();
    let text = std::fs::read_to_string(&file)
        .map_err(|why| format!("compose file {shown:?} is invalid: open {shown}: {}", crate::go_errors::go_io(&why)))?;
    let dir = file.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut value: Value = serde_yaml::from_str(&text).map_err(|why| syntax_error(&why))?;
    // A merge key that is not a mapping is left for the engine to reject.
    let _ = value.apply_merge();
    let env_file = env_file.map_or_else(|| dir.join(".env"), PathBuf::from);
    let mut variables = Variables { env: read_env_file(&env_file)?, warnings: Vec::new() };
    variables.env.extend(std::env::vars());
    variables.replace(&mut value, "")?;
    include(&mut value, &dir, &mut variables)?;
    let own = variables.env.get("COMPOSE_PROJECT_NAME").map(String::as_str).filter(|name| !name.is_empty());
    let name = name.or(own).or(value.get("name").and_then(Value::as_str)).map(str::to_owned);
    let name = name.or_else(|| Some(dir.file_name()?.to_string_lossy().to_lowercase())).unwrap_or_default();
    let mut active = profiles.to_vec();
    if let Some(more) = variables.env.get("COMPOSE_PROFILES") {
        active.extend(more.split(',').map(|profile| profile.trim().to_owned()).filter(|profile| !profile.is_empty()));
    }
    let (volumes, warnings) = (names(value.get("volumes")), variables.warnings.clone());
    let mut project = Project { name, file, volumes, warnings, ..Project::default() };
    let services = value.get("services").and_then(Value::as_mapping).cloned().unwrap_or_default();
    for (key, spec) in &services {
        let mut service = service(&project, key.as_str().unwrap_or_default(), spec)?;
        service.contents = contents(spec, &value);
        let wanted = service.profiles.is_empty()
            || service.profiles.iter().any(|one| active.contains(one) || active.contains(&"*".to_owned()));
        if wanted {
            project.services.insert(service.name.clone(), service);
        }
    }
    let configs = names(value.get("configs"));
    for service in project.services.values() {
        check_names(&project, service, services.get(service.name.as_str()), &configs)?;
        for other in service.depends_on.keys().chain(service.network_of.as_ref()) {
            if !services.contains_key(other.as_str()) {
                let text = "depends on undefined service";
                return Err(format!("service {:?} {text} {other:?}: invalid compose project", service.name));
            }
        }
    }
    Ok(project)
}

/// Adds the services of the files in `include`. Each file uses the `.env` next to it, but variables of the including project
/// take precedence (recorded).
fn include(project: &mut Value, dir: &Path, variables: &mut Variables) -> Result<(), String> {
    let Some(map) = project.as_mapping_mut() else { return Ok(()) };
    let Some(Value::Sequence(items)) = map.remove("include") else { return Ok(()) };
    map.entry("services".into()).or_insert_with(|| Value::Mapping(serde_yaml::Mapping::new()));
    for item in items {
        let path = dir.join(item.get("path").map_or_else(|| scalar(&item), scalar));
        let below = path.parent().unwrap_or(dir);
        let mut env = read_env_file(&below.join(".env"))?;
        env.extend(variables.env.clone());
        let mut own = Variables { env, warnings: std::mem::take(&mut variables.warnings) };
        let mut included = read_compose_file(&path)?;
        own.replace(&mut included, "")?;
        include(&mut included, below, &mut own)?;
        let services = included.get("services").and_then(Value::as_mapping).cloned().unwrap_or_default();
        for (name, mut service) in services {
            make_sources_absolute(&mut service, below);
            if let Some(base) = service.as_mapping_mut().and_then(|map| map.remove("extends")) {
                let text = |key: &str| base.get(key).map(scalar).unwrap_or_default();
                let file = below.join(text("file"));
                let mut whole = read_compose_file(&file)?;
                let _ = whole.apply_merge();
                let found = whole.get_mut("services").and_then(|all| all.get_mut(text("service").as_str()));
                let mut base = found.map(std::mem::take).unwrap_or_default();
                own.replace(&mut base, "services")?;
                make_sources_absolute(&mut base, file.parent().unwrap_or(below));
                service = merge_services(base, service);
            }
            if let Some(Value::Mapping(all)) = project.get_mut("services") {
                all.insert(name, service);
            }
        }
        variables.warnings = own.warnings;
    }
    Ok(())
}

/// Reads an additional compose file. An empty file is rejected, as by compose before 2.24 (compose-go v1.20.2; run).
fn read_compose_file(path: &Path) -> Result<Value, String> {
    let failed = |why: std::io::Error| format!("open {}: {}", path.display(), crate::go_errors::go_io(&why));
    let text = std::fs::read_to_string(path).map_err(failed)?;
    match serde_yaml::from_str(&text).map_err(|why| syntax_error(&why))? {
        Value::Null => Err("empty compose file".to_owned()),
        value => Ok(value),
    }
}

/// Resolves the relative paths of a service's bind mounts against the directory of its file.
fn make_sources_absolute(service: &mut Value, dir: &Path) {
    for mount in service.get_mut("volumes").and_then(Value::as_sequence_mut).into_iter().flatten() {
        if let Some(source) = mount.get_mut("source").filter(|source| scalar(source).starts_with('.')) {
            *source = Value::String(dir.join(scalar(source)).display().to_string());
        }
    }
}

/// Merges a service over the one that it extends: mappings and mounts entry by entry, everything else as a whole (recorded).
fn merge_services(mut base: Value, over: Value) -> Value {
    for (key, value) in over.as_mapping().cloned().unwrap_or_default() {
        match (base.get_mut(&key), value) {
            (Some(Value::Mapping(old)), Value::Mapping(new)) => old.extend(new),
            (Some(Value::Sequence(old)), Value::Sequence(new)) if key == "volumes" => {
                old.retain(|mount| new.iter().all(|own| own.get("target") != mount.get("target")));
                old.extend(new);
            }
            (_, value) => drop(base.as_mapping_mut().map(|map| map.insert(key, value))),
        }
    }
    base
}

/// Fails if the service uses a volume or config that the file does not define (recorded).
fn check_names(project: &Project, service: &Service, spec: Option<&Value>, configs: &[String]) -> Result<(), String> {
    let used = spec.and_then(|spec| spec.get("configs")).and_then(Value::as_sequence).into_iter().flatten();
    let used: Vec<String> = used.map(|item| item.get("source").map_or_else(|| scalar(item), scalar)).collect();
    let volume = service.mounts(true).map(|mount| &mount.source).find(|name| !project.volumes.contains(name));
    let volume = volume.map(|name| format!("volume {name}"));
    let config = used.iter().find(|name| !configs.contains(name)).map(|name| format!("config {name}"));
    match volume.or(config) {
        Some(what) => Err(format!("service {:?} refers to undefined {what}: invalid compose project", service.name)),
        None => Ok(()),
    }
}

fn names(value: Option<&Value>) -> Vec<String> {
    let map = value.and_then(Value::as_mapping);
    map.into_iter().flatten().filter_map(|(key, _)| key.as_str().map(str::to_owned)).collect()
}

/// Formats an error as `go-yaml load error in parser (while parsing a flow node) at L2.C1: did not find expected node content`.
fn syntax_error(why: &serde_yaml::Error) -> String {
    let said = why.to_string();
    let (what, rest) = said.split_once(" at line ").unwrap_or((&said, ""));
    let context = rest.split_once(", ").map(|(_, context)| context.split(" at line ").next().unwrap_or(context));
    let stage = if context.is_some_and(|context| context.starts_with("while scanning")) { "scanner" } else { "parser" };
    let context = context.map(|context| format!(" ({context})")).unwrap_or_default();
    match why.location() {
        Some(place) => {
            format!("go-yaml load error in {stage}{context} at L{}.C{}: {what}", place.line(), place.column())
        }
        None => format!("go-yaml load error in {stage}{context}: {what}"),
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Sequence(items)) => items.iter().map(scalar).collect(),
        _ => Vec::new(),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(yes) => yes.to_string(),
        _ => String::new(),
    }
}

fn service(project: &Project, name: &str, spec: &Value) -> Result<Service, String> {
    let text = |key: &str| spec.get(key).map(scalar).unwrap_or_default();
    let entrypoint = strings(spec.get("entrypoint"));
    let mut out = Service {
        name: name.to_owned(),
        container: match text("container_name").as_str() {
            "" => format!("{}-{name}-1", project.name),
            own => own.to_owned(),
        },
        image: text("image"),
        entrypoint: !entrypoint.is_empty(),
        argv: entrypoint.into_iter().chain(strings(spec.get("command"))).collect(),
        network_of: text("network_mode").strip_prefix("service:").map(str::to_owned),
        healthcheck: spec
            .get("healthcheck")
            .is_some_and(|check| check.get("disable").and_then(Value::as_bool) != Some(true)),
        restart: text("restart"),
        profiles: strings(spec.get("profiles")),
        ..Service::default()
    };
    if out.image.is_empty() && spec.get("build").is_none() {
        return Err(format!(
            "service {name:?} has neither an image nor a build context specified: invalid compose project"
        ));
    }
    // The kit's file does not use these, and the lab does not simulate them.
    let is_text = |key: &str| spec.get(key).is_some_and(Value::is_string);
    let is_list = |key: &str| spec.get(key).is_some_and(Value::is_sequence);
    if spec.get("env_file").is_some() || ["command", "entrypoint"].into_iter().any(is_text) {
        return Err(format!("lab: service {name:?}: env_file and commands as text are not simulated"));
    }
    if ["environment", "depends_on"].into_iter().any(is_list) {
        return Err(format!("lab: service {name:?}: environment and depends_on as lists are not simulated"));
    }
    let pairs = |key: &str| spec.get(key).and_then(Value::as_mapping).into_iter().flatten();
    out.environment.extend(pairs("environment").map(|(key, value)| (scalar(key), scalar(value))));
    out.depends_on.extend(pairs("depends_on").map(|(key, value)| {
        (scalar(key), value.get("condition").map_or_else(|| "service_started".to_owned(), scalar))
    }));
    mounts(project, spec.get("volumes"), &mut out);
    ports(spec.get("ports"), &mut out)?;
    let host = |text: String| text.split_once(['=', ':']).map(|(name, ip)| (name.to_owned(), ip.to_owned()));
    out.extra_hosts = strings(spec.get("extra_hosts")).into_iter().filter_map(host).collect();
    let text = serde_json::to_string(&out).unwrap_or_default();
    out.hash = crate::tls::hex(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref());
    Ok(out)
}

/// The contents of a service's configs that are inline in the file, by path.
fn contents(spec: &Value, file: &Value) -> BTreeMap<String, String> {
    let used = spec.get("configs").and_then(Value::as_sequence).into_iter().flatten();
    let one = |used: &Value| {
        let content = file.get("configs")?.get(used.get("source")?)?.get("content")?;
        Some((scalar(used.get("target")?), scalar(content)))
    };
    used.filter_map(one).collect()
}

fn mounts(project: &Project, value: Option<&Value>, out: &mut Service) {
    for item in value.and_then(Value::as_sequence).into_iter().flatten() {
        let (source, target, read_only) = match item {
            Value::String(text) => {
                let mut parts = text.split(':').map(str::to_owned);
                let (Some(source), Some(target)) = (parts.next(), parts.next()) else { continue };
                (source, target, parts.next().is_some_and(|mode| mode.split(',').any(|word| word == "ro")))
            }
            map => {
                let text = |key: &str| map.get(key).map(scalar).unwrap_or_default();
                (text("source"), text("target"), text("read_only") == "true")
            }
        };
        let volume = !source.starts_with(['.', '/', '~']);
        let home = std::env::var("HOME").unwrap_or_default();
        let on_host =
            || normalize_path(&project.dir().join(source.replacen('~', &home, usize::from(source.starts_with('~')))));
        let source = if volume { source } else { on_host().display().to_string() };
        let create = item.get("bind").and_then(|bind| bind.get("create_host_path")).and_then(Value::as_bool);
        out.mounts.push(Mount { source, volume, target, read_only, strict: create == Some(false) });
    }
}

/// Removes `.` and `..` from a path, ignoring symbolic links.
fn normalize_path(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut clean, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(clean.pop()),
            other => clean.push(other),
        }
        clean
    })
}

/// Parses ports in the short form: `[HOST:[PUBLISHED:]]TARGET[/PROTOCOL]` (docker/go-connections v0.7.0 `nat.ParsePortSpec`; the
/// errors are recorded).
fn ports(value: Option<&Value>, out: &mut Service) -> Result<(), String> {
    for item in value.and_then(Value::as_sequence).into_iter().flatten() {
        let text = scalar(item);
        let (rest, protocol) = text.rsplit_once('/').filter(|(_, last)| !last.contains(':')).unwrap_or((&text, "tcp"));
        let mut parts = rest.rsplitn(3, ':');
        let (target, published) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let host = parts.next().unwrap_or_default();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if !bare.is_empty() && bare.parse::<std::net::IpAddr>().is_err() {
            return Err(format!("invalid IP address: {host}"));
        }
        let port = |text: &str| text.parse::<u16>().ok();
        let Some(target) = port(target) else { return Err(format!("invalid containerPort: {target}")) };
        let published = match published {
            "" => target,
            text => port(text).ok_or_else(|| format!("invalid hostPort: {text}"))?,
        };
        if !["tcp", "udp", "sctp"].contains(&protocol) {
            return Err(format!("invalid proto: {protocol}"));
        }
        let host = if bare.is_empty() { "0.0.0.0" } else { bare };
        out.ports.push((host.to_owned(), published, target, protocol.to_owned()));
    }
    Ok(())
}

/// Variables, and warnings about unset ones.
struct Variables {
    env: BTreeMap<String, String>,
    warnings: Vec<String>,
}

impl Variables {
    fn replace(&mut self, value: &mut Value, path: &str) -> Result<(), String> {
        let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match value {
            Value::String(text) if text.contains('$') => {
                *text = self.expand(text).map_err(|why| match why {
                    ExpansionError::Required(text) => format!("error while interpolating {path}: {text}"),
                    ExpansionError::Format => {
                        format!("invalid interpolation format for {path}.\nYou may need to escape any $ with another $.\n{text}")
                    }
                })?;
            }
            Value::Sequence(items) => {
                for item in items {
                    self.replace(item, &below("[]"))?;
                }
            }
            Value::Mapping(map) => {
                for (key, inner) in map.iter_mut() {
                    let key = scalar(key);
                    self.replace(inner, &below(&key))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn expand(&mut self, text: &str) -> Result<String, ExpansionError> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let end = find_closing_brace(after).ok_or(ExpansionError::Format)?;
                out.push_str(&self.expand_braces(&after[..end])?);
                rest = &after[end + 1..];
            } else {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                if end == 0 || rest.starts_with(|c: char| c.is_ascii_digit()) {
                    return Err(ExpansionError::Format);
                }
                out.push_str(&self.value_of(&rest[..end]));
                rest = &rest[end..];
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    fn value_of(&mut self, name: &str) -> String {
        if let Some(value) = self.env.get(name) {
            return value.clone();
        }
        let text = format!("The \\\"{name}\\\" variable is not set. Defaulting to a blank string.");
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
        String::new()
    }

    fn expand_braces(&mut self, inner: &str) -> Result<String, ExpansionError> {
        let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
        let (name, rest) = inner.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(ExpansionError::Format);
        }
        if rest.is_empty() {
            return Ok(self.value_of(name));
        }
        let (colon, rest) = rest.strip_prefix(':').map_or((false, rest), |rest| (true, rest));
        let operator = rest.chars().next().ok_or(ExpansionError::Format)?;
        let word = &rest[operator.len_utf8()..];
        let value = self.env.get(name).filter(|value| !colon || !value.is_empty()).cloned();
        match (operator, value) {
            ('-' | '?', Some(value)) => Ok(value),
            ('-', None) => self.expand(word),
            ('?', None) => {
                let why = self.expand(word)?;
                let why = if why.is_empty() { String::new() } else { format!(": {why}") };
                Err(ExpansionError::Required(format!("required variable {name} is missing a value{why}")))
            }
            ('+', Some(_)) => self.expand(word),
            ('+', None) => Ok(String::new()),
            _ => Err(ExpansionError::Format),
        }
    }
}

enum ExpansionError {
    Required(String),
    Format,
}

/// The position of the brace that closes the one opened before this text.
fn find_closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Parses a `.env` file; a missing file is treated as empty.
fn read_env_file(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(BTreeMap::new()) };
    let mut variables = Variables { env: std::env::vars().collect(), warnings: Vec::new() };
    let mut out = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let line = line.strip_prefix("export ").unwrap_or(line);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once(['=', ':']).unwrap_or((line, ""));
        let (key, shown) = (key.trim(), path.display());
        if key.contains(char::is_whitespace) {
            return Err(format!("failed to read {shown}: line {}: key cannot contain a space", number + 1));
        }
        if key.contains('$') {
            let why = format!("unexpected character \"$\" in variable name {line:?}");
            return Err(format!("failed to read {shown}: line {}: {why}", number + 1));
        }
        if !line.contains(['=', ':']) {
            continue;
        }
        let value = value.trim_start();
        let (text, literal) = match value.chars().next() {
            Some(quote @ ('\'' | '"')) => {
                let end = value[1..].rfind(quote).ok_or_else(|| {
                    format!("failed to read {shown}: line {}: unterminated quoted value {value}", number + 2)
                })?;
                let inner = &value[1..=end];
                match quote {
                    '\'' => (inner.split('\'').next().unwrap_or_default().to_owned(), true),
                    _ => (inner.replace("\\n", "\n").replace("\\\"", "\"").replace("\\\\", "\\"), false),
                }
            }
            _ => (value.split(" #").next().unwrap_or_default().trim_end().to_owned(), false),
        };
        let value = match literal {
            true => text,
            false => match variables.expand(&text) {
                Ok(value) => value,
                // A `$` that does not start a name is left unchanged.
                Err(_) if !text.contains("${") => text,
                Err(_) => return Err(format!("failed to read {shown}: Invalid template: {text:?}")),
            },
        };
        // Variables from the shell take precedence over those in the file, even within the file.
        variables.env.entry(key.to_owned()).or_insert_with(|| value.clone());
        out.insert(key.to_owned(), value);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(text: &str) -> Result<String, String> {
        let env = [("A", "one"), ("EMPTY", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let mut variables = Variables { env: env.into(), warnings: Vec::new() };
        variables.expand(text).map_err(|why| match why {
            ExpansionError::Required(text) => text,
            ExpansionError::Format => "format".to_owned(),
        })
    }

    #[test]
    fn variables_are_replaced_as_compose_does() {
        for (text, wanted) in [
            ("$A-${A}", "one-one"),
            ("$$A", "$A"),
            ("${EMPTY:-d}${EMPTY-d}", "d"),
            ("${NO:-${A}}", "one"),
            ("${A:+yes}${NO:+no}${EMPTY+set}", "yesset"),
            ("${NO}", ""),
        ] {
            assert_eq!(expand(text).unwrap(), wanted, "{text}");
        }
        assert_eq!(expand("${NO:?set it}").unwrap_err(), "required variable NO is missing a value: set it");
        assert_eq!(expand("${EMPTY?x}").unwrap(), "");
        assert_eq!(expand("${1}").unwrap_err(), "format");
        assert_eq!(expand("${A").unwrap_err(), "format");
    }
}
