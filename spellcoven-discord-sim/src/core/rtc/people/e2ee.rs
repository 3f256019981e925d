//! A client's side of DAVE, as an official client plays it: davey for the group and for the frames.
//!
//! davey reads the computer's clock for the expiry of old keys and for the limit on key generations. In virtual time
//! old keys therefore live longer than ten seconds; nothing else is touched.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU16;
use std::time::Duration;

use davey::errors::DecryptError;
use davey::{DaveSession, MediaType, ProposalsOperationType, SigningKeyPair};
use serde_json::{Value, json};

use super::super::dave::op;

/// Opus silence, which is never encrypted.
pub(super) const SILENCE: [u8; 3] = [0xF8, 0xFF, 0xFE];

/// Ends every encrypted frame.
const MARKER: [u8; 2] = [0xFA, 0xFA];

/// How long clear frames are taken after an upgrade.
///
/// See: DAVE whitepaper, "Initial Transitory Phase".
const PASSTHROUGH: Duration = Duration::from_secs(10);

/// What a client says about DAVE.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::core::rtc) enum Reply {
    Json { op: u8, d: Value },
    Binary { op: u8, payload: Vec<u8> },
}

/// Why a frame could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core::rtc) enum OpenFailure {
    /// There is no key of this sender yet; the frame may be tried again.
    NoKey,
    /// Clear media where it must be encrypted.
    Clear,
    /// The frame does not hold.
    Bad,
}

/// One connection's state. A new connection needs a new one.
#[derive(Debug)]
pub(in crate::core::rtc) struct E2ee {
    user: u64,
    channel: u64,
    signing: Signing,
    session: Option<DaveSession>,
    /// The version in force for sending; `None` before the session description.
    version: Option<u16>,
    /// Everyone who is in the call, by ops 11 and 13. No one else may come into the group.
    recognised: BTreeSet<u64>,
    early_sender: Option<Vec<u8>>,
    /// Announced transitions and the version that each goes to.
    pending: BTreeMap<u16, u16>,
    /// The transition announced last.
    newest: Option<u16>,
    clear_until: Option<Duration>,
    /// Epochs this client has been in.
    pub(in crate::core::rtc) epochs: u64,
    /// Commits and welcomes that it could not use.
    pub(in crate::core::rtc) invalid: u64,
    /// Proposals that it refused.
    pub(in crate::core::rtc) refused: u64,
    out: VecDeque<Reply>,
}

struct Signing(SigningKeyPair);

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signing(..)")
    }
}

impl E2ee {
    /// `signing` is the user's key, the same in all their calls.
    pub(in crate::core::rtc) fn new(user: u64, channel: u64, signing: SigningKeyPair) -> Self {
        Self {
            user,
            channel,
            signing: Signing(signing),
            session: None,
            version: None,
            recognised: BTreeSet::from([user]),
            early_sender: None,
            pending: BTreeMap::new(),
            newest: None,
            clear_until: None,
            epochs: 0,
            invalid: 0,
            refused: 0,
            out: VecDeque::new(),
        }
    }

    /// Op 4.
    pub(in crate::core::rtc) fn session_description(&mut self, version: u16) {
        self.version = Some(version);
        if version > 0 {
            self.begin(version);
        }
    }

    /// Op 11.
    pub(in crate::core::rtc) fn connected(&mut self, user: u64) {
        self.recognised.insert(user);
    }

    /// Op 13.
    pub(in crate::core::rtc) fn disconnected(&mut self, user: u64) {
        if user != self.user {
            self.recognised.remove(&user);
        }
    }

    pub(in crate::core::rtc) fn poll(&mut self) -> Option<Reply> {
        self.out.pop_front()
    }

    /// Ops 25, 27, 29 and 30; the payload after the opcode.
    pub(in crate::core::rtc) fn binary(&mut self, now: Duration, op: u8, payload: &[u8]) {
        match op {
            op::EXTERNAL_SENDER => self.external_sender(payload),
            op::PROPOSALS => self.proposals(payload),
            op::ANNOUNCE_COMMIT | op::WELCOME => {
                if let Some((id, message)) = payload.split_first_chunk::<2>() {
                    let id = u16::from_be_bytes(*id);
                    if op == op::WELCOME {
                        self.welcome(now, id, message);
                    } else {
                        self.commit(now, id, message);
                    }
                }
            }
            _ => {}
        }
    }

