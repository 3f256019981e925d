//! Opening what one sender sends.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    time::{Duration, Instant},
};

use super::super::{
    keys::Passthrough,
    ratchet::{Domain, GenerationKey, Generations, KeyRatchet},
};
use super::{
    GENERATION_SHIFT, MediaKind, OPUS_SILENCE, aead::FrameCipher, trailer::Sealed,
    window::ReplayWindow,
};

/// How long keys stay good after newer ones have come, of an epoch and of a generation.
const OLD_KEYS: Duration = Duration::from_secs(10);
/// How many generations beyond the newest one seen a frame may be.
const MAX_GENERATION_GAP: u32 = 250;
/// More than anybody sends: 50 audio frames and two videos of 60 a second.
const MAX_FRAMES_PER_SECOND: u64 = 170;
/// How many generations a frame's highest counter byte can tell apart.
const GENERATION_WRAP: u32 = 256;
/// How many epochs' keys are held for one sender; the oldest goes when one more comes. Senders are at most about two
/// seconds behind, so that only a storm of joins with eight epochs a second could need more.
const MAX_EPOCHS: usize = 16;

/// How a frame came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    /// End-to-end encrypted, and authentic.
    Encrypted,
    /// In the clear, as the call allows at this moment; or Opus silence, which anybody may have put in.
    Plain,
}

/// Why a frame was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenFrameError {
    /// No key is held for this sender. It may come: keep the frame for a while and try again after the next change of
    /// keys.
    #[error("no key is held for this sender")]
    UnknownKey,
    /// None of this sender's keys opens it. Its key may be yet to come (a frame does not say which key it has), so it
    /// can be kept and tried again as well; else it is damaged or forged.
    #[error("none of this sender's keys opens the frame")]
    WrongKey,
    /// It is authentic, but has been opened before, or is older than can be told.
    #[error("the frame came before")]
    Replayed,
    /// It is in the clear, which this call does not allow.
    #[error("the frame is not end-to-end encrypted")]
    Plaintext,
}

impl OpenFrameError {
    /// Whether the frame may open once a key has come.
    pub(crate) fn may_wait(self) -> bool {
        matches!(self, Self::UnknownKey | Self::WrongKey)
    }
}

/// Opens one sender's frames, audio and video.
#[derive(Default)]
pub(crate) struct FrameOpener {
    /// Oldest first.
    epochs: VecDeque<EpochKeys>,
    /// The encrypted bytes of a frame, joined, and the clear ones.
    data: Vec<u8>,
    aad: Vec<u8>,
    scratch: Vec<u8>,
}

impl FrameOpener {
    /// Takes one more epoch's keys; those before it stay good for 10 s. Keys that are held already change nothing, so
    /// that their replay window stays.
    pub(crate) fn install(&mut self, now: Instant, ratchet: &KeyRatchet) {
        self.drop_expired(now);
        let domain = ratchet.domain();
        if self.epochs.iter().any(|epoch| epoch.domain == domain) {
            return;
        }
        self.retire(now);
        if self.epochs.len() == MAX_EPOCHS {
            self.epochs.pop_front();
        }
        self.epochs.push_back(EpochKeys::new(now, ratchet, domain));
    }

    /// All keys held stay good for 10 s from now (or less, if they were to go before).
    pub(crate) fn retire(&mut self, now: Instant) {
        let end = now + OLD_KEYS;
        for epoch in &mut self.epochs {
            epoch.expires = Some(epoch.expires.map_or(end, |expires| expires.min(end)));
        }
    }

    /// Opens a frame; `out` is then what its sender encoded. On an error `out` is empty.
    ///
    /// # Errors
    ///
    /// See [`OpenFrameError`].
    pub(crate) fn open(
        &mut self,
        media: MediaKind,
        now: Instant,
        passthrough: Passthrough,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Opened, OpenFrameError> {
        out.clear();
        let sealed = match parse(media, now, passthrough, frame)? {
            Parsed::Plain => {
                out.extend_from_slice(frame);
                return Ok(Opened::Plain);
            }
            Parsed::Sealed(sealed) => sealed,
        };
        self.drop_expired(now);
        if self.epochs.is_empty() {
            return Err(OpenFrameError::UnknownKey);
        }

        self.aad.clear();
        for (offset, size) in sealed.clear_ranges() {
            self.aad
                .extend_from_slice(sealed.body.get(offset..offset + size).unwrap_or_default());
        }
        for epoch in self.epochs.iter_mut().rev() {
            let Some((generation, cipher)) = epoch.cipher(now, sealed.counter) else {
                continue;
            };
            collect_encrypted(&sealed, &mut self.data);
            if cipher.open(
                sealed.counter,
                &self.aad,
                &mut self.data,
                &sealed.tag,
                &mut self.scratch,
            ) {
                if !epoch.accept(now, generation, sealed.counter) {
                    return Err(OpenFrameError::Replayed);
                }
                restore(&sealed, &self.data, out);
                return Ok(Opened::Encrypted);
            }
        }
        Err(OpenFrameError::WrongKey)
    }

    fn drop_expired(&mut self, now: Instant) {
        while self
            .epochs
            .front()
            .is_some_and(|epoch| is_over(epoch.expires, now))
        {
            self.epochs.pop_front();
        }
    }
}

impl fmt::Debug for FrameOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameOpener")
            .field("epochs", &self.epochs.len())
            .finish_non_exhaustive()
    }
}

pub(super) enum Parsed<'a> {
    /// To be handed out as it is.
    Plain,
    Sealed(Sealed<'a>),
}

