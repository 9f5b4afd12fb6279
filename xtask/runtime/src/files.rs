//! Atomic file updates: contents are written to a temporary file in the same directory, synced, and renamed.

use std::fs::{self, DirBuilder, File, FileType, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, OFlags, accessat};
use rustix::io::Errno;
use tempfile::{NamedTempFile, TempDir};

use domain::failure::{Code, Failure, Kind};

/// The mode of files that contain secrets.
pub const PRIVATE: u32 = 0o600;
/// The size limit of files that are read as a whole.
const MAX_FILE_BYTES: u64 = 32 << 20;
/// Part of the name of a temporary file, before its random part.
const TEMP: &str = ".omni-scale-";
/// The mode of files that are committed.
pub const SHARED: u32 = 0o644;

/// The hint for a file that cannot be read or written, by the system's error.
pub fn io_hint(path: &Path, error: &std::io::Error) -> String {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")).display().to_string();
    match error.kind() {
        ErrorKind::NotFound => format!("check the path: `ls {dir}` shows what is there"),
        ErrorKind::StorageFull => format!("free some space on its file system: `df -h {dir}`"),
        ErrorKind::QuotaExceeded => "the quota is used up: `quota` shows it".to_owned(),
        ErrorKind::FileTooLarge => "this shell limits the size of files: `ulimit -f unlimited`".to_owned(),
        ErrorKind::ReadOnlyFilesystem => format!("its file system is mounted read-only: `findmnt -T {dir}`"),
        ErrorKind::IsADirectory if !dir.ends_with("docker") => {
            format!("specify a file in it; if it is empty and in the way, `rmdir {}` removes it", path.display())
        }
        ErrorKind::IsADirectory => format!(
            "it is a directory; docker creates one if the file of a mount is missing: `rmdir {}`",
            path.display()
        ),
        ErrorKind::Unsupported => "specify a file; the output of a pipe can be read as `<(cat PIPE)`".to_owned(),
        ErrorKind::NotADirectory => format!("part of the path is a file: `namei -l {}` shows it", path.display()),
        ErrorKind::ResourceBusy => "it is a mount point and cannot be replaced: mount its directory".to_owned(),
        _ if Errno::from_io_error(error) == Some(Errno::LOOP) => {
            format!("the link points back to itself: `namei -l {}` shows it", path.display())
        }
        _ if Errno::from_io_error(error) == Some(Errno::PERM) => {
            format!("run the task as the owner; the file or its directory may be immutable: `lsattr -d {dir}`")
        }
        _ => "run the task as the owner of the checkout, or fix the owner and mode of the file and its directory"
            .to_owned(),
    }
}

/// The failure of an operation on a file: `io_failure("write", …)`.
pub fn io_failure(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::Failed, format!("cannot {what} `{}`", path.display()))
        .cause(error.to_string())
        .hint(io_hint(path, error))
}

/// The failure to write a file that must not exist yet.
fn new_file_failure(path: &Path, error: &std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::AlreadyExists => {
            Failure::new(Code::Conflict, format!("`{}` already exists and is not overwritten", path.display()))
        }
        _ => io_failure("write", path, error),
    }
}

/// Replaces `path` with `contents` atomically, with `mode`. A reader sees the old file or the new one, even after a crash.
///
/// # Errors
/// [`Code::Failed`] with the path and the reason; the old file is then unchanged.
pub fn write_atomically(path: &Path, contents: &[u8], mode: u32) -> Result<(), Failure> {
    let failed =
        |what: &str, error: std::io::Error| io_failure("write", path, &error).cause(format!("{what}: {error}"));
    // The parent of a bare name is the empty path, which is not a directory.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|error| failed("creating its directory", error))?;
    // Renaming would replace a link with a file, so write to its target.
    let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(other) = fs::metadata(&place).ok().and_then(|meta| file_type_error(meta.file_type())) {
        return Err(failed("replacing it", other));
    }
    let written = (|| {
        let temp = write_temp_file(&place, contents, mode)?;
        temp.persist(&place).map_err(|error| error.error)?;
        File::open(fs::canonicalize(parent)?)?.sync_all()
    })();
    written.map_err(|error| failed("writing a temporary file and renaming it", error))
}

/// A complete temporary file next to `place`, which is removed unless it is renamed. It is locked while in use, which
/// distinguishes it from the leftovers of a killed run.
fn write_temp_file(place: &Path, contents: &[u8], mode: u32) -> std::io::Result<NamedTempFile> {
    let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let dir = place.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Opened here, because the hint for an error needs the system's own error.
    let open = |path: &Path| OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path);
    let mut temp = tempfile::Builder::new().prefix(&format!(".{name}{TEMP}")).suffix(".tmp").make_in(dir, open)?;
    let file = temp.as_file_mut();
    // On a file system without locks, leftovers are not removed either.
    let _ = file.try_lock();
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(contents)?;
    file.sync_all()?;
    Ok(temp)
}

