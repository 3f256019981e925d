//! Channels: create, get, modify, delete.
//!
//! See: Discord documentation, Resources, Guild, "Create Guild Channel"; Resources, Channel.

use serde_json::Value;

use super::error::{
    ApiError, MISSING_ACCESS, MISSING_PERMISSIONS, TOO_MANY_CHANNELS, TOO_MANY_OVERWRITES,
    UNKNOWN_CHANNEL,
};
use super::form::Form;
use super::{Answer, Call};
use crate::core::audit::{CHANNEL_CREATE, CHANNEL_DELETE, CHANNEL_UPDATE, change};
use crate::core::model::{Channel, ChannelKind, Guild};
use crate::core::{World, wire};
use crate::ids::{ChannelId, GuildId, UserId};
use crate::permissions::{Overwrite, Permissions};

/// Overwrites a channel may have in all.
pub(super) const OVERWRITES: usize = 1000;

/// The fields of a body that make or change a channel. Outer `None`: absent; inner `None`: null.
#[expect(
    clippy::option_option,
    reason = "absent and null are different requests"
)]
struct Fields {
    name: Option<String>,
    kind: Option<ChannelKind>,
    position: Option<Option<i64>>,
    topic: Option<Option<String>>,
    nsfw: Option<Option<bool>>,
    rate_limit_per_user: Option<Option<i64>>,
    bitrate: Option<Option<i64>>,
    user_limit: Option<Option<i64>>,
    parent: Option<Option<u64>>,
    overwrites: Option<Vec<Overwrite>>,
    rtc_region: Option<Option<String>>,
    video_quality_mode: Option<Option<i64>>,
    flags: Option<Option<i64>>,
}

