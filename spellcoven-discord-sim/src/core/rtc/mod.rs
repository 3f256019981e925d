//! Voice servers: the voice gateway's side of a WebSocket, and the unit that forwards media (SFU).
//!
//! The order of calls is that of the whole [`World`]: one input ([`World::voice_open`], [`World::voice_text`],
//! [`World::voice_binary`], [`World::voice_closed`], [`World::voice_datagram`], or the time with
//! [`World::handle_timeout`]), then all output: [`World::take_ready_links`] and [`World::poll_link_output`] for the
//! WebSockets, [`World::poll_datagram`] for UDP.
//!
//! See: Discord documentation, Topics, Voice Connections; Opcodes and Status Codes, "Voice".

mod call;
mod cast;
mod cipher;
mod dave;
mod faults;
mod identify;
mod link;
mod media;
mod moves;
mod ops;
mod outbound;
mod packet;
mod people;
mod replay;
mod seat;
mod server;
mod settings;
mod sfu;

use ::core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::World;
use super::model::Token;
use crate::ids::{ChannelId, UserId};

pub use call::CallView;
pub use cast::VoiceClientView;
pub use faults::{CallFault, MediaFaults, VoiceFault};
pub use link::LinkId;
pub use media::MediaCounts;
pub use people::{HeardFrame, HeardSummary, Speech, SpeechError, Stereo, decode, tone_share};
pub use server::{VoiceServerId, VoiceServerView};
pub use settings::{CloseOrder, SecondIdentify, VoiceSettings};

use call::Call;
use cast::Actor;
use cipher::Secret;
use dave::ServerKeys;
use link::Link;
use seat::{Seat, SeatKey};
use server::VoiceServer;

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
    /// Channels whose calls are elsewhere than on the first server.
    placed: BTreeMap<ChannelId, VoiceServerId>,
    /// Channels whose server is gone.
    away: BTreeSet<ChannelId>,
    links: BTreeMap<LinkId, Link>,
    next_link: u64,
    /// Links with something to send.
    ready: BTreeSet<LinkId>,
    seats: BTreeMap<SeatKey, Seat>,
    tokens: BTreeMap<Token, SeatKey>,
    ssrcs: BTreeMap<u32, SeatKey>,
    next_ssrc: u32,
    calls: BTreeMap<ChannelId, Call>,
    /// People with voice clients.
    actors: BTreeMap<UserId, Actor>,
    addresses: BTreeMap<SocketAddr, UserId>,
    /// People for whom something came.
    cued: BTreeSet<UserId>,
    settling: bool,
    keys: Option<ServerKeys>,
    counts: BTreeMap<UserId, MediaCounts>,
    /// Datagrams that are nobody's, or found no room.
    strays: u64,
    /// Faults of DAVE for the next call.
    ordered: Vec<dave::DaveFault>,
    faults: MediaFaults,
    faults_of: BTreeMap<UserId, MediaFaults>,
    acks_muted: BTreeMap<UserId, Duration>,
    refuse_resumes: BTreeMap<UserId, u32>,
    /// Cuts that wait for their message.
    cuts: BTreeMap<UserId, faults::WaitingCut>,
    /// Datagrams to send now.
    out: VecDeque<Datagram>,
    /// Datagrams to send later, by time.
    later: BTreeMap<(Duration, u64), Datagram>,
    next_later: u64,
    datagram_limit: usize,
    /// Buffers to be used again.
    pool: Vec<Vec<u8>>,
    /// A time at which there may be something to do; never later than the first thing that is due.
    wake: Option<Duration>,
    /// Its own, so that voice changes nothing of what chance gives the rest.
    rng: fastrand::Rng,
}

impl Rtc {
    pub(super) fn new(seed: Option<u64>, datagram_limit: usize) -> Self {
        let mut rng = match seed {
            Some(seed) => fastrand::Rng::with_seed(seed ^ 0x0076_6F69_6365),
            None => fastrand::Rng::new(),
        };
        Self {
            servers: server::first(),
            placed: BTreeMap::new(),
            away: BTreeSet::new(),
            links: BTreeMap::new(),
            next_link: 0,
            ready: BTreeSet::new(),
            seats: BTreeMap::new(),
            tokens: BTreeMap::new(),
            ssrcs: BTreeMap::new(),
            next_ssrc: rng.u32(1_000..1_000_000),
            calls: BTreeMap::new(),
            actors: BTreeMap::new(),
            addresses: BTreeMap::new(),
            cued: BTreeSet::new(),
            settling: false,
            keys: None,
            counts: BTreeMap::new(),
            strays: 0,
            ordered: Vec::new(),
            faults: MediaFaults::default(),
            faults_of: BTreeMap::new(),
            acks_muted: BTreeMap::new(),
            refuse_resumes: BTreeMap::new(),
            cuts: BTreeMap::new(),
            out: VecDeque::new(),
            later: BTreeMap::new(),
            next_later: 0,
            datagram_limit,
            pool: Vec::new(),
            wake: None,
            rng,
        }
    }

    /// Something is due at this time.
    fn wake_at(&mut self, at: Duration) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    fn hex(&mut self) -> String {
        format!("{:016x}{:016x}", self.rng.u64(..), self.rng.u64(..))
    }

    /// A key for media, from the seed like all chance here: it guards nothing but a test's.
    fn secret(&mut self) -> Secret {
        let mut bytes = [0; 32];
        self.rng.fill(&mut bytes);
        Secret::new(bytes)
    }

    /// Three SSRCs in a row: audio, video, retransmissions. The first one.
    fn new_ssrc(&mut self, key: SeatKey) -> u32 {
        let ssrc = self.next_ssrc;
        // SSRC 0 and the server's own stay free after a wrap.
        self.next_ssrc = self
            .next_ssrc
            .checked_add(3)
            .filter(|next| *next < u32::MAX - 3)
            .unwrap_or(1_000);
        for ssrc in ssrc..ssrc + 3 {
            self.ssrcs.insert(ssrc, key);
        }
        ssrc
    }

    fn forget_ssrc(&mut self, ssrc: u32) {
        for ssrc in ssrc..ssrc.saturating_add(3) {
            self.ssrcs.remove(&ssrc);
        }
    }

    /// The external sender of every group; made when the first call begins.
    fn dave_keys(&mut self) -> &ServerKeys {
        self.keys.get_or_insert_with(ServerKeys::generate)
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
        self.on_datagram(server, from, bytes);
        self.settle_voice();
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
        self.rtc.wake.into_iter().chain(self.next_expiry).min()
    }

    pub(super) fn voice_handle_timeout(&mut self) {
        if self.rtc.wake.is_none_or(|wake| wake > self.now) {
            return;
        }
        self.rtc.wake = None;
        self.rtc.datagram_limit = self.settings.voice.datagram_limit;
        self.time_out_links();
        self.time_out_seats();
        self.time_out_groups();
        self.time_out_reports();
        self.rtc.release(self.now);
        self.time_out_people();
        self.settle_voice();
    }

    /// Media counts of everyone who ever was in a call.
    #[must_use]
    pub fn media(&self) -> BTreeMap<UserId, MediaCounts> {
        self.rtc.counts.clone()
    }
}
