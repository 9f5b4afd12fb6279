//! `support-bundle [--out FILE]`: creates an archive with everything that helpers need, without secrets.
//!
//! 1. Reads the project's files, doctor's checks, the stack, Omni, Proxmox and the journal, as far as they can be reached.
//! 2. Removes secrets by their form and by their value.
//! 3. Shows the manifest: what is in the bundle, what is not, and how many secrets of each kind were removed.
//! 4. Writes the archive after confirmation, atomically and for this user only. Nothing else is changed.

use std::path::{Path, PathBuf};

use crate::cli::SupportBundle;
use crate::flow::support_bundle;
use crate::prelude::*;
use check::capacity::format_bytes;
use runtime::bundle::Manifest;
use runtime::files;
use runtime::paths::path_to_paste;
use runtime::ui::table;

pub fn run(args: &SupportBundle, cx: &Cx) -> anyhow::Result<Outcome> {
    let file = output_path(args.out.as_deref(), cx)?;
    let bundle = support_bundle::gather(cx)?;
    show(cx, &bundle.manifest);
    let archive = bundle.pack()?;
    let removed: u64 = bundle.manifest.removed.values().sum();
    let words = format!(
        "{} of {}, {} removed",
        format_bytes(archive.len() as u64),
        count(bundle.manifest.files.len(), "file"),
        count(removed, "secret")
    );
    let data = data(&bundle.manifest, &file, args.everything.all);
    let path = file.clone();
    let write = Change::new("create", file.display().to_string(), words.clone(), "remove the file", move |_| {
        files::write_new(&path, &archive, files::PRIVATE)?;
        Ok("written for this user only".to_owned())
    });
    Plan::from_iter([write]).carry_out(cx, "Write the support bundle", &data)?;
    Ok(Outcome::done(format!("the support bundle is at {}: {words}", file.display()))
        .with(data)
        .next(format!("cargo xtask cluster-explain --bundle {}", path_to_paste(&file))))
}

/// Returns the file to write, which must not exist.
fn output_path(out: Option<&Path>, cx: &Cx) -> anyhow::Result<PathBuf> {
    if out.is_some_and(|out| out == Path::new("-")) {
        return Err(Failure::new(Code::Usage, "--out does not write to standard output")
            .hint("specify a file; for a file called `-`, give ./-")
            .into());
    }
    let mut file = std::path::absolute(out.unwrap_or(Path::new(".")))?;
    if file.is_dir() {
        let name = support_bundle::file_name(cx.now());
        let stem = name.trim_end_matches(".tar.gz");
        // Two bundles created in the same second get different names.
        let names = std::iter::once(name.clone()).chain((2..100).map(|number| format!("{stem}-{number}.tar.gz")));
        let free = names.map(|name| file.join(name)).find(|file| file.symlink_metadata().is_err());
        file = free.unwrap_or_else(|| file.join(&name));
    }
    if file.symlink_metadata().is_ok() {
        let exists = format!("`{}` already exists and is not overwritten", file.display());
        return Err(Failure::new(Code::Conflict, exists)
            .hint("choose another file with --out, or remove this one")
            .into());
    }
    cx.check_writable(std::slice::from_ref(&file))?;
    Ok(file)
}

fn show(cx: &Cx, manifest: &Manifest) {
    let row = |(name, part): (&String, &runtime::bundle::Part)| {
        vec![name.clone(), format_bytes(part.bytes), part.removed.to_string()]
    };
    let mut text = table(&["FILE", "SIZE", "REMOVED"], manifest.files.iter().map(row));
    let removed: Vec<Vec<String>> =
        manifest.removed.iter().map(|(kind, times)| vec![kind.clone(), times.to_string()]).collect();
    if !removed.is_empty() {
        text.push('\n');
        text.push_str(&table(&["KIND OF SECRET", "REMOVED"], &removed));
    }
    let missing: Vec<Vec<String>> =
        manifest.missing.iter().map(|(part, failure)| vec![part.clone(), failure.message.clone()]).collect();
    if !missing.is_empty() {
        text.push('\n');
        text.push_str(&table(&["NOT IN IT", "WHY"], &missing));
    }
    cx.ui.print_data(&text);
}

fn data(manifest: &Manifest, file: &Path, all: bool) -> Value {
    let files = if all { json!(manifest.files) } else { json!(manifest.files.len()) };
    let why = |(part, failure): (&String, &Failure)| (part.clone(), Value::from(failure.message.as_str()));
    let missing: serde_json::Map<String, Value> = manifest.missing.iter().map(why).collect();
    json!({
        "file": file, "made_at": manifest.made_at, "versions": manifest.versions, "files": files,
        "removed": manifest.removed, "missing": missing,
    })
}
