//! What a client may send once it is identified: ops 3, 4, 8, 31 and 43.
//!
//! See: Discord documentation, Events, Gateway Events, "Send Events".

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::World;
use super::super::model::VoiceState;
use super::super::wire;
use super::connection::ConnectionId;
use super::session::SessionKey;
use crate::ids::{ChannelId, GuildId, UserId};
use crate::intents::Intents;
use crate::journal::EntryKind;

/// Members in one GUILD_MEMBERS_CHUNK.
const CHUNK: usize = 1000;
/// A whole guild's members may be asked for once in this time.
const MEMBERS_WINDOW: Duration = Duration::from_secs(30);

/// A snowflake in a client's payload: text or number (one library sends numbers).
fn snowflake(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    }
}

/// What op 8 asks for.
struct WantedMembers<'a> {
    guild: GuildId,
    query: Option<&'a str>,
    users: Option<&'a [u64]>,
    limit: u64,
    nonce: Option<&'a str>,
    presences: bool,
}

impl World {
    pub(super) fn on_command(&mut self, id: ConnectionId, op: u64, data: &Value) {
        let Some(key) = self
            .connections
            .get(&id)
            .and_then(|connection| connection.session)
        else {
            self.complain(
                format!("#{id}"),
                format!("sent op {op} before it was identified"),
            );
            self.close_connection(id, 4003, "Not authenticated.");
            return;
        };
        self.log(EntryKind::Commanded {
            connection: id.0,
            bot: self.sessions.get(&key).map(|session| session.bot),
            op,
            d: data.to_string().into(),
        });
        let empty = Map::new();
        let fields = data.as_object().unwrap_or(&empty);
        let done = match op {
            3 => Self::presence(fields),
            4 => self.voice_state_command(key, fields),
            8 => self.request_members(key, fields),
            31 => self.request_soundboard(key, fields),
            43 => self.request_channel_info(key, fields),
            _ => Err("is no op that a bot may send"),
        };
        if let Err(what) = done {
            self.complain(format!("#{id}"), format!("op {op}: {what}"));
            self.close_connection(id, 4001, "Unknown opcode.");
        }
    }

