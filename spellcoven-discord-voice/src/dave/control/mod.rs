//! The conversation with the server about end-to-end encryption.

mod event;
mod group;
mod inbox;
mod message;
mod sending;
mod transitions;
mod users;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use davey::DaveSession;
use serde_json::Value;

use super::{
    identity::DaveIdentity,
    keys::{KeyChange, Passthrough, SendKey},
    mls::{MlsDone, MlsJob, VerificationJob},
    policy::E2eePolicy,
    ratchet::KeyRatchet,
};
use inbox::{Inbox, Input};
use message::Message;
use transitions::Transitions;
use users::Users;

pub(crate) use event::DaveEvent;

/// How long one member alone cannot bring about another new start.
const HEAL_ALONE: Duration = Duration::from_secs(30);

/// What [`Dave`] is made with.
#[derive(Debug, Clone)]
pub(crate) struct DaveConfig {
    pub(crate) user_id: u64,
    pub(crate) channel_id: u64,
    pub(crate) identity: DaveIdentity,
    pub(crate) policy: E2eePolicy,
}

/// What [`Dave`] wants done.
#[derive(Debug)]
pub(crate) enum DaveOutput {
    /// Send this to the voice gateway as text.
    SendJson { op: u8, d: Value },
    /// Send this to the voice gateway as a binary message: the opcode, then the payload.
    SendBinary { op: u8, payload: Vec<u8> },
    /// Run this, away from the audio, and give its result to [`Dave::job_done`].
    Job(MlsJob),
    /// Apply this to the sealer and the openers, in order.
    Keys(KeyChange),
    /// Tell the application.
    Event(DaveEvent),
}

/// DAVE's control side: one for each voice connection. Inputs go in with the time, outputs come from [`Dave::poll`]; drain
/// it after each input.
///
/// Everything is done strictly in the order in which it came. While a job has the session, and before op 4 has said
/// which version the call has, inputs wait: at most 1024 of them and 8 MiB. Should there be more, all but the comings
/// and goings of users are given up, and the group is entered anew, as after an invalid commit.
pub(crate) struct Dave {
    config: DaveConfig,
    /// Jobs of an earlier connection are known by it, and their results dropped.
    life: u64,
    /// Of op 4, or of the last op 24; `None` before op 4.
    version: Option<u16>,
    /// `None` while a job has it, or if there is none.
    session: Option<Box<DaveSession>>,
    busy: bool,
    inbox: Inbox,
    users: Users,
    external_sender: Option<Bytes>,
    group: Option<Group>,
    transitions: Transitions,
    /// Version of the last executed transition, or of op 4.
    active: u16,
    sending: Sending,
    passthrough: Passthrough,
    /// Whose keys the openers have.
    receiving: BTreeSet<u64>,
    /// Of the last op 29 or 30 that made a group: it may come again after a resume.
    last_entry: Option<[u8; 32]>,
    /// When the group was last entered anew because of one sender alone.
    healed_alone: Option<Instant>,
    outputs: VecDeque<DaveOutput>,
}

/// The established group.
struct Group {
    own: Option<KeyRatchet>,
    signature_keys: BTreeMap<u64, Vec<u8>>,
    privacy_code: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    Plain,
    Hold,
    Key,
}

impl Dave {
    pub(crate) fn new(config: DaveConfig) -> Self {
        Self {
            users: Users::new(config.user_id),
            config,
            life: 0,
            version: None,
            session: None,
            busy: false,
            inbox: Inbox::default(),
            external_sender: None,
            group: None,
            transitions: Transitions::default(),
            active: 0,
            sending: Sending::Hold,
            passthrough: Passthrough::Off,
            receiving: BTreeSet::new(),
            last_entry: None,
            healed_alone: None,
            outputs: VecDeque::new(),
        }
    }

    /// A new connection, perhaps in another channel: everything but the identity is forgotten, keys included. Not for a
    /// resume, which goes on with what there is.
    ///
    /// The result of a job that is still running will be ignored; another may run beside it.
    pub(crate) fn reset(&mut self, channel_id: u64) {
        let config = DaveConfig {
            channel_id,
            ..self.config.clone()
        };
        let receiving = std::mem::take(&mut self.receiving);
        let mut outputs = std::mem::take(&mut self.outputs);
        // Messages and jobs of the old connection are void; what the media side and the application have not heard yet
        // still holds.
        outputs.retain(|output| matches!(output, DaveOutput::Keys(_) | DaveOutput::Event(_)));
        *self = Self {
            life: self.life + 1,
            outputs,
            ..Self::new(config)
        };
        self.keys(KeyChange::Send(SendKey::Hold));
        self.keys(KeyChange::Passthrough(Passthrough::Off));
        for user in receiving {
            self.keys(KeyChange::Forget { user });
        }
    }

