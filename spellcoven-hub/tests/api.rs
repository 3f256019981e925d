//! Tests of the public API, one module by subject.

#[path = "api/wire.rs"]
mod wire;
