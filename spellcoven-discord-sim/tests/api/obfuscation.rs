//! obfuscation
