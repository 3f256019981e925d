use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::Stream;

use super::queue::{Consumer, Taken};
use crate::VoiceEvent;

/// What happens in a call, made by [`DiscordRtcClient::events`](crate::DiscordRtcClient::events). It ends with the
/// client.
///
/// # Cancel safety
///
/// Dropping a future of `next` loses no event.
pub struct EventStream(pub(super) Consumer<VoiceEvent>);

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").finish_non_exhaustive()
    }
}

impl EventStream {
    /// The next event; `None` when the client has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<VoiceEvent> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl Stream for EventStream {
    type Item = VoiceEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<VoiceEvent>> {
        Poll::Ready(match ready!(self.0.poll_take(cx)) {
            Some(Taken::Entry(event)) => Some(event),
            Some(Taken::Dropped(missed)) => Some(VoiceEvent::Lagged { missed }),
            None => None,
        })
    }
}
