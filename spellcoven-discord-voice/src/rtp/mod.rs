//! RTP and RTCP packets.
