//! The crate's tests, one module for each subject.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![cfg_attr(
    feature = "gateway",
    expect(
        clippy::duplicate_mod,
        reason = "some tests are there with and without a pool"
    )
)]

#[cfg(feature = "gateway")]
#[path = "api/proof_support.rs"]
mod proof_support;
#[cfg(feature = "gateway")]
#[path = "api/support.rs"]
mod support;

/// Whether the clients of these modules are in a pool.
#[cfg(feature = "gateway")]
const POOLED: bool = false;

/// The tests of clients again, with all clients of a test in one pool.
#[cfg(feature = "gateway")]
#[path = "api"]
mod pooled {
    const POOLED: bool = true;

    #[path = "client.rs"]
    mod client;
    #[cfg(feature = "opus")]
    #[path = "client_audio.rs"]
    mod client_audio;
    #[path = "client_faults.rs"]
    mod client_faults;
    #[path = "client_policy.rs"]
    mod client_policy;
    #[path = "support.rs"]
    mod support;
}

#[path = "api/audio_support.rs"]
mod audio_support;
#[cfg(feature = "opus")]
#[path = "api/dsp.rs"]
mod dsp;

#[path = "api/audio_broadcast.rs"]
mod audio_broadcast;
#[cfg(feature = "opus")]
#[path = "api/audio_codec.rs"]
mod audio_codec;
#[path = "api/audio_inputs.rs"]
mod audio_inputs;
#[cfg(feature = "opus")]
#[path = "api/audio_pcm.rs"]
mod audio_pcm;
#[path = "api/audio_player.rs"]
mod audio_player;
#[cfg(feature = "opus")]
#[path = "api/audio_player_mix.rs"]
mod audio_player_mix;
#[cfg(feature = "gateway")]
#[path = "api/chaos.rs"]
mod chaos;
#[cfg(feature = "gateway")]
#[path = "api/client.rs"]
mod client;
#[cfg(all(feature = "gateway", feature = "opus"))]
#[path = "api/client_audio.rs"]
mod client_audio;
#[cfg(feature = "gateway")]
#[path = "api/client_faults.rs"]
mod client_faults;
#[path = "api/client_net.rs"]
mod client_net;
#[cfg(feature = "gateway")]
#[path = "api/client_policy.rs"]
mod client_policy;
#[cfg(feature = "gateway")]
#[path = "api/client_pool.rs"]
mod client_pool;
#[path = "api/client_promises.rs"]
mod client_promises;
#[cfg(feature = "gateway")]
#[path = "api/client_signal.rs"]
mod client_signal;
#[cfg(feature = "gateway")]
#[path = "api/cuts.rs"]
mod cuts;
#[cfg(feature = "gateway")]
#[path = "api/cuts_support.rs"]
mod cuts_support;
#[cfg(feature = "gateway")]
#[path = "api/day.rs"]
mod day;
#[cfg(feature = "gateway")]
#[path = "api/proof_calls.rs"]
mod proof_calls;
#[cfg(feature = "gateway")]
#[path = "api/proof_faults.rs"]
mod proof_faults;
#[cfg(feature = "gateway")]
#[path = "api/proof_frames.rs"]
mod proof_frames;
#[cfg(all(feature = "gateway", feature = "opus"))]
#[path = "api/proof_stereo.rs"]
mod proof_stereo;
#[cfg(feature = "gateway")]
#[path = "api/storms.rs"]
mod storms;
