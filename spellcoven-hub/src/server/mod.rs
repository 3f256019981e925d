//! The hub itself: HTTP API, webhook receiver, WebSocket fan-out.
//!
//! Begin with [`Hub::builder`]. The seams are [`RoomService`] (what the hub needs of Discord), [`KeySource`] (the identity
//! provider's keys), [`RoomPolicy`] (who may do what) and [`Clock`] (wall time).

mod auth;
mod builder;
mod core;
#[cfg(feature = "discord-rest")]
mod discord;
mod discord_health;
mod http;
mod hub;
mod idempotency;
mod limits;
mod log;
mod metrics;
mod policy;
mod registry;
mod rooms;
mod serve;
mod session;
mod state;
mod ws;

pub use crate::{BoxFuture, Clock, SystemClock};
pub use auth::{HttpJwks, InvalidJwksUrl, KeySource, KeySourceError};
pub use builder::{BuildError, HubBuilder, JwtConfig};
#[cfg(feature = "discord-rest")]
pub use discord::DiscordRooms;
pub use http::{HubBody, HubService};
pub use hub::Hub;
pub use limits::Limits;
pub use metrics::Stats;
pub use policy::{AnyUser, CreatorOnly, Decision, InsideCategory, RoomPolicy, User};
pub use rooms::{ChannelInfo, CreateRoom, CreatedRoom, RoomError, RoomService, VOICE_CHANNEL};
