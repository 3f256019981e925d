//! From a simulated Discord through shard, tracker and forwarder to a model
//! hub: what happens in the guild is what the hub holds.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Uri};
use spellcoven_discord_gateway::{
    Connector, GatewayError, GatewayStream, GuildTracker, Shard, Shutdown, TrackerLimits,
};
use spellcoven_discord_sim::{Bot, ChannelId, GuildId, Sim, UserId};
use spellcoven_hub::client::{RoomsView, Update};
use spellcoven_hub::forward::{Forwarder, PostAnswer, PostError, Poster, gateway};
use spellcoven_hub::wire::{Member, Room, WebhookEvent, names};
use spellcoven_hub::{BoxFuture, GuildSnapshot, HubSecret, Snowflake};

/// Dials into the simulator.
struct IntoSim(Sim);

impl Connector for IntoSim {
    fn dial(
        &self,
        _: &Uri,
    ) -> spellcoven_discord_gateway::BoxFuture<'_, std::io::Result<Box<dyn GatewayStream>>> {
        let sim = self.0.clone();
        Box::pin(async move {
            let (near, far) = tokio::io::duplex(64 * 1024);
            tokio::spawn(async move { sim.serve_connection(far).await });
            Ok(Box::new(near) as Box<dyn GatewayStream>)
        })
    }
}

/// A hub that does what the contract says of it: applies, remembers delivery
/// ids, and forgets everything when it restarts.
#[derive(Default)]
struct ModelHub {
    epoch: u64,
    view: RoomsView,
    seen: BTreeSet<String>,
    log: Vec<String>,
    /// The next posts fail in this way: 0 is unreachable.
    failures: Vec<u16>,
}

impl ModelHub {
    fn restart(&mut self) {
        *self = Self {
            epoch: self.epoch + 1,
            log: std::mem::take(&mut self.log),
            ..Self::default()
        };
    }

    fn apply(&mut self, event: WebhookEvent) {
        let (epoch, seq): (Arc<str>, u64) = (self.epoch.to_string().into(), self.seen.len() as u64);
        match event {
            WebhookEvent::Event(event) => {
                self.log.push(event.name().to_owned());
                self.view.apply(&Update::Event {
                    seq,
                    epoch,
                    ts: 0,
                    event,
                });
            }
            WebhookEvent::Snapshot(snapshot) => {
                self.log.push(names::GUILD_SNAPSHOT.to_owned());
                self.view.apply(&Update::Snapshot {
                    epoch,
                    seq,
                    snapshot,
                });
            }
            _ => {}
        }
    }
}

#[derive(Clone, Default)]
struct HubPoster(Arc<Mutex<ModelHub>>);

impl HubPoster {
    fn with<R>(&self, act: impl FnOnce(&mut ModelHub) -> R) -> R {
        act(&mut self.0.lock().unwrap())
    }

    fn rooms(&self) -> Option<GuildSnapshot> {
        self.with(|hub| hub.view.snapshot())
    }
}

impl Poster for HubPoster {
    fn post(
        &self,
        headers: HeaderMap,
        body: Bytes,
    ) -> BoxFuture<'_, Result<PostAnswer, PostError>> {
        let answer = self.with(|hub| match hub.failures.pop() {
            Some(0) => Err(PostError::Transport("the hub is away".into())),
            Some(status) => Ok(PostAnswer::new(status, "")),
            None => {
                if hub
                    .seen
                    .insert(headers["x-hub-delivery"].to_str().unwrap().to_owned())
                {
                    hub.apply(WebhookEvent::parse(&body).unwrap());
                }
                Ok(PostAnswer::new(
                    200,
                    format!(r#"{{"ok":true,"epoch":"{}","synced":true}}"#, hub.epoch),
                ))
            }
        });
        Box::pin(std::future::ready(answer))
    }
}

struct Rig {
    sim: Sim,
    guild: GuildId,
    bot: Bot,
    rooms: Vec<ChannelId>,
    people: Vec<UserId>,
    hub: HubPoster,
}

impl Rig {
    fn new(seed: u64) -> Self {
        let sim = Sim::builder().seed(seed).build();
        let guild = sim.add_guild("the guild");
        let bot = sim.add_bot("bot", guild);
        let rooms = ["one", "two", "three"]
            .map(|name| sim.add_voice_channel(guild, name))
            .to_vec();
        let people = (0..5)
            .map(|n| sim.add_person(&format!("person {n}"), guild))
            .collect();
        Self {
            sim,
            guild,
            bot,
            rooms,
            people,
            hub: HubPoster::default(),
        }
    }

    fn guild_id(&self) -> Snowflake {
        Snowflake::new(self.guild.0)
    }

