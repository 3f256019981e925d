#![doc = include_str!("../README.md")]

mod clock;
mod control;
pub mod core;
mod error;
mod faults;
mod ids;
mod intents;
mod journal;
mod permissions;
mod rest_faults;
mod settings;
mod shell;
mod sim;
#[cfg(feature = "voice")]
mod sim_voice;
#[cfg(feature = "tls")]
mod tls;

pub use crate::core::{
    Bot, ChannelKind, ChannelView, MessageView, Pace, Request, Response, Stats, VoiceStateView,
    WhileAway,
};
#[cfg(feature = "voice")]
pub use crate::core::{
    CallFault, CallView, CloseOrder, HeardFrame, HeardSummary, MediaCounts, MediaFaults,
    SecondIdentify, Speech, SpeechError, Stereo, VoiceClientView, VoiceFault, VoiceServerId,
    VoiceServerView, VoiceSettings, decode, tone_share,
};
pub use control::{BotDescription, ControlServer, Description, PersonDescription, TlsDescription};
pub use error::SimError;
pub use faults::{Fault, FaultKind};
pub use ids::{ApplicationId, ChannelId, GuildId, MessageId, RoleId, SoundId, UserId};
pub use intents::Intents;
pub use journal::{ClosedBy, Entry, EntryKind, Journal, RestRequest};
pub use permissions::{Overwrite, OverwriteTarget, Permissions};
pub use rest_faults::{RestFault, RestFaultKind, Scope, When};
pub use settings::{Ban, DeleteOrder, RateLimit, Settings, SharedHash};
pub use shell::SimServer;
#[cfg(feature = "voice")]
pub use shell::VoicePort;
pub use sim::{Sim, SimBuilder};
#[cfg(feature = "tls")]
pub use tls::{Authority, TlsError};
