//! What a client tells its reader.

use std::sync::Arc;
use std::time::Duration;

use crate::wire::{GuildSnapshot, HubEvent};

/// One thing that happened, in order. A hub of the original system names no
/// epoch and no numbers: there `epoch` is empty and `seq` 0 everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Update {
    /// The hub accepted the token. With `resumed`, the missed events follow;
    /// else a [`Snapshot`](Self::Snapshot) does before any event.
    Connected {
        /// Whether the events go on where they stopped.
        resumed: bool,
        /// The epoch of the hub's memory.
        epoch: Arc<str>,
        /// The event the connection stands at.
        seq: u64,
    },
    /// All rooms: replaces everything known before.
    Snapshot {
        /// The epoch it belongs to.
        epoch: Arc<str>,
        /// The last event contained in it.
        seq: u64,
        /// The rooms and who is in them.
        snapshot: GuildSnapshot,
    },
    /// Something happened.
    Event {
        /// The event's number within the epoch.
        seq: u64,
        /// The epoch.
        epoch: Arc<str>,
        /// When the hub told it, in milliseconds since the Unix epoch.
        ts: u64,
        /// What happened.
        event: HubEvent,
    },
    /// An event whose name this version does not know. It changes no view.
    Raw {
        /// The event's number within the epoch.
        seq: u64,
        /// The epoch.
        epoch: Arc<str>,
        /// When the hub told it, in milliseconds since the Unix epoch.
        ts: u64,
        /// The event's name.
        name: String,
        /// The payload's JSON.
        payload: String,
    },
    /// The connection is lost, or an attempt to connect failed.
    Disconnected {
        /// The WebSocket close code, where one came; see
        /// [`close`](crate::wire::close).
        code: Option<u16>,
        /// Why, for a person.
        reason: String,
        /// When the next attempt is made. `None`: not before the token source
        /// has given another token, or no more by itself (the next update is
        /// [`GaveUp`](Self::GaveUp)).
        retry_in: Option<Duration>,
    },
    /// All attempts failed. Nothing more happens until
    /// [`HubClient::reconnect`](super::HubClient::reconnect): tell the person
    /// that a manual reconnect is needed.
    GaveUp {
        /// Attempts made since the last good connection, the first dial of a
        /// client not counted.
        attempts: u32,
    },
    /// The hub refused the token and the token source gave the same again.
    /// Nothing more happens until
    /// [`HubClient::reconnect`](super::HubClient::reconnect), which needs
    /// another token to get further.
    Unauthorized {
        /// The hub's reason, such as `unauthorized` or `token_expired`.
        reason: String,
    },
}
