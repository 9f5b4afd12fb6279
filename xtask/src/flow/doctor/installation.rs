//! Data that several checks need, looked up once.

use std::sync::OnceLock;
use std::time::SystemTime;

use crate::flow::omni_stack::{self, OmniAddress};
use crate::flow::{proxmox, tsidp};
use check;
use check::certificate::Certificate;
use check::diagnosis::{Diagnosis, State};
use domain::clock;
use domain::failure::{Code, Failure, Kind};
use domain::spec::config::ProviderConfig;
use domain::spec::env::EnvFile;
use domain::status::docker::Container;
use domain::status::omni::Resource;
use runtime::cx::Cx;
use runtime::files;
use runtime::tool::compose::{Compose, SIDECAR};
use runtime::tool::docker::engine_address;
use runtime::tool::omnictl::{self, Omnictl};
use runtime::tool::openssl;
use runtime::tool::proxmox::Proxmox;

/// The result of a check; `Err` if it stopped early.
pub type Verdict = Result<Diagnosis, Diagnosis>;

/// The installation, as far as the checks have examined it.
pub struct Installation<'a> {
    pub cx: &'a Cx,
    /// Seconds since the Unix epoch.
    pub now: u64,
    /// Whether `docker/.env` exists: nothing is set up without it.
    pub set_up: bool,
    pub example: EnvFile,
    /// The IDs of the checks that run, so that a check can leave a problem to another one.
    pub checks: Vec<&'a str>,
    containers: OnceLock<Result<Vec<Container>, Failure>>,
    omnictl_version: OnceLock<Option<Result<(String, u32), Failure>>>,
    server: OnceLock<Result<(String, u64), Failure>>,
    clusters: OnceLock<Result<Vec<Resource>, Failure>>,
    roots: OnceLock<Option<Vec<Certificate>>>,
    tailscale: OnceLock<Result<String, Failure>>,
    health: OnceLock<Option<Result<(), Failure>>>,
    served: OnceLock<Option<Result<Vec<Certificate>, Failure>>>,
}

impl<'a> Installation<'a> {
    pub fn new(cx: &'a Cx) -> Installation<'a> {
        let example = files::read_optional_text(&cx.paths.env_example()).ok().flatten();
        let example = example.and_then(|text| EnvFile::parse("docker/.env.example", &text).ok()).unwrap_or_default();
        Installation {
            cx,
            now: clock::unix_seconds(SystemTime::now()),
            set_up: cx.paths.env().is_file(),
            example,
            checks: Vec::new(),
            containers: OnceLock::new(),
            omnictl_version: OnceLock::new(),
            server: OnceLock::new(),
            clusters: OnceLock::new(),
            roots: OnceLock::new(),
            tailscale: OnceLock::new(),
            health: OnceLock::new(),
            served: OnceLock::new(),
        }
    }

    /// Returns a value of `docker/.env` that differs from the example's.
    pub fn value(&self, key: &str) -> Option<&str> {
        check::values::own_value(&self.cx.settings.env_file, &self.example, key)
    }

    /// Returns a value of `docker/.env`, or why there is nothing to check.
    ///
    /// # Errors
    /// Returns the verdict of a check that needs the value.
    pub fn required_value(&self, key: &str) -> Result<&str, Diagnosis> {
        self.value(key).ok_or_else(|| {
            self.missing_verdict(&match self.cx.settings.env_file.get(key) {
                Some(_) => format!("{key} in docker/.env still has the example's value"),
                None => format!("{key} is not set in docker/.env"),
            })
        })
    }

    /// The verdict if something that the setup creates is missing.
    pub fn missing_verdict(&self, what: &str) -> Diagnosis {
        if self.set_up { Diagnosis::skipped(what) } else { Diagnosis::skipped("docker/.env does not exist yet") }
    }

    /// Returns the containers of the stack.
    ///
    /// # Errors
    /// Returns the verdict of a check that needs them: unknown.
    pub fn containers(&self) -> Result<&[Container], Diagnosis> {
        let found = self.containers.get_or_init(|| Compose::find(self.cx)?.containers());
        match found {
            Ok(found) => Ok(found),
            Err(_) if !self.set_up => Err(self.missing_verdict("")),
            Err(failure) => Err(Diagnosis::unknown(failure.message.clone())),
        }
    }

    /// Returns the container of a service.
    ///
    /// # Errors
    /// As [`Installation::containers`]; skipped if the service has no container.
    pub fn container(&self, service: &str) -> Result<&Container, Diagnosis> {
        let found = self.containers()?.iter().find(|container| container.service == service);
        found.ok_or_else(|| self.missing_verdict(&format!("`{service}` has no container: the stack is not up")))
    }

    /// Returns the output of `tailscale status` in the sidecar, which must be running.
    ///
    /// # Errors
    /// Returns Docker's error.
    pub fn tailscale(&self) -> &Result<String, Failure> {
        self.tailscale.get_or_init(|| {
            let words = ["tailscale", "status", "--json", "--peers=false"];
            tsidp::in_sidecar(self.cx, "reading Tailscale's status in the sidecar", &words)
        })
    }

    /// Whether Omni answers at the address that machines use; `None` if that is unknown.
    pub fn health(&self) -> Option<&Result<(), Failure>> {
        self.health.get_or_init(|| Some(self.omni_address()?.healthy(self.cx))).as_ref()
    }

    /// Returns true if Omni cannot be queried because this machine rejects its certificate.
    pub fn is_certificate_refused(&self) -> bool {
        self.health().is_some_and(|asked| asked.as_ref().is_err_and(|failure| failure.kind == Kind::Certificate))
    }

    /// The certificates that Omni serves; `None` if its address is unknown.
    pub fn served(&self) -> Option<&Result<Vec<Certificate>, Failure>> {
        let look = || {
            let (host, address) = self.omni_address()?.tls();
            Some(openssl::served_certificates(self.cx, &address, &host))
        };
        self.served.get_or_init(look).as_ref()
    }

    /// Returns Omni's version and API version, which requires a login.
    ///
    /// # Errors
    /// Returns why it is unknown.
    pub fn server(&self) -> &Result<(String, u64), Failure> {
        self.server.get_or_init(|| {
            let found = Omnictl::find(self.cx)?.get("sysversions", "current")?;
            let found = found.ok_or_else(|| Failure::new(Code::Failed, "Omni reports no version"))?;
            Ok((found.text(&["backendversion"]).to_owned(), found.number(&["backendapiversion"])))
        })
    }

    /// Returns omnictl with a working login to Omni.
    ///
    /// # Errors
    /// Returns the verdict of a check that needs it: unknown, or skipped without a login.
    pub fn omnictl(&self) -> Result<Omnictl<'a>, Diagnosis> {
        // One call shows whether Omni can be queried at all; further calls would fail in the same way.
        match (Omnictl::find(self.cx), self.server()) {
            (Ok(omnictl), Ok(_)) => Ok(omnictl),
            (Err(failure), _) => Err(Diagnosis::unknown(failure.message)),
            (_, Err(failure)) => Err(Diagnosis::unknown(failure.message.clone())),
        }
    }

