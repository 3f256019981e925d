//! The whole system in one process: worker, hub, clients and simulator over pipes in memory, in virtual time.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail by panicking"
)]

mod api {
    mod cloud;
    mod day;
    mod degraded;
    mod exactly_once;
    mod faults;
    mod observer;
    mod recovery;
    mod rest_faults;
    mod voice_bot;
}
