//! A simulated Discord on loopback. Prints one JSON line with all that a client needs, then serves until it is stopped.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use spellcoven_discord_sim::{
    Authority, BotDescription, ChannelId, ChannelKind, ControlServer, Description, GuildId,
    Intents, PersonDescription, Sim, SimBuilder, SimError, SimServer, TlsDescription, core::World,
};

/// A simulated Discord on loopback: REST, Gateway, and an API to make things happen in it.
///
/// The same seed gives the same tokens, so a simulator that is started again is the same Discord, with nobody in its
/// rooms. Ids carry the time: they are the same only with the same start time.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Port of REST and Gateway; 0 for a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Port of the same over TLS; 0 for a free one
    #[arg(long, default_value_t = 0, conflicts_with = "no_tls")]
    tls_port: u16,
    /// Port of the voice server, TCP with TLS and UDP; 0 for a free one of each
    #[arg(long, default_value_t = 0, conflicts_with = "no_tls")]
    voice_port: u16,
    /// Offer no transport encryption with AES for voice, so that clients take XChaCha20
    #[arg(long)]
    no_voice_aes: bool,
    /// Serve no TLS, and so no voice
    #[arg(long)]
    no_tls: bool,
    /// Port of the control API; 0 for a free one
    #[arg(long, default_value_t = 0)]
    control_port: u16,
    /// Write shell variables for clients to this file
    #[arg(long, value_name = "FILE")]
    env: Option<PathBuf>,
    /// Write the certificate that TLS clients have to trust to this file; with --env, it is ENV-FILE.ca.pem by default
    #[arg(long, value_name = "FILE", conflicts_with = "no_tls")]
    ca: Option<PathBuf>,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Wall time at the start, Unix milliseconds; the machine's by default
    #[arg(long, value_name = "MS")]
    start_time: Option<u64>,
    /// Name of the guild
    #[arg(long, default_value = "Spellcoven")]
    guild: String,
    /// How many voice channels are in the guild; the first is "Lobby"
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=400))]
    channels: u32,
    /// How many people are in the guild
    #[arg(long, default_value_t = 8)]
    people: u32,
    /// How many bots are in the guild
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    bots: u32,
    /// What HELLO says, in milliseconds
    #[arg(long, default_value_t = 41_250, value_parser = clap::value_parser!(u64).range(1..))]
    heartbeat_interval: u64,
    /// Let the bots use the privileged intents
    #[arg(long)]
    privileged_intents: bool,
    /// Answer without REST rate limits
    #[arg(long)]
    no_rate_limits: bool,
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

fn simulator(arguments: &Arguments) -> SimBuilder {
    let mut builder = Sim::builder()
        .seed(arguments.seed)
        .heartbeat_interval(Duration::from_millis(arguments.heartbeat_interval))
        .settings(|settings| {
            settings.scope_on_all = arguments.scope_on_all;
            settings.rate_limits = !arguments.no_rate_limits;
            settings.voice.offer_aes = !arguments.no_voice_aes;
        });
    if let Some(unix_ms) = arguments.start_time {
        builder = builder.start_time(unix_ms);
    }
    if arguments.privileged_intents {
        let all = Intents::GUILD_MEMBERS
            .union(Intents::GUILD_PRESENCES)
            .union(Intents::MESSAGE_CONTENT);
        builder = builder.privileged_intents(all);
    }
    builder
}

/// What is there at the start.
struct Scene {
    guild_id: GuildId,
    bots: Vec<BotDescription>,
    voice_channel_ids: Vec<ChannelId>,
    people: Vec<PersonDescription>,
}

fn set_up(world: &mut World, arguments: &Arguments) -> Result<Scene, SimError> {
    let guild_id = world.add_guild(&arguments.guild);
    let bots = (1..=arguments.bots)
        .map(|number| world.add_bot(&format!("bot{number}"), guild_id).into())
        .collect();
    let rooms = (2..=arguments.channels).map(|number| format!("Room {number}"));
    let voice_channel_ids = std::iter::once("Lobby".to_owned())
        .chain(rooms)
        .map(|name| world.add_channel(guild_id, ChannelKind::Voice, &name, None))
        .collect::<Result<_, _>>()?;
    let people = (1..=arguments.people)
        .map(|number| {
            let name = format!("person{number}");
            PersonDescription {
                user_id: world.add_person(&name, guild_id),
                name,
            }
        })
        .collect();
    Ok(Scene {
        guild_id,
        bots,
        voice_channel_ids,
        people,
    })
}

async fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let (sim, scene) = simulator(arguments).build_with(|world| set_up(world, arguments));
    let Scene {
        guild_id,
        bots,
        voice_channel_ids,
        people,
    } = scene?;
    let voice_channel_id = *voice_channel_ids
        .first()
        .expect("the lobby is always there");
    let loopback = |port: u16| SocketAddr::from(([127, 0, 0, 1], port)).to_string();
    let mut server = sim.listen(&loopback(arguments.port)).await?;
    let tls = if arguments.no_tls {
        None
    } else {
        Some(serve_tls(&mut server, &loopback(arguments.tls_port), arguments).await?)
    };
    let control = ControlServer::bind(&loopback(arguments.control_port)).await?;
    let about = Description {
        api_base: server.api_base(),
        gateway_url: server.gateway_url(),
        control_url: control.url(),
        tls,
        guild_id,
        voice_channel_id,
        voice_channel_ids,
        bots,
        people,
    };
    if let Some(file) = &arguments.env {
        write(file, &about.shell_variables())?;
    }
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

/// Serves TLS with an authority of this run's own, and writes its certificate where it is wanted.
async fn serve_tls(
    server: &mut SimServer,
    address: &str,
    arguments: &Arguments,
) -> Result<TlsDescription, Box<dyn std::error::Error>> {
    let authority = Authority::generate()?;
    let voice = SocketAddr::from(([127, 0, 0, 1], arguments.voice_port)).to_string();
    server.listen_tls(address, &authority).await?;
    server.listen_voice(&voice, &authority).await?;
    let beside = |env: &PathBuf| {
        let mut name = env.clone().into_os_string();
        name.push(".ca.pem");
        PathBuf::from(name)
    };
    let ca_file = arguments
        .ca
        .clone()
        .or_else(|| arguments.env.as_ref().map(beside))
        .map(std::path::absolute)
        .transpose()?;
    if let Some(file) = &ca_file {
        write(file, authority.ca_pem())?;
    }
    Ok(TlsDescription {
        api_base: server.tls_api_base().unwrap_or_default(),
        gateway_url: server.tls_gateway_url().unwrap_or_default(),
        ca_pem: authority.ca_pem().to_owned(),
        ca_file,
    })
}

/// Writes a file whole: who waits for it to appear never reads half of it.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let wrong = |error: io::Error| {
        io::Error::new(
            error.kind(),
            format!("cannot write {}: {error}", file.display()),
        )
    };
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    fs::write(&part, text).map_err(wrong)?;
    fs::rename(&part, file).map_err(wrong)
}
