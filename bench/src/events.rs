//! Events per second from the simulator to one client.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use spellcoven_discord_sim::{Intents, Sim};

use crate::{
    Error, client,
    figure::Figure,
    floor,
    measure::{Measured, Received, Watch},
};

/// Events made before the connection has its turn.
const BATCH: u64 = 256;
/// Events that may be on their way.
const AHEAD: u64 = 16 * 1024;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// An event of one small object, the same each time.
    Small,
    /// A person who moves between two channels: VOICE_STATE_UPDATE with its member.
    Voice,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Compression {
    None,
    Zlib,
    Zstd,
}

impl Compression {
    pub(crate) const ALL: [Self; 3] = [Self::None, Self::Zlib, Self::Zstd];

    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zlib => "zlib-stream",
            Self::Zstd => "zstd-stream",
        }
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Small => "events, small",
            Self::Voice => "events, voice",
        }
    }
}

pub(crate) fn run(kind: Kind, compression: Compression, time: Duration) -> Result<Figure, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (done, example) = runtime.block_on(simulator(kind, compression, time))?;
    let floor = runtime.block_on(bare(&example, time))?;
    Ok(Figure::new(kind.name(), compression.name(), &done, &floor))
}

/// What the simulator does, and one of its frames.
async fn simulator(
    kind: Kind,
    compression: Compression,
    time: Duration,
) -> Result<(Measured, String), Error> {
    let sim = Sim::builder().seed(1).build();
    let guild = sim.add_guild("Bench");
    let bot = sim.add_bot("bot", guild);
    let rooms = [
        sim.add_voice_channel(guild, "A"),
        sim.add_voice_channel(guild, "B"),
    ];
    let alice = sim.add_person("alice", guild);
    // With somebody in each, no room begins or ceases to be used: a move is one event.
    for room in rooms {
        sim.join(sim.add_person("someone", guild), room)?;
    }
    let server = sim.listen("127.0.0.1:0").await?;
    let received = Received::new();
    let query = match compression {
        Compression::None => "v=10&encoding=json".to_owned(),
        Compression::Zlib | Compression::Zstd => {
            format!("v=10&encoding=json&compress={}", compression.name())
        }
    };
    let (address, token, for_client) = (server.addr(), bot.token, Arc::clone(&received));
    let client = tokio::task::spawn_blocking(move || {
        client::count_frames(address, &query, Some(&token), &for_client)
    })
    .await??;
    // HELLO, READY and GUILD_CREATE.
    received.reach(3).await?;
    let small = json!({
        "channel_id": rooms[0], "guild_id": guild, "user_id": alice, "timestamp": 1_764_000_000,
    });
    let (before, bytes) = (received.count(), received.bytes());
    let watch = Watch::start();
    let mut made = 0;
    while watch.elapsed() < time {
        sim.with(|world| {
            for number in made..made + BATCH {
                match kind {
                    Kind::Small => world.emit(guild, "TYPING_START", &small, Intents::empty()),
                    // Both rooms are there, and open to all.
                    Kind::Voice => drop(world.join(alice, rooms[usize::from(number % 2 == 1)])),
                }
            }
        });
        made += BATCH;
        tokio::task::yield_now().await;
        received
            .reach((before + made).saturating_sub(AHEAD))
            .await?;
    }
    received.reach(before + made).await?;
    let done = watch.stop(made, received.bytes() - bytes);
    let example = sim
        .journal()
        .entries()
        .iter()
        .rev()
        .find_map(|entry| frame(&entry.what));
    server.shutdown().await;
    let _ = tokio::task::spawn_blocking(move || client.join()).await?;
    Ok((done, example.ok_or("no event in the journal")?))
}

fn frame(what: &spellcoven_discord_sim::EntryKind) -> Option<String> {
    match what {
        spellcoven_discord_sim::EntryKind::Dispatched { seq, t, d, .. } => {
            Some(format!(r#"{{"t":"{t}","s":{seq},"op":0,"d":{d}}}"#))
        }
        _ => None,
    }
}

/// The same frame over and over through a WebSocket, and nothing else.
async fn bare(text: &str, time: Duration) -> Result<Measured, Error> {
    let (listener, address) = floor::bind().await?;
    let received = Received::new();
    let for_client = Arc::clone(&received);
    let client =
        tokio::task::spawn_blocking(move || client::count_frames(address, "", None, &for_client));
    let mut socket = floor::accept_socket(&listener).await?;
    let client = client.await??;
    let watch = Watch::start();
    let mut made = 0;
    while watch.elapsed() < time {
        floor::send_batch(&mut socket, text).await?;
        made += floor::BATCH;
        received.reach(made.saturating_sub(AHEAD)).await?;
    }
    received.reach(made).await?;
    let done = watch.stop(made, received.bytes());
    drop(socket);
    let _ = tokio::task::spawn_blocking(move || client.join()).await?;
    Ok(done)
}
