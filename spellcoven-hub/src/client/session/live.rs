//! What happens on a standing connection: `auth.ok`, events in sequence,
//! snapshots, and whether the hub still lives.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Output, STEP_TIMEOUT, text};
use crate::client::update::Update;
use crate::wire::{
    AuthOk, ClientMessage, Envelope, HubEvent, MessageKind, ResumePoint, RoomSnapshot, names,
};

/// Silence after which a ping is sent, and again that long until the hub counts
/// as gone. The hub pings too, so a healthy connection rarely gets here.
const SILENCE: Duration = Duration::from_secs(30);
/// An epoch is a short random id.
const MAX_EPOCH_LEN: usize = 128;

/// What a message means for the connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Go,
    /// `auth.ok`.
    Accepted {
        max_attempts: Option<u32>,
    },
    /// The hub broke the protocol or is gone: connect anew.
    Fail(&'static str),
}

/// The last event given to the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Position {
    epoch: Arc<str>,
    seq: u64,
}

/// Outlives connections: the position is what a resume asks for.
#[derive(Debug)]
pub(super) struct Live {
    position: Option<Position>,
    /// The resume asked for on this connection.
    asked: Option<Position>,
    /// The hub has no epochs: events pass as they come.
    plain: bool,
    /// No event counts before a snapshot has come; it is due then.
    snapshot_due: Option<Instant>,
    last_heard: Option<Instant>,
    pinged: bool,
}

impl Live {
    pub(super) fn new(resume: Option<ResumePoint>) -> Self {
        let position = resume.map(|point| Position {
            epoch: point.epoch.into(),
            seq: point.seq,
        });
        Self {
            position,
            asked: None,
            plain: false,
            snapshot_due: None,
            last_heard: None,
            pinged: false,
        }
    }

    /// A connection begins; what its `auth` has to ask for.
    pub(super) fn begin(&mut self) -> Option<ResumePoint> {
        self.plain = false;
        self.snapshot_due = None;
        self.last_heard = None;
        self.pinged = false;
        self.asked = self.position.clone();
        let asked = self.asked.as_ref()?;
        Some(ResumePoint {
            epoch: asked.epoch.to_string(),
            seq: asked.seq,
        })
    }

    /// A message before `auth.ok`.
    pub(super) fn handle_before_auth(
        &mut self,
        text: &str,
        now: Instant,
        out: &mut VecDeque<Output>,
    ) -> Step {
        let Ok(message) = serde_json::from_str::<Envelope>(text) else {
            return Step::Fail("the hub sent no message of the protocol");
        };
        if message.kind != MessageKind::Ack || message.event != names::AUTH_OK {
            // An error message is followed by a close code that says more.
            return Step::Go;
        }
        let Ok(answer) = serde_json::from_str::<AuthOk>(message.payload.get()) else {
            return Step::Fail("the hub sent an auth.ok that cannot be read");
        };
        self.heard(now);
        self.accepted(&answer, now, out);
        Step::Accepted {
            max_attempts: answer.reconnect.map(|advice| advice.max_attempts),
        }
    }

    fn accepted(&mut self, answer: &AuthOk, now: Instant, out: &mut VecDeque<Output>) {
        let here = answer
            .epoch
            .as_deref()
            .filter(|epoch| !epoch.is_empty() && epoch.len() <= MAX_EPOCH_LEN)
            .zip(answer.seq)
            .map(|(epoch, seq)| Position {
                epoch: epoch.into(),
                seq,
            });
        let Some(here) = here else {
            self.plain = true;
            self.position = None;
            out.push_back(Output::Update(Update::Connected {
                resumed: false,
                epoch: "".into(),
                seq: 0,
            }));
            return;
        };
        let resumed = answer.resumed == Some(true) && self.asked.as_ref() == Some(&here);
        let Position { epoch, seq } = here;
        out.push_back(Output::Update(Update::Connected {
            resumed,
            epoch,
            seq,
        }));
        if resumed {
            return;
        }
        if self.asked.is_some() && answer.resumed == Some(false) {
            // The hub sends a snapshot unasked.
            self.snapshot_due = Some(now + STEP_TIMEOUT);
        } else {
            self.ask_for_snapshot(now, out);
        }
    }

    /// A message after `auth.ok`.
    pub(super) fn handle_message(
        &mut self,
        text: &str,
        now: Instant,
        out: &mut VecDeque<Output>,
    ) -> Step {
        self.heard(now);
        let Ok(message) = serde_json::from_str::<Envelope>(text) else {
            return Step::Fail("the hub sent no message of the protocol");
        };
        match message.kind {
            MessageKind::Event if message.event == names::ROOM_SNAPSHOT => {
                self.snapshot(&message, out)
            }
            MessageKind::Event => {
                self.event(message, now, out);
                Step::Go
            }
            MessageKind::Error => {
                let error = message.error.map(|error| error.message);
                tracing::warn!(error, "the hub reports an error");
                Step::Go
            }
            // A second auth.ok answers a refreshed token.
            _ => Step::Go,
        }
    }

