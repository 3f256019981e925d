//! The backend: the room API behind JWTs, the worker's webhook, and the WebSocket fan-out to browsers.

use std::process::ExitCode;

use spellcoven_devkit::signals;
use spellcoven_discord_rest::{BotToken, DiscordRestClient};
use spellcoven_examples::{
    env::{BackendEnvironment, Environment},
    logging,
};
use spellcoven_hub::{
    HubSecret, Snowflake,
    server::{DiscordRooms, Hub, JwtConfig},
};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backend: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    logging::start(Environment::of_process())?;
    let env = BackendEnvironment::read(Environment::of_process())?;
    let guild_id = Snowflake::new(env.guild_id);
    let mut client = DiscordRestClient::builder(BotToken::new(env.bot_token.expose())?)
        .max_retries(env.max_api_retries);
    if let Some(base) = &env.api_base {
        client = client.base_url(&base.0);
    }
    let mut hub = Hub::builder(guild_id)
        .rooms(DiscordRooms::new(client.build()?, guild_id))
        .jwks_url(&env.jwks_url.0)
        .jwt(JwtConfig {
            issuer: env.jwt_issuer,
            audience: env.jwt_audience,
        })
        .hub_secret(HubSecret::new(env.hub_secret.expose())?)
        .allowed_origin(env.allowed_origin.0)
        .max_ws_reconnect_attempts(env.max_ws_reconnect_attempts);
    if let Some(previous) = &env.previous_hub_secret {
        hub = hub.previous_hub_secret(HubSecret::new(previous.expose())?);
    }
    let hub = hub.build()?;
    let listener = TcpListener::bind((env.bind_address, env.port)).await?;
    tracing::info!(address = %listener.local_addr()?, "serving");
    // Ends when a signal comes: clients are closed with 1001 and come back to the next instance.
    hub.serve(listener, async {
        let _ = signals::stopped().await;
    })
    .await?;
    Ok(())
}
