//! `omni-restore`: brings the Omni of a backup back on a new host, from a fresh clone.
//!
//! 1. Everything that `omni-backup-verify` checks.
//! 2. This host must be empty, of the same Omni version, and the only one: no stack, no volumes, no other files, no Omni that
//!    still answers.
//! 3. Files, then volumes, then the start; Omni answers, with the restored store; then everything that `omni-verify` checks.

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
