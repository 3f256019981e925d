#![doc = include_str!("../README.md")]

mod audio;
mod client;
mod dave;
mod gateway;
mod media;
mod net;
mod rtp;
mod session;
mod signal;
mod transport;
mod udp;
