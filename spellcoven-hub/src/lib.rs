#![doc = include_str!("../README.md")]

pub mod wire;

pub use wire::{GuildSnapshot, HubEvent, HubSecret, Snowflake};
