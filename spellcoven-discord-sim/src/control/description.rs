use std::path::PathBuf;

use serde::Serialize;

use crate::{Bot, ChannelId, GuildId, UserId};

/// What a client needs to know of a simulator: the line that `discord-sim` prints, and `GET info` of the control API.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    /// Base URL for REST, ending in `/api/v10`.
    pub api_base: String,
    /// URL of the Gateway.
    pub gateway_url: String,
    /// Base URL of the control API.
    pub control_url: String,
    /// The same over TLS, where that is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsDescription>,
    /// The guild.
    pub guild_id: GuildId,
    /// A voice channel in it.
    pub voice_channel_id: ChannelId,
    /// All voice channels that it began with, that one first.
    pub voice_channel_ids: Vec<ChannelId>,
    /// The bots, each a member of the guild.
    pub bots: Vec<BotDescription>,
    /// The people, each a member of the guild.
    pub people: Vec<PersonDescription>,
}

/// Where TLS is served, and whom to trust.
#[derive(Clone, Debug, Serialize)]
pub struct TlsDescription {
    /// Base URL for REST, ending in `/api/v10`.
    pub api_base: String,
    /// URL of the Gateway.
    pub gateway_url: String,
    /// The certificate to trust, in PEM.
    pub ca_pem: String,
    /// The file with that certificate, where one was written.
    pub ca_file: Option<PathBuf>,
}

impl Description {
    /// The same as shell variables, a line each, as `sh` and most test runners read them: `DISCORD_API_BASE` and
    /// `DISCORD_API_BASE_URL` (ending in `/api/v10`), `DISCORD_GATEWAY_URL`, `DISCORD_BOT_TOKEN`, `DISCORD_BOT_TOKEN_2`
    /// and so on, `GUILD_ID` and `PRIMARY_GUILD_ID`, `VOICE_CHANNEL_ID`, `CONTROL_URL`; with TLS,
    /// `DISCORD_API_BASE_TLS`, `DISCORD_GATEWAY_URL_TLS` and `CA_CERT`, the file.
    #[must_use]
    pub fn shell_variables(&self) -> String {
        let mut lines = vec![
            ("DISCORD_API_BASE".to_owned(), self.api_base.clone()),
            ("DISCORD_API_BASE_URL".to_owned(), self.api_base.clone()),
            ("DISCORD_GATEWAY_URL".to_owned(), self.gateway_url.clone()),
        ];
        for (index, bot) in self.bots.iter().enumerate() {
            let name = match index {
                0 => "DISCORD_BOT_TOKEN".to_owned(),
                _ => format!("DISCORD_BOT_TOKEN_{}", index + 1),
            };
            lines.push((name, bot.token.clone()));
        }
        lines.push(("GUILD_ID".to_owned(), self.guild_id.to_string()));
        lines.push(("PRIMARY_GUILD_ID".to_owned(), self.guild_id.to_string()));
        lines.push((
            "VOICE_CHANNEL_ID".to_owned(),
            self.voice_channel_id.to_string(),
        ));
        lines.push(("CONTROL_URL".to_owned(), self.control_url.clone()));
        if let Some(tls) = &self.tls {
            lines.push(("DISCORD_API_BASE_TLS".to_owned(), tls.api_base.clone()));
            lines.push((
                "DISCORD_GATEWAY_URL_TLS".to_owned(),
                tls.gateway_url.clone(),
            ));
            if let Some(file) = &tls.ca_file {
                lines.push(("CA_CERT".to_owned(), file.display().to_string()));
            }
        }
        lines
            .into_iter()
            .map(|(name, value)| format!("{name}={}\n", quoted(&value)))
            .collect()
    }
}

/// The value as a shell word: in quotes only where it needs them, because not every reader takes quotes off.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/:._-[]".contains(c);
    if value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

/// A bot and its token, which works on this simulator and nowhere else.
#[derive(Clone, Debug, Serialize)]
pub struct BotDescription {
    /// Its user id.
    pub user_id: UserId,
    /// Its token.
    pub token: String,
}

impl From<Bot> for BotDescription {
    fn from(bot: Bot) -> Self {
        Self {
            user_id: bot.user_id,
            token: bot.token,
        }
    }
}

/// A person whom the control API can make act.
#[derive(Clone, Debug, Serialize)]
pub struct PersonDescription {
    /// Their user id.
    pub user_id: UserId,
    /// Their name.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_where_a_shell_needs_it() {
        assert_eq!(
            quoted("http://127.0.0.1:1/api/v10"),
            "http://127.0.0.1:1/api/v10"
        );
        assert_eq!(quoted("/a b/c"), "'/a b/c'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
