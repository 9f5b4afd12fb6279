//! `omnictl-install`: the omnictl that belongs to the operator's Omni.
//!
//! 1. A working one on PATH, or where this project installs it, is enough.
//! 2. Else it is downloaded from the operator's own Omni, which serves the matching version to anyone, or from the
//!    release with its checksum.
//! 3. What was downloaded is verified and run once, then put in its place at once.

use serde_json::json;

use super::Outcome;
use crate::cli::OmnictlInstall;
use crate::cx::Cx;
use crate::tool::install::{self, Sources};
use crate::tool::omnictl;
use crate::ui::{Done, Status};

pub fn run(args: &OmnictlInstall, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    if let Some(path) = omnictl::locate().filter(|_| !args.force) {
        let version = cx.ui.step("omnictl", "omnictl is there", || {
            let (version, _) = omnictl::version_of(cx, &path)?;
            Ok(Done::ok(version.clone(), format!("{version} at {}", path.display())))
        })?;
        let data = json!({ "path": path, "version": version, "installed": false });
        return Ok(Outcome::done(format!("omnictl {version} is installed")).with(data));
    }
    let place = omnictl::own_place()?;
    let endpoint = cx.settings.omni_endpoint(args.omni_endpoint.as_deref()).map(|found| found.value);
    let sources = Sources { omni: endpoint, mirror: args.mirror.clone(), ..Sources::of(cx) };
    let from = sources.mirror.clone().or(sources.omni.clone()).unwrap_or_else(|| "the release on GitHub".to_owned());
    if cx.dry_run {
        cx.ui.note("install", format!("install {}", place.display()), Status::Planned, format!("from {from}"));
        let step = json!({ "verb": "install", "object": place, "effect": format!("omnictl from {from}"), "undo": "remove the file" });
        return Ok(Outcome::pending("1 change planned, nothing changed").with(json!({ "plan": [step] })));
    }
    cx.ask.consent(&format!("install omnictl at {}", place.display()))?;
    let installed = cx.ui.step("install", "omnictl is downloaded, verified and installed", || {
        let installed = install::install(cx, &sources)?;
        let detail = format!("{} from {}", installed.version, installed.from);
        Ok(Done::changed(installed, detail))
    })?;
    let first = omnictl::locate();
    if first.as_ref() != Some(&installed.path)
        && let Some(first) = first
    {
        cx.ui.note("path", "PATH has another omnictl first", Status::Warning, first.display().to_string());
    }
    let data =
        json!({ "path": installed.path, "version": installed.version, "from": installed.from, "installed": true });
    Ok(Outcome::done(format!("omnictl {} is at {}", installed.version, installed.path.display())).with(data))
}
