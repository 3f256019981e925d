//! Discord's JSON: every documented key, null where Discord allows it.

use serde::Serialize;
use serde_json::{Value, json};

use super::World;
use super::model::{
    AuditEntry, BotAccount, Channel, ChannelKind, Guild, Member, Message, Role, User, VoiceState,
};
use crate::clock::iso8601;
use crate::ids::{ChannelId, GuildId, RoleId, SoundId, UserId};
use crate::permissions::{Overwrite, OverwriteTarget, Permissions};

/// `CHANNEL_OBFUSCATED`.
const OBFUSCATED: u64 = 1 << 17;

#[derive(Serialize)]
struct UserJson<'a> {
    id: UserId,
    username: &'a str,
    discriminator: &'static str,
    global_name: Option<&'a str>,
    avatar: Option<()>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    bot: bool,
    public_flags: u64,
    flags: u64,
    banner: Option<()>,
    accent_color: Option<()>,
}

#[derive(Serialize)]
struct MemberJson<'a> {
    user: UserJson<'a>,
    nick: Option<&'a str>,
    avatar: Option<()>,
    banner: Option<()>,
    roles: &'a [RoleId],
    joined_at: String,
    premium_since: Option<()>,
    deaf: bool,
    mute: bool,
    flags: u64,
    pending: bool,
    communication_disabled_until: Option<String>,
}

#[derive(Serialize)]
struct VoiceStateJson<'a> {
    channel_id: Option<ChannelId>,
    user_id: UserId,
    session_id: &'a str,
    deaf: bool,
    mute: bool,
    self_deaf: bool,
    self_mute: bool,
    self_video: bool,
    self_stream: bool,
    suppress: bool,
    request_to_speak_timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guild_id: Option<GuildId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    member: Option<MemberJson<'a>>,
}

/// Serialises what cannot fail: own structs and values with text keys.
pub(crate) fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn value(from: &impl Serialize) -> Value {
    serde_json::to_value(from).unwrap_or_default()
}

fn user_json(user: &User) -> UserJson<'_> {
    UserJson {
        id: user.id,
        username: &user.name,
        discriminator: "0",
        global_name: (!user.is_bot).then_some(user.name.as_str()),
        avatar: None,
        bot: user.is_bot,
        public_flags: 0,
        flags: 0,
        banner: None,
        accent_color: None,
    }
}

fn member_json<'a>(member: &'a Member, user: &'a User) -> MemberJson<'a> {
    MemberJson {
        user: user_json(user),
        nick: member.nick.as_deref(),
        avatar: None,
        banner: None,
        roles: &member.roles,
        joined_at: iso8601(member.joined_ms),
        premium_since: None,
        deaf: member.deaf,
        mute: member.mute,
        flags: 0,
        pending: false,
        communication_disabled_until: member.timeout_until_ms.map(iso8601),
    }
}

/// A user as others see them.
pub(crate) fn user(user: &User) -> Value {
    value(&user_json(user))
}

/// A user as they see themself.
pub(crate) fn own_user(user: &User) -> Value {
    let mut own = value(&user_json(user));
    for (key, more) in [
        ("verified", json!(true)),
        ("mfa_enabled", json!(true)),
        ("email", Value::Null),
        ("locale", json!("en-US")),
        ("premium_type", json!(0)),
        ("bio", json!("")),
    ] {
        own[key] = more;
    }
    own
}

pub(crate) fn member(member: &Member, user: &User) -> Value {
    value(&member_json(member, user))
}

pub(crate) fn role(role: &Role) -> Value {
    json!({
        "id": role.id, "name": role.name, "description": null, "permissions": role.permissions,
        "position": role.position, "color": 0,
        "colors": {"primary_color": 0, "secondary_color": null, "tertiary_color": null},
        "hoist": false, "managed": role.managed, "mentionable": false, "icon": null, "unicode_emoji": null,
        "flags": 0,
    })
}

fn overwrites(list: &[Overwrite]) -> Vec<Value> {
    list.iter()
        .map(|overwrite| {
            let (id, kind) = match overwrite.target {
                OverwriteTarget::Role(id) => (id.0, 0),
                OverwriteTarget::Member(id) => (id.0, 1),
            };
            json!({"id": id.to_string(), "type": kind, "allow": overwrite.allow, "deny": overwrite.deny})
        })
        .collect()
}

