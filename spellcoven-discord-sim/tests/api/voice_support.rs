//! A scripted voice client: a WebSocket on a pipe, datagrams in memory, and transport encryption of its own.

use std::net::SocketAddr;
use std::time::Duration;

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::Message;
use async_tungstenite::tungstenite::protocol::CloseFrame;
use bytes::Bytes;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use futures_util::StreamExt;
use serde_json::{Value, json};
use spellcoven_discord_sim::{Bot, ChannelId, Sim, UserId, VoicePort};
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::support::{Client, INTENTS, Pipe, Scene};

pub(crate) const AES: &str = "aead_aes256_gcm_rtpsize";
pub(crate) const XCHACHA: &str = "aead_xchacha20_poly1305_rtpsize";

/// What VOICE_STATE_UPDATE and VOICE_SERVER_UPDATE tell of a join.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) server_id: Value,
    pub(crate) channel_id: Value,
    pub(crate) user_id: Value,
    pub(crate) session_id: Value,
    pub(crate) token: Value,
    pub(crate) endpoint: Value,
}

impl Ticket {
    pub(crate) fn identify(&self) -> Value {
        json!({
            "server_id": self.server_id, "user_id": self.user_id, "session_id": self.session_id,
            "token": self.token, "max_dave_protocol_version": 1,
        })
    }

    pub(crate) fn resume(&self, seq: i64) -> Value {
        json!({
            "server_id": self.server_id, "session_id": self.session_id, "token": self.token, "seq_ack": seq,
        })
    }
}

/// Op 4.
pub(crate) fn op4(scene: &Scene, channel: Option<ChannelId>) -> Value {
    json!({"guild_id": scene.guild, "channel_id": channel, "self_mute": false, "self_deaf": false})
}

/// Reads the two events of a join or a move.
pub(crate) async fn ticket(client: &mut Client) -> Ticket {
    let state = client.expect("VOICE_STATE_UPDATE").await;
    let server = client.expect("VOICE_SERVER_UPDATE").await;
    Ticket {
        server_id: server["guild_id"].clone(),
        channel_id: state["channel_id"].clone(),
        user_id: state["user_id"].clone(),
        session_id: state["session_id"].clone(),
        token: server["token"].clone(),
        endpoint: server["endpoint"].clone(),
    }
}

/// A bot's client on the main Gateway, of a bot of its own, without the others' voice states.
pub(crate) async fn another_bot(scene: &Scene, name: &str) -> (Bot, Client) {
    let bot = scene.sim.add_bot(name, scene.guild);
    let mut client = Client::connect(&scene.sim, "v=10&encoding=json").await;
    client.hello().await;
    client.identify(&bot.token, INTENTS).await;
    client.expect("READY").await;
    client.expect("GUILD_CREATE").await;
    (bot, client)
}

/// A client in the main Gateway that asked to join, and its ticket.
pub(crate) async fn join(scene: &Scene) -> (Client, Ticket) {
    let mut client = scene.ready().await;
    client.send(4, &op4(scene, Some(scene.lobby))).await;
    let ticket = ticket(&mut client).await;
    (client, ticket)
}

/// What a client reads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    Json(Value),
    /// The sequence number, from version 8 on; the opcode; the payload.
    Binary(Option<u16>, u8, Vec<u8>),
    Closed(u16),
    Dropped,
}

pub(crate) struct Voice {
    pub(crate) ws: WebSocketStream<Pipe>,
    version: u8,
    /// The last sequence number.
    pub(crate) seq: i64,
}

impl Voice {
    pub(crate) async fn open(sim: &Sim, host: &str, version: u8) -> Self {
        let (ours, theirs) = tokio::io::duplex(1 << 18);
        let serving = sim.clone();
        tokio::spawn(async move { serving.serve_voice_connection(theirs).await });
        let url = format!("ws://{host}/?v={version}");
        let (ws, _) = async_tungstenite::client_async(url, ours.compat())
            .await
            .unwrap();
        Self {
            ws,
            version,
            seq: -1,
        }
    }

