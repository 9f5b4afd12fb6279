//! The Proxmox VE API, as one login sees it.

use serde_json::Value;

use super::curl::{self, Request};
use crate::cx::Cx;
use model::failure::{Code, Failure};
use model::secret::Secret;

/// An API token: `user@realm!name` and its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: String,
    pub secret: Secret,
}

impl Token {
    /// From the form `user@realm!name=secret` of `PROXMOX_VE_API_TOKEN`.
    ///
    /// # Errors
    /// [`Code::Invalid`] with what is missing; the secret is not quoted.
    pub fn parse(text: &str, origin: &str) -> Result<Token, Failure> {
        let bad = |why: &str| {
            Failure::new(Code::Invalid, format!("the Proxmox token ({origin}) is not understood"))
                .cause(why)
                .hint("it looks like user@realm!name=00000000-0000-0000-0000-000000000000")
        };
        let text = text.trim().trim_start_matches("PVEAPIToken=");
        let (id, secret) = text.split_once('=').ok_or_else(|| bad("there is no `=` between its id and its secret"))?;
        let (user, name) = id.split_once('!').ok_or_else(|| bad("there is no `!` in its id: a token has a name"))?;
        if !user.contains('@') {
            return Err(bad("there is no `@realm` in its id"));
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

/// Proxmox at an address, with a login.
#[derive(Debug, Clone)]
pub struct Proxmox {
    /// Without `/api2/json`.
    pub url: String,
    pub token: Token,
    pub ca_file: Option<String>,
    pub insecure: bool,
}

/// What ends a refusal that Proxmox explains (pve-access-control 9.1 `AccessControl.pm` `verify_token`,
/// `check_user_enabled`).
fn way_back(id: &str, reason: &str) -> Option<String> {
    let (user, token) = id.split_once('!')?;
    let change = match reason {
        _ if reason.starts_with("token ") && reason.contains("access expired") => {
            format!("token modify {user} {token} --expire 0")
        }
        _ if reason.starts_with("user ") && reason.contains("access expired") => format!("modify {user} --expire 0"),
        _ if reason.starts_with("user ") && reason.contains("is disabled") => format!("modify {user} --enable 1"),
        _ => return None,
    };
    Some(format!("as root on any Proxmox node: `pveum user {change}`"))
}

impl Proxmox {
    /// The `data` of a GET.
    ///
    /// # Errors
    /// [`Code::Refused`] for 401 and 403 with Proxmox's reason, which names the path and the privilege;
    /// [`Code::Unreachable`] when what answers is no Proxmox; those of [`curl::fetch`].
    pub fn get(&self, cx: &Cx, purpose: &str, path: &str) -> Result<Value, Failure> {
        let url = format!("{}/api2/json{path}", self.url);
        let header = self.token.header();
        let request = Request {
            authorization: Some(&header),
            ca_file: self.ca_file.as_deref(),
            insecure: self.insecure,
            ..Request::get(&url)
        };
        let reply = curl::fetch(cx, purpose, &request)?;
        let said = format!("{path} answered {} {}", reply.status, reply.reason);
        // A portal or a proxy refuses with a page; Proxmox never does.
        let page = reply.content_type == "text/html";
        match reply.status {
            200 => {}
            401 if !page => {
                let refused = format!("Proxmox at {} refuses the token {}", self.url, self.token.id);
                return Err(match way_back(&self.token.id, &reply.reason) {
                    Some(command) => Failure::new(Code::Refused, refused).cause(said).hint(command),
                    None => Failure::new(Code::Refused, refused)
                        .cause(format!("{said}: the token does not exist, is expired, or its secret is wrong"))
                        .hint("list the user's tokens with `pveum user token list USER`; a secret is shown once, when the token is made"),
                });
            }
            403 if !page => {
                return Err(Failure::new(Code::Refused, format!("the token {} may not read {path}", self.token.id))
                    .cause(format!("{said} at {}", self.url))
                    .hint("a token made with privilege separation (the default) has no rights of its own: grant them to the token, or make it with --privsep 0"));
            }
            status => {
                let not_proxmox = status == 404 || !reply.content_type.contains("json");
                let code = if not_proxmox { Code::Unreachable } else { Code::Failed };
                let message = if not_proxmox {
                    format!("{} is not Proxmox's address", self.url)
                } else {
                    format!("Proxmox at {} could not answer {path}", self.url)
                };
                return Err(Failure::new(code, message)
                    .cause(said)
                    .hint("check PROXMOX_VE_ENDPOINT: https://HOST:8006"));
            }
        }
        let document: Value = serde_json::from_str(&reply.body).map_err(|_| {
            Failure::new(Code::Unreachable, format!("{} is not Proxmox's address", self.url))
                .cause(format!("{path} answered 200 with {} instead of JSON", reply.content_type))
                .hint("check PROXMOX_VE_ENDPOINT: https://HOST:8006")
        })?;
        document.get("data").cloned().ok_or_else(|| {
            Failure::new(Code::Unreachable, format!("{} is not Proxmox's address", self.url))
                .cause(format!("{path} answered JSON without `data`"))
                .hint("check PROXMOX_VE_ENDPOINT: https://HOST:8006")
        })
    }

    /// The version, such as `9.0.10`: the cheapest call that needs a valid login and no privilege.
    ///
    /// # Errors
    /// As [`Proxmox::get`].
    pub fn version(&self, cx: &Cx) -> Result<String, Failure> {
        let data = self.get(cx, "asking Proxmox for its version", "/version")?;
        Ok(data.get("version").and_then(Value::as_str).unwrap_or("unknown").to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_proxmox_explains_has_a_way_back() {
        for (reason, way) in [
            ("token 'provider' access expired", Some("`pveum user token modify omni@pve provider --expire 0`")),
            ("user 'omni@pve' access expired", Some("`pveum user modify omni@pve --expire 0`")),
            ("user 'omni@pve' is disabled", Some("`pveum user modify omni@pve --enable 1`")),
            ("no such token 'provider' for user 'omni@pve'", None),
            ("invalid token value!", None),
        ] {
            let found = way_back("omni@pve!provider", reason);
            assert_eq!(found.is_some(), way.is_some(), "{reason}");
            assert!(found.is_none_or(|found| found.ends_with(way.unwrap_or_default())), "{reason}");
        }
    }

    #[test]
    fn a_token_has_all_its_parts() {
        let token = Token::parse("omni@pve!provider=canary-pve-token", "x").unwrap();
        assert_eq!(token.id, "omni@pve!provider");
        assert_eq!(token.secret.expose(), "canary-pve-token");
        for text in ["omni@pve=canary-a", "omni!p=canary-b", "omni@pve!p", "omni@pve!p=", "omni@pve!=canary-c", ""] {
            let failure = Token::parse(text, "PROXMOX_VE_API_TOKEN").unwrap_err();
            assert!(!failure.to_string().contains("canary"), "{failure}");
        }
    }
}
