//! The stand-in for `docker`: `docker compose` 5.5.1 as far as the tasks call it, and the engine's version.

pub mod compose;
mod containers;
pub mod engine;
mod inspect;
mod lifecycle;
mod show;
pub mod tailnet;
mod template;

use super::wire::{self, Ask, Line, Start, Told};
use super::{UNKNOWN_CALL, err, out, unknown_call};
use compose::Project;
use engine::Shown;

/// Why a command failed.
enum Fail {
    /// What the program says on stderr, with its exit code 1.
    Said(String),
    /// A program in a container ended so; what it said has been said.
    Ended(i32),
    /// The call is not simulated.
    Unknown,
    /// The lab itself failed.
    Lab(anyhow::Error),
}

impl From<anyhow::Error> for Fail {
    fn from(why: anyhow::Error) -> Fail {
        Fail::Lab(why)
    }
}

/// What is said where the engine's socket is not (recorded).
fn engine_down(socket: &str) -> Fail {
    let tried = format!(
        "failed to connect to the docker API at unix://{socket}; check if the path is correct and if the daemon"
    );
    Fail::Said(format!("{tried} is running: dial unix {socket}: connect: no such file or directory"))
}

/// The engine's socket if it is not there: by the lab's word, or because DOCKER_HOST names one that does not exist.
fn missing_socket(start: &Start) -> Option<String> {
    let named = std::env::var("DOCKER_HOST").ok();
    let named = named.as_deref().and_then(|host| host.strip_prefix("unix://"));
    if let Some(path) = named.filter(|path| !std::path::Path::new(path).exists()) {
        return Some(path.to_owned());
    }
    start.engine_down.then(|| named.unwrap_or("/var/run/docker.sock").to_owned())
}

fn few_arguments(count: usize) -> String {
    format!("requires at least 2 arg(s), only received {count}")
}

/// Whether the engine can be asked.
fn reachable(start: &Start) -> Result<(), Fail> {
    if let Some(socket) = missing_socket(start) {
        return Err(engine_down(&socket));
    }
    match start.shows("docker-denied") {
        // docker/cli 29.2.1.
        true => Err(Fail::Said(
            "permission denied while trying to connect to the docker API at unix:///var/run/docker.sock".to_owned(),
        )),
        false => Ok(()),
    }
}

/// The engine of the recordings.
const ENGINE_VERSION: &str = "20.10.24";

/// Runs the stand-in; the value is its exit code.
pub fn run(argv0: &str, argv: &[String]) -> i32 {
    match call(argv0, argv) {
        Ok(()) => 0,
        Err(Fail::Said(text)) => {
            err(&format!("{text}\n"));
            1
        }
        Err(Fail::Ended(code)) => code,
        Err(Fail::Unknown) => unknown_call("docker", argv),
        Err(Fail::Lab(why)) => {
            err(&format!("lab: {why:#}\n"));
            UNKNOWN_CALL
        }
    }
}

fn call(argv0: &str, argv: &[String]) -> Result<(), Fail> {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let link = wire::find(argv0).ok_or_else(|| anyhow::anyhow!("this stand-in belongs to no lab that it can find"))?;
    let mut line = Line::open(&link)?;
    let start = match line.ask(&Ask::Start { program: "docker".to_owned(), argv: argv.to_vec() })? {
        Told::Started(start) => {
            super::busy(start.busy_ms);
            start
        }
        other => return Err(Fail::Lab(anyhow::anyhow!("unexpected answer of the lab: {other:?}"))),
    };
    if start.shows("docker-no-compose") && words.first() == Some(&"compose") {
        return Err(Fail::Said(
            "docker: unknown command: docker compose\n\nRun 'docker --help' for more information".to_owned(),
        ));
    }
    if let ["compose", ref rest @ ..] = words[..] {
        return Compose { line, start }.run(rest);
    }
    reachable(&start)?;
    match words[..] {
        ["version", "--format" | "-f", "{{.Server.Version}}"] => {
            out(&format!("{ENGINE_VERSION}\n"));
            Ok(())
        }
        ["inspect", ref rest @ ..] => inspect::inspect(&mut line, rest),
        ["volume", "inspect", ref rest @ ..] => inspect::volume_inspect(&mut line, rest),
        ["volume", "ls", ref rest @ ..] => inspect::volume_ls(&mut line, rest),
        _ => Err(Fail::Unknown),
    }
}

