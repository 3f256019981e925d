//! RTP and RTCP packets.

mod demux;
mod header;
mod ntp;
mod packet;
mod reception;
mod rtcp;

pub(crate) use self::{
    demux::DatagramKind,
    header::{FIXED_HEADER, OPUS_PAYLOAD_TYPE, ParsedHeader, RtpHeader},
    ntp::NtpTime,
    packet::{RtpError, RtpPacket},
    reception::{Reception, round_trip},
    rtcp::{
        Compound, MAX_BLOCKS, ReportBlock, RtcpPacket, SenderInfo, write_receiver_report,
        write_sender_report,
    },
};

/// What of an RTCP packet stays in clear: the first header and the sender's
/// SSRC (unofficial; the documentation is silent on RTCP).
pub(crate) const RTCP_CLEAR: usize = 8;

#[cfg(test)]
pub(crate) mod tests;
