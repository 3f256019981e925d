//! The audit-log reason: encoding, and the request id inside it.

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but RFC 3986's unreserved characters is encoded.
///
/// Discord decodes percent escapes and does not say which characters must be
/// escaped (observed: clients differ), so all that may be are.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// See Discord: Audit Log, "X-Audit-Log-Reason" (1 to 512 characters). Whether
/// they count before or after encoding is unknown, so both forms keep to it.
const MAX_ENCODED: usize = 512;

/// `text (request ID.TOKEN)`, percent-encoded, at most 512 bytes.
///
/// Where it would be longer the text is cut, between two characters; the
/// part in brackets always stays whole, since a look-up searches for it.
pub(crate) fn header(text: &str, request_id: &str, token: &str) -> Option<HeaderValue> {
    let suffix =
        utf8_percent_encode(&format!(" (request {request_id}.{token})"), ENCODED).to_string();
    let room = MAX_ENCODED.checked_sub(suffix.len())?;
    let mut encoded = String::with_capacity(MAX_ENCODED);
    let mut buffer = [0; 4];
    for character in text.chars() {
        let piece = utf8_percent_encode(character.encode_utf8(&mut buffer), ENCODED).to_string();
        if encoded.len() + piece.len() > room {
            break;
        }
        encoded.push_str(&piece);
    }
    encoded.push_str(&suffix);
    HeaderValue::from_str(&encoded).ok()
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    fn decoded(text: &str, id: &str) -> (String, usize) {
        let value = header(text, id, "0123456789abcdef").unwrap();
        let raw = value.to_str().unwrap();
        assert!(
            raw.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)),
            "{raw}"
        );
        (
            percent_decode_str(raw).decode_utf8().unwrap().into_owned(),
            raw.len(),
        )
    }

    #[test]
    fn encodes_all_but_unreserved() {
        let value = header("a/b é~", "r1", "t").unwrap();
        assert_eq!(value, "a%2Fb%20%C3%A9~%20%28request%20r1.t%29");
    }

    proptest! {
        #[test]
        fn keeps_the_request_id_and_the_limit(text in "\\PC{0,600}", id in "[!-~]{1,64}") {
            let (plain, length) = decoded(&text, &id);
            prop_assert!(length <= MAX_ENCODED);
            let suffix = format!(" (request {id}.0123456789abcdef)");
            prop_assert!(plain.ends_with(&suffix));
            let kept = &plain[..plain.len() - suffix.len()];
            prop_assert!(text.starts_with(kept));
        }
    }
}
