//! What the three have in common: everything but the main Gateway.

#[path = "../rust/speaker.rs"]
mod speaker;

use std::fs;

use bytes::Bytes;
use serde_json::json;
use speaker::{Command, Commands, heard, tell};
use spellcoven_discord_voice::{
    AudioSource, AudioStream, DiscordRtcClient, EventStream, Id, NextFrame, OpusFrame, ReceiveMode,
    Signalling, Sound,
};

pub use speaker::{Result, variable};

/// Obeys the orchestrator until it is done.
pub async fn run(guild: u64, user: u64, signalling: impl Signalling) -> Result<()> {
    let client = DiscordRtcClient::builder(Id::new(guild), Id::new(user), signalling)
        .receive(ReceiveMode::Raw)
        .build();
    tokio::spawn(listen(client.audio()));
    tokio::spawn(watch(client.events()));
    tell(&json!({"event": "ready", "user": user.to_string()}));
    let mut commands = Commands::new();
    while let Some(command) = commands.next().await? {
        match command {
            Command::Join(channel) => match client.connect(Id::new(channel)).await {
                Ok(()) => tell(&json!({"event": "joined"})),
                Err(error) => tell(&json!({"event": "trouble", "why": error.to_string()})),
            },
            Command::Play(file) => client.play(Dca::open(&file)?),
            Command::Stop => client.stop(),
            Command::Leave => {
                client.disconnect().await;
                tell(&json!({"event": "left"}));
            }
        }
    }
    client.disconnect().await;
    Ok(())
}

async fn listen(mut audio: AudioStream) {
    while let Some(packet) = audio.next().await {
        if let Sound::Opus {
            frame, sequence, ..
        } = packet.sound
        {
            // As it stood in the packet.
            heard(packet.user_id.get(), sequence as u16, &frame.data);
        }
    }
}

async fn watch(mut events: EventStream) {
    while let Some(event) = events.next().await {
        tell(&json!({"event": "voice", "what": format!("{event:?}")}));
    }
}

/// A DCA file: a header whose length it tells, then Opus frames of 20 ms, each after its length.
struct Dca {
    bytes: Bytes,
}

impl Dca {
    fn open(file: &str) -> Result<Self> {
        let mut bytes = Bytes::from(fs::read(file)?);
        let length = bytes
            .get(4..)
            .and_then(<[u8]>::first_chunk)
            .ok_or("no DCA file")?;
        let header = 8 + usize::try_from(i32::from_le_bytes(*length))?;
        if bytes.len() < header {
            return Err("no DCA file".into());
        }
        Ok(Self {
            bytes: bytes.split_off(header),
        })
    }
}

impl AudioSource for Dca {
    fn next_frame(&mut self) -> NextFrame {
        let Some(length) = self.bytes.first_chunk() else {
            return NextFrame::End;
        };
        let length = usize::from(u16::from_le_bytes(*length));
        if self.bytes.len() < 2 + length {
            return NextFrame::End;
        }
        let data = self.bytes.split_to(2 + length).slice(2..);
        NextFrame::Frame(OpusFrame { data, samples: 960 })
    }
}
