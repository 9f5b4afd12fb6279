//! Finds, logs in and calls omnictl, and parses its output. omnictl has no network timeout of its own, exits only with 0 or 1,
//! and does not report about half of its failures, so callers read back what they changed.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use xshell::{Shell, cmd};

use super::{curl, errors};
use crate::cx::Cx;
use crate::files;
use crate::proc::{self, CommandOutput, Job};
use crate::settings::{Origin, environment};
use crate::triage;
use domain::failure::{Code, Failure, Kind, MissingValue};
use domain::secret::{Secret, hide};
use domain::spec::key::KeyInfo;
use domain::status::omni::{self, Objects, Resource};
use domain::words::count;

/// The variables that omnictl reads a key from, in its order: if `SIDERO_SERVICE_ACCOUNT_KEY` is set, it wins, even if it is
/// empty (siderolabs/go-api-signature v0.3.12 `pkg/serviceaccount`).
pub const KEYS: [&str; 2] = ["SIDERO_SERVICE_ACCOUNT_KEY", "OMNI_SERVICE_ACCOUNT_KEY"];

/// The minimum length of a possible key in omnictl's output: longer than any word in its messages, shorter than any key.
const KEY: usize = 100;

/// The deadline of a read, which normally returns within seconds.
const READ_LIMIT: Duration = Duration::from_secs(30);
/// The deadline of an apply, which may wait until Omni has validated a whole file.
const WRITE_LIMIT: Duration = Duration::from_secs(120);
/// The deadline of a sync. omnictl waits, without a limit of its own, until the resources that it tears down are gone.
const SYNC_LIMIT: Duration = Duration::from_secs(1800);

/// How omnictl authenticates.
#[derive(Debug, Clone)]
pub enum Login {
    /// A service-account key from a variable.
    Key { variable: &'static str, origin: Origin, secret: Secret },
    /// The user's own login, which omnictl stores, and the endpoint that it is for.
    Config { file: PathBuf, address: String },
}

/// A service-account key as Omni lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccountKey {
    pub account: String,
    pub role: String,
    /// The fingerprint of the public key.
    pub id: String,
    /// In RFC 3339 format.
    pub expires: String,
}

/// omnictl with a login. Calls fail with omnictl's error as `data/program-errors.yaml` explains it, or like
/// [`proc::Proc::run`].
pub struct Omnictl<'a> {
    cx: &'a Cx,
    program: PathBuf,
    login: Login,
    /// The Omni endpoint.
    endpoint: String,
}

/// Finds omnictl: on PATH, or else in `${XDG_DATA_HOME:-$HOME/.local}/bin`.
pub fn locate() -> Option<PathBuf> {
    if let Ok(found) = which::which("omnictl") {
        return Some(found);
    }
    let own = install_path().ok()?;
    which::which_in(&own, None::<&str>, ".").ok()
}

/// The path at which this project installs omnictl.
///
/// # Errors
/// [`Code::Prerequisite`] if the user has no home directory.
pub fn install_path() -> Result<PathBuf, Failure> {
    let home = || environment("HOME").map(|home| format!("{home}/.local"));
    let base = environment("XDG_DATA_HOME").or_else(home).ok_or_else(|| {
        Failure::new(Code::Prerequisite, "there is no directory for omnictl")
            .cause("neither XDG_DATA_HOME nor HOME is set")
    })?;
    Ok(Path::new(&base).join("bin/omnictl"))
}

/// # Errors
/// [`Code::Prerequisite`] if omnictl is not installed.
pub(super) fn program() -> Result<PathBuf, Failure> {
    locate().ok_or_else(|| {
        Failure::new(Code::Prerequisite, "`omnictl` is not installed")
            .cause("it is neither on PATH nor where this project installs it")
            .next("cargo xtask omnictl-install")
    })
}

/// The version and the API version of the program at `path`.
///
/// # Errors
/// [`Code::Prerequisite`] if it does not run or its output cannot be parsed.
pub fn version_of(cx: &Cx, path: &Path) -> Result<(String, u32), Failure> {
    let shell = proc::shell()?;
    let job = Job::new("reading the version of omnictl", cmd!(shell, "{path} --version"));
    let broken = |cause: String| {
        Failure::new(Code::Prerequisite, format!("`{}` is not a working omnictl", path.display()))
            .cause(cause)
            .next("cargo xtask omnictl-install")
    };
    let ended = cx.proc.run(job.deadline(Duration::from_secs(20))).map_err(|failure| match failure.code {
        Code::Interrupted => failure,
        _ => broken(failure.to_string()),
    })?;
    omni::parse_omnictl_version(&ended.stdout).ok_or_else(|| broken(ended.failure().to_string()))
}

/// The configured login, if any.
pub fn login(cx: &Cx) -> Option<Login> {
    for variable in KEYS {
        if let Some(found) = cx.settings.secret(variable) {
            return Some(Login::Key { variable, origin: found.origin, secret: found.value });
        }
    }
    own_login().map(|(file, address)| Login::Config { file, address })
}

