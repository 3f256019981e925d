//! Where a request goes: method, path template, path and major parameter.

use std::fmt::{Display, Write as _};

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::validate::ValidationError;

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The parameter of a path by which Discord counts a rate limit separately.
///
/// See Discord: Rate Limits ("top-level resources").
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Major {
    /// The path has none.
    None,
    /// A channel's id.
    Channel(u64),
    /// A guild's id.
    Guild(u64),
    /// A webhook's id (an application's id for interaction answers).
    Webhook(u64),
}

/// Where a request goes: method, path template, filled path, major parameter.
///
/// ```
/// use http::Method;
/// use spellcoven_discord_rest::{Major, Route};
///
/// let route = Route::new(Method::GET, "/guilds/{guild_id}/members/{user_id}", Major::Guild(1))
///     .param(1)
///     .param(2);
/// assert_eq!(route.path(), "/guilds/1/members/2");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    method: Method,
    template: &'static str,
    major: Major,
    path: String,
    rest: &'static str,
    query: String,
    counts_globally: bool,
}

impl Route {
    /// A route whose template names its parameters in braces:
    /// `/channels/{channel_id}`. Fill them, in order, with [`Route::param`].
    #[must_use]
    pub fn new(method: Method, template: &'static str, major: Major) -> Self {
        let mut route = Self {
            method,
            template,
            major,
            path: String::new(),
            rest: template,
            query: String::new(),
            counts_globally: true,
        };
        route.copy_literal();
        route
    }

    /// Fills the next parameter of the template. The value is percent-encoded,
    /// so that it cannot leave its segment. One value too many is ignored.
    #[must_use]
    pub fn param(mut self, value: impl Display) -> Self {
        if let Some(end) = self.rest.find('}') {
            let text = value.to_string();
            let _ = write!(self.path, "{}", utf8_percent_encode(&text, SEGMENT));
            self.rest = &self.rest[end + 1..];
            self.copy_literal();
        }
        self
    }

    /// Adds `key=value` to the query; the value is percent-encoded.
    #[must_use]
    pub fn query(mut self, key: &str, value: impl Display) -> Self {
        let text = value.to_string();
        let separator = if self.query.is_empty() { "" } else { "&" };
        let _ = write!(
            self.query,
            "{separator}{}={}",
            utf8_percent_encode(key, SEGMENT),
            utf8_percent_encode(&text, SEGMENT)
        );
        self
    }

    /// Says that the global limit does not count this route: answers to
    /// interactions. See Discord: Rate Limits, "Global Rate Limit".
    #[must_use]
    pub fn outside_global_limit(mut self) -> Self {
        self.counts_globally = false;
        self
    }

    /// The HTTP method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path with names in place of the ids: `/channels/{channel_id}`.
    #[must_use]
    pub fn template(&self) -> &'static str {
        self.template
    }

    /// The path, without the base URL and the query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The major parameter.
    #[must_use]
    pub fn major(&self) -> Major {
        self.major
    }

    pub(crate) fn counts_globally(&self) -> bool {
        self.counts_globally
    }

    /// Path and query, for the URL.
    pub(crate) fn target(&self) -> String {
        if self.query.is_empty() {
            self.path.clone()
        } else {
            format!("{}?{}", self.path, self.query)
        }
    }

    /// # Errors
    ///
    /// If a parameter of the template was not filled, or could climb out of its
    /// segment.
    pub(crate) fn validate(&self) -> Result<(), ValidationError> {
        if !self.rest.is_empty() {
            return Err(ValidationError::new(
                "path",
                format!("a parameter of {} was not given", self.template),
            ));
        }
        let climbs = self
            .path
            .split('/')
            .skip(1)
            .any(|segment| matches!(segment, "" | "." | ".."));
        if !self.path.starts_with('/') || climbs {
            return Err(ValidationError::new(
                "path",
                format!("a parameter of {} is empty or a dot", self.template),
            ));
        }
        Ok(())
    }

    /// Copies the template up to the next parameter.
    fn copy_literal(&mut self) {
        let end = self.rest.find('{').unwrap_or(self.rest.len());
        self.path.push_str(&self.rest[..end]);
        self.rest = &self.rest[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_and_encodes() {
        let route = Route::new(Method::GET, "/a/{x}/b/{y}", Major::None)
            .param("1/2")
            .param(3)
            .query("q", "ä b")
            .query("n", 1);
        assert_eq!(route.target(), "/a/1%2F2/b/3?q=%C3%A4%20b&n=1");
        assert!(route.validate().is_ok());
    }

    #[test]
    fn refuses_unfilled_and_climbing() {
        assert!(
            Route::new(Method::GET, "/a/{x}", Major::None)
                .validate()
                .is_err()
        );
        assert!(
            Route::new(Method::GET, "/a/{x}", Major::None)
                .param("..")
                .validate()
                .is_err()
        );
        assert!(
            Route::new(Method::GET, "/a/{x}/b", Major::None)
                .param("")
                .validate()
                .is_err()
        );
    }
}
