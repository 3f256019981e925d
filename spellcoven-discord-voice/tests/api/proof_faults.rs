//! What is heard while something goes wrong, in a call in which two talk: how long the silence is, how much is lost,
//! whether what follows is whole, and what the clients tell.

use std::time::Duration;

use spellcoven_discord_sim::{CloseOrder, SimBuilder, VoiceFault, VoiceSettings};
use spellcoven_discord_voice::{ConnectionState, EncryptionEvent, EndReason, VoiceEvent};
use tokio::time::{Instant, sleep};

use crate::{
    proof_support::{Ears, Far, Speech, assert_sealed, each_seed, states, troubles},
    support::{Member, Room, channel_id},
};

const SECOND: Duration = Duration::from_secs(1);

/// Alice and Bob talk and listen, for a second already.
struct Scene {
    room: Room,
    alice: Member,
    bob: Member,
    alices: Ears,
    bobs: Ears,
    far: Far,
    /// When it goes wrong.
    from: Instant,
}

impl Scene {
    async fn new(seed: u64) -> Self {
        Self::with(seed, |_| {}).await
    }

    async fn with(seed: u64, change: impl FnOnce(&mut VoiceSettings)) -> Self {
        let settings = |builder: SimBuilder| builder.settings(|all| change(&mut all.voice));
        let mut room = Room::with(seed, settings);
        let (far, bobs_way) = (Far::new(&room.sim), Far::new(&room.sim));
        let alice = room.join("alice", |builder| far.raw(builder)).await;
        let bob = room.join("bob", |builder| bobs_way.raw(builder)).await;
        let (alices, bobs) = (Ears::of(&alice), Ears::of(&bob));
        sleep(2 * SECOND).await;
        alice.client.play(Speech::endless(440, 880));
        bob.client.play(Speech::endless(1320, 660));
        sleep(SECOND).await;
        Self {
            room,
            alice,
            bob,
            alices,
            bobs,
            far,
            from: Instant::now(),
        }
    }

    /// Both go on for so long. Then what Bob heard of Alice, and Alice of Bob: silence in milliseconds and frames lost.
    /// After it each heard the other's tone, and nothing was ever in the clear.
    async fn go_on(&self, what: &str, time: Duration) -> [(u128, usize); 2] {
        sleep(time).await;
        self.alice.client.stop();
        self.bob.client.stop();
        sleep(SECOND).await;
        let since = self.from - Duration::from_millis(500);
        let of_alice = self.bobs.heard(&self.alice, since);
        let of_bob = self.alices.heard(&self.bob, since);
        let told = [
            of_alice.tell(&format!("{what}: Bob of Alice")),
            of_bob.tell(&format!("{what}: Alice of Bob")),
        ];
        println!("{what}: Alice's client: {:?}", self.alices.told(self.from));
        println!("{what}: Bob's client: {:?}", self.bobs.told(self.from));
        of_alice.assert_tone_after(440, 880);
        of_bob.assert_tone_after(1320, 660);
        assert_sealed(&self.room);
        told
    }
}

/// Not heard at all.
const UNHEARD: [(u128, usize); 2] = [(0, 0), (0, 0)];

fn recovers(told: &[VoiceEvent]) -> bool {
    told.iter().any(|event| {
        matches!(
            event,
            VoiceEvent::Encryption(EncryptionEvent::Recovering { .. })
        )
    })
}

#[test]
fn a_voice_gateway_cut_in_mid_speech_is_resumed_and_not_heard() {
    each_seed(460, |seed| async move {
        let scene = Scene::new(seed).await;
        for member in [&scene.alice, &scene.bob] {
            scene
                .room
                .sim
                .voice_fault(member.bot.user_id, VoiceFault::Cut);
        }
        assert_eq!(scene.go_on("cut", 3 * SECOND).await, UNHEARD);
        for (member, ears) in [(&scene.alice, &scene.alices), (&scene.bob, &scene.bobs)] {
            let told = ears.told(scene.from);
            use ConnectionState::{Connected, Resuming};
            assert_eq!(states(&told), [Resuming, Connected]);
            assert_eq!(troubles(&told), ["lost None Resume"]);
            let stats = member.client.stats();
            assert_eq!((stats.resumes, stats.identifies), (1, 1));
        }
        scene.room.assert_no_complaints();
    });
}

