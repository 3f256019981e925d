use std::time::Duration;

/// Every bound of a hub. Start from the default and change single fields.
///
/// ```
/// use spellcoven_hub::server::Limits;
///
/// let limits = Limits { max_connections: 500, ..Limits::default() };
/// assert_eq!(limits.max_connections_per_user, 8);
/// ```
#[derive(Clone, Debug)]
pub struct Limits {
    /// WebSocket connections altogether, those not yet authenticated included. One more is closed with 4429.
    /// Default 10 000. An idle one costs about 6.5 kB of resident memory, and about 17 kB once many events came at once or a
    /// snapshot was sent (measured by `tests/api/server_memory.rs`, over 400 TCP connections of a test build on Linux).
    pub max_connections: usize,
    /// Authenticated WebSocket connections of one user. One more is closed with 4429. Default 8.
    pub max_connections_per_user: usize,
    /// TCP connections that [`Hub::serve`](super::Hub::serve) keeps open for HTTP at once; more wait in the
    /// kernel's queue. A connection that became a WebSocket no longer counts. Default 4096.
    pub max_http_connections: usize,
    /// How long a WebSocket client may take for its first message. Then 4401. Default 10 s.
    pub auth_deadline: Duration,
    /// How much may wait for one client that reads too slowly, in bytes. Then 1013. Default 1 000 000.
    /// What a resuming client has missed does not count until it arrived.
    pub max_buffered: usize,
    /// The largest message from a WebSocket client, in bytes. Then 1009. Default 16 KiB.
    pub max_client_message: usize,
    /// Messages that a WebSocket client may send within 10 s, pings included. Then 1008. Default 50.
    pub max_client_messages_per_10s: u32,
    /// How often the server pings. Default 30 s.
    pub ping_interval: Duration,
    /// A client from which nothing came for so long, not even a pong, is closed with 1001. Default 75 s.
    pub idle_timeout: Duration,
    /// Over how long [`Hub::shutdown`](super::Hub::shutdown) spreads the closing of the clients, each at a random moment of
    /// it, so that they do not all come back at once. At most 1 ms for each client and half of the shutdown's deadline, so
    /// that few clients are closed at once. Zero: all at once. Default 5 s.
    pub drain_spread: Duration,
    /// How long a closing connection may take to take leave. Default 5 s.
    pub close_timeout: Duration,
    /// Events kept for resume. Older ones are forgotten, and who asks for them gets a snapshot. Default 8192.
    pub ring_events: usize,
    /// Bytes of events kept for resume. Default 4 MiB.
    pub ring_bytes: usize,
    /// Rooms kept. A further one is neither kept nor announced, and is counted in the metrics. Default 2000
    /// (Discord allows 500 channels to a guild).
    pub max_rooms: usize,
    /// People in rooms. A further one is neither kept nor announced, and is counted in the metrics. Default 50 000.
    pub max_members: usize,
    /// Ids of deleted channels remembered, so that a late event does not bring them back; the oldest are forgotten.
    /// Default 8192.
    pub tombstones: usize,
    /// Ids of webhook deliveries remembered; the oldest are forgotten. Default 16 384.
    pub deliveries: usize,
    /// How long a webhook delivery is remembered. Default 1 h.
    pub delivery_age: Duration,
    /// How long a room made through the API may stay unseen by the worker before Discord is asked whether it is there, and
    /// how long until it is asked again where it gave no answer. Default 60 s.
    pub confirm_grace: Duration,
    /// Idempotency keys remembered; the oldest finished ones are forgotten. Where all are still at work, a new one is
    /// answered 503. Default 10 000.
    pub idempotency_keys: usize,
    /// How long an idempotency key is remembered. Default 24 h.
    pub idempotency_age: Duration,
    /// Calls of Discord at work for API requests at once; a further request is answered 503. Default 256.
    pub max_api_calls: usize,
    /// The largest body of an API request, in bytes. Then 413. Default 16 KiB.
    pub max_api_body: usize,
    /// The largest body of a webhook post, in bytes. Then 413. Default 1 MiB, which holds a snapshot of some 10 000 people.
    pub max_webhook_body: usize,
    /// How long a request's header may take. Then the connection is closed. Default 10 s.
    pub header_timeout: Duration,
    /// How long a request's body may take. Then 408. Default 10 s.
    pub body_timeout: Duration,
    /// The largest token, in bytes. Default 8 KiB.
    pub max_token: usize,
    /// The greatest difference between a webhook post's timestamp and now. Default 60 s.
    pub hmac_skew: Duration,
    /// `/ready` calls the worker missing when no good post came for so long, and end-room trusts no state that is older.
    /// Default 30 s. A worker that never sent a snapshot (one of the original system) is not expected to post when nothing
    /// happens: it counts as there from its first event on.
    pub worker_timeout: Duration,
    /// How old the last news of Discord may be before `/ready` asks again. Default 15 s.
    pub discord_check_age: Duration,
    /// How long `/ready` waits for Discord's answer. Default 3 s.
    pub discord_check_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_connections_per_user: 8,
            max_http_connections: 4096,
            auth_deadline: Duration::from_secs(10),
            max_buffered: 1_000_000,
            max_client_message: 16 * 1024,
            max_client_messages_per_10s: 50,
            ping_interval: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            drain_spread: Duration::from_secs(5),
            close_timeout: Duration::from_secs(5),
            ring_events: 8192,
            ring_bytes: 4 * 1024 * 1024,
            max_rooms: 2000,
            max_members: 50_000,
            tombstones: 8192,
            deliveries: 16_384,
            delivery_age: Duration::from_secs(3600),
            confirm_grace: Duration::from_secs(60),
            idempotency_keys: 10_000,
            idempotency_age: Duration::from_secs(24 * 3600),
            max_api_calls: 256,
            max_api_body: 16 * 1024,
            max_webhook_body: 1024 * 1024,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(10),
            max_token: 8 * 1024,
            hmac_skew: Duration::from_secs(60),
            worker_timeout: Duration::from_secs(30),
            discord_check_age: Duration::from_secs(15),
            discord_check_timeout: Duration::from_secs(3),
        }
    }
}
