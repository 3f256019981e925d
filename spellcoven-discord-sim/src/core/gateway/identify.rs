//! Op 2: Identify.
//!
//! See: Discord documentation, Events, Gateway, "Identifying"; Gateway Events, "Identify".

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::World;
use super::super::model::Token;
use super::super::wire;
use super::compress::Codec;
use super::connection::ConnectionId;
use super::session::{Session, SessionKey};
use crate::ids::{GuildId, UserId};
use crate::intents::Intents;
use crate::journal::EntryKind;

const DAY: Duration = Duration::from_secs(24 * 3600);
const CONCURRENCY_WINDOW: Duration = Duration::from_secs(5);

/// An Identify whose fields have the right shape.
struct Identify<'a> {
    token: &'a str,
    intents: Option<u64>,
    shard: Option<[u32; 2]>,
    compress: bool,
}

fn parse(data: &Value) -> Result<Identify<'_>, &'static str> {
    let fields = data.as_object().ok_or("d is no object")?;
    let token = fields
        .get("token")
        .and_then(Value::as_str)
        .ok_or("no token")?;
    if !fields.get("properties").is_some_and(Value::is_object) {
        return Err("no properties");
    }
    let intents = match fields.get("intents") {
        None | Some(Value::Null) => None,
        Some(value) => Some(value.as_u64().ok_or("intents are no number")?),
    };
    let shard = match fields.get("shard") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let list = value.as_array().ok_or("shard is no array")?;
            let [Some(id), Some(count)] =
                [list.first(), list.get(1)].map(|v| v.and_then(Value::as_u64))
            else {
                return Err("shard is not [id, count]");
            };
            if list.len() != 2 {
                return Err("shard is not [id, count]");
            }
            Some([
                u32::try_from(id).unwrap_or(u32::MAX),
                u32::try_from(count).unwrap_or(u32::MAX),
            ])
        }
    };
    match fields.get("large_threshold") {
        None | Some(Value::Null) => {}
        Some(value) if value.as_u64().is_some_and(|n| (50..=250).contains(&n)) => {}
        Some(_) => return Err("large_threshold is not 50 to 250"),
    }
    Ok(Identify {
        token,
        intents,
        shard,
        compress: fields
            .get("compress")
            .and_then(Value::as_bool)
            .unwrap_or(false),
    })
}

pub(super) fn bare_token(token: &str) -> Token {
    Token(token.strip_prefix("Bot ").unwrap_or(token).to_owned())
}

