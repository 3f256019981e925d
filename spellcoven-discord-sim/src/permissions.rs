//! Permission bits and how they are computed.
//!
//! See: Discord documentation, Topics, "Permissions".

use std::ops::{BitAnd, BitOr, BitOrAssign, Not};

use serde::{Serialize, Serializer};

use crate::ids::{RoleId, UserId};

/// A set of permission bits, written by Discord as a decimal string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Permissions(pub u64);

impl Permissions {
    /// Kick members.
    pub const KICK_MEMBERS: Self = Self(1 << 1);
    /// Every permission, and no overwrite takes one away.
    pub const ADMINISTRATOR: Self = Self(1 << 3);
    /// Create, edit and delete channels.
    pub const MANAGE_CHANNELS: Self = Self(1 << 4);
    /// Edit the guild.
    pub const MANAGE_GUILD: Self = Self(1 << 5);
    /// Read the audit log, and receive its entries as events.
    pub const VIEW_AUDIT_LOG: Self = Self(1 << 7);
    /// See a channel. Without it nothing else counts there.
    pub const VIEW_CHANNEL: Self = Self(1 << 10);
    /// Post in a channel.
    pub const SEND_MESSAGES: Self = Self(1 << 11);
    /// Read older messages.
    pub const READ_MESSAGE_HISTORY: Self = Self(1 << 16);
    /// Join a voice channel. Denied, it takes most other permissions of that channel with it.
    pub const CONNECT: Self = Self(1 << 20);
    /// Speak in a voice channel.
    pub const SPEAK: Self = Self(1 << 21);
    /// Mute others.
    pub const MUTE_MEMBERS: Self = Self(1 << 22);
    /// Deafen others.
    pub const DEAFEN_MEMBERS: Self = Self(1 << 23);
    /// Move others between voice channels and disconnect them; enter full ones.
    pub const MOVE_MEMBERS: Self = Self(1 << 24);
    /// Change one's own nickname.
    pub const CHANGE_NICKNAME: Self = Self(1 << 26);
    /// Change others' nicknames.
    pub const MANAGE_NICKNAMES: Self = Self(1 << 27);
    /// Edit roles and permission overwrites.
    pub const MANAGE_ROLES: Self = Self(1 << 28);
    /// Ask to speak on a stage.
    pub const REQUEST_TO_SPEAK: Self = Self(1 << 32);
    /// Delete others' messages.
    pub const MANAGE_MESSAGES: Self = Self(1 << 13);
    /// Set the status of a voice channel.
    pub const SET_VOICE_CHANNEL_STATUS: Self = Self(1 << 48);
    /// Time members out.
    pub const MODERATE_MEMBERS: Self = Self(1 << 40);
    /// All bits.
    pub const ALL: Self = Self(u64::MAX >> 1);

    /// What a new bot's role grants: MANAGE_CHANNELS, VIEW_CHANNEL, CONNECT, SPEAK, SEND_MESSAGES, MOVE_MEMBERS and
    /// VIEW_AUDIT_LOG.
    pub const DEFAULT_BOT: Self = Self(
        Self::MANAGE_CHANNELS.0
            | Self::VIEW_CHANNEL.0
            | Self::CONNECT.0
            | Self::SPEAK.0
            | Self::SEND_MESSAGES.0
            | Self::MOVE_MEMBERS.0
            | Self::VIEW_AUDIT_LOG.0,
    );

    /// What `@everyone` of a new guild grants: a usual set for people, VIEW_CHANNEL, SEND_MESSAGES, CONNECT and SPEAK
    /// in it, without any MANAGE or MOVE permission.
    pub const DEFAULT_EVERYONE: Self = Self(2_222_085_723_512_385);

    /// No bit.
    #[must_use]
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Whether all bits of `other` are here.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Permissions {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Permissions {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Permissions {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for Permissions {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0)
    }
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Whom a permission overwrite is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverwriteTarget {
    /// All who have the role; `@everyone` is the role with the guild's number.
    Role(RoleId),
    /// One member.
    Member(UserId),
}

/// A channel's exception from the guild's permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overwrite {
    /// For whom.
    pub target: OverwriteTarget,
    /// Bits given.
    pub allow: Permissions,
    /// Bits taken.
    pub deny: Permissions,
}

/// What is known of the member whose permissions are computed.
pub(crate) struct Subject<'a> {
    pub(crate) user: UserId,
    pub(crate) is_owner: bool,
    pub(crate) timed_out: bool,
    pub(crate) everyone: RoleId,
    /// Of `@everyone` and each role of the member.
    pub(crate) base: Permissions,
    pub(crate) roles: &'a [RoleId],
}

impl Subject<'_> {
    /// The guild-level permissions.
    pub(crate) fn in_guild(&self) -> Permissions {
        if self.is_owner || self.base.contains(Permissions::ADMINISTRATOR) {
            return Permissions::ALL;
        }
        self.limited_by_timeout(self.base)
    }

