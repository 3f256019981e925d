//! One call's group: who is in it, what is in flight, and the entrances.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use openmls::prelude::KeyPackage;
use serde_json::Value;

use super::proposals::{Bogus, Flight};
use super::transitions::Transition;
use super::{DaveFault, DaveNote, DaveOutput, DaveSettings, NEWEST_VERSION, ServerKeys, op};

/// Close code "bad request", for key packages that do not hold (which code Discord uses is unknown).
const CLOSE_BAD_REQUEST: u16 = 4020;

/// Faults that wait for their occasion; further ones push out the oldest.
const MAX_FAULTS: usize = 64;

/// The server's side of one call's encryption. No socket, no clock: time is the time since the simulator's start, and
/// what it wants sent is taken with [`poll`](Self::poll) after every call.
///
/// What is in flight is bounded by the number of users and of leaves; transitions that wait, and faults that were
/// ordered, by constants. The outputs are the caller's to take.
#[derive(Debug)]
pub(in crate::core) struct DaveGroup {
    pub(super) channel: u64,
    pub(super) settings: DaveSettings,
    pub(super) keys: ServerKeys,
    pub(super) rng: fastrand::Rng,
    pub(super) users: BTreeMap<u64, User>,
    pub(super) version: u16,
    pub(super) forced_version: Option<u16>,
    /// 0: there is no group yet, each client has one of its own.
    pub(super) epoch: u64,
    /// Who sits at which leaf; blanks stay. Empty at epoch 0.
    pub(super) leaves: Vec<Option<Leaf>>,
    /// Proposals of this epoch that no commit has taken yet, in the order they were made.
    pub(super) flight: Vec<Flight>,
    /// When the last proposals went out.
    pub(super) proposed_at: Duration,
    pub(super) bogus: Vec<Bogus>,
    /// In the order of their ids.
    pub(super) transitions: VecDeque<Transition>,
    pub(super) last_transition: u16,
    pub(super) had_a_group: bool,
    pub(super) faults: VecDeque<DaveFault>,
    out: VecDeque<DaveOutput>,
}

/// One who is in the call.
#[derive(Debug)]
pub(super) struct User {
    pub(super) max_version: u16,
    /// Has the group's state of the current epoch, and so can commit.
    pub(super) in_group: bool,
    /// The key package to be added with.
    pub(super) package: Option<KeyPackage>,
    /// Until when to wait for a key package before their old leaf is removed without an Add beside it.
    pub(super) awaited_until: Option<Duration>,
    pub(super) knows_sender: bool,
}

impl User {
    const fn new(max_version: u16) -> Self {
        Self {
            max_version,
            in_group: false,
            package: None,
            awaited_until: None,
            knows_sender: false,
        }
    }

    pub(super) fn is_awaited(&self, now: Duration) -> bool {
        self.awaited_until.is_some_and(|until| now < until)
    }

    pub(super) fn forget_group(&mut self) {
        self.in_group = false;
        self.package = None;
        self.awaited_until = None;
    }
}

#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) user: u64,
    pub(super) signature_key: Vec<u8>,
}

impl DaveGroup {
    /// A call without members. `channel` is the group's id; `seed` decides which bits faults turn.
    pub(in crate::core) fn new(
        channel: u64,
        settings: DaveSettings,
        keys: ServerKeys,
        seed: u64,
    ) -> Self {
        Self {
            channel,
            version: if settings.stage { 0 } else { NEWEST_VERSION },
            settings,
            keys,
            rng: fastrand::Rng::with_seed(seed),
            users: BTreeMap::new(),
            forced_version: None,
            epoch: 0,
            leaves: Vec::new(),
            flight: Vec::new(),
            proposed_at: Duration::ZERO,
            bogus: Vec::new(),
            transitions: VecDeque::new(),
            last_transition: 0,
            had_a_group: false,
            faults: VecDeque::new(),
            out: VecDeque::new(),
        }
    }

    /// The version in force, or about to be.
    pub(in crate::core) const fn version(&self) -> u16 {
        self.version
    }

