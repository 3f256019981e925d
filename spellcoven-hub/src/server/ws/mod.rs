//! The shell of a WebSocket connection: [`pump`] moves bytes, [`connection`] asks the session what to do.

mod connection;
mod pump;

pub(crate) use connection::{FirstAuth, run};
