//! The voice bot in memory and in virtual time, with a person who talks to it.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    task::{Context, Poll},
    time::Duration,
};

use ogg::writing::{PacketWriteEndInfo, PacketWriter};
use spellcoven_discord_gateway::{Connector, GatewayStream, InMemoryIdentifyQueue, Shard};
use spellcoven_discord_sim::{
    Bot, ChannelId, GuildId, HeardFrame, Sim, Speech, Stereo, UserId, VoicePort, decode, tone_share,
};
use spellcoven_discord_voice::{
    BoxFuture, DatagramSocket, EncoderConfig, EndReason, Id, OpusEncoder, Track, UdpOptions,
    VoiceConnector, VoiceStream,
};
use spellcoven_examples::voice::{VoiceBot, VoiceBotError, clip, health::VoiceHealth};
use tokio::task::JoinHandle;

/// Each dial is a pipe into the simulator, each UDP socket a port of it.
#[derive(Clone)]
struct ToSim(Sim);

impl Connector for ToSim {
    fn dial(&self, _: &http::Uri) -> BoxFuture<'_, io::Result<Box<dyn GatewayStream>>> {
        let (near, far) = tokio::io::duplex(1 << 16);
        let sim = self.0.clone();
        tokio::spawn(async move { sim.serve_connection(far).await });
        Box::pin(std::future::ready(Ok(
            Box::new(near) as Box<dyn GatewayStream>
        )))
    }
}

impl VoiceConnector for ToSim {
    fn dial(&self, _: &http::Uri) -> BoxFuture<'_, io::Result<Box<dyn VoiceStream>>> {
        let (near, far) = tokio::io::duplex(1 << 16);
        let sim = self.0.clone();
        tokio::spawn(async move { sim.serve_voice_connection(far).await });
        Box::pin(std::future::ready(Ok(
            Box::new(near) as Box<dyn VoiceStream>
        )))
    }

    fn udp(
        &self,
        remote: SocketAddr,
        _: UdpOptions,
    ) -> BoxFuture<'_, io::Result<Box<dyn DatagramSocket>>> {
        let port = self.0.voice_udp();
        let socket = SimSocket { port, remote };
        Box::pin(std::future::ready(Ok(
            Box::new(socket) as Box<dyn DatagramSocket>
        )))
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

struct Table {
    sim: Sim,
    guild: GuildId,
    channel: ChannelId,
    bot: Bot,
    alice: UserId,
}

impl Table {
    fn new(seed: u64) -> Self {
        println!("seed {seed}");
        let sim = Sim::builder()
            .seed(seed)
            .start_time(1_795_600_000_000)
            .build();
        let guild = sim.add_guild("Spellcoven");
        let channel = sim.add_voice_channel(guild, "Table");
        let bot = sim.add_bot("bot", guild);
        let alice = sim.add_person("alice", guild);
        Self {
            sim,
            guild,
            channel,
            bot,
            alice,
        }
    }

    async fn bot(&self) -> VoiceBot {
        let shard = Shard::builder(self.bot.token.as_str())
            .gateway_url("ws://discord.invalid")
            .connector(ToSim(self.sim.clone()))
            .identify_queue(InMemoryIdentifyQueue::default())
            .seed(7);
        VoiceBot::start(shard, Id::new(self.guild.0), ToSim(self.sim.clone()))
            .await
            .unwrap()
    }

    /// Until it leaves at a word, as the program does at SIGTERM.
    fn run(
        &self,
        mut bot: VoiceBot,
        clip: Track,
    ) -> (
        tokio::sync::oneshot::Sender<()>,
        JoinHandle<Result<(), VoiceBotError>>,
    ) {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let channel = Id::new(self.channel.0);
        let running = tokio::spawn(async move {
            let ran = tokio::select! {
                _ = stopped => Ok(()),
                ran = bot.run(channel, clip) => ran,
            };
            bot.leave().await;
            ran
        });
        (stop, running)
    }

    fn come(&self, person: UserId) {
        self.sim.join(person, self.channel).unwrap();
        self.sim.set_listening(person, true).unwrap();
    }

    /// What a person heard of the bot since the last call.
    fn heard(&self, person: UserId) -> (Vec<HeardFrame>, Stereo) {
        let frames = self.sim.heard(person, &self.bot);
        self.sim.forget_heard(person);
        let sound = decode(&frames).unwrap();
        (frames, sound)
    }

    fn is_in_call(&self) -> bool {
        self.sim
            .voice_states(self.guild)
            .contains_key(&self.bot.user_id)
    }

