//! What each path of the control API does. No I/O.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Description, faults, limits, look, people};
use crate::{Sim, SimError, UserId};

/// An answer: a status and a JSON body.
pub(super) type Answer = (u16, Value);

/// What came of a call, or a status and a message for people.
pub(super) type Done = Result<Value, (u16, String)>;

/// One call.
pub(super) struct Call<'a> {
    pub(super) sim: &'a Sim,
    pub(super) about: &'a Description,
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
}

/// Whom a fault strikes; every bot when absent.
#[derive(Deserialize)]
pub(super) struct Whom {
    #[serde(default)]
    user_id: Option<UserId>,
}

impl Whom {
    pub(super) const fn user(&self) -> Option<UserId> {
        self.user_id
    }

    /// Whether this bot is meant.
    pub(super) fn is(&self, bot: UserId) -> bool {
        self.user_id.is_none_or(|wanted| wanted == bot)
    }
}

impl Call<'_> {
    /// The body as what is wanted; an empty one is `{}`.
    pub(super) fn body<T: DeserializeOwned>(&self) -> Result<T, (u16, String)> {
        let body = if self.body.is_empty() {
            b"{}"
        } else {
            self.body
        };
        serde_json::from_slice(body).map_err(|error| (400, error.to_string()))
    }

    /// Does something to the bot that is named, or to each. An id that is no bot's is an error.
    pub(super) fn strike(&self, whom: &Whom, fault: impl Fn(UserId)) -> Done {
        match whom.user_id {
            Some(user) if self.sim.token(user).is_none() => {
                return Err((400, format!("user {user} is not a bot")));
            }
            Some(user) => fault(user),
            None => self.about.bots.iter().for_each(|bot| fault(bot.user_id)),
        }
        ok()
    }
}

pub(super) fn ok() -> Done {
    Ok(json!({ "ok": true }))
}

pub(super) fn refused(error: SimError) -> (u16, String) {
    (400, error.to_string())
}

pub(super) fn to_json(value: impl serde::Serialize) -> Done {
    serde_json::to_value(value).map_err(|error| (500, error.to_string()))
}

/// Acts as `method path` says.
pub(super) fn act(call: &Call<'_>, method: &str, path: &str) -> Answer {
    let done = match (method, path.trim_matches('/')) {
        ("GET", "info") => to_json(look::info(call)),
        ("GET", "world") => Ok(look::world(call)),
        ("GET", "journal") => look::journal(call),
        ("GET", "stats") => to_json(call.sim.stats()),
        ("POST", "voice") => people::voice(call),
        ("POST", "move") => people::move_person(call),
        ("POST", "person") => people::person(call),
        ("POST", "sound") => people::sound(call),
        ("POST", "channel") => people::channel(call),
        ("POST", "delete_channel") => people::delete_channel(call),
        ("POST", "permissions") => people::permissions(call),
        ("POST", "reconnect") => faults::reconnect(call),
        ("POST", "invalid_session") => faults::invalid_session(call),
        ("POST", "drop") => faults::drop_connection(call),
        ("POST", "mute_acks") => faults::mute_acks(call),
        ("POST", "emit") => faults::emit(call),
        ("POST", "fault") => faults::any(call),
        ("POST", "ratelimit") => limits::rate_limit(call),
        ("POST", "fail5xx") => limits::fail(call),
        ("POST", "ban") => limits::ban(call),
        ("POST", "clear") => limits::clear(call),
        #[cfg(feature = "voice")]
        ("POST", "voice/talk") => super::voice::talk(call),
        #[cfg(feature = "voice")]
        ("POST", "voice/hush") => super::voice::hush(call),
        #[cfg(feature = "voice")]
        ("POST", "voice/listen") => super::voice::listen(call),
        #[cfg(feature = "voice")]
        ("GET", "voice/heard") => super::voice::heard(call),
        #[cfg(feature = "voice")]
        ("POST", "rtp_loss") => super::voice::loss(call),
        #[cfg(feature = "voice")]
        ("POST", "media") => super::voice::media(call),
        #[cfg(feature = "voice")]
        ("GET", "media") => super::voice::counts(call),
        #[cfg(feature = "voice")]
        ("POST", "dave") => super::voice::dave(call),
        #[cfg(feature = "voice")]
        ("GET", "call") => super::voice::current(call),
        #[cfg(feature = "voice")]
        ("POST", "corrupt") => super::voice::corrupt(call),
        #[cfg(feature = "voice")]
        ("POST", "voice_server_update") => super::voice::server_update(call),
        _ => Err((404, format!("there is no {method} {path}"))),
    };
    match done {
        Ok(body) => (200, body),
        Err((status, message)) => (status, json!({ "message": message })),
    }
}
