//! The bot token, in a type that cannot be printed.

use std::{fmt, hint::black_box, mem};

use http::HeaderValue;

/// A bot token. It can be sent to Discord and cannot be printed.
///
/// `Debug` prints `BotToken(<redacted>)`, there is no `Display` and no way to
/// read the text back. The memory of the token is overwritten when the value is
/// dropped (as far as safe Rust can promise that; the copy inside a request
/// that is being sent is not).
///
/// ```
/// use spellcoven_discord_rest::BotToken;
///
/// let token = BotToken::new("Bot not-a-real-token")?;
/// assert_eq!(format!("{token:?}"), "BotToken(<redacted>)");
/// # Ok::<(), spellcoven_discord_rest::TokenError>(())
/// ```
#[derive(Clone)]
pub struct BotToken(String);

/// What is wrong with the text that was given as a token. It never contains the
/// text itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Nothing was given, or only the prefix `Bot `. Set the token.
    #[error("the bot token is empty")]
    Empty,
    /// A `Bearer` token was given; this client speaks for a bot.
    #[error("this is a Bearer token, not a bot token")]
    Bearer,
    /// A character that no token has (a space, a line end, a control or
    /// non-ASCII character). Look for a line end or quotes copied with it.
    #[error(
        "the bot token contains a character that no token has (look for spaces, quotes or line ends)"
    )]
    Character,
}

impl BotToken {
    /// Takes a token, with or without the `Bot ` in front.
    ///
    /// # Errors
    ///
    /// [`TokenError`] if the text cannot be a bot token. Whether Discord knows
    /// the token shows with the first call.
    pub fn new(token: impl Into<String>) -> Result<Self, TokenError> {
        let whole = Self(token.into());
        let text = whole.0.strip_prefix("Bot ").unwrap_or(&whole.0);
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        if text.starts_with("Bearer ") {
            return Err(TokenError::Bearer);
        }
        if !text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\'')
        {
            return Err(TokenError::Character);
        }
        Ok(Self(text.to_owned()))
    }

    /// The value of the `Authorization` header.
    ///
    /// See Discord: API Reference, "Authentication".
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("Bot {}", self.0)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for BotToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BotToken(<redacted>)")
    }
}

impl Drop for BotToken {
    fn drop(&mut self) {
        let mut bytes = mem::take(&mut self.0).into_bytes();
        bytes.fill(0);
        black_box(&bytes);
    }
}
