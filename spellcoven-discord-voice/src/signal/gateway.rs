use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use spellcoven_discord_gateway::{
    Command, CommandError, Event, EventFilter, EventKind, GatewayEvent, ShardHandle,
};
use twilight_model::id::{
    Id,
    marker::{GuildMarker, UserMarker},
};

use super::{
    OwnVoiceState, SignalError, SignalEvent, SignalFeed, Signalling, VoiceServer, VoiceServerToken,
    VoiceStateRequest, signal_pair,
};

/// Signalling by `spellcoven-discord-gateway`: one router for each shard, which any number of clients share. Clones are
/// the same router.
///
/// The bot's own loop keeps calling `Shard::next_event` and shows each event to [`handle`](Self::handle), which looks
/// at five kinds and ignores the rest. The shard must be started with [`wanted_events`](Self::wanted_events) and the
/// intent GUILD_VOICE_STATES.
#[derive(Debug, Clone)]
pub struct VoiceRouter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shard: ShardHandle,
    user_id: Id<UserMarker>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// One for each guild that has a client; those whose client is gone are removed at the next event.
    guilds: BTreeMap<Id<GuildMarker>, SignalFeed>,
    had_ready: bool,
}

impl VoiceRouter {
    /// A router for the shard and the bot's own user.
    pub fn new(shard: ShardHandle, user_id: Id<UserMarker>) -> Self {
        let had_ready = shard.session().is_some();
        Self(Arc::new(Inner {
            shard,
            user_id,
            state: Mutex::new(State {
                guilds: BTreeMap::new(),
                had_ready,
            }),
        }))
    }

    /// The events that voice needs, added to those that the bot wants itself: `VOICE_SERVER_UPDATE` is not among the
    /// gateway crate's default.
    #[must_use]
    pub fn wanted_events(filter: EventFilter) -> EventFilter {
        filter
            .with(EventKind::VoiceStateUpdate)
            .with(EventKind::VoiceServerUpdate)
            .with(EventKind::GuildDelete)
    }

    /// The way to the main gateway for one client, for
    /// [`DiscordRtcClient::builder`](crate::DiscordRtcClient::builder). A guild has one client: a second call for the
    /// same guild cuts the first one off, as if the main gateway were gone.
    pub fn signalling(&self, guild_id: Id<GuildMarker>) -> impl Signalling + use<> {
        let shard = self.0.shard.clone();
        let (feed, fed) = signal_pair(move |request| send(&shard, request));
        self.lock().guilds.insert(guild_id, feed);
        fed
    }

    /// Tells the clients what concerns them. Cheap for all other events.
    pub fn handle(&self, event: &GatewayEvent) {
        match &event.event {
            Event::VoiceStateUpdate(state) if state.user_id == self.0.user_id => {
                let Some(guild_id) = state.guild_id else {
                    return;
                };
                self.tell(guild_id, || {
                    SignalEvent::VoiceState(OwnVoiceState {
                        channel_id: state.channel_id,
                        session_id: state.session_id.clone(),
                    })
                });
            }
            Event::VoiceServerUpdate(server) => self.tell(server.guild_id, || {
                SignalEvent::VoiceServer(VoiceServer {
                    token: VoiceServerToken::new(server.token.expose()),
                    endpoint: server.endpoint.clone(),
                })
            }),
            // The bot was removed from the guild; nothing else follows.
            Event::GuildDelete { id } => self.tell(*id, || {
                SignalEvent::VoiceState(OwnVoiceState {
                    channel_id: None,
                    session_id: String::new(),
                })
            }),
            Event::Ready(_) => self.restarted(),
            _ => {}
        }
    }

    fn tell(&self, guild_id: Id<GuildMarker>, event: impl FnOnce() -> SignalEvent) {
        let mut state = self.lock();
        if let Some(feed) = state.guilds.get(&guild_id)
            && !feed.send(event())
        {
            state.guilds.remove(&guild_id);
        }
    }

    fn restarted(&self) {
        let mut state = self.lock();
        // Before the first session there was nothing to lose, and op 4 waits in the shard until now.
        if std::mem::replace(&mut state.had_ready, true) {
            state
                .guilds
                .retain(|_, feed| feed.send(SignalEvent::GatewayRestarted));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn send(shard: &ShardHandle, request: VoiceStateRequest) -> Result<(), SignalError> {
    let command = Command::VoiceState {
        guild_id: request.guild_id,
        channel_id: request.channel_id,
        self_mute: request.self_mute,
        self_deaf: request.self_deaf,
    };
    shard.command(command).map_err(|error| match error {
        CommandError::Closed => SignalError::Closed,
        // The two that blame the command cannot be: op 4 is short and has no ranges.
        _ => SignalError::Busy,
    })
}
