//! The Proxmox VE API, with the access that one login has.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::curl::{self, Reply, Request};
use super::errors;
use crate::cx::Cx;
use crate::parallel::map_all;
use crate::wait::Poll;
use domain::failure::{Code, Failure};
use domain::secret::Secret;
use domain::status::proxmox::{self as status, Selection};

/// An API token: `user@realm!name` and its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: String,
    pub secret: Secret,
}

impl Token {
    /// Parses `user@realm!name=secret`, the form of `PROXMOX_VE_API_TOKEN`.
    ///
    /// # Errors
    /// [`Code::Invalid`] with the missing part; the message does not contain the secret.
    pub fn parse(text: &str, origin: &str) -> Result<Token, Failure> {
        let bad = |why: &str| {
            Failure::new(Code::Invalid, format!("the Proxmox token ({origin}) cannot be parsed"))
                .cause(why)
                .hint("a token has the form user@realm!name=00000000-0000-0000-0000-000000000000")
        };
        let text = text.trim().trim_start_matches("PVEAPIToken=");
        let (id, secret) = text.split_once('=').ok_or_else(|| bad("it has no `=` between its id and its secret"))?;
        let (user, name) = id.split_once('!').ok_or_else(|| bad("its id has no `!` before the token's name"))?;
        if !user.contains('@') {
            return Err(bad("its id has no `@realm`"));
        }
        if name.is_empty() || secret.is_empty() {
            return Err(bad("its name or its secret is empty"));
        }
        Ok(Token { id: id.to_owned(), secret: Secret::new(secret) })
    }

    fn header(&self) -> Secret {
        Secret::new(format!("PVEAPIToken={}={}", self.id, self.secret.expose()))
    }
}

/// How to log in to Proxmox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    Token(Token),
    /// A password, which Proxmox exchanges for a ticket.
    Password {
        user: String,
        /// Empty if the user name includes it: `root@pam`.
        realm: String,
        password: Secret,
    },
}

impl Login {
    /// The token's ID or the user: `omni@pve!provider`, or `root@pam`.
    pub fn id(&self) -> String {
        match self {
            Login::Token(token) => token.id.clone(),
            Login::Password { .. } => self.user(),
        }
    }

    /// The user in the access control list: `omni@pve`.
    pub fn user(&self) -> String {
        match self {
            Login::Token(token) => token.id.split('!').next().unwrap_or_default().to_owned(),
            Login::Password { user, realm, .. } if realm.is_empty() => user.clone(),
            Login::Password { user, realm, .. } => format!("{user}@{realm}"),
        }
    }

    /// The name of the token: `provider`.
    pub fn token_name(&self) -> Option<&str> {
        match self {
            Login::Token(token) => token.id.split_once('!').map(|(_, name)| name),
            Login::Password { .. } => None,
        }
    }

    /// The token or the password login, for messages.
    fn description(&self) -> String {
        match self {
            Login::Token(token) => format!("the token {}", token.id),
            Login::Password { .. } => format!("the login of {}", self.user()),
        }
    }
}

/// Proxmox at an address, with a login. Its calls fail like [`Proxmox::get`].
#[derive(Debug, Clone)]
pub struct Proxmox {
    /// Without `/api2/json`.
    pub url: String,
    pub login: Login,
    pub ca_file: Option<String>,
    pub insecure: bool,
    /// Where the address was found, for errors: `url` in docker/config.yaml, or a variable.
    pub origin: String,
    /// The provider's ID, if there are several providers.
    pub site: Option<String>,
    /// The command that replaces a rejected token, if the login is the provider's own.
    pub renewal: Option<String>,
    /// The ticket of a password login, requested once.
    ticket: Arc<Mutex<Option<Secret>>>,
}

/// The timeout of each of several GETs over one connection, before they are sent in parallel.
const BATCH_TIMEOUT: Duration = Duration::from_millis(150);
/// How long the start of a VM may take.
const START_LIMIT: Duration = Duration::from_secs(120);
/// The maximum number of parallel GETs.
const MAX_PARALLEL: usize = 8;

impl Proxmox {
    /// Proxmox at `url`, without `/api2/json`; `origin` is where the address was found.
    pub fn new(url: String, origin: impl Into<String>, login: Login, ca_file: Option<String>) -> Proxmox {
        let (origin, ticket) = (origin.into(), Arc::default());
        Proxmox { url, login, ca_file, insecure: false, origin, site: None, renewal: None, ticket }
    }

