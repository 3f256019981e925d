use serde_json::Value;

use super::*;

fn provider() -> IdentityProvider {
    IdentityProvider::new("http://127.0.0.1:1", "app").expect("the system gives randomness")
}

fn get(provider: &IdentityProvider, path: &str) -> Response<Bytes> {
    let request = Request::get(path).body(Bytes::new()).unwrap();
    provider.answer(&request, ([127, 0, 0, 1], 1).into())
}

fn post(provider: &IdentityProvider, path: &str, body: &str) -> (StatusCode, Value) {
    let request = Request::post(path)
        .body(Bytes::copy_from_slice(body.as_bytes()))
        .unwrap();
    let response = provider.answer(&request, ([127, 0, 0, 1], 1).into());
    (
        response.status(),
        serde_json::from_slice(response.body()).unwrap(),
    )
}

/// The example pair of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn authorize(provider: &IdentityProvider, redirect: &str, more: &str) -> Response<Bytes> {
    get(
        provider,
        &format!(
            "/authorize?response_type=code&client_id=web&redirect_uri={redirect}&state=s1\
             &code_challenge={CHALLENGE}&code_challenge_method=S256{more}"
        ),
    )
}

fn code(response: &Response<Bytes>) -> String {
    let location = response.headers()[header::LOCATION].to_str().unwrap();
    let query = location.split_once('?').unwrap().1;
    web::Form::parse(query.as_bytes())
        .get("code")
        .unwrap()
        .to_owned()
}

fn exchange(code: &str, verifier: &str) -> String {
    format!(
        "grant_type=authorization_code&code={code}&code_verifier={verifier}&client_id=web\
         &redirect_uri=http://127.0.0.1:5173/back"
    )
}

#[test]
fn a_code_and_its_verifier_give_a_token_once() {
    let provider = provider();
    let response = authorize(&provider, "http://127.0.0.1:5173/back", "&login_hint=alice");
    assert_eq!(response.status(), StatusCode::FOUND);
    let code = code(&response);
    let (status, body) = post(&provider, "/token", &exchange(&code, VERIFIER));
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body["access_token"].as_str().unwrap().split('.').count(), 3);
    let (status, body) = post(&provider, "/token", &exchange(&code, VERIFIER));
    assert_eq!(
        (status, body["error"].as_str()),
        (StatusCode::BAD_REQUEST, Some("invalid_grant"))
    );
}

#[test]
fn a_wrong_verifier_gets_nothing_and_uses_the_code_up() {
    let provider = provider();
    let code = code(&authorize(
        &provider,
        "http://127.0.0.1:5173/back",
        "&login_hint=alice",
    ));
    for verifier in ["wrong", VERIFIER] {
        let (_, body) = post(&provider, "/token", &exchange(&code, verifier));
        assert_eq!(body["error"], "invalid_grant");
    }
}

#[test]
fn a_code_never_leaves_the_machine() {
    for redirect in [
        "https://evil.example/",
        "http://evil.example/",
        "javascript:alert(1)",
        "http://127.0.0.1.evil.example/",
    ] {
        let response = authorize(&provider(), redirect, "&login_hint=alice");
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{redirect}");
        assert!(response.headers().get(header::LOCATION).is_none());
    }
}

#[test]
fn without_a_hint_a_page_asks_and_escapes_what_it_was_given() {
    let response = authorize(
        &provider(),
        "http://127.0.0.1:5173/back",
        "&nonce=%22%3E%3Cscript%3E",
    );
    let page = String::from_utf8(response.body().to_vec()).unwrap();
    assert!(
        page.contains("<form") && !page.contains("<script>"),
        "{page}"
    );
}

#[test]
fn plain_challenges_and_other_response_types_are_refused() {
    let provider = provider();
    let base = "/authorize?client_id=web&redirect_uri=http://127.0.0.1:1/&login_hint=a";
    for (query, error) in [
        ("&response_type=token", "unsupported_response_type"),
        ("&response_type=code", "invalid_request"),
        (
            "&response_type=code&code_challenge=abc&code_challenge_method=plain",
            "invalid_request",
        ),
    ] {
        let response = get(&provider, &format!("{base}{query}"));
        let location = response.headers()[header::LOCATION].to_str().unwrap();
        assert!(
            location.contains(&format!("error={error}")),
            "{query}: {location}"
        );
    }
}

#[test]
fn a_rotation_keeps_one_old_key() {
    let provider = provider();
    let kids = |provider: &IdentityProvider| -> Vec<String> {
        let set: Value = serde_json::from_str(&provider.jwks()).unwrap();
        set["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["kid"].to_string())
            .collect()
    };
    let first = kids(&provider);
    provider.rotate().unwrap();
    let second = kids(&provider);
    assert_eq!(second.len(), 2);
    assert_eq!(second[1], first[0]);
    provider.rotate().unwrap();
    assert!(!kids(&provider).contains(&first[0]));
}
