//! What the server proposes: an Add for everyone who has a key package and is not in the group, a Remove for every leaf
//! whose owner is gone or has to be added anew.
//!
//! See: DAVE whitepaper, "Voice Gateway Proposals", "Member Add", "Member Remove", "Sole Member Reset".

use std::collections::BTreeSet;
use std::time::Duration;

use openmls::ciphersuite::hash_ref::make_proposal_ref;
use openmls::prelude::tls_codec::Serialize as _;
use openmls::prelude::{
    ExternalProposal, GroupEpoch, GroupId, KeyPackage, LeafNodeIndex, MlsMessageOut,
    OpenMlsProvider as _, SenderExtensionIndex,
};
use openmls_rust_crypto::OpenMlsRustCrypto;
use serde_json::json;

use super::group::DaveGroup;
use super::keys::SUITE;
use super::wire::vector;
use super::{DaveFault, DaveNote, op};

/// First byte of op 27: proposals to add to those in flight.
const APPEND: u8 = 0;
/// First byte of op 27: references of proposals to take back.
const REVOKE: u8 = 1;

/// A proposal that no commit has taken yet.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) reference: Vec<u8>,
    message: Vec<u8>,
    pub(super) change: Change,
    sent_to: BTreeSet<u64>,
}

#[derive(Debug)]
pub(super) enum Change {
    Add { user: u64, package: Box<KeyPackage> },
    Remove { leaf: usize },
}

impl Flight {
    pub(super) fn added(&self) -> Option<u64> {
        match self.change {
            Change::Add { user, .. } => Some(user),
            Change::Remove { .. } => None,
        }
    }

    const fn removed(&self) -> Option<usize> {
        match self.change {
            Change::Add { .. } => None,
            Change::Remove { leaf } => Some(leaf),
        }
    }
}

/// A proposal that a fault made, which no commit may take.
#[derive(Debug)]
pub(super) struct Bogus {
    pub(super) reference: Vec<u8>,
    sent_to: BTreeSet<u64>,
    pub(super) revoke_at: Duration,
}

/// What is to change and is not in flight.
#[derive(Default)]
struct Wanted {
    removes: Vec<usize>,
    adds: Vec<u64>,
}

impl DaveGroup {
    /// Brings the proposals in flight up to what has to change, unless a commit is waited for.
    pub(super) fn propose(&mut self, now: Duration) {
        if self.version == 0 || self.users.is_empty() {
            return;
        }
        for user in self.users.values_mut() {
            user.awaited_until = user.awaited_until.filter(|until| now < *until);
        }
        self.give_up_group(now);
        self.deliver();
        let wanted = self.wanted(now);
        if wanted.removes.is_empty() && wanted.adds.is_empty() {
            return;
        }
        if self.not_before().is_some_and(|at| now < at) {
            return;
        }
        let removes = wanted.removes.iter().filter_map(|leaf| {
            let leaf = self.leaves.get(*leaf)?.as_ref()?;
            Some(leaf.user)
        });
        let note = DaveNote::Proposed {
            epoch: self.epoch,
            removes: removes.collect(),
            adds: wanted.adds.clone(),
        };
        for leaf in wanted.removes {
            let index = LeafNodeIndex::new(u32::try_from(leaf).unwrap_or(u32::MAX));
            let message = ExternalProposal::new_remove::<OpenMlsRustCrypto>(
                index,
                self.group_id(),
                GroupEpoch::from(self.epoch),
                self.keys.signer(),
                SenderExtensionIndex::new(0),
            );
            let message = message.ok().as_ref().and_then(encode);
            self.launch(message, Change::Remove { leaf });
        }
        for user in wanted.adds {
            let Some(package) = self.users.get(&user).and_then(|user| user.package.clone()) else {
                continue;
            };
            let message = self.add_message(&package, self.epoch);
            let package = Box::new(package);
            self.launch(message, Change::Add { user, package });
        }
        self.proposed_at = now;
        self.note(note);
        self.deliver();
    }