    fn event(&mut self, message: Envelope, now: Instant, out: &mut VecDeque<Output>) {
        if self.plain {
            Self::tell(message, "".into(), 0, out);
            return;
        }
        if self.snapshot_due.is_some() {
            // Older than the snapshot that is on its way, so within it.
            return;
        }
        let (Some(position), Some(epoch), Some(seq)) =
            (&mut self.position, &message.epoch, message.seq)
        else {
            self.out_of_step("an event without a number", now, out);
            return;
        };
        if *position.epoch != **epoch || seq > position.seq.saturating_add(1) {
            self.out_of_step("a gap in the events", now, out);
        } else if seq <= position.seq {
            tracing::debug!(seq, "the hub repeats an event; skipped");
        } else {
            let epoch = Arc::clone(&position.epoch);
            let before = std::mem::replace(&mut position.seq, seq);
            if !Self::tell(message, epoch, seq, out) {
                position.seq = before;
                self.out_of_step("an event that cannot be read", now, out);
            }
        }
    }

    /// Whether the event could be read.
    fn tell(message: Envelope, epoch: Arc<str>, seq: u64, out: &mut VecDeque<Output>) -> bool {
        let ts = message.ts;
        let update = match HubEvent::from_parts(&message.event, message.payload.get()) {
            Some(Ok(event)) => Update::Event {
                seq,
                epoch,
                ts,
                event,
            },
            Some(Err(_)) => return false,
            None => {
                let payload = message.payload.get().to_owned();
                Update::Raw {
                    seq,
                    epoch,
                    ts,
                    name: message.event,
                    payload,
                }
            }
        };
        out.push_back(Output::Update(update));
        true
    }

    fn snapshot(&mut self, message: &Envelope, out: &mut VecDeque<Output>) -> Step {
        let Ok(snapshot) = serde_json::from_str::<RoomSnapshot>(message.payload.get()) else {
            return Step::Fail("the hub sent a snapshot that cannot be read");
        };
        if snapshot.epoch.is_empty() || snapshot.epoch.len() > MAX_EPOCH_LEN {
            return Step::Fail("the hub sent a snapshot without an epoch");
        }
        let stale = self.snapshot_due.is_none()
            && self
                .position
                .as_ref()
                .is_some_and(|at| *at.epoch == *snapshot.epoch && snapshot.seq < at.seq);
        if stale {
            return Step::Go;
        }
        let epoch: Arc<str> = snapshot.epoch.as_str().into();
        let seq = snapshot.seq;
        self.snapshot_due = None;
        self.position = Some(Position {
            epoch: Arc::clone(&epoch),
            seq,
        });
        let snapshot = snapshot.into_guild();
        out.push_back(Output::Update(Update::Snapshot {
            epoch,
            seq,
            snapshot,
        }));
        Step::Go
    }

    /// What should never be: the events no longer add up, so a snapshot must.
    fn out_of_step(&mut self, what: &str, now: Instant, out: &mut VecDeque<Output>) {
        tracing::warn!("{what}; asking the hub for a snapshot");
        self.ask_for_snapshot(now, out);
    }

    /// Asks for a snapshot on the caller's wish: events go on until it comes.
    pub(super) fn request_snapshot(&mut self, out: &mut VecDeque<Output>) {
        if !self.plain && self.snapshot_due.is_none() {
            out.push_back(Output::Send(text(&ClientMessage::Snapshot)));
        }
    }

    fn ask_for_snapshot(&mut self, now: Instant, out: &mut VecDeque<Output>) {
        self.snapshot_due = Some(now + STEP_TIMEOUT);
        out.push_back(Output::Send(text(&ClientMessage::Snapshot)));
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.last_heard = Some(now);
        self.pinged = false;
    }

    /// Reading begins again. What was not read says nothing about the hub, and
    /// what is due may be lying in the socket.
    pub(super) fn restart_deadlines(&mut self, now: Instant) {
        self.heard(now);
        self.snapshot_due = self.snapshot_due.map(|_| now + STEP_TIMEOUT);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut VecDeque<Output>) -> Step {
        if self.snapshot_due.is_some_and(|due| due <= now) {
            return Step::Fail("the hub sent no snapshot in time");
        }
        match self.silence_ends() {
            Some(at) if at <= now && self.pinged => return Step::Fail("the hub fell silent"),
            Some(at) if at <= now => {
                self.pinged = true;
                out.push_back(Output::Ping);
            }
            _ => {}
        }
        Step::Go
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.silence_ends()
            .into_iter()
            .chain(self.snapshot_due)
            .min()
    }

    fn silence_ends(&self) -> Option<Instant> {
        let silences = if self.pinged { 2 } else { 1 };
        self.last_heard.map(|at| at + SILENCE * silences)
    }
}
