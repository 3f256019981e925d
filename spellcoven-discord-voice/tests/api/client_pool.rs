//! Many clients on one shard: what one does is nothing to the others.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use spellcoven_discord_gateway::{EventFilter, Shard};
use spellcoven_discord_sim::{Authority, Sim};
use spellcoven_discord_voice::{
    AudioSource, BoxFuture, CallError, ConnectError, DatagramSocket, DiscordRtcClient, EndReason,
    Id, NextFrame, ReceiveMode, TcpTlsUdp, UdpOptions, VoiceConnector, VoiceEvent, VoicePool,
    VoiceRouter, VoiceStream,
};
use tokio::time::Instant;

use crate::support::{Counted, Room, ToSim, event, places, plain, raw};

fn one_shard() -> VoicePool {
    VoicePool::builder().shards(1).build()
}

/// What is wrong with a call's network.
#[derive(Clone, Copy, PartialEq)]
enum Trouble {
    None,
    /// Its socket always has one more datagram.
    Flood,
    /// Its WebSocket takes nothing and says nothing.
    Mute,
}

#[derive(Clone)]
struct Watched {
    sim: ToSim,
    trouble: Trouble,
    sent: Arc<Mutex<Vec<Instant>>>,
}

impl Watched {
    fn new(room: &Room, trouble: Trouble) -> Self {
        Self {
            sim: ToSim(room.sim.clone()),
            trouble,
            sent: Arc::default(),
        }
    }
}

impl VoiceConnector for Watched {
    fn dial(&self, url: &http::Uri) -> BoxFuture<'_, io::Result<Box<dyn VoiceStream>>> {
        if self.trouble != Trouble::Mute {
            return VoiceConnector::dial(&self.sim, url);
        }
        Box::pin(async {
            let (near, far) = tokio::io::duplex(1);
            tokio::spawn(async move {
                let _far = far;
                std::future::pending::<()>().await;
            });
            Ok(Box::new(near) as Box<dyn VoiceStream>)
        })
    }

    fn udp(
        &self,
        remote: SocketAddr,
        options: UdpOptions,
    ) -> BoxFuture<'_, io::Result<Box<dyn DatagramSocket>>> {
        let opening = self.sim.udp(remote, options);
        let watched = self.clone();
        Box::pin(async move {
            let socket = opening.await?;
            Ok(Box::new(WatchedSocket { socket, watched }) as Box<dyn DatagramSocket>)
        })
    }
}

struct WatchedSocket {
    socket: Box<dyn DatagramSocket>,
    watched: Watched,
}

impl DatagramSocket for WatchedSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, datagram: &[u8]) -> Poll<io::Result<()>> {
        // RTP, and no RTCP.
        if datagram.first() == Some(&0x90) || datagram.get(..2) == Some(&[0x80, 0x78]) {
            self.watched.sent.lock().unwrap().push(Instant::now());
        }
        self.socket.poll_send(cx, datagram)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self.socket.poll_recv(cx, buffer) {
            Poll::Pending if self.watched.trouble == Trouble::Flood => {
                buffer[..40].fill(0x80);
                Poll::Ready(Ok(40))
            }
            polled => polled,
        }
    }
}

/// An endless source.
struct Endless;

