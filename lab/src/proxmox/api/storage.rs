//! `/storage` and `/nodes/{node}/storage` (pve-storage 9.1 `API2/Storage/{Config,Status,Content}.pm`).

use std::time::Duration;

use ring::digest;
use serde_json::{Value, json};

use super::drives::check_volume_access;
use super::{Call, Method, Needs};
use crate::proxmox::World;
use crate::proxmox::params::{Kind, Param, optional, required};
use crate::proxmox::refusal::{Outcome, Refusal};
use crate::proxmox::world::disk::{is_iso, parse_volname, split_volid};
use crate::proxmox::world::{Storage, Volume};
use crate::tls::hex;

/// Bytes a second at which a node downloads.
const DOWNLOAD_SPEED: u64 = 25 << 20;
const COPY: Duration = Duration::from_millis(300);
const REMOVE: Duration = Duration::from_millis(300);
/// The largest file whose bytes are kept, in bytes; of larger ones only the size is.
const KEPT: usize = 1 << 20;

const SEE: &[&str] = &["Datastore.Audit", "Datastore.AllocateSpace"];
const SEE_IT: Needs = Needs::Any("/storage/{storage}", SEE);
const FILL_IT: Needs = Needs::All("/storage/{storage}", &["Datastore.AllocateTemplate"]);

const CONTENT: Kind = Kind::Enum(&["iso", "vztmpl", "import"]);
const CHECKSUMS: Kind = Kind::Enum(&["md5", "sha1", "sha224", "sha256", "sha384", "sha512"]);

const LIST: &[Param] = &[
    optional("storage", Kind::Format(super::storage_id)),
    optional("content", Kind::Text(256)),
    optional("enabled", Kind::Bool),
    optional("target", Kind::Format(super::node_name)),
    optional("format", Kind::Bool),
];

pub(super) const METHODS: &[Method] = &[
    Method::new("GET", "/storage", Needs::Anyone, config_list).with(&[optional("type", Kind::Text(32))]),
    Method::new("GET", "/storage/{storage}", Needs::All("/storage/{storage}", &["Datastore.Allocate"]), config_read),
    Method::new("GET", "/nodes/{node}/storage", Needs::Anyone, list).on_node().with(LIST),
    Method::new("GET", "/nodes/{node}/storage/{storage}", SEE_IT, index).on_node(),
    Method::new("GET", "/nodes/{node}/storage/{storage}/status", SEE_IT, status).on_node(),
    Method::new("GET", "/nodes/{node}/storage/{storage}/content", SEE_IT, content)
        .on_node()
        .with(&[optional("content", Kind::Text(256)), optional("vmid", Kind::Int(100, 999_999_999))]),
    Method::new("GET", "/nodes/{node}/storage/{storage}/content/{volume*}", Needs::Anyone, info).on_node(),
    Method::new("DELETE", "/nodes/{node}/storage/{storage}/content/{volume*}", Needs::Anyone, remove)
        .on_node()
        .with(&[optional("delay", Kind::Int(1, 30))]),
    Method::new("POST", "/nodes/{node}/storage/{storage}/upload", FILL_IT, upload).with(&[
        required("content", CONTENT),
        optional("filename", Kind::Text(255)),
        optional("checksum", Kind::Text(128)),
        optional("checksum-algorithm", CHECKSUMS),
    ]),
    Method::new(
        "POST",
        "/nodes/{node}/storage/{storage}/download-url",
        Needs::And(&[
            FILL_IT,
            Needs::Or(&[
                Needs::All("/", &["Sys.Audit", "Sys.Modify"]),
                Needs::All("/nodes/{node}", &["Sys.AccessNetwork"]),
            ]),
        ]),
        download,
    )
    .on_node()
    .with(&[
        required("url", Kind::Pattern(|url| url.starts_with("https://") || url.starts_with("http://"))),
        required("content", CONTENT),
        required("filename", Kind::Text(255)),
        optional("checksum", Kind::Text(128)),
        optional("checksum-algorithm", CHECKSUMS),
        optional("compression", Kind::Text(16)),
        optional("verify-certificates", Kind::Bool),
    ]),
];

fn config_json(id: &str, storage: &Storage) -> Value {
    let mut shown = json!({
        "storage": id, "type": storage.kind.name(), "content": storage.content_list(),
        "digest": hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, id.as_bytes()).as_ref()),
    });
    if storage.kind.has_files() {
        shown["path"] = storage.path.as_str().into();
    }
    if storage.shared {
        shown["shared"] = 1.into();
    }
    if storage.disabled {
        shown["disable"] = 1.into();
    }
    if let Some(nodes) = &storage.nodes {
        shown["nodes"] = nodes.iter().map(String::as_str).collect::<Vec<_>>().join(",").into();
    }
    shown
}

