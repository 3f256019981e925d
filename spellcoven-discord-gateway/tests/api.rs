//! The crate's tests, one module for each subject.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "api/support.rs"]
mod support;

#[path = "api/client_model.rs"]
mod client_model;
#[path = "api/close_codes.rs"]
mod close_codes;
#[path = "api/commands.rs"]
mod commands;
#[cfg(any(feature = "zlib", feature = "zstd"))]
#[path = "api/compression.rs"]
mod compression;
#[path = "api/day.rs"]
mod day;
#[path = "api/events.rs"]
mod events;
#[path = "api/heartbeat.rs"]
mod heartbeat;
#[path = "api/lifecycle.rs"]
mod lifecycle;
#[path = "api/logs.rs"]
mod logs;
#[path = "api/promises.rs"]
mod promises;
#[path = "api/queue.rs"]
mod queue;
#[path = "api/resume.rs"]
mod resume;
#[path = "api/resync.rs"]
mod resync;
#[path = "api/shell.rs"]
mod shell;
#[path = "api/simulator.rs"]
mod simulator;
#[path = "api/tls.rs"]
mod tls;
#[path = "api/tracker.rs"]
mod tracker;
#[path = "api/tracker_model.rs"]
mod tracker_model;
