use std::{
    fmt,
    task::{Context, Poll},
};

use serde::Serialize;
use thiserror::Error;
use twilight_model::id::{
    Id,
    marker::{ChannelMarker, GuildMarker},
};

/// Join, move to or leave a voice channel: the `d` of op 4 on the main gateway, which serialises as it is sent.
///
/// Source: Discord documentation, "Gateway Events", Update Voice State.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VoiceStateRequest {
    /// The guild.
    pub guild_id: Id<GuildMarker>,
    /// The channel; `None` leaves.
    pub channel_id: Option<Id<ChannelMarker>>,
    /// Whether the client mutes itself.
    pub self_mute: bool,
    /// Whether the client deafens itself.
    pub self_deaf: bool,
}

impl VoiceStateRequest {
    /// A request with neither mute nor deaf set.
    pub fn new(guild_id: Id<GuildMarker>, channel_id: Option<Id<ChannelMarker>>) -> Self {
        Self {
            guild_id,
            channel_id,
            self_mute: false,
            self_deaf: false,
        }
    }
}

/// What a VOICE_STATE_UPDATE says of the client's own user in its own guild.
///
/// Source: Discord documentation, "Voice Resource", Voice State Object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnVoiceState {
    /// The channel; `None` means that the client is in none.
    pub channel_id: Option<Id<ChannelMarker>>,
    /// The session that the voice server will ask for. It is only looked at where there is a channel.
    pub session_id: String,
}

/// What a VOICE_SERVER_UPDATE says for the client's own guild.
///
/// Source: Discord documentation, "Gateway Events", Voice Server Update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoiceServer {
    /// The secret for the voice connection.
    pub token: VoiceServerToken,
    /// Host and port without a scheme; `None` means that the server went away and that another update follows.
    pub endpoint: Option<String>,
}

/// The secret of one voice connection. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct VoiceServerToken(String);

impl VoiceServerToken {
    /// Takes the token as VOICE_SERVER_UPDATE carries it.
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }

    /// The secret itself, for the voice server and nobody else.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for VoiceServerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VoiceServerToken(<redacted>)")
    }
}

/// What the main gateway tells a voice client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignalEvent {
    /// A VOICE_STATE_UPDATE of the client's own user in its guild.
    VoiceState(OwnVoiceState),
    /// A VOICE_SERVER_UPDATE for its guild.
    VoiceServer(VoiceServer),
    /// The main gateway began a new session (READY after an earlier READY): Discord has dropped the voice connection
    /// that hung on the old one. A RESUMED is not told at all, voice is not affected by it.
    GatewayRestarted,
}

/// The way to the main gateway, for one client in one guild.
///
/// Feature `gateway` has a ready one, `VoiceRouter`; for any other library, [`signal_pair`](crate::signal_pair) makes one
/// out of a closure that sends op 4 and a [`SignalFeed`](crate::SignalFeed) that takes the events.
pub trait Signalling: Send + 'static {
    /// Sends op 4. It must not block; a limit of the main gateway (120 messages a minute) may delay the sending.
    ///
    /// # Errors
    ///
    /// It was not sent and will not be.
    fn update(&mut self, request: VoiceStateRequest) -> Result<(), SignalError>;

    /// The next event for this guild and the client's own user, in the order in which they arrived. `None` when the
    /// main gateway is gone for good; it is not polled again then.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<SignalEvent>>;
}

impl<T: Signalling + ?Sized> Signalling for Box<T> {
    fn update(&mut self, request: VoiceStateRequest) -> Result<(), SignalError> {
        (**self).update(request)
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<SignalEvent>> {
        (**self).poll_event(cx)
    }
}

/// Why op 4 was not sent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignalError {
    /// The main gateway's queue is full. Trying again later may help.
    #[error("the main gateway takes no more commands at the moment: try again later")]
    Busy,
    /// The main gateway connection has ended for good.
    #[error("the main gateway connection has ended")]
    Closed,
}
