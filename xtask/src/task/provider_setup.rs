//! `provider-setup`: connects Omni to Proxmox.
//!
//! 1. The programs are there; Omni answers as Omni, Proxmox answers the provider's login.
//! 2. `docker/config.yaml` is made from its example, if it does not exist.
//! 3. The provider's key is in `docker/.env`, and is a key with which this provider can register.
//! 4. The stack is made anew, all containers together.
//! 5. The registration is proved by Omni, or by the provider's own log when nobody is logged in to Omni.
//! 6. The state is brought up to date.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{provider_verify, proxmox_inventory};
use crate::cli::ProviderSetup;
use crate::flow::apply::{self, Applied};
use crate::flow::omni_stack;
use crate::outcome::Outcome;
use check::values;
use domain::clock::rfc3339;
use domain::failure::{Code, Failure, Missing};
use domain::plan::{Action, Plan};
use domain::secret::Secret;
use domain::spec::config::{self, ProviderConfig};
use domain::spec::{key, name};
use domain::words::count;
use runtime::answers::Answers;
use runtime::cx::Cx;
use runtime::files;
use runtime::settings::{Lookup, PROVIDER_ID};
use runtime::tool::compose::Compose;
use runtime::tool::omnictl::{self, Omnictl};
use runtime::tool::proxmox::{Login, Proxmox, Token};
use runtime::tool::{Tool, omni};
use runtime::ui::{Check, Done, Status};

/// From a recreated container to the first heartbeat takes seconds; pulling its image may have taken longer, before.
const REGISTRATION: Duration = Duration::from_secs(120);

/// What the task works with, once everything is known.
struct Wanted {
    id: String,
    omni: String,
    proxmox: Proxmox,
    /// Whether `docker/config.yaml` is there already.
    configured: bool,
    ca_file: Option<String>,
}

/// Where the provider's key comes from.
enum Key {
    /// It stands in `docker/.env`.
    Stored,
    /// It was given, and must be stored.
    Given(Secret),
    /// Omni makes it; the provider may exist there already.
    Made { exists: bool },
}

pub fn run(args: &ProviderSetup, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    programs(cx)?;
    if omnictl::login(cx).is_some()
        && let Some(planned) = apply::omnictl_on_need(cx)?
    {
        return Ok(planned);
    }
    let wanted = wanted(args, cx)?;
    let key = far_ends(cx, &wanted)?;
    let plan = plan(cx, &wanted, &key)?;
    // What Omni heard last comes from the container that is about to be replaced.
    let before = match Omnictl::find(cx) {
        Ok(omnictl) if !plan.is_empty() => provider_verify::heartbeat(&omnictl, &wanted.id)?,
        _ => None,
    };
    match apply::run(cx, &plan, &format!("Set up the provider `{}` as shown", wanted.id))? {
        Applied::Planned(outcome) => return Ok(outcome),
        Applied::Nothing => cx.ui.note("changes", "nothing to change", Status::Skipped, "all is set up already"),
        Applied::Done => {}
    }
    let health = prove(cx, &wanted.id, before.as_ref())?;
    remember(cx, &wanted, health)?;
    let summary = format!("the provider `{}` connects {} to {}", wanted.id, wanted.omni, wanted.proxmox.url);
    let data = json!({
        "provider_id": wanted.id, "omni_endpoint": wanted.omni, "proxmox_endpoint": wanted.proxmox.url,
        "changed": !plan.is_empty(),
    });
    let next = ["cargo xtask provider-verify", "cargo xtask proxmox-audit", "cargo xtask machineclass-create"];
    Ok(next.into_iter().fold(Outcome::done(summary).with(data), Outcome::next))
}

/// Step 1, first half: what must be installed, before anything is asked of anyone.
fn programs(cx: &Cx) -> anyhow::Result<()> {
    cx.ui.step("curl", "curl is installed", || Ok(Done::ok((), Tool::Curl.find()?.display().to_string())))?;
    cx.ui.step("compose", "docker has the compose plugin", || Ok(Done::ok((), Compose::find(cx)?.version()?)))?;
    for path in [cx.paths.env(), cx.paths.config(), cx.paths.state()] {
        files::check_writable(&path)?;
    }
    if files::read_if_there(&cx.paths.env())?.is_none() {
        return Err(Failure::new(Code::Prerequisite, "`docker/.env` does not exist")
            .cause("the stack has no domain, no identity provider and no tailnet key yet")
            .hint("copy docker/.env.example to docker/.env and fill it in; docker/README.md goes through it")
            .into());
    }
    Ok(())
}

