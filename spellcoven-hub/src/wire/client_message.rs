use std::fmt;

use serde::{Deserialize, Serialize};

/// A message from a client of `/api/ws` to the hub.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum ClientMessage {
    /// The first message of a connection; later, a fresh token of the same user that extends it.
    Auth {
        /// The JWT. Never printed.
        token: String,
        /// Where the client stood before; only on the first `auth`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume: Option<ResumePoint>,
    },
    /// Asks for a `room.snapshot`.
    Snapshot,
}

/// The last event that a client has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumePoint {
    /// The epoch it belongs to.
    pub epoch: String,
    /// Its number.
    pub seq: u64,
}

impl fmt::Debug for ClientMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auth { resume, .. } => f
                .debug_struct("Auth")
                .field("token", &"<redacted>")
                .field("resume", resume)
                .finish(),
            Self::Snapshot => f.write_str("Snapshot"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_not_printed() {
        let message: ClientMessage = serde_json::from_str(
            r#"{"type":"auth","token":"s3cret","resume":{"epoch":"e","seq":7}}"#,
        )
        .unwrap();
        let printed = format!("{message:?}");
        assert!(
            !printed.contains("s3cret") && printed.contains("seq: 7"),
            "{printed}"
        );
    }

    #[test]
    fn an_unknown_type_is_an_error() {
        assert!(serde_json::from_str::<ClientMessage>(r#"{"type":"subscribe"}"#).is_err());
        assert_eq!(
            serde_json::from_str::<ClientMessage>(r#"{"type":"snapshot","v":1}"#).unwrap(),
            ClientMessage::Snapshot
        );
    }
}
