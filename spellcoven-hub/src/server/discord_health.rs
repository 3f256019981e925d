use std::time::Duration;

use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::rooms::RoomService;

/// When Discord was last asked for `/ready`, and how that went. One question at a time.
#[derive(Debug, Default)]
pub(crate) struct DiscordHealth(Mutex<Option<(Instant, bool)>>);

impl DiscordHealth {
    /// Whether Discord can be reached, asking if the last news is older than `max_age`.
    pub(crate) async fn check(
        &self,
        rooms: &dyn RoomService,
        max_age: Duration,
        wait: Duration,
    ) -> bool {
        let mut last = self.0.lock().await;
        if let Some((at, good)) = *last
            && Instant::now().duration_since(at) < max_age
        {
            return good;
        }
        let good = match timeout(wait, rooms.check()).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::warn!(%error, "Discord is not ready");
                false
            }
            Err(_) => {
                tracing::warn!("Discord did not answer in time");
                false
            }
        };
        *last = Some((Instant::now(), good));
        good
    }
}
