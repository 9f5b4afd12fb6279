//! The contents of the stack's volumes, and the programs of the etcd image: `docker cp`, and `docker run` of `etcdctl` and
//! `etcdutl` (etcd 3.6.6, recorded).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::ask_engine;
use super::engine::{ContainerInfo, EngineRequest};
use crate::tools::failure::ToolError;
use crate::tools::protocol::{Client, Start};
use crate::tools::{err, out};

/// The only public key that the simulated Omni adds a slot for, and the file that marks that it has done so.
pub const NEXT_KEY: &str = include_str!("../../../../xtask/tests/fixtures/pgp/next-pub.txt");
pub const ADDED: &str = "next-key";

/// The store of an Omni 1.4.9 with 39 machines that uses the lab's key and account. Its last revision is a key store that also
/// has a slot for [`NEXT_KEY`] (cosi-project/runtime v1.16.2 `pkg/keystorage`, run), under `keystore-next/` until it is added.
const ETCD: &[u8] = include_bytes!("../../../data/store/etcd.db");
const SQLITE: &[u8] = include_bytes!("../../../data/store/omni.db");
const SQLITE_WAL: &[u8] = include_bytes!("../../../data/store/omni.db-wal");
/// The account in that store.
const ACCOUNT: &[u8] = b"00000000-0000-4000-8000-000000000000";
/// Length in bytes of the checksum at the end of a snapshot.
const SUM: usize = 32;

/// Finds a container by name and returns it with its project.
pub fn find(client: &mut Client, name: &str) -> Result<(String, ContainerInfo), ToolError> {
    let found: Option<(String, ContainerInfo)> = ask_engine(client, EngineRequest::Find(name.to_owned()))?;
    found.ok_or_else(|| ToolError::of_daemon(format!("No such container: {name}")))
}

fn file_not_found(path: &str, name: &str) -> ToolError {
    ToolError::of_daemon(format!("Could not find the file {path} in container {name}"))
}

/// The directory with the contents of the volumes.
fn data_dir(client: &mut Client) -> Result<PathBuf, ToolError> {
    ask_engine(client, EngineRequest::Data)
}

/// The directory of a container's volume, filled on first use with the files that the container's program would have written.
fn volume_dir(client: &mut Client, name: &str, path: &str) -> Result<PathBuf, ToolError> {
    let (project, shown) = find(client, name)?;
    let path = path.trim_end_matches("/.");
    let volume =
        shown.service.mounts(true).find(|volume| volume.target == path).ok_or_else(|| file_not_found(path, name))?;
    let dir = data_dir(client)?.join(format!("{project}_{}", volume.source));
    let fresh = !dir.exists();
    fs::create_dir_all(&dir).context("cannot make a volume")?;
    let write = |file: &str, bytes: &[u8]| fs::write(dir.join(file), bytes).context("cannot fill a volume");
    match path {
        _ if !fresh || shown.started == 0 => {}
        "/_out/sqlite" => {
            write("omni.db", SQLITE)?;
            write("omni.db-wal", SQLITE_WAL)?;
        }
        "/_out/etcd" => {
            let mut bytes = ETCD[..ETCD.len() - SUM].to_vec();
            let own = shown.service.argv.iter().find_map(|word| word.strip_prefix("--account-id="));
            own.into_iter().for_each(|own| replace(&mut bytes, ACCOUNT, own.as_bytes()));
            fs::create_dir_all(dir.join("member/snap")).context("cannot fill a volume")?;
            write("member/snap/db", &bytes)?;
        }
        // Each node has its own key.
        _ => write("tailscaled.state", format!("{{\"_machinekey\": \"privkey:{}\"}}\n", shown.id).as_bytes())?,
    }
    let (db, added) = (dir.join("member/snap/db"), dir.with_file_name(ADDED).exists());
    if let Some(mut bytes) = added.then(|| fs::read(&db).ok()).flatten() {
        replace(&mut bytes, b"keystore-next/", b"keystore-omni/");
        fs::write(db, bytes).context("cannot add a slot")?;
    }
    Ok(dir)
}

/// Replaces each occurrence of `text` with `own`, which must have the same length.
fn replace(bytes: &mut [u8], text: &[u8], own: &[u8]) {
    for at in 0..bytes.len().saturating_sub(text.len()) {
        if bytes[at..].starts_with(text) && own.len() == text.len() {
            bytes[at..at + own.len()].copy_from_slice(own);
        }
    }
}

/// `volume rm NAME…`
pub fn remove(client: &mut Client, names: &[&str]) -> Result<(), ToolError> {
    let data = data_dir(client)?;
    for name in names {
        if !ask_engine::<bool>(client, EngineRequest::Unmake(format!("Volume {name}")))? {
            return Err(ToolError::of_daemon(format!("get {name}: no such volume")));
        }
        let _ = fs::remove_file(data.join(ADDED));
        // A volume that nothing was copied into does not have a directory.
        let _ = fs::remove_dir_all(data.join(name));
        out(&format!("{name}\n"));
    }
    Ok(())
}

