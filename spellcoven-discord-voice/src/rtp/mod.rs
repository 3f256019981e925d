//! RTP and RTCP packets.

mod demux;
mod header;
mod packet;

pub(crate) use self::{
    demux::DatagramKind,
    header::{FIXED_HEADER, OPUS_PAYLOAD_TYPE, ParsedHeader, RtpHeader},
    packet::{Extension, RtpError, RtpPacket},
};

/// What of an RTCP packet stays in clear: the first header and the sender's
/// SSRC (unofficial; the documentation is silent on RTCP).
pub(crate) const RTCP_CLEAR: usize = 8;
