//! What developing and testing needs beside the crates: an identity provider for loopback, processes that are
//! started again when they die, a network in memory, and the ten steps of the specification as a program.

pub mod clock;
pub mod guide;
pub mod idp;
pub mod latency;
pub mod net;
pub mod scenario;
pub mod sign_in;
pub mod signals;
pub mod stack;
pub mod supervisor;
pub mod watch;
pub mod web;
