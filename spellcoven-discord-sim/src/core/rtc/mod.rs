//! Voice servers: the voice gateway's side of a WebSocket, and the unit that forwards media (SFU).
//!
//! The order of calls is that of the whole [`World`]: one input ([`World::voice_open`], [`World::voice_text`],
//! [`World::voice_binary`], [`World::voice_closed`], [`World::voice_datagram`], or the time with
//! [`World::handle_timeout`]), then all output: [`World::take_ready_links`] and [`World::poll_link_output`] for the
//! WebSockets, [`World::poll_datagram`] for UDP.

mod dave;
mod link;
mod people;
mod server;
mod settings;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::World;

pub(super) use link::Link;
pub use link::LinkId;
pub(super) use server::VoiceServer;
pub use server::{VoiceServerId, VoiceServerView};
pub use settings::{CloseOrder, SecondIdentify, VoiceSettings};

/// Buffers that are kept to be used again.
const POOL: usize = 256;

/// A datagram that a voice server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The server that sends it.
    pub server: VoiceServerId,
    /// Its address.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

/// All that the voice servers hold.
#[derive(Debug)]
pub(super) struct Rtc {
    servers: BTreeMap<VoiceServerId, VoiceServer>,
    links: BTreeMap<LinkId, Link>,
    next_link: u64,
    /// Links with something to send.
    ready: BTreeSet<LinkId>,
    /// Datagrams to send now.
    out: VecDeque<Datagram>,
    /// Buffers to be used again.
    pool: Vec<Vec<u8>>,
    /// A time at which there may be something to do; never later than the first thing that is due.
    wake: Option<Duration>,
}

impl Rtc {
    pub(super) fn new() -> Self {
        Self {
            servers: server::first(),
            links: BTreeMap::new(),
            next_link: 0,
            ready: BTreeSet::new(),
            out: VecDeque::new(),
            pool: Vec::new(),
            wake: None,
        }
    }

    /// Something is due at this time.
    fn wake_at(&mut self, at: Duration) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// Voice: what goes in and out.
impl World {
    /// A datagram arrived at a voice server. It is decrypted in place.
    pub fn voice_datagram(
        &mut self,
        now: Duration,
        server: VoiceServerId,
        from: SocketAddr,
        bytes: &mut [u8],
    ) {
        self.advance(now);
        let _ = (server, from, bytes);
    }

    /// The next datagram to send.
    pub fn poll_datagram(&mut self) -> Option<Datagram> {
        self.rtc.out.pop_front()
    }

    /// Gives back the bytes of a datagram that was sent, to be used again.
    pub fn recycle(&mut self, bytes: Vec<u8>) {
        if self.rtc.pool.len() < POOL {
            self.rtc.pool.push(bytes);
        }
    }

    /// When the voice servers want [`handle_timeout`](Self::handle_timeout) to be called; it may turn out that nothing
    /// was due.
    #[must_use]
    pub fn voice_timeout(&self) -> Option<Duration> {
        self.rtc.wake
    }

    pub(super) fn voice_handle_timeout(&mut self) {
        if self.rtc.wake.is_none_or(|wake| wake > self.now) {
            return;
        }
        self.rtc.wake = None;
        self.time_out_links();
    }
}