    /// The MLS epoch; 0 while there is no group.
    pub(in crate::core) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether an MLS group is established, so that media of its members must be encrypted.
    pub(in crate::core) const fn is_established(&self) -> bool {
        self.epoch > 0
    }

    /// A user is in the call. Call it after their op 4 and after op 11 to the others; the first output is op 25.
    /// One who is in it already joins anew, as after a reconnect without a resume.
    pub(in crate::core) fn join(&mut self, now: Duration, user: u64, max_version: u16) {
        let mut joined = User::new(max_version);
        if self.users.remove(&user).is_some() {
            self.withdraw_add(user);
            // Their old leaf goes in one epoch with their new one.
            joined.awaited_until = Some(now + self.settings.readd_grace);
        }
        self.users.insert(user, joined);
        let version = self.negotiated();
        if version > 0 {
            self.send_external_sender(user);
        }
        self.follow_version(now, version, Some(user));
        self.propose(now);
    }

    /// A user is gone for good (not while their connection may still be resumed). Call it after op 13 to the others.
    pub(in crate::core) fn leave(&mut self, now: Duration, user: u64) {
        if self.users.remove(&user).is_none() {
            return;
        }
        // Before there is a group the Add would go to those who come later, who have never heard of this user.
        if self.settings.revoke_on_leave || self.epoch == 0 {
            self.withdraw_add(user);
        }
        self.forget_in_transitions(now, user);
        if self.users.is_empty() {
            self.forget_group();
            self.had_a_group = false;
        }
        let version = self.negotiated();
        self.follow_version(now, version, None);
        self.propose(now);
    }

    /// A binary message of a user: op 26 or 28; the payload after the opcode.
    pub(in crate::core) fn binary(&mut self, now: Duration, user: u64, op: u8, payload: &[u8]) {
        if !self.users.contains_key(&user) {
            return;
        }
        match op {
            op::KEY_PACKAGE => self.key_package(now, user, payload),
            op::COMMIT_WELCOME => self.commit(now, user, payload),
            other => self.complain(
                user,
                format!("sent binary op {other}, which is not a client's"),
            ),
        }
    }

    /// A text message of a user: op 23 or 31.
    pub(in crate::core) fn json(&mut self, now: Duration, user: u64, op: u8, d: &Value) {
        if !self.users.contains_key(&user) {
            return;
        }
        let transition = d
            .get("transition_id")
            .and_then(Value::as_u64)
            .and_then(|id| u16::try_from(id).ok());
        let Some(transition) = transition else {
            self.complain(user, format!("sent op {op} without a transition_id"));
            return;
        };
        match op {
            op::TRANSITION_READY => self.ready(now, user, transition),
            op::INVALID_COMMIT_WELCOME => self.invalid_commit_welcome(now, user),
            other => self.complain(user, format!("sent op {other}, which is not a client's")),
        }
    }

    /// Time has passed.
    pub(in crate::core) fn timeout(&mut self, now: Duration) {
        self.execute_due(now);
        self.revoke_bogus(now);
        self.propose(now);
    }

    /// When [`timeout`](Self::timeout) is wanted next.
    pub(in crate::core) fn poll_timeout(&self) -> Option<Duration> {
        let transitions = self.transitions.iter().map(|waiting| waiting.due);
        let bogus = self.bogus.iter().map(|bogus| bogus.revoke_at);
        transitions.chain(bogus).chain(self.next_proposal()).min()
    }

    /// What is to be sent or done next.
    pub(in crate::core) fn poll(&mut self) -> Option<DaveOutput> {
        self.out.pop_front()
    }

    /// Orders a fault. Those that need no occasion strike at once.
    pub(in crate::core) fn fault(&mut self, now: Duration, fault: DaveFault) {
        if self.strike_now(now, fault) {
            self.note(DaveNote::FaultStruck(fault));
            return;
        }
        if self.faults.len() >= MAX_FAULTS {
            self.faults.pop_front();
        }
        self.faults.push_back(fault);
    }

