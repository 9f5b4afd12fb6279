//! How a stand-in and its lab talk: lines of JSON over loopback, the first one a token.

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

/// The file beside the stand-ins' links.
pub const LINK_FILE: &str = ".lab.json";
/// What ends an executable that carries its lab's address.
const MAGIC: &[u8; 8] = b"LABTRAIL";
/// A trailer is a few hundred bytes.
const TRAILER_LIMIT: u64 = 64 * 1024;

/// Where a lab is and what opens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// `127.0.0.1:PORT`
    pub control: String,
    /// Secret.
    pub token: String,
}

/// What a stand-in, or `lab dump` and `lab stop`, asks. The answer is a line with a `Result` in JSON, whose value the variant names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// A stand-in was called: [`Start`].
    Start {
        /// `omnictl` or `docker`.
        program: String,
        argv: Vec<String>,
    },
    /// A call to Omni, which [`OmniCall`] says the answers of.
    Omni {
        /// The service-account key, as it is in the environment.
        key: Option<String>,
        call: Box<OmniCall>,
    },
    /// The same for a list, whose text `omnictl get -o json` prints: its length in bytes, and after the line the text as it is.
    Print { key: Option<String>, call: Box<OmniCall> },
    /// Waits until Omni's revision is beyond `after`: the revision.
    Change {
        after: u64,
        /// Real time to wait at most, in milliseconds.
        within_ms: u64,
    },
    /// A call to the container engine, which [`EngineRequest`] says the answers of.
    Engine(Box<EngineRequest>),
    /// The state of everything.
    Dump,
    /// A node goes off, with its guests, or comes back.
    Node { name: String, online: bool },
    /// What root does on a node of Proxmox: a call of its API.
    OnNode { second: bool, verb: String, path: String, args: Vec<(String, String)> },
    /// The end of a fault.
    Heal { name: String },
    /// The end of the lab.
    Stop,
}

/// Why the lab does not answer what was asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Refusal {
    /// The lab itself: the token is wrong, the line was no question, or there is no such thing.
    Lab(String),
    /// Omni.
    Omni(Status),
    /// The container engine: `Error response from daemon: …` without these words.
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

/// What a stand-in must know before it does anything.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// Which release it speaks like.
    pub release: OmniRelease,
    /// Port of Omni's front.
    pub omni_port: u16,
    /// The authority of the front's certificate as PEM; empty where no authority vouches for it.
    pub omni_ca: String,
    /// Processor time that its start costs, in milliseconds.
    pub busy_ms: u64,
    /// Something else than Omni answers at its endpoint.
    pub html: bool,
    /// Omni's container has ended: who connects is dropped.
    pub omni_down: bool,
    /// What is wrong with the front's certificate besides its authority, in rustls' words.
    pub omni_tls: Option<String>,
    /// What the stand-in itself does differently: names of faults.
    pub faults: Vec<String>,
}

impl Start {
    /// Whether the stand-in is to show this fault.
    pub fn shows(&self, fault: &str) -> bool {
        self.faults.iter().any(|name| name == fault)
    }
}

/// An open conversation.
pub struct Client {
    reader: BufReader<TcpStream>,
}

impl Client {
    /// Opens a conversation. Fails if the lab has ended.
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

    /// Asks and waits for the answer. An error is a [`Refusal`], or the lab has ended.
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

    /// Prints the text that follows the answer to [`Request::Print`].
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

/// Tells its lab that a stand-in was called; what it must know before it does anything.
pub fn begin(program: &str, argv0: &str, argv: &[String]) -> Result<(Client, Start)> {
    let link = find(argv0).context("this stand-in belongs to no lab that it can find")?;
    let mut client = Client::open(&link)?;
    let start: Start = client.ask(&Request::Start { program: program.to_owned(), argv: argv.to_vec() })?;
    super::busy(start.busy_ms);
    Ok((client, start))
}

/// Finds the lab that a stand-in belongs to: by the file beside the link it was called through, else by the trailer of its
/// own executable.
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

/// The address in the trailer of this very executable.
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

/// An executable with the address of its lab at its end.
pub fn with_trailer(mut executable: Vec<u8>, link: &Link) -> Vec<u8> {
    let text = serde_json::to_vec(link).unwrap_or_default();
    executable.extend(&text);
    executable.extend((text.len() as u64).to_le_bytes());
    executable.extend(MAGIC);
    executable
}
