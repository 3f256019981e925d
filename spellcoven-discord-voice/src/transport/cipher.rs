//! The ciphers of the modes, on bytes that already lie where they belong.

use chacha20poly1305::{AeadInPlace, KeyInit, XChaCha20Poly1305, XNonce};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

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
    XChaCha(XChaCha20Poly1305),
}

impl RtpSizeCipher {
    fn aes(key: &TransportKey) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key.bytes())
            .expect("AES-256 takes a key of 32 bytes, which the type guarantees");
        Self::Aes(LessSafeKey::new(key))
    }

    fn xchacha(key: &TransportKey) -> Self {
        Self::XChaCha(XChaCha20Poly1305::new(key.bytes().into()))
    }

    /// Encrypts `body` in place; `clear` is authenticated with it.
    pub(super) fn seal(
        &self,
        counter: [u8; COUNTER],
        clear: &[u8],
        body: &mut [u8],
    ) -> Result<[u8; TAG], CipherFailed> {
        match self {
            Self::Aes(key) => {
                let tag = key
                    .seal_in_place_separate_tag(aes_nonce(counter), Aad::from(clear), body)
                    .map_err(|_| CipherFailed)?;
                tag.as_ref().try_into().map_err(|_| CipherFailed)
            }
            Self::XChaCha(key) => key
                .encrypt_in_place_detached(&xchacha_nonce(counter), clear, body)
                .map(Into::into)
                .map_err(|_| CipherFailed),
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
            Self::Aes(key) => key
                .open_in_place(aes_nonce(counter), Aad::from(clear), body)
                .map(|plain| plain.len())
                .map_err(|_| CipherFailed),
            Self::XChaCha(key) => {
                let (body, tag) = body.split_last_chunk_mut::<TAG>().ok_or(CipherFailed)?;
                key.decrypt_in_place_detached(&xchacha_nonce(counter), clear, body, (&*tag).into())
                    .map(|()| body.len())
                    .map_err(|_| CipherFailed)
            }
        }
    }
}

fn aes_nonce([a, b, c, d]: [u8; COUNTER]) -> Nonce {
    Nonce::assume_unique_for_key([a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0])
}

fn xchacha_nonce(counter: [u8; COUNTER]) -> XNonce {
    let mut nonce = XNonce::default();
    for (to, from) in nonce.iter_mut().zip(counter) {
        *to = from;
    }
    nonce
}

/// A mode with its key.
#[expect(
    clippy::large_enum_variant,
    reason = "one per connection and direction; a box would cost a jump per packet"
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
