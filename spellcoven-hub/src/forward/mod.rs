//! The worker's side of the webhook: events in, signed and ordered posts out.
//!
//! Feature `forward`; it contains no server code and works with any gateway
//! library. A [`Forwarder`] keeps a mirror of the guild and a bounded outbox,
//! and one task that posts one event at a time to the hub's
//! `/api/internal/events`.
//!
//! - The first post of a forwarder's life is `guild.snapshot`. Until
//!   [`Forwarder::snapshot`] has been called nothing is posted, and an event
//!   sent before counts as contained in that snapshot.
//! - 5xx, 408, 429, an unreachable hub and a post without an answer within 10 s
//!   are retried with back-off (0.1 s doubling to 5 s, jittered, `Retry-After`
//!   honoured up to 60 s). Order and delivery id are kept; every try is signed
//!   afresh. 401 and 403 are retried in the same way and make the forwarder
//!   unhealthy; so does any other answer that is not a hub's (3xx, 404, …).
//! - 400, 413 and 422 drop the event, with a log line and a counter.
//! - When the hub's epoch changes (it restarted), or the outbox runs over, the
//!   queue is thrown away and a `guild.snapshot` of the guild as it is then
//!   takes its place. The hub works out the differences.
//! - While nothing happens, a ping every 2 s asks for the hub's epoch.
//!
//! The original hub works too: it names no epoch, so it gets no pings; whether
//! it refuses `guild.snapshot` or ignores it, plain events follow. There an
//! outbox that runs over loses its oldest events, for no snapshot could make up
//! for them.

mod backoff;
mod builder;
mod driver;
#[cfg(feature = "discord-gateway")]
pub mod gateway;
mod log;
mod outbox;
mod poster;
mod shell;
mod status;

pub use crate::future::BoxFuture;
pub use builder::{ForwarderBuilder, StartError};
pub use poster::{EndpointError, HyperPoster, PostAnswer, PostError, Poster};
pub use shell::Forwarder;
pub use status::{ForwardStatus, UnhealthyReason};
