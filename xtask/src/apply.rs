//! The one loop with effects: carry out the steps of a plan in order, stop at the first failure, and say what was done.

use std::time::SystemTime;

use serde_json::json;

use crate::clock::rfc3339;
use crate::cx::Cx;
use crate::failure::{Code, Failure, Kind};
use crate::files;
use crate::plan::{Action, Plan, Step};
use crate::proc;
use crate::secret::Secret;
use crate::spec::env::EnvFile;
use crate::spec::key;
use crate::task::{Outcome, hub};
use crate::tool::compose::{Compose, SIDECAR};
use crate::tool::gpg;
use crate::tool::omnictl::Omnictl;
use crate::ui::{Done, Status};

/// What became of a plan.
pub enum Applied {
    /// There was nothing to do.
    Nothing,
    /// It was a dry run: this is the task's outcome.
    Planned(Outcome),
    /// Every step was carried out.
    Done,
}

/// Shows the plan; unless it is a dry run, asks for consent to `what` and carries it out.
///
/// # Errors
/// When consent is missing, or a step fails; then with the steps that were done before.
pub fn run(cx: &Cx, plan: &Plan, what: &str) -> anyhow::Result<Applied> {
    if plan.is_empty() {
        return Ok(Applied::Nothing);
    }
    if cx.dry_run {
        for step in &plan.steps {
            cx.ui.note(step.verb, title(step), Status::Planned, &step.effect);
        }
        let count = plan.steps.len();
        let summary = format!("{count} {} planned, nothing changed", if count == 1 { "change" } else { "changes" });
        return Ok(Applied::Planned(Outcome::pending(summary).with(json!({ "plan": plan.steps }))));
    }
    if cx.ask.interactive() {
        for step in &plan.steps {
            cx.ui.say(&format!("  {:<8} {}: {}", "plan", title(step), step.effect));
        }
    }
    cx.ask.consent(what)?;
    for (at, step) in plan.steps.iter().enumerate() {
        if proc::interrupted() {
            return Err(with_done(proc::interruption(&title(step)), plan, at).into());
        }
        cx.ui
            .step(step.verb, title(step), || Ok(Done::changed((), carry_out(cx, step)?)))
            .map_err(|error| with_done(Failure::of(&error), plan, at))?;
    }
    Ok(Applied::Done)
}

fn title(step: &Step) -> String {
    format!("{} {}", step.verb, step.object)
}

/// `failure` with what the plan did before it.
fn with_done(mut failure: Failure, plan: &Plan, failed: usize) -> Failure {
    if failed > 0 {
        let done: Vec<String> = plan.steps[..failed].iter().map(title).collect();
        let sep = if failure.cause.is_empty() { "" } else { "\n" };
        failure.cause.push_str(&format!("{sep}done before: {}", done.join(", ")));
        if failure.hint.is_empty() {
            failure.hint = "run the same command again: what is done is not done twice".to_owned();
        }
    }
    failure
}

