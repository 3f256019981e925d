//! IP discovery: which address and port the voice server sees.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

/// How the answer begins (Discord documentation, Voice Connections, IP
/// Discovery).
pub(crate) const DISCOVERY_RESPONSE: [u8; 2] = [0, 2];
const REQUEST: [u8; 2] = [0, 1];
/// The bytes after type and length.
const BODY: [u8; 2] = [0, 70];
const PACKET: usize = 74;
const ADDRESS: usize = 64;

/// UDP loses datagrams, and the documentation names no interval: once per
/// second, five times, as several clients do.
const RETRY: Duration = Duration::from_secs(1);
const TRIES: u32 = 5;

/// Asks the voice server for the external address of the socket, again and
/// again until it answers.
///
/// Wake it at [`Discovery::poll_timeout`], which at first is the time at which
/// it was made.
#[derive(Debug)]
pub(crate) struct Discovery {
    ssrc: u32,
    sent: u32,
    next: Option<Instant>,
}

/// What to do after [`Discovery::handle_timeout`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DiscoveryStep {
    /// Send these bytes to the server's address.
    Send([u8; PACKET]),
    /// Five requests had no answer within a second each: open a new connection.
    GiveUp,
}

impl Discovery {
    pub(crate) fn new(now: Instant, ssrc: u32) -> Self {
        Self {
            ssrc,
            sent: 0,
            next: Some(now),
        }
    }

    /// When to call [`Discovery::handle_timeout`]. `None` after an answer and
    /// after giving up.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// The next request, where one is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Option<DiscoveryStep> {
        if self.next? > now {
            return None;
        }
        if self.sent == TRIES {
            self.next = None;
            return Some(DiscoveryStep::GiveUp);
        }
        self.sent += 1;
        self.next = Some(now + RETRY);
        Some(DiscoveryStep::Send(request(self.ssrc)))
    }

    /// The external address, if this is the answer to our question. Everything
    /// else is ignored: other datagrams, another SSRC, an address that is none.
    pub(crate) fn handle_datagram(&mut self, datagram: &[u8]) -> Option<SocketAddr> {
        self.next?;
        let address = parse_response(datagram, self.ssrc)?;
        self.next = None;
        Some(address)
    }
}

fn request(ssrc: u32) -> [u8; PACKET] {
    let mut packet = [0; PACKET];
    let head = [REQUEST, BODY].into_iter().flatten();
    for (to, from) in packet.iter_mut().zip(head.chain(ssrc.to_be_bytes())) {
        *to = from;
    }
    packet
}

fn parse_response(datagram: &[u8], ssrc: u32) -> Option<SocketAddr> {
    let packet: &[u8; PACKET] = datagram.try_into().ok()?;
    let (kind, rest) = packet.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (echo, rest) = rest.split_first_chunk::<4>()?;
    let (address, port) = rest.split_first_chunk::<ADDRESS>()?;
    if *kind != DISCOVERY_RESPONSE || *length != BODY || u32::from_be_bytes(*echo) != ssrc {
        return None;
    }
    let text = address.split(|byte| *byte == 0).next()?;
    let address: IpAddr = str::from_utf8(text).ok()?.parse().ok()?;
    Some(SocketAddr::new(
        address,
        u16::from_be_bytes(port.try_into().ok()?),
    ))
}
