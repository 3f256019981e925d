//! Where the Gateway is, and how many sessions may be begun: `GET /gateway/bot`, asked until it answers.

use std::time::Duration;

use spellcoven_discord_gateway::SessionStartLimit;
use spellcoven_discord_rest::{DiscordRestClient, RestError, RestErrorKind};

/// The longest wait between two tries.
const RETRY_CAP: Duration = Duration::from_secs(30);

/// The Gateway's URL and the budget of identifies. While Discord cannot be asked this waits and asks again: a worker
/// that ends instead would only be started again by its supervisor.
///
/// # Errors
/// Discord refuses the token: asking again cannot help.
///
/// # Cancel safety
/// Nothing but reads happens.
pub async fn find_gateway(
    client: &DiscordRestClient,
) -> Result<(String, SessionStartLimit), RestError> {
    let mut wait = Duration::from_secs(1);
    loop {
        let error = match client.get_gateway_bot().await {
            Ok(found) => {
                let limit = SessionStartLimit {
                    total: found.session_start_limit.total,
                    remaining: found.session_start_limit.remaining,
                    reset_after: Duration::from_millis(found.session_start_limit.reset_after),
                    max_concurrency: u32::from(found.session_start_limit.max_concurrency),
                };
                return Ok((found.url, limit));
            }
            Err(error) => error,
        };
        if matches!(error.kind(), RestErrorKind::TokenInvalid) {
            return Err(error);
        }
        tracing::warn!(%error, wait_s = wait.as_secs(), "the Gateway's address cannot be had, asking again");
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_CAP);
    }
}
