//! `docker compose` for the project's own stack, never with `-v`.
//!
//! Commands that create containers use `-f docker/compose.yaml`. Commands that only read or stop them use the project's name:
//! with a file, compose first interpolates every variable and refuses a missing or invalid value (`invalid IP address: …`), so
//! a stack with an incomplete `docker/.env` could not be inspected or stopped. With the name it uses the containers' labels
//! (docker/compose v5.5.1 `cmd/compose/compose.go` `projectOrName`, `pkg/compose/down.go`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use xshell::cmd;

use super::{Tool, errors};
use crate::cx::Cx;
use crate::proc::{self, CommandOutput, Job};
use crate::settings::environment;
use domain::failure::{Code, Failure};
use domain::status::docker::{self, Container};

/// The service of the first provider; the service of a further one also has its ID as a suffix.
pub const PROVIDER: &str = "proxmox-provider";
/// The service whose network the others share.
pub const SIDECAR: &str = "omni-tailscale";
/// The service of Omni.
pub const OMNI: &str = "omni";
/// The profile of the provider: Omni must start before the provider's key exists, so the provider starts only on request.
const PROFILE: &str = "provider";
/// The name of the stack: `name:` in `docker/compose.yaml`, and the prefix of its volume names.
pub(super) const PROJECT: &str = "omni-scale";
/// An empty file of variables: without it, compose would read the `.env` of its working directory.
const NO_VARIABLES: &str = "/dev/null";

/// Pulling images and waiting for a healthy sidecar takes minutes over a slow connection.
const UP: Duration = Duration::from_secs(600);
const QUICK: Duration = Duration::from_secs(30);

/// The stack of this project. Calls fail with compose's error as `data/program-errors.yaml` explains it, or like
/// [`proc::Proc::run`].
pub struct Compose<'a> {
    cx: &'a Cx,
    docker: PathBuf,
    file: PathBuf,
}

