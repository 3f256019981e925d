//! A client that checks what it is told, with a model of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use spellcoven_devkit::net::MemoryHost;
use spellcoven_discord_sim::{ChannelKind, GuildId, Sim};
use spellcoven_hub::{
    GuildSnapshot, HubEvent, Snowflake,
    client::{HubClient, Update},
};

/// A room as a model holds it: name, parent, user limit.
type Room = (String, Option<u64>, u32);
/// Where somebody is: channel, self mute, self deaf, camera.
type Place = (u64, bool, bool, bool);

/// Rooms and the people in them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Model {
    rooms: BTreeMap<u64, Room>,
    people: BTreeMap<u64, Place>,
    /// Rooms whose end was told since the last snapshot.
    ended: BTreeSet<u64>,
}

impl PartialEq for Model {
    fn eq(&self, other: &Self) -> bool {
        self.rooms == other.rooms && self.people == other.people
    }
}

impl Model {
    /// What Discord itself would say.
    pub(crate) fn of(sim: &Sim, guild: GuildId) -> Self {
        let rooms = sim
            .channels(guild)
            .into_iter()
            .filter(|channel| channel.kind == ChannelKind::Voice);
        let people = sim.voice_states(guild).into_iter();
        Self {
            rooms: rooms
                .map(|room| {
                    (
                        room.id.0,
                        (room.name, room.parent_id.map(|id| id.0), room.user_limit),
                    )
                })
                .collect(),
            people: people
                .map(|(user, state)| {
                    (
                        user.0,
                        (
                            state.channel_id.0,
                            state.self_mute,
                            state.self_deaf,
                            state.self_video,
                        ),
                    )
                })
                .collect(),
            ended: BTreeSet::new(),
        }
    }

    fn replace(&mut self, snapshot: GuildSnapshot) {
        *self = Self::default();
        for room in snapshot.rooms {
            let channel = room.channel_id.get();
            for member in room.members {
                let place = (
                    channel,
                    member.self_mute,
                    member.self_deaf,
                    member.self_video,
                );
                self.people.insert(member.user_id.get(), place);
            }
            let parent = room.parent_id.map(Snowflake::get);
            self.rooms
                .insert(channel, (room.name, parent, room.user_limit.into()));
        }
    }

    /// An event that changes nothing was told twice, or wrongly.
    fn apply(&mut self, event: &HubEvent) -> Result<(), String> {
        let wrong = |model: &Self| Err(format!("{event:?} on {model:?}"));
        match event {
            HubEvent::RoomCreated(room) => {
                let now = (
                    room.name.clone(),
                    room.parent_id.map(Snowflake::get),
                    room.user_limit.into(),
                );
                if self.ended.contains(&room.channel_id.get())
                    || self.rooms.insert(room.channel_id.get(), now).is_some()
                {
                    return wrong(self);
                }
            }
            HubEvent::RoomUpdated(room) => {
                let now = (
                    room.name.clone(),
                    room.parent_id.map(Snowflake::get),
                    room.user_limit.into(),
                );
                let before = self.rooms.insert(room.channel_id.get(), now.clone());
                if before.is_none_or(|before| before == now) {
                    return wrong(self);
                }
            }
            HubEvent::RoomDeleted(room) => {
                let channel = room.channel_id.get();
                let occupied = self.people.values().any(|place| place.0 == channel);
                self.rooms.remove(&channel);
                // A hub that was started anew may end a room that it has not heard of yet, but each only once.
                if occupied || !self.ended.insert(channel) {
                    return wrong(self);
                }
            }
            HubEvent::VoiceJoined(joined) => {
                let place = (
                    joined.channel_id.get(),
                    joined.self_mute.unwrap_or_default(),
                    joined.self_deaf.unwrap_or_default(),
                    joined.self_video.unwrap_or_default(),
                );
                if self.people.insert(joined.user_id.get(), place).is_some() {
                    return wrong(self);
                }
            }
            HubEvent::VoiceLeft(left) => {
                let before = self.people.remove(&left.user_id.get());
                if before.map(|place| place.0) != left.channel_id.map(Snowflake::get) {
                    return wrong(self);
                }
            }
            HubEvent::VoiceUpdated(state) => {
                let place = (
                    state.channel_id.get(),
                    state.self_mute,
                    state.self_deaf,
                    state.self_video,
                );
                let before = self.people.insert(state.user_id.get(), place);
                if before.is_none_or(|before| before.0 != place.0 || before == place) {
                    return wrong(self);
                }
            }
            _ => return wrong(self),
        }
        Ok(())
    }
}

/// What an observer has seen so far.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// Snapshot plus later events.
    pub(crate) model: Model,
    /// Every event, with epoch and seq.
    pub(crate) events: Vec<(Arc<str>, u64, HubEvent)>,
    /// What must not happen.
    pub(crate) faults: Vec<String>,
    /// Connections that the hub accepted.
    pub(crate) connections: usize,
    epoch: Option<Arc<str>>,
    seq: u64,
}

/// A client that runs until it is dropped.
pub(crate) struct Observer {
    seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

impl Observer {
    pub(crate) fn start(host: &MemoryHost, token: String, seed: u64) -> Self {
        let mut client = HubClient::builder("ws://hub/api/ws", token)
            .connector(host.clone())
            .max_attempts(1000)
            .seed(seed)
            .start()
            .expect("the address is one");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Some(update) = client.next().await {
                shared.lock().unwrap().take(update);
            }
        });
        Self { seen, task }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Whether its model is what Discord holds.
    pub(crate) fn agrees(&self, truth: &Model) -> bool {
        self.seen.lock().unwrap().model == *truth
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Seen {
    fn take(&mut self, update: Update) {
        match update {
            Update::Connected { .. } => self.connections += 1,
            Update::Snapshot {
                epoch,
                seq,
                snapshot,
            } => {
                self.model.replace(snapshot);
                self.epoch = Some(epoch);
                self.seq = seq;
            }
            Update::Event {
                seq, epoch, event, ..
            } => {
                if self.epoch.as_ref() != Some(&epoch) || seq != self.seq + 1 {
                    let stood = format!("{:?}/{}", self.epoch, self.seq);
                    self.faults.push(format!("{epoch}/{seq} after {stood}"));
                }
                self.seq = seq;
                if let Err(fault) = self.model.apply(&event) {
                    self.faults.push(fault);
                }
                self.events.push((epoch, seq, event));
            }
            Update::Disconnected { .. } => {}
            other => self.faults.push(format!("{other:?}")),
        }
    }
}
