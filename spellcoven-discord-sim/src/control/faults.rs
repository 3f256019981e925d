//! Faults of the Gateway, and any fault as JSON.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::act::{Call, Done, Whom, ok};
#[cfg(feature = "voice")]
use super::voice;
use crate::{Fault, GuildId, Intents, RestFault, UserId, WhileAway};

/// Events that one call may order to happen while a bot is away.
const AWAY: u64 = 10_000;

#[derive(Deserialize)]
struct Emitted {
    t: String,
    #[serde(default)]
    d: Value,
    intent: Option<u64>,
    guild_id: Option<GuildId>,
}

impl Emitted {
    fn need(&self) -> Intents {
        self.intent
            .map_or_else(|| crate::intents::needed_by(&self.t), Intents)
    }
}

/// What is to happen while the bot is away: so many voice changes, or these events.
#[derive(Deserialize)]
#[serde(untagged)]
enum Away {
    Any(bool),
    Count(u64),
    One(Emitted),
    Many(Vec<Emitted>),
}

#[derive(Deserialize)]
struct Reconnect {
    grace_ms: Option<u64>,
    emit_while_away: Option<Away>,
    #[serde(flatten)]
    whom: Whom,
}

/// Op 7, and a close after the grace.
pub(super) fn reconnect(call: &Call<'_>) -> Done {
    let wanted: Reconnect = call.body()?;
    let events = match wanted.emit_while_away {
        None | Some(Away::Any(false)) => Vec::new(),
        Some(Away::Any(true)) => voice_changes(call, 1)?,
        Some(Away::Count(count)) => voice_changes(call, count)?,
        Some(Away::One(event)) => vec![emitted(call, event)],
        Some(Away::Many(events)) => {
            let events = events.into_iter().map(|event| emitted(call, event));
            events.collect()
        }
    };
    // One bot's absence is enough: the others see the same events as they happen.
    let leaving = call
        .about
        .bots
        .iter()
        .map(|bot| bot.user_id)
        .find(|bot| wanted.whom.is(*bot) && call.sim.live_sessions(*bot) > 0);
    match leaving {
        Some(bot) if !events.is_empty() => call.sim.while_away(bot, events),
        None if !events.is_empty() => {
            return Err((400, "no bot is connected that could be away".to_owned()));
        }
        _ => {}
    }
    call.strike(&wanted.whom, |bot| match wanted.grace_ms {
        Some(ms) => call.sim.reconnect_after(bot, Duration::from_millis(ms)),
        None => call.sim.reconnect(bot),
    })
}

fn emitted(call: &Call<'_>, event: Emitted) -> WhileAway {
    WhileAway::Emit {
        guild: event.guild_id.unwrap_or(call.about.guild_id),
        need: event.need(),
        t: event.t,
        d: event.d,
    }
}

/// A person who is not in voice joins the lobby and leaves it, in turn.
fn voice_changes(call: &Call<'_>, count: u64) -> Result<Vec<WhileAway>, (u16, String)> {
    if count > AWAY {
        return Err((400, format!("at most {AWAY} events")));
    }
    let inside = call.sim.voice_states(call.about.guild_id);
    let person: UserId = call
        .about
        .people
        .iter()
        .rev()
        .map(|person| person.user_id)
        .find(|user| !inside.contains_key(user))
        .ok_or_else(|| (400, "nobody is there who is not in voice".to_owned()))?;
    let lobby = call.about.voice_channel_id;
    Ok((0..count)
        .map(|number| match number % 2 {
            0 => WhileAway::Join(person, lobby),
            _ => WhileAway::Leave(person),
        })
        .collect())
}

#[derive(Deserialize)]
struct InvalidSession {
    #[serde(default)]
    resumable: bool,
    #[serde(flatten)]
    whom: Whom,
}

/// Op 9 on live sessions.
pub(super) fn invalid_session(call: &Call<'_>) -> Done {
    let wanted: InvalidSession = call.body()?;
    call.strike(&wanted.whom, |bot| {
        call.sim.invalidate(bot, wanted.resumable);
    })
}

/// Which connection is meant.
#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Target {
    #[default]
    Gateway,
    Voice,
}

#[cfg(not(feature = "voice"))]
mod voice {
    use super::{Call, Done, UserId};

    fn not_built() -> Done {
        let message = "this simulator is built without the feature voice";
        Err((501, message.to_owned()))
    }

