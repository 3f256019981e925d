//! REST calls per second that the simulator answers.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use spellcoven_discord_sim::{Request, Sim};

use crate::{
    Error, client,
    figure::Figure,
    floor,
    measure::{Measured, Received, Watch},
};

/// Connections that call at the same time.
const CONNECTIONS: usize = 8;

pub(crate) fn run(time: Duration) -> Result<Figure, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let sim = Sim::builder().seed(1).no_rate_limits().build();
        let guild = sim.add_guild("Bench");
        let bot = sim.add_bot("bot", guild);
        let path = format!("/api/v10/channels/{}", sim.add_voice_channel(guild, "A"));
        let server = sim.listen("127.0.0.1:0").await?;
        let done = calls(server.addr(), &path, &bot.token, time).await?;
        server.shutdown().await;
        let canned = sim.rest(&Request::new("GET", &path).bot(&bot.token));
        let (listener, address) = floor::bind().await?;
        let bare = tokio::spawn(floor::answer(listener, canned));
        let floor = calls(address, &path, &bot.token, time).await?;
        bare.abort();
        Ok(Figure::new("rest, get channel", "none", &done, &floor))
    })
}

async fn calls(
    address: SocketAddr,
    path: &str,
    token: &str,
    time: Duration,
) -> Result<Measured, Error> {
    let (received, stop) = (Received::new(), Arc::new(AtomicBool::new(false)));
    let (path, token) = (path.to_owned(), token.to_owned());
    let (for_client, to_stop) = (Arc::clone(&received), Arc::clone(&stop));
    let watch = Watch::start();
    let client = tokio::task::spawn_blocking(move || {
        client::call(address, &path, &token, CONNECTIONS, &for_client, &to_stop)
    })
    .await??;
    tokio::time::sleep(time).await;
    let done = watch.stop(received.count(), received.bytes());
    stop.store(true, Ordering::Relaxed);
    tokio::task::spawn_blocking(move || client.join())
        .await?
        .map_err(|_| "the calling thread panicked")??;
    Ok(done)
}
