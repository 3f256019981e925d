//! The simulator as tests and services hold it.

mod builder;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use builder::SimBuilder;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::core::{
    Bot, ChannelKind, ChannelView, ConnectionId, MessageView, Output, Request, Response, Stats,
    VoiceStateView, WhileAway, World,
};
use crate::error::SimError;
use crate::faults::Fault;
use crate::ids::{ChannelId, GuildId, SoundId, UserId};
use crate::intents::Intents;
use crate::journal::{Entry, Journal};
use crate::permissions::{Overwrite, Permissions};
use crate::rest_faults::RestFault;
use crate::settings::RateLimit;

/// A simulated Discord. Clones are handles to the same one.
///
/// Time is tokio's: in a test with paused time it stands still until the test moves it, and so does everything here.
/// All methods that act or look are short and never wait; they lock the world while they run.
#[derive(Clone, Debug)]
pub struct Sim {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    origin: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) world: World,
    #[cfg(feature = "voice")]
    pub(crate) voice: crate::shell::Switchboard,
    doors: BTreeMap<ConnectionId, Arc<Door>>,
}

#[cfg(feature = "voice")]
impl Drop for Shared {
    fn drop(&mut self) {
        self.state
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .voice
            .stop();
    }
}

/// How a WebSocket is opened in the world: it depends on the way it came.
pub(crate) type Open = fn(&mut World, Duration, &str) -> ConnectionId;

/// How a connection's task is woken.
#[derive(Debug, Default)]
pub(crate) struct Door {
    /// There is output, or another deadline.
    pub(crate) wake: Notify,
    /// Drop everything now.
    pub(crate) cut: Notify,
}

/// Making it, and time.
impl Sim {
    /// A builder with Discord's values.
    #[must_use]
    pub fn builder() -> SimBuilder {
        SimBuilder::default()
    }

    /// Time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.shared.origin.elapsed()
    }

    /// Wall time as the simulator tells it: start + [`now`](Self::now), Unix milliseconds.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        self.with(|world| world.unix_ms())
    }

    /// The world itself, for what has no method here. Everything else waits while `act` runs; calling a method of the
    /// same simulator in it waits for ever.
    pub fn with<R>(&self, act: impl FnOnce(&mut World) -> R) -> R {
        self.run(|state| act(&mut state.world))
    }

    /// Changes something, and wakes the connections that it concerns.
    pub(crate) fn run<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        // Read under the lock: two threads must not tell their times in the wrong order.
        state.world.advance(self.now());
        let result = act(&mut state);
        #[cfg(feature = "voice")]
        {
            let State { world, voice, .. } = &mut *state;
            voice.deliver(world);
        }
        let State { world, doors, .. } = &mut *state;
        for id in world.take_ready() {
            if let Some(door) = doors.get(&id) {
                if world.is_cut(id) {
                    door.cut.notify_one();
                } else {
                    door.wake.notify_one();
                }
            }
        }
        result
    }

    #[cfg(feature = "voice")]
    pub(crate) fn weak(&self) -> std::sync::Weak<Shared> {
        Arc::downgrade(&self.shared)
    }

    #[cfg(feature = "voice")]
    pub(crate) fn of(shared: &std::sync::Weak<Shared>) -> Option<Self> {
        let shared = shared.upgrade()?;
        Some(Self { shared })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn instant(&self, at: Duration) -> Instant {
        self.shared.origin + at
    }

    /// What goes out on a connection now, at most `most` frames, and when to look again.
    pub(crate) fn outputs(&self, id: ConnectionId, most: usize) -> (Vec<Output>, Option<Duration>) {
        self.with(|world| {
            let now = world.now();
            if world.poll_timeout_of(id).is_some_and(|at| at <= now) {
                world.handle_timeout(now);
            }
            let outputs = std::iter::from_fn(|| world.poll_output(id))
                .take(most)
                .collect();
            (outputs, world.poll_timeout_of(id))
        })
    }

    pub(crate) fn open(&self, query: &str, open: Open) -> (ConnectionId, Arc<Door>) {
        self.run(|state| {
            let door = Arc::new(Door::default());
            let now = state.world.now();
            let id = open(&mut state.world, now, query);
            state.doors.insert(id, Arc::clone(&door));
            (id, door)
        })
    }

    pub(crate) fn received(&self, id: ConnectionId, payload: &[u8]) {
        self.with(|world| world.gateway_message(world.now(), id, payload));
    }

    pub(crate) fn closed(&self, id: ConnectionId, code: Option<u16>) {
        self.run(|state| {
            state.world.gateway_closed(state.world.now(), id, code);
            state.doors.remove(&id);
        });
    }

    /// Answers one request at once, without HTTP. [`Response::delay`] and [`Response::hang_up`] are left to the caller.
    pub fn rest(&self, request: &Request) -> Response {
        self.with(|world| world.handle_rest(world.now(), request))
    }
}

