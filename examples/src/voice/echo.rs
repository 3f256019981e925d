//! What was heard, said again a second later.

use std::time::Duration;

use spellcoven_discord_voice::{
    AudioSource, CodecError, EncoderConfig, NextFrame, OpusEncoder, PcmFrame,
};
use tokio::{sync::mpsc, time::Instant};

/// How long after it was heard a frame is said.
pub const DELAY: Duration = Duration::from_secs(1);
/// Frames that wait: two seconds of them. More are left out, which happens only while the call is being reconnected.
const WAITING: usize = 100;
/// Frames further apart than this are two stretches of sound, and so is what is said.
const PAUSE: Duration = Duration::from_millis(60);
/// Frames older than this are not worth saying any more.
const STALE: Duration = Duration::from_millis(1500);

/// A delay line: put in what is heard ([`hear`](Ear::hear)), play the [`Echo`].
///
/// # Errors
/// libopus refuses to start.
pub fn echo() -> Result<(Ear, Echo), CodecError> {
    let (sender, heard) = mpsc::channel(WAITING);
    let echo = Echo {
        heard,
        front: None,
        said: None,
        encoder: OpusEncoder::new(EncoderConfig::music())?,
    };
    Ok((Ear(sender), echo))
}

/// The line's entrance. When it is dropped the echo ends.
pub struct Ear(mpsc::Sender<(Instant, PcmFrame)>);

impl Ear {
    /// Takes 20 ms of stereo that have just been heard.
    pub fn hear(&self, frame: PcmFrame) {
        // Where the line is full, what is newest is left out: see `WAITING`.
        let _ = self.0.try_send((Instant::now(), frame));
    }
}

/// The line's exit: a source of audio for a call.
pub struct Echo {
    heard: mpsc::Receiver<(Instant, PcmFrame)>,
    front: Option<(Instant, PcmFrame)>,
    /// When the frame that was said last had been heard.
    said: Option<Instant>,
    encoder: OpusEncoder,
}

impl AudioSource for Echo {
    fn next_frame(&mut self) -> NextFrame {
        let now = Instant::now();
        loop {
            if self.front.is_none() {
                self.front = match self.heard.try_recv() {
                    Ok(frame) => Some(frame),
                    Err(mpsc::error::TryRecvError::Empty) => return NextFrame::Idle,
                    Err(mpsc::error::TryRecvError::Disconnected) => return NextFrame::End,
                };
            }
            let Some((at, _)) = &self.front else {
                return NextFrame::Idle;
            };
            // The first frame of a stretch waits for its time. The others follow at the call's own beat, so that what
            // the network does to their times is not heard.
            let follows = self.said.is_some_and(|said| *at < said + PAUSE);
            if !follows && now < *at + DELAY {
                return NextFrame::Idle;
            }
            let Some((at, frame)) = self.front.take() else {
                return NextFrame::Idle;
            };
            if now > at + STALE {
                continue;
            }
            self.said = Some(at);
            return match self.encoder.encode(&frame.samples) {
                Ok(frame) => NextFrame::Frame(frame),
                Err(error) => {
                    tracing::warn!(%error, "20 ms of the echo cannot be encoded");
                    NextFrame::Idle
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use spellcoven_discord_voice::Channels;

    use super::*;

    const BEAT: Duration = Duration::from_millis(20);

    fn frame() -> PcmFrame {
        PcmFrame {
            channels: Channels::Stereo,
            samples: vec![0.1; 1920],
        }
    }

    fn says(echo: &mut Echo) -> bool {
        matches!(echo.next_frame(), NextFrame::Frame(_))
    }

    #[tokio::test(start_paused = true)]
    async fn frames_come_a_second_later_and_pauses_stay_pauses() {
        let (ear, mut echo) = echo().unwrap();
        // Ten frames, half a second of nothing, ten more.
        let mut said = Vec::new();
        for beat in 0..120 {
            if beat < 10 || (35..45).contains(&beat) {
                ear.hear(frame());
            }
            if says(&mut echo) {
                said.push(beat);
            }
            tokio::time::advance(BEAT).await;
        }
        let expected: Vec<i32> = (50..60).chain(85..95).collect();
        assert_eq!(said, expected);
        drop(ear);
        assert_eq!(echo.next_frame(), NextFrame::End);
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_come_in_jerks_are_said_at_the_beat() {
        let (ear, mut echo) = echo().unwrap();
        let mut said = Vec::new();
        for beat in 0..100 {
            // Every other beat two at once.
            if beat < 20 && beat % 2 == 0 {
                ear.hear(frame());
                ear.hear(frame());
            }
            if says(&mut echo) {
                said.push(beat);
            }
            tokio::time::advance(BEAT).await;
        }
        let expected: Vec<i32> = (50..70).collect();
        assert_eq!(said, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asked_for_in_time_is_not_said() {
        let (ear, mut echo) = echo().unwrap();
        for _ in 0..2 * WAITING {
            ear.hear(frame());
        }
        tokio::time::advance(STALE + BEAT).await;
        assert_eq!(echo.next_frame(), NextFrame::Idle);
        ear.hear(frame());
        tokio::time::advance(DELAY).await;
        assert!(says(&mut echo));
    }
}
