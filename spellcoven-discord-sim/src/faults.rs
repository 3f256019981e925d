//! Things that go wrong on demand.

use serde::{Deserialize, Serialize};

/// A fault of the Gateway. Most strike every live session of a bot; those that strike a connection before anybody can
/// know whose it is, or the resume URL, say so.
///
/// In JSON, as the control API takes it, a variant is its name in snake case: `"cut"`, or `{"close": {"code": 4000}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// The TCP connection is dropped without a close frame. The session stays resumable.
    Cut,
    /// The next message stops in the middle of its frame, and TCP is dropped. The session stays resumable.
    CutMidFrame,
    /// Op 7, and a close after the grace of the settings. The session stays resumable.
    Reconnect,
    /// The next `times` connections of anybody get op 7 in the place of HELLO, and a close after the grace.
    ReconnectInsteadOfHello {
        /// How many.
        times: u32,
    },
    /// The next `times` connections of anybody get no HELLO. They are closed when a heartbeat would be overdue.
    WithholdHello {
        /// How many.
        times: u32,
    },
    /// Op 9 on a live session. `resumable: false` destroys it. The socket stays open and takes an Identify or Resume.
    InvalidSession {
        /// The `d` of op 9.
        resumable: bool,
    },
    /// A close frame with this code. The codes 4003, 4004, 4006, 4007 and 4009 to 4014 destroy the session.
    Close {
        /// The close code.
        code: u16,
    },
    /// Op 1: the server asks for a heartbeat now.
    RequestHeartbeat,
    /// Heartbeats are no longer answered (`true`), or are again (`false`).
    MuteAcks {
        /// Whether they are muted.
        on: bool,
    },
    /// The live connections fall silent for good: nothing is sent, nothing is answered, not even a close frame, and TCP
    /// stays open. The session stays resumable on another connection.
    Silence,
    /// The next `times` resumes are answered with op 9 `false`, and their sessions destroyed.
    RefuseResume {
        /// How many.
        times: u32,
    },
    /// The resume URL refuses every connection (`true`), or serves again (`false`), whoever calls. It must be one of its
    /// own: see [`Settings::resume_url`](crate::Settings::resume_url).
    DeadResumeUrl {
        /// Whether it is dead.
        on: bool,
    },
    /// Dispatches are kept back (`true`), or released (`false`). Heartbeats go on.
    HoldEvents {
        /// Whether they are kept back.
        on: bool,
    },
    /// Each event is sent twice, with the same number (`true`), or once again (`false`).
    DuplicateEvents {
        /// Whether they are doubled.
        on: bool,
    },
    /// Messages dribble: at most so many bytes in a second, on the live connections and on later ones from Identify or
    /// Resume on. 0 lifts it.
    SlowFrames {
        /// The bound.
        bytes_per_second: u32,
    },
    /// Each message goes out in three frames (`true`), or in one again (`false`). With `zlib-stream` it goes out in three
    /// messages, of which only the last ends with `00 00 FF FF`.
    SplitFrames {
        /// Whether they are split.
        on: bool,
    },
    /// The next message is JSON that ends in the middle.
    MalformedJson,
    /// The next message is a binary one that no decoder takes, whatever encoding was asked for.
    MalformedCompression,
    /// All guilds of the bot become unavailable (`true`): GUILD_DELETE with `unavailable`, also for other bots in them.
    /// Or they come back (`false`) with GUILD_CREATE.
    UnavailableGuilds {
        /// Whether they are unavailable.
        on: bool,
    },
}

/// Declares [`FaultKind`] so that a variant of [`Fault`] without a kind does not compile.
macro_rules! fault_kinds {
    ($($kind:ident => $pattern:pat,)+) => {
        /// The kinds of [`Fault`], without what they carry.
        ///
        /// It is exhaustive on purpose: a table of tests that matches on it stops compiling when a kind is added, and
        /// shall get a row then.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum FaultKind {
            $(
                #[doc = concat!("[`Fault::", stringify!($kind), "`].")]
                $kind,
            )+
        }

        impl FaultKind {
            /// All of them, once each.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)+];
        }

        impl Fault {
            /// Its kind.
            #[must_use]
            pub const fn kind(&self) -> FaultKind {
                match self {
                    $($pattern => FaultKind::$kind,)+
                }
            }
        }
    };
}

fault_kinds! {
    Cut => Self::Cut,
    CutMidFrame => Self::CutMidFrame,
    Reconnect => Self::Reconnect,
    ReconnectInsteadOfHello => Self::ReconnectInsteadOfHello { .. },
    WithholdHello => Self::WithholdHello { .. },
    InvalidSession => Self::InvalidSession { .. },
    Close => Self::Close { .. },
    RequestHeartbeat => Self::RequestHeartbeat,
    MuteAcks => Self::MuteAcks { .. },
    Silence => Self::Silence,
    RefuseResume => Self::RefuseResume { .. },
    DeadResumeUrl => Self::DeadResumeUrl { .. },
    HoldEvents => Self::HoldEvents { .. },
    DuplicateEvents => Self::DuplicateEvents { .. },
    SlowFrames => Self::SlowFrames { .. },
    SplitFrames => Self::SplitFrames { .. },
    MalformedJson => Self::MalformedJson,
    MalformedCompression => Self::MalformedCompression,
    UnavailableGuilds => Self::UnavailableGuilds { .. },
}
