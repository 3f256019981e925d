//! What is heard: ordered, decoded, mixed, under loss and reordering.

use std::{f32::consts::TAU, time::Duration};

use spellcoven_discord_sim::MediaFaults;
use spellcoven_discord_voice::{
    AudioSource, AudioStream, Channels, DiscordRtcClientBuilder, EncoderConfig, FRAME_SAMPLES,
    NextFrame, OpusEncoder, ReceiveMode, Sound,
};

use super::support::{Member, Room, places, plain};

/// A frequency for each ear, for ever.
struct Tone {
    encoder: OpusEncoder,
    frequencies: [f32; 2],
    sample: u32,
}

impl Tone {
    fn new(left: f32, right: f32) -> Self {
        let mut config = EncoderConfig::music();
        config.complexity = 0;
        Self {
            encoder: OpusEncoder::new(config).unwrap(),
            frequencies: [left, right],
            sample: 0,
        }
    }
}

impl AudioSource for Tone {
    fn next_frame(&mut self) -> NextFrame {
        let mut pcm = Vec::new();
        for sample in self.sample..self.sample + FRAME_SAMPLES as u32 {
            let time = sample as f32 / 48_000.0;
            pcm.extend(
                self.frequencies
                    .map(|frequency| 0.25 * (TAU * (frequency * time).fract()).sin()),
            );
        }
        self.sample = (self.sample + FRAME_SAMPLES as u32) % 48_000;
        NextFrame::Frame(self.encoder.encode(&pcm).unwrap())
    }
}

fn pcm(builder: DiscordRtcClientBuilder) -> DiscordRtcClientBuilder {
    builder.receive(ReceiveMode::Pcm)
}

fn ordered(builder: DiscordRtcClientBuilder) -> DiscordRtcClientBuilder {
    builder.receive(ReceiveMode::Opus)
}

/// What a user is heard to say in this time.
async fn listen(stream: &mut AudioStream, of: &Member, time: Duration) -> Vec<f32> {
    let mut samples = Vec::new();
    let _ = tokio::time::timeout(time, async {
        while let Some(packet) = stream.next().await {
            let frame = packet.pcm().unwrap();
            assert_eq!((frame.channels, frame.len()), (Channels::Stereo, 960));
            if packet.user_id == of.user_id {
                samples.extend_from_slice(&frame.samples);
            }
        }
    })
    .await;
    samples
}

/// The amplitude of a frequency in mono samples at 48 kHz (Goertzel's algorithm).
fn goertzel(samples: &[f32], frequency: f32) -> f32 {
    let factor = 2.0 * (f64::from(TAU) * f64::from(frequency) / 48_000.0).cos();
    let (mut before, mut last) = (0.0f64, 0.0f64);
    for &sample in samples {
        (before, last) = (last, f64::from(sample) + factor * last - before);
    }
    let power = last * last + before * before - factor * last * before;
    (2.0 * power.max(0.0).sqrt() / samples.len().max(1) as f64) as f32
}

fn channel(samples: &[f32], index: usize) -> Vec<f32> {
    samples.iter().copied().skip(index).step_by(2).collect()
}

/// How loud 440, 880 and 1320 Hz are, left and right: the median of tenths of a second, since a frame that is left out
/// or put in shifts the phase.
fn spectrum(samples: &[f32]) -> [[f32; 3]; 2] {
    [0, 1].map(|side| {
        let side = channel(samples, side);
        [440.0, 880.0, 1320.0].map(|frequency| {
            let pieces = side.chunks_exact(4_800);
            let mut loudness: Vec<f32> = pieces.map(|piece| goertzel(piece, frequency)).collect();
            loudness.sort_by(f32::total_cmp);
            loudness[loudness.len() / 2]
        })
    })
}

