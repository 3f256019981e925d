//! The thin part: HTTP/1.1 and WebSocket around the world.

mod body;
mod http;
mod lenient;
mod line;
mod server;
#[cfg(feature = "voice")]
mod udp;
#[cfg(feature = "voice")]
mod voice;
mod websocket;

pub use server::SimServer;
#[cfg(feature = "voice")]
pub use udp::VoicePort;
#[cfg(feature = "voice")]
pub(crate) use voice::Switchboard;
