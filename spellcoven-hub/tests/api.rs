//! Tests of the public API, one module by subject.

#[path = "api/wire.rs"]
mod wire;

#[cfg(feature = "client")]
#[path = "api/client_reconnect.rs"]
mod client_reconnect;
#[cfg(all(feature = "client", feature = "discord-gateway"))]
#[path = "api/forward_gateway.rs"]
mod forward_gateway;
#[cfg(feature = "forward")]
#[path = "api/forward_posts.rs"]
mod forward_posts;
