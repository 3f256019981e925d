//! Tests of the public API, one module by subject.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may end a test, and the lints see only the test functions themselves"
)]

#[path = "api/wire.rs"]
mod wire;

#[cfg(all(feature = "client", feature = "forward", feature = "server"))]
#[path = "api/client_hub.rs"]
mod client_hub;
#[cfg(feature = "client")]
#[path = "api/client_reconnect.rs"]
mod client_reconnect;
#[cfg(all(feature = "client", feature = "discord-gateway"))]
#[path = "api/forward_gateway.rs"]
mod forward_gateway;
#[cfg(feature = "forward")]
#[path = "api/forward_posts.rs"]
mod forward_posts;
#[cfg(feature = "server")]
#[path = "api/server_announce.rs"]
mod server_announce;
#[cfg(feature = "discord-rest")]
#[path = "api/server_discord.rs"]
mod server_discord;
#[cfg(feature = "server")]
#[path = "api/server_http.rs"]
mod server_http;
#[cfg(feature = "server")]
#[path = "api/server_jwt.rs"]
mod server_jwt;
#[cfg(feature = "server")]
#[path = "api/server_logs.rs"]
mod server_logs;
#[cfg(all(feature = "server", target_os = "linux"))]
#[path = "api/server_memory.rs"]
mod server_memory;
#[cfg(feature = "server")]
#[path = "api/server_support.rs"]
mod server_support;
#[cfg(feature = "server")]
#[path = "api/server_ws.rs"]
mod server_ws;
