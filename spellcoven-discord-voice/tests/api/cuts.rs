//! The voice WebSocket cut at each message of a handshake, of a resume and of a transition of DAVE, and each kind of
//! datagram lost: audio passes both ways again within five seconds.

use std::time::Duration;

use spellcoven_discord_sim::VoiceFault;

use crate::{
    cuts_support::{
        Ear, Judgement, Kind, Tap, Way, assert_sound, cut_struck, endless, run, sleep_ms, tapped,
    },
    support::{Member, Room},
};

/// Within so long after the cut audio has to flow both ways.
const WITHIN: Duration = Duration::from_secs(5);
/// How long after a fault it is listened.
const LISTEN: u64 = 8_000;
/// More messages than any handshake has.
const MOST: u32 = 40;

/// One who is in the call and one who is struck, each talking and listening.
struct Call {
    room: Room,
    bob: Member,
    bobs_tap: Tap,
    bobs_ear: Ear,
    alice: Member,
    alices_tap: Tap,
    alices_ear: Ear,
}

impl Call {
    /// Bob is in the call, and talks. Alice is about to join.
    async fn new(seed: u64) -> Self {
        let mut room = Room::new(seed);
        let (bobs_tap, alices_tap) = (Tap::new(&room.sim), Tap::new(&room.sim));
        let bob = room.join("bob", tapped(&bobs_tap)).await;
        let bobs_ear = Ear::of(&room, &bob);
        bob.client.play(endless());
        let alice = room.member("alice", tapped(&alices_tap));
        let alices_ear = Ear::of(&room, &alice);
        alice.client.play(endless());
        Self {
            room,
            bob,
            bobs_tap,
            bobs_ear,
            alice,
            alices_tap,
            alices_ear,
        }
    }

    /// Both are in it, and hear each other.
    async fn established(seed: u64) -> Self {
        let call = Self::new(seed).await;
        call.alice
            .client
            .connect(call.room.channel_id())
            .await
            .unwrap();
        sleep_ms(3_000).await;
        call
    }

    fn cut_at(&self, message: u32, from_client: bool, lost: bool) {
        let fault = VoiceFault::CutAt {
            message,
            from_client,
            lost,
        };
        self.room.sim.voice_fault(self.alice.bot.user_id, fault);
    }

    /// What the two heard of each other since then.
    fn judge(&self, from: Duration) -> [Judgement; 2] {
        let now = self.room.sim.now();
        [
            self.bobs_ear.judge(&self.alice, from, now),
            self.alices_ear.judge(&self.bob, from, now),
        ]
    }

    fn row(&self, what: String, from: Duration) -> Row {
        assert_sound(&self.room.sim, &what);
        let judgements = self.judge(from);
        let stats = self.alice.client.stats();
        Row {
            what,
            judgements,
            resumes: stats.resumes,
            identifies: stats.identifies,
        }
    }

    /// What was heard from the cut on, if it struck.
    async fn after_the_cut(&self) -> Option<Row> {
        let (at, what) = cut_struck(&self.room.sim)?;
        sleep_ms(LISTEN).await;
        Some(self.row(what, at))
    }
}

struct Row {
    what: String,
    judgements: [Judgement; 2],
    resumes: u64,
    identifies: u64,
}

/// Prints all rows, then fails by those that took too long.
#[track_caller]
fn conclude(title: &str, rows: &[Row]) {
    println!("{title}: frames of 20 ms lost, the longest silence, and until it flows: out and in");
    let ms = |judgement: &Judgement| {
        let recovered = judgement.recovered;
        recovered.map_or_else(|| "never".to_owned(), |at| at.as_millis().to_string())
    };
    for row in rows {
        let [out, back] = &row.judgements;
        println!(
            "{:<46} lost {:>4} {:>4}   silence {:>5} {:>5} ms   flows after {:>5} {:>5} ms   resumes {} identifies {}",
            row.what,
            out.lost,
            back.lost,
            out.longest_silence.as_millis(),
            back.longest_silence.as_millis(),
            ms(out),
            ms(back),
            row.resumes,
            row.identifies
        );
    }
    let late: Vec<&str> = rows
        .iter()
        .filter(|row| {
            let mut sides = row.judgements.iter();
            sides.any(|side| side.recovered.is_none_or(|at| at > WITHIN) || side.twice > 0)
        })
        .map(|row| &*row.what)
        .collect();
    assert!(late.is_empty(), "{title}: not within 5 s: {late:#?}");
}

