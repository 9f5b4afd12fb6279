//! Files on storages: uploads and downloads (pve-storage 9.1 `API2/Storage/Status.pm`).

use std::time::Duration;

use ring::digest;

use super::storage::path_of;
use super::{Call, Handler};
use crate::proxmox::World;
use crate::proxmox::refusal::{Outcome, Refusal};
use crate::proxmox::world::Volume;
use crate::proxmox::world::disk::is_iso;

/// Download speed of a node in bytes per second.
const DOWNLOAD_SPEED: u64 = 25 << 20;
const COPY: Duration = Duration::from_millis(300);
/// Size in bytes of the largest file whose content is kept; of larger files, only the size is kept.
const KEPT: usize = 1 << 20;

pub(super) const HANDLERS: &[Handler] = &[
    ("POST /nodes/{node}/storage/{storage}/upload", upload),
    ("POST /nodes/{node}/storage/{storage}/download-url", download),
];

/// Normalizes the file name of an image as PVE does (`normalize_content_filename`).
fn file_name(name: &str) -> Outcome<String> {
    let name = name.trim_end().rsplit(['/', '\\']).next().unwrap_or("");
    let good = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '_' };
    let name: String = name.chars().map(good).collect();
    if is_iso(&name) { Ok(name) } else { Err(Refusal::parameter("filename", "wrong file extension")) }
}

/// Returns the storage in the path and the content type in the parameters, if the storage accepts files of that type.
fn file_storage(call: &Call<'_>, node: &str, download: bool) -> Outcome<(String, String)> {
    let (id, content) = (call.args.text("storage"), call.args.text("content"));
    let storage = call.world.usable_storage(&id, node)?;
    if !storage.kind.has_files() {
        let more = if download { ", not a file based storage!" } else { "" };
        return Err(Refusal::die(format!("can't upload to storage type '{}'{more}", storage.kind.name())));
    }
    if !storage.content.contains(&content) {
        return Err(Refusal::die(match download {
            true => format!("storage '{id}' is not configured for content-type '{content}'"),
            false => format!("storage '{id}' does not support '{content}' content"),
        }));
    }
    Ok((id, content))
}

fn upload(call: &mut Call<'_>) -> Outcome {
    // This is the only call that the receiving node carries out itself, over ssh.
    super::reach(call.world, &call.node())?;
    let node = call.node();
    let file = call.upload.take().ok_or_else(|| Refusal::die("missing temporary file name"))?;
    let asked = call.args.get("filename").unwrap_or_else(|| file.filename.clone());
    let (id, content) = file_storage(call, &node, false)?;
    let name = file_name(&asked)?;
    let now = call.now;
    let effect = move |world: &mut World, log: &mut Vec<String>| {
        log.push("starting file import from: /var/tmp/pveupload-00000000000000000000000000000000".to_owned());
        let size = file.data.len() as u64;
        let data = (file.data.len() <= KEPT).then_some(file.data);
        let volume = Volume { size, used: size, data, ..new_file(&content, now) };
        log.push(format!("target node: {node}"));
        log.push(format!("file size is: {size}"));
        put_file(world, &node, (&id, &content, &name), volume).map_err(|why| format!("import failed: {why}"))?;
        log.push("finished file import successfully".to_owned());
        Ok(())
    };
    call.fork("imgcopy", "", COPY, Box::new(effect))
}

fn new_file(content: &str, now: u64) -> Volume {
    Volume { content: content.to_owned(), ctime: now, ..Volume::default() }
}

/// Writes a file to a storage, overwriting an existing one.
fn put_file(
    world: &mut World,
    node: &str,
    (id, content, name): (&str, &str, &str),
    volume: Volume,
) -> Result<(), String> {
    let backend = world.active_backend(id, node)?;
    let volid = format!("{id}:{content}/{name}");
    let replaced = backend.volumes.get(&volid).map_or(0, |old| old.used);
    if volume.used > backend.free() + replaced {
        let path = path_of(world, &volid);
        return Err(format!("cp: error writing '{path}': No space left on device"));
    }
    backend.volumes.insert(volid, volume);
    Ok(())
}

/// Simulates a download: a file of plausible size appears after the time that the download would take.
fn download(call: &mut Call<'_>) -> Outcome {
    let node = call.node();
    let (id, content) = file_storage(call, &node, true)?;
    let (name, url) = (file_name(&call.args.text("filename"))?, call.args.text("url"));
    let size = plausible_size(&url);
    let takes = Duration::from_millis(500) + Duration::from_secs_f64(size as f64 / DOWNLOAD_SPEED as f64);
    let volid = format!("{id}:{content}/{name}");
    let path = path_of(call.world, &volid);
    // PVE checks before it downloads, so two overlapping downloads of the same file both succeed.
    let exists = call.world.volume(&node, &volid).is_some();
    let (now, about) = (call.now, name.clone());
    let effect = move |world: &mut World, log: &mut Vec<String>| {
        log.push(format!("downloading {url} to {path}"));
        if exists {
            return Err(format!("refusing to override existing file '{path}'"));
        }
        let host = url.split('/').nth(2).unwrap_or("");
        log.push(format!("Resolving {host} ({host})... connected."));
        log.push("HTTP request sent, awaiting response... 200 OK".to_owned());
        log.push(format!("Length: {size} ({}M) [application/octet-stream]", size >> 20));
        let volume = Volume { size, used: size, ..new_file(&content, now + takes.as_secs()) };
        if put_file(world, &node, (&id, &content, &name), volume).is_err() {
            // This is how wget reports a short write; the file is named after the PID of the task (PVE::Tools, public logs).
            log.push(format!("Cannot write to '{path}.tmp_dwnl.214801' (Success)."));
            return Err("download failed: command 'wget' failed: exit code 3".to_owned());
        }
        log.push(format!("download of '{url}' to '{path}' finished"));
        Ok(())
    };
    call.fork("download", &about, takes, Box::new(effect))
}

/// The size of a Talos nocloud image: between 90 and 154 MiB, and always the same for a given URL.
fn plausible_size(url: &str) -> u64 {
    let hash = digest::digest(&digest::SHA256, url.as_bytes());
    let spread = hash.as_ref().iter().take(2).fold(0u64, |all, byte| all << 8 | u64::from(*byte));
    (90 << 20) + (spread << 10)
}
