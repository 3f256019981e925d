//! Opening what all the others in a call send.

use std::{collections::BTreeMap, time::Instant};

use super::super::keys::{KeyChange, Passthrough};
use super::{
    MediaKind,
    opener::{self, FrameOpener, OpenFrameError, Opened, Parsed},
};

/// How many frames of a sender may fail in a row before the group itself is in doubt. Some do at every change of keys: about four
/// at a join, up to 24 after a new start (observed by @discordjs/voice).
const TOLERATED_FAILURES: u32 = 36;
/// How many senders that must happen to, where there are so many.
const FAILING_SENDERS: u32 = 2;

/// The keys of all senders of a call. It holds as many as the group has members.
#[derive(Debug, Default)]
pub(crate) struct FrameOpeners {
    by_user: BTreeMap<u64, Sender>,
    passthrough: Passthrough,
    failures: Failures,
}

impl FrameOpeners {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Of how many senders there are keys.
    pub(crate) fn len(&self) -> usize {
        self.by_user.len()
    }

    /// Applies a change of keys; a [`KeyChange::Send`] is none of its business.
    pub(crate) fn apply(&mut self, now: Instant, change: KeyChange) {
        match change {
            KeyChange::Send(_) => {}
            KeyChange::Receive { user, ratchet } => {
                let sender = self.by_user.entry(user).or_default();
                sender.opener.install(now, &ratchet);
                self.clear_failures();
            }
            KeyChange::Forget { user } => {
                self.by_user.remove(&user);
            }
            KeyChange::Retire => {
                for sender in self.by_user.values_mut() {
                    sender.opener.retire(now);
                }
            }
            KeyChange::Passthrough(passthrough) => self.passthrough = passthrough,
        }
    }

    /// Opens a frame of this user; `out` is then what its sender encoded. On an error `out` is empty.
    ///
    /// # Errors
    ///
    /// See [`OpenFrameError`]; [`OpenFrameError::may_wait`] says whether the frame is worth keeping.
    pub(crate) fn open(
        &mut self,
        user: u64,
        media: MediaKind,
        now: Instant,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Opened, OpenFrameError> {
        let Some(sender) = self.by_user.get_mut(&user) else {
            out.clear();
            return match opener::parse(media, now, self.passthrough, frame)? {
                Parsed::Plain => {
                    out.extend_from_slice(frame);
                    Ok(Opened::Plain)
                }
                Parsed::Sealed(_) => Err(OpenFrameError::UnknownKey),
            };
        };
        let result = sender.opener.open(media, now, self.passthrough, frame, out);
        match result {
            Ok(Opened::Encrypted) => self.failures.none(),
            Err(OpenFrameError::WrongKey) => self.failures.one(&mut sender.failures),
            Ok(Opened::Plain) | Err(_) => {}
        }
        result
    }

    /// Whether nobody's frames open any more: since the last frame that did, and the last new keys, at least two senders
    /// have had more than 36 frames that none of their keys opens; in a group of two the only other one. In a larger group
    /// one sender alone can not bring this about. To be told to [`super::super::Dave::receivers_failing`], which bounds
    /// how often it counts in a group of two.
    pub(crate) fn failing(&self) -> bool {
        let failing = self.failures.senders;
        failing >= FAILING_SENDERS || (failing == 1 && self.by_user.len() == 1)
    }

    /// Counts from zero again, once the failures have been told.
    pub(crate) fn clear_failures(&mut self) {
        self.failures.none();
    }
}

/// One sender's keys, and how many of its frames have failed.
#[derive(Debug, Default)]
struct Sender {
    opener: FrameOpener,
    failures: InARow,
}

/// Frames that none of a sender's keys opened, in one stretch.
#[derive(Debug, Default)]
struct InARow {
    stretch: u64,
    count: u32,
}

/// The senders that fail now. A stretch ends with a frame that opens, whoever's it is: all counts are void then.
#[derive(Debug, Default)]
struct Failures {
    stretch: u64,
    any: bool,
    /// How many senders have failed too often in this stretch.
    senders: u32,
}

impl Failures {
    fn one(&mut self, of: &mut InARow) {
        self.any = true;
        if of.stretch != self.stretch {
            *of = InARow {
                stretch: self.stretch,
                count: 0,
            };
        }
        of.count = of.count.saturating_add(1);
        if of.count == TOLERATED_FAILURES + 1 {
            self.senders += 1;
        }
    }

    fn none(&mut self) {
        if self.any {
            *self = Self {
                stretch: self.stretch + 1,
                ..Self::default()
            };
        }
    }
}