/// The flags before the command of `docker compose`.
#[derive(Default)]
struct Flags {
    file: Option<String>,
    name: Option<String>,
    env_file: Option<String>,
    profiles: Vec<String>,
}

/// The flags, and the words after them.
fn flags<'a, 'w>(words: &'a [&'w str]) -> (Flags, &'a [&'w str]) {
    let mut flags = Flags::default();
    let mut rest = words;
    while let [word, after @ ..] = rest {
        let (name, joined) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value)),
            _ => (*word, None),
        };
        if !["-f", "--file", "-p", "--project-name", "--env-file", "--profile"].contains(&name) {
            break;
        }
        let (value, after) = match (joined, after) {
            (Some(value), after) => (value, after),
            (None, [value, after @ ..]) => (*value, after),
            (None, []) => break,
        };
        match name {
            "-f" | "--file" => flags.file = Some(value.to_owned()),
            "-p" | "--project-name" => flags.name = Some(value.to_owned()),
            "--env-file" => flags.env_file = Some(value.to_owned()),
            _ => flags.profiles.push(value.to_owned()),
        }
        rest = after;
    }
    (flags, rest)
}

/// A warning as compose's logger writes it.
fn warn(text: &str) {
    let time = crate::omni::resource::rfc3339(crate::omni::wall_now());
    err(&format!("time=\"{time}\" level=warning msg=\"{text}\"\n"));
}

/// A call of `docker compose`.
struct Compose {
    line: Line,
    start: Start,
}

impl Compose {
    fn run(&mut self, words: &[&str]) -> Result<(), Fail> {
        let (flags, rest) = flags(words);
        // The recordings were made with a build that calls itself `dev`.
        let version = match self.start.release.old() {
            true => "dev",
            false if self.start.shows("docker-compose-old") => "v2.20.3",
            false => "v5.5.1",
        };
        match rest {
            ["version"] => out(&format!("Docker Compose version {version}\n")),
            ["version", "--short"] => out(&format!("{}\n", version.trim_start_matches('v'))),
            ["version", "--format" | "-f", "json"] | ["version", "--format=json"] => {
                out(&format!("{{\"version\":{version:?}}}\n"));
            }
            ["version", ..] => return Err(Fail::Unknown),
            [command, args @ ..] => {
                if flags.file.is_none() && flags.name.is_some() {
                    return self.command_by_name(flags.name.unwrap_or_default(), command, args);
                }
                let file = flags.file.unwrap_or_else(|| "compose.yaml".to_owned());
                if self.start.shows("docker-compose-old") {
                    // Before 2.23.1 the schema of `configs` had no `content`.
                    let text =
                        format!("validating {file}: configs.omni-oidc Additional property content is not allowed");
                    return Err(Fail::Said(text));
                }
                let read = compose::Read {
                    profiles: &flags.profiles,
                    name: flags.name.as_deref(),
                    env_file: flags.env_file.as_deref(),
                };
                let project = compose::load(&file, &read).map_err(Fail::Said)?;
                for warning in &project.warnings {
                    warn(warning);
                }
                return self.command(&project, command, args);
            }
            [] => return Err(Fail::Unknown),
        }
        Ok(())
    }

