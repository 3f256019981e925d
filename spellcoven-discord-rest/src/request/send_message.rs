//! `sendMessage`.

use std::{fmt, future::IntoFuture, sync::Arc};

use bytes::Bytes;
use twilight_model::{
    channel::{Message, message::AllowedMentions},
    id::{Id, marker::ChannelMarker},
};

use crate::{
    call::{Call, Options},
    client::Inner,
    endpoint::{MessageBody, RetryClass},
    error::RestError,
    transport::BoxFuture,
    validate::ValidationError,
};

/// `sendMessage`: sends a text message. Await it to send it.
///
/// Each message carries a `nonce` with `enforce_nonce`, by which Discord knows a
/// repetition for a few minutes: failures that leave the outcome open are
/// retried within a minute without a second message.
///
/// See Discord: Message Resource, "Create Message".
///
/// # Cancel safety
///
/// Dropping the future before the request is sent takes it back and gives its
/// place in line to the next. Dropped later, the message may be sent all the
/// same; a new call with the same [`nonce`](Self::nonce) sends no second one.
#[must_use = "a request is sent when it is awaited"]
pub struct SendMessage {
    client: Arc<Inner>,
    channel_id: Id<ChannelMarker>,
    content: String,
    nonce: Option<String>,
    allowed_mentions: AllowedMentions,
    options: Options,
}

impl SendMessage {
    pub(crate) fn new(client: Arc<Inner>, channel_id: Id<ChannelMarker>, content: String) -> Self {
        Self {
            client,
            channel_id,
            content,
            nonce: None,
            allowed_mentions: AllowedMentions::default(),
            options: Options::default(),
        }
    }

    /// Whom the message may mention (at most 100 users and 100 roles, none listed
    /// of a kind that `parse` allows as a whole). Default:
    /// nobody, whatever the text says.
    pub fn allowed_mentions(mut self, mentions: AllowedMentions) -> Self {
        self.allowed_mentions = mentions;
        self
    }

    /// The nonce, 1 to 25 characters. Default: a new one for each call. Give your
    /// own to repeat a whole call without a second message.
    pub fn nonce(mut self, nonce: impl Into<String>) -> Self {
        self.nonce = Some(nonce.into());
        self
    }

    /// The id under which the call stands in logs and errors: 1 to 64 visible
    /// ASCII characters. Default: a new one. (Messages have no audit-log entry.)
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.options.request_id = Some(id.into());
        self
    }

    async fn run(self) -> Result<Message, RestError> {
        let nonce = self.nonce.unwrap_or_else(|| self.client.random_hex(12));
        let mut call = Call::new(self.client, "sendMessage", &self.options)?;
        let body = MessageBody {
            content: self.content,
            nonce,
            enforce_nonce: true,
            allowed_mentions: self.allowed_mentions,
        };
        body.validate().map_err(|error| call.invalid(error))?;
        let json = serde_json::to_vec(&body).map_err(|error| {
            call.invalid(ValidationError::new(
                "body",
                format!("cannot be written as JSON: {error}"),
            ))
        })?;
        let route = MessageBody::route(self.channel_id);
        let request = call.prepare_parts(
            "sendMessage",
            route,
            Some(Bytes::from(json)),
            RetryClass::Deduplicated,
            None,
        )?;
        let answer = call.send(&request).await?;
        call.read(&answer)
    }
}

impl IntoFuture for SendMessage {
    type Output = Result<Message, RestError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for SendMessage {
    /// The text of the message is a person's and stays out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendMessage")
            .field("channel_id", &self.channel_id)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
