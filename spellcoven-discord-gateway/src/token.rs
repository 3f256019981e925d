use std::fmt;

/// A bot's token. It cannot be printed: `Debug` shows `BotToken(<redacted>)`
/// and there is no `Display`.
///
/// The leading word `Bot ` that REST wants is accepted and removed: Identify
/// carries the bare token (Discord documentation, "Gateway Events", Identify;
/// that both spellings work is observed).
#[derive(Clone, PartialEq, Eq)]
pub struct BotToken(String);

impl BotToken {
    /// Takes the token as the developer portal shows it, surrounding white
    /// space removed.
    pub fn new(token: impl Into<String>) -> Self {
        let token = token.into();
        let bare = token.trim();
        let bare = bare.strip_prefix("Bot ").unwrap_or(bare).trim_start();
        Self(bare.to_owned())
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BotToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BotToken(<redacted>)")
    }
}

impl From<String> for BotToken {
    fn from(token: String) -> Self {
        Self::new(token)
    }
}

impl From<&str> for BotToken {
    fn from(token: &str) -> Self {
        Self::new(token)
    }
}