/// Setting up, as [`World`]'s methods of the same names.
impl Sim {
    /// A guild with `@everyone` and an owner, without channels.
    pub fn add_guild(&self, name: &str) -> GuildId {
        self.with(|world| world.add_guild(name))
    }

    /// A bot in a guild, with a role of its own that grants [`Permissions::DEFAULT_BOT`].
    pub fn add_bot(&self, name: &str, guild: GuildId) -> Bot {
        self.with(|world| world.add_bot(name, guild))
    }

    /// Lets a bot into one more guild.
    ///
    /// # Errors
    /// [`SimError::UnknownGuild`], [`SimError::UnknownUser`], [`SimError::NotABot`].
    pub fn add_bot_to_guild(&self, bot: impl Into<UserId>, guild: GuildId) -> Result<(), SimError> {
        self.with(|world| world.add_bot_to_guild(bot.into(), guild))
    }

    /// A person who is a member of a guild.
    pub fn add_person(&self, name: &str, guild: GuildId) -> UserId {
        self.with(|world| world.add_person(name, guild))
    }

    /// Makes a person a member of one more guild.
    ///
    /// # Errors
    /// [`SimError::UnknownGuild`], [`SimError::UnknownUser`].
    pub fn add_member(&self, user: UserId, guild: GuildId) -> Result<(), SimError> {
        self.with(|world| world.add_member(user, guild))
    }

    /// Takes a user out of a guild.
    ///
    /// # Errors
    /// [`SimError::UnknownGuild`], [`SimError::NotAMember`].
    pub fn remove_member(&self, user: impl Into<UserId>, guild: GuildId) -> Result<(), SimError> {
        self.with(|world| world.remove_member(user.into(), guild))
    }

    /// A voice channel. In an unknown guild the channel is made nowhere, and its id is of no use.
    pub fn add_voice_channel(&self, guild: GuildId, name: &str) -> ChannelId {
        self.add_or_zero(guild, ChannelKind::Voice, name, None)
    }

    /// A sound of a guild's soundboard, without audio.
    ///
    /// # Errors
    /// What is not there, or not allowed; nothing is changed then.
    pub fn add_sound(&self, guild: GuildId, name: &str) -> Result<SoundId, SimError> {
        self.with(|world| world.add_sound(guild, name))
    }

    /// A voice channel in a category.
    pub fn add_voice_channel_in(
        &self,
        guild: GuildId,
        category: ChannelId,
        name: &str,
    ) -> ChannelId {
        self.add_or_zero(guild, ChannelKind::Voice, name, Some(category))
    }

    /// A category.
    pub fn add_category(&self, guild: GuildId, name: &str) -> ChannelId {
        self.add_or_zero(guild, ChannelKind::Category, name, None)
    }

    /// A text channel.
    pub fn add_text_channel(&self, guild: GuildId, name: &str) -> ChannelId {
        self.add_or_zero(guild, ChannelKind::Text, name, None)
    }

    fn add_or_zero(
        &self,
        guild: GuildId,
        kind: ChannelKind,
        name: &str,
        parent: Option<ChannelId>,
    ) -> ChannelId {
        self.with(|world| world.add_channel(guild, kind, name, parent))
            .unwrap_or(ChannelId(0))
    }

    /// Deletes a channel, as a person would in Discord itself.
    ///
    /// # Errors
    /// [`SimError::UnknownChannel`].
    pub fn delete_channel(&self, channel: ChannelId) -> Result<(), SimError> {
        self.with(|world| world.delete_channel(channel))
    }

    /// Renames a channel, as a person would in Discord itself.
    ///
    /// # Errors
    /// [`SimError::UnknownChannel`].
    pub fn rename_channel(&self, channel: ChannelId, name: &str) -> Result<(), SimError> {
        self.with(|world| world.rename_channel(channel, name))
    }

    /// Sets a channel's user limit; 0 for none.
    ///
    /// # Errors
    /// [`SimError::UnknownChannel`].
    pub fn set_user_limit(&self, channel: ChannelId, limit: u32) -> Result<(), SimError> {
        self.with(|world| world.set_user_limit(channel, limit))
    }

    /// Sets what stands under a voice channel's name; `None` for nothing.
    ///
    /// # Errors
    /// [`SimError::UnknownChannel`], [`SimError::NotVoice`].
    pub fn set_voice_status(
        &self,
        channel: ChannelId,
        status: Option<String>,
    ) -> Result<(), SimError> {
        self.with(|world| world.set_voice_status(channel, status))
    }

