use http::{HeaderMap, HeaderValue};

use crate::server::hub::Shared;

/// The longest request id taken from a caller.
const MAX_LEN: usize = 128;

/// The caller's `X-Request-Id`, where it is safe to write into a log, a header and an audit log; else a new one.
pub(super) fn of(headers: &HeaderMap, shared: &Shared) -> String {
    let sane = |id: &&str| {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        !id.is_empty() && id.len() <= MAX_LEN && id.bytes().all(good)
    };
    headers
        .get(crate::wire::headers::REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(sane)
        .map_or_else(
            || format!("{:016x}", shared.with_rng(|rng| rng.u64(..))),
            str::to_owned,
        )
}

/// The id as a header's value.
pub(super) fn value(id: &str) -> HeaderValue {
    HeaderValue::from_str(id).expect("made of letters, digits and -_.: only")
}
