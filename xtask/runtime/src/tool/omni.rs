//! Requests to Omni over HTTP that need no login.

use std::time::Duration;

use super::curl::{self, Request};
use crate::cx::Cx;
use domain::failure::{Code, Failure};

/// Checks that `endpoint` is a healthy Omni.
///
/// `/healthz` returns 200 with an empty body (omni v1.9.3 `internal/backend/health`). Any path that Omni does not know also
/// returns 200, with the HTML of its web page, so the status alone proves nothing.
///
/// # Errors
/// [`Code::Unreachable`] if there is no response or it is not Omni's; [`Code::Failed`] if Omni is not healthy.
pub fn check_health(cx: &Cx, endpoint: &str, ca_file: Option<&str>) -> Result<(), Failure> {
    check_health_at(cx, endpoint, ca_file, None)
}

/// Like [`check_health`], but connects to the address `connect` instead of resolving the name in `endpoint`.
///
/// # Errors
/// Fails like [`check_health`].
pub fn check_health_at(cx: &Cx, endpoint: &str, ca_file: Option<&str>, connect: Option<&str>) -> Result<(), Failure> {
    if let Some(recorded) = &cx.settings.recorded {
        return recorded.check_available("health");
    }
    let url = format!("{endpoint}/healthz");
    let reply = curl::fetch(cx, "checking the health of Omni", &Request { ca_file, connect, ..Request::get(&url) })?;
    match reply.status {
        200 if reply.body.trim().is_empty() => Ok(()),
        200 => Err(Failure::new(Code::Unreachable, format!("{endpoint} is not Omni's endpoint"))
            .cause(format!("{url} returned {}, but Omni returns an empty body", content_kind(&reply.content_type)))
            .hint(format!(
                "check {}; it may belong to a portal, a proxy or another web service",
                origin(cx, endpoint)
            ))),
        500..=599 => Err(Failure::new(Code::Failed, format!("Omni at {endpoint} is not healthy"))
            .cause(format!("{url} returned {} {}: its store does not respond in time", reply.status, reply.reason))
            .hint("look at Omni's log")
            .next("cargo xtask stack-logs omni")),
        301..=308 => Err(Failure::new(Code::Unreachable, format!("{endpoint} is not Omni's endpoint"))
            .cause(format!("{url} returned {} and redirects to another address", reply.status))
            .hint("use the address that Omni advertises")),
        status => Err(Failure::new(Code::Unreachable, format!("{endpoint} is not Omni's endpoint"))
            .cause(format!("{url} returned {status} {}", reply.reason))
            .hint(format!("check {}", origin(cx, endpoint)))),
    }
}

/// The setting that the address comes from.
fn origin(cx: &Cx, endpoint: &str) -> String {
    let found = cx.settings.omni_endpoint(None).filter(|found| found.value == endpoint);
    found.map_or("the address".to_owned(), |found| found.origin.to_string())
}

/// Omni's time in seconds since 1970, from its Date header; `None` if there is no response within three seconds.
pub fn server_time(cx: &Cx, endpoint: &str, ca_file: Option<&str>) -> Option<u64> {
    if cx.settings.recorded.is_some() {
        return None;
    }
    let url = format!("{endpoint}/healthz");
    let timeout = Duration::from_secs(3);
    curl::fetch(cx, "reading the time from Omni", &Request { ca_file, timeout, ..Request::get(&url) }).ok()?.date
}

fn content_kind(content_type: &str) -> &str {
    if content_type.is_empty() { "with a body" } else { content_type }
}