    fn forwarder(&self) -> Forwarder {
        Forwarder::builder(
            "http://hub.test/",
            HubSecret::new("s").unwrap(),
            self.guild_id(),
        )
        .poster(self.hub.clone())
        .seed(1)
        .start()
        .unwrap()
    }

    fn shard(&self) -> Shard {
        Shard::builder(self.bot.token.clone())
            .gateway_url("ws://sim.test")
            .connector(IntoSim(self.sim.clone()))
            .seed(1)
            .start()
    }

    /// A worker that runs until it is dropped.
    fn worker(&self) -> Worker {
        let (mut shard, forwarder) = (self.shard(), self.forwarder());
        let handle = shard.handle();
        let status = forwarder.clone();
        let task = tokio::spawn(async move {
            let mut tracker = GuildTracker::new(TrackerLimits::default());
            gateway::run(&mut shard, &mut tracker, &forwarder).await
        });
        Worker {
            task,
            handle,
            forwarder: status,
        }
    }

    /// The guild as the simulator has it.
    fn truth(&self) -> GuildSnapshot {
        let states = self.sim.voice_states(self.guild);
        let mut rooms: Vec<_> = self
            .sim
            .channels(self.guild)
            .into_iter()
            .filter(|channel| self.rooms.contains(&channel.id))
            .map(|channel| Room {
                channel_id: Snowflake::new(channel.id.0),
                name: channel.name,
                parent_id: channel.parent_id.map(|id| Snowflake::new(id.0)),
                user_limit: u16::try_from(channel.user_limit).unwrap(),
                members: states
                    .iter()
                    .filter(|(_, state)| state.channel_id == channel.id)
                    .map(|(user, state)| Member {
                        user_id: Snowflake::new(user.0),
                        self_mute: state.self_mute,
                        self_deaf: state.self_deaf,
                        self_video: state.self_video,
                    })
                    .collect(),
            })
            .collect();
        rooms.sort_by_key(|room| room.channel_id);
        GuildSnapshot {
            guild_id: self.guild_id(),
            rooms,
        }
    }

