//! This host: programs, Docker, disks, clock, devices.

use std::path::Path;
use std::time::{Duration, SystemTime};

use xshell::cmd;

use super::Installation;
use super::installation::{Verdict, is_engine_remote, proxmox_of};
use check::diagnosis::Diagnosis;
use domain::clock;
use domain::failure::Failure;
use runtime::files;
use runtime::proc::{self, Job};
use runtime::tool::compose::{Compose, OMNI, SIDECAR};
use runtime::tool::curl::{self, Request};
use runtime::tool::docker::Docker;
use runtime::tool::{Tool, omnictl as tool_omnictl};

/// The first version of compose that supports `content:` in `configs:` (docker/compose v2.23.1 release notes).
const MIN_COMPOSE: (u64, u64, u64) = (2, 23, 1);
/// Limits for the difference between two clocks, in seconds; Omni treats a heartbeat older than 31 s as missing.
const SKEW_SEEN: u64 = 3;
const SKEW_BAD: u64 = 20;
/// Limits for free disk space, in MiB.
const LOW_SPACE_MIB: u64 = 5 << 10;
const MIN_SPACE_MIB: u64 = 1 << 10;

fn failed(failure: Failure) -> Diagnosis {
    Diagnosis::failed(failure.line()).fix(failure.hint)
}

pub fn curl(_: &Installation<'_>) -> Diagnosis {
    Tool::Curl.find().map_or_else(failed, |path| Diagnosis::ok(path.display().to_string()))
}

pub fn compose(installation: &Installation<'_>) -> Diagnosis {
    let version = Compose::find(installation.cx).and_then(|compose| compose.version());
    match version {
        Ok(version) if is_too_old(&version) => Diagnosis::failed(format!("compose {version} is older than 2.23.1")),
        Ok(version) => Diagnosis::ok(format!("compose {version}")),
        Err(failure) => failed(failure),
    }
}

/// Returns true if the version is older than `MIN_COMPOSE`. Anything that is not a version, e.g. `dev`, is a custom build.
pub fn is_too_old(version: &str) -> bool {
    domain::version::numbers(version).is_some_and(|numbers| numbers < MIN_COMPOSE)
}

pub fn omnictl(installation: &Installation<'_>) -> Diagnosis {
    let (Some(path), Some(version)) = (tool_omnictl::locate(), installation.omnictl_version()) else {
        return Diagnosis::warning("it is neither on PATH nor where this project installs it");
    };
    match version {
        Ok((version, _)) => Diagnosis::ok(format!("{version}, {}", path.display())),
        Err(failure) => failed(failure.clone()).fix("`cargo xtask omnictl-install`"),
    }
}

pub fn helpers(_: &Installation<'_>) -> Diagnosis {
    let missing: Vec<Failure> =
        [Tool::Git, Tool::Gpg, Tool::Openssl].iter().filter_map(|tool| tool.find().err()).collect();
    if missing.is_empty() {
        return Diagnosis::ok("all three");
    }
    let say = |part: fn(&Failure) -> &str| missing.iter().map(part).collect::<Vec<_>>().join("; ");
    Diagnosis::warning(say(|failure| &failure.message)).fix(say(|failure| &failure.hint))
}

pub fn engine(installation: &Installation<'_>) -> Diagnosis {
    match Docker::find(installation.cx).and_then(|docker| docker.engine_version()) {
        Ok(version) if is_podman_version(&version) => Diagnosis::warning(format!(
            "`docker` is Podman {version} on this host, and this project is not tested with Podman"
        ))
        .fix("install Docker Engine, and remove podman-docker: docs.docker.com/engine/install"),
        Ok(version) => Diagnosis::ok(format!("engine {version}")),
        Err(failure) => failed(failure),
    }
}

/// Returns true for Podman called as docker, which reports its own version: Docker's engine has been at 17 or later since 2017.
fn is_podman_version(version: &str) -> bool {
    domain::version::numbers(version).is_some_and(|(major, ..)| major < 17)
}

