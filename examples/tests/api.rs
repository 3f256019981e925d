//! The whole system in one process: worker, hub, clients and simulator over pipes in memory, in virtual time.

mod api {
    mod cloud;
    mod day;
    mod degraded;
    mod exactly_once;
    mod observer;
    mod recovery;
}
