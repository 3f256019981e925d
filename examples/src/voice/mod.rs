//! The voice bot: it joins a channel, says a clip to whoever is there, then echoes what it hears.

pub mod clip;
pub mod echo;
pub mod env;
pub mod health;

use spellcoven_discord_gateway::{
    Event, EventFilter, GatewayError, Shard, ShardBuilder, ShardHandle, Shutdown,
};
use spellcoven_discord_voice::{
    ChannelMarker, CodecError, ConnectError, DiscordRtcClient, EncoderConfig, EndReason,
    EventStream, GuildMarker, Id, Player, PlayerFull, ReceiveMode, Track, VoiceConnector,
    VoiceEvent, VoiceRouter,
};
use tokio::task::JoinHandle;

/// A bot in one guild: its Gateway session, and its voice client.
pub struct VoiceBot {
    client: DiscordRtcClient,
    shard: ShardHandle,
    feed: JoinHandle<Result<(), GatewayError>>,
}

/// Why the bot cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum VoiceBotError {
    /// Discord refused the Gateway session for good, or it ended.
    #[error("the Gateway session ended")]
    Gateway(#[source] Option<GatewayError>),
    /// The channel could not be joined.
    #[error("the channel could not be joined")]
    Connect(#[from] ConnectError),
    /// The call is over.
    #[error("the call has ended")]
    Ended(#[from] EndReason),
    /// The voice client is gone.
    #[error("the voice client has ended")]
    ClientGone,
    /// libopus refuses to start.
    #[error("libopus failed")]
    Codec(#[from] CodecError),
    /// A player that was just made takes no track.
    #[error(transparent)]
    Player(#[from] PlayerFull),
}

impl VoiceBot {
    /// Starts the Gateway session, waits until it is ready, and makes the voice client. `connector` is the way to voice
    /// servers.
    ///
    /// # Errors
    /// [`VoiceBotError::Gateway`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the Gateway connection.
    pub async fn start(
        shard: ShardBuilder,
        guild_id: Id<GuildMarker>,
        connector: impl VoiceConnector,
    ) -> Result<Self, VoiceBotError> {
        let mut shard = shard
            .wanted_events(VoiceRouter::wanted_events(EventFilter::none()))
            .start();
        let user_id = loop {
            match shard.next_event().await {
                Some(Ok(event)) => {
                    if let Event::Ready(ready) = event.event {
                        break ready.user_id;
                    }
                }
                Some(Err(error)) => return Err(VoiceBotError::Gateway(Some(error))),
                None => return Err(VoiceBotError::Gateway(None)),
            }
        };
        let handle = shard.handle();
        let router = VoiceRouter::new(handle.clone(), user_id);
        let client = DiscordRtcClient::builder(guild_id, user_id, router.signalling(guild_id))
            .connector(connector)
            .receive(ReceiveMode::Pcm)
            .build();
        Ok(Self {
            client,
            shard: handle,
            feed: tokio::spawn(feed(shard, router)),
        })
    }

    /// What a health page looks at.
    #[must_use]
    pub fn parts(&self) -> (ShardHandle, DiscordRtcClient) {
        (self.shard.clone(), self.client.clone())
    }

    /// Joins, waits for somebody, says the clip, and echoes until the call or the Gateway session ends, which is an
    /// error: nobody asked for it.
    ///
    /// # Errors
    /// [`VoiceBotError`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves the bot in the call; [`leave`](Self::leave) ends that.
    pub async fn run(
        &mut self,
        channel_id: Id<ChannelMarker>,
        clip: Track,
    ) -> Result<(), VoiceBotError> {
        tokio::select! {
            biased;
            ended = &mut self.feed => Err(VoiceBotError::Gateway(ended.ok().and_then(Result::err))),
            () = narrate(self.client.events()) => Err(VoiceBotError::ClientGone),
            attended = attend(&self.client, channel_id, clip) => attended,
        }
    }

    /// Leaves the channel, then ends the Gateway session: nobody sees a bot that hangs about.
    ///
    /// # Cancel safety
    /// Dropping the future leaves undone what was not done yet.
    pub async fn leave(self) {
        self.client.disconnect().await;
        self.shard.shutdown(Shutdown::EndSession);
        if !self.feed.is_finished() {
            let _ = self.feed.await;
        }
    }
}

/// Gives the router what comes from the Gateway.
async fn feed(mut shard: Shard, router: VoiceRouter) -> Result<(), GatewayError> {
    while let Some(event) = shard.next_event().await {
        router.handle(&event?);
    }
    Ok(())
}

async fn attend(
    client: &DiscordRtcClient,
    channel_id: Id<ChannelMarker>,
    clip: Track,
) -> Result<(), VoiceBotError> {
    let mut events = client.events();
    client.connect(channel_id).await?;
    tracing::info!(channel = %channel_id, "joined");

    // While nobody else is there, there is no key, and what is said is lost.
    if client.participants().is_empty() {
        wait(&mut events, |event| {
            matches!(event, VoiceEvent::Joined { .. })
        })
        .await?;
    }
    let (player, controls) = Player::new(EncoderConfig::music());
    controls.play(clip)?;
    // Without a handle the player ends when it has said what it has.
    drop(controls);
    client.play(player);
    wait(&mut events, |event| {
        matches!(event, VoiceEvent::SourceEnded)
    })
    .await?;
    tracing::info!("the clip is said, echoing from now on");

    let mut heard = client.mixed_audio();
    let (ear, echo) = echo::echo()?;
    client.play(echo);
    let hear = async {
        while let Some(frame) = heard.next().await {
            ear.hear(frame);
        }
        Err(VoiceBotError::ClientGone)
    };
    tokio::select! {
        biased;
        ended = wait(&mut events, |_| false) => ended,
        gone = hear => gone,
    }
}

/// Returns at the first event that is wanted; the end of the call is an error.
async fn wait(
    events: &mut EventStream,
    mut wanted: impl FnMut(&VoiceEvent) -> bool,
) -> Result<(), VoiceBotError> {
    while let Some(event) = events.next().await {
        if let VoiceEvent::Ended(reason) = &event {
            return Err(reason.clone().into());
        }
        if wanted(&event) {
            return Ok(());
        }
    }
    Err(VoiceBotError::ClientGone)
}

/// Logs what happens, also while the channel is being joined. Returns when the client has ended.
async fn narrate(mut events: EventStream) {
    while let Some(event) = events.next().await {
        match event {
            VoiceEvent::Trouble(trouble) => tracing::warn!(%trouble, "the call has trouble"),
            event => tracing::debug!(?event, "the call"),
        }
    }
}
