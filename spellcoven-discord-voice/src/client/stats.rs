/// Counts and measurements of a client. Counts run over the client's whole life, over reconnects and moves.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct VoiceStats {
    /// Datagrams that were not sent because the system took no more of them.
    pub unsent_datagrams: u64,
    /// Frames that were dropped because an [`AudioStream`](crate::AudioStream) was not read fast enough.
    pub lagged_frames: u64,
}
