//! `docker inspect` of a container and `docker volume inspect` (docker 28.2.2 on an engine 20.10.24, recorded).

use serde_yaml::{Mapping, Value};

use super::Fail;
use super::engine::{Ask, Shown, Told};
use super::template::{self, Problem};
use crate::omni::resource::rfc3339;
use crate::tools::out;
use crate::tools::wire::{self, Line};

const SECOND: u64 = 1_000_000_000;
/// What the engine writes for a time that has not come.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A question to the engine of the lab; the error is the daemon's.
fn ask(line: &mut Line, question: Ask) -> Result<Told, Fail> {
    match line.ask(&wire::Ask::Engine(Box::new(question)))? {
        wire::Told::Engine(told) => Ok(*told),
        other => Err(Fail::Lab(anyhow::anyhow!("unexpected answer of the lab: {other:?}"))),
    }
}

/// `inspect [--type container] [--format TEMPLATE] NAME…`
pub fn inspect(line: &mut Line, args: &[&str]) -> Result<(), Fail> {
    let (mut container, mut rest) = (false, Vec::new());
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match *word {
            "--type" if words.next() == Some(&"container") => container = true,
            "--type=container" => container = true,
            "--type" => return Err(Fail::Unknown),
            other => rest.push(other),
        }
    }
    let said = if container { "Error response from daemon: No such container" } else { "Error: No such object" };
    each(&rest, |name| match ask(line, Ask::Find(name.to_owned()))? {
        Told::Found(Some((project, shown))) => Ok(Ok(document(&project, &shown))),
        _ => Ok(Err(format!("{said}: {name}"))),
    })
}

/// `volume inspect [--format TEMPLATE] NAME…`
pub fn volume_inspect(line: &mut Line, args: &[&str]) -> Result<(), Fail> {
    let Told::Names(known) = ask(line, Ask::Volumes)? else { return Err(Fail::Unknown) };
    each(args, |name| {
        if known.iter().any(|each| each == name) {
            return Ok(Ok(volume(name)));
        }
        Ok(Err(format!("Error response from daemon: get {name}: no such volume")))
    })
}

/// `volume ls [-q]`
pub fn volume_ls(line: &mut Line, args: &[&str]) -> Result<(), Fail> {
    let Told::Names(known) = ask(line, Ask::Volumes)? else { return Err(Fail::Unknown) };
    let (head, lead) = match args {
        [] => ("DRIVER    VOLUME NAME\n", "local     "),
        ["-q" | "--quiet"] => ("", ""),
        _ => return Err(Fail::Unknown),
    };
    out(head);
    out(&known.iter().map(|name| format!("{lead}{name}\n")).collect::<String>());
    Ok(())
}

/// Prints the document of each name, or what the template makes of it. Those that are not there are told at the end, and
/// make it fail.
fn each(args: &[&str], mut look: impl FnMut(&str) -> Result<Result<Value, String>, Fail>) -> Result<(), Fail> {
    let (mut format, mut names) = (None, Vec::new());
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match *word {
            "--format" | "-f" => format = Some(*words.next().ok_or(Fail::Unknown)?),
            word if word.starts_with("--format=") => format = word.strip_prefix("--format="),
            word if word.starts_with('-') => return Err(Fail::Unknown),
            name => names.push(name),
        }
    }
    if names.is_empty() {
        return Err(Fail::Unknown);
    }
    let (mut found, mut bad) = (Vec::new(), Vec::new());
    for name in names {
        match look(name)? {
            Ok(document) => found.push(document),
            Err(text) => bad.push(text),
        }
    }
    match format {
        None => out(&array(&found)),
        Some(template) => {
            let mut text = String::new();
            for document in &found {
                match template::execute(template, document) {
                    Ok(shown) => text.push_str(&(shown + "\n")),
                    Err(Problem::Unknown) => return Err(Fail::Unknown),
                    Err(Problem::Said(why)) => {
                        text.push('\n');
                        bad.push(why);
                    }
                }
            }
            // One empty line stands for nothing at all.
            out(if found.is_empty() { "\n" } else { &text });
        }
    }
    if bad.is_empty() { Ok(()) } else { Err(Fail::Said(bad.join("\n"))) }
}

/// The documents, with four blanks a step.
fn array(found: &[Value]) -> String {
    use serde::Serialize as _;
    if found.is_empty() {
        return "[]\n".to_owned();
    }
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut bytes = Vec::new();
    // What stands in a container's document is text, numbers and lists of them: nothing that could fail.
    let _ = found.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter));
    bytes.push(b'\n');
    String::from_utf8(bytes).unwrap_or_default()
}

fn map<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Mapping(pairs.into_iter().map(|(key, value)| (Value::from(key), value)).collect::<Mapping>())
}

