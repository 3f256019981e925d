//! Voice as tests hold it, as [`World`](crate::core::World)'s methods of the same names.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::{
    CallFault, CallView, HeardFrame, HeardSummary, MediaCounts, MediaFaults, Speech,
    VoiceClientView, VoiceFault, VoiceServerId, VoiceServerView,
};
use crate::error::SimError;
use crate::ids::{ChannelId, GuildId, UserId};
use crate::sim::Sim;

/// Voice servers.
impl Sim {
    /// One more voice server, without a socket. No call is on it until [`move_call`](Self::move_call) says so.
    pub fn add_voice_server(&self) -> VoiceServerId {
        self.with(|world| world.add_voice_server())
    }

    /// The voice servers, by number. One is there from the start; without
    /// [`SimServer::listen_voice`](crate::SimServer::listen_voice) it is reached through
    /// [`serve_voice_connection`](Self::serve_voice_connection) and [`voice_udp`](Self::voice_udp) alone.
    #[must_use]
    pub fn voice_servers(&self) -> Vec<VoiceServerView> {
        self.with(|world| world.voice_servers())
    }

    /// The call of a channel goes to another voice server, as in a failover: VOICE_SERVER_UPDATE with a new endpoint and
    /// token for everyone there, whose connections are closed.
    ///
    /// # Errors
    /// [`SimError::UnknownChannel`].
    pub fn move_call(&self, channel: ChannelId, to: VoiceServerId) -> Result<(), SimError> {
        self.with(|world| world.move_call(channel, to))
    }

    /// The voice server of a channel's call is gone: VOICE_SERVER_UPDATE with a null endpoint for everyone there, whose
    /// connections are cut. [`move_call`](Self::move_call) ends it.
    ///
    /// # Errors
    /// [`SimError::UnknownChannel`].
    pub fn lose_voice_server(&self, channel: ChannelId) -> Result<(), SimError> {
        self.with(|world| world.lose_voice_server(channel))
    }

    /// VOICE_SERVER_UPDATE with a new token for one user in voice, or for all of a guild; the server stays. How many got
    /// one.
    pub fn renew_voice_servers(&self, guild: GuildId, user: Option<UserId>) -> usize {
        self.with(|world| world.renew_voice_servers(guild, user))
    }
}

/// People who talk and listen.
impl Sim {
    /// A person who is in voice says something, in the place of what they were saying. Their client connects to the call
    /// if it has not.
    ///
    /// # Errors
    /// [`SimError::UnknownUser`], [`SimError::NotInVoice`], [`SimError::NotAPerson`].
    pub fn talk(&self, person: UserId, speech: Speech) -> Result<(), SimError> {
        self.keep_voice_time();
        self.with(|world| world.talk(person, speech))
    }

    /// A person stops talking, with five frames of silence.
    pub fn hush(&self, person: UserId) {
        self.with(|world| world.hush(person));
    }

    /// A person who is in voice keeps what they hear from now on, or no longer. Their client connects to the call if it
    /// has not.
    ///
    /// # Errors
    /// [`SimError::UnknownUser`], [`SimError::NotInVoice`], [`SimError::NotAPerson`].
    pub fn set_listening(&self, person: UserId, on: bool) -> Result<(), SimError> {
        self.keep_voice_time();
        self.with(|world| world.set_listening(person, on))
    }

    /// The last frames that a person heard of a user, decrypted, in the order of arrival.
    #[must_use]
    pub fn heard(&self, person: UserId, from: impl Into<UserId>) -> Vec<HeardFrame> {
        self.with(|world| world.heard(person, from.into()))
    }

    /// Counts of all whom a person heard.
    #[must_use]
    pub fn heard_of(&self, person: UserId) -> BTreeMap<UserId, HeardSummary> {
        self.with(|world| world.heard_of(person))
    }

    /// A person forgets what they heard.
    pub fn forget_heard(&self, person: UserId) {
        self.with(|world| world.forget_heard(person));
    }

    /// A person's voice client; `None` for one who never talked or listened.
    #[must_use]
    pub fn voice_client(&self, person: UserId) -> Option<VoiceClientView> {
        self.with(|world| world.voice_client(person))
    }
}

/// Faults and counts of voice.
impl Sim {
    /// The call in a channel; `None` while nobody is connected.
    #[must_use]
    pub fn call(&self, channel: ChannelId) -> Option<CallView> {
        self.with(|world| world.call(channel))
    }

    /// Orders a fault of a call's end-to-end encryption.
    pub fn call_fault(&self, channel: ChannelId, fault: CallFault) {
        self.with(|world| world.call_fault(channel, fault));
    }

    /// Orders a fault of a user's voice connections.
    pub fn voice_fault(&self, user: impl Into<UserId>, fault: VoiceFault) {
        self.with(|world| world.voice_fault(user.into(), fault));
    }

    /// Voice heartbeats of a user are not answered for so long from now on.
    pub fn mute_voice_acks_for(&self, user: impl Into<UserId>, time: Duration) {
        self.with(|world| world.mute_voice_acks_for(user.into(), time));
    }

    /// Turns a bit of the next Welcome, or of the next commit that is announced: for one user, or for whom it comes to
    /// first.
    pub fn corrupt_dave(&self, user: Option<UserId>, welcome: bool, commit: bool) {
        self.with(|world| world.corrupt_dave(user, welcome, commit));
    }

    /// Sets the faults of everyone's media, but for those who have their own.
    pub fn set_media_faults(&self, faults: MediaFaults) {
        self.with(|world| world.set_media_faults(faults));
    }

    /// Sets the faults of one user's media; `None` takes them back.
    pub fn set_media_faults_of(&self, user: impl Into<UserId>, faults: Option<MediaFaults>) {
        self.with(|world| world.set_media_faults_of(user.into(), faults));
    }

    /// What was counted of everyone's media, over all calls.
    #[must_use]
    pub fn media(&self) -> BTreeMap<UserId, MediaCounts> {
        self.with(|world| world.media())
    }
}