    /// The version of omnictl, if it is installed.
    pub fn omnictl_version(&self) -> Option<&Result<(String, u32), Failure>> {
        let ask = || omnictl::locate().map(|path| omnictl::version_of(self.cx, &path));
        self.omnictl_version.get_or_init(ask).as_ref()
    }

    /// Returns the clusters in Omni.
    ///
    /// # Errors
    /// As [`Installation::omnictl`]; skipped if there are none.
    pub fn clusters(&self) -> Result<&[Resource], Diagnosis> {
        if self.server().is_err() {
            return Err(self.missing_verdict("Omni could not be queried for its clusters"));
        }
        let omnictl = self.omnictl()?;
        match self.clusters.get_or_init(|| omnictl.list("clusters", None)) {
            Ok(found) if found.is_empty() => Err(self.missing_verdict("Omni has no cluster")),
            Ok(found) => Ok(found),
            Err(failure) => Err(Diagnosis::unknown(failure.line())),
        }
    }

    /// Omni's rejection of the login, if it answers. The key alone does not show whether Omni still accepts it.
    pub fn login_refused(&self) -> Option<&Failure> {
        self.server().as_ref().err().filter(|failure| failure.kind == Kind::Login)
    }

    pub fn omni_address(&self) -> Option<OmniAddress> {
        OmniAddress::of(self.cx)
    }

    /// The certificate authorities that this machine trusts.
    pub fn roots(&self) -> Option<&[Certificate]> {
        let ca_file = || self.cx.settings.ca_file(None).map(|found| found.value);
        self.roots.get_or_init(|| omni_stack::trusted_roots(ca_file().as_deref())).as_deref()
    }

    /// Returns the project's compose file.
    pub fn compose(&self) -> String {
        files::read_optional_text(&self.cx.paths.compose()).ok().flatten().unwrap_or_default()
    }
}

/// Checks that the sidecar runs.
///
/// # Errors
/// Returns the verdict of a check that needs it.
pub fn check_sidecar(installation: &Installation<'_>) -> Result<(), Diagnosis> {
    let sidecar = installation.container(SIDECAR)?;
    if sidecar.state == "running" { Ok(()) } else { Err(Diagnosis::unknown("the sidecar is not running")) }
}

/// Returns Proxmox, with the address and login that the provider uses.
///
/// # Errors
/// Returns the verdict of a check that needs it.
pub fn proxmox_of(installation: &Installation<'_>) -> Result<Proxmox, Diagnosis> {
    let path = installation.cx.paths.config();
    let shown = installation.cx.paths.show(&path);
    let text = files::read_optional_text(&path)?;
    let text = text.ok_or_else(|| installation.missing_verdict(&format!("{shown} does not exist yet")))?;
    let config = ProviderConfig::parse(&shown, &text);
    // Another check reports what is wrong with it.
    config
        .and_then(|config| proxmox::proxmox_of(installation.cx, &config))
        .map_err(|_| Diagnosis::unknown(format!("{shown} cannot be used")))
}

/// Returns the pinned and the running version of a service.
pub fn images(installation: &Installation<'_>, service: &str) -> (Option<String>, Option<String>) {
    let tag = |image: &str| check::stack::tag(image).map(str::to_owned);
    let pinned = check::stack::images(&installation.compose()).get(service).and_then(|image| tag(image));
    let running = installation.container(service).ok().and_then(|container| tag(&container.image));
    (pinned, running)
}

/// Returns true if the Docker engine runs on another host, so that checks of this host are meaningless for it.
pub fn is_engine_remote() -> bool {
    engine_address().is_some_and(|address| !address.starts_with("unix:"))
}

/// Returns the verdict of a check whose service failed: unknown if the service was not queried at all.
pub fn from_failure(failure: &Failure) -> Diagnosis {
    let detail = failure.line();
    let verdict = match failure.code {
        Code::MissingInput | Code::Prerequisite | Code::Interrupted => Diagnosis::unknown(detail),
        _ => Diagnosis::failed(detail),
    };
    if failure.hint.is_empty() { verdict } else { verdict.fix(failure.hint.clone()) }
}

/// Returns true if another check fails, and thus reports the problem itself.
pub fn is_failure(found: Verdict) -> bool {
    found.unwrap_or_else(|early| early).state == State::Failed
}
