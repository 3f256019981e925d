use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Header};

use super::key_set::KeySet;

/// Why a token was refused. The client is at fault; the reason is for the log, the answer only says "unauthorized".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("no token")]
    Missing,
    #[error("the token is too large")]
    TooLarge,
    #[error("not a signed token of three parts")]
    Malformed,
    #[error("the token's header asks for what this hub does not do")]
    Header,
    #[error("no key for this kid and algorithm")]
    UnknownKey,
    #[error("the signature does not match")]
    Signature,
    #[error("the claims are not an object without repetition")]
    Claims,
    #[error("another issuer")]
    Issuer,
    #[error("another audience")]
    Audience,
    #[error("expired, or no exp")]
    Expired,
    #[error("not valid yet")]
    NotYetValid,
    #[error("no sub")]
    Subject,
    #[error("another user than before")]
    OtherUser,
}

/// A token taken apart, nothing of it verified.
pub(crate) struct Token<'a> {
    header: Header,
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Takes a compact JWS apart (RFC 7515, section 7.1) and refuses headers that would change its meaning.
    pub(crate) fn parse(token: &'a str, max_len: usize) -> Result<Self, TokenError> {
        if token.len() > max_len {
            return Err(TokenError::TooLarge);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed);
        };
        let decode = |part: &str| {
            URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_| TokenError::Malformed)
        };
        let signed = &token[..header.len() + 1 + payload.len()];
        // An unknown `alg`, `none` among them, and a repeated member fail here.
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Header)?;
        check_header(&header)?;
        Ok(Self {
            header,
            signed,
            payload: decode(payload)?,
            signature: decode(signature)?,
        })
    }

    /// Whether a key of the set could have signed it: the same `kid`, and made for the algorithm.
    pub(crate) fn has_key(&self, keys: &KeySet) -> bool {
        keys.candidates(self.header.kid.as_deref(), self.header.alg)
            .next()
            .is_some()
    }

    /// Checks the signature with the set's keys and gives the payload.
    pub(crate) fn verify(&self, keys: &KeySet) -> Result<&[u8], TokenError> {
        let mut result = Err(TokenError::UnknownKey);
        for key in keys.candidates(self.header.kid.as_deref(), self.header.alg) {
            if key.verify(self.header.alg, self.signed.as_bytes(), &self.signature) {
                return Ok(&self.payload);
            }
            result = Err(TokenError::Signature);
        }
        result
    }
}

fn check_header(header: &Header) -> Result<(), TokenError> {
    let hmac = matches!(
        header.alg,
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512
    );
    // RFC 7515, section 4.1.11: what is critical and not understood must be refused; nothing is understood here.
    let critical = header.crit.is_some() || header.enc.is_some() || header.zip.is_some();
    // RFC 8725, section 3.11: a token made for another purpose says so in `typ`.
    let typ = header.typ.as_deref().map(str::to_ascii_lowercase);
    let typ = typ
        .as_deref()
        .map(|typ| typ.strip_prefix("application/").unwrap_or(typ));
    let foreign = !matches!(typ, None | Some("jwt" | "at+jwt"));
    if hmac || critical || foreign {
        Err(TokenError::Header)
    } else {
        Ok(())
    }
}
