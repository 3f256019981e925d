//! What each path of the control API does. No I/O.

use std::time::Duration;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::Description;
use crate::{ChannelId, Sim, SimError, UserId};

/// An answer: a status and a JSON body.
pub(super) type Answer = (u16, Value);

/// Whom a fault strikes; everybody when absent.
#[derive(Deserialize)]
struct Whom {
    #[serde(default)]
    user_id: Option<String>,
}

#[derive(Deserialize)]
struct InvalidSession {
    resumable: bool,
    #[serde(flatten)]
    whom: Whom,
}

#[derive(Deserialize)]
struct Drop {
    #[serde(default)]
    code: Option<u16>,
    #[serde(flatten)]
    whom: Whom,
}

#[derive(Deserialize)]
struct MuteAcks {
    on: bool,
    #[serde(flatten)]
    whom: Whom,
}

#[derive(Deserialize)]
struct Voice {
    user_id: String,
    channel_id: Option<String>,
}

/// Acts on `sim` as `method path?query` with `body` says.
pub(super) fn act(
    sim: &Sim,
    about: &Description,
    method: &str,
    path: &str,
    query: &str,
    body: &[u8],
) -> Answer {
    let done = match (method, path) {
        ("GET", "/info") => to_json(about),
        ("GET", "/world") => Ok(world(sim, about)),
        ("GET", "/journal") => journal(sim, query),
        ("POST", "/voice") => parse(body).and_then(|wanted: Voice| voice(sim, &wanted)),
        ("POST", "/reconnect") => strike(
            sim,
            about,
            body,
            |whom: &Whom| whom,
            |sim, _, bot| sim.reconnect(bot),
        ),
        ("POST", "/invalid_session") => strike(
            sim,
            about,
            body,
            |wanted: &InvalidSession| &wanted.whom,
            |sim, wanted, bot| sim.invalidate(bot, wanted.resumable),
        ),
        ("POST", "/drop") => strike(
            sim,
            about,
            body,
            |wanted: &Drop| &wanted.whom,
            |sim, wanted, bot| match wanted.code {
                Some(code) => sim.close(bot, code),
                None => sim.cut(bot),
            },
        ),
        ("POST", "/mute_acks") => strike(
            sim,
            about,
            body,
            |wanted: &MuteAcks| &wanted.whom,
            |sim, wanted, bot| sim.mute_acks(bot, wanted.on),
        ),
        _ => Err((404, format!("there is no {method} {path}"))),
    };
    match done {
        Ok(body) => (200, body),
        Err((status, message)) => (status, json!({ "message": message })),
    }
}

type Done = Result<Value, (u16, String)>;

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, (u16, String)> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| (400, error.to_string()))
}

fn to_json(value: impl serde::Serialize) -> Done {
    serde_json::to_value(value).map_err(|error| (500, error.to_string()))
}

fn id(text: &str) -> Result<u64, (u16, String)> {
    text.parse()
        .map_err(|_| (400, format!("{text:?} is no id")))
}

/// Makes a person join, move or leave, and tells when the event was dispatched.
fn voice(sim: &Sim, wanted: &Voice) -> Done {
    let user = UserId(id(&wanted.user_id)?);
    let since_start = sim.now();
    let wall_ms = sim.unix_ms();
    let refused = |error: SimError| (400, error.to_string());
    match wanted.channel_id.as_deref() {
        Some(channel) => sim.join(user, ChannelId(id(channel)?)).map_err(refused)?,
        None => sim.leave(user).map_err(refused)?,
    }
    // Wall time is kept in milliseconds; the clock since the start is finer, and a latency is a fraction of one.
    let fraction = u64::from(since_start.subsec_micros() % 1000);
    Ok(
        json!({ "at": since_start.as_secs_f64(), "dispatched_at_us": Duration::from_millis(wall_ms).as_micros() as u64 + fraction }),
    )
}

fn strike<T: DeserializeOwned>(
    sim: &Sim,
    about: &Description,
    body: &[u8],
    whom: impl Fn(&T) -> &Whom,
    fault: impl Fn(&Sim, &T, UserId),
) -> Done {
    let wanted: T = parse(body)?;
    match &whom(&wanted).user_id {
        Some(user) => fault(sim, &wanted, UserId(id(user)?)),
        None => about
            .bots
            .iter()
            .for_each(|bot| fault(sim, &wanted, bot.user_id)),
    }
    Ok(json!({ "ok": true }))
}

fn world(sim: &Sim, about: &Description) -> Value {
    let channels: Vec<_> = sim
        .channels(about.guild_id)
        .into_iter()
        .map(|channel| {
            json!({
                "id": channel.id, "type": channel.kind.number(), "name": channel.name,
                "parent_id": channel.parent_id, "user_limit": channel.user_limit,
            })
        })
        .collect();
    let voice: Vec<_> = sim
        .voice_states(about.guild_id)
        .into_iter()
        .map(|(user, state)| {
            json!({
                "user_id": user, "channel_id": state.channel_id, "self_mute": state.self_mute,
                "self_deaf": state.self_deaf, "self_video": state.self_video,
            })
        })
        .collect();
    json!({ "guild_id": about.guild_id, "channels": channels, "voice_states": voice })
}

/// `?since=N` leaves out the entries before number N; `?text` tells them as a story, a line each.
fn journal(sim: &Sim, query: &str) -> Done {
    let field = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name));
    let since = match field("since=") {
        Some(number) => number
            .parse()
            .map_err(|_| (400, "since is a number".to_owned()))?,
        None => 0,
    };
    let journal = sim.journal_since(since);
    if field("text").is_some() {
        return Ok(journal
            .entries()
            .iter()
            .map(|entry| json!(entry.to_string()))
            .collect());
    }
    to_json(journal.entries())
}
