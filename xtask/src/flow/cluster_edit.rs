//! Changes a cluster template in place and syncs it: both are one plan, checked before anything is written.

use crate::flow::change;
use crate::flow::inputs::{self, Template};
use crate::flow::{cluster, cluster_sync, lookup, project_files, stage};
use crate::prelude::*;
use domain::spec::template::{ClusterTemplate, edit};
use yaml::Position;

/// A value of a template, with its position and its new text.
pub struct Value {
    /// Its name for people: `workers`.
    pub what: String,
    pub at: Position,
    pub old: String,
    pub new: String,
}

/// Changes values in the template of the cluster `name`, syncs it, and waits for the cluster unless `no_wait`. `values` selects
/// the values from the current template.
///
/// # Errors
/// Fails with [`Code::NotFound`] without a template, with [`Code::Failed`] and the lines to change if it cannot be edited in
/// place, or with the errors of a sync.
pub fn run(
    cx: &Cx,
    name: &str,
    (no_wait, allow): (bool, &[&'static str]),
    question: &str,
    values: impl FnOnce(&ClusterTemplate) -> Result<Vec<Value>, Failure>,
) -> anyhow::Result<Outcome> {
    let path = inputs::cluster_file(cx, name);
    let shown = cx.paths.show(&path);
    let mut found = inputs::refuse_invalid_templates(cx, std::slice::from_ref(&path), allow)?;
    let Some(found) = found.pop() else {
        return Err(Failure::new(Code::NotFound, format!("`{shown}` contains no template")).into());
    };
    inputs::check_cluster_name(cx, name, &found)?;
    let Template { template, file, .. } = found;
    let values: Vec<Value> = values(&template)?.into_iter().filter(|value| value.old != value.new).collect();
    let contents = edit_text((&shown, name), &String::from_utf8_lossy(&file.bytes), &values)?;
    cx.check_writable(&[cx.paths.state(), path.clone()])?;
    let omnictl = change::omnictl(cx)?;
    let sources = lookup::TemplateSources::read_sources(cx, false, None);
    let found = Template::check(cx, &path, contents.as_bytes(), &sources.facts());
    inputs::refuse(cx, "cluster template", &found.findings, allow)?;
    let templates: Vec<Template> = found.value.into_iter().collect();
    let existing = cluster::refuse_destroyed(&omnictl, &[name])?;
    let (_stage, staged) = stage::copy_templates(cx, &templates)?;
    if staged.iter().any(|staged| staged.file == path) && !values.is_empty() {
        return Err(manual_edit_failure(&shown, name, &values, "it refers to files outside its directory").into());
    }
    let (diffs, impacts) =
        cluster_sync::compare_and_check(cx, &omnictl, &existing, (&templates, &staged), sources.classes.as_deref())?;
    let data = json!({
        "cluster": name, "file": shown, "allowed": allow,
        "new_machines": impacts.new_machines, "new_machines_fit": impacts.fits,
    });
    let mut plan = Plan::default();
    if !values.is_empty() {
        let effect: Vec<String> =
            values.iter().map(|value| format!("{}: {} → {}", value.what, value.old, value.new)).collect();
        let write = project_files::replace(file, shown.as_str(), contents, effect.join(", "));
        plan.push(
            write.with_precondition(|cx| Ok(diffs.iter().try_for_each(|diff| diff.refuse_if_changed(cx, &omnictl))?)),
        );
    }
    plan.append(cluster_sync::plan(cx, &omnictl, &diffs, impacts, no_wait));
    let changes = !plan.is_empty();
    plan.carry_out(cx, question, &data)?;
    let summary = match (changes, no_wait) {
        (false, _) => format!("cluster `{name}` is already up to date; nothing to change"),
        (true, true) => format!("cluster `{name}` is synced; did not wait for it"),
        (true, false) => format!("cluster `{name}` is synced, Running and ready"),
    };
    Ok(Outcome::done(summary).with(data).next(format!("cargo xtask cluster-status {name}")))
}

/// Changes the values in the text, the last ones first, so that earlier positions stay valid.
///
/// # Errors
/// As [`manual_edit_failure`].
pub fn edit_text((shown, name): (&str, &str), text: &str, values: &[Value]) -> Result<String, Failure> {
    let mut order: Vec<&Value> = values.iter().collect();
    order.sort_by_key(|value| std::cmp::Reverse(value.at));
    order.into_iter().try_fold(text.to_owned(), |text, value| {
        edit::replace(&text, value.at, &value.old, &value.new)
            .ok_or_else(|| manual_edit_failure(shown, name, values, "a value is not written plainly on one line"))
    })
}

/// The failure for a template that cannot be edited in place, with the lines to change.
pub fn manual_edit_failure(shown: &str, name: &str, values: &[Value], why: &str) -> Failure {
    let line = |value: &Value| {
        format!("{shown}:{}:{}: {} {} → {}", value.at.line, value.at.column, value.what, value.old, value.new)
    };
    let lines: Vec<String> = values.iter().map(line).collect();
    Failure::new(Code::Failed, format!("`{shown}` cannot be edited in place: {why}"))
        .cause(lines.join("\n"))
        .hint("change the lines named above yourself, and sync the cluster")
        .next(format!("cargo xtask cluster-sync {name}"))
}
