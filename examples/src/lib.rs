//! What the example services are assembled from beside the crates: their environment, their logs, their health pages,
//! and what the voice bot says.

pub mod discovery;
pub mod env;
pub mod health;
pub mod logging;
pub mod voice;
