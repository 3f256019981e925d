//! A person against a scripted server, and two people who hear each other through a wire.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::cipher::{Cipher, Mode, Secret};
use super::super::dave::{DaveGroup, DaveOutput, DaveSettings, ServerKeys, op};
use super::super::packet;
use super::*;
use crate::ids::UserId;

const CHANNEL: u64 = 500;

/// As little of a voice server as two people need: everyone has the same key.
struct Wire {
    now: Duration,
    group: DaveGroup,
    people: Vec<(u64, Person)>,
    /// Texts that people sent, with their opcodes.
    said: Vec<(u64, u64, Value)>,
    /// Clear packets that people sent.
    packets: Vec<(u64, Vec<u8>)>,
    mode: Mode,
    relays_speaking: bool,
}

impl Wire {
    fn new() -> Self {
        Self {
            now: Duration::ZERO,
            group: DaveGroup::new(CHANNEL, DaveSettings::default(), ServerKeys::generate(), 1),
            people: Vec::new(),
            said: Vec::new(),
            packets: Vec::new(),
            mode: Mode::Aes256GcmRtpsize,
            relays_speaking: true,
        }
    }

    fn person(&mut self, user: u64) -> &mut Person {
        let found = self.people.iter_mut().find(|(id, _)| *id == user);
        &mut found.unwrap().1
    }

    fn add(&mut self, user: u64, settings: PersonSettings) {
        let mut person = Person::new(UserId(user), settings, user);
        person.connect(Invitation {
            guild: 1,
            channel: CHANNEL,
            session: "session".into(),
            token: "token".into(),
        });
        let hello = json!({"op": 8, "d": {"v": 8, "heartbeat_interval": 13750.0}});
        person.text(self.now, &hello.to_string());
        self.people.push((user, person));
        self.run();
    }

    fn text(&mut self, to: u64, op: u8, d: Value) {
        let now = self.now;
        let text = json!({"op": op, "d": d, "seq": 3}).to_string();
        self.person(to).text(now, &text);
    }

    fn tell_others(&mut self, user: u64, op: u8, d: &Value) {
        let others: Vec<u64> = self.people.iter().map(|(id, _)| *id).collect();
        for other in others.into_iter().filter(|other| *other != user) {
            self.text(other, op, d.clone());
        }
    }