/// omnictl's own login, created in a browser: its file and the Omni endpoint in it.
fn own_login() -> Option<(PathBuf, String)> {
    let given = environment("OMNICONFIG").map(PathBuf::from);
    let file = given.or_else(|| Some(Path::new(&environment("HOME")?).join(".talos/omni/config")))?;
    let text = files::read_optional_text(&file).ok()??;
    domain::secret::hide_in(&text);
    let address = parse_endpoint(&text)?;
    Some((file, address))
}

/// The endpoint in omnictl's own configuration. If the file is missing, omnictl creates one with a default endpoint, which is
/// not a login (omni v1.9.3 `client/pkg/omnictl/config/config.go`).
fn parse_endpoint(text: &str) -> Option<String> {
    let config: serde_yaml::Value = serde_yaml::from_str(text).ok()?;
    let context = config.get("context").and_then(serde_yaml::Value::as_str).unwrap_or("default");
    let url = config.get("contexts")?.get(context)?.get("url")?.as_str()?;
    (!url.is_empty() && url != "grpc://127.0.0.1:8080").then(|| url.to_owned())
}

/// The failure for a missing login.
pub fn not_logged_in() -> Failure {
    Failure::missing(vec![MissingValue::secret("a login to Omni", "OMNI_SERVICE_ACCOUNT_KEY")])
        .cause("there is no service-account key, and omnictl has no login")
        .hint("as an admin, `omnictl serviceaccount create automation --use-user-role=false --role Operator` prints OMNI_SERVICE_ACCOUNT_KEY: add it to docker/.env")
}

