//! A support bundle: its archive, and the recorded output of programs in it, which tasks read instead of calling the programs.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write as _};
use std::path::{Component, Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files::{self, Scratch};
use domain::clock;
use domain::failure::{Code, Failure};
use domain::status::docker::{self, Container};

/// The version of the archive's layout.
const FORMAT: u32 = 1;
const KIND: &str = "omni-scale-support-bundle";
/// The first file of the archive.
pub const MANIFEST: &str = "manifest.json";
/// The directory of the project's own files.
pub const PROJECT: &str = "project";
/// The responses of Proxmox, by request path, and its inventory: in `proxmox`, of a further provider in `proxmox-ID`.
pub const PROXMOX_RESPONSES: &str = "answers.json";
pub const INVENTORY: &str = "inventory.json";
pub const CONTAINERS: &str = "docker/containers.json";
pub const DOCTOR: &str = "doctor.json";
/// The requests for the failed tasks of a node: of all its guests, and of one guest.
pub const FAILED_TASK_PATHS: [&str; 2] = ["/tasks?errors=1&limit=50", "/tasks?errors=1&limit=5&vmid="];
/// The maximum size of an unpacked bundle.
const MAX_UNPACKED_BYTES: u64 = 256 << 20;
const MAX_FILES: usize = 10_000;

/// The contents of a bundle, and what is missing from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    kind: String,
    format: u32,
    pub made_at: String,
    pub versions: BTreeMap<String, String>,
    pub files: BTreeMap<String, Part>,
    /// The number of redacted secrets, by kind.
    pub removed: BTreeMap<String, u64>,
    /// The parts that could not be read, and why.
    pub missing: BTreeMap<String, Failure>,
}

/// A file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub bytes: u64,
    pub removed: u64,
}

impl Manifest {
    /// The manifest of a bundle started at `seconds` since 1970.
    pub fn new(seconds: u64) -> Manifest {
        Manifest { kind: KIND.to_owned(), format: FORMAT, made_at: clock::rfc3339_of(seconds), ..Manifest::default() }
    }

    /// Packs the archive: the manifest, then the files sorted by name. The same content gives the same bytes.
    ///
    /// # Errors
    /// None in practice: the archive is written to memory.
    pub fn pack(&self, files: &BTreeMap<String, Vec<u8>>) -> std::io::Result<Vec<u8>> {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        let manifest = serde_json::to_vec_pretty(self)?;
        let all =
            std::iter::once((MANIFEST, &manifest)).chain(files.iter().map(|(name, bytes)| (name.as_str(), bytes)));
        for (name, bytes) in all {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(files::PRIVATE);
            header.set_mtime(clock::parse_rfc3339(&self.made_at).unwrap_or_default());
            archive.append_data(&mut header, name, bytes.as_slice())?;
        }
        let mut gzip = archive.into_inner()?;
        gzip.flush()?;
        gzip.finish()
    }
}

/// An opened bundle. Reading a part that is missing returns the failure from when the bundle was created.
#[derive(Debug)]
pub struct OpenedBundle {
    dir: Scratch,
    pub manifest: Manifest,
}

impl OpenedBundle {
    /// Unpacks `file` into a directory below `scratch`, which is removed on drop.
    ///
    /// # Errors
    /// [`Code::Invalid`] if the file is not a complete bundle of this format.
    pub fn open(file: &Path, scratch: &Path) -> Result<OpenedBundle, Failure> {
        let shown = file.display();
        let opened = files::open_file(file, OpenOptions::new().read(true)).map_err(|error| {
            let code = if error.kind() == std::io::ErrorKind::NotFound { Code::NotFound } else { Code::Failed };
            Failure { code, ..files::io_failure("read", file, &error) }
        })?;
        let dir = Scratch::new(scratch, "bundle")?;
        let archive = tar::Archive::new(GzDecoder::new(opened).take(MAX_UNPACKED_BYTES));
        let manifest = unpack_bundle(archive, dir.path(), &shown.to_string())?;
        if manifest.format != FORMAT {
            return Err(Failure::new(Code::Invalid, format!("`{shown}` has an unsupported format"))
                .cause(format!("its format is {}, but this version reads format {FORMAT}", manifest.format))
                .hint("use the version of this tool that wrote it"));
        }
        Ok(OpenedBundle { dir, manifest })
    }

    /// The directory with the project's files.
    pub fn project(&self) -> PathBuf {
        self.dir.path().join(PROJECT)
    }

    /// When the bundle was created, in seconds since 1970.
    pub fn made_at(&self) -> u64 {
        clock::parse_rfc3339(&self.manifest.made_at).unwrap_or_default()
    }

    /// Checks that a part could be read when the bundle was created.
    ///
    /// # Errors
    /// The failure from that time.
    pub fn check_available(&self, part: &str) -> Result<(), Failure> {
        self.manifest.missing.get(part).map_or(Ok(()), |failure| Err(failure.clone()))
    }

