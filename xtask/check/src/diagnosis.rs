//! The result of one check of the installation: ok, warning, failed, or unknown. Unknown is not the same as failed: treating
//! "not allowed to look" as "absent" would create things twice.

use domain::failure::Failure;
use serde::{Deserialize, Serialize};

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Ok,
    /// It works, but will not always, or not for everyone.
    Warning,
    /// It is wrong, or will be at the next start.
    Failed,
    /// The check could not determine it.
    Unknown,
    /// There is nothing to check, at least not yet.
    Skipped,
}

/// A state with its description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    pub state: State,
    /// What was observed, or why nothing was.
    pub detail: String,
    /// The fix for this case; without it, the check's own fix applies.
    pub fix: Option<String>,
}

impl Diagnosis {
    fn new(state: State, detail: impl Into<String>) -> Diagnosis {
        Diagnosis { state, detail: detail.into(), fix: None }
    }

    pub fn ok(detail: impl Into<String>) -> Diagnosis {
        Diagnosis::new(State::Ok, detail)
    }

    pub fn warning(detail: impl Into<String>) -> Diagnosis {
        Diagnosis::new(State::Warning, detail)
    }

    pub fn failed(detail: impl Into<String>) -> Diagnosis {
        Diagnosis::new(State::Failed, detail)
    }

    pub fn unknown(why: impl Into<String>) -> Diagnosis {
        Diagnosis::new(State::Unknown, why)
    }

    pub fn skipped(why: impl Into<String>) -> Diagnosis {
        Diagnosis::new(State::Skipped, why)
    }

    /// Sets the fix for this case.
    pub fn fix(mut self, fix: impl Into<String>) -> Diagnosis {
        self.fix = Some(fix.into());
        self
    }

    /// Returns the worse of two: a failure before a warning before anything else. Equal states keep both details.
    pub fn and(self, other: Diagnosis) -> Diagnosis {
        let rank = |verdict: &Diagnosis| match verdict.state {
            State::Failed => 4,
            State::Warning => 3,
            State::Unknown => 2,
            State::Ok => 1,
            State::Skipped => 0,
        };
        let (worse, better) = if rank(&self) >= rank(&other) { (self, other) } else { (other, self) };
        // Next to a problem, a passed check is not worth reporting.
        if worse.detail.is_empty() || worse.state == better.state {
            let detail = [worse.detail, better.detail].into_iter().filter(|text| !text.is_empty());
            return Diagnosis { detail: detail.collect::<Vec<_>>().join("; "), ..worse };
        }
        worse
    }
}

/// If something could not be queried, its state is unknown.
impl From<Failure> for Diagnosis {
    fn from(failure: Failure) -> Diagnosis {
        Diagnosis::unknown(failure.line())
    }
}

/// The subject of a `doctor` check.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, strum::IntoStaticStr, strum::EnumString, strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Area {
    Tools,
    Docker,
    Host,
    Network,
    Certificates,
    Keys,
    Omni,
    Provider,
    Tsidp,
    Tailscale,
    Files,
    State,
}
