//! Tokens: what is accepted, and that nothing else is. jsonwebtoken is built with both of its back ends here, so a call that
//! needed its process-wide provider would panic.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{self, KeySize},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair},
};
use serde_json::{Value, json};
use spellcoven_hub::server::{BuildError, Hub};

use crate::server_support::{AUDIENCE, GUILD, SigningKey, World, jwks};

async fn status(world: &World, token: &str) -> u16 {
    let request = Request::get("/api/rooms").header("authorization", format!("Bearer {token}"));
    world
        .call(request.body(Full::<Bytes>::default()).unwrap())
        .await
        .status
        .as_u16()
}

fn compact(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Built with both of jsonwebtoken's back ends (they are named here, so that it would not compile otherwise), of which it
/// can choose neither by itself; and no process-wide provider is installed.
#[tokio::test(start_paused = true)]
async fn every_algorithm_that_is_offered_verifies() {
    let _both = [
        &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER,
        &jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER,
    ];
    let world = World::new();
    let random = SystemRandom::new();
    // ring makes no RSA keys.
    let pkcs8 = rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
    let pkcs8: Pkcs8V1Der<'_> = pkcs8.as_der().unwrap();
    let rsa = RsaKeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let p384 = &signature::ECDSA_P384_SHA384_FIXED_SIGNING;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(p384, &random).unwrap();
    let p384 = EcdsaKeyPair::from_pkcs8(p384, pkcs8.as_ref(), &random).unwrap();
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let ed = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let public: signature::RsaPublicKeyComponents<Vec<u8>> = rsa.public().into();
    let point = p384.public_key().as_ref();
    let keys = [
        world.key.jwk(),
        json!({ "kty": "RSA", "kid": "rsa", "n": text(&public.n), "e": text(&public.e) }),
        json!({ "kty": "EC", "crv": "P-384", "kid": "p384", "x": text(&point[1..49]), "y": text(&point[49..]) }),
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": text(ed.public_key().as_ref()) }),
        // A key of an unknown kind does not cost the others.
        json!({ "kty": "XYZ", "kid": "odd" }),
        json!("not a key"),
    ];
    *world.jwks.json.lock().unwrap() = Some(jwks(&keys));
    let claims = world.claims("alice");
    // ES256.
    assert_eq!(status(&world, &world.token("alice")).await, 200);
    let rsa_encodings: [(&str, &'static dyn signature::RsaEncoding); 6] = [
        ("RS256", &signature::RSA_PKCS1_SHA256),
        ("RS384", &signature::RSA_PKCS1_SHA384),
        ("RS512", &signature::RSA_PKCS1_SHA512),
        ("PS256", &signature::RSA_PSS_SHA256),
        ("PS384", &signature::RSA_PSS_SHA384),
        ("PS512", &signature::RSA_PSS_SHA512),
    ];
    for (alg, encoding) in rsa_encodings {
        let token = compact(&json!({ "alg": alg, "kid": "rsa" }), &claims, |message| {
            let mut signature = vec![0; rsa.public().modulus_len()];
            rsa.sign(encoding, &random, message, &mut signature)
                .unwrap();
            signature
        });
        assert_eq!(status(&world, &token).await, 200, "{alg}");
    }
    let sign = |message: &[u8]| p384.sign(&random, message).unwrap().as_ref().to_vec();
    assert_eq!(
        status(
            &world,
            &compact(&json!({ "alg": "ES384", "kid": "p384" }), &claims, sign)
        )
        .await,
        200
    );
    let sign = |message: &[u8]| ed.sign(message).as_ref().to_vec();
    assert_eq!(
        status(
            &world,
            &compact(&json!({ "alg": "EdDSA", "kid": "ed" }), &claims, sign)
        )
        .await,
        200
    );
    // Without a kid there must be one key that fits.
    assert_eq!(
        status(&world, &compact(&json!({ "alg": "EdDSA" }), &claims, sign)).await,
        200
    );
}

#[tokio::test(start_paused = true)]
async fn forged_headers_are_refused() {
    let world = World::new();
    let claims = world.claims("alice");
    assert_eq!(status(&world, &world.token("alice")).await, 200);
    let none = |alg: &str| {
        compact(&json!({ "alg": alg, "kid": "key-1" }), &claims, |_| {
            Vec::new()
        })
    };
    for alg in ["none", "None", "NONE", "nOnE", "ES256"] {
        assert_eq!(status(&world, &none(alg)).await, 401, "{alg}");
    }
    // The public key as an HMAC secret.
    let jwk = world.key.jwk();
    let secret = URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap();
    let hs = compact(
        &json!({ "alg": "HS256", "kid": "key-1" }),
        &claims,
        |message| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message)
                .as_ref()
                .to_vec()
        },
    );
    assert_eq!(status(&world, &hs).await, 401);
    // A key of one's own, brought along.
    let own = SigningKey::new("own");
    let header =
        json!({ "alg": "ES256", "kid": "own", "jwk": own.jwk(), "jku": "https://evil.example" });
    assert_eq!(status(&world, &own.sign(&header, &claims)).await, 401);
    let mut posing = own.header();
    posing["kid"] = json!("key-1");
    assert_eq!(status(&world, &own.sign(&posing, &claims)).await, 401);
    for (name, value) in [
        ("crit", json!(["b64"])),
        ("zip", json!("DEF")),
        ("typ", json!("logout+jwt")),
    ] {
        let mut header = world.key.header();
        header[name] = value;
        assert_eq!(
            status(&world, &world.key.sign(&header, &claims)).await,
            401,
            "{name}"
        );
    }
    let twice = r#"{"alg":"ES256","kid":"key-1","kid":"key-1"}"#;
    assert_eq!(
        status(&world, &world.key.sign_raw(twice, &claims.to_string())).await,
        401
    );
    // Bound to another algorithm by its `alg`, or not for signatures at all.
    for (name, value) in [
        ("alg", json!("ES384")),
        ("use", json!("enc")),
        ("key_ops", json!(["sign"])),
    ] {
        let world = World::new();
        let mut jwk = world.key.jwk();
        jwk[name] = value;
        *world.jwks.json.lock().unwrap() = Some(jwks(&[jwk]));
        assert_eq!(status(&world, &world.token("alice")).await, 401, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn broken_tokens_are_refused() {
    let world = World::new();
    let good = world.token("alice");
    let parts: Vec<_> = good.split('.').collect();
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    let other = URL_SAFE_NO_PAD.encode(world.claims("mallory").to_string());
    for token in [
        String::new(),
        ".".into(),
        "..".into(),
        format!("{header}.{claims}"),
        format!("{good}."),
        format!("{header}.{other}.{signature}"),
        format!("{header}.{claims}.{signature}=="),
        format!("{header}.{claims}.{}", &signature[..40]),
        format!("{header}.{claims}. {signature}"),
        "x".repeat(10_000),
    ] {
        assert_eq!(status(&world, &token).await, 401, "{token}");
    }
    let basic = Request::get("/api/rooms").header("authorization", format!("Basic {good}"));
    assert_eq!(
        world
            .call(basic.body(Full::default()).unwrap())
            .await
            .status,
        401
    );
    let request = Request::get("/api/rooms").header("authorization", format!("Bearer {good}"));
    let request = request.header("authorization", format!("Bearer {good}"));
    assert_eq!(
        world
            .call(request.body(Full::default()).unwrap())
            .await
            .status,
        401
    );
    let reply = world.get(&format!("/api/rooms?access_token={good}")).await;
    assert_eq!(reply.status, 401);
    assert_eq!(reply.headers["www-authenticate"], "Bearer");
}

#[tokio::test(start_paused = true)]
async fn claims_are_checked() {
    let world = World::new();
    let now = world.clock.seconds();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut claims = world.claims("alice");
        change(&mut claims);
        world.key.sign(&world.key.header(), &claims)
    };
    let good: [&dyn Fn(&mut Value); 6] = [
        &|claims| claims["aud"] = json!(["other", AUDIENCE]),
        &|claims| claims["exp"] = json!(now - 4),
        &|claims| claims["exp"] = json!(now as f64 + 0.5),
        &|claims| claims["nbf"] = json!(now + 5),
        &|claims| claims["sub"] = json!("x".repeat(255)),
        &|claims| claims["extra"] = json!({ "a": [1, 2] }),
    ];
    for (index, change) in good.iter().enumerate() {
        assert_eq!(status(&world, &with(change)).await, 200, "good {index}");
    }
    let bad: [&dyn Fn(&mut Value); 17] = [
        &|claims| claims["iss"] = json!("https://issuer.example/"),
        &|claims| claims["iss"] = json!(["https://issuer.example"]),
        &|claims| claims["iss"] = Value::Null,
        &|claims| claims["aud"] = json!("other"),
        &|claims| claims["aud"] = json!([]),
        &|claims| claims["aud"] = json!([AUDIENCE, 5]),
        &|claims| claims["aud"] = Value::Null,
        &|claims| claims["exp"] = json!(now - 5),
        &|claims| claims["exp"] = json!("soon"),
        &|claims| claims["exp"] = Value::Null,
        &|claims| claims["exp"] = json!(1e300),
        &|claims| claims["exp"] = json!(-1),
        &|claims| claims["nbf"] = json!(now + 6),
        &|claims| claims["nbf"] = json!("now"),
        &|claims| claims["sub"] = json!(""),
        &|claims| claims["sub"] = json!(5),
        &|claims| claims["sub"] = json!("x".repeat(256)),
    ];
    for (index, change) in bad.iter().enumerate() {
        assert_eq!(status(&world, &with(change)).await, 401, "bad {index}");
    }
    let twice = format!(
        r#"{{"sub":"mallory",{}"#,
        &world.claims("alice").to_string()[1..]
    );
    assert_eq!(
        status(
            &world,
            &world.key.sign_raw(&world.key.header().to_string(), &twice)
        )
        .await,
        401
    );
}

#[tokio::test(start_paused = true)]
async fn an_unknown_kid_fetches_once_in_ten_seconds() {
    let world = World::new();
    assert_eq!(status(&world, &world.token("alice")).await, 200);
    let fetches = || world.jwks.fetches.load(SeqCst);
    assert_eq!(fetches(), 1);
    let new = SigningKey::new("key-2");
    let token = new.sign(&new.header(), &world.claims("alice"));
    *world.jwks.json.lock().unwrap() = Some(jwks(&[new.jwk()]));
    assert_eq!((status(&world, &token).await, fetches()), (401, 1));
    tokio::time::advance(Duration::from_secs(10)).await;
    // Many at once make one fetch.
    let (one, two, three) = tokio::join!(
        status(&world, &token),
        status(&world, &token),
        status(&world, &token)
    );
    assert_eq!((one, two, three, fetches()), (200, 200, 200, 2));
    // The old key is gone from the set.
    assert_eq!(
        (status(&world, &world.token("alice")).await, fetches()),
        (401, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn keys_outlive_a_provider_that_is_down() {
    let world = World::new();
    assert_eq!(status(&world, &world.token("alice")).await, 200);
    *world.jwks.json.lock().unwrap() = None;
    for _ in 0..5 {
        tokio::time::advance(Duration::from_secs(400)).await;
        assert_eq!(status(&world, &world.token("alice")).await, 200);
    }
    assert!(world.jwks.fetches.load(SeqCst) > 1);
}

#[tokio::test(start_paused = true)]
async fn without_keys_the_answer_is_503_not_401() {
    let world = World::new();
    *world.jwks.json.lock().unwrap() = None;
    let reply = world.authed("GET", "/api/rooms", &[], "").await;
    assert_eq!(
        (reply.status.as_u16(), reply.code().as_str()),
        (503, "IDENTITY_UNAVAILABLE")
    );
    let mut socket = world.socket().await;
    let error = socket.auth(&world.token("alice"), None).await;
    assert_eq!(
        (&error["type"], &error["error"]["code"]),
        (&json!("error"), &json!("INTERNAL_ERROR"))
    );
    assert_eq!(socket.closed().await, (1013, "identity_unavailable".into()));
    *world.jwks.json.lock().unwrap() = Some(jwks(&[world.key.jwk()]));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(status(&world, &world.token("alice")).await, 200);
}

#[test]
fn a_hub_needs_its_configuration() {
    let missing = Hub::builder(GUILD).build().unwrap_err();
    assert!(matches!(missing, BuildError::Missing("jwt")));
    let jwt = |url: &str| {
        let jwt = spellcoven_hub::server::JwtConfig {
            issuer: "i".into(),
            audience: "a".into(),
        };
        Hub::builder(GUILD)
            .jwt(jwt)
            .jwks_url(url)
            .build()
            .unwrap_err()
    };
    assert!(matches!(
        jwt("http://idp.example/jwks"),
        BuildError::JwksUrl(_)
    ));
    assert!(matches!(jwt("jwks"), BuildError::JwksUrl(_)));
    assert!(matches!(
        jwt("http://127.0.0.1:1/jwks"),
        BuildError::Missing("hub_secret")
    ));
    assert!(matches!(
        jwt("https://idp.example/jwks"),
        BuildError::Missing("hub_secret")
    ));
}
