//! Files that are either as they were or complete: written beside their place, synced, and renamed over it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use model::failure::{Code, Failure, Kind};

/// Mode of files that hold secrets.
pub const PRIVATE: u32 = 0o600;
/// No file that is read as a whole is larger.
const MOST: u64 = 32 << 20;
/// How the name of a file begins that only tries whether a directory takes one.
const PROBE: &str = "omni-scale-probe.";
/// Mode of files that are committed.
pub const SHARED: u32 = 0o644;

/// What to do about a file that cannot be read or written, by what the system says of it.
pub fn mend(path: &Path, error: &std::io::Error) -> String {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")).display().to_string();
    match error.kind() {
        ErrorKind::StorageFull => format!("free some space on its file system: `df -h {dir}`"),
        ErrorKind::QuotaExceeded => "the quota is used up: `quota` shows it".to_owned(),
        ErrorKind::FileTooLarge => "this shell limits the size of files: `ulimit -f unlimited`".to_owned(),
        ErrorKind::ReadOnlyFilesystem => format!("its file system is mounted read-only: `findmnt -T {dir}`"),
        ErrorKind::IsADirectory => format!(
            "a directory stands in its place, as docker makes one for a mount whose file is missing: `rmdir {}`",
            path.display()
        ),
        ErrorKind::ResourceBusy => "it is mounted by itself, and cannot be replaced: mount its directory".to_owned(),
        _ if error.raw_os_error() == Some(libc::EPERM) => {
            format!("run the task as its owner; the file or its directory may be immutable: `lsattr -d {dir}`")
        }
        _ => "run the task as the owner of the checkout, or mend the owner and mode of the file and its directory"
            .to_owned(),
    }
}

/// Replaces `path` by `contents` at once, with `mode`. A reader sees the old file or the new one, also after a crash.
///
/// # Errors
/// [`Code::Failed`] that names the path and the reason; the old file is then untouched.
pub fn write_atomically(path: &Path, contents: &[u8], mode: u32) -> Result<(), Failure> {
    let failed = |what: &str, error: std::io::Error| {
        Failure::new(Code::Failed, format!("cannot write `{}`", path.display()))
            .cause(format!("{what}: {error}"))
            .hint(mend(path, &error))
    };
    // The parent of a bare name is the empty path, which names no directory.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|error| failed("creating its directory", error))?;
    // A link would be replaced by a file: write where it leads.
    let place = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let temp = temp_beside(&place);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temp)?;
        // create_new honours the umask; the mode asked for is exact.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&temp, &place)?;
        File::open(fs::canonicalize(parent)?)?.sync_all()
    })();
    written.map_err(|error| {
        let _ = fs::remove_file(&temp);
        failed("writing beside it and renaming", error)
    })
}

/// Writes a file that must not be there yet, whole, with `mode`.
///
/// # Errors
/// [`Code::Conflict`] when it is there: it stays as it is. [`Code::Failed`] otherwise.
pub fn write_new(path: &Path, contents: &[u8], mode: u32) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        if error.kind() == ErrorKind::AlreadyExists {
            return Failure::new(Code::Conflict, format!("`{}` exists, and is not written over", path.display()));
        }
        Failure::new(Code::Failed, format!("cannot write `{}`", path.display()))
            .cause(error.to_string())
            .hint(mend(path, &error))
    };
    let temp = temp_beside(path);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temp)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(contents)?;
        file.sync_all()?;
        // A link, unlike a rename, fails when the name is taken.
        fs::hard_link(&temp, path)
    })();
    let _ = fs::remove_file(&temp);
    written.map_err(failed)
}

/// Takes `path` from everyone but its owner.
///
/// # Errors
/// [`Code::Failed`] with the path.
pub fn protect(path: &Path) -> Result<(), Failure> {
    fs::set_permissions(path, fs::Permissions::from_mode(PRIVATE)).map_err(|error| {
        Failure::new(Code::Failed, format!("cannot change the mode of `{}`", path.display()))
            .cause(error.to_string())
            .hint("it belongs to another user: `sudo chown`")
    })
}

