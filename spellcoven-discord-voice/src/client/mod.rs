//! The client, its handles and the tokio task that drives a session.
