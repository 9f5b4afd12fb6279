//! Whether the login may change something, before anything is changed: a comparison is a read, and passes for readers too.

use super::omnictl::{Omnictl, role_needed};
use domain::failure::{Code, Failure};

/// The roles that only read (omni v1.9.3 `client/pkg/omni/resources/auth` and `internal/pkg/auth/role`); one that is not known
/// here is left to Omni to judge.
const READING: [&str; 3] = ["None", "InfraProvider", "Reader"];

/// Refuses a login that may not change classes, or these clusters if there are any. An access policy can give a reader more
/// for some clusters: Omni then says so (omni v1.9.3 `internal/backend/runtime/omni/virtual/state.go`, also of a cluster that
/// does not exist yet). An Omni that tells neither is asked by the change itself.
///
/// # Errors
/// [`Code::Refused`] with the role that is there and the one that is needed.
pub fn may_change(omnictl: &Omnictl<'_>, clusters: &[&str]) -> Result<(), Failure> {
    let Some(user) = told(omnictl.get("currentusers", "current"))? else { return Ok(()) };
    let role = user.text(&["role"]);
    if !READING.contains(&role) {
        return Ok(());
    }
    for cluster in clusters {
        let Some(permissions) = told(omnictl.get("clusterpermissions", cluster))? else { return Ok(()) };
        if !permissions.flag(&["canaddmachines"]) {
            return Err(refused(omnictl, role, &format!("the cluster `{cluster}`")));
        }
    }
    if clusters.is_empty() { Err(refused(omnictl, role, "machine classes")) } else { Ok(()) }
}

fn refused(omnictl: &Omnictl<'_>, role: &str, what: &str) -> Failure {
    let who = omnictl.who();
    let failure = Failure::new(Code::Refused, format!("{who} may not change {what} in Omni"))
        .cause(format!("insufficient role: \"{role}\", which only reads; nothing was changed"));
    role_needed(omnictl.overridden(), failure)
}

/// What could be learned; that Omni does not know such a question is no failure.
fn told<T>(answer: Result<Option<T>, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Err(failure) if matches!(failure.code, Code::Refused | Code::Invalid | Code::Failed) => Ok(None),
        other => other,
    }
}
