//! Error answers with Discord's codes.
//!
//! See: Discord documentation, Topics, "Opcodes and Status Codes", JSON; Reference, "Error Messages".

use serde_json::{Value, json};

use super::form::{Leaf, tree};
use super::limits::Limited;

/// A refusal, to be sent.
#[derive(Debug)]
pub(super) struct ApiError {
    pub(super) status: u16,
    pub(super) code: u64,
    pub(super) message: &'static str,
    pub(super) leaves: Vec<Leaf>,
    /// A limit found while executing, in the place of all else.
    pub(super) limited: Option<Box<Limited>>,
}

impl ApiError {
    pub(super) const fn new(status: u16, code: u64, message: &'static str) -> Self {
        Self {
            status,
            code,
            message,
            leaves: Vec::new(),
            limited: None,
        }
    }

    /// 50035 with its tree.
    pub(super) fn form(leaves: Vec<Leaf>) -> Self {
        Self {
            leaves,
            ..Self::new(400, 50035, "Invalid Form Body")
        }
    }

    pub(super) fn limited(limited: Limited) -> Self {
        Self {
            limited: Some(Box::new(limited)),
            ..Self::new(429, 0, "You are being rate limited.")
        }
    }

    pub(super) fn body(&self) -> Value {
        let mut body = json!({"message": self.message, "code": self.code});
        if !self.leaves.is_empty() {
            body["errors"] = tree(&self.leaves);
        }
        body
    }
}

pub(super) const UNKNOWN_CHANNEL: ApiError = ApiError::new(404, 10003, "Unknown Channel");
pub(super) const UNKNOWN_GUILD: ApiError = ApiError::new(404, 10004, "Unknown Guild");
pub(super) const UNKNOWN_MEMBER: ApiError = ApiError::new(404, 10007, "Unknown Member");
pub(super) const UNKNOWN_MESSAGE: ApiError = ApiError::new(404, 10008, "Unknown Message");
pub(super) const UNKNOWN_OVERWRITE: ApiError =
    ApiError::new(404, 10009, "Unknown Permission Overwrite");
pub(super) const UNKNOWN_ROLE: ApiError = ApiError::new(404, 10011, "Unknown Role");
pub(super) const UNKNOWN_USER: ApiError = ApiError::new(404, 10013, "Unknown User");
pub(super) const UNKNOWN_WEBHOOK: ApiError = ApiError::new(404, 10015, "Unknown Webhook");
pub(super) const UNKNOWN_INTERACTION: ApiError = ApiError::new(404, 10062, "Unknown interaction");
pub(super) const ONE_PARENT: ApiError = ApiError::new(
    400,
    40009,
    "Only one channel can change its parent in one request",
);
pub(super) const WRONG_CHANNEL_TYPE: ApiError =
    ApiError::new(400, 50024, "Cannot execute action on this channel type");
pub(super) const UNKNOWN_VOICE_STATE: ApiError = ApiError::new(404, 10065, "Unknown Voice State");
pub(super) const TOO_MANY_CHANNELS: ApiError =
    ApiError::new(400, 30013, "Maximum number of guild channels reached (500)");
pub(super) const TOO_MANY_OVERWRITES: ApiError = ApiError::new(
    400,
    30060,
    "Maximum number of permission overwrites reached (1000)",
);
pub(super) const NOT_IN_VOICE: ApiError =
    ApiError::new(400, 40032, "Target user is not connected to voice.");
pub(super) const MISSING_ACCESS: ApiError = ApiError::new(403, 50001, "Missing Access");
pub(super) const EDIT_OF_OTHERS: ApiError =
    ApiError::new(403, 50005, "Cannot edit a message authored by another user");
pub(super) const EMPTY_MESSAGE: ApiError =
    ApiError::new(400, 50006, "Cannot send an empty message");
pub(super) const NOT_TEXT: ApiError =
    ApiError::new(400, 50008, "Cannot send messages in a non-text channel");
pub(super) const MISSING_PERMISSIONS: ApiError = ApiError::new(403, 50013, "Missing Permissions");
pub(super) const INVALID_JSON: ApiError =
    ApiError::new(400, 50109, "The request body contains invalid JSON.");
