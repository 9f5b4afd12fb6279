//! Changes of the project's own files: written whole, a key of `docker/.env` set, the mode restricted.

use std::path::{Path, PathBuf};

use crate::flow::backup::cannot;
use crate::prelude::*;
use domain::secret::Secret;
use domain::spec::env::EnvFile;
use runtime::files;

/// A file that was checked, with the bytes that it had then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedFile {
    pub path: PathBuf,
    pub bytes: Vec<u8>,
}

/// Writes a file, whole, with this mode.
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
        Ok(replaced("written", names))
    })
}

/// Replaces a file by a changed copy of what was read, unless somebody else has changed it since.
pub fn replace<'a>(
    read: CheckedFile,
    shown: impl Into<String>,
    contents: String,
    effect: impl Into<String>,
) -> Change<'a> {
    Change::new("update", shown, effect, "restore it from git", move |cx| {
        same(cx, &read)?;
        let names = files::hard_links(&read.path);
        files::write_atomically(&read.path, contents.as_bytes(), files::SHARED)?;
        Ok(replaced("written", names))
    })
}

/// Removes a file.
pub fn remove<'a>(
    (path, shown): (PathBuf, impl Into<String>),
    effect: impl Into<String>,
    undo: impl Into<String>,
) -> Change<'a> {
    Change::new("remove", shown, effect, undo, move |_| {
        std::fs::remove_file(&path).map_err(|error| cannot("remove", &path, &error))?;
        Ok("removed".to_owned())
    })
}

/// Refuses to go on with a file that is not what was checked.
///
/// # Errors
/// [`Code::Conflict`] with the path.
pub fn same(cx: &Cx, checked: &CheckedFile) -> Result<(), Failure> {
    if files::read_if_there(&checked.path)?.as_deref() == Some(&checked.bytes) {
        return Ok(());
    }
    Err(Failure::new(Code::Conflict, format!("`{}` changed after it was checked", cx.paths.show(&checked.path)))
        .cause("what it holds now was neither checked nor shown, so nothing was done with it")
        .hint("run the same command again"))
}

/// What is done to a file that the call itself names: it is created, or updated where it `is` one of those.
///
/// # Errors
/// [`Code::Conflict`] for a file that is not `what`; when it cannot be written.
pub fn named_by_call(cx: &Cx, file: &Path, what: &str, is: impl FnOnce(&str) -> bool) -> Result<&'static str, Failure> {
    let there = files::read_if_there(file)?;
    let verb = if there.is_some() { "update" } else { "create" };
    if there.is_some_and(|bytes| !bytes.is_empty() && !is(&String::from_utf8_lossy(&bytes))) {
        return Err(Failure::new(Code::Conflict, format!("`{}` exists and is not {what}", file.display()))
            .hint("name another file, or remove this one"));
    }
    cx.writable(&[std::path::absolute(file).unwrap_or_else(|_| file.to_owned())])?;
    Ok(verb)
}

/// Writes a file that a `-create` task made for the operator; nothing when it holds `contents` already.
///
/// # Errors
/// [`Code::Conflict`] for one that differs, unless `force`d; `use_it` says what can be done with it as it is.
pub fn create<'a>(
    cx: &Cx,
    path: &Path,
    contents: String,
    effect: String,
    (force, hint, next): (bool, &str, String),
) -> Result<Option<Change<'a>>, Failure> {
    let shown = cx.paths.show(path);
    match files::read_if_there(path)? {
        Some(old) if old == contents.as_bytes() => Ok(None),
        Some(_) if !force => Err(Failure::new(Code::Conflict, format!("`{shown}` exists with other content"))
            .cause("it is never overwritten unasked: it may hold your own changes")
            .hint(hint)
            .next(next)),
        Some(bytes) => Ok(Some(replace(CheckedFile { path: path.to_owned(), bytes }, shown, contents, effect))),
        None => {
            let contents = (Secret::plain(contents), files::SHARED);
            Ok(Some(write("create", (path.to_owned(), shown), contents, effect, "remove the file")))
        }
    }
}

/// Takes a file from everyone but its owner; nothing when it is private or absent.
pub fn protect<'a>(path: PathBuf, shown: &str) -> Option<Change<'a>> {
    let mode = files::mode(&path).filter(|mode| mode & 0o077 != 0)?;
    let effect = format!("mode 0600 instead of {mode:04o}");
    Some(Change::new("protect", shown, effect, "nothing to undo", move |_| {
        files::protect(&path)?;
        Ok("0600".to_owned())
    }))
}

/// Sets a key of `docker/.env`, or of the file of a further provider.
pub fn set_env_key<'a>(cx: &Cx, key: &'static str, value: Secret, effect: &str, undo: &str) -> Change<'a> {
    Change::new("set", cx.settings.place(key), effect, undo, move |cx| write_env_key(cx, key, &value, "written"))
}

/// A file is replaced as a whole, so that another name of it keeps the old contents.
fn replaced(what: &str, names: u64) -> String {
    let more = "; its other hard link keeps the old contents (`ln -s` makes one that follows)";
    if names > 1 { format!("{what}{more}") } else { what.to_owned() }
}

/// Writes one key of `docker/.env`, or of the file of a further provider, read afresh: the file may have changed since the task began. Returns `what` was done, in
/// words.
///
/// # Errors
/// [`Code::NotFound`] when there is no such file; when it cannot be read or written.
pub fn write_env_key(cx: &Cx, key: &str, value: &Secret, what: &str) -> anyhow::Result<String> {
    let own = cx.settings.own(key).map(|(own, _)| own);
    let path = if own.is_some() { cx.paths.provider_env() } else { cx.paths.env() };
    let text = match files::read_text_if_there(&path)? {
        None if own.is_some() => String::new(),
        found => found.ok_or_else(|| {
            Failure::new(Code::NotFound, "`docker/.env` does not exist").hint("make it from docker/.env.example")
        })?,
    };
    let mut env = EnvFile::parse(&cx.paths.show(&path), &text)?;
    env.set(own.unwrap_or(key), value.expose());
    let names = files::hard_links(&path);
    files::write_atomically(&path, env.text().as_bytes(), files::PRIVATE)?;
    Ok(replaced(what, names))
}