    /// Carries messages until nobody has any.
    fn run(&mut self) {
        loop {
            let next = self
                .people
                .iter_mut()
                .find_map(|(id, person)| Some((*id, person.poll()?)));
            match next {
                Some((user, PersonOutput::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    let op = message["op"].as_u64().unwrap();
                    self.said.push((user, op, message["d"].clone()));
                    self.on_text(user, op, &message["d"]);
                }
                Some((user, PersonOutput::Binary(bytes))) => {
                    self.group.binary(self.now, user, bytes[0], &bytes[1..]);
                }
                Some((user, PersonOutput::Datagram(bytes))) => self.on_datagram(user, bytes),
                None => {}
            }
            let mut moved = false;
            while let Some(output) = self.group.poll() {
                moved = true;
                match output {
                    DaveOutput::Json { to, op, d } => self.text(to, op, d),
                    DaveOutput::Binary { to, op, payload } => {
                        let mut bytes = vec![0, 4, op];
                        bytes.extend_from_slice(&payload);
                        let now = self.now;
                        self.person(to).binary(now, &bytes);
                    }
                    DaveOutput::Journal(_) => {}
                    other => panic!("{other:?}"),
                }
            }
            if !moved
                && !self
                    .people
                    .iter_mut()
                    .any(|(_, person)| person.has_output())
            {
                return;
            }
        }
    }

    fn on_text(&mut self, user: u64, op: u64, d: &Value) {
        match op {
            0 => {
                assert_eq!(d["user_id"], user.to_string());
                assert_eq!(d["max_dave_protocol_version"], 1);
                let modes = [Mode::Aes256GcmRtpsize.name(), Mode::XChaCha20Rtpsize.name()];
                let ready = json!({"ssrc": user, "ip": "203.0.113.1", "port": 1, "modes": modes});
                self.text(user, 2, ready);
                let others: Vec<String> =
                    self.people.iter().map(|(id, _)| id.to_string()).collect();
                self.text(user, 11, json!({ "user_ids": others }));
                self.tell_others(user, 11, &json!({"user_ids": [user.to_string()]}));
            }
            1 => {
                assert_eq!(d["data"]["address"], "198.51.100.4");
                assert_eq!(d["data"]["port"], 4660);
                assert_eq!(d["data"]["mode"], self.mode.name());
                let description = json!({
                    "mode": self.mode.name(), "secret_key": vec![9; 32],
                    "dave_protocol_version": self.group.version_with(1),
                });
                self.text(user, 4, description);
                self.group.join(self.now, user, 1);
            }
            3 => assert_eq!(d["seq_ack"], 4),
            5 if !self.relays_speaking => {}
            5 => {
                let mut d = d.clone();
                d["user_id"] = json!(user.to_string());
                self.tell_others(user, 5, &d);
            }
            23 | 31 => self.group.json(self.now, user, op as u8, d),
            _ => panic!("op {op}"),
        }
    }

    fn on_datagram(&mut self, user: u64, mut bytes: Vec<u8>) {
        let now = self.now;
        if bytes.starts_with(&[0, 1, 0, 70]) {
            assert_eq!(bytes.len(), 74);
            bytes[1] = 2;
            bytes[8..20].copy_from_slice(b"198.51.100.4");
            bytes[72..].copy_from_slice(&[0x12, 0x34]);
            self.person(user).datagram(now, &mut bytes);
            return;
        }
        let cipher = Cipher::new(self.mode, &Secret::new([9; 32]));
        let clear = self.mode.clear_len(&bytes).unwrap();
        let mut opened = bytes.clone();
        let (len, _) = cipher.open(&mut opened, clear).unwrap();
        opened.truncate(len);
        self.packets.push((user, opened));
        for (id, person) in &mut self.people {
            if *id != user {
                person.datagram(now, &mut bytes.clone());
            }
        }
    }

    /// Time passes, from wake-up to wake-up.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let people = self
                .people
                .iter()
                .filter_map(|(_, person)| person.poll_timeout());
            let next = people.chain(self.group.poll_timeout()).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            for (_, person) in &mut self.people {
                person.timeout(self.now);
            }
            self.group.timeout(self.now);
            self.run();
        }
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn two_people_hear_each_others_tones_in_the_right_ears() {
    for prefer_xchacha in [false, true] {
        let mut wire = Wire::new();
        if prefer_xchacha {
            wire.mode = Mode::XChaCha20Rtpsize;
        }
        let settings = PersonSettings {
            prefer_xchacha,
            padding_share: 0.3,
            extension_share: 0.3,
            ..PersonSettings::default()
        };
        wire.add(11, settings.clone());
        wire.add(12, settings);
        wire.pass(seconds(1));
        let code = wire.person(11).privacy_code();
        assert!(code.is_some());
        assert_eq!(wire.person(12).privacy_code(), code);
        let now = wire.now;
        wire.person(11).talk(now, Speech::tone(440, 880).unwrap());
        wire.person(12).talk(now, Speech::tone(0, 1000).unwrap());
        wire.run();
        wire.pass(seconds(2));

        let frames = wire.person(12).heard(UserId(11));
        assert!((100..=101).contains(&frames.len()), "{}", frames.len());
        assert!(frames.iter().all(|frame| frame.encrypted));
        let heard = decode(&frames).unwrap();
        assert!(tone_share(&heard.left[9600..], 440) > 0.9);
        assert!(tone_share(&heard.right[9600..], 880) > 0.9);
        let heard = decode(&wire.person(11).heard(UserId(12))).unwrap();
        assert_eq!(tone_share(&heard.left[9600..], 1000), 0.0);
        assert!(tone_share(&heard.right[9600..], 1000) > 0.9);

        let summary = wire.person(12).summary().remove(&UserId(11)).unwrap();
        assert_eq!(summary.encrypted, summary.frames);
        assert_eq!((summary.failed, summary.clear, summary.keyless), (0, 0, 0));
        assert_eq!((summary.missing, summary.padding), (0, 0));
        let dressed = |bit: u8| wire.packets.iter().filter(|(_, p)| p[0] & bit != 0).count();
        assert!(dressed(0x20) > 20 && dressed(0x10) > 20);
        assert_eq!(wire.packets.len(), frames.len() * 2);
    }
}

#[test]
fn who_is_alone_holds_and_begins_when_someone_comes() {
    let mut wire = Wire::new();
    wire.add(11, PersonSettings::default());
    let now = wire.now;
    let frames = (0..10_u8).map(|index| Bytes::from(vec![0xFC, index, 7]));
    wire.person(11).talk(now, Speech::frames(frames).unwrap());
    wire.pass(seconds(1));
    assert_eq!(wire.packets.len(), 0);
    assert!(wire.person(11).held() > 40);
    wire.add(12, PersonSettings::default());
    // Op 5 of those who talk is told on arrival, as a server does.
    wire.text(12, 5, json!({"user_id": "11", "ssrc": 11, "speaking": 1}));
    wire.pass(seconds(1));
    let heard = wire.person(12).heard(UserId(11));
    let opus: Vec<&[u8]> = heard.iter().map(|frame| &frame.opus[..]).collect();
    assert_eq!(opus.len(), 15);
    for (index, frame) in opus[..10].iter().enumerate() {
        assert_eq!(frame[1], index as u8, "from the beginning");
    }
    assert!(opus[10..].iter().all(|frame| *frame == [0xF8, 0xFF, 0xFE]));
    assert!(!wire.person(11).is_talking());
    let speaking: Vec<u64> = wire
        .said
        .iter()
        .filter(|(_, op, _)| *op == 5)
        .map(|(_, _, d)| d["speaking"].as_u64().unwrap())
        .collect();
    assert_eq!(speaking, [1, 0]);
    assert_eq!(wire.person(12).summary()[&UserId(11)].silence, 5);
}

#[test]
fn hushing_ends_with_silence_and_the_timestamp_runs_on() {
    let mut wire = Wire::new();
    wire.add(11, PersonSettings::default());
    wire.add(12, PersonSettings::default());
    wire.pass(seconds(1));
    for _ in 0..2 {
        let now = wire.now;
        wire.person(11).talk(now, Speech::tone(440, 440).unwrap());
        wire.run();
        wire.pass(Duration::from_millis(190));
        wire.person(11).hush();
        wire.pass(Duration::from_millis(810));
    }
    let heard = wire.person(12).heard(UserId(11));
    assert_eq!(heard.len(), 30);
    assert_eq!(heard[15].timestamp.wrapping_sub(heard[0].timestamp), 48_000);
    assert_eq!(heard[29].sequence.wrapping_sub(heard[0].sequence), 29);
    assert!(heard[10..15].iter().all(|frame| !frame.encrypted));
}

#[test]
fn frames_that_come_before_their_sender_is_known_wait_half_a_second() {
    let mut wire = Wire::new();
    wire.add(11, PersonSettings::default());
    wire.add(12, PersonSettings::default());
    wire.pass(seconds(1));
    let now = wire.now;
    // The relayed op 5 is late.
    wire.relays_speaking = false;
    wire.person(11).talk(now, Speech::tone(440, 440).unwrap());
    wire.run();
    wire.pass(seconds(1));
    assert!(wire.person(12).heard(UserId(11)).is_empty());
    wire.text(12, 5, json!({"user_id": "11", "ssrc": 11, "speaking": 1}));
    let heard = wire.person(12).heard(UserId(11));
    assert!((24..=26).contains(&heard.len()), "{}", heard.len());
    assert!(wire.now - heard[0].arrived <= Duration::from_millis(500));
}

#[test]
fn one_who_does_not_listen_records_nothing() {
    let mut wire = Wire::new();
    let settings = PersonSettings {
        listens: false,
        ..PersonSettings::default()
    };
    wire.add(11, PersonSettings::default());
    wire.add(12, settings);
    wire.pass(seconds(1));
    let now = wire.now;
    wire.person(11).talk(now, Speech::tone(440, 440).unwrap());
    wire.pass(seconds(1));
    assert!(wire.packets.len() >= 50);
    assert!(wire.person(12).summary().is_empty());
    assert!(wire.person(12).is_connected());
}

#[test]
fn heartbeats_keep_their_interval_and_acknowledge_what_came_last() {
    let mut wire = Wire::new();
    wire.add(11, PersonSettings::default());
    wire.pass(seconds(60));
    let beats = wire.said.iter().filter(|(_, op, _)| *op == 3).count();
    assert_eq!(beats, 4);
}

#[test]
fn clear_media_in_an_encrypted_call_are_counted_and_not_heard() {
    let mut wire = Wire::new();
    wire.add(11, PersonSettings::default());
    wire.add(12, PersonSettings::default());
    wire.pass(seconds(1));
    wire.text(12, 5, json!({"user_id": "11", "ssrc": 11, "speaking": 1}));
    let cipher = Cipher::new(wire.mode, &Secret::new([9; 32]));
    let now = wire.now;
    let mut packet = vec![0x80, 120, 0, 1, 0, 0, 0, 0, 0, 0, 0, 11, 0xFC, 1, 2, 3];
    cipher.seal(&mut packet, 12, 77).unwrap();
    wire.person(12).datagram(now, &mut packet);
    let summary = wire.person(12).summary().remove(&UserId(11)).unwrap();
    assert_eq!((summary.clear, summary.frames), (1, 0));
}

#[test]
fn no_bytes_of_a_server_make_a_person_panic() {
    // What DAVE's binary messages hold is not among them: davey panics over wrong lengths in builds with debug assertions,
    // and the only server that people meet is this one.
    let config = proptest::prelude::ProptestConfig::with_cases(32);
    proptest::proptest!(config, |(bytes: Vec<u8>, text: String, op in 0_u8..25)| {
        let mut wire = Wire::new();
        wire.add(11, PersonSettings::default());
        let now = wire.now;
        let person = wire.person(11);
        person.text(now, &text);
        person.text(now, &json!({"op": op, "d": text}).to_string());
        person.binary(now, bytes.get(..2).unwrap_or_default());
        let mut message = vec![0, 1, op];
        message.extend_from_slice(&bytes);
        person.binary(now, &message);
        person.datagram(now, &mut message);
        person.datagram(now, &mut bytes.clone());
    });
}

#[test]
fn the_wire_shows_what_is_sent() {
    let mut wire = Wire::new();
    wire.add(11, PersonSettings::default());
    wire.add(12, PersonSettings::default());
    wire.pass(seconds(1));
    let now = wire.now;
    wire.person(11).talk(now, Speech::tone(440, 440).unwrap());
    wire.run();
    wire.pass(Duration::from_millis(100));
    for (_, bytes) in &wire.packets {
        let rtp = packet::read(bytes).unwrap();
        assert_eq!(packet::kind(&bytes[rtp.payload]), packet::Kind::Dave);
        assert_eq!(bytes[1], 120);
    }
    assert!(
        wire.said
            .iter()
            .any(|(_, op, _)| *op == u64::from(op::TRANSITION_READY))
    );
}
