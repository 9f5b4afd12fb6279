//! Finds the machine that an operator names on the command line.

use crate::flow::{cluster_output, vms};
use crate::prelude::*;
use domain::nearest;
use domain::status::machines::MachineLine;
use runtime::tool::omnictl::Omnictl;

/// Returns the machine with this name (its machine request and its VM have the same name), this UUID, or the VM NODE/ID.
///
/// # Errors
/// Fails with [`Code::NotFound`] and similar names, or if omnictl fails; for a VM, also if Proxmox cannot be queried.
pub fn find(cx: &Cx, omnictl: &Omnictl<'_>, given: &str) -> Result<MachineLine, Failure> {
    let name = if given.contains('/') { vms::vm_name(cx, given)? } else { given.to_owned() };
    let mut lines = cluster_output::observe(cx, omnictl, None)?.0;
    if let Some(at) = lines.iter().position(|line| line.name == name || (!name.is_empty() && line.uuid == name)) {
        return Ok(lines.swap_remove(at));
    }
    let known = lines.iter().flat_map(|line| [line.name.as_str(), line.uuid.as_str()]).filter(|id| !id.is_empty());
    let near = nearest::list_nearest(&name, known, 3);
    Err(match near.is_empty() {
        true => not_found(given),
        false => Failure { hint: format!("did you mean {}?", near.join(", ")), ..not_found(given) },
    })
}

/// The failure for a machine that no cluster has.
pub fn not_found(given: &str) -> Failure {
    Failure::new(Code::NotFound, format!("no cluster in Omni has a machine `{given}`"))
        .hint("this lists the machines of all clusters")
        .next("cargo xtask cluster-status --output wide")
}
