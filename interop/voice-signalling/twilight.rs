//! The client on twilight-gateway, whose ids it shares.

mod bot;

use std::num::NonZeroU64;

use bot::{Result, variable};
use spellcoven_discord_voice::{
    OwnVoiceState, SignalError, SignalEvent, SignalFeed, VoiceServer, VoiceServerToken, signal_pair,
};
use twilight_gateway::{
    ConfigBuilder, Event, EventTypeFlags, Intents, MessageSender, Shard, ShardId, StreamExt as _,
};
use twilight_model::{
    gateway::payload::outgoing::UpdateVoiceState,
    id::{
        Id,
        marker::{GuildMarker, UserMarker},
    },
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let guild: Id<GuildMarker> = Id::from(variable("GUILD_ID")?.parse::<NonZeroU64>()?);
    let intents = Intents::GUILDS | Intents::GUILD_VOICE_STATES;
    let config = ConfigBuilder::new(variable("DISCORD_BOT_TOKEN")?, intents)
        .proxy_url(variable("DISCORD_GATEWAY_URL")?)
        .build();
    let mut shard = Shard::with_config(ShardId::ONE, config);
    let user = loop {
        let event = shard.next_event(EventTypeFlags::READY).await;
        if let Event::Ready(ready) = event.ok_or("the Gateway ended")?? {
            break ready.user.id;
        }
    };
    let (feed, signalling) = signal_pair(op_4(shard.sender()));
    tokio::spawn(async move {
        let wanted = EventTypeFlags::READY
            | EventTypeFlags::VOICE_STATE_UPDATE
            | EventTypeFlags::VOICE_SERVER_UPDATE;
        while let Some(event) = shard.next_event(wanted).await {
            match event {
                Ok(event) => hear(&feed, guild, user, event),
                Err(error) => eprintln!("shard: {error}"),
            }
        }
    });
    bot::run(guild.get(), user.get(), signalling).await
}

/// What the client asks of the main Gateway.
fn op_4(
    sender: MessageSender,
) -> impl FnMut(spellcoven_discord_voice::VoiceStateRequest) -> std::result::Result<(), SignalError>
+ Send
+ 'static {
    move |request| {
        let command = UpdateVoiceState::new(
            request.guild_id,
            request.channel_id,
            request.self_deaf,
            request.self_mute,
        );
        sender.command(&command).map_err(|_| SignalError::Closed)
    }
}

/// What it hears from there.
fn hear(feed: &SignalFeed, guild: Id<GuildMarker>, user: Id<UserMarker>, event: Event) {
    match event {
        Event::VoiceStateUpdate(state)
            if state.user_id == user && state.guild_id == Some(guild) =>
        {
            feed.send(SignalEvent::VoiceState(OwnVoiceState {
                channel_id: state.channel_id,
                session_id: state.0.session_id,
            }));
        }
        Event::VoiceServerUpdate(server) if server.guild_id == guild => {
            feed.send(SignalEvent::VoiceServer(VoiceServer {
                token: VoiceServerToken::new(server.token),
                endpoint: server.endpoint,
            }));
        }
        // Not the first one, which came before the client.
        Event::Ready(_) => {
            feed.send(SignalEvent::GatewayRestarted);
        }
        _ => {}
    }
}
