//! Paths: which endpoint, with which ids, under which bucket.

use std::borrow::Cow;

use super::error::{ApiError, UNKNOWN_INTERACTION, UNKNOWN_WEBHOOK};
use crate::ids::{ChannelId, GuildId, MessageId, RoleId, UserId};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Gateway,
    GatewayBot,
    Me,
    MyGuilds,
    User,
    Application,
    VoiceRegions,
    GetGuild,
    GetRoles,
    GetChannels,
    CreateChannel,
    Positions,
    AuditLog,
    ListMembers,
    SearchMembers,
    ModifyMe,
    GetMember,
    ModifyMember,
    AddRole,
    RemoveRole,
    VoiceState,
    ModifyVoiceState,
    GetChannel,
    ModifyChannel,
    DeleteChannel,
    PutOverwrite,
    DeleteOverwrite,
    VoiceStatus,
    GetMessages,
    CreateMessage,
    GetMessage,
    EditMessage,
    DeleteMessage,
    Interaction,
    Webhook,
}

impl Endpoint {
    /// The answer of a route that needs no `Authorization`: its token is in the path. Neither interactions nor webhooks
    /// are simulated, so that all tokens are unknown. Such routes have no part in the global limit.
    pub(super) const fn without_auth(self) -> Option<ApiError> {
        match self {
            Self::Interaction => Some(UNKNOWN_INTERACTION),
            Self::Webhook => Some(UNKNOWN_WEBHOOK),
            _ => None,
        }
    }
}