    /// Ops 21, 22 and 24.
    pub(in crate::core::rtc) fn json(&mut self, now: Duration, op: u8, d: &Value) {
        let number = |name: &str| {
            let value = d.get(name)?;
            let number = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
            u16::try_from(number).ok()
        };
        let version = number("protocol_version");
        let transition = number("transition_id");
        match (op, version, transition) {
            (op::PREPARE_TRANSITION, Some(version), Some(id)) => {
                if version == 0
                    && let Some(session) = &mut self.session
                {
                    session.set_passthrough_mode(true, None);
                }
                self.prepare(now, id, version);
            }
            (op::EXECUTE_TRANSITION, _, Some(id)) => self.execute(now, id),
            (op::PREPARE_EPOCH, Some(version), _) if number("epoch") == Some(1) => {
                self.begin(version);
            }
            _ => {}
        }
    }

    /// Encrypts a frame; `None` while there is no key to do it with, when nothing may be sent.
    pub(in crate::core::rtc) fn seal(&mut self, opus: &[u8]) -> Option<Vec<u8>> {
        if self.version? == 0 || opus == SILENCE {
            return Some(opus.to_vec());
        }
        let session = self
            .session
            .as_mut()
            .filter(|session| session.can_encrypt())?;
        let sealed = session.encrypt_opus(opus).ok()?;
        Some(sealed.into_owned())
    }

    /// Decrypts a frame of a user.
    pub(in crate::core::rtc) fn open(
        &mut self,
        now: Duration,
        from: u64,
        frame: &[u8],
    ) -> Result<Vec<u8>, OpenFailure> {
        if frame == SILENCE {
            return Ok(frame.to_vec());
        }
        if !frame.ends_with(&MARKER) {
            let clear = self.version == Some(0)
                || self.pending.values().any(|version| *version == 0)
                || self.clear_until.is_some_and(|until| now < until);
            return if clear {
                Ok(frame.to_vec())
            } else {
                Err(OpenFailure::Clear)
            };
        }
        let session = self.session.as_mut().ok_or(OpenFailure::NoKey)?;
        match session.decrypt(from, MediaType::AUDIO, frame) {
            Ok(opus) => Ok(opus),
            Err(DecryptError::NoDecryptorForUser) => Err(OpenFailure::NoKey),
            Err(_) => Err(OpenFailure::Bad),
        }
    }

    /// The MLS epoch, 0 without a group.
    pub(in crate::core::rtc) fn epoch(&self) -> u64 {
        let session = self.session.as_ref();
        session
            .and_then(DaveSession::epoch)
            .map_or(0, |epoch| epoch.as_u64())
    }

    /// The value that all members of an epoch share.
    #[cfg(test)]
    pub(in crate::core::rtc) fn authenticator(&self) -> Option<Vec<u8>> {
        let session = self.session.as_ref()?;
        Some(session.get_epoch_authenticator()?.as_slice().to_vec())
    }

    /// The call's 30 digits.
    pub(in crate::core::rtc) fn privacy_code(&self) -> Option<&str> {
        self.session.as_ref()?.voice_privacy_code()
    }

    /// The members of the group.
    #[cfg(test)]
    pub(in crate::core::rtc) fn members(&self) -> BTreeSet<u64> {
        let members = self.session.as_ref().and_then(DaveSession::get_user_ids);
        members.into_iter().flatten().collect()
    }

    fn begin(&mut self, version: u16) {
        let Some(version) = NonZeroU16::new(version) else {
            return;
        };
        let key = Some(&self.signing.0);
        match &mut self.session {
            Some(session) => {
                if session
                    .reinit(version, self.user, self.channel, key)
                    .is_err()
                {
                    return;
                }
            }
            None => match DaveSession::new(version, self.user, self.channel, key) {
                Ok(mut session) => {
                    if self.version == Some(0) {
                        session.set_passthrough_mode(true, None);
                    }
                    self.session = Some(session);
                }
                Err(_) => return,
            },
        }
        self.pending.clear();
        self.newest = None;
        if let Some(sender) = self.early_sender.take() {
            self.external_sender(&sender);
        }
        self.send_key_package();
    }