fn config_list(call: &mut Call<'_>) -> Outcome {
    let kind = call.args.get("type");
    let visible = call.world.storages.iter().filter(|(id, storage)| {
        call.may_any(&format!("/storage/{id}"), SEE) && kind.as_ref().is_none_or(|kind| kind == storage.kind.name())
    });
    Ok(visible.map(|(id, storage)| config_json(id, storage)).collect())
}

fn config_read(call: &mut Call<'_>) -> Outcome {
    let id = call.args.text("storage");
    let storage = call.world.storages.get(&id).ok_or_else(|| absent(&id))?;
    Ok(config_json(&id, storage))
}

fn absent(id: &str) -> Refusal {
    Refusal::die(format!("storage '{id}' does not exist"))
}

/// A storage as a node sees it. One that the node may not use is there too, with nothing in it.
fn status_json(storage: &Storage, node: &str) -> Value {
    let enabled = storage.is_enabled_on(node);
    let backend = storage.backend(node).filter(|backend| enabled && backend.active);
    let (total, used) = backend.map_or((0, 0), |backend| (backend.total, backend.used()));
    json!({
        "type": storage.kind.name(), "content": storage.content_list(), "shared": u8::from(storage.shared),
        "enabled": u8::from(enabled), "active": u8::from(backend.is_some()), "total": total, "used": used,
        "avail": total - used,
    })
}

fn list(call: &mut Call<'_>) -> Outcome {
    let node = call.node();
    let (only, target) = (call.args.get("storage"), call.args.get("target"));
    let (wanted, enabled) = (call.args.list("content"), call.args.flag("enabled"));
    if only.as_ref().is_some_and(|only| !call.world.storages.contains_key(only)) {
        return Err(Refusal::parameter("storage", "No such storage."));
    }
    let mut list = Vec::new();
    for (id, storage) in &call.world.storages {
        let usable = storage.is_enabled_on(&node);
        let right_content = wanted.is_empty() || usable && wanted.iter().any(|kind| storage.content.contains(kind));
        let right_place = target
            .as_ref()
            .is_none_or(|target| *target == node || storage.shared && usable && storage.is_enabled_on(target));
        if !call.may_any(&format!("/storage/{id}"), SEE)
            || only.as_ref().is_some_and(|only| only != id)
            || enabled && storage.disabled
            || !right_content
            || !right_place
        {
            continue;
        }
        let mut entry = status_json(storage, &node);
        if let (Some(total), Some(used)) = (entry["total"].as_u64().filter(|total| *total > 0), entry["used"].as_u64())
        {
            entry["used_fraction"] = (used as f64 / total as f64).into();
        }
        entry["storage"] = id.as_str().into();
        list.push(entry);
    }
    call.world.shuffle(&mut list);
    Ok(list.into())
}

fn index(_: &mut Call<'_>) -> Outcome {
    Ok(["content", "download-url", "status", "upload"].iter().map(|name| json!({"subdir": name})).collect())
}

fn status(call: &mut Call<'_>) -> Outcome {
    let id = call.args.text("storage");
    let storage = call.world.storages.get(&id).ok_or_else(|| Refusal::parameter("storage", "No such storage."))?;
    Ok(status_json(storage, &call.node()))
}

fn content(call: &mut Call<'_>) -> Outcome {
    let (node, id) = (call.node(), call.args.text("storage"));
    call.world.usable_storage(&id, &node).map_err(Refusal::die)?;
    let wanted = call.args.list("content");
    let owner = call.args.int("vmid");
    let volumes = call.world.storages.get(&id).and_then(|storage| storage.backend(&node));
    let listed = volumes.into_iter().flat_map(|backend| &backend.volumes).filter(|(volid, volume)| {
        (wanted.is_empty() || wanted.contains(&volume.content))
            && owner.is_none_or(|owner| volume.vmid.map(i64::from) == Some(owner))
            && check_volume_access(call, None, volid).is_ok()
    });
    let listed = listed.map(|(volid, volume)| {
        let mut entry = json!({
            "volid": volid, "content": volume.content, "format": volume.format, "size": volume.size,
            "ctime": volume.ctime,
        });
        if let Some(vmid) = volume.vmid {
            entry["vmid"] = vmid.into();
        }
        entry
    });
    Ok(listed.collect())
}

