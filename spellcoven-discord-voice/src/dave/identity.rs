//! The key that stands for a user.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use davey::SigningKeyPair;
use ring::{rand::SystemRandom, signature};

/// How many users' identities one process remembers.
const MAX_REMEMBERED: usize = 1024;

static REMEMBERED: Mutex<BTreeMap<u64, DaveIdentity>> = Mutex::new(BTreeMap::new());

/// The key pair with which a user's client signs in the group (ECDSA on P-256).
///
/// The verification code that two users compare follows from both their keys, so a user's clients in one process must
/// all have the same one (DAVE white paper, "Consistency of Identity Keypairs"): without a choice of your own, they do.
/// Cloning is cheap. `Debug` shows nothing secret.
#[derive(Clone)]
pub struct DaveIdentity(Arc<SigningKeyPair>);

/// The bytes given are not a P-256 key pair: whoever stored them is at fault. Generate a new identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("these bytes are not a P-256 private key and its uncompressed public key")]
pub struct InvalidIdentity;

impl DaveIdentity {
    /// A new identity.
    pub fn generate() -> Self {
        Self(Arc::new(SigningKeyPair::generate()))
    }

    /// The identity that this process has for this user: made at the first call, the same at each later one.
    ///
    /// A process remembers 1024 users; each call for one more makes a new identity.
    pub fn of_process(user_id: u64) -> Self {
        // Nothing in here can leave the map half changed, so a panic elsewhere does no harm to it.
        let mut remembered = REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(identity) = remembered.get(&user_id) {
            return identity.clone();
        }
        let identity = Self::generate();
        if remembered.len() < MAX_REMEMBERED {
            remembered.insert(user_id, identity.clone());
        }
        identity
    }

    /// A stored identity: the private key (32 bytes, big endian) and the public key (65 bytes, an uncompressed point).
    ///
    /// # Errors
    ///
    /// [`InvalidIdentity`] if the bytes are no key pair, or not a pair.
    pub fn from_key_pair(private: &[u8], public: &[u8]) -> Result<Self, InvalidIdentity> {
        signature::EcdsaKeyPair::from_private_key_and_public_key(
            &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
            private,
            public,
            &SystemRandom::new(),
        )
        .map_err(|_| InvalidIdentity)?;
        Ok(Self(Arc::new(SigningKeyPair {
            private: private.to_vec(),
            public: public.to_vec(),
        })))
    }

    /// The private key (32 bytes, big endian), to store. Whoever has it can pass for this user.
    pub fn private_key(&self) -> &[u8] {
        &self.0.private
    }

    /// The public key (65 bytes, an uncompressed point).
    pub fn public_key(&self) -> &[u8] {
        &self.0.public
    }

    pub(super) fn signing_key(&self) -> &SigningKeyPair {
        &self.0
    }
}

impl fmt::Debug for DaveIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DaveIdentity(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_one_identity_for_each_user() {
        let first = DaveIdentity::of_process(1);
        assert_eq!(first.public_key(), DaveIdentity::of_process(1).public_key());
        assert_ne!(first.public_key(), DaveIdentity::of_process(2).public_key());
    }

    #[test]
    fn a_stored_identity_comes_back_and_damage_is_seen() {
        let made = DaveIdentity::generate();
        let stored = DaveIdentity::from_key_pair(made.private_key(), made.public_key()).unwrap();
        assert_eq!(stored.private_key(), made.private_key());
        let other = DaveIdentity::generate();
        for (private, public) in [
            (made.private_key(), other.public_key()),
            (&[][..], made.public_key()),
            (made.private_key(), &[4; 65][..]),
            (&[0xff; 32][..], made.public_key()),
        ] {
            assert_eq!(
                DaveIdentity::from_key_pair(private, public).err(),
                Some(InvalidIdentity)
            );
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        assert_eq!(
            format!("{:?}", DaveIdentity::generate()),
            "DaveIdentity(<redacted>)"
        );
    }
}
