//! Messages: create and edit.
//!
//! See: Discord documentation, Resources, Message, "Create Message".

use std::time::Duration;

use serde_json::{Value, json};

use super::error::{
    ApiError, EDIT_OF_OTHERS, EMPTY_MESSAGE, MISSING_ACCESS, MISSING_PERMISSIONS, NOT_TEXT,
    UNKNOWN_CHANNEL, UNKNOWN_MESSAGE,
};
use super::form::Form;
use super::{Answer, Call};
use crate::core::audit::MESSAGE_DELETE;
use crate::core::model::{Channel, Message, SentNonce};
use crate::core::{World, wire};
use crate::ids::{ChannelId, MessageId};
use crate::permissions::Permissions;

/// How long an enforced nonce is remembered: "a few minutes".
const NONCE_TIME: Duration = Duration::from_secs(300);
const NONCES: usize = 1000;
/// Messages kept per channel; older ones are forgotten.
const MESSAGES: usize = 500;

struct NewMessage {
    content: String,
    embeds: Value,
    components: Value,
    flags: u64,
    tts: bool,
    nonce: Option<Value>,
    enforce_nonce: bool,
}

/// Reads a body. Sums of characters and the insides of embeds and components are not looked at.
fn read(call: &Call<'_>) -> Result<NewMessage, ApiError> {
    let mut form = Form::read(call)?;
    let content = form.text("content", 0..=2000).flatten().unwrap_or_default();
    let mut list = |name: &str, most: usize| match form.raw(name).cloned() {
        None | Some(Value::Null) => json!([]),
        Some(Value::Array(items)) if items.len() <= most => Value::Array(items),
        Some(Value::Array(_)) => {
            let message = format!("Must be {most} or fewer in length.");
            form.wrong(name, "BASE_TYPE_MAX_LENGTH", message);
            json!([])
        }
        Some(_) => {
            form.wrong(
                name,
                "LIST_TYPE_CONVERT",
                "Only iterables may be used in a ListType",
            );
            json!([])
        }
    };
    let embeds = list("embeds", 10);
    let components = list("components", 40);
    let stickers = list("sticker_ids", 3);
    let tts = form.flag("tts").flatten().unwrap_or(false);
    let enforce_nonce = form.flag("enforce_nonce").flatten().unwrap_or(false);
    let flags = form.number("flags", 0..=i64::MAX).flatten().unwrap_or(0);
    let nonce = match form.raw("nonce").cloned() {
        Some(Value::String(nonce)) if nonce.chars().count() > 25 => {
            form.wrong(
                "nonce",
                "BASE_TYPE_MAX_LENGTH",
                "Must be 25 or fewer in length.",
            );
            None
        }
        Some(nonce @ (Value::String(_) | Value::Number(_))) => Some(nonce),
        _ => None,
    };
    check_mentions(&mut form);
    form.done()?;
    let empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    if content.trim().is_empty() && empty(&embeds) && empty(&components) && empty(&stickers) {
        return Err(EMPTY_MESSAGE);
    }
    let flags = u64::try_from(flags).unwrap_or(0);
    Ok(NewMessage {
        content,
        embeds,
        components,
        flags,
        tts,
        nonce,
        enforce_nonce,
    })
}

/// A list of ids together with the same word in `parse` is an error.
fn check_mentions(form: &mut Form) {
    let Some(mentions) = form.raw("allowed_mentions").cloned() else {
        return;
    };
    let parsed = |word: &str| {
        mentions["parse"]
            .as_array()
            .is_some_and(|list| list.iter().any(|item| item.as_str() == Some(word)))
    };
    for word in ["users", "roles"] {
        let ids = mentions[word].as_array().map_or(0, Vec::len);
        if ids > 0 && parsed(word) {
            let message =
                format!("parse:[\"{word}\"] and {word}: [ids...] are mutually exclusive.");
            form.wrong(
                "allowed_mentions",
                "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
                message,
            );
        }
        if ids > 100 {
            let message = "Must be between 0 and 100 in length.";
            form.wrong(
                format!("allowed_mentions.{word}"),
                "BASE_TYPE_BAD_LENGTH",
                message,
            );
        }
    }
}

