//! One WebSocket of the voice gateway: its queue, its version, its heartbeats.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::{Output, World};
use super::faults::Fate;
use super::replay::Numbered;
use super::seat::SeatKey;
use super::{Rtc, VoiceServerId};
use crate::ids::UserId;
use crate::journal::{ClosedBy, EntryKind};

/// Number of a voice WebSocket, from 1 in the order of opening; the journal names it `voice #1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub(crate) u64);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Bytes of a client's text message (guessed).
const LONGEST: usize = 64 * 1024;

/// A close that is to come.
#[derive(Clone, Debug)]
pub(super) struct Closing {
    pub(super) at: Duration,
    pub(super) code: u16,
    pub(super) reason: &'static str,
}

#[derive(Debug)]
pub(in crate::core) struct Link {
    pub(super) server: VoiceServerId,
    /// Of the protocol, 4 to 9.
    pub(super) version: u8,
    /// Whose it is, once it is identified or resumed.
    pub(super) seat: Option<SeatKey>,
    /// Whose it was: the seat is another's now, and the close comes later.
    pub(super) close_at: Option<Closing>,
    /// A simulated person is at the other end.
    pub(super) person: Option<UserId>,
    pub(super) heartbeat_due: Duration,
    pub(super) closing: bool,
    /// Nothing goes out any more and nothing that comes in is heard.
    silent: bool,
    pub(super) out: VecDeque<Output>,
}

/// Whether a session lives on after a close with this code by the server: when it was the server's own failure.
const fn is_resumable(code: u16) -> bool {
    code < 4000 || matches!(code, 4013 | 4015)
}

impl Rtc {
    /// There is something to send on a link.
    fn notice(&mut self, id: LinkId, person: Option<UserId>) {
        match person {
            Some(user) => _ = self.cued.insert(user),
            None => _ = self.ready.insert(id),
        }
    }
}

/// Voice WebSockets.
impl World {
    /// A client opened a WebSocket to a voice server; `query` is that of its URL. Op 8 is its first output.
    pub fn voice_open(&mut self, now: Duration, server: VoiceServerId, query: &str) -> LinkId {
        self.advance(now);
        self.open_link(server, query, None)
    }

    pub(super) fn open_link(
        &mut self,
        server: VoiceServerId,
        query: &str,
        person: Option<UserId>,
    ) -> LinkId {
        self.rtc.next_link += 1;
        let id = LinkId(self.rtc.next_link);
        let version = version_of(query);
        let interval = self.settings.voice.heartbeat_interval;
        let due = self.now.saturating_add(interval.saturating_mul(3));
        let link = Link {
            server,
            version: version.unwrap_or(0),
            seat: None,
            close_at: None,
            person,
            heartbeat_due: due,
            closing: false,
            silent: false,
            out: VecDeque::new(),
        };
        self.rtc.links.insert(id, link);
        self.rtc.wake_at(due);
        self.log(EntryKind::VoiceOpened {
            connection: id.0,
            server: server.0,
            query: query.to_owned(),
        });
        match version {
            Some(version) => {
                let ms = interval.as_secs_f64() * 1000.0;
                // Whole milliseconds are written without a fraction, as Discord does.
                let ms = if ms.fract() == 0.0 {
                    json!(ms as u64)
                } else {
                    json!(ms)
                };
                self.send_link(id, 8, &json!({"v": version, "heartbeat_interval": ms}));
            }
            // How Discord refuses a version is not known.
            None => self.close_link(id, 4020, "Unsupported version."),
        }
        id
    }

    /// A text message of a client.
    pub fn voice_text(&mut self, now: Duration, id: LinkId, payload: &[u8]) {
        self.advance(now);
        self.link_text(id, payload);
        self.settle_voice();
    }

    pub(super) fn link_text(&mut self, id: LinkId, payload: &[u8]) {
        self.unless_cut(id, || op_of(payload), |world| world.read_text(id, payload));
    }

