//! Many who come and go: whoever stays goes on hearing and being heard.

use std::time::Duration;

use spellcoven_discord_sim::{Speech, UserId};
use spellcoven_discord_voice::ReceiveMode;

use crate::{
    cuts_support::{Ear, Tap, assert_sound, endless, run, sleep_ms, tapped},
    support::{Member, Room, plain},
};

const FRAME: Duration = Duration::from_millis(20);

/// Two who stay, of whom one talks.
struct Staying {
    room: Room,
    talker: Member,
    tap: Tap,
    listener: Member,
    ear: Ear,
    from: Duration,
}

impl Staying {
    async fn new(seed: u64) -> Self {
        let mut room = Room::new(seed);
        let tap = Tap::new(&room.sim);
        let talker = room.join("talker", tapped(&tap)).await;
        let listener = room.join("listener", tapped(&Tap::new(&room.sim))).await;
        let ear = Ear::of(&room, &listener);
        sleep_ms(2_000).await;
        talker.client.play(endless());
        sleep_ms(500).await;
        let from = room.sim.now();
        Self {
            room,
            talker,
            tap,
            listener,
            ear,
            from,
        }
    }

    /// Never silent for longer than 100 ms, under 1 % lost, and no stall over 20 ms in what was sent.
    #[track_caller]
    fn conclude(&self, what: &str) {
        let now = self.room.sim.now();
        let judgement = self.ear.judge(&self.talker, self.from, now);
        let gap = self.tap.widest_gap(self.from);
        println!(
            "{what}: {} frames heard, {} lost, longest silence {:?}, widest gap in sending {gap:?}",
            judgement.heard, judgement.lost, judgement.longest_silence
        );
        assert!(
            judgement.longest_silence <= Duration::from_millis(100),
            "{judgement:?}"
        );
        assert!(judgement.lost * 100 < judgement.heard, "{judgement:?}");
        assert_eq!(judgement.twice, 0, "{judgement:?}");
        assert!(gap <= FRAME + Duration::from_millis(20), "{gap:?}");
        for member in [&self.talker, &self.listener] {
            let stats = member.client.stats();
            assert_eq!((stats.identifies, stats.resumes), (1, 0));
            assert_eq!(stats.playback.missed, 0);
        }
        assert_sound(&self.room.sim, what);
        self.room.assert_no_complaints();
    }
}

#[test]
fn thirty_joins_and_leaves_in_a_row_are_not_heard() {
    run(async {
        let mut staying = Staying::new(200).await;
        let guest = staying.room.member("guest", plain);
        let person = staying.room.sim.add_person("Person", staying.room.guild);
        for turn in 0..30 {
            let stay = 150 + 70 * (turn % 7);
            if turn % 2 == 0 {
                guest
                    .client
                    .connect(staying.room.channel_id())
                    .await
                    .unwrap();
                sleep_ms(stay).await;
                guest.client.disconnect().await;
            } else {
                let sim = &staying.room.sim;
                sim.join(person, staying.room.channel).unwrap();
                sim.talk(person, Speech::tone(440, 440).unwrap()).unwrap();
                sleep_ms(stay).await;
                sim.leave(person).unwrap();
            }
            sleep_ms(stay / 3).await;
        }
        sleep_ms(3_000).await;
        staying.conclude("30 joins and leaves");
    });
}

#[test]
fn ten_who_join_within_a_second_disturb_nobody() {
    run(async {
        let mut staying = Staying::new(201).await;
        let mut guests = Vec::new();
        for number in 0..10 {
            let tap = Tap::new(&staying.room.sim);
            let guest = staying.room.member(&format!("guest {number}"), |builder| {
                tapped(&tap)(builder).receive(ReceiveMode::Raw)
            });
            guest.client.play(endless());
            let ear = Ear::of(&staying.room, &guest);
            guests.push((guest, tap, ear));
        }
        // Their main gateway sessions are there before.
        sleep_ms(20_000).await;
        let joined = staying.room.sim.now();
        let channel = staying.room.channel_id();
        let joins = guests
            .iter()
            .enumerate()
            .map(|(number, (guest, _, _))| async move {
                sleep_ms(100 * number as u64).await;
                guest.client.connect(channel).await.unwrap();
            });
        futures_util::future::join_all(joins).await;
        println!("all in after {:?}", staying.room.sim.now() - joined);
        sleep_ms(5_000).await;
        staying.conclude("10 joins within a second");
        let settled = staying.room.sim.now();
        sleep_ms(2_000).await;
        let now = staying.room.sim.now();
        for (guest, tap, ear) in &guests {
            let gap = tap.widest_gap(joined);
            assert!(gap <= FRAME + Duration::from_millis(20), "{gap:?}");
            for (other, ..) in &guests {
                if other.user_id != guest.user_id {
                    let heard = ear.judge(other, settled, now);
                    assert!(heard.lost == 0 && heard.heard >= 98, "{heard:?}");
                }
            }
            let heard = ear.judge(&staying.talker, settled, now);
            assert!(heard.lost == 0 && heard.heard >= 98, "{heard:?}");
        }
        let call = staying.room.sim.call(staying.room.channel).unwrap();
        assert_eq!(call.members.len(), 12);
    });
}

/// The largest group that an official client has been measured with.
#[test]
fn a_group_of_fifty_is_formed_and_heard() {
    run(async {
        let staying = Staying::new(202).await;
        let sim = staying.room.sim.clone();
        let people: Vec<UserId> = (0..48)
            .map(|number| sim.add_person(&format!("person {number}"), staying.room.guild))
            .collect();
        for person in &people {
            sim.join(*person, staying.room.channel).unwrap();
            sim.set_listening(*person, true).unwrap();
        }
        sleep_ms(5_000).await;
        let speakers = [people[0], people[24], people[47]];
        for (number, person) in (1..).zip(speakers) {
            let speech = Speech::tone(220 * number, 220 * number).unwrap();
            sim.talk(person, speech).unwrap();
        }
        sleep_ms(2_000).await;
        let call = sim.call(staying.room.channel).unwrap();
        assert_eq!(call.members.len(), 50);
        assert!(call.established);
        staying.conclude("a group of 50");
        let of_talker = |person: &UserId| {
            let heard = sim.heard_of(*person);
            let talker = heard.get(&staying.talker.bot.user_id);
            talker.map_or(0, |heard| heard.frames)
        };
        let heard: Vec<u64> = people.iter().map(of_talker).collect();
        assert!(heard.iter().all(|frames| *frames >= 345), "{heard:?}");
        let stats = staying.listener.client.stats();
        for speaker in speakers {
            let id = spellcoven_discord_voice::Id::new(u64::from(speaker));
            let delivered = stats.users.get(&id).map_or(0, |user| user.delivered);
            // The figures are up to half a second old.
            assert!(delivered > 70, "{speaker}: {delivered}");
        }
        let privacy = staying.talker.client.privacy_code();
        assert!(privacy.is_some());
        assert_eq!(privacy, staying.listener.client.privacy_code());
    });
}
