//! The voice bot's health page.

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use spellcoven_discord_gateway::{self as gateway, ShardHandle};
use spellcoven_discord_voice::{ConnectionState, DiscordRtcClient};

use super::VoiceBot;
use crate::health;

/// What the voice bot's `GET /health` looks at.
#[derive(Clone, Default)]
pub struct VoiceHealth(Arc<OnceLock<(ShardHandle, DiscordRtcClient)>>);

impl VoiceHealth {
    /// From now on this bot counts.
    pub fn watch(&self, bot: &VoiceBot) {
        let _ = self.0.set(bot.parts());
    }

    /// Whether the bot is in its call, and the details.
    #[must_use]
    pub fn report(&self) -> (bool, Value) {
        let bot = self.0.get();
        let shard = bot.map(|(shard, _)| shard.status());
        let state = bot.map(|(_, client)| client.state());
        // While a voice connection is resumed, sound goes on.
        let in_call = matches!(
            state,
            Some(ConnectionState::Connected | ConnectionState::Resuming)
        );
        let healthy = in_call
            && shard
                .as_ref()
                .is_some_and(|shard| shard.state == gateway::ConnectionState::Active);
        let stats = bot.map(|(_, client)| client.stats()).unwrap_or_default();
        let body = json!({
            "status": if healthy { "ok" } else { "unavailable" },
            "gateway": health::gateway(shard.as_ref()),
            "voice": {
                "state": state.map_or("Starting".to_owned(), |state| format!("{state:?}")),
                "channelId": bot.and_then(|(_, client)| client.channel()).map(|id| id.to_string()),
                "participants": bot.map_or(0, |(_, client)| client.participants().len()),
                "endToEndEncrypted": bot.is_some_and(|(_, client)| client.privacy_code().is_some()),
                "connections": stats.connections,
                "resumes": stats.resumes,
                "heartbeatLatencyMs": stats.heartbeat_latency.map(|time| time.as_secs_f64() * 1e3),
            },
        });
        (healthy, body)
    }
}
