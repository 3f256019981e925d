//! `deleteChannel`.

use std::{fmt, future::IntoFuture, sync::Arc};

use twilight_model::{
    channel::Channel,
    id::{Id, marker::ChannelMarker},
};

use crate::{
    call::{Call, Options},
    client::Inner,
    endpoint::DeleteChannelEndpoint,
    error::{RestError, RestErrorKind},
    transport::BoxFuture,
};

/// See Discord: Opcodes and Status Codes, "JSON".
const UNKNOWN_CHANNEL: u64 = 10003;

/// `deleteChannel`: deletes a channel. Await it to send it.
///
/// It is repeated after failures that leave its outcome open, and when a
/// repetition then finds the channel gone, that is success. A channel that is
/// gone at the first attempt is
/// [`NotFound`](crate::RestErrorKind::NotFound).
///
/// See Discord: Channel Resource, "Delete/Close Channel".
///
/// # Cancel safety
///
/// Dropping the future before the request is sent takes it back and gives its
/// place in line to the next. Dropped later, the channel may be deleted all the
/// same.
#[must_use = "a request is sent when it is awaited"]
pub struct DeleteChannel {
    client: Arc<Inner>,
    channel_id: Id<ChannelMarker>,
    options: Options,
}

/// What became of the channel: it is gone either way.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DeletedChannel {
    /// Deleted, and this is what it was. `None`: Discord's answer could not be
    /// read.
    Deleted(Option<Box<Channel>>),
    /// A repetition found it gone: most likely an earlier attempt of this call
    /// deleted it and its answer was lost.
    AlreadyGone,
}

impl DeletedChannel {
    /// The channel as it was, where Discord's answer says it.
    #[must_use]
    pub fn channel(&self) -> Option<&Channel> {
        match self {
            Self::Deleted(channel) => channel.as_deref(),
            Self::AlreadyGone => None,
        }
    }

    /// Whether a repetition found it gone.
    #[must_use]
    pub fn was_already_gone(&self) -> bool {
        matches!(self, Self::AlreadyGone)
    }
}

impl DeleteChannel {
    pub(crate) fn new(client: Arc<Inner>, channel_id: Id<ChannelMarker>) -> Self {
        Self {
            client,
            channel_id,
            options: Options::default(),
        }
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

    async fn run(self) -> Result<DeletedChannel, RestError> {
        let mut call = Call::new(self.client, "deleteChannel", &self.options)?;
        let endpoint = DeleteChannelEndpoint {
            channel_id: self.channel_id,
        };
        let request = call.prepare(&endpoint, self.options.reason.as_deref())?;
        match call.send(&request).await {
            Ok(answer) => Ok(DeletedChannel::Deleted(
                call.read::<Channel>(&answer).ok().map(Box::new),
            )),
            Err(error)
                if call.is_ambiguous()
                    && *error.kind() == RestErrorKind::NotFound
                    && error.discord_code() == Some(UNKNOWN_CHANNEL) =>
            {
                Ok(DeletedChannel::AlreadyGone)
            }
            Err(error) => Err(error),
        }
    }
}

impl IntoFuture for DeleteChannel {
    type Output = Result<DeletedChannel, RestError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl fmt::Debug for DeleteChannel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeleteChannel")
            .field("channel_id", &self.channel_id)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