    /// Takes a message of a client, unless the connection is to be cut in its place.
    fn unless_cut(
        &mut self,
        id: LinkId,
        what: impl FnOnce() -> String,
        take: impl FnOnce(&mut Self),
    ) {
        if !self.hears(id) {
            return;
        }
        match self.fate(id, true, what) {
            Fate::Passes => take(self),
            Fate::Lost(why) => self.cut_link_because(id, &why),
            Fate::Last(why) => {
                take(self);
                self.cut_link_because(id, &why);
            }
        }
    }

    fn read_text(&mut self, id: LinkId, payload: &[u8]) {
        if payload.len() > LONGEST {
            self.voice_complaint(id, "sent a message that is too long");
            self.close_link(id, 4002, "Failed to decode payload.");
            return;
        }
        let Ok(Value::Object(message)) = serde_json::from_slice::<Value>(payload) else {
            self.voice_complaint(id, "sent something that is no JSON object");
            self.close_link(id, 4002, "Failed to decode payload.");
            return;
        };
        let op = message.get("op").and_then(Value::as_u64);
        let Some(op) = op.and_then(|op| u8::try_from(op).ok()) else {
            self.voice_complaint(id, "sent a payload without a known op");
            self.close_link(id, 4001, "Unknown opcode.");
            return;
        };
        let data = message.get("d").unwrap_or(&Value::Null);
        self.on_voice_op(id, op, data);
    }

    /// A binary message of a client.
    pub fn voice_binary(&mut self, now: Duration, id: LinkId, payload: &[u8]) {
        self.advance(now);
        self.link_binary(id, payload);
        self.settle_voice();
    }

    pub(super) fn link_binary(&mut self, id: LinkId, payload: &[u8]) {
        let what = || format!("op {}", payload.first().copied().unwrap_or(0));
        self.unless_cut(id, what, |world| world.read_binary(id, payload));
    }

    fn read_binary(&mut self, id: LinkId, payload: &[u8]) {
        match payload.split_first() {
            Some((op @ (26 | 28), rest)) => self.on_dave_binary(id, *op, rest),
            _ => {
                self.voice_complaint(id, "sent a binary message that is neither op 26 nor op 28");
                self.close_link(id, 4002, "Failed to decode payload.");
            }
        }
    }

    fn hears(&self, id: LinkId) -> bool {
        self.rtc
            .links
            .get(&id)
            .is_some_and(|link| !link.closing && !link.silent && link.close_at.is_none())
    }

