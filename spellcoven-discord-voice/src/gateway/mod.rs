//! The voice gateway: messages, heartbeat, resume, close codes.
