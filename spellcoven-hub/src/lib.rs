#![doc = include_str!("../README.md")]

#[cfg(feature = "client")]
pub mod client;
#[cfg(any(feature = "server", feature = "forward"))]
mod clock;
#[cfg(feature = "forward")]
pub mod forward;
#[cfg(any(feature = "server", feature = "client", feature = "forward"))]
mod future;
#[cfg(any(feature = "client", feature = "forward"))]
mod model;
#[cfg(feature = "server")]
pub mod server;
pub mod wire;

#[cfg(any(feature = "server", feature = "forward"))]
pub use clock::{Clock, SystemClock};
#[cfg(any(feature = "server", feature = "client", feature = "forward"))]
pub use future::BoxFuture;
#[cfg(feature = "server")]
pub use server::Hub;
#[cfg(any(feature = "server", feature = "forward"))]
pub use wire::HubSecret;
pub use wire::{GuildSnapshot, HubEvent, Snowflake};
