//! Simulated people in a call, who talk and listen.

mod e2ee;

pub(in crate::core::rtc) use e2ee::{E2ee, OpenFailure, Reply};
