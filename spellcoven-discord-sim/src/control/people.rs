//! People and channels.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::act::{Call, Done, ok, refused};
use crate::{ChannelId, ChannelKind, Permissions, UserId};

#[derive(Deserialize)]
struct Voice {
    user_id: UserId,
    channel_id: Option<ChannelId>,
    self_mute: Option<bool>,
    self_deaf: Option<bool>,
    self_video: Option<bool>,
}

/// Makes a person join, move or leave, and tells when the event was dispatched.
pub(super) fn voice(call: &Call<'_>) -> Done {
    let wanted: Voice = call.body()?;
    let (sim, user) = (call.sim, wanted.user_id);
    let since_start = sim.now();
    let wall_ms = sim.unix_ms();
    match wanted.channel_id {
        Some(channel) => sim.join(user, channel).map_err(refused)?,
        None => sim.leave(user).map_err(refused)?,
    }
    if wanted.channel_id.is_some() {
        if let Some(on) = wanted.self_mute {
            sim.set_self_mute(user, on).map_err(refused)?;
        }
        if let Some(on) = wanted.self_deaf {
            sim.set_self_deaf(user, on).map_err(refused)?;
        }
        if let Some(on) = wanted.self_video {
            sim.set_self_video(user, on).map_err(refused)?;
        }
    }
    // Wall time is kept in milliseconds; the clock since the start is finer, and a latency is a fraction of one.
    let fraction = u64::from(since_start.subsec_micros() % 1000);
    let dispatched_at_us = Duration::from_millis(wall_ms).as_micros() as u64 + fraction;
    Ok(json!({ "at": since_start.as_secs_f64(), "dispatched_at_us": dispatched_at_us }))
}

#[derive(Deserialize)]
struct Move {
    user_id: UserId,
    channel_id: Option<ChannelId>,
}

/// Moves one who is in voice, as a moderator would; without a channel, out of it.
pub(super) fn move_person(call: &Call<'_>) -> Done {
    let wanted: Move = call.body()?;
    let inside = call
        .sim
        .voice_states(call.about.guild_id)
        .contains_key(&wanted.user_id);
    if !inside {
        return Err((
            400,
            format!("user {} is in no voice channel", wanted.user_id),
        ));
    }
    match wanted.channel_id {
        Some(channel) => call.sim.join(wanted.user_id, channel),
        None => call.sim.leave(wanted.user_id),
    }
    .map_err(refused)?;
    ok()
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

pub(super) fn person(call: &Call<'_>) -> Done {
    let wanted: Named = call.body()?;
    let user = call.sim.add_person(&wanted.name, call.about.guild_id);
    Ok(json!({ "user_id": user }))
}

pub(super) fn sound(call: &Call<'_>) -> Done {
    let wanted: Named = call.body()?;
    let made = call.sim.add_sound(call.about.guild_id, &wanted.name);
    Ok(json!({ "sound_id": made.map_err(refused)? }))
}

#[derive(Deserialize)]
struct NewChannel {
    name: String,
    #[serde(default = "voice_type", rename = "type")]
    kind: i64,
    parent_id: Option<ChannelId>,
}

const fn voice_type() -> i64 {
    2
}

pub(super) fn channel(call: &Call<'_>) -> Done {
    let wanted: NewChannel = call.body()?;
    let kind = ChannelKind::from_number(wanted.kind)
        .ok_or_else(|| (400, format!("there is no channel type {}", wanted.kind)))?;
    let made = call
        .sim
        .with(|world| world.add_channel(call.about.guild_id, kind, &wanted.name, wanted.parent_id))
        .map_err(refused)?;
    Ok(json!({ "channel_id": made }))
}

#[derive(Deserialize)]
struct Gone {
    channel_id: ChannelId,
}

pub(super) fn delete_channel(call: &Call<'_>) -> Done {
    let wanted: Gone = call.body()?;
    call.sim
        .delete_channel(wanted.channel_id)
        .map_err(refused)?;
    ok()
}

#[derive(Deserialize)]
struct Rights {
    user_id: UserId,
    permissions: String,
}

/// What a bot's own role grants, as a decimal string.
pub(super) fn permissions(call: &Call<'_>) -> Done {
    let wanted: Rights = call.body()?;
    let bits = wanted
        .permissions
        .parse()
        .map_err(|_| (400, "permissions is a decimal string".to_owned()))?;
    call.sim
        .set_permissions(wanted.user_id, call.about.guild_id, Permissions(bits))
        .map_err(refused)?;
    ok()
}
