//! The worker: holds the Gateway session, forwards what happens in the guild's rooms to the hub, answers `/health`.

use std::{process::ExitCode, time::Duration};

use spellcoven_devkit::signals;
use spellcoven_discord_gateway::{
    self as discord, GuildTracker, InMemoryIdentifyQueue, Shard, Shutdown,
};
use spellcoven_discord_rest::{self as rest, DiscordRestClient};
use spellcoven_examples::{
    discovery::find_gateway,
    env::{Environment, WorkerEnvironment},
    health::Health,
    logging,
};
use spellcoven_hub::{
    HubSecret, Snowflake,
    forward::{Forwarder, gateway},
};
use tokio::net::TcpListener;

/// How long a stopping worker tries to deliver what it still holds.
const DRAIN: Duration = Duration::from_secs(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    logging::start(Environment::of_process())?;
    let env = WorkerEnvironment::read(Environment::of_process())?;
    let secret = HubSecret::new(env.hub_secret.expose())?;
    let forwarder =
        Forwarder::builder(&env.hub_endpoint.0, secret, Snowflake::new(env.guild_id)).start()?;
    let health = Health::new(forwarder.clone());
    let listener = TcpListener::bind((env.bind_address, env.health_port)).await?;
    tracing::info!(address = %listener.local_addr()?, "answering /health");

    let working = work(&env, &forwarder, &health);
    tokio::select! {
        biased;
        stopped = signals::stopped() => stopped?,
        worked = working => worked?,
        () = health.clone().serve(listener) => {}
    }
    tracing::info!("stopping: delivering what is left");
    forwarder.shutdown(DRAIN).await;
    Ok(())
}

/// Until Discord refuses for good. Dropping the future closes the connection and keeps the session, so that the bot
/// does not seem to go offline while it is started again.
async fn work(
    env: &WorkerEnvironment,
    forwarder: &Forwarder,
    health: &Health,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut client = DiscordRestClient::builder(rest::BotToken::new(env.bot_token.expose())?);
    if let Some(base) = &env.api_base {
        client = client.base_url(&base.0);
    }
    let (url, limit) = find_gateway(&client.build()?).await?;
    let mut shard = Shard::builder(discord::BotToken::new(env.bot_token.expose()))
        .gateway_url(url)
        .identify_queue(InMemoryIdentifyQueue::new(limit))
        .start();
    health.watch(shard.handle());
    gateway::run(&mut shard, &mut GuildTracker::default(), forwarder).await?;
    shard.shutdown(Shutdown::KeepSession).await;
    Ok(())
}