/// The temporary name beside `place`, free to be made. It carries the pid, so that what a killed run left behind is told
/// apart: one with our own pid is left of a namesake, as in a container, where the numbers begin anew.
fn temp_beside(place: &Path) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let temp = place.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let _ = fs::remove_file(&temp);
    temp
}

/// Takes away what runs that were killed have left in `dir` beside their files: half a file, perhaps with a secret in it.
/// What a process that lives is about to rename stays, and so does everything where the system does not say who lives.
pub fn sweep(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(owner_of_temp);
        if owner.is_some_and(ended) {
            // What cannot be taken away is as harmless as before.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Takes away the scratch directories `NAME-PID` in `dir` of runs that were killed. Those of processes that live stay.
pub fn sweep_scratch(dir: &Path, name: &str) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let found = entry.file_name();
        let owner = found.to_str().and_then(|found| found.strip_prefix(name)?.strip_prefix('-'));
        if owner.filter(|pid| is_number(pid)).is_some_and(ended) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether no such process lives; never so where the system does not say who lives.
fn ended(pid: &str) -> bool {
    let processes = Path::new("/proc");
    processes.join("self").exists() && !processes.join(pid).exists()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The process whose [`temp_beside`] or probe this name is.
fn owner_of_temp(name: &str) -> Option<&str> {
    let hidden = name.strip_prefix('.')?;
    let owner = match hidden.strip_prefix(PROBE) {
        Some(pid) => pid,
        None => hidden.strip_suffix(".tmp")?.rsplit_once('.')?.1,
    };
    Some(owner).filter(|pid| is_number(pid))
}

/// Takes away what [`link_all`] made below `dir`; what cannot go does no harm, and is replaced the next time.
pub fn remove_links(dir: &Path) {
    let _ = fs::remove_dir_all(dir);
}

/// Makes `dir` a directory that holds nothing but links to these files, named by their place in the list so that they are
/// read in its order, and says where they are.
///
/// # Errors
/// [`Code::Failed`] with the path.
pub fn link_all(dir: &Path, files: &[&Path]) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Code::Failed, format!("`{}` could not be made", dir.display())).cause(error.to_string())
    };
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

/// The first bytes of a file. What is no file is not opened: a pipe that nobody writes to would hold us for ever, and a
/// device may have no end. A pipe that the shell has made, as for `<(command)`, has its writer.
///
/// # Errors
/// The system's, or that it is no file.
pub fn read_up_to(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let kind = fs::metadata(path)?.file_type();
    let of_shell = kind.is_fifo() && (path.starts_with("/dev/fd") || path.starts_with("/proc"));
    if kind.is_dir() {
        return Err(std::io::Error::new(ErrorKind::IsADirectory, "it is no file but a directory"));
    }
    if !kind.is_file() && !of_shell {
        return Err(std::io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The contents of `path`, or `None` when there is no such file.
///
/// # Errors
/// [`Code::Failed`] for anything else than absence: an unreadable file is not an absent one.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match read_up_to(path, MOST + 1) {
        Ok(bytes) if bytes.len() as u64 > MOST => {
            let error = std::io::Error::other(format!("it is larger than {} MiB", MOST >> 20));
            Err(unreadable(path, &error))
        }
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// As [`read_if_there`], as text.
pub fn read_text_if_there(path: &Path) -> Result<Option<String>, Failure> {
    let Some(bytes) = read_if_there(path)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|error| {
        Failure::new(Code::Invalid, format!("`{}` is no UTF-8 text", path.display()))
            .cause(format!("byte {} does not belong to any character", error.utf8_error().valid_up_to()))
            .hint("save it as UTF-8; a binary file in its place was put there by mistake")
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let kind = if error.kind() == ErrorKind::PermissionDenied { Kind::Permission } else { Kind::Other };
    Failure::new(Code::Failed, format!("cannot read `{}`", path.display()))
        .kind(kind)
        .cause(error.to_string())
        .hint(mend(path, error))
}

/// Whether something is there that is no file: a device, a pipe, a directory.
pub fn is_no_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| !meta.is_file())
}

/// The permission bits of `path`, if it is there.
pub fn mode(path: &Path) -> Option<u32> {
    fs::metadata(path).ok().map(|meta| meta.permissions().mode() & 0o777)
}

/// Whether `path` could be written: its directory (or the nearest one that exists) takes new files, and what is there may be
/// replaced.
///
/// # Errors
/// [`Code::Prerequisite`] with the directory that refuses, or the file.
pub fn check_writable(path: &Path) -> Result<(), Failure> {
    let refused = |cause: String, hint: String| {
        Failure::new(Code::Prerequisite, format!("`{}` cannot be written", path.display())).cause(cause).hint(hint)
    };
    let parent = path.ancestors().skip(1).find(|dir| dir.exists()).unwrap_or(Path::new("."));
    let probe = parent.join(format!(".{PROBE}{}", std::process::id()));
    let made = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(&probe);
    let tried = made.and_then(|mut file| file.write_all(b"a file with something in it needs space"));
    let _ = fs::remove_file(&probe);
    tried.map_err(|error| {
        let cause = format!("its directory `{}` refuses a new file: {error}", parent.display());
        refused(cause, mend(&probe, &error))
    })?;
    // A file that its mode alone protects can be replaced; one that the system protects cannot.
    match OpenOptions::new().append(true).open(path) {
        Err(error) if matches!(error.kind(), ErrorKind::IsADirectory | ErrorKind::ReadOnlyFilesystem) => {
            Err(refused(error.to_string(), mend(path, &error)))
        }
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Err(refused(error.to_string(), mend(path, &error))),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // tests write files as others would
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode() {
        let dir = TempDir::new();
        let path = dir.path().join("sub/.env");
        write_atomically(&path, b"A=1\n", PRIVATE).unwrap();
        write_atomically(&path, b"A=2\n", PRIVATE).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"A=2\n");
        assert_eq!(mode(&path), Some(0o600));
        assert_eq!(fs::read_dir(dir.path().join("sub")).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_new_file_never_takes_the_place_of_another() {
        let dir = TempDir::new();
        let path = dir.path().join("omni.asc");
        write_new(&path, b"first", PRIVATE).unwrap();
        assert_eq!(write_new(&path, b"second", PRIVATE).unwrap_err().code, Code::Conflict);
        assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"first".to_vec(), Some(0o600)));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        protect(&path).unwrap();
        assert_eq!(mode(&path), Some(0o600));
    }

    #[test]
    fn what_the_killed_left_goes_and_nothing_else() {
        let dir = TempDir::new();
        let dead = u32::MAX; // no process has this number
        let ours = format!(".config.yaml.{}.tmp", std::process::id());
        for name in
            [&format!(".env.{dead}.tmp"), &format!(".omni-scale-probe.{dead}"), &ours, ".env", "a.1.tmp", ".x.tmp"]
        {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        fs::write(dir.path().join(format!("..env.{dead}.tmp")), "x").unwrap();
        sweep(dir.path());
        let mut left: Vec<String> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, [ours.as_str(), ".env", ".x.tmp", "a.1.tmp"]);
        sweep(&dir.path().join("absent"));
    }

    #[test]
    fn what_a_namesake_left_is_in_nobodys_way() {
        let dir = TempDir::new();
        fs::write(dir.path().join(format!(".new.{}.tmp", std::process::id())), "left").unwrap();
        write_atomically(&dir.path().join("new"), b"whole", SHARED).unwrap();
        assert_eq!(fs::read(dir.path().join("new")).unwrap(), b"whole");
    }

    #[test]
    fn a_link_is_followed() {
        let dir = TempDir::new();
        let real = dir.path().join("real");
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, dir.path().join("link")).unwrap();
        write_atomically(&dir.path().join("link"), b"new", SHARED).unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert!(fs::symlink_metadata(dir.path().join("link")).unwrap().is_symlink());
    }

    #[test]
    fn a_directory_in_the_way_is_an_error_that_names_it() {
        let dir = TempDir::new();
        let path = dir.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("x"), "x").unwrap();
        let failure = write_atomically(&path, b"x", SHARED).unwrap_err();
        assert!(failure.message.contains("taken"), "{failure}");
        assert!(read_if_there(&path).is_err(), "unreadable is not absent");
        assert_eq!(read_if_there(&dir.path().join("absent")).unwrap(), None);
    }
}
