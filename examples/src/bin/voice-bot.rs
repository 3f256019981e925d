//! The voice bot: joins a channel, says a file or a melody, then echoes what it hears a second later; answers
//! `/health`.

use std::{pin::pin, process::ExitCode};

use spellcoven_devkit::signals;
use spellcoven_discord_gateway::{self as discord, InMemoryIdentifyQueue, Shard};
use spellcoven_discord_rest::{self as rest, DiscordRestClient};
use spellcoven_discord_voice::{Id, TcpTlsUdp, Track};
use spellcoven_examples::{
    discovery::find_gateway,
    env::Environment,
    health, logging,
    voice::{VoiceBot, clip, env::VoiceBotEnvironment, health::VoiceHealth},
};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("voice-bot: {error}");
            let mut source = error.source();
            while let Some(error) = source {
                eprintln!("  because: {error}");
                source = error.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    logging::start(Environment::of_process())?;
    let env = VoiceBotEnvironment::read(Environment::of_process())?;
    let clip = clip::open(env.file.as_deref())?;
    let health = VoiceHealth::default();
    let listener = TcpListener::bind((env.bind_address, env.health_port)).await?;
    tracing::info!(address = %listener.local_addr()?, "answering /health");

    let page = health.clone();
    let mut serving = pin!(health::serve(listener, move || page.report()));
    let mut stopped = pin!(signals::stopped());
    let mut bot = tokio::select! {
        biased;
        stopped = &mut stopped => return Ok(stopped?),
        started = start(&env) => started?,
        () = &mut serving => return Ok(()),
    };
    health.watch(&bot);
    let ran = tokio::select! {
        biased;
        stopped = &mut stopped => stopped.map_err(Into::into),
        ran = say_and_echo(&mut bot, &env, clip) => ran,
        () = &mut serving => Ok(()),
    };
    tracing::info!("leaving");
    bot.leave().await;
    ran
}

async fn start(env: &VoiceBotEnvironment) -> Result<VoiceBot, Box<dyn std::error::Error>> {
    let mut client = DiscordRestClient::builder(rest::BotToken::new(env.bot_token.expose())?);
    if let Some(base) = &env.api_base {
        client = client.base_url(&base.0);
    }
    let (url, limit) = find_gateway(&client.build()?).await?;
    let shard = Shard::builder(discord::BotToken::new(env.bot_token.expose()))
        .gateway_url(url)
        .identify_queue(InMemoryIdentifyQueue::new(limit));
    Ok(VoiceBot::start(shard, Id::from(env.guild_id), TcpTlsUdp::new()).await?)
}

async fn say_and_echo(
    bot: &mut VoiceBot,
    env: &VoiceBotEnvironment,
    clip: Track,
) -> Result<(), Box<dyn std::error::Error>> {
    Ok(bot.run(Id::from(env.channel_id), clip).await?)
}
