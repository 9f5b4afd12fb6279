//! A drill: starts the Omni of a backup where it reaches nothing and no machine reaches it, and removes everything afterwards.

use std::path::Path;
use std::time::Duration;

use crate::flow::backup::{self, ETCD_ENDPOINT, SQLITE_DIR};
use crate::flow::backup_check::{OpenedBackup, VerifyOptions};
use crate::flow::omni_stack::EMPTY_STORE;
use crate::flow::omni_upgrade;
use crate::flow::restore::ETCD_DIR;
use crate::prelude::*;
use domain::backup::{ENV, SQLITE, STORE_KEY};
use domain::secret::Secret;
use domain::spec::env::EnvFile;
use domain::status::snapshot::Store;
use runtime::files;
use runtime::tool::docker::{Docker, QUICK};
use runtime::tool::omni;
use runtime::tool::omnictl::{KEYS, Omnictl};
use runtime::wait::Poll;

/// The name of the container, and of the network that only it is on.
const NAME: &str = "omni-scale-drill";
/// Puts the container on that network only, with what Omni needs for its tunnel, which does not lead anywhere either.
const CREATE: &str = "create --name omni-scale-drill --network omni-scale-drill --device /dev/net/tun --cap-drop ALL \
     --cap-add NET_ADMIN --cap-add DAC_OVERRIDE --sysctl net.ipv6.conf.all.disable_ipv6=0 --tmpfs /tmp --tmpfs /var/run/wireguard";
/// Starts Omni without any outside service: plain HTTP, and a login that is resolved only when somebody logs in (tested with omni
/// 1.4.9 in a network namespace of its own).
const ARGS: &str = "--name=omni --private-key-source=file:///omni.asc --etcd-embedded-db-path=/_out/etcd \
     --sqlite-storage-path=/_out/sqlite/omni.db --bind-addr=0.0.0.0:8080 --machine-api-bind-addr=0.0.0.0:8090 \
     --event-sink-port=8091 --k8s-proxy-bind-addr=0.0.0.0:8100 --advertised-api-url=https://drill.invalid/ \
     --machine-api-advertised-url=https://drill.invalid:8090/ --advertised-kubernetes-proxy-url=https://drill.invalid:8100/ \
     --siderolink-wireguard-advertised-addr=192.0.2.1:50180 --auth-auth0-enabled=true --auth-auth0-domain=drill.invalid \
     --auth-auth0-client-id=drill --local-resource-server-enabled=false";
/// Resources that people and providers create, and that Omni does not change by itself.
const COMPARED_TYPES: [&str; 5] = ["Clusters", "MachineClasses", "Machines", "Users", "Identities"];
/// The resources that its API is queried for.
const LISTED_TYPES: [&str; 3] = ["Clusters", "MachineClasses", "Users"];
const HEALTH: Duration = Duration::from_secs(120);
/// How many lines of its log show how Omni started.
const LOG: &str = "2000";

/// The container and its network. Both are removed on drop, also after Ctrl-C; those of a killed drill, before the next one.
struct Drill<'a>(&'a Docker<'a>);

impl Drop for Drill<'_> {
    fn drop(&mut self) {
        self.0.remove_container(NAME);
    }
}

/// Starts Omni from the backup, with the key in the archive or else the one at `key`, and compares its data with the manifest.
///
/// # Errors
/// Fails with [`Code::Prerequisite`] without Docker or a key, with [`Code::Failed`] if Omni does not start from the backup, and
/// with [`Code::Invalid`] if its data differs.
pub fn run(cx: &Cx, opened: &OpenedBackup, means: &VerifyOptions<'_>, key: &Path) -> anyhow::Result<()> {
    let docker = Docker::find(cx)?;
    let drill = cx.ui.step("drill", "Start this Omni from the backup, on a separate network", || {
        let (drill, detail) = start(cx, &docker, opened, key)?;
        Ok(StepResult::ok(drill, detail))
    })?;
    let address = cx.ui.step("drill-health", "Wait until it is healthy", || wait_until_healthy(cx, &docker))?;
    cx.ui.step("drill-store", "Check account, clusters, machine classes, users and key slots", || {
        let dir = opened.scratch.path().join("drill");
        let image = backup::etcd_image(means.image, opened.version());
        let words = ["etcdctl", ETCD_ENDPOINT, "snapshot", "save", "/backup/now.db"];
        docker.run_etcd(&image, &format!("container:{NAME}"), &dir, &words)?.require_success()?;
        Ok(StepResult::ok((), compare(opened, &backup::read_store(&dir.join("now.db"))?)?))
    })?;
    cx.ui.step("drill-api", "Read its clusters, machine classes and users", || check_api(cx, opened, address))?;
    drop(drill);
    cx.ui.note("drill-removed", "container and network of the drill", Status::Ok, "removed");
    Ok(())
}

