use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{GuildSnapshot, HubEvent, Snowflake, envelope::names};

/// Header names of the webhook, in lower case.
pub mod headers {
    /// Unix seconds at which the try was signed.
    pub const TIMESTAMP: &str = "x-hub-timestamp";
    /// `sha256=<lowercase hex>`, see [`signature`](crate::wire::signature).
    pub const SIGNATURE: &str = "x-hub-signature";
    /// A unique id of the event, the same on every try. Of the form `<forwarder>-<number>`, with a number that rises with
    /// each event of a forwarder, it also tells the order: once a `guild.snapshot` was applied, the same forwarder's posts
    /// of lower numbers are answered 200 and not applied, since the snapshot contains them.
    pub const DELIVERY: &str = "x-hub-delivery";
    /// The epoch that the poster knows, from the last answer. A hub of another epoch does not apply an event, since it
    /// has forgotten what the event stands on; its answer makes the poster send a `guild.snapshot`.
    pub const EPOCH: &str = "x-hub-epoch";
    /// The id of the request, echoed in answers.
    pub const REQUEST_ID: &str = "x-request-id";
}

/// The body of a post to `/api/internal/events`: `{"event": name, "payload": {…}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebhookEvent {
    /// Something happened.
    Event(HubEvent),
    /// `guild.snapshot`: everything, as the worker sees it now.
    Snapshot(GuildSnapshot),
    /// `hub.ping`: changes nothing; the answer carries the hub's epoch, so that a worker learns of a restarted hub
    /// while nothing happens.
    Ping {
        /// The guild the worker serves.
        guild_id: Snowflake,
    },
}

/// A body that is not a webhook event; the poster is at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// Not `{"event": string, "payload": …}`.
    #[error("the body is not a JSON object with event and payload")]
    Malformed(#[source] serde_json::Error),
    /// A name this version does not know.
    #[error("the event name is unknown")]
    UnknownEvent,
    /// The payload is not what the name promises.
    #[error("the payload does not fit the event")]
    BadPayload(#[source] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

#[derive(Serialize)]
struct Out<P> {
    event: &'static str,
    payload: P,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ping {
    guild_id: Snowflake,
}

impl WebhookEvent {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// See [`WebhookError`].
    pub fn parse(body: &[u8]) -> Result<Self, WebhookError> {
        let body: Body<'_> = serde_json::from_slice(body).map_err(WebhookError::Malformed)?;
        let payload = body.payload.get();
        match &*body.event {
            names::GUILD_SNAPSHOT => serde_json::from_str(payload).map(Self::Snapshot),
            names::HUB_PING => {
                serde_json::from_str(payload).map(|Ping { guild_id }| Self::Ping { guild_id })
            }
            name => match HubEvent::from_parts(name, payload) {
                Some(event) => event.map(Self::Event),
                None => return Err(WebhookError::UnknownEvent),
            },
        }
        .map_err(WebhookError::BadPayload)
    }

    /// Writes the body.
    #[must_use]
    pub fn to_body(&self) -> Vec<u8> {
        match self {
            Self::Event(event) => serde_json::to_vec(event),
            Self::Snapshot(payload) => serde_json::to_vec(&Out {
                event: names::GUILD_SNAPSHOT,
                payload,
            }),
            Self::Ping { guild_id } => serde_json::to_vec(&Out {
                event: names::HUB_PING,
                payload: Ping {
                    guild_id: *guild_id,
                },
            }),
        }
        .expect("strings and numbers always serialise")
    }

    /// The name on the wire.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Event(event) => event.name(),
            Self::Snapshot(_) => names::GUILD_SNAPSHOT,
            Self::Ping { .. } => names::HUB_PING,
        }
    }

    /// The guild it speaks of.
    #[must_use]
    pub const fn guild_id(&self) -> Snowflake {
        match self {
            Self::Event(event) => event.guild_id(),
            Self::Snapshot(snapshot) => snapshot.guild_id,
            Self::Ping { guild_id } => *guild_id,
        }
    }
}

/// The answer to a post. The original hub answers `{"ok": true}` only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookAnswer {
    /// Always `true`.
    pub ok: bool,
    /// The epoch of the hub's memory; when it changes, the hub has forgotten everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// Whether the hub has had a `guild.snapshot` in this epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synced: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_body_reads_back() {
        let guild_id = Snowflake::new(1);
        for event in [
            WebhookEvent::Ping { guild_id },
            WebhookEvent::Snapshot(GuildSnapshot {
                guild_id,
                rooms: Vec::new(),
            }),
            WebhookEvent::Event(HubEvent::RoomDeleted(crate::wire::RoomDeleted {
                channel_id: Snowflake::new(2),
                guild_id,
            })),
        ] {
            let body = event.to_body();
            assert_eq!(WebhookEvent::parse(&body).unwrap(), event);
            assert!(
                String::from_utf8(body)
                    .unwrap()
                    .starts_with(&format!("{{\"event\":\"{}\"", event.name()))
            );
        }
    }

    #[test]
    fn wrong_bodies_are_told_apart() {
        assert!(matches!(
            WebhookEvent::parse(b"[]"),
            Err(WebhookError::Malformed(_))
        ));
        assert!(matches!(
            WebhookEvent::parse(br#"{"event":"x"}"#),
            Err(WebhookError::Malformed(_))
        ));
        assert!(matches!(
            WebhookEvent::parse(br#"{"event":"x","payload":{}}"#),
            Err(WebhookError::UnknownEvent)
        ));
        assert!(matches!(
            WebhookEvent::parse(br#"{"event":"room.deleted","payload":{"channelId":2}}"#),
            Err(WebhookError::BadPayload(_))
        ));
    }
}