/// All values, from flags, environment, files and, on a terminal, from the operator.
fn wanted(args: &ProviderSetup, cx: &Cx) -> anyhow::Result<Wanted> {
    let id = cx.settings.provider_id(args.provider_id.as_deref());
    name::check("provider", &id.value)?;
    let answers = Answers::of(cx);
    let omni = match cx.settings.omni_endpoint(args.omni_endpoint.as_deref()) {
        Some(found) => omni_address(&found.value)?,
        None => {
            let missing = missing("the address of Omni", "--omni-endpoint", "OMNI_ENDPOINT");
            answers.ask("OMNI_ENDPOINT", "Address of Omni (https://…)", None, missing, omni_address)?
        }
    };
    let ca_file = cx.settings.ca_file(args.ca_file.as_deref()).map(|found| found.value);
    let (proxmox, configured) = match files::read_text_if_there(&cx.paths.config())? {
        Some(text) => (configured_proxmox(args, cx, &text)?, true),
        None => (given_proxmox(args, cx, &answers, ca_file.clone())?, false),
    };
    Ok(Wanted { id: id.value, omni, proxmox, configured, ca_file })
}

fn missing(name: &str, flag: &str, env: &str) -> Missing {
    Missing { name: name.into(), flag: Some(flag.into()), env: Some(env.into()), secret: false }
}

/// Refuses an address with a login in it, which is shown to everyone and kept in the state.
fn without_login(address: &str, example: &str) -> Result<(), Failure> {
    match config::login_in(address) {
        None => Ok(()),
        Some(_) => Err(Failure::new(Code::Usage, "there is a login in the address")
            .cause("an address is shown to everyone, and kept in the state")
            .hint(format!("write it as {example}"))),
    }
}

/// The address of Omni, whose scheme may be left out.
fn omni_address(text: &str) -> Result<String, Failure> {
    without_login(text, "https://omni.example.ts.net")?;
    values::https_address(text, None).map_err(|why| {
        Failure::new(Code::Usage, format!("the address of Omni {text:?} {why}"))
            .cause("Omni and its provider speak TLS, at the name of Omni alone")
            .hint("write it as https://OMNI_DOMAIN; --omni-endpoint or OMNI_ENDPOINT takes it")
    })
}

/// The address of Proxmox without `/api2/json`; scheme and port may be left out.
fn proxmox_address(text: &str) -> Result<String, Failure> {
    without_login(text, "https://pve.example.com:8006")?;
    let address = config::without_api_path(text);
    if address.starts_with("http://") {
        return Ok(address.to_owned());
    }
    values::https_address(address, Some(8006)).map_err(|why| {
        Failure::new(Code::Usage, format!("the address of Proxmox {text:?} {why}"))
            .hint("write it as https://PROXMOX_HOST:8006; --proxmox-url or PROXMOX_VE_ENDPOINT takes it")
    })
}

/// Proxmox as `docker/config.yaml` reaches it. The file is the provider's truth: what is asked for differently is refused.
fn configured_proxmox(args: &ProviderSetup, cx: &Cx, text: &str) -> anyhow::Result<Proxmox> {
    let shown = cx.paths.show(&cx.paths.config());
    let found = ProviderConfig::parse(&shown, text)?;
    let proxmox = provider_verify::proxmox_of(cx, &found)?;
    proxmox.encrypted(cx)?;
    proxmox_inventory::report_conflicts(cx, &proxmox);
    if let Some(asked) = args.proxmox_url.as_deref().map(config::without_api_path).filter(|asked| *asked != proxmox.url)
    {
        return Err(Failure::new(
            Code::Conflict,
            format!("{shown} reaches Proxmox at {}, not at {asked}", proxmox.url),
        )
        .cause("the file exists and is never overwritten: it may hold your own changes")
        .hint(format!("change `url` in {shown}, or move the file away and run this again"))
        .into());
    }
    Ok(proxmox)
}

