use std::time::Duration;

use spellcoven_hub::{
    HubEvent,
    client::{HubClient, Update},
};

use super::ScenarioError;
use crate::clock::unix_time;

/// A WebSocket client of the hub as a page would be one.
pub(super) struct Player {
    client: HubClient,
}

impl Player {
    pub(super) fn new(backend: &str, token: String) -> Result<Self, ScenarioError> {
        let url = format!("{}/api/ws", backend.replacen("http", "ws", 1));
        let client = HubClient::builder(url, token)
            .start()
            .map_err(|error| ScenarioError::Client(Box::new(error)))?;
        Ok(Self { client })
    }

    /// Waits until the hub has accepted the token.
    pub(super) async fn connected(&mut self, limit: Duration) -> Result<(), ScenarioError> {
        self.find(limit, "auth.ok", |update| {
            matches!(update, Update::Connected { .. })
        })
        .await
        .map(drop)
    }

    /// Waits for the event that `wanted` knows; the time since the unix epoch at which it was received.
    pub(super) async fn event(
        &mut self,
        limit: Duration,
        what: &str,
        wanted: impl Fn(&HubEvent) -> bool,
    ) -> Result<Duration, ScenarioError> {
        self.find(
            limit,
            what,
            |update| matches!(update, Update::Event { event, .. } if wanted(event)),
        )
        .await
    }

    async fn find(
        &mut self,
        limit: Duration,
        what: &str,
        wanted: impl Fn(&Update) -> bool,
    ) -> Result<Duration, ScenarioError> {
        let search = async {
            while let Some(update) = self.client.next().await {
                if wanted(&update) {
                    return Ok(unix_time());
                }
                if let Update::GaveUp { .. } | Update::Unauthorized { .. } = update {
                    return Err(ScenarioError::Wrong(format!(
                        "waiting for {what}, the client ended with {update:?}"
                    )));
                }
            }
            Err(ScenarioError::Wrong(format!(
                "the client ended before {what}"
            )))
        };
        tokio::time::timeout(limit, search)
            .await
            .unwrap_or_else(|_| {
                Err(ScenarioError::Wrong(format!(
                    "no {what} within {} s",
                    limit.as_secs()
                )))
            })
    }
}
