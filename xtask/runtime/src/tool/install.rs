//! Installs omnictl: from the operator's own Omni, which serves its own version, or else from the release of that version,
//! verified by its checksum. Never another version.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::archive;
use super::curl::{self, Request};
use super::omnictl;
use crate::cx::Cx;
use crate::files;
use domain::failure::{Code, Failure};
use domain::version;

/// The paths at which Omni serves omnictl: since 1.9, and before (siderolabs/omni@86159433 `internal/backend/server.go`).
const PATHS: [&str; 2] = ["/api/omnictl", "/omnictl"];
const RELEASES: &str = "https://github.com/siderolabs/omni/releases/download";
const DOWNLOAD: Duration = Duration::from_secs(300);
/// The number of bytes that are enough to distinguish a program from a web page.
const HEAD: usize = 64;

/// Where to download omnictl from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The Omni endpoint.
    pub omni: Option<String>,
    /// A mirror of the releases, used instead of Omni and GitHub.
    pub mirror: Option<String>,
    /// The release to install if Omni does not serve omnictl: `v1.9.3`. Omni's own version, or the one that the operator named.
    pub release: Option<String>,
    pub ca_file: Option<String>,
}

impl Sources {
    /// Only the configured Omni, which serves its own version.
    pub fn of(cx: &Cx) -> Sources {
        Sources {
            release: None,
            omni: cx.settings.omni_endpoint(None).map(|found| found.value),
            mirror: None,
            ca_file: cx.settings.ca_file(None).map(|found| found.value),
        }
    }
}

/// An omnictl that was installed.
#[derive(Debug, Clone)]
pub struct Installed {
    pub path: PathBuf,
    pub version: String,
    pub from: String,
}

/// Installs omnictl if it is missing, after asking the operator.
///
/// # Errors
/// [`Code::Prerequisite`] if it is missing and may not be installed; otherwise fails like [`install`].
pub fn install_if_missing(cx: &Cx) -> Result<(), Failure> {
    let Err(absent) = omnictl::program() else { return Ok(()) };
    if cx.dry_run || !(cx.ask.yes() || cx.ask.can_prompt()) {
        return Err(Failure { next: vec!["cargo xtask omnictl-install --yes".to_owned()], ..absent });
    }
    let question = format!("omnictl is not installed. Install it at {}?", omnictl::install_path()?.display());
    if !cx.ask.yes() && !cx.ask.confirm(&question, false)? {
        return Err(Failure::new(Code::Interrupted, "omnictl was not installed")
            .cause("the answer was no; nothing was changed")
            .next("cargo xtask omnictl-install"));
    }
    let installed = cx.ui.step("omnictl", "Check that omnictl is installed", || {
        let installed = install(cx, &Sources::of(cx))?;
        let detail = format!("{} from {}", installed.version, installed.from);
        Ok(crate::ui::StepResult::changed(installed, detail))
    });
    installed.map(drop).map_err(|error| Failure::of(&error))
}

/// Checks that tasks call the installed omnictl: PATH is searched before its directory.
///
/// # Errors
/// [`Code::Conflict`] if PATH has another omnictl of a different version first.
pub fn check_first_on_path(cx: &Cx, installed: &Installed) -> Result<(), Failure> {
    let Some(first) = omnictl::locate().filter(|first| *first != installed.path) else { return Ok(()) };
    let other = omnictl::version_of(cx, &first).map_or("a file that cannot be run".to_owned(), |(version, _)| version);
    if version::is_same_version(&other, &installed.version) {
        let detail = format!("{}, of the same version", first.display());
        cx.ui.note("path", "PATH has another omnictl first", crate::ui::Status::Warning, detail);
        return Ok(());
    }
    let dir = installed.path.parent().unwrap_or(Path::new("."));
    Err(Failure::new(Code::Conflict, format!("PATH has another omnictl first: `{}`", first.display()))
        .cause(format!(
            "it is {other}; {} was installed at `{}`, and tasks call the first one",
            installed.version,
            installed.path.display()
        ))
        .hint("remove the first one, or put the directory of the new one before it")
        .next(format!("export PATH=\"{}:$PATH\"", dir.display())))
}

/// The file name of omnictl for this machine in releases and in Omni: `omnictl-linux-amd64`.
///
/// # Errors
/// [`Code::Prerequisite`] if omnictl is not available for this machine.
pub fn asset_name() -> Result<String, Failure> {
    let os = match std::env::consts::OS {
        "linux" => "linux",
        "macos" => "darwin",
        other => return Err(unsupported(other)),
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => return Err(unsupported(other)),
    };
    Ok(format!("omnictl-{os}-{arch}"))
}

fn unsupported(what: &str) -> Failure {
    Failure::new(Code::Prerequisite, format!("omnictl is not available for {what}"))
        .hint("run the tasks on Linux or macOS, on amd64 or arm64")
}