/// Proxmox as flags, environment or the operator give it, to be written into `docker/config.yaml`.
fn given_proxmox(
    args: &ProviderSetup,
    cx: &Cx,
    answers: &Answers<'_>,
    ca_file: Option<String>,
) -> anyhow::Result<Proxmox> {
    let endpoint = cx.settings.proxmox_endpoint(args.proxmox_url.as_deref());
    let origin = endpoint.as_ref().map_or("the address".to_owned(), |found| found.origin.to_string());
    let endpoint = endpoint.map(|found| found.value);
    let token = cx.settings.secret("PROXMOX_VE_API_TOKEN");
    let token_missing = Missing {
        name: "the Proxmox API token".into(),
        flag: None,
        env: Some("PROXMOX_VE_API_TOKEN".into()),
        secret: true,
    };
    let url_missing = missing("the address of Proxmox", "--proxmox-url", "PROXMOX_VE_ENDPOINT");
    if !cx.ask.interactive() {
        let absent = [(endpoint.is_none(), &url_missing), (token.is_none(), &token_missing)];
        let absent: Vec<Missing> = absent.iter().filter(|(is, _)| *is).map(|(_, what)| (*what).clone()).collect();
        if !absent.is_empty() {
            return Err(Failure::missing(absent).into());
        }
    }
    let url = match endpoint {
        Some(url) => proxmox_address(&url)?,
        None => {
            let question = "Address of Proxmox (https://…:8006)";
            let url = answers.ask("PROXMOX_VE_ENDPOINT", question, None, url_missing, proxmox_address)?;
            cx.ui.say(&format!("  Proxmox is asked at {}", config::with_api_path(&url)));
            url
        }
    };
    let token = match token {
        Some(found) => Token::parse(found.value.expose(), &found.origin.to_string())?,
        None => {
            let question = "Proxmox API token (user@realm!name=secret)";
            let check = |text: &str| Token::parse(text, "as typed");
            answers.ask_secret("PROXMOX_VE_API_TOKEN", question, token_missing, check)?
        }
    };
    let login = Login::Token(token);
    let proxmox = Proxmox::new(url, origin, login, ca_file).insecure(args.insecure_skip_tls_verify);
    proxmox.encrypted(cx)?;
    Ok(proxmox)
}

/// Step 1, second half, and the look at the key of step 3: everything that a network stands before, side by side.
fn far_ends(cx: &Cx, wanted: &Wanted) -> anyhow::Result<Key> {
    let checks = vec![
        Check::new("omni", format!("Omni answers at {}", wanted.omni), || {
            omni::healthy(cx, &wanted.omni, wanted.ca_file.as_deref())?;
            Ok(Done::ok(None, "healthy"))
        }),
        Check::new("proxmox", format!("Proxmox answers at {}", wanted.proxmox.url), || {
            let version = wanted.proxmox.version(cx)?;
            Ok(Done::ok(None, format!("version {version}, as {}", wanted.proxmox.login.id())))
        }),
        Check::new("compose-file", "docker/compose.yaml and its variables are complete", || {
            omni_stack::complete(cx)?;
            Compose::find(cx)?.check()?;
            Ok(Done::ok(None, ""))
        }),
        Check::new("key", "the provider's key", || find_key(cx, &wanted.id)),
    ];
    let mut key = None;
    let mut first = None;
    for result in cx.ui.side_by_side("asking Omni and Proxmox", checks) {
        match result {
            Ok(found) => key = key.or(found),
            // All are reported; the first one stops the task.
            Err(error) => first = first.or(Some(error)),
        }
    }
    if let Some(error) = first {
        return Err(error);
    }
    match key {
        Some(key) => Ok(key),
        None => ask_for_key(cx, wanted),
    }
}

