//! What developing and testing needs beside the crates: an identity provider for loopback, processes that are
//! started again when they die, a network in memory, and the ten steps of the specification as a program.

pub mod clock;
pub mod idp;
pub mod latency;
pub mod signals;
pub mod supervisor;
pub mod web;
