//! Checks whether the login may make changes before any are made: the comparison only reads, so it also succeeds for readers.

use super::omnictl::{Omnictl, with_required_roles};
use domain::failure::{Code, Failure};

/// The read-only roles (omni v1.9.3 `client/pkg/omni/resources/auth` and `internal/pkg/auth/role`). For an unknown role Omni
/// decides.
const READ_ONLY_ROLES: [&str; 3] = ["None", "InfraProvider", "Reader"];

/// Refuses a login that may not change classes, or these clusters if any are given. An access policy can grant a reader more
/// for some clusters, and Omni reports that (omni v1.9.3 `internal/backend/runtime/omni/virtual/state.go`, also for a cluster
/// that does not exist yet). If Omni reports neither, the change itself shows whether it is allowed.
///
/// # Errors
/// [`Code::Refused`] with the actual and the required role.
pub fn check_may_change(omnictl: &Omnictl<'_>, clusters: &[&str]) -> Result<(), Failure> {
    let Some(user) = optional_resource(omnictl.get("currentusers", "current"))? else { return Ok(()) };
    let role = user.text(&["role"]);
    if !READ_ONLY_ROLES.contains(&role) {
        return Ok(());
    }
    for cluster in clusters {
        let Some(permissions) = optional_resource(omnictl.get("clusterpermissions", cluster))? else { return Ok(()) };
        if !permissions.flag(&["canaddmachines"]) {
            return Err(refused(omnictl, role, &format!("the cluster `{cluster}`")));
        }
    }
    if clusters.is_empty() { Err(refused(omnictl, role, "machine classes")) } else { Ok(()) }
}

fn refused(omnictl: &Omnictl<'_>, role: &str, what: &str) -> Failure {
    let who = omnictl.login_name();
    let failure = Failure::new(Code::Refused, format!("{who} is not allowed to change {what} in Omni"))
        .cause(format!("insufficient role: \"{role}\", which is read-only; nothing was changed"));
    with_required_roles(omnictl.is_overridden(), failure)
}

/// The value if Omni returned one; it is not an error if Omni does not have this resource.
fn optional_resource<T>(answer: Result<Option<T>, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Err(failure) if matches!(failure.code, Code::Refused | Code::Invalid | Code::Failed) => Ok(None),
        other => other,
    }
}
