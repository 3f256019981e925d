//! Sealing what is sent.

use std::fmt;

use super::super::{
    keys::SendKey,
    ratchet::{Domain, Generations, KeyRatchet},
};
use super::{Codec, GENERATION_SHIFT, aead::FrameCipher, trailer};

/// How many key domains that are not in use any more have their counters remembered.
const RETIRED_DOMAINS: usize = 4;

/// Seals the frames of one sender: of its audio and of its video, which share keys and counter.
///
/// A new one holds: it seals nothing until [`FrameSealer::apply`] tells it to.
#[derive(Debug)]
pub(crate) struct FrameSealer {
    state: State,
    /// Domains used before, with the counter that each ended with, newest last: should one of them be installed again
    /// (a transition that was announced twice), it goes on counting where it stopped, so that no nonce comes twice.
    retired: Vec<(Domain, u32)>,
}

#[derive(Debug)]
enum State {
    Plain,
    Hold,
    Encrypted(Box<SenderKeys>),
}

struct SenderKeys {
    domain: Domain,
    generations: Generations,
    /// Of `generations.next_generation() - 1`, once there has been one.
    cipher: Option<FrameCipher>,
    /// Of the last frame. The first has 1, as in libdave.
    counter: u32,
}

/// Why a frame was not sealed. Nothing of it may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealFrameError {
    /// There is no key yet. Keep the frame (for a short while) or drop it.
    #[error("there is no key to encrypt this frame with yet")]
    Hold,
    /// All 2^32 − 1 counters of this epoch are used (at 50 frames a second after 2.7 years). The next epoch's key ends
    /// this.
    #[error("this epoch's frame counters are used up")]
    Exhausted,
    /// The frame is too short for its codec: whoever made it is at fault.
    #[error("the frame is too short for its codec")]
    Malformed,
}

impl FrameSealer {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Hold,
            retired: Vec::new(),
        }
    }

    /// From the next frame on.
    pub(crate) fn apply(&mut self, key: SendKey) {
        let ratchet = match key {
            SendKey::Plain => return self.leave(State::Plain),
            SendKey::Hold => return self.leave(State::Hold),
            SendKey::Key(ratchet) => ratchet,
        };
        let domain = ratchet.domain();
        if matches!(&self.state, State::Encrypted(keys) if keys.domain == domain) {
            return;
        }
        self.leave(State::Hold);
        let counter = match self
            .retired
            .iter()
            .position(|(retired, _)| *retired == domain)
        {
            Some(index) => self.retired.remove(index).1,
            None => 0,
        };
        self.state = State::Encrypted(Box::new(SenderKeys::new(&ratchet, domain, counter)));
    }

    /// Whether frames must wait.
    pub(crate) fn holds(&self) -> bool {
        matches!(self.state, State::Hold)
    }

    /// Appends the frame to `out`, sealed (at most [`super::MAX_OVERHEAD`] bytes longer) or, in a call without
    /// end-to-end encryption, as it is.
    ///
    /// Silence is sealed like any other frame, as libdave does: receivers accept it either way.
    ///
    /// # Errors
    ///
    /// See [`SealFrameError`]; `out` is then as it was.
    pub(crate) fn seal(
        &mut self,
        codec: Codec,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealFrameError> {
        match &mut self.state {
            State::Hold => Err(SealFrameError::Hold),
            State::Plain => {
                out.extend_from_slice(frame);
                Ok(())
            }
            State::Encrypted(keys) => keys.seal(codec, frame, out),
        }
    }

    fn leave(&mut self, next: State) {
        if let State::Encrypted(keys) = std::mem::replace(&mut self.state, next) {
            if self.retired.len() == RETIRED_DOMAINS {
                self.retired.remove(0);
            }
            self.retired.push((keys.domain, keys.counter));
        }
    }

    #[cfg(test)]
    pub(crate) fn set_counter(&mut self, counter: u32) {
        if let State::Encrypted(keys) = &mut self.state {
            keys.counter = counter;
        }
    }
}

impl SenderKeys {
    fn new(ratchet: &KeyRatchet, domain: Domain, counter: u32) -> Self {
        Self {
            domain,
            generations: ratchet.generations(),
            cipher: None,
            counter,
        }
    }

    fn seal(
        &mut self,
        codec: Codec,
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealFrameError> {
        let clear = codec.clear_prefix(frame).ok_or(SealFrameError::Malformed)?;
        // Spent before it is used, whatever happens next: a nonce must not come twice.
        let counter = self
            .counter
            .checked_add(1)
            .ok_or(SealFrameError::Exhausted)?;
        self.counter = counter;
        self.turn_to(counter >> GENERATION_SHIFT);
        let cipher = self.cipher.as_ref().ok_or(SealFrameError::Exhausted)?;

        let start = out.len();
        out.extend_from_slice(frame);
        let sealed = out
            .get_mut(start..)
            .and_then(|body| body.split_at_mut_checked(clear))
            .and_then(|(clear, data)| cipher.seal(counter, clear, data));
        let Some(tag) = sealed else {
            out.truncate(start);
            return Err(SealFrameError::Malformed);
        };
        trailer::write(out, &tag, counter, clear);
        Ok(())
    }

    /// At most 256 steps in all the life of an epoch: the generation is the counter's highest byte.
    fn turn_to(&mut self, generation: u32) {
        while self.generations.next_generation() <= generation {
            self.cipher = FrameCipher::new(&self.generations.step());
        }
    }
}

impl fmt::Debug for SenderKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SenderKeys")
            .field("counter", &self.counter)
            .finish_non_exhaustive()
    }
}
