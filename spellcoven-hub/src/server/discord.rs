use spellcoven_discord_rest::{DiscordRestClient, RestError, RestErrorKind};
use twilight_model::id::{Id, marker::ChannelMarker, marker::GuildMarker};

use super::rooms::{ChannelInfo, CreateRoom, CreatedRoom, RoomError, RoomService};
use crate::{BoxFuture, wire::Snowflake};

/// Discord documentation, "Opcodes and Status Codes", section "JSON Error Codes".
const UNKNOWN_CHANNEL: u64 = 10_003;

/// [`RoomService`] by spellcoven-discord-rest. Retries, rate limits and look-ups of lost creates are the client's.
#[derive(Clone)]
pub struct DiscordRooms {
    client: DiscordRestClient,
    guild_id: Snowflake,
}

impl DiscordRooms {
    /// For one guild, with a client that is set up.
    #[must_use]
    pub fn new(client: DiscordRestClient, guild_id: Snowflake) -> Self {
        Self { client, guild_id }
    }

    fn guild(&self) -> Result<Id<GuildMarker>, RoomError> {
        Id::new_checked(self.guild_id.get()).ok_or(RoomError::NotFound)
    }

    async fn create(&self, room: CreateRoom) -> Result<CreatedRoom, RoomError> {
        let parent = match room.parent_id {
            Some(id) => Some(channel_id(id)?),
            None => None,
        };
        let channel = self
            .client
            .create_voice_channel(self.guild()?, room.name.as_str())
            .parent_id(parent)
            .user_limit(room.user_limit)
            .reason(format!("room made for {}", room.user))
            .request_id(room.request_id)
            .await
            .map_err(translate)?;
        Ok(CreatedRoom {
            channel_id: channel.id.get().into(),
            name: channel.name.unwrap_or(room.name),
            parent_id: channel.parent_id.map(|id| id.get().into()),
            user_limit: channel
                .user_limit
                .and_then(|limit| u16::try_from(limit).ok())
                .unwrap_or(room.user_limit),
        })
    }

    async fn delete(&self, id: Snowflake, request_id: &str) -> Result<(), RoomError> {
        let request = self.client.delete_channel(channel_id(id)?);
        request
            .reason("room ended")
            .request_id(request_id)
            .await
            .map_err(translate)?;
        Ok(())
    }

    async fn look_up(&self, id: Snowflake) -> Result<Option<ChannelInfo>, RoomError> {
        let channel = match self.client.get_channel(channel_id(id)?).await {
            Ok(channel) => channel,
            Err(error) => {
                return match translate(error) {
                    RoomError::NotFound => Ok(None),
                    error => Err(error),
                };
            }
        };
        Ok(Some(ChannelInfo {
            channel_id: channel.id.get().into(),
            guild_id: channel.guild_id.map(|id| id.get().into()),
            kind: channel.kind.into(),
            name: channel.name.unwrap_or_default(),
            parent_id: channel.parent_id.map(|id| id.get().into()),
        }))
    }

    async fn look_at_guild(&self) -> Result<(), RoomError> {
        self.client
            .get_channels(self.guild()?)
            .await
            .map_err(translate)?;
        Ok(())
    }
}

impl RoomService for DiscordRooms {
    fn create_voice_channel(
        &self,
        room: CreateRoom,
    ) -> BoxFuture<'_, Result<CreatedRoom, RoomError>> {
        Box::pin(self.create(room))
    }

    fn delete_channel<'a>(
        &'a self,
        id: Snowflake,
        request_id: &'a str,
    ) -> BoxFuture<'a, Result<(), RoomError>> {
        Box::pin(self.delete(id, request_id))
    }

    fn channel(&self, id: Snowflake) -> BoxFuture<'_, Result<Option<ChannelInfo>, RoomError>> {
        Box::pin(self.look_up(id))
    }

    fn check(&self) -> BoxFuture<'_, Result<(), RoomError>> {
        Box::pin(self.look_at_guild())
    }
}

impl std::fmt::Debug for DiscordRooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiscordRooms")
            .field("guild_id", &self.guild_id)
            .finish_non_exhaustive()
    }
}

/// No channel has the id 0.
fn channel_id(id: Snowflake) -> Result<Id<ChannelMarker>, RoomError> {
    Id::new_checked(id.get()).ok_or(RoomError::NotFound)
}

fn translate(error: RestError) -> RoomError {
    match error.kind().clone() {
        RestErrorKind::Validation { field, reason } => RoomError::Rejected {
            field: api_name(field),
            reason,
        },
        RestErrorKind::Forbidden | RestErrorKind::TokenInvalid => RoomError::Forbidden,
        // Only Discord's own word that there is no such channel: a room is announced as gone on it. Another 404, such as
        // a proxy's page, says nothing of rooms.
        RestErrorKind::NotFound if error.discord_code() == Some(UNKNOWN_CHANNEL) => {
            RoomError::NotFound
        }
        RestErrorKind::Conflict => RoomError::Conflict {
            limit: error.discord_message().unwrap_or("of the guild").to_owned(),
        },
        RestErrorKind::RateLimited { retry_after, .. } => RoomError::RateLimited { retry_after },
        // A parent that does not exist is a field's error at Discord, and a thing not found in the hub's API.
        RestErrorKind::Discord { errors, .. }
            if errors.iter().any(|error| {
                error.path == "parent_id" && error.code == "CHANNEL_PARENT_INVALID"
            }) =>
        {
            RoomError::NotFound
        }
        RestErrorKind::Discord {
            status: 400,
            errors,
            ..
        } if !errors.is_empty() => {
            let first = &errors[0];
            RoomError::Rejected {
                field: api_name(&first.path),
                reason: first.message.clone(),
            }
        }
        RestErrorKind::ServiceUnavailable
        | RestErrorKind::Timeout
        | RestErrorKind::Transport
        | RestErrorKind::QueueFull
        | RestErrorKind::CircuitOpen { .. } => RoomError::Unavailable {
            source: Some(error.into()),
        },
        _ => RoomError::Upstream {
            source: Some(error.into()),
        },
    }
}

/// A field's name in the hub's API, by its name at Discord.
fn api_name(field: &str) -> String {
    match field {
        "parent_id" => "parentId",
        "user_limit" => "userLimit",
        "channel_id" => "channelId",
        other => other,
    }
    .to_owned()
}
