//! The keys of one sender in one epoch.
//!
//! DAVE white paper, "Sender Key Derivation"; RFC 9420, 9.1. The exporter gives 16 bytes for each member; each step of
//! the ratchet gives a 16-byte AES key and the next secret, of 32 bytes. (The first secret is shorter than the hash,
//! which stock MLS libraries refuse, hence this code.)

use std::fmt;

use ring::{digest, hmac};

/// Length of an AES-128 key and of the exported secret, in bytes.
pub(crate) const KEY_LEN: usize = 16;
/// Length of every secret but the first, in bytes.
const SECRET_LEN: usize = 32;

/// The first secret of one sender in one epoch, from which the keys of all generations follow.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeyRatchet {
    secret: [u8; KEY_LEN],
}

impl KeyRatchet {
    /// From what the MLS exporter gave for this member.
    pub(crate) fn new(secret: [u8; KEY_LEN]) -> Self {
        Self { secret }
    }

    /// Names the key domain without giving its secret away: the same exporter secret has the same name.
    pub(crate) fn domain(&self) -> Domain {
        let digest = digest::digest(&digest::SHA256, &self.secret);
        Domain(digest.as_ref().first_chunk().copied().unwrap_or_default())
    }

    /// The keys from generation 0 on.
    pub(crate) fn generations(&self) -> Generations {
        Generations {
            secret: Secret::First(self.secret),
            next: 0,
        }
    }
}

impl fmt::Debug for KeyRatchet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRatchet(<redacted>)")
    }
}

/// Name of a key domain (one sender, one epoch).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Domain([u8; 16]);

/// One generation's AES-128 key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct GenerationKey(pub(super) [u8; KEY_LEN]);

impl fmt::Debug for GenerationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GenerationKey(<redacted>)")
    }
}

/// Walks the ratchet. It only goes forward: a secret is gone once its step is made.
pub(crate) struct Generations {
    secret: Secret,
    next: u32,
}

enum Secret {
    First([u8; KEY_LEN]),
    Later([u8; SECRET_LEN]),
}

impl Generations {
    /// Number of the generation whose key [`Generations::step`] gives next.
    pub(crate) fn next_generation(&self) -> u32 {
        self.next
    }

    /// The next generation's key.
    pub(crate) fn step(&mut self) -> GenerationKey {
        let secret = match &self.secret {
            Secret::First(secret) => secret.as_slice(),
            Secret::Later(secret) => secret.as_slice(),
        };
        let key = derive_tree_secret(secret, b"key", self.next);
        let next = derive_tree_secret(secret, b"secret", self.next);
        self.secret = Secret::Later(next);
        self.next = self.next.wrapping_add(1);
        GenerationKey(key)
    }
}

impl fmt::Debug for Generations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generations")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

/// `DeriveTreeSecret(secret, label, generation, N)` of RFC 9420, 9: `ExpandWithLabel` with the generation as context.
///
/// N is at most 32, so HKDF-Expand (RFC 5869, 2.3) is its first block: one HMAC over the label and the byte 1.
fn derive_tree_secret<const N: usize>(secret: &[u8], label: &[u8], generation: u32) -> [u8; N] {
    const PREFIX: &[u8] = b"MLS 1.0 ";
    const { assert!(N <= 32, "one block of SHA-256") };

    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    // struct KDFLabel { uint16 length; opaque label<V>; opaque context<V>; }, all lengths below 64: one byte each.
    context.update(&(N as u16).to_be_bytes());
    context.update(&[(PREFIX.len() + label.len()) as u8]);
    context.update(PREFIX);
    context.update(label);
    context.update(&[4]);
    context.update(&generation.to_be_bytes());
    context.update(&[1]);
    let block = context.sign();

    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(block.as_ref()) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting() -> KeyRatchet {
        KeyRatchet::new(std::array::from_fn(|i| i as u8))
    }

    /// Computed from RFC 9420 and the white paper alone with another library.
    #[test]
    fn keys_follow_the_vectors() {
        let mut generations = counting().generations();
        assert_eq!(
            generations.step().0,
            [
                0x58, 0xfc, 0x01, 0x31, 0x08, 0xdb, 0xf9, 0x96, 0xef, 0x65, 0x1e, 0x3f, 0x01, 0x65,
                0x8b, 0xfb
            ]
        );
        let Secret::Later(secret) = &generations.secret else {
            panic!("the ratchet did not step");
        };
        assert_eq!(
            secret,
            &[
                0x7c, 0x9d, 0x1b, 0xc8, 0xb4, 0x34, 0xa8, 0xa2, 0xf8, 0x96, 0x2e, 0x90, 0xcc, 0xf0,
                0x85, 0x59, 0x54, 0x94, 0x24, 0x92, 0x03, 0x55, 0xd3, 0xfc, 0x10, 0x20, 0x40, 0x3f,
                0x88, 0x0a, 0x29, 0x0f
            ]
        );
        assert_eq!(
            generations.step().0,
            [
                0x9c, 0xdd, 0xc0, 0x8f, 0x0c, 0x8a, 0x7c, 0xfe, 0xca, 0xbf, 0xe7, 0x57, 0xdc, 0x33,
                0xb0, 0x39
            ]
        );
        assert_eq!(generations.next_generation(), 2);
    }

    #[test]
    fn domains_differ_as_their_secrets_do() {
        assert_eq!(counting().domain(), counting().domain());
        assert_ne!(counting().domain(), KeyRatchet::new([0; 16]).domain());
    }

    #[test]
    fn nothing_secret_is_printed() {
        let ratchet = KeyRatchet::new([0xab; 16]);
        let mut generations = ratchet.generations();
        let key = generations.step();
        let printed = format!("{ratchet:?} {generations:?} {key:?}");
        assert!(
            !printed.contains("171") && !printed.contains("ab, "),
            "{printed}"
        );
        assert!(printed.contains("redacted"));
    }
}
