use thiserror::Error;
use twilight_model::gateway::Intents;

/// Why a shard stopped for good. It is the last thing that
/// [`Shard::next_event`](crate::Shard::next_event) gives before `None`.
///
/// Everything else that goes wrong (a cut, a time-out, an invalid session) is
/// answered by reconnecting and shows in
/// [`ShardStatus`](crate::ShardStatus) only.
///
/// Source: Discord documentation, "Opcodes and Status Codes", Gateway Close
/// Event Codes: the codes whose "Reconnect" column says false.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// The caller's settings cannot work (a URL that is none, a shard id that
    /// is not below the number of shards). Nothing was sent.
    #[error("the shard's settings cannot work: {what}")]
    Configuration {
        /// Which setting, and what is wrong with it.
        what: String,
    },
    /// Close code 4004: Discord does not accept the token.
    #[error(
        "Discord refused the bot token (close code 4004): check it in the developer portal, it may have been reset"
    )]
    AuthenticationFailed,
    /// Close code 4010: the pair `[shard_id, num_shards]` is not valid.
    #[error(
        "Discord refused shard {id} of {total} (close code 4010): correct the shard id or the number of shards"
    )]
    InvalidShard {
        /// The shard id that was sent.
        id: u32,
        /// The number of shards that was sent.
        total: u32,
    },
    /// Close code 4011: more guilds than one shard may carry (2500).
    #[error(
        "Discord wants more shards than {total} (close code 4011): plan again with the number that GET /gateway/bot recommends"
    )]
    ShardingRequired {
        /// The number of shards that was too small.
        total: u32,
    },
    /// Close code 4012: Discord no longer speaks this version of the Gateway.
    #[error(
        "Discord no longer accepts Gateway version 10 (close code 4012): update this crate or the gateway URL"
    )]
    InvalidApiVersion,
    /// Close code 4013: the intents' number has a bit that does not exist.
    #[error("Discord refused the intents {} (close code 4013): a bit in them does not exist", .intents.bits())]
    InvalidIntents {
        /// The intents that were sent.
        intents: Intents,
    },
    /// Close code 4014: a privileged intent that is not switched on, or not
    /// approved, for this application.
    #[error(
        "Discord does not allow these intents (close code 4014): {}: switch the privileged ones on in the developer portal, or ask for fewer",
        intent_names(*.intents)
    )]
    DisallowedIntents {
        /// The intents that were sent.
        intents: Intents,
    },
}

/// Why a command was not taken. The caller is to blame for
/// [`TooLarge`](Self::TooLarge) and [`Invalid`](Self::Invalid); the connection
/// stays as it is in every case.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The payload would be over 4096 bytes, which Discord answers with close
    /// code 4002 ("Gateway", Sending Events). Split the command.
    #[error("the command takes {size} bytes and Discord accepts 4096: split it")]
    TooLarge {
        /// Bytes of the encoded payload.
        size: usize,
    },
    /// A field is outside its range.
    #[error("the command's field {field} is out of range: {why}")]
    Invalid {
        /// The field's name on the wire.
        field: &'static str,
        /// The range.
        why: &'static str,
    },
    /// Too many commands wait already (for READY, or for the limit of 120 per
    /// minute). Try again later.
    #[error("too many commands are waiting to be sent: try again later")]
    QueueFull,
    /// The shard has ended.
    #[error("the shard has ended")]
    Closed,
}

fn intent_names(intents: Intents) -> String {
    let names: Vec<&str> = intents.iter_names().map(|(name, _)| name).collect();
    if names.is_empty() {
        format!("{}", intents.bits())
    } else {
        names.join(", ")
    }
}
