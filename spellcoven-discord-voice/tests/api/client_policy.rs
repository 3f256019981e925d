//! Calls that are not end-to-end encrypted, keys that are not there yet, and what is in force.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use spellcoven_discord_sim::{ChannelKind, SimBuilder};
use spellcoven_discord_voice::{
    BoxFuture, CallError, ConnectError, ConnectionState, DatagramSocket, E2eePolicy,
    EncryptionEvent, UdpOptions, VoiceConnector, VoiceEvent, VoiceStream,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::support::{Counted, Room, ToSim, channel_id, event, places, plain, raw};

fn without_dave(builder: SimBuilder) -> SimBuilder {
    builder.settings(|settings| {
        settings.voice.require_dave = false;
        settings.voice.dave_version = 0;
    })
}

#[tokio::test(start_paused = true)]
async fn a_call_in_the_clear_is_refused_and_the_client_leaves() {
    let mut room = Room::new(50);
    let stage = room
        .sim
        .with(|world| world.add_channel(room.guild, ChannelKind::Stage, "Stage", None))
        .unwrap();
    let alice = room.member("alice", plain);
    assert_eq!(
        alice.client.connect(channel_id(stage)).await,
        Err(ConnectError::Failed(CallError::NotEncrypted))
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(alice.client.state(), ConnectionState::Disconnected);
    assert!(room.sim.voice_states(room.guild).is_empty());
}

#[tokio::test(start_paused = true)]
async fn whoever_accepts_a_call_in_the_clear_is_told_and_heard() {
    let mut room = Room::with(51, without_dave);
    let policy = |builder: spellcoven_discord_voice::DiscordRtcClientBuilder| {
        builder.e2ee_policy(E2eePolicy::Preferred)
    };
    let alice = room.member("alice", policy);
    let mut events = alice.client.events();
    alice.client.connect(room.channel_id()).await.unwrap();
    event(&mut events, |event| {
        let told = VoiceEvent::Encryption(EncryptionEvent::NotEncrypted { allowed: true });
        (*event == told).then_some(())
    })
    .await;
    let bob = room.join("bob", |builder| policy(raw(builder))).await;
    let mut heard = bob.client.audio();
    tokio::time::sleep(Duration::from_secs(1)).await;
    alice.say(50).await;
    assert_eq!(
        places(&mut heard, &alice).await,
        (0..50).collect::<Vec<_>>()
    );
    assert_eq!(alice.client.privacy_code(), None);
    assert_eq!(alice.client.verification_code(bob.user_id).await, None);
    assert!(room.sim.media()[&alice.bot.user_id].clear >= 50);
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn who_is_alone_sends_nothing_and_what_they_say_is_dropped() {
    let mut room = Room::new(52);
    let alice = room.join("alice", plain).await;
    alice.say(100).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let counts = room.sim.media().get(&alice.bot.user_id).cloned();
    assert!(counts.is_none_or(|counts| counts.packets == 0));
    let playback = alice.client.stats().playback;
    assert_eq!((playback.sent, playback.held_dropped), (0, 100));
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn who_talks_from_the_first_moment_is_heard_from_the_first_frame() {
    let mut room = Room::new(53);
    let bob = room.join("bob", raw).await;
    let mut heard = bob.client.audio();
    let alice = room.member("alice", plain);
    alice.client.play(Counted::new(100));
    alice.client.connect(room.channel_id()).await.unwrap();
    assert_eq!(
        places(&mut heard, &alice).await,
        (0..100).collect::<Vec<_>>()
    );
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn the_other_mode_of_the_transport_works_as_well() {
    let change = |builder: SimBuilder| {
        builder.settings(|settings| {
            settings.voice.offer_aes = false;
            settings.voice.offer_legacy = true;
        })
    };
    let mut room = Room::with(54, change);
    let alice = room.join("alice", plain).await;
    let bob = room.join("bob", raw).await;
    let mut heard = bob.client.audio();
    tokio::time::sleep(Duration::from_secs(1)).await;
    alice.say(50).await;
    assert_eq!(
        places(&mut heard, &alice).await,
        (0..50).collect::<Vec<_>>()
    );
    assert_eq!(
        alice.client.stats().encryption_mode.map(|mode| mode.name()),
        Some("aead_xchacha20_poly1305_rtpsize")
    );
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn lost_discoveries_are_repeated() {
    let mut room = Room::with(55, |builder| {
        builder.settings(|settings| settings.voice.drop_discoveries = 3)
    });
    let alice = room.join("alice", plain).await;
    assert_eq!(alice.client.stats().identifies, 1);
    room.assert_no_complaints();
}

#[tokio::test(start_paused = true)]
async fn without_udp_the_error_says_so() {
    let mut room = Room::with(56, |builder| {
        builder.settings(|settings| settings.voice.udp = false)
    });
    let alice = room.member("alice", plain);
    assert_eq!(
        alice.client.connect(room.channel_id()).await,
        Err(ConnectError::Failed(CallError::UdpUnreachable))
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_main_gateway_a_call_goes_on_and_none_can_be_joined() {
    let mut room = Room::new(57);
    let alice = room.join("alice", plain).await;
    let bob = room.join("bob", raw).await;
    let lonely = room.member("carol", plain);
    let mut heard = bob.client.audio();
    tokio::time::sleep(Duration::from_secs(5)).await;
    lonely.shut_down();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        lonely.client.connect(room.channel_id()).await,
        Err(ConnectError::SignallingLost)
    );
    alice.say(50).await;
    assert_eq!(
        places(&mut heard, &alice).await,
        (0..50).collect::<Vec<_>>()
    );
}

/// Like [`ToSim`], with voice gateway connections that take nothing more once told.
struct Clogged {
    to_sim: ToSim,
    clogged: Arc<AtomicBool>,
}

struct CloggedStream {
    stream: Box<dyn VoiceStream>,
    clogged: Arc<AtomicBool>,
}

impl VoiceConnector for Clogged {
    fn dial(&self, url: &http::Uri) -> BoxFuture<'_, io::Result<Box<dyn VoiceStream>>> {
        let dial = VoiceConnector::dial(&self.to_sim, url);
        Box::pin(async move {
            let stream = dial.await?;
            let clogged = Arc::clone(&self.clogged);
            Ok(Box::new(CloggedStream { stream, clogged }) as Box<dyn VoiceStream>)
        })
    }

    fn udp(
        &self,
        remote: SocketAddr,
        options: UdpOptions,
    ) -> BoxFuture<'_, io::Result<Box<dyn DatagramSocket>>> {
        self.to_sim.udp(remote, options)
    }
}

impl AsyncRead for CloggedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for CloggedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.clogged.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[tokio::test(start_paused = true)]
async fn a_voice_gateway_that_takes_nothing_holds_no_audio_up() {
    let mut room = Room::with(58, |builder| {
        builder.settings(|settings| settings.voice.heartbeat_interval = Duration::from_secs(5))
    });
    let clogged = Arc::new(AtomicBool::new(false));
    let connector = Clogged {
        to_sim: ToSim(room.sim.clone()),
        clogged: Arc::clone(&clogged),
    };
    let alice = room
        .join("alice", |builder| builder.connector(connector))
        .await;
    let bob = room.join("bob", raw).await;
    let mut heard = bob.client.audio();
    tokio::time::sleep(Duration::from_secs(1)).await;
    alice.say(10).await;
    let (spoken, ()) = tokio::join!(places(&mut heard, &alice), async {
        let clog = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            clogged.store(true, Ordering::Relaxed);
            // Two heartbeats later the connection is given up; the next one works.
            tokio::time::sleep(Duration::from_secs(9)).await;
            clogged.store(false, Ordering::Relaxed);
        };
        tokio::join!(alice.say(1000), clog);
    });
    let spoken = spoken.get(10..).unwrap();
    assert_eq!(spoken, (0..1000).collect::<Vec<_>>());
    let stats = alice.client.stats();
    assert_eq!((stats.identifies, stats.resumes), (1, 1), "{stats:?}");
    assert!(stats.connections >= 2);
}
