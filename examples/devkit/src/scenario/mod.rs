//! The specification's ten manual steps as a program, and what they measure; then a call with the voice bot.

mod measure;
mod player;
mod steps;
mod voice;

use std::time::Duration;

pub use measure::Measures;
pub use steps::Report;

use self::player::Player;
use crate::{
    sign_in::{SignInError, sign_in},
    stack::{Stack, StackError},
    web::{WebClient, WebError},
};

/// How long a step may take before it counts as failed. No latency decides about success.
const STEP_LIMIT: Duration = Duration::from_secs(30);
/// A person who joins and leaves by hand needs longer.
const HAND_LIMIT: Duration = Duration::from_secs(300);

/// A step did not hold.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// One of the services could not be called.
    #[error(transparent)]
    Web(#[from] WebError),
    /// Signing in failed.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// A process of the scenario's own did not start.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// The client of `/api/ws` could not be set up.
    #[error("the hub's client cannot start")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Something answered, but not as it should.
    #[error("{0}")]
    Wrong(String),
}

/// Who joins and leaves.
pub(crate) enum Actor {
    /// The simulator's first person, through its control API.
    Simulated {
        control_url: String,
        user_id: String,
    },
    /// Somebody with a Discord client.
    ByHand,
}

/// What every step needs.
pub(crate) struct Scene<'a> {
    stack: &'a Stack,
    web: WebClient,
    token: String,
    player: Player,
    actor: Actor,
}

/// Walks through the ten steps against `stack`, printing each with its latency; then, with a simulated Discord, lets
/// the voice bot say its melody and echo a person.
///
/// # Errors
/// Setting the scene up failed, or the call was not as it should be; a step that does not hold is in the report, not
/// an error.
///
/// # Cancel safety
/// A room made by the scenario stays when the future is dropped.
pub async fn run(stack: &Stack, churn: u32) -> Result<Report, ScenarioError> {
    let web = WebClient::new();
    let token = sign_in(&web, &stack.identity, "scenario").await?;
    let player = Player::new(&stack.backend, token.clone())?;
    let actor = match &stack.simulated {
        Some(simulated) => Actor::Simulated {
            control_url: simulated.control_url.clone(),
            user_id: simulated.people.first().cloned().unwrap_or_default(),
        },
        None => Actor::ByHand,
    };
    let mut scene = Scene {
        stack,
        web,
        token,
        player,
        actor,
    };
    let report = steps::walk(&mut scene).await;
    if report.holds() && matches!(scene.actor, Actor::Simulated { .. }) && churn > 0 {
        let measures = measure::run(&mut scene, churn).await?;
        println!("{measures}");
    }
    if report.holds() {
        voice::run(stack, &scene.web).await?;
    }
    Ok(report)
}
