//! Random histories with gaps: a client that only applies changes always
//! holds the true state, and nobody joins twice.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use spellcoven_discord_gateway::{GatewayEvent, GuildTracker, Id};

use crate::{
    client_model::{Client, View, view_of},
    tracker::{event, ready},
};

const GUILD: u64 = 10;
const CHANNELS: u64 = 5;
const USERS: u64 = 4;

#[derive(Debug, Clone)]
enum Act {
    Make(u64, bool),
    Rename(u64, u8),
    ChangeType(u64),
    Delete(u64, bool),
    Join(u64, u64, bool),
    Leave(u64),
    /// The connection is cut: what follows is not heard until `Snapshot`.
    Cut,
    /// A session that could not be resumed: READY, then the guild's snapshot.
    Snapshot,
    /// Discord sends an event twice.
    Again,
    /// The process restarts with what it stored.
    Restart,
    Outage,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (0..CHANNELS, any::<bool>()).prop_map(|(c, stage)| Act::Make(c, stage)),
        1 => (0..CHANNELS, any::<u8>()).prop_map(|(c, name)| Act::Rename(c, name)),
        1 => (0..CHANNELS).prop_map(Act::ChangeType),
        1 => (0..CHANNELS, any::<bool>()).prop_map(|(c, first)| Act::Delete(c, first)),
        8 => (0..USERS, 0..CHANNELS, any::<bool>()).prop_map(|(u, c, mute)| Act::Join(u, c, mute)),
        3 => (0..USERS).prop_map(Act::Leave),
        1 => Just(Act::Cut),
        1 => Just(Act::Snapshot),
        1 => Just(Act::Again),
        1 => Just(Act::Restart),
        1 => Just(Act::Outage),
    ]
}

/// What is true. Channel ids are used once; slots name the channel of now.
#[derive(Default)]
struct Truth {
    slots: BTreeMap<u64, u64>,
    channels: BTreeMap<u64, (u8, String)>,
    voice: BTreeMap<u64, (u64, bool)>,
    made: u64,
}

impl Truth {
    fn view(&self) -> View {
        let mut view: View = self
            .channels
            .iter()
            .filter(|(_, (kind, _))| *kind == 2)
            .map(|(id, (_, name))| (*id, (name.clone(), BTreeMap::new())))
            .collect();
        for (user, (channel, mute)) in &self.voice {
            if let Some((_, members)) = view.get_mut(channel) {
                members.insert(*user, *mute);
            }
        }
        view
    }

    fn channel(&self, id: u64) -> Value {
        let (kind, name) = &self.channels[&id];
        json!({"id": id.to_string(), "guild_id": GUILD.to_string(), "type": kind, "name": name})
    }

    fn voice(user: u64, at: Option<(u64, bool)>) -> Value {
        json!({
            "guild_id": GUILD.to_string(), "user_id": (user + 1).to_string(), "session_id": "c",
            "channel_id": at.map(|(channel, _)| channel.to_string()),
            "self_mute": at.is_some_and(|(_, mute)| mute),
        })
    }

    fn snapshot(&self) -> GatewayEvent {
        let channels: Vec<Value> = self.channels.keys().map(|id| self.channel(*id)).collect();
        let voices: Vec<Value> = self
            .voice
            .iter()
            .map(|(user, at)| Self::voice(*user, Some(*at)))
            .collect();
        event(
            "GUILD_CREATE",
            json!({"id": GUILD.to_string(), "name": "G", "channels": channels, "voice_states": voices}),
        )
    }

