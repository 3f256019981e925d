//! What holds while there is no key, and in calls without end-to-end encryption.

use super::{audio::Script, *};
use crate::{
    dave::{DaveOutput, KeyChange, KeyRatchet, SendKey},
    session::{CallError, EncryptionEvent},
};

/// In a call with DAVE, alone in the group: there is no key.
pub(super) fn holding(receive: bool) -> Rig {
    let mut config = config();
    config.receive = receive;
    holding_as(config)
}

fn holding_as(mut config: SessionConfig) -> Rig {
    config.policy = E2eePolicy::Required;
    let mut rig = Rig::new(config);
    rig.session.connect(rig.now, channel(LOBBY));
    rig.state(Some(LOBBY), "first");
    rig.server(Some("a.test"), "token-a");
    rig.open();
    rig.text(HELLO);
    rig.ready();
    rig.open_udp();
    rig.discovered();
    rig.describe_version(1, 1);
    assert_eq!(rig.connects(), [Ok(())]);
    rig
}

/// As when a transition is executed.
pub(super) fn key(rig: &mut Rig, byte: u8) {
    let key = SendKey::Key(KeyRatchet::new([byte; 16]));
    rig.session
        .dave_said(DaveOutput::Keys(KeyChange::Send(key)), rig.now);
    rig.listen();
}

/// Tag, counter, size and marker of DAVE.
const TRAILER: usize = 12;

/// The bytes are encrypted, so the frames are told by their number: silence is a byte longer than the script's.
fn count(rig: &mut Rig) -> usize {
    rig.heard()
        .iter()
        .filter(|(.., payload)| payload.len() == 2 + TRAILER && payload.ends_with(&[0xfa, 0xfa]))
        .count()
}

#[test]
fn without_a_key_nothing_is_sent_and_half_a_second_is_kept() {
    let mut rig = holding(false);
    let script = Script::default();
    script.say(0..100);
    rig.session.set_source(rig.now, script.source());
    rig.pass_ms(1_219);
    assert_eq!(rig.heard(), [], "not even silence");
    let speaking: Vec<_> = rig.texts(5).iter().map(|d| d["speaking"].clone()).collect();
    assert_eq!(speaking, [1, 0]);
    assert_eq!(rig.session.stats().playback.held_dropped, 35);
    key(&mut rig, 1);
    rig.pass_ms(1);
    assert_eq!(rig.text_of(5)["speaking"], 1);
    // 60 frames were given, 25 of them kept; the 40 that were left come at their pace behind them.
    rig.pass_ms(25 * 20 + 40 * 20 - 20);
    assert_eq!(count(&mut rig), 65);
    let playback = rig.session.stats().playback;
    assert_eq!((playback.sent, playback.held_dropped), (65, 35));
}

#[test]
fn what_is_held_gets_too_old_even_if_nothing_follows() {
    let mut rig = holding(false);
    let script = Script::default();
    script.say(0..3).end();
    rig.session.set_source(rig.now, script.source());
    rig.pass_ms(300);
    assert_eq!(
        rig.events().last(),
        Some(&VoiceEvent::State(ConnectionState::Connected))
    );
    rig.pass_ms(300);
    assert_eq!(rig.session.stats().playback.held_dropped, 3);
    assert!(rig.events().contains(&VoiceEvent::SourceEnded));
    key(&mut rig, 1);
    rig.pass_ms(500);
    assert_eq!(rig.heard(), []);
}

#[test]
fn a_pause_of_the_source_makes_up_for_the_delay() {
    let mut rig = holding(false);
    let script = Script::default();
    script.say(0..10);
    rig.session.set_source(rig.now, script.source());
    rig.pass_ms(199);
    key(&mut rig, 1);
    // Ten wait; the source is idle, and so they go.
    rig.pass_ms(200);
    assert_eq!(count(&mut rig), 10);
    script.say(10..11);
    rig.pass_ms(20);
    assert_eq!(count(&mut rig), 1, "at once");
}

