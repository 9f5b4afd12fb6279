//! What one look at the installation comes to: well, not quite, wrong, or not to be told from here. The last is kept
//! apart from wrong, because "not allowed to look" taken for "absent" is how things get made twice.

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Ok,
    /// It works, and will not always, or not for everyone.
    Warning,
    /// It is wrong, or will be at the next start.
    Failed,
    /// It cannot be told from here.
    Unknown,
    /// There is nothing to look at, or not yet.
    Skipped,
}

domain::words!(State { Ok = "ok", Warning = "warning", Failed = "failed", Unknown = "unknown", Skipped = "skipped" });

/// A state with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    pub state: State,
    /// What was seen, or why nothing was.
    pub detail: String,
    /// What mends this very case; the check's own fix otherwise.
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

    /// What mends this very case.
    pub fn fix(mut self, fix: impl Into<String>) -> Diagnosis {
        self.fix = Some(fix.into());
        self
    }

    /// The worse of two: a fault before a warning before what is well; all details stay.
    pub fn and(self, other: Diagnosis) -> Diagnosis {
        let rank = |verdict: &Diagnosis| match verdict.state {
            State::Failed => 4,
            State::Warning => 3,
            State::Unknown => 2,
            State::Ok => 1,
            State::Skipped => 0,
        };
        let (worse, better) = if rank(&self) >= rank(&other) { (self, other) } else { (other, self) };
        // What is well is no news beside what is not.
        if worse.detail.is_empty() || worse.state == better.state {
            let detail = [worse.detail, better.detail].into_iter().filter(|text| !text.is_empty());
            return Diagnosis { detail: detail.collect::<Vec<_>>().join("; "), ..worse };
        }
        worse
    }
}

/// What a check of `doctor` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

domain::words!(Area {
    Tools = "tools",
    Docker = "docker",
    Host = "host",
    Network = "network",
    Certificates = "certificates",
    Keys = "keys",
    Omni = "omni",
    Provider = "provider",
    Tsidp = "tsidp",
    Tailscale = "tailscale",
    Files = "files",
    State = "state",
});
