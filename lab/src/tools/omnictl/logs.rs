//! `omnictl machine-logs` (client/pkg/omnictl/machine-logs.go): the kernel log that a machine has sent.

use serde_json::json;

use super::args::MachineLogs;
use super::client::Connection;
use crate::omni::names::{DEFAULT, LINK, MACHINE_STATUS};
use crate::omni::resource::Key;
use crate::omni::status::{Code, Status};
use crate::tools::failure::ToolError;
use crate::tools::out;

/// Prints a few lines of a machine's boot, with the fields of Talos (siderolabs/talos v1.12.1 pkg/machinery/kernel kmsg).
pub fn run(client: &mut Connection, call: &MachineLogs) -> Result<(), ToolError> {
    let MachineLogs { machine: id, follow, tail, .. } = call;
    let Some(link) = client.find(&Key::new(LINK, DEFAULT, id))? else {
        let text = format!("failed to get log store for machine {id:?}: log store not found: {id}");
        let why = ToolError::Status(Status::new(Code::NotFound, text));
        return Err(why.wrap(&format!("failed to print logs for '{id}'")));
    };
    let status = client.find(&Key::new(MACHINE_STATUS, DEFAULT, id))?;
    let talos = status.map(|status| status.spec["talosversion"].clone()).unwrap_or_default();
    let lines = [
        ("kern", "info", "Linux version 6.18.1-talos".to_owned()),
        ("kern", "warning", "virtio_net virtio0 eth0: link becomes ready".to_owned()),
        ("user", "info", format!("[talos] boot sequence {}", talos.as_str().unwrap_or_default())),
        ("user", "info", "[talos] machine is running and ready {\"component\": \"controller-runtime\"}".to_owned()),
    ];
    let first = usize::try_from(*tail).map_or(0, |tail| lines.len().saturating_sub(tail));
    for (at, (facility, level, message)) in lines.iter().enumerate().skip(first) {
        let line = json!({"clock": at * 250_000, "facility": facility, "msg": format!("{message}\n"), "priority": level,
            "seq": at, "talos-level": level, "talos-time": link.to_json()["metadata"]["created"]});
        out(&format!("{line}\n"));
    }
    if *follow {
        let mut revision = 0;
        loop {
            revision = client.wait_for_change(revision, 60_000)?;
        }
    }
    Ok(())
}