/// What can be said of a frame without keys.
pub(super) fn parse(
    media: MediaKind,
    now: Instant,
    passthrough: Passthrough,
    frame: &[u8],
) -> Result<Parsed<'_>, OpenFrameError> {
    if media == MediaKind::Audio && frame == OPUS_SILENCE {
        return Ok(Parsed::Plain);
    }
    match Sealed::parse(frame) {
        Some(sealed) => Ok(Parsed::Sealed(sealed)),
        None if passthrough.allows(now) => Ok(Parsed::Plain),
        None => Err(OpenFrameError::Plaintext),
    }
}

/// Joins the encrypted bytes of a frame.
fn collect_encrypted(sealed: &Sealed<'_>, data: &mut Vec<u8>) {
    data.clear();
    let mut at = 0;
    for (offset, size) in sealed.clear_ranges() {
        data.extend_from_slice(sealed.body.get(at..offset).unwrap_or_default());
        at = offset + size;
    }
    data.extend_from_slice(sealed.body.get(at..).unwrap_or_default());
}

/// Puts the decrypted bytes back between the clear ones.
fn restore(sealed: &Sealed<'_>, data: &[u8], out: &mut Vec<u8>) {
    let mut rest = data;
    for (offset, size) in sealed.clear_ranges() {
        let (piece, after) = rest
            .split_at_checked(offset.saturating_sub(out.len()))
            .unwrap_or((rest, &[]));
        out.extend_from_slice(piece);
        out.extend_from_slice(sealed.body.get(offset..offset + size).unwrap_or_default());
        rest = after;
    }
    out.extend_from_slice(rest);
}

fn is_over(end: Option<Instant>, now: Instant) -> bool {
    end.is_some_and(|end| now > end)
}

/// The keys of one epoch.
struct EpochKeys {
    domain: Domain,
    installed: Instant,
    expires: Option<Instant>,
    generations: Generations,
    /// Keys that the ratchet has gone past and nobody has asked for: at most [`MAX_GENERATION_GAP`].
    skipped: BTreeMap<u32, GenerationKey>,
    /// At most [`MAX_GENERATION_GAP`] + 1; nearly always one.
    live: Vec<LiveKey>,
    oldest: u32,
    newest: u32,
    window: ReplayWindow,
}

struct LiveKey {
    generation: u32,
    cipher: FrameCipher,
    expires: Option<Instant>,
}

impl EpochKeys {
    fn new(now: Instant, ratchet: &KeyRatchet, domain: Domain) -> Self {
        Self {
            domain,
            installed: now,
            expires: None,
            generations: ratchet.generations(),
            skipped: BTreeMap::new(),
            live: Vec::new(),
            oldest: 0,
            newest: 0,
            window: ReplayWindow::default(),
        }
    }

    /// The cipher for a frame with this counter, and its generation; `None` if there can be no such frame now.
    fn cipher(&mut self, now: Instant, counter: u32) -> Option<(u32, &FrameCipher)> {
        self.drop_old_generations(now);
        let generation = unwrap_generation(self.oldest, counter >> GENERATION_SHIFT);
        let age = now.saturating_duration_since(self.installed).as_secs();
        let reachable = MAX_FRAMES_PER_SECOND.saturating_mul(age) >> GENERATION_SHIFT;
        if generation < self.oldest
            || generation > self.newest.saturating_add(MAX_GENERATION_GAP)
            || u64::from(generation) > reachable
        {
            return None;
        }
        let index = match self
            .live
            .iter()
            .position(|live| live.generation == generation)
        {
            Some(index) => index,
            None => {
                let cipher = FrameCipher::new(&self.key(generation)?)?;
                self.live.push(LiveKey {
                    generation,
                    cipher,
                    expires: (generation < self.newest).then_some(now + OLD_KEYS),
                });
                self.live.len() - 1
            }
        };
        self.live.get(index).map(|live| (generation, &live.cipher))
    }

    /// Notes that a frame was authentic. Whether it came for the first time.
    fn accept(&mut self, now: Instant, generation: u32, counter: u32) -> bool {
        let low = counter & ((1 << GENERATION_SHIFT) - 1);
        let whole = (u64::from(generation) << GENERATION_SHIFT) | u64::from(low);
        if !self.window.is_fresh(whole) {
            return false;
        }
        self.window.saw(whole);
        if generation > self.newest {
            self.newest = generation;
            for live in &mut self.live {
                if live.generation < generation {
                    live.expires.get_or_insert(now + OLD_KEYS);
                }
            }
        }
        true
    }

    fn key(&mut self, generation: u32) -> Option<GenerationKey> {
        if let Some(key) = self.skipped.remove(&generation) {
            return Some(key);
        }
        while self.generations.next_generation() < generation {
            let skipped = self.generations.next_generation();
            let key = self.generations.step();
            self.skipped.insert(skipped, key);
        }
        // Gone past already, and not kept: a key that has been used up.
        (self.generations.next_generation() == generation).then(|| self.generations.step())
    }

    fn drop_old_generations(&mut self, now: Instant) {
        self.live.retain(|live| !is_over(live.expires, now));
        while self.oldest < self.newest
            && !self.live.iter().any(|live| live.generation == self.oldest)
        {
            self.skipped.remove(&self.oldest);
            self.oldest += 1;
        }
    }
}

/// The generation of a frame of which only the lowest byte is known, taken to be `oldest` or one of the 255 after it.
fn unwrap_generation(oldest: u32, byte: u32) -> u32 {
    let carry = u32::from(byte < oldest % GENERATION_WRAP);
    (oldest / GENERATION_WRAP)
        .saturating_add(carry)
        .saturating_mul(GENERATION_WRAP)
        .saturating_add(byte)
}
