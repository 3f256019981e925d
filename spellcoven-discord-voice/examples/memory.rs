//! What a client costs in memory: made, in a call, and playing in a call, over TLS and UDP and end-to-end encrypted.
//!
//! Each group of two is in a channel of its own of a simulated server, which runs on another thread and is not counted.
//! What the clients' threads allocated and did not free is divided by the clients. Prints lines such as
//! `in a call: … kB for each of 20 clients`.

use std::{
    error::Error,
    sync::{Arc, mpsc},
    time::Duration,
};

use spellcoven_discord_gateway::{EventFilter, Shard};
use spellcoven_discord_sim::{Authority, Sim};
use spellcoven_discord_voice::{
    AudioSource, ChannelMarker, DiscordRtcClient, GuildMarker, Id, NextFrame, OpusFrame, TcpTlsUdp,
    UserMarker, VoicePool, VoiceRouter,
};

/// So many groups, where the first argument names no other number. More divide by more what all have in common.
const GROUPS: usize = 10;

mod count {
    //! An allocator that counts what the marked threads hold.

    use std::{
        alloc::{GlobalAlloc, Layout, System},
        cell::Cell,
        sync::atomic::{AtomicI64, Ordering},
    };

    struct Counting;

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;
    static HELD: AtomicI64 = AtomicI64::new(0);

    thread_local! {
        static COUNTED: Cell<bool> = const { Cell::new(false) };
    }

    pub(crate) fn this_thread() {
        COUNTED.set(true);
    }

    pub(crate) fn held() -> i64 {
        HELD.load(Ordering::Relaxed)
    }

    fn add(bytes: usize, sign: i64) {
        if COUNTED.try_with(Cell::get).unwrap_or(false) {
            let bytes = i64::try_from(bytes).unwrap_or(0);
            HELD.fetch_add(sign * bytes, Ordering::Relaxed);
        }
    }

    #[expect(
        unsafe_code,
        reason = "an allocator cannot be written without; it passes all to the system's"
    )]
    // SAFETY: all is done by `System`, with the same arguments.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            add(layout.size(), 1);
            // SAFETY: the caller's promises are the same.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
            add(layout.size(), -1);
            // SAFETY: the caller's promises are the same.
            unsafe { System.dealloc(place, layout) }
        }
    }
}

type Anything = Box<dyn Error + Send + Sync>;

struct Ticket {
    guild: Id<GuildMarker>,
    channel: Id<ChannelMarker>,
    user: Id<UserMarker>,
    router: VoiceRouter,
}

struct Steady;

impl AudioSource for Steady {
    fn next_frame(&mut self) -> NextFrame {
        NextFrame::Frame(OpusFrame::SILENCE)
    }
}

fn main() -> Result<(), Anything> {
    let groups = std::env::args()
        .nth(1)
        .and_then(|groups| groups.parse().ok())
        .unwrap_or(GROUPS);
    let (tickets, taken) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        if let Err(error) = runtime
            .map_err(Anything::from)
            .and_then(|runtime| runtime.block_on(serve(groups, &tickets)))
        {
            eprintln!("the server: {error}");
        }
    });
    let authority: Authority = taken.recv()?.map_err(|_| "the authority comes first")?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::pem::PemObject::from_pem_slice(
        authority.ca_pem().as_bytes(),
    )?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = Arc::new(TcpTlsUdp::with_tls(Arc::new(tls)));
    let tickets: Vec<Ticket> = (0..groups * 2)
        .map(|_| {
            taken
                .recv()?
                .err()
                .ok_or_else(|| Anything::from("a ticket comes then"))
        })
        .collect::<Result<_, _>>()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .on_thread_start(count::this_thread)
        .enable_all()
        .build()?;
    count::this_thread();
    runtime.block_on(async {
        let pool = VoicePool::builder().shards(1).build();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let base = count::held();
        println!("the pool: {base} bytes with its runtime");
        let clients: Vec<_> = tickets
            .iter()
            .map(|ticket| {
                let signalling = ticket.router.signalling(ticket.guild);
                DiscordRtcClient::builder(ticket.guild, ticket.user, signalling)
                    .connector(Arc::clone(&connector))
                    .pool(&pool)
                    .build()
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        tell("made", base, clients.len());
        for (client, ticket) in clients.iter().zip(&tickets) {
            client.connect(ticket.channel).await?;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
        tell("in a call", base, clients.len());
        for client in &clients {
            client.play(Steady);
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        tell("playing in a call", base, clients.len());
        let sent = clients.iter().map(|client| client.stats().playback.sent);
        println!("sent {} frames", sent.sum::<u64>());
        Ok(())
    })
}

#[expect(clippy::cast_precision_loss, reason = "it is printed with one digit")]
fn tell(what: &str, base: i64, clients: usize) {
    let each = (count::held() - base) as f64 / clients as f64 / 1000.0;
    println!("{what}: {each:.1} kB for each of {clients} clients");
}

async fn serve(
    groups: usize,
    tickets: &mpsc::Sender<Result<Authority, Ticket>>,
) -> Result<(), Anything> {
    let sim = Sim::builder().seed(1).build();
    let mut server = sim.listen("127.0.0.1:0").await?;
    let authority = Authority::generate()?;
    server.listen_voice("127.0.0.1:0", &authority).await?;
    tickets.send(Ok(authority))?;
    let guild = sim.add_guild("Spellcoven");
    for group in 0..groups {
        let channel = Id::new(
            sim.add_voice_channel(guild, &format!("Table {group}"))
                .into(),
        );
        for seat in 0..2 {
            let bot = sim.add_bot(&format!("bot {group} {seat}"), guild);
            let user = Id::new(bot.user_id.into());
            let mut shard = Shard::builder(bot.token.as_str())
                .gateway_url(server.gateway_url())
                .wanted_events(VoiceRouter::wanted_events(EventFilter::none()))
                .start();
            let router = VoiceRouter::new(shard.handle(), user);
            let feed = router.clone();
            tokio::spawn(async move {
                while let Some(Ok(event)) = shard.next_event().await {
                    feed.handle(&event);
                }
            });
            let guild = Id::new(guild.into());
            tickets.send(Err(Ticket {
                guild,
                channel,
                user,
                router,
            }))?;
        }
    }
    std::future::pending::<()>().await;
    Ok(())
}