    pub(super) fn drop_connection(_: &Call<'_>, _: Option<UserId>, _: Option<u16>) -> Done {
        not_built()
    }

    pub(super) fn drop_at(_: &Call<'_>, _: Option<UserId>, _: super::At) -> Done {
        not_built()
    }

    pub(super) fn mute_acks(_: &Call<'_>, _: Option<UserId>, _: bool, _: Option<u64>) -> Done {
        not_built()
    }
}

/// The message at which a voice connection is cut.
#[derive(Clone, Copy, Deserialize)]
#[cfg_attr(
    not(feature = "voice"),
    expect(dead_code, reason = "only voice has it")
)]
pub(super) struct At {
    pub(super) message: u32,
    #[serde(default)]
    pub(super) from_client: bool,
    #[serde(default)]
    pub(super) lost: bool,
}

#[derive(Deserialize)]
struct Drop {
    #[serde(default)]
    target: Target,
    code: Option<u16>,
    at: Option<At>,
    #[serde(flatten)]
    whom: Whom,
}

/// Whether a close frame may carry this code (RFC 6455, section 7.4).
fn sendable(code: u16) -> Result<(), (u16, String)> {
    if (1000..5000).contains(&code) && !matches!(code, 1004..=1006 | 1015) {
        Ok(())
    } else {
        Err((400, format!("{code} cannot be sent in a close frame")))
    }
}

/// Cuts the connection, or closes it with a code.
pub(super) fn drop_connection(call: &Call<'_>) -> Done {
    let wanted: Drop = call.body()?;
    wanted.code.map_or(Ok(()), sendable)?;
    if let Some(at) = wanted.at {
        if wanted.target != Target::Voice || wanted.code.is_some() || at.message == 0 {
            return Err((
                400,
                "at goes with target voice, without a code, and counts from 1".to_owned(),
            ));
        }
        return voice::drop_at(call, wanted.whom.user(), at);
    }
    if wanted.target == Target::Voice {
        return voice::drop_connection(call, wanted.whom.user(), wanted.code);
    }
    call.strike(&wanted.whom, |bot| match wanted.code {
        Some(code) => call.sim.close(bot, code),
        None => call.sim.cut(bot),
    })
}

#[derive(Deserialize)]
struct MuteAcks {
    ms: Option<u64>,
    on: Option<bool>,
    #[serde(default)]
    target: Target,
    #[serde(flatten)]
    whom: Whom,
}

/// Heartbeats are not answered for so long; or, with `on`, until told otherwise.
pub(super) fn mute_acks(call: &Call<'_>) -> Done {
    let wanted: MuteAcks = call.body()?;
    let on = wanted.on.unwrap_or(true);
    if wanted.ms.is_none() && wanted.on.is_none() {
        return Err((400, "give ms, or on".to_owned()));
    }
    if wanted.target == Target::Voice {
        return voice::mute_acks(call, wanted.whom.user(), on, wanted.ms.filter(|_| on));
    }
    call.strike(&wanted.whom, |bot| match wanted.ms.filter(|_| on) {
        Some(ms) => call.sim.mute_acks_for(bot, Duration::from_millis(ms)),
        None => call.sim.mute_acks(bot, on),
    })
}

/// An event of the test's own making, for the sessions that have the intent: the event's own, if none is given.
pub(super) fn emit(call: &Call<'_>) -> Done {
    let event: Emitted = call.body()?;
    let guild = event.guild_id.unwrap_or(call.about.guild_id);
    call.sim.emit(guild, &event.t, &event.d, event.need());
    ok()
}

#[derive(Deserialize)]
struct GatewayFault {
    fault: Fault,
    #[serde(flatten)]
    whom: Whom,
}

/// `{fault, user_id?}` orders a fault of the Gateway, `{what, match?, count?, when?}` one of REST.
pub(super) fn any(call: &Call<'_>) -> Done {
    let body: Value = call.body()?;
    let wrong = |error: serde_json::Error| (400, error.to_string());
    if body.get("what").is_some() {
        let fault: RestFault = serde_json::from_value(body).map_err(wrong)?;
        call.sim.fail_rest(fault);
        return ok();
    }
    let wanted: GatewayFault = serde_json::from_value(body).map_err(wrong)?;
    if let Fault::Close { code } = wanted.fault {
        sendable(code)?;
    }
    call.strike(&wanted.whom, |bot| call.sim.fault(bot, &wanted.fault))
}
