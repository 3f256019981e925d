//! Tests of the public API: a scripted transport under a paused clock, hyper
//! over pipes, and the simulator.

#[cfg(test)]
mod api {
    mod create;
    mod delete;
    mod errors;
    mod execute;
    mod limits;
    mod logs;
    mod message;
    mod requests;
    mod retries;
    mod settings;
    mod simulator;
    mod support;
    mod tls;
    mod transport;
    mod validation;
}
