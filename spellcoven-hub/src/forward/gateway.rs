//! From a Gateway shard to a forwarder: the whole of a worker between its
//! configuration and its shutdown. Feature `discord-gateway`.

use spellcoven_discord_gateway::{
    Change, Event, GatewayError, GatewayEvent, GuildSnapshot as TrackedGuild, GuildTracker, Id,
    Room as TrackedRoom, RoomMember, Shard, VoiceFlags,
};
use twilight_model::id::marker::GuildMarker;

use super::Forwarder;
use crate::wire::{
    GuildSnapshot, HubEvent, Member, Room, RoomDeleted, RoomPayload, Snowflake, VoiceJoined,
    VoiceLeft, VoiceUpdated,
};

/// Takes the shard's events, keeps the tracker, and forwards what happens in
/// the rooms of the forwarder's guild. Other guilds are tracked and not told.
///
/// The guild's first snapshot becomes [`Forwarder::snapshot`], as does a guild
/// that a stored tracker already knows; a guild the bot is no longer in becomes
/// an empty one. A move is a leave and a join. While the guild's state may be
/// old, [`Forwarder::mark_stale`] says so; when it is known again, the differences
/// and then the whole guild are sent. Every event is logged at DEBUG, every
/// change of the guild at INFO.
///
/// Returns when the shard has shut down.
///
/// # Errors
///
/// The shard's last error: Discord refused for good. See [`GatewayError`].
///
/// # Cancel safety
///
/// Cancel safe: dropped midway, no event is lost or half forwarded, and it can
/// be called again with the same arguments.
///
/// # Examples
///
/// ```
/// # use bytes::Bytes;
/// # use http::{HeaderMap, Uri};
/// # use spellcoven_discord_gateway::{BoxFuture, Connector, GatewayStream};
/// # use spellcoven_discord_sim::Sim;
/// # use spellcoven_hub::forward::{PostAnswer, PostError, Poster};
/// # struct IntoSim(Sim);
/// # impl Connector for IntoSim {
/// #     fn dial(&self, _: &Uri) -> BoxFuture<'_, std::io::Result<Box<dyn GatewayStream>>> {
/// #         let sim = self.0.clone();
/// #         Box::pin(async move {
/// #             let (near, far) = tokio::io::duplex(65536);
/// #             tokio::spawn(async move { sim.serve_connection(far).await });
/// #             Ok(Box::new(near) as Box<dyn GatewayStream>)
/// #         })
/// #     }
/// # }
/// # struct TakesAll;
/// # impl Poster for TakesAll {
/// #     fn post(&self, _: HeaderMap, _: Bytes) -> spellcoven_hub::BoxFuture<'_, Result<PostAnswer, PostError>> {
/// #         Box::pin(async { Ok(PostAnswer::new(200, r#"{"ok":true,"epoch":"e1"}"#)) })
/// #     }
/// # }
/// use spellcoven_discord_gateway::{GuildTracker, Shard, Shutdown, TrackerLimits};
/// use spellcoven_hub::HubSecret;
/// use spellcoven_hub::forward::{Forwarder, gateway};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let sim = Sim::builder().build();
/// # let guild = sim.add_guild("guild");
/// # let token = sim.add_bot("bot", guild).token;
/// # let (guild_id, endpoint) = (guild.0.into(), "http://hub.example/api/internal/events");
/// let mut shard = Shard::builder(token)
/// #   .gateway_url("ws://sim.example")
/// #   .connector(IntoSim(sim))
///     .start();
/// let forwarder = Forwarder::builder(endpoint, HubSecret::new("change-me")?, guild_id)
/// #   .poster(TakesAll)
///     .start()?;
/// let mut tracker = GuildTracker::new(TrackerLimits::default());
/// tokio::select! {
///     ended = gateway::run(&mut shard, &mut tracker, &forwarder) => ended?,
///     // A service waits for a signal here.
///     () = tokio::time::sleep(Duration::from_millis(300)) => {}
/// }
/// shard.shutdown(Shutdown::KeepSession).await;
/// assert!(forwarder.shutdown(Duration::from_secs(5)).await);
/// assert_eq!(forwarder.status().delivered, 1, "the guild's snapshot");
/// # Ok(())
/// # }
/// ```
pub async fn run(
    shard: &mut Shard,
    tracker: &mut GuildTracker,
    forwarder: &Forwarder,
) -> Result<(), GatewayError> {
    if !forwarder.has_snapshot()
        && let Some(known) = guild_id(forwarder).and_then(|id| tracker.snapshot(id))
    {
        forwarder.snapshot(snapshot(&known));
    }
    let mut changes = Vec::new();
    while let Some(event) = shard.next_event().await {
        handle_event(&event?, tracker, forwarder, &mut changes);
    }
    Ok(())
}

