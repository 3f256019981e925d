//! Tests of the public API, one module by subject.

#[path = "api/wire.rs"]
mod wire;

#[cfg(feature = "client")]
#[path = "api/client_reconnect.rs"]
mod client_reconnect;
#[cfg(feature = "forward")]
#[path = "api/forward_posts.rs"]
mod forward_posts;