    /// Op 3 has no effect that a bot could see. A missing `since`, `activities` or `status` is answered with 4001
    /// (observed).
    fn presence(fields: &Map<String, Value>) -> Result<(), &'static str> {
        if !fields.contains_key("since") {
            return Err("no since");
        }
        if !fields.get("activities").is_some_and(Value::is_array) {
            return Err("no activities");
        }
        match fields.get("status").and_then(Value::as_str) {
            Some("online" | "dnd" | "idle" | "invisible" | "offline") => Ok(()),
            _ => Err("no valid status"),
        }
    }

    /// Op 4: join, move or leave. What is not allowed has no answer at all (observed).
    fn voice_state_command(
        &mut self,
        key: SessionKey,
        fields: &Map<String, Value>,
    ) -> Result<(), &'static str> {
        let guild = fields
            .get("guild_id")
            .and_then(snowflake)
            .map(GuildId)
            .ok_or("no guild_id")?;
        let channel = match fields.get("channel_id").ok_or("no channel_id")? {
            Value::Null => None,
            other => Some(ChannelId(
                snowflake(other).ok_or("channel_id is no snowflake")?,
            )),
        };
        let flag = |name: &str| fields.get(name).and_then(Value::as_bool);
        let self_mute = flag("self_mute").ok_or("no self_mute")?;
        let self_deaf = flag("self_deaf").ok_or("no self_deaf")?;
        let Some(session) = self.sessions.get(&key) else {
            return Ok(());
        };
        let (bot, session_id) = (session.bot, session.id.to_string());
        let Some(channel) = channel else {
            self.take_from_voice(bot, guild);
            return Ok(());
        };
        if let Err(why) = self.may_join(bot, guild, channel) {
            self.acted(
                Some(bot),
                format!("asked to join {channel} and got no answer: {why}"),
            );
            return Ok(());
        }
        let state = VoiceState {
            channel,
            session: session_id,
            self_mute,
            self_deaf,
            self_video: flag("self_video").unwrap_or(false),
            self_stream: false,
            suppress: false,
            request_to_speak_ms: None,
        };
        self.put_in_voice(bot, guild, state);
        Ok(())
    }

    /// Op 8: GUILD_MEMBERS_CHUNK, or RATE_LIMITED for a whole guild twice in 30 s.
    fn request_members(
        &mut self,
        key: SessionKey,
        fields: &Map<String, Value>,
    ) -> Result<(), &'static str> {
        let guild_id = fields
            .get("guild_id")
            .and_then(snowflake)
            .map(GuildId)
            .ok_or("no guild_id")?;
        let query = fields.get("query").and_then(Value::as_str);
        let users: Option<Vec<u64>> = fields.get("user_ids").map(|value| match value {
            Value::Array(list) => list.iter().filter_map(snowflake).collect(),
            one => snowflake(one).into_iter().collect(),
        });
        if query.is_none() && users.is_none() {
            return Err("neither query nor user_ids");
        }
        if users.as_ref().is_some_and(|list| list.len() > 100) {
            return Err("more than 100 user_ids");
        }
        let limit = fields.get("limit").and_then(Value::as_u64);
        if query.is_some() && limit.is_none() {
            return Err("query without limit");
        }
        // A nonce over 32 bytes is ignored (documented).
        let nonce = fields
            .get("nonce")
            .and_then(Value::as_str)
            .filter(|nonce| nonce.len() <= 32);
        let Some((bot, intents)) = self
            .sessions
            .get(&key)
            .map(|session| (session.bot, session.intents))
        else {
            return Ok(());
        };
        let whole = query == Some("") && limit == Some(0);
        if whole {
            if !intents.contains(Intents::GUILD_MEMBERS) {
                return Err("all members need the intent GUILD_MEMBERS");
            }
            if let Some(wait) = self
                .limits
                .members_request(self.now, bot, guild_id, MEMBERS_WINDOW)
            {
                let mut meta = json!({"guild_id": guild_id});
                if let Some(nonce) = nonce {
                    meta["nonce"] = json!(nonce);
                }
                let limited = json!({"opcode": 8, "retry_after": wait.as_secs_f64(), "meta": meta});
                self.dispatch_to(key, &"RATE_LIMITED".into(), &wire::text(&limited).into());
                return Ok(());
            }
        }
        let wanted = WantedMembers {
            guild: guild_id,
            query,
            users: users.as_deref(),
            limit: limit.unwrap_or(0),
            nonce,
            presences: fields
                .get("presences")
                .and_then(Value::as_bool)
                .unwrap_or(false),
        };
        self.send_members(key, &wanted);
        Ok(())
    }

    fn send_members(&mut self, key: SessionKey, wanted: &WantedMembers<'_>) {
        let &WantedMembers {
            guild: guild_id,
            query,
            users,
            limit,
            nonce,
            presences,
        } = wanted;
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let Some(guild) = self
            .guilds
            .get(&guild_id)
            .filter(|g| g.members.contains_key(&session.bot))
        else {
            return;
        };
        let prefix = query.map(str::to_lowercase);
        let mut members: Vec<Value> = guild
            .members
            .values()
            .filter_map(|member| Some((member, self.users.get(&member.user)?)))
            .filter(|(member, user)| match (users, &prefix) {
                (Some(ids), _) => ids.contains(&member.user.0),
                (None, Some(prefix)) => user.name.to_lowercase().starts_with(prefix.as_str()),
                (None, None) => false,
            })
            .map(|(member, user)| wire::member(member, user))
            .collect();
        if users.is_none() && limit > 0 {
            members.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        let not_found: Vec<UserId> = users
            .unwrap_or_default()
            .iter()
            .map(|id| UserId(*id))
            .filter(|id| !guild.members.contains_key(id))
            .collect();
        let chunks: Vec<&[Value]> = if members.is_empty() {
            vec![&[]]
        } else {
            members.chunks(CHUNK).collect()
        };
        let count = chunks.len();
        let t: Arc<str> = "GUILD_MEMBERS_CHUNK".into();
        for (index, chunk) in chunks.into_iter().enumerate() {
            let mut d = json!({
                "guild_id": guild_id, "members": chunk, "chunk_index": index, "chunk_count": count,
                "not_found": not_found,
            });
            // Nobody's presence is simulated; the key is there where it was asked for.
            if presences {
                d["presences"] = json!([]);
            }
            if let Some(nonce) = nonce {
                d["nonce"] = json!(nonce);
            }
            self.dispatch_to(key, &t, &wire::text(&d).into());
        }
    }

    /// Op 31: SOUNDBOARD_SOUNDS for each guild that the bot is in.
    fn request_soundboard(
        &mut self,
        key: SessionKey,
        fields: &Map<String, Value>,
    ) -> Result<(), &'static str> {
        let guilds = fields
            .get("guild_ids")
            .and_then(Value::as_array)
            .ok_or("no guild_ids")?;
        for guild in guilds.iter().filter_map(snowflake).map(GuildId) {
            let found = self.guilds.get(&guild);
            if let Some(found) = found.filter(|_| self.is_member(key, guild)) {
                let sounds = json!({"guild_id": guild, "soundboard_sounds": wire::sounds(found)});
                self.dispatch_to(
                    key,
                    &"SOUNDBOARD_SOUNDS".into(),
                    &wire::text(&sounds).into(),
                );
            }
        }
        Ok(())
    }

    /// Op 43: status and start time of each voice channel that the bot can view.
    fn request_channel_info(
        &mut self,
        key: SessionKey,
        fields: &Map<String, Value>,
    ) -> Result<(), &'static str> {
        let guild_id = fields
            .get("guild_id")
            .and_then(snowflake)
            .map(GuildId)
            .ok_or("no guild_id")?;
        let wanted: Vec<&str> = fields
            .get("fields")
            .and_then(Value::as_array)
            .ok_or("no fields")?
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let (Some(guild), Some(session)) = (self.guilds.get(&guild_id), self.sessions.get(&key))
        else {
            return Ok(());
        };
        if !guild.members.contains_key(&session.bot) {
            return Ok(());
        }
        let channels: Vec<Value> = guild
            .channels
            .values()
            .filter(|channel| channel.kind.is_voice() && self.can_view(guild, session.bot, channel))
            .map(|channel| {
                let mut info = json!({"id": channel.id});
                if wanted.contains(&"status") {
                    info["status"] = json!(channel.voice_status);
                }
                if wanted.contains(&"voice_start_time") {
                    info["voice_start_time"] = json!(channel.voice_start);
                }
                info
            })
            .collect();
        let info = json!({"guild_id": guild_id, "channels": channels});
        self.dispatch_to(key, &"CHANNEL_INFO".into(), &wire::text(&info).into());
        Ok(())
    }

    fn is_member(&self, key: SessionKey, guild: GuildId) -> bool {
        self.sessions
            .get(&key)
            .zip(self.guilds.get(&guild))
            .is_some_and(|(session, guild)| guild.members.contains_key(&session.bot))
    }
}