impl World {
    pub(super) fn on_identify(&mut self, id: ConnectionId, data: &Value) {
        if self
            .connections
            .get(&id)
            .is_some_and(|connection| connection.session.is_some())
        {
            self.complain(format!("#{id}"), "identified twice");
            self.close_connection(id, 4005, "Already authenticated.");
            return;
        }
        let identify = match parse(data) {
            Ok(identify) => identify,
            Err(what) => {
                self.complain(format!("#{id}"), format!("identify: {what}"));
                self.close_connection(id, 4001, "Unknown opcode.");
                return;
            }
        };
        let Some(bot) = self.tokens.get(&bare_token(identify.token)).copied() else {
            self.complain(
                format!("#{id}"),
                "identified with a token that is not valid",
            );
            self.close_connection(id, 4004, "Authentication failed.");
            return;
        };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.bot = Some(bot);
        }
        let shard = identify.shard.unwrap_or([0, 1]);
        if let Some((code, reason, what)) = self.objection(&identify, bot, shard) {
            self.complain(format!("#{id}, bot {bot}"), what);
            self.close_connection(id, code, reason);
            return;
        }
        if !self.spend_identify(id, bot, shard) {
            return;
        }
        let asked_at_resume_url = self
            .connections
            .get(&id)
            .is_some_and(|connection| connection.at_resume_url);
        if asked_at_resume_url {
            self.complain(format!("#{id}, bot {bot}"), "identified at the resume URL");
        }
        self.begin_session(id, bot, shard, &identify);
    }

    /// The close code for an Identify that asks for what it cannot have.
    fn objection(
        &self,
        identify: &Identify<'_>,
        bot: UserId,
        shard: [u32; 2],
    ) -> Option<(u16, &'static str, String)> {
        // Absent intents: 4013 or 4001, unknown; read here as an invalid value.
        let Some(intents) = identify.intents.map(Intents) else {
            return Some((
                4013,
                "Invalid intent(s).",
                "identify: no intents".to_owned(),
            ));
        };
        if shard[1] == 0 || shard[0] >= shard[1] {
            return Some((
                4010,
                "Invalid shard.",
                format!("identify: shard {shard:?} is not valid"),
            ));
        }
        if !shard[1].is_multiple_of(self.settings.shard_multiple.max(1)) {
            return Some((
                4010,
                "Invalid shard.",
                format!(
                    "identify: {} shards are no multiple of {}",
                    shard[1], self.settings.shard_multiple
                ),
            ));
        }
        if !Intents::VALID.contains(intents) {
            return Some((
                4013,
                "Invalid intent(s).",
                format!("identify: intents {} do not exist", intents.0),
            ));
        }
        let wanted = Intents(intents.0 & Intents::PRIVILEGED.0);
        let missing = wanted.without(self.settings.privileged_intents);
        if missing != Intents::empty() {
            let what = format!("identify: privileged intents {} are not enabled", missing.0);
            return Some((4014, "Disallowed intent(s).", what));
        }
        if self.guilds_of_shard(bot, shard).len() > self.settings.guilds_per_shard {
            return Some((
                4011,
                "Sharding required.",
                "identify: too many guilds for one shard".to_owned(),
            ));
        }
        None
    }

    /// Counts an identify; answers op 9 `false` where it came too early, and does the worst where the day's are spent.
    fn spend_identify(&mut self, id: ConnectionId, bot: UserId, shard: [u32; 2]) -> bool {
        let key = shard[0] % self.settings.max_concurrency.max(1);
        let now = self.now;
        let total = self.settings.identify_total;
        let Some(account) = self.bots.get_mut(&bot) else {
            return false;
        };
        let budget = &mut account.identifies;
        if budget
            .last
            .get(&key)
            .is_some_and(|last| *last + CONCURRENCY_WINDOW > now)
        {
            self.complain(
                format!("#{id}, bot {bot}"),
                "identified twice in 5 s with one concurrency key",
            );
            self.refuse(id, Some(bot), "identify concurrency");
            return false;
        }
        if budget.window_start.is_none_or(|start| start + DAY <= now) {
            budget.window_start = Some(now);
            budget.used = 0;
        }
        if budget.used >= total {
            self.complain(
                format!("#{id}, bot {bot}"),
                "spent all identifies of the day",
            );
            self.reset_bot(
                bot,
                "identify budget spent: sessions ended, token reset, owner mailed",
            );
            return false;
        }
        budget.used += 1;
        budget.last.insert(key, now);
        true
    }

    /// Ends all sessions of a bot and gives it a new token.
    ///
    /// See: Discord documentation, Events, Gateway, "Identifying" (what happens at the daily limit).
    pub(in crate::core) fn reset_bot(&mut self, bot: UserId, why: &str) {
        self.acted(Some(bot), why);
        let connections: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.bot == Some(bot))
            .map(|(id, _)| *id)
            .collect();
        for id in connections {
            self.close_connection(id, 4004, "Authentication failed.");
        }
        let sessions: Vec<u64> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.bot == bot)
            .map(|(key, _)| *key)
            .collect();
        for key in sessions {
            self.end_session(key, why);
        }
        let token = self.make_token(bot);
        if let Some(account) = self.bots.get_mut(&bot) {
            let old = std::mem::replace(&mut account.token, token.clone());
            self.tokens.remove(&old);
            self.tokens.insert(token, bot);
        }
    }

    /// Identifies left today, and milliseconds until the count begins anew.
    pub(in crate::core) fn identifies_left(&self, bot: UserId) -> (u32, u64) {
        let total = self.settings.identify_total;
        let Some(budget) = self.bots.get(&bot).map(|account| &account.identifies) else {
            return (total, 0);
        };
        match budget.window_start {
            Some(start) if start + DAY > self.now => {
                let left = u64::try_from((start + DAY - self.now).as_millis()).unwrap_or(u64::MAX);
                (total.saturating_sub(budget.used), left)
            }
            _ => (total, 0),
        }
    }

    fn guilds_of_shard(&self, bot: UserId, shard: [u32; 2]) -> Vec<GuildId> {
        self.guilds
            .values()
            .filter(|guild| guild.members.contains_key(&bot))
            .map(|guild| guild.id)
            .filter(|id| (id.0 >> 22) % u64::from(shard[1].max(1)) == u64::from(shard[0]))
            .collect()
    }

    /// READY, then GUILD_CREATE for each guild in an order by chance.
    fn begin_session(
        &mut self,
        id: ConnectionId,
        bot: UserId,
        shard: [u32; 2],
        identify: &Identify<'_>,
    ) {
        let intents = Intents(identify.intents.unwrap_or(0));
        self.next_session += 1;
        let key = self.next_session;
        let session_id: Arc<str> = self.hex_id().into();
        let mut session = Session::new(Arc::clone(&session_id), bot, intents, shard, id);
        session.compress = identify.compress;
        self.sessions.insert(key, session);
        self.attach(id, key);
        self.log(EntryKind::Identified {
            connection: id.0,
            bot,
            session: Arc::clone(&session_id),
            intents: intents.0,
            shard,
        });
        let mut guilds = self.guilds_of_shard(bot, shard);
        let ready = self.ready_event(
            id,
            bot,
            &session_id,
            shard,
            identify.shard.is_some(),
            &guilds,
        );
        self.dispatch_to(key, &"READY".into(), &ready.into());
        if !intents.contains(Intents::GUILDS) {
            return;
        }
        self.rng.shuffle(&mut guilds);
        self.make_late(key, &guilds);
        for guild in guilds {
            self.send_guild(key, guild);
        }
    }

    /// Ties a connection to its session, with what the bot's faults and the session's client asked for.
    pub(super) fn attach(&mut self, id: ConnectionId, key: SessionKey) {
        let from = self.settings.payload_compression_from;
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let (bot, compress) = (session.bot, session.compress);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.session = Some(key);
            if compress && connection.codec.is_plain() {
                connection.codec = Codec::Payload { from };
            }
        }
        let pace = self.bots.get(&bot).and_then(|account| account.pace);
        if pace.is_some() {
            self.set_pace(id, pace);
        }
    }

    /// Lets half of the guilds be unavailable for a while, where the settings say so.
    fn make_late(&mut self, key: SessionKey, guilds: &[GuildId]) {
        let Some(wait) = self.settings.unavailable_at_start else {
            return;
        };
        let due = self.now.saturating_add(wait);
        // They were shuffled.
        for guild in guilds.iter().take(guilds.len().div_ceil(2)) {
            let (t, d) = if self.settings.unavailable_stub {
                ("GUILD_CREATE", json!({"id": guild, "unavailable": true}))
            } else {
                ("GUILD_DELETE", json!({"id": guild, "unavailable": true}))
            };
            if let Some(session) = self.sessions.get_mut(&key) {
                session.late.insert(*guild, due);
            }
            self.dispatch_to(key, &t.into(), &wire::text(&d).into());
        }
        self.next_late = Some(self.next_late.map_or(due, |next| next.min(due)));
    }

    /// GUILD_CREATE for one session, if the guild is available to it.
    fn send_guild(&mut self, key: SessionKey, guild: GuildId) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        let text = self
            .guilds
            .get(&guild)
            .filter(|guild| !guild.unavailable && session.follows(guild.id))
            .filter(|guild| guild.members.contains_key(&session.bot))
            .map(|guild| wire::text(&self.guild_create(guild, session.bot)));
        if let Some(text) = text {
            self.dispatch_to(key, &"GUILD_CREATE".into(), &text.into());
        }
    }

    /// Sends the guilds that were unavailable at a session's start, once their time has come.
    pub(in crate::core) fn release_late_guilds(&mut self) {
        let now = self.now;
        let mut due = Vec::new();
        for (key, session) in &mut self.sessions {
            session.late.retain(|guild, at| {
                if *at <= now {
                    due.push((*key, *guild));
                }
                *at > now
            });
        }
        for (key, guild) in due {
            self.send_guild(key, guild);
        }
        let all = self.sessions.values();
        self.next_late = all.flat_map(|session| session.late.values().copied()).min();
    }

    fn ready_event(
        &self,
        id: ConnectionId,
        bot: UserId,
        session: &str,
        shard: [u32; 2],
        told_shard: bool,
        guilds: &[GuildId],
    ) -> String {
        let guilds: Vec<Value> = guilds
            .iter()
            .map(|id| json!({"id": id, "unavailable": true}))
            .collect();
        let secure = self
            .connections
            .get(&id)
            .is_some_and(|connection| connection.secure);
        let resume_url = match &self.settings.resume_url {
            Some(url) if !secure => url.clone(),
            _ => self.settings.gateway_url_for(secure),
        };
        let mut ready = json!({
            "v": 10, "user_settings": {}, "user": self.users.get(&bot).map(wire::own_user),
            "session_type": "normal", "session_id": session,
            "resume_gateway_url": resume_url.trim_end_matches('/'), "relationships": [], "private_channels": [],
            "presences": [], "guilds": guilds, "guild_join_requests": [], "geo_ordered_rtc_regions": [], "auth": {},
            "application": {
                "id": self.bots.get(&bot).map(|account| account.application), "flags": wire::APPLICATION_FLAGS,
            },
            "_trace": ["[\"discord-sim\",{\"micros\":0}]"],
        });
        if told_shard {
            ready["shard"] = json!(shard);
        }
        wire::text(&ready)
    }
}