const TABLE: &[(&str, &str, Endpoint)] = &[
    ("GET", "/gateway", Endpoint::Gateway),
    ("GET", "/gateway/bot", Endpoint::GatewayBot),
    ("GET", "/users/@me", Endpoint::Me),
    ("GET", "/users/@me/guilds", Endpoint::MyGuilds),
    ("GET", "/users/{user.id}", Endpoint::User),
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
    ("PATCH", "/guilds/{guild.id}/channels", Endpoint::Positions),
    ("GET", "/guilds/{guild.id}/audit-logs", Endpoint::AuditLog),
    ("GET", "/guilds/{guild.id}/members", Endpoint::ListMembers),
    (
        "GET",
        "/guilds/{guild.id}/members/search",
        Endpoint::SearchMembers,
    ),
    (
        "PATCH",
        "/guilds/{guild.id}/members/@me",
        Endpoint::ModifyMe,
    ),
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
        "PUT",
        "/guilds/{guild.id}/members/{user.id}/roles/{role.id}",
        Endpoint::AddRole,
    ),
    (
        "DELETE",
        "/guilds/{guild.id}/members/{user.id}/roles/{role.id}",
        Endpoint::RemoveRole,
    ),
    (
        "GET",
        "/guilds/{guild.id}/voice-states/{user.id}",
        Endpoint::VoiceState,
    ),
    (
        "PATCH",
        "/guilds/{guild.id}/voice-states/{user.id}",
        Endpoint::ModifyVoiceState,
    ),
    ("GET", "/channels/{channel.id}", Endpoint::GetChannel),
    ("PATCH", "/channels/{channel.id}", Endpoint::ModifyChannel),
    ("DELETE", "/channels/{channel.id}", Endpoint::DeleteChannel),
    (
        "PUT",
        "/channels/{channel.id}/permissions/{overwrite.id}",
        Endpoint::PutOverwrite,
    ),
    (
        "DELETE",
        "/channels/{channel.id}/permissions/{overwrite.id}",
        Endpoint::DeleteOverwrite,
    ),
    (
        "PUT",
        "/channels/{channel.id}/voice-status",
        Endpoint::VoiceStatus,
    ),
    (
        "GET",
        "/channels/{channel.id}/messages",
        Endpoint::GetMessages,
    ),
    (
        "POST",
        "/channels/{channel.id}/messages",
        Endpoint::CreateMessage,
    ),
    (
        "GET",
        "/channels/{channel.id}/messages/{message.id}",
        Endpoint::GetMessage,
    ),
    (
        "PATCH",
        "/channels/{channel.id}/messages/{message.id}",
        Endpoint::EditMessage,
    ),
    (
        "DELETE",
        "/channels/{channel.id}/messages/{message.id}",
        Endpoint::DeleteMessage,
    ),
    (
        "POST",
        "/interactions/{interaction.id}/{interaction.token}/callback",
        Endpoint::Interaction,
    ),
    (
        "POST",
        "/webhooks/{webhook.id}/{webhook.token}",
        Endpoint::Webhook,
    ),
    (
        "PATCH",
        "/webhooks/{webhook.id}/{webhook.token}/messages/@original",
        Endpoint::Webhook,
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

    pub(super) fn first_user(&self, me: UserId) -> UserId {
        self.at(0).map_or(me, UserId)
    }

    /// The role or the user that an overwrite is for.
    pub(super) fn overwrite(&self) -> u64 {
        self.at(1).unwrap_or(0)
    }

    pub(super) fn role(&self) -> RoleId {
        RoleId(self.at(2).unwrap_or(0))
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
    /// The path is there, with these methods.
    OtherMethod(Vec<&'static str>),
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

/// HEAD is GET without a body; the HTTP library leaves that out.
pub(super) fn find(method: &str, path: &str) -> Matched {
    let method = if method == "HEAD" { "GET" } else { method };
    let mut others = Vec::new();
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
        others.push(*wanted);
    }
    if others.is_empty() {
        Matched::Nothing
    } else {
        Matched::OtherMethod(others)
    }
}

/// The routes that a person means by a text such as `"POST /guilds/{id}/channels"` or `/channels/123`: as they are named
/// in the settings. A part in braces, or a number, stands for an id; without a method, every method is meant.
pub(super) fn named(text: &str) -> Vec<String> {
    let text = text.trim();
    let (method, path) = text
        .split_once(' ')
        .map_or(("", text), |(method, path)| (method, path.trim_start()));
    let path = without_base(path).unwrap_or_default();
    let path: Vec<&str> = path.trim_matches('/').split('/').collect();
    let fits = |template: &str| {
        let template: Vec<&str> = template.trim_matches('/').split('/').collect();
        template.len() == path.len()
            && template.iter().zip(&path).all(|(wanted, part)| {
                wanted == part
                    || (wanted.starts_with('{')
                        && (part.starts_with('{') || part.parse::<u64>().is_ok()))
            })
    };
    TABLE
        .iter()
        .filter(|(wanted, template, _)| {
            (matches!(method, "" | "*") || wanted.eq_ignore_ascii_case(method)) && fits(template)
        })
        .map(|(method, template, _)| format!("{method} {template}"))
        .collect()
}

fn match_template(template: &str, path: &str) -> Option<Ids> {
    let mut ids = Vec::new();
    let mut parts = path.trim_end_matches('/').split('/');
    for wanted in template.split('/') {
        let part = parts.next()?;
        if wanted.ends_with(".token}") {
            ids.push(None);
        } else if wanted.starts_with('{') {
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
    fn routes_as_people_name_them() {
        let post = "POST /guilds/{guild.id}/channels";
        assert_eq!(named("POST /guilds/{id}/channels"), [post]);
        assert_eq!(named("post /api/v10/guilds/7/channels"), [post]);
        assert_eq!(named("/channels/{channel.id}").len(), 3);
        assert_eq!(named("GET /users/@me"), ["GET /users/@me"]);
        assert!(named("GET /nothing").is_empty());
    }

    #[test]
    fn templates() {
        let Matched::OtherMethod(allowed) = find("PUT", "/channels/1") else {
            panic!("not refused")
        };
        assert_eq!(allowed, ["GET", "PATCH", "DELETE"]);
        assert!(matches!(find("HEAD", "/channels/1"), Matched::Endpoint(_)));
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
