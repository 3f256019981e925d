use core::net::SocketAddr;
use std::fmt;

use super::{ConnectError, VoiceEvent};
use crate::{dave::MlsJob, media::ReceivedFrame, signal::VoiceStateRequest};

/// One WebSocket to a voice gateway. Ids are never used twice in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId(pub(crate) u64);

/// One UDP socket to a voice server. Ids are never used twice in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UdpId(pub(crate) u64);

/// What the shell has to do, in this order.
pub(crate) enum Action {
    /// Send op 4 on the main gateway.
    Signal(VoiceStateRequest),
    /// Open a WebSocket to this URL, whole with its query, then call `link_opened` or `link_failed`. There is at most
    /// one link at a time: an earlier one was closed by [`CloseLink`](Self::CloseLink) or has ended.
    OpenLink { id: LinkId, url: String },
    /// Send one text message. It may hold a secret.
    SendText { id: LinkId, text: String },
    /// Send one binary message.
    SendBinary { id: LinkId, bytes: Vec<u8> },
    /// Close the link with this code, or give up opening it; whatever it says later is ignored, and `link_closed` need
    /// not be called. What was asked to be sent before is still sent.
    CloseLink { id: LinkId, code: u16 },
    /// Open a UDP socket to this address, then call `udp_opened` or `udp_failed`. At most one at a time.
    OpenUdp { id: UdpId, remote: SocketAddr },
    /// Close the socket; what it receives later is ignored.
    CloseUdp { id: UdpId },
    /// Send one datagram. Hand the buffer back by `recycle`, if that is no trouble.
    Datagram { id: UdpId, bytes: Vec<u8> },
    /// Run this where it may take long (the CPU time grows with the call), then call `job_done`. The result of an earlier one that still runs is
    /// not wanted any more, and may be handed in all the same.
    Job(MlsJob),
    /// Tell the consumer.
    Event(VoiceEvent),
    /// A frame of someone's audio, for the jitter buffer.
    Audio(ReceivedFrame),
    /// The answer to `connect`: exactly one for each call, in their order.
    Connected(Result<(), ConnectError>),
    /// The answer to `disconnect`: exactly one for each call.
    Disconnected,
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(request) => f.debug_tuple("Signal").field(request).finish(),
            Self::OpenLink { id, url } => write!(f, "OpenLink({}, {url})", id.0),
            Self::SendText { id, text } => write!(f, "SendText({}, {} bytes)", id.0, text.len()),
            Self::SendBinary { id, bytes } => {
                write!(f, "SendBinary({}, {} bytes)", id.0, bytes.len())
            }
            Self::CloseLink { id, code } => write!(f, "CloseLink({}, {code})", id.0),
            Self::OpenUdp { id, remote } => write!(f, "OpenUdp({}, {remote})", id.0),
            Self::CloseUdp { id } => write!(f, "CloseUdp({})", id.0),
            Self::Datagram { id, bytes } => write!(f, "Datagram({}, {} bytes)", id.0, bytes.len()),
            Self::Job(_) => f.write_str("Job"),
            Self::Event(event) => f.debug_tuple("Event").field(event).finish(),
            Self::Audio(frame) => write!(f, "Audio(of {})", frame.user_id),
            Self::Connected(result) => f.debug_tuple("Connected").field(result).finish(),
            Self::Disconnected => f.write_str("Disconnected"),
        }
    }
}