impl AudioSource for Endless {
    fn next_frame(&mut self) -> NextFrame {
        NextFrame::Frame(Counted::frame(0))
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_and_a_mute_websocket_do_not_move_the_beat_of_another_call() {
    let mut room = Room::new(71);
    let pool = one_shard();
    let quiet = Watched::new(&room, Trouble::None);
    let alice = room
        .join("alice", |builder| {
            builder.pool(&pool).connector(quiet.clone())
        })
        .await;
    let _bob = room.join("bob", plain).await;
    let mute = Watched::new(&room, Trouble::Mute);
    let carol = room.member("carol", |builder| builder.pool(&pool).connector(mute));
    let channel = room.channel_id();
    let never = tokio::spawn({
        let client = carol.client.clone();
        async move { client.connect(channel).await }
    });
    alice.client.play(Endless);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let flood = Watched::new(&room, Trouble::Flood);
    let dave = room.member("dave", |builder| raw(builder).pool(&pool).connector(flood));
    assert_eq!(pool.clients(), 3);
    let joined = tokio::spawn({
        let client = dave.client.clone();
        async move { client.connect(channel).await }
    });
    // There is always something to do, so that the clock does not run by itself.
    let from = Instant::now();
    while from.elapsed() < Duration::from_secs(1) {
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    joined.await.unwrap().unwrap();
    assert!(!never.is_finished());
    let malformed = dave.client.stats().received.unwrap();
    assert!(malformed.malformed + malformed.not_authentic + malformed.other_media > 1000);
    let sent = quiet.sent.lock().unwrap().clone();
    let during: Vec<_> = sent.into_iter().filter(|at| *at > from).collect();
    assert!(during.len() >= 48, "{} in 1 s", during.len());
    for pair in during.windows(2) {
        let gap = pair[1] - pair[0];
        let off = gap.abs_diff(Duration::from_millis(20));
        assert!(off <= Duration::from_millis(1), "{gap:?}");
    }
}

/// Panics at its hundredth frame.
struct Breaks(u32);

impl AudioSource for Breaks {
    fn next_frame(&mut self) -> NextFrame {
        self.0 += 1;
        assert!(self.0 < 100, "wanted by the test");
        NextFrame::Frame(Counted::frame(self.0))
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_ends_its_client_and_no_other() {
    let mut room = Room::new(72);
    let pool = one_shard();
    let alice = room.join("alice", |builder| builder.pool(&pool)).await;
    let bob = room.join("bob", |builder| raw(builder).pool(&pool)).await;
    let mut heard = bob.client.audio();
    let carol = room.join("carol", |builder| builder.pool(&pool)).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut events = carol.client.events();
    carol.client.play(Breaks(0));
    alice.client.play(Counted::new(300));
    let why = event(&mut events, |event| match event {
        VoiceEvent::Ended(why) => Some(why.clone()),
        _ => None,
    })
    .await;
    assert_eq!(why, EndReason::Failed(CallError::Panicked));
    assert_eq!(events.next().await, None);
    assert_eq!(carol.client.channel(), None);
    let again = carol.client.connect(room.channel_id()).await;
    assert_eq!(again, Err(ConnectError::Cancelled));
    assert_eq!(pool.clients(), 2);
    assert_eq!(
        places(&mut heard, &alice).await,
        (0..300).collect::<Vec<_>>()
    );
    let there = room.sim.voice_states(room.guild);
    assert!(!there.contains_key(&carol.bot.user_id), "she has left");
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn a_pool_takes_in_clients_and_lets_them_go() {
    let mut room = Room::new(73);
    let pool = VoicePool::builder().shards(2).mls_threads(1).build();
    let alice = room.join("alice", |builder| builder.pool(&pool)).await;
    let bob = room.join("bob", |builder| raw(builder).pool(&pool)).await;
    assert_eq!(pool.clients(), 2);
    drop(alice);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(pool.clients(), 1);
    let carol = room.join("carol", |builder| builder.pool(&pool)).await;
    drop(pool);
    // The clients go on without any handle on the pool.
    let mut heard = bob.client.audio();
    tokio::time::sleep(Duration::from_secs(1)).await;
    carol.say(50).await;
    assert_eq!(
        places(&mut heard, &carol).await,
        (0..50).collect::<Vec<_>>()
    );
    room.assert_no_complaints();
}

/// Over real sockets: two voice servers, so that two calls share a socket.
#[tokio::test]
async fn calls_on_a_shared_socket_hear_each_their_own() {
    let pool = one_shard();
    let authority = Authority::generate().unwrap();
    let mut roots = rustls::RootCertStore::empty();
    let ca = rustls::pki_types::pem::PemObject::from_pem_slice(authority.ca_pem().as_bytes());
    roots.add(ca.unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = Arc::new(TcpTlsUdp::with_tls(Arc::new(tls)));
    let mut calls = Vec::new();
    for seed in [74, 75] {
        let sim = Sim::builder().seed(seed).build();
        let mut server = sim.listen("127.0.0.1:0").await.unwrap();
        server
            .listen_voice("127.0.0.1:0", &authority)
            .await
            .unwrap();
        let guild = sim.add_guild("Spellcoven");
        let channel = Id::new(sim.add_voice_channel(guild, "Table").into());
        let mut clients = Vec::new();
        for mode in [ReceiveMode::Off, ReceiveMode::Raw] {
            let bot = sim.add_bot("bot", guild);
            let user_id = Id::new(bot.user_id.into());
            let mut shard = Shard::builder(bot.token.as_str())
                .gateway_url(server.gateway_url())
                .wanted_events(VoiceRouter::wanted_events(EventFilter::none()))
                .start();
            let router = VoiceRouter::new(shard.handle(), user_id);
            let feed = router.clone();
            tokio::spawn(async move {
                while let Some(Ok(event)) = shard.next_event().await {
                    feed.handle(&event);
                }
            });
            let guild_id = Id::new(guild.into());
            let signalling = router.signalling(guild_id);
            let client = DiscordRtcClient::builder(guild_id, user_id, signalling)
                .connector(Arc::clone(&connector))
                .receive(mode)
                .pool(&pool)
                .build();
            client.connect(channel).await.unwrap();
            clients.push(client);
        }
        calls.push((clients, sim, server));
    }
    let mut hearing: Vec<_> = calls
        .iter()
        .map(|(clients, ..)| clients[1].audio())
        .collect();
    for (first, (clients, ..)) in calls.iter().enumerate() {
        let first = u32::try_from(first).unwrap() * 1000;
        clients[0].play(From(first, first + 200));
    }
    for (first, heard) in hearing.iter_mut().enumerate() {
        let first = u32::try_from(first).unwrap() * 1000;
        let mut places = Vec::new();
        // This is real time, and a busy machine may lose some.
        while places.last().is_none_or(|last| *last < first + 150) {
            let packet = tokio::time::timeout(Duration::from_secs(30), heard.next());
            let packet = packet.await.unwrap().unwrap();
            places.extend(packet.opus().and_then(Counted::place));
        }
        assert!(places.is_sorted(), "{places:?}");
        assert!(
            places
                .iter()
                .all(|place| (first..first + 200).contains(place)),
            "{places:?}"
        );
    }
    for (clients, sim, _) in &calls {
        assert_eq!(clients[0].stats().unsent_datagrams, 0);
        clients[0].disconnect().await;
        let complaints = sim.complaints();
        assert!(complaints.is_empty(), "{complaints:?}");
    }
}

/// The frames from one place to another.
struct From(u32, u32);

impl AudioSource for From {
    fn next_frame(&mut self) -> NextFrame {
        if self.0 == self.1 {
            return NextFrame::End;
        }
        self.0 += 1;
        NextFrame::Frame(Counted::frame(self.0 - 1))
    }
}
