use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

use super::jwt::TokenError;
use crate::server::policy::User;

/// The longest `sub`, in bytes.
const MAX_SUB: usize = 255;

/// What a token must say.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    /// Seconds by which `exp` may be past and `nbf` may be to come.
    pub(crate) leeway_s: u64,
}

/// Checks the claims of a token whose signature is good (RFC 7519, section 4.1). Gives the user and the `exp` in
/// milliseconds.
pub(crate) fn check(payload: &[u8], rules: &Rules, now_ms: u64) -> Result<(User, u64), TokenError> {
    let UniqueMap(claims) = serde_json::from_slice(payload).map_err(|_| TokenError::Claims)?;
    if claims.get("iss").and_then(Value::as_str) != Some(&rules.issuer) {
        return Err(TokenError::Issuer);
    }
    if !claims
        .get("aud")
        .is_some_and(|aud| names(aud, &rules.audience))
    {
        return Err(TokenError::Audience);
    }
    let leeway_ms = rules.leeway_s * 1000;
    let expires_ms = claims
        .get("exp")
        .and_then(numeric_date_ms)
        .ok_or(TokenError::Expired)?;
    if now_ms >= expires_ms.saturating_add(leeway_ms) {
        return Err(TokenError::Expired);
    }
    if let Some(not_before) = claims.get("nbf") {
        let not_before = numeric_date_ms(not_before).ok_or(TokenError::NotYetValid)?;
        if not_before > now_ms.saturating_add(leeway_ms) {
            return Err(TokenError::NotYetValid);
        }
    }
    let sub = claims
        .get("sub")
        .and_then(Value::as_str)
        .ok_or(TokenError::Subject)?;
    if sub.is_empty() || sub.len() > MAX_SUB {
        return Err(TokenError::Subject);
    }
    Ok((
        User {
            sub: sub.to_owned(),
            claims,
        },
        expires_ms,
    ))
}

/// `aud` is a string, or an array of strings of which one must fit.
fn names(aud: &Value, audience: &str) -> bool {
    match aud {
        Value::String(one) => one == audience,
        Value::Array(all) => {
            all.iter().all(Value::is_string) && all.iter().any(|one| one.as_str() == Some(audience))
        }
        _ => false,
    }
}

/// Seconds since the Unix epoch, perhaps with a fraction; milliseconds come out.
fn numeric_date_ms(value: &Value) -> Option<u64> {
    let seconds = value.as_f64()?;
    // Beyond this a double no longer holds milliseconds exactly; it is 285 millennia away.
    let sane = (0.0..9e12).contains(&seconds);
    sane.then_some((seconds * 1000.0) as u64)
}

/// An object in which no name stands twice: two readers of a token must not see two different claims.
struct UniqueMap(Map<String, Value>);

impl<'de> Deserialize<'de> for UniqueMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = UniqueMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object without repeated names")
            }

            fn visit_map<A: de::MapAccess<'de>>(
                self,
                mut access: A,
            ) -> Result<UniqueMap, A::Error> {
                let mut map = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if map.insert(name, value).is_some() {
                        return Err(de::Error::custom("a name stands twice"));
                    }
                }
                Ok(UniqueMap(map))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}
