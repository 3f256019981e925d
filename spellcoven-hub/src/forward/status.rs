//! What a forwarder says about itself.

use std::fmt;
use std::time::Duration;

/// Why a forwarder is not healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnhealthyReason {
    /// [`Forwarder::snapshot`](super::Forwarder::snapshot) was never called, so
    /// nothing is posted yet.
    NoSnapshotYet,
    /// No post has been answered with success yet.
    NothingDeliveredYet,
    /// The hub cannot be reached, or did not answer in time.
    Unreachable,
    /// The hub answered 401 or 403. Compare the secret of both sides, and their
    /// clocks (60 s apart is too far).
    SignatureRefused,
    /// The hub answered 408, 429 or 5xx: it is there and cannot take posts now.
    HubFailing {
        /// The HTTP status.
        status: u16,
    },
    /// Something answered, but not like a hub (a redirect, 404, …): look at the
    /// endpoint's address.
    Misconfigured {
        /// The HTTP status.
        status: u16,
    },
    /// The hub refused `guild.snapshot` (400, 413 or 422) and may hold a state
    /// that is not the guild's; its log has the request id.
    SnapshotRefused,
}

impl fmt::Display for UnhealthyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSnapshotYet => f.write_str("no snapshot of the guild yet"),
            Self::NothingDeliveredYet => f.write_str("nothing delivered yet"),
            Self::Unreachable => f.write_str("hub unreachable"),
            Self::SignatureRefused => f.write_str("signature refused: secret or clock?"),
            Self::HubFailing { status } => write!(f, "hub answers {status}"),
            Self::Misconfigured { status } => {
                write!(f, "endpoint answers {status}: is the address right?")
            }
            Self::SnapshotRefused => f.write_str("hub refused the guild's snapshot"),
        }
    }
}

/// A forwarder's state at one moment, for health checks and metrics. Counters
/// run from the forwarder's start.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForwardStatus {
    /// Posts owed: queued, on the wire or waiting for a retry, and the
    /// snapshot that is to be made.
    pub outbox_depth: usize,
    /// How long the oldest of them has waited.
    pub oldest_age: Option<Duration>,
    /// Posts answered with 2xx, pings not counted.
    pub delivered: u64,
    /// Posts given up: refused with 400, 413 or 422; or, at an endpoint without
    /// snapshots, the oldest of an outbox that ran over.
    pub dropped: u64,
    /// Events not posted by themselves because a snapshot contained them.
    pub subsumed: u64,
    /// Tries answered with 401 or 403 (the post was kept each time).
    pub refused: u64,
    /// Tries that failed and were, or will be, repeated.
    pub retries: u64,
    /// Changes of the hub's epoch seen.
    pub hub_restarts: u64,
    /// Times the outbox ran over.
    pub overflows: u64,
    /// Time since the last post that was answered with 2xx, pings included.
    pub since_last_success: Option<Duration>,
    /// The hub's epoch, where it ever named one.
    pub hub_epoch: Option<String>,
    /// What [`Forwarder::mark_stale`](super::Forwarder::mark_stale) said last.
    pub stale: bool,
    /// Whether the last exchange went well and a snapshot has been taken.
    pub healthy: bool,
    /// Why not, where it is not.
    pub reason: Option<UnhealthyReason>,
}
