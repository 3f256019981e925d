//! What is sent and heard, with its times: for tests of what a fault costs.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use spellcoven_discord_sim::{EntryKind, Sim, UserId};
use spellcoven_discord_voice::{
    BoxFuture, DatagramSocket, DiscordRtcClientBuilder, ReceiveMode, UdpOptions, VoiceConnector,
    VoiceStream,
};

use crate::support::{Counted, Member, Room, ToSim};

/// Runs in virtual time of its own, so that nothing of one run is left in the next.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test)
}

pub(crate) async fn sleep_ms(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// Kinds of datagrams that can be told apart without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Discovery,
    Ping,
    Rtp,
    Rtcp,
}

impl Kind {
    fn of(datagram: &[u8]) -> Option<Self> {
        match *datagram {
            [0, 1 | 2, 0, 70, ..] => Some(Self::Discovery),
            [0x13, 0x37, ..] => Some(Self::Ping),
            [first, 200..=207, ..] if first >> 6 == 2 => Some(Self::Rtcp),
            [first, ..] if first >> 6 == 2 => Some(Self::Rtp),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

#[derive(Default)]
struct Tapped {
    /// How many of each kind are still to be lost.
    to_lose: BTreeMap<(Way, Kind), u32>,
    lost: u32,
    /// When RTP was sent.
    sent: Vec<Duration>,
}

/// A connector that loses datagrams to order, and notes when RTP is sent.
#[derive(Clone)]
pub(crate) struct Tap {
    to: ToSim,
    tapped: Arc<Mutex<Tapped>>,
}

impl Tap {
    pub(crate) fn new(sim: &Sim) -> Self {
        Self {
            to: ToSim(sim.clone()),
            tapped: Arc::default(),
        }
    }

    pub(crate) fn lose(&self, way: Way, kind: Kind, count: u32) {
        self.tapped
            .lock()
            .unwrap()
            .to_lose
            .insert((way, kind), count);
    }

    pub(crate) fn lost(&self) -> u32 {
        self.tapped.lock().unwrap().lost
    }

    /// The widest gap between two packets that were sent from this time on.
    pub(crate) fn widest_gap(&self, from: Duration) -> Duration {
        let tapped = self.tapped.lock().unwrap();
        let sent: Vec<Duration> = tapped
            .sent
            .iter()
            .copied()
            .filter(|at| *at >= from)
            .collect();
        let gaps = sent.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap_or_default()
    }
}

impl VoiceConnector for Tap {
    fn dial(&self, uri: &http::Uri) -> BoxFuture<'_, io::Result<Box<dyn VoiceStream>>> {
        VoiceConnector::dial(&self.to, uri)
    }

    fn udp(
        &self,
        remote: SocketAddr,
        options: UdpOptions,
    ) -> BoxFuture<'_, io::Result<Box<dyn DatagramSocket>>> {
        let opening = self.to.udp(remote, options);
        Box::pin(async move {
            let socket = TappedSocket {
                inner: opening.await?,
                tap: self.clone(),
            };
            Ok(Box::new(socket) as Box<dyn DatagramSocket>)
        })
    }
}

struct TappedSocket {
    inner: Box<dyn DatagramSocket>,
    tap: Tap,
}

impl TappedSocket {
    /// Whether it gets through.
    fn passes(&self, way: Way, datagram: &[u8]) -> bool {
        let Some(kind) = Kind::of(datagram) else {
            return true;
        };
        let mut tapped = self.tap.tapped.lock().unwrap();
        if let Some(left) = tapped
            .to_lose
            .get_mut(&(way, kind))
            .filter(|left| **left > 0)
        {
            *left -= 1;
            tapped.lost += 1;
            return false;
        }
        if (way, kind) == (Way::ToServer, Kind::Rtp) {
            let now = self.tap.to.0.now();
            tapped.sent.push(now);
        }
        true
    }
}

impl DatagramSocket for TappedSocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, datagram: &[u8]) -> Poll<io::Result<()>> {
        if !self.passes(Way::ToServer, datagram) {
            return Poll::Ready(Ok(()));
        }
        self.inner.poll_send(cx, datagram)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let polled = self.inner.poll_recv(cx, buffer);
            match polled {
                Poll::Ready(Ok(length)) if !self.passes(Way::ToClient, &buffer[..length]) => {}
                other => return other,
            }
        }
    }
}

