//! Finds out whether a create whose answer is lost was carried out.

mod claims;
mod wanted;

use std::{sync::PoisonError, time::Duration};

use http::header::DATE;
use twilight_model::{
    channel::Channel,
    id::{Id, marker::ChannelMarker},
};

use self::wanted::Match;
pub(crate) use self::{
    claims::{Claims, Sending},
    wanted::Wanted,
};
use crate::{
    call::Call,
    date::parse_http_date,
    endpoint::{AuditLog, GetChannel, GetChannels},
    error::{RestError, RestErrorKind},
};

/// A request may be carried out after its answer was given up, and audit-log
/// entries come late: look several times before believing that nothing happened.
const DELAYS: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// The two clocks of Discord (the edge's `Date` and the snowflake's) may differ.
const CLOCK_MARGIN_MS: u64 = 2_000;

/// What a look-up came to.
#[derive(Debug)]
pub(crate) enum Found {
    /// It was made: this is it.
    Channel(Box<Channel>),
    /// It surely was not made.
    Nothing,
    /// Nobody can tell.
    Unknown,
}

/// Looks for the channel that `call` may have made.
pub(crate) async fn look_up(call: &mut Call, wanted: &Wanted) -> Found {
    let mut audit_log_refused = false;
    let mut last = Found::Unknown;
    for delay in DELAYS {
        tokio::time::sleep(delay).await;
        if !audit_log_refused {
            match in_audit_log(call, wanted).await {
                Ok(found) => last = found,
                Err(error) if *error.kind() == RestErrorKind::Forbidden => audit_log_refused = true,
                Err(error) => last = undecided(call, &error),
            }
        }
        if audit_log_refused {
            last = match in_channels(call, wanted).await {
                Ok(found) => found,
                Err(error) => undecided(call, &error),
            };
        }
        if let Found::Channel(channel) = &last {
            tracing::warn!(request_id = call.request_id(), channel_id = %channel.id, "a create without an answer was carried out");
            claims(call, |claims| claims.claim(channel.id.get()));
            return last;
        }
    }
    tracing::warn!(
        request_id = call.request_id(),
        carried_out = if matches!(last, Found::Nothing) {
            "no"
        } else {
            "unknown"
        },
        "a create without an answer was looked up"
    );
    last
}

fn undecided(call: &Call, error: &RestError) -> Found {
    tracing::warn!(request_id = call.request_id(), %error, "a look-up failed");
    Found::Unknown
}

/// The surest way: our own token in the reason of an entry.
async fn in_audit_log(call: &mut Call, wanted: &Wanted) -> Result<Found, RestError> {
    let (page, _) = call
        .aside(&AuditLog {
            guild_id: wanted.guild_id,
        })
        .await?;
    let ours = page.audit_log_entries.into_iter().find(|entry| {
        entry
            .reason
            .as_deref()
            .is_some_and(|reason| reason.contains(call.token()))
    });
    match ours {
        None => Ok(Found::Nothing),
        Some(entry) => match entry.target_id.and_then(|id| id.parse().ok()) {
            Some(id) => the_channel(call, id).await,
            None => Ok(Found::Unknown),
        },
    }
}

/// It was made; what does it look like? Gone or hidden already: then there is
/// nothing to give back, and nothing to make again either.
async fn the_channel(call: &mut Call, id: Id<ChannelMarker>) -> Result<Found, RestError> {
    match call.aside(&GetChannel::new(id)).await {
        Ok((channel, _)) => Ok(Found::Channel(Box::new(channel))),
        // Not to be taken for a refusal of the audit log.
        Err(error) => Ok(undecided(call, &error)),
    }
}

/// Without the audit log: a channel like ours that is new and nobody else's.
async fn in_channels(call: &mut Call, wanted: &Wanted) -> Result<Found, RestError> {
    let (channels, answer) = call.aside(&GetChannels::new(wanted.guild_id)).await?;
    // Discord's clock now, less our own time since then: no two clocks are compared.
    let elapsed = u64::try_from(call.since_open().as_millis()).unwrap_or(u64::MAX);
    let not_before = answer
        .headers()
        .get(DATE)
        .and_then(|value| value.to_str().ok())
        .and_then(parse_http_date)
        .map(|now| now.saturating_sub(elapsed).saturating_sub(CLOCK_MARGIN_MS));
    claims(call, |claims| {
        Ok(
            match wanted.find(&channels, not_before, |id| claims.is_claimed(id)) {
                // It may be that of an equal create whose answer is still under way.
                Match::Channel(_) if claims.is_sending(wanted) => Found::Unknown,
                Match::Channel(channel) => {
                    // Before anyone else can look.
                    claims.claim(channel.id.get());
                    Found::Channel(Box::new(channel.clone()))
                }
                Match::Nothing => Found::Nothing,
                Match::Unknown => Found::Unknown,
            },
        )
    })
}

fn claims<T>(call: &Call, with: impl FnOnce(&mut Claims) -> T) -> T {
    with(
        &mut call
            .client()
            .claims
            .lock()
            .unwrap_or_else(PoisonError::into_inner),
    )
}
