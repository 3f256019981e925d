//! What the application may want to know.

/// Something about the call's end-to-end encryption has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DaveEvent {
    /// The group has a new epoch, with these members (ascending, this client's user among them). The privacy code, 30
    /// digits, is the same for all of them.
    Epoch {
        epoch: u64,
        members: Vec<u64>,
        privacy_code: String,
    },
    /// What is sent from now on is encrypted with the keys of the newest transition.
    Encrypted { version: u16 },
    /// There is nobody else in the group, hence no key: frames are held.
    Alone,
    /// The call is not end-to-end encrypted. Unless the policy allows that, no media pass.
    NotEncrypted { allowed: bool },
    /// We lost step with the group and are entering it anew. Media go on with the old keys where they can.
    Recovering { transition: u16, why: String },
    /// Without end-to-end encryption for good, or until the server begins a new group: no media.
    Failed { why: String },
}
