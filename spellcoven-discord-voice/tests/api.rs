//! The crate's tests, one module for each subject.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[cfg(feature = "gateway")]
#[path = "api/support.rs"]
mod support;

#[path = "api/client_net.rs"]
mod client_net;
#[cfg(feature = "gateway")]
#[path = "api/client_signal.rs"]
mod client_signal;
