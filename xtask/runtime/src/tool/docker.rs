//! docker without its compose plugin: the engine, the mounts of a container, and volumes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use xshell::cmd;

use super::{Tool, compose};
use crate::cx::Cx;
use crate::files;
use crate::proc::{self, CommandOutput, Job};
use crate::settings::environment;
use domain::failure::{Code, Failure};
use domain::status::docker::{ContainerDetails, LISTED, ListedContainer, parse_docker_ps, parse_inspect};

/// The deadline of calls that only read.
pub const QUICK: Duration = Duration::from_secs(20);
/// The limit for pulling an image, or copying a store of gigabytes.
const LONG: Duration = Duration::from_secs(600);

/// The volume of Omni's store: the project's name and the volume's in `docker/compose.yaml`.
pub const STORE_VOLUME: &str = "omni-scale_omni-etcd";

/// The configured address of the engine, if any: `DOCKER_HOST`, or else the context of `DOCKER_CONTEXT` or of
/// `docker context use` (docker/cli v28 `cli/command/cli.go` resolveContextName).
pub fn engine_address() -> Option<String> {
    if let Some(host) = environment("DOCKER_HOST") {
        return Some(host);
    }
    let home = || Some(Path::new(&environment("HOME")?).join(".docker"));
    let config = environment("DOCKER_CONFIG").map(PathBuf::from).or_else(home);
    let read = |path: PathBuf| -> Option<Value> { serde_json::from_slice(&files::read_optional(&path).ok()??).ok() };
    let used = || read(config.clone()?.join("config.json"))?["currentContext"].as_str().map(str::to_owned);
    let name = environment("DOCKER_CONTEXT").or_else(used).filter(|name| !name.is_empty() && name != "default")?;
    let described = std::fs::read_dir(config?.join("contexts/meta")).into_iter().flatten().flatten();
    let mut described = described.filter_map(|each| read(each.path().join("meta.json")));
    let found = described.find(|each| each["Name"].as_str() == Some(&name));
    // docker itself reports a context that does not exist.
    found.and_then(|each| each["Endpoints"]["docker"]["Host"].as_str().map(str::to_owned)).or(Some(name))
}

/// The docker client. Calls fail with docker's error as `data/program-errors.yaml` explains it, or like [`proc::Proc::run`].
pub struct Docker<'a> {
    cx: &'a Cx,
    program: PathBuf,
}

