//! The limiter as a whole.
