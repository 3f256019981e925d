//! The simulator without I/O and without a clock.
//!
//! A [`World`] takes requests, frames and the time since its start, and gives answers, frames and the time at which
//! it wants to be woken. The order of calls is: change one thing ([`World::handle_rest`], [`World::gateway_open`],
//! [`World::gateway_message`], [`World::gateway_closed`], [`World::handle_timeout`], or an action of a test), then take
//! all output of the connections that [`World::take_ready`] names with [`World::poll_output`], then wait until
//! [`World::poll_timeout`].
//!
//! Time never runs backwards: a smaller `now` than before counts as the greatest seen.

mod actions;
mod audit;
mod away;
mod channel_actions;
mod dispatch;
mod fault_actions;
mod gateway;
mod model;
mod people;
mod rest;
#[cfg(feature = "voice")]
mod rtc;
mod stats;
mod visibility;
mod voice;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use actions::Bot;
pub use away::WhileAway;
pub use gateway::{ConnectionId, Output};
pub use model::{ChannelKind, ChannelView, MessageView, VoiceStateView};
pub use rest::{Pace, Request, Response};
#[cfg(feature = "voice")]
pub use rtc::{
    CallFault, CallView, CloseOrder, Datagram, HeardFrame, HeardSummary, LinkId, MediaCounts,
    MediaFaults, SecondIdentify, Speech, SpeechError, Stereo, VoiceClientView, VoiceFault,
    VoiceServerId, VoiceServerView, VoiceSettings, decode, tone_share,
};
pub use stats::Stats;

use crate::clock::wall_clock_ms;
use crate::ids::{ChannelId, GuildId, SnowflakeMaker, UserId};
use crate::journal::{EntryKind, Journal, Log};
use crate::rest_faults::RestFault;
use crate::settings::{RateLimit, Settings};
use gateway::{Connection, Entrance, Session, SessionKey};
use model::{BotAccount, Guild, Token, User};
use rest::Limits;

/// A simulated Discord: guilds, people, bots, sessions, limits and a journal.
#[derive(Debug)]
pub struct World {
    pub(crate) settings: Settings,
    start_ms: u64,
    now: Duration,
    rng: fastrand::Rng,
    ids: SnowflakeMaker,
    users: BTreeMap<UserId, User>,
    guilds: BTreeMap<GuildId, Guild>,
    channel_guilds: BTreeMap<ChannelId, GuildId>,
    bots: BTreeMap<UserId, BotAccount>,
    tokens: BTreeMap<Token, UserId>,
    sessions: BTreeMap<SessionKey, Session>,
    connections: BTreeMap<ConnectionId, Connection>,
    /// Connections with something to send.
    ready: BTreeSet<ConnectionId>,
    next_session: u64,
    next_connection: u64,
    /// The earliest expiry of a session without a connection.
    next_expiry: Option<Duration>,
    /// When the next guild that was unavailable at a session's start comes.
    next_late: Option<Duration>,
    limits: Limits,
    rest_faults: Vec<RestFault>,
    away: BTreeMap<UserId, Vec<WhileAway>>,
    /// Limits that a test set in the place of others; `None` where there was none.
    replaced_limits: BTreeMap<String, Option<RateLimit>>,
    stats: Stats,
    entrance: Entrance,
    log: Log,
    #[cfg(feature = "voice")]
    rtc: rtc::Rtc,
}

impl World {
    /// An empty Discord. The same seed and start time, and the same calls, give the same run.
    #[must_use]
    pub fn new(settings: Settings, seed: Option<u64>) -> Self {
        let start_ms = settings.start_unix_ms.unwrap_or_else(wall_clock_ms);
        Self {
            start_ms,
            now: Duration::ZERO,
            rng: seed.map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed),
            ids: SnowflakeMaker::new(),
            users: BTreeMap::new(),
            guilds: BTreeMap::new(),
            channel_guilds: BTreeMap::new(),
            bots: BTreeMap::new(),
            tokens: BTreeMap::new(),
            sessions: BTreeMap::new(),
            connections: BTreeMap::new(),
            ready: BTreeSet::new(),
            next_session: 0,
            next_connection: 0,
            next_expiry: None,
            next_late: None,
            limits: Limits::default(),
            rest_faults: Vec::new(),
            away: BTreeMap::new(),
            replaced_limits: BTreeMap::new(),
            stats: Stats::default(),
            entrance: Entrance::default(),
            log: Log::new(settings.journal_limit),
            #[cfg(feature = "voice")]
            rtc: rtc::Rtc::new(seed, settings.voice.datagram_limit),
            settings,
        }
    }

    /// The settings, which may be changed at any time. Sessions and windows that are open keep what they began with.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Time since the start, as last told.
    #[must_use]
    pub const fn now(&self) -> Duration {
        self.now
    }

    /// Wall time, Unix milliseconds: start + [`now`](Self::now).
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        self.start_ms
            .saturating_add(u64::try_from(self.now.as_millis()).unwrap_or(u64::MAX))
    }

    /// A copy of the journal, from entry number `first` on (0 and 1: all that is kept).
    #[must_use]
    pub fn journal_since(&self, first: u64) -> Journal {
        self.log.since(first)
    }

    /// Tells the world what time it is, without any other input. Sessions whose resume window is over end.
    pub fn advance(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if self.next_expiry.is_some_and(|at| at <= self.now) {
            self.expire_sessions();
        }
        if self.next_late.is_some_and(|at| at <= self.now) {
            self.release_late_guilds();
        }
    }

    fn log(&mut self, what: EntryKind) {
        self.stats.count(&what);
        self.log.push(self.now, self.start_ms, what);
    }

    fn acted(&mut self, user: Option<UserId>, what: impl Into<String>) {
        self.log(EntryKind::Acted {
            user,
            what: what.into(),
        });
    }

    fn complain(&mut self, who: impl Into<String>, what: impl Into<String>) {
        self.log(EntryKind::Complaint {
            who: who.into(),
            what: what.into(),
        });
    }

    fn snowflake(&mut self) -> u64 {
        let ms = self.unix_ms();
        self.ids.next(ms)
    }

    /// 32 hexadecimal digits, the shape of session ids.
    fn hex_id(&mut self) -> String {
        format!("{:016x}{:016x}", self.rng.u64(..), self.rng.u64(..))
    }

    /// A token of Discord's shape: the user id in base64, a part that stands for the time, a random part.
    fn make_token(&mut self, user: UserId) -> Token {
        use base64::Engine as _;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
        let id = BASE64.encode(user.to_string());
        let time = BASE64.encode(self.rng.u32(..).to_be_bytes());
        let random: Vec<u8> = std::iter::repeat_with(|| self.rng.u8(..))
            .take(28)
            .collect();
        Token(format!("{id}.{time}.{}", BASE64.encode(random)))
    }
}