    /// Op 4: which version the call has; 0 is a call that is not end-to-end encrypted.
    pub(crate) fn session_description(&mut self, now: Instant, version: u16) {
        if self.version.is_none() {
            self.start(version);
            self.pump(now);
        } else {
            self.input(now, Input::Version(version));
        }
    }

    /// A binary message of the server. Other opcodes than DAVE's are ignored.
    pub(crate) fn binary(&mut self, now: Instant, op: u8, payload: Bytes) {
        match Message::from_binary(op, payload) {
            Some(message) => self.input(now, Input::Message(message)),
            None => tracing::debug!(
                op,
                "ignored a binary message that is not DAVE's, or cannot be read"
            ),
        }
    }

    /// A JSON message of the server. Other opcodes than DAVE's are ignored.
    pub(crate) fn json(&mut self, now: Instant, op: u8, d: &Value) {
        match Message::from_json(op, d) {
            Some(message) => self.input(now, Input::Message(message)),
            None => tracing::debug!(
                op,
                "ignored a message that is not DAVE's, or cannot be read"
            ),
        }
    }

    /// Op 11: this user is in the call, and may be added to the group.
    pub(crate) fn user_connected(&mut self, now: Instant, user: u64) {
        self.input(now, Input::Connected(user));
    }

    /// Op 13: this user is not in the call any more.
    pub(crate) fn user_left(&mut self, now: Instant, user: u64) {
        self.input(now, Input::Left(user, now));
    }

    /// What a job has done.
    pub(crate) fn job_done(&mut self, now: Instant, done: MlsDone) {
        if done.life != self.life || !self.busy {
            return;
        }
        self.busy = false;
        self.session = done.session;
        self.result(now, done.result);
        self.pump(now);
    }

    /// Nobody's frames open any more (see [`super::FrameOpeners::failing`]): enter the group anew, unless a transition is
    /// pending, or none with an id has been executed yet. In a group of two at most once in 30 s, since the other member
    /// alone can bring it about.
    pub(crate) fn receivers_failing(&mut self, now: Instant) {
        self.input(now, Input::Failing);
    }

    /// The next thing to do.
    pub(crate) fn poll(&mut self) -> Option<DaveOutput> {
        self.outputs.pop_front()
    }

    /// How many messages wait for the job at hand.
    pub(crate) fn waiting(&self) -> usize {
        self.inbox.len()
    }

    /// Version of the protocol in force, 0 if media are not end-to-end encrypted (or nothing is known yet).
    pub(crate) fn active_version(&self) -> u16 {
        self.active
    }

    /// Whether this client is a member of an established group.
    pub(crate) fn has_group(&self) -> bool {
        self.group.is_some()
    }

    /// The 30 digits that all members of the present epoch have in common.
    pub(crate) fn privacy_code(&self) -> Option<&str> {
        self.group.as_ref().map(|group| group.privacy_code.as_str())
    }

    /// To compute the verification code with this user; `None` if that is not a member of the group.
    pub(crate) fn verification(&self, user: u64) -> Option<VerificationJob> {
        let key = self.group.as_ref()?.signature_keys.get(&user)?;
        Some(VerificationJob {
            own: (self.config.user_id, self.config.identity.clone()),
            other: (user, key.clone()),
        })
    }

    fn input(&mut self, now: Instant, input: Input) {
        self.inbox.push(input);
        self.pump(now);
    }

    fn pump(&mut self, now: Instant) {
        while !self.busy && self.version.is_some() {
            let Some(input) = self.inbox.pop() else {
                return;
            };
            match input {
                Input::Version(version) => {
                    if self.version != Some(version) {
                        self.start(version);
                    }
                }
                Input::Message(message) => self.message(now, message),
                Input::Connected(user) => self.users.connected(user),
                Input::Left(user, at) => self.users.left(user, at),
                Input::Failing => self.heal(now),
                Input::Overrun => {
                    tracing::warn!("too many messages waited: entering the group anew");
                    self.out_of_step("too many messages waited");
                }
            }
        }
    }
}
