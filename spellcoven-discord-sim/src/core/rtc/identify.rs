//! Op 0 and op 7: who may speak on a voice WebSocket.
//!
//! See: Discord documentation, Topics, Voice Connections, "Establishing a Voice Websocket Connection", "Resuming".

use serde_json::{Map, Value, json};

use super::super::World;
use super::link::LinkId;
use super::media::Media;
use super::replay::Replay;
use super::seat::SeatKey;
use super::settings::SecondIdentify;
use crate::core::model::Token;
use crate::ids::{ChannelId, GuildId, UserId};
use crate::journal::EntryKind;

/// A snowflake as text or as a number.
fn snowflake(fields: &Map<String, Value>, name: &str) -> Option<u64> {
    match fields.get(name)? {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    }
}

fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields.get(name).and_then(Value::as_str)
}

/// What a Resume says.
struct Resume {
    guild: GuildId,
    session: String,
    token: Token,
    /// `None`: nothing was received yet (-1, or no number at all).
    seq: Option<u16>,
}

impl Resume {
    /// `None` for one that lacks a field.
    fn read(data: &Value, version: u8) -> Option<Self> {
        let fields = data.as_object()?;
        let seq = match fields.get("seq_ack") {
            None | Some(Value::Null) => None,
            Some(value) => Some(value.as_i64()?),
        };
        if version >= 9 && !fields.contains_key("channel_id") {
            return None;
        }
        Some(Self {
            guild: GuildId(snowflake(fields, "server_id")?),
            session: text(fields, "session_id")?.to_owned(),
            token: Token(text(fields, "token")?.to_owned()),
            seq: seq.and_then(|seq| u16::try_from(seq).ok()),
        })
    }
}

