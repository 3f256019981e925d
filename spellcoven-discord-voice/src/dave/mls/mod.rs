//! The group: MLS by the crate davey, as jobs.

mod group;
mod job;
mod verification;

pub(crate) use group::GroupState;
pub(crate) use job::{MlsDone, MlsJob, MlsResult, Seat, Work};
pub(crate) use verification::VerificationJob;

#[cfg(test)]
pub(crate) use group::read as read_group;
