//! Opening what all the others in a call send.

use std::{collections::BTreeMap, time::Instant};

use super::super::keys::{KeyChange, Passthrough};
use super::{
    MediaKind,
    opener::{self, FrameOpener, OpenFrameError, Opened, Parsed},
};

/// How many frames in a row may fail before the group itself is in doubt. Some do at every change of keys: about four
/// at a join, up to 24 after a new start (observed by @discordjs/voice).
const TOLERATED_FAILURES: u32 = 36;

/// The keys of all senders of a call. It holds as many as the group has members.
#[derive(Debug, Default)]
pub(crate) struct FrameOpeners {
    by_user: BTreeMap<u64, FrameOpener>,
    passthrough: Passthrough,
    failures: Failures,
}

impl FrameOpeners {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Applies a change of keys; a [`KeyChange::Send`] is none of its business.
    pub(crate) fn apply(&mut self, now: Instant, change: KeyChange) {
        match change {
            KeyChange::Send(_) => {}
            KeyChange::Receive { user, ratchet } => {
                self.by_user.entry(user).or_default().install(now, &ratchet);
                self.failures = Failures::default();
            }
            KeyChange::Forget { user } => {
                self.by_user.remove(&user);
            }
            KeyChange::Retire => {
                for opener in self.by_user.values_mut() {
                    opener.retire(now);
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
        let Some(opener) = self.by_user.get_mut(&user) else {
            out.clear();
            return match opener::parse(media, now, self.passthrough, frame)? {
                Parsed::Plain => {
                    out.extend_from_slice(frame);
                    Ok(Opened::Plain)
                }
                Parsed::Sealed(_) => Err(OpenFrameError::UnknownKey),
            };
        };
        let result = opener.open(media, now, self.passthrough, frame, out);
        match result {
            Ok(Opened::Encrypted) => self.failures = Failures::default(),
            Err(OpenFrameError::WrongKey) => self.failures.note(user),
            Ok(Opened::Plain) | Err(_) => {}
        }
        result
    }

    /// Whether nobody's frames open any more: more than 36 in a row, of at least two senders, had none of the keys
    /// held. One sender alone can not bring this about. To be told to [`super::super::Dave::receivers_failing`].
    pub(crate) fn failing(&self) -> bool {
        self.failures.several && self.failures.in_a_row > TOLERATED_FAILURES
    }

    /// Counts from zero again, once the failures have been told.
    pub(crate) fn clear_failures(&mut self) {
        self.failures = Failures::default();
    }
}

/// Frames with a wrong key, since the last one that opened.
#[derive(Debug, Default)]
struct Failures {
    in_a_row: u32,
    first: Option<u64>,
    several: bool,
}

impl Failures {
    fn note(&mut self, user: u64) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let first = *self.first.get_or_insert(user);
        self.several |= first != user;
    }
}