    /// Sets all permission overwrites of a channel.
    ///
    /// # Errors
    /// [`SimError::UnknownChannel`].
    pub fn set_overwrites(
        &self,
        channel: ChannelId,
        overwrites: Vec<Overwrite>,
    ) -> Result<(), SimError> {
        self.with(|world| world.set_overwrites(channel, overwrites))
    }

    /// Sets what a bot's own role grants in a guild; `@everyone` still grants its own.
    ///
    /// # Errors
    /// [`SimError::UnknownGuild`], [`SimError::NotAMember`], [`SimError::NotABot`].
    pub fn set_permissions(
        &self,
        bot: impl Into<UserId>,
        guild: GuildId,
        bits: Permissions,
    ) -> Result<(), SimError> {
        self.with(|world| world.set_permissions(bot.into(), guild, bits))
    }

    /// Sets what `@everyone` may in a guild.
    ///
    /// # Errors
    /// [`SimError::UnknownGuild`].
    pub fn set_everyone_permissions(
        &self,
        guild: GuildId,
        bits: Permissions,
    ) -> Result<(), SimError> {
        self.with(|world| world.set_everyone_permissions(guild, bits))
    }

    /// Takes a guild away for a while, or brings it back.
    ///
    /// # Errors
    /// [`SimError::UnknownGuild`].
    pub fn set_unavailable(&self, guild: GuildId, unavailable: bool) -> Result<(), SimError> {
        self.with(|world| world.set_unavailable(guild, unavailable))
    }
}

/// People in voice.
impl Sim {
    /// A person joins a voice channel, or moves to it from another.
    ///
    /// # Errors
    /// [`SimError::UnknownChannel`], [`SimError::UnknownUser`], [`SimError::NotVoice`], [`SimError::NotAMember`],
    /// [`SimError::NotAllowed`], [`SimError::ChannelFull`].
    pub fn join(&self, person: UserId, channel: ChannelId) -> Result<(), SimError> {
        self.with(|world| world.join(person, channel))
    }

    /// A person leaves voice.
    ///
    /// # Errors
    /// [`SimError::UnknownUser`], [`SimError::NotInVoice`].
    pub fn leave(&self, person: UserId) -> Result<(), SimError> {
        self.with(|world| world.leave(person))
    }

    /// Mutes or unmutes a person by their own button.
    ///
    /// # Errors
    /// [`SimError::UnknownUser`], [`SimError::NotInVoice`].
    pub fn set_self_mute(&self, person: UserId, on: bool) -> Result<(), SimError> {
        self.with(|world| world.set_self_mute(person, on))
    }

    /// Deafens or undeafens a person by their own button.
    ///
    /// # Errors
    /// [`SimError::UnknownUser`], [`SimError::NotInVoice`].
    pub fn set_self_deaf(&self, person: UserId, on: bool) -> Result<(), SimError> {
        self.with(|world| world.set_self_deaf(person, on))
    }

    /// Switches a person's camera.
    ///
    /// # Errors
    /// [`SimError::UnknownUser`], [`SimError::NotInVoice`].
    pub fn set_self_video(&self, person: UserId, on: bool) -> Result<(), SimError> {
        self.with(|world| world.set_self_video(person, on))
    }
}

/// Looking.
impl Sim {
    /// Who is in voice in a guild.
    #[must_use]
    pub fn voice_states(&self, guild: GuildId) -> BTreeMap<UserId, VoiceStateView> {
        self.with(|world| world.voice_states(guild))
    }

    /// The channels of a guild, by id.
    #[must_use]
    pub fn channels(&self, guild: GuildId) -> Vec<ChannelView> {
        self.with(|world| world.channels(guild))
    }

    /// The kept messages of a channel, oldest first.
    #[must_use]
    pub fn messages(&self, channel: ChannelId) -> Vec<MessageView> {
        self.with(|world| world.messages(channel))
    }

    /// How many live Gateway connections a bot has (identified or resumed).
    #[must_use]
    pub fn live_sessions(&self, bot: impl Into<UserId>) -> usize {
        self.with(|world| world.session_count(bot.into()).1)
    }

    /// A bot's token as it is now.
    #[must_use]
    pub fn token(&self, bot: impl Into<UserId>) -> Option<String> {
        self.with(|world| world.token(bot.into()))
    }

    /// A copy of the journal.
    #[must_use]
    pub fn journal(&self) -> Journal {
        self.journal_since(0)
    }

