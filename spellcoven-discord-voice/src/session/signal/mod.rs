//! The main gateway's side: joining, moving, leaving, being moved, being removed.

mod course;
mod events;
mod orders;

use std::time::{Duration, Instant};

use twilight_model::id::{Id, marker::ChannelMarker};

use crate::signal::{VoiceServer, VoiceStateRequest};

/// For the main gateway to answer op 4. Where the channel is full it never does.
const JOIN: Duration = Duration::from_secs(10);
/// For a voice server to be named from the request on, where the join was answered.
const SERVER: Duration = Duration::from_secs(30);
/// For the main gateway's word after 4014, 4022 or a move.
const WORD: Duration = Duration::from_secs(10);
/// For the answer to leaving.
const LEAVE: Duration = Duration::from_secs(5);
/// Of a move, VOICE_SERVER_UPDATE may come first: one that is younger than this belongs to it.
const SAME_MOVE: Duration = Duration::from_secs(1);
/// So often in a row a call may be left and joined again to get new credentials.
const REJOINS: u32 = 2;
/// After op 4 could not be sent.
const SIGNAL_AGAIN: Duration = Duration::from_secs(1);

/// Where the session stands with the main gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum Phase {
    /// In no channel.
    Idle,
    /// Op 4 was sent; waiting for both events.
    Joining { until: Instant },
    /// Both events were there: the rest is the voice gateway's.
    Calling,
    /// 4014 or 4022 came: a VOICE_STATE_UPDATE will say whether it is over.
    AwaitingState { until: Instant },
    /// In a channel, and no server to connect to. Without a limit where Discord said that one will come, or where a rejoin
    /// was not answered, as when the main gateway is down.
    AwaitingServer { until: Option<Instant> },
    /// Op 4 was sent to leave.
    Leaving { until: Instant },
}

/// What is known from the main gateway.
#[derive(Debug)]
pub(in crate::session) struct Signal {
    pub(in crate::session) phase: Phase,
    /// Where to go back to after a restart of the main gateway.
    wanted: Option<Id<ChannelMarker>>,
    pub(in crate::session) own: Option<Own>,
    server: Option<Named>,
    /// So many VOICE_STATE_UPDATEs without a channel may answer op 4s of ours, and mean nothing else then.
    own_leaves: u32,
    /// Until when.
    own_leaves_until: Option<Instant>,
    pending: Option<Pending>,
    /// `disconnect` calls to be answered.
    leavers: u32,
    pub(in crate::session) rejoins: u32,
    last_request: Option<VoiceStateRequest>,
    send_again_at: Option<Instant>,
    closed: bool,
}

#[derive(Debug)]
pub(in crate::session) struct Own {
    pub(in crate::session) channel: Id<ChannelMarker>,
    session_id: String,
}

#[derive(Debug)]
struct Named {
    server: VoiceServer,
    at: Instant,
    /// A connection was begun with it.
    used: bool,
}

/// A `connect` to be answered.
#[derive(Debug)]
struct Pending {
    channel: Id<ChannelMarker>,
    /// For Discord to let the client in.
    until: Instant,
    /// For a server to be named.
    server_until: Instant,
}

impl Signal {
    pub(in crate::session) fn new() -> Self {
        Self {
            phase: Phase::Idle,
            wanted: None,
            own: None,
            server: None,
            own_leaves: 0,
            own_leaves_until: None,
            pending: None,
            leavers: 0,
            rejoins: 0,
            last_request: None,
            send_again_at: None,
            closed: false,
        }
    }

    pub(in crate::session) fn poll_timeout(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Joining { until }
            | Phase::AwaitingState { until }
            | Phase::Leaving { until } => Some(until),
            Phase::AwaitingServer { until } => until,
            Phase::Idle | Phase::Calling => None,
        };
        let pending = self.pending.as_ref().map(|pending| {
            if self.is_in(pending.channel) {
                pending.server_until
            } else {
                pending.until
            }
        });
        // Once a connection is being made, its own limits count.
        let pending = pending.filter(|_| !self.is_connecting_as_asked());
        [phase, pending, self.send_again_at]
            .into_iter()
            .flatten()
            .min()
    }

    fn is_own_leave(&self, now: Instant) -> bool {
        self.own_leaves > 0 && self.own_leaves_until.is_some_and(|until| now <= until)
    }

    fn is_in(&self, channel: Id<ChannelMarker>) -> bool {
        self.own.as_ref().is_some_and(|own| own.channel == channel)
    }

    fn is_connecting_as_asked(&self) -> bool {
        let asked = self.pending.as_ref();
        self.phase == Phase::Calling && asked.is_some_and(|asked| self.is_in(asked.channel))
    }
}
