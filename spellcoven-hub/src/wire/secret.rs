use std::{fmt, sync::Arc};

/// The secret that worker and hub share (HUB_SECRET). Its bytes are never printed.
#[derive(Clone)]
pub struct HubSecret(Arc<[u8]>);

/// An empty secret protects nothing; the caller's configuration is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hub secret is empty")]
pub struct EmptySecret;

impl HubSecret {
    /// Takes the secret's bytes as they are; a text counts as its UTF-8.
    ///
    /// # Errors
    ///
    /// [`EmptySecret`] for no bytes.
    pub fn new(secret: impl AsRef<[u8]>) -> Result<Self, EmptySecret> {
        let secret = secret.as_ref();
        if secret.is_empty() {
            Err(EmptySecret)
        } else {
            Ok(Self(secret.into()))
        }
    }

    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for HubSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HubSecret(<redacted>)")
    }
}
