//! The server's side of DAVE, Discord's end-to-end encryption: one [`DaveGroup`] for each call.
//!
//! The server is the delivery service of an MLS group that it is not a member of. It proposes who comes and who goes as
//! the group's external sender, takes the first valid commit of a member, passes it on, and sets the time at which all
//! change to the new keys. It never sees a key.
//!
//! See: DAVE protocol whitepaper 1.1.4; RFC 9420. What they leave open is marked "unknown" where it is decided.

mod commit;
mod group;
mod keys;
mod negotiation;
mod proposals;
#[cfg(test)]
mod tests;
mod transitions;
mod wire;

use std::time::Duration;

use serde_json::Value;

pub(in crate::core) use group::DaveGroup;
pub(in crate::core) use keys::ServerKeys;

/// The only version of the protocol that exists.
pub(in crate::core) const NEWEST_VERSION: u16 = 1;

/// DAVE opcodes of the voice gateway.
///
/// See: Discord documentation, Opcodes and Status Codes, "Voice".
pub(in crate::core) mod op {
    /// Prepare transition, JSON to the client.
    pub(in crate::core) const PREPARE_TRANSITION: u8 = 21;
    /// Execute transition, JSON to the client.
    pub(in crate::core) const EXECUTE_TRANSITION: u8 = 22;
    /// Ready for transition, JSON from the client.
    pub(in crate::core) const TRANSITION_READY: u8 = 23;
    /// Prepare epoch, JSON to the client.
    pub(in crate::core) const PREPARE_EPOCH: u8 = 24;
    /// External sender, binary to the client.
    pub(in crate::core) const EXTERNAL_SENDER: u8 = 25;
    /// Key package, binary from the client.
    pub(in crate::core) const KEY_PACKAGE: u8 = 26;
    /// Proposals, binary to the client.
    pub(in crate::core) const PROPOSALS: u8 = 27;
    /// Commit and welcome, binary from the client.
    pub(in crate::core) const COMMIT_WELCOME: u8 = 28;
    /// Announcement of the commit that won, binary to the client.
    pub(in crate::core) const ANNOUNCE_COMMIT: u8 = 29;
    /// Welcome, binary to the client.
    pub(in crate::core) const WELCOME: u8 = 30;
    /// Invalid commit or welcome, JSON from the client.
    pub(in crate::core) const INVALID_COMMIT_WELCOME: u8 = 31;
}

/// How the server behaves where the protocol leaves a choice. A call keeps what it began with.
#[derive(Clone, Debug)]
pub(in crate::core) struct DaveSettings {
    /// A stage: version 0 whatever its members can.
    pub(in crate::core) stage: bool,
    /// Whether the first group of a call comes with transition id 0, that is at once (unknown; clients take both).
    pub(in crate::core) first_transition_zero: bool,
    /// How long a transition waits for those who have not said that they are ready.
    pub(in crate::core) readiness: Duration,
    /// How long a commit is waited for before further proposals go out beside those in flight.
    pub(in crate::core) patience: Duration,
    /// How long one who reported an invalid commit or welcome has for a new key package, so that their Remove and their
    /// Add fall into one epoch.
    pub(in crate::core) readd_grace: Duration,
    /// Whether the Add of one who left before it was committed is revoked (unknown; if not, they are added and then
    /// removed).
    pub(in crate::core) revoke_on_leave: bool,
    /// Whether proposals wait until the last transition has been executed (unknown).
    pub(in crate::core) one_transition_at_a_time: bool,
}

impl Default for DaveSettings {
    fn default() -> Self {
        Self {
            stage: false,
            first_transition_zero: false,
            readiness: Duration::from_secs(2),
            patience: Duration::from_secs(1),
            readd_grace: Duration::from_millis(500),
            revoke_on_leave: true,
            one_transition_at_a_time: false,
        }
    }
}

/// A fault that strikes once, at the next occasion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) enum DaveFault {
    /// A bit of the next Welcome is turned; of this user's, or of anyone's.
    CorruptWelcome(Option<u64>),
    /// A bit of the next announced commit is turned, for this user or for everyone.
    CorruptCommit(Option<u64>),
    /// The next commit is not announced to this user.
    LoseCommit(u64),
    /// The next "execute transition" is not sent, to anyone.
    DropExecute,
    /// The next transition is executed so much later.
    SlowExecute(Duration),
    /// Proposes to add a user nobody was told of; revoked after the patience.
    ProposeIntruder(u64),
    /// Proposes to add a member a second time; revoked after the patience.
    ProposeTwice(u64),
    /// Sends everyone an Add proposal of an epoch that is not theirs.
    ProposeInWrongEpoch,
    /// Sends everyone "execute transition" with an id that was never announced.
    ExecuteUnknown,
    /// Sends everyone another external sender than the group has.
    AnotherExternalSender,
}

/// What the server sends or does.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::core) enum DaveOutput {
    /// A text message.
    Json { to: u64, op: u8, d: Value },
    /// A binary message; the payload after the opcode.
    Binary { to: u64, op: u8, payload: Vec<u8> },
    /// The user's connection is to be closed. The group has forgotten them already: no [`DaveGroup::leave`] is due.
    Close {
        to: u64,
        code: u16,
        reason: &'static str,
    },
    /// Something for the journal.
    Journal(DaveNote),
    /// A client did something that no right client does.
    Complaint { user: u64, what: String },
}

/// What happened in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::core) enum DaveNote {
    /// Proposals went out.
    Proposed {
        epoch: u64,
        adds: Vec<u64>,
        removes: Vec<u64>,
    },
    /// Proposals were taken back.
    Revoked { epoch: u64, count: usize },
    /// A commit won: the group has these members from now on.
    EpochBegan {
        epoch: u64,
        committer: u64,
        members: Vec<u64>,
        welcomed: Vec<u64>,
        transition: u16,
    },
    /// A commit came too late or does not hold; the user stays in the group.
    CommitRefused { user: u64, why: &'static str },
    /// A user could not use a commit or a welcome, and is added anew.
    InvalidReported { user: u64 },
    /// All were told to use the new keys. `late`: who had not said that they are ready.
    TransitionExecuted { transition: u16, late: Vec<u64> },
    /// The group was given up; the next one begins at epoch 1.
    GroupReset { left: Vec<u64> },
    /// The version of the protocol changed, or begins to.
    VersionChanged { from: u16, to: u16 },
    /// A fault that was ordered struck.
    FaultStruck(DaveFault),
}
