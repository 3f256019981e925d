//! One WebSocket of the voice gateway: its queue, its version, its heartbeats.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::{Output, World};
use super::VoiceServerId;

/// Number of a voice WebSocket, from 1 in the order of opening; the journal names it `voice #1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub(crate) u64);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[derive(Debug)]
pub(in crate::core) struct Link {
    pub(super) server: VoiceServerId,
    pub(super) version: u8,
    pub(super) heartbeat_due: Duration,
    pub(super) closing: bool,
    pub(super) out: VecDeque<Output>,
}

/// Voice WebSockets.
impl World {
    /// A client opened a WebSocket to a voice server; `query` is that of its URL. Op 8 is its first output.
    pub fn voice_open(&mut self, now: Duration, server: VoiceServerId, query: &str) -> LinkId {
        self.advance(now);
        self.rtc.next_link += 1;
        let id = LinkId(self.rtc.next_link);
        let version = version_of(query);
        let interval = self.settings.voice.heartbeat_interval;
        let due = self.now.saturating_add(interval.saturating_mul(3));
        let link = Link {
            server,
            version: version.unwrap_or(0),
            heartbeat_due: due,
            closing: false,
            out: VecDeque::new(),
        };
        self.rtc.links.insert(id, link);
        self.rtc.wake_at(due);
        let ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        self.send_link(
            id,
            8,
            &json!({"v": version.unwrap_or(0), "heartbeat_interval": ms}),
        );
        id
    }

    /// A text message of a client.
    pub fn voice_text(&mut self, now: Duration, id: LinkId, payload: &[u8]) {
        self.advance(now);
        let _ = (id, payload);
    }

    /// A binary message of a client.
    pub fn voice_binary(&mut self, now: Duration, id: LinkId, payload: &[u8]) {
        self.advance(now);
        let _ = (id, payload);
    }

    /// A voice WebSocket ended from the client's side: with its close code, or `None` for a connection that broke.
    pub fn voice_closed(&mut self, now: Duration, id: LinkId, code: Option<u16>) {
        self.advance(now);
        let _ = code;
        self.rtc.links.remove(&id);
        self.rtc.ready.remove(&id);
    }

    /// Voice WebSockets that have output, since the last call.
    pub fn take_ready_links(&mut self) -> Vec<LinkId> {
        std::mem::take(&mut self.rtc.ready).into_iter().collect()
    }

    /// The next thing to do on a voice WebSocket.
    pub fn poll_link_output(&mut self, id: LinkId) -> Option<Output> {
        self.rtc.links.get_mut(&id)?.out.pop_front()
    }

    /// Whether a voice WebSocket waits to be dropped at once.
    #[must_use]
    pub fn is_link_cut(&self, id: LinkId) -> bool {
        self.rtc
            .links
            .get(&id)
            .is_some_and(|link| matches!(link.out.front(), Some(Output::Drop)))
    }

    /// An unnumbered message.
    pub(super) fn send_link(&mut self, id: LinkId, op: u8, d: &Value) {
        if let Some(link) = self.rtc.links.get_mut(&id).filter(|link| !link.closing) {
            link.out
                .push_back(Output::Text(format!(r#"{{"op":{op},"d":{d}}}"#)));
            self.rtc.ready.insert(id);
        }
    }

    pub(super) fn time_out_links(&mut self) {}
}

/// The version that a URL asks for.
fn version_of(query: &str) -> Option<u8> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, version) = pairs.find(|(key, _)| *key == "v")?;
    version
        .parse()
        .ok()
        .filter(|version| (4..=9).contains(version))
}