/// The volume in the path, with its storage; the path may leave the storage out.
fn volume_id(call: &Call<'_>) -> Outcome<String> {
    let (id, volume) = (call.args.text("storage"), call.args.text("volume"));
    if !volume.contains(':') {
        return Ok(format!("{id}:{volume}"));
    }
    match split_volid(&volume) {
        Some((storage, _)) if storage == id => Ok(volume),
        Some((storage, _)) => Err(Refusal::parameter("volume", format!("storage ID mismatch ({storage} != {id})\n"))),
        None => Err(Refusal::parameter("volume", format!("unable to parse volume ID '{volume}'\n"))),
    }
}

fn info(call: &mut Call<'_>) -> Outcome {
    let (node, volid) = (call.node(), volume_id(call)?);
    check_volume_access(call, None, &volid)?;
    let volume = call.world.volume(&node, &volid);
    // qemu-img has nothing to look at, so there is no format either.
    let volume = volume.ok_or_else(|| Refusal::die(format!("volume_size_info on '{volid}' failed - no format")))?;
    let path = path_of(call.world, &volid);
    let format = if volume.content == "iso" { "iso" } else { volume.format.as_str() };
    Ok(json!({"path": path, "size": volume.size, "used": volume.used, "format": format}))
}

fn path_of(world: &World, volid: &str) -> String {
    let parts = split_volid(volid).and_then(|(id, name)| Some((world.storages.get(id)?, name)));
    parts.map_or_else(String::new, |(storage, name)| storage.path_of(name))
}

fn remove(call: &mut Call<'_>) -> Outcome {
    let (node, id, volid) = (call.node(), call.args.text("storage"), volume_id(call)?);
    let storage = call.world.storages.get(&id).ok_or_else(|| absent(&id))?;
    let name = volid.split_once(':').map_or("", |(_, name)| name);
    let unreadable = || Refusal::die(format!("unable to parse volume name '{name}'"));
    let (content, owner) = parse_volname(storage.kind, name).ok_or_else(unreadable)?;
    match owner.filter(|_| content == "backup") {
        Some(owner) => {
            call.check(&format!("/storage/{id}"), &["Datastore.AllocateSpace"])?;
            call.check(&format!("/vms/{owner}"), &["VM.Backup"])?;
        }
        None => call.check(&format!("/storage/{id}"), &["Datastore.Allocate"])?,
    }
    let about = owner.map_or_else(|| id.clone(), |owner| format!("{owner}@{id}"));
    let delay = call.args.int("delay");
    let effect = move |world: &mut World, log: &mut Vec<String>| {
        world.active_backend(&id, &node)?;
        if !world.free_volume(&node, &volid) {
            // A warning of the plugin, not an error of the task.
            log.push(format!("disk image '{}' does not exist", path_of(world, &volid)));
        }
        log.push(format!("Removed volume '{volid}'"));
        Ok(())
    };
    let upid = call.fork("imgdel", &about, REMOVE, Box::new(effect))?;
    if let (Some(delay), Some(upid)) = (delay, upid.as_str()) {
        call.wait = Some((upid.to_owned(), Duration::from_secs(delay.unsigned_abs())));
    }
    Ok(upid)
}

/// A file name as PVE keeps it (`normalize_content_filename`), if it fits the content.
fn file_name(name: &str, content: &str) -> Outcome<String> {
    let name = name.trim_end().rsplit(['/', '\\']).next().unwrap_or("");
    let good = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '_' };
    let name: String = name.chars().map(good).collect();
    let fits = match content {
        "iso" => is_iso(&name),
        "vztmpl" => [".tar.gz", ".tar.xz", ".tar.zst"].iter().any(|end| name.len() > end.len() && name.ends_with(end)),
        _ => [".ova", ".qcow2", ".raw", ".vmdk"].iter().any(|end| name.len() > end.len() && name.ends_with(end)),
    };
    if fits { Ok(name) } else { Err(Refusal::parameter("filename", "wrong file extension")) }
}