    fn read(&self, name: &str) -> Result<String, Failure> {
        self.check_available(name.split('/').next().unwrap_or_default())?;
        self.check_available(name)?;
        let absent = || Failure::new(Code::NotFound, format!("the bundle has no `{name}`"));
        files::read_optional_text(&self.dir.path().join(name))?.ok_or_else(absent)
    }

    /// Parses a JSON document of the bundle.
    ///
    /// # Errors
    /// The failure from when the bundle was created, or the error of reading it now.
    pub fn document<T: DeserializeOwned>(&self, name: &str) -> Result<T, Failure> {
        serde_json::from_str(&self.read(name)?).map_err(|error| not_understood(name, &error))
    }

    /// The resources of a type in Omni, or those with a label.
    pub fn list<T: DeserializeOwned>(&self, kind: &str, selector: Option<&str>) -> Result<Vec<T>, Failure> {
        let name = format!("omni/{kind}.json");
        let Some((label, value)) = selector.and_then(|selector| selector.split_once('=')) else {
            return self.document(&name);
        };
        let mut found: Vec<Value> = self.document(&name)?;
        found.retain(|found| found["metadata"]["labels"][label] == value);
        serde_json::from_value(found.into()).map_err(|error| not_understood(&name, &error))
    }

    /// The directory with the responses of a provider's Proxmox, which is also its name in the manifest.
    pub fn proxmox_dir(&self, provider: Option<&str>) -> String {
        let own = format!("proxmox-{}", provider.unwrap_or_default());
        let (files, below) = (&self.manifest.files, format!("{own}/"));
        let there = self.manifest.missing.contains_key(&own) || files.keys().any(|name| name.starts_with(&below));
        if there { own } else { "proxmox".to_owned() }
    }

    /// The `data` of a response of a provider's Proxmox. The failed tasks of one guest are taken from those of its node.
    pub fn proxmox(&self, provider: Option<&str>, path: &str) -> Result<Value, Failure> {
        let mut answers: Value = self.document(&format!("{}/{PROXMOX_RESPONSES}", self.proxmox_dir(provider)))?;
        let absent = || Failure::new(Code::NotFound, format!("the bundle has no Proxmox response for {path}"));
        let mut take = |path: &str| answers.get_mut(path).map(Value::take).ok_or_else(absent);
        let Some((node, id)) = path.split_once(FAILED_TASK_PATHS[1]) else { return take(path) };
        let mut tasks = take(&format!("{node}{}", FAILED_TASK_PATHS[0]))?;
        if let Some(tasks) = tasks.as_array_mut() {
            tasks.retain(|task| task["id"] == id);
        }
        Ok(tasks)
    }

    /// The containers of the stack.
    pub fn containers(&self) -> Result<Vec<Container>, Failure> {
        docker::parse_compose_ps(&self.read(CONTAINERS)?)
            .map_err(|why| Failure::new(Code::Invalid, format!("`{CONTAINERS}` in the bundle: {why}")))
    }

    /// The last lines of a service's log.
    pub fn log(&self, service: &str, tail: u32) -> Result<String, Failure> {
        let log = self.read(&format!("logs/{service}.log"))?;
        let lines: Vec<&str> = log.split_inclusive('\n').collect();
        Ok(lines[lines.len().saturating_sub(tail as usize)..].concat())
    }
}

fn not_understood(name: &str, error: &serde_json::Error) -> Failure {
    Failure::new(Code::Invalid, format!("`{name}` in the bundle is not understood")).cause(error.to_string())
}