/// Writes a file that must not exist yet, atomically, with `mode`.
///
/// # Errors
/// [`Code::Conflict`] if it exists; it is not changed. [`Code::Failed`] otherwise.
pub fn write_new(path: &Path, contents: &[u8], mode: u32) -> Result<(), Failure> {
    let temp = write_temp_file(path, contents, mode).map_err(|error| new_file_failure(path, &error))?;
    temp.persist_noclobber(path).map(drop).map_err(|error| new_file_failure(path, &error.error))
}

/// Creates `path`, which must not exist, with programs that write to a temporary file, so that it appears complete and private.
///
/// # Errors
/// Fails like `write`; [`Code::Conflict`] if `path` exists by then.
pub fn create_with(path: &Path, write: impl FnOnce(&Path) -> Result<(), Failure>) -> Result<(), Failure> {
    let temp = write_temp_file(path, b"", PRIVATE).map_err(|error| new_file_failure(path, &error))?;
    write(temp.path())?;
    restrict_to_owner(temp.path())?;
    File::open(temp.path()).and_then(|file| file.sync_all()).map_err(|error| new_file_failure(path, &error))?;
    temp.persist_noclobber(path).map(drop).map_err(|error| new_file_failure(path, &error.error))
}

/// The regular files below `dir` as relative paths with their sizes; the size is `None` for entries of any other type.
///
/// # Errors
/// Returns the system's error.
pub fn list_files(dir: &Path) -> std::io::Result<Vec<(PathBuf, Option<u64>)>> {
    let (mut found, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(next)? {
            let (entry, meta) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
            if meta.is_dir() {
                dirs.push(entry);
                continue;
            }
            let name = entry.strip_prefix(dir).map_err(std::io::Error::other)?;
            found.push((name.to_owned(), meta.is_file().then_some(meta.len())));
        }
    }
    found.sort();
    Ok(found)
}

/// Returns true if `next` starts with the contents of `file`; with `whole`, only if the two are equal.
///
/// # Errors
/// Returns the system's error.
pub fn starts_with_file(next: &Path, file: &Path, whole: bool) -> std::io::Result<bool> {
    let (mut one, mut other) = (File::open(file)?, File::open(next)?);
    let (length, longer) = (one.metadata()?.len(), other.metadata()?.len());
    if longer < length || (whole && longer != length) {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let read = one.read(&mut left)?;
        if read == 0 {
            return Ok(true);
        }
        other.read_exact(&mut right[..read])?;
        if left[..read] != right[..read] {
            return Ok(false);
        }
    }
}

/// Restricts access to `path` to its owner.
///
/// # Errors
/// [`Code::Failed`] with the path.
pub fn restrict_to_owner(path: &Path) -> Result<(), Failure> {
    let private = fs::set_permissions(path, fs::Permissions::from_mode(PRIVATE));
    private.map_err(|error| {
        io_failure("change the mode of", path, &error).hint("it belongs to another user: `sudo chown`")
    })
}

