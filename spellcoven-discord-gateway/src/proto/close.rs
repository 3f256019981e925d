//! Close codes and the right reaction to each: one table.

use std::time::Duration;

/// What to do after the connection has ended.
///
/// A resume with a dead session costs one round trip and no identify, so
/// wherever there is doubt the reaction is to resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reaction {
    /// Keep the session and resume, after the usual backoff.
    Resume,
    /// Keep the session for one attempt: a resume that is not answered within
    /// its time-out, or that is cut, is followed by an identify.
    ResumeOnce,
    /// Keep the session; resume after a random wait in this range, and send
    /// fewer commands from then on.
    ResumeSlower {
        /// The least wait.
        min: Duration,
        /// The greatest wait.
        max: Duration,
    },
    /// The session is gone: identify, after the usual backoff.
    Identify,
    /// Do not connect again: see [`GatewayError`](crate::GatewayError).
    Fatal,
}

/// The code with which this crate closes a connection whose session it keeps.
///
/// Any code but 1000 and 1001 keeps the session (Discord documentation,
/// "Gateway", Initiating a Disconnect).
pub const CLOSE_KEEP_SESSION: u16 = 4000;

/// The code with which this crate closes a connection whose session shall
/// end: the bot goes offline at once.
pub const CLOSE_END_SESSION: u16 = 1000;

/// The reaction to a close code; `None` is a connection that ended without
/// one (TCP cut, reset, 1006).
///
/// Source: Discord documentation, "Opcodes and Status Codes", Gateway Close
/// Event Codes, for the codes from 4000 on. What stands there under "keep" and
/// "drop" for 1000, 1001 and 4003 is observed.
pub fn reaction(code: Option<u16>) -> Reaction {
    match code {
        // "Normal" and "going away" from the server's side are not in the
        // documents. One report had no answer at all to the resume.
        Some(1000 | 1001) => Reaction::ResumeOnce,
        // Sent before identify, or the session was invalidated.
        Some(4003) => Reaction::Identify,
        // Session no longer valid (historic).
        Some(4006) => Reaction::Identify,
        // Invalid seq, session timed out: the documents say "start a new one".
        Some(4007 | 4009) => Reaction::Identify,
        // Authentication, shard, sharding, version, intents twice.
        Some(4004 | 4010..=4014) => Reaction::Fatal,
        // Sent too fast.
        Some(4008) => Reaction::ResumeSlower {
            min: Duration::from_secs(5),
            max: Duration::from_secs(10),
        },
        // 4000 unknown error; 4001 and 4002 a bad command of ours, which is
        // not sent again; 4005 a second identify; all others are unknown.
        _ => Reaction::Resume,
    }
}