#[test]
fn a_cut_beyond_the_resume_window_is_a_silence_until_a_fresh_session() {
    each_seed(470, |seed| async move {
        let scene = Scene::with(seed, |voice| voice.resume_window = 3 * SECOND).await;
        scene.far.shut(true);
        scene
            .room
            .sim
            .voice_fault(scene.alice.bot.user_id, VoiceFault::Cut);
        sleep(6 * SECOND).await;
        scene.far.shut(false);
        let told = scene
            .go_on("cut for 6 s, resumable for 3 s", 20 * SECOND)
            .await;
        // Media go on for 3 s. What Alice says afterwards is lost, since nobody tells her, until the cut has ended and her
        // next attempt is due: it is the fourth, and waits up to 12 s.
        for (silence, lost) in told {
            assert!((3_000..18_000).contains(&silence), "{silence} ms");
            assert!(lost as u128 * 20 <= silence + 40, "{lost} frames");
        }
        assert_eq!(scene.alice.client.stats().identifies, 2);
        assert_eq!(scene.bob.client.stats().identifies, 1);
        let states = states(&scene.alices.told(scene.from));
        assert_eq!(states.first(), Some(&ConnectionState::Resuming));
        assert_eq!(states.last(), Some(&ConnectionState::Connected));
        scene.room.assert_no_complaints();
    });
}

#[test]
fn another_voice_server_is_a_short_silence() {
    each_seed(480, |seed| async move {
        let orders = [
            (CloseOrder::EventsFirst, Duration::ZERO),
            (CloseOrder::EventsFirst, Duration::from_millis(300)),
            (CloseOrder::CloseFirst, Duration::ZERO),
            (CloseOrder::CloseFirst, Duration::from_millis(300)),
        ];
        for (order, gap) in orders {
            let scene = Scene::with(seed, |voice| {
                voice.close_order = order;
                voice.close_gap = gap;
            })
            .await;
            let spare = scene.room.sim.add_voice_server();
            scene.room.sim.move_call(scene.room.channel, spare).unwrap();
            let what = format!("another server, {order:?}, {} ms", gap.as_millis());
            for (silence, _) in scene.go_on(&what, 5 * SECOND).await {
                assert!(silence < 1_500, "{silence} ms");
            }
            for ears in [&scene.alices, &scene.bobs] {
                let told = ears.told(scene.from);
                assert_eq!(states(&told).last(), Some(&ConnectionState::Connected));
                assert!(
                    !told
                        .iter()
                        .any(|event| matches!(event, VoiceEvent::Ended(_)))
                );
            }
            scene.room.assert_no_complaints();
        }
    });
}

#[test]
fn a_new_token_for_the_same_server_is_a_short_silence() {
    each_seed(490, |seed| async move {
        let scene = Scene::new(seed).await;
        let (guild, alice) = (scene.room.guild, scene.alice.bot.user_id);
        assert_eq!(scene.room.sim.renew_voice_servers(guild, Some(alice)), 1);
        for (silence, _) in scene.go_on("a new token for Alice", 5 * SECOND).await {
            assert!(silence < 1_500, "{silence} ms");
        }
        assert_eq!(scene.alice.client.stats().identifies, 2);
        assert_eq!(scene.bob.client.stats().identifies, 1);
    });
}

#[test]
fn who_is_kicked_falls_silent_at_once_and_hears_nothing_more() {
    each_seed(500, |seed| async move {
        let scene = Scene::new(seed).await;
        scene.room.sim.leave(scene.alice.bot.user_id).unwrap();
        ends(&scene, "kicked").await;
        let told = scene.bobs.told(scene.from);
        let left = VoiceEvent::Left {
            user_id: scene.alice.user_id,
        };
        assert!(told.contains(&left), "{told:?}");
        assert_eq!(scene.bob.client.state(), ConnectionState::Connected);
        scene.room.assert_no_complaints();
    });
}

#[test]
fn a_deleted_channel_ends_the_call_for_everyone_at_once() {
    each_seed(510, |seed| async move {
        let scene = Scene::new(seed).await;
        scene.room.sim.delete_channel(scene.room.channel).unwrap();
        ends(&scene, "channel deleted").await;
        let told = scene.bobs.told(scene.from);
        assert!(
            told.contains(&VoiceEvent::Ended(EndReason::Removed)),
            "{told:?}"
        );
        scene.room.assert_no_complaints();
    });
}

/// Alice's call has ended: nobody hears her, she hears nobody, and she is told.
async fn ends(scene: &Scene, what: &str) {
    sleep(3 * SECOND).await;
    let of_alice = scene.bobs.heard(&scene.alice, scene.from);
    let of_bob = scene.alices.heard(&scene.bob, scene.from);
    println!(
        "{what}: Bob hears {} more frames of Alice, she {} of his",
        of_alice.0.len(),
        of_bob.0.len()
    );
    assert!(of_alice.0.len() <= 1 && of_bob.0.len() <= 1);
    let told = scene.alices.told(scene.from);
    println!("{what}: Alice's client: {told:?}");
    assert!(
        told.contains(&VoiceEvent::Ended(EndReason::Removed)),
        "{told:?}"
    );
    assert_eq!(states(&told).last(), Some(&ConnectionState::Disconnected));
    assert_eq!(scene.alice.client.channel(), None);
    assert_sealed(&scene.room);
}

