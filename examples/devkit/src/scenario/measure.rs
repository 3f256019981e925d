use std::{fmt, time::Duration};

use super::{
    STEP_LIMIT, ScenarioError, Scene,
    steps::{created, deleted, joined_in, left_from},
};
use crate::{clock::unix_time, latency::Latencies};

/// Rooms made and ended for the figures of the API.
const ROOMS: u32 = 50;
/// Between two calls. Without it the figures would show how the REST client spreads its own calls, which keeps a bot
/// under Discord's 50 in a second, and not how long a call takes.
const PAUSE: Duration = Duration::from_millis(50);

/// What a run measured, on the machine it ran on.
#[derive(Debug, Default)]
pub struct Measures {
    /// From the simulator's dispatch to the WebSocket client's receipt.
    pub events: Latencies,
    /// The whole call, Discord's answer included.
    pub create_room: Latencies,
    /// The whole call, Discord's answer included.
    pub end_room: Latencies,
}

impl fmt::Display for Measures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Measured on this machine, whatever else it was doing:")?;
        writeln!(f, "  dispatch to a client's receipt  {}", self.events)?;
        writeln!(f, "  POST /api/create-room           {}", self.create_room)?;
        write!(f, "  DELETE /api/end-room            {}", self.end_room)
    }
}

/// `churn` joins and as many leaves, one after another, then rooms made and ended.
pub(super) async fn run(scene: &mut Scene<'_>, churn: u32) -> Result<Measures, ScenarioError> {
    let mut measures = Measures::default();
    let room = scene.create_room("churn").await?;
    scene
        .await_event(unix_time(), STEP_LIMIT, "room.created", created(room))
        .await?;
    for _ in 0..churn {
        let since = scene.voice(Some(room)).await?.unwrap_or_default();
        measures.events.record(
            scene
                .await_event(since, STEP_LIMIT, "voice.joined", joined_in(room))
                .await?,
        );
        let since = scene.voice(None).await?.unwrap_or_default();
        measures.events.record(
            scene
                .await_event(since, STEP_LIMIT, "voice.left", left_from(room))
                .await?,
        );
    }
    scene.end_room(room).await?;
    scene
        .await_event(unix_time(), STEP_LIMIT, "room.deleted", deleted(room))
        .await?;
    for number in 0..ROOMS {
        tokio::time::sleep(PAUSE).await;
        let asked = unix_time();
        let room = scene.create_room(&format!("measured {number}")).await?;
        measures
            .create_room
            .record(unix_time().saturating_sub(asked));
        scene
            .await_event(asked, STEP_LIMIT, "room.created", created(room))
            .await?;
        tokio::time::sleep(PAUSE).await;
        let asked = unix_time();
        scene.end_room(room).await?;
        measures.end_room.record(unix_time().saturating_sub(asked));
        scene
            .await_event(asked, STEP_LIMIT, "room.deleted", deleted(room))
            .await?;
    }
    Ok(measures)
}
