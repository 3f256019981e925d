//! Datagrams that are neither RTP nor RTCP: IP discovery and ping.

mod discovery;
mod ping;

pub use self::ping::PingStats;
pub(crate) use self::{
    discovery::{DISCOVERY_RESPONSE, Discovery, DiscoveryStep},
    ping::{PING_REPLY, Ping},
};

#[cfg(test)]
mod tests;
