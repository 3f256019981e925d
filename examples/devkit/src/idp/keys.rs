use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};

use super::KeyError;

/// An ES256 key with the id under which the key set lists it.
pub(super) struct SigningKey {
    pair: EcdsaKeyPair,
    kid: String,
    random: SystemRandom,
}

impl SigningKey {
    pub(super) fn generate() -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map_err(|_| KeyError)?;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random)
                .map_err(|_| KeyError)?;
        Ok(Self {
            pair,
            kid: unguessable(&random)?,
            random,
        })
    }

    /// The public half (RFC 7518 section 6.2.1): the point is `04 || x || y`.
    pub(super) fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }

    /// A compact JWS (RFC 7515 section 7.1) over `claims`.
    pub(super) fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": self.kid});
        let input = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = self
            .pair
            .sign(&self.random, input.as_bytes())
            .expect("a system that made the key can sign with it");
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// 128 random bits in base64url.
pub(super) fn unguessable(random: &SystemRandom) -> Result<String, KeyError> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes).map_err(|_| KeyError)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
