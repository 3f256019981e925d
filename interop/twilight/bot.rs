//! A shard that runs, and what it has seen.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_core::Stream as _;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use twilight_gateway::{
    ConfigBuilder, Event, EventTypeFlags, Intents, Message, Shard, ShardId, parse,
};
use twilight_model::gateway::payload::incoming::GuildCreate;

use crate::simulator::{PATIENCE, Result, ensure};

#[derive(Default)]
pub struct Seen {
    /// Number and name of each dispatch.
    pub dispatched: Vec<(u64, String)>,
    /// `what subject`, as the typed events tell it.
    pub happened: Vec<String>,
    /// Dispatches that twilight's model did not take.
    pub unparsed: Vec<String>,
}

#[derive(Clone, Default)]
pub struct Bot(Arc<Mutex<Seen>>);

impl Bot {
    pub fn start(token: String, gateway_url: String) -> Self {
        let intents = Intents::GUILDS | Intents::GUILD_VOICE_STATES | Intents::GUILD_MESSAGES;
        let config = ConfigBuilder::new(token, intents)
            .proxy_url(gateway_url)
            .build();
        let mut shard = Shard::with_config(ShardId::ONE, config);
        let bot = Self::default();
        let seen = bot.clone();
        tokio::spawn(async move {
            while let Some(item) = poll_fn(|context| Pin::new(&mut shard).poll_next(context)).await
            {
                match item {
                    Ok(Message::Text(text)) => seen.take(text),
                    Ok(Message::Close(frame)) => eprintln!("closed: {frame:?}"),
                    Err(error) => {
                        eprintln!("shard: {error}: {:?}", std::error::Error::source(&error))
                    }
                }
            }
        });
        bot
    }

    pub fn with<R>(&self, look: impl FnOnce(&mut Seen) -> R) -> R {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self, text: String) {
        let message: Value = serde_json::from_str(&text).unwrap_or_default();
        let event = parse(text, EventTypeFlags::all());
        self.with(|seen| {
            if let (Some(number), Some(name)) = (message["s"].as_u64(), message["t"].as_str()) {
                seen.dispatched.push((number, name.to_owned()));
            }
            match event {
                Ok(event) => seen
                    .happened
                    .extend(event.map(Event::from).and_then(|event| describe(&event))),
                Err(error) => seen.unparsed.push(format!("{}: {error}", message["t"])),
            }
        });
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
            seen.dispatched[start..]
                .iter()
                .any(|(_, entry)| entry == name)
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

fn describe(event: &Event) -> Option<String> {
    Some(match event {
        Event::GuildCreate(guild) => match &**guild {
            GuildCreate::Available(guild) => {
                let mut channels: Vec<_> = guild
                    .channels
                    .iter()
                    .map(|channel| channel.id.to_string())
                    .collect();
                channels.sort();
                format!("guild {} {}", guild.id, channels.join(" "))
            }
            GuildCreate::Unavailable(_) => return None,
        },
        Event::VoiceStateUpdate(state) => match state.channel_id {
            Some(channel) => format!("voice {} {channel}", state.user_id),
            None => format!("voice {} nowhere", state.user_id),
        },
        Event::ChannelCreate(channel) => format!("created {}", channel.id),
        Event::ChannelUpdate(channel) => format!("changed {}", channel.id),
        Event::ChannelDelete(channel) => format!("deleted {}", channel.id),
        Event::MessageCreate(message) => format!("message {}", message.id),
        Event::MessageUpdate(message) => format!("edited {}", message.id),
        _ => return None,
    })
}
