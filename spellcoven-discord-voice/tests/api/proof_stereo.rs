//! Two clients, end-to-end encrypted, each with a tone in each ear, both at once: they arrive so.

use std::time::Duration;

use spellcoven_discord_sim::{MediaFaults, SimBuilder};
use spellcoven_discord_voice::{
    AudioStream, Channels, DiscordRtcClientBuilder, EncoderConfig, OggOpus, PcmInput, PcmWriter,
    Player, PlayerHandle, ReceiveMode, Track,
};

use crate::{
    audio_support::{Ogg, tone_frames},
    dsp::stereo_tone,
    proof_support::{assert_sealed, assert_stereo, each_seed},
    support::{Member, Room},
};

const SECONDS: usize = 6;

/// How it is sent.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// PCM, through the client's encoder.
    Pcm,
    /// An Ogg Opus file, whose packets are passed on as they are.
    Ogg,
}

fn aes(builder: SimBuilder) -> SimBuilder {
    builder
}

fn xchacha(builder: SimBuilder) -> SimBuilder {
    builder.settings(|settings| settings.voice.offer_aes = false)
}

fn pcm(builder: DiscordRtcClientBuilder) -> DiscordRtcClientBuilder {
    builder.receive(ReceiveMode::Pcm)
}

/// 5 % of what goes to each client is lost, and a tenth of it is overtaken.
fn bad_network() -> MediaFaults {
    let mut faults = MediaFaults::default();
    faults.loss = 0.05;
    faults.reorder = 0.1;
    faults
}

/// Begins to play; what it gives is to be kept.
fn play(on: &Member, way: Way, left: u16, right: u16) -> (PlayerHandle, Option<PcmWriter>) {
    let (left, right) = (f32::from(left), f32::from(right));
    let mut config = EncoderConfig::music();
    config.complexity = 0;
    let (player, handle) = Player::new(config);
    let writer = match way {
        Way::Pcm => {
            let (mut writer, input) =
                PcmInput::new(Channels::Stereo, Duration::from_secs(SECONDS as u64));
            let samples = stereo_tone(left, right, 0.4, 0, 48_000 * SECONDS);
            assert_eq!(writer.try_write(&samples), Ok(samples.len()));
            handle.play(Track::new(input)).unwrap();
            Some(writer)
        }
        Way::Ogg => {
            let file = Ogg::default().write(&tone_frames(left, right, 50 * SECONDS));
            let track = Track::new(OggOpus::from_bytes(file).unwrap());
            handle.play(track).unwrap();
            None
        }
    };
    on.client.play(player);
    (handle, writer)
}

/// What a member is heard to say in the middle of it.
async fn listen(stream: &mut AudioStream, of: &Member) -> Vec<f32> {
    let mut samples = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(SECONDS as u64 - 1), async {
        while let Some(packet) = stream.next().await {
            if packet.user_id == of.user_id {
                samples.extend_from_slice(&packet.pcm().unwrap().samples);
            }
        }
    })
    .await;
    // Without the first second.
    samples.drain(..samples.len().min(96_000));
    samples
}

async fn both_ways(
    seed: u64,
    mode: &str,
    change: fn(SimBuilder) -> SimBuilder,
    way: Way,
    faults: MediaFaults,
) {
    let bad = faults.loss > 0.0;
    let mut room = Room::with(seed, change);
    let alice = room.join("alice", pcm).await;
    let bob = room.join("bob", pcm).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    room.sim.set_media_faults(faults);
    let (mut alices, mut bobs) = (alice.client.audio(), bob.client.audio());
    let _playing = (play(&alice, way, 440, 880), play(&bob, way, 1320, 660));
    let (of_bob, of_alice) = tokio::join!(listen(&mut alices, &bob), listen(&mut bobs, &alice));
    for member in [&alice, &bob] {
        let stats = member.client.stats();
        assert_eq!(stats.encryption_mode.map(|mode| mode.name()), Some(mode));
        let lost: u64 = stats.users.values().map(|user| user.lost).sum();
        assert_eq!(lost > 0, bad, "{:?}", stats.users);
        let unread: u64 = stats
            .users
            .values()
            .map(|user| user.undecryptable.total())
            .sum();
        assert_eq!(unread, 0, "{:?}", stats.users);
        println!(
            "{mode} {way:?}: {lost} packets lost of {}",
            member.bot.user_id
        );
    }
    for (samples, left, right) in [(of_alice, 440, 880), (of_bob, 1320, 660)] {
        let seconds = samples.len() as f32 / 96_000.0;
        assert!((3.7..=4.1).contains(&seconds), "{seconds} s were heard");
        assert_stereo(&samples, left, right, if bad { 0.3 } else { 0.37 });
    }
    assert_sealed(&room);
    room.assert_no_complaints();
}

/// Both ways of sending, with and without loss.
async fn all(seed: u64, mode: &'static str, change: fn(SimBuilder) -> SimBuilder) {
    for way in [Way::Pcm, Way::Ogg] {
        both_ways(seed, mode, change, way, MediaFaults::default()).await;
        both_ways(seed + 100_000, mode, change, way, bad_network()).await;
    }
}

#[test]
fn stereo_arrives_each_side_in_its_ear_under_aes() {
    each_seed(400, |seed| all(seed, "aead_aes256_gcm_rtpsize", aes));
}

#[test]
fn stereo_arrives_each_side_in_its_ear_under_xchacha20() {
    each_seed(410, |seed| {
        all(seed, "aead_xchacha20_poly1305_rtpsize", xchacha)
    });
}

/// The mode of the specification, which Discord gave up in 2024: the server offers nothing that is better.
#[cfg(feature = "xsalsa20")]
#[test]
fn stereo_arrives_each_side_in_its_ear_under_xsalsa20() {
    each_seed(420, |seed| {
        all(seed, "xsalsa20_poly1305", |builder| {
            builder.settings(|settings| {
                settings.voice.offer_aes = false;
                settings.voice.offer_xchacha = false;
                settings.voice.offer_legacy = true;
            })
        })
    });
}
