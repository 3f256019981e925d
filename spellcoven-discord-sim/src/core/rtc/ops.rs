//! What an identified client says, opcode by opcode.

use ::core::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use super::super::World;
use super::cipher::{Cipher, Mode};
use super::link::LinkId;
use super::seat::SeatKey;
use crate::journal::EntryKind;

/// Why a message is not accepted: the close code, its reason, and what the journal says of it.
type Refusal = (u16, &'static str, &'static str);

const fn bad_request(what: &'static str) -> Refusal {
    (4020, "Bad request.", what)
}

impl World {
    pub(super) fn on_voice_op(&mut self, id: LinkId, op: u8, data: &Value) {
        match op {
            0 => return self.on_voice_identify(id, data),
            7 => return self.on_voice_resume(id, data),
            3 => return self.on_voice_heartbeat(id, data),
            _ => {}
        }
        let Some(key) = self.rtc.links.get(&id).and_then(|link| link.seat) else {
            self.voice_complaint(id, &format!("sent op {op} before it was identified"));
            self.close_link(id, 4003, "Not authenticated.");
            return;
        };
        let done = match op {
            1 => self.on_select_protocol(key, data),
            5 => self.on_speaking(key, data),
            12 => self.on_video(key, data),
            16 => {
                let version = json!({"voice": "0.9.1", "rtc_worker": "0.3.35"});
                self.send_link(id, 16, &version);
                Ok(())
            }
            23 | 31 => {
                self.on_dave_json(key, op, data);
                Ok(())
            }
            // Session update, wanted media, no route: nothing that a client could see follows.
            14 | 15 | 32 => Ok(()),
            _ => Err((4001, "Unknown opcode.", "is no op that a client may send")),
        };
        if let Err((code, reason, what)) = done {
            self.voice_complaint(id, &format!("op {op}: {what}"));
            self.close_link(id, code, reason);
        }
    }

    /// Op 3. From version 8 on `{t, seq_ack}`, answered with `{t}`; before it a bare number.
    fn on_voice_heartbeat(&mut self, id: LinkId, data: &Value) {
        let Some(link) = self.rtc.links.get(&id) else {
            return;
        };
        let whole = |value: Option<&Value>| value.filter(|t| t.is_u64() || t.is_i64()).cloned();
        // A bare number is taken in version 8, too (guessed).
        let (nonce, bare) = match data {
            Value::Object(fields) if link.version >= 8 => (whole(fields.get("t")), false),
            other => (whole(Some(other)), true),
        };
        let Some(nonce) = nonce else {
            self.voice_complaint(id, "sent a heartbeat whose number is none");
            self.close_link(id, 4020, "Bad request.");
            return;
        };
        let seat = link.seat;
        let interval = self.settings.voice.heartbeat_interval;
        let due = self.now.saturating_add(interval.saturating_mul(3));
        if let Some(link) = self.rtc.links.get_mut(&id) {
            link.heartbeat_due = due;
        }
        self.rtc.wake_at(due);
        let muted = seat.is_some_and(|(_, user)| {
            let until = self.rtc.acks_muted.get(&user);
            until.is_some_and(|until| *until > self.now)
        });
        let ack = data.get("seq_ack").and_then(Value::as_u64);
        let ack = ack.and_then(|ack| u16::try_from(ack).ok());
        if self.settings.journal_heartbeats {
            self.log(EntryKind::VoiceHeartbeat {
                connection: id.0,
                seq: ack,
                acked: !muted,
            });
        }
        if let Some(ack) = ack.filter(|_| self.settings.voice.trim_on_ack)
            && let Some(seat) = seat.and_then(|key| self.rtc.seats.get_mut(&key))
        {
            seat.replay.acknowledge(ack);
        }
        if !muted {
            let d = if bare { nonce } else { json!({ "t": nonce }) };
            self.send_link(id, 6, &d);
        }
    }

