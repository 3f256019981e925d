//! The control API: what a test in another language, or a person with `curl`, makes happen.

mod act;
mod description;
mod serve;

pub use description::{BotDescription, Description, PersonDescription};
pub use serve::ControlServer;
