//! What the client says.

use core::net::IpAddr;

use serde_json::{Value, json};
use twilight_model::id::{
    Id,
    marker::{ChannelMarker, GuildMarker, UserMarker},
};

use super::op;
use crate::signal::VoiceServerToken;

/// The version that this crate speaks. 8 brought the buffered resume; a version says nothing about the media.
///
/// Source: Discord documentation, "Voice Connections", Voice Gateway Versioning.
pub(crate) const VERSION: u8 = 8;

/// The version of DAVE that this crate speaks.
const MAX_DAVE_VERSION: u16 = 1;

/// Opus' payload type on Discord (Discord documentation, "Voice Connections").
const OPUS: u8 = 120;

/// What one VOICE_STATE_UPDATE and one VOICE_SERVER_UPDATE give: all that a voice server asks for.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) guild_id: Id<GuildMarker>,
    pub(crate) channel_id: Id<ChannelMarker>,
    pub(crate) user_id: Id<UserMarker>,
    pub(crate) session_id: String,
    pub(crate) token: VoiceServerToken,
    /// Host and port as VOICE_SERVER_UPDATE names them.
    pub(crate) endpoint: String,
}

impl Access {
    /// The URL to connect to. A trailing `:80`, which the documents' early examples had, is cut off: nothing speaks TLS
    /// there.
    pub(crate) fn url(&self) -> String {
        let endpoint = self.endpoint.strip_suffix(":80");
        let endpoint = endpoint.unwrap_or(&self.endpoint);
        format!("wss://{endpoint}/?v={VERSION}")
    }
}

pub(crate) fn message(op: u8, d: &Value) -> String {
    json!({"op": op, "d": d}).to_string()
}

/// `channel_id` is required from version 9 on, and harmless before (observed).
pub(crate) fn identify(access: &Access) -> String {
    let d = json!({
        "server_id": access.guild_id,
        "channel_id": access.channel_id,
        "user_id": access.user_id,
        "session_id": access.session_id,
        "token": access.token.expose(),
        "video": false,
        "max_dave_protocol_version": MAX_DAVE_VERSION,
    });
    message(op::IDENTIFY, &d)
}

pub(crate) fn resume(access: &Access, seq: Option<u64>) -> String {
    let d = json!({
        "server_id": access.guild_id,
        "channel_id": access.channel_id,
        "session_id": access.session_id,
        "token": access.token.expose(),
        "seq_ack": seq_ack(seq),
    });
    message(op::RESUME, &d)
}

/// `t` comes back with the ack.
pub(crate) fn heartbeat(t: u64, seq: Option<u64>) -> String {
    message(op::HEARTBEAT, &json!({"t": t, "seq_ack": seq_ack(seq)}))
}

pub(crate) fn select_protocol(address: IpAddr, port: u16, mode: &str) -> String {
    let d = json!({
        "protocol": "udp",
        "data": {"address": address, "port": port, "mode": mode},
        "codecs": [{"name": "opus", "type": "audio", "priority": 1000, "payload_type": OPUS}],
    });
    message(op::SELECT_PROTOCOL, &d)
}

pub(crate) fn speaking(ssrc: u32, speaking: u32) -> String {
    let d = json!({"speaking": speaking, "delay": 0, "ssrc": ssrc});
    message(op::SPEAKING, &d)
}

/// `-1` where nothing with a number has come yet.
fn seq_ack(seq: Option<u64>) -> Value {
    seq.map_or_else(|| json!(-1), |seq| json!(seq))
}