/// A place to download omnictl from.
struct Candidate {
    base: String,
    /// The required version, which a checksum verifies; `None` for Omni's own omnictl.
    release: Option<String>,
}

/// The download places for `sources`, in order.
fn candidates(sources: &Sources) -> Vec<Candidate> {
    let release = |base: &str| {
        let release = sources.release.clone()?;
        Some(Candidate { base: format!("{}/{release}", base.trim_end_matches('/')), release: Some(release) })
    };
    // If a mirror is given, use only that.
    if let Some(mirror) = &sources.mirror {
        return release(mirror).into_iter().collect();
    }
    let omni = sources.omni.iter().flat_map(|omni| {
        let omni = omni.trim_end_matches('/');
        PATHS.iter().map(move |path| Candidate { base: format!("{omni}{path}"), release: None })
    });
    omni.chain(release(RELEASES)).collect()
}

/// Downloads, verifies and installs omnictl; a download that fails the checks leaves nothing behind.
///
/// # Errors
/// Lists each source with its reason if no source has a valid program; [`Code::Prerequisite`] if there is no source.
pub fn install(cx: &Cx, sources: &Sources) -> Result<Installed, Failure> {
    let asset = asset_name()?;
    let place = omnictl::install_path()?;
    let dir = place.parent().unwrap_or(Path::new(".")).to_owned();
    fs::create_dir_all(&dir)
        .map_err(|error| Failure { code: Code::Prerequisite, ..files::io_failure("create", &dir, &error) })?;
    let unwritten = |error: std::io::Error| files::io_failure("write", &place, &error);
    let temp = tempfile::Builder::new().prefix(".omnictl.").suffix(".tmp").tempfile_in(&dir).map_err(unwritten)?;
    let temp = temp.into_temp_path();
    let mut refused: Vec<Failure> = Vec::new();
    for candidate in candidates(sources) {
        // If Omni does not respond at one path, it does not respond at the other either.
        let silent = |failure: &Failure| matches!(failure.code, Code::Unreachable | Code::Timeout);
        if candidate.release.is_none() && refused.iter().any(silent) {
            continue;
        }
        match fetch(cx, &candidate, &asset, sources.ca_file.as_deref(), &temp) {
            Ok(version) => {
                temp.persist(&place).map_err(|error| unwritten(error.error))?;
                return Ok(Installed { path: place, version, from: candidate.base });
            }
            Err(failure) if failure.code == Code::Interrupted => return Err(failure),
            Err(failure) => {
                let message = format!("{}/{asset}: {}", candidate.base, failure.message);
                refused.push(Failure { message, ..failure });
            }
        }
    }
    Err(no_usable_download(&refused, &place))
}

/// The failure of an installation, from the failure of each place.
fn no_usable_download(refused: &[Failure], place: &Path) -> Failure {
    let by_hand = format!("put the omnictl of your Omni's version on PATH or at {} by hand", place.display());
    let Some(first) = refused.first() else {
        return Failure::new(Code::Prerequisite, "the version of Omni is not known, so no omnictl was downloaded")
            .cause("a version other than Omni's may not work with it")
            .hint(format!("log in to Omni, specify its version with --release, or {by_hand}"))
            .next("cargo xtask omnictl-install --release VERSION");
    };
    let causes: Vec<String> = refused.iter().map(ToString::to_string).collect();
    Failure::new(first.code, "omnictl could not be installed").cause(causes.join("\n")).hint(by_hand)
}

/// Downloads from one place to `temp`, checks the file and runs it once. Returns its version.
fn fetch(cx: &Cx, from: &Candidate, asset: &str, ca: Option<&str>, temp: &Path) -> Result<String, Failure> {
    let url = format!("{}/{asset}", from.base);
    let follow = from.release.is_some();
    let request = Request { ca_file: ca, timeout: DOWNLOAD, output: Some(temp), follow, ..Request::get(&url) };
    let reply = curl::fetch(cx, "downloading omnictl", &request)?;
    match reply.status {
        200 => {}
        404 => return Err(Failure::new(Code::NotFound, "not found (status 404)")),
        status => return Err(Failure::new(Code::Failed, format!("not served (status {status})"))),
    }
    let bytes = fs::read(temp)
        .map_err(|error| Failure::new(Code::Failed, "the download cannot be read").cause(error.to_string()))?;
    check_program(&bytes[..bytes.len().min(HEAD)], &reply.content_type)?;
    if from.release.is_some() {
        check_sum(cx, &from.base, asset, ca, temp)?;
    }
    fs::set_permissions(temp, fs::Permissions::from_mode(0o755))
        .map_err(|error| Failure::new(Code::Failed, "cannot make it executable").cause(error.to_string()))?;
    let (version, _) = omnictl::version_of(cx, temp)
        .map_err(|failure| Failure::new(Code::Failed, "the download does not run as omnictl").cause(failure.cause))?;
    match &from.release {
        Some(release) if !version::is_same_version(release, &version) => {
            Err(Failure::new(Code::Failed, format!("it is omnictl {version}, not {release}"))
                .cause("the release contains a version other than its name"))
        }
        _ => Ok(version),
    }
}

