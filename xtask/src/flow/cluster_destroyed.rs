//! Clusters that Omni is destroying, where machines are planned.

use crate::flow::cluster;
use domain::failure::{Code, Failure};
use domain::spec::template::ClusterTemplate;
use runtime::cx::Cx;
use runtime::tool::omnictl::Omnictl;
use runtime::ui::Status;

/// Of all clusters, those that Omni destroys are left out: they have no machines to plan.
///
/// # Errors
/// When none is left, or the task is interrupted.
pub fn leave_out(cx: &Cx, templates: &mut Vec<ClusterTemplate>) -> Result<(), Failure> {
    let names: Vec<&str> = templates.iter().map(|template| template.name.as_str()).collect();
    let gone = match Omnictl::find(cx).and_then(|omnictl| cluster::existing(&omnictl, &names)) {
        Err(failure) if failure.code == Code::Interrupted => return Err(failure),
        found => found.unwrap_or_default().into_iter().filter(|found| found.metadata.tearing_down()),
    };
    let gone: Vec<String> = gone.map(|found| found.metadata.id).collect();
    if gone.len() == templates.len() {
        return refuse(cx, templates);
    }
    for name in &gone {
        cx.ui.note("destroyed", format!("cluster `{name}` is left out"), Status::Skipped, "it is being destroyed");
    }
    templates.retain(|template| !gone.contains(&template.name));
    Ok(())
}

/// A cluster or machine set that Omni destroys has no machines to plan; where Omni cannot be asked, that is not known.
///
/// # Errors
/// [`Code::Conflict`] with its name.
pub fn refuse(cx: &Cx, templates: &[ClusterTemplate]) -> Result<(), Failure> {
    let names: Vec<&str> = templates.iter().map(|template| template.name.as_str()).collect();
    let refused = Omnictl::find(cx).and_then(|omnictl| {
        cluster::refuse_destroyed(&omnictl, &names)?;
        let sets = omnictl.list("machinesets", None)?;
        let gone = |id: &str| sets.iter().any(|set| set.metadata.id == id && set.metadata.tearing_down());
        let mut wanted = templates.iter().flat_map(|each| each.sets.iter().map(move |set| (set.id(&each.name), each)));
        wanted.find(|(id, _)| gone(id)).map_or(Ok(()), |(id, template)| Err(self::set(&id, &template.name)))
    });
    match refused {
        Err(failure) if matches!(failure.code, Code::Conflict | Code::Interrupted) => Err(failure),
        _ => Ok(()),
    }
}

/// A machine set that a template still has and Omni destroys: Omni refuses to change it.
pub fn set(id: &str, cluster: &str) -> Failure {
    Failure::new(Code::Conflict, format!("machine set `{id}` is being destroyed"))
        .cause(format!("its cluster `{cluster}` runs on; Omni refuses to change a set that it destroys"))
        .hint("when it is gone, a sync creates it again")
        .next(format!("cargo xtask cluster-status {cluster}"))
}