#[test]
fn a_move_by_a_moderator_is_heard_in_the_other_channel_within_a_second() {
    each_seed(520, |seed| async move {
        let mut scene = Scene::new(seed).await;
        let other = scene.room.sim.add_voice_channel(scene.room.guild, "Other");
        let carols_way = Far::new(&scene.room.sim);
        let carol = scene
            .room
            .member("carol", |builder| carols_way.raw(builder));
        let carols = Ears::of(&carol);
        carol.client.connect(channel_id(other)).await.unwrap();
        sleep(SECOND).await;
        carol.client.play(Speech::endless(1760, 1760));
        let moved = Instant::now();
        scene.room.sim.join(scene.alice.bot.user_id, other).unwrap();
        sleep(3 * SECOND).await;
        for member in [&scene.alice, &scene.bob, &carol] {
            member.client.stop();
        }
        sleep(SECOND).await;

        let last = scene.bobs.heard(&scene.alice, scene.from).0;
        let (last_place, last_at) = last.last().map(|note| (note.place, note.at)).unwrap();
        assert!(last_at < moved + Duration::from_millis(40), "she left");
        let heard = carols.heard(&scene.alice, moved);
        let first = &heard.0[0];
        println!(
            "moved: Carol hears Alice {} ms after Bob's last; {} frames of hers lie between",
            (first.at - last_at).as_millis(),
            first.place - last_place - 1
        );
        assert!(first.at - last_at < SECOND);
        heard.tell("moved: Carol of Alice");
        assert_eq!(heard.lost(), 0);
        heard.assert_tone_after(440, 880);
        let of_carol = scene.alices.heard(&carol, moved);
        of_carol.tell("moved: Alice of Carol");
        of_carol.assert_tone_after(1760, 1760);
        assert!(
            scene
                .alices
                .heard(&scene.bob, moved + 2 * SECOND)
                .0
                .is_empty()
        );
        let told = scene.alices.told(moved);
        println!("moved: Alice's client: {told:?}");
        let channel = VoiceEvent::Channel {
            channel_id: channel_id(other),
        };
        assert!(told.contains(&channel));
        assert_eq!(states(&told).last(), Some(&ConnectionState::Connected));
        assert_sealed(&scene.room);
        scene.room.assert_no_complaints();
    });
}

#[test]
fn without_an_endpoint_there_is_silence_until_there_is_one() {
    each_seed(530, |seed| async move {
        let scene = Scene::new(seed).await;
        let (sim, channel) = (&scene.room.sim, scene.room.channel);
        sim.lose_voice_server(channel).unwrap();
        sleep(4 * SECOND).await;
        assert_eq!(scene.alice.client.state(), ConnectionState::AwaitingServer);
        let spare = sim.add_voice_server();
        sim.move_call(channel, spare).unwrap();
        for (silence, _) in scene.go_on("no endpoint for 4 s", 5 * SECOND).await {
            assert!((3_900..5_500).contains(&silence), "{silence} ms");
        }
        for ears in [&scene.alices, &scene.bobs] {
            let told = ears.told(scene.from);
            assert!(states(&told).contains(&ConnectionState::AwaitingServer));
            assert_eq!(states(&told).last(), Some(&ConnectionState::Connected));
        }
        scene.room.assert_no_complaints();
    });
}

#[test]
fn a_lost_main_gateway_is_not_heard_while_it_resumes_and_a_new_session_joins_again() {
    each_seed(540, |seed| async move {
        let scene = Scene::new(seed).await;
        scene.room.sim.cut(scene.alice.bot.user_id);
        assert_eq!(scene.go_on("main gateway cut", 3 * SECOND).await, UNHEARD);
        assert_eq!(states(&scene.alices.told(scene.from)), []);

        let scene = Scene::new(seed).await;
        scene.room.sim.invalidate(scene.alice.bot.user_id, false);
        let what = "main gateway session lost";
        for (silence, _) in scene.go_on(what, 20 * SECOND).await {
            // A shard waits 1 to 5 s before it identifies.
            assert!((500..10_000).contains(&silence), "{silence} ms");
        }
        let told = scene.alices.told(scene.from);
        assert_eq!(states(&told).last(), Some(&ConnectionState::Connected));
        assert!(
            !told
                .iter()
                .any(|event| matches!(event, VoiceEvent::Ended(_)))
        );
        let other = scene.bobs.told(scene.from);
        let left = VoiceEvent::Left {
            user_id: scene.alice.user_id,
        };
        assert!(other.contains(&left), "{other:?}");
    });
}

