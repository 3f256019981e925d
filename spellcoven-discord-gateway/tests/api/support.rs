//! A protocol under a clock of the test's own, and messages as Discord sends
//! them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spellcoven_discord_gateway::{
    BotToken, Compression, ConnectionState, Protocol, ProtocolConfig, SessionState, proto::Output,
};

pub(crate) const MAIN: &str = "ws://main.test";
pub(crate) const RESUME: &str = "ws://resume.test";
pub(crate) const MAIN_URL: &str = "ws://main.test/?v=10&encoding=json";
pub(crate) const RESUME_URL: &str = "ws://resume.test/?v=10&encoding=json";
pub(crate) const INTERVAL: Duration = Duration::from_millis(41_250);

pub(crate) fn config(seed: u64) -> ProtocolConfig {
    let mut config = ProtocolConfig::new(BotToken::new("Bot secret.token"));
    config.gateway_url = MAIN.to_owned();
    config.seed = Some(seed);
    config.compression = Compression::None;
    config
}

pub(crate) fn stored(seq: u64) -> SessionState {
    serde_json::from_value(json!({"session_id": "stored", "resume_url": RESUME, "seq": seq}))
        .unwrap()
}

pub(crate) fn hello(interval: Duration) -> String {
    json!({"t": null, "s": null, "op": 10, "d": {"heartbeat_interval": interval.as_millis() as u64}})
        .to_string()
}

pub(crate) fn dispatch(seq: u64, name: &str, data: Value) -> String {
    json!({"t": name, "s": seq, "op": 0, "d": data}).to_string()
}

pub(crate) fn ready(seq: u64, session: &str, guilds: &[u64]) -> String {
    let guilds: Vec<Value> = guilds
        .iter()
        .map(|id| json!({"id": id.to_string(), "unavailable": true}))
        .collect();
    dispatch(
        seq,
        "READY",
        json!({
            "v": 10, "user": {"id": "1", "username": "bot"}, "guilds": guilds,
            "session_id": session, "resume_gateway_url": RESUME, "shard": [0, 1],
            "application": {"id": "2", "flags": 0},
        }),
    )
}

pub(crate) fn resumed(seq: u64) -> String {
    dispatch(seq, "RESUMED", json!({"_trace": ["x"]}))
}

pub(crate) fn invalid_session(resumable: bool) -> String {
    json!({"t": null, "s": null, "op": 9, "d": resumable}).to_string()
}

pub(crate) const RECONNECT: &str = r#"{"t":null,"s":null,"op":7,"d":null}"#;
pub(crate) const ACK: &str = r#"{"t":null,"s":null,"op":11}"#;
pub(crate) const BEAT_NOW: &str = r#"{"t":null,"s":null,"op":1,"d":null}"#;

/// The protocol, its time, and what it has said since the last look.
pub(crate) struct Rig {
    pub(crate) protocol: Protocol,
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) said: Vec<Output>,
}

impl Rig {
    pub(crate) fn new(config: ProtocolConfig) -> Self {
        let start = tokio::time::Instant::now().into_std();
        let mut rig = Self {
            protocol: Protocol::new(config, start),
            start,
            now: start,
            said: Vec::new(),
        };
        rig.listen();
        rig
    }

    /// A rig whose session is active; nothing is left to look at.
    pub(crate) fn active(config: ProtocolConfig) -> Self {
        let mut rig = Self::new(config);
        rig.identify();
        rig.now += Duration::from_secs(30);
        rig.said.clear();
        rig
    }

    /// From `Connect` to READY.
    pub(crate) fn identify(&mut self) {
        self.open();
        assert!(
            self.take_one(|output| matches!(output, Output::RequestIdentify)),
            "{:?}",
            self.said
        );
        self.protocol.identify_granted(self.now);
        self.listen();
        self.message(&ready(1, "session-1", &[]));
        assert_eq!(self.protocol.state(), ConnectionState::Active);
    }

    /// From `Connect` to HELLO.
    pub(crate) fn open(&mut self) {
        assert_eq!(self.protocol.state(), ConnectionState::Connecting);
        self.protocol.handle_connected(self.now);
        self.message(&hello(INTERVAL));
    }

    pub(crate) fn message(&mut self, text: &str) {
        self.protocol.handle_message(text, self.now);
        self.listen();
    }

    pub(crate) fn closed(&mut self, code: Option<u16>) {
        self.protocol.handle_closed(code, self.now);
        self.listen();
    }

    pub(crate) fn connect_failed(&mut self) {
        self.protocol.handle_connect_failed(self.now);
        self.listen();
    }

    fn listen(&mut self) {
        while let Some(output) = self.protocol.poll_output() {
            self.said.push(output);
        }
    }

    /// To the next wake-up, and handles it.
    pub(crate) fn wake(&mut self) {
        let at = self.protocol.poll_timeout().expect("something must be due");
        self.now = self.now.max(at);
        self.protocol.handle_timeout(self.now);
        self.listen();
    }

    /// Handles everything that is due in this time.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.protocol.poll_timeout().is_some_and(|at| at <= end) {
            self.wake();
        }
        self.now = end;
        self.listen();
    }

    /// Waits until it connects; the URL, and how long that took.
    pub(crate) fn next_connect(&mut self) -> (String, Duration) {
        let from = self.now;
        for _ in 0..10 {
            if let Some(url) = self.take_connect() {
                return (url, self.now - from);
            }
            self.wake();
        }
        panic!("it does not connect: {:?}", self.said);
    }

    pub(crate) fn take_connect(&mut self) -> Option<String> {
        let at = self
            .said
            .iter()
            .position(|output| matches!(output, Output::Connect { .. }))?;
        match self.said.remove(at) {
            Output::Connect { url } => Some(url),
            _ => None,
        }
    }

    pub(crate) fn take_one(&mut self, which: impl Fn(&Output) -> bool) -> bool {
        match self.said.iter().position(which) {
            Some(at) => {
                self.said.remove(at);
                true
            }
            None => false,
        }
    }

    /// The payloads that were sent.
    pub(crate) fn take_sent(&mut self) -> Vec<Value> {
        let mut sent = Vec::new();
        self.said.retain(|output| match output {
            Output::Send(payload) => {
                sent.push(serde_json::from_str(payload.as_str()).unwrap());
                false
            }
            _ => true,
        });
        sent
    }

    pub(crate) fn take_sent_op(&mut self, op: u64) -> Option<Value> {
        self.take_sent()
            .into_iter()
            .find(|payload| payload["op"] == op)
    }

    /// The close codes that were asked for.
    pub(crate) fn take_closes(&mut self) -> Vec<u16> {
        let mut codes = Vec::new();
        self.said.retain(|output| match output {
            Output::Close { code } => {
                codes.push(*code);
                false
            }
            _ => true,
        });
        codes
    }

    pub(crate) fn take_events(&mut self) -> Vec<spellcoven_discord_gateway::GatewayEvent> {
        let mut events = Vec::new();
        self.said.retain(|output| match output {
            Output::Dispatch(event) => {
                events.push(event.clone());
                false
            }
            _ => true,
        });
        events
    }
}