/// What a client hears: when, of whom, which frame.
#[derive(Clone, Default)]
pub(crate) struct Ear(Arc<Mutex<Vec<(Duration, UserId, u32)>>>);

/// What one heard of another over a while.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Judgement {
    /// When it began to flow without a break again, from the start of the while; `None`: not at all.
    pub(crate) recovered: Option<Duration>,
    pub(crate) longest_silence: Duration,
    pub(crate) heard: u32,
    /// Frames that were asked of the source and not heard, between the first and the last that were.
    pub(crate) lost: u32,
    /// Frames that were heard twice.
    pub(crate) twice: u32,
}

/// Longer than this is a break.
const BREAK: Duration = Duration::from_millis(100);

impl Ear {
    pub(crate) fn of(room: &Room, member: &Member) -> Self {
        let ear = Self::default();
        let heard = Arc::clone(&ear.0);
        let mut audio = member.client.audio();
        let sim = room.sim.clone();
        tokio::spawn(async move {
            while let Some(packet) = audio.next().await {
                if let Some(place) = packet.opus().and_then(Counted::place) {
                    let user = UserId(packet.user_id.get());
                    heard.lock().unwrap().push((sim.now(), user, place));
                }
            }
        });
        ear
    }

    pub(crate) fn judge(&self, speaker: &Member, from: Duration, to: Duration) -> Judgement {
        let heard = self.0.lock().unwrap();
        let heard: Vec<(Duration, u32)> = heard
            .iter()
            .filter(|(at, user, _)| *user == speaker.bot.user_id && (from..=to).contains(at))
            .map(|(at, _, place)| (*at, *place))
            .collect();
        let mut times: Vec<Duration> = vec![from];
        times.extend(heard.iter().map(|(at, _)| *at));
        let mut judgement = Judgement {
            heard: u32::try_from(heard.len()).unwrap(),
            recovered: Some(Duration::ZERO),
            ..Judgement::default()
        };
        for pair in times.windows(2) {
            let gap = pair[1] - pair[0];
            judgement.longest_silence = judgement.longest_silence.max(gap);
            if gap > BREAK {
                judgement.recovered = Some(pair[1] - from);
            }
        }
        let last = times.last().copied().unwrap_or(from);
        judgement.longest_silence = judgement.longest_silence.max(to - last);
        if to - last > BREAK {
            judgement.recovered = None;
        }
        let places: BTreeSet<u32> = heard.iter().map(|(_, place)| *place).collect();
        judgement.twice = judgement.heard - u32::try_from(places.len()).unwrap();
        if let (Some(first), Some(last)) = (places.first(), places.last()) {
            judgement.lost = last - first + 1 - u32::try_from(places.len()).unwrap();
        }
        judgement
    }
}

/// A client that receives Opus frames as they come, by this connector.
pub(crate) fn tapped(
    tap: &Tap,
) -> impl FnOnce(DiscordRtcClientBuilder) -> DiscordRtcClientBuilder + use<> {
    let tap = tap.clone();
    |builder| builder.connector(tap).receive(ReceiveMode::Raw)
}

/// Sounds on and on.
pub(crate) fn endless() -> Counted {
    Counted::new(u32::MAX)
}

/// When a cut that was ordered struck, and at what.
pub(crate) fn cut_struck(sim: &Sim) -> Option<(Duration, String)> {
    let journal = sim.journal();
    journal
        .entries()
        .iter()
        .find_map(|entry| match &entry.what {
            EntryKind::VoiceClosed { reason, .. } => {
                let what = reason.strip_prefix("fault: ")?;
                Some((entry.at, what.to_owned()))
            }
            _ => None,
        })
}

/// Nothing was sent in clear, and no counter twice. What the simulator complains of is told.
#[track_caller]
pub(crate) fn assert_sound(sim: &Sim, what: &str) {
    for (user, media) in sim.media() {
        assert_eq!(
            (media.clear, media.reused_counters),
            (0, 0),
            "{what}: {user:?}"
        );
    }
}
