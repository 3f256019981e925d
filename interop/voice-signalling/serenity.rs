//! The client on serenity, without its feature `voice`.

mod bot;

use std::sync::{Arc, Mutex, PoisonError};

use bot::{Result, variable};
use serde_json::json;
use serenity::{
    all::{
        Context, EventHandler, GatewayIntents, GuildId, HttpBuilder, Ready, ResumedEvent, UserId,
        VoiceServerUpdateEvent, VoiceState,
    },
    async_trait,
    client::ClientBuilder,
    gateway::ShardMessenger,
};
use spellcoven_discord_voice::{
    Id, OwnVoiceState, SignalError, SignalEvent, SignalFeed, VoiceServer, VoiceServerToken,
    VoiceStateRequest, signal_pair,
};
use tokio::sync::watch;

/// The way to the shard; serenity makes a new one with each new connection.
type Way = Arc<Mutex<Option<ShardMessenger>>>;

/// Feeds the client with what serenity hears.
struct Handler {
    guild: GuildId,
    feed: SignalFeed,
    way: Way,
    /// Who the bot is, from READY on.
    user: watch::Sender<Option<UserId>>,
}

impl Handler {
    fn connected(&self, context: Context) {
        *self.way.lock().unwrap_or_else(PoisonError::into_inner) = Some(context.shard);
    }
}

#[async_trait]
impl EventHandler for Handler {
    async fn ready(&self, context: Context, ready: Ready) {
        self.connected(context);
        let before = self.user.send_replace(Some(ready.user.id));
        if before.is_some() {
            self.feed.send(SignalEvent::GatewayRestarted);
        }
    }

    async fn resume(&self, context: Context, _: ResumedEvent) {
        self.connected(context);
    }

    async fn voice_state_update(&self, _: Context, _: Option<VoiceState>, state: VoiceState) {
        let own = Some(state.user_id) == *self.user.borrow();
        if own && state.guild_id == Some(self.guild) {
            self.feed.send(SignalEvent::VoiceState(OwnVoiceState {
                channel_id: state.channel_id.map(|channel| Id::new(channel.get())),
                session_id: state.session_id,
            }));
        }
    }

    async fn voice_server_update(&self, _: Context, server: VoiceServerUpdateEvent) {
        if server.guild_id == Some(self.guild) {
            self.feed.send(SignalEvent::VoiceServer(VoiceServer {
                token: VoiceServerToken::new(server.token),
                endpoint: server.endpoint,
            }));
        }
    }
}

/// What the client asks of the main Gateway.
fn op_4(
    way: Way,
) -> impl FnMut(VoiceStateRequest) -> std::result::Result<(), SignalError> + Send + 'static {
    move |request| {
        let way = way.lock().unwrap_or_else(PoisonError::into_inner);
        let shard = way.as_ref().ok_or(SignalError::Closed)?;
        let message = json!({"op": 4, "d": request}).to_string();
        shard.websocket_message(message.into());
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let guild: GuildId = variable("GUILD_ID")?.parse()?;
    let base = variable("DISCORD_API_BASE")?;
    let origin = base.strip_suffix("/api/v10");
    let origin = origin.ok_or("DISCORD_API_BASE does not end in /api/v10")?;
    // With its own limiter on, it would leave the proxy aside and call Discord.
    let http = HttpBuilder::new(variable("DISCORD_BOT_TOKEN")?)
        .proxy(origin)
        .ratelimiter_disabled(true)
        .build();
    let way = Way::default();
    let (feed, signalling) = signal_pair(op_4(Arc::clone(&way)));
    let (user, mut known) = watch::channel(None);
    let handler = Handler {
        guild,
        feed,
        way,
        user,
    };
    let intents = GatewayIntents::GUILDS | GatewayIntents::GUILD_VOICE_STATES;
    let mut client = ClientBuilder::new_with_http(http, intents)
        .event_handler(handler)
        .await?;
    tokio::spawn(async move {
        if let Err(error) = client.start().await {
            eprintln!("client: {error}");
        }
    });
    let user = known.wait_for(Option::is_some).await?.map(UserId::get);
    let user = user.ok_or("a bot without a user")?;
    bot::run(guild.get(), user, signalling).await
}