/// Checks the free space at the project and at Docker's data.
pub fn disk(installation: &Installation<'_>) -> Diagnosis {
    let root = installation.cx.paths.root();
    let docker = Path::new("/var/lib/docker");
    let look = |path: &Path| -> Result<Diagnosis, Failure> {
        let shell = proc::shell()?;
        let job = Job::new("reading the free space", cmd!(shell, "df -Pk {path}")).deadline(Duration::from_secs(5));
        let ended = installation.cx.proc.run(job)?.require_success()?;
        Ok(match free_mib(&ended.stdout) {
            Some(free) => check_space(path, free),
            None => Diagnosis::unknown(format!("`{}` was not understood", ended.line)),
        })
    };
    let of = |path: &Path| look(path).unwrap_or_else(|failure| Diagnosis::unknown(failure.line()));
    let here = of(root);
    if docker.is_dir() { here.and(of(docker)) } else { here }
}

fn check_space(path: &Path, free: u64) -> Diagnosis {
    let detail = format!("{} GiB free at {}", free >> 10, path.display());
    match free {
        0..MIN_SPACE_MIB => Diagnosis::failed(detail),
        MIN_SPACE_MIB..LOW_SPACE_MIB => Diagnosis::warning(detail),
        _ => Diagnosis::ok(detail),
    }
}

/// Parses the fourth column of the last line of `df -Pk` (POSIX): free KiB.
fn free_mib(text: &str) -> Option<u64> {
    let line = text.lines().last()?;
    Some(line.split_whitespace().nth(3)?.parse::<u64>().ok()? / 1024)
}

/// Compares this host's clock with the Date header from Proxmox or Omni, and checks systemd's NTP state.
pub fn clock(installation: &Installation<'_>) -> Diagnosis {
    let synchronized = is_synchronized(installation);
    let compared = remote_clock(installation).map_or_else(
        || Diagnosis::unknown("neither Proxmox nor Omni returned its time"),
        |(who, there)| {
            let detail = |skew: u64| format!("{skew} s from the clock of {who}");
            match clock::unix_seconds(SystemTime::now()).abs_diff(there) {
                skew if skew > SKEW_BAD => Diagnosis::failed(detail(skew)),
                skew if skew > SKEW_SEEN => Diagnosis::warning(detail(skew)),
                skew => Diagnosis::ok(detail(skew)),
            }
        },
    );
    match synchronized {
        Some(false) => compared.and(Diagnosis::warning("the clock of this host is not synchronized by NTP")),
        Some(true) | None => compared,
    }
}

fn remote_clock(installation: &Installation<'_>) -> Option<(String, u64)> {
    let cx = installation.cx;
    let ca_file = cx.settings.ca_file(None).map(|found| found.value);
    let ask = |url: String, insecure: bool| {
        let timeout = Duration::from_secs(3);
        let request = Request { ca_file: ca_file.as_deref(), insecure, timeout, ..Request::get(&url) };
        curl::fetch(cx, "reading the time", &request).ok()?.date
    };
    // Proxmox is another machine with its own clock; Omni usually runs on this one.
    let proxmox = proxmox_of(installation).ok();
    let proxmox = proxmox.and_then(|found| {
        Some(("Proxmox".to_owned(), ask(format!("{}/api2/json/version", found.url), found.insecure)?))
    });
    proxmox.or_else(|| {
        let place = installation.omni_address().filter(|place| place.connect.is_none())?;
        Some(("Omni".to_owned(), ask(format!("{}/healthz", place.endpoint), false)?))
    })
}