impl<'a> Omnictl<'a> {
    /// Finds omnictl and a login, without any network access.
    ///
    /// # Errors
    /// [`Code::Prerequisite`] if omnictl is not installed, [`Code::MissingInput`] if there is no login or no Omni endpoint,
    /// [`Code::Invalid`] if the key is not valid or has expired.
    pub fn find(cx: &'a Cx) -> Result<Omnictl<'a>, Failure> {
        if let Some(recorded) = &cx.settings.recorded {
            recorded.check_available("omni")?;
            let login = Login::Config { file: PathBuf::new(), address: String::new() };
            return Ok(Omnictl { cx, program: PathBuf::new(), login, endpoint: String::new() });
        }
        Omnictl::with_program(cx, program()?)
    }

    /// Like [`Omnictl::find`], but with the omnictl at `program`.
    pub fn with_program(cx: &'a Cx, program: PathBuf) -> Result<Omnictl<'a>, Failure> {
        let login = login(cx).ok_or_else(not_logged_in)?;
        let endpoint = match &login {
            Login::Key { variable, origin, secret } => {
                check_key(variable, origin, secret).map_err(|failure| match is_shadowing(cx, variable, origin) {
                    true => failure.hint(SHADOWING_HINT).next(format!("unset {variable}")),
                    false => failure,
                })?;
                cx.settings.omni_endpoint(None).ok_or_else(missing_endpoint)?.value
            }
            Login::Config { address, .. } => address.clone(),
        };
        Ok(Omnictl { cx, program, login, endpoint })
    }

    /// Like [`Omnictl::find`], but always with this key of `docker/.env`.
    pub fn with_key(cx: &'a Cx, secret: &Secret) -> Result<Omnictl<'a>, Failure> {
        let configured = cx.settings.omni_endpoint(None).map(|found| found.value);
        let endpoint = configured.or_else(|| Some(own_login()?.1)).ok_or_else(missing_endpoint)?;
        Omnictl::with_key_at(cx, endpoint, secret)
    }

    /// Like [`Omnictl::with_key`], for the Omni at `endpoint`.
    pub fn with_key_at(cx: &'a Cx, endpoint: String, secret: &Secret) -> Result<Omnictl<'a>, Failure> {
        let (variable, origin, secret) = (KEYS[1], Origin::EnvFile(KEYS[1]), secret.clone());
        check_key(variable, &origin, &secret)?;
        Ok(Omnictl { cx, program: program()?, login: Login::Key { variable, origin, secret }, endpoint })
    }

    /// Like [`Omnictl::find`], but always with omnictl's own login, regardless of keys in `docker/.env`.
    ///
    /// # Errors
    /// [`Code::MissingInput`] if there is no such login, or if a key in the environment would override it.
    pub fn with_own_login(cx: &'a Cx) -> Result<Omnictl<'a>, Failure> {
        let login = own_login().filter(|_| KEYS.iter().all(|variable| environment(variable).is_none()));
        let (file, address) = login.ok_or_else(not_logged_in)?;
        let endpoint = address.clone();
        Ok(Omnictl { cx, program: program()?, login: Login::Config { file, address }, endpoint })
    }

    /// The account of the login for messages: `automation (OMNI_SERVICE_ACCOUNT_KEY in the environment)`.
    pub fn login_name(&self) -> String {
        match &self.login {
            Login::Key { origin, secret, .. } => {
                let name = KeyInfo::parse(secret.expose()).map_or_else(|_| "a key".to_owned(), |info| info.name);
                format!("{name} ({origin})")
            }
            Login::Config { file, .. } => format!("the login in {}", file.display()),
        }
    }

    /// The Omni endpoint without a trailing slash.
    pub fn endpoint(&self) -> &str {
        self.endpoint.trim_end_matches('/')
    }

    /// Returns true if the login is for the Omni at `endpoint`.
    pub fn is_for_endpoint(&self, endpoint: &str) -> bool {
        self.endpoint() == endpoint.trim_end_matches('/')
    }

    /// Returns true if the key comes from the variable that omnictl reads first, regardless of [`KEYS`]\[1\].
    pub(super) fn is_overridden(&self) -> bool {
        matches!(&self.login, Login::Key { variable, .. } if *variable == KEYS[0])
    }

    fn job(&self, purpose: impl Into<String>, cmd: xshell::Cmd<'_>) -> Job {
        // A `--timeout` shorter than the deadline of a read also limits a single read.
        let patience = self.cx.timeout.map_or(READ_LIMIT, |timeout| timeout.min(READ_LIMIT));
        let mut job = Job::new(purpose, cmd).deadline(patience);
        match &self.login {
            Login::Key { variable, secret, .. } => {
                job = job.secret_env(variable, secret).env("OMNI_ENDPOINT", &self.endpoint);
            }
            // omnictl takes the endpoint from this file.
            Login::Config { file, .. } => job = job.env("OMNICONFIG", file),
        }
        // Go also reads the system's certificate directory (crypto/x509 `root_unix.go`).
        if let Some(file) = self.cx.settings.ca_file(None) {
            job = job.env("SSL_CERT_FILE", file.value);
        }
        job
    }

    /// A call with the arguments in `words`, separated by spaces, and then `more`, which may contain spaces.
    fn call(&self, purpose: impl Into<String>, words: &str, more: &[&str]) -> Result<Job, Failure> {
        let (shell, program, words) = (proc::shell()?, &self.program, words.split(' '));
        Ok(self.job(purpose, cmd!(shell, "{program} {words...} {more...}")))
    }

    fn run(&self, job: Job) -> Result<CommandOutput, Failure> {
        self.run_reading(job, &mut |_| {})
    }

    fn run_reading(&self, job: Job, read: &mut dyn FnMut(&mut Vec<u8>)) -> Result<CommandOutput, Failure> {
        if let Some(file) = self.cx.settings.ca_file(None) {
            curl::check_authorities(&file.value)?;
        }
        let ended = self.cx.proc.run_reading(job, read)?;
        if ended.is_success() { Ok(ended) } else { Err(self.explain(&ended)) }
    }

    /// Runs `job` and parses the objects that it prints.
    fn run_and_parse<T: DeserializeOwned>(&self, job: Job) -> Result<Vec<T>, Failure> {
        let mut objects = Objects::default();
        let ended = self.run_reading(job, &mut |text| objects.take_complete(text))?;
        objects.finish(&ended.stdout).map_err(|why| {
            Failure::new(Code::Failed, format!("`{}` did not print resources", ended.line))
                .cause(why)
                .hint("compare the versions: `omnictl --version` and `omnictl get sysversion`")
        })
    }

    /// Lists the resources of a type, or those with a label. `kind` is the full plural name: short names collide.
    ///
    /// # Errors
    /// The failure from `Omnictl::explain`; [`Code::Failed`] if the output cannot be parsed.
    pub fn list(&self, kind: &str, selector: Option<&str>) -> Result<Vec<Resource>, Failure> {
        self.list_as(kind, selector)
    }

    /// Like [`Omnictl::list`], but keeps only the fields of `T`.
    pub fn list_as<T: DeserializeOwned>(&self, kind: &str, selector: Option<&str>) -> Result<Vec<T>, Failure> {
        if let Some(recorded) = &self.cx.settings.recorded {
            return recorded.list(kind, selector);
        }
        let selected = selector.map_or_else(Vec::new, |selector| vec!["-l", selector]);
        let words: Vec<&str> = [kind].into_iter().chain(selected).chain(["-o", "json"]).collect();
        self.run_and_parse(self.call(format!("reading {kind} from Omni"), "get", &words)?)
    }

    /// Returns one resource, or `None` if Omni has no resource with this ID.
    pub fn get(&self, kind: &str, id: &str) -> Result<Option<Resource>, Failure> {
        if let Some(recorded) = &self.cx.settings.recorded {
            return Ok(recorded.list(kind, None)?.into_iter().find(|found: &Resource| found.metadata.id == id));
        }
        match self.run_and_parse(self.call(
            format!("reading {kind} {id} from Omni"),
            "get",
            &[kind, id, "-o", "json"],
        )?) {
            Ok(found) => Ok(found.into_iter().next()),
            Err(failure) if failure.code == Code::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Applies a file of resources. Exit status 0 does not prove that they exist as written: unknown keys are dropped.
    pub fn apply(&self, file: &Path) -> Result<(), Failure> {
        let (shell, program) = (proc::shell()?, &self.program);
        let job =
            self.job(format!("applying `{}`", self.cx.paths.show(file)), cmd!(shell, "{program} apply -f {file}"));
        self.run(job.deadline(WRITE_LIMIT)).map(drop)
    }

    /// The changes that a sync of the template would make, as lines and diffs printed by omnictl; empty if there are none. Also
    /// validates the template (omni v1.9.3 `client/pkg/template/operations/sync.go`).
    pub fn sync_plan(&self, file: &Path) -> Result<String, Failure> {
        let shell = template_dir(file)?;
        let program = &self.program;
        let cmd = cmd!(shell, "{program} cluster template sync --dry-run --verbose -f {file}");
        let purpose = format!("comparing `{}` with Omni", self.cx.paths.show(file));
        Ok(without_headers(&self.run(self.job(purpose, cmd).deadline(WRITE_LIMIT))?.stdout))
    }

    /// The plans for several templates, each like that of [`Omnictl::sync_plan`], with a single start of omnictl: `stage`
    /// becomes a directory of links to them, which omnictl accepts since 1.5 (omni v1.9.3
    /// `client/pkg/omnictl/cluster/template/sync.go`). Not for templates that refer to files, because their paths would be
    /// resolved in `stage`.
    ///
    /// # Errors
    /// Fails if omnictl does not accept a directory or one of the files; plan each template separately then.
    pub fn sync_plans(&self, files: &[&Path], stage: &Path) -> Result<Vec<String>, Failure> {
        let links = files::link_all(stage, files)?;
        let (shell, program) = (proc::shell()?, &self.program);
        let cmd = cmd!(shell, "{program} cluster template sync --dry-run --verbose -f {stage}");
        let purpose = format!("comparing {} with Omni", count(files.len(), "template"));
        let output = self.run(self.job(purpose, cmd).deadline(WRITE_LIMIT))?.stdout;
        split_plans(&output, &links)
            .ok_or_else(|| Failure::new(Code::Failed, "omnictl did not print a plan for each template"))
    }

    /// Checks whether Kubernetes of a cluster can be upgraded: the version path, and resources and flags that the new version
    /// has removed. omnictl prints nothing if it can (omni v1.9.3
    /// `client/pkg/omnictl/cluster/kubernetes/upgrade-pre-checks.go`).
    ///
    /// # Errors
    /// [`Code::Failed`] with the findings of the checks; otherwise the failure from `Omnictl::explain`.
    pub fn upgrade_pre_checks(&self, cluster: &str, to: &str) -> Result<(), Failure> {
        let purpose = format!("checking whether Kubernetes of cluster {cluster} can be upgraded to {to}");
        let job = self.call(purpose, "cluster kubernetes upgrade-pre-checks", &[cluster, "--to", to])?;
        self.run(job.deadline(WRITE_LIMIT)).map(drop)
    }

    /// Exports the template of a cluster, which omnictl generates from the resources in Omni (omni v1.9.3
    /// `client/pkg/template/operations/export.go`).
    pub fn export(&self, cluster: &str) -> Result<String, Failure> {
        let purpose = format!("exporting the template of cluster {cluster}");
        let job = self.call(purpose, "cluster template export --cluster", &[cluster])?;
        Ok(self.run(job.deadline(WRITE_LIMIT))?.stdout)
    }

    /// Syncs the template: creates, updates, and tears down what the template no longer contains. Not transactional: after an
    /// error, earlier changes remain.
    ///
    /// # Errors
    /// The failure from `Omnictl::explain`, with the changes that were made before.
    pub fn sync(&self, file: &Path) -> Result<String, Failure> {
        let shell = template_dir(file)?;
        let program = &self.program;
        let cmd = cmd!(shell, "{program} cluster template sync -f {file}");
        let job =
            self.job(format!("syncing `{}`", self.cx.paths.show(file)), cmd).deadline(self.cx.wait_limit(SYNC_LIMIT));
        let ended = self.cx.proc.run(job).map_err(|failure| match failure.code {
            // The changes of an interrupted sync are not undone.
            Code::Interrupted | Code::Timeout => failure
                .hint("part of the sync may already be applied, and stays: sync again to continue")
                .next(format!("cargo xtask cluster-sync {} --dry-run", cluster_name(file))),
            _ => failure,
        })?;
        if ended.is_success() {
            return Ok(ended.stdout);
        }
        let mut failure = triage::enrich(self.cx, self.explain(&ended));
        let done: Vec<&str> = ended.stdout.lines().filter(|line| line.starts_with("* ")).collect();
        // omnictl prints a line before it makes the change, so the last line is the one that failed.
        if let Some((last, before)) = done.split_last() {
            failure.cause.push_str(&format!("\nit failed at `{}`", last.trim_start_matches("* ")));
            if !before.is_empty() {
                failure.cause.push_str(&format!(" after {} other changes, which stay", before.len()));
            }
            let fix = if failure.code == Code::Invalid { "fix the cause and " } else { "" };
            let hint = format!("{fix}run this again: a sync continues where the last one stopped");
            let known = failure.hint.trim_end_matches('.');
            failure.hint = if known.is_empty() { hint } else { format!("{known}; then {hint}") };
        }
        Err(failure)
    }

    /// Deletes a cluster: tears down its resources in order, and returns when they are gone. omnictl has no time limit of its
    /// own; an interrupted deletion continues where it stopped (omni v1.9.3 `client/pkg/template/operations/delete.go`).
    pub fn delete_cluster(&self, name: &str, disconnected: bool) -> Result<(), Failure> {
        let flag = disconnected.then_some("--destroy-disconnected-machines");
        let words: Vec<&str> = [name].into_iter().chain(flag).collect();
        let job = self.call(format!("deleting cluster `{name}`"), "cluster delete", &words)?;
        let ended =
            self.cx.proc.run(job.deadline(self.cx.wait_limit(SYNC_LIMIT))).map_err(|failure| match failure.code {
                Code::Interrupted | Code::Timeout => failure
                    .hint("Omni continues the deletion; run the same command again to continue and wait")
                    .next(format!("cargo xtask cluster-status {name}")),
                _ => failure,
            })?;
        if ended.is_success() { Ok(()) } else { Err(triage::enrich(self.cx, self.explain(&ended))) }
    }

    /// Deletes a resource, and returns when it has no finalizers any more. omnictl has no time limit of its own, and Omni
    /// continues a requested deletion (omni v1.9.3 `client/pkg/omnictl/resources/destroy.go`).
    pub fn delete(&self, kind: &str, id: &str) -> Result<(), Failure> {
        let job = self.call(format!("deleting {kind} {id}"), "delete", &[kind, id])?;
        self.run(job.deadline(self.cx.wait_limit(SYNC_LIMIT))).map(drop)
    }

    /// The last lines of the kernel log that a machine has sent to Omni, as one JSON document per line (omni v1.9.3
    /// `client/pkg/omnictl/machine-logs.go`).
    pub fn machine_log(&self, uuid: &str, tail: u32) -> Result<String, Failure> {
        let large =
            Failure::new(Code::Failed, "these log lines are larger than 32 MiB").hint("request fewer: --tail N");
        Ok(self.run(self.log_job(uuid, tail, false)?.limit(32 << 20, large))?.stdout)
    }

    /// Follows the log of a machine like [`Omnictl::machine_log`], until the reader stops.
    pub fn follow_machine_log(&self, uuid: &str, tail: u32, each: impl FnMut(&str)) -> Result<(), Failure> {
        let ended = self.cx.proc.follow(self.log_job(uuid, tail, true)?, each)?;
        if ended.is_success() || proc::is_interrupted() || proc::is_stdout_closed() {
            Ok(())
        } else {
            Err(self.explain(&ended))
        }
    }

    fn log_job(&self, uuid: &str, tail: u32, follow: bool) -> Result<Job, Failure> {
        let (shell, program, tail) = (proc::shell()?, &self.program, tail.to_string());
        let follow = follow.then_some("--follow");
        let cmd = cmd!(shell, "{program} machine-logs {uuid} --tail {tail} --log-format raw {follow...}");
        Ok(self.job(format!("reading the log of machine {uuid}"), cmd))
    }

    /// Writes a kubeconfig or a talosconfig of a cluster to `file`, with these `flags` of omnictl. A new file gets mode 0640
    /// (omni v1.9.3 `client/pkg/omnictl/kubeconfig.go`), so `file` must be in a private directory.
    pub fn write_access(&self, kind: &str, cluster: &str, flags: &[String], file: &Path) -> Result<(), Failure> {
        let (shell, program) = (proc::shell()?, &self.program);
        let cmd = cmd!(shell, "{program} {kind} --cluster {cluster} {flags...} {file}");
        self.run(self.job(format!("requesting a {kind} for cluster `{cluster}`"), cmd)).map(drop)
    }

    /// Creates the infrastructure provider `id` and returns its key. Requires the role Admin.
    ///
    /// # Errors
    /// The failure from `Omnictl::explain`; [`Code::Failed`] if no key was printed.
    pub fn create_provider(&self, id: &str) -> Result<Secret, Failure> {
        self.provider_key(self.call(format!("creating the provider {id} in Omni"), "infraprovider create", &[id])?)
    }

    /// Creates another key for the provider `id`. Requires the role Admin.
    pub fn renew_provider_key(&self, id: &str) -> Result<Secret, Failure> {
        let purpose = format!("creating a key for the provider {id} in Omni");
        self.provider_key(self.call(purpose, "infraprovider renewkey", &[id])?)
    }

    /// Creates the account of a provider without one, like the second half of `infraprovider create`. Requires the role Admin.
    pub fn create_provider_account(&self, id: &str) -> Result<Secret, Failure> {
        self.create_service_account(&format!("infra-provider:{id}"), "InfraProvider")
    }

    /// Both commands print everything to stdout, prose and key (omni v1.9.3 `client/pkg/omnictl/infraprovider.go`).
    fn provider_key(&self, job: Job) -> Result<Secret, Failure> {
        self.read_key(job, "create the key in Omni under Settings, Infra Providers, and put it into docker/.env")
    }

    /// Creates the service account `name` with `role` and returns its key. Requires the role Admin. Since 1.8 stdout contains
    /// only the key, before also other text (omni v1.9.3 `client/pkg/omnictl/serviceaccount.go`).
    ///
    /// # Errors
    /// The failure from `Omnictl::explain`; [`Code::Failed`] if no key was printed.
    pub fn create_service_account(&self, name: &str, role: &str) -> Result<Secret, Failure> {
        let words = "serviceaccount create --use-user-role=false --role";
        let job = self.call(format!("creating the service account {name} in Omni"), words, &[role, "--", name])?;
        self.read_key(job, "create it in Omni under Settings, Service Accounts, and put the key into docker/.env")
    }

    /// Creates another key for the service account `name`. It is always valid for a year, because omnictl ignores `--ttl` here.
    pub fn renew_service_account(&self, name: &str) -> Result<Secret, Failure> {
        let purpose = format!("renewing the key of the service account {name}");
        let job = self.call(purpose, "serviceaccount renew --", &[name])?;
        self.read_key(job, "renew it in Omni under Settings, Service Accounts, and put the key into docker/.env")
    }

    /// The keys of Omni's service accounts, except those of providers. Requires the role Admin.
    pub fn service_account_keys(&self) -> Result<Vec<ServiceAccountKey>, Failure> {
        let ended = self.run(self.call("listing the service accounts of Omni", "serviceaccount list", &[])?)?;
        Ok(account_keys(&ended.stdout))
    }

    /// Destroys a service account with all its keys, because Omni cannot revoke a single key. Requires the role Admin.
    pub fn destroy_service_account(&self, name: &str) -> Result<(), Failure> {
        let job = self.call(format!("destroying the service account {name}"), "serviceaccount destroy --", &[name])?;
        self.run(job.deadline(WRITE_LIMIT)).map(drop)
    }

    /// Checks that Omni accepts the key, whatever its role: Omni verifies the signature before it reports a missing role.
    pub fn check_key_accepted(&self) -> Result<(), Failure> {
        match self.get("sysversions", "current") {
            Err(failure) if failure.kind == Kind::Role => Ok(()),
            answer => answer.map(drop),
        }
    }

    fn read_key(&self, job: Job, otherwise: &str) -> Result<Secret, Failure> {
        let ended = self.cx.proc.run(job.deadline(WRITE_LIMIT))?;
        // Redact possible keys first: if the command failed, its output is shown.
        for word in ended.stdout.split_whitespace() {
            let value = word.split_once('=').map_or("", |(_, value)| value);
            [word, value].into_iter().filter(|text| text.len() >= KEY).for_each(hide);
        }
        if !ended.is_success() {
            return Err(self.explain(&ended));
        }
        let key = ended.stdout.lines().find_map(|line| line.strip_prefix("OMNI_SERVICE_ACCOUNT_KEY="));
        key.map(|key| Secret::new(key.trim()))
            .ok_or_else(|| Failure::new(Code::Failed, format!("`{}` printed no key", ended.line)).hint(otherwise))
    }

    /// The failure for an error of omnictl.
    fn explain(&self, ended: &CommandOutput) -> Failure {
        explain(ended, &self.login_name(), &self.endpoint, self.is_overridden())
    }
}

/// Parses the table of `serviceaccount list`, in which only the first line of an account has the first columns. omnictl
/// 1.5 added columns; before, times were in Go's format (omni v1.4.9 and v1.9.3 `client/pkg/omnictl/serviceaccount.go`).
fn account_keys(table: &str) -> Vec<ServiceAccountKey> {
    let mut lines = table.lines();
    let head = lines.next().unwrap_or_default();
    let column = |line: &str, title: &str| -> String {
        let Some(start) = head.find(title) else { return String::new() };
        line.get(start..).and_then(|rest| rest.split("  ").next()).unwrap_or_default().trim().to_owned()
    };
    let mut keys: Vec<ServiceAccountKey> = Vec::new();
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let (mut account, mut role) = (column(line, "NAME"), column(line, "ROLE"));
        if let (true, Some(last)) = (account.is_empty(), keys.last()) {
            (account, role) = (last.account.clone(), last.role.clone());
        }
        let expires = column(line, "EXPIRATION").replace(" +0000 UTC", "Z").replace(' ', "T");
        keys.push(ServiceAccountKey { account, role, id: column(line, "PUBLIC KEY ID"), expires });
    }
    keys
}

/// The cluster name of a template in the project: the name of its file.
fn cluster_name(file: &Path) -> String {
    proc::quote(&file.file_stem().unwrap_or_default().to_string_lossy())
}

/// Since omnictl 1.8, the paths of patches in a template are relative to the template's directory, before to the working
/// directory. In a shell in the template's directory, both are the same.
fn template_dir(file: &Path) -> Result<Shell, Failure> {
    let shell = proc::shell()?;
    if let Some(parent) = file.parent() {
        shell.change_dir(parent);
    }
    Ok(shell)
}

/// The output of omnictl without its lines about files, which are not about a cluster (omni v1.9.3
/// `client/pkg/omnictl/cluster/template/sync.go`).
fn without_headers(printed: &str) -> String {
    let header = |line: &&str| {
        let files = line.starts_with("Processing ") && line.trim_end().ends_with(" template file(s)");
        files || line.starts_with("Syncing template: ")
    };
    printed.split_inclusive('\n').filter(|line| !header(line)).collect()
}

/// Splits omnictl's output by file. `None` if a file has no part of its own.
fn split_plans(printed: &str, links: &[PathBuf]) -> Option<Vec<String>> {
    let mut parts: Vec<String> = Vec::new();
    for line in printed.split_inclusive('\n') {
        let next = links.get(parts.len()).map(|link| format!("Syncing template: {}\n", link.display()));
        if next.is_some_and(|next| next == line) {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push_str(line);
        }
    }
    (parts.len() == links.len()).then_some(parts)
}

/// The hint for a key that [`is_shadowing`] another one.
pub const SHADOWING_HINT: &str = "the key in the shell takes precedence; the one in docker/.env is valid";

/// Returns true if the key comes from the shell and hides a valid key in `docker/.env`.
pub fn is_shadowing(cx: &Cx, variable: &str, origin: &Origin) -> bool {
    let valid = |key: &str| KeyInfo::parse(key).is_ok_and(|info| !info.is_expired(SystemTime::now()));
    matches!(origin, Origin::Environment(_)) && cx.settings.env_file.get(variable).is_some_and(valid)
}

fn check_key(variable: &str, origin: &Origin, secret: &Secret) -> Result<(), Failure> {
    let info = KeyInfo::parse(secret.expose()).map_err(|why| {
        Failure::new(Code::Invalid, format!("{variable} ({origin}) is not a valid service-account key"))
            .cause(why)
            .hint("copy the whole line that `omnictl serviceaccount create` printed after the `=`")
    })?;
    if info.is_expired(SystemTime::now()) {
        return Err(Failure::new(Code::Refused, format!("the key of `{}` ({origin}) has expired", info.name))
            .cause("Omni refuses an expired key as `invalid signature`")
            .hint(format!("as an admin, `omnictl serviceaccount renew {}` prints a new one", info.name)));
    }
    Ok(())
}

/// The failure for a missing Omni endpoint.
pub fn missing_endpoint() -> Failure {
    let flag = Some("--omni-endpoint".to_owned());
    Failure::missing(vec![MissingValue { flag, ..MissingValue::env("the address of Omni", "OMNI_ENDPOINT") }])
}

/// The failure for an error of omnictl, from `program-errors.yaml`.
fn explain(ended: &CommandOutput, who: &str, endpoint: &str, overridden: bool) -> Failure {
    // Notices come before the error, for example about a version that differs from Omni's.
    let (notices, errors): (Vec<&str>, Vec<&str>) = ended.stderr.lines().partition(|line| line.starts_with("[WARN]"));
    let output = errors.join("\n");
    let output = output.trim().trim_start_matches("Error: ");
    let differs = notices.iter().find(|notice| notice.contains("differs from the backend version"));
    let has = |text: &str| output.contains(text);
    let reasons = error_reasons(output);
    // A newer omnictl requests types that an older Omni does not know; Omni then reports missing access.
    let unknown_type = has("no access is permitted") && differs.is_some();
    if has("client API version mismatch") || has("omnictl is too old") || has("omnictl is newer") || unknown_type {
        let reasons = differs.map_or(reasons.clone(), |notice| format!("{reasons}\n{notice}"));
        return Failure::new(Code::Prerequisite, format!("this omnictl is not compatible with Omni at {endpoint}"))
            .kind(Kind::Version)
            .cause(reasons)
            .hint("install the omnictl that this Omni serves")
            .next("cargo xtask omnictl-install");
    }
    match errors::explain("omnictl", None, output, &reasons, &[("who", who), ("endpoint", endpoint)]) {
        Some(failure) if failure.kind == Kind::Role => with_required_roles(overridden, failure),
        Some(failure) => failure,
        None => ended.failure(),
    }
}

/// Adds the required roles to `failure`, and the variable that may have supplied a different key than intended.
pub(super) fn with_required_roles(overridden: bool, failure: Failure) -> Failure {
    let needed = "classes and clusters need the role Operator, providers and keys the role Admin";
    match overridden {
        true => failure
            .hint(format!("{needed}; {} overrides {} in omnictl, even if empty", KEYS[0], KEYS[1]))
            .next(format!("unset {}", KEYS[0])),
        false => failure.hint(needed),
    }
}

/// The reasons in omnictl's error: the lines of a validation that start with `*`, or else the text after the gRPC code.
fn error_reasons(output: &str) -> String {
    if let Some((_, list)) = output.split_once("occurred:") {
        return list
            .lines()
            .map(|line| line.trim().trim_start_matches("* "))
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join("\n");
    }
    let reason = output.rsplit_once(" desc = ").map_or(output, |(_, reason)| reason);
    match reason.strip_prefix("connection error: desc = ") {
        Some(inner) => inner.trim_matches('"').to_owned(),
        None => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::Proc;
    use crate::recorded::recorded;

    #[test]
    fn plans_of_many_templates_are_split() {
        let links = [PathBuf::from("/s/00000.yaml"), PathBuf::from("/s/00001.yaml")];
        let head = "Processing 2 template file(s)\n";
        let diff = "* updating (dry run) ConfigPatches.omni.sidero.dev(x)\n+Syncing template: /s/00001.yaml\n";
        let output = format!("{head}Syncing template: /s/00000.yaml\n{diff}Syncing template: /s/00001.yaml\n");
        assert_eq!(split_plans(&output, &links).unwrap(), [diff, ""]);
        assert_eq!(split_plans(head, &links), None, "nothing was output of a file");
        assert_eq!(without_headers(&output), diff, "a diff may hold the same words");
    }

    /// The failure for the recorded call `name`.
    fn explained(name: &str) -> Failure {
        let recorded = recorded("omnictl", name);
        assert_ne!(recorded.exit, 0, "{name}");
        let shell = proc::shell().unwrap();
        let (script, code) = ("cat >&2; exit $0", recorded.exit.to_string());
        let job = Job::new("trying", cmd!(shell, "sh -c {script} {code}")).stdin(recorded.stderr);
        explain(&Proc::new(None, "test", None).run(job).unwrap(), "automation", "https://omni", false)
    }

    #[test]
    fn every_recorded_error_is_understood() {
        let cases = [
            ("apply-legacy-kind", Code::Invalid, "expected 4 elements node, got 8"),
            ("apply-missing-required", Code::Invalid, "missing property 'memory'"),
            ("apply-wrong-type", Code::Invalid, "got string, want integer"),
            ("auth-empty-key", Code::Invalid, "unexpected end of JSON"),
            ("get-cluster-missing", Code::NotFound, "doesn't exist"),
            ("machineclass-delete-in-use", Code::Invalid, "in use by machine sets: demo-control-planes"),
            ("template-sync-bad-talos", Code::Invalid, "invalid talos version \"1.9.99\""),
            ("template-sync-unlimited", Code::Invalid, "unlimited machine set allocation is not supported"),
            ("template-validate-legacy", Code::Invalid, "field controlPlane not found"),
            ("unreachable", Code::Unreachable, "connection refused"),
            ("wrong-role", Code::Refused, "insufficient role: \"InfraProvider\""),
        ];
        for (name, code, cause) in cases {
            let failure = explained(name);
            assert_eq!(failure.code, code, "{name}: {failure}");
            assert!(failure.cause.contains(cause), "{name}: {}", failure.cause);
        }
    }

    #[test]
    fn keys_of_service_accounts_are_read() {
        let key = |account: &str, role: &str, id: &str, expires: &str| ServiceAccountKey {
            account: account.to_owned(),
            role: role.to_owned(),
            id: id.to_owned(),
            expires: expires.to_owned(),
        };
        let id = "50b78b8deba9d6766e78b39536026809246d17b0";
        let recorded = account_keys(&recorded("omnictl", "serviceaccount-list").stdout);
        assert_eq!(recorded, [key("automation", "Admin", id, "2026-12-22T01:10:10Z")]);
        // As 1.9.3 aligns the columns, three spaces apart.
        let table = [
            "NAME   ROLE     LAST ACTIVE   PUBLIC KEY ID   KEY CREATED   KEY LAST ACTIVE   EXPIRATION",
            "ci     Reader   Never         aa              -             Never             2027-01-01T00:00:00Z",
            "                              bb              -             Never             2027-02-01T00:00:00Z",
        ]
        .join("\n");
        let expected =
            [key("ci", "Reader", "aa", "2027-01-01T00:00:00Z"), key("ci", "Reader", "bb", "2027-02-01T00:00:00Z")];
        assert_eq!(account_keys(&table), expected, "{table}");
        assert_eq!(account_keys(""), []);
    }

    #[test]
    fn generated_omnictl_config_is_not_a_login() {
        let own = |url: &str| format!("contexts:\n    default:\n        url: {url}\ncontext: default\n");
        assert_eq!(parse_endpoint(&own("grpc://127.0.0.1:8080")), None);
        assert_eq!(parse_endpoint(&own("\"\"")), None);
        assert_eq!(parse_endpoint(&own("https://omni.example.com")).as_deref(), Some("https://omni.example.com"));
        let other = "contexts: {a: {url: https://a}, b: {url: https://b}}\ncontext: b\n";
        assert_eq!(parse_endpoint(other).as_deref(), Some("https://b"));
        assert_eq!(parse_endpoint("contexts: {a: {url: https://a}}\ncontext: c\n"), None);
        assert_eq!(parse_endpoint("url: https://a"), None);
    }

    #[test]
    fn unknown_error_shows_the_command() {
        let failure = explained("get-ambiguous");
        assert!(failure.message.contains("exited with 1") && failure.cause.contains("is ambiguous"), "{failure}");
    }
}