/// The storage in the path and the content in the parameters, if the one takes files of the other.
fn file_storage(call: &Call<'_>, node: &str, download: bool) -> Outcome<(String, String)> {
    let (id, content) = (call.args.text("storage"), call.args.text("content"));
    let storage = call.world.usable_storage(&id, node).map_err(Refusal::die)?;
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
    // The one call that the answering node carries out itself, over ssh.
    super::reach(call.world, &call.node())?;
    let node = call.node();
    let file = call.upload.take().ok_or_else(|| Refusal::die("missing temporary file name"))?;
    let asked = call.args.get("filename").unwrap_or_else(|| file.filename.clone());
    let (id, content) = file_storage(call, &node, false)?;
    let name = file_name(&asked, &content)?;
    let sum = call.args.get("checksum").map(|sum| (call.args.text("checksum-algorithm"), sum));
    let now = call.now;
    let effect = move |world: &mut World, log: &mut Vec<String>| {
        log.push("starting file import from: /var/tmp/pveupload-00000000000000000000000000000000".to_owned());
        if let Some((algorithm, expected)) = sum {
            let got = checksum(&algorithm, &file.data)?;
            if !got.eq_ignore_ascii_case(&expected) {
                return Err(format!("checksum mismatch: got '{got}' != expect '{expected}'"));
            }
        }
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
    let format = if content == "iso" { "iso" } else { "tgz" }.to_owned();
    Volume { content: content.to_owned(), format, size: 0, used: 0, ctime: now, vmid: None, data: None }
}

fn checksum(algorithm: &str, data: &[u8]) -> Result<String, String> {
    let algorithm = match algorithm {
        "sha1" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "sha256" => &digest::SHA256,
        "sha384" => &digest::SHA384,
        "sha512" => &digest::SHA512,
        other => return Err(format!("the lab has no '{other}' checksums")),
    };
    Ok(hex(digest::digest(algorithm, data).as_ref()))
}

/// Puts a file on a storage, over one of the same name.
fn put_file(
    world: &mut World,
    node: &str,
    (id, content, name): (&str, &str, &str),
    volume: Volume,
) -> Result<(), String> {
    let backend = world.active_backend(id, node)?;
    let folder = if content == "vztmpl" { "vztmpl" } else { content };
    let volid = format!("{id}:{folder}/{name}");
    let replaced = backend.volumes.get(&volid).map_or(0, |old| old.used);
    if volume.used > backend.free() + replaced {
        let path = path_of(world, &volid);
        return Err(format!("cp: error writing '{path}': No space left on device"));
    }
    backend.volumes.insert(volid, volume);
    Ok(())
}

/// Nothing is fetched: a file of plausible size appears after the time that its download would take.
fn download(call: &mut Call<'_>) -> Outcome {
    let node = call.node();
    let (id, content) = file_storage(call, &node, true)?;
    let (name, url) = (file_name(&call.args.text("filename"), &content)?, call.args.text("url"));
    let size = plausible_size(&url);
    let takes = Duration::from_millis(500) + Duration::from_secs_f64(size as f64 / DOWNLOAD_SPEED as f64);
    let volid = format!("{id}:{content}/{name}");
    let path = path_of(call.world, &volid);
    // PVE looks before it downloads: two downloads of one file that overlap both succeed.
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
        if let Err(why) = put_file(world, &node, (&id, &content, &name), volume) {
            log.push(format!("Cannot write to '{path}.tmp_dwnl' ({why})."));
            return Err("download failed: command 'wget' failed: exit code 3".to_owned());
        }
        log.push(format!("download of '{url}' to '{path}' finished"));
        Ok(())
    };
    call.fork("download", &about, takes, Box::new(effect))
}

/// Between 90 and 154 MiB, the same for the same URL: the size of a Talos nocloud image.
fn plausible_size(url: &str) -> u64 {
    let hash = digest::digest(&digest::SHA256, url.as_bytes());
    let spread = hash.as_ref().iter().take(2).fold(0u64, |all, byte| all << 8 | u64::from(*byte));
    (90 << 20) + (spread << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_tamed() {
        assert_eq!(file_name("../../etc/x y.iso", "iso").unwrap(), "x_y.iso");
        assert_eq!(file_name("C:\\a\\b.ISO", "iso").unwrap(), "b.ISO");
        for (name, content) in [("x.exe", "iso"), (".iso", "iso"), ("", "iso"), ("x.iso", "vztmpl")] {
            assert_eq!(file_name(name, content).unwrap_err().errors["filename"], "wrong file extension", "{name}");
        }
    }

    #[test]
    fn an_image_is_as_large_as_images_are() {
        for url in ["https://factory.talos.dev/image/a/1.13.5/nocloud-amd64.iso", "http://x"] {
            assert!((90 << 20..155 << 20).contains(&plausible_size(url)), "{url}");
        }
        assert_eq!(checksum("sha256", b"").unwrap()[..8], *"e3b0c442");
        assert!(checksum("md5", b"").is_err());
    }
}
