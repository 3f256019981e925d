//! Which encryption a connection uses, and its key.

use std::fmt;

/// How datagrams to and from the voice server are encrypted (Discord
/// documentation, Voice Connections, Transport Encryption Modes).
///
/// This protects the path to the server. What protects the call from the
/// server is the end-to-end encryption above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EncryptionMode {
    /// `aead_aes256_gcm_rtpsize`: preferred, and not offered by every server.
    AeadAes256GcmRtpSize,
    /// `aead_xchacha20_poly1305_rtpsize`: offered by every server.
    AeadXChaCha20Poly1305RtpSize,
    /// `xsalsa20_poly1305`: Discord switched it off on 18 November 2024. Taken
    /// only where a server offers nothing better. It authenticates no header,
    /// and RTCP is neither sent nor read with it.
    #[cfg(feature = "xsalsa20")]
    XSalsa20Poly1305,
}

impl EncryptionMode {
    /// All modes of this build, the best first.
    pub const PREFERENCE: &'static [Self] = &[
        Self::AeadAes256GcmRtpSize,
        Self::AeadXChaCha20Poly1305RtpSize,
        #[cfg(feature = "xsalsa20")]
        Self::XSalsa20Poly1305,
    ];

    /// The name in the voice gateway's messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::AeadAes256GcmRtpSize => "aead_aes256_gcm_rtpsize",
            Self::AeadXChaCha20Poly1305RtpSize => "aead_xchacha20_poly1305_rtpsize",
            #[cfg(feature = "xsalsa20")]
            Self::XSalsa20Poly1305 => "xsalsa20_poly1305",
        }
    }

    /// The mode of that name; `None` for names that are unknown or that this
    /// build does not speak.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::PREFERENCE
            .iter()
            .copied()
            .find(|mode| mode.name() == name)
    }

    /// The best of the offered modes. Names that are unknown, legacy or not
    /// part of this build are passed over; `None` where no other is left.
    pub fn choose<S: AsRef<str>>(offered: &[S]) -> Option<Self> {
        Self::PREFERENCE
            .iter()
            .copied()
            .find(|mode| offered.iter().any(|name| name.as_ref() == mode.name()))
    }
}

impl fmt::Display for EncryptionMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The key that a Session Description gives for one connection. `Debug` does
/// not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct TransportKey([u8; 32]);

impl TransportKey {
    /// A key of 32 bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TransportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TransportKey(redacted)")
    }
}
