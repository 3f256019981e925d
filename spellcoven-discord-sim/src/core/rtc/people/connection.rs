//! One connection of a person: the messages of voice gateway version 8, IP discovery, keys.
//!
//! See: Discord documentation, Topics, Voice Connections.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use davey::SigningKeyPair;
use serde_json::{Value, json};

use super::super::cipher::{Cipher, Mode, Secret};
use super::super::packet;
use super::e2ee::{E2ee, OpenFailure, Reply};
use super::hear::{Fate, HeardFrame};
use super::person::{Invitation, PersonOutput, PersonSettings};
use super::rtp::{Dress, Stream};

/// Time between two requests of IP discovery, and how many there are.
const DISCOVERY_EVERY: Duration = Duration::from_secs(1);
const DISCOVERIES: u8 = 5;
/// How long a frame waits for its sender or its key, and how many of one stream do.
const PATIENCE: Duration = Duration::from_millis(500);
const MAX_WAITING: usize = 64;
/// Streams that frames may wait of.
const MAX_STREAMS: usize = 256;

/// A frame whose sender or key is not known yet.
#[derive(Debug)]
struct Waiting {
    arrived: Duration,
    sequence: u16,
    timestamp: u32,
    payload: Vec<u8>,
    /// It may be of another key than those that were tried.
    tried: bool,
}

/// What became of a packet of a user.
pub(super) type Verdict = (u64, Fate);

#[derive(Debug)]
pub(super) struct Connection {
    user: u64,
    invitation: Invitation,
    dave_version: u16,
    prefer_xchacha: bool,
    heartbeat: Option<(Duration, Duration)>,
    seq: Option<u16>,
    ssrc: u32,
    mode: Option<Mode>,
    /// When to ask again, and how often it may still be asked.
    discovery: Option<(Duration, u8)>,
    media: Option<(Cipher, Stream)>,
    e2ee: E2ee,
    speakers: BTreeMap<u32, u64>,
    waiting: BTreeMap<u32, VecDeque<Waiting>>,
    /// Who just began a stream.
    pub(super) began: Vec<u64>,
    pub(super) out: VecDeque<PersonOutput>,
}

impl Connection {
    pub(super) fn new(
        user: u64,
        invitation: Invitation,
        settings: &PersonSettings,
        signing: SigningKeyPair,
    ) -> Self {
        Self {
            user,
            e2ee: E2ee::new(user, invitation.channel, signing),
            invitation,
            dave_version: settings.dave_version,
            prefer_xchacha: settings.prefer_xchacha,
            heartbeat: None,
            seq: None,
            ssrc: 0,
            mode: None,
            discovery: None,
            media: None,
            speakers: BTreeMap::new(),
            waiting: BTreeMap::new(),
            began: Vec::new(),
            out: VecDeque::new(),
        }
    }

    /// Whether op 4 was received, so that media can flow.
    pub(super) const fn is_ready(&self) -> bool {
        self.media.is_some()
    }

    pub(super) const fn e2ee(&self) -> &E2ee {
        &self.e2ee
    }

