//! A room: the simulator, a guild with a voice channel, and clients in it, all in memory and in virtual time.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use spellcoven_discord_gateway::{
    Connector, EventFilter, GatewayStream, InMemoryIdentifyQueue, Shard, ShardHandle, Shutdown,
};
use spellcoven_discord_sim::{Bot, ChannelId, GuildId, Sim, SimBuilder, VoicePort};
use spellcoven_discord_voice::{
    AudioSource, AudioStream, BoxFuture, ChannelMarker, DatagramSocket, DiscordRtcClient,
    DiscordRtcClientBuilder, EventStream, GuildMarker, Id, NextFrame, OpusFrame, ReceiveMode,
    UdpOptions, UserMarker, VoiceConnector, VoiceEvent, VoicePool, VoiceRouter, VoiceStream,
};

/// These tests are there twice: each client on a task of its own, and all of a room in a pool.
const POOLED: bool = super::POOLED;

/// Each dial is a pipe into the simulator, each UDP socket a port of it.
#[derive(Clone)]
pub(crate) struct ToSim(pub(crate) Sim);

impl Connector for ToSim {
    fn dial(&self, _: &http::Uri) -> BoxFuture<'_, io::Result<Box<dyn GatewayStream>>> {
        let (near, far) = tokio::io::duplex(1 << 16);
        let sim = self.0.clone();
        tokio::spawn(async move { sim.serve_connection(far).await });
        Box::pin(async { Ok(Box::new(near) as Box<dyn GatewayStream>) })
    }
}

impl VoiceConnector for ToSim {
    fn dial(&self, _: &http::Uri) -> BoxFuture<'_, io::Result<Box<dyn VoiceStream>>> {
        let (near, far) = tokio::io::duplex(1 << 16);
        let sim = self.0.clone();
        tokio::spawn(async move { sim.serve_voice_connection(far).await });
        Box::pin(async { Ok(Box::new(near) as Box<dyn VoiceStream>) })
    }

    fn udp(
        &self,
        remote: SocketAddr,
        _: UdpOptions,
    ) -> BoxFuture<'_, io::Result<Box<dyn DatagramSocket>>> {
        let port = self.0.voice_udp();
        Box::pin(async move { Ok(Box::new(SimSocket { port, remote }) as Box<dyn DatagramSocket>) })
    }
}

struct SimSocket {
    port: VoicePort,
    remote: SocketAddr,
}

impl DatagramSocket for SimSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.port.local_addr())
    }

    fn poll_send(&mut self, _: &mut Context<'_>, datagram: &[u8]) -> Poll<io::Result<()>> {
        self.port.send(self.remote, datagram);
        Poll::Ready(Ok(()))
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        // A connected socket gives what its peer sent, and nothing else.
        while let Poll::Ready((from, datagram)) = self.port.poll_recv(cx) {
            if from == self.remote {
                let length = datagram.len().min(buffer.len());
                buffer[..length].copy_from_slice(&datagram[..length]);
                return Poll::Ready(Ok(length));
            }
        }
        Poll::Pending
    }
}

pub(crate) struct Room {
    pub(crate) sim: Sim,
    pub(crate) guild: GuildId,
    pub(crate) channel: ChannelId,
    pub(crate) seed: u64,
    /// What drives the clients, if they have no task of their own each.
    pool: Option<VoicePool>,
    made: u64,
}

/// A bot with its shard, its router and its voice client.
pub(crate) struct Member {
    pub(crate) bot: Bot,
    pub(crate) user_id: Id<UserMarker>,
    pub(crate) client: DiscordRtcClient,
    shard: ShardHandle,
}

