//! The control API: what a test in another language, or a person with `curl`, makes happen.

mod act;
mod description;
mod faults;
mod limits;
mod look;
mod people;
mod serve;
#[cfg(feature = "voice")]
mod voice;

pub use description::{BotDescription, Description, PersonDescription, TlsDescription};
pub use serve::ControlServer;
