//! The control API: what a test in another language, or a person with `curl`, makes happen.

mod act;
mod description;
mod faults;
mod limits;
mod look;
mod people;
mod serve;

pub use description::{BotDescription, Description, PersonDescription, TlsDescription};
pub use serve::ControlServer;