/// `cp CONTAINER:PATH -` of a config: prints an archive, whose header is left empty here.
pub fn print_config(client: &mut Client, from: &str) -> Result<(), ToolError> {
    const BLOCK: usize = 512;
    let (name, path) = from.split_once(':').ok_or(ToolError::Unknown)?;
    let (_, shown) = find(client, name)?;
    let content = shown.service.contents.get(path).ok_or_else(|| file_not_found(path, name))?;
    let size = content.len().next_multiple_of(BLOCK);
    out(&format!("{}{content:\0<size$}", "\0".repeat(BLOCK)));
    Ok(())
}

/// `cp CONTAINER:PATH/. DIR` and `cp DIR/. CONTAINER:PATH`
pub fn copy(client: &mut Client, from: &str, to: &str) -> Result<(), ToolError> {
    let mut place = |word: &str| match word.split_once(':') {
        Some((name, path)) => volume_dir(client, name, path),
        None => Ok(PathBuf::from(word)),
    };
    let (from, to) = (place(from)?, place(to)?);
    Ok(copy_all(&from, &to).context("cannot copy")?)
}

fn copy_all(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (entry, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name())))?;
        if entry.is_dir() { copy_all(&entry, &to)? } else { fs::copy(&entry, &to).map(drop)? }
    }
    Ok(())
}

/// `run --rm --init --network NETWORK --user USER --cap-drop ALL --volume DIR:/backup --entrypoint PROGRAM IMAGE WORD…`
pub fn run(client: &mut Client, start: &Start, words: &[&str]) -> Result<(), ToolError> {
    let ["--network", network, "--user", _, "--cap-drop", "ALL", words @ ..] = words else {
        return Err(ToolError::Unknown);
    };
    // Optional mount of the certificates for an external etcd.
    let site = words.get(1).is_some_and(|mount| mount.ends_with(":/etc/omni/site:ro"));
    let ["--volume", mount, "--entrypoint", program, image, args @ ..] = &words[2 * usize::from(site)..] else {
        return Err(ToolError::Unknown);
    };
    if !image.contains("/etcd:") {
        err("docker: ");
        err(&format!("Error response from daemon: pull access denied for {image}, repository does not exist\n"));
        return Err(ToolError::Ended(125));
    }
    let Some(dir) = mount.strip_suffix(":/backup") else { return Err(ToolError::Unknown) };
    let host =
        |path: &str| path.strip_prefix("/backup/").map(|rest| Path::new(dir).join(rest)).ok_or(ToolError::Unknown);
    match (*program, args) {
        // No other etcd is simulated, so other endpoints do not answer.
        ("etcdctl", [endpoint, .., "--command-timeout=10s", "endpoint", "health"]) => {
            let address = endpoint.trim_start_matches("--endpoints=");
            let (project, sidecar) = find(client, network.trim_start_matches("container:"))?;
            let (_, omni) = find(client, &format!("{project}-omni-1"))?;
            let runs = [&sidecar, &omni].iter().all(|shown| shown.state == "running") && !start.omni_down;
            if !runs || address != "http://localhost:2379" {
                err(&format!("{address} is unhealthy: failed to commit proposal: context deadline exceeded\n"));
                err("Error: unhealthy cluster\n");
                return Err(ToolError::Ended(1));
            }
            out("http://localhost:2379 is healthy: successfully committed proposal: took = 2.21ms\n");
        }
        ("etcdctl", ["--endpoints=http://localhost:2379", "snapshot", "save", file]) => {
            let (project, _) = find(client, network.trim_start_matches("container:"))?;
            let mut bytes =
                fs::read(volume_dir(client, &format!("{project}-omni-1"), "/_out/etcd")?.join("member/snap/db"))
                    .context("no store")?;
            bytes.extend(ring::digest::digest(&ring::digest::SHA256, &bytes.clone()).as_ref());
            fs::write(host(file)?, bytes).context("cannot save the snapshot")?;
            out(&format!("Snapshot saved at {file}\nServer version 3.6.0\n"));
        }
        ("etcdutl", ["snapshot", "restore", file, "--data-dir", data]) => {
            let bytes = fs::read(host(file)?).context("no snapshot")?;
            let (db, sum) = bytes.split_at(bytes.len().saturating_sub(SUM));
            let found = ring::digest::digest(&ring::digest::SHA256, db);
            if found.as_ref() != sum {
                err(&format!("Error: expected sha256 {sum:?}, got {:?}\n", found.as_ref()));
                return Err(ToolError::Ended(1));
            }
            let snap = host(data)?.join("member/snap");
            fs::create_dir_all(&snap).and_then(|()| fs::write(snap.join("db"), db)).context("cannot restore")?;
        }
        _ => return Err(ToolError::Unknown),
    }
    Ok(())
}
