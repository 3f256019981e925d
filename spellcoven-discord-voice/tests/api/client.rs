//! A client's life against the simulator, in memory and in virtual time.

use std::time::Duration;

use futures_util::SinkExt as _;
use spellcoven_discord_sim::Permissions;
use spellcoven_discord_voice::{
    AudioSource, ConnectError, ConnectionState, NextFrame, ReceiveMode, SinkError, VoiceEvent,
};
use tokio::time::Instant;

use super::support::{Counted, Room, channel_id, event, places, plain, raw};

#[tokio::test(start_paused = true)]
async fn what_one_says_the_other_hears_end_to_end_encrypted() {
    let mut room = Room::new(1);
    let alice = room.join("alice", plain).await;
    let bob = room.join("bob", raw).await;
    let mut heard = bob.client.audio();
    alice.say(100).await;
    assert_eq!(
        places(&mut heard, &alice).await,
        (0..100).collect::<Vec<_>>()
    );
    let sent = room.sim.media()[&alice.bot.user_id].clone();
    // With the five of silence that end the talk.
    assert_eq!((sent.dave, sent.clear, sent.reused_counters), (105, 0, 0));
    alice.client.disconnect().await;
    assert_eq!(alice.client.state(), ConnectionState::Disconnected);
    assert_eq!(room.sim.voice_states(room.guild).len(), 1);
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn all_in_a_call_see_the_same_privacy_code_and_pairs_the_same_verification_code() {
    let mut room = Room::new(2);
    let alice = room.join("alice", plain).await;
    assert_eq!(alice.client.privacy_code(), None, "nobody else is there");
    let bob = room.join("bob", plain).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let code = alice.client.privacy_code().unwrap();
    assert_eq!(code.len(), 30);
    assert_eq!(bob.client.privacy_code(), Some(code.clone()));
    let pair = alice.client.verification_code(bob.user_id).await.unwrap();
    assert_eq!(pair.len(), 45);
    assert_eq!(
        bob.client.verification_code(alice.user_id).await,
        Some(pair)
    );
    let stranger = alice
        .client
        .verification_code(spellcoven_discord_voice::Id::new(5));
    assert_eq!(stranger.await, None);
    let carol = room.join("carol", plain).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let three = carol.client.privacy_code();
    assert_ne!(three, Some(code));
    assert_eq!(alice.client.privacy_code(), three);
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn participants_are_told_and_listed() {
    let mut room = Room::new(3);
    let alice = room.join("alice", plain).await;
    let mut events = alice.client.events();
    let bob = room.join("bob", plain).await;
    let joined = event(&mut events, |event| match event {
        VoiceEvent::Joined { user_id } => Some(*user_id),
        _ => None,
    })
    .await;
    assert_eq!(joined, bob.user_id);
    let listed: Vec<_> = alice.client.participants();
    assert_eq!(
        listed.iter().map(|who| who.user_id).collect::<Vec<_>>(),
        [bob.user_id]
    );
    assert_eq!(bob.client.channel(), Some(room.channel_id()));
    bob.client.disconnect().await;
    let left = event(&mut events, |event| match event {
        VoiceEvent::Left { user_id } => Some(*user_id),
        _ => None,
    })
    .await;
    assert_eq!(left, bob.user_id);
    assert!(alice.client.participants().is_empty());
    assert_eq!(bob.client.channel(), None);
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn a_full_channel_answers_nothing_and_that_is_told_after_ten_seconds() {
    let mut room = Room::new(4);
    let _alice = room.join("alice", plain).await;
    room.sim.set_user_limit(room.channel, 1).unwrap();
    let bob = room.member("bob", plain);
    // Who may move members gets in all the same.
    let bits = Permissions::DEFAULT_BOT & !Permissions::MOVE_MEMBERS;
    let bot = bob.bot.user_id;
    room.sim.set_permissions(bot, room.guild, bits).unwrap();
    // Until its shard is ready, op 4 waits.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let from = Instant::now();
    assert_eq!(
        bob.client.connect(room.channel_id()).await,
        Err(ConnectError::NoAnswer)
    );
    assert_eq!(from.elapsed().as_secs(), 10);
    assert_eq!(bob.client.state(), ConnectionState::Disconnected);
}

#[tokio::test(start_paused = true)]
async fn the_last_of_several_orders_counts() {
    let mut room = Room::new(5);
    let other = room.sim.add_voice_channel(room.guild, "Other");
    let alice = room.member("alice", plain);
    let (first, second) = tokio::join!(
        alice.client.connect(room.channel_id()),
        alice.client.connect(channel_id(other)),
    );
    assert_eq!((first, second), (Err(ConnectError::Superseded), Ok(())));
    assert_eq!(alice.client.channel(), Some(channel_id(other)));
    let (moved, ()) = tokio::join!(
        alice.client.connect(room.channel_id()),
        alice.client.disconnect(),
    );
    assert_eq!(moved, Err(ConnectError::Cancelled));
    assert_eq!(alice.client.state(), ConnectionState::Disconnected);
    // Nothing happens in no channel.
    alice.client.disconnect().await;
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_client_leaves_and_its_streams_end() {
    let mut room = Room::new(6);
    let alice = room.join("alice", plain).await;
    let (mut events, mut audio) = (alice.client.events(), alice.client.audio());
    let mut sink = alice.client.audio_sink();
    sink.send(Counted::frame(0)).await.unwrap();
    let clone = alice.client.clone();
    drop(alice.client);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(clone.state(), ConnectionState::Connected, "one is left");
    drop(clone);
    assert_eq!(audio.next().await, None);
    while events.next().await.is_some() {}
    assert!(room.sim.voice_states(room.guild).is_empty());
    assert_eq!(sink.send(Counted::frame(1)).await, Err(SinkError::Closed));
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_ends_the_client_and_whoever_waits_is_told() {
    struct Broken;
    impl AudioSource for Broken {
        fn next_frame(&mut self) -> NextFrame {
            panic!("this source is broken, as the test wants it");
        }
    }
    let mut room = Room::new(12);
    let alice = room.join("alice", plain).await;
    let mut events = alice.client.events();
    let mut audio = alice.client.audio();
    alice.client.play(Broken);
    while events.next().await.is_some() {}
    assert_eq!(audio.next().await, None);
    assert_eq!(alice.client.state(), ConnectionState::Disconnected);
    assert_eq!(
        alice.client.connect(room.channel_id()).await,
        Err(ConnectError::Cancelled)
    );
    alice.client.disconnect().await;
    assert_eq!(alice.client.events().next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_sink_takes_as_much_as_is_sent_and_no_more() {
    let mut room = Room::new(7);
    let alice = room.join("alice", plain).await;
    let bob = room.join("bob", raw).await;
    let mut heard = bob.client.audio();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut sink = alice.client.audio_sink();
    let from = Instant::now();
    for place in 0..100 {
        sink.send(Counted::frame(place)).await.unwrap();
    }
    sink.close().await.unwrap();
    // 100 frames are two seconds; the last one is taken when it is sent.
    let took = from.elapsed();
    assert!(
        (Duration::from_millis(1960)..=Duration::from_millis(2040)).contains(&took),
        "{took:?}"
    );
    assert_eq!(
        places(&mut heard, &alice).await,
        (0..100).collect::<Vec<_>>()
    );
    // Another source takes the sink's place.
    let mut sink = alice.client.audio_sink();
    alice.client.stop();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(sink.send(Counted::frame(0)).await, Err(SinkError::Closed));
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn whoever_mutes_themselves_is_not_heard_and_goes_on_where_they_would_be() {
    let mut room = Room::new(8);
    let alice = room.join("alice", |builder| builder.self_deaf(true)).await;
    let bob = room.join("bob", raw).await;
    let mut heard = bob.client.audio();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let state = |room: &Room| room.sim.voice_states(room.guild)[&alice.bot.user_id].clone();
    assert!(state(&room).self_deaf && !state(&room).self_mute);
    alice.client.play(Counted::new(150));
    tokio::time::sleep(Duration::from_millis(990)).await;
    alice.client.set_self_mute(true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(state(&room).self_mute && state(&room).self_deaf);
    alice.client.set_self_mute(false);
    let places = places(&mut heard, &alice).await;
    let (before, after): (Vec<u32>, Vec<u32>) = places.iter().partition(|place| **place < 75);
    assert!((48..=52).contains(&before.len()), "{places:?}");
    assert!((48..=52).contains(&after.len()), "{places:?}");
    assert_eq!(after.last(), Some(&149));
    let playback = alice.client.stats().playback;
    assert!((48..=52).contains(&playback.muted), "{playback:?}");
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn what_is_not_to_be_received_is_dropped_unread() {
    let mut room = Room::new(9);
    let alice = room.join("alice", plain).await;
    let bob = room.join("bob", plain).await;
    assert_eq!(bob.client.receive_mode(), ReceiveMode::Off);
    let mut heard = bob.client.audio();
    tokio::time::sleep(Duration::from_secs(1)).await;
    alice.say(50).await;
    assert!(places(&mut heard, &alice).await.is_empty());
    let received = bob.client.stats().received.unwrap();
    assert_eq!(
        (received.unwanted, received.frames),
        (55, 0),
        "{received:?}"
    );
    assert_eq!(received.not_authentic, 0, "it was not even tried");
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_does_not_read_loses_its_oldest_and_holds_nobody_up() {
    let mut room = Room::new(10);
    let alice = room.join("alice", plain).await;
    let bob = room
        .join("bob", |builder| {
            raw(builder).audio_buffer(40).event_buffer(1)
        })
        .await;
    let (mut heard, mut quick) = (bob.client.audio(), bob.client.audio());
    let mut events = bob.client.events();
    let counted = tokio::spawn(async move {
        let mut count = 0;
        while quick.next().await.is_some() {
            count += 1;
        }
        count
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    alice.say(100).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // 100 frames and five of silence came, 40 were kept.
    assert_eq!(
        places(&mut heard, &alice).await,
        (65..100).collect::<Vec<_>>()
    );
    assert_eq!(bob.client.stats().lagged_frames, 65);
    assert!(matches!(
        events.next().await,
        Some(VoiceEvent::Lagged { missed }) if missed > 0
    ));
    assert!(!matches!(
        events.next().await,
        Some(VoiceEvent::Lagged { .. })
    ));
    drop(bob.client);
    assert_eq!(counted.await.unwrap(), 105);
}

#[tokio::test(start_paused = true)]
async fn statistics_add_up() {
    let mut room = Room::new(11);
    let alice = room.join("alice", plain).await;
    let bob = room.join("bob", raw).await;
    let _heard = bob.client.audio();
    tokio::time::sleep(Duration::from_secs(1)).await;
    alice.say(600).await;
    tokio::time::sleep(Duration::from_secs(15)).await;
    let (said, heard) = (alice.client.stats(), bob.client.stats());
    assert_eq!(said.playback.sent, 600);
    assert_eq!(said.sent.unwrap().packets, 605);
    assert_eq!((said.connections, said.identifies, said.resumes), (1, 1, 0));
    assert_eq!(
        (said.bad_frames, said.malformed, said.unsent_datagrams),
        (0, 0, 0)
    );
    assert!(said.ping.unwrap().answered > 0);
    assert!(said.heartbeat_latency.is_some());
    assert_eq!(
        said.encryption_mode.map(|mode| mode.name()),
        Some("aead_aes256_gcm_rtpsize")
    );
    let of_alice = heard.users[&alice.user_id];
    assert_eq!(
        (of_alice.delivered, of_alice.lost),
        (605, 0),
        "{of_alice:?}"
    );
    assert_eq!(of_alice.undecryptable.total(), 0);
    room.assert_no_complaints();
}