fn start<'a>(
    cx: &Cx,
    docker: &'a Docker<'a>,
    opened: &OpenedBackup,
    key: &Path,
) -> Result<(Drill<'a>, String), Failure> {
    let key = if opened.has(STORE_KEY) { opened.part(STORE_KEY) } else { key.to_owned() };
    if !key.is_file() {
        return Err(Failure::new(Code::Prerequisite, "a drill needs the key of the store")
            .cause(format!("it is not in the backup, and `{}` does not exist", key.display()))
            .hint("specify your copy of it: --key FILE"));
    }
    docker.engine_version()?;
    docker.remove_container(NAME);
    let image = omni_upgrade::image_of(cx, opened.version().unwrap_or_default())?;
    docker.pull(&image)?;
    let root = opened.scratch.path().join("drill");
    let place = |from: &Path, to: &str| {
        let to = root.join(to.trim_start_matches('/'));
        let put = || if from.is_dir() { std::fs::rename(from, &to) } else { std::fs::copy(from, &to).map(drop) };
        let there = to.parent().map_or(Ok(()), files::create_private_dir).and_then(|()| put());
        there.map_err(|error| backup::io_failure("copy", from, &error))
    };
    place(&key, "omni.asc")?;
    place(&opened.etcd(), ETCD_DIR)?;
    place(&opened.dir_of(SQLITE), SQLITE_DIR)?;
    let drill = Drill(docker);
    docker.run("creating the network of the drill", &["network", "create", "--internal", NAME], QUICK)?;
    let account = format!("--account-id={}", opened.manifest.account);
    let words: Vec<&str> = CREATE.split(' ').chain([&*image, &account]).chain(ARGS.split(' ')).collect();
    docker.run("creating the container of the drill", &words, QUICK)?;
    docker.copy_in(&root, NAME, "/")?;
    docker.run("starting the container of the drill", &["start", NAME], QUICK)?;
    Ok((drill, format!("{image}, without tailnet, machines and published ports")))
}

/// Waits until Omni answers, which it does only once the key opens the store, and returns its address.
fn wait_until_healthy(cx: &Cx, docker: &Docker<'_>) -> anyhow::Result<StepResult<String>> {
    let look = || {
        let format = "{{.State.Status}} {{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let found = docker.run("inspecting the drill", &["container", "inspect", "--format", format, NAME], QUICK)?;
        let (state, address) = found.stdout.trim().split_once(' ').unwrap_or((found.stdout.trim(), ""));
        let log = docker.run("reading the log of the drill", &["logs", "--tail", LOG, NAME], QUICK)?;
        let log = log.stdout + &log.stderr;
        let refuse = |why: &str| {
            let last = log.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
            let failure = Failure::new(Code::Failed, "Omni does not start from this backup");
            Err(failure.cause(format!("{why}; its log ends: {last}")).hint("use another backup, or another key").into())
        };
        if log.contains(EMPTY_STORE) {
            return refuse("it found no store for this account and created an empty one");
        }
        if state != "running" {
            return refuse(&format!("its container is {state}"));
        }
        let endpoint = format!("http://{address}:8080");
        match omni::check_health(cx, &endpoint, None) {
            Ok(()) => Ok(Poll::Done(StepResult::ok(endpoint, "the key opens the store"))),
            Err(failure) if failure.code == Code::Interrupted => Err(failure.into()),
            Err(failure) => Ok(Poll::Waiting(failure.message)),
        }
    };
    cx.wait("Omni of the drill", HEALTH, look)
}

fn compare(opened: &OpenedBackup, now: &Store) -> Result<String, Failure> {
    backup::check_account(now, &opened.manifest.account)?;
    let slots = opened.manifest.key_slots.iter().filter(|slot| !now.slots.contains_key(*slot));
    let lost = slots.map(|slot| format!("no key slot {slot}")).collect();
    let shown =
        compare_counts(&COMPARED_TYPES.map(|kind| (kind, [opened.manifest.count(kind), now.count(kind)])), lost)?;
    Ok(format!("{shown}, {}", count(now.slots.len(), "key slot")))
}

/// Returns the counts as text if those in Omni equal those in the backup and nothing else is lost.
fn compare_counts(counts: &[(&str, [u64; 2])], mut lost: Vec<String>) -> Result<String, Failure> {
    let other = counts.iter().filter(|(_, [before, after])| before != after);
    lost.extend(other.map(|(kind, [before, after])| format!("{kind}: {before} in the backup, {after} in Omni")));
    if lost.is_empty() {
        return Ok(counts.iter().map(|(kind, [_, after])| format!("{kind} {after}")).collect::<Vec<_>>().join(", "));
    }
    Err(Failure::new(Code::Invalid, "Omni's data differs from the backup").cause(lost.join("\n")))
}

/// Checks what the API lists for the service account in the backup's `docker/.env`, or in this project's. Omni 1.7 and later
/// answer only if the store has a person's acceptance of the licence (omni v1.9.3 `internal/pkg/auth/interceptor/eula.go`).
fn check_api(cx: &Cx, opened: &OpenedBackup, endpoint: String) -> anyhow::Result<StepResult<()>> {
    let text = files::read_optional_text(&opened.part(ENV))?.unwrap_or_default();
    let own = EnvFile::parse(ENV, &text)?.get(KEYS[1]).filter(|key| !key.is_empty()).map(Secret::new);
    let unknown = |why: &str| Ok(StepResult::warning((), format!("not checked: {why}")));
    let Some(key) = own.or_else(|| Some(cx.settings.secret(KEYS[1])?.value)) else {
        return unknown("neither the backup nor this project has a service-account key");
    };
    let listed = Omnictl::with_key_at(cx, endpoint, &key).and_then(|omnictl| {
        let now = |kind: &str| Ok(omnictl.list(&kind.to_lowercase(), None)?.len() as u64);
        let counts = LISTED_TYPES.map(|kind| Ok((kind, [opened.manifest.count(kind), now(kind)?])));
        counts.into_iter().collect::<Result<Vec<_>, _>>()
    });
    match listed {
        Ok(counts) => Ok(StepResult::ok((), compare_counts(&counts, Vec::new())?)),
        Err(failure) if failure.code == Code::Interrupted => Err(failure.into()),
        Err(failure) => unknown(&format!("{}: {}", failure.message, failure.cause)),
    }
}
