//! The task around the outbox: signs, posts, waits.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::log;
use super::outbox::{Outcome, Post, Step};
use super::poster::{PostAnswer, Poster};
use super::shell::{Phase, Shared};
use crate::clock::Clock;
use crate::wire::headers::{DELIVERY, EPOCH, SIGNATURE, TIMESTAMP};
use crate::wire::signature::sign;
use crate::wire::{HubSecret, WebhookAnswer};

/// An epoch is a short random id; a longer one is not kept.
const MAX_EPOCH_LEN: usize = 128;

pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    pub(super) poster: Arc<dyn Poster>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) secret: HubSecret,
    pub(super) post_timeout: Duration,
}

impl Driver {
    pub(super) async fn run(self) {
        let mut phase = self.shared.phase.subscribe();
        loop {
            let current = *phase.borrow_and_update();
            if current >= Phase::Stopping {
                break;
            }
            let step = {
                let mut outbox = self.shared.outbox();
                if current == Phase::Draining && outbox.is_idle() {
                    break;
                }
                outbox.poll(Instant::now().into_std(), current == Phase::Running)
            };
            match step {
                Step::Post(post) => tokio::select! {
                    biased;
                    () = self.post(post) => {}
                    _ = phase.wait_for(|phase| *phase >= Phase::Stopping) => break,
                },
                Step::Wait(until) => tokio::select! {
                    biased;
                    () = self.shared.wake.notified() => {}
                    _ = phase.changed() => {}
                    () = sleep_until(until.map(Instant::from_std)) => {}
                },
            }
        }
        self.shared.raise_phase(Phase::Stopped);
    }

    async fn post(&self, post: Post) {
        let headers = self.headers(&post);
        let answer = tokio::time::timeout(
            self.post_timeout,
            self.poster.post(headers, post.body.clone()),
        )
        .await;
        let (outcome, request_id, error) = match answer {
            Ok(Ok(answer)) => {
                let request_id = answer.request_id.clone();
                (outcome(&answer), request_id, None)
            }
            Ok(Err(error)) => (Outcome::Unreachable, None, Some(log::describe(&error))),
            Err(_) => (
                Outcome::Unreachable,
                None,
                Some("no answer in time".to_owned()),
            ),
        };
        let status = match &outcome {
            Outcome::Answer { status, .. } => Some(*status),
            Outcome::Unreachable => None,
        };
        let (verdict, before, after) = {
            let mut outbox = self.shared.outbox();
            let before = outbox.failure();
            let verdict = outbox.handle_outcome(outcome, Instant::now().into_std());
            (verdict, before, outbox.failure())
        };
        let told = log::Told {
            status,
            request_id,
            error,
            before,
            after,
        };
        log::post_ended(&post, &verdict, &told);
    }

    fn headers(&self, post: &Post) -> HeaderMap {
        let timestamp = self.clock.now_ms() / 1000;
        let signature = sign(&self.secret, timestamp, &post.body);
        let mut headers = HeaderMap::with_capacity(5);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(
            HeaderName::from_static(TIMESTAMP),
            HeaderValue::from(timestamp),
        );
        for (name, text) in [(SIGNATURE, &*signature), (DELIVERY, &*post.delivery_id)] {
            let value = HeaderValue::from_str(text)
                .expect("hexadecimal digits, '-' and '=' are header characters");
            headers.insert(HeaderName::from_static(name), value);
        }
        // What a hub calls its epoch is its own affair; one that no header can carry is left out.
        let epoch = self.shared.outbox().hub_epoch();
        if let Some(value) = epoch.and_then(|epoch| HeaderValue::try_from(epoch).ok()) {
            headers.insert(HeaderName::from_static(EPOCH), value);
        }
        headers
    }
}

fn outcome(answer: &PostAnswer) -> Outcome {
    let ours = serde_json::from_slice::<WebhookAnswer>(&answer.body).ok();
    let (epoch, synced) = ours.map_or((None, None), |answer| (answer.epoch, answer.synced));
    Outcome::Answer {
        status: answer.status,
        retry_after: answer.retry_after,
        epoch: epoch.filter(|epoch| !epoch.is_empty() && epoch.len() <= MAX_EPOCH_LEN),
        synced,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
