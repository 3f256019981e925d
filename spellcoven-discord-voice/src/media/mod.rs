//! Frames into datagrams and back: sequence, timestamps, reports, statistics.

mod frame;

pub use self::frame::{NotOpus, OpusFrame};
