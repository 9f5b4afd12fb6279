//! Omni's HTTPS front: health, the downloads of omnictl, and a page for every other path (omni v1.9.3
//! internal/backend/server.go:892-980, internal/backend/health).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::kinds::Release;
use crate::faults::Faults;
use crate::http::{Answer, Reply, Request};
use crate::tools::wire::{Link, with_trailer};

/// The page of the web interface, which answers every path that nothing else does.
const PAGE: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Omni</title></head>\
                    <body><div id=\"app\"></div></body></html>\n";
const HTML: &str = "text/html; charset=utf-8";
const BINARY: &str = "application/octet-stream";

/// What answers at Omni's endpoint.
pub struct Front {
    faults: Arc<Faults>,
    down: Arc<AtomicBool>,
    link: Link,
    release: Release,
}

impl Front {
    /// A front whose downloads find the lab at `link`, and which drops who connects while it is `down`.
    pub fn new(faults: Arc<Faults>, down: Arc<AtomicBool>, link: Link, release: Release) -> Front {
        Front { faults, down, link, release }
    }

    /// Answers one request.
    pub fn answer(&self, request: &Request) -> Answer {
        if self.down.load(Ordering::Relaxed) {
            return Answer::Hangup;
        }
        if self.faults.has("omni-html") && self.faults.hit("omni-html") {
            return Reply::new(200, HTML, PAGE).into();
        }
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Reply::new(405, "text/plain; charset=utf-8", "Method Not Allowed\n").into();
        }
        let path = request.path.as_str();
        if path == "/healthz" {
            let status = if self.faults.hit("omni-unhealthy") { 500 } else { 200 };
            return Reply::empty(status).into();
        }
        // Since 1.9; before, the gateway below /api/ knows no such path (siderolabs/omni@86159433).
        let downloads = if self.release.old() { "/omnictl/" } else { "/api/omnictl/" };
        if let Some(file) = path.strip_prefix(downloads) {
            return self.download(file).into();
        }
        if self.release.old() && path.starts_with("/api/") {
            return Reply::new(404, "text/plain; charset=utf-8", "404 page not found\n").into();
        }
        Reply::new(200, HTML, PAGE).into()
    }

    fn download(&self, file: &str) -> Reply {
        if file.is_empty() {
            let names = FILES.iter().map(|(name, _)| format!("<a href=\"{name}\">{name}</a>\n"));
            return Reply::new(200, HTML, format!("<pre>\n{}</pre>\n", names.collect::<String>()));
        }
        let Some((name, foreign)) = FILES.iter().find(|(name, _)| *name == file) else {
            return Reply::new(404, "text/plain; charset=utf-8", "404 page not found\n");
        };
        let own = format!("omnictl-{}-{}", system(), machine());
        if *name == own {
            // This very program, told where its lab is: it works wherever it is put.
            return match std::env::current_exe().and_then(std::fs::read) {
                Ok(executable) => Reply::new(200, BINARY, with_trailer(executable, &self.link)),
                Err(_) => Reply::empty(500),
            };
        }
        Reply::new(200, BINARY, foreign.to_vec())
    }
}

fn system() -> &'static str {
    if cfg!(target_os = "macos") { "darwin" } else { "linux" }
}

fn machine() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// The head of an ELF executable for a machine: enough for everybody who looks at what kind of file it is.
const fn elf(machine: u8) -> [u8; 64] {
    let mut out = [0u8; 64];
    let head = [0x7f, b'E', b'L', b'F', 2, 1, 1];
    let mut at = 0;
    while at < head.len() {
        out[at] = head[at];
        at += 1;
    }
    out[16] = 2; // an executable
    out[18] = machine;
    out[20] = 1;
    out[52] = 64;
    out
}

/// The same of a Mach-O executable.
const fn mach(cpu: u8) -> [u8; 64] {
    let mut out = [0u8; 64];
    let head = [0xcf, 0xfa, 0xed, 0xfe, cpu, 0, 0, 1];
    let mut at = 0;
    while at < head.len() {
        out[at] = head[at];
        at += 1;
    }
    out[12] = 2; // an executable
    out
}

/// What is offered. A file for another machine than this one is a head only: it has the kind and does not run.
const FILES: &[(&str, &[u8])] = &[
    ("omnictl-darwin-amd64", &mach(7)),
    ("omnictl-darwin-arm64", &mach(12)),
    ("omnictl-linux-amd64", &elf(62)),
    ("omnictl-linux-arm64", &elf(183)),
    ("omnictl-windows-amd64.exe", b"MZ"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(path: &str, faults: &[&str]) -> Reply {
        ask_of(Release::V1_9_3, path, faults)
    }

    fn ask_of(release: Release, path: &str, faults: &[&str]) -> Reply {
        let texts: Vec<String> = faults.iter().map(|name| (*name).to_owned()).collect();
        let link = Link { control: "127.0.0.1:1".to_owned(), token: "t".to_owned() };
        let front = Front::new(Arc::new(Faults::parse(&texts).unwrap()), Arc::default(), link, release);
        let request = Request {
            method: "GET".to_owned(),
            path: path.to_owned(),
            query: String::new(),
            headers: Vec::new(),
            body: Default::default(),
        };
        match front.answer(&request) {
            Answer::Reply(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn paths_answer_as_omni_answers_them() {
        assert_eq!((ask("/healthz", &[]).status, ask("/healthz", &[]).body.len()), (200, 0));
        assert_eq!(ask("/healthz", &["omni-unhealthy"]).status, 500);
        assert_eq!(ask("/healthz", &["omni-html"]).header("content-type"), Some(HTML));
        assert_eq!(ask("/no/such/page", &[]).status, 200);
        assert_eq!(ask("/api/omnictl/omnictl-plan9-mips", &[]).status, 404);
        assert_eq!(&ask("/api/omnictl/omnictl-darwin-arm64", &[]).body[..4], [0xcf, 0xfa, 0xed, 0xfe]);
    }

    #[test]
    fn downloads_are_where_the_release_serves_them() {
        let status = |release, path: &str| ask_of(release, path, &[]).status;
        let html = |release, path: &str| ask_of(release, path, &[]).header("content-type") == Some(HTML);
        let (new, old) = ("/api/omnictl/omnictl-darwin-arm64", "/omnictl/omnictl-darwin-arm64");
        assert_eq!(status(Release::V1_4_9, new), 404);
        assert_eq!(&ask_of(Release::V1_4_9, old, &[]).body[..4], [0xcf, 0xfa, 0xed, 0xfe]);
        assert!(status(Release::V1_9_3, old) == 200 && html(Release::V1_9_3, old), "its web page");
        assert!(!html(Release::V1_9_3, new));
    }

    #[test]
    fn the_own_download_is_this_program_with_its_lab() {
        let name = format!("/api/omnictl/omnictl-{}-{}", system(), machine());
        let body = ask(&name, &[]).body;
        let own = std::fs::metadata(std::env::current_exe().unwrap()).unwrap().len() as usize;
        assert!(body.len() > own, "{} bytes", body.len());
        assert!(body.ends_with(b"LABTRAIL"));
    }
}
