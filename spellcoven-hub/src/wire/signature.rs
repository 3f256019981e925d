//! HMAC-SHA256 over `"<ts>.<raw body>"`: how the worker signs its posts and how the hub checks them. Pure: the time is
//! an argument.

use ring::hmac;

use super::HubSecret;

/// What every signature begins with.
const PREFIX: &str = "sha256=";

/// The value of `X-Hub-Signature` for a body sent at `timestamp` (Unix seconds).
#[must_use]
pub fn sign(secret: &HubSecret, timestamp: u64, body: &[u8]) -> String {
    let tag = tag(secret, &timestamp.to_string(), body);
    let mut text = String::with_capacity(PREFIX.len() + 64);
    text.push_str(PREFIX);
    for byte in tag.as_ref() {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).expect("a nibble is below 16"));
        }
    }
    text
}

/// Checks the two headers against a body and any of the secrets.
///
/// `now` is in Unix seconds; a timestamp more than `max_skew` seconds before or after it is stale. The comparison of the
/// signature takes the same time wherever it differs, and every secret is tried.
///
/// # Errors
///
/// Why it was refused. The reason is for the log; an answer must not tell it.
pub fn verify<'a>(
    secrets: impl IntoIterator<Item = &'a HubSecret>,
    timestamp: Option<&str>,
    signature: Option<&str>,
    body: &[u8],
    now: u64,
    max_skew: u64,
) -> Result<(), SignatureError> {
    let (Some(timestamp), Some(signature)) = (timestamp, signature) else {
        return Err(SignatureError::Missing);
    };
    if timestamp.is_empty()
        || timestamp.len() > 12
        || !timestamp.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(SignatureError::BadTimestamp);
    }
    let sent: u64 = timestamp
        .parse()
        .map_err(|_| SignatureError::BadTimestamp)?;
    if now.abs_diff(sent) > max_skew {
        return Err(SignatureError::Stale);
    }
    let tag = decode(signature).ok_or(SignatureError::BadFormat)?;
    let mut good = false;
    for secret in secrets {
        good |= hmac::verify(&key(secret), &message(timestamp, body), &tag).is_ok();
    }
    if good {
        Ok(())
    } else {
        Err(SignatureError::Mismatch)
    }
}

/// Why a signature was refused; the poster is at fault (or the hub's secret or clock).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// One of the two headers is missing.
    #[error("a signature header is missing")]
    Missing,
    /// The timestamp is not a number of Unix seconds.
    #[error("the timestamp is not a number of seconds")]
    BadTimestamp,
    /// The timestamp is too far from now: an old request sent again, or a wrong clock.
    #[error("the timestamp is too far from now")]
    Stale,
    /// The signature is not `sha256=` and 64 lowercase hexadecimal digits.
    #[error("the signature is not written as sha256=<hex>")]
    BadFormat,
    /// The signature does not belong to this body, timestamp and secret.
    #[error("the signature does not match")]
    Mismatch,
}

impl SignatureError {
    /// A short name, for counters.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::BadTimestamp => "bad_timestamp",
            Self::Stale => "stale",
            Self::BadFormat => "bad_format",
            Self::Mismatch => "mismatch",
        }
    }
}

fn key(secret: &HubSecret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.expose())
}

fn message(timestamp: &str, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(timestamp.len() + 1 + body.len());
    message.extend_from_slice(timestamp.as_bytes());
    message.push(b'.');
    message.extend_from_slice(body);
    message
}

fn tag(secret: &HubSecret, timestamp: &str, body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&key(secret));
    context.update(timestamp.as_bytes());
    context.update(b".");
    context.update(body);
    context.sign()
}

fn decode(signature: &str) -> Option<[u8; 32]> {
    let digits = signature.strip_prefix(PREFIX)?.as_bytes();
    let mut tag = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in tag.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(tag)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> HubSecret {
        HubSecret::new(text).unwrap()
    }

    /// Computed with `printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac change-me`.
    const KNOWN: &str = "sha256=b47c13f4169d67ae1e788900c902e5d4f926cbd3f25c56311d47b811894cbc83";

    #[test]
    fn a_known_signature() {
        assert_eq!(
            sign(&secret("change-me"), 1_700_000_000, br#"{"a":1}"#),
            KNOWN
        );
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let (old, new) = (secret("old"), secret("new"));
        let body = b"body";
        let signature = sign(&old, 1000, body);
        let check = |ts: Option<&str>, signature: Option<&str>, body: &[u8], now| {
            verify([&new, &old], ts, signature, body, now, 60)
        };
        assert_eq!(check(Some("1000"), Some(&signature), body, 1060), Ok(()));
        assert_eq!(check(Some("1000"), Some(&signature), body, 940), Ok(()));
        assert_eq!(
            check(Some("1000"), Some(&signature), body, 1061),
            Err(SignatureError::Stale)
        );
        assert_eq!(
            check(Some("1000"), Some(&signature), body, 939),
            Err(SignatureError::Stale)
        );
        assert_eq!(
            check(None, Some(&signature), body, 1000),
            Err(SignatureError::Missing)
        );
        assert_eq!(
            check(Some("1000"), None, body, 1000),
            Err(SignatureError::Missing)
        );
        assert_eq!(
            check(Some("1e3"), Some(&signature), body, 1000),
            Err(SignatureError::BadTimestamp)
        );
        assert_eq!(
            check(Some("+1000"), Some(&signature), body, 1000),
            Err(SignatureError::BadTimestamp)
        );
        assert_eq!(
            check(Some("1000"), Some(&signature), b"bodY", 1000),
            Err(SignatureError::Mismatch)
        );
        assert_eq!(
            check(Some("1001"), Some(&signature), body, 1000),
            Err(SignatureError::Mismatch)
        );
        let upper = signature.replace("sha256=", "").to_uppercase();
        assert_eq!(
            check(Some("1000"), Some(&upper), body, 1000),
            Err(SignatureError::BadFormat)
        );
        assert_eq!(
            check(Some("1000"), Some(&signature[..70]), body, 1000),
            Err(SignatureError::BadFormat)
        );
        assert_eq!(
            verify([&new], Some("1000"), Some(&signature), body, 1000, 60),
            Err(SignatureError::Mismatch)
        );
    }
}
