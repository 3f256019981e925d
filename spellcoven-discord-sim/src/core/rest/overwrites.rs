//! Permission overwrites, one at a time.
//!
//! See: Discord documentation, Resources, Channel, "Edit Channel Permissions", "Delete Channel Permission".

use serde_json::{Value, json};

use super::error::{ApiError, MISSING_ACCESS, MISSING_PERMISSIONS, UNKNOWN_CHANNEL};
use super::error::{TOO_MANY_OVERWRITES, UNKNOWN_MEMBER, UNKNOWN_OVERWRITE, UNKNOWN_ROLE};
use super::form::Form;
use super::{Answer, Call};
use crate::core::World;
use crate::core::audit::{OVERWRITE_CREATE, OVERWRITE_DELETE, OVERWRITE_UPDATE, change};
use crate::core::model::{Channel, Guild};
use crate::ids::{ChannelId, GuildId, RoleId, UserId};
use crate::permissions::{Overwrite, OverwriteTarget, Permissions};

const fn id_of(target: OverwriteTarget) -> u64 {
    match target {
        OverwriteTarget::Role(id) => id.0,
        OverwriteTarget::Member(id) => id.0,
    }
}

fn options(guild: &Guild, target: OverwriteTarget) -> Value {
    match target {
        OverwriteTarget::Role(id) => json!({
            "id": id, "type": "0",
            "role_name": guild.roles.get(&id).map_or("", |role| role.name.as_str()),
        }),
        OverwriteTarget::Member(id) => json!({"id": id, "type": "1"}),
    }
}

impl World {
    /// MANAGE_ROLES there; without sight of the channel 50001.
    fn may_set_overwrites(
        &self,
        bot: UserId,
        guild: &Guild,
        channel: &Channel,
    ) -> Result<(), ApiError> {
        let bits = self.channel_permissions(guild, bot, channel);
        if !self.can_view_or_parent(guild, bot, channel) {
            return Err(MISSING_ACCESS);
        }
        if channel.kind.is_voice() && !bits.contains(Permissions::CONNECT) {
            return Err(MISSING_ACCESS);
        }
        if !bits.contains(Permissions::MANAGE_ROLES) {
            return Err(MISSING_PERMISSIONS);
        }
        Ok(())
    }

    /// `PUT /channels/{channel.id}/permissions/{overwrite.id}`: 204.
    pub(super) fn put_overwrite(&mut self, call: &Call<'_>, id: ChannelId, whom: u64) -> Answer {
        let (guild, channel) = self.channel_for(call.bot, id)?;
        self.may_set_overwrites(call.bot, guild, channel)?;
        let mut form = Form::read(call)?;
        let allow = form.permissions("allow");
        let deny = form.permissions("deny");
        let target = match form.number("type", 0..=1) {
            Some(Some(0)) => Some(OverwriteTarget::Role(RoleId(whom))),
            Some(Some(_)) => Some(OverwriteTarget::Member(UserId(whom))),
            _ if form.has("type") => None,
            _ => {
                form.wrong("type", "BASE_TYPE_REQUIRED", "This field is required");
                None
            }
        };
        form.done()?;
        let target = target.ok_or_else(|| {
            ApiError::form(vec![super::form::Leaf::new(
                "type",
                "BASE_TYPE_REQUIRED",
                "This field is required",
            )])
        })?;
        match target {
            OverwriteTarget::Role(role) if !guild.roles.contains_key(&role) => {
                return Err(UNKNOWN_ROLE);
            }
            OverwriteTarget::Member(user) if !guild.members.contains_key(&user) => {
                return Err(UNKNOWN_MEMBER);
            }
            _ => {}
        }
        let overwrite = Overwrite {
            target,
            allow,
            deny,
        };
        self.may_overwrite(call.bot, guild, &[overwrite])?;
        let before = channel
            .overwrites
            .iter()
            .find(|o| o.target == target)
            .copied();
        if before.is_none() && channel.overwrites.len() >= super::channels::OVERWRITES {
            return Err(TOO_MANY_OVERWRITES);
        }
        let (guild_id, about) = (guild.id, options(guild, target));
        let action = if before.is_some() {
            OVERWRITE_UPDATE
        } else {
            OVERWRITE_CREATE
        };
        let news = [
            ("allow", before.map(|o| o.allow), allow),
            ("deny", before.map(|o| o.deny), deny),
        ]
        .into_iter()
        .filter(|(_, old, new)| *old != Some(*new))
        .map(|(key, old, new)| change(key, old.map(|old| json!(old)).as_ref(), Some(&json!(new))))
        .collect();
        self.edit_channel(id, |channel| {
            channel.overwrites.retain(|o| o.target != target);
            channel.overwrites.push(overwrite);
        })
        .map_err(|_| UNKNOWN_CHANNEL)?;
        self.record_overwrite(call, guild_id, id, action, news, about);
        Ok((204, Value::Null))
    }

    /// `DELETE /channels/{channel.id}/permissions/{overwrite.id}`: 204.
    pub(super) fn delete_overwrite(&mut self, call: &Call<'_>, id: ChannelId, whom: u64) -> Answer {
        let (guild, channel) = self.channel_for(call.bot, id)?;
        self.may_set_overwrites(call.bot, guild, channel)?;
        let found = channel
            .overwrites
            .iter()
            .find(|o| id_of(o.target) == whom)
            .copied()
            .ok_or(UNKNOWN_OVERWRITE)?;
        self.may_overwrite(call.bot, guild, &[found])?;
        let (guild_id, about) = (guild.id, options(guild, found.target));
        let news = vec![
            change("allow", Some(&json!(found.allow)), None),
            change("deny", Some(&json!(found.deny)), None),
        ];
        self.edit_channel(id, |channel| {
            channel.overwrites.retain(|o| o.target != found.target);
        })
        .map_err(|_| UNKNOWN_CHANNEL)?;
        self.record_overwrite(call, guild_id, id, OVERWRITE_DELETE, news, about);
        Ok((204, Value::Null))
    }

    fn record_overwrite(
        &mut self,
        call: &Call<'_>,
        guild: GuildId,
        channel: ChannelId,
        action: u64,
        news: Vec<Value>,
        about: Value,
    ) {
        let record = call.record(action, Some(channel.0));
        self.record(guild, record.changes(news).options(about));
    }
}