fn list(items: impl IntoIterator<Item = String>) -> Value {
    Value::Sequence(items.into_iter().map(Value::from).collect())
}

fn time(nanos: u64) -> Value {
    if nanos == 0 {
        return Value::from(NEVER);
    }
    let whole = rfc3339(i64::try_from(nanos / SECOND).unwrap_or(0));
    Value::from(format!("{}.{:09}Z", whole.trim_end_matches('Z'), nanos % SECOND))
}

fn volume(name: &str) -> Value {
    map([
        ("CreatedAt", Value::from(rfc3339(crate::omni::wall_now()))),
        ("Driver", Value::from("local")),
        ("Labels", Value::Null),
        ("Mountpoint", Value::from(format!("/var/lib/docker/volumes/{name}/_data"))),
        ("Name", Value::from(name)),
        ("Options", Value::Null),
        ("Scope", Value::from("local")),
    ])
}

/// What the engine tells of a container, as far as anybody asks.
fn document(project: &str, shown: &Shown) -> Value {
    let service = &shown.service;
    let mut command = service.argv.clone();
    if !service.entrypoint {
        command.insert(0, super::show::entrypoint(&service.image).to_owned());
    }
    let path = if command.is_empty() { String::new() } else { command.remove(0) };
    let network = match &service.network_of {
        Some(name) => format!("container:{name}"),
        None => format!("{project}_default"),
    };
    let env = service.environment.iter().map(|(key, value)| format!("{key}={value}"));
    let policy = map([("Name", Value::from(service.restart.as_str())), ("MaximumRetryCount", Value::from(0))]);
    map([
        ("Id", Value::from(shown.id.as_str())),
        ("Created", time(shown.created)),
        ("Path", Value::from(path)),
        ("Args", list(command)),
        ("State", state(shown)),
        ("Name", Value::from(format!("/{}", service.container))),
        ("RestartCount", Value::from(shown.restarts)),
        ("Platform", Value::from("linux")),
        (
            "HostConfig",
            map([("NetworkMode", Value::from(network)), ("RestartPolicy", policy), ("Privileged", Value::from(false))]),
        ),
        ("Mounts", mounts(project, shown)),
        ("Config", map([("Env", list(env)), ("Image", Value::from(service.image.as_str()))])),
    ])
}

fn state(shown: &Shown) -> Value {
    let is = |state: &str| Value::from(shown.state == state);
    let mut out = map([
        ("Status", Value::from(shown.state.as_str())),
        ("Running", is("running")),
        ("Paused", is("paused")),
        ("Restarting", is("restarting")),
        ("Dead", is("dead")),
        ("ExitCode", Value::from(shown.exit_code)),
        ("Error", Value::from("")),
        ("StartedAt", time(shown.started)),
        ("FinishedAt", time(shown.finished)),
    ]);
    if !shown.health.is_empty()
        && let Value::Mapping(fields) = &mut out
    {
        let (code, said) = if shown.health == "unhealthy" { (1, "no tailnet address yet\n") } else { (0, "") };
        let probe = map([
            ("Start", time(shown.started)),
            ("End", time(shown.started)),
            ("ExitCode", Value::from(code)),
            ("Output", Value::from(said)),
        ]);
        let health = map([
            ("Status", Value::from(shown.health.as_str())),
            ("FailingStreak", Value::from(code)),
            ("Log", Value::Sequence(if shown.health == "starting" { Vec::new() } else { vec![probe] })),
        ]);
        fields.insert(Value::from("Health"), health);
    }
    out
}

fn mounts(project: &str, shown: &Shown) -> Value {
    let service = &shown.service;
    let writable = |target: &String| !service.read_only.contains(target);
    let volumes = service.volumes.iter().map(|(name, target)| {
        let name = format!("{project}_{name}");
        map([
            ("Type", Value::from("volume")),
            ("Name", Value::from(name.as_str())),
            ("Source", Value::from(format!("/var/lib/docker/volumes/{name}/_data"))),
            ("Destination", Value::from(target.as_str())),
            ("Driver", Value::from("local")),
            ("Mode", Value::from(if writable(target) { "rw" } else { "ro" })),
            ("RW", Value::from(writable(target))),
            ("Propagation", Value::from("")),
        ])
    });
    let binds = service.binds.iter().map(|(target, host)| {
        map([
            ("Type", Value::from("bind")),
            ("Source", Value::from(host.as_str())),
            ("Destination", Value::from(target.as_str())),
            ("Mode", Value::from("")),
            ("RW", Value::from(writable(target))),
            ("Propagation", Value::from("rprivate")),
        ])
    });
    Value::Sequence(volumes.chain(binds).collect())
}
