//! What the `worker` and `backend` services share: their environment, their logs, the worker's health page.

pub mod discovery;
pub mod env;
pub mod health;
pub mod logging;
