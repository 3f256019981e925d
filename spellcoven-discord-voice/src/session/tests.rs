//! A session against a scripted server, under a clock of the test's own.

mod audio;
mod calls;
mod day;
mod encryption;
mod joining;
mod links;
mod lost;
mod people;
mod storms;

use core::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use twilight_model::id::{Id, marker::ChannelMarker};

use super::{
    Action, ConnectError, ConnectionState, LinkId, MlsJob, Session, SessionConfig, UdpId,
    VoiceEvent, VoiceTrouble,
};
use crate::{
    dave::E2eePolicy,
    rtp::{DatagramKind, RtpHeader},
    signal::{OwnVoiceState, VoiceServer, VoiceServerToken, VoiceStateRequest},
    transport::{EncryptionMode, Opener, Sealer, TransportKey},
};

const GUILD: u64 = 900;
const ME: u64 = 700;
const LOBBY: u64 = 901;
const LOUNGE: u64 = 902;
const SSRC: u32 = 4101;
const HELLO: &str = r#"{"op":8,"d":{"v":8,"heartbeat_interval":13750.5}}"#;
const RESUMED: &str = r#"{"op":9,"d":null}"#;

fn channel(id: u64) -> Id<ChannelMarker> {
    Id::new(id)
}

fn config() -> SessionConfig {
    SessionConfig {
        guild_id: Id::new(GUILD),
        user_id: Id::new(ME),
        receive: false,
        self_mute: false,
        self_deaf: false,
        rejoin: false,
        // A call without DAVE: what is said of media here does not depend on it.
        policy: E2eePolicy::Preferred,
        identity: None,
        seed: Some(7),
    }
}

/// What a datagram of the client was.
#[derive(Debug, Clone, PartialEq)]
enum Sent {
    Discovery,
    Ping,
    Rtp(RtpHeader, Vec<u8>),
    Rtcp,
}

/// The session, its time, and what it has said since the last look.
struct Rig {
    session: Session,
    now: Instant,
    said: Vec<Action>,
    link: Option<LinkId>,
    is_open: bool,
    url: String,
    udp: Option<UdpId>,
    /// The latest key, and what it opens.
    opener: Option<Opener>,
    datagrams: Vec<(Instant, Sent)>,
    beats: Vec<Value>,
    /// Whether the rig acks heartbeats.
    acks: bool,
    /// Whether datagrams are not looked into.
    lenient: bool,
    /// Work that is not done yet; `None` has it done at once.
    jobs: Option<Vec<MlsJob>>,
}

impl Rig {
    fn new(config: SessionConfig) -> Self {
        let now = tokio::time::Instant::now().into_std();
        Self {
            session: Session::new(config, now),
            now,
            said: Vec::new(),
            link: None,
            is_open: false,
            url: String::new(),
            udp: None,
            opener: None,
            datagrams: Vec::new(),
            beats: Vec::new(),
            acks: true,
            lenient: false,
            jobs: None,
        }
    }

    /// Joins, up to Ready.
    fn identified(config: SessionConfig) -> Self {
        let mut rig = Self::new(config);
        rig.session.connect(rig.now, channel(LOBBY));
        rig.state(Some(LOBBY), "first");
        rig.server(Some("a.test"), "token-a");
        rig.open();
        rig.text(HELLO);
        rig.ready();
        rig
    }

    /// The link is cut, and resumed.
    fn resume(&mut self) {
        self.cut(None);
        self.next_link();
        self.open();
        self.text(HELLO);
        self.text(RESUMED);
    }

    /// In the lobby, connected, with nothing left to look at.
    fn connected(config: SessionConfig) -> Self {
        let mut rig = Self::new(config);
        rig.session.connect(rig.now, channel(LOBBY));
        rig.listen();
        rig.state(Some(LOBBY), "first");
        rig.server(Some("a.test:2048"), "token-a");
        rig.serve();
        assert_eq!(rig.session.state(), ConnectionState::Connected);
        assert_eq!(rig.connects(), [Ok(())]);
        rig.said.clear();
        rig.datagrams.clear();
        rig
    }

