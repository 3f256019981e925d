//! Who is in the call, as the server tells by op 11 and 13.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// How long a user who left may still be in a welcome: the group may not have been told yet.
const GRACE: Duration = Duration::from_secs(10);
/// How many users are kept in mind, and how many that left. A user beyond that is not recognised.
const MAX_USERS: usize = 16_384;
const MAX_LEFT: usize = 1024;

/// The recognised users: nobody else may be added to the group (DAVE white paper, "Member Add").
#[derive(Debug)]
pub(super) struct Users {
    own: u64,
    present: BTreeSet<u64>,
    left: BTreeMap<u64, Instant>,
}

impl Users {
    pub(super) fn new(own: u64) -> Self {
        Self {
            own,
            present: BTreeSet::from([own]),
            left: BTreeMap::new(),
        }
    }

    pub(super) fn connected(&mut self, user: u64) {
        self.left.remove(&user);
        if self.present.len() < MAX_USERS {
            self.present.insert(user);
        }
    }

    pub(super) fn left(&mut self, user: u64, now: Instant) {
        if user == self.own || !self.present.remove(&user) {
            return;
        }
        self.left.retain(|_, at| is_recent(*at, now));
        if self.left.len() < MAX_LEFT {
            self.left.insert(user, now);
        }
    }

    /// For proposals: those present, and ourselves.
    pub(super) fn present(&self) -> Vec<u64> {
        self.present.iter().copied().collect()
    }

    /// For welcomes: also those who left within the last 10 s.
    pub(super) fn present_or_just_left(&self, now: Instant) -> Vec<u64> {
        let left = self.left.iter().filter(|(_, at)| is_recent(**at, now));
        self.present
            .iter()
            .chain(left.map(|(user, _)| user))
            .copied()
            .collect()
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) <= GRACE
}
