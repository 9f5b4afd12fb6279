//! `omnictl-install`: installs the omnictl that matches the operator's Omni.
//!
//! 1. Finds the version of Omni: from Omni itself, otherwise that of this project's stack.
//! 2. Keeps an omnictl of that version, on PATH or where this project installs it; replaces any other version.
//! 3. Downloads it from the operator's own Omni, which serves its version without a login, or from the release of that version
//!    with its checksum.
//! 4. Verifies the download and runs it once, then moves it into place atomically.

use std::cell::OnceCell;
use std::path::PathBuf;

use anyhow::Context as _;

use crate::cli::OmnictlInstall;
use crate::flow::omni_stack;
use crate::prelude::*;
use domain::status::proxmox::Observed;
use domain::version;
use runtime::tool::install::{self, Installed, Sources};
use runtime::tool::omnictl::{self, Login, Omnictl};

/// What is known about the version of Omni.
struct ServerVersion {
    /// For example `v1.10.4`.
    version: Option<String>,
    /// Why Omni did not return its version.
    why: String,
    /// Omni rejects the installed omnictl.
    refuses: bool,
}

/// An installed omnictl; `version` is `None` if it cannot be run.
struct InstalledOmnictl {
    path: PathBuf,
    version: Option<String>,
}

pub fn run(args: &OmnictlInstall, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let endpoint = endpoint(args, cx);
    let found = find_installed(cx)?;
    let server = match &args.release {
        Some(release) => {
            version::parse(release).map_err(|why| {
                Failure::new(Code::Usage, format!("{release:?} is not a version: {why}"))
                    .hint("give `--release` three numbers: vMAJOR.MINOR.PATCH")
            })?;
            let release = format!("v{}", release.trim_start_matches('v'));
            ServerVersion { version: Some(release), why: String::new(), refuses: false }
        }
        None => server_version(cx, endpoint.as_deref())?,
    };
    if let Some(outcome) = found.as_ref().filter(|_| !args.force).and_then(|found| keep_installed(cx, found, &server)) {
        return Ok(outcome);
    }
    let place = omnictl::install_path()?;
    let sources = Sources {
        omni: endpoint.filter(|_| args.release.is_none()),
        mirror: args.mirror.clone(),
        release: server.version.clone(),
        ..Sources::of(cx)
    };
    let from = sources.mirror.clone().or(sources.omni.clone()).unwrap_or_else(|| "the release on GitHub".to_owned());
    let old = found.as_ref().map(|found| found.version.as_deref().unwrap_or("broken"));
    let new = server.version.as_deref().unwrap_or("the version that Omni serves");
    let change = old.map_or(new.to_owned(), |old| format!("{old} → {new}"));
    let undo = if place.exists() { "install the older one again" } else { "remove the file" };
    let result = OnceCell::new();
    let effect = format!("omnictl {change}, from {from}");
    let install = Change::new("install", place.display().to_string(), effect, undo, |cx| {
        let unknown = |failure: Failure| match (&server.version, failure.code) {
            (None, Code::Prerequisite) => Failure { cause: format!("{}; {}", server.why, failure.cause), ..failure },
            _ => failure,
        };
        let installed = install::install(cx, &sources).map_err(unknown)?;
        let Installed { version, from, .. } = result.get_or_init(|| installed);
        Ok(format!("{version} from {from}, verified"))
    });
    let plan = Plan::from_iter([install]);
    plan.carry_out(cx, &format!("Install omnictl {change} at {}", place.display()), &Value::Null)?;
    let installed = result.into_inner().context("the plan installs it")?;
    install::check_first_on_path(cx, &installed)?;
    let data = json!({
        "path": installed.path, "version": installed.version, "from": installed.from, "replaced": old, "installed": true,
    });
    Ok(Outcome::done(format!("omnictl {} is at {}", installed.version, installed.path.display())).with(data))
}

/// The address of Omni: the configured one, otherwise that of omnictl's own login.
fn endpoint(args: &OmnictlInstall, cx: &Cx) -> Option<String> {
    let configured = cx.settings.omni_endpoint(args.omni_endpoint.as_deref()).map(|found| found.value);
    configured.or_else(|| match omnictl::login(cx)? {
        Login::Config { address, .. } => Some(address).filter(|address| address.starts_with("https://")),
        Login::Key { .. } => None,
    })
}

fn find_installed(cx: &Cx) -> Result<Option<InstalledOmnictl>, Failure> {
    let Some(path) = omnictl::locate() else { return Ok(None) };
    let version = Observed::of(omnictl::version_of(cx, &path))?.known().map(|(version, _)| version.clone());
    Ok(Some(InstalledOmnictl { path, version }))
}

/// Step 1: finds the version of Omni.
fn server_version(cx: &Cx, endpoint: Option<&str>) -> Result<ServerVersion, Failure> {
    let own = |version, why: String, refuses| Ok(ServerVersion { version, why, refuses });
    let Some(endpoint) = endpoint else {
        return own(omni_stack::pinned_version(cx), "the address of Omni is not known".to_owned(), false);
    };
    let asked = Omnictl::find(cx).and_then(|omnictl| {
        if !omnictl.is_for_endpoint(endpoint) {
            return Err(Failure::new(Code::MissingInput, format!("the login is not for {endpoint}")));
        }
        omnictl.get("sysversions", "current")
    });
    let failure = match asked {
        Ok(found) => {
            let version = found.map(|found| found.text(&["backendversion"]).to_owned()).filter(|text| !text.is_empty());
            if version.is_some() {
                return own(version, String::new(), false);
            }
            Failure::new(Code::Failed, "Omni returned no version")
        }
        Err(failure) if failure.code == Code::Interrupted => return Err(failure),
        Err(failure) => failure,
    };
    own(omni_stack::version_at(cx, endpoint), failure.message, failure.kind == Kind::Version)
}

/// Step 2: returns the outcome if the installed omnictl is kept.
fn keep_installed(cx: &Cx, found: &InstalledOmnictl, server: &ServerVersion) -> Option<Outcome> {
    let own = found.version.as_deref()?;
    let (path, title) = (found.path.display(), "omnictl is installed");
    match &server.version {
        _ if server.refuses => return None,
        Some(version) if version::is_same_version(version, own) => {
            cx.ui.note("omnictl", title, Status::Ok, format!("{own} at {path}, the version of Omni"));
        }
        Some(_) => return None,
        None => {
            let detail = format!(
                "{own} at {path}; whether Omni has that version is not known: {}. `cargo xtask omnictl-install --force` installs the version that Omni serves",
                server.why
            );
            cx.ui.note("omnictl", title, Status::Warning, detail);
        }
    }
    let data = json!({ "path": found.path, "version": own, "installed": false });
    Some(Outcome::done(format!("omnictl {own} is installed")).with(data))
}