    /// Does it, and gives the events that Discord would send.
    fn act(&mut self, act: &Act) -> Vec<GatewayEvent> {
        match act {
            Act::Make(slot, stage) if !self.slots.contains_key(slot) => {
                self.made += 1;
                let id = 100 + self.made;
                self.slots.insert(*slot, id);
                let kind = if *stage { 13 } else { 2 };
                self.channels.insert(id, (kind, format!("room {id}")));
                vec![event("CHANNEL_CREATE", self.channel(id))]
            }
            Act::Rename(slot, name) => self.change(*slot, |channel| channel.1 = format!("n{name}")),
            Act::ChangeType(slot) => self.change(*slot, |channel| {
                channel.0 = if channel.0 == 2 { 13 } else { 2 }
            }),
            Act::Delete(slot, channel_first) => self.delete(*slot, *channel_first),
            Act::Join(user, slot, mute) => {
                let Some(id) = self.slots.get(slot) else {
                    return Vec::new();
                };
                self.voice.insert(*user, (*id, *mute));
                vec![event(
                    "VOICE_STATE_UPDATE",
                    Self::voice(*user, Some((*id, *mute))),
                )]
            }
            Act::Leave(user) if self.voice.remove(user).is_some() => {
                vec![event("VOICE_STATE_UPDATE", Self::voice(*user, None))]
            }
            _ => Vec::new(),
        }
    }

    fn change(&mut self, slot: u64, with: impl FnOnce(&mut (u8, String))) -> Vec<GatewayEvent> {
        let Some(id) = self.slots.get(&slot).copied() else {
            return Vec::new();
        };
        if let Some(channel) = self.channels.get_mut(&id) {
            with(channel);
        }
        vec![event("CHANNEL_UPDATE", self.channel(id))]
    }

    fn delete(&mut self, slot: u64, channel_first: bool) -> Vec<GatewayEvent> {
        let Some(id) = self.slots.remove(&slot) else {
            return Vec::new();
        };
        let mut events = vec![event("CHANNEL_DELETE", self.channel(id))];
        self.channels.remove(&id);
        let inside: Vec<u64> = self
            .voice
            .iter()
            .filter(|(_, (at, _))| *at == id)
            .map(|(user, _)| *user)
            .collect();
        for user in inside {
            self.voice.remove(&user);
            events.push(event("VOICE_STATE_UPDATE", Self::voice(user, None)));
        }
        if !channel_first {
            events.rotate_left(1);
        }
        events
    }
}

/// The truth with user ids as they are on the wire.
fn truth_on_the_wire(truth: &Truth) -> View {
    let mut view = truth.view();
    for (_, members) in view.values_mut() {
        *members = std::mem::take(members)
            .into_iter()
            .map(|(user, mute)| (user + 1, mute))
            .collect();
    }
    view
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changes_always_add_up_to_the_truth(acts in proptest::collection::vec(act(), 0..120)) {
        let mut truth = Truth::default();
        let mut tracker = GuildTracker::default();
        let mut client = Client::default();
        let mut connected = true;
        let mut last = truth.snapshot();
        let hear = |event: &GatewayEvent, tracker: &mut GuildTracker, client: &mut Client| {
            for change in tracker.handle(event) {
                client.apply(&change);
            }
        };
        hear(&last, &mut tracker, &mut client);
        for act in acts.iter().chain([&Act::Snapshot]) {
            match act {
                Act::Cut => connected = false,
                Act::Snapshot => {
                    hear(&ready(&[GUILD]), &mut tracker, &mut client);
                    prop_assert!(!tracker.is_fresh(Id::new(GUILD)));
                    last = truth.snapshot();
                    hear(&last, &mut tracker, &mut client);
                    connected = true;
                }
                Act::Outage if connected => {
                    let outage = event("GUILD_DELETE", json!({"id": GUILD.to_string(), "unavailable": true}));
                    hear(&outage, &mut tracker, &mut client);
                    connected = false;
                }
                Act::Again if connected => hear(&last, &mut tracker, &mut client),
                Act::Restart => {
                    let json = serde_json::to_string(&tracker).unwrap();
                    tracker = serde_json::from_str(&json).unwrap();
                }
                act => {
                    for event in truth.act(act) {
                        if connected {
                            hear(&event, &mut tracker, &mut client);
                            last = event;
                        }
                    }
                }
            }
            let seen = client.view.clone().unwrap();
            let kept = view_of(&tracker.snapshot(Id::new(GUILD)).unwrap());
            prop_assert_eq!(&seen, &kept, "client and tracker, after {:?}", act);
            if connected {
                prop_assert_eq!(&seen, &truth_on_the_wire(&truth), "client and truth, after {:?}", act);
            }
        }
    }
}