/// Unpacks a bundle into `dir`. For a bundle of another format, the manifest contains only the format.
fn unpack_bundle(
    mut archive: tar::Archive<std::io::Take<GzDecoder<File>>>,
    dir: &Path,
    shown: &str,
) -> Result<Manifest, Failure> {
    let foreign = |cause: String| {
        let failure = Failure::new(Code::Invalid, format!("`{shown}` is not a support bundle")).cause(cause);
        failure.next("cargo xtask support-bundle")
    };
    let cut_off = |cause: String| {
        let failure = Failure::new(Code::Invalid, format!("`{shown}` is an incomplete support bundle")).cause(cause);
        failure.hint("copy it again: it is truncated or was modified")
    };
    let large = || {
        Failure::new(Code::Invalid, format!("`{shown}` is too large")).cause(format!(
            "it unpacks to more than {} MiB or {MAX_FILES} files, which no support bundle does",
            MAX_UNPACKED_BYTES >> 20
        ))
    };
    let cut = |error: std::io::Error| cut_off(error.to_string());
    let other = || foreign("its first file is not a support bundle's manifest".to_owned());
    let mut manifest: Option<Manifest> = None;
    let (mut total, mut count) = (0, 0);
    for entry in archive.entries().map_err(|error| foreign(error.to_string()))? {
        let mut entry = entry.map_err(|error| match manifest {
            None => foreign(error.to_string()),
            Some(_) if total + (1 << 20) > MAX_UNPACKED_BYTES => large(),
            Some(_) => cut(error),
        })?;
        (total, count) = (total + entry.size(), count + 1);
        if total > MAX_UNPACKED_BYTES || count > MAX_FILES {
            return Err(large());
        }
        let name = entry.path().map_err(cut)?.into_owned();
        let inside = name.components().all(|part| matches!(part, Component::Normal(_)));
        if !inside || !entry.header().entry_type().is_file() {
            return Err(foreign(format!("`{}` in it does not belong in a support bundle", name.display())));
        }
        if manifest.is_none() {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(cut)?;
            let found = serde_json::from_slice::<Value>(&bytes).ok().filter(|_| name == Path::new(MANIFEST));
            let found = found.filter(|found| found["kind"] == KIND).ok_or_else(other)?;
            // The manifest of a newer format may have other fields.
            if found["format"] != FORMAT {
                let format = found["format"].as_u64().and_then(|format| u32::try_from(format).ok()).unwrap_or(u32::MAX);
                return Ok(Manifest { format, ..Manifest::default() });
            }
            let read = serde_json::from_value(found).map_err(|error| cut_off(format!("{MANIFEST}: {error}")))?;
            manifest = Some(read);
            continue;
        }
        let path = dir.join(&name);
        path.parent().map_or(Ok(()), files::create_private_dir).map_err(cut)?;
        // Not synced, unlike files that persist: syncing each file took most of the time.
        entry.unpack(&path).map_err(cut)?;
    }
    // Also read what follows the last file: gzip's checksum is at the end.
    std::io::copy(&mut archive.into_inner(), &mut std::io::sink()).map_err(cut)?;
    let manifest = manifest.ok_or_else(other)?;
    let differs = |(name, part): &(&String, &Part)| {
        std::fs::metadata(dir.join(name)).map_or(u64::MAX, |meta| meta.len()) != part.bytes
    };
    match manifest.files.iter().find(differs) {
        Some((name, _)) => Err(cut_off(format!("`{name}` is missing from it, or its size differs from the manifest"))),
        None => Ok(manifest),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests write files as others would
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn only_whole_bundles_of_this_format_are_opened() {
        let dir = TempDir::new().unwrap();
        let open = |bytes: &[u8]| {
            let file = dir.path().join("bundle");
            std::fs::write(&file, bytes).unwrap();
            OpenedBundle::open(&file, &dir.path().join("scratch"))
        };
        let files = BTreeMap::from([("logs/omni.log".to_owned(), b"one\ntwo\nthree\n".to_vec())]);
        let mut manifest = Manifest::new(1_795_316_645);
        manifest.files.insert("logs/omni.log".to_owned(), Part { bytes: 14, removed: 0 });
        let good = manifest.pack(&files).unwrap();
        assert_eq!(good, manifest.pack(&files).unwrap(), "the same content gives the same bytes");
        let bundle = open(&good).unwrap();
        assert_eq!((bundle.made_at(), bundle.log("omni", 2).unwrap().as_str()), (1_795_316_645, "two\nthree\n"));
        assert_eq!(bundle.list::<Value>("clusters", None).unwrap_err().code, Code::NotFound);

        let refused = |bytes: &[u8], words: &str| {
            let failure = open(bytes).unwrap_err();
            assert!(failure.to_string().contains(words), "{words}: {failure}");
        };
        refused(&good[..good.len() - 30], "is an incomplete support bundle");
        refused(&Manifest { format: 2, ..manifest.clone() }.pack(&files).unwrap(), "its format is 2");
        refused(&Manifest { kind: String::new(), ..manifest.clone() }.pack(&files).unwrap(), "is not a support bundle");
        refused(&manifest.pack(&BTreeMap::new()).unwrap(), "`logs/omni.log` is missing");
        refused(&gzip(&[0; 100_000]), "is not a support bundle");
        let mut header = tar::Header::new_gnu();
        header.set_size(MAX_UNPACKED_BYTES + 1);
        header.set_path("logs/omni.log").unwrap();
        header.set_cksum();
        let mut archive = Vec::new();
        GzDecoder::new(good.as_slice()).read_to_end(&mut archive).unwrap();
        let first = 512 + serde_json::to_vec_pretty(&manifest).unwrap().len().div_ceil(512) * 512;
        refused(&gzip(&[&archive[..first], header.as_bytes()].concat()), "is too large");
        header.as_mut_bytes()[..6].copy_from_slice(b"../../");
        header.set_size(0);
        header.set_cksum();
        refused(
            &gzip(&[&archive[..first], header.as_bytes(), &[0; 1024]].concat()),
            "does not belong in a support bundle",
        );
    }
}
