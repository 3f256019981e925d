//! What the proofs share: speech of which each frame tells its place and is a tone as well, what is heard of it, and
//! what the clients tell meanwhile.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use spellcoven_discord_sim::{EntryKind, MediaFaults, Sim};
use spellcoven_discord_voice::{
    AudioSource, BoxFuture, ConnectionState, DatagramSocket, DiscordRtcClientBuilder, Id,
    NextFrame, OpusFrame, UdpOptions, UserMarker, VoiceConnector, VoiceEvent, VoiceStream,
    VoiceTrouble,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
    time::Instant,
};

use crate::support::{Member, Room, ToSim, raw};

/// Runs a proof in virtual time, by itself: with the seed it was written with, with `SEED` of the environment, or with
/// `SEEDS` many from its own on.
pub(crate) fn each_seed<F: Future<Output = ()>>(own: u64, proof: impl Fn(u64) -> F) {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => own..own + number("SEEDS").unwrap_or(1),
    };
    for seed in seeds {
        // The room prints it.
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(proof(seed));
    }
}

/// Nothing that was sent so far was in the clear, and no nonce was used twice.
#[track_caller]
pub(crate) fn assert_sealed(room: &Room) {
    for (user, media) in room.sim.media() {
        let counts = (
            media.clear,
            media.clear_in_dave_call,
            media.reused_counters,
            media.before_speaking,
        );
        assert_eq!(counts, (0, 0, 0, 0), "user {user}: {media:?}");
    }
    let journal = room.sim.journal();
    let clear = journal
        .entries()
        .iter()
        .find(|entry| matches!(entry.what, EntryKind::ClearMedia { .. }));
    assert!(clear.is_none(), "{clear:?}");
}

/// One way between a client and its voice server.
const WAY: Duration = Duration::from_millis(25);

/// A client's network: the simulator is as far away as a voice server, 50 ms there and back, and its voice gateway can be
/// out of reach.
#[derive(Clone)]
pub(crate) struct Far {
    to_sim: ToSim,
    shut: Arc<AtomicBool>,
}

impl Far {
    pub(crate) fn new(sim: &Sim) -> Self {
        // Datagrams to the server are there at once: both ways take as long as one of them each.
        let mut faults = MediaFaults::default();
        faults.delay_ms = 2 * WAY.as_millis() as u64;
        sim.set_media_faults(faults);
        Self {
            to_sim: ToSim(sim.clone()),
            shut: Arc::default(),
        }
    }

    /// A client over this network, which receives frames as they come.
    pub(crate) fn raw(&self, builder: DiscordRtcClientBuilder) -> DiscordRtcClientBuilder {
        raw(builder).connector(self.clone())
    }

    /// Whether the voice gateway is out of reach, for new connections.
    pub(crate) fn shut(&self, shut: bool) {
        self.shut.store(shut, Ordering::Relaxed);
    }
}

impl VoiceConnector for Far {
    fn dial(&self, url: &http::Uri) -> BoxFuture<'_, io::Result<Box<dyn VoiceStream>>> {
        let dial = VoiceConnector::dial(&self.to_sim, url);
        let shut = self.shut.load(Ordering::Relaxed);
        Box::pin(async move {
            if shut {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            // TCP and TLS.
            tokio::time::sleep(4 * WAY).await;
            let (server, (near, far)) = (dial.await?, tokio::io::duplex(1 << 16));
            let (from_server, to_server) = tokio::io::split(server);
            let (from_client, to_client) = tokio::io::split(far);
            carry(from_server, to_client);
            carry(from_client, to_server);
            Ok(Box::new(near) as Box<dyn VoiceStream>)
        })
    }

    fn udp(
        &self,
        remote: SocketAddr,
        options: UdpOptions,
    ) -> BoxFuture<'_, io::Result<Box<dyn DatagramSocket>>> {
        self.to_sim.udp(remote, options)
    }
}

