//! Opcodes of the voice gateway.
//!
//! Source: Discord documentation, "Opcodes and Status Codes", Voice; 12 is observed.

pub(crate) const IDENTIFY: u8 = 0;
pub(crate) const SELECT_PROTOCOL: u8 = 1;
pub(crate) const READY: u8 = 2;
pub(crate) const HEARTBEAT: u8 = 3;
pub(crate) const SESSION_DESCRIPTION: u8 = 4;
pub(crate) const SPEAKING: u8 = 5;
pub(crate) const HEARTBEAT_ACK: u8 = 6;
pub(crate) const RESUME: u8 = 7;
pub(crate) const HELLO: u8 = 8;
pub(crate) const RESUMED: u8 = 9;
pub(crate) const CLIENTS_CONNECT: u8 = 11;
pub(crate) const VIDEO: u8 = 12;
pub(crate) const CLIENT_DISCONNECT: u8 = 13;
/// The JSON messages of DAVE that a server sends; the binary ones are whatever comes in a binary frame.
pub(crate) const DAVE_JSON: [u8; 3] = [21, 22, 24];
