//! The backend serves what it can while Discord, the worker or the identity provider is away.

use http::{Method, StatusCode};
use serde_json::Value;
use spellcoven_hub::{
    BoxFuture,
    server::{KeySource, KeySourceError},
};

use super::cloud::Cloud;

/// An identity provider that cannot be reached.
struct NoKeys;

impl KeySource for NoKeys {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>, KeySourceError>> {
        Box::pin(std::future::ready(Err(KeySourceError::new("it is down"))))
    }
}

async fn ready(cloud: &Cloud) -> (StatusCode, Value) {
    cloud
        .call(Method::GET, "/ready", "")
        .await
        .expect("the backend serves")
}

/// Asks until `/ready` says what is expected, or ten minutes have passed.
async fn becomes(cloud: &Cloud, expected: StatusCode) -> Value {
    for _ in 0..1200 {
        let (status, body) = ready(cloud).await;
        if status == expected {
            return body;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    panic!("/ready never said {expected}: {:?}", ready(cloud).await);
}

#[tokio::test(start_paused = true)]
async fn without_discord() {
    let mut cloud = Cloud::new(1);
    cloud.stop_discord();
    cloud.start_hub();
    let (status, body) = ready(&cloud).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    assert!(body.to_string().contains("discord"), "{body}");
    let (status, _) = cloud.call(Method::GET, "/health", "").await.unwrap();
    assert_eq!(status, StatusCode::OK);
    let (status, body) = cloud
        .call(Method::POST, "/api/create-room", r#"{"name":"x"}"#)
        .await
        .unwrap();
    assert_eq!(
        (status, body["code"].as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, Some("DISCORD_UNAVAILABLE"))
    );
    // It comes back by itself.
    cloud.start_discord();
    cloud.start_worker();
    becomes(&cloud, StatusCode::OK).await;
    let (status, body) = cloud
        .call(Method::POST, "/api/create-room", r#"{"name":"x"}"#)
        .await
        .unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");
}

#[tokio::test(start_paused = true)]
async fn without_a_worker() {
    let mut cloud = Cloud::new(2);
    cloud.start_hub();
    let body = becomes(&cloud, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(body.to_string().contains("worker"), "{body}");
    let (status, body) = cloud
        .call(Method::POST, "/api/create-room", r#"{"name":"x"}"#)
        .await
        .unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");
    cloud.start_worker();
    becomes(&cloud, StatusCode::OK).await;
    cloud.kill_worker();
    let body = becomes(&cloud, StatusCode::SERVICE_UNAVAILABLE).await;
    assert!(body.to_string().contains("worker"), "{body}");
}

#[tokio::test(start_paused = true)]
async fn without_an_identity_provider() {
    let mut cloud = Cloud::new(3);
    cloud.start_hub_with(NoKeys);
    cloud.start_worker();
    let (status, body) = ready(&cloud).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.to_string().contains("identity"), "{body}");
    let (status, body) = cloud
        .call(Method::POST, "/api/create-room", r#"{"name":"x"}"#)
        .await
        .unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    // The webhook needs no identity provider.
    for _ in 0..1200 {
        if cloud.forward_status().delivered > 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    panic!(
        "the worker's snapshot was not delivered: {:?}",
        cloud.forward_status()
    );
}
