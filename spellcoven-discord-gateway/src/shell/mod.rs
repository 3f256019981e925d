//! The thin tokio shell around [`Protocol`](crate::proto::Protocol).

mod builder;
mod driver;
mod handle;
mod link;
mod shard;

pub use self::{
    builder::ShardBuilder,
    handle::{ShardHandle, ShardStatus, Shutdown, StateWatch},
    shard::Shard,
};
