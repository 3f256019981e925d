//! A call of 24 hours in virtual time, end-to-end encrypted, in which someone comes and goes every hour.

use std::time::Duration;

use spellcoven_discord_voice::ConnectionState;

use crate::{
    cuts_support::{assert_sound, run, sleep_ms},
    support::{Room, places, plain, raw},
};

/// Frames said each hour.
const SAID: u32 = 150;

#[test]
fn a_day_goes_by_in_one_session() {
    run(async {
        let mut room = Room::with(400, |builder| {
            // The numbers of the voice gateway's messages wrap within the first hours.
            builder.settings(|settings| settings.voice.first_seq = 65_500)
        });
        let start = room.sim.now();
        let alice = room.join("alice", raw).await;
        let bob = room.join("bob", raw).await;
        let guest = room.member("guest", plain);
        sleep_ms(2_000).await;
        let (mut alices, mut bobs) = (alice.client.audio(), bob.client.audio());
        for hour in 1..=24 {
            guest.client.connect(room.channel_id()).await.unwrap();
            sleep_ms(2_000).await;
            let (by_bob, by_alice, (), ()) = tokio::join!(
                places(&mut bobs, &alice),
                places(&mut alices, &bob),
                alice.say(SAID),
                bob.say(SAID)
            );
            let all: Vec<u32> = (0..SAID).collect();
            assert_eq!((&by_bob, &by_alice), (&all, &all), "hour {hour}");
            guest.client.disconnect().await;
            let next = start + Duration::from_secs(3600 * hour);
            tokio::time::sleep(next - room.sim.now()).await;
        }
        for member in [&alice, &bob] {
            let client = &member.client;
            let stats = client.stats();
            assert_eq!(client.state(), ConnectionState::Connected);
            assert_eq!((stats.identifies, stats.resumes), (1, 0));
            assert_eq!(stats.malformed, 0);
            let ping = stats.ping.unwrap();
            println!("{ping:?} {:?}", stats.backlog);
            assert_eq!(stats.backlog.streams, 1);
            assert_eq!(stats.backlog.keys, 1);
            assert_eq!(stats.backlog.people, 1);
        }
        assert_eq!(alice.client.privacy_code(), bob.client.privacy_code());
        assert_sound(&room.sim, "a day");
        room.assert_no_complaints();
    });
}
