//! End-to-end encryption: MLS by davey, frames and keys.