/// Does for one event what [`run`] does for each, for callers with a loop of
/// their own.
pub fn handle(event: &GatewayEvent, tracker: &mut GuildTracker, forwarder: &Forwarder) {
    handle_event(event, tracker, forwarder, &mut Vec::new());
}

fn handle_event(
    event: &GatewayEvent,
    tracker: &mut GuildTracker,
    forwarder: &Forwarder,
    changes: &mut Vec<Change>,
) {
    tracing::debug!(event = name(&event.event), seq = event.seq, "gateway event");
    tracker.handle_into(event, changes);
    let guild_id = guild_id(forwarder);
    for change in changes
        .drain(..)
        .filter(|change| Some(change.guild_id()) == guild_id)
    {
        match steps(&change) {
            Steps::Events(events) => {
                for event in events {
                    log(&event);
                    forwarder.send(event);
                }
            }
            Steps::Snapshot(snapshot) => {
                tracing::info!(rooms = snapshot.rooms.len(), "the guild's rooms are known");
                forwarder.snapshot(snapshot);
                forwarder.mark_stale(false);
            }
            Steps::Stale => {
                tracing::info!("the guild's state may be old from now on");
                forwarder.mark_stale(true);
            }
            Steps::Fresh => {
                // The differences were sent above. The hub may also hold what this
                // side never saw: a room that its API made, and that was deleted
                // while no session told of either.
                if let Some(known) = guild_id.and_then(|id| tracker.snapshot(id)) {
                    forwarder.snapshot(snapshot(&known));
                }
                tracing::info!("the guild's state is fresh again");
                forwarder.mark_stale(false);
            }
            Steps::Nothing => {}
        }
    }
}

/// `None` for the id 0, which no guild has.
fn guild_id(forwarder: &Forwarder) -> Option<Id<GuildMarker>> {
    Id::new_checked(forwarder.guild_id().get())
}

enum Steps {
    Events(Vec<HubEvent>),
    Snapshot(GuildSnapshot),
    Stale,
    Fresh,
    /// A change of a later version.
    Nothing,
}

fn steps(change: &Change) -> Steps {
    let event = match change {
        Change::Present(guild) => return Steps::Snapshot(snapshot(guild)),
        Change::GuildRemoved { guild_id } => {
            return Steps::Snapshot(GuildSnapshot {
                guild_id: guild_id.get().into(),
                rooms: Vec::new(),
            });
        }
        Change::GuildStale { .. } => return Steps::Stale,
        Change::GuildFresh { .. } => return Steps::Fresh,
        Change::Moved {
            guild_id,
            from,
            to,
            user_id,
            flags,
            ..
        } => {
            let (guild_id, user_id) = (guild_id.get(), user_id.get());
            return Steps::Events(vec![
                left(guild_id, from.get(), user_id),
                joined(guild_id, to.get(), user_id, flags),
            ]);
        }
        Change::RoomCreated { guild_id, room, .. } => {
            HubEvent::RoomCreated(payload(guild_id.get(), room))
        }
        Change::RoomUpdated { guild_id, room, .. } => {
            HubEvent::RoomUpdated(payload(guild_id.get(), room))
        }
        Change::RoomDeleted {
            guild_id,
            channel_id,
            ..
        } => HubEvent::RoomDeleted(RoomDeleted {
            channel_id: channel_id.get().into(),
            guild_id: guild_id.get().into(),
        }),
        Change::Joined {
            guild_id,
            channel_id,
            user_id,
            flags,
            ..
        } => joined(guild_id.get(), channel_id.get(), user_id.get(), flags),
        Change::Left {
            guild_id,
            channel_id,
            user_id,
            ..
        } => left(guild_id.get(), channel_id.get(), user_id.get()),
        Change::Updated {
            guild_id,
            channel_id,
            user_id,
            flags,
            ..
        } => HubEvent::VoiceUpdated(VoiceUpdated {
            guild_id: guild_id.get().into(),
            channel_id: channel_id.get().into(),
            user_id: user_id.get().into(),
            self_mute: flags.self_mute,
            self_deaf: flags.self_deaf,
            self_video: flags.self_video,
        }),
        _ => return Steps::Nothing,
    };
    Steps::Events(vec![event])
}

