//! Every number and switch of the voice servers.

use std::time::Duration;

/// What comes first when a user is moved or taken out of a call: the end of the old voice connection, or the events on
/// the main Gateway. Both orders are seen in production.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseOrder {
    /// The voice connection is closed, and the events come [`VoiceSettings::close_gap`] later.
    CloseFirst,
    /// The events, and the close comes [`VoiceSettings::close_gap`] later.
    #[default]
    EventsFirst,
}

/// What an Identify on a session that is still alive gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecondIdentify {
    /// The new connection is closed with 4006; the session goes on (observed).
    #[default]
    Refuse,
    /// The old connection is closed with 4006, and the new one has the session.
    Replace,
}

/// Settings of the simulated voice servers, with Discord's values where they are known.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VoiceSettings {
    /// Time between heartbeats that op 8 asks for. Default 13.75 s (observed). A client that stays silent for three times
    /// as long is closed with 4009 (the time is guessed).
    pub heartbeat_interval: Duration,
    /// How long a session without a connection can be resumed. Default 60 s; Discord's time is not known.
    pub resume_window: Duration,
    /// Numbered messages that are kept for a resume. Default 1024. A client that is further behind gets 4006.
    pub resume_buffer: usize,
    /// Whether `seq_ack` of a heartbeat takes what it acknowledges out of the buffer. Default yes; not known of Discord.
    pub trim_on_ack: bool,
    /// The first sequence number. Default 1. It goes on to 65 535 and then to 0.
    pub first_seq: u16,
    /// Whether the replay of a resume comes before op 9. Default no; Discord's order is not known.
    pub replay_before_resumed: bool,
    /// What an Identify on a live session gets.
    pub second_identify: SecondIdentify,
    /// Whether a client must know DAVE, outside of stages (4017, documented). Default yes.
    pub require_dave: bool,
    /// The newest DAVE version that the servers speak; 0 for none. Default 1.
    pub dave_version: u16,
    /// Whether the AEAD mode with AES-256-GCM is offered. Default yes.
    pub offer_aes: bool,
    /// Whether the AEAD mode with XChaCha20-Poly1305 is offered, which Discord always has. Default yes. Without any mode no
    /// client can connect.
    pub offer_xchacha: bool,
    /// Whether the modes that Discord gave up in 2024 are offered, too: `xsalsa20_poly1305`, `…_suffix`, `…_lite`,
    /// `…_lite_rtpsize`, `aead_aes256_gcm`. Default no.
    pub offer_legacy: bool,
    /// Whether the first group of a call comes with transition id 0, that is at once. Default no; Discord's way is not known.
    pub first_transition_zero: bool,
    /// How long a transition of DAVE waits for those who have not said that they are ready. Default 2 s (documented
    /// roughly).
    pub transition_timeout: Duration,
    /// Whether DAVE's proposal to add one who left before it was committed is taken back. Default yes; not known of
    /// Discord.
    pub revoke_on_leave: bool,
    /// Close code for one who is moved to another channel. Default 4014; 4022 is seen, too.
    pub move_code: u16,
    /// Close code for one who leaves, is put out, or whose session on the main Gateway ends. Default 4014; 4022 is seen
    /// of a bot that was alone.
    pub leave_code: u16,
    /// Close code when the server of a call changes. Default 4022.
    pub failover_code: u16,
    /// Close code when the channel is deleted. Default 4022.
    pub deleted_code: u16,
    /// Which is first when a call loses someone.
    pub close_order: CloseOrder,
    /// Time between the two. Default none.
    pub close_gap: Duration,
    /// How long a client's packets may be ahead of its first op 5; until then they are dropped, and after it the
    /// connection is closed with 4020 (the code is guessed). Default 500 ms.
    pub speaking_grace: Duration,
    /// Time between receiver reports to a client that sends. Default 5 s.
    pub report_interval: Duration,
    /// Datagrams of IP discovery to leave unanswered, of each client. Default none.
    pub drop_discoveries: u32,
    /// Whether the servers hear datagrams at all. Default yes.
    pub udp: bool,
    /// How long people who listen keep what they hear. Default 60 s.
    pub people_keep: Duration,
    /// Share of people's packets that have RTP padding, as official clients send it. Default 0.03.
    pub people_padding: f64,
    /// Share of people's packets that have a header extension. Default 0.05.
    pub people_extensions: f64,
    /// Datagrams that may be on their way (delayed by faults, or not yet taken). Default 65 536; more are dropped and
    /// counted.
    pub datagram_limit: usize,
    /// Frames that may wait for a client that does not read its voice WebSocket. Default 4096; over it is cut.
    pub outgoing_limit: usize,
}

impl Default for VoiceSettings {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_millis(13_750),
            resume_window: Duration::from_secs(60),
            resume_buffer: 1024,
            trim_on_ack: true,
            first_seq: 1,
            replay_before_resumed: false,
            second_identify: SecondIdentify::default(),
            require_dave: true,
            dave_version: 1,
            offer_aes: true,
            offer_xchacha: true,
            offer_legacy: false,
            first_transition_zero: false,
            transition_timeout: Duration::from_secs(2),
            revoke_on_leave: true,
            move_code: 4014,
            leave_code: 4014,
            failover_code: 4022,
            deleted_code: 4022,
            close_order: CloseOrder::default(),
            close_gap: Duration::ZERO,
            speaking_grace: Duration::from_millis(500),
            report_interval: Duration::from_secs(5),
            drop_discoveries: 0,
            udp: true,
            people_keep: Duration::from_secs(60),
            people_padding: 0.03,
            people_extensions: 0.05,
            datagram_limit: 65_536,
            outgoing_limit: 4096,
        }
    }
}