    /// Sets whether certificate verification is skipped.
    pub fn insecure(self, insecure: bool) -> Proxmox {
        Proxmox { insecure, ..self }
    }

    /// The hint for a response that is not from Proxmox.
    fn address_hint(&self) -> String {
        format!("check {}: Proxmox is at https://HOST:8006", self.origin)
    }

    /// The failure for a response that is not from Proxmox.
    fn not_proxmox(&self, cause: String) -> Failure {
        let message = format!("{} is not a Proxmox API", self.url);
        Failure::new(Code::Unreachable, message).cause(cause).hint(self.address_hint())
    }

    /// Refuses an address to which the login would be sent unencrypted, unless the operator accepts that.
    ///
    /// # Errors
    /// [`Code::Invalid`].
    pub fn check_encrypted(&self, cx: &Cx) -> Result<(), Failure> {
        if cx.insecure_http || self.url.starts_with("https://") {
            return Ok(());
        }
        Err(Failure::new(Code::Invalid, format!("the Proxmox address {} is not an https:// address", self.url))
            .cause("the login would be sent unencrypted; Proxmox itself speaks only TLS on port 8006")
            .hint("write it as https://HOST:8006; for a proxy on a network that you trust, use `--insecure-http`"))
    }

    /// The value of the `Authorization` header, for an address that [`Proxmox::check_encrypted`] accepts.
    fn authorization(&self, cx: &Cx) -> Result<Secret, Failure> {
        self.check_encrypted(cx)?;
        let Login::Password { user, realm, password } = &self.login else {
            let Login::Token(token) = &self.login else { return Ok(Secret::plain("")) };
            return Ok(token.header());
        };
        // Checks that run in parallel share one ticket.
        let mut ticket = self.ticket.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ticket) = ticket.as_ref() {
            return Ok(ticket.clone());
        }
        let mut body = json!({ "username": user, "password": password.expose() });
        if !realm.is_empty() {
            body["realm"] = realm.as_str().into();
        }
        let body = Secret::plain(body.to_string());
        let data = self.ask(cx, "logging in to Proxmox", "/access/ticket", None, Some(&body))?;
        let found = data.get("ticket").and_then(Value::as_str).unwrap_or_default();
        // pve-access-control `AccessControl.pm`: such a ticket is valid only for the second step of a login.
        if found.is_empty() || found.starts_with("PVE:!tfa!") {
            return Err(Failure::new(Code::Refused, format!("Proxmox requires a second factor from {}", self.login.user()))
                .hint(
                    "a program cannot provide one: use an API token (`pveum user token add USER@REALM provider --privsep 0`)",
                ));
        }
        // pve-http-server `AnyEvent.pm` reads the ticket from this header as well as from a cookie.
        let new = Secret::new(format!("PVEAuthCookie={found}"));
        domain::secret::hide(found);
        *ticket = Some(new.clone());
        Ok(new)
    }

    /// Sends a GET request and returns the `data` of the response.
    ///
    /// # Errors
    /// [`Code::Refused`] for 401 and 403 with Proxmox's reason, which names the path and the privilege; [`Code::Unreachable`]
    /// if the response is not from Proxmox; otherwise fails like [`curl::fetch`].
    pub fn get(&self, cx: &Cx, purpose: &str, path: &str) -> Result<Value, Failure> {
        if let Some(recorded) = &cx.settings.recorded {
            return recorded.proxmox(self.site.as_deref(), path);
        }
        let authorization = self.authorization(cx)?;
        self.ask(cx, purpose, path, Some(&authorization), None)
    }

    /// Reads a list that may be long, and returns these keys of the entries for which `wanted` is true.
    pub fn get_selection(
        &self,
        cx: &Cx,
        purpose: &str,
        path: &str,
        keys: &[&str],
        wanted: &dyn Fn(&Value) -> bool,
    ) -> Result<Selection, Failure> {
        if let Some(recorded) = &cx.settings.recorded {
            return Ok(status::select_from_value(recorded.proxmox(self.site.as_deref(), path)?, keys, wanted));
        }
        let authorization = self.authorization(cx)?;
        let reply = curl::fetch(cx, purpose, &self.request(&self.address(path), Some(&authorization), None))?;
        match status::pick(&reply.body, keys, wanted).filter(|_| reply.status == 200) {
            Some(picked) => Ok(picked),
            None => Ok(status::select_from_value(self.response_data(path, "read", reply)?, keys, wanted)),
        }
    }

    /// Sends several GET requests and returns the `data` of each. Starting curl takes longer than a short response, so a single
    /// curl sends all of them, if each response arrives within `BATCH_TIMEOUT` and none is an error; otherwise they are sent in
    /// parallel.
    pub fn get_all(&self, cx: &Cx, purpose: &str, paths: &[String]) -> Vec<Result<Value, Failure>> {
        if paths.is_empty() {
            return Vec::new();
        }
        if let Some(recorded) = &cx.settings.recorded {
            return paths.iter().map(|path| recorded.proxmox(self.site.as_deref(), path)).collect();
        }
        if let Ok(answers) = self.get_over_one_connection(cx, purpose, paths, BATCH_TIMEOUT) {
            return answers.into_iter().map(Ok).collect();
        }
        map_all(paths, MAX_PARALLEL, |path| self.get(cx, purpose, path))
    }

    /// Sends several GET requests one after the other over one connection, each within `patience`, and returns their `data`.
    ///
    /// # Errors
    /// The first error; fails like [`Proxmox::get`].
    pub fn get_over_one_connection(
        &self,
        cx: &Cx,
        purpose: &str,
        paths: &[String],
        patience: Duration,
    ) -> Result<Vec<Value>, Failure> {
        let authorization = self.authorization(cx)?;
        let urls: Vec<String> = paths.iter().map(|path| self.address(path)).collect();
        let request = Request { timeout: patience, ..self.request(&self.url, Some(&authorization), None) };
        let replies = curl::fetch_each(cx, purpose, &request, &urls)?;
        paths.iter().zip(replies).map(|(path, reply)| self.response_data(path, "read", reply)).collect()
    }

    fn address(&self, path: &str) -> String {
        format!("{}/api2/json{path}", self.url)
    }

    fn request<'a>(&'a self, url: &str, authorization: Option<&'a Secret>, json: Option<&'a Secret>) -> Request<'a> {
        let (ca_file, insecure) = (self.ca_file.as_deref(), self.insecure);
        Request { authorization, json, ca_file, insecure, ..Request::get(url) }
    }

    /// Sends a request, a POST if there is a body, and returns the `data` of the response.
    fn ask(
        &self,
        cx: &Cx,
        purpose: &str,
        path: &str,
        authorization: Option<&Secret>,
        json: Option<&Secret>,
    ) -> Result<Value, Failure> {
        let reply = curl::fetch(cx, purpose, &self.request(&self.address(path), authorization, json))?;
        self.response_data(path, if json.is_some() { "call" } else { "read" }, reply)
    }

    /// The `data` in the response of `path`; `verb` is `read` or `call`, for messages.
    fn response_data(&self, path: &str, verb: &str, reply: Reply) -> Result<Value, Failure> {
        let response = format!("{path} answered {} {}", reply.status, reply.reason);
        // A portal or a proxy refuses with an HTML page; Proxmox never does.
        let page = reply.content_type == "text/html";
        match reply.status {
            200 => {}
            401 if !page => return Err(self.login_refused(&reply.reason, &response)),
            403 if !page => {
                let refused = format!("{} is not allowed to {verb} {path}", self.login.description());
                let hint = match &self.login {
                    Login::Token(_) => {
                        "a token with privilege separation (the default) has no privileges of its own: grant them to the token, or create it with --privsep 0; `cargo xtask proxmox-audit` shows what is missing"
                    }
                    Login::Password { .. } => "`cargo xtask proxmox-audit` shows which privileges are missing",
                };
                return Err(Failure::new(Code::Refused, refused)
                    .cause(format!("{response} at {}", self.url))
                    .hint(hint));
            }
            status if status == 404 || !reply.content_type.contains("json") => return Err(self.not_proxmox(response)),
            _ => {
                let message = format!("Proxmox at {} failed at {path}", self.url);
                return Err(Failure::new(Code::Failed, message).cause(response).hint(self.address_hint()));
            }
        }
        let mut document: Value = reply.body.parse().map_err(|_| {
            self.not_proxmox(format!("the response body of {path} is not valid JSON ({})", reply.content_type))
        })?;
        let data = document.get_mut("data").map(Value::take);
        data.ok_or_else(|| self.not_proxmox(format!("the response of {path} has no `data`")))
    }

    /// The failure for 401: the login itself is rejected.
    fn login_refused(&self, reason: &str, response: &str) -> Failure {
        let (login, user) = (self.login.description(), self.login.user());
        let token = self.login.token_name();
        let program = if token.is_some() { "proxmox-token" } else { "proxmox-password" };
        let values = [
            ("url", self.url.as_str()),
            ("login", &login),
            ("user", &user),
            ("token", token.unwrap_or_default()),
            ("renewal", self.renewal.as_deref().unwrap_or_default()),
            ("response", response),
        ];
        let known = errors::explain(program, None, reason, response, &values);
        known.unwrap_or_else(|| Failure::new(Code::Refused, response))
    }

    /// Starts a VM and waits until the task ends. Only with a token: a ticket cannot write.
    ///
    /// # Errors
    /// Fails like [`Proxmox::get`]; [`Code::Failed`] with the task's exit status; [`Code::Timeout`].
    pub fn start_vm(&self, cx: &Cx, node: &str, id: u64) -> anyhow::Result<()> {
        let (authorization, empty) = (self.authorization(cx)?, Secret::plain("{}"));
        let path = format!("/nodes/{node}/qemu/{id}/status/start");
        let upid = self.ask(cx, "starting a virtual machine", &path, Some(&authorization), Some(&empty))?;
        let path = format!("/nodes/{node}/tasks/{}/status", upid.as_str().unwrap_or_default());
        let look = || {
            let task = self.get(cx, "reading the task that starts a virtual machine", &path)?;
            Ok(match task["exitstatus"].as_str() {
                None => Poll::Waiting("the task in Proxmox".to_owned()),
                Some(ended) => Poll::Done(ended.to_owned()),
            })
        };
        let what = format!("VM {id} on {node} to start");
        match cx.wait(&what, START_LIMIT, look)?.as_str() {
            // The VM runs, and the task's log contains warnings (PVE::RESTEnvironment `fork_worker`).
            ended if ended == "OK" || ended.starts_with("WARNINGS") => Ok(()),
            ended => {
                let failure = Failure::new(Code::Failed, format!("VM {id} on {node} did not start"));
                Err(failure.cause(format!("the task ended with `{ended}`")).into())
            }
        }
    }

    /// The version, such as `9.0.10`: the cheapest call that needs a valid login and no privilege.
    pub fn version(&self, cx: &Cx) -> Result<String, Failure> {
        let data = self.get(cx, "reading the version of Proxmox", "/version")?;
        Ok(data.get("version").and_then(Value::as_str).unwrap_or("unknown").to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_token_gets_one_command_that_fixes_it() {
        let token = Token::parse("omni@pve!provider=canary-pve-token", "x").unwrap();
        let mut proxmox = Proxmox::new("https://pve:8006".to_owned(), "x", Login::Token(token), None);
        proxmox.renewal = Some("cargo xtask keys --rotate proxmox".to_owned());
        for (reason, way, is_replaced) in [
            ("token 'provider' access expired", "`pveum user token modify omni@pve provider --expire 0`", false),
            // Another token of the same user would be refused too.
            ("user 'omni@pve' access expired", "`pveum user modify omni@pve --expire 0`", false),
            ("user 'omni@pve' is disabled", "`pveum user modify omni@pve --enable 1`", false),
            ("no such token 'provider' for user 'omni@pve'", "`pveum user token list omni@pve`", true),
            ("invalid token value!", "`pveum user token list omni@pve`", true),
        ] {
            let failure = proxmox.login_refused(reason, "it answered 401");
            assert_eq!(failure.message, "Proxmox at https://pve:8006 refuses the token omni@pve!provider");
            assert!(failure.hint.contains(way), "{reason}: {}", failure.hint);
            let commands: Vec<&str> = proxmox.renewal.as_deref().filter(|_| is_replaced).into_iter().collect();
            assert_eq!(failure.next, commands, "{reason}");
        }
        proxmox.renewal = None;
        assert!(proxmox.login_refused("invalid token value!", "it answered 401").next.is_empty());
    }

    #[test]
    fn token_needs_all_its_parts() {
        let token = Token::parse("omni@pve!provider=canary-pve-token", "x").unwrap();
        assert_eq!(token.id, "omni@pve!provider");
        assert_eq!(token.secret.expose(), "canary-pve-token");
        for text in ["omni@pve=canary-a", "omni!p=canary-b", "omni@pve!p", "omni@pve!p=", "omni@pve!=canary-c", ""] {
            let failure = Token::parse(text, "PROXMOX_VE_API_TOKEN").unwrap_err();
            assert!(!failure.to_string().contains("canary"), "{failure}");
        }
    }
}