    /// Waits, in virtual time, until the hub holds the truth.
    async fn converge(&self) {
        for _ in 0..600 {
            if self.hub.rooms() == Some(self.truth()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(self.hub.rooms(), Some(self.truth()), "after a minute");
    }
}

struct Worker {
    task: tokio::task::JoinHandle<Result<(), GatewayError>>,
    handle: spellcoven_discord_gateway::ShardHandle,
    forwarder: Forwarder,
}

#[tokio::test(start_paused = true)]
async fn what_happens_in_the_guild_is_told_in_order() {
    let mut rig = Rig::new(1);
    let (first, second) = (rig.rooms[0], rig.rooms[1]);
    let person = rig.people[0];
    rig.sim.join(rig.people[1], first).unwrap();
    let worker = rig.worker();
    rig.converge().await;
    assert_eq!(
        rig.hub.with(|hub| std::mem::take(&mut hub.log)),
        ["guild.snapshot"]
    );

    rig.sim.join(person, first).unwrap();
    rig.sim.set_self_mute(person, true).unwrap();
    rig.sim.join(person, second).unwrap();
    rig.sim.leave(person).unwrap();
    rig.sim.rename_channel(second, "deux").unwrap();
    rig.rooms.push(rig.sim.add_voice_channel(rig.guild, "four"));
    rig.sim.delete_channel(first).unwrap();
    rig.converge().await;
    let told = rig.hub.with(|hub| std::mem::take(&mut hub.log));
    let expected = [
        "voice.joined",
        "voice.updated",
        "voice.left",
        "voice.joined",
        "voice.left",
        "room.updated",
        "room.created",
        "voice.left",
        "room.deleted",
    ];
    assert_eq!(told, expected);

    worker.handle.shutdown(Shutdown::EndSession);
    assert_eq!(worker.task.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn another_guild_and_text_channels_are_not_told() {
    let rig = Rig::new(2);
    let other = rig.sim.add_guild("another guild");
    rig.sim.add_bot_to_guild(rig.bot.user_id, other).unwrap();
    let room = rig.sim.add_voice_channel(other, "elsewhere");
    let stranger = rig.sim.add_person("stranger", other);
    let _worker = rig.worker();
    rig.converge().await;
    rig.hub.with(|hub| hub.log.clear());
    rig.sim.join(stranger, room).unwrap();
    let text = rig.sim.add_text_channel(rig.guild, "text");
    rig.sim.delete_channel(text).unwrap();
    rig.sim.delete_channel(room).unwrap();
    rig.sim.join(rig.people[0], rig.rooms[0]).unwrap();
    rig.converge().await;
    assert_eq!(rig.hub.with(|hub| hub.log.clone()), ["voice.joined"]);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_guild_shows_and_changes_nothing() {
    let rig = Rig::new(3);
    rig.sim.join(rig.people[0], rig.rooms[0]).unwrap();
    let worker = rig.worker();
    rig.converge().await;
    assert!(!worker.forwarder.status().stale);
    rig.hub.with(|hub| hub.log.clear());
    rig.sim.set_unavailable(rig.guild, true).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(worker.forwarder.status().stale);
    rig.sim.set_unavailable(rig.guild, false).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!worker.forwarder.status().stale);
    // What was missed may concern what only the hub knows, so the whole guild is compared again.
    assert_eq!(rig.hub.with(|hub| hub.log.clone()), ["guild.snapshot"]);
    rig.converge().await;
}

#[tokio::test(start_paused = true)]
async fn a_bot_that_was_removed_leaves_no_rooms_behind() {
    let rig = Rig::new(4);
    rig.sim.join(rig.people[0], rig.rooms[0]).unwrap();
    let _worker = rig.worker();
    rig.converge().await;
    rig.sim.remove_member(rig.bot.user_id, rig.guild).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let empty = GuildSnapshot {
        guild_id: rig.guild_id(),
        rooms: vec![],
    };
    assert_eq!(rig.hub.rooms(), Some(empty));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_good_is_returned() {
    let rig = Rig::new(5);
    let worker = rig.worker();
    rig.converge().await;
    rig.sim.close(rig.bot.user_id, 4004);
    assert_eq!(
        worker.task.await.unwrap(),
        Err(GatewayError::AuthenticationFailed)
    );
}

#[tokio::test(start_paused = true)]
async fn a_stored_tracker_is_told_at_the_start_and_a_cancelled_run_goes_on() {
    let rig = Rig::new(6);
    let mut shard = rig.shard();
    let mut tracker = GuildTracker::new(TrackerLimits::default());
    {
        let forwarder = rig.forwarder();
        let run = gateway::run(&mut shard, &mut tracker, &forwarder);
        assert!(
            tokio::time::timeout(Duration::from_secs(1), run)
                .await
                .is_err()
        );
        rig.converge().await;
        // Called again, it goes on without another snapshot.
        rig.hub.with(|hub| hub.log.clear());
        rig.sim.join(rig.people[0], rig.rooms[0]).unwrap();
        let run = gateway::run(&mut shard, &mut tracker, &forwarder);
        assert!(
            tokio::time::timeout(Duration::from_secs(1), run)
                .await
                .is_err()
        );
        assert_eq!(rig.hub.with(|hub| hub.log.clone()), ["voice.joined"]);
    }
    // A new forwarder beside the old tracker: no GUILD_CREATE will come.
    rig.hub.with(ModelHub::restart);
    let forwarder = rig.forwarder();
    let run = gateway::run(&mut shard, &mut tracker, &forwarder);
    assert!(
        tokio::time::timeout(Duration::from_secs(1), run)
            .await
            .is_err()
    );
    rig.converge().await;
}

/// One random step of somebody or something.
fn disturb(rig: &mut Rig, rng: &mut fastrand::Rng, worker: &mut Worker) {
    let person = rig.people[rng.usize(..rig.people.len())];
    let room = rig.rooms[rng.usize(..rig.rooms.len())];
    // People and rooms that are not there refuse; that is no concern here.
    match rng.u8(..22) {
        0..8 => drop(rig.sim.join(person, room)),
        8..11 => drop(rig.sim.leave(person)),
        11 => drop(rig.sim.set_self_mute(person, rng.bool())),
        12 => drop(rig.sim.set_self_video(person, rng.bool())),
        13 => drop(
            rig.sim
                .rename_channel(room, ["a", "b", "c"][rng.usize(..3)]),
        ),
        14 => {
            let _ = rig.sim.delete_channel(room);
            rig.rooms.push(rig.sim.add_voice_channel(rig.guild, "new"));
        }
        15 => rig.sim.cut(rig.bot.user_id),
        16 => rig.sim.reconnect(rig.bot.user_id),
        17 => rig.sim.invalidate(rig.bot.user_id, rng.bool()),
        18 => rig.hub.with(ModelHub::restart),
        19 | 20 => rig.hub.with(|hub| {
            let failures = [0, 403, 429, 500, 503];
            hub.failures = (0..rng.usize(1..6))
                .map(|_| failures[rng.usize(..failures.len())])
                .collect();
        }),
        _ => {
            // The worker dies and another one begins with nothing.
            worker.task.abort();
            *worker = rig.worker();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_breaks_the_hub_ends_with_the_truth() {
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut rig = Rig::new(seed);
        let mut worker = rig.worker();
        eprintln!("seed {seed}");
        for _ in 0..60 {
            disturb(&mut rig, &mut rng, &mut worker);
            if rng.bool() {
                tokio::time::sleep(Duration::from_millis(rng.u64(..4000))).await;
            }
        }
        rig.converge().await;
        worker.task.abort();
    }
}
