//! Tokens: parsing and checking are pure; `verifier` adds the fetching of keys.

mod claims;
mod http_jwks;
mod jwt;
mod key_cache;
mod key_set;
mod verifier;

pub use http_jwks::{HttpJwks, InvalidJwksUrl};
pub use verifier::{KeySource, KeySourceError};

pub(crate) use claims::Rules;
pub(crate) use jwt::TokenError;
pub(crate) use verifier::{AuthError, Verified, Verifier};
