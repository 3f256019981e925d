use std::sync::Arc;

use http::{StatusCode, request};

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
        rooms::{RoomError, VOICE_CHANNEL},
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
    let channel = match shared.rooms.channel(id).await {
        Ok(Some(channel)) => channel,
        Ok(None) | Err(RoomError::NotFound) => return Err(gone(shared, id)),
        Err(error) => return Err(failed(error, "getChannel")),
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

/// Discord knows no such channel: where it was a room, it is gone, and whoever looks should know.
fn gone(shared: &Shared, id: Snowflake) -> ApiError {
    shared.apply(|core, _| {
        if core.state.knows(id) {
            core.state.api_deleted(id)
        } else {
            Vec::new()
        }
    });
    ApiError::not_found("no such room")
}
