//! `omni-backup`: creates a backup of the Omni stack while it runs.
//!
//! 1. Checks that the stack runs, and that files can be encrypted for the recipients.
//! 2. Creates the archive atomically: a snapshot of etcd, a consistent copy of SQLite, the tailnet identity, configuration and
//!    certificates, and the store key if the archive is encrypted.
//! 3. Removes the backups that `--keep` does not keep, by their names.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::cli::OmniBackup;
use crate::flow::backup::{self, Source};
use crate::flow::{omni_stack, project_files};
use crate::prelude::*;
use domain::backup::{file_name, started_at};
use domain::clock;
use runtime::files;
use runtime::paths::path_to_paste;
use runtime::tool::archive::Encryption;

pub fn run(args: &OmniBackup, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    omni_stack::require_env(cx)?;
    let encryption = Encryption::for_recipients(&args.recipient)?;
    let now = clock::unix_seconds(SystemTime::now());
    let name = |at| file_name(at, encryption.map_or("", Encryption::extension));
    let file = output_path(args, cx, (now..).map(name))?;
    let source = cx.ui.step("stack", "Check that the stack runs", || {
        let source = Source::find(cx, args.etcd_image.as_deref())?;
        Ok(StepResult::ok(source, "Omni keeps running during the backup"))
    })?;
    match encryption {
        Some(encryption) if !cx.dry_run => {
            cx.ui.step("recipients", "Check that the recipients can be used for encryption", || {
                encryption.check_recipients(cx, &args.recipient)?;
                Ok(StepResult::ok((), args.recipient.join(", ")))
            })?
        }
        Some(_) => {}
        None => {
            let detail = "no --recipient: keep a copy of docker/omni.asc elsewhere";
            cx.ui.note("key", "the store key is omitted", Status::Skipped, detail);
        }
    }
    let plan = plan(args, cx, &source, &file)?;
    plan.carry_out_unasked(cx, &Value::Null)?;
    let size = std::fs::metadata(&file).map_or(0, |meta| meta.len());
    Ok(Outcome::done(format!("the backup is at {}", file.display()))
        .with(json!({ "file": file, "bytes": size, "encrypted": encryption.is_some() }))
        .next(format!("cargo xtask omni-backup-verify {}", path_to_paste(&file))))
}

/// Returns the file to write: `--to` is its name or its directory, in which it gets the first of these names that is not taken,
/// as another backup may have been created in the same second.
fn output_path(args: &OmniBackup, cx: &Cx, names: impl Iterator<Item = String>) -> Result<PathBuf, Failure> {
    let to = args.to.clone().unwrap_or_else(|| cx.paths.backups());
    let to = std::path::absolute(&to).unwrap_or(to);
    let is_file = !to.is_dir() && to.file_name().is_some_and(|name| name.to_string_lossy().contains(".tar"));
    if !is_file {
        return Ok(names.map(|name| to.join(name)).find(|file| !file.exists()).unwrap_or(to));
    }
    if args.keep.is_some() {
        return Err(Failure::new(Code::Usage, "--keep needs a directory").hint("specify one with --to, or omit --keep"));
    }
    match to.exists() {
        true => Err(Failure::new(Code::Conflict, format!("`{}` already exists and is not overwritten", to.display()))),
        false => Ok(to),
    }
}

fn plan<'a>(args: &'a OmniBackup, cx: &Cx, source: &'a Source, file: &'a Path) -> Result<Plan<'a>, Failure> {
    let dir = file.parent().unwrap_or(Path::new("/"));
    cx.check_writable(&[file.to_owned()])?;
    let write = Change::new("write", file.display().to_string(), "Omni keeps running", "remove the file", move |cx| {
        if !dir.is_dir() {
            files::create_private_dir(dir).map_err(|error| backup::io_failure("create", dir, &error))?;
        }
        // Left behind by a run that was killed.
        files::remove_stale_temp_files(dir);
        Ok(backup::write_backup(cx, source, &args.recipient, file)?)
    })
    .with_record(move |state| {
        state.set("last_backup", file.display().to_string());
        state.set("last_backup_at", clock::rfc3339(SystemTime::now()));
    });
    let mut plan = Plan::from_iter([write]);
    let Some(keep) = args.keep else { return Ok(plan) };
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    let new = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for name in keep.expired(names.chain([new])) {
        let old = dir.join(&name);
        let made = clock::date(started_at(&name).unwrap_or_default());
        let effect = format!("the backup of {made}, which is outside of --keep");
        let shown = old.display().to_string();
        plan.push(project_files::remove((old, shown), effect, "this cannot be undone"));
    }
    Ok(plan)
}
