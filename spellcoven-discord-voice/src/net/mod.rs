//! The network as traits, and the default: TCP with TLS for the voice gateway, UDP for the media.

mod batch;
mod connect;
mod datagram;

pub(crate) use self::{
    batch::{BATCH, DATAGRAM_SIZE, Incoming, Outgoing, receive, send},
    datagram::shared_udp,
};

pub use self::{
    connect::{BoxFuture, TcpTlsUdp, VoiceConnector, VoiceStream},
    datagram::{DatagramSocket, UdpOptions},
};
