//! Where voice servers are reached.

use ::core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::BTreeMap;
use std::fmt;

use super::super::World;

/// Number of a voice server, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VoiceServerId(pub(crate) u64);

impl fmt::Display for VoiceServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A voice server as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VoiceServerView {
    /// Its number.
    pub id: VoiceServerId,
    /// `host:port` of its WebSocket, as VOICE_SERVER_UPDATE names it.
    pub endpoint: String,
    /// Where its media go.
    pub udp: SocketAddr,
}

#[derive(Clone, Debug)]
pub(in crate::core) struct VoiceServer {
    /// `None`: what [`Settings::voice_endpoint`](crate::Settings::voice_endpoint) says.
    pub(super) endpoint: Option<String>,
    pub(super) udp: SocketAddr,
}

/// The server that is there from the start, on addresses of documentation (RFC 5737).
pub(super) fn first() -> BTreeMap<VoiceServerId, VoiceServer> {
    let server = VoiceServer {
        endpoint: None,
        udp: media_address(1),
    };
    BTreeMap::from([(VoiceServerId(1), server)])
}

fn media_address(number: u64) -> SocketAddr {
    let last = u8::try_from(number % 250 + 1).unwrap_or(1);
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, last)), 50_000)
}

/// Voice servers.
impl World {
    /// One more voice server, without a socket: for clients that come through
    /// [`Sim::serve_voice_connection`](crate::Sim::serve_voice_connection) and [`Sim::voice_udp`](crate::Sim::voice_udp).
    pub fn add_voice_server(&mut self) -> VoiceServerId {
        let number = self.rtc.servers.len() as u64 + 1;
        let server = VoiceServer {
            endpoint: Some(format!("voice-{number}.discord.invalid:443")),
            udp: media_address(number),
        };
        self.rtc.servers.insert(VoiceServerId(number), server);
        VoiceServerId(number)
    }

    /// A voice server that listens: the first takes the place of the one that is there from the start.
    #[cfg(feature = "tls")]
    pub(crate) fn voice_server_listens(
        &mut self,
        endpoint: String,
        udp: SocketAddr,
    ) -> VoiceServerId {
        let unused = self
            .rtc
            .servers
            .iter()
            .find(|(_, server)| server.endpoint.is_none());
        let id = unused.map_or_else(
            || VoiceServerId(self.rtc.servers.len() as u64 + 1),
            |(id, _)| *id,
        );
        let server = VoiceServer {
            endpoint: Some(endpoint),
            udp,
        };
        self.rtc.servers.insert(id, server);
        id
    }

    /// The voice servers, by number.
    #[must_use]
    pub fn voice_servers(&self) -> Vec<VoiceServerView> {
        let servers = self.rtc.servers.iter();
        servers
            .map(|(id, server)| VoiceServerView {
                id: *id,
                endpoint: self.endpoint_of(server).unwrap_or_default(),
                udp: server.udp,
            })
            .collect()
    }

    pub(super) fn endpoint_of(&self, server: &VoiceServer) -> Option<String> {
        server
            .endpoint
            .clone()
            .or_else(|| self.settings.voice_endpoint.clone())
    }

    /// The server whose endpoint this is; the first one for a name that is no server's.
    pub(crate) fn voice_server_at(&self, host: &str) -> VoiceServerId {
        let found = self
            .rtc
            .servers
            .iter()
            .find(|(_, server)| self.endpoint_of(server).as_deref() == Some(host));
        found.map_or(VoiceServerId(1), |(id, _)| *id)
    }

    /// The server whose media go to this address.
    pub(crate) fn voice_server_on(&self, udp: SocketAddr) -> Option<VoiceServerId> {
        let mut servers = self.rtc.servers.iter();
        servers
            .find(|(_, server)| server.udp == udp)
            .map(|(id, _)| *id)
    }
}
