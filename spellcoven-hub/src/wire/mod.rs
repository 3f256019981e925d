//! What goes over the wire, and nothing else: no I/O, no clock.
//!
//! Three protocols share these types: the messages of `/api/ws` ([`Envelope`], [`ClientMessage`]), the worker's webhook
//! ([`WebhookEvent`], [`WebhookAnswer`]) and the bodies of the HTTP API ([`ApiErrorBody`], [`CreateRoomBody`]).
//! Everything is JSON with camelCase names. Readers ignore fields they do not know.

mod api;
mod client_message;
pub mod close;
mod envelope;
mod event;
#[cfg(any(feature = "server", feature = "forward"))]
mod secret;
#[cfg(any(feature = "server", feature = "forward"))]
pub mod signature;
mod snapshot;
mod snowflake;
mod webhook;

pub use api::{ApiErrorBody, CreateRoomBody, CreatedRoomBody, EndedRoomBody};
pub use client_message::{ClientMessage, ResumePoint};
pub use envelope::{
    AuthOk, Envelope, ErrorBody, ErrorCode, MessageKind, PROTOCOL_VERSION, ReconnectAdvice, names,
};
pub use event::{HubEvent, RoomDeleted, RoomPayload, VoiceJoined, VoiceLeft, VoiceUpdated};
#[cfg(any(feature = "server", feature = "forward"))]
pub use secret::{EmptySecret, HubSecret};
pub use snapshot::{GuildSnapshot, Member, Room, RoomSnapshot};
pub use snowflake::{InvalidSnowflake, Snowflake};
pub use webhook::{WebhookAnswer, WebhookError, WebhookEvent, headers};
