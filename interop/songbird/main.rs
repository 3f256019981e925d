//! songbird, unmodified, as one speaker of a call: `../README.md`, "Voice".

#[path = "../rust/speaker.rs"]
mod speaker;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::json;
use serenity::{
    all::{ChannelId, Context, EventHandler, GatewayIntents, GuildId, HttpBuilder, Ready},
    async_trait,
    client::ClientBuilder,
};
use songbird::{
    Call, Config, CoreEvent, Event, EventContext, EventHandler as VoiceHandler, Songbird,
    driver::DecodeMode, input::File, packet::Packet as _, register_with,
};
use speaker::{Command, Commands, Result, heard, tell, variable};

struct Bot;

#[async_trait]
impl EventHandler for Bot {
    async fn ready(&self, _: Context, ready: Ready) {
        tell(&json!({"event": "ready", "user": ready.user.id.to_string()}));
    }
}

/// What the voice connection tells; songbird names speakers by SSRC.
#[derive(Clone, Default)]
struct Ears(Arc<Mutex<HashMap<u32, u64>>>);

#[async_trait]
impl VoiceHandler for Ears {
    async fn act(&self, context: &EventContext<'_>) -> Option<Event> {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match context {
            EventContext::SpeakingStateUpdate(update) => {
                if let Some(user) = update.user_id {
                    users.insert(update.ssrc, user.0);
                }
            }
            EventContext::RtpPacket(data) => {
                // The bounds of this event are right under DAVE, and those of its own decoder are not.
                let rtp = data.rtp();
                let body = rtp.payload();
                let end = body.len().saturating_sub(data.payload_end_pad);
                if let (Some(user), Some(opus)) = (
                    users.get(&rtp.get_ssrc()),
                    body.get(data.payload_offset..end),
                ) {
                    heard(*user, rtp.get_sequence().0.0, opus);
                }
            }
            EventContext::DriverConnect(_) => tell(&json!({"event": "connected"})),
            EventContext::DriverReconnect(_) => tell(&json!({"event": "reconnected"})),
            EventContext::DriverDisconnect(data) => {
                tell(&json!({"event": "disconnected", "why": format!("{:?}", data.reason)}));
            }
            _ => {}
        }
        None
    }
}

fn listen(call: &mut Call) {
    let ears = Ears::default();
    for event in [
        CoreEvent::SpeakingStateUpdate,
        CoreEvent::RtpPacket,
        CoreEvent::DriverConnect,
        CoreEvent::DriverReconnect,
        CoreEvent::DriverDisconnect,
    ] {
        call.add_global_event(event.into(), ears.clone());
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let token = variable("DISCORD_BOT_TOKEN")?;
    let base = variable("DISCORD_API_BASE")?;
    let guild: GuildId = variable("GUILD_ID")?.parse()?;
    let origin = base.strip_suffix("/api/v10");
    let origin = origin.ok_or("DISCORD_API_BASE does not end in /api/v10")?;
    // With its own limiter on, serenity would leave the proxy aside and call Discord.
    let http = HttpBuilder::new(token)
        .proxy(origin)
        .ratelimiter_disabled(true)
        .build();
    let config = Config::default().decode_mode(DecodeMode::Decrypt);
    let manager = Songbird::serenity_from_config(config);
    let intents = GatewayIntents::GUILDS | GatewayIntents::GUILD_VOICE_STATES;
    let builder = ClientBuilder::new_with_http(http, intents).event_handler(Bot);
    let mut client = register_with(builder, Arc::clone(&manager)).await?;
    tokio::spawn(async move {
        if let Err(error) = client.start().await {
            tell(&json!({"event": "trouble", "why": error.to_string()}));
        }
    });
    obey(&manager, guild).await
}

async fn obey(manager: &Songbird, guild: GuildId) -> Result<()> {
    let mut commands = Commands::new();
    while let Some(command) = commands.next().await? {
        match command {
            Command::Join(channel) => {
                // The handler must be there before the first packet.
                listen(&mut *manager.get_or_insert(guild).lock().await);
                match manager.join(guild, ChannelId::new(channel)).await {
                    Ok(_) => tell(&json!({"event": "joined"})),
                    Err(error) => tell(&json!({"event": "trouble", "why": error.to_string()})),
                }
            }
            Command::Play(file) => {
                let call = manager.get(guild).ok_or("there is no call")?;
                call.lock().await.play_input(File::new(file).into());
            }
            Command::Stop => {
                let call = manager.get(guild).ok_or("there is no call")?;
                call.lock().await.stop();
            }
            Command::Leave => {
                manager.remove(guild).await?;
                tell(&json!({"event": "left"}));
            }
        }
    }
    Ok(())
}
