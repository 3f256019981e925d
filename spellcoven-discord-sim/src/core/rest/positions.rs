//! The order of channels.
//!
//! See: Discord documentation, Resources, Guild, "Modify Guild Channel Positions".

use serde_json::Value;

use super::error::{
    ApiError, INVALID_JSON, MISSING_ACCESS, MISSING_PERMISSIONS, ONE_PARENT, UNKNOWN_CHANNEL,
};
use super::form::{Form, Leaf};
use super::{Answer, Call};
use crate::core::audit::{CHANNEL_UPDATE, change};
use crate::core::model::{Channel, ChannelKind, Guild};
use crate::core::{World, wire};
use crate::ids::{ChannelId, GuildId};
use crate::permissions::Permissions;

/// One entry of the list.
struct Entry {
    id: ChannelId,
    position: Option<u32>,
    /// Outer `None`: absent; inner `None`: out of its category.
    #[expect(
        clippy::option_option,
        reason = "absent and null are different requests"
    )]
    parent: Option<Option<ChannelId>>,
    lock: bool,
}

fn read(call: &Call<'_>) -> Result<Vec<Entry>, ApiError> {
    let list: Vec<Value> = serde_json::from_slice(call.body).map_err(|_| INVALID_JSON)?;
    let mut entries = Vec::with_capacity(list.len());
    for (index, item) in list.into_iter().enumerate() {
        let Value::Object(fields) = item else {
            let message = "Only dictionaries may be used in a ModelType";
            let leaf = Leaf::new(index.to_string(), "MODEL_TYPE_CONVERT", message);
            return Err(ApiError::form(vec![leaf]));
        };
        let mut form = Form::of(fields, format!("{index}."));
        let id = form.snowflake("id").flatten();
        let position = form.number("position", 0..=i64::from(i32::MAX)).flatten();
        let parent = form.snowflake("parent_id");
        let lock = form.flag("lock_permissions").flatten().unwrap_or(false);
        if id.is_none() && !form.failed() {
            form.wrong("id", "BASE_TYPE_REQUIRED", "This field is required");
        }
        form.done()?;
        entries.push(Entry {
            id: ChannelId(id.unwrap_or(0)),
            position: position.and_then(|number| u32::try_from(number).ok()),
            parent: parent.map(|parent| parent.map(ChannelId)),
            lock,
        });
    }
    Ok(entries)
}

impl World {
    /// `PATCH /guilds/{guild.id}/channels`: 204. Every entry is checked before the first is carried out.
    pub(super) fn modify_positions(&mut self, call: &Call<'_>, id: GuildId) -> Answer {
        let guild = self.guild_for(call.bot, id)?;
        let entries = read(call)?;
        let mut parents = 0;
        for entry in &entries {
            let channel = guild.channels.get(&entry.id).ok_or(UNKNOWN_CHANNEL)?;
            self.may_position(call, guild, channel, entry)?;
            parents += usize::from(entry.parent.is_some_and(|parent| parent != channel.parent));
        }
        if parents > 1 {
            return Err(ONE_PARENT);
        }
        for entry in entries {
            self.position(call, id, &entry);
        }
        Ok((204, Value::Null))
    }

    /// A position alone needs MANAGE_CHANNELS in the guild or in the present category; a new category needs it, and
    /// sight, on both; taking over its overwrites needs MANAGE_ROLES as well.
    fn may_position(
        &self,
        call: &Call<'_>,
        guild: &Guild,
        channel: &Channel,
        entry: &Entry,
    ) -> Result<(), ApiError> {
        let manages = |channel: &Channel| {
            self.channel_permissions(guild, call.bot, channel)
                .contains(Permissions::MANAGE_CHANNELS)
        };
        let whole = self.guild_permissions(guild, call.bot);
        let present = channel
            .parent
            .and_then(|parent| guild.channels.get(&parent));
        if !whole.contains(Permissions::MANAGE_CHANNELS) && !present.is_some_and(manages) {
            return Err(MISSING_PERMISSIONS);
        }
        if let Some(parent) = entry.parent.filter(|parent| *parent != channel.parent) {
            if !self.can_view(guild, call.bot, channel) || !manages(channel) {
                return Err(MISSING_ACCESS);
            }
            if let Some(parent) = parent {
                let category = guild
                    .channels
                    .get(&parent)
                    .filter(|c| c.kind == ChannelKind::Category)
                    .ok_or_else(no_category)?;
                if !manages(category) {
                    return Err(MISSING_ACCESS);
                }
            }
        }
        if entry.lock && !whole.contains(Permissions::MANAGE_ROLES) {
            return Err(MISSING_PERMISSIONS);
        }
        Ok(())
    }

    fn position(&mut self, call: &Call<'_>, guild: GuildId, entry: &Entry) {
        let Some(found) = self.guilds.get(&guild) else {
            return;
        };
        let Some(channel) = found.channels.get(&entry.id) else {
            return;
        };
        let before = wire::channel(channel, true);
        let parent = entry.parent.unwrap_or(channel.parent);
        let synced = parent
            .filter(|_| entry.lock)
            .and_then(|parent| found.channels.get(&parent))
            .map(|parent| parent.overwrites.clone());
        let unchanged = parent == channel.parent
            && entry
                .position
                .is_none_or(|position| position == channel.position)
            && synced
                .as_ref()
                .is_none_or(|list| *list == channel.overwrites);
        if unchanged {
            return;
        }
        let edited = self.edit_channel(entry.id, |channel| {
            channel.parent = parent;
            if let Some(position) = entry.position {
                channel.position = position;
            }
            if let Some(overwrites) = synced {
                channel.overwrites = overwrites;
            }
        });
        let Ok(edited) = edited else { return };
        let after = wire::channel(&edited, true);
        let news: Vec<Value> = ["position", "parent_id", "permission_overwrites"]
            .into_iter()
            .filter(|key| before.get(key) != after.get(key))
            .map(|key| change(key, before.get(key), after.get(key)))
            .collect();
        let record = call.record(CHANNEL_UPDATE, Some(entry.id.0));
        self.record(guild, record.changes(news));
    }
}

fn no_category() -> ApiError {
    ApiError::form(vec![Leaf::new(
        "parent_id",
        "CHANNEL_PARENT_INVALID",
        "Category does not exist",
    )])
}