    fn listen(&mut self) {
        while let Some(action) = self.session.poll() {
            match &action {
                Action::OpenLink { id, url } => {
                    assert!(self.link.is_none(), "one link at a time");
                    self.link = Some(*id);
                    self.is_open = false;
                    self.url.clone_from(url);
                }
                Action::Job(_) => {
                    if let Action::Job(job) = action {
                        if let Some(jobs) = &mut self.jobs {
                            jobs.push(job);
                            continue;
                        }
                        self.session.job_done(self.now, job.run());
                    }
                    continue;
                }
                Action::OpenUdp { id, .. } => {
                    assert!(self.udp.is_none(), "one socket at a time");
                    self.udp = Some(*id);
                }
                Action::CloseUdp { id } => {
                    assert_eq!(self.udp.take(), Some(*id));
                }
                Action::CloseLink { id, .. } => {
                    self.link.take_if(|link| link == id);
                }
                Action::SendText { id, text } => {
                    assert_eq!(
                        self.link,
                        Some(*id),
                        "it speaks on a link that is gone: {text}"
                    );
                    let message: Value = serde_json::from_str(text).unwrap();
                    if message["op"] == 3 {
                        self.beats.push(message["d"].clone());
                        if self.acks {
                            let ack = json!({"op": 6, "d": {"t": message["d"]["t"]}});
                            self.session.link_text(self.now, *id, &ack.to_string());
                        }
                        continue;
                    }
                }
                Action::Datagram { id, bytes } => {
                    assert_eq!(self.udp, Some(*id), "it sends on a socket that is closed");
                    let sent = self.read(bytes);
                    self.datagrams.push((self.now, sent));
                    if let Action::Datagram { bytes, .. } = action {
                        self.session.recycle(bytes);
                    }
                    continue;
                }
                _ => {}
            }
            self.said.push(action);
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Sent {
        match bytes {
            [0, 1, ..] => return Sent::Discovery,
            [0x13, 0x37, 0xca, 0xfe, ..] => return Sent::Ping,
            _ if self.lenient => return Sent::Rtcp,
            _ => {}
        }
        let opener = self.opener.as_mut().expect("media need a key");
        let mut bytes = bytes.to_vec();
        match DatagramKind::of(&bytes) {
            DatagramKind::Rtcp => {
                opener.open_rtcp(&mut bytes).expect("RTCP opens");
                Sent::Rtcp
            }
            _ => {
                let packet = opener
                    .open_rtp(&mut bytes)
                    .expect("RTP opens, and no nonce comes twice");
                Sent::Rtp(packet.header, packet.payload.to_vec())
            }
        }
    }

    fn state(&mut self, channel: Option<u64>, session: &str) {
        let state = OwnVoiceState {
            channel_id: channel.map(Id::new),
            session_id: session.to_owned(),
        };
        self.session.voice_state(self.now, state);
        self.listen();
    }

    fn server(&mut self, endpoint: Option<&str>, token: &str) {
        let server = VoiceServer {
            token: VoiceServerToken::new(token),
            endpoint: endpoint.map(str::to_owned),
        };
        self.session.voice_server(self.now, server);
        self.listen();
    }

    fn link(&self) -> LinkId {
        self.link.expect("there is a link")
    }

    fn open(&mut self) {
        self.is_open = true;
        self.session.link_opened(self.now, self.link());
        self.listen();
    }

    fn text(&mut self, text: &str) {
        self.session.link_text(self.now, self.link(), text);
        self.listen();
    }

    fn json(&mut self, value: Value) {
        self.text(&value.to_string());
    }

    fn cut(&mut self, code: Option<u16>) {
        let link = self.link.take().expect("there is a link");
        self.session.link_closed(self.now, link, code);
        self.listen();
    }

    fn ready(&mut self) {
        self.json(json!({"op": 2, "d": {
            "ssrc": SSRC, "ip": "203.0.113.7", "port": 50004, "heartbeat_interval": 1,
            "modes": ["xsalsa20_poly1305_lite", "aead_xchacha20_poly1305_rtpsize", "aead_aes256_gcm_rtpsize"],
        }}));
    }

    fn open_udp(&mut self) {
        let local: SocketAddr = "192.0.2.1:40000".parse().unwrap();
        let udp = self.udp.expect("a socket was asked for");
        self.session.udp_opened(self.now, udp, local);
        self.listen();
    }

    fn discovered(&mut self) {
        let mut answer = vec![0, 2, 0, 70];
        answer.extend(SSRC.to_be_bytes());
        answer.extend(b"198.51.100.4");
        answer.resize(72, 0);
        answer.extend(41337u16.to_be_bytes());
        self.datagram(&mut answer);
    }

    fn datagram(&mut self, bytes: &mut [u8]) {
        let udp = self.udp.expect("there is a socket");
        self.session.datagram(self.now, udp, bytes);
        self.listen();
    }

    fn describe(&mut self, key: u8) {
        self.describe_version(key, 0);
    }

    fn describe_version(&mut self, key: u8, version: u16) {
        let mode = EncryptionMode::AeadAes256GcmRtpSize;
        self.opener = Some(Opener::new(mode, &TransportKey::new([key; 32])));
        self.json(json!({"op": 4, "seq": 1, "d": {
            "mode": mode.name(), "secret_key": vec![key; 32], "dave_protocol_version": version,
        }}));
    }

    /// From `OpenLink` to the keys.
    fn serve(&mut self) {
        self.open();
        self.text(HELLO);
        self.ready();
        self.open_udp();
        self.discovered();
        self.describe(1);
    }

    /// To the next wake-up.
    fn wake(&mut self) {
        let at = self.session.poll_timeout().expect("something is due");
        self.now = self.now.max(at);
        self.session.timeout(self.now);
        self.listen();
    }

    /// Handles everything that is due in this time.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut wakes = 0;
        while self.session.poll_timeout().is_some_and(|at| at <= end) {
            self.wake();
            wakes += 1;
            assert!(wakes < 100_000, "it spins");
        }
        self.now = end;
    }

    fn pass_ms(&mut self, ms: u64) {
        self.pass(Duration::from_millis(ms));
    }

    /// Until it opens another link; how long that took.
    fn next_link(&mut self) -> Duration {
        let from = self.now;
        for _ in 0..10_000 {
            if self.link.is_some() {
                return self.now - from;
            }
            self.wake();
        }
        panic!("it does not connect: {:?}", self.said);
    }

    fn take<T>(&mut self, mut which: impl FnMut(&Action) -> Option<T>) -> Vec<T> {
        let mut taken = Vec::new();
        self.said.retain(|action| match which(action) {
            Some(found) => {
                taken.push(found);
                false
            }
            None => true,
        });
        taken
    }

    /// The text messages of this opcode.
    fn texts(&mut self, op: u64) -> Vec<Value> {
        self.take(|action| match action {
            Action::SendText { text, .. } => {
                let message: Value = serde_json::from_str(text).unwrap();
                (message["op"] == op).then(|| message["d"].clone())
            }
            _ => None,
        })
    }

    /// The one message of this opcode.
    fn text_of(&mut self, op: u64) -> Value {
        let mut texts = self.texts(op);
        assert_eq!(texts.len(), 1, "op {op}: {texts:?}");
        texts.remove(0)
    }

    /// The channels that op 4 named.
    fn signals(&mut self) -> Vec<Option<u64>> {
        let requests = self.requests();
        requests
            .iter()
            .map(|request| request.channel_id.map(Id::get))
            .collect()
    }

    fn requests(&mut self) -> Vec<VoiceStateRequest> {
        self.take(|action| match action {
            Action::Signal(request) => Some(*request),
            _ => None,
        })
    }

    fn connects(&mut self) -> Vec<Result<(), ConnectError>> {
        self.take(|action| match action {
            Action::Connected(result) => Some(result.clone()),
            _ => None,
        })
    }

    fn disconnects(&mut self) -> usize {
        self.take(|action| matches!(action, Action::Disconnected).then_some(()))
            .len()
    }

    fn closes(&mut self) -> Vec<u16> {
        self.take(|action| match action {
            Action::CloseLink { code, .. } => Some(*code),
            _ => None,
        })
    }

    fn opens(&mut self) -> usize {
        self.take(|action| matches!(action, Action::OpenLink { .. }).then_some(()))
            .len()
    }

    fn events(&mut self) -> Vec<VoiceEvent> {
        self.take(|action| match action {
            Action::Event(event) => Some(event.clone()),
            _ => None,
        })
    }

    fn troubles(&mut self) -> Vec<VoiceTrouble> {
        let events = self.events();
        let troubles = events.into_iter().filter_map(|event| match event {
            VoiceEvent::Trouble(trouble) => Some(trouble),
            _ => None,
        });
        troubles.collect()
    }

    /// The RTP that was sent: when, sequence, timestamp, payload.
    fn heard(&mut self) -> Vec<(Instant, u16, u32, Vec<u8>)> {
        let mut heard = Vec::new();
        for (at, sent) in self.datagrams.drain(..) {
            if let Sent::Rtp(header, payload) = sent {
                assert_eq!(header.ssrc, SSRC);
                heard.push((at, header.sequence, header.timestamp, payload));
            }
        }
        heard
    }
}

/// Another client's packet, as the server sends it on.
fn packet(sealer: &mut Sealer, ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    RtpHeader {
        marker: false,
        payload_type: 120,
        sequence,
        timestamp: u32::from(sequence) * 960,
        ssrc,
    }
    .write(&mut bytes);
    bytes.extend_from_slice(payload);
    sealer.seal_rtp(&mut bytes).unwrap();
    bytes
}

fn sealer(key: u8) -> Sealer {
    let mode = EncryptionMode::AeadAes256GcmRtpSize;
    Sealer::new(mode, &TransportKey::new([key; 32]), 0)
}
