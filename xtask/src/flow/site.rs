//! The site's own settings of Omni: `docker/site.yaml`, which `OMNI_SITE_FILE` in `docker/.env` names.

use std::path::{Path, PathBuf};

use crate::flow::omni_stack::host_path;
use crate::flow::project_files;
use crate::prelude::*;
use check::site;
use domain::saved_plan::hash;
use domain::secret::Secret;
use domain::status::docker::Container;
use runtime::files;
use runtime::tool::compose::OMNI;
use yaml::Finding;

const KEY: &str = "OMNI_SITE_FILE";
/// State key: the settings that Omni was started with.
const STATE: &str = "omni_site";

/// Returns the file that `docker/.env` names, otherwise the one at the default path if it exists.
pub fn path(cx: &Cx) -> Option<PathBuf> {
    configured_path(cx).or_else(|| Some(cx.paths.site()).filter(|path| path.is_file()))
}

fn configured_path(cx: &Cx) -> Option<PathBuf> {
    cx.settings.env_file.get(KEY).filter(|name| !name.is_empty()).map(|name| host_path(cx, name))
}

/// Reads the settings, if there are any.
///
/// # Errors
/// Fails with [`Code::Prerequisite`] if `docker/.env` names a file that does not exist, or if it cannot be read.
pub fn read(cx: &Cx) -> Result<Option<String>, Failure> {
    let Some(path) = path(cx) else { return Ok(None) };
    let text = files::read_optional_text(&path)?;
    text.map(Some).ok_or_else(|| {
        let shown = cx.paths.show(&path);
        Failure::new(Code::Prerequisite, format!("{KEY} in docker/.env refers to `{shown}`, which does not exist"))
            .cause("without its settings Omni could start with a different store or different login rules")
            .hint(format!("restore `{shown}`; to run without it, clear {KEY} in docker/.env"))
    })
}

/// Checks the settings against the Omni version that this compose file pins; `None` if there are no settings.
///
/// # Errors
/// See [`read`].
pub fn findings(cx: &Cx, compose: &str) -> Result<Option<Vec<Finding>>, Failure> {
    let Some((path, text)) = path(cx).zip(read(cx)?) else { return Ok(None) };
    Ok(Some(site::check(&cx.paths.show(&path), &text, compose, &|name| is_mounted(cx, name))))
}

/// Returns true if a path in Omni's container exists on this host.
fn is_mounted(cx: &Cx, name: &str) -> bool {
    if name == site::BACKUPS {
        return cx.settings.env_file.get("OMNI_ETCD_BACKUP_DIR").is_some_and(|dir| host_path(cx, dir).is_dir());
    }
    let own = name.strip_prefix(site::FILES).filter(|rest| !rest.split('/').any(|part| part == ".."));
    ["/tls.crt", "/tls.key", "/omni.asc"].contains(&name)
        || own.is_some_and(|rest| cx.paths.site_files().join(rest).is_file())
}

/// Runs [`refuse_invalid`], for the Omni that `docker/compose.yaml` pins, as a step of a task.
///
/// # Errors
/// See [`refuse_invalid`].
pub fn check_step(cx: &Cx) -> anyhow::Result<()> {
    if path(cx).is_none() {
        return Ok(());
    }
    cx.ui.step("site", "Check the site's own settings of Omni", || {
        let compose = files::read_optional_text(&cx.paths.compose())?.unwrap_or_default();
        Ok(StepResult::ok((), refuse_invalid(cx, &compose)?.unwrap_or_default()))
    })
}