/// Carries all bytes over, each [`WAY`] later.
fn carry(
    mut from: impl AsyncRead + Send + Unpin + 'static,
    mut to: impl AsyncWrite + Send + Unpin + 'static,
) {
    let (sender, mut receiver) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        let mut buffer = vec![0; 1 << 14];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let bytes = buffer[..length].to_vec();
            if sender.send((Instant::now() + WAY, bytes)).is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((due, bytes)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
}

/// Speech of which each frame tells its place, and with libopus a tone for each ear.
///
/// The place is in the padding of the Opus packet (RFC 6716, 3.2.5), which decoders skip.
pub(crate) struct Speech {
    /// One second, which can be repeated.
    second: Arc<[OpusFrame]>,
    next: u32,
    end: u32,
}

impl Speech {
    /// Without end, for each ear so many cycles a second.
    pub(crate) fn endless(left: u16, right: u16) -> Self {
        Self {
            second: second(left, right),
            next: 0,
            end: u32::MAX,
        }
    }

    /// So many frames.
    pub(crate) fn frames(left: u16, right: u16, frames: u32) -> Self {
        Self {
            end: frames,
            ..Self::endless(left, right)
        }
    }

    /// The place of a frame, if it is one of these.
    fn place(frame: &OpusFrame) -> Option<u32> {
        let [toc, 0x41, 4, .., a, b, c, d] = frame.data[..] else {
            return None;
        };
        (toc & 3 == 3).then_some(u32::from_be_bytes([a, b, c, d]))
    }
}

impl AudioSource for Speech {
    fn next_frame(&mut self) -> NextFrame {
        if self.next == self.end {
            return NextFrame::End;
        }
        let place = self.next;
        self.next += 1;
        let frame = &self.second[place as usize % self.second.len()];
        let (toc, rest) = frame.data.split_first().unwrap();
        assert_eq!(toc & 3, 0, "one frame in a packet");
        // Code 3: one frame, of a size that is not told, and four bytes of padding.
        let mut data = vec![toc | 3, 0x41, 4];
        data.extend_from_slice(rest);
        data.extend_from_slice(&place.to_be_bytes());
        NextFrame::Frame(OpusFrame::from_packet(data).unwrap())
    }
}

#[cfg(feature = "opus")]
fn second(left: u16, right: u16) -> Arc<[OpusFrame]> {
    let frames = crate::audio_support::tone_frames(left.into(), right.into(), 100);
    // The second of two, so that it goes on where it ends.
    frames[50..].into()
}

#[cfg(not(feature = "opus"))]
fn second(left: u16, right: u16) -> Arc<[OpusFrame]> {
    let [a, b, c, d] = [left.to_be_bytes(), right.to_be_bytes()].concat()[..] else {
        unreachable!("four bytes")
    };
    let frame = OpusFrame::from_packet(vec![0x78, a, b, c, d]).unwrap();
    vec![frame; 50].into()
}

/// One frame as it was heard.
#[derive(Clone)]
pub(crate) struct Note {
    pub(crate) at: Instant,
    from: Id<UserMarker>,
    pub(crate) place: u32,
    #[cfg_attr(
        not(feature = "opus"),
        expect(dead_code, reason = "nothing is decoded without libopus")
    )]
    frame: OpusFrame,
}

/// Keeps what a member hears, and what their client tells. The member receives raw frames.
pub(crate) struct Ears {
    notes: Arc<Mutex<Vec<Note>>>,
    events: Arc<Mutex<Vec<(Instant, VoiceEvent)>>>,
}

impl Ears {
    pub(crate) fn of(member: &Member) -> Self {
        let (mut audio, mut told) = (member.client.audio(), member.client.events());
        let (notes, events) = (Arc::default(), Arc::default());
        let ears = Self {
            notes: Arc::clone(&notes),
            events: Arc::clone(&events),
        };
        tokio::spawn(async move {
            while let Some(packet) = audio.next().await {
                let Some(frame) = packet.opus() else { continue };
                let Some(place) = Speech::place(frame) else {
                    continue;
                };
                notes.lock().unwrap().push(Note {
                    at: Instant::now(),
                    from: packet.user_id,
                    place,
                    frame: frame.clone(),
                });
            }
        });
        tokio::spawn(async move {
            while let Some(event) = told.next().await {
                events.lock().unwrap().push((Instant::now(), event));
            }
        });
        ears
    }

    /// What was heard of a member from a moment on.
    pub(crate) fn heard(&self, of: &Member, since: Instant) -> Heard {
        let notes = self.notes.lock().unwrap();
        let heard = notes
            .iter()
            .filter(|note| note.from == of.user_id && note.at >= since);
        Heard(heard.cloned().collect())
    }

    /// What the client told from a moment on, without those who talk and how the call stands with each other.
    pub(crate) fn told(&self, since: Instant) -> Vec<VoiceEvent> {
        let events = self.events.lock().unwrap();
        let told = events.iter().filter(|(at, event)| {
            *at >= since
                && !matches!(
                    event,
                    VoiceEvent::Talking { .. }
                        | VoiceEvent::Quiet { .. }
                        | VoiceEvent::Speaking { .. }
                )
        });
        told.map(|(_, event)| event.clone()).collect()
    }
}

/// What was heard of someone, in the order in which it came.
pub(crate) struct Heard(pub(crate) Vec<Note>);

impl Heard {
    pub(crate) fn places(&self) -> Vec<u32> {
        self.0.iter().map(|note| note.place).collect()
    }

