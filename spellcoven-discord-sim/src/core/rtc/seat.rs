//! A seat: one user's place in a voice channel, from the token on. It outlives connections.

use std::time::Duration;

use serde_json::Value;

use super::super::World;
use super::super::model::{ChannelKind, Token};
use super::VoiceServerId;
use super::link::{Closing, LinkId};
use super::media::Media;
use super::replay::{Body, Replay};
use super::settings::CloseOrder;
use crate::core::voice::Gaps;
use crate::ids::{ChannelId, GuildId, UserId};

/// A user has at most one seat in a guild.
pub(super) type SeatKey = (GuildId, UserId);

#[derive(Debug)]
pub(super) struct Seat {
    pub(super) channel: ChannelId,
    pub(super) server: VoiceServerId,
    /// Of the main Gateway.
    pub(super) session: String,
    pub(super) token: Token,
    /// Identified, and neither ended nor expired: what a Resume finds.
    pub(super) alive: bool,
    pub(super) link: Option<LinkId>,
    pub(super) detached_at: Duration,
    /// The newest DAVE version that the client can.
    pub(super) dave: u16,
    /// Whether op 1 was answered, so that the user is in the call's group.
    pub(super) joined: bool,
    pub(super) replay: Replay,
    /// The last op 5, as it is told to others.
    pub(super) speaking: Option<u64>,
    /// The last op 12, as it is told to others.
    pub(super) video: Option<Value>,
    pub(super) media: Media,
}

/// How a seat comes to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Eviction {
    pub(super) code: u16,
    pub(super) reason: &'static str,
    /// How much later the close comes.
    pub(super) gap: Duration,
}

impl World {
    /// Gives a user a seat in a channel, with a new token; the one they had in this guild ends first. The token and the
    /// endpoint for VOICE_SERVER_UPDATE.
    pub(in crate::core) fn seat(
        &mut self,
        user: UserId,
        guild: GuildId,
        channel: ChannelId,
        session: &str,
        gap: Duration,
    ) -> (String, Option<String>) {
        let code = self.settings.voice.move_code;
        let eviction = Eviction {
            code,
            reason: "Disconnected.",
            gap,
        };
        self.unseat(user, guild, eviction);
        let server = self.server_of_channel(channel);
        let token = Token(self.rtc.hex());
        let seat = Seat {
            channel,
            server,
            session: session.to_owned(),
            token: token.clone(),
            alive: false,
            link: None,
            detached_at: self.now,
            dave: 0,
            joined: false,
            replay: Replay::new(self.settings.voice.first_seq),
            speaking: None,
            video: None,
            media: Media::default(),
        };
        self.rtc.seats.insert((guild, user), seat);
        self.rtc.tokens.insert(token.clone(), (guild, user));
        let away = self.rtc.away.contains(&channel);
        let endpoint = self.rtc.servers.get(&server).filter(|_| !away);
        let endpoint = endpoint.and_then(|server| self.endpoint_of(server));
        (token.0, endpoint)
    }

    /// Takes a user's seat in a guild away: the others are told, the connection is closed.
    pub(super) fn unseat(&mut self, user: UserId, guild: GuildId, eviction: Eviction) {
        let key = (guild, user);
        let link = self.rtc.seats.get(&key).and_then(|seat| seat.link);
        self.end_voice_session(key);
        if let Some(seat) = self.rtc.seats.remove(&key) {
            self.rtc.tokens.remove(&seat.token);
        }
        let Some(id) = link else {
            return;
        };
        if let Some(link) = self.rtc.links.get_mut(&id) {
            link.seat = None;
        }
        if eviction.gap.is_zero() {
            self.close_link(id, eviction.code, eviction.reason);
        } else if let Some(link) = self.rtc.links.get_mut(&id) {
            let at = self.now.saturating_add(eviction.gap);
            link.close_at = Some(Closing {
                at,
                code: eviction.code,
                reason: eviction.reason,
            });
            self.rtc.wake_at(at);
        }
    }

    /// The user is out of voice.
    pub(in crate::core) fn leave_seat(&mut self, user: UserId, guild: GuildId, gap: Duration) {
        let eviction = Eviction {
            code: self.settings.voice.leave_code,
            reason: "Disconnected.",
            gap,
        };
        self.unseat(user, guild, eviction);
        self.settle_voice();
    }