impl World {
    /// `POST /channels/{channel.id}/messages`: 200 with the message.
    pub(super) fn create_message(&mut self, call: &Call<'_>, id: ChannelId) -> Answer {
        let (guild, channel) = self.channel_for(call.bot, id)?;
        let bits = self.channel_permissions(guild, call.bot, channel);
        if !bits.contains(Permissions::VIEW_CHANNEL) {
            return Err(MISSING_ACCESS);
        }
        if !channel.kind.takes_messages() {
            return Err(NOT_TEXT);
        }
        if !bits.contains(Permissions::SEND_MESSAGES) {
            return Err(MISSING_PERMISSIONS);
        }
        let new = read(call)?;
        let enforced = new
            .nonce
            .as_ref()
            .filter(|_| new.enforce_nonce)
            .map(ToString::to_string);
        if let Some(known) = enforced
            .as_deref()
            .and_then(|nonce| self.sent_before(call, id, nonce))
        {
            return self.message_body(id, known).map(|body| (200, body));
        }
        let message = MessageId(self.snowflake());
        let now = self.now;
        let stored = Message {
            id: message,
            author: call.bot,
            content: new.content,
            embeds: new.embeds,
            components: new.components,
            flags: new.flags,
            tts: new.tts,
            nonce: new.nonce,
            at_ms: self.unix_ms(),
            edited_ms: None,
        };
        let guild_id = guild_of(self, id)?;
        let channel = self
            .guilds
            .get_mut(&guild_id)
            .and_then(|guild| guild.channels.get_mut(&id))
            .ok_or(UNKNOWN_CHANNEL)?;
        channel.messages.push_back(stored);
        if channel.messages.len() > MESSAGES {
            channel.messages.pop_front();
        }
        channel.last_message = Some(message);
        if let (Some(nonce), Some(account)) = (enforced, self.bots.get_mut(&call.bot)) {
            account.nonces.push_back(SentNonce {
                nonce,
                at: now,
                channel: id,
                message,
            });
            if account.nonces.len() > NONCES {
                account.nonces.pop_front();
            }
        }
        let body = self.message_body(id, message)?;
        self.dispatch_guild(guild_id, "MESSAGE_CREATE", body.to_string());
        Ok((200, body))
    }

    /// The message this author sent with this nonce a short while ago.
    fn sent_before(
        &mut self,
        call: &Call<'_>,
        channel: ChannelId,
        nonce: &str,
    ) -> Option<MessageId> {
        let now = self.now;
        let account = self.bots.get_mut(&call.bot)?;
        account
            .nonces
            .retain(|sent| sent.at.saturating_add(NONCE_TIME) > now);
        account
            .nonces
            .iter()
            .find(|sent| sent.channel == channel && sent.nonce == nonce)
            .map(|sent| sent.message)
    }

    /// `PATCH /channels/{channel.id}/messages/{message.id}`: 200 with the message.
    pub(super) fn edit_message(
        &mut self,
        call: &Call<'_>,
        id: ChannelId,
        message: MessageId,
    ) -> Answer {
        let (guild, channel) = self.channel_for(call.bot, id)?;
        if !self
            .channel_permissions(guild, call.bot, channel)
            .contains(Permissions::VIEW_CHANNEL)
        {
            return Err(MISSING_ACCESS);
        }
        let found = channel
            .messages
            .iter()
            .find(|found| found.id == message)
            .ok_or(UNKNOWN_MESSAGE)?;
        if found.author != call.bot {
            return Err(EDIT_OF_OTHERS);
        }
        let mut form = Form::read(call)?;
        let content = form.text("content", 0..=2000);
        form.done()?;
        let edited = self.unix_ms();
        let guild_id = guild_of(self, id)?;
        let stored = self
            .guilds
            .get_mut(&guild_id)
            .and_then(|guild| guild.channels.get_mut(&id))
            .and_then(|channel| {
                channel
                    .messages
                    .iter_mut()
                    .find(|found| found.id == message)
            })
            .ok_or(UNKNOWN_MESSAGE)?;
        if let Some(content) = content {
            stored.content = content.unwrap_or_default();
        }
        stored.edited_ms = Some(edited);
        let body = self.message_body(id, message)?;
        self.dispatch_guild(guild_id, "MESSAGE_UPDATE", body.to_string());
        Ok((200, body))
    }

    /// Sight of the channel, and READ_MESSAGE_HISTORY.
    fn may_read(&self, call: &Call<'_>, id: ChannelId) -> Result<&Channel, ApiError> {
        let (guild, channel) = self.channel_for(call.bot, id)?;
        let bits = self.channel_permissions(guild, call.bot, channel);
        if !bits.contains(Permissions::VIEW_CHANNEL) {
            return Err(MISSING_ACCESS);
        }
        if !channel.kind.takes_messages() {
            return Err(NOT_TEXT);
        }
        Ok(channel)
    }

