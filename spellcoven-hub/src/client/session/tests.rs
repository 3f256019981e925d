use proptest::prelude::*;

use super::*;
use crate::wire::Snowflake;

const GUILD: &str = r#""guildId":"1""#;

struct Rig {
    session: Session,
    now: Instant,
}

/// What a test looks at of an output.
#[derive(Debug, PartialEq)]
enum Out {
    FetchToken,
    Dial,
    Send(String),
    Ping,
    Close(u16),
    Update(Update),
}

impl Rig {
    fn new(max_attempts: Option<u32>, resume: Option<ResumePoint>) -> Self {
        let session = Session::new(max_attempts, resume, fastrand::Rng::with_seed(3));
        let mut rig = Self {
            session,
            now: tokio::time::Instant::now().into_std(),
        };
        rig.session.connect(rig.now);
        rig.expect(&[Out::FetchToken]);
        rig
    }

    /// Up to `auth.ok` of epoch `e1` at `seq` and the snapshot at it.
    fn live(seq: u64) -> Self {
        let mut rig = Self::new(None, None);
        rig.dial("t1");
        rig.message(&auth_ok("e1", seq, None));
        rig.message(&snapshot("e1", seq));
        rig.outputs();
        rig
    }

    fn outputs(&mut self) -> Vec<Out> {
        std::iter::from_fn(|| self.session.poll_output())
            .map(|output| match output {
                Output::FetchToken => Out::FetchToken,
                Output::Dial => Out::Dial,
                Output::Send(text) => Out::Send(text),
                Output::Ping => Out::Ping,
                Output::Close(code) => Out::Close(code),
                Output::Update(update) => Out::Update(update),
            })
            .collect()
    }

    fn expect(&mut self, outputs: &[Out]) {
        assert_eq!(self.outputs(), outputs);
    }

    fn token(&mut self, token: &str) {
        self.session
            .handle_token(Ok(AccessToken::new(token)), self.now);
    }

    /// Token and handshake; eats the auth message and gives it back.
    fn dial(&mut self, token: &str) -> String {
        self.token(token);
        self.expect(&[Out::Dial]);
        self.session.handle_dialled(self.now);
        match self.outputs().as_slice() {
            [Out::Send(text)] => text.clone(),
            other => panic!("no auth: {other:?}"),
        }
    }

    fn message(&mut self, text: &str) {
        self.session.handle_message(text, self.now);
    }

    fn closed(&mut self, code: Option<u16>) {
        self.session.handle_closed(code, "bye".to_owned(), self.now);
    }

    /// Lets time run to the next wake-up; gives back how long it took.
    fn sleep(&mut self) -> Duration {
        let at = self.session.poll_timeout().expect("something is due");
        let slept = at - self.now;
        self.now = at;
        self.session.handle_timeout(at);
        slept
    }

    fn updates(&mut self) -> Vec<Update> {
        self.outputs()
            .into_iter()
            .filter_map(|out| match out {
                Out::Update(update) => Some(update),
                _ => None,
            })
            .collect()
    }

    fn seqs(&mut self) -> Vec<u64> {
        self.updates()
            .iter()
            .filter_map(|update| match update {
                Update::Event { seq, .. } | Update::Raw { seq, .. } => Some(*seq),
                _ => None,
            })
            .collect()
    }
}

