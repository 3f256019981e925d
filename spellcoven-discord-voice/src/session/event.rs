use std::{fmt, ops::BitOr};

use twilight_model::id::{
    Id,
    marker::{ChannelMarker, UserMarker},
};

use super::{EndReason, VoiceTrouble};
use crate::dave::DaveEvent;

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ConnectionState {
    /// In no channel, and nothing is asked.
    #[default]
    Disconnected,
    /// Op 4 was sent; waiting for the main gateway's two events.
    Joining,
    /// Opening the voice gateway connection, identifying, finding the UDP path, agreeing on keys.
    Connecting,
    /// Media can flow.
    Connected,
    /// The voice gateway connection is lost and being resumed; media goes on meanwhile.
    Resuming,
    /// No voice server at the moment: moved, or the server went away. Waiting for the main gateway.
    AwaitingServer,
    /// Op 4 was sent to leave; waiting for the answer.
    Leaving,
}

/// What happens in a call.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum VoiceEvent {
    /// The connection's state has changed.
    State(ConnectionState),
    /// The client is in this channel now: joined, moved by itself, or moved by a moderator.
    Channel {
        /// The channel.
        channel_id: Id<ChannelMarker>,
    },
    /// Someone is in the call: one event for each who is there at the start, then one for each who joins. The own user
    /// is not told.
    Joined {
        /// Who.
        user_id: Id<UserMarker>,
    },
    /// Someone left the call.
    Left {
        /// Who.
        user_id: Id<UserMarker>,
    },
    /// Someone's client announced how it speaks (op 5). It comes at least once before their first audio, and is no
    /// measure of sound: see [`Talking`](Self::Talking).
    Speaking {
        /// Who.
        user_id: Id<UserMarker>,
        /// The source number of their packets.
        ssrc: u32,
        /// How.
        flags: SpeakingFlags,
    },
    /// Someone's sound begins: the first frame after a silence. Only told to those who receive.
    Talking {
        /// Who.
        user_id: Id<UserMarker>,
    },
    /// Someone's sound ended: a silence frame, or nothing for 200 ms.
    Quiet {
        /// Who.
        user_id: Id<UserMarker>,
    },
    /// The source that was played has come to its end, and its last frame was sent.
    SourceEnded,
    /// Something about the call's end-to-end encryption has changed.
    Encryption(EncryptionEvent),
    /// Something went wrong and is being mended.
    Trouble(VoiceTrouble),
    /// The call has ended, and nobody asked for it.
    Ended(EndReason),
    /// The consumer was too slow: so many events before this one were dropped.
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// What happens to a call's end-to-end encryption (DAVE).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncryptionEvent {
    /// The call's group has a new epoch: someone joined or left it.
    Epoch {
        /// Its number.
        epoch: u64,
        /// Its members, ascending, the own user among them.
        members: Vec<Id<UserMarker>>,
        /// 30 digits that all members have in common. Who compares them by another way knows that nobody else is in
        /// the group.
        privacy_code: String,
    },
    /// What is sent from now on is encrypted with the newest epoch's keys.
    Encrypted {
        /// The version of DAVE.
        version: u16,
    },
    /// There is nobody else in the group, so there is no key, and audio is held.
    Alone,
    /// The call is not end-to-end encrypted. Where the policy does not allow that, no media pass: nothing is sent, and
    /// nothing that comes is handed on.
    NotEncrypted {
        /// Whether the policy allows it.
        allowed: bool,
    },
    /// The client lost step with the group and enters it anew. Media go on with the old keys where they can.
    Recovering {
        /// What was wrong.
        why: String,
    },
    /// No end-to-end encryption, for good or until the server begins a new group: no media.
    Failed {
        /// What was wrong.
        why: String,
    },
}

impl From<DaveEvent> for EncryptionEvent {
    fn from(event: DaveEvent) -> Self {
        match event {
            DaveEvent::Epoch {
                epoch,
                members,
                privacy_code,
            } => Self::Epoch {
                epoch,
                members: members.into_iter().filter_map(Id::new_checked).collect(),
                privacy_code,
            },
            DaveEvent::Encrypted { version } => Self::Encrypted { version },
            DaveEvent::Alone => Self::Alone,
            DaveEvent::NotEncrypted { allowed } => Self::NotEncrypted { allowed },
            DaveEvent::Recovering { why, .. } => Self::Recovering { why },
            DaveEvent::Failed { why } => Self::Failed { why },
        }
    }
}

/// The bits of op 5.
///
/// Source: Discord documentation, "Voice Connections", Speaking.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SpeakingFlags(u32);

impl SpeakingFlags {
    /// Not speaking.
    pub const NONE: Self = Self(0);
    /// Normal transmission of voice.
    pub const MICROPHONE: Self = Self(1);
    /// Context audio for video; no speaking indicator.
    pub const SOUNDSHARE: Self = Self(1 << 1);
    /// Priority speaker: lowers the audio of others.
    pub const PRIORITY: Self = Self(1 << 2);

    /// From the number on the wire; unknown bits are kept.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The number on the wire.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no bit is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for SpeakingFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for SpeakingFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpeakingFlags({:#b})", self.0)
    }
}

/// Someone in the call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Participant {
    /// Who.
    pub user_id: Id<UserMarker>,
    /// The source number of their audio, once they have announced it.
    pub ssrc: Option<u32>,
    /// What they last announced in op 5.
    pub speaking: SpeakingFlags,
    /// Whether sound comes from them at the moment. Always `false` where nothing is received.
    pub talking: bool,
}
