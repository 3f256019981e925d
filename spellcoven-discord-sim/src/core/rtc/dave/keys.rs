//! The server's signature key, which is the external sender of every group, and the check of key packages.

use std::fmt;
use std::sync::Arc;

use openmls::prelude::tls_codec::{DeserializeBytes as _, Serialize as _};
use openmls::prelude::{
    BasicCredential, Capabilities, Ciphersuite, CredentialType, CredentialWithKey, ExternalSender,
    KeyPackage, KeyPackageIn, Lifetime, OpenMlsProvider as _, ProtocolVersion, SignatureScheme,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;

/// Version 1's ciphersuite.
///
/// See: DAVE whitepaper, "MLS Parameters".
pub(super) const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256;

/// The identity in the external sender's credential. Discord's is unknown; clients must not look at it.
const SENDER_IDENTITY: [u8; 4] = [0, 1, 1, 0];

/// Begins an MLSMessage that holds a key package: version 1.0, wire format 5.
const WRAPPED_KEY_PACKAGE: [u8; 4] = [0, 1, 0, 5];

/// The voice servers' signature key and the crypto that goes with it. One for a world; cheap to clone.
#[derive(Clone)]
pub(in crate::core) struct ServerKeys(Arc<Inner>);

struct Inner {
    signer: SignatureKeyPair,
    crypto: OpenMlsRustCrypto,
}

impl fmt::Debug for ServerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerKeys(..)")
    }
}

impl ServerKeys {
    /// A new key, from the system's randomness.
    pub(in crate::core) fn generate() -> Self {
        let signer = SignatureKeyPair::new(SignatureScheme::ECDSA_SECP256R1_SHA256)
            .expect("a P-256 key needs nothing but the system's randomness");
        Self(Arc::new(Inner {
            signer,
            crypto: OpenMlsRustCrypto::default(),
        }))
    }

    pub(super) fn signer(&self) -> &SignatureKeyPair {
        &self.0.signer
    }

    pub(super) fn provider(&self) -> &OpenMlsRustCrypto {
        &self.0.crypto
    }

    /// The payload of op 25.
    pub(super) fn external_sender(&self) -> Vec<u8> {
        let sender = ExternalSender::new(
            self.0.signer.public().into(),
            BasicCredential::new(SENDER_IDENTITY.to_vec()).into(),
        );
        sender.tls_serialize_detached().unwrap_or_default()
    }

    /// Reads and checks the key package of `user`, bare as clients send it or wrapped in an MLSMessage as the whitepaper
    /// has it. The error says what is wrong with it.
    ///
    /// See: DAVE whitepaper, "Validation" (of key packages).
    pub(super) fn check_key_package(
        &self,
        user: u64,
        payload: &[u8],
    ) -> Result<KeyPackage, &'static str> {
        let bare = payload
            .strip_prefix(&WRAPPED_KEY_PACKAGE)
            .unwrap_or(payload);
        if !super::wire::is_key_package(bare) {
            return Err("a key package that cannot be read");
        }
        let package = KeyPackageIn::tls_deserialize_exact_bytes(bare)
            .map_err(|_| "a key package that cannot be read")?
            .validate(self.0.crypto.crypto(), ProtocolVersion::Mls10)
            .map_err(|_| "a key package that does not hold (signature or keys)")?;
        if package.ciphersuite() != SUITE {
            return Err("a key package of another ciphersuite");
        }
        let credential = package.leaf_node().credential();
        if credential.credential_type() != CredentialType::Basic {
            return Err("a key package whose credential is not basic");
        }
        if credential.serialized_content() != user.to_be_bytes() {
            return Err("a key package of another user");
        }
        let life_time = package.life_time();
        if life_time.not_before() != 0 || life_time.not_after() != u64::MAX {
            return Err("a key package with a lifetime");
        }
        Ok(package)
    }
}

/// A key package that holds, of a client that does not exist.
pub(super) fn made_up_package(user: u64) -> Option<KeyPackage> {
    let provider = OpenMlsRustCrypto::default();
    let signer = SignatureKeyPair::new(SUITE.signature_algorithm()).ok()?;
    let credential = CredentialWithKey {
        credential: BasicCredential::new(user.to_be_bytes().to_vec()).into(),
        signature_key: signer.public().into(),
    };
    let capabilities = Capabilities::builder()
        .versions(vec![ProtocolVersion::Mls10])
        .ciphersuites(vec![SUITE])
        .credentials(vec![CredentialType::Basic])
        .build();
    let bundle = KeyPackage::builder()
        .leaf_node_capabilities(capabilities)
        .key_package_lifetime(Lifetime::init(0, u64::MAX))
        .build(SUITE, &provider, &signer, credential)
        .ok()?;
    Some(bundle.key_package().clone())
}