/// Refuses a file that is not a program for this machine: a web page, an archive, a binary for another system or processor.
fn check_program(head: &[u8], content_type: &str) -> Result<(), Failure> {
    let refuse =
        |why: String| Err(Failure::new(Code::Failed, "the download is not an omnictl for this machine").cause(why));
    let html = head.first() == Some(&b'<') || content_type == "text/html";
    match (std::env::consts::OS, head) {
        _ if head.is_empty() => refuse("it is empty".to_owned()),
        _ if html => refuse("it is a web page: another service responds at the address".to_owned()),
        ("linux", [0x7f, b'E', b'L', b'F', class, order, ..]) => {
            // e_machine, at offset 18: 62 is x86-64, 183 is AArch64.
            let machine = head.get(18..20).map(|field| u16::from_le_bytes([field[0], field[1]]));
            let expected = if std::env::consts::ARCH == "aarch64" { 183 } else { 62 };
            match machine {
                Some(machine) if machine == expected && *class == 2 && *order == 1 => Ok(()),
                _ => refuse(format!("it is a program for another processor ({machine:?}; this host has {expected})")),
            }
        }
        ("macos", [0xcf, 0xfa, 0xed, 0xfe, cpu @ ..]) => {
            let expected = if std::env::consts::ARCH == "aarch64" { 0x0c } else { 0x07 };
            if cpu.first() == Some(&expected) {
                Ok(())
            } else {
                refuse("it is a program for another processor".to_owned())
            }
        }
        _ => refuse(format!("it does not start like a program for {}", std::env::consts::OS)),
    }
}

/// Compares the file with the line for `asset_name` in the release's `sha256sum.txt`.
fn check_sum(cx: &Cx, base: &str, asset: &str, ca: Option<&str>, file: &Path) -> Result<(), Failure> {
    let url = format!("{base}/sha256sum.txt");
    let reply =
        curl::fetch(cx, "downloading the checksums", &Request { ca_file: ca, follow: true, ..Request::get(&url) })?;
    let expected = reply.body.lines().filter(|_| reply.status == 200).find_map(|line| {
        let (sum, name) = line.split_once(char::is_whitespace)?;
        (name.trim().trim_start_matches('*') == asset).then(|| sum.to_ascii_lowercase())
    });
    let Some(expected) = expected else {
        return Err(Failure::new(Code::Failed, "it cannot be verified")
            .cause(format!("{url} contains no checksum for {asset}")));
    };
    let found = archive::sha256(file).map_err(|error| files::io_failure("read", file, &error))?;
    if found == expected {
        return Ok(());
    }
    Err(Failure::new(Code::Failed, "its checksum is wrong")
        .cause(format!("expected {expected}, found {found}: it was modified or is incomplete")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_belong_to_this_omni() {
        let bases = |sources: &Sources| candidates(sources).into_iter().map(|each| each.base).collect::<Vec<_>>();
        let omni = Some("https://omni.example.org/".to_owned());
        let own = ["https://omni.example.org/api/omnictl", "https://omni.example.org/omnictl"];
        assert_eq!(bases(&Sources { omni: omni.clone(), ..Sources::default() }), own);
        let release = Some("v1.4.9".to_owned());
        let found = bases(&Sources { omni: omni.clone(), release: release.clone(), ..Sources::default() });
        assert_eq!((&found[..2], found[2].ends_with("/download/v1.4.9")), (&own.map(str::to_owned)[..], true));
        let mirror = Some("https://mirror.example.org/omni/".to_owned());
        let found = bases(&Sources { omni, mirror: mirror.clone(), release, ca_file: None });
        assert_eq!(found, ["https://mirror.example.org/omni/v1.4.9"]);
        assert!(bases(&Sources { mirror, ..Sources::default() }).is_empty(), "of no version that is known");
        let failure = no_usable_download(&[], Path::new("/x"));
        assert_eq!((failure.code, failure.next.len()), (Code::Prerequisite, 1));
    }

    #[test]
    fn install_accepts_only_a_native_program() {
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(check_program(&own[..HEAD], "application/octet-stream").is_ok());
        let mut other = own[..HEAD].to_vec();
        other[18] ^= 0xff;
        other[4] ^= 0x01;
        for (head, content_type, why) in [
            (&b"<!doctype html>"[..], "text/html", "web page"),
            (&b"<html>"[..], "", "web page"),
            (&b""[..], "", "empty"),
            (&b"PK\x03\x04"[..], "application/zip", "does not start"),
            (&own[..10], "", "another processor"),
            (&other[..], "", "another processor"),
        ] {
            let failure = check_program(head, content_type).unwrap_err();
            assert!(failure.cause.contains(why), "{why}: {failure}");
        }
    }
}
