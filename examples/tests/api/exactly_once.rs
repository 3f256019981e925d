//! Nothing is lost and nothing told twice, whatever breaks in between.
//!
//! `SEED=n cargo test -p spellcoven-examples --test api exactly_once` runs one seed alone, `SEEDS=n` the first n.

use std::{collections::BTreeMap, time::Duration};

use http::{Method, StatusCode};
use serde_json::Value;
use spellcoven_discord_sim::{ChannelId, ChannelKind, EntryKind, UserId};
use spellcoven_hub::HubEvent;

use super::{cloud::Cloud, observer::Observer};

/// What breaks while people move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breaking {
    Nothing,
    /// The worker's connection is cut, or told op 7 or a resumable op 9: the session goes on.
    Connection,
    /// The session is lost: op 9 not resumable, or a resume refused.
    Session,
    /// The backend is killed and started again.
    Hub,
    /// The worker is killed and started again.
    Worker,
    /// All of these.
    Everything,
}

fn seeds(count: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(count),
    }
}

/// Who joined (`true`) or left which room.
pub(super) type Move = (UserId, ChannelId, bool);

pub(super) struct Run {
    pub(super) cloud: Cloud,
    pub(super) observers: Vec<Observer>,
    breaking: Breaking,
    rooms: Vec<ChannelId>,
    /// Rooms that the API ended.
    ended: Vec<ChannelId>,
}

impl Run {
    async fn start(seed: u64, breaking: Breaking) -> Self {
        Self::start_in(Cloud::new(seed), breaking).await
    }

    /// The same in a cloud of the caller's making, in which nothing runs yet.
    pub(super) async fn start_in(mut cloud: Cloud, breaking: Breaking) -> Self {
        cloud.start_hub();
        cloud.start_worker();
        let observers = vec![cloud.observer("one"), cloud.observer("two")];
        let run = Self {
            rooms: vec![cloud.lobby],
            cloud,
            observers,
            breaking,
            ended: Vec::new(),
        };
        run.cloud
            .settle(&run.observers)
            .await
            .expect("the system starts");
        run
    }

    pub(super) async fn step(&mut self) {
        match self.cloud.rng.u32(0..10) {
            0..6 => self.somebody_moves(),
            6 => self.somebody_mutes(),
            7 => self.a_room_comes_or_goes_in_discord(),
            8 => self.a_room_comes_or_goes_through_the_api().await,
            _ => self.something_breaks(),
        }
        let pause = self.cloud.rng.u64(0..400);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }

    fn somebody_moves(&mut self) {
        let person = self.cloud.people[self.cloud.rng.usize(0..self.cloud.people.len())];
        let room = self.rooms[self.cloud.rng.usize(0..self.rooms.len())];
        // Refused when the person is in no room, or the room is gone.
        let _ = match self.cloud.rng.bool() {
            true => self.cloud.sim.leave(person),
            false => self.cloud.sim.join(person, room),
        };
    }

    fn somebody_mutes(&mut self) {
        let person = self.cloud.people[self.cloud.rng.usize(0..self.cloud.people.len())];
        // Refused when the person is in no room.
        let _ = self.cloud.sim.set_self_mute(person, self.cloud.rng.bool());
    }

    fn a_room_comes_or_goes_in_discord(&mut self) {
        if self.rooms.len() > 3 || (self.rooms.len() > 1 && self.cloud.rng.bool()) {
            let room = self.rooms.remove(self.cloud.rng.usize(1..self.rooms.len()));
            let _ = self.cloud.sim.delete_channel(room);
        } else {
            self.rooms.push(
                self.cloud
                    .sim
                    .add_voice_channel(self.cloud.guild, "made in Discord"),
            );
        }
    }

    async fn a_room_comes_or_goes_through_the_api(&mut self) {
        if self.rooms.len() > 1 && self.cloud.rng.bool() {
            let room = self.rooms[self.cloud.rng.usize(1..self.rooms.len())];
            let path = format!("/api/end-room/{room}");
            // Any other answer: the hub or Discord was away, and the simulator knows whether it happened.
            if let Ok((StatusCode::OK, _)) = self.cloud.call(Method::DELETE, &path, "").await {
                self.ended.push(room);
            }
        } else {
            let _ = self
                .cloud
                .call(
                    Method::POST,
                    "/api/create-room",
                    r#"{"name":"made by the API"}"#,
                )
                .await;
        }
        let rooms = self.cloud.sim.channels(self.cloud.guild).into_iter();
        self.rooms = rooms
            .filter(|room| room.kind == ChannelKind::Voice)
            .map(|room| room.id)
            .collect();
    }

