//! Endpoints of a channel.

use http::Method;
use serde::de::IgnoredAny;
use twilight_model::{
    channel::Channel,
    id::{Id, marker::ChannelMarker},
};

use super::{Endpoint, Major, Route};

/// `GET /channels/{channel_id}`. See Discord: Channel Resource, "Get Channel".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GetChannel {
    channel_id: Id<ChannelMarker>,
}

impl GetChannel {
    /// Asks for one channel.
    #[must_use]
    pub fn new(channel_id: Id<ChannelMarker>) -> Self {
        Self { channel_id }
    }
}

impl Endpoint for GetChannel {
    type Response = Channel;

    fn name(&self) -> &'static str {
        "getChannel"
    }

    fn route(&self) -> Route {
        Route::new(
            Method::GET,
            "/channels/{channel_id}",
            Major::Channel(self.channel_id.get()),
        )
        .param(self.channel_id)
    }
}

/// `DELETE /channels/{channel_id}`. See Discord: Channel Resource,
/// "Delete/Close Channel".
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeleteChannelEndpoint {
    pub(crate) channel_id: Id<ChannelMarker>,
}

impl Endpoint for DeleteChannelEndpoint {
    /// The answer is read apart: the channel is gone even if it cannot be read.
    type Response = IgnoredAny;

    fn name(&self) -> &'static str {
        "deleteChannel"
    }

    fn route(&self) -> Route {
        Route::new(
            Method::DELETE,
            "/channels/{channel_id}",
            Major::Channel(self.channel_id.get()),
        )
        .param(self.channel_id)
    }

    fn takes_reason(&self) -> bool {
        true
    }
}