    pub(crate) async fn read(&mut self) -> Heard {
        loop {
            match self.ws.next().await {
                Some(Ok(Message::Text(text))) => {
                    let value: Value = serde_json::from_str(&text).unwrap();
                    if let Some(seq) = value["seq"].as_i64() {
                        self.seq = seq;
                    }
                    return Heard::Json(value);
                }
                Some(Ok(Message::Binary(bytes))) => {
                    let (seq, rest) = if self.version >= 8 {
                        let (seq, rest) = bytes.split_first_chunk::<2>().unwrap();
                        (Some(u16::from_be_bytes(*seq)), rest)
                    } else {
                        (None, &bytes[..])
                    };
                    if let Some(seq) = seq {
                        self.seq = i64::from(seq);
                    }
                    return Heard::Binary(seq, rest[0], rest[1..].to_vec());
                }
                Some(Ok(Message::Close(frame))) => {
                    return Heard::Closed(frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Heard::Dropped,
            }
        }
    }

    pub(crate) async fn json(&mut self) -> Value {
        match self.read().await {
            Heard::Json(value) => value,
            other => panic!("no JSON but {other:?}"),
        }
    }

    /// The next message, of this opcode; its data.
    pub(crate) async fn expect(&mut self, op: u64) -> Value {
        let value = self.json().await;
        assert_eq!(value["op"], op, "{value}");
        value["d"].clone()
    }

    /// The next message of this opcode, whatever comes before it; its data.
    pub(crate) async fn until(&mut self, op: u64) -> Value {
        loop {
            match self.read().await {
                Heard::Json(value) if value["op"] == op => return value["d"].clone(),
                Heard::Json(_) | Heard::Binary(..) => {}
                other => panic!("no op {op} but {other:?}"),
            }
        }
    }

    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            match self.read().await {
                Heard::Closed(code) => return code,
                Heard::Dropped => panic!("dropped"),
                _ => {}
            }
        }
    }

    pub(crate) async fn silent(&mut self) {
        let read = tokio::time::timeout(Duration::from_millis(500), self.read()).await;
        assert!(read.is_err(), "not silent: {read:?}");
    }

    pub(crate) async fn send(&mut self, op: u64, d: &Value) {
        self.text(json!({"op": op, "d": d}).to_string()).await;
    }

    pub(crate) async fn text(&mut self, text: String) {
        self.ws.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn binary(&mut self, op: u8, payload: &[u8]) {
        let bytes: Vec<u8> = std::iter::once(op).chain(payload.iter().copied()).collect();
        self.ws
            .send(Message::Binary(Bytes::from(bytes)))
            .await
            .unwrap();
    }

    pub(crate) async fn close(&mut self, code: u16) {
        let frame = CloseFrame {
            code: code.into(),
            reason: "".into(),
        };
        self.ws.send(Message::Close(Some(frame))).await.unwrap();
        while !matches!(self.read().await, Heard::Dropped) {}
    }
}

/// A client that is in a call, with its media.
pub(crate) struct Caller {
    pub(crate) ws: Voice,
    pub(crate) ticket: Ticket,
    pub(crate) udp: VoicePort,
    pub(crate) to: SocketAddr,
    pub(crate) ssrc: u32,
    pub(crate) crypto: Crypto,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
}

impl Caller {
    /// Identified, discovered, selected; op 25 is the next message of a call with DAVE.
    pub(crate) async fn enter(sim: &Sim, ticket: Ticket, mode: &str) -> Self {
        let host = ticket.endpoint.as_str().unwrap().to_owned();
        let mut ws = Voice::open(sim, &host, 8).await;
        ws.expect(8).await;
        ws.send(0, &ticket.identify()).await;
        let ready = ws.expect(2).await;
        let udp = sim.voice_udp();
        let ip = ready["ip"].as_str().unwrap().parse().unwrap();
        let to = SocketAddr::new(ip, ready["port"].as_u64().unwrap() as u16);
        let ssrc = ready["ssrc"].as_u64().unwrap() as u32;
        udp.send(to, &discovery(ssrc));
        let (_, answer) = udp.recv().await;
        let (address, port) = discovered(&answer, ssrc);
        let select = json!({
            "protocol": "udp", "data": {"address": address, "port": port, "mode": mode},
        });
        ws.send(1, &select).await;
        let description = ws.until(4).await;
        assert_eq!(description["mode"], mode);
        let key: Vec<u8> = serde_json::from_value(description["secret_key"].clone()).unwrap();
        Self {
            ws,
            ticket,
            udp,
            to,
            ssrc,
            crypto: Crypto::new(mode, &key),
            sequence: 65_530,
            timestamp: 7,
        }
    }

    pub(crate) fn user(&self) -> UserId {
        serde_json::from_value(self.ticket.user_id.clone()).unwrap()
    }

    pub(crate) async fn speaking(&mut self) {
        let d = json!({"speaking": 1, "delay": 0, "ssrc": self.ssrc});
        self.ws.send(5, &d).await;
        // Heartbeats are answered in order, so that the op 5 before it was read, too.
        self.ws
            .send(3, &json!({"t": 5, "seq_ack": self.ws.seq}))
            .await;
        self.ws.until(6).await;
    }

    /// One packet.
    pub(crate) fn say(&mut self, payload: &[u8]) {
        let packet = self.packet(0x80, payload);
        let sealed = self.crypto.seal(&packet, 12);
        self.udp.send(self.to, &sealed);
    }

