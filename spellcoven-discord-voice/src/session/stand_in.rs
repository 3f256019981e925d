//! Stand-ins for parts that other folders bring; removed as these land.

/// Stand-in for the job of dave/.
#[derive(Debug)]
pub(crate) struct MlsJob;

/// Stand-in for the job's result.
#[derive(Debug)]
pub(crate) struct MlsDone;

impl MlsJob {
    /// Runs it.
    pub(crate) fn run(self) -> MlsDone {
        MlsDone
    }
}

/// Stand-in for the frame of media/.
#[derive(Debug, Clone)]
pub(crate) struct ReceivedFrame;

pub(crate) use crate::audio::AudioSource;
