//! The crate's tests, one module for each subject.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[cfg(feature = "gateway")]
#[path = "api/support.rs"]
mod support;

#[cfg(feature = "gateway")]
#[path = "api/client.rs"]
mod client;
#[path = "api/client_net.rs"]
mod client_net;
#[path = "api/client_promises.rs"]
mod client_promises;
#[cfg(feature = "gateway")]
#[path = "api/client_signal.rs"]
mod client_signal;