    /// One is about to lose their seat: with [`CloseOrder::CloseFirst`] the connection is closed here, and the events that
    /// follow are delayed.
    pub(in crate::core) fn order_of_close(&mut self, user: UserId, guild: GuildId) -> Gaps {
        let gap = self.settings.voice.close_gap;
        if self.settings.voice.close_order == CloseOrder::EventsFirst {
            return Gaps {
                close: gap,
                usual_delay: None,
            };
        }
        let link = self
            .rtc
            .seats
            .get(&(guild, user))
            .and_then(|seat| seat.link);
        let Some(link) = link else {
            return Gaps::default();
        };
        self.close_link(link, self.settings.voice.move_code, "Disconnected.");
        let usual = self.settings.event_delay;
        self.settings.event_delay = usual.saturating_add(gap);
        Gaps {
            close: Duration::ZERO,
            usual_delay: Some(usual),
        }
    }

    /// Everyone in a channel loses their seat: it is deleted.
    pub(in crate::core) fn end_call(&mut self, guild: GuildId, channel: ChannelId, code: u16) {
        let users: Vec<UserId> = self
            .seated(channel)
            .into_iter()
            .map(|(_, user)| user)
            .collect();
        let eviction = Eviction {
            code,
            reason: "Call terminated.",
            gap: Duration::ZERO,
        };
        for user in users {
            self.unseat(user, guild, eviction);
        }
    }

    /// Those with a seat in a channel.
    pub(super) fn seated(&self, channel: ChannelId) -> Vec<SeatKey> {
        let seats = self.rtc.seats.iter();
        seats
            .filter(|(_, seat)| seat.channel == channel)
            .map(|(key, _)| *key)
            .collect()
    }

    /// The link of a seat is gone; the session waits to be resumed.
    pub(super) fn detach_seat(&mut self, key: SeatKey) {
        let now = self.now;
        let Some(seat) = self.rtc.seats.get_mut(&key) else {
            return;
        };
        seat.link = None;
        seat.detached_at = now;
        let expiry = now.saturating_add(self.settings.voice.resume_window);
        self.rtc.wake_at(expiry);
    }

    /// A voice session is over: the user is no longer in the call. The seat stays, for another Identify.
    pub(super) fn end_voice_session(&mut self, key: SeatKey) {
        let first = self.settings.voice.first_seq;
        let Some(seat) = self.rtc.seats.get_mut(&key) else {
            return;
        };
        if !std::mem::take(&mut seat.alive) {
            return;
        }
        let channel = seat.channel;
        let joined = std::mem::take(&mut seat.joined);
        // The link, if there is one still, is closed by whoever ends the session.
        seat.link = None;
        seat.replay = Replay::new(first);
        seat.speaking = None;
        seat.video = None;
        let media = std::mem::take(&mut seat.media);
        self.rtc.forget_ssrc(media.ssrc);
        self.leave_call(key, channel, joined);
    }

    pub(super) fn time_out_seats(&mut self) {
        let now = self.now;
        let window = self.settings.voice.resume_window;
        let waiting = |seat: &Seat| seat.alive && seat.link.is_none();
        let over: Vec<SeatKey> = self
            .rtc
            .seats
            .iter()
            .filter(|(_, seat)| waiting(seat) && seat.detached_at.saturating_add(window) <= now)
            .map(|(key, _)| *key)
            .collect();
        for key in over {
            self.acted(Some(key.1), "voice session not resumed in time");
            self.end_voice_session(key);
        }
        let next = self.rtc.seats.values().filter(|seat| waiting(seat));
        if let Some(next) = next
            .map(|seat| seat.detached_at.saturating_add(window))
            .min()
        {
            self.rtc.wake_at(next);
        }
    }

    /// A text message that is numbered.
    pub(super) fn send_seat(&mut self, key: SeatKey, op: u8, d: &Value) {
        self.send_body(key, op, Body::Json(d.to_string().into()));
    }

    /// A binary message; all of them are numbered.
    pub(super) fn send_seat_binary(&mut self, key: SeatKey, op: u8, payload: &[u8]) {
        self.send_body(key, op, Body::Binary(payload.into()));
    }

    fn send_body(&mut self, key: SeatKey, op: u8, body: Body) {
        let limit = self.settings.voice.resume_buffer;
        let Some(seat) = self.rtc.seats.get_mut(&key).filter(|seat| seat.alive) else {
            return;
        };
        let message = seat.replay.push(op, body, limit);
        if let Some(link) = seat.link {
            self.send_numbered(link, &message);
        }
    }

    pub(super) fn is_stage(&self, guild: GuildId, channel: ChannelId) -> bool {
        self.guilds
            .get(&guild)
            .and_then(|guild| guild.channels.get(&channel))
            .is_some_and(|channel| channel.kind == ChannelKind::Stage)
    }
}
