//! The ciphers of the modes, on bytes that already lie where they belong.

use chacha20::{cipher::consts::U10, hchacha};
use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::mode::{EncryptionMode, TransportKey};

/// The length of every mode's authentication tag.
pub(super) const TAG: usize = 16;
/// The length of the counter at the end of a packet.
pub(super) const COUNTER: usize = 4;

/// Encryption or decryption failed: the bytes are not what they claim to be,
/// or too many.
#[derive(Debug)]
pub(super) struct CipherFailed;

/// One of the two live modes with its key. Both nonces are the four bytes of
/// the counter and then zeros (Discord documentation, Voice Connections,
/// Transport Encryption Modes).
#[expect(
    clippy::large_enum_variant,
    reason = "one per connection and direction; a box would cost a jump per packet"
)]
pub(super) enum RtpSizeCipher {
    Aes(LessSafeKey),
    XChaCha(TransportKey),
}

impl RtpSizeCipher {
    fn aes(key: &TransportKey) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key.bytes())
            .expect("AES-256 takes a key of 32 bytes, which the type guarantees");
        Self::Aes(LessSafeKey::new(key))
    }

    fn xchacha(key: &TransportKey) -> Self {
        Self::XChaCha(key.clone())
    }

    /// Encrypts `body` in place; `clear` is authenticated with it.
    pub(super) fn seal(
        &self,
        counter: [u8; COUNTER],
        clear: &[u8],
        body: &mut [u8],
    ) -> Result<[u8; TAG], CipherFailed> {
        match self {
            Self::Aes(key) => ring_seal(key, aes_nonce(counter), clear, body),
            Self::XChaCha(key) => {
                let (key, nonce) = xchacha(key, counter)?;
                ring_seal(&key, nonce, clear, body)
            }
        }
    }

    /// Decrypts `body`, which ends with the tag, in place. Gives the length of
    /// the plaintext, which lies at the start of `body`.
    pub(super) fn open(
        &self,
        counter: [u8; COUNTER],
        clear: &[u8],
        body: &mut [u8],
    ) -> Result<usize, CipherFailed> {
        match self {
            Self::Aes(key) => ring_open(key, aes_nonce(counter), clear, body),
            Self::XChaCha(key) => {
                let (key, nonce) = xchacha(key, counter)?;
                ring_open(&key, nonce, clear, body)
            }
        }
    }
}

fn ring_seal(
    key: &LessSafeKey,
    nonce: Nonce,
    clear: &[u8],
    body: &mut [u8],
) -> Result<[u8; TAG], CipherFailed> {
    let tag = key
        .seal_in_place_separate_tag(nonce, Aad::from(clear), body)
        .map_err(|_| CipherFailed)?;
    tag.as_ref().try_into().map_err(|_| CipherFailed)
}

fn ring_open(
    key: &LessSafeKey,
    nonce: Nonce,
    clear: &[u8],
    body: &mut [u8],
) -> Result<usize, CipherFailed> {
    key.open_in_place(nonce, Aad::from(clear), body)
        .map(|plain| plain.len())
        .map_err(|_| CipherFailed)
}

fn aes_nonce([a, b, c, d]: [u8; COUNTER]) -> Nonce {
    Nonce::assume_unique_for_key([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0])
}

/// XChaCha20-Poly1305 is ChaCha20-Poly1305 with a key of its own for the first
/// 16 bytes of each nonce, by HChaCha20 (draft-irtf-cfrg-xchacha, 2.3). Of our
/// nonces the counter lies in these; the other 8 are zeros, and so is what goes
/// before them. ring's ChaCha20-Poly1305 takes a fifth of the time that the
/// crate chacha20poly1305 needs for such short packets; tests hold one against
/// the other.
fn xchacha(
    key: &TransportKey,
    [a, b, c, d]: [u8; COUNTER],
) -> Result<(LessSafeKey, Nonce), CipherFailed> {
    let start = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let key = hchacha::<U10>(key.bytes().into(), &start.into());
    let key = UnboundKey::new(&CHACHA20_POLY1305, &key).map_err(|_| CipherFailed)?;
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    Ok((LessSafeKey::new(key), nonce))
}

/// A mode with its key.
#[cfg_attr(
    feature = "xsalsa20",
    expect(
        clippy::large_enum_variant,
        reason = "one per connection and direction; a box would cost a jump per packet"
    )
)]
pub(super) enum Cipher {
    RtpSize(RtpSizeCipher),
    #[cfg(feature = "xsalsa20")]
    Legacy(super::legacy::LegacyCipher),
}

impl Cipher {
    pub(super) fn new(mode: EncryptionMode, key: &TransportKey) -> Self {
        match mode {
            EncryptionMode::AeadAes256GcmRtpSize => Self::RtpSize(RtpSizeCipher::aes(key)),
            EncryptionMode::AeadXChaCha20Poly1305RtpSize => {
                Self::RtpSize(RtpSizeCipher::xchacha(key))
            }
            #[cfg(feature = "xsalsa20")]
            EncryptionMode::XSalsa20Poly1305 => Self::Legacy(super::legacy::LegacyCipher::new(key)),
        }
    }
}
