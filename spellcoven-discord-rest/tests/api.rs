//! Tests of the public API: a scripted transport under a paused clock, hyper
//! over pipes, and the simulator.

mod api {
    mod create;
    mod delete;
    mod errors;
    mod execute;
    mod limits;
    mod message;
    mod requests;
    mod retries;
    mod settings;
    mod simulator;
    mod support;
    mod transport;
    mod validation;
}
