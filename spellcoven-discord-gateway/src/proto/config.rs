use std::{fmt, time::Duration};

use twilight_model::gateway::Intents;

use super::SessionState;
use crate::{BotToken, EventFilter, GatewayError};

/// The main URL of Discord's Gateway.
///
/// Source: observed; Discord documentation, "Gateway", Get Gateway, says to
/// ask for it and to keep it.
pub const DEFAULT_GATEWAY_URL: &str = "wss://gateway.discord.gg";

/// Compression of what Discord sends, one stream for each connection.
///
/// Each variant beyond [`None`](Self::None) exists with the cargo feature of its name. The default is zstd where that
/// is compiled in, else zlib, else none.
///
/// Source: Discord documentation, "Gateway", Encoding and Compression, Transport Compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Compression {
    /// Text as it is.
    #[cfg_attr(not(any(feature = "zlib", feature = "zstd")), default)]
    None,
    /// `compress=zlib-stream`.
    #[cfg(feature = "zlib")]
    #[cfg_attr(not(feature = "zstd"), default)]
    Zlib,
    /// `compress=zstd-stream`.
    #[cfg(feature = "zstd")]
    #[default]
    Zstd,
}

impl Compression {
    const fn query(self) -> &'static str {
        match self {
            Self::None => "",
            #[cfg(feature = "zlib")]
            Self::Zlib => "&compress=zlib-stream",
            #[cfg(feature = "zstd")]
            Self::Zstd => "&compress=zstd-stream",
        }
    }
}

/// What the state machine is made from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProtocolConfig {
    /// The bot's token.
    pub token: BotToken,
    /// The intents. Default: GUILDS and GUILD_VOICE_STATES, and no other.
    pub intents: Intents,
    /// Shard id and number of shards. Default `[0, 1]`.
    pub shard: [u32; 2],
    /// The main URL, without a query. `ws://` is spoken only where it stands
    /// here. Default [`DEFAULT_GATEWAY_URL`].
    pub gateway_url: String,
    /// Transport compression.
    pub compression: Compression,
    /// The largest message that is taken, in bytes, both as it arrives and
    /// inflated; a larger one ends the connection, and the session is resumed.
    /// Default 64 MiB.
    pub max_message_size: usize,
    /// Which events are parsed.
    pub wanted: EventFilter,
    /// A session to resume.
    pub session: Option<SessionState>,
    /// Makes all random choices repeatable. Default: from the system.
    pub seed: Option<u64>,
    /// From dialling to the end of the WebSocket handshake. Default 20 s.
    pub connect_timeout: Duration,
    /// From there to HELLO. Default 20 s.
    pub hello_timeout: Duration,
    /// From Resume to RESUMED, and from Identify to READY. Default 60 s. While
    /// heartbeats are acked, READY is waited for up to five times as long:
    /// during an outage Discord issues the session when it can, and another
    /// identify would only cost another of the day.
    pub ready_timeout: Duration,
    /// An event that makes up a guild's state (GUILD_CREATE, VOICE_STATE_UPDATE,
    /// ...) and cannot be read leaves a hole that no resume fills: then the
    /// session is given up, and the new one brings snapshots. This is the least
    /// time between two of these, since each costs an identify of the day, and
    /// a payload that this crate cannot read may come again and again. `None`:
    /// never. Default one hour.
    pub resync_interval: Option<Duration>,
    /// How many commands may wait for READY or for the send limit. Default 64;
    /// a command over it is refused.
    pub command_queue: usize,
}

impl ProtocolConfig {
    /// The defaults, with this token.
    pub fn new(token: BotToken) -> Self {
        Self {
            token,
            intents: Intents::GUILDS | Intents::GUILD_VOICE_STATES,
            shard: [0, 1],
            gateway_url: DEFAULT_GATEWAY_URL.to_owned(),
            compression: Compression::default(),
            max_message_size: 64 << 20,
            wanted: EventFilter::default(),
            session: None,
            seed: None,
            connect_timeout: Duration::from_secs(20),
            hello_timeout: Duration::from_secs(20),
            ready_timeout: Duration::from_secs(60),
            resync_interval: Some(Duration::from_secs(60 * 60)),
            command_queue: 64,
        }
    }

    /// What makes these settings unable to work, if anything does.
    pub(super) fn fault(&self) -> Option<GatewayError> {
        let configuration = |what: String| Some(GatewayError::Configuration { what });
        let [id, total] = self.shard;
        if id >= total {
            return configuration(format!(
                "shard {id} of {total}: the id must be below the number"
            ));
        }
        match base_scheme(&self.gateway_url) {
            Some(_) => None,
            None => configuration("the gateway URL must be ws://host or wss://host".to_owned()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Plain,
    Tls,
}

fn base_scheme(url: &str) -> Option<Scheme> {
    let uri: http::Uri = url.parse().ok()?;
    uri.host().filter(|host| !host.is_empty())?;
    match uri.scheme_str()? {
        "ws" => Some(Scheme::Plain),
        "wss" => Some(Scheme::Tls),
        _ => None,
    }
}

/// Whether a session's resume URL may be used beside this main URL. A URL that
/// is none is not, nor one without TLS where the main URL has it.
pub(super) fn resume_url_usable(main: &str, resume: &str) -> bool {
    match (base_scheme(main), base_scheme(resume)) {
        (Some(Scheme::Tls), Some(scheme)) => scheme == Scheme::Tls,
        (_, scheme) => scheme.is_some(),
    }
}

/// The URL to dial: both the main URL and the resume URL come without a query,
/// with or without a slash at the end.
///
/// Source: Discord documentation, "Gateway", Connecting, and Preparing to
/// Resume: the same version, encoding and compression on both.
pub(super) fn connection_url(base: &str, compression: Compression) -> String {
    let base = base.split(['?', '#']).next().unwrap_or_default();
    format!(
        "{}/?v=10&encoding=json{}",
        base.trim_end_matches('/'),
        compression.query()
    )
}

/// A payload to send. It may hold the token, so `Debug` shows its length only.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(String);

impl Payload {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// The text to put into one WebSocket text message.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, without a copy.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload(<{} bytes>)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_get_version_and_encoding_once() {
        for base in [
            "wss://g.example",
            "wss://g.example/",
            "wss://g.example//",
            "wss://g.example/?v=9",
        ] {
            assert_eq!(
                connection_url(base, Compression::None),
                "wss://g.example/?v=10&encoding=json"
            );
        }
        assert_eq!(
            connection_url("ws://[::1]:80/a/", Compression::None),
            "ws://[::1]:80/a/?v=10&encoding=json"
        );
        #[cfg(feature = "zlib")]
        assert_eq!(
            connection_url("ws://a/", Compression::Zlib),
            "ws://a/?v=10&encoding=json&compress=zlib-stream"
        );
        #[cfg(feature = "zstd")]
        assert_eq!(
            connection_url("ws://a/", Compression::Zstd),
            "ws://a/?v=10&encoding=json&compress=zstd-stream"
        );
    }

    #[test]
    fn a_resume_url_never_takes_tls_away() {
        assert!(resume_url_usable("wss://a", "wss://b"));
        assert!(!resume_url_usable("wss://a", "ws://b"));
        assert!(resume_url_usable("ws://a", "ws://b"));
        assert!(resume_url_usable("ws://a", "wss://b"));
        for junk in ["", "b", "http://b", "wss://", "wss:// b", "\u{0}"] {
            assert!(!resume_url_usable("ws://a", junk), "{junk:?}");
        }
    }
}