    /// A voice WebSocket ended from the client's side: with its close code, or `None` for a connection that broke.
    ///
    /// 1000 and 1001 end the session (guessed); anything else leaves it to be resumed.
    pub fn voice_closed(&mut self, now: Duration, id: LinkId, code: Option<u16>) {
        self.advance(now);
        let Some(link) = self.rtc.links.remove(&id) else {
            return;
        };
        self.rtc.ready.remove(&id);
        if link.closing {
            return;
        }
        let ends = matches!(code, Some(1000 | 1001));
        self.log(EntryKind::VoiceClosed {
            connection: id.0,
            user: link.seat.map(|(_, user)| user),
            by: ClosedBy::Client,
            code,
            reason: String::new(),
            resumable: link.seat.is_some() && !ends,
        });
        if let Some(key) = link.seat {
            if ends {
                self.end_voice_session(key);
            } else {
                self.detach_seat(key);
            }
        }
        self.settle_voice();
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
        self.put_out(id, Output::Text(format!(r#"{{"op":{op},"d":{d}}}"#)));
    }

    /// A numbered message, as this link's version has it.
    pub(super) fn send_numbered(&mut self, id: LinkId, message: &Numbered) {
        let Some(link) = self.rtc.links.get(&id) else {
            return;
        };
        let output = message.output(link.version);
        self.put_out(id, output);
    }

    fn put_out(&mut self, id: LinkId, output: Output) {
        let bound = self.settings.voice.outgoing_limit;
        let link = self.rtc.links.get_mut(&id);
        let Some(link) = link.filter(|link| !link.closing && !link.silent) else {
            return;
        };
        if link.out.len() >= bound {
            self.voice_complaint(id, "reads too slowly; cut");
            self.cut_link(id);
            return;
        }
        let version = link.version;
        let fate = match &output {
            Output::Text(_) | Output::Binary(_) => {
                self.fate(id, false, || op_of_output(&output, version))
            }
            _ => Fate::Passes,
        };
        if let Fate::Lost(why) = &fate {
            return self.finish_link(id, None, why, Output::Drop);
        }
        if let Some(link) = self.rtc.links.get_mut(&id) {
            link.out.push_back(output);
            let person = link.person;
            self.rtc.notice(id, person);
        }
        if let Fate::Last(why) = &fate {
            self.finish_link(id, None, why, Output::Drop);
        }
    }

    pub(super) fn silence_link(&mut self, id: LinkId) {
        self.put_out(id, Output::Hush);
        if let Some(link) = self.rtc.links.get_mut(&id) {
            link.silent = true;
        }
    }

    pub(super) fn voice_complaint(&mut self, id: LinkId, what: &str) {
        self.complain(format!("voice #{id}"), what);
    }

    /// Ends a voice connection with a close frame.
    pub(super) fn close_link(&mut self, id: LinkId, code: u16, reason: &str) {
        let last = Output::Close {
            code,
            reason: Arc::from(reason),
        };
        self.finish_link(id, Some(code), reason, last);
    }

    /// Ends a voice connection by dropping it, with all that was to be sent.
    pub(super) fn cut_link(&mut self, id: LinkId) {
        self.cut_link_because(id, "");
    }

    fn cut_link_because(&mut self, id: LinkId, why: &str) {
        if let Some(link) = self.rtc.links.get_mut(&id).filter(|link| !link.closing) {
            link.out.clear();
        }
        self.finish_link(id, None, why, Output::Drop);
    }

    fn finish_link(&mut self, id: LinkId, code: Option<u16>, reason: &str, last: Output) {
        let Some(link) = self.rtc.links.get_mut(&id).filter(|link| !link.closing) else {
            return;
        };
        link.closing = true;
        link.out.push_back(last);
        let (seat, person) = (link.seat.take(), link.person);
        self.rtc.notice(id, person);
        let resumable = code.is_none_or(is_resumable);
        self.log(EntryKind::VoiceClosed {
            connection: id.0,
            user: seat.map(|(_, user)| user),
            by: ClosedBy::Server,
            code,
            reason: reason.to_owned(),
            resumable: seat.is_some() && resumable,
        });
        if let Some(key) = seat {
            if resumable {
                self.detach_seat(key);
            } else {
                self.end_voice_session(key);
            }
        }
    }

    /// Closes the links whose time has come, and the silent ones.
    pub(super) fn time_out_links(&mut self) {
        let now = self.now;
        let mut due = Vec::new();
        for (id, link) in &self.rtc.links {
            if link.closing {
                continue;
            }
            if let Some(closing) = link.close_at.as_ref().filter(|closing| closing.at <= now) {
                due.push((*id, closing.code, closing.reason));
            } else if !link.silent && link.heartbeat_due <= now {
                due.push((*id, 4009, "Session timed out."));
            }
        }
        for (id, code, reason) in due {
            if code == 4009 {
                self.voice_complaint(id, "missed its heartbeats");
            }
            self.close_link(id, code, reason);
        }
        let times = self
            .rtc
            .links
            .values()
            .filter(|link| !link.closing)
            .flat_map(|link| {
                let beat = (!link.silent).then_some(link.heartbeat_due);
                [beat, link.close_at.as_ref().map(|closing| closing.at)]
            })
            .flatten();
        if let Some(next) = times.min() {
            self.rtc.wake_at(next);
        }
    }
}

/// The opcode of a text message, for the journal.
fn op_of(payload: &[u8]) -> String {
    let message: Option<Value> = serde_json::from_slice(payload).ok();
    let op = message.and_then(|message| message.get("op")?.as_u64());
    op.map_or_else(|| "no op".to_owned(), |op| format!("op {op}"))
}

fn op_of_output(output: &Output, version: u8) -> String {
    match output {
        Output::Text(text) => op_of(text.as_bytes()),
        Output::Binary(bytes) => {
            let at = if version >= 8 { 2 } else { 0 };
            format!("op {}", bytes.get(at).copied().unwrap_or(0))
        }
        _ => String::new(),
    }
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