    /// Sends everyone the external sender again, as after a change of servers behind the scenes.
    pub(in crate::core) fn announce_external_sender(&mut self) {
        let everyone: Vec<u64> = self.users.keys().copied().collect();
        for user in everyone {
            self.send_external_sender(user);
        }
    }

    fn key_package(&mut self, now: Duration, user: u64, payload: &[u8]) {
        // Between op 21 to version 0 and its execution a key package may be under way.
        if self.version == 0 {
            return;
        }
        match self.keys.check_key_package(user, payload) {
            Ok(package) => {
                self.withdraw_add(user);
                self.forget_in_transitions(now, user);
                if let Some(found) = self.users.get_mut(&user) {
                    found.in_group = false;
                    found.package = Some(package);
                    found.awaited_until = None;
                }
                self.propose(now);
            }
            Err(what) => {
                self.complain(user, format!("sent {what}"));
                self.push(DaveOutput::Close {
                    to: user,
                    code: CLOSE_BAD_REQUEST,
                    reason: "Invalid key package",
                });
                self.leave(now, user);
            }
        }
    }

    fn invalid_commit_welcome(&mut self, now: Duration, user: u64) {
        self.note(DaveNote::InvalidReported { user });
        self.withdraw_add(user);
        self.forget_in_transitions(now, user);
        let awaited_until = now + self.settings.readd_grace;
        if let Some(found) = self.users.get_mut(&user) {
            found.forget_group();
            found.awaited_until = Some(awaited_until);
        }
        self.propose(now);
    }

    /// Those who can commit at this epoch: the group's members, or before there is a group all whose Add is in flight.
    pub(super) fn able(&self) -> BTreeSet<u64> {
        if self.epoch > 0 {
            let members = self.users.iter().filter(|(_, user)| user.in_group);
            return members.map(|(id, _)| *id).collect();
        }
        let added = self.flight.iter().filter_map(Flight::added);
        added.filter(|user| self.users.contains_key(user)).collect()
    }

    /// Those at the leaves, in the order of the leaves.
    pub(super) fn members(&self) -> Vec<u64> {
        let leaves = self.leaves.iter().flatten();
        leaves.map(|leaf| leaf.user).collect()
    }

    /// There is no group any more, neither here nor, after what the caller sends, at the clients.
    pub(super) fn forget_group(&mut self) {
        self.epoch = 0;
        self.leaves.clear();
        self.flight.clear();
        self.bogus.clear();
        self.transitions.clear();
    }

    fn send_external_sender(&mut self, user: u64) {
        let payload = self.keys.external_sender();
        if let Some(found) = self.users.get_mut(&user) {
            found.knows_sender = true;
        }
        self.send_binary(user, op::EXTERNAL_SENDER, payload);
    }

    pub(super) fn introduce_sender(&mut self, user: u64) {
        if self
            .users
            .get(&user)
            .is_some_and(|found| !found.knows_sender)
        {
            self.send_external_sender(user);
        }
    }

    /// Takes the first waiting fault that fits, and notes it.
    pub(super) fn take_fault(&mut self, fits: impl Fn(&DaveFault) -> bool) -> Option<DaveFault> {
        let place = self.faults.iter().position(fits)?;
        let fault = self.faults.remove(place)?;
        self.note(DaveNote::FaultStruck(fault));
        Some(fault)
    }

    pub(super) fn push(&mut self, output: DaveOutput) {
        self.out.push_back(output);
    }

    pub(super) fn send_json(&mut self, to: u64, op: u8, d: Value) {
        self.push(DaveOutput::Json { to, op, d });
    }

    pub(super) fn send_binary(&mut self, to: u64, op: u8, payload: Vec<u8>) {
        self.push(DaveOutput::Binary { to, op, payload });
    }

    pub(super) fn note(&mut self, note: DaveNote) {
        self.push(DaveOutput::Journal(note));
    }

    pub(super) fn complain(&mut self, user: u64, what: impl Into<String>) {
        let what = what.into();
        self.push(DaveOutput::Complaint { user, what });
    }
}
