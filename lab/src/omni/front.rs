//! Omni's HTTPS front: health, omnictl downloads, and a page for every other path (omni v1.9.3
//! internal/backend/server.go:892-980, internal/backend/health).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Omni;
use crate::fault_effects;
use crate::faults::Faults;
use crate::http::{Reply, Request};
use crate::tools::protocol::{Link, with_trailer};

/// The page of the web interface, which is served for every path that nothing else handles.
const PAGE: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Omni</title></head>\
                    <body><div id=\"app\"></div></body></html>\n";
const HTML: &str = "text/html; charset=utf-8";
const BINARY: &str = "application/octet-stream";

/// The request handler of Omni's endpoint.
pub struct Front {
    faults: Arc<Faults>,
    down: Arc<AtomicBool>,
    link: Link,
    omni: Omni,
}

impl Front {
    /// Creates a front whose downloads connect to the lab at `link`. While `down` is true, it drops connections.
    pub fn new(faults: Arc<Faults>, down: Arc<AtomicBool>, link: Link, omni: Omni) -> Front {
        Front { faults, down, link, omni }
    }

    /// Handles a request; `None` drops the connection.
    pub fn answer(&self, request: &Request) -> Option<Reply> {
        (!self.down.load(Ordering::Relaxed)).then(|| self.page(request))
    }

    fn page(&self, request: &Request) -> Reply {
        if self.faults.hit("omni-html") {
            return Reply::new(200, HTML, PAGE);
        }
        let path = request.uri().path();
        if path == "/healthz" {
            let status = if self.faults.hit("omni-unhealthy") { 500 } else { 200 };
            return Reply::empty(status);
        }
        // Since 1.9; the gateway of earlier releases has no such path below /api/ (siderolabs/omni@86159433).
        let old = self.omni.with(|state| state.release.old());
        let downloads = if old { "/omnictl/" } else { "/api/omnictl/" };
        if let Some(file) = path.strip_prefix(downloads) {
            return self.download(file);
        }
        if old && path.starts_with("/api/") {
            return not_found();
        }
        Reply::new(200, HTML, PAGE)
    }

    fn download(&self, file: &str) -> Reply {
        let own = format!("omnictl-{}-{}", system(), machine());
        match file {
            "" => Reply::new(200, HTML, format!("<pre>\n<a href=\"{own}\">{own}</a>\n</pre>\n")),
            file if file == own => match std::env::current_exe().and_then(std::fs::read) {
                // This program with the address of its lab appended, so that it works from any directory.
                Ok(executable) => {
                    fault_effects::end_omnictl_faults(&self.faults, &self.omni);
                    Reply::new(200, BINARY, with_trailer(executable, &self.link))
                }
                Err(_) => Reply::empty(500),
            },
            // The real Omni also has binaries for other platforms, which could not run here.
            _ => not_found(),
        }
    }
}

fn not_found() -> Reply {
    Reply::new(404, "text/plain; charset=utf-8", "404 page not found\n")
}

fn system() -> &'static str {
    if cfg!(target_os = "macos") { "darwin" } else { "linux" }
}

fn machine() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}