impl Room {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, |builder| builder)
    }

    /// With other settings of the simulator.
    pub(crate) fn with(seed: u64, change: impl FnOnce(SimBuilder) -> SimBuilder) -> Self {
        // Shown where a test fails.
        println!("seed {seed}");
        let builder = Sim::builder().seed(seed).start_time(1_790_000_000_000);
        let sim = change(builder).build();
        let guild = sim.add_guild("Spellcoven");
        let channel = sim.add_voice_channel(guild, "Table");
        Self {
            sim,
            guild,
            channel,
            seed,
            pool: POOLED.then(|| VoicePool::builder().shards(2).build()),
            made: 0,
        }
    }

    pub(crate) fn channel_id(&self) -> Id<ChannelMarker> {
        channel_id(self.channel)
    }

    /// A client that is in no channel.
    pub(crate) fn member(
        &mut self,
        name: &str,
        change: impl FnOnce(DiscordRtcClientBuilder) -> DiscordRtcClientBuilder,
    ) -> Member {
        self.made += 1;
        let bot = self.sim.add_bot(name, self.guild);
        let user_id = Id::<UserMarker>::new(u64::from(bot.user_id));
        let mut shard = Shard::builder(bot.token.as_str())
            .gateway_url("ws://discord.invalid")
            .connector(ToSim(self.sim.clone()))
            .identify_queue(Arc::new(InMemoryIdentifyQueue::default()))
            .wanted_events(VoiceRouter::wanted_events(EventFilter::none()))
            .seed(self.seed + self.made)
            .start();
        let handle = shard.handle();
        let router = VoiceRouter::new(shard.handle(), user_id);
        let feed = router.clone();
        tokio::spawn(async move {
            while let Some(Ok(event)) = shard.next_event().await {
                feed.handle(&event);
            }
        });
        let guild_id = guild_id(self.guild);
        let builder = DiscordRtcClient::builder(guild_id, user_id, router.signalling(guild_id))
            .connector(ToSim(self.sim.clone()))
            .seed(self.seed * 1000 + self.made);
        let builder = match &self.pool {
            Some(pool) => builder.pool(pool),
            None => builder,
        };
        Member {
            bot,
            user_id,
            client: change(builder).build(),
            shard: handle,
        }
    }

    /// A client that is in the room's channel.
    pub(crate) async fn join(
        &mut self,
        name: &str,
        change: impl FnOnce(DiscordRtcClientBuilder) -> DiscordRtcClientBuilder,
    ) -> Member {
        let member = self.member(name, change);
        member.client.connect(self.channel_id()).await.unwrap();
        member
    }

    #[track_caller]
    pub(crate) fn assert_no_complaints(&self) {
        let complaints: Vec<String> = self
            .sim
            .complaints()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

impl Member {
    /// Plays so many frames, and waits until they are sent.
    pub(crate) async fn say(&self, frames: u32) {
        let mut events = self.client.events();
        self.client.play(Counted::new(frames));
        event(&mut events, |event| {
            matches!(event, VoiceEvent::SourceEnded).then_some(())
        })
        .await;
    }

    /// Ends the main gateway session for good.
    pub(crate) fn shut_down(&self) {
        self.shard.shutdown(Shutdown::EndSession);
    }
}

pub(crate) fn channel_id(id: ChannelId) -> Id<ChannelMarker> {
    Id::new(u64::from(id))
}

pub(crate) fn guild_id(id: GuildId) -> Id<GuildMarker> {
    Id::new(u64::from(id))
}

/// The places of what is heard of a user until nothing has come for a second.
pub(crate) async fn places(heard: &mut AudioStream, of: &Member) -> Vec<u32> {
    let mut places = Vec::new();
    while let Ok(Some(packet)) = tokio::time::timeout(Duration::from_secs(1), heard.next()).await {
        if packet.user_id == of.user_id {
            places.extend(packet.opus().and_then(Counted::place));
        }
    }
    places
}

/// So many frames whose bytes tell their place; then the end.
pub(crate) struct Counted {
    next: u32,
    end: u32,
}

impl Counted {
    pub(crate) fn new(frames: u32) -> Self {
        Self {
            next: 0,
            end: frames,
        }
    }

    /// The frame at a place: an Opus packet of 20 ms, as far as its first byte tells.
    pub(crate) fn frame(place: u32) -> OpusFrame {
        let mut data = vec![0x78];
        data.extend_from_slice(&place.to_be_bytes());
        OpusFrame::from_packet(data).unwrap()
    }

    /// The place of a frame, if it is one of these.
    pub(crate) fn place(frame: &OpusFrame) -> Option<u32> {
        let (0x78, place) = frame.data.split_first().map(|(toc, rest)| (*toc, rest))? else {
            return None;
        };
        Some(u32::from_be_bytes(place.try_into().ok()?))
    }
}

impl AudioSource for Counted {
    fn next_frame(&mut self) -> NextFrame {
        if self.next == self.end {
            return NextFrame::End;
        }
        self.next += 1;
        NextFrame::Frame(Self::frame(self.next - 1))
    }
}

/// Receives Opus frames as they come.
pub(crate) fn raw(builder: DiscordRtcClientBuilder) -> DiscordRtcClientBuilder {
    builder.receive(ReceiveMode::Raw)
}

/// Leaves the settings as they are.
pub(crate) fn plain(builder: DiscordRtcClientBuilder) -> DiscordRtcClientBuilder {
    builder
}

/// The first event that answers, within half a minute of virtual time.
pub(crate) async fn event<R>(
    events: &mut EventStream,
    mut pick: impl FnMut(&VoiceEvent) -> Option<R>,
) -> R {
    let found = async {
        let mut seen = Vec::new();
        while let Some(event) = events.next().await {
            if let Some(found) = pick(&event) {
                return found;
            }
            seen.push(event);
        }
        panic!("the client ended, and this is all that it told: {seen:#?}");
    };
    tokio::time::timeout(Duration::from_secs(30), found)
        .await
        .expect("the event does not come")
}
