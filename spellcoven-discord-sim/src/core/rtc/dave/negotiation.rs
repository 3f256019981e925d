//! Which version of the protocol a call speaks: the newest that all in it can; none on a stage.
//!
//! See: DAVE whitepaper, "Protocol Version and Upgrade/Downgrade".

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::{DaveGroup, DaveNote, NEWEST_VERSION, op};

impl DaveGroup {
    /// The version to name in the session description (op 4) of one who is about to [`join`](Self::join).
    pub(in crate::core) fn version_with(&self, max_version: u16) -> u16 {
        self.negotiated().min(if self.forced_version.is_some() {
            NEWEST_VERSION
        } else {
            max_version
        })
    }

    /// Sets the version by hand (0: transport encryption only); `None`: what all members can.
    pub(in crate::core) fn set_version(&mut self, now: Duration, version: Option<u16>) {
        self.forced_version = version.map(|version| version.min(NEWEST_VERSION));
        let version = self.negotiated();
        self.follow_version(now, version, None);
        self.propose(now);
    }

    pub(super) fn negotiated(&self) -> u16 {
        if self.settings.stage {
            return 0;
        }
        let common = || self.users.values().map(|user| user.max_version).min();
        self.forced_version
            .or_else(common)
            .unwrap_or(NEWEST_VERSION)
            .min(NEWEST_VERSION)
    }

    /// Changes to a version, if it is another. `newcomer` has it from their session description.
    pub(super) fn follow_version(&mut self, now: Duration, version: u16, newcomer: Option<u64>) {
        if version == self.version {
            return;
        }
        let from = std::mem::replace(&mut self.version, version);
        let others: BTreeSet<u64> = self
            .users
            .keys()
            .copied()
            .filter(|user| Some(*user) != newcomer)
            .collect();
        self.forget_group();
        for user in self.users.values_mut() {
            user.forget_group();
        }
        if others.is_empty() {
            return;
        }
        self.note(DaveNote::VersionChanged { from, to: version });
        if version == 0 {
            let id = self.next_transition();
            for user in &others {
                let d = json!({"protocol_version": version, "transition_id": id});
                self.send_json(*user, op::PREPARE_TRANSITION, d);
            }
            self.begin_transition(now, id, others);
        } else {
            for user in others {
                let d = json!({"protocol_version": version, "epoch": 1});
                self.send_json(user, op::PREPARE_EPOCH, d);
                // After op 24, which is where clients make the session that takes it.
                self.introduce_sender(user);
            }
        }
    }
}
