//! Paths: which endpoint, with which ids, under which bucket.

use std::borrow::Cow;

use crate::ids::{ChannelId, GuildId, MessageId, UserId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Gateway,
    GatewayBot,
    Me,
    Application,
    VoiceRegions,
    GetGuild,
    GetRoles,
    GetChannels,
    CreateChannel,
    GetChannel,
    ModifyChannel,
    DeleteChannel,
    CreateMessage,
    EditMessage,
    AuditLog,
    GetMember,
    ModifyMember,
    VoiceState,
}

const TABLE: &[(&str, &str, Endpoint)] = &[
    ("GET", "/gateway", Endpoint::Gateway),
    ("GET", "/gateway/bot", Endpoint::GatewayBot),
    ("GET", "/users/@me", Endpoint::Me),
    ("GET", "/applications/@me", Endpoint::Application),
    ("GET", "/oauth2/applications/@me", Endpoint::Application),
    ("GET", "/voice/regions", Endpoint::VoiceRegions),
    ("GET", "/guilds/{guild.id}", Endpoint::GetGuild),
    ("GET", "/guilds/{guild.id}/roles", Endpoint::GetRoles),
    ("GET", "/guilds/{guild.id}/channels", Endpoint::GetChannels),
    (
        "POST",
        "/guilds/{guild.id}/channels",
        Endpoint::CreateChannel,
    ),
    ("GET", "/guilds/{guild.id}/audit-logs", Endpoint::AuditLog),
    (
        "GET",
        "/guilds/{guild.id}/members/{user.id}",
        Endpoint::GetMember,
    ),
    (
        "PATCH",
        "/guilds/{guild.id}/members/{user.id}",
        Endpoint::ModifyMember,
    ),
    (
        "GET",
        "/guilds/{guild.id}/voice-states/{user.id}",
        Endpoint::VoiceState,
    ),
    ("GET", "/channels/{channel.id}", Endpoint::GetChannel),
    ("PATCH", "/channels/{channel.id}", Endpoint::ModifyChannel),
    ("DELETE", "/channels/{channel.id}", Endpoint::DeleteChannel),
    (
        "POST",
        "/channels/{channel.id}/messages",
        Endpoint::CreateMessage,
    ),
    (
        "PATCH",
        "/channels/{channel.id}/messages/{message.id}",
        Endpoint::EditMessage,
    ),
];

/// The ids in a path, in their order. `@me` is `None`.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids(Vec<Option<u64>>);

impl Ids {
    fn at(&self, index: usize) -> Option<u64> {
        self.0.get(index).copied().flatten()
    }

    pub(super) fn guild(&self) -> GuildId {
        GuildId(self.at(0).unwrap_or(0))
    }

    pub(super) fn channel(&self) -> ChannelId {
        ChannelId(self.at(0).unwrap_or(0))
    }

    pub(super) fn message(&self) -> MessageId {
        MessageId(self.at(1).unwrap_or(0))
    }

    pub(super) fn user(&self) -> UserId {
        UserId(self.at(1).unwrap_or(0))
    }

    pub(super) fn user_or(&self, me: UserId) -> UserId {
        self.at(1).map_or(me, UserId)
    }

    /// The major parameter, for the bucket.
    pub(super) fn major(&self) -> u64 {
        self.at(0).unwrap_or(0)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) endpoint: Endpoint,
    pub(super) method: &'static str,
    pub(super) template: &'static str,
    pub(super) ids: Ids,
}

pub(super) enum Matched {
    Endpoint(Found),
    OtherMethod,
    Nothing,
}

/// The path without the base: `/api/v10`, `/api/v9`, `/api`, `/v10` or `/v9`, with doubled slashes made single.
/// `None` for versions that are not served.
pub(super) fn without_base(path: &str) -> Option<Cow<'_, str>> {
    let single: Cow<'_, str> = if path.contains("//") {
        let mut out = String::with_capacity(path.len());
        for letter in path.chars() {
            if letter != '/' || !out.ends_with('/') {
                out.push(letter);
            }
        }
        out.into()
    } else {
        path.into()
    };
    let rest = single
        .strip_prefix("/api")
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(&single);
    let (first, tail) = rest
        .get(1..)
        .unwrap_or("")
        .split_once('/')
        .unwrap_or((rest.get(1..).unwrap_or(""), ""));
    let version = first
        .strip_prefix('v')
        .filter(|v| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit()));
    match version {
        Some("9" | "10") => Some(format!("/{tail}").into()),
        Some(_) => None,
        None => Some(rest.to_owned().into()),
    }
}

pub(super) fn find(method: &str, path: &str) -> Matched {
    let mut other = false;
    for (wanted, template, endpoint) in TABLE {
        let Some(ids) = match_template(template, path) else {
            continue;
        };
        if *wanted == method {
            return Matched::Endpoint(Found {
                endpoint: *endpoint,
                method: wanted,
                template,
                ids,
            });
        }
        other = true;
    }
    if other {
        Matched::OtherMethod
    } else {
        Matched::Nothing
    }
}

fn match_template(template: &str, path: &str) -> Option<Ids> {
    let mut ids = Vec::new();
    let mut parts = path.trim_end_matches('/').split('/');
    for wanted in template.split('/') {
        let part = parts.next()?;
        if wanted.starts_with('{') {
            // `@me` stands for a user's id where one is expected.
            if part == "@me" && wanted == "{user.id}" {
                ids.push(None);
            } else {
                ids.push(Some(part.parse().ok()?));
            }
        } else if wanted != part {
            return None;
        }
    }
    parts.next().is_none().then_some(Ids(ids))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_and_versions() {
        for path in [
            "/api/v10/gateway",
            "/api/v9/gateway",
            "/api/gateway",
            "/v10/gateway",
            "//api//v10/gateway",
        ] {
            assert_eq!(without_base(path).as_deref(), Some("/gateway"), "{path}");
        }
        assert_eq!(without_base("/api/v3/gateway"), None);
        assert_eq!(
            without_base("/api/voice/regions").as_deref(),
            Some("/voice/regions")
        );
    }

    #[test]
    fn templates() {
        assert!(matches!(find("PUT", "/channels/1"), Matched::OtherMethod));
        assert!(matches!(find("GET", "/channels/x"), Matched::Nothing));
        assert!(matches!(find("GET", "/channels/1/2/3/4"), Matched::Nothing));
        let Matched::Endpoint(found) = find("GET", "/guilds/7/voice-states/@me") else {
            panic!("not found")
        };
        assert_eq!(found.endpoint, Endpoint::VoiceState);
        assert_eq!(
            (found.ids.guild(), found.ids.user_or(UserId(5))),
            (GuildId(7), UserId(5))
        );
    }
}