    fn has_history(&self, call: &Call<'_>, channel: &Channel) -> bool {
        self.guilds.get(&channel.guild).is_some_and(|guild| {
            self.channel_permissions(guild, call.bot, channel)
                .contains(Permissions::READ_MESSAGE_HISTORY)
        })
    }

    /// `GET /channels/{channel.id}/messages`: newest first, `around`, `before` or `after` an id. Without
    /// READ_MESSAGE_HISTORY nothing is listed.
    pub(super) fn get_messages(&self, call: &Call<'_>, id: ChannelId) -> Answer {
        let channel = self.may_read(call, id)?;
        let limit = call.limit(50, 100)?;
        if !self.has_history(call, channel) {
            return Ok((200, json!([])));
        }
        let ids: Vec<MessageId> = channel.messages.iter().map(|message| message.id).collect();
        let page: Vec<MessageId> = if let Some(after) = call.number("after") {
            let mut page: Vec<_> = ids
                .into_iter()
                .filter(|id| id.0 > after)
                .take(limit)
                .collect();
            page.reverse();
            page
        } else {
            let most = match (call.number("around"), call.number("before")) {
                (Some(around), _) => {
                    let half = limit / 2;
                    let newer = ids.iter().filter(|id| id.0 > around);
                    newer.take(half).last().map_or(around, |id| id.0)
                }
                (None, Some(before)) => before.saturating_sub(1),
                (None, None) => u64::MAX,
            };
            let older = ids.into_iter().rev().filter(|id| id.0 <= most);
            older.take(limit).collect()
        };
        let page: Result<Vec<Value>, ApiError> = page
            .into_iter()
            .map(|message| self.message_body(id, message))
            .collect();
        Ok((200, Value::Array(page?)))
    }

    /// `GET /channels/{channel.id}/messages/{message.id}`.
    pub(super) fn get_message(&self, call: &Call<'_>, id: ChannelId, message: MessageId) -> Answer {
        let channel = self.may_read(call, id)?;
        if !self.has_history(call, channel) {
            return Err(MISSING_PERMISSIONS);
        }
        Ok((200, self.message_body(id, message)?))
    }

    /// `DELETE /channels/{channel.id}/messages/{message.id}`: 204. Others' messages need MANAGE_MESSAGES.
    pub(super) fn delete_message(
        &mut self,
        call: &Call<'_>,
        id: ChannelId,
        message: MessageId,
    ) -> Answer {
        let channel = self.may_read(call, id)?;
        let found = channel.messages.iter().find(|found| found.id == message);
        let author = found.ok_or(UNKNOWN_MESSAGE)?.author;
        let guild_id = channel.guild;
        if author != call.bot {
            let allowed = self.guilds.get(&guild_id).is_some_and(|guild| {
                self.channel_permissions(guild, call.bot, channel)
                    .contains(Permissions::MANAGE_MESSAGES)
            });
            if !allowed {
                return Err(MISSING_PERMISSIONS);
            }
        }
        if let Some(channel) = self
            .guilds
            .get_mut(&guild_id)
            .and_then(|guild| guild.channels.get_mut(&id))
        {
            channel.messages.retain(|found| found.id != message);
        }
        let d = json!({"id": message, "channel_id": id, "guild_id": guild_id});
        self.dispatch_guild(guild_id, "MESSAGE_DELETE", d.to_string());
        if author != call.bot {
            let options = json!({"channel_id": id, "count": "1"});
            let record = call.record(MESSAGE_DELETE, Some(author.0));
            self.record(guild_id, record.options(options));
        }
        Ok((204, Value::Null))
    }

    fn message_body(&self, channel: ChannelId, id: MessageId) -> Result<Value, ApiError> {
        let guild = guild_of(self, channel)?;
        let channel = self
            .guilds
            .get(&guild)
            .and_then(|guild| guild.channels.get(&channel))
            .ok_or(UNKNOWN_CHANNEL)?;
        let message = channel
            .messages
            .iter()
            .find(|found| found.id == id)
            .ok_or(UNKNOWN_MESSAGE)?;
        let author = self.users.get(&message.author).ok_or(UNKNOWN_MESSAGE)?;
        Ok(wire::message(message, channel, author, guild))
    }
}

fn guild_of(world: &World, channel: ChannelId) -> Result<crate::ids::GuildId, ApiError> {
    world
        .channel_guilds
        .get(&channel)
        .copied()
        .ok_or(UNKNOWN_CHANNEL)
}
