//! WebSocket close codes of `/api/ws` and the reasons that go with them.

/// Normal closure, by either side.
pub const NORMAL: u16 = 1000;
/// The server goes away (a restart or a deploy). Reconnect and resume.
pub const GOING_AWAY: u16 = 1001;
/// Protocol violation or unknown message type. The client is at fault; reconnecting without a change will not help.
pub const POLICY: u16 = 1008;
/// A message above the size limit. The client is at fault.
pub const TOO_LARGE: u16 = 1009;
/// Internal error of the hub. Reconnect with back-off.
pub const INTERNAL: u16 = 1011;
/// Try again later: a slow consumer (more buffered than the limit), or the identity provider's keys cannot be had yet.
pub const TRY_AGAIN_LATER: u16 = 1013;
/// The token is missing, bad or expired. Do not retry with the same token.
pub const UNAUTHORIZED: u16 = 4401;
/// Too many connections of this user, or of all users. Reconnect later.
pub const TOO_MANY_CONNECTIONS: u16 = 4429;

/// Reasons sent with the codes; a client may compare against them.
pub mod reason {
    /// With [`UNAUTHORIZED`](super::UNAUTHORIZED): the token was refused, or another user's token was sent.
    pub const UNAUTHORIZED: &str = "unauthorized";
    /// With [`UNAUTHORIZED`](super::UNAUTHORIZED): the token expired during the connection.
    pub const TOKEN_EXPIRED: &str = "token_expired";
    /// With [`UNAUTHORIZED`](super::UNAUTHORIZED): no `auth` message came within the deadline.
    pub const AUTH_TIMEOUT: &str = "auth_timeout";
    /// With [`TRY_AGAIN_LATER`](super::TRY_AGAIN_LATER): the client reads too slowly.
    pub const SLOW_CONSUMER: &str = "slow_consumer";
    /// With [`TRY_AGAIN_LATER`](super::TRY_AGAIN_LATER): the keys of the identity provider cannot be had yet.
    pub const IDENTITY_UNAVAILABLE: &str = "identity_unavailable";
    /// With [`GOING_AWAY`](super::GOING_AWAY): the server is stopping.
    pub const GOING_AWAY: &str = "going_away";
    /// With [`GOING_AWAY`](super::GOING_AWAY): nothing came from the client for too long.
    pub const IDLE_TIMEOUT: &str = "idle_timeout";
    /// With [`POLICY`](super::POLICY): not a message of the protocol.
    pub const BAD_MESSAGE: &str = "bad_message";
    /// With [`POLICY`](super::POLICY): messages come faster than the limit.
    pub const RATE_LIMITED: &str = "rate_limited";
    /// With [`TOO_LARGE`](super::TOO_LARGE).
    pub const TOO_LARGE: &str = "too_large";
    /// With [`TOO_MANY_CONNECTIONS`](super::TOO_MANY_CONNECTIONS).
    pub const TOO_MANY_CONNECTIONS: &str = "too_many_connections";
}
