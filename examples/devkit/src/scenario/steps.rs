use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use spellcoven_hub::{HubEvent, Snowflake};

use super::{Actor, HAND_LIMIT, STEP_LIMIT, ScenarioError, Scene};
use crate::clock::unix_time;

/// How many of the ten steps held.
#[derive(Debug, Default, Clone, Copy)]
pub struct Report {
    held: usize,
    failed: bool,
}

impl Report {
    /// Whether all ten did.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.held == 10 && !self.failed
    }

    fn step(&mut self, what: &str, outcome: Result<Option<Duration>, ScenarioError>) -> bool {
        let number = self.held + 1;
        match outcome {
            Ok(took) => {
                let took = took.map_or("by hand".to_owned(), |took| {
                    format!("{:.3} ms", took.as_secs_f64() * 1e3)
                });
                println!("{number:2}. ok      {what:<46} {took}");
                self.held = number;
                true
            }
            Err(error) => {
                println!("{number:2}. FAILED  {what}: {error}");
                self.failed = true;
                false
            }
        }
    }
}

/// The ten steps, in order, until one fails.
pub(super) async fn walk(scene: &mut Scene<'_>) -> Report {
    let mut report = Report::default();
    let _ = walk_into(scene, &mut report).await;
    report
}

/// `None` when a step failed; the report says which.
async fn walk_into(scene: &mut Scene<'_>, report: &mut Report) -> Option<()> {
    let mut step = |what: &str, outcome| report.step(what, outcome).then_some(());

    let outcome = timed(
        scene
            .stack
            .ready("the worker", &format!("{}/health", scene.stack.worker)),
    )
    .await;
    step("the worker's Gateway session is ready", outcome)?;
    let outcome = timed(
        scene
            .stack
            .ready("the backend", &format!("{}/ready", scene.stack.backend)),
    )
    .await;
    step("the backend is ready", outcome)?;
    let outcome = timed(scene.player.connected(STEP_LIMIT)).await;
    step("a WebSocket client with a valid JWT is accepted", outcome)?;

    let asked = unix_time();
    let room = scene.create_room("scenario").await;
    let took = unix_time().saturating_sub(asked);
    let room = match room {
        Ok(room) => {
            step(
                "POST /api/create-room makes a voice channel",
                Ok(Some(took)),
            )?;
            room
        }
        Err(error) => return step("POST /api/create-room makes a voice channel", Err(error)),
    };
    let outcome = scene
        .await_event(asked, STEP_LIMIT, "room.created", created(room))
        .await;
    if let Err(error) = outcome {
        return step("room.created comes once", Err(error));
    }

    let joined = scene.voice(Some(room)).await;
    let since = joined.as_ref().ok().copied().flatten();
    step("a person joins the channel in Discord", joined.map(ago))?;
    let limit = if since.is_some() {
        STEP_LIMIT
    } else {
        HAND_LIMIT
    };
    let outcome = scene
        .await_event(
            since.unwrap_or_default(),
            limit,
            "voice.joined",
            joined_in(room),
        )
        .await;
    step(
        "voice.joined is received",
        outcome.map(|took| since.map(|_| took)),
    )?;

    let left = scene.voice(None).await;
    let since = left.as_ref().ok().copied().flatten();
    step("the person leaves", left.map(ago))?;
    let outcome = scene
        .await_event(
            since.unwrap_or_default(),
            limit,
            "voice.left",
            left_from(room),
        )
        .await;
    step(
        "voice.left is received",
        outcome.map(|took| since.map(|_| took)),
    )?;

    let asked = unix_time();
    let outcome = scene.end_room(room).await;
    step(
        "DELETE /api/end-room deletes the channel",
        outcome.map(|()| Some(unix_time().saturating_sub(asked))),
    )?;
    let outcome = scene
        .await_event(asked, STEP_LIMIT, "room.deleted", deleted(room))
        .await;
    step("room.deleted is received", outcome.map(Some))
}

fn ago(since: Option<Duration>) -> Option<Duration> {
    since.map(|since| unix_time().saturating_sub(since))
}

