//! `fleet-page`: writes an HTML page, and optionally a picture, of the whole fleet.
//!
//! 1. Queries Omni, Proxmox and Docker; the page lists what could not be queried.
//! 2. Renders the page, and the picture if it was requested.
//! 3. Writes both atomically.

use std::path::Path;

use serde_json::json;

use crate::cli::FleetPage;
use crate::flow::change::{Change, Plan};
use crate::flow::{fleet, project_files};
use crate::outcome::Outcome;
use domain::failure::{Code, Failure};
use domain::secret::Secret;
use domain::words::count;
use runtime::cx::Cx;
use runtime::files;

/// Identifies pages and pictures that this task wrote.
const MARK: &str = "omni-scale fleet-page";

pub fn run(args: &FleetPage, cx: &Cx) -> anyhow::Result<Outcome> {
    // Checked before any queries.
    check_output(cx, &args.out)?;
    args.svg.as_deref().map_or(Ok("create"), |file| check_output(cx, file))?;
    let found = fleet::gather(args, cx)?;
    let page = fleet::render_page(&found.model)?;
    let bytes = page.len();
    let mut changes = vec![write(cx, &args.out, page, "the page")?];
    if let Some(file) = &args.svg {
        changes.push(write(cx, file, fleet::render_picture(&found.model)?, "the picture")?);
    }
    let parts = |(part, why): &(String, String)| json!({ "part": part, "why": why });
    let missing: Vec<_> = found.missing.iter().map(parts).collect();
    let data = json!({
        "file": args.out, "bytes": bytes, "svg": args.svg, "counts": found.counts, "missing": missing,
        "attention": found.model["attention"],
    });
    // The command line names the files, which is consent enough.
    Plan::from_iter(changes).carry_out_unasked(cx, &data)?;
    let counts = &found.counts;
    let without = match missing.len() {
        0 => String::new(),
        some => format!("; without {}", count(some, "part")),
    };
    let summary = format!(
        "`{}` shows {}, {} and {}{without}",
        args.out.display(),
        count(counts.nodes, "node"),
        count(counts.clusters, "cluster"),
        count(counts.machines, "machine"),
    );
    Ok(Outcome::done(summary).with(data))
}

/// Returns the verb for writing a file; only a page of this task is overwritten.
///
/// # Errors
/// Fails with [`Code::Usage`] for `-`, which is not meant as a file name, or with [`Code::Conflict`] if it is another file.
fn check_output(cx: &Cx, file: &Path) -> Result<&'static str, Failure> {
    if file == Path::new("-") {
        return Err(Failure::new(Code::Usage, "fleet-page does not write to standard output")
            .cause("`-` would become the name of a file")
            .hint("specify a file; to write a file called `-`, give ./-"));
    }
    project_files::check_output(cx, file, "a page of this task", |text| text.contains(MARK))
}

fn write<'a>(cx: &Cx, file: &Path, text: String, effect: &str) -> anyhow::Result<Change<'a>> {
    let (verb, path, shown) = (check_output(cx, file)?, std::path::absolute(file)?, file.display().to_string());
    Ok(project_files::write(verb, (path, shown), (Secret::plain(text), files::SHARED), effect, "remove the file"))
}
