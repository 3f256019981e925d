use super::{Gone, GuildRooms, MemberEntry};
use crate::wire::{HubEvent, Member, Snowflake, VoiceJoined, VoiceLeft, VoiceUpdated};

/// What a person shows of themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) self_mute: bool,
    pub(super) self_deaf: bool,
    pub(super) self_video: bool,
}

impl Flags {
    pub(super) fn member(self, user_id: Snowflake) -> Member {
        Member {
            user_id,
            self_mute: self.self_mute,
            self_deaf: self.self_deaf,
            self_video: self.self_video,
        }
    }

    pub(super) fn of(member: &Member) -> Self {
        Self {
            self_mute: member.self_mute,
            self_deaf: member.self_deaf,
            self_video: member.self_video,
        }
    }

    /// What a `voice.joined` says, over what was known: an absent flag says nothing.
    fn updated(self, voice: &VoiceJoined) -> Self {
        Self {
            self_mute: voice.self_mute.unwrap_or(self.self_mute),
            self_deaf: voice.self_deaf.unwrap_or(self.self_deaf),
            self_video: voice.self_video.unwrap_or(self.self_video),
        }
    }
}

impl GuildRooms {
    pub(super) fn handle_joined(&mut self, voice: VoiceJoined, out: &mut Vec<HubEvent>) {
        let before = self
            .members
            .get(&voice.user_id)
            .filter(|member| member.channel_id == voice.channel_id);
        let flags = before
            .map(|member| member.flags)
            .unwrap_or_default()
            .updated(&voice);
        self.place(voice.user_id, voice.channel_id, flags, out);
    }

    pub(super) fn handle_voice_updated(&mut self, voice: VoiceUpdated, out: &mut Vec<HubEvent>) {
        let VoiceUpdated {
            self_mute,
            self_deaf,
            self_video,
            ..
        } = voice;
        self.place(
            voice.user_id,
            voice.channel_id,
            Flags {
                self_mute,
                self_deaf,
                self_video,
            },
            out,
        );
    }

    pub(super) fn handle_left(&mut self, voice: VoiceLeft, out: &mut Vec<HubEvent>) {
        match self.members.get(&voice.user_id) {
            Some(member) if voice.channel_id.is_none_or(|id| id == member.channel_id) => {
                self.remove_member(voice.user_id, out);
            }
            Some(_) => {}
            None if self.synced || self.absent.contains(&voice.user_id) => {}
            None => {
                self.absent.insert(voice.user_id, ());
                out.push(HubEvent::VoiceLeft(voice));
            }
        }
    }

    /// Puts a person into a channel: joined, moved, updated or nothing new.
    pub(super) fn place(
        &mut self,
        user_id: Snowflake,
        channel_id: Snowflake,
        flags: Flags,
        out: &mut Vec<HubEvent>,
    ) {
        let before = self.members.get(&user_id).copied();
        match before {
            Some(member) if member.channel_id == channel_id => {
                if member.flags != flags {
                    self.members
                        .insert(user_id, MemberEntry { channel_id, flags });
                    out.push(HubEvent::VoiceUpdated(
                        self.updated_event(user_id, channel_id, flags),
                    ));
                }
                return;
            }
            // Elsewhere: they left that room, whatever becomes of the join.
            Some(_) => self.remove_member(user_id, out),
            None => {}
        }
        let deleted = self.gone.get(&channel_id) == Some(&Gone::Deleted);
        if deleted || !self.reserve_member(channel_id) {
            return;
        }
        self.gone.remove(&channel_id);
        self.absent.remove(&user_id);
        self.members
            .insert(user_id, MemberEntry { channel_id, flags });
        out.push(HubEvent::VoiceJoined(VoiceJoined {
            guild_id: self.guild_id,
            channel_id,
            user_id,
            self_mute: Some(flags.self_mute),
            self_deaf: Some(flags.self_deaf),
            self_video: Some(flags.self_video),
        }));
    }

    fn reserve_member(&mut self, channel_id: Snowflake) -> bool {
        if self.members.len() >= self.limits.max_members {
            self.overflow += 1;
            return false;
        }
        self.reserve_room(channel_id)
    }

    fn updated_event(
        &self,
        user_id: Snowflake,
        channel_id: Snowflake,
        flags: Flags,
    ) -> VoiceUpdated {
        VoiceUpdated {
            guild_id: self.guild_id,
            channel_id,
            user_id,
            self_mute: flags.self_mute,
            self_deaf: flags.self_deaf,
            self_video: flags.self_video,
        }
    }
}
