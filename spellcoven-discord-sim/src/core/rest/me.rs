//! The bot itself, and where the Gateway is.

use serde_json::{Value, json};

use super::error::{ApiError, UNKNOWN_USER};
use super::{Answer, Call};
use crate::core::{World, wire};
use crate::ids::UserId;

const UNAUTHORIZED: ApiError = ApiError::new(401, 0, "401: Unauthorized");

/// `GET /voice/regions`.
pub(super) fn voice_regions() -> (u16, Value) {
    let region = |id: &str, name: &str, optimal: bool| json!({"id": id, "name": name, "optimal": optimal, "deprecated": false, "custom": false});
    (
        200,
        json!([
            region("rotterdam", "Rotterdam", true),
            region("us-east", "US East", false)
        ]),
    )
}

impl World {
    /// `GET /gateway/bot`.
    ///
    /// See: Discord documentation, Events, Gateway, "Get Gateway Bot".
    pub(super) fn get_gateway_bot(&self, call: &Call<'_>) -> Answer {
        let (remaining, reset_after) = self.identifies_left(call.bot);
        let limit = json!({
            "total": self.settings.identify_total, "remaining": remaining, "reset_after": reset_after,
            "max_concurrency": self.settings.max_concurrency,
        });
        let url = self.settings.gateway_url_for(call.secure);
        Ok((
            200,
            json!({"url": url, "shards": self.settings.shards, "session_start_limit": limit}),
        ))
    }

    /// `GET /users/@me`.
    pub(super) fn get_me(&self, call: &Call<'_>) -> Answer {
        let user = self.users.get(&call.bot).ok_or(UNAUTHORIZED)?;
        Ok((200, wire::own_user(user)))
    }

    /// `GET /users/{user.id}`: any user, whether in a guild with the bot or not.
    pub(super) fn get_user(&self, user: UserId) -> Answer {
        let user = self.users.get(&user).ok_or(UNKNOWN_USER)?;
        Ok((200, wire::user(user)))
    }

    /// `GET /users/@me/guilds`: partial guilds, in the order of their ids.
    pub(super) fn get_my_guilds(&self, call: &Call<'_>) -> Answer {
        let limit = call.limit(200, 200)?;
        let (after, before) = (call.number("after").unwrap_or(0), call.number("before"));
        let guilds: Vec<Value> = self
            .guilds
            .values()
            .filter(|guild| guild.members.contains_key(&call.bot))
            .filter(|guild| guild.id.0 > after && before.is_none_or(|id| guild.id.0 < id))
            .take(limit)
            .map(|guild| {
                json!({
                    "id": guild.id, "name": guild.name, "icon": null, "banner": null,
                    "owner": guild.owner == call.bot, "features": [],
                    "permissions": self.guild_permissions(guild, call.bot),
                })
            })
            .collect();
        Ok((200, Value::Array(guilds)))
    }

    /// `GET /applications/@me`, and the older path under `/oauth2`.
    pub(super) fn get_application(&self, call: &Call<'_>) -> Answer {
        let user = self.users.get(&call.bot).ok_or(UNAUTHORIZED)?;
        let account = self.bots.get(&call.bot).ok_or(UNAUTHORIZED)?;
        Ok((200, self.application(account, user)))
    }
}