    /// The permissions in a channel with these overwrites.
    pub(crate) fn in_channel(&self, overwrites: &[Overwrite], is_voice: bool) -> Permissions {
        if self.is_owner || self.base.contains(Permissions::ADMINISTRATOR) {
            return Permissions::ALL;
        }
        let mut bits = self.base;
        let mut role_deny = Permissions::empty();
        let mut role_allow = Permissions::empty();
        let mut own = None;
        let mut everyone = None;
        for overwrite in overwrites {
            match overwrite.target {
                OverwriteTarget::Role(id) if id == self.everyone => everyone = Some(overwrite),
                OverwriteTarget::Role(id) if self.roles.contains(&id) => {
                    role_deny |= overwrite.deny;
                    role_allow |= overwrite.allow;
                }
                OverwriteTarget::Member(id) if id == self.user => own = Some(overwrite),
                _ => {}
            }
        }
        if let Some(overwrite) = everyone {
            bits = (bits & !overwrite.deny) | overwrite.allow;
        }
        bits = (bits & !role_deny) | role_allow;
        if let Some(overwrite) = own {
            bits = (bits & !overwrite.deny) | overwrite.allow;
        }
        if !bits.contains(Permissions::VIEW_CHANNEL) {
            return Permissions::empty();
        }
        if is_voice && !bits.contains(Permissions::CONNECT) {
            // "Implicit Permissions": denying CONNECT denies "other permissions such as MANAGE_CHANNELS". Which ones
            // is not listed; here all but VIEW_CHANNEL go.
            return Permissions::VIEW_CHANNEL;
        }
        self.limited_by_timeout(bits)
    }

    fn limited_by_timeout(&self, bits: Permissions) -> Permissions {
        if self.timed_out {
            bits & (Permissions::VIEW_CHANNEL | Permissions::READ_MESSAGE_HISTORY)
        } else {
            bits
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYONE: RoleId = RoleId(1);
    const ROLE: RoleId = RoleId(2);
    const USER: UserId = UserId(9);

    fn subject(base: Permissions) -> Subject<'static> {
        Subject {
            user: USER,
            is_owner: false,
            timed_out: false,
            everyone: EVERYONE,
            base,
            roles: &[ROLE],
        }
    }

    fn overwrite(target: OverwriteTarget, allow: Permissions, deny: Permissions) -> Overwrite {
        Overwrite {
            target,
            allow,
            deny,
        }
    }

    #[test]
    fn the_order_is_everyone_roles_member() {
        let view = Permissions::VIEW_CHANNEL;
        let none = Permissions::empty();
        let rows = [
            (
                vec![overwrite(OverwriteTarget::Role(EVERYONE), none, view)],
                false,
            ),
            (
                vec![
                    overwrite(OverwriteTarget::Role(ROLE), view, none),
                    overwrite(OverwriteTarget::Role(EVERYONE), none, view),
                ],
                true,
            ),
            (
                vec![
                    overwrite(OverwriteTarget::Member(USER), none, view),
                    overwrite(OverwriteTarget::Role(ROLE), view, none),
                ],
                false,
            ),
            (
                vec![overwrite(OverwriteTarget::Role(RoleId(77)), none, view)],
                true,
            ),
        ];
        for (overwrites, sees) in rows {
            let bits = subject(view).in_channel(&overwrites, false);
            assert_eq!(bits.contains(view), sees, "{overwrites:?}");
        }
    }

    #[test]
    fn denied_connect_takes_manage_channels_but_not_the_sight() {
        let base = Permissions::DEFAULT_BOT;
        let deny = [overwrite(
            OverwriteTarget::Role(EVERYONE),
            Permissions::empty(),
            Permissions::CONNECT,
        )];
        let voice = subject(base).in_channel(&deny, true);
        assert_eq!(voice, Permissions::VIEW_CHANNEL);
        let text = subject(base).in_channel(&deny, false);
        assert!(text.contains(Permissions::MANAGE_CHANNELS));
    }

    #[test]
    fn administrators_and_the_owner_are_beyond_overwrites() {
        let deny = [overwrite(
            OverwriteTarget::Member(USER),
            Permissions::empty(),
            Permissions::ALL,
        )];
        assert_eq!(
            subject(Permissions::ADMINISTRATOR).in_channel(&deny, true),
            Permissions::ALL
        );
        let owner = Subject {
            is_owner: true,
            ..subject(Permissions::empty())
        };
        assert_eq!(owner.in_channel(&deny, true), Permissions::ALL);
    }

    #[test]
    fn a_timed_out_member_only_looks() {
        let member = Subject {
            timed_out: true,
            ..subject(Permissions::DEFAULT_EVERYONE)
        };
        assert_eq!(
            member.in_channel(&[], true),
            Permissions::VIEW_CHANNEL | Permissions::READ_MESSAGE_HISTORY
        );
    }
}
