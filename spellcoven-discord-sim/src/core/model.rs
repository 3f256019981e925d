//! What a simulated Discord holds in memory.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use crate::ids::{ApplicationId, ChannelId, GuildId, MessageId, RoleId, SoundId, UserId};
use crate::permissions::{Overwrite, Permissions, Subject};

/// The kind of a channel, with Discord's number.
///
/// See: Discord documentation, Resources, Channel, "Channel Types".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ChannelKind {
    /// 0.
    Text,
    /// 2.
    Voice,
    /// 4.
    Category,
    /// 5.
    Announcement,
    /// 13.
    Stage,
    /// 15.
    Forum,
    /// 16.
    Media,
}

impl ChannelKind {
    /// Discord's number.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Text => 0,
            Self::Voice => 2,
            Self::Category => 4,
            Self::Announcement => 5,
            Self::Stage => 13,
            Self::Forum => 15,
            Self::Media => 16,
        }
    }

    pub(crate) const fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            0 => Self::Text,
            2 => Self::Voice,
            4 => Self::Category,
            5 => Self::Announcement,
            13 => Self::Stage,
            15 => Self::Forum,
            16 => Self::Media,
            _ => return None,
        })
    }

    /// Whether people can be connected to it.
    #[must_use]
    pub const fn is_voice(self) -> bool {
        matches!(self, Self::Voice | Self::Stage)
    }

    pub(crate) const fn has_topic(self) -> bool {
        matches!(
            self,
            Self::Text | Self::Announcement | Self::Forum | Self::Media
        )
    }

    pub(crate) const fn takes_messages(self) -> bool {
        matches!(
            self,
            Self::Text | Self::Announcement | Self::Voice | Self::Stage
        )
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Channel {
    pub(crate) id: ChannelId,
    pub(crate) guild: GuildId,
    pub(crate) kind: ChannelKind,
    pub(crate) name: String,
    pub(crate) position: u32,
    pub(crate) parent: Option<ChannelId>,
    pub(crate) overwrites: Vec<Overwrite>,
    pub(crate) bitrate: u32,
    pub(crate) user_limit: u32,
    pub(crate) rate_limit_per_user: u32,
    pub(crate) nsfw: bool,
    pub(crate) topic: Option<String>,
    pub(crate) rtc_region: Option<String>,
    pub(crate) video_quality_mode: u8,
    pub(crate) flags: u64,
    pub(crate) messages: VecDeque<Message>,
    pub(crate) last_message: Option<MessageId>,
    /// What stands under a voice channel's name.
    pub(crate) voice_status: Option<String>,
    /// When the first of those in it came, Unix seconds.
    pub(crate) voice_start: Option<u64>,
}

impl Channel {
    pub(crate) fn new(id: ChannelId, guild: GuildId, kind: ChannelKind, name: String) -> Self {
        Self {
            id,
            guild,
            kind,
            name,
            position: 0,
            parent: None,
            overwrites: Vec::new(),
            bitrate: 64_000,
            user_limit: 0,
            rate_limit_per_user: 0,
            nsfw: false,
            topic: None,
            rtc_region: None,
            video_quality_mode: 1,
            flags: 0,
            messages: VecDeque::new(),
            last_message: None,
            voice_status: None,
            voice_start: None,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) id: MessageId,
    pub(crate) author: UserId,
    pub(crate) content: String,
    pub(crate) embeds: serde_json::Value,
    pub(crate) components: serde_json::Value,
    pub(crate) flags: u64,
    pub(crate) tts: bool,
    pub(crate) nonce: Option<serde_json::Value>,
    pub(crate) at_ms: u64,
    pub(crate) edited_ms: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) id: RoleId,
    pub(crate) name: String,
    pub(crate) permissions: Permissions,
    pub(crate) position: u32,
    pub(crate) managed: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) user: UserId,
    pub(crate) nick: Option<String>,
    pub(crate) roles: Vec<RoleId>,
    pub(crate) joined_ms: u64,
    pub(crate) deaf: bool,
    pub(crate) mute: bool,
    pub(crate) timeout_until_ms: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct VoiceState {
    pub(crate) channel: ChannelId,
    pub(crate) session: String,
    pub(crate) self_mute: bool,
    pub(crate) self_deaf: bool,
    pub(crate) self_video: bool,
    pub(crate) self_stream: bool,
    /// Listening on a stage. Set by `World::put_in_voice`.
    pub(crate) suppress: bool,
    pub(crate) request_to_speak_ms: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct AuditEntry {
    pub(crate) id: u64,
    pub(crate) actor: UserId,
    pub(crate) target: Option<u64>,
    pub(crate) action: u64,
    pub(crate) reason: Option<String>,
    pub(crate) changes: Vec<serde_json::Value>,
    pub(crate) options: Option<serde_json::Value>,
}

#[derive(Clone, Debug)]
pub(crate) struct Guild {
    pub(crate) id: GuildId,
    pub(crate) name: String,
    pub(crate) owner: UserId,
    pub(crate) roles: BTreeMap<RoleId, Role>,
    pub(crate) members: BTreeMap<UserId, Member>,
    pub(crate) channels: BTreeMap<ChannelId, Channel>,
    pub(crate) voice: BTreeMap<UserId, VoiceState>,
    pub(crate) audit: VecDeque<AuditEntry>,
    /// The soundboard: ids and names.
    pub(crate) sounds: BTreeMap<SoundId, String>,
    pub(crate) unavailable: bool,
}

impl Guild {
    /// The member as the permission computation needs it, and nothing for a user who is not a member.
    pub(crate) fn subject(&self, user: UserId, wall_ms: u64) -> Option<Subject<'_>> {
        let member = self.members.get(&user)?;
        let everyone = RoleId(self.id.0);
        let mut base = self
            .roles
            .get(&everyone)
            .map_or(Permissions::empty(), |role| role.permissions);
        for role in &member.roles {
            base |= self
                .roles
                .get(role)
                .map_or(Permissions::empty(), |role| role.permissions);
        }
        Some(Subject {
            user,
            is_owner: self.owner == user,
            timed_out: member.timeout_until_ms.is_some_and(|until| until > wall_ms),
            everyone,
            base,
            roles: &member.roles,
        })
    }

    pub(crate) fn occupants(&self, channel: ChannelId) -> usize {
        self.voice
            .values()
            .filter(|state| state.channel == channel)
            .count()
    }

    /// The position of a user's highest role.
    pub(crate) fn rank(&self, user: UserId) -> u32 {
        if self.owner == user {
            return u32::MAX;
        }
        let Some(member) = self.members.get(&user) else {
            return 0;
        };
        member
            .roles
            .iter()
            .filter_map(|role| self.roles.get(role))
            .map(|role| role.position)
            .max()
            .unwrap_or(0)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: UserId,
    pub(crate) name: String,
    pub(crate) is_bot: bool,
    /// The session id of this user's own Discord client, as voice states show it.
    pub(crate) client_session: String,
}

/// A token as it is at rest. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token(pub(crate) String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

#[derive(Debug)]
pub(crate) struct BotAccount {
    pub(crate) application: ApplicationId,
    pub(crate) token: Token,
    pub(crate) identifies: IdentifyBudget,
    /// Until when heartbeats are not answered.
    pub(crate) acks_muted_until: Option<std::time::Duration>,
    pub(crate) refuse_resumes: u32,
    pub(crate) hold: bool,
    /// Each event goes out twice.
    pub(crate) duplicate: bool,
    /// Each message goes out in several frames.
    pub(crate) split: bool,
    /// Bytes a second on its connections.
    pub(crate) pace: Option<u32>,
    /// Nonces of enforced messages: the nonce, when, where, which message.
    pub(crate) nonces: VecDeque<SentNonce>,
}

#[derive(Debug)]
pub(crate) struct SentNonce {
    pub(crate) nonce: String,
    pub(crate) at: std::time::Duration,
    pub(crate) channel: ChannelId,
    pub(crate) message: MessageId,
}

#[derive(Debug, Default)]
pub(crate) struct IdentifyBudget {
    pub(crate) window_start: Option<std::time::Duration>,
    pub(crate) used: u32,
    /// The last accepted identify of each concurrency key.
    pub(crate) last: BTreeMap<u32, std::time::Duration>,
}

/// A voice state as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct VoiceStateView {
    /// Where the user is.
    pub channel_id: ChannelId,
    /// Session id of the user's client.
    pub session_id: String,
    /// Muted by themself.
    pub self_mute: bool,
    /// Deafened by themself.
    pub self_deaf: bool,
    /// Camera on.
    pub self_video: bool,
    /// Streaming.
    pub self_stream: bool,
    /// Muted by the guild.
    pub mute: bool,
    /// Deafened by the guild.
    pub deaf: bool,
    /// Not allowed to speak on a stage.
    pub suppress: bool,
}

/// A channel as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelView {
    /// Its id.
    pub id: ChannelId,
    /// Its kind.
    pub kind: ChannelKind,
    /// Its name.
    pub name: String,
    /// The category it is in.
    pub parent_id: Option<ChannelId>,
    /// People who fit in; 0 for no limit.
    pub user_limit: u32,
    /// Its permission overwrites.
    pub overwrites: Vec<Overwrite>,
}

/// A message as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MessageView {
    /// Its id.
    pub id: MessageId,
    /// Who wrote it.
    pub author: UserId,
    /// Its text.
    pub content: String,
}