async fn stereo(seed: u64, faults: MediaFaults, floor: f32) {
    let mut room = Room::new(seed);
    let alice = room.join("alice", plain).await;
    let bob = room.join("bob", pcm).await;
    room.sim.set_media_faults(faults);
    let mut heard = bob.client.audio();
    alice.client.play(Tone::new(440.0, 880.0));
    // The two find each other's keys meanwhile.
    listen(&mut heard, &alice, Duration::from_secs(2)).await;
    let samples = listen(&mut heard, &alice, Duration::from_secs(4)).await;
    let seconds = samples.len() as f32 / 96_000.0;
    assert!((3.8..=4.2).contains(&seconds), "{seconds} s were heard");
    let [left, right] = spectrum(&samples);
    assert!(left[0] > floor && right[1] > floor, "{left:?} {right:?}");
    let wrong = left[1].max(left[2]).max(right[0]).max(right[2]);
    assert!(wrong < 0.02, "{left:?} {right:?}");
    let media = room.sim.media();
    assert_eq!(media[&alice.bot.user_id].clear, 0);
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn stereo_arrives_each_side_in_its_ear() {
    stereo(20, MediaFaults::default(), 0.22).await;
}

#[tokio::test(start_paused = true)]
async fn stereo_arrives_with_5_percent_lost_and_some_out_of_order() {
    let mut faults = MediaFaults::loss(0.05);
    faults.loss_in = 0.0;
    faults.reorder = 0.1;
    faults.duplicate = 0.05;
    faults.padding = 0.1;
    faults.all_padding = 0.05;
    faults.extension = 0.5;
    stereo(21, faults, 0.19).await;
}

#[tokio::test(start_paused = true)]
async fn two_who_talk_at_once_are_heard_apart_and_mixed() {
    let mut room = Room::new(22);
    let alice = room.join("alice", plain).await;
    let bob = room.join("bob", plain).await;
    let carol = room.join("carol", pcm).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (mut heard, mut mixed) = (carol.client.audio(), carol.client.mixed_audio());
    alice.client.play(Tone::new(440.0, 440.0));
    bob.client.play(Tone::new(880.0, 880.0));
    let together = tokio::spawn(async move {
        let mut samples = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(3), async {
            while let Some(frame) = mixed.next().await {
                samples.extend_from_slice(&frame.samples);
            }
        })
        .await;
        samples
    });
    let samples = listen(&mut heard, &alice, Duration::from_secs(3)).await;
    let [left, _] = spectrum(&samples);
    assert!(left[0] > 0.2 && left[1] < 0.02, "{left:?}");
    let [left, right] = spectrum(&together.await.unwrap());
    assert!(left[0] > 0.2 && left[1] > 0.2 && right[1] > 0.2, "{left:?}");
    assert!(left[2] < 0.02, "{left:?}");
    assert!(heard.jitter_stats(alice.user_id).unwrap().played > 100);
    assert!(heard.playout_stats(bob.user_id).is_some());
    assert!(heard.jitter_stats(carol.user_id).is_none());
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn opus_frames_come_in_order_and_losses_are_told() {
    let mut room = Room::new(23);
    let alice = room.join("alice", plain).await;
    let bob = room.join("bob", ordered).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut faults = MediaFaults::loss(0.1);
    faults.loss_in = 0.0;
    faults.reorder = 0.2;
    faults.duplicate = 0.2;
    room.sim.set_media_faults(faults);
    let mut heard = bob.client.audio();
    let (numbers, ()) = tokio::join!(
        async {
            let mut numbers = Vec::new();
            let mut lost = 0;
            while let Ok(Some(packet)) =
                tokio::time::timeout(Duration::from_secs(2), heard.next()).await
            {
                match packet.sound {
                    Sound::Opus { sequence, .. } => numbers.push(sequence),
                    Sound::Lost { sequence, .. } => {
                        numbers.push(sequence);
                        lost += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert!((20..=100).contains(&lost), "{lost} of 500");
            numbers
        },
        alice.say(500),
    );
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert!(numbers.len() > 480, "{}", numbers.len());
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn order_costs_the_first_frames_nothing() {
    let mut room = Room::new(24);
    let alice = room.join("alice", plain).await;
    let bob = room.join("bob", ordered).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut heard = bob.client.audio();
    for _ in 0..3 {
        let (places, ()) = tokio::join!(places(&mut heard, &alice), alice.say(20));
        assert_eq!(places, (0..20).collect::<Vec<_>>());
    }
    room.assert_no_complaints();
}
