use std::sync::Arc;

use http::{HeaderMap, StatusCode, request};
use serde_json::{Map, Value};
use tokio::{sync::watch, time::Instant};

use super::{
    answer::{Answer, ApiError, json},
    auth, body,
    service::{Call, HubBody},
};
use crate::{
    server::{
        hub::Shared,
        idempotency::{Claim, Key, Outcome, Pending},
        policy::Decision,
        rooms::{CreateRoom, RoomError},
    },
    wire::{CreateRoomBody, CreatedRoomBody, RoomPayload, Snowflake},
};

/// The user limit of a room for which none was asked.
const DEFAULT_USER_LIMIT: u16 = 4;

/// `POST /api/create-room`.
pub(super) async fn handle<B: HubBody>(
    call: &Call<'_>,
    parts: &request::Parts,
    body: B,
) -> Result<Answer, ApiError> {
    let shared = call.shared;
    let user = auth::authenticate(&parts.headers, shared, call.request_id).await?;
    let key = idempotency_key(&parts.headers)?.map(|key| (user.sub.clone(), key));
    let bytes = body::read(body, shared.limits.max_api_body, shared.limits.body_timeout).await?;
    body::expect_json(&parts.headers, &bytes)?;
    let wanted = parse(&bytes)?;
    let room = CreateRoom {
        name: wanted.name.clone().unwrap_or_else(|| default_name(shared)),
        parent_id: wanted.parent_id,
        user_limit: wanted.user_limit.unwrap_or(DEFAULT_USER_LIMIT),
        request_id: call.request_id.to_owned(),
        user: user.sub.clone(),
    };
    if shared.policy.may_create(&user, &room) == Decision::Deny {
        return Err(ApiError::forbidden(
            "the policy of this hub does not allow it",
        ));
    }
    let mut pending = begin(shared, room, key, wanted)?;
    // An error means that the task died.
    let outcome = pending
        .wait_for(Option::is_some)
        .await
        .map_err(|_| ApiError::internal())?;
    match outcome.as_deref() {
        Some(Ok(created)) => Ok(json(StatusCode::OK, created)),
        Some(Err(error)) => Err(error.clone()),
        None => Err(ApiError::internal()),
    }
}

/// Begins a create, or joins the one of the same key. Atomic: of two requests with one key, one begins.
fn begin(
    shared: &Arc<Shared>,
    room: CreateRoom,
    key: Option<Key>,
    wanted: CreateRoomBody,
) -> Result<Pending, ApiError> {
    let Some(key) = key else {
        return spawn(shared, room, None);
    };
    shared.with_idempotency(
        |idempotency| match idempotency.claim(&key, &wanted, Instant::now()) {
            Claim::Same(pending) => Ok(pending),
            Claim::Other => {
                let message = "the idempotency key was used with another body";
                Err(ApiError::new(StatusCode::CONFLICT, "CONFLICT", message))
            }
            Claim::Full => Err(ApiError::overloaded()),
            Claim::New => {
                let pending = spawn(shared, room, Some(key.clone()))?;
                idempotency.insert(key, wanted, pending.clone(), Instant::now());
                Ok(pending)
            }
        },
    )
}

/// Creates in a task of its own: a caller who goes away does not leave a room unannounced.
fn spawn(shared: &Arc<Shared>, room: CreateRoom, key: Option<Key>) -> Result<Pending, ApiError> {
    let permit = Arc::clone(&shared.api_calls)
        .try_acquire_owned()
        .map_err(|_| ApiError::overloaded())?;
    let (sender, pending) = watch::channel(None);
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let result = create(&shared, room).await;
        if let (Err(_), Some(key)) = (&result, &key) {
            shared.with_idempotency(|idempotency| idempotency.forget(key));
        }
        sender.send_replace(Some(Outcome::new(result)));
        drop(permit);
    });
    Ok(pending)
}

async fn create(shared: &Shared, room: CreateRoom) -> Result<CreatedRoomBody, ApiError> {
    let (user, request_id) = (room.user.clone(), room.request_id.clone());
    let created = match shared.rooms.create_voice_channel(room).await {
        Ok(created) => created,
        Err(error) => {
            log_failure(&error, "createVoiceChannel", &request_id);
            return Err((&error).into());
        }
    };
    tracing::info!(channel_id = %created.channel_id, user, request_id, "room created");
    let payload = RoomPayload {
        channel_id: created.channel_id,
        name: created.name,
        guild_id: shared.guild_id,
        parent_id: created.parent_id,
        user_limit: created.user_limit,
    };
    let answer = CreatedRoomBody {
        channel_id: payload.channel_id,
        name: payload.name.clone(),
        guild_id: payload.guild_id,
    };
    shared.apply(|core, now| core.state.api_created(payload, &user, now));
    Ok(answer)
}

/// A line for what Discord refused or failed to do.
pub(super) fn log_failure(error: &RoomError, operation: &'static str, request_id: &str) {
    let mut causes = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    tracing::warn!(%error, cause = causes.join(": "), operation, request_id, "Discord did not do it");
}

fn default_name(shared: &Shared) -> String {
    format!("spell-coven-{:08x}", shared.with_rng(|rng| rng.u32(..)))
}

/// `Idempotency-Key` or `X-Idempotency-Key`, 1 to 255 visible characters.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers
        .get("idempotency-key")
        .or_else(|| headers.get("x-idempotency-key"))
    else {
        return Ok(None);
    };
    let bytes = value.as_bytes();
    if bytes.is_empty() || bytes.len() > 255 || !bytes.iter().all(u8::is_ascii_graphic) {
        return Err(ApiError::validation(
            "Idempotency-Key",
            "1 to 255 visible ASCII characters are expected",
        ));
    }
    Ok(value.to_str().ok().map(str::to_owned))
}

/// Reads the body field by field, so that an error names the field. Unknown fields are ignored, `null` is as absent.
fn parse(body: &[u8]) -> Result<CreateRoomBody, ApiError> {
    if body.is_empty() {
        return Ok(CreateRoomBody::default());
    }
    let mut fields: Map<String, Value> = serde_json::from_slice(body)
        .map_err(|_| ApiError::validation("body", "not a JSON object"))?;
    let mut take = |name| fields.remove(name).filter(|value| !value.is_null());
    Ok(CreateRoomBody {
        name: take("name").map(name).transpose()?,
        parent_id: take("parentId").map(parent_id).transpose()?,
        user_limit: take("userLimit")
            .map(|value| user_limit(&value))
            .transpose()?,
    })
}

fn name(value: Value) -> Result<String, ApiError> {
    match value {
        Value::String(name)
            if (1..=100).contains(&name.chars().count()) && !name.trim().is_empty() =>
        {
            Ok(name)
        }
        _ => Err(ApiError::validation(
            "name",
            "1 to 100 characters are expected, not only spaces",
        )),
    }
}

fn parent_id(value: Value) -> Result<Snowflake, ApiError> {
    serde_json::from_value(value).map_err(|_| {
        ApiError::validation("parentId", "a snowflake is expected, as a string of digits")
    })
}

fn user_limit(value: &Value) -> Result<u16, ApiError> {
    let limit = value
        .as_u64()
        .filter(|limit| *limit <= 99)
        .and_then(|limit| u16::try_from(limit).ok());
    limit
        .ok_or_else(|| ApiError::validation("userLimit", "a whole number from 0 to 99 is expected"))
}