    fn something_breaks(&mut self) {
        let kind = match self.breaking {
            Breaking::Everything => [
                Breaking::Connection,
                Breaking::Session,
                Breaking::Hub,
                Breaking::Worker,
            ][self.cloud.rng.usize(0..4)],
            kind => kind,
        };
        let Cloud { sim, bot, rng, .. } = &mut self.cloud;
        match (kind, rng.u32(0..3)) {
            (Breaking::Connection, 0) => sim.cut(&*bot),
            (Breaking::Connection, 1) => sim.reconnect(&*bot),
            (Breaking::Connection, _) => sim.invalidate(&*bot, true),
            (Breaking::Session, 0) => {
                sim.refuse_next_resume(&*bot, 1);
                sim.cut(&*bot);
            }
            (Breaking::Session, _) => sim.invalidate(&*bot, false),
            (Breaking::Hub, _) => {
                self.cloud.kill_hub();
                self.cloud.start_hub();
            }
            (Breaking::Worker, _) => {
                self.cloud.kill_worker();
                self.cloud.start_worker();
            }
            (Breaking::Nothing | Breaking::Everything, _) => {}
        }
    }

    /// What the simulator's journal says of joins and leaves, in order; a move is a leave and a join. For a run with
    /// one session: every session has an order of its own.
    fn moves(&self) -> Vec<Move> {
        let mut places = BTreeMap::new();
        let mut moves = Vec::new();
        for entry in self.cloud.sim.journal().entries() {
            let EntryKind::Dispatched { t, d, .. } = &entry.what else {
                continue;
            };
            if &**t != "VOICE_STATE_UPDATE" {
                continue;
            }
            let state: Value = serde_json::from_str(d).expect("the journal holds JSON");
            let id = |name: &str| state[name].as_str().and_then(|id| id.parse().ok());
            let person = UserId(id("user_id").expect("every voice state has one"));
            let now = id("channel_id").map(ChannelId);
            let before = match now {
                Some(room) => places.insert(person, room),
                None => places.remove(&person),
            };
            if now != before {
                moves.extend(before.map(|room| (person, room, false)));
                moves.extend(now.map(|room| (person, room, true)));
            }
        }
        moves
    }

    /// What an observer was told of joins and leaves, in order.
    fn told(observer: &Observer) -> Vec<Move> {
        let events = observer.seen().events;
        let of = |event: &HubEvent| match event {
            HubEvent::VoiceJoined(joined) => Some((joined.user_id, joined.channel_id, true)),
            HubEvent::VoiceLeft(left) => Some((left.user_id, left.channel_id?, false)),
            _ => None,
        };
        let moves = events.iter().filter_map(|(_, _, event)| of(event));
        moves
            .map(|(user, room, joined)| (UserId(user.get()), ChannelId(room.get()), joined))
            .collect()
    }
}

async fn check(breaking: Breaking, seed: u64) {
    let mut run = Run::start(seed, breaking).await;
    for _ in 0..60 {
        run.step().await;
    }
    let every_move = matches!(breaking, Breaking::Nothing | Breaking::Connection);
    run.verify(&format!("SEED={seed} {breaking:?}"), every_move)
        .await;
    for complaint in run.cloud.sim.complaints() {
        // A worker that was killed does not know when the one before it identified; Discord answers op 9.
        let restarted = matches!(breaking, Breaking::Worker | Breaking::Everything);
        let early = restarted && complaint.to_string().contains("identified twice in 5 s");
        assert!(early, "SEED={seed} {breaking:?}: {complaint}");
    }
}

impl Run {
    /// Waits until the observers hold what Discord holds, and fails where one was told something twice or out of order.
    /// With `every_move` nothing was lost for good, so every single join and leave must have been told, once and in
    /// order. Only of a room that the API ended may late news be left out: its end was told before.
    pub(super) async fn verify(&self, what: &str, every_move: bool) {
        let settled = self.cloud.settle(&self.observers).await;
        for (number, observer) in self.observers.iter().enumerate() {
            let seen = observer.seen();
            let context = || format!("{what}, observer {number}\n{}", self.cloud.story());
            assert!(seen.faults.is_empty(), "{:#?}\n{}", seen.faults, context());
            assert!(
                settled.is_some(),
                "{:#?}\nis not\n{:#?}\n{}",
                seen.model,
                self.cloud.truth(),
                context()
            );
            if every_move {
                let known = |moves: &[Move]| -> Vec<Move> {
                    moves
                        .iter()
                        .filter(|(_, room, _)| !self.ended.contains(room))
                        .copied()
                        .collect()
                };
                assert_eq!(
                    known(&Self::told(observer)),
                    known(&self.moves()),
                    "{}",
                    context()
                );
            }
        }
    }
}

async fn check_all(breaking: Breaking, count: u64) {
    for seed in seeds(count) {
        check(breaking, seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn exactly_once_while_nothing_breaks() {
    check_all(Breaking::Nothing, 20).await;
}

#[tokio::test(start_paused = true)]
async fn exactly_once_while_the_connection_breaks() {
    check_all(Breaking::Connection, 60).await;
}

#[tokio::test(start_paused = true)]
async fn exactly_once_while_the_session_is_lost() {
    check_all(Breaking::Session, 60).await;
}

#[tokio::test(start_paused = true)]
async fn exactly_once_while_the_backend_is_killed() {
    check_all(Breaking::Hub, 60).await;
}

#[tokio::test(start_paused = true)]
async fn exactly_once_while_the_worker_is_killed() {
    check_all(Breaking::Worker, 60).await;
}

#[tokio::test(start_paused = true)]
async fn exactly_once_while_everything_breaks() {
    check_all(Breaking::Everything, 60).await;
}