    /// A clear packet with the next sequence number.
    pub(crate) fn packet(&mut self, first: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![first, 120];
        packet.extend_from_slice(&self.sequence.to_be_bytes());
        packet.extend_from_slice(&self.timestamp.to_be_bytes());
        packet.extend_from_slice(&self.ssrc.to_be_bytes());
        packet.extend_from_slice(rest);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(960);
        packet
    }

    /// What came, opened: the clear packets.
    pub(crate) fn heard(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.udp.try_recv())
            .map(|(_, bytes)| self.crypto.open(&bytes).expect("a packet that opens"))
            .collect()
    }
}

pub(crate) fn discovery(ssrc: u32) -> [u8; 74] {
    let mut request = [0; 74];
    request[1] = 1;
    request[3] = 70;
    request[4..8].copy_from_slice(&ssrc.to_be_bytes());
    request
}

pub(crate) fn discovered(answer: &[u8], ssrc: u32) -> (String, u16) {
    assert_eq!(answer.len(), 74);
    assert_eq!(answer[..4], [0, 2, 0, 70]);
    assert_eq!(answer[4..8], ssrc.to_be_bytes());
    let end = answer[8..].iter().position(|byte| *byte == 0).unwrap();
    let address = String::from_utf8(answer[8..8 + end].to_vec()).unwrap();
    (address, u16::from_be_bytes([answer[72], answer[73]]))
}

/// The client's side of the two modes of today.
pub(crate) struct Crypto {
    key: Vec<u8>,
    aes: bool,
    pub(crate) counter: u32,
    /// Counters that the server used.
    seen: std::collections::BTreeSet<u32>,
}

impl Crypto {
    pub(crate) fn new(mode: &str, key: &[u8]) -> Self {
        Self {
            key: key.to_vec(),
            aes: mode == AES,
            counter: 0,
            seen: std::collections::BTreeSet::new(),
        }
    }

    /// Seals a packet of which the first `clear` bytes stay clear.
    pub(crate) fn seal(&mut self, packet: &[u8], clear: usize) -> Vec<u8> {
        let counter = self.counter;
        self.counter += 1;
        self.seal_with(packet, clear, counter)
    }

    pub(crate) fn seal_with(&self, packet: &[u8], clear: usize, counter: u32) -> Vec<u8> {
        let (head, body) = packet.split_at(clear);
        let tail = counter.to_be_bytes();
        let sealed = if self.aes {
            let mut bytes = body.to_vec();
            let nonce = ring::aead::Nonce::assume_unique_for_key(self.nonce(tail));
            self.ring()
                .seal_in_place_append_tag(nonce, ring::aead::Aad::from(head), &mut bytes)
                .unwrap();
            bytes
        } else {
            let payload = Payload {
                msg: body,
                aad: head,
            };
            self.chacha()
                .encrypt(&self.nonce::<24>(tail).into(), payload)
                .unwrap()
        };
        [head, &sealed, &tail].concat()
    }

    /// Opens RTP or RTCP. A counter that the server used twice is its error.
    pub(crate) fn open(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let (sealed, tail) = packet.split_last_chunk::<4>()?;
        let clear = if (192..224).contains(&sealed[1]) {
            8
        } else {
            12 + usize::from(sealed[0] & 15) * 4 + usize::from(sealed[0] >> 4 & 1) * 4
        };
        let (head, body) = sealed.split_at_checked(clear)?;
        let text = if self.aes {
            let mut bytes = body.to_vec();
            let nonce = ring::aead::Nonce::assume_unique_for_key(self.nonce(*tail));
            self.ring()
                .open_in_place(nonce, ring::aead::Aad::from(head), &mut bytes)
                .ok()?
                .to_vec()
        } else {
            let payload = Payload {
                msg: body,
                aad: head,
            };
            self.chacha()
                .decrypt(&self.nonce::<24>(*tail).into(), payload)
                .ok()?
        };
        assert!(
            self.seen.insert(u32::from_be_bytes(*tail)),
            "a counter twice"
        );
        Some([head, &text].concat())
    }

    fn nonce<const N: usize>(&self, tail: [u8; 4]) -> [u8; N] {
        let mut nonce = [0; N];
        nonce[..4].copy_from_slice(&tail);
        nonce
    }

    fn ring(&self) -> ring::aead::LessSafeKey {
        let key = ring::aead::UnboundKey::new(&ring::aead::AES_256_GCM, &self.key).unwrap();
        ring::aead::LessSafeKey::new(key)
    }

    fn chacha(&self) -> chacha20poly1305::XChaCha20Poly1305 {
        let key: [u8; 32] = self.key.as_slice().try_into().unwrap();
        chacha20poly1305::XChaCha20Poly1305::new(&key.into())
    }
}
