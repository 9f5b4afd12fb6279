//! `omni-backup-verify`: proves that a backup can be restored, without touching anything that is running.
//!
//! 1. Opens the archive in a private directory, and checks that all of its parts are present and unchanged.
//! 2. Checks that the etcd snapshot is readable, belongs to the account, and contains what the manifest lists.
//! 3. Checks that the store key opens the store, that SQLite accepts its database, and that etcd restores its snapshot.
//! 4. With `--drill`, starts Omni from it in isolation, checks that it has what the backup has, and removes it.

use std::path::{PathBuf, absolute};
use std::time::SystemTime;

use crate::cli::OmniBackupVerify;
use crate::flow::backup_check::{OpenedBackup, VerifyOptions};
use crate::flow::backup_drill;
use crate::prelude::*;
use domain::clock;
use runtime::paths::path_to_paste;

pub fn run(args: &OmniBackupVerify, cx: &Cx) -> anyhow::Result<Outcome> {
    // All drills on a host use the same names.
    let lock = args.drill.then(|| cx.lock()).transpose()?;
    let means = VerifyOptions { identity: args.identity.as_deref(), image: args.etcd_image.as_deref() };
    let last = cx.reload_state()?.get("last_backup").map(PathBuf::from);
    let file = args.file.clone().or(last).ok_or_else(|| {
        Failure::new(Code::Usage, "no backup was specified, and none was made from this checkout")
            .next("cargo xtask omni-backup")
    })?;
    let opened = OpenedBackup::open(cx, &file, &means)?;
    let key = args.key.clone().unwrap_or_else(|| cx.paths.store_key());
    opened.check_key(cx, &key)?;
    opened.check_sqlite(cx)?;
    opened.check_restore(cx, &means)?;
    if args.drill && cx.dry_run {
        cx.ui.note("drill", "start Omni from the backup, then remove it", Status::Planned, "on a separate network");
    } else if args.drill {
        backup_drill::run(cx, &opened, &means, &key)?;
    }
    let identity = args.identity.iter().map(|file| format!(" --identity {}", path_to_paste(file))).collect::<String>();
    let outcome = Outcome::done("the backup can be restored")
        .with(json!({ "manifest": opened.manifest }))
        .next(format!("cargo xtask omni-restore {}{identity}", path_to_paste(&file)));
    let file = absolute(&file).unwrap_or(file).display().to_string();
    // While another task changes the project, the result is only printed.
    let Ok(_lock) = lock.map_or_else(|| cx.try_lock_checkout(), Ok) else { return Ok(outcome) };
    let mut plan = Plan::default();
    let slots: Vec<String> = opened.manifest.key_slots.into_iter().collect();
    plan.record(move |state| {
        state.set_list("store_key_slots", &slots);
        state.set("verified_backup", file);
        state.set("verified_backup_at", clock::rfc3339(SystemTime::now()));
    });
    plan.run_unasked(cx)?;
    Ok(outcome)
}
