//! `omni-setup`: brings Omni up, from values that it asks for once.
//!
//! 1. Docker, its compose plugin and curl are there.
//! 2. Every value, from flags, environment, `docker/.env`, and on a terminal from the operator; what stays missing is
//!    named. The account UUID is made once and never changed.
//! 3. The values can be true: address, certificate with its chain and key, issuer, user; what Omni keeps is on mounts;
//!    a key that exists can be used.
//! 4. `docker/.env` (0600), the key of Omni's store if there is none, and the stack.
//! 5. The containers run, and Omni answers at the address that machines use.
//! 6. Omni's licence is put before the operator. It is never accepted here.
//! 7. If asked for, a service account for the tasks; its place and its end are told.
//! 8. The state is brought up to date.

pub mod account;
mod values;

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

pub use values::is_uuid;
use values::{Values, gather};

use super::doctor;
use super::stack_up::HEALTH;
use crate::cli::OmniSetup;
use crate::flow::apply::{self, Agreed};
use crate::flow::omni_stack::{self, Place};
use crate::outcome::Outcome;
use check::certificate;
use check::diagnosis::{Diagnosis, State};
use check::values::{initial_user, issuer, lan_address};
use domain::clock::rfc3339;
use domain::failure::{Code, Failure, Kind};
use domain::plan::{Action, Plan};
use domain::secret::Secret;
use domain::spec::env::EnvFile;
use domain::spec::store_key;
use runtime::cx::Cx;
use runtime::files;
use runtime::tool::compose::Compose;
use runtime::tool::docker::{Docker, STORE};
use runtime::tool::omnictl::Omnictl;
use runtime::tool::{Tool, gpg};
use runtime::ui::{Check, Done, Status};

pub fn run(args: &OmniSetup, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let compose = programs(cx)?;
    let store = stored(cx)?;
    let example = example(cx)?;
    let values = gather(args, cx, &example, store == Some(true))?;
    true_values(cx, &compose, &values, store)?;
    let mut plan = plan(cx, &compose, &values, &example)?;
    let stack_steps = plan.steps.len();
    if let Some(role) = &args.service_account {
        account::plan(cx, &args.service_account_name, role, plan.is_empty(), &mut plan)?;
    }
    match apply::agree(cx, &plan, &format!("Set up Omni at {} as shown", values.endpoint()))? {
        Agreed::Planned(outcome) => return Ok(outcome),
        Agreed::Nothing => cx.ui.note("changes", "nothing to change", Status::Skipped, "all is set up already"),
        Agreed::Go => {}
    }
    let (stack, account) = plan.steps.split_at(stack_steps);
    apply::execute(cx, stack)?;
    prove(cx, &compose, &values)?;
    let licence = licence(cx, &values.endpoint(), !account.is_empty())?;
    remember(cx, &values)?;
    apply::execute(cx, account)?;
    let account = match &args.service_account {
        Some(role) => account::report(cx, &args.service_account_name, role, !account.is_empty())?,
        None => Value::Null,
    };
    let data = json!({
        "omni_endpoint": values.endpoint(), "account_uuid": values.get("OMNI_ACCOUNT_UUID"), "changed": !plan.is_empty(),
        "licence": licence, "service_account": account,
    });
    let mut outcome = Outcome::done(format!("Omni runs at {}", values.endpoint())).with(data);
    if licence != "accepted" {
        outcome = outcome.next(format!("read Omni's licence at {}/eula, and decide", values.endpoint()));
    }
    Ok(outcome.next("cargo xtask omni-verify").next("cargo xtask tsidp-verify").next("cargo xtask provider-setup"))
}

/// Step 1.
fn programs(cx: &Cx) -> anyhow::Result<Compose<'_>> {
    cx.ui.step("curl", "curl is installed", || Ok(Done::ok((), Tool::Curl.find()?.display().to_string())))?;
    let compose = cx.ui.step("compose", "docker has a compose plugin that is new enough", || {
        let compose = Compose::find(cx)?;
        let version = compose.version()?;
        if doctor::compose_too_old(&version) {
            return Err(Failure::new(Code::Prerequisite, format!("compose {version} is older than 2.23.1"))
                .cause("the compose file holds the contents of files, which older ones do not understand")
                .hint("install docker-compose-v2 (Ubuntu) or docker-compose (Debian 13), or follow docs.docker.com/compose/install")
                .into());
        }
        Ok(Done::ok(compose, version))
    })?;
    cx.ui.step("engine", "the Docker engine answers", || Ok(Done::ok((), Docker::find(cx)?.engine()?)))?;
    for path in [cx.paths.env(), cx.paths.store_key(), cx.paths.state()] {
        files::check_writable(&path)?;
    }
    Ok(compose)
}