impl<'a> Compose<'a> {
    /// # Errors
    /// [`Code::Prerequisite`] if docker is not installed.
    pub fn find(cx: &'a Cx) -> Result<Compose<'a>, Failure> {
        let docker = match &cx.settings.recorded {
            Some(recorded) => recorded.check_available("docker").map(|()| PathBuf::new())?,
            None => Tool::Docker.find()?,
        };
        Ok(Compose { cx, docker, file: cx.paths.compose() })
    }

    /// Returns true if the service is a provider.
    pub fn is_provider(service: &str) -> bool {
        service.strip_prefix(PROVIDER).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    /// The version that the compose plugin reports: `2.40.3`, or `dev` if it was built from source.
    ///
    /// # Errors
    /// [`Code::Prerequisite`] if docker has no compose v2 plugin.
    pub fn version(&self) -> Result<String, Failure> {
        let (shell, docker) = (proc::shell()?, &self.docker);
        let job = Job::new("checking the compose plugin", cmd!(shell, "{docker} compose version --format json"));
        let ended = self.cx.proc.run(job.deadline(QUICK))?;
        docker::parse_compose_version(&ended.stdout)
            .filter(|_| ended.is_success())
            .ok_or_else(|| no_plugin(ended.stderr.lines().next().unwrap_or("it printed no version")))
    }

    /// Checks that the compose file and the variables it needs are complete.
    pub fn check(&self) -> Result<(), Failure> {
        let job = self.job_with_file("checking the compose file", &["--profile", PROFILE, "config", "-q"])?;
        self.run(job.deadline(QUICK)).map(drop)
    }

    /// The containers of the stack, including stopped ones; of the providers only the selected one, if one is selected.
    ///
    /// # Errors
    /// The failure from `explain`; [`Code::Failed`] if the output cannot be parsed.
    pub fn containers(&self) -> Result<Vec<Container>, Failure> {
        if let Some(recorded) = &self.cx.settings.recorded {
            return recorded.containers();
        }
        let job =
            self.job_with_project_name("listing the containers of the stack", &["ps", "--all", "--format", "json"])?;
        let ended = self.run(job.deadline(QUICK))?;
        let mut found = docker::parse_compose_ps(&ended.stdout).map_err(|why| ended.not_understood(why))?;
        if self.cx.settings.is_single_provider {
            let own = self.cx.settings.provider_service();
            found.retain(|container| container.service == own || !Self::is_provider(&container.service));
        }
        Ok(found)
    }

    /// Recreates the whole stack, including the provider. Containers that share a network must be recreated together, or the
    /// others keep a network that no longer exists. Volumes are kept.
    pub fn recreate(&self) -> Result<(), Failure> {
        let job = self.up_job("restarting the stack", true, Some("--force-recreate"))?;
        self.run(job.deadline(UP)).map(drop)
    }

    /// Recreates the container of one service; its dependencies are left alone if they run as configured. Not for the sidecar,
    /// whose network the others use. With `--no-deps` the new container would not record its dependencies, and compose would
    /// start it before the sidecar after a reboot.
    pub fn recreate_one(&self, service: &str) -> Result<(), Failure> {
        let words = ["--profile", PROFILE, "up", "-d", "--force-recreate", service];
        let job = self.job_with_file(&format!("restarting `{service}`"), &words)?;
        self.run(job.deadline(UP)).map(drop)
    }

    /// Starts stopped containers and recreates changed ones; with `recreate` all of them, together. Volumes are kept.
    pub fn up(&self, provider: bool, recreate: bool) -> Result<(), Failure> {
        let job = self.up_job("starting the stack", provider, recreate.then_some("--force-recreate"))?;
        self.run(job.deadline(self.cx.wait_limit(UP))).map(drop)
    }

    fn up_job(&self, purpose: &str, provider: bool, flag: Option<&str>) -> Result<Job, Failure> {
        let profile = if provider { ["--profile", PROFILE].as_slice() } else { &[] };
        self.job_with_file(purpose, &[profile, &["up", "-d"], flag.as_slice()].concat())
    }

    /// The containers that [`Compose::up`] would create, recreate or start, each with the first verb printed for it: the dry
    /// run prints ` Container NAME Running` for a container that it leaves alone (docker compose 5.5.1, recorded).
    pub fn pending(&self, provider: bool) -> Result<BTreeMap<String, String>, Failure> {
        let job = self.up_job("planning the start of the stack", provider, Some("--dry-run"))?;
        let ended = self.run(job.deadline(QUICK))?;
        let verbs = ["Creat", "Recreat", "Start", "Stop", "Remov", "Error"];
        let mut found = BTreeMap::new();
        for line in ended.stderr.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [.., name, verb] = words.as_slice()
                && verbs.iter().any(|start| verb.starts_with(start))
            {
                found.entry((*name).to_owned()).or_insert_with(|| (*verb).to_owned());
            }
        }
        Ok(found)
    }

    /// Creates the containers, their volumes and their network, without starting anything.
    pub fn create(&self) -> Result<(), Failure> {
        let job = self.job_with_file("creating the containers", &["up", "--no-start"])?;
        self.run(job.deadline(self.cx.wait_limit(UP))).map(drop)
    }

    /// Stops and removes the containers and their network. It cannot remove volumes.
    pub fn down(&self) -> Result<(), Failure> {
        self.run(self.job_with_project_name("removing the stack", &["down"])?.deadline(self.cx.wait_limit(UP)))
            .map(drop)
    }

    /// Runs a program inside a running container and returns its result, whatever the exit status.
    ///
    /// # Errors
    /// Fails like [`crate::proc::Proc::run`].
    pub fn exec(&self, service: &str, purpose: &str, words: &[&str]) -> Result<CommandOutput, Failure> {
        let job = self.job_with_project_name(purpose, &[&["exec", "-T", service], words].concat())?;
        self.cx.proc.run(select_project(job.deadline(QUICK)))
    }

    /// The last `tail` lines of a service's log, oldest first, each with its timestamp.
    pub fn log(&self, service: &str, tail: u32) -> Result<String, Failure> {
        if let Some(recorded) = &self.cx.settings.recorded {
            return recorded.log(service, tail);
        }
        let ended = self.run(self.log_job(service, tail, false)?)?;
        Ok(ended.stdout + &ended.stderr)
    }

    /// Passes each line of a service's log to `each` as it arrives, until the operator interrupts or the container exits.
    pub fn follow(&self, service: &str, tail: u32, each: impl FnMut(&str)) -> Result<(), Failure> {
        let ended = self.cx.proc.follow(select_project(self.log_job(service, tail, true)?), each)?;
        if ended.is_success() || proc::is_interrupted() || proc::is_stdout_closed() {
            Ok(())
        } else {
            Err(explain(&ended))
        }
    }

    fn log_job(&self, service: &str, tail: u32, follow: bool) -> Result<Job, Failure> {
        let tail = format!("--tail={tail}");
        let mut words = vec!["logs", "--no-log-prefix", "--timestamps", &tail];
        words.extend(follow.then_some("--follow"));
        words.push(service);
        Ok(self.job_with_project_name(&format!("reading the log of {service}"), &words)?.deadline(QUICK))
    }

    /// A call with the compose file and its variables.
    fn job_with_file(&self, purpose: &str, words: &[&str]) -> Result<Job, Failure> {
        let (shell, docker, file) = (proc::shell()?, &self.docker, &self.file);
        Ok(Job::new(purpose, cmd!(shell, "{docker} compose -f {file} {words...}")))
    }

    /// A call that creates nothing. It uses the project's name, so that it does not depend on `docker/.env`.
    fn job_with_project_name(&self, purpose: &str, words: &[&str]) -> Result<Job, Failure> {
        let (shell, docker) = (proc::shell()?, &self.docker);
        let cmd = cmd!(shell, "{docker} compose -p {PROJECT} --env-file {NO_VARIABLES} {words...}");
        Ok(Job::new(purpose, cmd))
    }

    fn run(&self, job: Job) -> Result<CommandOutput, Failure> {
        let ended = self.cx.proc.run(select_project(job))?;
        if ended.is_success() { Ok(ended) } else { Err(explain(&ended)) }
    }
}

/// Selects this project's stack regardless of the shell's variables: `COMPOSE_PROJECT_NAME` in the shell or in `docker/.env`
/// overrides the compose file's name, and compose would start a second, empty Omni with its own volumes.
fn select_project(job: Job) -> Job {
    let neutral = [("COMPOSE_PROFILES", ""), ("COMPOSE_ENV_FILES", ""), ("COMPOSE_DISABLE_ENV_FILE", "false")];
    let set = neutral.iter().filter(|(name, _)| environment(name).is_some());
    set.fold(job.env("COMPOSE_PROJECT_NAME", ""), |job, (name, value)| job.env(name, value))
}

fn no_plugin(output: &str) -> Failure {
    Failure::new(Code::Prerequisite, "docker has no compose plugin (v2)")
        .cause(output)
        .hint("install it: `apt-get install docker-compose-v2` on Ubuntu, `docker-compose` on Debian 13, or follow docs.docker.com/compose/install")
}

/// The failure for an error of docker compose.
pub(super) fn explain(ended: &CommandOutput) -> Failure {
    let output = reason(&ended.stderr);
    match known_failure(&output) {
        Some(failure) => failure,
        None if output.is_empty() => ended.failure(),
        None => ended.failure().cause(output),
    }
}

/// The lines of stderr that are not progress.
fn reason(stderr: &str) -> String {
    // Progress printed before the failure is not the reason. Such a line starts with a space; for the step that failed, it only
    // repeats the reason.
    let progress = |line: &&str| {
        line.starts_with(' ')
            || ["Container", "Volume", "Network", "Image"].contains(&line.split_whitespace().next().unwrap_or(""))
    };
    stderr.lines().filter(|line| !progress(line)).collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// The failure for a known error message.
fn known_failure(output: &str) -> Option<Failure> {
    if output.contains("unknown shorthand flag") || output.contains("is not a docker command") {
        return Some(no_plugin(output.lines().next().unwrap_or_default()));
    }
    errors::explain("compose", None, output, output, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explain_names_the_refused_value_and_repeats_no_other() {
        let rows: Vec<[String; 3]> = serde_yaml::from_str(include_str!("../../tests/corpus/compose.yaml")).unwrap();
        for [output, message, cause] in rows {
            let failure = known_failure(&reason(&output)).expect("it is known");
            assert!(failure.message.starts_with(&message), "{output}: {}", failure.message);
            assert!(!failure.hint.is_empty() && !failure.cause.is_empty(), "{output}");
            assert!(cause.is_empty() || failure.cause == cause, "{output}: {}", failure.cause);
        }
    }

    #[test]
    fn explain_leaves_out_progress() {
        let output = " service:omni:1 Error response from daemon: invalid mount config for type \"bind\": bind source path does \
                    not exist: /nowhere \nError response from daemon: invalid mount config for type \"bind\": bind source \
                    path does not exist: /nowhere\n";
        assert_eq!(known_failure(&reason(output)).expect("it is known").message, "`/nowhere` does not exist");
        let output = " Container omni-scale-omni-1 Creating \n service:omni:1 Error response from daemon: x \nError response from daemon: x\n";
        assert_eq!(reason(output), "Error response from daemon: x");
    }
}
