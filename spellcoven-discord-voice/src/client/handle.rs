use std::sync::Arc;

use tokio::sync::oneshot;

#[cfg(feature = "opus")]
use super::MixedAudioStream;
use super::{
    AudioSink, AudioStream, DiscordRtcClientBuilder, EventStream, ReceiveMode, VoiceStats,
    shared::{Shared, Target},
    sink::audio_sink,
};
use crate::{
    AudioSource, ChannelMarker, ConnectError, ConnectionState, GuildMarker, Id, Participant,
    Signalling, UserMarker,
};

/// A voice client in one guild: it joins a channel, sends and receives audio there, and follows moves, server changes
/// and reconnects by itself.
///
/// Clones are the same client. When the last one is dropped the client leaves the channel, as well as it can without
/// anyone waiting; [`disconnect`](Self::disconnect) waits. Streams and sinks do not keep it alive.
///
/// | the specification's name | here |
/// |---|---|
/// | `connect(channelId)` | [`connect`](Self::connect) |
/// | `disconnect()` | [`disconnect`](Self::disconnect) |
/// | `sendAudio(stream)` | [`play`](Self::play), [`audio_sink`](Self::audio_sink) |
/// | `onAudio(callback)` | [`audio`](Self::audio) |
#[derive(Clone)]
pub struct DiscordRtcClient(Arc<Guard>);

/// Dropped with the last handle.
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.order(|orders| orders.abandoned = true);
    }
}

impl std::fmt::Debug for DiscordRtcClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiscordRtcClient")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl DiscordRtcClient {
    /// Settings for a client of this user in this guild. The user is the bot itself: READY names it.
    pub fn builder(
        guild_id: Id<GuildMarker>,
        user_id: Id<UserMarker>,
        signalling: impl Signalling,
    ) -> DiscordRtcClientBuilder {
        DiscordRtcClientBuilder::new(guild_id, user_id, Box::new(signalling))
    }

    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(Arc::new(Guard(shared)))
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }

    /// Joins a voice channel, or moves there from another one of the guild. Ready when audio can flow as far as the
    /// connection goes; end-to-end encryption may need the others for a moment more, and audio is held that long.
    ///
    /// # Errors
    ///
    /// See [`ConnectError`]. A full channel answers nothing at all, so that takes 10 s.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes nothing back: the client goes on joining. [`disconnect`](Self::disconnect) ends that.
    pub async fn connect(&self, channel_id: Id<ChannelMarker>) -> Result<(), ConnectError> {
        let (reply, answer) = oneshot::channel();
        self.shared()
            .order(|orders| orders.set_target(Target::Channel(channel_id, reply)));
        answer.await.unwrap_or(Err(ConnectError::Cancelled))
    }

    /// Leaves, and waits until Discord has confirmed it or 5 s are over. What plays stays set and goes on
    /// at the next [`connect`](Self::connect). Nothing happens in no channel.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes nothing back: the client leaves.
    pub async fn disconnect(&self) {
        let (reply, answer) = oneshot::channel();
        self.shared()
            .order(|orders| orders.set_target(Target::Nowhere(vec![reply])));
        // An error means that the task has ended, and with it the call.
        let _ = answer.await;
    }

    /// Plays a source from now on, in place of what was played; a `Player` gives many tracks at once. It goes on over
    /// moves and reconnects, and starts now even if no channel was joined yet: nothing is taken from it until one is.
    /// Its end is [`VoiceEvent::SourceEnded`](crate::VoiceEvent::SourceEnded).
    pub fn play(&self, source: impl AudioSource + 'static) {
        self.set_source(Some(Box::new(source)));
    }

    /// Plays nothing any more.
    pub fn stop(&self) {
        self.set_source(None);
    }

    /// The same as [`play`](Self::play), with a sink for Opus frames as the source. An earlier sink is closed.
    pub fn audio_sink(&self) -> AudioSink {
        let (sink, source) = audio_sink(self.shared().settings.sink_buffer);
        self.set_source(Some(Box::new(source)));
        sink
    }

    fn set_source(&self, source: Option<Box<dyn AudioSource>>) {
        let replaced = self.shared().order(|orders| orders.source.replace(source));
        drop(replaced);
    }

    /// The others' audio from now on, keyed by user. Each stream gets all of it; a stream that is not read fast enough
    /// loses its oldest frames. It ends with the client. With [`ReceiveMode::Off`] it stays silent.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn audio(&self) -> AudioStream {
        AudioStream::new(self.shared().listen_to_audio(), Arc::clone(&self.0.0))
    }

    /// All others' audio from now on, decoded and mixed into one, whatever the [`ReceiveMode`] but
    /// [`Off`](ReceiveMode::Off), with which it stays silent.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[cfg(feature = "opus")]
    pub fn mixed_audio(&self) -> MixedAudioStream {
        MixedAudioStream::new(self.shared().listen_to_audio(), Arc::clone(&self.0.0))
    }

    /// What happens from now on. Each stream gets every event; one that is not read fast enough is told how many it
    /// lost. It ends with the client.
    pub fn events(&self) -> EventStream {
        EventStream(self.shared().listen_to_events())
    }

    /// Mutes or unmutes the client itself. While muted, what plays goes on and none of it is sent.
    pub fn set_self_mute(&self, muted: bool) {
        self.shared().order(|orders| orders.self_mute = Some(muted));
    }

    /// Deafens or undeafens the client itself, which others see; it does not change what is received.
    pub fn set_self_deaf(&self, deafened: bool) {
        self.shared()
            .order(|orders| orders.self_deaf = Some(deafened));
    }

    /// Where the call stands.
    pub fn state(&self) -> ConnectionState {
        *self.shared().state.borrow()
    }

    /// Waits for a state; `false` when the client's task has ended before.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing. A state that lasts only a moment may be missed.
    pub async fn wait_for(&self, state: ConnectionState) -> bool {
        let mut watch = self.shared().state.subscribe();
        watch.wait_for(|now| *now == state).await.is_ok()
    }

    /// The channel that the client is in, as far as Discord has said.
    pub fn channel(&self) -> Option<Id<ChannelMarker>> {
        self.shared().view(|view| view.channel)
    }

    /// Who else is in the call, by user id.
    pub fn participants(&self) -> Vec<Participant> {
        self.shared().view(|view| view.participants.clone())
    }

    /// Counts and measurements, at most half a second old while media flows.
    pub fn stats(&self) -> VoiceStats {
        self.shared().view(|view| view.stats.clone())
    }

    /// What is done with the others' audio, as the builder said.
    pub fn receive_mode(&self) -> ReceiveMode {
        self.shared().settings.receive
    }

    /// The privacy code of the call as it is now: 30 digits that are the same for everyone in it, as Discord's clients
    /// show them. `None` while the call is not end-to-end encrypted. It changes whenever someone joins or leaves.
    ///
    /// Source: DAVE protocol, "Displayable Codes".
    pub fn privacy_code(&self) -> Option<String> {
        self.shared().view(|view| view.privacy_code.clone())
    }

    /// The code with which the client and another user can verify each other: 45 digits, the same on both sides. `None`
    /// while the call is not end-to-end encrypted, or the user is not in it. It takes some CPU, and is not computed on
    /// the call's task.
    ///
    /// Source: DAVE protocol, "Verification Code".
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn verification_code(&self, user_id: Id<UserMarker>) -> Option<String> {
        let (reply, answer) = oneshot::channel();
        self.shared()
            .order(|orders| orders.verify.push((user_id, reply)));
        answer.await.ok().flatten()
    }
}