/// Whether Omni has a store already; `None` when docker does not say.
fn stored(cx: &Cx) -> anyhow::Result<Option<bool>> {
    cx.ui.step("store", "whether Omni ran here before", || {
        Ok(match Docker::find(cx)?.volume(STORE) {
            Ok(true) => Done::ok(Some(true), format!("the volume {STORE} exists")),
            Ok(false) => Done::ok(Some(false), "no, this is the first time"),
            Err(failure) => Done::warning(None, format!("not known: {failure}")),
        })
    })
}

fn example(cx: &Cx) -> anyhow::Result<EnvFile> {
    let path = cx.paths.env_example();
    let text = cx.read(&path, "restore it from the repository")?;
    Ok(EnvFile::parse(&cx.paths.show(&path), &String::from_utf8_lossy(&text))?)
}

/// Step 3, side by side.
fn true_values(cx: &Cx, compose: &Compose<'_>, values: &Values, store: Option<bool>) -> anyhow::Result<()> {
    let checks = vec![
        Check::new("lan", "machines can reach this host's LAN address", || {
            done("--lan-address or OMNI_LAN_ADDRESS", lan(values.get("OMNI_LAN_ADDRESS"), &values.host()))
        }),
        Check::new("certificate", "the certificate is for Omni's name, whole and in date", || {
            let (cert, key) = (values.get("OMNI_TLS_CERT"), values.get("OMNI_TLS_KEY"));
            let flags = "--tls-cert or OMNI_TLS_CERT, --tls-key or OMNI_TLS_KEY";
            done(flags, certificate_of(cx, &values.host(), cert, Some(key)))
        }),
        Check::new("issuer", "the issuer is written as tsidp writes it", || {
            done("--issuer or OIDC_ISSUER_URL", issuer(values.get("OIDC_ISSUER_URL"), Some(values.get("OMNI_DOMAIN"))))
        }),
        Check::new("user", "the first administrator is named as tsidp names them", || {
            done(
                "--initial-user or OMNI_INITIAL_USER",
                initial_user(values.get("OMNI_INITIAL_USER"), Some(values.get("OIDC_ISSUER_URL"))),
            )
        }),
        Check::new("key", "the key of Omni's store", || store_key_of(cx, store)),
        Check::new("data", "Omni's data is on mounts", || {
            Ok(Done::ok((), omni_stack::guard(cx, &compose.containers()?)?))
        }),
    ];
    let mut first = None;
    for result in cx.ui.side_by_side("checking the values", checks) {
        if let Err(error) = result {
            first = first.or(Some(error));
        }
    }
    first.map_or(Ok(()), Err)
}

/// A verdict on the value of `flags` as the end of a check.
fn done(flags: &str, verdict: Diagnosis) -> anyhow::Result<Done<()>> {
    Ok(match verdict.state {
        State::Ok => Done::ok((), verdict.detail),
        State::Warning | State::Unknown => Done::warning((), verdict.detail),
        State::Skipped => Done::skipped((), verdict.detail),
        State::Failed => {
            let fix = verdict.fix.map_or(String::new(), |fix| format!("{fix}; "));
            return Err(Failure::new(Code::Usage, verdict.detail).hint(format!("{fix}give it as {flags}")).into());
        }
    })
}

fn lan(address: &str, host: &str) -> Diagnosis {
    let local = |text: &str| text == "localhost" || text.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if local(address) && local(host) {
        return Diagnosis::warning("a loopback address: a trial on one host, which no machine can join");
    }
    lan_address(address)
}

