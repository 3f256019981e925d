use serde_json::{Map, Value};

use super::rooms::{ChannelInfo, CreateRoom};
use crate::wire::Snowflake;

/// Who asks: the claims of a verified token.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// The token's `sub`.
    pub sub: String,
    /// All claims of the token.
    pub claims: Map<String, Value>,
}

/// What a policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allow,
    /// Answer 403.
    Deny,
}

/// Who may make and end rooms, beyond what the hub itself demands (a good token; only voice channels of the guild).
///
/// The methods run on the request's task and should not block.
pub trait RoomPolicy: Send + Sync + 'static {
    /// May this user make this room?
    fn may_create(&self, user: &User, room: &CreateRoom) -> Decision;

    /// May this user end this room? `creator` is the `sub` of who made it through this hub, as long as the hub
    /// remembers: not for rooms made in Discord itself, and not after a restart of the hub.
    fn may_end(&self, user: &User, room: &ChannelInfo, creator: Option<&str>) -> Decision;
}

/// Any authenticated user may make and end rooms.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnyUser;

impl RoomPolicy for AnyUser {
    fn may_create(&self, _: &User, _: &CreateRoom) -> Decision {
        Decision::Allow
    }

    fn may_end(&self, _: &User, _: &ChannelInfo, _: Option<&str>) -> Decision {
        Decision::Allow
    }
}

/// Any authenticated user may make rooms; only who made one through this hub may end it.
///
/// The hub keeps the creator in memory: after its restart nobody may end the rooms made before.
#[derive(Clone, Copy, Debug, Default)]
pub struct CreatorOnly;

impl RoomPolicy for CreatorOnly {
    fn may_create(&self, _: &User, _: &CreateRoom) -> Decision {
        Decision::Allow
    }

    fn may_end(&self, user: &User, _: &ChannelInfo, creator: Option<&str>) -> Decision {
        if creator == Some(user.sub.as_str()) {
            Decision::Allow
        } else {
            Decision::Deny
        }
    }
}

/// Any authenticated user, but only inside one category: a room must be made with it as `parentId`, and only rooms that
/// stand in it may be ended.
#[derive(Clone, Copy, Debug)]
pub struct InsideCategory(pub Snowflake);

impl RoomPolicy for InsideCategory {
    fn may_create(&self, _: &User, room: &CreateRoom) -> Decision {
        if room.parent_id == Some(self.0) {
            Decision::Allow
        } else {
            Decision::Deny
        }
    }

    fn may_end(&self, _: &User, room: &ChannelInfo, _: Option<&str>) -> Decision {
        if room.parent_id == Some(self.0) {
            Decision::Allow
        } else {
            Decision::Deny
        }
    }
}
