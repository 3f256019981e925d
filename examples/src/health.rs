//! Health pages: the worker's, and what every service's page has in common.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use spellcoven_devkit::web;
use spellcoven_discord_gateway::{ConnectionState, ShardHandle, ShardStatus};
use spellcoven_hub::forward::Forwarder;
use tokio::net::TcpListener;

/// What `GET /health` looks at.
#[derive(Clone)]
pub struct Health {
    /// Empty until the Gateway's address is known.
    shard: Arc<OnceLock<ShardHandle>>,
    forwarder: Forwarder,
}

impl Health {
    /// The health of a worker whose shard has not begun.
    #[must_use]
    pub fn new(forwarder: Forwarder) -> Self {
        Self {
            shard: Arc::default(),
            forwarder,
        }
    }

    /// From now on the shard counts too.
    pub fn watch(&self, shard: ShardHandle) {
        let _ = self.shard.set(shard);
    }

    /// Answers `GET /health` on `listener` until the future is dropped.
    pub async fn serve(self, listener: TcpListener) {
        serve(listener, move || self.report()).await;
    }

    /// Whether events flow from Discord to the hub, and the details.
    #[must_use]
    pub fn report(&self) -> (bool, Value) {
        let shard = self.shard.get().map(ShardHandle::status);
        let connected = shard
            .as_ref()
            .is_some_and(|shard| shard.state == ConnectionState::Active);
        let forward = self.forwarder.status();
        let healthy = connected && forward.healthy && !forward.stale;
        let body = json!({
            "status": if healthy { "ok" } else { "unavailable" },
            "gateway": gateway(shard.as_ref()),
            "outbox": {
                "depth": forward.outbox_depth,
                "oldestAgeMs": forward.oldest_age.map(|age| age.as_secs_f64() * 1e3),
                "delivered": forward.delivered,
                "dropped": forward.dropped,
                "retries": forward.retries,
            },
            "hub": {
                "reachable": forward.healthy,
                "reason": forward.reason.map(|reason| reason.to_string()),
                "epoch": forward.hub_epoch,
                "guildStale": forward.stale,
            },
        });
        (healthy, body)
    }
}

/// Answers `GET /health` on `listener` until the future is dropped: 200 or 503, as the report says, and its details.
pub async fn serve(
    listener: TcpListener,
    report: impl Fn() -> (bool, Value) + Clone + Send + Sync + 'static,
) {
    web::serve(listener, move |request, _peer| {
        std::future::ready(answer(&request, &report))
    })
    .await;
}

fn answer(request: &Request<Bytes>, report: &impl Fn() -> (bool, Value)) -> Response<Bytes> {
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/health") => {
            let (healthy, body) = report();
            web::json(
                if healthy {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                },
                &body,
            )
        }
        (_, "/health") => web::json(
            StatusCode::METHOD_NOT_ALLOWED,
            &json!({"message": "only GET"}),
        ),
        _ => web::json(
            StatusCode::NOT_FOUND,
            &json!({"message": "there is only /health"}),
        ),
    }
}

/// The Gateway session's part of a report; `None` where there is no shard yet.
#[must_use]
pub fn gateway(shard: Option<&ShardStatus>) -> Value {
    json!({
        "state": shard.map_or("Starting".to_owned(), |shard| format!("{:?}", shard.state)),
        "heartbeatLatencyMs": shard.and_then(|shard| shard.heartbeat_latency).map(|time| time.as_secs_f64() * 1e3),
        "sessionAgeSeconds": shard.and_then(|shard| shard.session_age).map(|age| age.as_secs()),
        "resumes": shard.map_or(0, |shard| shard.resumes),
        "identifies": shard.map_or(0, |shard| shard.identifies),
        "reconnects": shard.map_or(0, |shard| shard.reconnects),
    })
}