fn auth_ok(epoch: &str, seq: u64, resumed: Option<bool>) -> String {
    let resumed = resumed.map_or(String::new(), |resumed| format!(r#","resumed":{resumed}"#));
    format!(
        r#"{{"v":1,"type":"ack","event":"auth.ok","payload":{{{GUILD},"epoch":"{epoch}","seq":{seq}{resumed}}},{GUILD},"ts":5}}"#
    )
}

fn snapshot(epoch: &str, seq: u64) -> String {
    format!(
        r#"{{"v":1,"type":"event","event":"room.snapshot","payload":{{{GUILD},"rooms":[],"epoch":"{epoch}","seq":{seq}}},"epoch":"{epoch}","seq":{seq},"ts":5}}"#
    )
}

fn event(epoch: &str, seq: u64) -> String {
    named("room.deleted", r#""channelId":"2","#, epoch, seq)
}

fn named(name: &str, fields: &str, epoch: &str, seq: u64) -> String {
    format!(
        r#"{{"v":1,"type":"event","event":"{name}","payload":{{{fields}{GUILD}}},"ts":5,"epoch":"{epoch}","seq":{seq}}}"#
    )
}

fn send(message: &ClientMessage) -> Out {
    Out::Send(text(message))
}

#[test]
fn the_first_connection_asks_for_a_snapshot_and_events_follow_it() {
    let mut rig = Rig::new(None, None);
    assert_eq!(rig.dial("t1"), r#"{"type":"auth","token":"t1"}"#);
    rig.message(&auth_ok("e1", 7, None));
    rig.expect(&[
        Out::Update(Update::Connected {
            resumed: false,
            epoch: "e1".into(),
            seq: 7,
        }),
        send(&ClientMessage::Snapshot),
    ]);
    // Told before the snapshot, so contained in it.
    rig.message(&event("e1", 8));
    rig.expect(&[]);
    rig.message(&snapshot("e1", 8));
    rig.message(&event("e1", 9));
    let updates = rig.updates();
    assert!(
        matches!(&updates[0], Update::Snapshot { seq: 8, snapshot, .. } if snapshot.guild_id == Snowflake::new(1))
    );
    assert!(matches!(updates[1], Update::Event { seq: 9, ts: 5, .. }));
    assert_eq!(updates.len(), 2);
}

#[test]
fn a_repeated_event_is_skipped() {
    let mut rig = Rig::live(7);
    for seq in [8, 8, 7, 9, 8, 10] {
        rig.message(&event("e1", seq));
    }
    assert_eq!(rig.seqs(), [8, 9, 10]);
}

#[test]
fn a_gap_an_unknown_epoch_or_an_unreadable_event_asks_for_one_snapshot() {
    for strange in [
        event("e1", 9),
        event("e2", 8),
        named("room.deleted", r#""channelId":2,"#, "e1", 8),
        format!(
            r#"{{"v":1,"type":"event","event":"room.deleted","payload":{{"channelId":"2",{GUILD}}},"ts":5}}"#
        ),
    ] {
        let mut rig = Rig::live(7);
        rig.message(&strange);
        rig.message(&event("e1", 10));
        rig.expect(&[send(&ClientMessage::Snapshot)]);
        rig.message(&snapshot("e1", 12));
        rig.message(&event("e1", 13));
        assert_eq!(rig.seqs(), [13]);
    }
}

#[test]
fn an_unknown_event_passes_raw_and_keeps_its_number() {
    let mut rig = Rig::live(7);
    rig.message(&named("room.painted", r#""colour":"red","#, "e1", 8));
    rig.message(&event("e1", 9));
    let updates = rig.updates();
    assert!(
        matches!(&updates[0], Update::Raw { seq: 8, name, payload, .. } if name == "room.painted" && payload.contains("red"))
    );
    assert!(matches!(updates[1], Update::Event { seq: 9, .. }));
}

#[test]
fn a_reconnect_resumes_after_the_last_event() {
    let mut rig = Rig::live(7);
    rig.message(&event("e1", 8));
    rig.outputs();
    rig.closed(Some(1001));
    let waited = rig.sleep();
    assert!(
        waited >= Duration::from_millis(250) && waited <= Duration::from_millis(500),
        "{waited:?}"
    );
    let update = Update::Disconnected {
        code: Some(1001),
        reason: "bye".into(),
        retry_in: Some(waited),
    };
    rig.expect(&[Out::Update(update), Out::FetchToken]);
    assert_eq!(
        rig.dial("t1"),
        r#"{"type":"auth","token":"t1","resume":{"epoch":"e1","seq":8}}"#
    );
    rig.message(&auth_ok("e1", 8, Some(true)));
    rig.message(&event("e1", 9));
    let updates = rig.updates();
    assert_eq!(
        updates[0],
        Update::Connected {
            resumed: true,
            epoch: "e1".into(),
            seq: 8
        }
    );
    assert!(matches!(updates[1], Update::Event { seq: 9, .. }));
}

#[test]
fn a_refused_resume_waits_for_the_hubs_snapshot() {
    let mut rig = Rig::live(7);
    rig.closed(None);
    rig.sleep();
    rig.outputs();
    rig.dial("t1");
    rig.message(&auth_ok("e2", 3, Some(false)));
    rig.message(&snapshot("e2", 3));
    rig.message(&event("e2", 4));
    let updates = rig.updates();
    assert_eq!(
        updates[0],
        Update::Connected {
            resumed: false,
            epoch: "e2".into(),
            seq: 3
        }
    );
    assert!(matches!(updates[1], Update::Snapshot { seq: 3, .. }));
    assert!(matches!(updates[2], Update::Event { seq: 4, .. }));
}

#[test]
fn a_resume_that_lands_elsewhere_is_no_resume() {
    let mut rig = Rig::live(7);
    rig.closed(None);
    rig.sleep();
    rig.outputs();
    rig.dial("t1");
    rig.message(&auth_ok("e1", 9, Some(true)));
    rig.expect(&[
        Out::Update(Update::Connected {
            resumed: false,
            epoch: "e1".into(),
            seq: 9,
        }),
        send(&ClientMessage::Snapshot),
    ]);
}

#[test]
fn a_given_resume_point_is_used_at_once() {
    let mut rig = Rig::new(
        None,
        Some(ResumePoint {
            epoch: "e9".into(),
            seq: 4,
        }),
    );
    assert_eq!(
        rig.dial("t1"),
        r#"{"type":"auth","token":"t1","resume":{"epoch":"e9","seq":4}}"#
    );
}

#[test]
fn five_attempts_with_growing_waits_then_it_gives_up() {
    let mut rig = Rig::new(None, None);
    for ceiling_ms in [500, 1000, 2000, 4000, 8000] {
        rig.token("t1");
        rig.session.handle_dial_failed("refused".into(), rig.now);
        let ceiling = Duration::from_millis(ceiling_ms);
        let waited = rig.sleep();
        assert!(
            waited >= ceiling / 2 && waited <= ceiling,
            "{waited:?} of {ceiling:?}"
        );
        assert_eq!(rig.outputs().last(), Some(&Out::FetchToken));
    }
    rig.token("t1");
    rig.session.handle_dial_failed("refused".into(), rig.now);
    rig.expect(&[
        Out::Dial,
        Out::Update(Update::Disconnected {
            code: None,
            reason: "refused".into(),
            retry_in: None,
        }),
        Out::Update(Update::GaveUp { attempts: 5 }),
    ]);
    assert_eq!(rig.session.poll_timeout(), None);
    // The person's wish starts the count anew.
    rig.session.connect(rig.now);
    rig.expect(&[Out::FetchToken]);
    rig.token("t1");
    rig.session.handle_dial_failed("refused".into(), rig.now);
    assert!(rig.session.poll_timeout().is_some());
}

#[test]
fn auth_ok_resets_the_count_and_brings_the_hubs_limit() {
    for (explicit, expected) in [(None, 2), (Some(3), 3)] {
        let mut rig = Rig::new(explicit, None);
        rig.token("t1");
        rig.session.handle_dial_failed("refused".into(), rig.now);
        rig.sleep();
        rig.outputs();
        rig.dial("t1");
        let advised =
            auth_ok("e1", 0, None).replace(r#""seq""#, r#""reconnect":{"maxAttempts":2},"seq""#);
        rig.message(&advised);
        rig.closed(None);
        let mut attempts = 0;
        while rig.session.poll_timeout().is_some() {
            attempts += 1;
            rig.sleep();
            rig.token("t1");
            rig.session.handle_dial_failed("refused".into(), rig.now);
        }
        assert_eq!(attempts, expected);
        assert_eq!(
            rig.outputs().last(),
            Some(&Out::Update(Update::GaveUp { attempts: expected }))
        );
    }
}

#[test]
fn a_hub_cannot_ask_for_endless_attempts() {
    let mut reconnect = Reconnect::new(None, fastrand::Rng::with_seed(1));
    reconnect.succeeded(Some(u32::MAX));
    let delays = std::iter::from_fn(|| reconnect.next_delay()).collect::<Vec<_>>();
    assert_eq!(delays.len(), 100);
    assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(30)));
}

#[test]
fn a_refused_token_is_not_sent_again() {
    let mut rig = Rig::live(7);
    rig.closed(Some(4401));
    rig.expect(&[
        Out::Update(Update::Disconnected {
            code: Some(4401),
            reason: "bye".into(),
            retry_in: None,
        }),
        Out::FetchToken,
    ]);
    rig.token("t1");
    rig.expect(&[Out::Update(Update::Unauthorized {
        reason: "bye".into(),
    })]);
    assert_eq!(rig.session.poll_timeout(), None);
    // Not even when the person insists, ...
    rig.session.connect(rig.now);
    rig.token("t1");
    rig.expect(&[
        Out::FetchToken,
        Out::Update(Update::Unauthorized {
            reason: "bye".into(),
        }),
    ]);
    // ... but another one is.
    rig.session.connect(rig.now);
    rig.token("t2");
    rig.sleep();
    rig.expect(&[Out::FetchToken, Out::Dial]);
}

#[test]
fn new_tokens_that_are_refused_one_after_the_other_come_to_an_end() {
    let mut rig = Rig::new(None, None);
    rig.dial("t0");
    let mut waits = 0;
    for n in 1.. {
        rig.closed(Some(4401));
        rig.outputs();
        rig.token(&format!("t{n}"));
        if rig.session.poll_timeout().is_none() {
            break;
        }
        waits += 1;
        rig.sleep();
        rig.expect(&[Out::Dial]);
        rig.session.handle_dialled(rig.now);
        rig.outputs();
    }
    assert_eq!(waits, 5);
    rig.expect(&[Out::Update(Update::GaveUp { attempts: 5 })]);
}

#[test]
fn a_token_source_that_fails_or_hangs_is_a_failed_attempt() {
    let mut rig = Rig::new(Some(1), None);
    assert_eq!(rig.sleep(), STEP_TIMEOUT);
    rig.sleep();
    rig.outputs();
    rig.session.handle_token(Err("down".into()), rig.now);
    let updates = rig.updates();
    assert!(matches!(&updates[0], Update::Disconnected { reason, .. } if reason == "down"));
    assert_eq!(updates[1], Update::GaveUp { attempts: 1 });
}

#[test]
fn a_refreshed_token_goes_out_on_the_standing_connection() {
    let mut rig = Rig::live(7);
    rig.session.refresh_token();
    rig.expect(&[Out::FetchToken]);
    rig.token("t2");
    rig.expect(&[send(&ClientMessage::Auth {
        token: "t2".into(),
        resume: None,
    })]);
    // Its auth.ok tells the reader nothing new.
    rig.message(&auth_ok("e1", 7, None));
    rig.expect(&[]);
    // If it is refused, it is the new one that is never sent again.
    rig.closed(Some(4401));
    rig.outputs();
    rig.token("t2");
    assert!(matches!(
        rig.updates().as_slice(),
        [Update::Unauthorized { .. }]
    ));
}

#[test]
fn each_step_has_a_deadline() {
    let mut rig = Rig::new(None, None);
    rig.token("t1");
    assert_eq!(rig.sleep(), STEP_TIMEOUT);
    assert_eq!(rig.outputs()[1], Out::Close(1000));
    rig.sleep();
    rig.outputs();
    rig.dial("t1");
    assert_eq!(rig.sleep(), STEP_TIMEOUT);
    assert_eq!(rig.outputs()[0], Out::Close(1000));
    rig.sleep();
    rig.outputs();
    rig.dial("t1");
    rig.message(&auth_ok("e1", 0, None));
    rig.outputs();
    assert_eq!(rig.sleep(), STEP_TIMEOUT, "the snapshot is due");
    assert_eq!(rig.outputs()[0], Out::Close(1000));
}

#[test]
fn a_silent_hub_is_pinged_and_then_left() {
    let mut rig = Rig::live(7);
    assert_eq!(rig.sleep(), Duration::from_secs(30));
    rig.expect(&[Out::Ping]);
    rig.now += Duration::from_secs(1);
    rig.session.handle_activity(rig.now);
    assert_eq!(rig.sleep(), Duration::from_secs(30));
    rig.expect(&[Out::Ping]);
    assert_eq!(rig.sleep(), Duration::from_secs(30));
    assert_eq!(rig.outputs()[0], Out::Close(1000));
}

#[test]
fn a_client_that_does_not_read_blames_nobody_for_the_silence() {
    let mut rig = Rig::live(7);
    rig.session.set_paused(true, rig.now);
    assert_eq!(rig.session.poll_timeout(), None);
    rig.now += Duration::from_secs(600);
    rig.session.handle_timeout(rig.now);
    rig.session.set_paused(false, rig.now);
    rig.expect(&[]);
    assert_eq!(rig.sleep(), Duration::from_secs(30));
    rig.expect(&[Out::Ping]);
}

#[test]
fn a_client_that_does_not_read_gives_up_nothing() {
    let mut rig = Rig::new(None, None);
    rig.token("t1");
    rig.session.set_paused(true, rig.now);
    assert_eq!(rig.session.poll_timeout(), None);
    rig.now += Duration::from_secs(600);
    rig.session.handle_timeout(rig.now);
    rig.expect(&[Out::Dial]);
    rig.session.set_paused(false, rig.now);
    assert_eq!(rig.sleep(), STEP_TIMEOUT);
}

#[test]
fn what_is_no_message_of_the_protocol_ends_the_connection() {
    for nonsense in ["", "{", "[]", r#"{"v":1}"#, "\u{0}"] {
        let mut rig = Rig::live(7);
        rig.message(nonsense);
        assert_eq!(rig.outputs()[0], Out::Close(1008), "{nonsense:?}");
        let mut rig = Rig::new(None, None);
        rig.dial("t1");
        rig.message(nonsense);
        assert_eq!(rig.outputs()[0], Out::Close(1008), "{nonsense:?}");
    }
}

#[test]
fn unknown_types_and_errors_are_harmless() {
    let mut rig = Rig::live(7);
    rig.message(r#"{"v":1,"type":"gossip","event":"x","payload":null,"ts":1}"#);
    rig.message(r#"{"v":1,"type":"error","event":"error","payload":null,"ts":1,"error":{"code":"INTERNAL_ERROR","message":"m"}}"#);
    rig.expect(&[]);
    rig.message(&event("e1", 8));
    assert_eq!(rig.seqs(), [8]);
}

#[test]
fn a_hub_without_epochs_sends_plain_events() {
    let mut rig = Rig::new(None, None);
    rig.dial("t1");
    rig.message(&format!(
        r#"{{"v":1,"type":"ack","event":"auth.ok","payload":{{{GUILD}}},{GUILD},"ts":5}}"#
    ));
    rig.expect(&[Out::Update(Update::Connected {
        resumed: false,
        epoch: "".into(),
        seq: 0,
    })]);
    rig.message(&format!(
        r#"{{"v":1,"type":"event","event":"room.deleted","payload":{{"channelId":"2",{GUILD}}},"ts":5}}"#
    ));
    assert_eq!(rig.seqs(), [0]);
    // And is not asked for what it does not know.
    rig.session.request_snapshot();
    rig.expect(&[]);
    rig.closed(None);
    rig.sleep();
    rig.outputs();
    assert_eq!(rig.dial("t1"), r#"{"type":"auth","token":"t1"}"#);
}

#[test]
fn late_results_of_an_earlier_life_change_nothing() {
    let mut rig = Rig::new(None, None);
    rig.session.handle_dialled(rig.now);
    rig.session.handle_dial_failed("late".into(), rig.now);
    rig.closed(Some(1000));
    rig.message(&event("e1", 1));
    rig.expect(&[]);
    rig.session.close();
    rig.expect(&[Out::Close(1000)]);
    rig.token("t1");
    rig.expect(&[]);
    assert_eq!(rig.session.poll_timeout(), None);
}

#[derive(Debug, Clone)]
enum Op {
    Connect,
    Refresh,
    Snapshot,
    Token(Option<u8>),
    Dialled,
    DialFailed,
    Message(String),
    Closed(Option<u16>),
    Paused(bool),
    Timeout,
    Sleep(u64),
}

fn a_message() -> impl Strategy<Value = String> {
    let epoch = prop_oneof![8 => Just("e1"), 1 => Just("e2"), 1 => Just("")];
    let seq = prop_oneof![20 => 0..9_u64, 1 => Just(u64::MAX)];
    let resumed = prop::sample::select(vec![None, Some(true), Some(false)]);
    prop_oneof![
        1 => (epoch.clone(), seq.clone(), resumed).prop_map(|(epoch, seq, resumed)| auth_ok(epoch, seq, resumed)),
        1 => (epoch.clone(), seq.clone()).prop_map(|(epoch, seq)| snapshot(epoch, seq)),
        9 => (epoch.clone(), seq.clone()).prop_map(|(epoch, seq)| event(epoch, seq)),
        1 => (epoch, seq).prop_map(|(epoch, seq)| named("x", "", epoch, seq)),
        1 => "\\PC{0,20}",
    ]
}

fn an_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => Just(Op::Connect),
        1 => Just(Op::Refresh),
        1 => Just(Op::Snapshot),
        4 => prop::option::of(0..3_u8).prop_map(Op::Token),
        4 => Just(Op::Dialled),
        1 => Just(Op::DialFailed),
        40 => a_message().prop_map(Op::Message),
        2 => prop::option::of(prop::sample::select(vec![1000, 1001, 1013, 4401, 0])).prop_map(Op::Closed),
        1 => any::<bool>().prop_map(Op::Paused),
        4 => Just(Op::Timeout),
        2 => (0..40_000_u64).prop_map(Op::Sleep),
    ]
}

proptest! {
    /// Whatever a hub sends and whatever fails, nothing panics, what the reader
    /// gets is in sequence, and a wake-up is never overdue.
    #[test]
    fn a_hostile_hub_cannot_break_the_order(ops in prop::collection::vec(an_op(), 0..80)) {
        let mut rig = Rig::live(2);
        let mut at = Some(("e1".to_owned(), 2));
        for op in ops {
            match op {
                Op::Connect => rig.session.connect(rig.now),
                Op::Refresh => rig.session.refresh_token(),
                Op::Snapshot => rig.session.request_snapshot(),
                Op::Token(Some(n)) => rig.token(&format!("t{n}")),
                Op::Token(None) => rig.session.handle_token(Err("none".into()), rig.now),
                Op::Dialled => rig.session.handle_dialled(rig.now),
                Op::DialFailed => rig.session.handle_dial_failed("no".into(), rig.now),
                Op::Message(text) => rig.message(&text),
                Op::Closed(code) => rig.closed(code),
                Op::Paused(paused) => rig.session.set_paused(paused, rig.now),
                Op::Timeout => {
                    rig.now = rig.session.poll_timeout().map_or(rig.now, |due| due.max(rig.now));
                    rig.session.handle_timeout(rig.now);
                    prop_assert!(rig.session.poll_timeout().is_none_or(|due| due > rig.now), "a hot loop");
                }
                Op::Sleep(ms) => rig.now += Duration::from_millis(ms),
            }
            let outputs = rig.outputs();
            prop_assert!(outputs.len() <= 4, "{outputs:?}");
            for out in outputs {
                match out {
                    Out::Update(Update::Snapshot { epoch, seq, .. }) => at = Some((epoch.to_string(), seq)),
                    Out::Update(Update::Event { epoch, seq, .. } | Update::Raw { epoch, seq, .. })
                        if !epoch.is_empty() =>
                    {
                        let (known, last) = at.clone().expect("a snapshot came first");
                        prop_assert_eq!((&*epoch, seq), (&*known, last + 1));
                        at = Some((known, seq));
                    }
                    _ => {}
                }
            }
        }
    }
}