fn joined(guild_id: u64, channel_id: u64, user_id: u64, flags: &VoiceFlags) -> HubEvent {
    HubEvent::VoiceJoined(VoiceJoined {
        guild_id: guild_id.into(),
        channel_id: channel_id.into(),
        user_id: user_id.into(),
        self_mute: Some(flags.self_mute),
        self_deaf: Some(flags.self_deaf),
        self_video: Some(flags.self_video),
    })
}

fn left(guild_id: u64, channel_id: u64, user_id: u64) -> HubEvent {
    HubEvent::VoiceLeft(VoiceLeft {
        guild_id: guild_id.into(),
        channel_id: Some(channel_id.into()),
        user_id: user_id.into(),
    })
}

fn payload(guild_id: u64, room: &TrackedRoom) -> RoomPayload {
    RoomPayload {
        channel_id: room.channel_id.get().into(),
        name: room.name.clone(),
        guild_id: guild_id.into(),
        parent_id: room.parent_id.map(|id| id.get().into()),
        user_limit: room.user_limit,
    }
}

/// The tracker's snapshot of a guild as the hub reads it.
#[must_use]
pub fn snapshot(guild: &TrackedGuild) -> GuildSnapshot {
    let member = |member: &RoomMember| Member {
        user_id: member.user_id.get().into(),
        self_mute: member.flags.self_mute,
        self_deaf: member.flags.self_deaf,
        self_video: member.flags.self_video,
    };
    let rooms = guild.rooms.iter().map(|tracked| Room {
        channel_id: tracked.room.channel_id.get().into(),
        name: tracked.room.name.clone(),
        parent_id: tracked.room.parent_id.map(|id| id.get().into()),
        user_limit: tracked.room.user_limit,
        members: tracked.members.iter().map(member).collect(),
    });
    GuildSnapshot {
        guild_id: Snowflake::new(guild.guild_id.get()),
        rooms: rooms.collect(),
    }
}

fn log(event: &HubEvent) {
    let (channel_id, user_id) = match event {
        HubEvent::RoomCreated(room) | HubEvent::RoomUpdated(room) => (Some(room.channel_id), None),
        HubEvent::RoomDeleted(room) => (Some(room.channel_id), None),
        HubEvent::VoiceJoined(voice) => (Some(voice.channel_id), Some(voice.user_id)),
        HubEvent::VoiceLeft(voice) => (voice.channel_id, Some(voice.user_id)),
        HubEvent::VoiceUpdated(voice) => (Some(voice.channel_id), Some(voice.user_id)),
    };
    tracing::info!(
        event = event.name(),
        channel_id = channel_id.map(Snowflake::get),
        user_id = user_id.map(Snowflake::get),
        "forwarded"
    );
}

fn name(event: &Event) -> &str {
    match event {
        Event::Ready(_) => "READY",
        Event::Resumed => "RESUMED",
        Event::GuildCreate(_) => "GUILD_CREATE",
        Event::GuildUnavailable { .. } => "GUILD_DELETE (unavailable)",
        Event::GuildDelete { .. } => "GUILD_DELETE",
        Event::ChannelCreate(_) => "CHANNEL_CREATE",
        Event::ChannelUpdate(_) => "CHANNEL_UPDATE",
        Event::ChannelDelete(_) => "CHANNEL_DELETE",
        Event::VoiceStateUpdate(_) => "VOICE_STATE_UPDATE",
        Event::VoiceServerUpdate(_) => "VOICE_SERVER_UPDATE",
        Event::GuildMemberRemove { .. } => "GUILD_MEMBER_REMOVE",
        Event::RateLimited { .. } => "RATE_LIMITED",
        Event::Raw { name, .. } | Event::Undecodable { name, .. } => name,
        _ => "another event",
    }
}
