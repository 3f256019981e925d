//! 24 hours of a shard in virtual time, against a service that acks, cuts,
//! asks to reconnect, calls sessions invalid and falls silent.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use spellcoven_discord_gateway::{Event, Protocol, proto::Output};

use crate::support::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The service's side: one session, a log of its events, one connection.
struct Service {
    rng: fastrand::Rng,
    sessions: u64,
    /// The numbers sent in this session.
    last_seq: u64,
    session_alive: bool,
    /// The session is bound to the connection: events are sent.
    attached: bool,
    silent: bool,
    next_trouble: Instant,
    next_event: Instant,
    /// (time, what the protocol is told).
    inbox: Vec<(Instant, Told)>,
}

enum Told {
    Connected,
    ConnectFailed,
    Message(String),
    Closed(Option<u16>),
    Granted,
}

impl Service {
    fn new(seed: u64, now: Instant) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            sessions: 0,
            last_seq: 0,
            session_alive: false,
            attached: false,
            silent: false,
            next_trouble: now + Duration::from_secs(600),
            next_event: now,
            inbox: Vec::new(),
        }
    }

    fn tell(&mut self, now: Instant, told: Told) {
        let at = now + Duration::from_millis(self.rng.u64(5..80));
        // One connection is one stream: nothing overtakes.
        let at = self.inbox.last().map_or(at, |(last, _)| at.max(*last));
        self.inbox.push((at, told));
    }

    fn event(&mut self, now: Instant) {
        self.last_seq += 1;
        if self.attached && !self.silent {
            let message = dispatch(self.last_seq, "GUILD_DELETE", json!({"id": "5"}));
            self.tell(now, Told::Message(message));
        }
    }

    fn trouble(&mut self, now: Instant) {
        match self.rng.u8(0..7) {
            0 => self.tell(now, Told::Closed(None)),
            1 => self.tell(now, Told::Message(RECONNECT.into())),
            2 => {
                self.session_alive = false;
                self.tell(now, Told::Message(invalid_session(false)));
            }
            3 => self.tell(now, Told::Message(invalid_session(true))),
            4 => self.silent = true,
            5 => self.tell(now, Told::Message(BEAT_NOW.into())),
            _ => {
                self.session_alive = self.rng.bool();
                self.tell(now, Told::Closed(Some(4000)));
            }
        }
        self.next_trouble = now + Duration::from_secs(self.rng.u64(60..3600));
    }

    fn output(&mut self, output: &Output, now: Instant) {
        match output {
            Output::Connect { .. } => {
                self.inbox.clear();
                self.silent = false;
                self.attached = false;
                if self.rng.u8(..) < 30 {
                    self.tell(now, Told::ConnectFailed);
                } else {
                    self.tell(now, Told::Connected);
                    self.tell(now, Told::Message(hello(INTERVAL)));
                }
            }
            Output::Close { code } => {
                assert_eq!(*code, 4000);
                self.inbox.clear();
                self.attached = false;
            }
            Output::RequestIdentify => self.tell(now, Told::Granted),
            Output::Send(payload) => {
                let value = serde_json::from_str(payload.as_str()).unwrap();
                self.sent(&value, now);
            }
            _ => {}
        }
    }

    fn sent(&mut self, payload: &Value, now: Instant) {
        if self.silent {
            return;
        }
        match payload["op"].as_u64() {
            Some(1) => self.tell(now, Told::Message(ACK.into())),
            Some(2) => {
                self.sessions += 1;
                self.session_alive = true;
                self.attached = true;
                self.last_seq = 1;
                let name = format!("session-{}", self.sessions);
                self.tell(now, Told::Message(ready(1, &name, &[])));
            }
            Some(6) if self.session_alive => {
                assert_eq!(
                    payload["d"]["session_id"],
                    format!("session-{}", self.sessions)
                );
                self.attached = true;
                let from = payload["d"]["seq"].as_u64().unwrap();
                assert!(from <= self.last_seq);
                for seq in from + 1..=self.last_seq {
                    let message = dispatch(seq, "GUILD_DELETE", json!({"id": "5"}));
                    self.tell(now, Told::Message(message));
                }
                self.last_seq += 1;
                self.tell(now, Told::Message(resumed(self.last_seq)));
            }
            Some(6) => self.tell(now, Told::Message(invalid_session(false))),
            other => panic!("an op that nobody asked for: {other:?}"),
        }
    }
}

struct Day {
    active: Duration,
    identifies: u64,
    resumes: u64,
    connects: u64,
}

fn run(seed: u64, troubled: bool) -> Day {
    let start = tokio::time::Instant::now().into_std();
    let mut now = start;
    let mut protocol = Protocol::new(config(seed), now);
    let mut service = Service::new(seed, now);
    if !troubled {
        service.next_trouble = start + DAY * 2;
    }
    let mut delivered: BTreeSet<u64> = BTreeSet::new();
    let mut active = Duration::ZERO;
    let mut connects = 0;
    while now < start + DAY {
        while let Some(output) = protocol.poll_output() {
            connects += u64::from(matches!(output, Output::Connect { .. }));
            if let Output::Dispatch(event) = &output {
                if matches!(event.event, Event::Ready(_)) {
                    delivered.clear();
                }
                // Within a session: in order, none left out, none twice.
                assert!(
                    delivered.insert(event.seq),
                    "seed {seed}: {} twice",
                    event.seq
                );
                assert_eq!(delivered.len() as u64, event.seq, "seed {seed}: a gap");
            }
            service.output(&output, now);
        }
        let due = protocol
            .poll_timeout()
            .expect("a running shard always has a next wake-up");
        assert!(
            due >= now,
            "seed {seed}: a wake-up in the past would be a busy loop"
        );
        let inbox = service.inbox.first().map_or(due, |(at, _)| *at);
        let next = due
            .min(inbox)
            .min(service.next_event)
            .min(service.next_trouble);
        if protocol.state() == spellcoven_discord_gateway::ConnectionState::Active {
            active += next.saturating_duration_since(now);
        }
        now = now.max(next);
        if now >= service.next_trouble {
            service.trouble(now);
        } else if now >= service.next_event {
            service.event(now);
            service.next_event = now + Duration::from_secs(service.rng.u64(1..60));
        } else if now >= inbox && !service.inbox.is_empty() {
            match service.inbox.remove(0).1 {
                Told::Connected => protocol.handle_connected(now),
                Told::ConnectFailed => protocol.handle_connect_failed(now),
                Told::Message(text) => protocol.handle_message(&text, now),
                Told::Granted => protocol.identify_granted(now),
                Told::Closed(code) => {
                    service.attached = false;
                    service.inbox.clear();
                    protocol.handle_closed(code, now);
                }
            }
        } else {
            protocol.handle_timeout(now);
        }
    }
    let stats = protocol.stats();
    Day {
        active,
        identifies: stats.identifies,
        resumes: stats.resumes,
        connects,
    }
}

#[test]
fn a_quiet_day_needs_one_connection() {
    let day = run(1, false);
    assert!(
        day.identifies == 1 && day.connects < 9,
        "only connects that fail are repeated"
    );
    assert!(day.active > DAY - Duration::from_secs(60));
}

#[test]
fn a_troubled_day_loses_no_event_and_is_active_nearly_all_the_time() {
    for seed in 0..10 {
        let day = run(seed, true);
        let share = day.active.as_secs_f64() / DAY.as_secs_f64();
        assert!(share > 0.97, "seed {seed}: active {share}");
        assert!(day.resumes > 3, "seed {seed}");
        assert!(day.identifies < 60 && day.connects < 400, "seed {seed}");
    }
}
