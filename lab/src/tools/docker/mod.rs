//! The stand-in for `docker`: the parts of `docker compose` 5.5.1 that the tasks call, and the engine's version.

pub mod compose;
mod containers;
pub mod engine;
mod inspect;
mod lifecycle;
mod show;
mod store;
pub mod tailnet;

use clap::Parser;
use serde::de::DeserializeOwned;

use super::failure::{ToolError, exit_code};
use super::protocol::{self, Client, Request, Start};
use super::{err, out};
use crate::provider::log::Line;
use compose::Project;
use engine::{ContainerInfo, EngineRequest};

fn ask_engine<T: DeserializeOwned>(client: &mut Client, request: EngineRequest) -> Result<T, ToolError> {
    Ok(client.ask(&Request::Engine(Box::new(request)))?)
}

/// Fails if the engine is unreachable: by default its socket exists, unless a fault hides it or DOCKER_HOST names a missing one.
fn reachable(start: &Start) -> Result<(), ToolError> {
    let named = std::env::var("DOCKER_HOST").ok();
    let named = named.as_deref().and_then(|host| host.strip_prefix("unix://"));
    let socket = named.unwrap_or("/var/run/docker.sock");
    if start.has_fault("docker-down") || named.is_some_and(|path| !std::path::Path::new(path).exists()) {
        // Recorded.
        return Err(ToolError::Message(format!(
            "failed to connect to the docker API at unix://{socket}; check if the path is correct and if the daemon is \
             running: dial unix {socket}: connect: no such file or directory"
        )));
    }
    match start.has_fault("docker-denied") {
        // docker/cli 29.2.1.
        true => Err(ToolError::Message(
            "permission denied while trying to connect to the docker API at unix:///var/run/docker.sock".to_owned(),
        )),
        false => Ok(()),
    }
}

/// The engine version of the recordings.
const ENGINE_VERSION: &str = "20.10.24";

/// Runs the stand-in and returns its exit code.
pub fn run(argv0: &str, argv: &[String]) -> i32 {
    exit_code("docker", argv, "", call(argv0, argv))
}

fn call(argv0: &str, argv: &[String]) -> Result<(), ToolError> {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let (mut client, start) = protocol::begin("docker", argv0, argv)?;
    if start.has_fault("docker-no-compose") && words.first() == Some(&"compose") {
        return Err(ToolError::Message(
            "docker: unknown command: docker compose\n\nRun 'docker --help' for more information".to_owned(),
        ));
    }
    if let ["compose", ref rest @ ..] = words[..] {
        return Compose { client, start }.run(rest);
    }
    reachable(&start)?;
    match words[..] {
        ["version", "--format", "{{.Server.Version}}"] => {
            out(&format!("{ENGINE_VERSION}\n"));
            Ok(())
        }
        ["inspect", "--type", "container", "--format", inspect::FORMAT, name] => inspect::container(&mut client, name),
        ["stop", name] => inspect::stop(&mut client, name),
        ["volume", "inspect", "--format", "{{.Name}}", name] => inspect::volume(&mut client, name),
        ["ps", "--all", "--no-trunc", "--format", inspect::LISTED] => inspect::names(&mut client, EngineRequest::All),
        ["volume", "ls", "--format", "{{.Name}}"] => inspect::names(&mut client, EngineRequest::Volumes),
        ["volume", "rm", ref names @ ..] => store::remove(&mut client, names),
        ["cp", from, "-"] => store::print_config(&mut client, from),
        ["cp", from, to] => store::copy(&mut client, from, to),
        ["run", "--rm", "--init", ref words @ ..] => store::run(&mut client, &start, words),
        // The engine's local images are not simulated: there are none other than those of its containers.
        ["image", "inspect", "--format", "{{.Id}}", image] => {
            Err(ToolError::of_daemon(format!("no such image: {image}: No such image: {image}")))
        }
        ["pull", "--quiet", image] => {
            ask_engine::<()>(&mut client, EngineRequest::Pull(image.to_owned()))?;
            out(&format!("{image}\n"));
            Ok(())
        }
        _ => Err(ToolError::Unknown),
    }
}

/// The flags before the command of `docker compose`, and the words from it on.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Flags {
    #[arg(short, long)]
    file: Option<String>,
    #[arg(short = 'p', long = "project-name")]
    name: Option<String>,
    #[arg(long)]
    env_file: Option<String>,
    #[arg(long = "profile")]
    profiles: Vec<String>,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Prints a warning in the format of compose's logger.
fn warn(text: &str) {
    let time = crate::omni::resource::rfc3339(crate::omni::wall_now());
    err(&format!("time=\"{time}\" level=warning msg=\"{text}\"\n"));
}

/// A call of `docker compose`.
struct Compose {
    client: Client,
    start: Start,
}

