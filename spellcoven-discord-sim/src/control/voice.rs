//! Calls and their media.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::act::{Call, Done, ok, refused, to_json};
use crate::{ChannelId, MediaFaults, UserId, VoiceFault, VoiceServerId};

/// Does something to the user who is named, or to everyone who has a voice connection. Someone who is nobody is an error.
fn strike(call: &Call<'_>, user: Option<UserId>, fault: impl Fn(UserId)) -> Done {
    let users = match user {
        Some(user) if !call.sim.with(|world| world.is_user(user)) => {
            return Err((400, format!("there is no user {user}")));
        }
        Some(user) => vec![user],
        None => call.sim.with(|world| world.callers()),
    };
    users.into_iter().for_each(fault);
    ok()
}

pub(super) fn drop_connection(call: &Call<'_>, user: Option<UserId>, code: Option<u16>) -> Done {
    let fault = match code {
        Some(code) => VoiceFault::Close { code },
        None => VoiceFault::Cut,
    };
    strike(call, user, |user| call.sim.voice_fault(user, fault))
}

pub(super) fn mute_acks(call: &Call<'_>, user: Option<UserId>, on: bool, ms: Option<u64>) -> Done {
    strike(call, user, |user| match ms {
        Some(ms) => call
            .sim
            .mute_voice_acks_for(user, Duration::from_millis(ms)),
        None => call.sim.voice_fault(user, VoiceFault::MuteAcks { on }),
    })
}

/// A chance from 0 to 1.
fn chance(p: f64) -> Result<f64, (u16, String)> {
    if (0.0..=1.0).contains(&p) {
        Ok(p)
    } else {
        Err((400, format!("{p} is no chance from 0 to 1")))
    }
}

#[derive(Deserialize)]
struct Loss {
    p: f64,
    user_id: Option<UserId>,
}

/// So many of the packets to clients are lost. Takes the place of other media faults.
pub(super) fn loss(call: &Call<'_>) -> Done {
    let wanted: Loss = call.body()?;
    let faults = MediaFaults {
        loss: chance(wanted.p)?,
        ..MediaFaults::default()
    };
    set(call, wanted.user_id, faults)
}

fn set(call: &Call<'_>, user: Option<UserId>, faults: MediaFaults) -> Done {
    match user {
        Some(user) => call.sim.set_media_faults_of(user, Some(faults)),
        None => call.sim.set_media_faults(faults),
    }
    ok()
}

/// All faults of media; those that are not named are taken back.
pub(super) fn media(call: &Call<'_>) -> Done {
    let mut body: Value = call.body()?;
    let wrong = |error: serde_json::Error| (400, error.to_string());
    let user = body
        .as_object_mut()
        .and_then(|fields| fields.remove("user_id"))
        .map(serde_json::from_value)
        .transpose()
        .map_err(wrong)?;
    let faults: MediaFaults = serde_json::from_value(body).map_err(wrong)?;
    for p in faults.chances() {
        chance(p)?;
    }
    set(call, user, faults)
}

#[derive(Deserialize)]
struct Corrupt {
    #[serde(default)]
    welcome: bool,
    #[serde(default)]
    commit: bool,
    user_id: Option<UserId>,
}

/// A bit of the next Welcome or commit is turned; for one user, or for whom it comes to first.
pub(super) fn corrupt(call: &Call<'_>) -> Done {
    let wanted: Corrupt = call.body()?;
    if !wanted.welcome && !wanted.commit {
        return Err((400, "give welcome or commit".to_owned()));
    }
    call.sim
        .corrupt_dave(wanted.user_id, wanted.welcome, wanted.commit);
    ok()
}

#[derive(Deserialize)]
struct Update {
    user_id: Option<UserId>,
    channel_id: Option<ChannelId>,
    server: Option<u64>,
    #[serde(default)]
    gone: bool,
}

/// VOICE_SERVER_UPDATE: with a new token for one or all; or a channel's call goes to another server, or has none.
pub(super) fn server_update(call: &Call<'_>) -> Done {
    let wanted: Update = call.body()?;
    let channel = || {
        let about = call.about;
        wanted.channel_id.unwrap_or(about.voice_channel_id)
    };
    if wanted.gone {
        call.sim.lose_voice_server(channel()).map_err(refused)?;
        return ok();
    }
    if let Some(number) = wanted.server {
        let server = VoiceServerId(number);
        if !call.sim.voice_servers().iter().any(|at| at.id == server) {
            return Err((400, format!("there is no voice server {number}")));
        }
        call.sim.move_call(channel(), server).map_err(refused)?;
        return ok();
    }
    let renewed = call
        .sim
        .renew_voice_servers(call.about.guild_id, wanted.user_id);
    Ok(json!({ "renewed": renewed }))
}

/// What was counted of everyone's media.
pub(super) fn counts(call: &Call<'_>) -> Done {
    to_json(call.sim.media())
}