    /// Op 1, answered with op 4; then the user is in the call's group.
    fn on_select_protocol(&mut self, key: SeatKey, data: &Value) -> Result<(), Refusal> {
        let protocol = data.get("protocol").and_then(Value::as_str);
        match protocol {
            Some("udp") => {}
            Some(_) => return Err((4012, "Unknown protocol.", "is of an unknown protocol")),
            None => return Err(bad_request("lacks the protocol")),
        }
        let fields = data
            .get("data")
            .and_then(Value::as_object)
            .ok_or(bad_request("lacks the data"))?;
        let name = fields
            .get("mode")
            .and_then(Value::as_str)
            .ok_or(bad_request("lacks the mode"))?;
        let mode = self.settings.voice.modes().find(|mode| mode.name() == name);
        let mode = mode.ok_or((
            4016,
            "Unknown encryption mode.",
            "names a mode that was not offered",
        ))?;
        let port = fields.get("port").and_then(Value::as_u64);
        let port = port
            .and_then(|port| u16::try_from(port).ok())
            .ok_or(bad_request("lacks the port"))?;
        let address = fields.get("address").and_then(Value::as_str);
        let address = address.ok_or(bad_request("lacks the address"))?;
        let told = address.parse::<IpAddr>().ok().filter(|_| port != 0);
        let told = told.map(|ip| SocketAddr::new(ip, port));
        self.describe_session(key, mode, told);
        Ok(())
    }

    fn describe_session(&mut self, key: SeatKey, mode: Mode, told: Option<SocketAddr>) {
        let secret = self.rtc.secret();
        let nonce = self.rtc.rng.u32(..);
        let media_session = self.rtc.hex();
        let Some(seat) = self.rtc.seats.get_mut(&key) else {
            return;
        };
        // A second op 1 keeps the key, as long as the mode stays: its counter goes on.
        if seat.media.cipher.as_ref().is_none_or(|c| c.mode() != mode) {
            seat.media.cipher = Some(Cipher::new(mode, &secret));
            seat.media.secret = secret;
            seat.media.counter = nonce;
        }
        seat.media.told = told;
        let (secret, channel, dave) = (seat.media.secret.clone(), seat.channel, seat.dave);
        let (again, version) = (seat.joined, self.dave_version_of(channel, dave));
        let d = json!({
            "mode": mode.name(), "secret_key": secret.bytes(), "audio_codec": "opus", "video_codec": "H264",
            "media_session_id": media_session, "keyframe_interval": null, "dave_protocol_version": version,
        });
        self.send_seat(key, 4, &d);
        if !again {
            self.join_group(key, channel, dave);
        }
    }

    /// Op 5: told to the others, with the user.
    fn on_speaking(&mut self, key: SeatKey, data: &Value) -> Result<(), Refusal> {
        let bits = data
            .get("speaking")
            .and_then(|bits| bits.as_u64().or_else(|| bits.as_bool().map(u64::from)))
            .ok_or(bad_request("lacks speaking"))?;
        let ssrc = data.get("ssrc").and_then(Value::as_u64);
        let Some(seat) = self.rtc.seats.get_mut(&key) else {
            return Ok(());
        };
        // Some leave the SSRC out; another's is refused (the code is guessed).
        if ssrc.is_some_and(|ssrc| ssrc != u64::from(seat.media.ssrc)) {
            return Err(bad_request("names an SSRC that is not its own"));
        }
        seat.speaking = Some(bits);
        let channel = seat.channel;
        let d = json!({"speaking": bits, "ssrc": seat.media.ssrc, "user_id": key.1});
        self.tell_others(key, channel, 5, &d);
        Ok(())
    }

    /// Op 12: told to the others as it came, with the user.
    fn on_video(&mut self, key: SeatKey, data: &Value) -> Result<(), Refusal> {
        let mut d = data.clone();
        let fields = d.as_object_mut().ok_or(bad_request("is no object"))?;
        fields.insert("user_id".to_owned(), json!(key.1));
        let Some(seat) = self.rtc.seats.get_mut(&key) else {
            return Ok(());
        };
        seat.video = Some(d.clone());
        let channel = seat.channel;
        self.tell_others(key, channel, 12, &d);
        Ok(())
    }
}
