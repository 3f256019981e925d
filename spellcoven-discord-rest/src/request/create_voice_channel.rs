//! `createVoiceChannel`.

use std::{
    fmt,
    future::IntoFuture,
    sync::{Arc, PoisonError},
};

use bytes::Bytes;
use twilight_model::{
    channel::{Channel, ChannelType},
    http::permission_overwrite::PermissionOverwrite,
    id::{
        Id,
        marker::{ChannelMarker, GuildMarker},
    },
};

use crate::{
    call::{Call, Options, Prepared},
    client::Inner,
    endpoint::{CreateChannelBody, RetryClass},
    error::{RestError, RestErrorKind},
    lookup::{Found, Sending, Wanted, look_up},
    transport::BoxFuture,
    validate::ValidationError,
};

/// `createVoiceChannel`: makes a voice channel. Await it to send it.
///
/// Discord has no idempotency key for it. When an attempt's outcome is unknown
/// (5xx, a time-out, a connection lost after sending, an answer cut short), the
/// call looks before it repeats: first in the guild's audit log, for the unique
/// token that each call puts into its reason (the bot needs VIEW_AUDIT_LOG); where
/// that is refused, in the guild's channels, for one of the same name, parent and
/// user limit that is new and that no other call of this client has made. It
/// looks four times within about eight seconds, since a request may be carried
/// out late, and repeats only if the channel is surely not there. Where that
/// cannot be found out, the call fails with
/// [`OutcomeUnknown`](crate::RestErrorKind::OutcomeUnknown).
///
/// See Discord: Guild Resource, "Create Guild Channel".
///
/// # Cancel safety
///
/// Dropping the future before the request is sent takes it back and gives its
/// place in line to the next. Dropped later, the channel may be made all the
/// same, and nobody looks for it.
#[must_use = "a request is sent when it is awaited"]
pub struct CreateVoiceChannel {
    client: Arc<Inner>,
    guild_id: Id<GuildMarker>,
    body: CreateChannelBody,
    options: Options,
}

impl CreateVoiceChannel {
    pub(crate) fn new(client: Arc<Inner>, guild_id: Id<GuildMarker>, name: String) -> Self {
        let body = CreateChannelBody {
            name,
            kind: ChannelType::GuildVoice,
            parent_id: None,
            user_limit: None,
            bitrate: None,
            permission_overwrites: None,
        };
        Self {
            client,
            guild_id,
            body,
            options: Options::default(),
        }
    }

    /// The category to make it in (a category holds at most 50 channels). Takes
    /// an id or an `Option` of one. Default: none.
    pub fn parent_id(mut self, category: impl Into<Option<Id<ChannelMarker>>>) -> Self {
        self.body.parent_id = category.into();
        self
    }

    /// How many people may be in it, 0 to 99; 0 is no limit. Default: no limit.
    pub fn user_limit(self, people: u16) -> Self {
        self.maybe_user_limit(Some(people))
    }

    /// As [`user_limit`](Self::user_limit), where there may be none.
    pub fn maybe_user_limit(mut self, people: Option<u16>) -> Self {
        self.body.user_limit = people;
        self
    }

    /// Bits per second, 8,000 to 384,000 (above 96,000 only in a boosted guild).
    /// Default: Discord's, 64,000.
    pub fn bitrate(self, bits_per_second: u32) -> Self {
        self.maybe_bitrate(Some(bits_per_second))
    }

    /// As [`bitrate`](Self::bitrate), where there may be none.
    pub fn maybe_bitrate(mut self, bits_per_second: Option<u32>) -> Self {
        self.body.bitrate = bits_per_second;
        self
    }

    /// Permission overwrites, at most 100. Default: the category's, if there is
    /// one (observed).
    ///
    /// Give them here, not in a later edit: an edit right after the create can be
    /// lost (observed). Who denies CONNECT to all must allow it to the bot, or the
    /// bot cannot delete the channel (Discord: Permissions, "Implicit Permissions").
    pub fn permission_overwrites(
        mut self,
        overwrites: impl IntoIterator<Item = PermissionOverwrite>,
    ) -> Self {
        self.body.permission_overwrites = Some(overwrites.into_iter().collect());
        self
    }

    /// The reason for the guild's audit log, 1 to 512 characters. The request id
    /// is added, and the text cut where both do not fit.
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.options.reason = Some(reason.into());
        self
    }

    /// The id under which the call stands in logs, errors and the audit log: 1
    /// to 64 visible ASCII characters. Default: a new one.
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.options.request_id = Some(id.into());
        self
    }

    async fn run(self) -> Result<Channel, RestError> {
        let mut call = Call::new(self.client.clone(), "createVoiceChannel", &self.options)?;
        let request = self.prepare(&call)?;
        let wanted = Wanted::new(self.guild_id, &self.body);
        loop {
            let error = match self.send(&mut call, &request, &wanted).await {
                Ok(channel) => return Ok(channel),
                Err(error) => error,
            };
            let unreadable = *error.kind() == RestErrorKind::MalformedResponse;
            if !unreadable && *error.kind() != RestErrorKind::OutcomeUnknown {
                return Err(error);
            }
            call.outcome_is_open();
            match look_up(&mut call, &wanted).await {
                Found::Channel(channel) => return Ok(*channel),
                // It was made, only the answer says nothing to us.
                _ if unreadable => return Err(error),
                Found::Nothing => {
                    call.nothing_happened();
                    let error = error.into_known();
                    if !call.take_retry(error.kind()) {
                        return Err(error);
                    }
                }
                Found::Unknown => return Err(error),
            }
        }
    }

    fn prepare(&self, call: &Call) -> Result<Prepared, RestError> {
        self.body.validate().map_err(|error| call.invalid(error))?;
        let json = serde_json::to_vec(&self.body).map_err(|error| {
            call.invalid(ValidationError::new(
                "body",
                format!("cannot be written as JSON: {error}"),
            ))
        })?;
        let reason = self
            .options
            .reason
            .as_deref()
            .unwrap_or("createVoiceChannel");
        let route = CreateChannelBody::route(self.guild_id);
        call.prepare_parts(
            "createVoiceChannel",
            route,
            Some(Bytes::from(json)),
            RetryClass::NotIdempotent,
            Some(reason),
        )
    }

    async fn send(
        &self,
        call: &mut Call,
        request: &Prepared,
        wanted: &Wanted,
    ) -> Result<Channel, RestError> {
        // While it stands, look-ups of equal creates know that a channel may be ours.
        let sending = Sending::begin(&self.client, wanted);
        let answer = call.send(request).await?;
        let channel: Channel = call.read(&answer)?;
        self.client
            .claims
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .claim(channel.id.get());
        drop(sending);
        Ok(channel)
    }
}

impl IntoFuture for CreateVoiceChannel {
    type Output = Result<Channel, RestError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for CreateVoiceChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateVoiceChannel")
            .field("guild_id", &self.guild_id)
            .field("body", &self.body)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