    #[track_caller]
    fn assert_in_order(&self) {
        assert!(
            self.sim.complaints().is_empty(),
            "{:#?}",
            self.sim.complaints()
        );
        for (user, counts) in self.sim.media() {
            assert_eq!(counts.clear, 0, "{user} sent in clear: {counts:?}");
        }
    }
}

/// Two seconds of a tone for each ear as a WAV file of 16 bits at 48 kHz.
fn wav(name: &str, left: f32, right: f32) -> PathBuf {
    let samples: Vec<u8> = (0..96_000)
        .flat_map(|sample| {
            let time = sample as f32 / 48_000.0;
            [left, right].map(|hz| {
                let value = (std::f32::consts::TAU * (hz * time).fract()).sin();
                (value * 8_000.0) as i16
            })
        })
        .flat_map(i16::to_le_bytes)
        .collect();
    let mut file = Vec::new();
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + samples.len() as u32).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x02\0");
    file.extend_from_slice(&48_000_u32.to_le_bytes());
    file.extend_from_slice(&192_000_u32.to_le_bytes());
    file.extend_from_slice(b"\x04\0\x10\0data");
    file.extend_from_slice(&(samples.len() as u32).to_le_bytes());
    file.extend_from_slice(&samples);
    let path = std::env::temp_dir().join(format!("spellcoven-{name}-{}.wav", std::process::id()));
    std::fs::write(&path, file).unwrap();
    path
}

/// Two seconds of a tone as an Ogg Opus file.
fn ogg(name: &str, hz: f32) -> PathBuf {
    let mut encoder = OpusEncoder::new(EncoderConfig::music()).unwrap();
    let mut writer = PacketWriter::new(Vec::new());
    let head = b"OpusHead\x01\x02\0\0\x80\xbb\0\0\0\0\0".to_vec();
    let tags = b"OpusTags\x04\0\0\0test\0\0\0\0".to_vec();
    let mut write = |packet: Vec<u8>, end, granule| {
        writer.write_packet(packet, 7, end, granule).unwrap();
    };
    write(head, PacketWriteEndInfo::EndPage, 0);
    write(tags, PacketWriteEndInfo::EndPage, 0);
    for frame in 0..100_u64 {
        let samples: Vec<f32> = (frame * 960..(frame + 1) * 960)
            .flat_map(|sample| {
                let cycles = hz * sample as f32 / 48_000.0;
                [0.25 * (std::f32::consts::TAU * cycles.fract()).sin(); 2]
            })
            .collect();
        let packet = encoder.encode(&samples).unwrap().data.to_vec();
        let end = match frame {
            99 => PacketWriteEndInfo::EndStream,
            _ if frame % 10 == 9 => PacketWriteEndInfo::EndPage,
            _ => PacketWriteEndInfo::NormalPacket,
        };
        write(packet, end, (frame + 1) * 960);
    }
    let path = std::env::temp_dir().join(format!("spellcoven-{name}-{}.ogg", std::process::id()));
    std::fs::write(&path, writer.into_inner()).unwrap();
    path
}

fn seconds(sound: &Stereo) -> f64 {
    sound.left.len() as f64 / 48_000.0
}

/// Frames that are no silence.
fn sounding(frames: &[HeardFrame]) -> Vec<&HeardFrame> {
    frames.iter().filter(|frame| frame.encrypted).collect()
}