    /// A copy of the journal's entries numbered `first` and later.
    #[must_use]
    pub fn journal_since(&self, first: u64) -> Journal {
        self.with(|world| world.journal_since(first))
    }

    /// What happened so far, in numbers.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.with(|world| world.stats())
    }

    /// What clients did wrong, as far as the journal reaches.
    #[must_use]
    pub fn complaints(&self) -> Vec<Entry> {
        self.journal().complaints().cloned().collect()
    }
}

/// Faults on demand.
impl Sim {
    /// Orders any fault of the Gateway.
    pub fn fault(&self, bot: impl Into<UserId>, fault: &Fault) {
        self.with(|world| world.fault(bot.into(), fault));
    }

    /// Drops a bot's TCP connections without a close frame.
    pub fn cut(&self, bot: impl Into<UserId>) {
        self.fault(bot, &Fault::Cut);
    }

    /// Op 7, and a close after the grace.
    pub fn reconnect(&self, bot: impl Into<UserId>) {
        self.fault(bot, &Fault::Reconnect);
    }

    /// The same with another grace than the settings'.
    pub fn reconnect_after(&self, bot: impl Into<UserId>, grace: Duration) {
        self.with(|world| {
            let usual = std::mem::replace(&mut world.settings_mut().reconnect_grace, grace);
            world.fault(bot.into(), &Fault::Reconnect);
            world.settings_mut().reconnect_grace = usual;
        });
    }

    /// Does this when a session of the bot next loses its connection, once: events that a resume has to replay.
    pub fn while_away(&self, bot: impl Into<UserId>, what: Vec<WhileAway>) {
        self.with(|world| world.while_away(bot.into(), what));
    }

    /// Op 9 on live sessions.
    pub fn invalidate(&self, bot: impl Into<UserId>, resumable: bool) {
        self.fault(bot, &Fault::InvalidSession { resumable });
    }

    /// Closes with a code.
    pub fn close(&self, bot: impl Into<UserId>, code: u16) {
        self.fault(bot, &Fault::Close { code });
    }

    /// Stops answering heartbeats, or answers them again.
    pub fn mute_acks(&self, bot: impl Into<UserId>, on: bool) {
        self.fault(bot, &Fault::MuteAcks { on });
    }

    /// Stops answering heartbeats for so long from now on, whatever was ordered before.
    pub fn mute_acks_for(&self, bot: impl Into<UserId>, time: Duration) {
        self.with(|world| world.mute_acks_for(bot.into(), time));
    }

    /// Refuses the next `times` resumes with op 9 `false`.
    pub fn refuse_next_resume(&self, bot: impl Into<UserId>, times: u32) {
        self.fault(bot, &Fault::RefuseResume { times });
    }

    /// Keeps dispatches back until [`release_events`](Self::release_events), READY included.
    pub fn hold_events(&self, bot: impl Into<UserId>) {
        self.fault(bot, &Fault::HoldEvents { on: true });
    }

    /// Sends what was kept back.
    pub fn release_events(&self, bot: impl Into<UserId>) {
        self.fault(bot, &Fault::HoldEvents { on: false });
    }

    /// Orders a fault of REST.
    pub fn fail_rest(&self, fault: RestFault) {
        self.with(|world| world.rest_fault(fault));
    }

    /// Takes back all REST faults that have not struck.
    pub fn clear_rest_faults(&self) {
        self.with(World::clear_rest_faults);
    }

    /// Bans the address that all clients have from REST for so long; zero lifts a ban.
    pub fn ban_address(&self, time: Duration) {
        self.with(|world| world.ban_address(time));
    }

    /// Sets the limit of the routes that a text names, as `"POST /guilds/{id}/channels"`; how many routes that are.
    pub fn limit_route(&self, route: &str, limit: RateLimit) -> usize {
        self.with(|world| world.limit_route(route, limit)).len()
    }

    /// Takes back what [`limit_route`](Self::limit_route) set and every 429 that is still ordered, forgets what was
    /// counted, and lifts a ban.
    pub fn clear_rate_limits(&self) {
        self.with(World::clear_rate_limits);
    }

    /// Delays every REST answer after its execution.
    pub fn set_delay_rest(&self, delay: Duration) {
        self.with(|world| world.settings_mut().rest_delay = delay);
    }

    /// Delays every dispatch after its cause.
    pub fn set_delay_events(&self, delay: Duration) {
        self.with(|world| world.settings_mut().event_delay = delay);
    }

    /// Sends an event of the test's own making to a guild's sessions that have the intent.
    pub fn emit(&self, guild: GuildId, t: &str, d: &Value, need: Intents) {
        self.with(|world| world.emit(guild, t, d, need));
    }
}
