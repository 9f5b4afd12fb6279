//! The one loop with effects: carry out the steps of a plan in order, stop at the first failure, and say what was done.

use std::time::SystemTime;

use serde_json::json;

use crate::flow::omni_stack;
use crate::flow::stage::{self, Stage};
use crate::outcome::Outcome;
use crate::task::omni_setup::account;
use domain::clock::rfc3339;
use domain::failure::{Code, Failure, Kind, Missing};
use domain::plan::{Action, KnownAccount, Plan, Step};
use domain::secret::Secret;
use domain::spec::env::EnvFile;
use domain::spec::key;
use runtime::cx::Cx;
use runtime::files;
use runtime::proc;
use runtime::tool::compose::{Compose, SIDECAR};
use runtime::tool::omnictl::{self, Omnictl};
use runtime::tool::{gpg, install};
use runtime::ui::{Done, Status};

/// What became of a plan.
pub enum Applied {
    /// There was nothing to do.
    Nothing,
    /// It was a dry run: this is the task's outcome.
    Planned(Outcome),
    /// Every step was carried out.
    Done,
}

/// What the operator says to a plan.
pub enum Agreed {
    /// There is nothing to do.
    Nothing,
    /// It is a dry run: this is the task's outcome.
    Planned(Outcome),
    /// Carry it out.
    Go,
}

/// Shows the plan; unless it is a dry run, asks `question` once and carries the plan out.
///
/// # Errors
/// When consent is missing, or a step fails; then with the steps that were done before.
pub fn run(cx: &Cx, plan: &Plan, question: &str) -> anyhow::Result<Applied> {
    Ok(match agree(cx, plan, question)? {
        Agreed::Nothing => Applied::Nothing,
        Agreed::Planned(outcome) => Applied::Planned(outcome),
        Agreed::Go => {
            execute(cx, &plan.steps)?;
            Applied::Done
        }
    })
}

/// Shows the plan and, unless it is a dry run, gets consent: `--yes`, or a yes to `question` on a terminal. What destroys
/// takes the owner's name besides: typed, or as `--allow-destroy NAME`.
///
/// # Errors
/// [`Code::MissingInput`] that names the flags when it cannot prompt; [`Code::Interrupted`] when the answer is no.
pub fn agree(cx: &Cx, plan: &Plan, question: &str) -> anyhow::Result<Agreed> {
    if plan.is_empty() {
        return Ok(Agreed::Nothing);
    }
    if cx.dry_run {
        return Ok(Agreed::Planned(planned(cx, plan)));
    }
    consent(cx, plan, question)?;
    Ok(Agreed::Go)
}

/// The outcome of a dry run: the plan, and exit 3 unless it is empty.
pub fn planned(cx: &Cx, plan: &Plan) -> Outcome {
    for step in &plan.steps {
        cx.ui.note(step.verb, title(step), Status::Planned, &step.effect);
        show_destroyed(cx, step);
    }
    let data = json!({ "plan": plan.steps, "allow_destroy": owners(cx, plan) });
    match plan.steps.len() {
        0 => Outcome::done("nothing to change"),
        1 => Outcome::pending("1 change planned, nothing changed"),
        count => Outcome::pending(format!("{count} changes planned, nothing changed")),
    }
    .with(data)
}

/// Installs omnictl when a task needs it and there is none. The plan of a dry run is then this much: the rest of it takes an
/// omnictl to find out.
///
/// # Errors
/// As [`install::on_need`].
pub fn omnictl_on_need(cx: &Cx) -> anyhow::Result<Option<Outcome>> {
    if !cx.dry_run || omnictl::locate().is_some() {
        install::on_need(cx)?;
        return Ok(None);
    }
    let place = omnictl::own_place()?;
    let mut plan = Plan::default();
    let effect = format!("`{}` needs it to find out the rest of its plan", cx.task);
    plan.push("install", place.display().to_string(), effect, "remove the file", Action::ByTask);
    Ok(Some(planned(cx, &plan).next("cargo xtask omnictl-install")))
}

fn show_destroyed(cx: &Cx, step: &Step) {
    step.destroys.iter().for_each(|what| cx.ui.destroys(what));
}

