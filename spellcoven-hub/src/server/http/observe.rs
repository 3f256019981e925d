use std::fmt::Write;

use http::{StatusCode, request};
use serde_json::json;
use tokio::time::Instant;

use super::{
    answer::{self, Answer, ApiError},
    auth,
    service::Call,
};
use crate::server::metrics::{Metrics, Stats};

/// `GET /api/rooms`.
pub(super) async fn rooms(call: &Call<'_>, parts: &request::Parts) -> Result<Answer, ApiError> {
    auth::authenticate(&parts.headers, call.shared, call.request_id).await?;
    let ts = call.shared.clock.now_ms();
    let snapshot = call.shared.with_core(|core| core.snapshot(ts));
    Ok(answer::raw(
        StatusCode::OK,
        "application/json",
        snapshot.body,
    ))
}

/// `GET /health`: the process lives and answers.
pub(super) fn health(call: &Call<'_>) -> Answer {
    let stats = stats(call);
    let body = json!({
        "status": "ok",
        "guildId": call.shared.guild_id,
        "epoch": stats.epoch,
        "seq": stats.seq,
        "synced": stats.synced,
        "rooms": stats.rooms,
        "members": stats.members,
        "connections": stats.connections,
    });
    answer::json(StatusCode::OK, &body)
}

/// `GET /ready`: all that the hub needs is there, else 503 with what is missing.
pub(super) async fn ready(call: &Call<'_>) -> Answer {
    let shared = call.shared;
    let limits = &shared.limits;
    let discord = shared
        .discord
        .check(
            &*shared.rooms,
            limits.discord_check_age,
            limits.discord_check_timeout,
        )
        .await;
    let identity = shared.verifier.ready().await;
    let worker = shared
        .with_core(|core| core.worker_ready(Instant::now().into_std(), limits.worker_timeout));
    let parts = [
        ("discord", discord),
        ("worker", worker || !shared.require_worker),
        ("identity", identity),
    ];
    let missing: Vec<_> = parts
        .iter()
        .filter(|(_, good)| !good)
        .map(|(name, _)| *name)
        .collect();
    let stopping = shared.stopping.borrow().is_some();
    let ready = missing.is_empty() && !stopping;
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({
        "ready": ready,
        "missing": missing,
        "stopping": stopping,
        "discord": discord,
        "worker": worker,
        "identity": identity,
    });
    answer::json(status, &body)
}

/// `GET /metrics` in Prometheus' text format.
pub(super) fn metrics(call: &Call<'_>) -> Answer {
    let stats = stats(call);
    let mut text = String::new();
    gauges(&mut text, &stats);
    if let Some(age) = call.shared.verifier.keys_age() {
        let (help, age) = (
            "age of the identity provider's keys",
            age.as_secs_f64().to_string(),
        );
        single(&mut text, "hub_jwks_age_seconds", "gauge", help, &age);
    }
    counters(&mut text, &stats, &call.shared.metrics);
    for (name, label, help, values) in [
        (
            "hub_closed_total",
            "reason",
            "closed WebSocket connections",
            &stats.closed,
        ),
        (
            "hub_refused_signatures_total",
            "reason",
            "refused posts",
            &stats.refused_signatures,
        ),
        ("hub_errors_total", "code", "error answers", &stats.errors),
    ] {
        labelled(&mut text, name, label, help, values);
    }
    answer::raw(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        text.into(),
    )
}

fn gauges(text: &mut String, stats: &Stats) {
    let number = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    for (name, value, help) in [
        (
            "hub_connections",
            number(stats.connections),
            "WebSocket connections",
        ),
        ("hub_seq", stats.seq, "number of the last event"),
        (
            "hub_synced",
            u64::from(stats.synced),
            "whether a snapshot of the worker came",
        ),
        ("hub_rooms", number(stats.rooms), "rooms"),
        ("hub_members", number(stats.members), "people in rooms"),
        (
            "hub_ring_events",
            number(stats.ring_events),
            "events that can be resumed",
        ),
        (
            "hub_ring_bytes",
            number(stats.ring_bytes),
            "bytes of events that can be resumed",
        ),
        (
            "hub_buffered_bytes",
            stats.buffered_bytes,
            "bytes waiting for slow clients",
        ),
    ] {
        single(text, name, "gauge", help, &value.to_string());
    }
}

fn counters(text: &mut String, stats: &Stats, metrics: &Metrics) {
    for (name, value, help) in [
        (
            "hub_delivered_total",
            stats.delivered,
            "events handed to clients",
        ),
        (
            "hub_opened_total",
            Metrics::load(&metrics.opened),
            "authenticated WebSocket connections",
        ),
        (
            "hub_resumed_total",
            Metrics::load(&metrics.resumed),
            "connections that resumed",
        ),
        (
            "hub_snapshots_total",
            Metrics::load(&metrics.snapshots),
            "snapshots sent",
        ),
        (
            "hub_posts_total",
            Metrics::load(&metrics.posts),
            "posts with a good signature",
        ),
        (
            "hub_overflow_total",
            stats.overflow,
            "rooms and people not kept for want of space",
        ),
    ] {
        single(text, name, "counter", help, &value.to_string());
    }
}

fn stats(call: &Call<'_>) -> Stats {
    crate::server::hub::Hub {
        shared: std::sync::Arc::clone(call.shared),
    }
    .stats()
}

fn single(text: &mut String, name: &str, kind: &str, help: &str, value: &str) {
    // Writing into a string cannot fail.
    let _ = writeln!(
        text,
        "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
    );
}

fn labelled(
    text: &mut String,
    name: &str,
    label: &str,
    help: &str,
    values: &std::collections::BTreeMap<&'static str, u64>,
) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
    for (key, value) in values {
        let _ = writeln!(text, "{name}{{{label}=\"{key}\"}} {value}");
    }
}