/// Removes the temporary files of killed runs in `dir`, which may contain secrets. A locked file is in use and is kept.
pub fn remove_stale_temp_files(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let temp =
            name.to_str().is_some_and(|name| name.starts_with('.') && name.contains(TEMP) && name.ends_with(".tmp"));
        if temp && is_unlocked(&entry.path(), OpenOptions::new().read(true)) {
            // A file that cannot be removed is as harmless as before.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether no process holds a lock on this file.
fn is_unlocked(path: &Path, options: &mut OpenOptions) -> bool {
    open_file(path, options).is_ok_and(|file| file.try_lock().is_ok())
}

/// Removes the scratch directories `NAME-PID` in `dir` of killed runs. Those of running processes are kept.
pub fn remove_stale_scratch_dirs(dir: &Path, name: &str) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let found = entry.file_name();
        let owner = found.to_str().and_then(|found| found.strip_prefix(name)?.strip_prefix('-'));
        if owner.is_some_and(has_ended) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether no process with this pid is running; always false if the system has no `/proc`.
fn has_ended(pid: &str) -> bool {
    let processes = Path::new("/proc");
    pid.parse::<u32>().is_ok() && processes.join("self").exists() && !processes.join(pid).exists()
}

/// Creates `dir` and its missing parents with access for this user only, and checks that it is a directory of this user.
///
/// # Errors
/// Returns the system's error, or an error if `dir` is not a directory or belongs to another user.
pub fn create_private_dir(dir: &Path) -> std::io::Result<()> {
    let in_the_way = || dir.ancestors().find(|path| fs::symlink_metadata(path).is_ok()).filter(|path| !path.is_dir());
    if let Some(path) = in_the_way() {
        return Err(std::io::Error::new(ErrorKind::NotADirectory, format!("`{}` is not a directory", path.display())));
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let meta = fs::symlink_metadata(dir)?;
    if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() {
        let why = format!("`{}` is not a directory owned by this user", dir.display());
        return Err(std::io::Error::new(ErrorKind::PermissionDenied, why));
    }
    if meta.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// A private temporary directory with a random name, removed on drop. Creating one also removes the leftovers of killed runs.
#[derive(Debug)]
pub struct Scratch {
    dir: TempDir,
    /// Held while the directory is in use.
    _lock: File,
}

impl Scratch {
    /// Creates a directory in `root` for this user only.
    ///
    /// # Errors
    /// [`Code::Failed`] with the path.
    pub fn new(root: &Path, name: &str) -> Result<Scratch, Failure> {
        let made = || -> std::io::Result<Scratch> {
            create_private_dir(root)?;
            // One at a time: a new directory that is not locked yet looks like a leftover.
            let one = open_file(&root.join("lock"), OpenOptions::new().write(true).create(true).mode(PRIVATE))?;
            one.lock()?;
            remove_unused_scratch_dirs(root);
            let private = fs::Permissions::from_mode(0o700);
            let dir = tempfile::Builder::new().prefix(&format!("{name}-")).permissions(private).tempdir_in(root)?;
            let lock = File::open(dir.path())?;
            lock.lock()?;
            Ok(Scratch { dir, _lock: lock })
        };
        made().map_err(|error| {
            let hint = "set XDG_STATE_HOME to a directory that you can write to";
            io_failure("create a directory in", root, &error).hint(hint)
        })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file in the directory, for this user only, and returns its path. The file is as short-lived as the directory,
    /// so it is not synced, which would take most of the time if there are hundreds of files.
    ///
    /// # Errors
    /// [`Code::Failed`] with the path.
    pub fn write(&self, name: &Path, contents: &[u8]) -> Result<PathBuf, Failure> {
        let path = self.path().join(name);
        let written = (|| {
            fs::create_dir_all(path.parent().unwrap_or(self.path()))?;
            OpenOptions::new().write(true).create(true).truncate(true).mode(PRIVATE).open(&path)?.write_all(contents)
        })();
        written.map_err(|error| io_failure("write", &path, &error)).map(|()| path)
    }
}

/// Removes the unused scratch directories in `root`. All of them belong to this user.
fn remove_unused_scratch_dirs(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_dir && File::open(entry.path()).is_ok_and(|dir| dir.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Replaces `dir` with a directory of links to these files, named by index so that they are read in order. Returns the links.
///
/// # Errors
/// [`Code::Failed`] with the path.
pub fn link_all(dir: &Path, files: &[&Path]) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: std::io::Error| io_failure("create", dir, &error);
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(failed)?;
    }
    fs::create_dir_all(dir).map_err(failed)?;
    let link = |(at, file): (usize, &&Path)| {
        let link = dir.join(format!("{at:05}.yaml"));
        std::os::unix::fs::symlink(file, &link).map_err(failed)?;
        Ok(link)
    };
    files.iter().enumerate().map(link).collect()
}

/// An error that describes the file type, unless it is a regular file.
fn file_type_error(kind: FileType) -> Option<std::io::Error> {
    let name = match kind {
        _ if kind.is_file() => return None,
        _ if kind.is_dir() => {
            return Some(std::io::Error::new(ErrorKind::IsADirectory, "it is a directory, not a file"));
        }
        _ if kind.is_fifo() => "pipe",
        _ if kind.is_socket() => "socket",
        _ => "device",
    };
    Some(std::io::Error::new(ErrorKind::Unsupported, format!("it is a {name}, not a file")))
}

/// Opens a regular file only: opening a pipe could block, and a device may be endless.
///
/// # Errors
/// Returns the system's error, or an error if it is not a regular file.
pub fn open_file(path: &Path, options: &mut OpenOptions) -> std::io::Result<File> {
    if let Some(other) = fs::metadata(path).ok().and_then(|meta| file_type_error(meta.file_type())) {
        return Err(other);
    }
    // The file may have been replaced since.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = options.custom_flags(i32::try_from(flags.bits()).unwrap_or_default()).open(path)?;
    match file_type_error(file.metadata()?.file_type()) {
        Some(other) => Err(other),
        None => Ok(file),
    }
}

/// Reads up to `most` bytes of a file like [`open_file`], or of a pipe of the shell (`<(command)`), which always has a writer.
///
/// # Errors
/// Returns the system's error, or an error if it is not a file.
pub fn read_up_to(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let in_shell = path.starts_with("/dev/fd") || path.starts_with("/proc");
    let of_shell = in_shell && fs::metadata(path)?.file_type().is_fifo();
    let file = if of_shell { File::open(path)? } else { open_file(path, OpenOptions::new().read(true))? };
    // Reading into a buffer that grows takes five more calls for a small file.
    let size = file.metadata()?.len().min(most).min(1 << 20);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The contents of `path`, or `None` if there is no such file.
///
/// # Errors
/// [`Code::Failed`] for any error other than a missing file: an unreadable file is not a missing one.
pub fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match read_up_to(path, MAX_FILE_BYTES + 1) {
        Ok(bytes) if bytes.len() as u64 > MAX_FILE_BYTES => {
            let error = std::io::Error::other(format!("it is larger than {} MiB", MAX_FILE_BYTES >> 20));
            Err(unreadable(path, &error))
        }
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// Like [`read_optional`], as text.
pub fn read_optional_text(path: &Path) -> Result<Option<String>, Failure> {
    read_optional(path)?.map(|bytes| utf8(path, bytes)).transpose()
}

/// Returns the contents of `path` as text.
///
/// # Errors
/// [`Code::Invalid`] if they are not valid UTF-8.
pub fn utf8(path: &Path, bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|error| {
        Failure::new(Code::Invalid, format!("`{}` is not valid UTF-8 text", path.display()))
            .cause(format!("byte {} is not part of any character", error.utf8_error().valid_up_to()))
            .hint("save it as UTF-8; a binary file here is a mistake")
    })
}

/// Like [`read_optional_text`], but empty on any error: the task that needs the file reports why it cannot be read.
pub fn read_text_or_empty(path: &Path) -> String {
    read_optional_text(path).ok().flatten().unwrap_or_default()
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let kind = if error.kind() == ErrorKind::PermissionDenied { Kind::Permission } else { Kind::Other };
    io_failure("read", path, error).kind(kind)
}

/// The description of a path that is not a regular file: "it is a device, not a file".
pub fn describe_non_file(path: &Path) -> Option<String> {
    fs::metadata(path).ok().and_then(|meta| file_type_error(meta.file_type())).map(|error| error.to_string())
}

/// The number of hard links to the file; 0 if it does not exist.
pub fn hard_links(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.nlink())
}

/// Returns true if two paths are on the same file system; false if one of them does not exist.
pub fn is_same_file_system(one: &Path, other: &Path) -> bool {
    let disk = |path: &Path| fs::metadata(path).ok().map(|meta| meta.dev());
    disk(one).is_some_and(|found| disk(other) == Some(found))
}

/// The permission bits of `path`, if it exists.
pub fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|meta| meta.permissions().mode() & 0o777)
}

/// Checks that `path` could be written: the nearest existing directory accepts new files, and an existing file may be replaced.
///
/// # Errors
/// [`Code::Prerequisite`] with the directory or the file that cannot be written.
pub fn check_writable(path: &Path) -> Result<(), Failure> {
    let refused = |cause: String, error: &std::io::Error, place: &Path| {
        Failure::new(Code::Prerequisite, format!("`{}` cannot be written", path.display()))
            .cause(cause)
            .hint(io_hint(place, error))
    };
    let parent = path.ancestors().skip(1).find(|dir| dir.exists()).unwrap_or(Path::new("."));
    check_accepts_files(parent).map_err(|error| {
        let cause = format!("no file can be created in its directory `{}`: {error}", parent.display());
        refused(cause, &error, &parent.join("x"))
    })?;
    // A read-only mode does not prevent replacing a file; a read-only file system does.
    let Err(error) = open_file(path, OpenOptions::new().append(true)) else { return Ok(()) };
    let absent = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory);
    if absent || Errno::from_io_error(&error) == Some(Errno::ACCESS) {
        return Ok(());
    }
    Err(refused(error.to_string(), &error, path))
}

/// Checks that a new file can be written in `dir`, with an unnamed file, which leaves nothing behind. If the file system does
/// not support those, checks the permissions.
fn check_accepts_files(dir: &Path) -> std::io::Result<()> {
    let unnamed = i32::try_from(OFlags::TMPFILE.bits()).unwrap_or_default();
    let made = OpenOptions::new().write(true).mode(PRIVATE).custom_flags(unnamed).open(dir);
    match made.and_then(|mut file| file.write_all(b"a file with something in it needs space")) {
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL)) => {
            Ok(accessat(CWD, dir, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?)
        }
        tried => tried,
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests write files as others would
mod tests {
    use super::*;

    #[test]
    fn write_replaces_file_and_mode() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("sub/.env");
        write_atomically(&path, b"A=1\n", PRIVATE).unwrap();
        write_atomically(&path, b"A=2\n", PRIVATE).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"A=2\n");
        assert_eq!(mode(&path), Some(0o600));
        assert_eq!(fs::read_dir(dir.path().join("sub")).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn write_new_refuses_an_existing_file() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("omni.asc");
        write_new(&path, b"first", PRIVATE).unwrap();
        assert_eq!(write_new(&path, b"second", PRIVATE).unwrap_err().code, Code::Conflict);
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"first".to_vec(), Some(0o600)));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        restrict_to_owner(&path).unwrap();
        assert_eq!(mode(&path), Some(0o600));
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn pipe_at(path: &Path) {
        rustix::fs::mknodat(CWD, path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    }

    #[test]
    fn sweep_removes_only_leftovers() {
        let dir = TempDir::new().unwrap();
        for name in ["..env.omni-scale-a1B2c3.tmp", ".env.omni-scale-a1B2c3.tmp", ".env", "a.1.tmp", ".x.tmp"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        let ours = write_temp_file(&dir.path().join("config.yaml"), b"x", PRIVATE).unwrap();
        let ours_name = ours.path().file_name().unwrap().to_str().unwrap().to_owned();
        remove_stale_temp_files(dir.path());
        let mut left = vec![ours_name, ".env".to_owned(), ".x.tmp".to_owned(), "a.1.tmp".to_owned()];
        left.sort();
        assert_eq!(names(dir.path()), left);
        remove_stale_temp_files(&dir.path().join("absent"));
    }

    #[test]
    fn scratch_is_private_and_removes_leftovers() {
        let dir = TempDir::new().unwrap();
        let root = dir.path().join("tmp");
        fs::create_dir(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(root.join("gpg-left/private-keys-v1.d")).unwrap();
        let first = Scratch::new(&root, "gpg").unwrap();
        fs::write(first.path().join("secret"), "x").unwrap();
        let second = Scratch::new(&root, "gpg").unwrap();
        assert!(!root.join("gpg-left").exists(), "a run that was killed left it");
        assert!(first.path().join("secret").exists(), "it is still in use");
        assert_eq!((mode(&root), mode(second.path())), (Some(0o700), Some(0o700)));
        drop((first, second));
        assert_eq!(names(&root), ["lock"]);
    }

    #[test]
    fn check_writable_leaves_no_file() {
        let dir = TempDir::new().unwrap();
        check_writable(&dir.path().join("sub/new")).unwrap();
        assert_eq!(names(dir.path()), Vec::<String>::new());
        let pipe = dir.path().join("pipe");
        pipe_at(&pipe);
        let failure = check_writable(&pipe).unwrap_err();
        assert!(failure.cause.contains("it is a pipe, not a file"), "{failure}");
        assert!(check_writable(Path::new("/dev/zero")).unwrap_err().cause.contains("it is a device"));
    }

    #[test]
    fn read_refuses_a_pipe_without_blocking() {
        let dir = TempDir::new().unwrap();
        let pipe = dir.path().join("pipe");
        pipe_at(&pipe);
        assert!(read_optional(&pipe).unwrap_err().cause.contains("it is a pipe, not a file"));
        assert!(write_atomically(&pipe, b"x", SHARED).unwrap_err().cause.contains("it is a pipe, not a file"));
        assert!(open_file(&pipe, OpenOptions::new().append(true)).is_err());
        // The case of a pipe that replaces a file after it was checked.
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
        assert!(OpenOptions::new().append(true).custom_flags(flags).open(&pipe).is_err(), "a pipe without a reader");
        assert!(read_up_to(Path::new("/dev/zero"), 9).unwrap_err().to_string().contains("it is a device, not a file"));
    }

    #[test]
    fn write_follows_a_link() {
        let dir = TempDir::new().unwrap();
        let real = dir.path().join("real");
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, dir.path().join("link")).unwrap();
        write_atomically(&dir.path().join("link"), b"new", SHARED).unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert!(fs::symlink_metadata(dir.path().join("link")).unwrap().is_symlink());
    }
}