/// The key that there is or that Omni can make; `None` when only the operator can help.
fn find_key(cx: &Cx, id: &str) -> anyhow::Result<Done<Option<Key>>> {
    let now = SystemTime::now();
    let lookup = Lookup { env: Some("OMNI_INFRA_PROVIDER_KEY"), ..Lookup::default() };
    if let Some(found) = cx.settings.find(lookup) {
        let info = key::check_provider_key(&found.value, id, &found.origin.to_string(), now)?;
        let left = info
            .left(now)
            .map_or("no limit".to_owned(), |left| format!("{} left", count((left.as_secs() / 86_400) as usize, "day")));
        let stored = cx.settings.env_file.get("OMNI_INFRA_PROVIDER_KEY") == Some(found.value.as_str());
        let detail = format!("of {}, {left}, from {}", info.name, found.origin);
        let key = if stored { Key::Stored } else { Key::Given(Secret::new(found.value)) };
        return Ok(match info.left(now) {
            Some(left) if left < Duration::from_secs(30 * 86_400) => Done::warning(Some(key), detail),
            _ => Done::ok(Some(key), detail),
        });
    }
    match Omnictl::find(cx) {
        Ok(omnictl) => {
            let exists = omnictl.get("infraproviders", id)?.is_some();
            let detail = if exists {
                "none yet; Omni knows the provider and can make one"
            } else {
                "none yet; Omni can make one"
            };
            Ok(Done::ok(Some(Key::Made { exists }), detail))
        }
        Err(failure) if matches!(failure.code, Code::MissingInput | Code::Prerequisite) => {
            Ok(Done::warning(None, format!("none yet, and Omni cannot be asked: {}", failure.message)))
        }
        Err(failure) => Err(failure.into()),
    }
}

/// The key from the operator, who finds it in Omni.
fn ask_for_key(cx: &Cx, wanted: &Wanted) -> anyhow::Result<Key> {
    let missing = Missing {
        name: "the provider's key".into(),
        flag: None,
        env: Some("OMNI_INFRA_PROVIDER_KEY".into()),
        secret: true,
    };
    let page = format!("{}/settings/infraproviders", wanted.omni);
    cx.ui.say(&format!("  Omni makes the key of the provider `{}` at {page}", wanted.id));
    let check = |text: &str| {
        key::check_provider_key(text, &wanted.id, "as typed", SystemTime::now()).map(|_| Secret::new(text))
    };
    let asked = Answers::of(cx).ask_secret("OMNI_INFRA_PROVIDER_KEY", "Key of the provider", missing, check);
    let typed = asked.map_err(|failure| {
        if failure.code == Code::MissingInput {
            failure.hint(format!(
                "make it at {page} and put it into docker/.env as OMNI_INFRA_PROVIDER_KEY; or log in as an admin (OMNI_SERVICE_ACCOUNT_KEY) and this task has Omni make it"
            ))
        } else {
            failure
        }
    })?;
    Ok(Key::Given(typed))
}

