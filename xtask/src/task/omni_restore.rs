//! `omni-restore`: restores the Omni of a backup on a new host, from a fresh clone.
//!
//! 1. Runs all checks of `omni-backup-verify`.
//! 2. Checks that this host is empty, has the same Omni version, and is the only one: no stack, no volumes, no other files, no
//!    Omni that still responds.
//! 3. Creates files and volumes, starts the stack, waits for Omni with the restored store, and checks as `omni-verify` does.

use crate::cli::OmniRestore;
use crate::flow::backup_check::{OpenedBackup, VerifyOptions};
use crate::flow::restore::Restore;
use crate::prelude::*;

pub fn run(args: &OmniRestore, cx: &Cx) -> anyhow::Result<Outcome> {
    let _lock = cx.lock()?;
    let means = VerifyOptions { identity: args.identity.as_deref(), image: args.etcd_image.as_deref() };
    let opened = OpenedBackup::open(cx, &args.file, &means)?;
    let restore = Restore::new(cx, &opened, args.lan_address.as_deref())?;
    restore.check(cx)?;
    opened.check_key(cx, &cx.paths.store_key())?;
    opened.check_sqlite(cx)?;
    opened.check_restore(cx, &means)?;
    let question = "Restore this backup here; the host that it was made on must stay off";
    restore.plan(cx).carry_out(cx, question, &Value::Null)?;
    Ok(Outcome::done("Omni is restored and answers")
        .with(json!({ "manifest": opened.manifest }))
        .next("cargo xtask omni-verify")
        .next("cargo xtask provider-verify"))
}