/// Refuses settings with which Omni would not start, or that would not have the intended effect. Returns a summary of the check.
///
/// # Errors
/// Fails with [`Code::Invalid`] and every error's position.
pub fn refuse_invalid(cx: &Cx, compose: &str) -> Result<Option<String>, Failure> {
    let Some(found) = findings(cx, compose)? else { return Ok(None) };
    let errors: Vec<&Finding> = found.iter().filter(|finding| finding.is_error()).collect();
    let Some(first) = errors.first() else {
        return Ok(Some(found.first().map_or("docker/site.yaml".to_owned(), |each| each.message.clone())));
    };
    let lines: Vec<String> =
        errors.iter().map(|each| format!("{}:{}: {}", each.place.line, each.place.column, each.message)).collect();
    Err(Failure::new(Code::Invalid, format!("`{}` is not valid for this stack", first.place.file))
        .cause(lines.join("\n"))
        .hint(format!("line {}: {}", first.place.line, first.fix))
        .next("cargo xtask doctor --area files"))
}

/// Returns why the Omni that `docker/compose.yaml` pins would refuse these settings; `None` if it would not.
///
/// # Errors
/// Returns an error if `docker/compose.yaml` cannot be read.
pub fn first_error(cx: &Cx, text: &str) -> Result<Option<Finding>, Failure> {
    let compose = files::read_optional_text(&cx.paths.compose())?.unwrap_or_default();
    Ok(site::check("docker/site.yaml", text, &compose, &|_| true).into_iter().find(Finding::is_error))
}

/// Names the file in `docker/.env`, where compose finds it as well; `None` if there is no file or it is named already.
pub fn name_existing(cx: &Cx) -> Option<Change<'static>> {
    name_file(cx).filter(|_| cx.paths.site().is_file())
}

/// Like [`name_existing`], for a file that is about to be written.
pub fn name_file(cx: &Cx) -> Option<Change<'static>> {
    let effect = "Omni reads docker/site.yaml";
    let name = || project_files::set_env_key(cx, KEY, Secret::plain("./site.yaml"), effect, "clear the value");
    configured_path(cx).is_none().then(name)
}

/// Returns the changes that give a new Omni the settings of the example, and name the file.
///
/// # Errors
/// Returns an error if the example cannot be read.
pub fn initial_changes(cx: &Cx, first: bool) -> Result<Vec<Change<'static>>, Failure> {
    let (path, example) = (cx.paths.site(), cx.paths.site().with_extension("yaml.example"));
    if !first || configured_path(cx).is_some() || path.exists() {
        return Ok(project_files::protect(path, "docker/site.yaml").into_iter().chain(name_existing(cx)).collect());
    }
    let Some(text) = files::read_optional_text(&example)? else { return Ok(Vec::new()) };
    // If this version of Omni cannot read the settings, none are written.
    if first_error(cx, &text)?.is_some() {
        return Ok(Vec::new());
    }
    let effect = "from the example; each machine joins with its own token";
    let contents = (Secret::plain(text), files::PRIVATE);
    let file = project_files::write("create", (path, "docker/site.yaml"), contents, effect, "remove the file");
    Ok(std::iter::once(file).chain(name_file(cx)).collect())
}

/// Returns true if Omni's container was started with other settings than the file has now: compose does not compare the contents
/// of a mounted file.
pub fn has_changed(cx: &Cx, containers: &[Container]) -> Result<bool, Failure> {
    let Some(path) = configured_path(cx) else { return Ok(false) };
    let there = containers.iter().any(|container| container.service == OMNI);
    Ok(there && cx.reload_state()?.get(STATE) != fingerprint(&path))
}

/// Records the settings that Omni is started with.
///
/// # Errors
/// Returns an error if the state cannot be written.
pub fn record_start(cx: &Cx) -> Result<(), Failure> {
    // This same run may have written `docker/.env`.
    let path = path(cx).filter(|path| path.is_file());
    let (mut state, print) = (cx.reload_state()?, path.as_deref().and_then(fingerprint));
    if state.get(STATE) == print || (print.is_none() && state.get(STATE).is_none()) {
        return Ok(());
    }
    state.set(STATE, print.unwrap_or_default());
    cx.save_state(state)
}

/// Hash of a file's contents. It does not depend on the compiler that built this program.
fn fingerprint(path: &Path) -> Option<String> {
    files::read_optional(path).ok()?.map(|bytes| hash(&bytes))
}
