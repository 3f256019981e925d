//! The thin part: HTTP/1.1 and WebSocket around the world.

mod body;
mod http;
mod lenient;
mod line;
mod server;
mod websocket;

pub use server::SimServer;
