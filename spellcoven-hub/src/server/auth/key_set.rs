use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use ring::signature;
use serde::Deserialize;
use serde_json::Value;

/// The most keys read from one JWKS; the rest is ignored.
const MAX_KEYS: usize = 64;

/// The keys of a JWKS that can verify a signature.
#[derive(Debug)]
pub(crate) struct KeySet(Vec<VerifyKey>);

/// One key, bound to what it may verify.
#[derive(Debug)]
pub(crate) struct VerifyKey {
    kid: Option<String>,
    /// What the JWKS binds the key to, if it does.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl KeySet {
    /// Reads a JWKS. Keys that are not for verifying, or of a kind that is not supported, are left out.
    ///
    /// # Errors
    ///
    /// It is not a JSON object with an array `keys`.
    pub(crate) fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(json)?;
        let keys = set.keys.into_iter().take(MAX_KEYS);
        // One by one, so that a single strange key does not cost the others.
        let keys = keys.filter_map(|key| serde_json::from_value(key).ok());
        Ok(Self(keys.filter_map(VerifyKey::new).collect()))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Keys that may have made such a signature. Without a `kid` there must be exactly one that fits.
    pub(crate) fn candidates(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &VerifyKey> {
        let fits = move |key: &&VerifyKey| {
            key.allows(algorithm) && kid.is_none_or(|kid| key.kid.as_deref() == Some(kid))
        };
        let ambiguous = kid.is_none() && self.0.iter().filter(fits).count() > 1;
        self.0.iter().filter(fits).filter(move |_| !ambiguous)
    }
}

impl VerifyKey {
    fn new(jwk: Jwk) -> Option<Self> {
        let common = jwk.common;
        let signs = common
            .public_key_use
            .is_none_or(|usage| usage == PublicKeyUse::Signature);
        let verifies = common
            .key_operations
            .is_none_or(|all| all.contains(&KeyOperations::Verify));
        if !signs || !verifies {
            return None;
        }
        let algorithm = match common.key_algorithm {
            None => None,
            Some(name) => Some(signature_algorithm(name)?),
        };
        let material = Material::new(&jwk.algorithm)?;
        let key = Self {
            kid: common.key_id,
            algorithm: None,
            material,
        };
        // A key whose `alg` does not go with its type is a mistake.
        algorithm
            .is_none_or(|algorithm| key.allows(algorithm))
            .then_some(Self { algorithm, ..key })
    }

    /// The algorithm comes from the key, never from the token alone (RFC 8725, section 3.1).
    fn allows(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|bound| bound == algorithm)
            && self.material.parameters(algorithm).is_some()
    }

    pub(crate) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let Some(parameters) = self.material.parameters(algorithm) else {
            return false;
        };
        match (parameters, &self.material) {
            (Parameters::Rsa(parameters), Material::Rsa { n, e }) => {
                let key = signature::RsaPublicKeyComponents { n, e };
                key.verify(parameters, message, signature).is_ok()
            }
            (
                Parameters::Other(algorithm),
                Material::P256(key) | Material::P384(key) | Material::Ed25519(key),
            ) => signature::UnparsedPublicKey::new(algorithm, key)
                .verify(message, signature)
                .is_ok(),
            _ => false,
        }
    }
}

enum Parameters {
    Rsa(&'static signature::RsaParameters),
    Other(&'static dyn signature::VerificationAlgorithm),
}

impl Material {
    fn new(parameters: &AlgorithmParameters) -> Option<Self> {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        match parameters {
            AlgorithmParameters::RSA(rsa) => {
                // ring refuses a modulus with leading zeros; some providers write them.
                let n = decode(&rsa.n)?;
                let start = n.iter().position(|byte| *byte != 0)?;
                Some(Self::Rsa {
                    n: n[start..].to_vec(),
                    e: decode(&rsa.e)?,
                })
            }
            AlgorithmParameters::EllipticCurve(ec) => {
                let size = match ec.curve {
                    EllipticCurve::P256 => 32,
                    EllipticCurve::P384 => 48,
                    _ => return None,
                };
                let (x, y) = (decode(&ec.x)?, decode(&ec.y)?);
                if x.len() != size || y.len() != size {
                    return None;
                }
                let point = [&[4], &x[..], &y[..]].concat();
                Some(if size == 32 {
                    Self::P256(point)
                } else {
                    Self::P384(point)
                })
            }
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                decode(&pair.x).filter(|x| x.len() == 32).map(Self::Ed25519)
            }
            _ => None,
        }
    }

    fn parameters(&self, algorithm: Algorithm) -> Option<Parameters> {
        Some(match (self, algorithm) {
            (Self::Rsa { .. }, Algorithm::RS256) => {
                Parameters::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256)
            }
            (Self::Rsa { .. }, Algorithm::RS384) => {
                Parameters::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384)
            }
            (Self::Rsa { .. }, Algorithm::RS512) => {
                Parameters::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512)
            }
            (Self::Rsa { .. }, Algorithm::PS256) => {
                Parameters::Rsa(&signature::RSA_PSS_2048_8192_SHA256)
            }
            (Self::Rsa { .. }, Algorithm::PS384) => {
                Parameters::Rsa(&signature::RSA_PSS_2048_8192_SHA384)
            }
            (Self::Rsa { .. }, Algorithm::PS512) => {
                Parameters::Rsa(&signature::RSA_PSS_2048_8192_SHA512)
            }
            (Self::P256(_), Algorithm::ES256) => {
                Parameters::Other(&signature::ECDSA_P256_SHA256_FIXED)
            }
            (Self::P384(_), Algorithm::ES384) => {
                Parameters::Other(&signature::ECDSA_P384_SHA384_FIXED)
            }
            (Self::Ed25519(_), Algorithm::EdDSA) => Parameters::Other(&signature::ED25519),
            _ => return None,
        })
    }
}

/// A JWK's `alg`, where it is one of the asymmetric signatures.
fn signature_algorithm(name: KeyAlgorithm) -> Option<Algorithm> {
    Some(match name {
        KeyAlgorithm::RS256 => Algorithm::RS256,
        KeyAlgorithm::RS384 => Algorithm::RS384,
        KeyAlgorithm::RS512 => Algorithm::RS512,
        KeyAlgorithm::PS256 => Algorithm::PS256,
        KeyAlgorithm::PS384 => Algorithm::PS384,
        KeyAlgorithm::PS512 => Algorithm::PS512,
        KeyAlgorithm::ES256 => Algorithm::ES256,
        KeyAlgorithm::ES384 => Algorithm::ES384,
        KeyAlgorithm::EdDSA => Algorithm::EdDSA,
        _ => return None,
    })
}