/// Whose machines the plan destroys without `--allow-destroy` of that name.
fn owners<'a>(cx: &Cx, plan: &'a Plan) -> Vec<&'a str> {
    let allowed = |owner: &&str| cx.allow_destroy.iter().any(|name| name == owner);
    plan.owners().into_iter().filter(|owner| !allowed(owner)).collect()
}

fn consent(cx: &Cx, plan: &Plan, question: &str) -> Result<(), Failure> {
    let owners = owners(cx, plan);
    if !cx.ask.interactive() {
        plan.steps.iter().for_each(|step| show_destroyed(cx, step));
        return unasked(cx, &owners, question);
    }
    for step in &plan.steps {
        cx.ui.show(&format!("  {:<8} {}: {}", "plan", title(step), step.effect));
        show_destroyed(cx, step);
    }
    let yes = match owners.as_slice() {
        [] => cx.ask.confirm(&format!("{question}?"), false)?,
        owners => {
            let names = owners.join(" ");
            cx.ask.typed(&format!("{question}? It destroys what is shown above: type `{names}` to go on"), &names)?
        }
    };
    if yes { Ok(()) } else { Err(declined(cx, plan, question)) }
}

/// Without a prompt: `--yes` for any change, and the name of everything whose machines are destroyed.
fn unasked(cx: &Cx, owners: &[&str], question: &str) -> Result<(), Failure> {
    let flag = |name: String, flag: String| Missing { name, flag: Some(flag), env: None, secret: false };
    let mut missing = Vec::new();
    if !cx.ask.yes() {
        missing.push(flag("consent".to_owned(), "--yes".to_owned()));
    }
    for owner in owners {
        missing.push(flag(format!("consent to destroy machines of `{owner}`"), format!("--allow-destroy {owner}")));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let flags: Vec<&str> = missing.iter().filter_map(|each| each.flag.as_deref()).collect();
    let hint = format!("look at the plan with --dry-run, then repeat the command with {}", flags.join(" "));
    let cause = format!("{question}: a run that cannot prompt needs {}; {}", flags.join(" and "), so_far(cx));
    Err(Failure::missing(missing).cause(cause).hint(hint))
}

/// What a no leaves: the steps that were not done, and whatever the task did before it asked.
fn declined(cx: &Cx, plan: &Plan, question: &str) -> Failure {
    let not_done: Vec<String> = plan.steps.iter().map(title).collect();
    Failure::new(Code::Interrupted, format!("{question}: not confirmed")).cause(format!(
        "the answer was no; not done: {}; {}",
        not_done.join(", "),
        so_far(cx)
    ))
}

/// What this run has changed so far, by the steps that it reported.
fn so_far(cx: &Cx) -> String {
    let steps = cx.ui.steps();
    let changed: Vec<&str> =
        steps.iter().filter(|step| step.status == Status::Changed).map(|step| step.title.as_str()).collect();
    if changed.is_empty() { "nothing was changed".to_owned() } else { format!("done before: {}", changed.join(", ")) }
}

/// Carries steps out in order, which the operator has agreed to.
///
/// # Errors
/// The first failure, with the steps that were done before.
pub fn execute(cx: &Cx, steps: &[Step]) -> anyhow::Result<()> {
    for (at, step) in steps.iter().enumerate() {
        if proc::interrupted() {
            return Err(with_done(proc::interruption(&title(step)), &steps[..at]).into());
        }
        cx.ui
            .step(step.verb, title(step), || Ok(Done::changed((), carry_out(cx, step)?)))
            .map_err(|error| with_done(Failure::of(&error), &steps[..at]))?;
    }
    Ok(())
}

fn title(step: &Step) -> String {
    format!("{} {}", step.verb, step.object)
}

/// `failure` with what was done before it.
fn with_done(mut failure: Failure, done: &[Step]) -> Failure {
    if !done.is_empty() {
        let done: Vec<String> = done.iter().map(title).collect();
        let sep = if failure.cause.is_empty() { "" } else { "\n" };
        failure.cause.push_str(&format!("{sep}done before: {}", done.join(", ")));
        if failure.hint.is_empty() {
            failure.hint = "run the same command again: what is done is not done twice".to_owned();
        }
    }
    failure
}

/// A file is replaced as a whole, so that another name of it keeps the old contents.
fn replaced(what: &str, names: u64) -> String {
    let more = "; its other hard link keeps the old contents (`ln -s` makes one that follows)";
    if names > 1 { format!("{what}{more}") } else { what.to_owned() }
}

/// Does it, and says how it went.
fn carry_out(cx: &Cx, step: &Step) -> anyhow::Result<String> {
    match &step.action {
        Action::Write { path, contents, mode } => {
            let names = files::hard_links(path);
            files::write_atomically(path, contents.expose().as_bytes(), *mode)?;
            Ok(replaced("written", names))
        }
        Action::SetEnv { key, value } => {
            let names = files::hard_links(&cx.paths.env());
            set_env(cx, key, value)?;
            Ok(replaced("written", names))
        }
        Action::ProviderKey { id, exists } => {
            let omnictl = Omnictl::find(cx)?;
            let key = provider_key(&omnictl, id, *exists)?;
            key::check_provider_key(key.expose(), id, "as Omni made it", SystemTime::now())?;
            let names = files::hard_links(&cx.paths.env());
            set_env(cx, "OMNI_INFRA_PROVIDER_KEY", &key)?;
            Ok(replaced("made by Omni, stored in docker/.env", names))
        }
        Action::RecreateStack => {
            let compose = Compose::find(cx)?;
            omni_stack::guard(cx, &compose.containers()?)?;
            compose.recreate().map_err(|failure| of_sidecar(cx, failure))?;
            Ok("containers recreated, volumes kept".to_owned())
        }
        Action::ApplyClass { file } => {
            let omnictl = Omnictl::find(cx)?;
            let (_stage, copy) = Stage::of_class(cx, file)?;
            once_more(|| omnictl.apply(&copy)).map_err(|failure| stage::named(cx, failure, &copy, &file.path))?;
            Ok("accepted by Omni".to_owned())
        }
        Action::Sync { file, original, unchanged } => {
            unchanged.iter().try_for_each(|checked| stage::same(cx, checked))?;
            let omnictl = Omnictl::find(cx)?;
            let printed =
                once_more(|| omnictl.sync(file)).map_err(|failure| stage::named(cx, failure, file, original))?;
            let count = printed.lines().filter(|line| line.starts_with("* ")).count();
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
            omni_stack::guard(cx, &compose.containers()?)?;
            compose.up(*provider, *recreate).map_err(|failure| of_sidecar(cx, failure))?;
            Ok("its containers are started".to_owned())
        }
        Action::StackDown => {
            let compose = Compose::find(cx)?;
            omni_stack::guard(cx, &compose.containers()?)?;
            compose.down()?;
            Ok("containers removed, volumes kept".to_owned())
        }
        Action::ServiceAccount { name, role, known } => {
            let known = known.map_or_else(|| account::look(cx, name), Ok)?;
            let (key, renewed) = service_account_key(cx, name, role, known)?;
            let info = key::KeyInfo::parse(key.expose())
                .map_err(|why| Failure::new(Code::Failed, "Omni returned an invalid key").cause(why))?;
            set_env(cx, "OMNI_SERVICE_ACCOUNT_KEY", &key)?;
            let until =
                info.expires.map_or("without an end".to_owned(), |at| format!("valid until {}", &rfc3339(at)[..10]));
            let how = if renewed { "renewed" } else { "created" };
            Ok(format!("{how} by Omni, stored in docker/.env, {until}"))
        }
        Action::ByTask => anyhow::bail!("`{}` carries out this step itself", cx.task),
    }
}

/// A key for the service account, and whether the account was there.
fn service_account_key(cx: &Cx, name: &str, role: &str, known: KnownAccount) -> Result<(Secret, bool), Failure> {
    let omnictl = if known.as_person { Omnictl::as_person(cx)? } else { Omnictl::find(cx)? };
    if !known.exists {
        match omnictl.create_service_account(name, role) {
            Err(failure) if overtaken(&failure) => {}
            made => return made.map(|key| (key, false)),
        }
    }
    Ok((omnictl.renew_service_account(name)?, true))
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
    if failure.kind == Kind::Sidecar { omni_stack::explain(cx, SIDECAR, failure) } else { failure }
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