    /// When [`timeout`](Self::timeout) is wanted.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let heartbeat = self.heartbeat.map(|(_, due)| due);
        let discovery = self.discovery.map(|(due, _)| due);
        let waiting = self.waiting.values().filter_map(VecDeque::front);
        let waiting = waiting.map(|first| first.arrived + PATIENCE);
        heartbeat.into_iter().chain(discovery).chain(waiting).min()
    }

    /// Heartbeats, discovery that was lost, frames that waited long enough.
    pub(super) fn timeout(&mut self, now: Duration) -> Vec<Verdict> {
        if let Some((interval, due)) = &mut self.heartbeat
            && *due <= now
        {
            *due = now + (*interval).max(Duration::from_millis(1));
            let t = u64::try_from(now.as_millis()).unwrap_or(0);
            let seq = self.seq.map_or(-1, i32::from);
            self.send(3, json!({"t": t, "seq_ack": seq}));
        }
        if let Some((due, left)) = self.discovery
            && due <= now
        {
            self.discover(now, left);
        }
        let mut verdicts = Vec::new();
        for (ssrc, queue) in &mut self.waiting {
            let speaker = self.speakers.get(ssrc);
            while queue
                .front()
                .is_some_and(|first| first.arrived + PATIENCE <= now)
            {
                let tried = queue.pop_front().is_some_and(|first| first.tried);
                if let Some(user) = speaker {
                    let fate = if tried { Fate::Failed } else { Fate::Keyless };
                    verdicts.push((*user, fate));
                }
            }
        }
        self.waiting.retain(|_, queue| !queue.is_empty());
        verdicts
    }

    /// A text message of the server.
    pub(super) fn text(
        &mut self,
        now: Duration,
        text: &str,
        rng: &mut fastrand::Rng,
    ) -> Vec<Verdict> {
        let Ok(message) = serde_json::from_str::<Value>(text) else {
            return Vec::new();
        };
        if let Some(seq) = message.get("seq").and_then(Value::as_u64) {
            self.seq = u16::try_from(seq).ok().or(self.seq);
        }
        let op = message.get("op").and_then(Value::as_u64);
        let Some(op) = op.and_then(|op| u8::try_from(op).ok()) else {
            return Vec::new();
        };
        let d = message.get("d").unwrap_or(&Value::Null);
        match op {
            2 => self.ready(now, d),
            4 => self.session_description(d, rng),
            5 => {
                if let (Some(user), Some(ssrc)) = (id(d.get("user_id")), ssrc(d))
                    && self.speakers.insert(ssrc, user) != Some(user)
                {
                    self.began.push(user);
                }
            }
            8 => self.hello(now, d),
            11 => {
                let users = d.get("user_ids").and_then(Value::as_array);
                for user in users.into_iter().flatten() {
                    if let Some(user) = id(Some(user)) {
                        self.e2ee.connected(user);
                    }
                }
            }
            13 => {
                if let Some(user) = id(d.get("user_id")) {
                    self.e2ee.disconnected(user);
                    self.speakers.retain(|_, speaker| *speaker != user);
                }
            }
            _ => self.e2ee.json(now, op, d),
        }
        self.after_message(now)
    }

    /// A binary message of the server: a sequence number, an opcode, a payload.
    pub(super) fn binary(&mut self, now: Duration, bytes: &[u8]) -> Vec<Verdict> {
        let Some((seq, rest)) = bytes.split_first_chunk::<2>() else {
            return Vec::new();
        };
        let Some((op, payload)) = rest.split_first() else {
            return Vec::new();
        };
        self.seq = Some(u16::from_be_bytes(*seq));
        self.e2ee.binary(now, *op, payload);
        self.after_message(now)
    }

    /// Sends what DAVE wants sent, and tries the frames that wait.
    fn after_message(&mut self, now: Duration) -> Vec<Verdict> {
        while let Some(reply) = self.e2ee.poll() {
            match reply {
                Reply::Json { op, d } => self.send(op, d),
                Reply::Binary { op, mut payload } => {
                    payload.insert(0, op);
                    self.out.push_back(PersonOutput::Binary(payload));
                }
            }
        }
        let mut verdicts = Vec::new();
        for (ssrc, queue) in std::mem::take(&mut self.waiting) {
            for waiting in queue {
                verdicts.extend(self.open(now, ssrc, waiting));
            }
        }
        verdicts
    }

    /// A datagram of the server. What is to be recorded: whose it is and its sequence number, and what became of it.
    pub(super) fn datagram(
        &mut self,
        now: Duration,
        bytes: &mut [u8],
    ) -> (Option<(u64, u16)>, Option<Verdict>) {
        if let [0, 2, 0, 70, ..] = bytes {
            self.discovered(bytes);
            return (None, None);
        }
        let Some((cipher, _)) = &self.media else {
            return (None, None);
        };
        // Reports and the like are not for the ear.
        if bytes.first().is_none_or(|first| first >> 6 != 2)
            || bytes.get(1).is_none_or(|second| packet::is_rtcp(*second))
        {
            return (None, None);
        }
        let Some(opened) = cipher
            .mode()
            .clear_len(bytes)
            .and_then(|clear| cipher.open(bytes, clear))
        else {
            return (None, None);
        };
        let clear = bytes.get(..opened.0).unwrap_or_default();
        let Some(rtp) = packet::read(clear) else {
            return (None, None);
        };
        let payload = clear.get(rtp.payload.clone()).unwrap_or_default();
        let speaker = self.speakers.get(&rtp.ssrc).copied();
        let arrival = speaker.map(|speaker| (speaker, rtp.sequence));
        if payload.is_empty() {
            return (arrival, speaker.map(|speaker| (speaker, Fate::Padding)));
        }
        let waiting = Waiting {
            arrived: now,
            sequence: rtp.sequence,
            timestamp: rtp.timestamp,
            payload: payload.to_vec(),
            tried: false,
        };
        (arrival, self.open(now, rtp.ssrc, waiting))
    }

    /// Opens a frame, or lets it wait.
    fn open(&mut self, now: Duration, ssrc: u32, mut frame: Waiting) -> Option<Verdict> {
        let Some(speaker) = self.speakers.get(&ssrc).copied() else {
            self.wait(ssrc, frame);
            return None;
        };
        match self.e2ee.open(now, speaker, &frame.payload) {
            Ok(opus) => {
                let heard = HeardFrame {
                    arrived: frame.arrived,
                    sequence: frame.sequence,
                    timestamp: frame.timestamp,
                    ssrc,
                    encrypted: opus.len() != frame.payload.len(),
                    opus: opus.into(),
                };
                Some((speaker, Fate::Heard(heard)))
            }
            Err(OpenFailure::Clear) => Some((speaker, Fate::Clear)),
            Err(failure) => {
                frame.tried = failure == OpenFailure::Bad;
                self.wait(ssrc, frame);
                None
            }
        }
    }

    fn wait(&mut self, ssrc: u32, frame: Waiting) {
        if !self.waiting.contains_key(&ssrc) && self.waiting.len() >= MAX_STREAMS {
            return;
        }
        let queue = self.waiting.entry(ssrc).or_default();
        if queue.len() >= MAX_WAITING {
            queue.pop_front();
        }
        queue.push_back(frame);
    }

    /// Sends a frame; `None` while it must be held back.
    pub(super) fn say(&mut self, timestamp: u32, opus: &[u8], dress: Dress) -> Option<()> {
        let (cipher, stream) = self.media.as_mut()?;
        let frame = self.e2ee.seal(opus)?;
        let packet = stream.packet(cipher, timestamp, &frame, dress)?;
        self.out.push_back(PersonOutput::Datagram(packet));
        Some(())
    }

    /// Op 5.
    pub(super) fn announce(&mut self, speaking: bool) {
        let d = json!({"speaking": u8::from(speaking), "delay": 0, "ssrc": self.ssrc});
        self.send(5, d);
    }

    fn send(&mut self, op: u8, d: Value) {
        let text = json!({"op": op, "d": d}).to_string();
        self.out.push_back(PersonOutput::Text(text));
    }

    fn hello(&mut self, now: Duration, d: &Value) {
        let ms = d.get("heartbeat_interval").and_then(Value::as_f64);
        let interval = ms
            .and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok())
            .unwrap_or(Duration::from_secs(5));
        self.heartbeat = Some((interval, now + interval));
        let invitation = &self.invitation;
        let identify = json!({
            "server_id": invitation.guild.to_string(),
            "channel_id": invitation.channel.to_string(),
            "user_id": self.user.to_string(),
            "session_id": invitation.session,
            "token": invitation.token,
            "video": false,
            "max_dave_protocol_version": self.dave_version,
        });
        self.send(0, identify);
    }

    fn ready(&mut self, now: Duration, d: &Value) {
        self.ssrc = ssrc(d).unwrap_or(0);
        let offered: Vec<&str> = d
            .get("modes")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut wanted = [Mode::Aes256GcmRtpsize, Mode::XChaCha20Rtpsize];
        if self.prefer_xchacha {
            wanted.reverse();
        }
        self.mode = wanted
            .into_iter()
            .find(|mode| offered.contains(&mode.name()));
        self.discover(now, DISCOVERIES);
    }

    fn discover(&mut self, now: Duration, left: u8) {
        self.discovery = left
            .checked_sub(1)
            .map(|left| (now + DISCOVERY_EVERY, left));
        if self.discovery.is_none() {
            return;
        }
        let mut request = vec![0, 1, 0, 70];
        request.extend_from_slice(&self.ssrc.to_be_bytes());
        request.resize(74, 0);
        self.out.push_back(PersonOutput::Datagram(request));
    }

    fn discovered(&mut self, answer: &[u8]) {
        if self.discovery.take().is_none() || packet::be32(answer, 4) != Some(self.ssrc) {
            return;
        }
        let address = answer.get(8..72).unwrap_or_default();
        let address: Vec<u8> = address
            .iter()
            .copied()
            .take_while(|byte| *byte != 0)
            .collect();
        let mode = self.mode.map_or("", Mode::name);
        let data = json!({
            "address": String::from_utf8_lossy(&address),
            "port": packet::be16(answer, 72).unwrap_or(0),
            "mode": mode,
        });
        self.send(1, json!({"protocol": "udp", "data": data}));
    }

    fn session_description(&mut self, d: &Value, rng: &mut fastrand::Rng) {
        let key: Option<Vec<u8>> = d.get("secret_key").and_then(Value::as_array).map(|key| {
            let bytes = key.iter().filter_map(Value::as_u64);
            bytes.filter_map(|byte| u8::try_from(byte).ok()).collect()
        });
        let key = key.and_then(|key| <[u8; 32]>::try_from(key).ok());
        let (Some(key), Some(mode)) = (key, self.mode) else {
            return;
        };
        self.media = Some((
            Cipher::new(mode, &Secret::new(key)),
            Stream::new(self.ssrc, rng),
        ));
        let version = d.get("dave_protocol_version").and_then(Value::as_u64);
        let version = version.and_then(|version| u16::try_from(version).ok());
        self.e2ee.session_description(version.unwrap_or(0));
    }
}

/// A snowflake, as text or as a number.
fn id(value: Option<&Value>) -> Option<u64> {
    let value = value?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn ssrc(d: &Value) -> Option<u32> {
    let ssrc = d.get("ssrc")?.as_u64()?;
    u32::try_from(ssrc).ok()
}