/// The certificate for `host`, and its private key once that is known.
fn certificate_of(cx: &Cx, host: &str, cert: &str, key: Option<&str>) -> Diagnosis {
    let read = |path: &str| match files::read_text_if_there(&omni_stack::host_path(cx, path)) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(Diagnosis::failed(format!("{path} does not exist"))),
        Err(_) if omni_stack::host_path(cx, path).is_dir() => Err(Diagnosis::failed(format!("{path} is a directory"))),
        Err(_) if files::is_no_file(&omni_stack::host_path(cx, path)) => {
            Err(Diagnosis::failed(format!("{path} is no file")))
        }
        Err(failure) if failure.kind != Kind::Permission => {
            let fix =
                "give it in PEM: `openssl x509 -inform der -in FILE`, or `openssl pkcs12 -in FILE -nodes`, prints that";
            Err(Diagnosis::failed(failure.message).fix(fix))
        }
        // The engine reads it as root.
        Err(_) => Err(Diagnosis::unknown(format!("{path} cannot be read by this user, so nothing of it was checked"))),
    };
    let (text, key_text) = match (read(cert), key.map(read).transpose()) {
        (Ok(text), Ok(key_text)) => (text, key_text),
        (Err(verdict), Ok(_)) | (Ok(_), Err(verdict)) => return verdict,
        (Err(first), Err(second)) => return first.and(second),
    };
    let chain = match certificate::read_pem(&text) {
        Ok(chain) => chain,
        Err(why) => return Diagnosis::failed(format!("{cert}: {why}")),
    };
    let roots = omni_stack::roots(cx.settings.ca_file(None).map(|found| found.value).as_deref());
    let found = doctor::judged(&certificate::judge(&chain, host, roots.as_deref(), now()));
    let (Some(leaf), Some(key), Some(key_text)) = (chain.first(), key, key_text) else { return found };
    match certificate::key_fits(leaf, &key_text) {
        Ok(Some(false)) => found.and(Diagnosis::failed(format!("{key} is not the private key of {cert}"))),
        Err(why) => found.and(Diagnosis::failed(format!("{key}: {why}"))),
        Ok(_) => found,
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A key that exists is proved; one that does not can be made only for a store that does not.
fn store_key_of(cx: &Cx, store: Option<bool>) -> anyhow::Result<Done<()>> {
    let path = cx.paths.store_key();
    let Some(text) = files::read_text_if_there(&path)? else {
        if store == Some(true) {
            return Err(Failure::new(Code::Conflict, "docker/omni.asc does not exist, and Omni has a store")
                .cause("the store was encrypted with that key: no other one opens it")
                .hint("restore docker/omni.asc from your backup; if there is nothing in the store to keep, remove it: `docker volume rm omni-scale_omni-etcd omni-scale_omni-sqlite`")
                .into());
        }
        Tool::Gpg.find()?;
        return Ok(Done::ok((), "none yet; gpg can make one"));
    };
    store_key::judge(&text, now()).map_err(|unfit| {
        Failure::new(Code::Invalid, "Omni cannot use docker/omni.asc").cause(unfit.why).hint(unfit.fix)
    })?;
    if Tool::Gpg.find().is_err() {
        return Ok(Done::warning((), "it looks right; gpg is not installed to prove it"));
    }
    gpg::prove_store_key(cx, &Secret::new(text))?;
    Ok(Done::ok((), "proved by decrypting without a question"))
}

/// Step 4, as a plan.
fn plan(cx: &Cx, compose: &Compose<'_>, values: &Values, example: &EnvFile) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    env_steps(cx, values, example, &mut plan);
    let key = cx.paths.store_key();
    match files::mode(&key) {
        None => {
            let user = values.get("OMNI_INITIAL_USER").to_owned();
            let effect = "the key that Omni's store is encrypted with: no passphrase, an encryption subkey, no end";
            let action = Action::StoreKey { path: key, user };
            plan.push("create", "docker/omni.asc", effect, "remove the file, before Omni's first start", action);
        }
        Some(mode) if mode & 0o077 != 0 => {
            let effect = format!("mode 0600 instead of {mode:04o}");
            plan.push("protect", "docker/omni.asc", effect, "nothing to undo", Action::Protect { path: key });
        }
        Some(_) => {}
    }
    let containers = compose.containers()?;
    let provider = omni_stack::with_provider(cx).is_ok();
    let well = omni_stack::wanted(provider)
        .iter()
        .all(|service| containers.iter().any(|container| container.service == *service && container.well()));
    if !plan.is_empty() || !well {
        // What runs with older values is recreated together, since it shares one network.
        let recreate = (!containers.is_empty() && !plan.is_empty()) || omni_stack::out_of_step(&containers);
        let what = if recreate { "all containers recreated together, volumes kept" } else { "its containers run" };
        let effect = format!("{what}{}", omni_stack::moved(cx, &containers));
        plan.push("start", "the stack", effect, "cargo xtask stack-down", Action::StackUp { provider, recreate });
    }
    Ok(plan)
}

fn env_steps(cx: &Cx, values: &Values, example: &EnvFile, plan: &mut Plan) {
    let path = cx.paths.env();
    let Some(mode) = files::mode(&path) else {
        let mut file = example.clone();
        for (key, value) in values.all() {
            file.set(key, value.expose());
        }
        let contents = Secret::plain(file.text());
        let names: Vec<&str> = values.all().map(|(key, _)| key).collect();
        let action = Action::Write { path, contents, mode: files::PRIVATE };
        plan.push(
            "create",
            "docker/.env",
            format!("from its example, with {}", names.join(", ")),
            "remove the file",
            action,
        );
        return;
    };
    let env = &cx.settings.env_file;
    let before = plan.steps.len();
    for (key, value) in values.all() {
        if env.get(key) != Some(value.expose()) {
            let action = Action::SetEnv { key, value: value.clone() };
            plan.push("set", format!("{key} in docker/.env"), "the stack uses it", "restore the line", action);
        }
    }
    // Setting a value writes the file with the right mode.
    if mode & 0o077 != 0 && plan.steps.len() == before {
        let effect = format!("mode 0600 instead of {mode:04o}");
        plan.push("protect", "docker/.env", effect, "nothing to undo", Action::Protect { path });
    }
}

/// Step 5.
fn prove(cx: &Cx, compose: &Compose<'_>, values: &Values) -> anyhow::Result<()> {
    let services = omni_stack::wanted(false);
    cx.ui.step("containers", "the sidecar and Omni run", || {
        omni_stack::wait_until_well(cx, compose, &services, cx.limit(HEALTH))
    })?;
    let connect = values.host().parse::<IpAddr>().is_err().then(|| values.get("OMNI_LAN_ADDRESS").to_owned());
    let ca_file = cx.settings.ca_file(None).map(|found| found.value);
    let place = Place { endpoint: values.endpoint(), connect, ca_file };
    cx.ui.step("omni", "Omni answers where machines ask", || {
        omni_stack::wait_for_omni(cx, compose, &place, cx.limit(HEALTH))
    })
}

/// Step 6. Looks whether it is accepted, as far as somebody is logged in; puts the question; answers nothing.
fn licence(cx: &Cx, endpoint: &str, needed: bool) -> anyhow::Result<&'static str> {
    let asked = Omnictl::find(cx).and_then(|omnictl| omnictl.get("sysversions", "current"));
    let state = match asked {
        Ok(_) => "accepted",
        Err(failure) if failure.kind == Kind::Licence => "open",
        Err(_) => "unknown",
    };
    let title = "Omni's licence (EULA)";
    if state == "accepted" {
        cx.ui.note("licence", title, Status::Ok, "accepted: Omni answers API calls");
        return Ok(state);
    }
    let page = format!("{endpoint}/eula");
    let detail = match state {
        "open" => format!("not accepted yet: until a person does so at {page}, Omni answers no API call"),
        _ => format!("whether it is accepted is not known here; a person reads and accepts it at {page}"),
    };
    cx.ui.note("licence", title, Status::Warning, detail);
    if cx.ask.interactive() {
        cx.ui.say(&format!(
            "  Omni is free for home labs and tests; production needs a licence of Sidero Labs. Read it at {page}."
        ));
        cx.ui.say("  This task cannot accept it, and does not want to: that is between you and them.");
    }
    if needed && cx.ask.interactive() {
        let question = "Is it accepted? The service account is created next, which takes that";
        if !cx.ask.confirm(question, true)? {
            return Err(Failure::new(Code::Interrupted, "the service account was not created")
                .cause("the answer was no; Omni is set up and stays as it is")
                .hint("run the same command again when the licence is accepted")
                .into());
        }
    }
    Ok(state)
}

/// Step 8.
fn remember(cx: &Cx, values: &Values) -> anyhow::Result<()> {
    let mut state = cx.fresh_state()?;
    state.set("omni_configured", true);
    state.set("omni_endpoint", values.endpoint());
    if state.get("omni_configured_at").is_none() {
        state.set("omni_configured_at", rfc3339(SystemTime::now()));
    }
    cx.save_state(state)?;
    Ok(())
}