#[tokio::test(start_paused = true)]
async fn a_person_hears_the_file_and_then_themself_a_second_later() {
    let table = Table::new(1);
    let file = wav("voice-bot", 660.0, 330.0);
    let track = clip::open(Some(&file)).unwrap();
    std::fs::remove_file(&file).unwrap();
    let health = VoiceHealth::default();
    assert!(!health.report().0);
    let bot = table.bot().await;
    health.watch(&bot);
    let (stop, running) = table.run(bot, track);

    // Nobody is there: the bot waits with what it has to say.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(health.report().0, "{}", health.report().1);
    table.come(table.alice);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (frames, sound) = table.heard(table.alice);
    assert!(
        (1.95..2.3).contains(&seconds(&sound)),
        "{}",
        seconds(&sound)
    );
    let (left, right) = (tone_share(&sound.left, 660), tone_share(&sound.right, 330));
    assert!(left > 0.9 && right > 0.9, "{left} {right}");
    assert!(sounding(&frames).len() >= 98, "{} frames", frames.len());
    assert_eq!(health.report().1["voice"]["endToEndEncrypted"], true);

    // Two seconds of a tone.
    let began = table.sim.now();
    table
        .sim
        .talk(table.alice, Speech::tone(440, 880).unwrap())
        .unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    table.sim.hush(table.alice);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (frames, sound) = table.heard(table.alice);
    // A packet that a jitter buffer leaves out shifts the phase, and so takes from the share.
    let (left, right) = (tone_share(&sound.left, 440), tone_share(&sound.right, 880));
    assert!(left > 0.8 && right > 0.8, "{left} {right}");
    let said = sounding(&frames);
    // The five silence frames at the end and what bridges to the next sound are said again, too.
    assert!((98..=112).contains(&said.len()), "{} frames", said.len());
    // A second, and what two networks, two jitter buffers and a beat add.
    let after = said[0].arrived - began;
    println!("the echo begins {after:?} after the person");
    assert!(
        after > Duration::from_secs(1) && after < Duration::from_millis(1250),
        "{after:?}"
    );

    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    assert!(!table.is_in_call());
    assert_eq!(table.sim.live_sessions(&table.bot), 0);
    table.assert_in_order();
}

#[tokio::test(start_paused = true)]
async fn an_ogg_opus_file_is_said_to_whoever_was_there_before_the_bot() {
    let table = Table::new(5);
    table.come(table.alice);
    let file = ogg("voice-bot", 550.0);
    let track = clip::open(Some(&file)).unwrap();
    std::fs::remove_file(&file).unwrap();
    let bot = table.bot().await;
    let (stop, running) = table.run(bot, track);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (frames, sound) = table.heard(table.alice);
    assert!(sounding(&frames).len() >= 98, "{} frames", frames.len());
    let share = tone_share(&sound.left, 550);
    assert!(share > 0.9, "{share}");
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    table.assert_in_order();
}

#[tokio::test(start_paused = true)]
async fn two_who_talk_at_once_both_hear_both() {
    let table = Table::new(2);
    let bob = table.sim.add_person("bob", table.guild);
    table.come(table.alice);
    table.come(bob);
    let bot = table.bot().await;
    let (stop, running) = table.run(bot, clip::open(None).unwrap());
    tokio::time::sleep(Duration::from_secs(5)).await;
    for person in [table.alice, bob] {
        let (_, melody) = table.heard(person);
        // A quarter of the time each, and so a sixteenth of what the whole would be at one frequency.
        let notes = clip::MELODY.map(|hz| tone_share(&melody.left, hz));
        assert!(notes.iter().all(|share| *share > 0.045), "{notes:?}");
    }
    for (person, hz) in [(table.alice, 440), (bob, 880)] {
        table
            .sim
            .talk(person, Speech::tone(hz, hz).unwrap())
            .unwrap();
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    for person in [table.alice, bob] {
        let (_, sound) = table.heard(person);
        let shares = [440, 880].map(|hz| tone_share(&sound.left, hz));
        assert!(shares.iter().all(|share| *share > 0.4), "{shares:?}");
    }
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    table.assert_in_order();
}

#[tokio::test(start_paused = true)]
async fn a_bot_that_is_put_out_ends_with_the_reason() {
    let table = Table::new(3);
    let bot = table.bot().await;
    let (_stop, running) = table.run(bot, clip::open(None).unwrap());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(table.is_in_call());
    table.sim.delete_channel(table.channel).unwrap();
    let ended = running.await.unwrap();
    assert!(
        matches!(ended, Err(VoiceBotError::Ended(EndReason::Removed))),
        "{ended:?}"
    );
    assert_eq!(table.sim.live_sessions(&table.bot), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_cut_keeps_the_echo() {
    let table = Table::new(4);
    table.come(table.alice);
    let bot = table.bot().await;
    let (stop, running) = table.run(bot, clip::open(None).unwrap());
    tokio::time::sleep(Duration::from_secs(5)).await;
    table.heard(table.alice);
    table
        .sim
        .talk(table.alice, Speech::tone(440, 440).unwrap())
        .unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    table
        .sim
        .voice_fault(&table.bot, spellcoven_discord_sim::VoiceFault::Cut);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (frames, sound) = table.heard(table.alice);
    // Six seconds, less the second before the echo begins.
    let said = sounding(&frames).len();
    assert!(said >= 240, "{said} frames");
    let share = tone_share(&sound.left, 440);
    assert!(share > 0.8, "{share}");
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
    table.assert_in_order();
}