impl Compose {
    fn run(&mut self, words: &[&str]) -> Result<(), ToolError> {
        let flags = Flags::try_parse_from(words).map_err(|_| ToolError::Unknown)?;
        let rest: Vec<&str> = flags.words.iter().map(String::as_str).collect();
        // The recordings were made with a build that calls itself `dev`.
        let version = match self.start.release.old() {
            true => "dev",
            false if self.start.has_fault("docker-compose-old") => "v2.20.3",
            false => "v5.5.1",
        };
        match rest[..] {
            ["version", "--format", "json"] => out(&format!("{{\"version\":{version:?}}}\n")),
            // Named by the advice for an old compose.
            ["version", "--short"] => out(&format!("{}\n", version.trim_start_matches('v'))),
            ["version", ..] => return Err(ToolError::Unknown),
            [command, ref args @ ..] => {
                if flags.file.is_none() && flags.name.is_some() {
                    return self.command_by_name(flags.name.unwrap_or_default(), command, args);
                }
                let file = flags.file.unwrap_or_else(|| "compose.yaml".to_owned());
                if self.start.has_fault("docker-compose-old") {
                    // Before 2.23.1 the schema of `configs` did not have `content`.
                    let text =
                        format!("validating {file}: configs.omni-oidc Additional property content is not allowed");
                    return Err(ToolError::Message(text));
                }
                let (name, env_file) = (flags.name.as_deref(), flags.env_file.as_deref());
                let project = compose::load(&file, &flags.profiles, name, env_file).map_err(ToolError::Message)?;
                for warning in &project.warnings {
                    warn(warning);
                }
                return self.command(&project, command, args);
            }
            [] => return Err(ToolError::Unknown),
        }
        Ok(())
    }

    /// Runs a command for a project given only by name: compose then uses the containers in the engine, and needs neither the
    /// file nor variables (docker compose 5.5.1, recorded).
    fn command_by_name(&mut self, name: String, command: &str, args: &[&str]) -> Result<(), ToolError> {
        if !["ps", "down", "logs", "exec"].contains(&command) {
            return Err(ToolError::Unknown);
        }
        reachable(&self.start)?;
        let found = self.containers(&Project { name: name.clone(), ..Project::default() })?;
        match (command, found.is_empty()) {
            ("logs", true) => Ok(()),
            ("down", true) => {
                warn(&format!("Warning: No resource found to remove for project \\\"{name}\\\"."));
                Ok(())
            }
            _ => self.command(&Project::of(name, found), command, args),
        }
    }

    fn command(&mut self, project: &Project, command: &str, args: &[&str]) -> Result<(), ToolError> {
        if (command, args) == ("config", &["-q"]) {
            return Ok(());
        }
        reachable(&self.start)?;
        match (command, args) {
            ("ps", ["--all", "--format", "json"]) => self.ps(project),
            ("up", args) => self.up(project, args),
            ("down", []) => self.down(project),
            ("logs", _) => self.logs(project, args),
            ("exec", ["-T", rest @ ..]) => self.exec(project, rest),
            _ => Err(ToolError::Unknown),
        }
    }

    fn containers(&mut self, project: &Project) -> Result<Vec<ContainerInfo>, ToolError> {
        ask_engine(&mut self.client, EngineRequest::List(project.name.clone()))
    }

    /// `ps --all --format json`
    fn ps(&mut self, project: &Project) -> Result<(), ToolError> {
        let now = crate::provider::log::now();
        let found = self.containers(project)?;
        out(&found.iter().map(|shown| show::json(project, shown, now)).collect::<String>());
        Ok(())
    }

    /// `exec -T SERVICE PROGRAM…`, with the output and exit code of the program
    fn exec(&mut self, project: &Project, args: &[&str]) -> Result<(), ToolError> {
        let [service, words @ ..] = args else { return Err(ToolError::Unknown) };
        let runs = |shown: &ContainerInfo| shown.service.name == *service && shown.state == "running";
        if !self.containers(project)?.iter().any(runs) {
            return Err(ToolError::Message(format!("service {service:?} is not running")));
        }
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        let ask = EngineRequest::Exec((project.name.clone(), (*service).to_owned()), words);
        let ran: Option<tailnet::ExecResult> = ask_engine(&mut self.client, ask)?;
        let ran = ran.ok_or(ToolError::Unknown)?;
        out(&ran.out);
        err(&ran.err);
        if ran.code == 0 { Ok(()) } else { Err(ToolError::Ended(ran.code)) }
    }

    /// `logs --no-log-prefix [--timestamps] [--tail=N] [--follow] SERVICE`
    fn logs(&mut self, project: &Project, args: &[&str]) -> Result<(), ToolError> {
        let [flags @ .., service] = args else { return Err(ToolError::Unknown) };
        let (mut timestamps, mut follow, mut tail, mut bare) = (false, false, None, false);
        for flag in flags {
            match *flag {
                "--no-log-prefix" => bare = true,
                "--timestamps" => timestamps = true,
                "--follow" => follow = true,
                flag => {
                    tail = Some(flag.strip_prefix("--tail=").and_then(|n| n.parse().ok()).ok_or(ToolError::Unknown)?)
                }
            }
        }
        // Compose accepts the services in the file, as well as containers of other profiles.
        let there = self.containers(project)?.iter().any(|shown| shown.service.name == *service);
        match there {
            false if project.by_name || project.services.contains_key(*service) => return Ok(()),
            false => return Err(ToolError::Message(format!("no such service: {service}"))),
            true if !bare => return Err(ToolError::Unknown),
            true => {}
        }
        let (mut from, mut wait) = (0, false);
        loop {
            let ask = EngineRequest::Logs((project.name.clone(), (*service).to_owned()), from, wait);
            let (lines, over): (Vec<Line>, bool) = ask_engine(&mut self.client, ask)?;
            from += lines.len();
            let skip = tail.take().map_or(0, |tail| lines.len().saturating_sub(tail));
            lines[skip..].iter().for_each(|line| out(&show::log_line(line, timestamps)));
            if !follow || (over && wait) {
                return Ok(());
            }
            wait = true;
        }
    }
}