fn clamp(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

impl Fields {
    /// Reads what is common to creating and modifying. `kind` is what the channel will be.
    fn read(form: &mut Form, kind: ChannelKind) -> Self {
        let user_limit = if kind == ChannelKind::Stage {
            10_000
        } else {
            99
        };
        let bitrate = if kind == ChannelKind::Stage {
            64_000
        } else {
            96_000
        };
        let name = match form.text("name", 1..=100) {
            Some(Some(name)) if kind == ChannelKind::Text => Some(text_channel_name(&name)),
            Some(Some(name)) => Some(name),
            Some(None) => {
                form.wrong("name", "BASE_TYPE_REQUIRED", "This field is required");
                None
            }
            None => None,
        };
        Self {
            name,
            kind: None,
            position: form.number("position", 0..=i64::from(i32::MAX)),
            topic: form.text("topic", 0..=1024),
            nsfw: form.flag("nsfw"),
            rate_limit_per_user: form.number("rate_limit_per_user", 0..=21_600),
            bitrate: form.number("bitrate", 8_000..=bitrate),
            user_limit: form.number("user_limit", 0..=user_limit),
            parent: form.snowflake("parent_id"),
            overwrites: form.overwrites(),
            rtc_region: form.text("rtc_region", 1..=64),
            video_quality_mode: form.number("video_quality_mode", 1..=2),
            flags: form.number("flags", 0..=i64::MAX),
        }
    }

    fn apply(&self, channel: &mut Channel) {
        if let Some(name) = &self.name {
            channel.name.clone_from(name);
        }
        if let Some(kind) = self.kind {
            channel.kind = kind;
        }
        if let Some(Some(position)) = self.position {
            channel.position = clamp(position);
        }
        if let Some(topic) = &self.topic {
            channel.topic = topic.clone().filter(|topic| !topic.is_empty());
        }
        if let Some(nsfw) = self.nsfw {
            channel.nsfw = nsfw.unwrap_or(false);
        }
        if let Some(seconds) = self.rate_limit_per_user {
            channel.rate_limit_per_user = clamp(seconds.unwrap_or(0));
        }
        if let Some(bitrate) = self.bitrate {
            channel.bitrate = clamp(bitrate.unwrap_or(64_000));
        }
        if let Some(limit) = self.user_limit {
            channel.user_limit = clamp(limit.unwrap_or(0));
        }
        if let Some(parent) = self.parent {
            channel.parent = parent.map(ChannelId);
        }
        if let Some(overwrites) = &self.overwrites {
            channel.overwrites.clone_from(overwrites);
        }
        if let Some(region) = &self.rtc_region {
            channel.rtc_region.clone_from(region);
        }
        if let Some(mode) = self.video_quality_mode {
            channel.video_quality_mode = u8::try_from(mode.unwrap_or(1)).unwrap_or(1);
        }
        if let Some(flags) = self.flags {
            channel.flags = u64::try_from(flags.unwrap_or(0)).unwrap_or(0);
        }
    }
}

/// Text channels are lower case with dashes for spaces (observed); voice channels keep their name.
fn text_channel_name(name: &str) -> String {
    name.trim()
        .to_lowercase()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join("-")
}

/// The keys of a channel that the audit log and a change compare.
const COMPARED: [&str; 12] = [
    "name",
    "type",
    "position",
    "topic",
    "nsfw",
    "rate_limit_per_user",
    "bitrate",
    "user_limit",
    "parent_id",
    "permission_overwrites",
    "rtc_region",
    "video_quality_mode",
];

fn changes(before: &Value, after: &Value) -> Vec<Value> {
    COMPARED
        .iter()
        .filter(|key| before.get(**key) != after.get(**key))
        .map(|key| change(key, before.get(*key), after.get(*key)))
        .collect()
}

impl World {
    /// The channel and its guild, for a bot that may at least know that it is there.
    pub(super) fn channel_for(
        &self,
        bot: UserId,
        id: ChannelId,
    ) -> Result<(&Guild, &Channel), ApiError> {
        let guild = self.channel_guilds.get(&id).ok_or(UNKNOWN_CHANNEL)?;
        let guild = self
            .guilds
            .get(guild)
            .filter(|guild| guild.members.contains_key(&bot))
            .ok_or(MISSING_ACCESS)?;
        let channel = guild.channels.get(&id).ok_or(UNKNOWN_CHANNEL)?;
        Ok((guild, channel))
    }

    /// MANAGE_CHANNELS there: 50001 without sight of the channel or, in a voice channel, without CONNECT; else 50013.
    fn may_manage(&self, bot: UserId, guild: &Guild, channel: &Channel) -> Result<(), ApiError> {
        let bits = self.channel_permissions(guild, bot, channel);
        if !self.can_view_or_parent(guild, bot, channel) {
            return Err(MISSING_ACCESS);
        }
        if channel.kind.is_voice() && !bits.contains(Permissions::CONNECT) {
            return Err(MISSING_ACCESS);
        }
        if !bits.contains(Permissions::MANAGE_CHANNELS) {
            return Err(MISSING_PERMISSIONS);
        }
        Ok(())
    }

    /// Overwrites may name only what the bot itself has, and MANAGE_ROLES only for administrators.
    pub(super) fn may_overwrite(
        &self,
        bot: UserId,
        guild: &Guild,
        wanted: &[Overwrite],
    ) -> Result<(), ApiError> {
        let own = self.guild_permissions(guild, bot);
        for overwrite in wanted {
            let named = overwrite.allow | overwrite.deny;
            let administrator = own.contains(Permissions::ADMINISTRATOR);
            let roles = named & Permissions::MANAGE_ROLES != Permissions::empty();
            if !own.contains(named) || (roles && !administrator) {
                return Err(MISSING_PERMISSIONS);
            }
        }
        Ok(())
    }

    fn check_parent(
        &self,
        guild: &Guild,
        channel: Option<ChannelId>,
        parent: u64,
        form: &mut Form,
    ) {
        let parent = ChannelId(parent);
        let category = guild
            .channels
            .get(&parent)
            .is_some_and(|c| c.kind == ChannelKind::Category);
        if !category {
            form.wrong(
                "parent_id",
                "CHANNEL_PARENT_INVALID",
                "Category does not exist",
            );
            return;
        }
        let children = guild
            .channels
            .values()
            .filter(|c| c.parent == Some(parent) && Some(c.id) != channel)
            .count();
        if children >= self.settings.channels_per_category {
            let message = "Maximum number of channels in category reached (50)";
            form.wrong("parent_id", "CHANNEL_PARENT_MAX_CHANNELS", message);
        }
    }

    /// `POST /guilds/{guild.id}/channels`: 201 with the channel.
    pub(super) fn create_channel(&mut self, call: &Call<'_>, guild_id: GuildId) -> Answer {
        let guild = self.guild_for(call.bot, guild_id)?;
        if !self
            .guild_permissions(guild, call.bot)
            .contains(Permissions::MANAGE_CHANNELS)
        {
            return Err(MISSING_PERMISSIONS);
        }
        let mut form = Form::read(call)?;
        let number = form.number("type", 0..=255).flatten().unwrap_or(0);
        let kind = ChannelKind::from_number(number).unwrap_or_else(|| {
            form.wrong(
                "type",
                "BASE_TYPE_CHOICES",
                "Value must be one of {0, 2, 4, 5, 13, 15, 16}.",
            );
            ChannelKind::Text
        });
        let fields = Fields::read(&mut form, kind);
        if !form.has("name") {
            form.wrong("name", "BASE_TYPE_REQUIRED", "This field is required");
        }
        if let Some(Some(parent)) = fields.parent {
            self.check_parent(guild, None, parent, &mut form);
        }
        form.done()?;
        if guild.channels.len() >= self.settings.channels_per_guild {
            return Err(TOO_MANY_CHANNELS);
        }
        self.may_overwrite(
            call.bot,
            guild,
            fields.overwrites.as_deref().unwrap_or_default(),
        )?;
        // Without overwrites of its own the channel takes the category's (observed).
        let inherited = fields
            .parent
            .flatten()
            .filter(|_| fields.overwrites.is_none())
            .and_then(|parent| guild.channels.get(&ChannelId(parent)))
            .map(|parent| parent.overwrites.clone());
        let mut channel = Channel::new(ChannelId(self.snowflake()), guild_id, kind, String::new());
        channel.overwrites = inherited.unwrap_or_default();
        fields.apply(&mut channel);
        let id = channel.id;
        self.insert_channel(channel);
        let made = self
            .guilds
            .get(&guild_id)
            .and_then(|guild| guild.channels.get(&id))
            .ok_or(UNKNOWN_CHANNEL)?;
        let body = wire::channel(made, true);
        let news = changes(&Value::Null, &body);
        self.record(
            guild_id,
            call.record(CHANNEL_CREATE, Some(id.0)).changes(news),
        );
        Ok((201, body))
    }

    /// `GET /channels/{channel.id}`: 403 50001 without sight of it (so before obfuscation; after it not documented).
    pub(super) fn get_channel(&self, call: &Call<'_>, id: ChannelId) -> Answer {
        let (guild, channel) = self.channel_for(call.bot, id)?;
        if !self.can_view_or_parent(guild, call.bot, channel) {
            return Err(MISSING_ACCESS);
        }
        Ok((200, wire::channel(channel, true)))
    }

    /// `PATCH /channels/{channel.id}`: 200 with the channel.
    pub(super) fn modify_channel(&mut self, call: &Call<'_>, id: ChannelId) -> Answer {
        let (guild, channel) = self.channel_for(call.bot, id)?;
        self.may_manage(call.bot, guild, channel)?;
        let guild_id = guild.id;
        let mut form = Form::read(call)?;
        let mut fields = Fields::read(&mut form, channel.kind);
        fields.kind = self.read_new_kind(&mut form, channel.kind);
        if let Some(Some(parent)) = fields.parent {
            self.check_parent(guild, Some(id), parent, &mut form);
        }
        form.done()?;
        if let Some(overwrites) = &fields.overwrites {
            let managed = self
                .guild_permissions(guild, call.bot)
                .contains(Permissions::MANAGE_ROLES);
            if *overwrites != channel.overwrites && !managed {
                return Err(MISSING_PERMISSIONS);
            }
            self.may_overwrite(call.bot, guild, overwrites)?;
            if overwrites.len() > OVERWRITES {
                return Err(TOO_MANY_OVERWRITES);
            }
        }
        let renames = fields
            .name
            .as_ref()
            .is_some_and(|name| *name != channel.name);
        let retopics = fields
            .topic
            .as_ref()
            .is_some_and(|topic| *topic != channel.topic);
        let before = wire::channel(channel, true);
        if renames {
            self.check_rename(id, "name").map_err(ApiError::limited)?;
        }
        if retopics {
            self.check_rename(id, "topic").map_err(ApiError::limited)?;
        }
        let after = self
            .edit_channel(id, |channel| fields.apply(channel))
            .map_err(|_| UNKNOWN_CHANNEL)?;
        let body = wire::channel(&after, true);
        let news = changes(&before, &body);
        self.record(
            guild_id,
            call.record(CHANNEL_UPDATE, Some(id.0)).changes(news),
        );
        Ok((200, body))
    }

    /// `type` changes between text and announcement alone.
    fn read_new_kind(&self, form: &mut Form, now: ChannelKind) -> Option<ChannelKind> {
        let number = form.number("type", 0..=255).flatten()?;
        let wanted = ChannelKind::from_number(number);
        let convertible = |kind| matches!(kind, ChannelKind::Text | ChannelKind::Announcement);
        match wanted {
            Some(kind) if kind == now || (convertible(kind) && convertible(now)) => Some(kind),
            _ => {
                form.wrong("type", "BASE_TYPE_CHOICES", "Value must be one of {0, 5}.");
                None
            }
        }
    }

    /// `DELETE /channels/{channel.id}`: 200 with the channel that was.
    pub(super) fn delete_channel_rest(&mut self, call: &Call<'_>, id: ChannelId) -> Answer {
        let (guild, channel) = self.channel_for(call.bot, id)?;
        self.may_manage(call.bot, guild, channel)?;
        let guild_id = guild.id;
        let gone = self.remove_channel(id).ok_or(UNKNOWN_CHANNEL)?;
        let body = wire::channel(&gone, true);
        let news = changes(&body, &Value::Null);
        self.record(
            guild_id,
            call.record(CHANNEL_DELETE, Some(id.0)).changes(news),
        );
        Ok((200, body))
    }
}