#[test]
fn a_corrupt_welcome_keeps_the_newcomer_out_for_a_moment_and_the_others_hear_no_gap() {
    each_seed(550, |seed| async move {
        let mut scene = Scene::new(seed).await;
        let carols_way = Far::new(&scene.room.sim);
        let carol = scene
            .room
            .member("carol", |builder| carols_way.raw(builder));
        let carols = Ears::of(&carol);
        let user = carol.bot.user_id;
        scene.room.sim.voice_fault(user, VoiceFault::CorruptWelcome);
        carol.client.play(Speech::frames(1760, 1760, 150));
        carol.client.connect(scene.room.channel_id()).await.unwrap();
        let joined = Instant::now();
        assert_eq!(scene.go_on("corrupt welcome", 4 * SECOND).await, UNHEARD);
        assert!(recovers(&carols.told(scene.from)), "the fault struck");
        for (who, whom) in [("Alice", &scene.alice), ("Bob", &scene.bob)] {
            let heard = carols.heard(whom, scene.from);
            let first = heard.0[0].at.saturating_duration_since(joined);
            heard.tell(&format!("corrupt welcome: Carol of {who}"));
            println!(
                "corrupt welcome: the first {} ms after she was in",
                first.as_millis()
            );
            assert!(first < 2 * SECOND);
        }
        let heard = scene.bobs.heard(&carol, scene.from);
        heard.tell("corrupt welcome: Bob of Carol");
        println!(
            "corrupt welcome: the first is her frame {}",
            heard.0[0].place
        );
        assert_eq!(heard.places().last(), Some(&149));
        scene.room.assert_no_complaints();
    });
}

#[test]
fn a_corrupt_commit_is_recovered_from_and_little_is_lost() {
    each_seed(560, |seed| async move {
        for everyone in [false, true] {
            let mut scene = Scene::new(seed).await;
            let user = (!everyone).then_some(scene.alice.bot.user_id);
            scene.room.sim.corrupt_dave(user, false, true);
            let carols_way = Far::new(&scene.room.sim);
            let carol = scene
                .room
                .join("carol", |builder| carols_way.raw(builder))
                .await;
            let carols = Ears::of(&carol);
            let what = if everyone {
                "commit corrupt for all"
            } else {
                "commit corrupt for Alice"
            };
            for (silence, lost) in scene.go_on(what, 6 * SECOND).await {
                assert!(silence < 1_500 && lost < 75, "{silence} ms, {lost} frames");
            }
            assert!(recovers(&scene.alices.told(scene.from)), "the fault struck");
            assert_eq!(recovers(&scene.bobs.told(scene.from)), everyone);
            for (who, whom) in [("Alice", &scene.alice), ("Bob", &scene.bob)] {
                let heard = carols.heard(whom, scene.from + 3 * SECOND);
                let (silence, lost) = heard.tell(&format!("{what}: Carol of {who}, from 3 s on"));
                assert!(silence < 20 && lost == 0);
            }
            scene.room.assert_no_complaints();
        }
    });
}

#[test]
fn whoever_misses_a_commit_in_a_call_of_two_is_deaf_for_a_second_and_enters_anew() {
    each_seed(570, |seed| async move {
        let mut scene = Scene::new(seed).await;
        let user = scene.alice.bot.user_id;
        scene.room.sim.voice_fault(user, VoiceFault::LoseCommit);
        // For Alice, the group has one other member still.
        let carols_way = Far::new(&scene.room.sim);
        let carol = scene
            .room
            .join("carol", |builder| carols_way.raw(builder))
            .await;
        let carols = Ears::of(&carol);
        let [of_alice, of_bob] = scene.go_on("a lost commit", 8 * SECOND).await;
        // The server executes the transition without her after 2 s; until then the old keys do. 37 frames later she knows.
        assert!(of_alice.0 < 20 && of_alice.1 == 0, "{of_alice:?}");
        assert!((700..1_500).contains(&of_bob.0), "{of_bob:?}");
        assert!(recovers(&scene.alices.told(scene.from)), "the fault struck");
        assert!(!recovers(&scene.bobs.told(scene.from)));
        for (who, whom) in [("Alice", &scene.alice), ("Bob", &scene.bob)] {
            let heard = carols.heard(whom, scene.from + 5 * SECOND);
            let (silence, lost) =
                heard.tell(&format!("a lost commit: Carol of {who}, from 5 s on"));
            assert!(silence < 20 && lost == 0);
        }
        scene.room.assert_no_complaints();
    });
}
