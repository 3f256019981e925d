//! Endpoints of messages.

use http::Method;
use serde::Serialize;
use twilight_model::{
    channel::message::{AllowedMentions, MentionType},
    id::{Id, marker::ChannelMarker},
};

use super::{Major, Route};
use crate::validate::{self, ValidationError};

/// The body of `POST /channels/{channel_id}/messages`. See Discord: Message
/// Resource, "Create Message".
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MessageBody {
    pub(crate) content: String,
    pub(crate) nonce: String,
    pub(crate) enforce_nonce: bool,
    pub(crate) allowed_mentions: AllowedMentions,
}

impl MessageBody {
    pub(crate) fn route(channel_id: Id<ChannelMarker>) -> Route {
        Route::new(
            Method::POST,
            "/channels/{channel_id}/messages",
            Major::Channel(channel_id.get()),
        )
        .param(channel_id)
    }

    pub(crate) fn validate(&self) -> Result<(), ValidationError> {
        validate::text("content", &self.content, 1, 2000)?;
        validate::length("nonce", &self.nonce, 1, 25)?;
        validate::range(
            "allowed_mentions.users",
            self.allowed_mentions.users.len(),
            0,
            100,
        )?;
        validate::range(
            "allowed_mentions.roles",
            self.allowed_mentions.roles.len(),
            0,
            100,
        )?;
        let mentions = &self.allowed_mentions;
        for (kind, listed, field) in [
            (
                MentionType::Users,
                !mentions.users.is_empty(),
                "allowed_mentions.users",
            ),
            (
                MentionType::Roles,
                !mentions.roles.is_empty(),
                "allowed_mentions.roles",
            ),
        ] {
            if listed && mentions.parse.contains(&kind) {
                let reason = "must be empty where allowed_mentions.parse allows all of them";
                return Err(ValidationError::new(field, reason));
            }
        }
        Ok(())
    }
}