    /// When [`propose`](Self::propose) has something to do that it has not now.
    pub(super) fn next_proposal(&self) -> Option<Duration> {
        if self.version == 0 {
            return None;
        }
        let awaited = self.users.values().filter_map(|user| user.awaited_until);
        let grace = if self.epoch > 0 { awaited.min() } else { None };
        let wanted = self.wanted(Duration::MAX);
        let patience = if wanted.removes.is_empty() && wanted.adds.is_empty() {
            None
        } else {
            // With a transition waiting, its own timer wakes the group.
            self.not_before().filter(|at| *at < Duration::MAX)
        };
        grace.into_iter().chain(patience).min()
    }

    /// Takes back the Add of a user that is in flight.
    pub(super) fn withdraw_add(&mut self, user: u64) {
        let Some(place) = self
            .flight
            .iter()
            .position(|flight| flight.added() == Some(user))
        else {
            return;
        };
        let flight = self.flight.remove(place);
        self.revoke(&flight.reference, &flight.sent_to);
        // Before there is a group this user's own one took the Adds of the others; it takes no part any more.
        for other in &mut self.flight {
            other.sent_to.remove(&user);
        }
    }

    fn revoke(&mut self, reference: &[u8], sent_to: &BTreeSet<u64>) {
        let mut payload = vec![REVOKE];
        payload.extend_from_slice(&vector(&vector(reference)));
        for receiver in sent_to {
            if self.users.contains_key(receiver) {
                self.send_binary(*receiver, op::PROPOSALS, payload.clone());
            }
        }
        self.note(DaveNote::Revoked {
            epoch: self.epoch,
            count: 1,
        });
    }

    /// Takes back what faults proposed, when its time is over.
    pub(super) fn revoke_bogus(&mut self, now: Duration) {
        while let Some(place) = self.bogus.iter().position(|bogus| bogus.revoke_at <= now) {
            let bogus = self.bogus.remove(place);
            self.revoke(&bogus.reference, &bogus.sent_to);
        }
    }

    /// Until when further proposals wait: a commit is on its way, or a transition (if that is set).
    fn not_before(&self) -> Option<Duration> {
        if self.settings.one_transition_at_a_time && !self.transitions.is_empty() {
            return Some(Duration::MAX);
        }
        let able = self.able();
        let outstanding = self
            .flight
            .iter()
            .any(|flight| !flight.sent_to.is_disjoint(&able));
        outstanding.then(|| self.proposed_at + self.settings.patience)
    }

    fn wanted(&self, now: Duration) -> Wanted {
        let mut wanted = Wanted::default();
        for (place, leaf) in self.leaves.iter().enumerate() {
            let Some(leaf) = leaf else { continue };
            let stays = self
                .users
                .get(&leaf.user)
                .is_some_and(|user| user.in_group || user.is_awaited(now));
            let in_flight = self
                .flight
                .iter()
                .any(|flight| flight.removed() == Some(place));
            if !stays && !in_flight {
                wanted.removes.push(place);
            }
        }
        for (user, found) in &self.users {
            let in_flight = self
                .flight
                .iter()
                .any(|flight| flight.added() == Some(*user));
            if found.package.is_some() && !found.in_group && !in_flight {
                wanted.adds.push(*user);
            }
        }
        wanted
    }

    /// Ends a group that nobody has the state of, or that only one is left in and nobody comes to.
    fn give_up_group(&mut self, now: Duration) {
        if self.epoch == 0 {
            return;
        }
        let able = self.able();
        if able.is_empty() {
            let left = self.members();
            self.forget_group();
            self.note(DaveNote::GroupReset { left });
            return;
        }
        let someone_comes = self
            .users
            .values()
            .any(|user| user.package.is_some() || user.is_awaited(now));
        if able.len() > 1 || someone_comes {
            return;
        }
        self.forget_group();
        let version = self.version;
        for user in &able {
            if let Some(found) = self.users.get_mut(user) {
                found.forget_group();
            }
            let epoch = json!({"protocol_version": version, "epoch": 1});
            self.send_json(*user, op::PREPARE_EPOCH, epoch);
            let transition = json!({"protocol_version": version, "transition_id": 0});
            self.send_json(*user, op::PREPARE_TRANSITION, transition);
        }
        self.note(DaveNote::GroupReset {
            left: able.into_iter().collect(),
        });
    }