    fn send_key_package(&mut self) {
        let Some(Ok(payload)) = self.session.as_mut().map(DaveSession::create_key_package) else {
            return;
        };
        self.out.push_back(Reply::Binary {
            op: op::KEY_PACKAGE,
            payload,
        });
    }

    fn external_sender(&mut self, payload: &[u8]) {
        match &mut self.session {
            // One in a group already is left alone: the group's own one stands.
            Some(session) => {
                let _ = session.set_external_sender(payload);
            }
            None => self.early_sender = Some(payload.to_vec()),
        }
    }

    fn proposals(&mut self, payload: &[u8]) {
        let (Some(session), Some((operation, proposals))) =
            (self.session.as_mut(), payload.split_first())
        else {
            return;
        };
        let operation = match operation {
            0 => ProposalsOperationType::APPEND,
            1 => ProposalsOperationType::REVOKE,
            _ => return,
        };
        let recognised: Vec<u64> = self.recognised.iter().copied().collect();
        match session.process_proposals(operation, proposals, Some(&recognised)) {
            Ok(Some(made)) => {
                let mut payload = made.commit;
                payload.extend_from_slice(&made.welcome.unwrap_or_default());
                self.out.push_back(Reply::Binary {
                    op: op::COMMIT_WELCOME,
                    payload,
                });
            }
            Ok(None) => {}
            Err(_) => self.refused += 1,
        }
    }

    fn commit(&mut self, now: Duration, id: u16, message: &[u8]) {
        let Some(session) = &mut self.session else {
            return;
        };
        match session.process_commit(message) {
            Ok(true) => self.joined(now, id),
            Ok(false) => {}
            Err(_) => self.report_invalid(id),
        }
    }

    fn welcome(&mut self, now: Duration, id: u16, message: &[u8]) {
        let Some(session) = &mut self.session else {
            return;
        };
        let recognised: Vec<u64> = self.recognised.iter().copied().collect();
        match session.process_welcome(message, Some(&recognised)) {
            Ok(()) => self.joined(now, id),
            Err(_) => self.report_invalid(id),
        }
    }

    fn joined(&mut self, now: Duration, id: u16) {
        self.epochs += 1;
        let version = self
            .session
            .as_ref()
            .map_or(0, |session| session.protocol_version().get());
        self.prepare(now, id, version);
    }

    fn report_invalid(&mut self, id: u16) {
        self.invalid += 1;
        self.out.push_back(Reply::Json {
            op: op::INVALID_COMMIT_WELCOME,
            d: json!({"transition_id": id}),
        });
        if let Some(session) = &self.session {
            self.begin(session.protocol_version().get());
        }
    }

    fn prepare(&mut self, now: Duration, id: u16, version: u16) {
        if let Some(session) = &mut self.session {
            let _ = session.prepare_transition(id, version);
        }
        if id == 0 {
            self.change_version(now, version);
            return;
        }
        self.pending.insert(id, version);
        self.newest = Some(id);
        self.out.push_back(Reply::Json {
            op: op::TRANSITION_READY,
            d: json!({"transition_id": id}),
        });
    }

    fn execute(&mut self, now: Duration, id: u16) {
        let Some(version) = self.pending.remove(&id) else {
            return;
        };
        // davey takes the key of the newest epoch whichever transition is executed, and starts counting frames anew: with
        // a later one announced, the old key serves until that one is executed.
        if self.newest != Some(id) {
            return;
        }
        if let Some(session) = &mut self.session {
            let _ = session.execute_transition(id);
        }
        self.change_version(now, version);
    }

    fn change_version(&mut self, now: Duration, version: u16) {
        let before = self.version.replace(version);
        if before == Some(0) && version > 0 {
            self.clear_until = Some(now + PASSTHROUGH);
            if let Some(session) = &mut self.session {
                session.set_passthrough_mode(false, Some(10));
            }
        }
    }
}
