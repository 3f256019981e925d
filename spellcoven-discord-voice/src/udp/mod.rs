//! Datagrams that are neither RTP nor RTCP: IP discovery and ping.
