//! Things that go wrong on demand.

/// A fault of the Gateway, for every live session of a bot.
///
/// In JSON, as the control API takes it, a variant is its name in snake case: `"cut"`, or `{"close": {"code": 4000}}`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// The TCP connection is dropped without a close frame. The session stays resumable.
    Cut,
    /// Op 7, and a close after the grace of the settings. The session stays resumable.
    Reconnect,
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
    /// The next `times` resumes are answered with op 9 `false`, and their sessions destroyed.
    RefuseResume {
        /// How many.
        times: u32,
    },
    /// Dispatches are kept back (`true`), or released (`false`). Heartbeats go on.
    HoldEvents {
        /// Whether they are kept back.
        on: bool,
    },
}
