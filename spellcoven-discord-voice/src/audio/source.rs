//! What gives a call its audio.

use crate::media::OpusFrame;

/// Gives Opus frames, one after the other, to whoever paces them into a call.
pub trait AudioSource: Send {
    /// The next frame.
    ///
    /// Called when the frame given last has sounded ([`OpusFrame::samples`]; after
    /// [`NextFrame::Idle`] 20 ms later), so a source needs no clock. Runs where many
    /// calls are paced: must not block, and should be done within a millisecond.
    fn next_frame(&mut self) -> NextFrame;
}

impl<S: AudioSource + ?Sized> AudioSource for Box<S> {
    fn next_frame(&mut self) -> NextFrame {
        (**self).next_frame()
    }
}

/// What a source has to say now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextFrame {
    /// This frame.
    Frame(OpusFrame),
    /// Nothing now, perhaps later. The sender ends the talk with five frames of
    /// silence and asks again 20 ms later.
    Idle,
    /// Nothing any more. The source is dropped.
    End,
}
