use thiserror::Error;

/// Why a call could not be joined. The main gateway and the voice server are left as if nothing had been asked, unless
/// the variant says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Op 4 was not answered within 10 s. Discord does so where the channel is full, where the permission CONNECT is
    /// missing and where there is no such channel. A client that was in another channel stays there.
    #[error(
        "Discord did not answer the request to join within 10 s: the channel may be full, may not exist, or the bot may lack CONNECT there"
    )]
    NoAnswer,
    /// Discord let the client in, and named no voice server within 30 s. The client has left again.
    #[error("Discord named no voice server within 30 s: try again later")]
    NoServer,
    /// The client was disconnected, or the channel deleted, before it was connected.
    #[error("the client was removed from the channel before it was connected")]
    Removed,
    /// Another `connect` came later.
    #[error("a later request to connect took the place of this one")]
    Superseded,
    /// `disconnect` came later, or the client was dropped.
    #[error("the client was told to disconnect before it was connected")]
    Cancelled,
    /// The main gateway session ended, and the client was not asked to rejoin by itself; or the main gateway is gone
    /// for good.
    #[error("the main gateway session ended before the call was joined")]
    SignallingLost,
    /// It went wrong for good. The client has left the channel.
    #[error("the call failed")]
    Failed(#[source] CallError),
}

/// Why a call ended for good, where nobody asked for it and Discord did not just remove the client.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError {
    /// Close code 4017: Discord wants the call end-to-end encrypted, and did not find this client to be so. An error
    /// of this crate or a new version of the protocol.
    #[error(
        "Discord wants this call end-to-end encrypted and refused the client (close code 4017): update this crate"
    )]
    EncryptionRequired,
    /// The voice server offers no encryption mode that this build has, or refused the one that was chosen (4016).
    #[error(
        "the voice server has no transport encryption mode in common with this client: it offers {offered:?}"
    )]
    NoCommonMode {
        /// The modes that it named.
        offered: Vec<String>,
    },
    /// The call is not end-to-end encrypted (a stage channel), and the client's policy asks for that. Choose
    /// [`E2eePolicy::Preferred`](crate::E2eePolicy::Preferred) to join such calls.
    #[error("the call is not end-to-end encrypted, and the client's policy requires it")]
    NotEncrypted,
    /// Close code 4021: too many requests. Wait minutes before the next try.
    #[error(
        "the voice server limits the client's rate (close code 4021): wait some minutes before the next try"
    )]
    RateLimited,
    /// The voice server called something that this crate sent wrong, twice. An error of this crate, or a change of
    /// the protocol.
    #[error(
        "the voice server refuses what this client sends (close code {code}): please report it"
    )]
    Refused {
        /// The close code: 4001, 4002, 4012 or 4020.
        code: u16,
    },
    /// Neither a new session nor new credentials helped: session invalid, token refused or server not found again and
    /// again.
    #[error(
        "the voice server did not take the session, though it was renewed several times (last close code {code:?})"
    )]
    SessionRefused {
        /// The last close code; `None` where the connection could not be opened or was cut.
        code: Option<u16>,
    },
    /// No datagram gets through to the voice server: a firewall, or UDP not allowed.
    #[error(
        "no UDP datagram gets through to the voice server: check that the host and its firewall allow UDP out"
    )]
    UdpUnreachable,
    /// Something that the embedder gave has panicked: the audio source, the signalling or the connector. The client is
    /// of no use any more.
    #[error(
        "the audio source, signalling or connector that the client was given has panicked: the client has ended"
    )]
    Panicked,
}

/// Why a call that was up has ended without `disconnect`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EndReason {
    /// Someone disconnected the client, or the channel was deleted.
    #[error("the client was removed from the channel")]
    Removed,
    /// The main gateway session ended, and with it the call; the client was not asked to rejoin by itself.
    #[error("the main gateway session ended, and the voice connection with it")]
    SessionLost,
    /// Discord closed the voice connection (4014, 4022), and the main gateway said nothing for 10 s.
    #[error("Discord closed the voice connection and did not say what follows")]
    NoWord,
    /// It went wrong for good.
    #[error("the call failed")]
    Failed(#[source] CallError),
}

/// Something that went wrong and is being mended.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum VoiceTrouble {
    /// The voice gateway connection ended; media may go on meanwhile. The network's or Discord's doing.
    #[error("the voice gateway connection ended (close code {code:?}): {reaction:?}")]
    LinkLost {
        /// The close code that Discord sent, if any.
        code: Option<u16>,
        /// What the client does now.
        reaction: crate::CloseReaction,
    },
    /// The voice gateway could not be reached, or did not answer in time. It is tried again.
    #[error("the voice gateway could not be reached: {why}")]
    LinkFailed {
        /// What the system or the time limit said.
        why: String,
    },
    /// The voice server did not ack a heartbeat in time: the connection is given up and resumed.
    #[error("the voice server did not answer a heartbeat in time")]
    MissedAck,
    /// After a resume the client still has no key or no group although others are in the call: what it had to say may
    /// be lost. A fresh session is begun.
    #[error("the call's keys did not come after the connection was resumed")]
    KeysMissing,
    /// The voice server's address could not be found out, no datagram came back, or none has come for half a minute where
    /// pings were answered before. It is tried again.
    #[error("the UDP path to the voice server does not work")]
    Udp,
    /// The voice server went away, and Discord has not named another one yet.
    #[error("the voice server went away: waiting for another one")]
    ServerGone,
    /// The voice server sent something that cannot be read; it was ignored.
    #[error("the voice server sent something that cannot be read: {what}")]
    Malformed {
        /// Which message, without its contents.
        what: &'static str,
    },
    /// Op 4 could not be sent, because the main gateway takes no commands at the moment.
    #[error("the main gateway takes no commands at the moment")]
    Signalling,
}