#[test]
fn a_change_of_keys_in_mid_speech_loses_nothing() {
    let mut rig = holding(false);
    key(&mut rig, 1);
    let script = Script::default();
    script.say(0..100);
    rig.session.set_source(rig.now, script.source());
    rig.pass_ms(499);
    let hold = DaveOutput::Keys(KeyChange::Send(SendKey::Hold));
    rig.session.dave_said(hold, rig.now);
    rig.pass_ms(300);
    key(&mut rig, 2);
    rig.pass_ms(2_000);
    assert_eq!(count(&mut rig), 100);
    assert_eq!(rig.session.stats().playback.held_dropped, 0);
}

/// The work on the group is an action of its own, for the caller to do elsewhere: the beat goes on meanwhile, and so do
/// heartbeats and what is received.
#[test]
fn work_on_the_group_delays_no_frame_however_long_it_takes() {
    let mut rig = holding(false);
    key(&mut rig, 1);
    let script = Script::default();
    script.say((0..250).map(|number| number as u8));
    rig.session.set_source(rig.now, script.source());
    rig.pass_ms(1_000);
    rig.heard();
    rig.jobs = Some(Vec::new());
    rig.json(json!({"op": 24, "seq": 2, "d": {"protocol_version": 1, "epoch": 1}}));
    // What comes meanwhile waits for it.
    rig.json(json!({"op": 24, "seq": 3, "d": {"protocol_version": 1, "epoch": 1}}));
    rig.pass_ms(2_000);
    let times: Vec<Instant> = rig.heard().iter().map(|(at, ..)| *at).collect();
    assert_eq!(times.len(), 100);
    for pair in times.windows(2) {
        assert_eq!(pair[1] - pair[0], Duration::from_millis(20));
    }
    for left in [1, 0] {
        assert_eq!(rig.session.stats().backlog.key_messages, left);
        let mut jobs = rig.jobs.take().unwrap();
        assert_eq!(jobs.len(), 1, "one at a time");
        rig.jobs = Some(Vec::new());
        rig.session.job_done(rig.now, jobs.remove(0).run());
        rig.listen();
    }
    rig.pass_ms(1_000);
    assert_eq!(rig.heard().len(), 50);
}

#[test]
fn silence_that_announces_a_listener_waits_for_the_key_without_a_beat() {
    let mut rig = holding(true);
    rig.pass_ms(60_000);
    assert_eq!(rig.heard(), []);
    key(&mut rig, 1);
    rig.pass_ms(1_000);
    let silence: Vec<usize> = rig
        .heard()
        .iter()
        .map(|(.., payload)| payload.len())
        .collect();
    assert_eq!(silence, [3 + TRAILER; 5]);
}

#[test]
fn a_muted_listener_is_announced_as_well() {
    let mut config = config();
    config.receive = true;
    config.self_mute = true;
    let mut rig = holding_as(config);
    rig.pass_ms(60_000);
    assert_eq!(rig.heard(), []);
    key(&mut rig, 1);
    rig.pass_ms(1_000);
    assert_eq!(rig.heard().len(), 5);
}

#[test]
fn a_call_that_is_not_encrypted_is_not_joined_unless_that_is_allowed() {
    let mut config = config();
    config.policy = E2eePolicy::Required;
    let mut rig = Rig::new(config);
    rig.session.connect(rig.now, channel(LOBBY));
    rig.state(Some(LOBBY), "first");
    rig.server(Some("a.test"), "token-a");
    rig.serve();
    let error = ConnectError::Failed(CallError::NotEncrypted);
    assert_eq!(rig.connects(), [Err(error)]);
    assert_eq!(rig.signals(), [Some(LOBBY), None]);
}

#[test]
fn a_call_that_ceases_to_be_encrypted_goes_on_without_media() {
    let mut rig = holding(false);
    let script = Script::default();
    script.say(0..255);
    rig.session.set_source(rig.now, script.source());
    rig.describe_version(1, 0);
    rig.pass_ms(1_000);
    assert_eq!(rig.heard(), []);
    assert_eq!(rig.session.state(), ConnectionState::Connected);
    let told = VoiceEvent::Encryption(EncryptionEvent::NotEncrypted { allowed: false });
    assert!(rig.events().contains(&told));
}

#[test]
fn what_is_known_of_the_group_ends_with_the_call() {
    let mut rig = holding(false);
    assert_eq!(rig.session.dave.active_version(), 1);
    rig.session.disconnect(rig.now);
    rig.listen();
    assert_eq!(rig.session.dave.active_version(), 0);
    assert_eq!(rig.session.privacy_code(), None);
}