/// Why an Identify is refused: the close code and its reason.
type Refusal = (u16, &'static str);

impl World {
    pub(super) fn on_voice_identify(&mut self, id: LinkId, data: &Value) {
        if self
            .rtc
            .links
            .get(&id)
            .is_some_and(|link| link.seat.is_some())
        {
            self.voice_complaint(id, "identified twice");
            self.close_link(id, 4005, "Already authenticated.");
            return;
        }
        match self.check_identify(id, data) {
            Ok((key, dave)) => self.begin_voice_session(id, key, dave),
            Err((code, reason)) => {
                self.voice_complaint(id, &format!("identify refused with {code}: {reason}"));
                self.close_link(id, code, reason);
            }
        }
    }

    fn check_identify(&mut self, id: LinkId, data: &Value) -> Result<(SeatKey, u16), Refusal> {
        const MALFORMED: Refusal = (4002, "Failed to decode payload.");
        let fields = data.as_object().ok_or(MALFORMED)?;
        let server_id = snowflake(fields, "server_id").ok_or(MALFORMED)?;
        let user = snowflake(fields, "user_id").ok_or(MALFORMED)?;
        let session = text(fields, "session_id").ok_or(MALFORMED)?;
        let token = text(fields, "token").ok_or(MALFORMED)?;
        let channel = snowflake(fields, "channel_id");
        let dave = fields.get("max_dave_protocol_version");
        let dave = match dave {
            None | Some(Value::Null) => 0,
            Some(other) => {
                let version = other.as_u64().ok_or(MALFORMED)?;
                u16::try_from(version).unwrap_or(u16::MAX)
            }
        };
        let link = self.rtc.links.get(&id).ok_or(MALFORMED)?;
        let (version, server) = (link.version, link.server);
        if version >= 9 && channel.is_none() {
            return Err(MALFORMED);
        }
        if !self.guilds.contains_key(&GuildId(server_id)) {
            return Err((4011, "Server not found."));
        }
        let token = Token(token.to_owned());
        let key = *self
            .rtc
            .tokens
            .get(&token)
            .ok_or((4004, "Authentication failed."))?;
        let seat = self
            .rtc
            .seats
            .get(&key)
            .ok_or((4006, "Session is no longer valid."))?;
        if key.1 != UserId(user) {
            return Err((4004, "Authentication failed."));
        }
        if key.0 != GuildId(server_id) {
            return Err((4011, "Server not found."));
        }
        if seat.session != session || seat.server != server {
            return Err((4006, "Session is no longer valid."));
        }
        if channel.is_some_and(|channel| seat.channel != ChannelId(channel)) {
            return Err((4006, "Session is no longer valid."));
        }
        if seat.alive && self.settings.voice.second_identify == SecondIdentify::Refuse {
            return Err((4006, "Session is no longer valid."));
        }
        let stage = self.is_stage(key.0, seat.channel);
        let voice = &self.settings.voice;
        if dave == 0 && voice.require_dave && voice.dave_version > 0 && !stage {
            return Err((4017, "E2EE/DAVE protocol required"));
        }
        Ok((key, dave))
    }

    fn begin_voice_session(&mut self, id: LinkId, key: SeatKey, dave: u16) {
        if let Some(old) = self.rtc.seats.get(&key).and_then(|seat| seat.link) {
            self.close_link(old, 4006, "Session is no longer valid.");
        }
        self.end_voice_session(key);
        let ssrc = self.rtc.new_ssrc(key);
        let first = self.settings.voice.first_seq;
        let Some(seat) = self.rtc.seats.get_mut(&key) else {
            return;
        };
        seat.alive = true;
        seat.link = Some(id);
        seat.dave = dave;
        seat.joined = false;
        seat.replay = Replay::new(first);
        seat.media = Media::new(ssrc);
        let (channel, server) = (seat.channel, seat.server);
        if let Some(link) = self.rtc.links.get_mut(&id) {
            link.seat = Some(key);
        }
        self.log(EntryKind::VoiceIdentified {
            connection: id.0,
            user: key.1,
            channel,
            ssrc,
            dave,
        });
        let Some(udp) = self.rtc.servers.get(&server).map(|server| server.udp) else {
            return;
        };
        let modes: Vec<&str> = self
            .settings
            .voice
            .modes()
            .map(|mode| mode.name())
            .collect();
        let ready = json!({
            "ssrc": ssrc, "ip": udp.ip().to_string(), "port": udp.port(), "modes": modes,
            "experiments": ["fixed_keyframe_interval"],
            // Seen by bots that offered no streams (observed).
            "streams": [{
                "type": "video", "ssrc": ssrc + 1, "rtx_ssrc": ssrc + 2, "rid": "", "quality": 0, "active": false,
            }],
        });
        self.send_link(id, 2, &ready);
        self.enter_call(key, channel);
    }

    pub(super) fn on_voice_resume(&mut self, id: LinkId, data: &Value) {
        if self
            .rtc
            .links
            .get(&id)
            .is_some_and(|link| link.seat.is_some())
        {
            self.voice_complaint(id, "resumed on an identified connection");
            self.close_link(id, 4005, "Already authenticated.");
            return;
        }
        let version = self.rtc.links.get(&id).map_or(0, |link| link.version);
        let Some(wanted) = Resume::read(data, version) else {
            self.voice_complaint(id, "sent a resume that lacks a field");
            self.close_link(id, 4002, "Failed to decode payload.");
            return;
        };
        let key = self.resumed_seat(id, &wanted);
        let missed = key.and_then(|key| {
            // Before version 8 nothing was sent again.
            if version < 8 {
                return Some((key, Vec::new()));
            }
            let replay = &self.rtc.seats.get(&key)?.replay;
            Some((key, replay.after(wanted.seq)?))
        });
        let Some((key, missed)) = missed else {
            if let Some(left) = self
                .rtc
                .tokens
                .get(&wanted.token)
                .and_then(|key| self.rtc.refuse_resumes.get_mut(&key.1))
            {
                *left = left.saturating_sub(1);
            }
            if let Some(key) = key {
                // The buffer no longer reaches back: the session is lost to the client.
                self.end_voice_session(key);
            }
            self.close_link(id, 4006, "Session is no longer valid.");
            return;
        };
        self.take_over(id, key);
        self.log(EntryKind::VoiceResumed {
            connection: id.0,
            user: key.1,
            seq: wanted.seq,
            replayed: missed.len() as u64,
        });
        let first = self.settings.voice.replay_before_resumed;
        if !first {
            self.send_link(id, 9, &Value::Null);
        }
        for message in &missed {
            self.send_numbered(id, message);
        }
        if first {
            self.send_link(id, 9, &Value::Null);
        }
    }

    /// The session that a Resume means, if it can be resumed here.
    fn resumed_seat(&self, id: LinkId, wanted: &Resume) -> Option<SeatKey> {
        let key = *self.rtc.tokens.get(&wanted.token)?;
        let refused = self.rtc.refuse_resumes.get(&key.1);
        let server = self.rtc.links.get(&id)?.server;
        let seat = self.rtc.seats.get(&key)?;
        let good = seat.alive
            && key.0 == wanted.guild
            && seat.session == wanted.session
            && seat.server == server
            && refused.is_none_or(|left| *left == 0);
        good.then_some(key)
    }

    /// A link takes a session over from the one that had it.
    fn take_over(&mut self, id: LinkId, key: SeatKey) {
        let old = self.rtc.seats.get(&key).and_then(|seat| seat.link);
        if let Some(old) = old.filter(|old| *old != id) {
            if let Some(link) = self.rtc.links.get_mut(&old) {
                link.seat = None;
            }
            self.close_link(old, 4006, "Session is no longer valid.");
        }
        if let Some(seat) = self.rtc.seats.get_mut(&key) {
            seat.link = Some(id);
        }
        if let Some(link) = self.rtc.links.get_mut(&id) {
            link.seat = Some(key);
        }
    }
}
