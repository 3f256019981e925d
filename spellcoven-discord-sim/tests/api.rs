//! Tests of the simulator through its public API, with raw clients that share no code with it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

mod api {
    pub(crate) mod support;

    #[cfg(feature = "cli")]
    mod command_line;
    mod commands;
    mod compression;
    mod control;
    mod core_day;
    mod determinism;
    mod faults;
    mod http;
    mod identify;
    mod journal;
    mod keys;
    mod limits;
    mod malformed;
    mod obfuscation;
    mod people;
    mod permissions;
    mod rest_channels;
    mod rest_errors;
    mod rest_faults;
    mod rest_guilds;
    mod rest_members;
    mod rest_messages;
    mod rest_overwrites;
    mod rest_voice;
    mod resume;
    mod slow_client;
    #[cfg(feature = "tls")]
    mod tls;
    mod transport;
    #[cfg(feature = "voice")]
    mod voice_control;
    #[cfg(feature = "voice")]
    mod voice_dave;
    #[cfg(feature = "voice")]
    mod voice_gateway;
    #[cfg(feature = "voice")]
    mod voice_media;
    #[cfg(feature = "voice")]
    mod voice_moves;
    #[cfg(feature = "voice")]
    mod voice_people;
    #[cfg(all(feature = "voice", feature = "tls"))]
    mod voice_ports;
    #[cfg(feature = "voice")]
    mod voice_resume;
    #[cfg(feature = "voice")]
    mod voice_support;
    mod wrong_clients;
}
