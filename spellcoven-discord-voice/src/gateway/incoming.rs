//! What a voice server says.

use core::net::IpAddr;
use std::{fmt, time::Duration};

use serde_json::Value;

use super::op;

/// One message, as far as this crate uses it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Incoming {
    /// Op 8.
    Hello { interval: Duration },
    /// Op 2.
    Ready(Ready),
    /// Op 4.
    SessionDescription(SessionDescription),
    /// Op 3: it wants a heartbeat now.
    Heartbeat,
    /// Op 6, with the number of the heartbeat that it answers.
    HeartbeatAck { t: Option<u64> },
    /// Op 9.
    Resumed,
    /// Op 5 of someone else.
    Speaking {
        user_id: u64,
        ssrc: u32,
        speaking: u32,
    },
    /// Op 11.
    ClientsConnect { user_ids: Vec<u64> },
    /// Op 12: the other place where an SSRC of audio is named.
    Video { user_id: u64, audio_ssrc: u32 },
    /// Op 13.
    ClientDisconnect { user_id: u64 },
    /// Op 21, 22, 24.
    Dave { op: u8, d: Value },
    /// One that means nothing to this crate.
    Other { op: u64 },
}

/// Op 2. Its `heartbeat_interval` is an error of the server and is not read (Discord documentation, "Voice
/// Connections", Establishing a Voice WebSocket Connection).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) ssrc: u32,
    pub(crate) ip: IpAddr,
    pub(crate) port: u16,
    pub(crate) modes: Vec<String>,
}

/// Op 4.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SessionDescription {
    pub(crate) mode: String,
    pub(crate) secret_key: [u8; 32],
    /// 0 where the call is not end-to-end encrypted.
    pub(crate) dave_protocol_version: u16,
}

impl fmt::Debug for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionDescription")
            .field("mode", &self.mode)
            .field("dave_protocol_version", &self.dave_protocol_version)
            .finish_non_exhaustive()
    }
}

/// More modes, users or digits than any server sends; what is beyond is not read.
const LIST_LIMIT: usize = 20_000;

/// A text message: what it says, and its number if it has one.
///
/// `Err` names the message that cannot be read.
pub(crate) fn parse_text(text: &str) -> Result<(Incoming, Option<u64>), &'static str> {
    let mut message: Value = serde_json::from_str(text).map_err(|_| "a text message")?;
    let opcode = message.get("op").and_then(Value::as_u64);
    let opcode = opcode.ok_or("a message without an opcode")?;
    let seq = message.get("seq").and_then(Value::as_u64);
    let d = message.get_mut("d").map(Value::take).unwrap_or_default();
    let op = u8::try_from(opcode).unwrap_or(u8::MAX);
    let incoming = match op {
        op::HELLO => hello(&d).ok_or("op 8 (Hello)")?,
        op::READY => Incoming::Ready(ready(&d).ok_or("op 2 (Ready)")?),
        op::SESSION_DESCRIPTION => {
            let description = session_description(&d).ok_or("op 4 (Session Description)")?;
            Incoming::SessionDescription(description)
        }
        op::HEARTBEAT => Incoming::Heartbeat,
        op::HEARTBEAT_ACK => Incoming::HeartbeatAck {
            t: d.get("t").unwrap_or(&d).as_u64(),
        },
        op::RESUMED => Incoming::Resumed,
        op::SPEAKING => speaking(&d).ok_or("op 5 (Speaking)")?,
        op::CLIENTS_CONNECT => clients_connect(&d).ok_or("op 11 (Clients Connect)")?,
        op::VIDEO => video(&d).unwrap_or(Incoming::Other { op: opcode }),
        op::CLIENT_DISCONNECT => Incoming::ClientDisconnect {
            user_id: id(d.get("user_id")).ok_or("op 13 (Client Disconnect)")?,
        },
        op if op::DAVE_JSON.contains(&op) => Incoming::Dave { op, d },
        _ => Incoming::Other { op: opcode },
    };
    Ok((incoming, seq))
}

/// A binary message: its number, its opcode and its payload.
pub(crate) fn parse_binary(bytes: &[u8]) -> Result<(u16, u8, &[u8]), &'static str> {
    let (seq, rest) = bytes.split_first_chunk::<2>().ok_or("a binary message")?;
    let (op, payload) = rest.split_first().ok_or("a binary message")?;
    Ok((u16::from_be_bytes(*seq), *op, payload))
}

fn hello(d: &Value) -> Option<Incoming> {
    let ms = d.get("heartbeat_interval")?.as_f64()?;
    let interval = Duration::try_from_secs_f64(ms / 1000.0).ok()?;
    Some(Incoming::Hello { interval })
}

fn ready(d: &Value) -> Option<Ready> {
    let modes = d.get("modes")?.as_array()?.iter().take(LIST_LIMIT);
    Some(Ready {
        ssrc: number(d.get("ssrc"))?,
        ip: d.get("ip")?.as_str()?.parse().ok()?,
        port: number(d.get("port"))?,
        modes: modes
            .filter_map(|mode| mode.as_str().map(str::to_owned))
            .collect(),
    })
}

fn session_description(d: &Value) -> Option<SessionDescription> {
    let key = d.get("secret_key")?.as_array()?;
    let key: Option<Vec<u8>> = key.iter().map(|byte| number(Some(byte))).collect();
    Some(SessionDescription {
        mode: d.get("mode")?.as_str()?.to_owned(),
        secret_key: key?.try_into().ok()?,
        dave_protocol_version: number(d.get("dave_protocol_version")).unwrap_or(0),
    })
}

fn speaking(d: &Value) -> Option<Incoming> {
    let Some(user_id) = id(d.get("user_id")) else {
        // The server names no user where it answers our own.
        return Some(Incoming::Other {
            op: op::SPEAKING.into(),
        });
    };
    Some(Incoming::Speaking {
        user_id,
        ssrc: number(d.get("ssrc"))?,
        speaking: flags(d.get("speaking")),
    })
}

/// A bit field since v4, a truth value before.
fn flags(value: Option<&Value>) -> u32 {
    match value {
        Some(Value::Bool(speaking)) => u32::from(*speaking),
        other => number(other).unwrap_or(0),
    }
}

fn clients_connect(d: &Value) -> Option<Incoming> {
    let ids = d.get("user_ids")?.as_array()?.iter().take(LIST_LIMIT);
    Some(Incoming::ClientsConnect {
        user_ids: ids.filter_map(|value| id(Some(value))).collect(),
    })
}

fn video(d: &Value) -> Option<Incoming> {
    let audio_ssrc: u32 = number(d.get("audio_ssrc"))?;
    Some(Incoming::Video {
        user_id: id(d.get("user_id"))?,
        audio_ssrc,
    })
}

/// An id is a string of digits; a number is taken too. Zero is none.
fn id(value: Option<&Value>) -> Option<u64> {
    let id = match value? {
        Value::String(text) => text.parse().ok()?,
        other => other.as_u64()?,
    };
    (id != 0).then_some(id)
}

fn number<T: TryFrom<u64>>(value: Option<&Value>) -> Option<T> {
    T::try_from(value?.as_u64()?).ok()
}