impl<'a> Docker<'a> {
    /// # Errors
    /// [`Code::Prerequisite`] if docker is not installed.
    pub fn find(cx: &'a Cx) -> Result<Docker<'a>, Failure> {
        Ok(Docker { cx, program: Tool::Docker.find()? })
    }

    fn job(&self, purpose: &str, words: &[&str]) -> Result<Job, Failure> {
        let (shell, docker) = (proc::shell()?, &self.program);
        Ok(Job::new(purpose, cmd!(shell, "{docker} {words...}")))
    }

    fn call(&self, purpose: &str, words: &[&str], deadline: Duration) -> Result<CommandOutput, Failure> {
        self.cx.proc.run(self.job(purpose, words)?.deadline(deadline))
    }

    /// Runs docker with these arguments and returns its output.
    pub fn run(&self, purpose: &str, words: &[&str], limit: Duration) -> Result<CommandOutput, Failure> {
        let ended = self.call(purpose, words, limit)?;
        if ended.is_success() { Ok(ended) } else { Err(compose::explain(&ended)) }
    }

    /// The version of the engine, which must be reachable.
    ///
    /// # Errors
    /// [`Code::Unreachable`] if it is not.
    pub fn engine_version(&self) -> Result<String, Failure> {
        let ended = self.call("querying the Docker engine", &["version", "--format", "{{.Server.Version}}"], QUICK)?;
        let version = ended.stdout.trim();
        if ended.is_success() && !version.is_empty() { Ok(version.to_owned()) } else { Err(compose::explain(&ended)) }
    }

    /// The mounts and arguments of a container, with `status::docker::INSPECT` as the format, or `INSPECT_FOREIGN` for a
    /// container of another project. The environment, which contains secrets, is not requested.
    ///
    /// # Errors
    /// [`Code::NotFound`] if the container does not exist; [`Code::Failed`] if the output cannot be parsed.
    pub fn inspect(&self, container: &str, format: &str) -> Result<ContainerDetails, Failure> {
        let words = ["inspect", "--type", "container", "--format", format, container];
        let ended = self.call(&format!("inspecting the mounts of {container}"), &words, QUICK)?;
        if ended.is_success() {
            return parse_inspect(&ended.stdout).map_err(|why| ended.not_understood(why));
        }
        let none = ended.stderr.contains("No such container") || ended.stderr.contains("no such container");
        if none {
            return Err(Failure::new(Code::NotFound, format!("container {container} does not exist")));
        }
        Err(compose::explain(&ended))
    }

    /// Pulls an image unless it exists locally (from `docker load`, if no registry is reachable), so that recreating a
    /// container neither waits for the pull nor fails because of it. Returns whether it was pulled.
    ///
    /// # Errors
    /// [`Code::NotFound`] if the registry does not have the image; otherwise the failure from `compose::explain`.
    pub fn pull(&self, image: &str) -> Result<bool, Failure> {
        let words = ["image", "inspect", "--format", "{{.Id}}", image];
        if self.call(&format!("looking for the image {image}"), &words, QUICK)?.is_success() {
            return Ok(false);
        }
        let words = ["pull", "--quiet", image];
        let ended = self.call(&format!("fetching the image {image}"), &words, self.cx.wait_limit(LONG))?;
        if ended.is_success() {
            return Ok(true);
        }
        let unknown = ["manifest unknown", "not found", "denied"].iter().any(|text| ended.stderr.contains(text));
        Err(match unknown {
            true => Failure::new(Code::NotFound, format!("the registry does not have the image {image}"))
                .cause(ended.stderr.trim().to_owned())
                .hint("look at the releases of the project: this version may not exist"),
            false => compose::explain(&ended),
        })
    }

    /// Returns true if the volume exists.
    pub fn has_volume(&self, name: &str) -> Result<bool, Failure> {
        let words = ["volume", "inspect", "--format", "{{.Name}}", name];
        let ended = self.call(&format!("looking for the volume {name}"), &words, QUICK)?;
        if ended.is_success() {
            return Ok(true);
        }
        let none = ["no such volume", "No such volume"].iter().any(|text| ended.stderr.contains(text));
        if none { Ok(false) } else { Err(compose::explain(&ended)) }
    }

    /// The containers of other projects.
    pub fn foreign_containers(&self) -> Result<Vec<ListedContainer>, Failure> {
        let words = ["ps", "--all", "--no-trunc", "--format", LISTED];
        Ok(parse_docker_ps(&self.run("looking for another Omni", &words, QUICK)?.stdout, compose::PROJECT))
    }

    /// Descriptions of other Omnis on this engine, each with whether it is running: containers of any other project, and the
    /// volume in which the original kit stored its data.
    pub fn other_omnis(&self) -> Result<Vec<(String, bool)>, Failure> {
        let omnis = self.foreign_containers()?.into_iter().filter(|container| container.has_image("siderolabs/omni"));
        let mut found: Vec<_> = omnis.map(|omni| (omni.describe(), omni.state == "running")).collect();
        let volumes = self.run("looking for another Omni", &["volume", "ls", "--format", "{{.Name}}"], QUICK)?.stdout;
        let kept = volumes.lines().filter(|name| name.ends_with("_omni-data"));
        found.extend(kept.map(|name| (format!("the volume `{name}`, which contains the data of an Omni"), false)));
        Ok(found)
    }

    /// Runs a program of the etcd image on files in `dir`, which it sees as `/backup`, and returns its result, whatever the
    /// exit status. It runs as this user, so that this user owns the files that it writes; `network` is docker's option.
    /// Without an init, etcdctl would be process 1, which SIGTERM does not end, and it waits indefinitely for an etcd that does
    /// not respond.
    ///
    /// # Errors
    /// Returns an error if docker cannot run the image.
    pub fn run_etcd(&self, image: &str, network: &str, dir: &Path, words: &[&str]) -> Result<CommandOutput, Failure> {
        let [program, args @ ..] = words else { return Err(Failure::new(Code::Failed, "no etcd program given")) };
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let (user, volume) = (format!("{uid}:{gid}"), format!("{}:/backup", dir.display()));
        // The certificates for an external etcd, mounted at the same path as for Omni.
        let site = format!("{}:/etc/omni/site:ro", self.cx.paths.site_files().display());
        let site: &[&str] =
            if args.iter().any(|arg| arg.contains("=/etc/omni/site/")) { &["--volume", &site] } else { &[] };
        let container = ["run", "--rm", "--init", "--network", network, "--user", &user, "--cap-drop", "ALL"];
        let words = [&container[..], site, &["--volume", &volume, "--entrypoint", program, image], args].concat();
        let ended = self.call(&format!("running {program} of etcd"), &words, self.cx.wait_limit(LONG))?;
        // docker's own exit statuses: the engine refuses (125), the program cannot be started (126), it does not exist (127).
        if ended.status.code() != Some(125) {
            return Ok(ended);
        }
        let failure = compose::explain(&ended);
        if failure.code != Code::Failed {
            return Err(failure);
        }
        let said = ended.stderr.lines().find(|line| line.starts_with("docker: ")).unwrap_or(&ended.stderr).to_owned();
        let name = image.rsplit('/').next().unwrap_or(image);
        Err(Failure::new(Code::Failed, format!("docker cannot run the image {image}")).cause(said).hint(format!(
            "with another registry, or without internet access, specify your copy of the image: --etcd-image REGISTRY/{name}"
        )))
    }

    /// Removes a container with its volumes, and the network of the same name, even while the task is being interrupted. A
    /// missing container or network is not an error.
    pub fn remove_container(&self, name: &str) {
        for words in [["rm", "--force", "--volumes", name].as_slice(), &["network", "rm", name]] {
            let job = self.job(&format!("removing {name}"), words);
            let _ = job.and_then(|job| self.cx.proc.run(job.deadline(QUICK).ignore_interrupt()));
        }
    }

    /// Copies the contents of a directory of a container, running or not, into `to`, which must exist.
    pub fn copy_out(&self, container: &str, from: &str, to: &Path) -> Result<(), Failure> {
        let purpose = format!("copying {from} out of {container}");
        self.copy(&format!("{container}:{from}/."), &to.to_string_lossy(), &purpose)
    }

    /// Returns true if the file at `path` in the container contains `text`; false if there is no such file. docker writes the
    /// file to stdout as an archive, which is not stored.
    pub fn file_contains(&self, container: &str, path: &str, text: &str) -> Result<bool, Failure> {
        let words = ["cp", &format!("{container}:{path}"), "-"];
        Ok(self.call(&format!("inspecting {path} in {container}"), &words, QUICK)?.stdout.contains(text))
    }

    /// Copies the contents of `from` into a directory of a container, where they belong to root.
    pub fn copy_in(&self, from: &Path, container: &str, to: &str) -> Result<(), Failure> {
        let from = format!("{}/.", from.display());
        self.copy(&from, &format!("{container}:{to}"), &format!("copying {to} into {container}"))
    }

    fn copy(&self, from: &str, to: &str, purpose: &str) -> Result<(), Failure> {
        self.run(purpose, &["cp", from, to], self.cx.wait_limit(LONG)).map(drop)
    }
}