    fn launch(&mut self, message: Option<Vec<u8>>, change: Change) {
        let Some((message, reference)) = message.and_then(|message| {
            let reference = self.reference(&message)?;
            Some((message, reference))
        }) else {
            return;
        };
        self.flight.push(Flight {
            reference,
            message,
            change,
            sent_to: BTreeSet::new(),
        });
    }

    /// Sends everyone who can commit what they have not got: all that is in flight but their own Add.
    fn deliver(&mut self) {
        for receiver in self.able() {
            let mut messages = Vec::new();
            for flight in &mut self.flight {
                if flight.added() != Some(receiver) && flight.sent_to.insert(receiver) {
                    messages.extend_from_slice(&flight.message);
                }
            }
            if !messages.is_empty() {
                self.send_append(receiver, &messages);
            }
        }
    }

    fn send_append(&mut self, receiver: u64, messages: &[u8]) {
        let mut payload = vec![APPEND];
        payload.extend_from_slice(&vector(messages));
        self.send_binary(receiver, op::PROPOSALS, payload);
    }

    fn group_id(&self) -> GroupId {
        GroupId::from_slice(&self.channel.to_be_bytes())
    }

    fn add_message(&self, package: &KeyPackage, epoch: u64) -> Option<Vec<u8>> {
        let message = ExternalProposal::new_add::<OpenMlsRustCrypto>(
            package.clone(),
            self.group_id(),
            GroupEpoch::from(epoch),
            self.keys.signer(),
            SenderExtensionIndex::new(0),
        );
        message.ok().as_ref().and_then(encode)
    }

    /// The hash by which commits name a proposal. What is hashed is the AuthenticatedContent, which for a proposal of an
    /// external sender is the message without its version.
    ///
    /// See: RFC 9420, 5.2, 6.
    fn reference(&self, message: &[u8]) -> Option<Vec<u8>> {
        let content = message.get(2..)?;
        let crypto = self.keys.provider().crypto();
        let reference = make_proposal_ref(content, SUITE, crypto).ok()?;
        Some(reference.as_slice().to_vec())
    }

    /// Carries out a fault that needs no occasion; false if it needs one.
    pub(super) fn strike_now(&mut self, now: Duration, fault: DaveFault) -> bool {
        match fault {
            DaveFault::ProposeIntruder(user) | DaveFault::ProposeTwice(user) => {
                let epoch = self.epoch;
                self.propose_falsely(now, user, epoch);
            }
            DaveFault::ProposeInWrongEpoch => {
                let epoch = self.epoch.saturating_add(5);
                self.propose_falsely(now, u64::MAX, epoch);
            }
            DaveFault::ExecuteUnknown => {
                let id = self.last_transition.wrapping_add(1000);
                let everyone: Vec<u64> = self.users.keys().copied().collect();
                for user in everyone {
                    self.send_json(user, op::EXECUTE_TRANSITION, json!({"transition_id": id}));
                }
            }
            DaveFault::AnotherExternalSender => {
                let payload = super::ServerKeys::generate().external_sender();
                let everyone: Vec<u64> = self.users.keys().copied().collect();
                for user in everyone {
                    self.send_binary(user, op::EXTERNAL_SENDER, payload.clone());
                }
            }
            DaveFault::CorruptWelcome(_)
            | DaveFault::CorruptCommit(_)
            | DaveFault::LoseCommit(_)
            | DaveFault::DropExecute
            | DaveFault::SlowExecute(_) => return false,
        }
        true
    }

    fn propose_falsely(&mut self, now: Duration, user: u64, epoch: u64) {
        let Some(message) = super::keys::made_up_package(user)
            .and_then(|package| self.add_message(&package, epoch))
        else {
            return;
        };
        let Some(reference) = self.reference(&message) else {
            return;
        };
        let sent_to = self.able();
        for receiver in &sent_to {
            self.send_append(*receiver, &message);
        }
        self.bogus.push(Bogus {
            reference,
            sent_to,
            revoke_at: now + self.settings.patience,
        });
    }
}

fn encode(message: &MlsMessageOut) -> Option<Vec<u8>> {
    message.tls_serialize_detached().ok()
}
