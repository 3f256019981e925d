//! The client on `spellcoven-discord-gateway`.

mod bot;

use bot::{Result, variable};
use spellcoven_discord_gateway::{Event, EventFilter, Intents, Shard};
use spellcoven_discord_voice::{Id, VoiceRouter};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let guild = variable("GUILD_ID")?.parse()?;
    let mut shard = Shard::builder(variable("DISCORD_BOT_TOKEN")?)
        .gateway_url(variable("DISCORD_GATEWAY_URL")?)
        .intents(Intents::GUILDS | Intents::GUILD_VOICE_STATES)
        .wanted_events(VoiceRouter::wanted_events(EventFilter::default()))
        .start();
    let user = loop {
        let event = shard.next_event().await.ok_or("the Gateway ended")??;
        if let Event::Ready(ready) = event.event {
            break ready.user_id;
        }
    };
    let router = VoiceRouter::new(shard.handle(), user);
    let signalling = router.signalling(Id::new(guild));
    tokio::spawn(async move {
        while let Some(Ok(event)) = shard.next_event().await {
            router.handle(&event);
        }
    });
    bot::run(guild, user.get(), signalling).await
}