    /// A command for a project of which only the name is given: compose then knows what the engine has, and needs neither
    /// file nor variables (docker compose 5.5.1, recorded).
    fn command_by_name(&mut self, name: String, command: &str, args: &[&str]) -> Result<(), Fail> {
        if !["ps", "down", "logs", "exec", "start", "stop"].contains(&command) {
            return Err(Fail::Unknown);
        }
        reachable(&self.start)?;
        let found = self.containers(&Project { name: name.clone(), ..Project::default() })?;
        if found.is_empty() {
            match (command, args) {
                ("start", _) => return Err(Fail::Said(format!("no container found for project {name:?}: not found"))),
                ("stop" | "logs", _) => return Ok(()),
                ("down", []) => {
                    warn(&format!("Warning: No resource found to remove for project \\\"{name}\\\"."));
                    return Ok(());
                }
                _ => {}
            }
        }
        self.command(&Project::of(name, found), command, args)
    }

    fn command(&mut self, project: &Project, command: &str, args: &[&str]) -> Result<(), Fail> {
        if (command, args) == ("config", &["-q"][..]) || (command, args) == ("config", &["--quiet"][..]) {
            return Ok(());
        }
        if !["ps", "up", "down", "logs", "restart", "exec", "start", "stop"].contains(&command) {
            return Err(Fail::Unknown);
        }
        reachable(&self.start)?;
        match command {
            "ps" => self.ps(project, args),
            "up" => self.up(project, args),
            "down" if args.is_empty() => self.down(project),
            "restart" => self.restart(project, args),
            "start" => self.start(project, args),
            "stop" => self.stop(project, args),
            "logs" => self.logs(project, args),
            "exec" => self.exec(project, args),
            _ => Err(Fail::Unknown),
        }
    }

    fn ask(&mut self, ask: engine::Ask) -> Result<engine::Told, Fail> {
        match self.line.ask(&Ask::Engine(Box::new(ask)))? {
            Told::Engine(told) => match *told {
                engine::Told::Failed(text) => Err(Fail::Said(format!("Error response from daemon: {text}"))),
                other => Ok(other),
            },
            other => Err(Fail::Lab(anyhow::anyhow!("unexpected answer of the lab: {other:?}"))),
        }
    }

    fn containers(&mut self, project: &Project) -> Result<Vec<Shown>, Fail> {
        match self.ask(engine::Ask::List(project.name.clone()))? {
            engine::Told::Containers(found) => Ok(found),
            other => Err(Fail::Lab(anyhow::anyhow!("unexpected answer of the lab: {other:?}"))),
        }
    }

    fn ps(&mut self, project: &Project, args: &[&str]) -> Result<(), Fail> {
        let (mut all, mut show, mut services) = (false, "table", Vec::new());
        let mut rest = args;
        while let [word, after @ ..] = rest {
            rest = after;
            match *word {
                "--all" | "-a" => all = true,
                "--quiet" | "-q" => show = "ids",
                "--services" => show = "services",
                "--format=json" => show = "json",
                "--format" if after.first() == Some(&"json") => {
                    show = "json";
                    rest = &after[1..];
                }
                word if word.starts_with('-') => return Err(Fail::Unknown),
                service => services.push(service),
            }
        }
        let mut found = self.containers(project)?;
        found.retain(|shown| all || matches!(shown.state.as_str(), "running" | "restarting"));
        found.retain(|shown| services.is_empty() || services.contains(&shown.service.name.as_str()));
        // Without a file, compose cannot know which services there are.
        let unknown = |name: &&&str| !project.by_name && !project.services.contains_key(**name);
        if let Some(unknown) = services.iter().find(unknown) {
            return Err(Fail::Said(format!("no such service: {unknown}")));
        }
        let now = crate::provider::log::now();
        match show {
            "ids" => out(&found.iter().map(|shown| shown.id.clone() + "\n").collect::<String>()),
            "services" => {
                let names: Vec<&str> = found.iter().map(|shown| shown.service.name.as_str()).collect();
                out(&(names.join("\n") + "\n"));
            }
            "json" => out(&found.iter().map(|shown| show::json(project, shown, now)).collect::<String>()),
            _ => out(&show::table(&found, now)),
        }
        Ok(())
    }