/// Steps 2 to 4, as a plan.
fn plan(cx: &Cx, wanted: &Wanted, key: &Key) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    let store = "OMNI_INFRA_PROVIDER_KEY in docker/.env";
    match key {
        Key::Stored => {}
        Key::Given(secret) => {
            let action = Action::SetEnv { key: "OMNI_INFRA_PROVIDER_KEY", value: secret.clone() };
            plan.push("set", store, "the provider can register", "remove the line", action);
        }
        Key::Made { exists } => {
            let undo = match exists {
                true => "nothing to undo: the provider stays, and its older keys stay valid".to_owned(),
                false => format!("omnictl infraprovider delete {}", wanted.id),
            };
            let action = Action::ProviderKey { id: wanted.id.clone(), exists: *exists };
            plan.push(
                "create",
                format!("a key for the provider {}", wanted.id),
                format!("Omni makes it, stored as {store}"),
                undo,
                action,
            );
        }
    }
    let mut set = |key: &'static str, value: &str, effect: &str| {
        let action = Action::SetEnv { key, value: Secret::plain(value) };
        plan.push("set", format!("{key} in docker/.env"), effect, "restore the line", action);
    };
    let id_now = cx.settings.env_file.get("OMNI_PROVIDER_ID").unwrap_or(PROVIDER_ID);
    if id_now != wanted.id {
        set("OMNI_PROVIDER_ID", &wanted.id, "the provider registers under this id");
    }
    if let Some(file) = wanted.ca_file.as_deref().filter(|_| !wanted.proxmox.insecure) {
        let absolute = std::fs::canonicalize(file).map_err(|error| {
            Failure::new(Code::Prerequisite, format!("the file of certificate authorities `{file}` cannot be read"))
                .cause(error.to_string())
                .hint("check --ca-file and SSL_CERT_FILE")
        })?;
        let absolute = absolute.display().to_string();
        if cx.settings.env_file.get("PROVIDER_CA_FILE") != Some(absolute.as_str()) {
            set(
                "PROVIDER_CA_FILE",
                &absolute,
                "the provider trusts the authorities that this machine was told to trust",
            );
        }
    }
    if let (false, Login::Token(token)) = (wanted.configured, &wanted.proxmox.login) {
        let example = cx.read(&cx.paths.config_example(), "restore it from the repository")?;
        let example = String::from_utf8_lossy(&example);
        let url = config::with_api_path(&wanted.proxmox.url);
        let Token { id, secret } = token;
        let contents = Secret::plain(config::fill(&example, &url, id, secret, wanted.proxmox.insecure)?);
        let action = Action::Write { path: cx.paths.config(), contents, mode: files::PRIVATE };
        plan.push(
            "create",
            "docker/config.yaml",
            format!("the provider reaches Proxmox as {id}"),
            "remove the file",
            action,
        );
    }
    if !plan.is_empty() || !runs_well(cx, &wanted.id)? {
        let moved = omni_stack::moved(cx, &Compose::find(cx)?.containers()?);
        let effect = format!("all containers recreated together, volumes kept{moved}");
        plan.push("restart", "the stack", effect, "nothing to undo", Action::RecreateStack);
    }
    Ok(plan)
}

/// Whether all containers run, and Omni, if it can be asked, has a connected provider.
fn runs_well(cx: &Cx, id: &str) -> anyhow::Result<bool> {
    let containers = Compose::find(cx)?.containers()?;
    let provider = containers.iter().any(|container| container.service == runtime::tool::compose::PROVIDER);
    if !provider || !containers.iter().all(|container| container.well()) {
        return Ok(false);
    }
    match Omnictl::find(cx) {
        Ok(omnictl) => Ok(provider_verify::registration(cx, &omnictl, id)?.is_some_and(|health| health.well())),
        Err(_) => Ok(true),
    }
}

/// Step 5. Returns the health to remember: what only the provider's log shows is not known to be well.
fn prove(cx: &Cx, id: &str, before: Option<&Value>) -> anyhow::Result<&'static str> {
    let limit = cx.limit(REGISTRATION);
    match Omnictl::find(cx) {
        Ok(omnictl) => {
            cx.ui.step("registration", format!("the provider `{id}` registers with Omni"), || {
                provider_verify::wait_for_registration(cx, &omnictl, id, before, limit)
            })?;
            Ok("healthy")
        }
        Err(_) => {
            cx.ui.step("registration", format!("the provider `{id}` starts and stays up"), || {
                provider_verify::wait_for_start(cx, limit)
            })?;
            Ok("unknown")
        }
    }
}

/// Step 6.
fn remember(cx: &Cx, wanted: &Wanted, health: &str) -> anyhow::Result<()> {
    let mut state = cx.fresh_state()?;
    let now = rfc3339(SystemTime::now());
    state.set("provider_configured", true);
    state.set("provider_id", wanted.id.as_str());
    state.set("provider_configured_at", now.as_str());
    state.set("provider_status", health);
    state.set("last_checked", now.as_str());
    state.set("omni_endpoint", wanted.omni.as_str());
    state.set("proxmox_endpoint", wanted.proxmox.url.as_str());
    cx.save_state(state)?;
    // Nobody logged in is worth a word: everything that follows needs omnictl.
    if omnictl::login(cx).is_none() {
        cx.ui.say("  note: the next tasks call omnictl, and nobody is logged in to Omni");
    }
    Ok(())
}
