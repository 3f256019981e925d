//! What to do in a call that is not end-to-end encrypted.

/// What the client does in a call without end-to-end encryption (DAVE protocol version 0).
///
/// Since March 2026 Discord lets nobody into an ordinary call without DAVE; stage channels are exempt and stay
/// encrypted to the server only (Discord documentation, Voice Connections, End-to-End Encryption). The server says
/// which of the two a call is, so a policy that accepts both leaves the choice to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum E2eePolicy {
    /// No media without end-to-end encryption: such a call is not joined, and in one that ceases to be encrypted
    /// nothing is sent and nothing is delivered, and an event says why. The default.
    #[default]
    Required,
    /// End-to-end encryption where the call has it, else media that only the transport encrypts. For stage channels.
    Preferred,
}