/// Runs once for each message that there is, in each direction, lost or the last that arrives.
fn at_each_message(title: &str, once: impl Fn(u32, bool, bool) -> Option<Row>) {
    let mut rows = Vec::new();
    for from_client in [false, true] {
        for lost in [true, false] {
            let messages = (1..=MOST).map_while(|message| once(message, from_client, lost));
            rows.extend(messages);
        }
    }
    assert!(rows.len() >= 4, "{title}: no cut struck");
    conclude(title, &rows);
}

#[test]
fn a_handshake_is_cut_at_each_message() {
    at_each_message("handshake", |message, from_client, lost| {
        run(async {
            let call = Call::new(100).await;
            call.cut_at(message, from_client, lost);
            let joining = call.alice.client.connect(call.room.channel_id());
            let _ = tokio::time::timeout(Duration::from_secs(10), joining).await;
            // What comes later than this is no handshake.
            sleep_ms(1_000).await;
            call.after_the_cut().await
        })
    });
}

/// Bob is the only one who can let Alice in.
#[test]
fn the_one_who_lets_another_in_is_cut_at_each_message() {
    at_each_message("lets another in", |message, from_client, lost| {
        run(async {
            let call = Call::new(105).await;
            let fault = VoiceFault::CutAt {
                message,
                from_client,
                lost,
            };
            call.room.sim.voice_fault(call.bob.bot.user_id, fault);
            let joining = call.alice.client.connect(call.room.channel_id());
            let _ = tokio::time::timeout(Duration::from_secs(10), joining).await;
            sleep_ms(1_000).await;
            call.after_the_cut().await
        })
    });
}

/// Someone joins while Alice is away, so that there is something to send again.
#[test]
fn a_resume_is_cut_at_each_message() {
    at_each_message("resume", |message, from_client, lost| {
        run(async {
            let mut call = Call::established(101).await;
            let carol = call.room.member("carol", |builder| builder);
            sleep_ms(6_000).await;
            call.cut_at(message, from_client, lost);
            call.room
                .sim
                .voice_fault(call.alice.bot.user_id, VoiceFault::Cut);
            carol.client.connect(call.room.channel_id()).await.unwrap();
            sleep_ms(3_000).await;
            call.after_the_cut().await
        })
    });
}

#[test]
fn a_transition_is_cut_at_each_message_while_someone_joins() {
    at_each_message("someone joins", |message, from_client, lost| {
        run(async {
            let mut call = Call::established(102).await;
            call.cut_at(message, from_client, lost);
            let _carol = call.room.join("carol", |builder| builder).await;
            sleep_ms(1_000).await;
            call.after_the_cut().await
        })
    });
}

#[test]
fn a_transition_is_cut_at_each_message_while_someone_leaves() {
    at_each_message("someone leaves", |message, from_client, lost| {
        run(async {
            let mut call = Call::established(103).await;
            let carol = call.room.join("carol", |builder| builder).await;
            sleep_ms(3_000).await;
            call.cut_at(message, from_client, lost);
            carol.client.disconnect().await;
            sleep_ms(1_000).await;
            call.after_the_cut().await
        })
    });
}

#[test]
fn each_kind_of_datagram_is_lost() {
    let mut rows = Vec::new();
    for way in [Way::ToServer, Way::ToClient] {
        for (kind, count) in [
            (Kind::Discovery, 1),
            (Kind::Discovery, 3),
            (Kind::Rtp, 1),
            (Kind::Ping, 1),
            (Kind::Ping, 3),
            (Kind::Rtcp, 1),
            (Kind::Rtcp, 3),
        ] {
            let row = run(async {
                let call = Call::new(104).await;
                for tap in [&call.alices_tap, &call.bobs_tap] {
                    tap.lose(way, kind, count);
                }
                let at = call.room.sim.now();
                call.alice
                    .client
                    .connect(call.room.channel_id())
                    .await
                    .unwrap();
                // Pings and reports come every five seconds.
                sleep_ms(16_000).await;
                assert!(call.alices_tap.lost() == count, "{way:?} {kind:?}");
                call.row(format!("{kind:?} {way:?}, {count} lost"), at)
            });
            rows.push(row);
        }
    }
    conclude("datagrams", &rows);
    for row in &rows {
        assert_eq!((row.resumes, row.identifies), (0, 1), "{}", row.what);
        for side in &row.judgements {
            assert!(side.lost <= 1, "{}: {side:?}", row.what);
        }
    }
}
