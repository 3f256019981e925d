//! Close codes and the right reaction to each: one table.

/// What a client does after its voice gateway connection has ended.
///
/// | Code | Meaning | Reaction | Source |
/// |---|---|---|---|
/// | none, below 4000 | a cut, a reset, a close without a reason of Discord's own | [`Resume`](Self::Resume) | observed |
/// | 4001 | unknown opcode | [`IdentifyOnce`](Self::IdentifyOnce) | documented code |
/// | 4002 | payload not decodable | [`IdentifyOnce`](Self::IdentifyOnce) | documented code |
/// | 4003 | a payload before Identify | [`Identify`](Self::Identify) | documented code |
/// | 4004 | token not accepted | [`Rejoin`](Self::Rejoin) | documented code |
/// | 4005 | identified twice | [`Identify`](Self::Identify) | documented code |
/// | 4006 | session no longer valid | [`Rejoin`](Self::Rejoin) | documented code |
/// | 4009 | session timed out | [`Identify`](Self::Identify) | documented |
/// | 4011 | server not found | [`Rejoin`](Self::Rejoin) | documented code |
/// | 4012 | unknown protocol | [`GiveUp`](Self::GiveUp) | documented code |
/// | 4013 | WebRTC worker crashed | [`Resume`](Self::Resume) | observed |
/// | 4014 | this client was disconnected: kicked, moved, or its main gateway session ended | [`WaitForSignal`](Self::WaitForSignal) | documented ("do not reconnect"); that it comes with moves too is observed |
/// | 4015 | voice server crashed | [`NewServer`](Self::NewServer) | documented ("resume") |
/// | 4016 | unknown encryption mode | [`GiveUp`](Self::GiveUp) | documented code |
/// | 4017 | the call must be end-to-end encrypted | [`GiveUp`](Self::GiveUp) | documented |
/// | 4020 | bad request | [`IdentifyOnce`](Self::IdentifyOnce) | documented code |
/// | 4021 | rate limited | [`GiveUp`](Self::GiveUp) | documented ("do not reconnect") |
/// | 4022 | call ended for everyone: channel deleted, server changed, last one kicked | [`WaitForSignal`](Self::WaitForSignal) | documented ("do not reconnect"); that it comes with moves too is observed |
/// | 4800 | heartbeat timeout | [`Identify`](Self::Identify) | a draft of 2017 |
/// | any other | unknown | [`Resume`](Self::Resume) | unknown |
///
/// Source: Discord documentation, "Opcodes and Status Codes", Voice Close Event Codes. Where the documents only name
/// the code, the reaction is this crate's decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReaction {
    /// Keep session, keys, socket and place in the media; reconnect with backoff and resume. Where three resumes in a
    /// row get no answer, identify.
    Resume,
    /// The session is gone and the server still there: reconnect with backoff and identify. After five identifies for
    /// one VOICE_SERVER_UPDATE, as [`Rejoin`](Self::Rejoin).
    Identify,
    /// The client said something wrong. One fresh identify; a second such code without 30 s of health in between ends
    /// the call.
    IdentifyOnce,
    /// No reconnect: wait 10 s for a VOICE_STATE_UPDATE. Without a channel the call has ended; with one it is a move,
    /// and a VOICE_SERVER_UPDATE follows.
    WaitForSignal,
    /// The session or its token is worthless: leave and join again by op 4 of the main gateway. After two in a row the
    /// call ends.
    Rejoin,
    /// Resume; where that fails, identify; where that fails too, wait for a new VOICE_SERVER_UPDATE.
    NewServer,
    /// The call has ended, and trying again cannot help.
    GiveUp,
}

impl CloseReaction {
    /// The reaction to a close code; `None` is a connection that ended without one (TCP cut, reset, 1006).
    pub fn to(code: Option<u16>) -> Self {
        match code {
            Some(4001 | 4002 | 4020) => Self::IdentifyOnce,
            Some(4003 | 4005 | 4009 | 4800) => Self::Identify,
            Some(4004 | 4006 | 4011) => Self::Rejoin,
            Some(4012 | 4016 | 4017 | 4021) => Self::GiveUp,
            Some(4014 | 4022) => Self::WaitForSignal,
            Some(4015) => Self::NewServer,
            _ => Self::Resume,
        }
    }
}

/// The code with which this crate closes a connection that it wants to resume. Any code but 1000 will do (observed).
pub(crate) const CLOSE_KEEP_SESSION: u16 = 4000;

/// The code with which this crate closes a connection whose session shall end.
pub(crate) const CLOSE_END_SESSION: u16 = 1000;
