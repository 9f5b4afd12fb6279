//! The protocol between a stand-in and its lab: lines of JSON over loopback, of which the first is a token.

use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::docker::engine::EngineRequest;
use crate::omni::api::OmniCall;
use crate::omni::kinds::OmniRelease;
use crate::omni::status::Status;

/// The file with the lab's address, next to the stand-ins' symbolic links.
pub const LINK_FILE: &str = ".lab.json";
/// The last bytes of an executable that contains its lab's address.
const MAGIC: &[u8; 8] = b"LABTRAIL";
/// Maximum length of a trailer in bytes; the usual length is a few hundred.
const TRAILER_LIMIT: u64 = 64 * 1024;

/// The address of a lab and its token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// `127.0.0.1:PORT`
    pub control: String,
    /// Secret token.
    pub token: String,
}

/// A request of a stand-in, `lab dump` or `lab stop`. The response is a line of JSON with a `Result`, described by each variant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// A stand-in was called. Returns a [`Start`].
    Start {
        /// `omnictl` or `docker`.
        program: String,
        argv: Vec<String>,
    },
    /// A call to Omni. [`OmniCall`] describes the responses.
    Omni {
        /// The service-account key from the environment.
        key: Option<String>,
        call: Box<OmniCall>,
    },
    /// The same for a list that `omnictl get -o json` prints. Returns the text's length in bytes; the text follows the line.
    Print { key: Option<String>, call: Box<OmniCall> },
    /// Waits until Omni's revision is greater than `after`. Returns the revision.
    Change {
        after: u64,
        /// Maximum wait in milliseconds of real time.
        within_ms: u64,
    },
    /// A call to the container engine. [`EngineRequest`] describes the responses.
    Engine(Box<EngineRequest>),
    /// Returns the state of the whole lab.
    Dump,
    /// Takes a node with its guests offline, or back online.
    Node { name: String, online: bool },
    /// Makes an API call as root on a Proxmox node.
    OnNode { second: bool, verb: String, path: String, args: Vec<(String, String)> },
    /// Ends a fault.
    Heal { name: String },
    /// Stops the lab.
    Stop,
}

/// An error response of the lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Refusal {
    /// An error of the lab itself: the token is wrong, the line is not a request, or the object does not exist.
    Lab(String),
    /// An error of Omni.
    Omni(Status),
    /// An error of the container engine: the text after `Error response from daemon: `.
    Engine(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Omni(status) => status.fmt(f),
            Refusal::Lab(text) | Refusal::Engine(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Status> for Refusal {
    fn from(status: Status) -> Refusal {
        Refusal::Omni(status)
    }
}

/// The parameters that a stand-in needs at its start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// The release that it simulates.
    pub release: OmniRelease,
    /// Port of Omni's front.
    pub omni_port: u16,
    /// The CA of the front's certificate as PEM; empty if no CA signed it.
    pub omni_ca: String,
    /// CPU time of its start in milliseconds.
    pub busy_ms: u64,
    /// Whether something other than Omni answers at Omni's endpoint.
    pub html: bool,
    /// Whether Omni's container has exited, so that connections are dropped.
    pub omni_down: bool,
    /// The problem with the front's certificate other than its CA, in the words of rustls.
    pub omni_tls: Option<String>,
    /// The names of the faults that the stand-in itself simulates.
    pub faults: Vec<String>,
}

impl Start {
    /// Whether the stand-in simulates this fault.
    pub fn has_fault(&self, fault: &str) -> bool {
        self.faults.iter().any(|name| name == fault)
    }
}

/// An open connection to the lab.
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Connects to the lab. Fails if the lab has ended.
    pub fn open(link: &Link) -> Result<Client> {
        let gone = || format!("this stand-in's lab at {} has ended: start it again with `lab serve`", link.control);
        let stream = TcpStream::connect(&link.control).with_context(gone)?;
        stream.set_nodelay(true).context("cannot set up the connection to the lab")?;
        let mut client = Client { reader: BufReader::new(stream) };
        client.write(&link.token)?;
        Ok(client)
    }

    fn write(&mut self, what: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_vec(what).context("cannot write to the lab")?;
        text.push(b'\n');
        self.reader.get_mut().write_all(&text).context("the lab has ended")
    }

    /// Sends a request and waits for the response. Fails with a [`Refusal`], or if the lab has ended.
    pub fn ask<T: DeserializeOwned>(&mut self, what: &Request) -> Result<T> {
        self.write(what)?;
        let mut text = String::new();
        self.reader.read_line(&mut text).context("the lab has ended")?;
        if text.is_empty() {
            bail!("the lab has ended");
        }
        let answer: Result<T, Refusal> =
            serde_json::from_str(&text).context("the lab's answer is not understood: is it of another build?")?;
        Ok(answer?)
    }

    /// Prints the text that follows the response to [`Request::Print`].
    pub fn print(&mut self, length: u64) -> Result<()> {
        let printed = std::io::copy(&mut self.reader.by_ref().take(length), &mut std::io::stdout().lock())?;
        ensure!(printed == length, "the lab has ended");
        Ok(())
    }

    /// Waits until the lab ends.
    pub fn wait_for_end(&mut self) {
        let mut rest = Vec::new();
        let _ = self.reader.read_to_end(&mut rest);
    }
}

/// Reports the call of a stand-in to its lab and returns the connection and the parameters of the start.
pub fn begin(program: &str, argv0: &str, argv: &[String]) -> Result<(Client, Start)> {
    let link = find(argv0).context("this stand-in belongs to no lab that it can find")?;
    let mut client = Client::open(&link)?;
    let start: Start = client.ask(&Request::Start { program: program.to_owned(), argv: argv.to_vec() })?;
    super::busy(start.busy_ms);
    Ok((client, start))
}

/// Finds the lab that a stand-in belongs to: by the file next to the symbolic link through which it was called, otherwise by the
/// trailer of its own executable.
pub fn find(argv0: &str) -> Option<Link> {
    let beside = |dir: PathBuf| -> Option<Link> {
        let text = std::fs::read_to_string(dir.join(LINK_FILE)).ok()?;
        serde_json::from_str(&text).ok()
    };
    let called = Path::new(argv0);
    let dirs: Vec<PathBuf> = if argv0.contains('/') {
        called.parent().map(Path::to_path_buf).into_iter().collect()
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).filter(|dir| dir.join(called).exists()).take(1).collect()
    };
    dirs.into_iter().find_map(beside).or_else(trailer)
}

/// Reads the address in the trailer of this executable.
pub fn trailer() -> Option<Link> {
    let mut file = std::fs::File::open(std::env::current_exe().ok()?).ok()?;
    let end = file.seek(SeekFrom::End(-16)).ok()?;
    let mut tail = [0u8; 16];
    file.read_exact(&mut tail).ok()?;
    let length = u64::from_le_bytes(tail[..8].try_into().ok()?);
    if &tail[8..] != MAGIC || length > TRAILER_LIMIT.min(end) {
        return None;
    }
    file.seek(SeekFrom::Start(end - length)).ok()?;
    let mut text = vec![0u8; usize::try_from(length).ok()?];
    file.read_exact(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Appends the address of a lab to an executable.
pub fn with_trailer(mut executable: Vec<u8>, link: &Link) -> Vec<u8> {
    let text = serde_json::to_vec(link).unwrap_or_default();
    executable.extend(&text);
    executable.extend((text.len() as u64).to_le_bytes());
    executable.extend(MAGIC);
    executable
}
