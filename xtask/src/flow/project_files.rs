//! Changes to the project's own files: writing a whole file, setting a key of `docker/.env`, restricting the mode.

use std::path::{Path, PathBuf};

use crate::flow::backup::io_failure;
use crate::prelude::*;
use domain::secret::Secret;
use domain::spec::env::EnvFile;
use runtime::files;

/// A file that was checked, with its contents at that time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedFile {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

/// Writes a whole file with this mode.
pub fn write<'a>(
    verb: &'static str,
    (path, shown): (PathBuf, impl Into<String>),
    (contents, mode): (Secret, u32),
    effect: impl Into<String>,
    undo: impl Into<String>,
) -> Change<'a> {
    Change::new(verb, shown, effect, undo, move |_| {
        let names = files::hard_links(&path);
        files::write_atomically(&path, contents.expose().as_bytes(), mode)?;
        Ok(note_hard_links("written", names))
    })
}

/// Replaces a file with a changed copy of what was read, unless it has changed since.
pub fn replace<'a>(
    read: CheckedFile,
    shown: impl Into<String>,
    contents: String,
    effect: impl Into<String>,
) -> Change<'a> {
    Change::new("update", shown, effect, "restore it from git", move |cx| {
        refuse_if_changed(cx, &read)?;
        let names = files::hard_links(&read.path);
        files::write_atomically(&read.path, contents.as_bytes(), files::SHARED)?;
        Ok(note_hard_links("written", names))
    })
}

/// Removes a file.
pub fn remove<'a>(
    (path, shown): (PathBuf, impl Into<String>),
    effect: impl Into<String>,
    undo: impl Into<String>,
) -> Change<'a> {
    Change::new("remove", shown, effect, undo, move |_| {
        std::fs::remove_file(&path).map_err(|error| io_failure("remove", &path, &error))?;
        Ok("removed".to_owned())
    })
}

/// Refuses to continue if a file has changed since it was checked.
///
/// # Errors
/// Fails with [`Code::Conflict`] and the path.
pub fn refuse_if_changed(cx: &Cx, checked: &CheckedFile) -> Result<(), Failure> {
    if files::read_optional(&checked.path)?.as_deref() == Some(&checked.bytes) {
        return Ok(());
    }
    Err(Failure::new(Code::Conflict, format!("`{}` changed after it was checked", cx.paths.show(&checked.path)))
        .cause("its new content was neither checked nor shown, so nothing was done with it")
        .hint("run the same command again"))
}

/// Returns the verb for writing a file named on the command line: it is created, or updated if `is` accepts its contents.
///
/// # Errors
/// Fails with [`Code::Conflict`] if the file is not `what`, or if it cannot be written.
pub fn check_output(cx: &Cx, file: &Path, what: &str, is: impl FnOnce(&str) -> bool) -> Result<&'static str, Failure> {
    let there = files::read_optional(file)?;
    let verb = if there.is_some() { "update" } else { "create" };
    if there.is_some_and(|bytes| !bytes.is_empty() && !is(&String::from_utf8_lossy(&bytes))) {
        return Err(Failure::new(Code::Conflict, format!("`{}` exists, but is not {what}", file.display()))
            .hint("choose another file, or remove this one"));
    }
    cx.check_writable(&[std::path::absolute(file).unwrap_or_else(|_| file.to_owned())])?;
    Ok(verb)
}

/// Writes a file that a `-create` task generated for the operator; `None` if the file already has these `contents`.
///
/// # Errors
/// Fails with [`Code::Conflict`] if the file differs, unless `force` is set; `hint` and `next` then suggest what to do.
pub fn create<'a>(
    cx: &Cx,
    path: &Path,
    contents: String,
    effect: String,
    (force, hint, next): (bool, &str, String),
) -> Result<Option<Change<'a>>, Failure> {
    let shown = cx.paths.show(path);
    match files::read_optional(path)? {
        Some(old) if old == contents.as_bytes() => Ok(None),
        Some(_) if !force => Err(Failure::new(Code::Conflict, format!("`{shown}` exists with different content"))
            .cause("it is not overwritten without --force: it may contain your own changes")
            .hint(hint)
            .next(next)),
        Some(bytes) => Ok(Some(replace(CheckedFile { path: path.to_owned(), bytes }, shown, contents, effect))),
        None => {
            let contents = (Secret::plain(contents), files::SHARED);
            Ok(Some(write("create", (path.to_owned(), shown), contents, effect, "remove the file")))
        }
    }
}

/// Restricts a file to its owner; `None` if it is private already or does not exist.
pub fn protect<'a>(path: PathBuf, shown: &str) -> Option<Change<'a>> {
    let mode = files::mode(&path).filter(|mode| mode & 0o077 != 0)?;
    let effect = format!("mode 0600 instead of {mode:04o}");
    Some(Change::new("protect", shown, effect, "nothing to undo", move |_| {
        files::restrict_to_owner(&path)?;
        Ok("0600".to_owned())
    }))
}

/// Sets a key of `docker/.env`, or of the file of an further provider.
pub fn set_env_key<'a>(cx: &Cx, key: &'static str, value: Secret, effect: &str, undo: &str) -> Change<'a> {
    Change::new("set", cx.settings.variable_location(key), effect, undo, move |cx| {
        write_env_key(cx, key, &value, "written")
    })
}

/// Warns that another hard link keeps the old contents, because the file is replaced as a whole.
fn note_hard_links(what: &str, names: u64) -> String {
    let more = "; its other hard link keeps the old contents (`ln -s` makes one that follows)";
    if names > 1 { format!("{what}{more}") } else { what.to_owned() }
}

/// Writes one key of `docker/.env`, or of the file of an further provider. The file is read again, as it may have changed
/// since the task started. Returns a description that starts with `what`.
///
/// # Errors
/// Fails with [`Code::NotFound`] if there is no such file, or if it cannot be read or written.
pub fn write_env_key(cx: &Cx, key: &str, value: &Secret, what: &str) -> anyhow::Result<String> {
    let own = cx.settings.provider_variable(key).map(|(own, _)| own);
    let path = if own.is_some() { cx.paths.provider_env() } else { cx.paths.env() };
    let text = match files::read_optional_text(&path)? {
        None if own.is_some() => String::new(),
        found => found.ok_or_else(|| {
            Failure::new(Code::NotFound, "`docker/.env` does not exist").hint("create it from docker/.env.example")
        })?,
    };
    let mut env = EnvFile::parse(&cx.paths.show(&path), &text)?;
    env.set(own.unwrap_or(key), value.expose());
    let names = files::hard_links(&path);
    files::write_atomically(&path, env.text().as_bytes(), files::PRIVATE)?;
    Ok(note_hard_links(what, names))
}
