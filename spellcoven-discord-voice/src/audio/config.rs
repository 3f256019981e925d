//! How audio is encoded.

/// One channel or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Channels {
    /// One channel.
    Mono,
    /// Two channels, left before right.
    #[default]
    Stereo,
}

impl Channels {
    /// 1 or 2.
    pub fn count(self) -> usize {
        match self {
            Channels::Mono => 1,
            Channels::Stereo => 2,
        }
    }
}

/// What the encoder is to favour (RFC 6716, 2.1.1 and libopus).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Application {
    /// Understandable speech. In-band FEC works best here.
    Voip,
    /// Likeness to the original: music.
    #[default]
    Audio,
    /// The least delay, 5 ms instead of 26.5 ms. No in-band FEC and no DTX.
    LowDelay,
}

/// The settings of an Opus encoder. Numbers out of range are brought into it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EncoderConfig {
    /// Default: stereo.
    pub channels: Channels,
    /// Bits for each second, 6,000 to 510,000. Default: 96,000. Discord's channels
    /// allow 8,000 to 384,000, by the guild's boost level.
    pub bitrate: u32,
    /// Default: [`Application::Audio`].
    pub application: Application,
    /// 0 (cheap) to 10 (best). Default: 9.
    pub complexity: u8,
    /// Send with each frame a coarse copy of the one before, so that a receiver
    /// can rebuild a lost one. Works for speech at rates up to about 64 kbit/s,
    /// where the encoder chooses SILK or hybrid; takes effect with
    /// `expected_loss` above 0. Default: false.
    pub fec: bool,
    /// Send next to nothing in silence. Default: false.
    pub dtx: bool,
    /// How much loss to brace for, in percent, 0 to 100. Default: 0.
    pub expected_loss: u8,
}

impl Default for EncoderConfig {
    fn default() -> Self {
        EncoderConfig {
            channels: Channels::Stereo,
            bitrate: 96_000,
            application: Application::Audio,
            complexity: 9,
            fec: false,
            dtx: false,
            expected_loss: 0,
        }
    }
}

impl EncoderConfig {
    /// Stereo music at 96 kbit/s.
    pub fn music() -> EncoderConfig {
        EncoderConfig::default()
    }

    /// Mono speech at 32 kbit/s, with in-band FEC against 10 % of loss.
    pub fn speech() -> EncoderConfig {
        EncoderConfig {
            channels: Channels::Mono,
            bitrate: 32_000,
            application: Application::Voip,
            fec: true,
            expected_loss: 10,
            ..EncoderConfig::default()
        }
    }

    /// Sets [`EncoderConfig::channels`].
    #[must_use]
    pub fn channels(mut self, channels: Channels) -> Self {
        self.channels = channels;
        self
    }

    /// Sets [`EncoderConfig::bitrate`].
    #[must_use]
    pub fn bitrate(mut self, bits_per_second: u32) -> Self {
        self.bitrate = bits_per_second;
        self
    }

    /// Sets [`EncoderConfig::application`].
    #[must_use]
    pub fn application(mut self, application: Application) -> Self {
        self.application = application;
        self
    }

    /// Sets [`EncoderConfig::complexity`].
    #[must_use]
    pub fn complexity(mut self, complexity: u8) -> Self {
        self.complexity = complexity;
        self
    }

    /// Sets [`EncoderConfig::fec`].
    #[must_use]
    pub fn fec(mut self, on: bool) -> Self {
        self.fec = on;
        self
    }

    /// Sets [`EncoderConfig::dtx`].
    #[must_use]
    pub fn dtx(mut self, on: bool) -> Self {
        self.dtx = on;
        self
    }

    /// Sets [`EncoderConfig::expected_loss`].
    #[must_use]
    pub fn expected_loss(mut self, percent: u8) -> Self {
        self.expected_loss = percent;
        self
    }
}
