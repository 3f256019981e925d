//! What is heard while something goes wrong.

use std::time::Duration;

use spellcoven_discord_sim::{ChannelId, VoiceFault};
use spellcoven_discord_voice::{ConnectionState, EndReason, EventStream, VoiceEvent, VoiceTrouble};

use super::support::{Counted, Member, Room, channel_id, event, places, plain, raw};

/// Alice talks and Bob listens; the two have each other's keys.
async fn call(seed: u64) -> (Room, Member, Member) {
    let mut room = Room::new(seed);
    let alice = room.join("alice", plain).await;
    let bob = room.join("bob", raw).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    (room, alice, bob)
}

/// Waits for a state that the client comes to.
async fn comes_to(events: &mut EventStream, state: ConnectionState) {
    event(events, |event| {
        matches!(event, VoiceEvent::State(now) if *now == state).then_some(())
    })
    .await;
}

/// The call has ended without anyone's asking.
async fn ended(events: &mut EventStream) -> EndReason {
    event(events, |event| match event {
        VoiceEvent::Ended(why) => Some(why.clone()),
        _ => None,
    })
    .await
}

#[track_caller]
fn assert_no_clear_text(room: &Room) {
    for (user, media) in room.sim.media() {
        assert_eq!((media.clear, media.reused_counters), (0, 0), "{user:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cut_voice_gateway_in_mid_speech_is_not_heard() {
    let (room, alice, bob) = call(30).await;
    let mut heard = bob.client.audio();
    let mut events = alice.client.events();
    let (places, ()) = tokio::join!(places(&mut heard, &alice), async {
        let cut = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            room.sim.voice_fault(alice.bot.user_id, VoiceFault::Cut);
            room.sim.voice_fault(bob.bot.user_id, VoiceFault::Cut);
        };
        tokio::join!(alice.say(300), cut);
    });
    assert_eq!(places, (0..300).collect::<Vec<_>>());
    event(&mut events, |event| {
        matches!(event, VoiceEvent::Trouble(VoiceTrouble::LinkLost { .. })).then_some(())
    })
    .await;
    for member in [&alice, &bob] {
        let stats = member.client.stats();
        assert_eq!((stats.resumes, stats.identifies), (1, 1));
        assert_eq!(member.client.state(), ConnectionState::Connected);
    }
    assert_no_clear_text(&room);
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn after_a_resume_that_is_refused_the_call_goes_on_in_a_fresh_session() {
    let (room, alice, bob) = call(31).await;
    let mut heard = bob.client.audio();
    let mut events = alice.client.events();
    alice.client.play(Counted::new(500));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let user = alice.bot.user_id;
    room.sim
        .voice_fault(user, VoiceFault::RefuseResume { times: 1 });
    room.sim.voice_fault(user, VoiceFault::Cut);
    comes_to(&mut events, ConnectionState::Connected).await;
    let places = places(&mut heard, &alice).await;
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    assert_eq!(places.last(), Some(&499), "the source goes on");
    assert!(places.len() > 400, "{}", places.len());
    assert!(alice.client.stats().identifies >= 2);
    assert_no_clear_text(&room);
}

#[tokio::test(start_paused = true)]
async fn a_move_by_a_moderator_is_followed_and_the_source_goes_on() {
    let (room, alice, bob) = call(32).await;
    let other = room.sim.add_voice_channel(room.guild, "Other");
    let mut events = alice.client.events();
    let mut heard = bob.client.audio();
    alice.client.play(Counted::new(600));
    tokio::time::sleep(Duration::from_secs(1)).await;
    move_to(&room, &alice, other);
    let told = event(&mut events, |event| match event {
        VoiceEvent::Channel { channel_id } => Some(*channel_id),
        _ => None,
    })
    .await;
    assert_eq!(told, channel_id(other));
    comes_to(&mut events, ConnectionState::Connected).await;
    assert_eq!(alice.client.channel(), Some(channel_id(other)));
    let before = places(&mut heard, &alice).await;
    assert!((45..=55).contains(&before.len()), "{before:?}");
    // Bob comes after.
    bob.client.connect(channel_id(other)).await.unwrap();
    let after = places(&mut heard, &alice).await;
    assert_eq!(after.last(), Some(&599), "{after:?}");
    assert!(after.len() > 100, "{after:?}");
    assert_no_clear_text(&room);
    room.assert_no_complaints();
}

fn move_to(room: &Room, member: &Member, channel: ChannelId) {
    room.sim.join(member.bot.user_id, channel).unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_is_kicked_is_told_and_can_join_again() {
    let (room, alice, bob) = call(33).await;
    let mut events = alice.client.events();
    let mut heard = bob.client.audio();
    alice.client.play(Counted::new(10_000));
    tokio::time::sleep(Duration::from_secs(1)).await;
    room.sim.leave(alice.bot.user_id).unwrap();
    assert_eq!(ended(&mut events).await, EndReason::Removed);
    assert_eq!(alice.client.state(), ConnectionState::Disconnected);
    let before = places(&mut heard, &alice).await;
    assert!((45..=55).contains(&before.len()), "{before:?}");
    alice.client.connect(room.channel_id()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    alice.client.stop();
    let after = places(&mut heard, &alice).await;
    assert!(after.len() > 100, "{after:?}");
    assert!(after.first() > before.last(), "the source stood still");
    assert_no_clear_text(&room);
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_deleted_ends_the_call() {
    let (room, alice, _bob) = call(34).await;
    let mut events = alice.client.events();
    room.sim.delete_channel(room.channel).unwrap();
    assert_eq!(ended(&mut events).await, EndReason::Removed);
    assert_eq!(alice.client.channel(), None);
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn without_a_server_there_is_silence_until_there_is_one() {
    let (room, alice, bob) = call(35).await;
    let mut events = alice.client.events();
    let mut heard = bob.client.audio();
    alice.client.play(Counted::new(500));
    tokio::time::sleep(Duration::from_secs(1)).await;
    room.sim.lose_voice_server(room.channel).unwrap();
    comes_to(&mut events, ConnectionState::AwaitingServer).await;
    let before = places(&mut heard, &alice).await;
    assert!((45..=55).contains(&before.len()), "{before:?}");
    let spare = room.sim.add_voice_server();
    room.sim.move_call(room.channel, spare).unwrap();
    comes_to(&mut events, ConnectionState::Connected).await;
    let after = places(&mut heard, &alice).await;
    assert_eq!(after.last(), Some(&499));
    assert!(after.len() > 350, "{}", after.len());
    assert_no_clear_text(&room);
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn a_failover_is_a_short_silence() {
    let (room, alice, bob) = call(36).await;
    let mut heard = bob.client.audio();
    let spare = room.sim.add_voice_server();
    let (places, ()) = tokio::join!(places(&mut heard, &alice), async {
        let fail = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            room.sim.move_call(room.channel, spare).unwrap();
        };
        tokio::join!(alice.say(500), fail);
    });
    assert!(places.is_sorted_by(|a, b| a < b), "{places:?}");
    assert_eq!(places.last(), Some(&499));
    assert!(places.len() > 400, "{}", places.len());
    assert_no_clear_text(&room);
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn the_main_gateway_may_resume_unheard_and_a_new_session_rejoins() {
    let (room, alice, bob) = call(37).await;
    let mut heard = bob.client.audio();
    let user = alice.bot.user_id;
    let (unbroken, ()) = tokio::join!(places(&mut heard, &alice), async {
        let cut = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            room.sim.cut(user);
        };
        tokio::join!(alice.say(200), cut);
    });
    assert_eq!(unbroken, (0..200).collect::<Vec<_>>());
    assert_eq!(alice.client.stats().identifies, 1);
    let mut events = alice.client.events();
    room.sim.invalidate(user, false);
    comes_to(&mut events, ConnectionState::Connected).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (again, ()) = tokio::join!(places(&mut heard, &alice), alice.say(50));
    assert_eq!(again, (0..50).collect::<Vec<_>>());
    assert_no_clear_text(&room);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_to_rejoin_is_told_that_the_session_was_lost() {
    let mut room = Room::new(38);
    let alice = room.join("alice", |builder| builder.rejoin(false)).await;
    let mut events = alice.client.events();
    room.sim.invalidate(alice.bot.user_id, false);
    assert_eq!(ended(&mut events).await, EndReason::SessionLost);
    assert_eq!(alice.client.state(), ConnectionState::Disconnected);
}

#[tokio::test(start_paused = true)]
async fn one_who_leaves_and_one_who_joins_in_the_middle_disturb_nobody() {
    let (mut room, alice, bob) = call(39).await;
    let mut heard = bob.client.audio();
    let leaver = room.join("dan", plain).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (places, ()) = tokio::join!(places(&mut heard, &alice), async {
        let coming_and_going = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            leaver.client.disconnect().await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            let carol = room.join("carol", raw).await;
            let mut carols = carol.client.audio();
            tokio::time::sleep(Duration::from_secs(2)).await;
            let first = carols.next().await;
            assert_eq!(first.map(|packet| packet.user_id), Some(alice.user_id));
            // Carol stays to the end.
            carol
        };
        let ((), _carol) = tokio::join!(alice.say(400), coming_and_going);
    });
    assert_eq!(places, (0..400).collect::<Vec<_>>());
    assert_no_clear_text(&room);
    room.assert_no_complaints();
}
