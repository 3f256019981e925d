#![doc = include_str!("../README.md")]

mod builder;
mod call;
mod client;
mod date;
mod endpoint;
mod error;
mod error_body;
mod gate;
mod limit;
mod lookup;
mod reason;
mod request;
mod retry;
mod token;
mod transport;
mod validate;

pub use twilight_model::{
    channel::{Channel, ChannelType, Message, message::AllowedMentions},
    gateway::connection_info::BotConnectionInfo,
    http::permission_overwrite::{PermissionOverwrite, PermissionOverwriteType},
    id::{
        Id,
        marker::{ChannelMarker, GuildMarker, MessageMarker, RoleMarker, UserMarker},
    },
};

pub use crate::{
    builder::{BuildError, DiscordRestClientBuilder},
    client::{DiscordRestClient, RestStats},
    endpoint::{Endpoint, GetChannel, GetChannels, GetGatewayBot, Major, RetryClass, Route},
    error::{FieldError, RateLimitScope, RestError, RestErrorKind},
    request::{CreateVoiceChannel, DeleteChannel, DeletedChannel, Execute, SendMessage},
    token::{BotToken, TokenError},
    transport::{BoxFuture, HyperTransport, Transport, TransportError, TransportErrorKind},
    validate::ValidationError,
};
