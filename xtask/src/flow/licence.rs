//! Omni's licence: a person accepts it, never a task.

use domain::failure::{Code, Failure, Kind};
use runtime::cx::Cx;
use runtime::tool::omnictl::Omnictl;
use runtime::ui::Status;

/// Reports whether it is accepted, as far as somebody is logged in: `accepted`, `open` or `unknown`. With `needed`, the operator
/// is asked whether they have accepted it since.
///
/// # Errors
/// [`Code::Interrupted`] when they have not.
pub fn report(cx: &Cx, endpoint: &str, needed: bool) -> anyhow::Result<&'static str> {
    let asked = Omnictl::find(cx).and_then(|omnictl| omnictl.get("sysversions", "current"));
    let state = match asked {
        Ok(_) => "accepted",
        Err(failure) if failure.kind == Kind::Licence => "open",
        Err(_) => "unknown",
    };
    let title = "Omni's licence (EULA)";
    if state == "accepted" {
        cx.ui.note("licence", title, Status::Ok, "accepted: Omni answers API calls");
        return Ok(state);
    }
    let page = format!("{endpoint}/eula");
    let detail = match state {
        "open" => format!("not accepted yet: until a person does so at {page}, Omni answers no API call"),
        _ => format!("whether it is accepted is not known here; a person reads and accepts it at {page}"),
    };
    cx.ui.note("licence", title, Status::Warning, detail);
    if cx.ask.interactive() {
        cx.ui.say(&format!(
            "  Omni is free for home labs and tests; production needs a licence of Sidero Labs. Read it at {page}."
        ));
        cx.ui.say("  This task cannot accept it, and does not want to: that is between you and them.");
    }
    if needed && cx.ask.interactive() {
        let question = "Is it accepted? The service account is created next, which takes that";
        if !cx.ask.confirm(question, true)? {
            return Err(Failure::new(Code::Interrupted, "the service account was not created")
                .cause("the answer was no; Omni is set up and stays as it is")
                .hint("run the same command again when the licence is accepted")
                .into());
        }
    }
    Ok(state)
}
