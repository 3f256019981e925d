//! Tests of the public API.
fn main() {}
