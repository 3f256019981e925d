//! What the control side tells the media side about keys.

use std::time::Instant;

use super::ratchet::KeyRatchet;

/// What outgoing frames are sealed with from now on.
#[derive(Debug, Clone)]
pub(crate) enum SendKey {
    /// The call is not end-to-end encrypted and the policy allows that: frames go out as they are.
    Plain,
    /// No key yet (or a call that the policy refuses): frames must wait or be dropped, never sent.
    Hold,
    /// Frames are sealed with this sender's keys.
    Key(KeyRatchet),
}

/// Whether frames without a DAVE trailer are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Passthrough {
    /// No, except Opus silence.
    #[default]
    Off,
    /// Yes: the call is at version 0, or on its way to or from it.
    On,
    /// Until then: the call went over to end-to-end encryption a moment ago.
    Until(Instant),
}

impl Passthrough {
    pub(crate) fn allows(self, now: Instant) -> bool {
        match self {
            Self::Off => false,
            Self::On => true,
            Self::Until(end) => now < end,
        }
    }
}

/// A change of keys, to be applied in order by [`super::FrameSealer`] and [`super::FrameOpeners`].
#[derive(Debug, Clone)]
pub(crate) enum KeyChange {
    /// For the sealer.
    Send(SendKey),
    /// This user's frames may come with these keys from now on; those held before stay good for 10 s.
    Receive { user: u64, ratchet: KeyRatchet },
    /// This user is not in the group any more: drop the keys now.
    Forget { user: u64 },
    /// The call has left end-to-end encryption: all receive keys stay good for 10 s.
    Retire,
    /// Whether frames in the clear are accepted.
    Passthrough(Passthrough),
}
