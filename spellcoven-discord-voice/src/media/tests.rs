//! Sender and receiver.