#[test]
fn keys_that_do_not_come_after_a_resume_are_asked_for_by_a_fresh_session() {
    for others in [false, true] {
        let mut rig = holding(false);
        if others {
            rig.json(json!({"op": 11, "seq": 1, "d": {"user_ids": ["777"]}}));
        }
        rig.resume();
        rig.said.clear();
        rig.pass_ms(2_499);
        assert_eq!(rig.closes().len(), 0);
        rig.pass_ms(1);
        let expected: &[u16] = if others { &[1000] } else { &[] };
        assert_eq!(rig.closes(), expected, "alone there is no key to be had");
        assert_eq!(rig.troubles().contains(&VoiceTrouble::KeysMissing), others);
        if others {
            assert_eq!(rig.next_link(), Duration::from_millis(250), "no backoff");
            rig.open();
            rig.text_of(0);
        }
    }
}

#[test]
fn a_group_that_was_lost_in_a_cut_is_entered_by_a_fresh_session() {
    let mut rig = holding(false);
    // The key is an old one's: there is no group.
    key(&mut rig, 1);
    rig.json(json!({"op": 11, "seq": 1, "d": {"user_ids": ["777"]}}));
    rig.resume();
    rig.said.clear();
    rig.pass_ms(2_499);
    assert_eq!(rig.closes().len(), 0);
    rig.pass_ms(1);
    assert_eq!(rig.closes(), [1000]);
    assert_eq!(rig.troubles(), [VoiceTrouble::KeysMissing]);
}

#[test]
fn dave_messages_go_through_and_what_is_said_during_a_cut_waits() {
    let mut rig = holding(false);
    let binary = |rig: &mut Rig| -> Vec<Vec<u8>> {
        rig.take(|action| match action {
            Action::SendBinary { bytes, .. } => Some(bytes.clone()),
            _ => None,
        })
    };
    let send = |rig: &mut Rig, byte: u8| {
        let payload = vec![byte];
        rig.session
            .dave_said(DaveOutput::SendBinary { op: 26, payload }, rig.now);
        rig.session.settle(rig.now);
        rig.listen();
    };
    binary(&mut rig);
    send(&mut rig, 1);
    assert_eq!(binary(&mut rig), [[26, 1]]);
    rig.cut(None);
    send(&mut rig, 2);
    rig.next_link();
    rig.open();
    send(&mut rig, 3);
    rig.text(HELLO);
    assert_eq!(binary(&mut rig), Vec::<Vec<u8>>::new());
    rig.text(RESUMED);
    assert_eq!(binary(&mut rig), [[26, 2], [26, 3]], "in their order");
    // More than may wait: the server would miss some, so a fresh session it is.
    rig.said.clear();
    rig.cut(None);
    for byte in 0..=64 {
        send(&mut rig, byte);
    }
    rig.next_link();
    rig.open();
    assert_eq!(rig.texts(7), Vec::<Value>::new());
    rig.text_of(0);
    assert_eq!(binary(&mut rig), Vec::<Vec<u8>>::new());
}

#[test]
fn a_long_cut_keeps_one_op_5_not_many() {
    let mut rig = holding(false);
    key(&mut rig, 1);
    let script = Script::default();
    rig.session.set_source(rig.now, script.source());
    rig.cut(None);
    rig.next_link();
    rig.open();
    for _ in 0..12 {
        script.say([1]);
        rig.pass_ms(800);
    }
    rig.text(HELLO);
    rig.text(RESUMED);
    assert_eq!(rig.text_of(5)["speaking"], 0);
    assert_eq!(count(&mut rig), 12);
}

#[test]
fn nothing_secret_is_printed() {
    let mut rig = Rig::new(config());
    rig.session.connect(rig.now, channel(LOBBY));
    rig.state(Some(LOBBY), "first");
    rig.server(Some("a.test"), "token-a");
    rig.open();
    let printed = format!("{:?} {:?}", rig.said, rig.session.gateway);
    assert!(!printed.contains("token-a"), "{printed}");
    let key = crate::gateway::SessionDescription {
        mode: "m".to_owned(),
        secret_key: [199; 32],
        dave_protocol_version: 1,
    };
    assert!(!format!("{key:?}").contains("199"));
}