    /// The longest time for which nothing came, 20 ms for the frame that sounds meanwhile taken off, and what came after
    /// it.
    pub(crate) fn silence(&self) -> (Duration, Option<&Note>) {
        let gaps = self.0.windows(2).filter_map(|pair| {
            let [before, after] = pair else { return None };
            Some((after.at - before.at, after))
        });
        // The first of the longest: nearly all are 20 ms.
        let longest = gaps.reduce(|longest, gap| if gap.0 > longest.0 { gap } else { longest });
        match longest {
            Some((gap, after)) => (gap.saturating_sub(Duration::from_millis(20)), Some(after)),
            None => (Duration::ZERO, None),
        }
    }

    /// Frames between the first and the last one that were never heard.
    pub(crate) fn lost(&self) -> usize {
        let (first, last) = (
            self.0.iter().map(|note| note.place).min(),
            self.0.iter().map(|note| note.place).max(),
        );
        let (Some(first), Some(last)) = (first, last) else {
            return 0;
        };
        let mut places = self.places();
        places.sort_unstable();
        places.dedup();
        (last - first) as usize + 1 - places.len()
    }

    /// Says it, and gives silence in milliseconds and frames lost.
    pub(crate) fn tell(&self, what: &str) -> (u128, usize) {
        let ((silence, _), lost) = (self.silence(), self.lost());
        let silence = silence.as_millis();
        println!(
            "{what}: {} frames heard, {lost} lost, silence of {silence} ms",
            self.0.len()
        );
        (silence, lost)
    }

    /// Half a second of speech right after the longest silence has these tones, and no others of the tests', and so has
    /// the last half second. Without libopus it is enough that it was there.
    #[track_caller]
    pub(crate) fn assert_tone_after(&self, left: u16, right: u16) {
        let (_, after) = self.silence();
        let last = self.0.last().map_or(0, |note| note.place);
        for from in [after.map_or(0, |note| note.place), last.saturating_sub(29)] {
            self.assert_tone_at(from, left, right);
        }
    }

    #[track_caller]
    fn assert_tone_at(&self, from: u32, left: u16, right: u16) {
        let notes: Vec<&Note> = self
            .0
            .iter()
            .filter(|note| (from..from + 30).contains(&note.place))
            .collect();
        assert!(notes.len() >= 28, "{} frames from {from} on", notes.len());
        #[cfg(feature = "opus")]
        {
            let frames: Vec<OpusFrame> = notes.iter().map(|note| note.frame.clone()).collect();
            let samples = crate::audio_support::decode(&frames);
            // A decoder that begins needs a frame or two.
            assert_stereo(&samples[2 * 2 * 960..], left, right, 0.3);
        }
        #[cfg(not(feature = "opus"))]
        let _ = (left, right);
    }
}

/// Interleaved stereo has one tone in each ear, at least so loud, and of the tests' other tones nothing.
#[cfg(feature = "opus")]
#[track_caller]
pub(crate) fn assert_stereo(samples: &[f32], left: u16, right: u16, floor: f32) {
    const TONES: [u16; 5] = [440, 660, 880, 1320, 1760];
    for (side, wanted) in [left, right].into_iter().enumerate() {
        let side = crate::dsp::channel(samples, 2, side);
        for tone in TONES {
            // The median of tenths of a second, since a frame that is left out or put in shifts the phase.
            let mut loudness: Vec<f32> = side
                .chunks_exact(4_800)
                .map(|piece| crate::dsp::goertzel(piece, f32::from(tone)))
                .collect();
            assert!(!loudness.is_empty(), "less than a tenth of a second");
            loudness.sort_by(f32::total_cmp);
            let loudness = loudness[loudness.len() / 2];
            let right = if tone == wanted {
                loudness > floor
            } else {
                loudness < 0.02
            };
            assert!(right, "{tone} Hz at {loudness} where {wanted} Hz belong");
        }
    }
}

/// The states among what was told.
pub(crate) fn states(told: &[VoiceEvent]) -> Vec<ConnectionState> {
    let states = told.iter().filter_map(|event| match event {
        VoiceEvent::State(state) => Some(*state),
        _ => None,
    });
    states.collect()
}

/// What went wrong, as it was told.
pub(crate) fn troubles(told: &[VoiceEvent]) -> Vec<String> {
    let troubles = told.iter().filter_map(|event| match event {
        VoiceEvent::Trouble(VoiceTrouble::LinkLost { code, reaction }) => {
            Some(format!("lost {code:?} {reaction:?}"))
        }
        VoiceEvent::Trouble(trouble) => Some(trouble.to_string()),
        VoiceEvent::Ended(why) => Some(format!("ended: {why}")),
        _ => None,
    });
    troubles.collect()
}