/// A channel; inside GUILD_CREATE without its guild's id.
pub(crate) fn channel(channel: &Channel, with_guild: bool) -> Value {
    let mut out = json!({
        "id": channel.id, "type": channel.kind.number(), "name": channel.name, "position": channel.position,
        "parent_id": channel.parent, "permission_overwrites": overwrites(&channel.overwrites),
        "flags": channel.flags,
    });
    if with_guild {
        out["guild_id"] = json!(channel.guild);
    }
    if channel.kind != ChannelKind::Category {
        out["nsfw"] = json!(channel.nsfw);
        out["rate_limit_per_user"] = json!(channel.rate_limit_per_user);
        out["last_message_id"] = json!(channel.last_message);
    }
    if channel.kind.has_topic() {
        out["topic"] = json!(channel.topic);
    }
    if channel.kind.is_voice() {
        out["bitrate"] = json!(channel.bitrate);
        out["user_limit"] = json!(channel.user_limit);
        out["rtc_region"] = json!(channel.rtc_region);
        out["video_quality_mode"] = json!(channel.video_quality_mode);
    }
    out
}

/// The same channel for a bot that cannot view it: only id, type, position and parent are true. Which keys Discord
/// leaves out or nulls is not known; here all are there, with the values of a fresh channel.
pub(crate) fn obfuscated_channel(real: &Channel, with_guild: bool) -> Value {
    let mut hidden = Channel::new(real.id, real.guild, real.kind, "___hidden___".to_owned());
    hidden.position = real.position;
    hidden.parent = real.parent;
    hidden.flags = OBFUSCATED;
    hidden.overwrites = vec![Overwrite {
        target: OverwriteTarget::Role(RoleId(real.guild.0)),
        allow: Permissions::empty(),
        deny: Permissions::VIEW_CHANNEL,
    }];
    let mut out = channel(&hidden, with_guild);
    out["topic"] = Value::Null;
    out
}

/// A voice state as JSON text, `state` being `None` for a user who left with that session.
pub(crate) struct VoiceStateParts<'a> {
    pub(crate) state: Option<&'a VoiceState>,
    pub(crate) last_session: &'a str,
    pub(crate) member: &'a Member,
    pub(crate) user: &'a User,
    pub(crate) guild: Option<GuildId>,
    pub(crate) with_member: bool,
}

fn voice_state_json<'a>(parts: &VoiceStateParts<'a>) -> VoiceStateJson<'a> {
    VoiceStateJson {
        channel_id: parts.state.map(|state| state.channel),
        user_id: parts.user.id,
        session_id: parts
            .state
            .map_or(parts.last_session, |state| state.session.as_str()),
        deaf: parts.member.deaf,
        mute: parts.member.mute,
        self_deaf: parts.state.is_some_and(|state| state.self_deaf),
        self_mute: parts.state.is_some_and(|state| state.self_mute),
        self_video: parts.state.is_some_and(|state| state.self_video),
        self_stream: parts.state.is_some_and(|state| state.self_stream),
        suppress: parts.state.is_some_and(|state| state.suppress),
        request_to_speak_timestamp: parts
            .state
            .and_then(|state| state.request_to_speak_ms)
            .map(iso8601),
        guild_id: parts.guild,
        member: parts
            .with_member
            .then(|| member_json(parts.member, parts.user)),
    }
}

pub(crate) fn voice_state_text(parts: &VoiceStateParts<'_>) -> String {
    text(&voice_state_json(parts))
}

pub(crate) fn voice_state(parts: &VoiceStateParts<'_>) -> Value {
    value(&voice_state_json(parts))
}

pub(crate) fn message(
    message: &Message,
    channel: &Channel,
    author: &User,
    guild: GuildId,
) -> Value {
    let mut out = json!({
        "id": message.id, "channel_id": channel.id, "guild_id": guild, "author": user(author),
        "content": message.content, "timestamp": iso8601(message.at_ms),
        "edited_timestamp": message.edited_ms.map(iso8601), "tts": message.tts, "mention_everyone": false,
        "mentions": [], "mention_roles": [], "attachments": [], "embeds": message.embeds, "pinned": false,
        "type": 0, "flags": message.flags, "components": message.components,
    });
    if let Some(nonce) = &message.nonce {
        out["nonce"] = nonce.clone();
    }
    out
}

pub(crate) fn audit_entry(entry: &AuditEntry) -> Value {
    let mut out = json!({
        "id": entry.id.to_string(), "user_id": entry.actor, "target_id": entry.target.map(|id| id.to_string()),
        "action_type": entry.action, "changes": entry.changes,
    });
    if let Some(reason) = &entry.reason {
        out["reason"] = json!(reason);
    }
    if let Some(options) = &entry.options {
        out["options"] = options.clone();
    }
    out
}

