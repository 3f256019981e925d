#![doc = include_str!("../README.md")]

mod audio;
mod client;
mod dave;
mod gateway;
mod media;
mod net;
mod rtp;
mod session;
mod signal;
mod transport;
mod udp;

pub use twilight_model::id::{
    Id,
    marker::{ChannelMarker, GuildMarker, UserMarker},
};

#[cfg(feature = "opus")]
pub use self::audio::{
    CodecError, OpusDecoder, OpusEncoder, PcmInput, PcmWriter, PlayoutStats, Wav, WriterClosed,
};
#[cfg(feature = "opus")]
pub use self::client::MixedAudioStream;
#[cfg(feature = "gateway")]
pub use self::signal::VoiceRouter;
pub use self::{
    audio::{
        Application, AudioSource, Broadcast, BroadcastSource, Channels, EncoderConfig,
        FRAME_SAMPLES, Input, InputError, JitterConfig, JitterStats, NextFrame, OggOpus, OpusChunk,
        OpusFrames, OpusMode, OpusPacket, OpusPacketError, PcmFrame, Player, PlayerFull,
        PlayerHandle, Produced, Repeat, SAMPLE_RATE, Track, TrackEnd, TrackEvent, TrackEventKind,
        TrackEvents, TrackHandle, TrackState,
    },
    client::{
        AudioPacket, AudioSink, AudioStream, DiscordRtcClient, DiscordRtcClientBuilder,
        EventStream, ReceiveMode, SinkError, Sound, VoicePool, VoicePoolBuilder, VoiceStats,
    },
    dave::{DaveIdentity, E2eePolicy, InvalidIdentity},
    gateway::CloseReaction,
    media::{NotOpus, OpusFrame, ReceiveStats, RemoteReport, SendStats, Undecryptable, UserStats},
    net::{BoxFuture, DatagramSocket, TcpTlsUdp, UdpOptions, VoiceConnector, VoiceStream},
    session::{
        Backlog, CallError, ConnectError, ConnectionState, EncryptionEvent, EndReason, Participant,
        PlaybackStats, SpeakingFlags, VoiceEvent, VoiceTrouble,
    },
    signal::{
        Fed, OwnVoiceState, SignalError, SignalEvent, SignalFeed, Signalling, VoiceServer,
        VoiceServerToken, VoiceStateRequest, signal_pair,
    },
    transport::{EncryptionMode, TransportKey},
    udp::PingStats,
};