    /// `exec -T SERVICE PROGRAM…`: its output and exit code are those of the program.
    fn exec(&mut self, project: &Project, args: &[&str]) -> Result<(), Fail> {
        let rest = match args {
            ["-T" | "--no-TTY" | "--no-tty", rest @ ..] => rest,
            // With a terminal it is another program.
            _ => return Err(Fail::Unknown),
        };
        let [service, words @ ..] = rest else { return Err(Fail::Said(few_arguments(0))) };
        if words.is_empty() {
            return Err(Fail::Said(few_arguments(1)));
        }
        let runs = |shown: &Shown| shown.service.name == *service && shown.state == "running";
        if !self.containers(project)?.iter().any(runs) {
            return Err(Fail::Said(format!("service {service:?} is not running")));
        }
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        let ask = engine::Ask::Exec { project: project.name.clone(), service: (*service).to_owned(), words };
        let engine::Told::Ran(Some(ran)) = self.ask(ask)? else { return Err(Fail::Unknown) };
        out(&ran.out);
        err(&ran.err);
        if ran.code == 0 { Ok(()) } else { Err(Fail::Ended(ran.code)) }
    }

    fn logs(&mut self, project: &Project, args: &[&str]) -> Result<(), Fail> {
        let mut options = show::LogOptions::default();
        let mut services = Vec::new();
        let mut rest = args;
        while let [word, after @ ..] = rest {
            rest = after;
            match *word {
                "--no-log-prefix" => options.bare = true,
                "--timestamps" | "-t" => options.timestamps = true,
                "--follow" | "-f" => options.follow = true,
                "--no-color" => {}
                "--tail" | "-n" if !after.is_empty() => {
                    options.tail = after[0].parse().ok();
                    rest = &after[1..];
                }
                word if word.starts_with("--tail=") => options.tail = word["--tail=".len()..].parse().ok(),
                word if word.starts_with('-') => return Err(Fail::Unknown),
                service => services.push(service.to_owned()),
            }
        }
        let found = self.containers(project)?;
        let unknown = |name: &&String| !project.by_name && !project.services.contains_key(*name);
        if let Some(unknown) = services.iter().find(unknown) {
            // Compose knows what the file has; containers of other profiles count as well.
            if !found.iter().any(|shown| shown.service.name == **unknown) {
                return Err(Fail::Said(format!("no such service: {unknown}")));
            }
        }
        let wanted: Vec<Shown> =
            found.into_iter().filter(|shown| services.is_empty() || services.contains(&shown.service.name)).collect();
        self.print_logs(project, &wanted, &options)
    }

    fn print_logs(&mut self, project: &Project, wanted: &[Shown], options: &show::LogOptions) -> Result<(), Fail> {
        let label = |shown: &Shown| format!("{}-1", shown.service.name);
        let width = wanted.iter().map(|shown| label(shown).len()).max().unwrap_or(0);
        let mut next = vec![0; wanted.len()];
        let mut ended = vec![false; wanted.len()];
        let mut wait = false;
        loop {
            for (at, shown) in wanted.iter().enumerate() {
                if ended[at] {
                    continue;
                }
                let ask = engine::Ask::Logs {
                    project: project.name.clone(),
                    service: shown.service.name.clone(),
                    from: next[at],
                    wait,
                };
                let engine::Told::Lines(lines, over) = self.ask(ask)? else { continue };
                let skip = match options.tail {
                    Some(tail) if !wait => lines.len().saturating_sub(tail),
                    _ => 0,
                };
                next[at] += lines.len();
                for line in &lines[skip..] {
                    out(&show::log_line(&label(shown), width, line, options));
                }
                ended[at] = over && wait;
            }
            if !options.follow || ended.iter().all(|ended| *ended) {
                return Ok(());
            }
            // One that is followed is waited for; several are asked in turn.
            wait = wanted.len() == 1;
            if !wait {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
    }
}