/// What GUILD_CREATE and `GET /guilds/{id}` have in common.
pub(crate) fn guild_base(guild: &Guild) -> Value {
    json!({
        "id": guild.id, "name": guild.name, "icon": null, "splash": null, "discovery_splash": null,
        "banner": null, "description": null, "owner_id": guild.owner, "region": "deprecated",
        "afk_channel_id": null, "afk_timeout": 300, "widget_enabled": false, "widget_channel_id": null,
        "verification_level": 0, "default_message_notifications": 0, "explicit_content_filter": 0,
        "mfa_level": 0, "nsfw_level": 0, "nsfw": false,
        "roles": guild.roles.values().map(role).collect::<Vec<_>>(),
        "emojis": [], "stickers": [], "features": [], "application_id": null, "system_channel_id": null,
        "system_channel_flags": 0, "rules_channel_id": null, "public_updates_channel_id": null,
        "safety_alerts_channel_id": null, "max_presences": null, "max_members": 500_000,
        "max_video_channel_users": 25, "max_stage_video_channel_users": 50, "vanity_url_code": null,
        "premium_tier": 0, "premium_subscription_count": 0, "premium_progress_bar_enabled": false,
        "preferred_locale": "en-US", "hub_type": null, "incidents_data": null,
    })
}

/// A sound of a guild. `user` is left out, as for bots that may not manage sounds.
///
/// See: Discord documentation, Resources, Soundboard, "Soundboard Sound Object".
pub(super) fn sound(guild: GuildId, id: SoundId, name: &str) -> Value {
    json!({
        "name": name, "sound_id": id, "volume": 1.0, "emoji_id": null, "emoji_name": null, "guild_id": guild,
        "available": true,
    })
}

/// All sounds of a guild.
pub(super) fn sounds(guild: &Guild) -> Value {
    let all = guild.sounds.iter();
    all.map(|(id, name)| sound(guild.id, *id, name)).collect()
}

impl World {
    /// GUILD_CREATE's data as this bot sees it.
    ///
    /// `members` is the bot and everyone in voice: what Discord sends without GUILD_PRESENCES.
    pub(super) fn guild_create(&self, guild: &Guild, bot: UserId) -> Value {
        let visible = self.visible_channels(guild, bot);
        let channels: Vec<Value> = guild
            .channels
            .values()
            .map(|item| {
                if !self.settings.obfuscation || visible.contains(&item.id) {
                    channel(item, false)
                } else {
                    obfuscated_channel(item, false)
                }
            })
            .collect();
        let voice: Vec<Value> = guild
            .voice
            .iter()
            .filter_map(|(id, state)| {
                Some(voice_state(&VoiceStateParts {
                    state: Some(state),
                    last_session: "",
                    member: guild.members.get(id)?,
                    user: self.users.get(id)?,
                    guild: None,
                    with_member: false,
                }))
            })
            .collect();
        let members: Vec<Value> = guild
            .members
            .values()
            .filter(|item| item.user == bot || guild.voice.contains_key(&item.user))
            .filter_map(|item| Some(member(item, self.users.get(&item.user)?)))
            .collect();
        let joined = guild.members.get(&bot).map_or(0, |item| item.joined_ms);
        let mut out = guild_base(guild);
        for (key, more) in [
            ("joined_at", json!(iso8601(joined))),
            ("large", json!(guild.members.len() > 50)),
            ("unavailable", json!(false)),
            ("member_count", json!(guild.members.len())),
            ("voice_states", Value::Array(voice)),
            ("members", Value::Array(members)),
            ("channels", Value::Array(channels)),
            ("threads", json!([])),
            ("presences", json!([])),
            ("stage_instances", json!([])),
            ("guild_scheduled_events", json!([])),
            ("soundboard_sounds", sounds(guild)),
        ] {
            out[key] = more;
        }
        out
    }

    /// The application of a bot, as `/applications/@me` shows it.
    pub(super) fn application(&self, account: &BotAccount, bot: &User) -> Value {
        let guilds: Vec<&Guild> = self
            .guilds
            .values()
            .filter(|g| g.members.contains_key(&bot.id))
            .collect();
        let owner = guilds
            .first()
            .and_then(|guild| self.users.get(&guild.owner))
            .unwrap_or(bot);
        json!({
            "id": account.application, "name": bot.name, "icon": null, "description": "", "summary": "",
            "type": null, "bot_public": true, "bot_require_code_grant": false, "verify_key": "0".repeat(64),
            "flags": APPLICATION_FLAGS, "owner": user(owner), "team": null, "bot": user(bot), "hook": true,
            "approximate_guild_count": guilds.len(), "approximate_user_install_count": 0,
            "interactions_endpoint_url": null, "role_connections_verification_url": null, "redirect_uris": [],
            "rpc_origins": [], "tags": [], "integration_types_config": {"0": {}},
        })
    }
}

/// The limited versions of the three privileged intents, and no more: an ordinary small bot.
pub(crate) const APPLICATION_FLAGS: u64 = 565_248;
