//! Calls whose members come and go, calls in the clear, and that nothing leaves in the clear otherwise.

use std::time::Duration;

use spellcoven_discord_sim::{ChannelKind, Permissions, VoiceFault};
use spellcoven_discord_voice::{
    CallError, ConnectError, DiscordRtcClientBuilder, E2eePolicy, EncryptionEvent, VoiceEvent,
};
use tokio::time::{Instant, sleep};

use crate::{
    proof_support::{Ears, Far, Speech, assert_sealed, each_seed},
    support::{Room, channel_id, raw},
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn of_three_one_leaves_and_one_joins_and_the_others_hear_each_other_without_a_gap() {
    each_seed(430, one_leaves_and_one_joins);
}

async fn one_leaves_and_one_joins(seed: u64) {
    let mut room = Room::new(seed);
    let far = Far::new(&room.sim);
    let alice = room.join("alice", |builder| far.raw(builder)).await;
    let bob = room.join("bob", |builder| far.raw(builder)).await;
    let carol = room.join("carol", |builder| far.raw(builder)).await;
    let (alices, bobs, carols) = (Ears::of(&alice), Ears::of(&bob), Ears::of(&carol));
    sleep(2 * SECOND).await;
    let start = Instant::now();
    alice.client.play(Speech::endless(440, 880));
    bob.client.play(Speech::endless(1320, 660));
    carol.client.play(Speech::endless(1760, 1760));
    sleep(SECOND).await;

    carol.client.disconnect().await;
    let left = Instant::now();
    let epoch = room.sim.call(room.channel).unwrap().epoch;
    sleep(SECOND).await;
    let now = room.sim.call(room.channel).unwrap();
    assert_eq!(now.epoch, epoch + 1, "without Carol");
    let epoch = now.epoch;

    // Dan talks from the moment on that he wants to join.
    let dan = room.member("dan", |builder| far.raw(builder));
    let dans = Ears::of(&dan);
    dan.client.play(Speech::endless(880, 440));
    dan.client.connect(room.channel_id()).await.unwrap();
    let joined = Instant::now();
    sleep(2 * SECOND).await;
    for member in [&alice, &bob, &dan] {
        member.client.stop();
    }
    sleep(SECOND).await;

    for (who, ears, whom, tone) in [
        ("Bob of Alice", &bobs, &alice, (440, 880)),
        ("Alice of Bob", &alices, &bob, (1320, 660)),
    ] {
        let heard = ears.heard(whom, start);
        let (silence, lost) = heard.tell(who);
        assert_eq!(lost, 0, "{who}");
        assert!(silence < 20, "{who}");
        assert!(heard.0.len() >= 199, "{who}");
        heard.assert_tone_after(tone.0, tone.1);
    }
    for (who, ears) in [("Alice of Dan", &alices), ("Bob of Dan", &bobs)] {
        let heard = ears.heard(&dan, start);
        heard.tell(who);
        assert_eq!(heard.places().first(), Some(&0), "the first syllable");
        assert_eq!(heard.lost(), 0);
        heard.assert_tone_after(880, 440);
    }
    for (who, whom) in [("Dan of Alice", &alice), ("Dan of Bob", &bob)] {
        let heard = dans.heard(whom, start);
        heard.tell(who);
        let first = heard.0.first().unwrap();
        println!(
            "{who}: the first {} ms after he was in",
            first.at.saturating_duration_since(joined).as_millis()
        );
        assert_eq!(heard.lost(), 0);
    }
    // Carol hears nothing more, and has no key of the epoch in which the others go on.
    assert!(carols.heard(&alice, left).0.is_empty());
    let last = |ears: &Ears| {
        let told = ears.told(start);
        let epochs = told.into_iter().rev().find_map(|event| match event {
            VoiceEvent::Encryption(EncryptionEvent::Epoch { epoch, members, .. }) => {
                Some((epoch, members))
            }
            _ => None,
        });
        epochs.unwrap()
    };
    let (theirs, members) = last(&alices);
    assert_eq!(theirs, epoch + 1, "with Dan");
    assert_eq!(members, [alice.user_id, bob.user_id, dan.user_id]);
    assert_eq!(last(&dans), (theirs, members));
    let keys = carols.told(left);
    let mut keys = keys
        .iter()
        .filter(|event| matches!(event, VoiceEvent::Encryption(_)));
    assert_eq!(keys.next(), None);
    assert_eq!(carol.client.privacy_code(), None);
    assert_sealed(&room);
    room.assert_no_complaints();
}

#[test]
fn nothing_is_sent_in_the_clear_alone_while_joining_or_while_resuming() {
    each_seed(440, |seed| async move {
        let mut room = Room::new(seed);
        let far = Far::new(&room.sim);
        let alice = room.member("alice", |builder| far.raw(builder));
        let alices = Ears::of(&alice);
        let start = Instant::now();
        alice.client.play(Speech::endless(440, 880));
        alice.client.connect(room.channel_id()).await.unwrap();
        // Alone.
        sleep(2 * SECOND).await;
        let packets = |room: &Room| {
            let media = room.sim.media();
            let of_alice = media.get(&alice.bot.user_id);
            of_alice.map_or(0, |media| media.packets)
        };
        assert_eq!(packets(&room), 0, "there is no key");
        // Alone, and resuming.
        room.sim.voice_fault(alice.bot.user_id, VoiceFault::Cut);
        sleep(2 * SECOND).await;
        assert_eq!((packets(&room), alice.client.stats().resumes), (0, 1));

        // While Bob joins, talking, Alice loses her voice gateway every 40 ms, and once he is in, so does he.
        let bob = room.member("bob", |builder| far.raw(builder));
        let bobs = Ears::of(&bob);
        bob.client.play(Speech::endless(1320, 660));
        let joining = tokio::time::timeout(60 * SECOND, bob.client.connect(room.channel_id()));
        let cutting = async {
            for _ in 0..6 {
                sleep(Duration::from_millis(40)).await;
                assert_sealed(&room);
                room.sim.voice_fault(alice.bot.user_id, VoiceFault::Cut);
            }
        };
        let (joined, ()) = tokio::join!(joining, cutting);
        joined.expect("it takes no minute").unwrap();
        for _ in 0..6 {
            sleep(Duration::from_millis(40)).await;
            assert_sealed(&room);
            room.sim.voice_fault(alice.bot.user_id, VoiceFault::Cut);
            room.sim.voice_fault(bob.bot.user_id, VoiceFault::Cut);
        }
        sleep(15 * SECOND).await;
        let since = Instant::now();
        room.sim.voice_fault(alice.bot.user_id, VoiceFault::Cut);
        sleep(2 * SECOND).await;
        bobs.heard(&alice, start)
            .tell("Bob of Alice, from the start");
        let (silence, lost) = bobs
            .heard(&alice, since)
            .tell("Bob of Alice, cut once more");
        assert!(silence < 20 && lost == 0);
        bobs.heard(&alice, since).assert_tone_after(440, 880);
        alices.heard(&bob, since).assert_tone_after(1320, 660);

        // Alone again.
        bob.client.disconnect().await;
        sleep(SECOND).await;
        let before = packets(&room);
        sleep(2 * SECOND).await;
        assert_eq!(packets(&room), before, "the last one holds");
        assert_sealed(&room);
        room.assert_no_complaints();
    });
}

fn preferred(builder: DiscordRtcClientBuilder) -> DiscordRtcClientBuilder {
    raw(builder).e2ee_policy(E2eePolicy::Preferred)
}

#[test]
fn a_stage_has_no_media_by_default_and_those_who_agree_talk_in_the_clear() {
    each_seed(450, |seed| async move {
        let mut room = Room::new(seed);
        let stage = room
            .sim
            .with(|world| world.add_channel(room.guild, ChannelKind::Stage, "Stage", None))
            .unwrap();
        let stage_id = channel_id(stage);

        let strict = room.member("strict", raw);
        let stricts = Ears::of(&strict);
        let alice = room.member("alice", preferred);
        let bob = room.member("bob", preferred);
        let bobs = Ears::of(&bob);
        let start = Instant::now();
        for member in [&alice, &bob] {
            // Whoever comes to a stage is in the audience, but for those who may mute others.
            let bits = Permissions::DEFAULT_BOT | Permissions::MUTE_MEMBERS;
            let user = member.bot.user_id;
            room.sim.set_permissions(user, room.guild, bits).unwrap();
            member.client.connect(stage_id).await.unwrap();
        }
        strict.client.play(Speech::endless(1760, 1760));
        alice.client.play(Speech::endless(440, 880));
        let refused = strict.client.connect(stage_id).await.unwrap_err();
        assert_eq!(refused, ConnectError::Failed(CallError::NotEncrypted));
        let why = std::error::Error::source(&refused).map(ToString::to_string);
        println!("strict: {refused}: {why:?}");
        assert!(why.is_some_and(|why| why.contains("end-to-end encrypted")));
        sleep(2 * SECOND).await;
        alice.client.stop();
        sleep(SECOND).await;

        assert!(stricts.heard(&alice, start).0.is_empty());
        let media = room.sim.media();
        let of_strict = media.get(&strict.bot.user_id);
        assert!(
            of_strict.is_none_or(|media| media.packets == 0),
            "{of_strict:?}"
        );

        let told = |ears: &Ears, allowed| {
            let event = VoiceEvent::Encryption(EncryptionEvent::NotEncrypted { allowed });
            ears.told(start).contains(&event)
        };
        assert!(told(&bobs, true));
        assert!(!told(&stricts, true), "{:?}", stricts.told(start));
        let heard = bobs.heard(&alice, start);
        let (silence, lost) = heard.tell("Bob of Alice, in the clear");
        assert!(silence < 20 && lost == 0 && heard.0.len() >= 100);
        heard.assert_tone_after(440, 880);
        let of_alice = &media[&alice.bot.user_id];
        assert!(of_alice.clear >= 100 && of_alice.dave == 0, "{of_alice:?}");
        assert_eq!(
            (of_alice.clear_in_dave_call, of_alice.reused_counters),
            (0, 0)
        );
        room.assert_no_complaints();
    });
}
