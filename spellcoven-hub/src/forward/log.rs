//! What the log says of posts: each delivery at DEBUG, each retry and each
//! change for the worse at WARN, each loss at ERROR.

use super::outbox::{Kind, Post, Verdict};
use super::status::UnhealthyReason;

/// What is known of a post beside its outcome.
pub(super) struct Told {
    pub(super) status: Option<u16>,
    pub(super) request_id: Option<String>,
    pub(super) error: Option<String>,
    /// What the forwarder's last exchange failed of, before this post and after.
    pub(super) before: Option<UnhealthyReason>,
    pub(super) after: Option<UnhealthyReason>,
}

pub(super) fn post_ended(post: &Post, verdict: &Verdict, told: &Told) {
    let (event, delivery_id) = (post.kind.name(), &*post.delivery_id);
    let (status, request_id, error) = (
        told.status,
        told.request_id.as_deref(),
        told.error.as_deref(),
    );
    if told.before.is_some() && told.after.is_none() {
        tracing::info!("the hub takes posts again");
    }
    match verdict {
        Verdict::Delivered { restarted: false } => tracing::debug!(event, delivery_id, "delivered"),
        Verdict::Delivered { restarted: true } => {
            tracing::info!(
                event,
                delivery_id,
                "delivered; the hub restarted, its state is sent anew"
            );
        }
        Verdict::Dropped if post.kind == Kind::Ping => {
            tracing::info!(
                status,
                request_id,
                "the hub knows no pings; no more are sent"
            );
        }
        Verdict::Dropped => {
            tracing::error!(
                event,
                delivery_id,
                status,
                request_id,
                "the hub refused the event for good; dropped"
            );
        }
        Verdict::Retry { delay, reason } => {
            let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(
                event,
                delivery_id,
                status,
                request_id,
                error,
                delay_ms,
                "not delivered, will be retried: {reason}"
            );
        }
        // A ping every few seconds: only the first of a kind is worth a warning.
        Verdict::Superseded { reason } if told.before != told.after => {
            tracing::warn!(event, status, request_id, error, "not delivered: {reason}");
        }
        Verdict::Superseded { reason } => {
            tracing::debug!(event, status, request_id, error, "not delivered: {reason}");
        }
    }
}

/// An error and its causes in one line.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Some libraries print the cause as well as giving it.
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
