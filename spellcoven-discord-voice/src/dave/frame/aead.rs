//! AES-128-GCM with its tag cut to 8 bytes.

use ring::aead;

use super::super::ratchet::GenerationKey;

/// Length of the cut tag, in bytes.
pub(super) const TAG_LEN: usize = 8;

/// One generation's cipher.
pub(super) struct FrameCipher(aead::LessSafeKey);

impl FrameCipher {
    pub(super) fn new(key: &GenerationKey) -> Option<Self> {
        let key = aead::UnboundKey::new(&aead::AES_128_GCM, &key.0).ok()?;
        Some(Self(aead::LessSafeKey::new(key)))
    }

    /// Encrypts in place and gives the cut tag. `None` only beyond AES-GCM's own limit of 64 GB.
    pub(super) fn seal(&self, counter: u32, aad: &[u8], data: &mut [u8]) -> Option<[u8; TAG_LEN]> {
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce(counter), aead::Aad::from(aad), data)
            .ok()?;
        tag.as_ref().first_chunk().copied()
    }

    /// Decrypts `data` in place, `scratch` being space to work in. If the tag does not match, `data` holds nothing of
    /// use and must not be handed out.
    ///
    /// ring opens only with the whole tag of 16 bytes, of which 8 have been sent. But GCM encrypts with a key stream:
    /// to seal the ciphertext is to decrypt it, and to seal the plaintext so found gives the tag that its sender had.
    /// This is sound: both runs have the same key, nonce and associated data, so that the key stream is the one that
    /// the sender used, and no new one is spent; the tag of the first run, the only thing made here that no sender
    /// made, is dropped unseen; and the plaintext is released only when the second tag's first 8 bytes, compared in
    /// constant time, are those received. What can be forged is what 8 bytes of tag allow in any other implementation.
    pub(super) fn open(
        &self,
        counter: u32,
        aad: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG_LEN],
        scratch: &mut Vec<u8>,
    ) -> bool {
        if self.seal(counter, aad, data).is_none() {
            return false;
        }
        scratch.clear();
        scratch.extend_from_slice(data);
        let Some(expected) = self.seal(counter, aad, scratch) else {
            return false;
        };
        // One comparison of 64 bits: its time does not depend on where they differ.
        u64::from_ne_bytes(expected) ^ u64::from_ne_bytes(*tag) == 0
    }
}

/// 8 zeros, then the counter in little endian (libdave copies it from memory).
fn nonce(counter: u32) -> aead::Nonce {
    let mut bytes = [0; aead::NONCE_LEN];
    for (to, from) in bytes.iter_mut().skip(8).zip(counter.to_le_bytes()) {
        *to = from;
    }
    aead::Nonce::assume_unique_for_key(bytes)
}
