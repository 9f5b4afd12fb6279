//! `init DIR`: creates a project from the files in this program: the stack, tsidp, and examples.
//!
//! 1. Checks that the directory contains only unchanged files of the kit, so that an interrupted run can be completed.
//! 2. Creates the missing files, and reads them back.

use std::path::Path;

use crate::flow::kit;
use crate::prelude::*;
use runtime::paths::path_to_paste;

pub fn run(dir: &Path, cx: &Cx) -> anyhow::Result<Outcome> {
    let shown = dir.display();
    let dir = std::path::absolute(dir)?;
    let place = path_to_paste(&dir);
    let missing = cx.ui.step("directory", format!("Check that {shown} can become a project"), || {
        let missing = kit::missing_files(&dir)?;
        Ok(StepResult::ok(missing, ""))
    })?;
    let files: Vec<&str> = missing.iter().map(|(file, _)| *file).collect();
    let data = json!({ "dir": dir, "files": files });
    let effect = format!("{}: stack, tsidp, example classes and clusters", count(files.len(), "file"));
    let create = (!missing.is_empty()).then(|| {
        Change::new("create", shown.to_string(), effect, format!("rm -r {place}"), |_| {
            missing.iter().try_for_each(|(file, text)| kit::write_file(&dir.join(file), text))?;
            Ok(count(missing.len(), "file"))
        })
        .with_verification(|_| {
            let left = kit::missing_files(&dir)?;
            if left.is_empty() { Ok(()) } else { anyhow::bail!("files are missing again: {}", left.len()) }
        })
    });
    Plan::from_iter(create).carry_out_unasked(cx, &data)?;
    let summary = if files.is_empty() { "is a project already" } else { "is a project" };
    Ok(Outcome::done(format!("`{shown}` {summary}"))
        .with(data)
        .next(format!("cargo xtask omni-setup --project-dir {place}"))
        .next(format!("cargo xtask rehearse --project-dir {place}")))
}
