//! The network as traits, and the default: TCP with TLS for the voice gateway, UDP for the media.

mod connect;
mod datagram;

pub use self::{
    connect::{BoxFuture, TcpTlsUdp, VoiceConnector, VoiceStream},
    datagram::{DatagramSocket, UdpOptions},
};
