use serde::Deserialize;
use twilight_model::id::{
    Id,
    marker::{ApplicationMarker, GuildMarker, UserMarker},
};

use super::{RoomChannel, VoiceState, wire};

/// READY: a new session has begun.
///
/// Source: Discord documentation, "Gateway Events", Ready.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ready {
    /// The bot's own user.
    pub user_id: Id<UserMarker>,
    /// The bot's application, where Discord named it.
    pub application_id: Option<Id<ApplicationMarker>>,
    /// The session, needed to resume.
    pub session_id: String,
    /// Where to resume.
    pub resume_gateway_url: String,
    /// Every guild of this shard at this moment; each comes as a snapshot or
    /// as unavailable afterwards.
    pub guilds: Vec<Id<GuildMarker>>,
    /// Shard id and number of shards, where they were sent.
    pub shard: Option<[u32; 2]>,
}

#[derive(Deserialize)]
struct WireReady {
    user: WithId<UserMarker>,
    #[serde(default)]
    application: Option<WithId<ApplicationMarker>>,
    session_id: String,
    resume_gateway_url: String,
    #[serde(default = "Vec::new")]
    guilds: Vec<WithId<GuildMarker>>,
    #[serde(default)]
    shard: Option<[u32; 2]>,
}

#[derive(Deserialize)]
#[serde(bound = "")]
struct WithId<T> {
    id: Id<T>,
}

impl Ready {
    pub(crate) fn parse(data: &str) -> serde_json::Result<Self> {
        let wire: WireReady = serde_json::from_str(data)?;
        Ok(Self {
            user_id: wire.user.id,
            application_id: wire.application.map(|application| application.id),
            session_id: wire.session_id,
            resume_gateway_url: wire.resume_gateway_url,
            guilds: wire.guilds.into_iter().map(|guild| guild.id).collect(),
            shard: wire.shard,
        })
    }
}

/// A guild's snapshot (GUILD_CREATE of an available guild), as far as rooms
/// need it.
///
/// Source: Discord documentation, "Gateway Events", Guild Create.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuildState {
    /// The guild.
    pub id: Id<GuildMarker>,
    /// Its name.
    pub name: String,
    /// All channels, those the bot cannot view in obfuscated form.
    pub channels: Vec<RoomChannel>,
    /// Everyone in voice. A state may name a channel that is not in
    /// [`channels`](Self::channels) (observed).
    pub voice_states: Vec<VoiceState>,
}

#[derive(Deserialize)]
struct WireGuild {
    id: Id<GuildMarker>,
    #[serde(default, deserialize_with = "wire::null_default")]
    unavailable: bool,
    #[serde(default, deserialize_with = "wire::null_default")]
    name: String,
    #[serde(default, deserialize_with = "wire::null_default")]
    channels: Vec<RoomChannel>,
    #[serde(default, deserialize_with = "wire::null_default")]
    voice_states: Vec<VoiceState>,
}

/// GUILD_CREATE is a snapshot, or only says that the guild is unavailable.
pub(super) enum GuildCreate {
    Available(GuildState),
    Unavailable(Id<GuildMarker>),
}

impl GuildCreate {
    pub(super) fn parse(data: &str) -> serde_json::Result<Self> {
        let wire: WireGuild = serde_json::from_str(data)?;
        if wire.unavailable {
            return Ok(Self::Unavailable(wire.id));
        }
        let mut state = GuildState {
            id: wire.id,
            name: wire.name,
            channels: wire.channels,
            voice_states: wire.voice_states,
        };
        for channel in &mut state.channels {
            channel.guild_id = Some(state.id);
        }
        for voice in &mut state.voice_states {
            voice.guild_id = Some(state.id);
        }
        Ok(Self::Available(state))
    }
}

#[derive(Deserialize)]
pub(super) struct GuildDelete {
    pub(super) id: Id<GuildMarker>,
    #[serde(default, deserialize_with = "wire::null_default")]
    pub(super) unavailable: bool,
}

#[derive(Deserialize)]
pub(super) struct MemberRemove {
    pub(super) guild_id: Id<GuildMarker>,
    user: WithId<UserMarker>,
}

impl MemberRemove {
    pub(super) fn user_id(&self) -> Id<UserMarker> {
        self.user.id
    }
}
