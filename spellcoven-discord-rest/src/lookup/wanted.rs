//! What the channel looks like that a create should have made. Pure.

use twilight_model::{
    channel::{Channel, ChannelType},
    guild::Permissions,
    id::{
        Id,
        marker::{ChannelMarker, GuildMarker},
    },
};

use crate::{date::snowflake_ms, endpoint::CreateChannelBody};

/// What a create asked for, as far as it can be seen afterwards.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) guild_id: Id<GuildMarker>,
    name: String,
    kind: ChannelType,
    parent_id: Option<Id<ChannelMarker>>,
    user_limit: u32,
    /// An overwrite takes VIEW_CHANNEL (or CONNECT) from someone, perhaps the bot.
    may_be_hidden: bool,
}

/// Equal creates have equal fingerprints: guild, name, parent, user limit.
pub(crate) type Fingerprint = (u64, String, Option<u64>, u32);

/// Whether the channel is among those listed.
#[derive(Debug)]
pub(crate) enum Match<'a> {
    Channel(&'a Channel),
    Nothing,
    Unknown,
}

impl Wanted {
    pub(crate) fn new(guild_id: Id<GuildMarker>, body: &CreateChannelBody) -> Self {
        let hides = Permissions::VIEW_CHANNEL | Permissions::CONNECT;
        let overwrites = body.permission_overwrites.iter().flatten();
        Self {
            guild_id,
            name: body.name.trim().to_owned(),
            kind: body.kind,
            parent_id: body.parent_id,
            user_limit: u32::from(body.user_limit.unwrap_or(0)),
            may_be_hidden: overwrites
                .flat_map(|overwrite| overwrite.deny)
                .any(|deny| deny.intersects(hides)),
        }
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        (
            self.guild_id.get(),
            self.name.clone(),
            self.parent_id.map(Id::get),
            self.user_limit,
        )
    }

    /// Looks for the oldest channel that fits, was made at `not_before` (Unix
    /// milliseconds) or later, and is not `claimed`.
    ///
    /// The list holds only what the bot can view. So absence proves something
    /// only where the new channel could be seen: no overwrite hides it, and its
    /// category, or with none any channel at all, is in the list.
    pub(crate) fn find<'a>(
        &self,
        channels: &'a [Channel],
        not_before: Option<u64>,
        claimed: impl Fn(u64) -> bool,
    ) -> Match<'a> {
        let fitting = channels
            .iter()
            .filter(|channel| self.fits(channel) && !claimed(channel.id.get()));
        let new = fitting.filter(|channel| {
            not_before.is_none_or(|limit| snowflake_ms(channel.id.get()) >= limit)
        });
        match (new.min_by_key(|channel| channel.id), not_before) {
            (Some(channel), Some(_)) => Match::Channel(channel),
            // It fits, and nobody knows whether it is new.
            (Some(_), None) => Match::Unknown,
            (None, _) if self.absence_would_show(channels) => Match::Nothing,
            (None, _) => Match::Unknown,
        }
    }

    fn fits(&self, channel: &Channel) -> bool {
        channel.kind == self.kind
            && channel.parent_id == self.parent_id
            && channel.user_limit.unwrap_or(0) == self.user_limit
            && channel.name.as_deref().map(str::trim) == Some(self.name.as_str())
    }

    fn absence_would_show(&self, channels: &[Channel]) -> bool {
        let surroundings = match self.parent_id {
            Some(parent) => channels.iter().any(|channel| channel.id == parent),
            None => !channels.is_empty(),
        };
        !self.may_be_hidden && surroundings
    }
}