async fn timed<T, E>(
    future: impl Future<Output = Result<T, E>>,
) -> Result<Option<Duration>, ScenarioError>
where
    E: std::fmt::Display,
{
    let began = unix_time();
    future
        .await
        .map_err(|error| ScenarioError::Wrong(error.to_string()))?;
    Ok(Some(unix_time().saturating_sub(began)))
}

pub(super) fn created(room: Snowflake) -> impl Fn(&HubEvent) -> bool {
    move |event| matches!(event, HubEvent::RoomCreated(created) if created.channel_id == room)
}

pub(super) fn deleted(room: Snowflake) -> impl Fn(&HubEvent) -> bool {
    move |event| matches!(event, HubEvent::RoomDeleted(deleted) if deleted.channel_id == room)
}

pub(super) fn joined_in(room: Snowflake) -> impl Fn(&HubEvent) -> bool {
    move |event| matches!(event, HubEvent::VoiceJoined(joined) if joined.channel_id == room)
}

pub(super) fn left_from(room: Snowflake) -> impl Fn(&HubEvent) -> bool {
    move |event| matches!(event, HubEvent::VoiceLeft(left) if left.channel_id == Some(room))
}

impl Scene<'_> {
    /// Makes a room through the API.
    pub(super) async fn create_room(&self, name: &str) -> Result<Snowflake, ScenarioError> {
        let url = format!("{}/api/create-room", self.stack.backend);
        let body = self
            .call(Method::POST, &url, Some(&json!({ "name": name })))
            .await?;
        let id = body["channelId"].as_str().unwrap_or_default();
        id.parse()
            .map_err(|_| ScenarioError::Wrong(format!("create-room answered {body}")))
    }

    /// Ends a room through the API.
    pub(super) async fn end_room(&self, room: Snowflake) -> Result<(), ScenarioError> {
        let url = format!("{}/api/end-room/{room}", self.stack.backend);
        self.call(Method::DELETE, &url, None).await.map(drop)
    }

    /// Makes the person join `room`, or leave. The time since the unix epoch at which Discord told it, where that
    /// is known: not by hand.
    pub(super) async fn voice(
        &self,
        room: Option<Snowflake>,
    ) -> Result<Option<Duration>, ScenarioError> {
        match &self.actor {
            Actor::ByHand => {
                match room {
                    Some(room) => {
                        println!("    -> now join the channel \"scenario\" ({room}) in Discord")
                    }
                    None => println!("    -> now leave it"),
                }
                Ok(None)
            }
            Actor::Simulated {
                control_url,
                user_id,
            } => {
                let body =
                    json!({"user_id": user_id, "channel_id": room.map(|room| room.to_string())});
                let (status, body) = self
                    .web
                    .call(
                        Method::POST,
                        &format!("{control_url}/voice"),
                        &[],
                        Some(&body),
                    )
                    .await?;
                match (status, body["dispatched_at_us"].as_u64()) {
                    (StatusCode::OK, Some(micros)) => Ok(Some(Duration::from_micros(micros))),
                    _ => Err(ScenarioError::Wrong(format!(
                        "the simulator answered {status} {body}"
                    ))),
                }
            }
        }
    }

    /// Waits for an event; how long after `since` it came.
    pub(super) async fn await_event(
        &mut self,
        since: Duration,
        limit: Duration,
        what: &str,
        wanted: impl Fn(&HubEvent) -> bool,
    ) -> Result<Duration, ScenarioError> {
        self.player
            .event(limit, what, wanted)
            .await
            .map(|received| received.saturating_sub(since))
    }

    async fn call(
        &self,
        method: Method,
        url: &str,
        body: Option<&Value>,
    ) -> Result<Value, ScenarioError> {
        let authorization = format!("Bearer {}", self.token);
        let (status, answer) = self
            .web
            .call(method, url, &[("authorization", &authorization)], body)
            .await?;
        if status == StatusCode::OK {
            Ok(answer)
        } else {
            Err(ScenarioError::Wrong(format!("{status} {answer}")))
        }
    }
}