/// Does it, and says how it went.
fn carry_out(cx: &Cx, step: &Step) -> anyhow::Result<String> {
    match &step.action {
        Action::Write { path, contents, mode } => {
            files::write_atomically(path, contents.expose().as_bytes(), *mode)?;
            Ok("written".to_owned())
        }
        Action::SetEnv { key, value } => {
            set_env(cx, key, value)?;
            Ok("set".to_owned())
        }
        Action::ProviderKey { id, exists } => {
            let omnictl = Omnictl::find(cx)?;
            let key = provider_key(&omnictl, id, *exists)?;
            key::check_provider_key(key.expose(), id, "as Omni made it", SystemTime::now())?;
            set_env(cx, "OMNI_INFRA_PROVIDER_KEY", &key)?;
            Ok("made by Omni, stored in docker/.env".to_owned())
        }
        Action::RecreateStack => {
            let compose = Compose::find(cx)?;
            hub::guard(cx, &compose.containers()?)?;
            compose.recreate().map_err(|failure| of_sidecar(cx, failure))?;
            Ok("containers made anew, volumes kept".to_owned())
        }
        Action::ApplyClass { file } => {
            let omnictl = Omnictl::find(cx)?;
            once_more(|| omnictl.apply(file))?;
            Ok("taken by Omni".to_owned())
        }
        Action::Sync { file } => {
            let omnictl = Omnictl::find(cx)?;
            let said = once_more(|| omnictl.sync(file))?;
            let count = said.lines().filter(|line| line.starts_with("* ")).count();
            Ok(format!("{count} {} made", if count == 1 { "change" } else { "changes" }))
        }
        Action::StoreKey { path, user } => {
            let key = gpg::make_store_key(cx, user)?;
            files::write_new(path, key.expose().as_bytes(), files::PRIVATE)?;
            Ok("made, and proved by decrypting without a question".to_owned())
        }
        Action::Protect { path } => {
            files::protect(path)?;
            Ok("0600".to_owned())
        }
        Action::StackUp { provider, recreate } => {
            let compose = Compose::find(cx)?;
            // What the steps before wrote is complete only now.
            compose.check()?;
            hub::guard(cx, &compose.containers()?)?;
            compose.up(*provider, *recreate).map_err(|failure| of_sidecar(cx, failure))?;
            Ok("its containers are started".to_owned())
        }
        Action::StackDown => {
            let compose = Compose::find(cx)?;
            hub::guard(cx, &compose.containers()?)?;
            compose.down()?;
            Ok("containers removed, volumes kept".to_owned())
        }
        Action::ServiceAccount { name, role, exists, as_person } => {
            let omnictl = if *as_person { Omnictl::as_person(cx)? } else { Omnictl::find(cx)? };
            let made =
                if *exists { omnictl.renew_service_account(name) } else { omnictl.create_service_account(name, role) };
            let key = match made {
                Err(failure) if !exists && overtaken(&failure) => omnictl.renew_service_account(name)?,
                other => other?,
            };
            let info = key::KeyInfo::parse(key.expose())
                .map_err(|why| Failure::new(Code::Failed, "Omni made a key that is none").cause(why))?;
            set_env(cx, "OMNI_SERVICE_ACCOUNT_KEY", &key)?;
            let until =
                info.expires.map_or("without an end".to_owned(), |at| format!("good until {}", &rfc3339(at)[..10]));
            Ok(format!("made by Omni, stored in docker/.env, {until}"))
        }
    }
}

/// Whether somebody made the same since we looked. A run that was killed leaves its omnictl alive: nothing ends it, and
/// it goes on to its end.
fn overtaken(failure: &Failure) -> bool {
    failure.code == Code::Conflict
}

/// Does again, once, what was overtaken: it finds what is there now and goes on from it.
fn once_more<T>(work: impl Fn() -> Result<T, Failure>) -> Result<T, Failure> {
    match work() {
        Err(failure) if overtaken(&failure) => work(),
        other => other,
    }
}

/// A key for the provider `id`, whatever is there of it: `infraprovider create` makes first the provider and then its
/// account, so that one may be there without the other (omni v1.9.3 `client/pkg/omnictl/infraprovider.go`).
fn provider_key(omnictl: &Omnictl<'_>, id: &str, exists: bool) -> Result<Secret, Failure> {
    let made = match exists {
        true => omnictl.renew_provider_key(id),
        false => match omnictl.create_provider(id) {
            Err(failure) if overtaken(&failure) => omnictl.renew_provider_key(id),
            other => return other,
        },
    };
    match made {
        Err(failure) if failure.code == Code::NotFound => match omnictl.create_provider_account(id) {
            Err(failure) if overtaken(&failure) => omnictl.renew_provider_key(id),
            other => other,
        },
        other => other,
    }
}

/// A stack that did not start for its sidecar: the sidecar's log says why.
fn of_sidecar(cx: &Cx, failure: Failure) -> Failure {
    if failure.kind == Kind::Sidecar { hub::explain(cx, SIDECAR, failure) } else { failure }
}

/// Sets one key of `docker/.env`, read afresh: the file may have changed since the task began.
fn set_env(cx: &Cx, key: &str, value: &Secret) -> Result<(), Failure> {
    let path = cx.paths.env();
    let text = files::read_text_if_there(&path)?.ok_or_else(|| {
        Failure::new(Code::NotFound, "`docker/.env` does not exist").hint("make it from docker/.env.example")
    })?;
    let mut env = EnvFile::parse(&cx.paths.show(&path), &text)?;
    env.set(key, value.expose());
    files::write_atomically(&path, env.text().as_bytes(), files::PRIVATE)
}
