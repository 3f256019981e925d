//! Who is there, and who is heard.

use super::*;
use crate::session::SpeakingFlags;

fn receiving() -> Rig {
    let mut config = config();
    config.receive = true;
    Rig::connected(config)
}

fn audio(rig: &mut Rig) -> Vec<(u64, Vec<u8>)> {
    rig.take(|action| match action {
        Action::Audio(frame) => Some((frame.user_id, frame.payload.to_vec())),
        _ => None,
    })
}

#[test]
fn joining_speaking_leaving() {
    let mut rig = receiving();
    let user_id = Id::new(777);
    rig.json(json!({"op": 11, "seq": 1, "d": {"user_ids": ["700", "777"]}}));
    assert_eq!(
        rig.events(),
        [VoiceEvent::Joined { user_id }],
        "the own user is not told"
    );
    rig.json(json!({"op": 5, "seq": 2, "d": {"user_id": "777", "ssrc": 9, "speaking": 5}}));
    let flags = SpeakingFlags::MICROPHONE | SpeakingFlags::PRIORITY;
    assert_eq!(
        rig.events(),
        [VoiceEvent::Speaking {
            user_id,
            ssrc: 9,
            flags
        }]
    );
    let [person] = &rig.session.participants()[..] else {
        panic!("one");
    };
    assert_eq!(
        (person.ssrc, person.speaking, person.talking),
        (Some(9), flags, false)
    );
    rig.json(json!({"op": 13, "seq": 3, "d": {"user_id": "777"}}));
    assert_eq!(rig.events(), [VoiceEvent::Left { user_id }]);
    assert!(rig.session.participants().is_empty());
}

#[test]
fn sound_begins_and_ends_by_a_silence_frame_or_by_nothing() {
    let mut rig = receiving();
    let user_id = Id::new(777);
    let mut sealer = sealer(1);
    rig.json(json!({"op": 5, "seq": 2, "d": {"user_id": "777", "ssrc": 9, "speaking": 1}}));
    rig.events();
    let mut say = |rig: &mut Rig, sequence, payload: &[u8]| {
        rig.datagram(&mut packet(&mut sealer, 9, sequence, payload));
    };
    say(&mut rig, 1, &[0xfc, 1]);
    say(&mut rig, 2, &[0xfc, 2]);
    assert_eq!(rig.events(), [VoiceEvent::Talking { user_id }]);
    assert!(rig.session.participants()[0].talking);
    say(&mut rig, 3, &[0xf8, 0xff, 0xfe]);
    assert_eq!(rig.events(), [VoiceEvent::Quiet { user_id }]);
    say(&mut rig, 4, &[0xfc, 3]);
    rig.pass_ms(199);
    assert_eq!(rig.events(), [VoiceEvent::Talking { user_id }]);
    rig.pass_ms(1);
    assert_eq!(rig.events(), [VoiceEvent::Quiet { user_id }]);
    assert_eq!(audio(&mut rig).len(), 4);
}

#[test]
fn a_first_syllable_waits_for_the_message_that_says_whose_it_is() {
    let mut rig = receiving();
    let mut sealer = sealer(1);
    rig.datagram(&mut packet(&mut sealer, 9, 1, &[0xfc, 1]));
    assert_eq!(audio(&mut rig), []);
    rig.pass_ms(100);
    rig.json(json!({"op": 5, "seq": 2, "d": {"user_id": "777", "ssrc": 9, "speaking": 1}}));
    assert_eq!(audio(&mut rig), [(777, vec![0xfc, 1])]);
    // A camera names its microphone as well.
    rig.datagram(&mut packet(&mut sealer, 10, 1, &[0xfc, 2]));
    rig.json(
        json!({"op": 12, "seq": 3, "d": {"user_id": "778", "audio_ssrc": 10, "video_ssrc": 11}}),
    );
    assert_eq!(audio(&mut rig), [(778, vec![0xfc, 2])]);
}

#[test]
fn who_spoke_before_the_keys_came_is_known_then() {
    let mut config = config();
    config.receive = true;
    let mut rig = Rig::new(config);
    rig.session.connect(rig.now, channel(LOBBY));
    rig.state(Some(LOBBY), "first");
    rig.server(Some("a.test"), "token-a");
    rig.open();
    rig.ready();
    rig.json(json!({"op": 5, "seq": 2, "d": {"user_id": "777", "ssrc": 9, "speaking": 1}}));
    rig.open_udp();
    rig.discovered();
    rig.describe(1);
    rig.datagram(&mut packet(&mut sealer(1), 9, 1, &[0xfc, 1]));
    assert_eq!(audio(&mut rig), [(777, vec![0xfc, 1])]);
}

#[test]
fn who_does_not_receive_pays_nothing() {
    let mut rig = Rig::connected(config());
    rig.json(json!({"op": 5, "seq": 2, "d": {"user_id": "777", "ssrc": 9, "speaking": 1}}));
    rig.datagram(&mut packet(&mut sealer(1), 9, 1, &[0xfc, 1]));
    assert_eq!(audio(&mut rig), []);
    let received = rig.session.stats().received.unwrap();
    assert_eq!((received.unwanted, received.frames), (1, 0));
}

#[test]
fn datagrams_of_an_earlier_socket_and_rubbish_are_dropped() {
    let mut rig = receiving();
    rig.json(json!({"op": 5, "seq": 2, "d": {"user_id": "777", "ssrc": 9, "speaking": 1}}));
    let old = UdpId(99);
    let mut bytes = packet(&mut sealer(1), 9, 1, &[0xfc, 1]);
    rig.session.datagram(rig.now, old, &mut bytes.clone());
    rig.listen();
    assert_eq!(audio(&mut rig), []);
    for length in 0..80 {
        rig.datagram(&mut vec![0x80; length]);
        rig.datagram(&mut vec![0; length]);
    }
    assert_eq!(audio(&mut rig), []);
    rig.datagram(&mut bytes);
    assert_eq!(audio(&mut rig).len(), 1);
    rig.datagram(&mut bytes);
    assert_eq!(
        audio(&mut rig).len(),
        0,
        "a datagram that is decrypted already"
    );
}
