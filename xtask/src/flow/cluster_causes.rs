//! What is in the way of a cluster, looked at again and again while it is waited for.

use std::time::{Duration, Instant};

use crate::flow::explain;
use check::explain::Cause;
use domain::status::cluster::ClusterView;
use runtime::cx::Cx;
use runtime::tool::omnictl::Omnictl;

/// When a wait first looks for causes, and how often then: the calls cost as much as a look at the cluster.
const FIRST: Duration = Duration::from_secs(2);
const EVERY: Duration = Duration::from_secs(5);
/// How many looks in a row must find the same lasting cause before the wait is given up: a provider that is being recreated is
/// back by then.
const PATIENCE: usize = 3;

/// What is in the way of a cluster that is waited for.
#[derive(Debug)]
pub struct Watch {
    due: Instant,
    found: Vec<Cause>,
    /// Looks in a row that found the same first cause, and that one stays.
    same: usize,
}

impl Watch {
    /// Begins with the wait.
    pub fn start() -> Watch {
        Watch { due: Instant::now() + FIRST, found: Vec::new(), same: 0 }
    }

    /// Looks again, if it is time.
    pub fn look(&mut self, cx: &Cx, omnictl: &Omnictl<'_>, view: &ClusterView) {
        if Instant::now() < self.due {
            return;
        }
        let found = explain::causes(cx, omnictl, view);
        let of = |found: &[Cause]| found.first().filter(|first| first.lasting).map(|first| first.id.clone());
        let same = of(&found).is_some() && of(&found) == of(&self.found);
        self.same = if same { self.same + 1 } else { 1 };
        // What stays keeps its words: an age that grows is no news.
        if !same {
            self.found = found;
        }
        self.due = Instant::now() + EVERY;
    }

    /// What is in the way now.
    pub fn first(&self) -> Option<&Cause> {
        self.found.first()
    }

    /// A cause that stayed for so long that it is no use to wait.
    pub fn lasting(&self) -> Option<&Cause> {
        self.first().filter(|first| first.lasting && self.same >= PATIENCE)
    }
}
