//! The conversation with the server about end-to-end encryption.

mod event;
mod inbox;
mod message;
mod transitions;
mod users;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    num::NonZeroU16,
    time::{Duration, Instant},
};

use bytes::Bytes;
use davey::DaveSession;
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};

use super::{
    MAX_DAVE_VERSION,
    identity::DaveIdentity,
    keys::{KeyChange, Passthrough, SendKey},
    mls::{GroupState, MlsDone, MlsJob, MlsResult, Seat, VerificationJob, Work},
    policy::E2eePolicy,
    ratchet::KeyRatchet,
};
use inbox::{Inbox, Input};
use message::{Message, op};
use transitions::{Prepared, Transitions};
use users::Users;

pub(crate) use event::DaveEvent;

/// How long frames in the clear are still accepted after a call has become end-to-end encrypted.
const PASSTHROUGH_AFTER_UPGRADE: Duration = Duration::from_secs(10);

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
    /// pending, or none with an id has been executed yet.
    pub(crate) fn receivers_failing(&mut self, now: Instant) {
        self.input(now, Input::Failing);
    }

    /// The next thing to do.
    pub(crate) fn poll(&mut self) -> Option<DaveOutput> {
        self.outputs.pop_front()
    }

    /// Version of the protocol in force, 0 if media are not end-to-end encrypted (or nothing is known yet).
    pub(crate) fn active_version(&self) -> u16 {
        self.active
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
                Input::Failing => self.heal(),
                Input::Overrun => {
                    tracing::warn!("too many messages waited: entering the group anew");
                    self.out_of_step("too many messages waited");
                }
            }
        }
    }

    /// By op 4.
    fn start(&mut self, version: u16) {
        self.version = Some(version);
        self.group = None;
        if version == 0 {
            self.session = None;
            self.active = 0;
            self.go_plain();
            self.update_passthrough(None);
            return;
        }
        self.active = version;
        self.send_with(SendKey::Hold);
        self.update_passthrough(None);
        self.begin(version);
    }

    fn message(&mut self, now: Instant, message: Message) {
        match message {
            Message::PrepareEpoch {
                version,
                epoch,
                transition,
            } => {
                if epoch == 1 {
                    self.version = Some(version);
                    self.group = None;
                    self.begin(version);
                } else if let Some(transition) = transition.filter(|id| *id != 0) {
                    self.ready(transition);
                }
            }
            Message::PrepareTransition {
                transition,
                version,
            } => {
                let own = self.group.as_ref().and_then(|group| group.own.clone());
                self.prepare(now, transition, version, own.filter(|_| version != 0));
            }
            Message::ExecuteTransition { transition } => match self.transitions.take(transition) {
                Some(prepared) => self.execute(now, transition, prepared),
                None => {
                    tracing::debug!(transition, "ignored the execution of an unknown transition")
                }
            },
            Message::ExternalSender(payload) => {
                if self.session.is_some() {
                    if self.group.is_none() {
                        self.external_sender = Some(payload.clone());
                    }
                    self.job(Work::ExternalSender(payload));
                } else {
                    self.external_sender = Some(payload);
                }
            }
            Message::Proposals(payload) => {
                let recognised = self.users.present();
                self.group_job(Work::Proposals {
                    payload,
                    recognised,
                });
            }
            Message::Commit { transition, commit } => {
                if self.is_new_entry(transition, op::ANNOUNCE_COMMIT, &commit) {
                    self.group_job(Work::Commit { transition, commit });
                }
            }
            Message::Welcome {
                transition,
                welcome,
            } => {
                if self.is_new_entry(transition, op::WELCOME, &welcome) {
                    let recognised = self.users.present_or_just_left(now);
                    self.group_job(Work::Welcome {
                        transition,
                        welcome,
                        recognised,
                    });
                }
            }
        }
    }

    fn result(&mut self, now: Instant, result: MlsResult) {
        match result {
            MlsResult::KeyPackage(payload) => self.outputs.push_back(DaveOutput::SendBinary {
                op: op::KEY_PACKAGE,
                payload,
            }),
            MlsResult::Nothing => {}
            MlsResult::Refused(why) => tracing::debug!(why, "refused a message about the group"),
            MlsResult::CommitWelcome(payload) => self.outputs.push_back(DaveOutput::SendBinary {
                op: op::COMMIT_WELCOME,
                payload,
            }),
            MlsResult::Group { transition, group } => self.entered(now, transition, group),
            MlsResult::OutOfStep {
                transition,
                why,
                key_package,
            } => self.lost_step(transition, why, key_package),
            MlsResult::Broken(why) => {
                self.send_with(SendKey::Hold);
                self.event(DaveEvent::Failed { why });
            }
        }
    }

    /// A new epoch: its receive keys hold from now on, the send key from the transition's execution.
    fn entered(&mut self, now: Instant, transition: u16, group: GroupState) {
        let mut own = None;
        let mut signature_keys = BTreeMap::new();
        let gone = std::mem::take(&mut self.receiving);
        for member in group.members {
            signature_keys.insert(member.user, member.signature_key);
            if member.user == self.config.user_id {
                own = Some(member.ratchet);
            } else {
                self.receiving.insert(member.user);
                self.keys(KeyChange::Receive {
                    user: member.user,
                    ratchet: member.ratchet,
                });
            }
        }
        for user in gone {
            if !self.receiving.contains(&user) {
                self.keys(KeyChange::Forget { user });
            }
        }
        self.event(DaveEvent::Epoch {
            epoch: group.epoch,
            members: signature_keys.keys().copied().collect(),
            privacy_code: group.privacy_code.clone(),
        });
        self.group = Some(Group {
            own: own.clone(),
            signature_keys,
            privacy_code: group.privacy_code,
        });
        let version = self.version.unwrap_or(MAX_DAVE_VERSION);
        self.prepare(now, transition, version, own);
    }

    /// Id 0 counts at once and is never acknowledged.
    fn prepare(&mut self, now: Instant, transition: u16, version: u16, keys: Option<KeyRatchet>) {
        let prepared = self.transitions.prepare(version, keys);
        if version == 0 {
            self.keys(KeyChange::Retire);
        }
        if transition == 0 {
            self.execute(now, transition, prepared);
            return;
        }
        self.transitions.wait(transition, prepared);
        self.update_passthrough(None);
        self.ready(transition);
    }

    fn execute(&mut self, now: Instant, transition: u16, prepared: Prepared) {
        if !self.transitions.execute(transition, &prepared) {
            tracing::debug!(transition, "a later transition is in force already");
            return;
        }
        let was = std::mem::replace(&mut self.active, prepared.version);
        if prepared.version == 0 {
            // A group that was begun since then (op 24) is for the way back.
            if self.group.take().is_some() {
                self.session = None;
                self.last_entry = None;
            }
            self.go_plain();
            self.update_passthrough(None);
            return;
        }
        let own = self.group.as_ref().and_then(|group| group.own.clone());
        match prepared.keys.or(own) {
            Some(keys) => {
                self.send_with(SendKey::Key(keys));
                self.event(DaveEvent::Encrypted {
                    version: prepared.version,
                });
            }
            None => {
                self.send_with(SendKey::Hold);
                for user in std::mem::take(&mut self.receiving) {
                    self.keys(KeyChange::Forget { user });
                }
                self.event(DaveEvent::Alone);
            }
        }
        self.update_passthrough((was == 0).then(|| now + PASSTHROUGH_AFTER_UPGRADE));
    }

    /// We have lost step with the group (or the server believes so), and begun anew.
    fn lost_step(&mut self, transition: Option<u16>, why: String, key_package: Option<Vec<u8>>) {
        let transition = transition.unwrap_or(self.transitions.last_executed());
        tracing::info!(
            transition,
            why,
            "out of step with the group: entering it anew"
        );
        self.group = None;
        self.last_entry = None;
        self.outputs.push_back(DaveOutput::SendJson {
            op: op::INVALID_COMMIT_WELCOME,
            d: json!({ "transition_id": transition }),
        });
        match key_package {
            Some(payload) => {
                self.outputs.push_back(DaveOutput::SendBinary {
                    op: op::KEY_PACKAGE,
                    payload,
                });
                self.event(DaveEvent::Recovering { transition, why });
            }
            None => self.event(DaveEvent::Failed { why }),
        }
    }

    fn heal(&mut self) {
        if self.group.is_none()
            || self.transitions.any_pending()
            || self.transitions.last_executed() == 0
        {
            return;
        }
        self.out_of_step("nobody's frames open any more");
    }

    /// Op 31, then a new start, whose key package follows as op 26.
    fn out_of_step(&mut self, why: &str) {
        let Some(version) = self.version.filter(|version| *version != 0) else {
            return;
        };
        let transition = self.transitions.last_executed();
        self.group = None;
        self.last_entry = None;
        self.outputs.push_back(DaveOutput::SendJson {
            op: op::INVALID_COMMIT_WELCOME,
            d: json!({ "transition_id": transition }),
        });
        self.event(DaveEvent::Recovering {
            transition,
            why: why.to_owned(),
        });
        self.begin(version);
    }

    /// Whether this op 29 or 30 is another than the last one that made a group; if it is the same, after a resume, our
    /// word that we are ready may have been lost.
    fn is_new_entry(&mut self, transition: u16, op: u8, payload: &[u8]) -> bool {
        let name = entry_name(transition, op, payload);
        if self.group.is_some() && self.last_entry == Some(name) {
            if self.transitions.is_pending(transition) {
                self.ready(transition);
            }
            return false;
        }
        self.last_entry = Some(name);
        true
    }

    fn begin(&mut self, version: u16) {
        match NonZeroU16::new(version).filter(|version| version.get() <= MAX_DAVE_VERSION) {
            Some(_) => self.job(Work::Begin),
            None => {
                self.session = None;
                self.send_with(SendKey::Hold);
                self.event(DaveEvent::Failed {
                    why: format!("the call has DAVE version {version}, and this client speaks {MAX_DAVE_VERSION}"),
                });
            }
        }
    }

    /// A job that only makes sense with a session.
    fn group_job(&mut self, work: Work) {
        if self.session.is_some() {
            self.job(work);
        } else {
            tracing::debug!(?work, "ignored a message about a group that there is not");
        }
    }

    fn job(&mut self, work: Work) {
        let Some(version) = self.version.and_then(NonZeroU16::new) else {
            return;
        };
        self.busy = true;
        self.outputs.push_back(DaveOutput::Job(MlsJob {
            life: self.life,
            seat: Seat {
                version,
                user_id: self.config.user_id,
                channel_id: self.config.channel_id,
                identity: self.config.identity.clone(),
                external_sender: self.external_sender.clone(),
            },
            session: self.session.take(),
            work,
        }));
    }

    fn ready(&mut self, transition: u16) {
        self.outputs.push_back(DaveOutput::SendJson {
            op: op::TRANSITION_READY,
            d: json!({ "transition_id": transition }),
        });
    }

    fn go_plain(&mut self) {
        let allowed = self.config.policy == E2eePolicy::Preferred;
        self.send_with(if allowed {
            SendKey::Plain
        } else {
            SendKey::Hold
        });
        self.event(DaveEvent::NotEncrypted { allowed });
    }

    fn send_with(&mut self, key: SendKey) {
        let sending = match &key {
            SendKey::Plain => Sending::Plain,
            SendKey::Hold => Sending::Hold,
            SendKey::Key(_) => Sending::Key,
        };
        if sending != self.sending || sending == Sending::Key {
            self.sending = sending;
            self.keys(KeyChange::Send(key));
        }
    }

    /// Clear frames pass while the call is at version 0 or on its way there, and until `end` after it has left it. With
    /// [`E2eePolicy::Required`], never.
    fn update_passthrough(&mut self, end: Option<Instant>) {
        let plain = self.active == 0 || self.transitions.downgrade_pending();
        let next = match (self.config.policy, end) {
            (E2eePolicy::Required, _) => Passthrough::Off,
            (E2eePolicy::Preferred, _) if plain => Passthrough::On,
            (E2eePolicy::Preferred, Some(end)) => Passthrough::Until(end),
            (E2eePolicy::Preferred, None) if self.passthrough == Passthrough::On => {
                Passthrough::Off
            }
            (E2eePolicy::Preferred, None) => self.passthrough,
        };
        if next != self.passthrough {
            self.passthrough = next;
            self.keys(KeyChange::Passthrough(next));
        }
    }

    fn keys(&mut self, change: KeyChange) {
        self.outputs.push_back(DaveOutput::Keys(change));
    }

    fn event(&mut self, event: DaveEvent) {
        self.outputs.push_back(DaveOutput::Event(event));
    }
}

fn entry_name(transition: u16, op: u8, payload: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&transition.to_be_bytes());
    context.update(&[op]);
    context.update(payload);
    context
        .finish()
        .as_ref()
        .first_chunk()
        .copied()
        .unwrap_or_default()
}
