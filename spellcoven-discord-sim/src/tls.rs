//! Certificates: an authority of the run's own, and a server certificate signed by it.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// Why no certificates could be made. Neither comes from what a caller gave: the machine has no randomness, or the
/// libraries do not fit together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificates could not be made.
    #[error("certificates cannot be made")]
    Certificate(#[source] rcgen::Error),
    /// The certificates cannot be served.
    #[error("TLS cannot be configured")]
    Config(#[source] rustls::Error),
}

/// A certificate authority that is made for one run, and a certificate for `localhost`, `127.0.0.1` and `::1` that it
/// signed. The authority's key is forgotten at once: it signs nothing else.
///
/// The server's certificate is apart from the authority's, because some clients refuse an authority's own as a
/// server's. ECDSA on P-256; the cryptography is ring's, whatever the process-wide provider is.
#[derive(Clone)]
pub struct Authority {
    ca_pem: Arc<str>,
    acceptor: TlsAcceptor,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes keys and certificates.
    ///
    /// # Errors
    /// [`TlsError`]: the machine gives no randomness.
    pub fn generate() -> Result<Self, TlsError> {
        let key = KeyPair::generate().map_err(TlsError::Certificate)?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "simulated Discord, test authority");
        let authority = params.self_signed(&key).map_err(TlsError::Certificate)?;
        let issuer = Issuer::new(params, key);

        let leaf_key = KeyPair::generate().map_err(TlsError::Certificate)?;
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut leaf = CertificateParams::new(names).map_err(TlsError::Certificate)?;
        leaf.is_ca = IsCa::ExplicitNoCa;
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.distinguished_name
            .push(DnType::CommonName, "simulated Discord");
        let leaf = leaf
            .signed_by(&leaf_key, &issuer)
            .map_err(TlsError::Certificate)?;

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Config)?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], private)
            .map_err(TlsError::Config)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            ca_pem: authority.pem().into(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    /// The authority's certificate in PEM: what a client has to trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }
}
