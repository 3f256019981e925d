//! The server's messages, read.

use bytes::Bytes;
use serde_json::Value;

/// Gateway opcodes of DAVE (Discord documentation, Voice Connections, DAVE Protocol).
pub(super) mod op {
    pub(crate) const PREPARE_TRANSITION: u8 = 21;
    pub(crate) const EXECUTE_TRANSITION: u8 = 22;
    pub(crate) const TRANSITION_READY: u8 = 23;
    pub(crate) const PREPARE_EPOCH: u8 = 24;
    pub(crate) const EXTERNAL_SENDER: u8 = 25;
    pub(crate) const KEY_PACKAGE: u8 = 26;
    pub(crate) const PROPOSALS: u8 = 27;
    pub(crate) const COMMIT_WELCOME: u8 = 28;
    pub(crate) const ANNOUNCE_COMMIT: u8 = 29;
    pub(crate) const WELCOME: u8 = 30;
    pub(crate) const INVALID_COMMIT_WELCOME: u8 = 31;
}

/// A message of the server about DAVE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// Op 21.
    PrepareTransition { transition: u16, version: u16 },
    /// Op 22.
    ExecuteTransition { transition: u16 },
    /// Op 24.
    PrepareEpoch {
        version: u16,
        epoch: u64,
        transition: Option<u16>,
    },
    /// Op 25.
    ExternalSender(Bytes),
    /// Op 27.
    Proposals(Bytes),
    /// Op 29.
    Commit { transition: u16, commit: Bytes },
    /// Op 30.
    Welcome { transition: u16, welcome: Bytes },
}

impl Message {
    /// `None` for an opcode that is not ours, or a payload that cannot be read.
    pub(super) fn from_binary(op: u8, mut payload: Bytes) -> Option<Self> {
        match op {
            op::EXTERNAL_SENDER => Some(Self::ExternalSender(payload)),
            op::PROPOSALS => Some(Self::Proposals(payload)),
            op::ANNOUNCE_COMMIT | op::WELCOME => {
                let transition = u16::from_be_bytes(*payload.first_chunk()?);
                let rest = payload.split_off(2);
                Some(if op == op::WELCOME {
                    Self::Welcome {
                        transition,
                        welcome: rest,
                    }
                } else {
                    Self::Commit {
                        transition,
                        commit: rest,
                    }
                })
            }
            _ => None,
        }
    }

    /// `None` for an opcode that is not ours, or data that cannot be read.
    pub(super) fn from_json(op: u8, d: &Value) -> Option<Self> {
        let transition = || u16::try_from(number(d.get("transition_id")?)?).ok();
        let version = || u16::try_from(number(d.get("protocol_version")?)?).ok();
        match op {
            op::PREPARE_TRANSITION => Some(Self::PrepareTransition {
                transition: transition()?,
                version: version()?,
            }),
            op::EXECUTE_TRANSITION => Some(Self::ExecuteTransition {
                transition: transition()?,
            }),
            op::PREPARE_EPOCH => Some(Self::PrepareEpoch {
                version: version()?,
                epoch: number(d.get("epoch")?)?,
                transition: transition(),
            }),
            _ => None,
        }
    }

    /// How many bytes it keeps.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::PrepareTransition { .. }
            | Self::ExecuteTransition { .. }
            | Self::PrepareEpoch { .. } => 0,
            Self::ExternalSender(bytes)
            | Self::Proposals(bytes)
            | Self::Commit { commit: bytes, .. }
            | Self::Welcome { welcome: bytes, .. } => bytes.len(),
        }
    }
}

/// Epochs come as numbers and as strings (unofficial), so both are read, for all of these fields.
fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_may_be_strings() {
        for epoch in [json!(1), json!("1")] {
            assert_eq!(
                Message::from_json(24, &json!({"protocol_version": 1, "epoch": epoch})),
                Some(Message::PrepareEpoch {
                    version: 1,
                    epoch: 1,
                    transition: None
                })
            );
        }
        assert_eq!(
            Message::from_json(
                24,
                &json!({"protocol_version": "1", "epoch": 7, "transition_id": "10"})
            ),
            Some(Message::PrepareEpoch {
                version: 1,
                epoch: 7,
                transition: Some(10)
            })
        );
        assert_eq!(
            Message::from_json(22, &json!({"transition_id": 65536})),
            None
        );
        assert_eq!(Message::from_json(22, &json!({})), None);
        assert_eq!(Message::from_json(21, &json!({"transition_id": 1})), None);
        assert_eq!(Message::from_json(5, &json!({"transition_id": 1})), None);
    }

    #[test]
    fn a_transition_id_is_big_endian_and_needs_two_bytes() {
        let payload = Bytes::from_static(&[1, 2, 3]);
        assert_eq!(
            Message::from_binary(30, payload),
            Some(Message::Welcome {
                transition: 0x0102,
                welcome: Bytes::from_static(&[3])
            })
        );
        assert_eq!(Message::from_binary(29, Bytes::from_static(&[1])), None);
        assert_eq!(
            Message::from_binary(28, Bytes::from_static(&[1, 2, 3])),
            None
        );
    }

    proptest! {
        #[test]
        fn reading_never_panics(op: u8, bytes: Vec<u8>) {
            let _ = Message::from_binary(op, bytes.into());
        }
    }
}
