//! Opus frames that are already at hand.

use std::time::Duration;

use crate::{
    audio::{AudioSource, Input, InputError, NextFrame, Produced, input::time_of},
    media::OpusFrame,
};

/// Opus frames from a list or an iterator, played as they are.
///
/// A list can be sought in, an iterator cannot.
#[derive(Debug)]
pub struct OpusFrames<I = std::iter::Empty<OpusFrame>> {
    inner: Kind<I>,
}

#[derive(Debug)]
enum Kind<I> {
    List { frames: Vec<OpusFrame>, next: usize },
    Iter(I),
}

impl OpusFrames {
    /// Frames in memory.
    pub fn new(frames: impl Into<Vec<OpusFrame>>) -> OpusFrames {
        OpusFrames {
            inner: Kind::List {
                frames: frames.into(),
                next: 0,
            },
        }
    }
}

impl<I: Iterator<Item = OpusFrame> + Send> OpusFrames<I> {
    /// Frames from an iterator, which must not block.
    pub fn iter(frames: impl IntoIterator<IntoIter = I>) -> OpusFrames<I> {
        OpusFrames {
            inner: Kind::Iter(frames.into_iter()),
        }
    }

    fn take(&mut self) -> Option<OpusFrame> {
        match &mut self.inner {
            Kind::List { frames, next } => {
                let frame = frames.get(*next).cloned();
                *next += usize::from(frame.is_some());
                frame
            }
            Kind::Iter(frames) => frames.next(),
        }
    }
}

impl<I: Iterator<Item = OpusFrame> + Send> AudioSource for OpusFrames<I> {
    fn next_frame(&mut self) -> NextFrame {
        self.take().map_or(NextFrame::End, NextFrame::Frame)
    }
}

impl<I: Iterator<Item = OpusFrame> + Send> Input for OpusFrames<I> {
    fn read(&mut self, _: &mut Vec<f32>) -> Result<Produced, InputError> {
        Ok(self
            .take()
            .map_or(Produced::End, |frame| Produced::Opus(frame.into())))
    }

    /// Goes to the start of the frame that sounds at the position.
    fn seek(&mut self, position: u64) -> Result<u64, InputError> {
        let Kind::List { frames, next } = &mut self.inner else {
            return Err(InputError::Unseekable);
        };
        let mut at = 0;
        *next = frames.len();
        for (index, frame) in frames.iter().enumerate() {
            if at + u64::from(frame.samples) > position {
                *next = index;
                break;
            }
            at += u64::from(frame.samples);
        }
        Ok(at)
    }

    fn duration(&self) -> Option<Duration> {
        match &self.inner {
            Kind::List { frames, .. } => Some(time_of(
                frames.iter().map(|frame| u64::from(frame.samples)).sum(),
            )),
            Kind::Iter(_) => None,
        }
    }
}
