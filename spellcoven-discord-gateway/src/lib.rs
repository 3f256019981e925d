#![doc = include_str!("../README.md")]

mod connect;
mod error;
mod event;
pub mod proto;
mod queue;
mod shell;
mod token;
mod tracker;

pub use twilight_model::{
    gateway::Intents,
    id::{
        Id,
        marker::{ChannelMarker, GuildMarker, UserMarker},
    },
};

pub use self::{
    connect::{Connector, GatewayStream, TcpTls},
    error::{CommandError, GatewayError},
    event::{
        Event, EventFilter, EventKind, GatewayEvent, GuildState, PayloadError, Ready, RetryAfter,
        RoomChannel, VoiceFlags, VoiceServerUpdate, VoiceState, VoiceToken,
    },
    proto::{
        Command, Compression, ConnectionState, PresenceStatus, Protocol, ProtocolConfig,
        ProtocolStats, SessionState,
    },
    queue::{BoxFuture, IdentifyQueue, InMemoryIdentifyQueue, SessionStartLimit},
    shell::{Shard, ShardBuilder, ShardHandle, ShardStatus, Shutdown, StateWatch},
    token::BotToken,
    tracker::{
        Cause, Change, GuildSnapshot, GuildTracker, Room, RoomMember, RoomSnapshot, TrackerLimits,
        TrackerStats,
    },
};