fn is_synchronized(installation: &Installation<'_>) -> Option<bool> {
    let timedatectl = which::which("timedatectl").ok().filter(|_| Path::new("/run/systemd/system").is_dir())?;
    let shell = proc::shell().ok()?;
    let job = Job::new(
        "checking whether the clock is synchronized",
        cmd!(shell, "{timedatectl} show -p NTPSynchronized --value"),
    );
    let ended =
        installation.cx.proc.run(job.deadline(Duration::from_secs(3))).ok().filter(|ended| ended.is_success())?;
    match ended.stdout.trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

pub fn tun(installation: &Installation<'_>) -> Diagnosis {
    if Path::new("/dev/net/tun").exists() {
        return Diagnosis::ok("present");
    }
    if is_engine_remote() {
        return Diagnosis::skipped("the Docker engine is on another host");
    }
    // A running sidecar has its device, wherever the engine is.
    let runs = installation.container(SIDECAR).is_ok_and(|container| container.is_healthy());
    if runs {
        Diagnosis::ok("the sidecar has /dev/net/tun")
    } else {
        Diagnosis::failed("there is no /dev/net/tun on this host")
    }
}

/// Returns true if a boot unit creates containers: until November 2026, the project's own ran `compose up`.
fn creates_containers(unit: &str) -> bool {
    let commands = unit.lines().filter(|line| line.trim_start().starts_with("ExecStart"));
    commands.into_iter().any(|line| line.split_whitespace().any(|word| word == "up"))
}

pub fn boot(installation: &Installation<'_>) -> Verdict {
    installation.container(OMNI)?;
    if is_engine_remote() || !Path::new("/run/systemd/system").is_dir() {
        return Err(Diagnosis::skipped("this host does not use systemd, or the engine is on another host"));
    }
    let wanted = Path::new("/etc/systemd/system/multi-user.target.wants/omni-scale.service");
    let unit = files::read_optional_text(Path::new("/etc/systemd/system/omni-scale.service")).ok().flatten();
    if unit.as_deref().is_some_and(creates_containers) {
        return Err(Diagnosis::warning(
            "omni-scale.service is an older version, which recreates containers at boot: a changed tag then upgrades Omni",
        )
        .fix("install docker/omni-scale.service again (docs/how-to/deployment.md, step 6)"));
    }
    Ok(match (unit.is_some(), wanted.symlink_metadata().is_ok()) {
        (true, true) => Diagnosis::ok("omni-scale.service is enabled"),
        (true, false) => Diagnosis::warning("omni-scale.service is installed, but not enabled")
            .fix("`sudo systemctl enable omni-scale.service`"),
        (false, _) => Diagnosis::warning("omni-scale.service is not installed"),
    })
}

pub fn tsidp(installation: &Installation<'_>) -> Diagnosis {
    let places = ["/etc/systemd/system/tsidp.service", "/usr/local/bin/tsidp", "/var/lib/tsidp"];
    let found: Vec<&str> = places.into_iter().filter(|place| Path::new(place).exists()).collect();
    if found.is_empty() {
        return Diagnosis::ok("not found on this host");
    }
    let detail = format!("tsidp is on this host: {}", found.join(", "));
    if installation.set_up {
        Diagnosis::failed(detail)
    } else {
        Diagnosis::skipped(format!("{detail}; Omni is not set up here"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_unit_creates_no_containers() {
        assert!(!creates_containers(include_str!("../../../../docker/omni-scale.service")));
        assert!(creates_containers(
            "[Service]\n# up\nExecStart=/usr/bin/docker compose -f docker/compose.yaml up -d\n"
        ));
    }

    #[test]
    fn old_compose_version_is_recognized() {
        for old in ["2.20.3", "2.23.0", "v2.5.1", "1.29.2", "2.18.1-desktop.1"] {
            assert!(is_too_old(old), "{old}");
        }
        for new in ["2.23.1", "2.40.3+ds1-0ubuntu1", "5.5.1", "dev", "v2.24.0"] {
            assert!(!is_too_old(new), "{new}");
        }
    }

    #[test]
    fn df_free_space_is_the_fourth_column() {
        let text =
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda 264000000 22000000 73400320 24% /\n";
        assert_eq!(free_mib(text), Some(71_680));
        assert_eq!(free_mib("df: nonsense"), None);
        assert_eq!(check_space(Path::new("/"), 500).state, check::diagnosis::State::Failed);
        assert_eq!(check_space(Path::new("/"), 3_000).state, check::diagnosis::State::Warning);
    }
}
