//! TLS: whom to trust, with ring named explicitly.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// Why no TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("the extra root certificates are not PEM certificates")]
    Pem(#[source] rustls::pki_types::pem::Error),
    #[error("an extra root certificate cannot be used")]
    Certificate(#[source] rustls::Error),
    #[error("the extra root certificates contain no certificate")]
    NoExtra,
    #[error(
        "no root certificates: turn on rustls-native-roots or rustls-webpki-roots, or add some"
    )]
    NoRoots,
    #[error("TLS cannot be configured")]
    Config(#[source] rustls::Error),
}

/// The certificates trusted: the system's, Mozilla's (by feature), and extra ones.
pub(crate) fn roots(extra: &[Vec<u8>]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    #[cfg(feature = "rustls-native-roots")]
    {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::debug!(%error, "a certificate of the system cannot be read");
        }
        roots.add_parsable_certificates(found.certs);
    }
    #[cfg(feature = "rustls-webpki-roots")]
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    for pem in extra {
        let mut any = false;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots
                .add(certificate.map_err(TlsError::Pem)?)
                .map_err(TlsError::Certificate)?;
            any = true;
        }
        if !any {
            return Err(TlsError::NoExtra);
        }
    }
    Ok(roots)
}

/// A client's configuration on ring, whatever the process-wide provider is.
pub(crate) fn config(roots: RootCertStore) -> Result<ClientConfig, TlsError> {
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Config)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
