use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{STEP_LIMIT, ScenarioError};
use crate::{
    stack::{Simulated, Stack},
    supervisor::Supervisor,
    web::WebClient,
};

/// A tone that is not in the melody.
const TONE: u32 = 440;
/// Two notes of the melody.
const NOTES: [u32; 2] = [523, 1047];
const POLL: Duration = Duration::from_millis(100);

/// The voice bot as a process in a call over TLS and UDP: a person hears its melody, then themself; then the bot is
/// asked to stop, and is out of the channel. Nothing happens with the real Discord, where nobody can be made to listen.
pub(super) async fn run(stack: &Stack, web: &WebClient) -> Result<(), ScenarioError> {
    let (Some(simulated), Some((service, bot))) = (&stack.simulated, stack.voice_bot()?) else {
        return Ok(());
    };
    let mut supervisor = Supervisor::new();
    supervisor.start(service);
    let call = Call {
        web,
        simulated,
        person: simulated.people.last().cloned().unwrap_or_default(),
    };
    let ready = stack.ready("the voice bot", &format!("{bot}/health")).await;
    let heard = match ready {
        Ok(()) => call.listen().await,
        Err(error) => Err(error.into()),
    };
    supervisor.stop().await;
    let (melody, echo) = heard?;
    call.end().await?;
    println!(
        "\nA call, end-to-end encrypted, over TLS and UDP: the voice bot's melody was heard after {:.1} s and a person's \
         own tone {:.1} s after they began; at SIGTERM the bot left.",
        melody.as_secs_f64(),
        echo.as_secs_f64(),
    );
    Ok(())
}

struct Call<'a> {
    web: &'a WebClient,
    simulated: &'a Simulated,
    person: String,
}

impl Call<'_> {
    /// How long it took until the melody was heard, and then the echo.
    async fn listen(&self) -> Result<(Duration, Duration), ScenarioError> {
        let channel = &self.simulated.voice_channel_id;
        let began = Instant::now();
        self.post(
            "voice",
            json!({"user_id": self.person, "channel_id": channel}),
        )
        .await?;
        self.post("voice/listen", json!({"user_id": self.person}))
            .await?;
        for note in NOTES {
            // A quarter of the time each, and so a sixteenth of what the whole would be at one frequency.
            self.await_share(note, 0.03, "the melody").await?;
        }
        let melody = began.elapsed();
        let began = Instant::now();
        self.post("voice/talk", json!({"user_id": self.person, "tone": TONE}))
            .await?;
        self.await_share(TONE, 0.1, "the echo").await?;
        let echo = began.elapsed();
        self.post("voice/hush", json!({"user_id": self.person}))
            .await?;
        Ok((melody, echo))
    }

    /// Waits until a tone has this share of what the person heard of the bot.
    async fn await_share(&self, hz: u32, least: f64, what: &str) -> Result<(), ScenarioError> {
        let (person, bot) = (&self.person, &self.simulated.spare_bot.user_id);
        let path = format!("voice/heard?user_id={person}&from={bot}&left={hz}");
        let limit = Instant::now() + STEP_LIMIT;
        loop {
            let heard = self.get(&path).await?;
            if heard["left"].as_f64().is_some_and(|share| share >= least) {
                return Ok(());
            }
            if Instant::now() > limit {
                return Err(ScenarioError::Wrong(format!(
                    "{what} of the voice bot is not heard at {hz} Hz: {heard}"
                )));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The bot's process has ended: it must be out of the channel, and nothing may have been sent in clear.
    async fn end(&self) -> Result<(), ScenarioError> {
        let bot = &self.simulated.spare_bot.user_id;
        let world = self.get("world").await?;
        let there = world["voice_states"].as_array().is_some_and(|states| {
            states
                .iter()
                .any(|state| state["user_id"].as_str() == Some(bot))
        });
        let counts = &self.get("media").await?[bot];
        self.post("voice", json!({"user_id": self.person, "channel_id": null}))
            .await?;
        if there {
            return Err(ScenarioError::Wrong(
                "the voice bot ended and is still in the channel".to_owned(),
            ));
        }
        if counts["clear"].as_u64() != Some(0) {
            return Err(ScenarioError::Wrong(format!(
                "the voice bot sent in clear: {counts}"
            )));
        }
        Ok(())
    }

    async fn get(&self, path: &str) -> Result<Value, ScenarioError> {
        self.call(Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: Value) -> Result<Value, ScenarioError> {
        self.call(Method::POST, path, Some(&body)).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, ScenarioError> {
        let url = format!("{}/{path}", self.simulated.control_url);
        let (status, answer) = self.web.call(method, &url, &[], body).await?;
        if status.is_success() {
            return Ok(answer);
        }
        Err(ScenarioError::Wrong(format!(
            "the simulator answered {path} with {status} {answer}"
        )))
    }
}
