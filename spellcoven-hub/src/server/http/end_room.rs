use std::sync::Arc;

use http::{StatusCode, request};
use tokio::time::Instant;

use super::{
    answer::{Answer, ApiError, json},
    auth,
    create_room::log_failure,
    service::Call,
};
use crate::{
    server::{
        hub::Shared,
        policy::{Decision, User},
        rooms::{ChannelInfo, RoomError, VOICE_CHANNEL},
    },
    wire::{EndedRoomBody, Snowflake},
};

/// `DELETE /api/end-room/:channelId`.
pub(super) async fn handle(
    call: &Call<'_>,
    parts: &request::Parts,
    id: &str,
) -> Result<Answer, ApiError> {
    let shared = call.shared;
    let user = auth::authenticate(&parts.headers, shared, call.request_id).await?;
    let id: Snowflake = id
        .parse()
        .map_err(|_| ApiError::validation("channelId", "a snowflake is expected"))?;
    let permit = Arc::clone(&shared.api_calls)
        .try_acquire_owned()
        .map_err(|_| ApiError::overloaded())?;
    let task = {
        let (shared, request_id) = (Arc::clone(shared), call.request_id.to_owned());
        // In a task of its own: a caller who goes away does not leave a deletion unannounced.
        tokio::spawn(async move {
            let result = end(&shared, &user, id, &request_id).await;
            drop(permit);
            result
        })
    };
    task.await.map_err(|_| ApiError::internal())??;
    Ok(json(StatusCode::OK, &EndedRoomBody { ok: true }))
}

async fn end(
    shared: &Shared,
    user: &User,
    id: Snowflake,
    request_id: &str,
) -> Result<(), ApiError> {
    let failed = |error: RoomError, operation| {
        log_failure(&error, operation, request_id);
        ApiError::from(&error)
    };
    let channel = match known(shared, id) {
        Some(channel) => channel,
        None => match shared.rooms.channel(id).await {
            Ok(Some(channel)) => channel,
            Ok(None) | Err(RoomError::NotFound) => return Err(gone(shared, id)),
            Err(error) => return Err(failed(error, "getChannel")),
        },
    };
    // Whatever id is sent: only a voice channel of this guild.
    if channel.guild_id != Some(shared.guild_id)
        || channel.kind != VOICE_CHANNEL
        || channel.channel_id != id
    {
        return Err(ApiError::not_found("no such room"));
    }
    let creator = shared.with_core(|core| core.state.creator(id));
    if shared.policy.may_end(user, &channel, creator.as_deref()) == Decision::Deny {
        return Err(ApiError::forbidden(
            "the policy of this hub does not allow it",
        ));
    }
    match shared.rooms.delete_channel(id, request_id).await {
        Ok(()) => {
            tracing::info!(channel_id = %id, user = user.sub, request_id, "room ended");
            shared.apply(|core, _| core.state.api_deleted(id));
            Ok(())
        }
        Err(RoomError::NotFound) => Err(gone(shared, id)),
        Err(error) => Err(failed(error, "deleteChannel")),
    }
}

/// A room that needs no look-up: only voice channels of this guild are rooms, and a worker that is heard tells of every
/// change of name and category. A state that may be old decides nothing.
fn known(shared: &Shared, id: Snowflake) -> Option<ChannelInfo> {
    shared.with_core(|core| {
        if !core.worker_heard(Instant::now().into_std(), shared.limits.worker_timeout) {
            return None;
        }
        let (name, parent_id) = core.state.announced(id)?;
        Some(ChannelInfo {
            channel_id: id,
            guild_id: Some(shared.guild_id),
            kind: VOICE_CHANNEL,
            name: name.to_owned(),
            parent_id,
        })
    })
}

fn gone(shared: &Shared, id: Snowflake) -> ApiError {
    shared.channel_gone(id);
    ApiError::not_found("no such room")
}
