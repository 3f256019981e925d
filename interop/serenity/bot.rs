//! A client that runs, and what its handlers were told.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serenity::{
    all::{
        Context, Event, EventHandler, GatewayIntents, Guild, GuildChannel, Http, Message,
        MessageUpdateEvent, RawEventHandler, Ready, VoiceState,
    },
    async_trait,
    client::ClientBuilder,
};
use tokio::time::{Instant, sleep};

use crate::simulator::{PATIENCE, Result, ensure};

#[derive(Default)]
pub struct Seen {
    /// Name of each dispatch; serenity does not show its number.
    pub dispatched: Vec<String>,
    /// `what subject`, as the typed events tell it.
    pub happened: Vec<String>,
    /// Dispatches that serenity's model did not take.
    pub unknown: Vec<String>,
}

#[derive(Clone, Default)]
pub struct Bot(Arc<Mutex<Seen>>);

impl Bot {
    /// The URL of the Gateway is what `http` answers.
    pub async fn start(http: Http) -> Result<(Self, Arc<Http>)> {
        let intents = GatewayIntents::GUILDS
            | GatewayIntents::GUILD_VOICE_STATES
            | GatewayIntents::GUILD_MESSAGES;
        let bot = Self::default();
        let mut client = ClientBuilder::new_with_http(http, intents)
            .event_handler(bot.clone())
            .raw_event_handler(bot.clone())
            .await?;
        let http = Arc::clone(&client.http);
        tokio::spawn(async move {
            if let Err(error) = client.start().await {
                eprintln!("client: {error}");
            }
        });
        Ok((bot, http))
    }

    pub fn with<R>(&self, look: impl FnOnce(&mut Seen) -> R) -> R {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn tell(&self, what: String) {
        self.with(|seen| seen.happened.push(what));
    }

    pub fn counts(&self) -> (usize, usize) {
        self.with(|seen| (seen.dispatched.len(), seen.happened.len()))
    }

    /// Waits for something that happened after the first `start`.
    pub async fn sees(&self, start: usize, what: &str) -> Result<()> {
        self.until(what, |seen| {
            seen.happened[start..].iter().any(|entry| entry == what)
        })
        .await
    }

    /// Waits for a dispatch of this name after the first `start`.
    pub async fn receives(&self, start: usize, name: &str) -> Result<()> {
        self.until(name, |seen| {
            seen.dispatched[start..].iter().any(|entry| entry == name)
        })
        .await
    }

    async fn until(&self, what: &str, holds: impl Fn(&Seen) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.with(|seen| holds(seen)) {
            let last = self.with(|seen| seen.happened.last().cloned());
            ensure(
                Instant::now() < deadline,
                format!("{what} did not come; last was {last:?}"),
            )?;
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

#[async_trait]
impl RawEventHandler for Bot {
    async fn raw_event(&self, _: Context, event: Event) {
        self.with(|seen| match &event {
            Event::Unknown(unknown) => {
                seen.dispatched.push(unknown.kind.clone());
                seen.unknown.push(unknown.kind.clone());
            }
            known => seen.dispatched.extend(known.name()),
        });
    }
}

#[async_trait]
impl EventHandler for Bot {
    async fn ready(&self, _: Context, ready: Ready) {
        self.tell(format!("ready {}", ready.user.id));
    }

    async fn guild_create(&self, _: Context, guild: Guild, _: Option<bool>) {
        let mut channels: Vec<_> = guild.channels.keys().map(ToString::to_string).collect();
        channels.sort();
        self.tell(format!("guild {} {}", guild.id, channels.join(" ")));
    }

    async fn voice_state_update(&self, _: Context, _: Option<VoiceState>, state: VoiceState) {
        self.tell(match state.channel_id {
            Some(channel) => format!("voice {} {channel}", state.user_id),
            None => format!("voice {} nowhere", state.user_id),
        });
    }

    async fn channel_create(&self, _: Context, channel: GuildChannel) {
        self.tell(format!("created {}", channel.id));
    }

    async fn channel_update(&self, _: Context, _: Option<GuildChannel>, channel: GuildChannel) {
        self.tell(format!("changed {}", channel.id));
    }

    async fn channel_delete(&self, _: Context, channel: GuildChannel, _: Option<Vec<Message>>) {
        self.tell(format!("deleted {}", channel.id));
    }

    async fn message(&self, _: Context, message: Message) {
        self.tell(format!("message {}", message.id));
    }

    async fn message_update(
        &self,
        _: Context,
        _: Option<Message>,
        _: Option<Message>,
        update: MessageUpdateEvent,
    ) {
        self.tell(format!("edited {}", update.id));
    }
}
