//! A simulated Discord on loopback. Prints one JSON line with all that a client needs, then serves until it is stopped.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use spellcoven_discord_sim::{ControlServer, Description, PersonDescription, Sim};

/// A simulated Discord on loopback: REST, Gateway, and an API to make things happen in it.
///
/// The same seed gives the same ids and tokens, so a simulator that is started again is the same Discord, with
/// nobody in its rooms.
#[derive(Parser)]
struct Arguments {
    /// Port of REST and Gateway; 0 for a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Port of the control API; 0 for a free one
    #[arg(long, default_value_t = 0)]
    control_port: u16,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Name of the guild
    #[arg(long, default_value = "Spellcoven")]
    guild: String,
    /// How many people are in the guild
    #[arg(long, default_value_t = 8)]
    people: u32,
    /// How many bots are in the guild
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    bots: u32,
    /// What HELLO says, in milliseconds
    #[arg(long, default_value_t = 41_250, value_parser = clap::value_parser!(u64).range(1..))]
    heartbeat_interval: u64,
    /// Send X-RateLimit-Scope with every answer, not with a 429 alone: some clients pace themselves only then
    #[arg(long)]
    scope_on_all: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("discord-sim: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let sim = Sim::builder()
        .seed(arguments.seed)
        .heartbeat_interval(Duration::from_millis(arguments.heartbeat_interval))
        .settings(|settings| settings.scope_on_all = arguments.scope_on_all)
        .build();
    let guild_id = sim.add_guild(&arguments.guild);
    let bots = (1..=arguments.bots)
        .map(|number| sim.add_bot(&format!("bot{number}"), guild_id).into())
        .collect();
    let voice_channel_id = sim.add_voice_channel(guild_id, "Lobby");
    let people = (1..=arguments.people)
        .map(|number| {
            let name = format!("person{number}");
            PersonDescription {
                user_id: sim.add_person(&name, guild_id),
                name,
            }
        })
        .collect();
    let server = sim.listen(&format!("127.0.0.1:{}", arguments.port)).await?;
    let control = ControlServer::bind(&format!("127.0.0.1:{}", arguments.control_port)).await?;
    let about = Description {
        api_base: server.api_base(),
        gateway_url: server.gateway_url(),
        control_url: control.url(),
        guild_id,
        voice_channel_id,
        bots,
        people,
    };
    println!("{}", serde_json::to_string(&about)?);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        biased;
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
        () = control.serve(sim, about) => {}
    }
    server.shutdown().await;
    Ok(())
}
