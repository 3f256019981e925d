//! One call's group: who is in it, what is in flight, and the entrances.

use std::time::Duration;

use serde_json::Value;

use super::{DaveFault, DaveOutput, DaveSettings, ServerKeys};

/// The server's side of one call's encryption. No socket, no clock: time is the time since the simulator's start, and
/// what it wants sent is taken with [`poll`](Self::poll) after every call.
#[derive(Debug)]
pub(in crate::core) struct DaveGroup {}

impl DaveGroup {
    /// A call without members. `channel` is the group's id; `seed` decides which bits faults turn.
    pub(in crate::core) fn new(
        channel: u64,
        settings: DaveSettings,
        keys: ServerKeys,
        seed: u64,
    ) -> Self {
        let _ = (channel, settings, keys, seed);
        Self {}
    }

    /// The version in force, or about to be.
    pub(in crate::core) fn version(&self) -> u16 {
        0
    }

    /// The version to name in the session description (op 4) of one who is about to [`join`](Self::join).
    pub(in crate::core) fn version_with(&self, max_version: u16) -> u16 {
        let _ = max_version;
        0
    }

    /// A user is in the call. Call it after their op 4 and after op 11 to the others; the first output is op 25.
    /// One who is in it already joins anew, as after a reconnect without a resume.
    pub(in crate::core) fn join(&mut self, now: Duration, user: u64, max_version: u16) {
        let _ = (now, user, max_version);
    }

    /// A user is gone for good (not while their connection may still be resumed). Call it after op 13 to the others.
    pub(in crate::core) fn leave(&mut self, now: Duration, user: u64) {
        let _ = (now, user);
    }

    /// A binary message of a user: op 26 or 28; the payload after the opcode.
    pub(in crate::core) fn binary(&mut self, now: Duration, user: u64, op: u8, payload: &[u8]) {
        let _ = (now, user, op, payload);
    }

    /// A text message of a user: op 23 or 31.
    pub(in crate::core) fn json(&mut self, now: Duration, user: u64, op: u8, d: &Value) {
        let _ = (now, user, op, d);
    }

    /// Time has passed.
    pub(in crate::core) fn timeout(&mut self, now: Duration) {
        let _ = now;
    }

    /// When [`timeout`](Self::timeout) is wanted next.
    pub(in crate::core) fn poll_timeout(&self) -> Option<Duration> {
        None
    }

    /// What is to be sent or done next.
    pub(in crate::core) fn poll(&mut self) -> Option<DaveOutput> {
        None
    }

    /// Whether an MLS group is established, so that media of its members must be encrypted.
    pub(in crate::core) fn is_established(&self) -> bool {
        false
    }

    /// Orders a fault.
    pub(in crate::core) fn fault(&mut self, now: Duration, fault: DaveFault) {
        let _ = (now, fault);
    }

    /// Sets the version by hand (0: transport encryption only); `None`: what all members can.
    pub(in crate::core) fn set_version(&mut self, now: Duration, version: Option<u16>) {
        let _ = (now, version);
    }

    /// Sends everyone the external sender again, as after a change of servers behind the scenes.
    pub(in crate::core) fn announce_external_sender(&mut self) {}
}
