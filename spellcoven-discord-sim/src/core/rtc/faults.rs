//! Faults of voice: what a test orders of media, and of connections.

use std::time::Duration;

use serde::Deserialize;

use super::super::World;
use super::call::Call;
use super::dave::{DaveFault, DaveGroup};
use super::link::LinkId;
use crate::ids::{ChannelId, UserId};

/// Faults of DAVE that wait for a call to begin; more are dropped.
const ORDERED: usize = 100;

/// What happens to media between a voice server and a client. Chances are from 0 to 1, each on its own and drawn from
/// the simulator's seed; a default has no fault.
///
/// As JSON in the control API by the same names, all optional.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MediaFaults {
    /// Chance that a packet for the client is lost.
    pub loss: f64,
    /// Chance that a packet of the client is lost.
    pub loss_in: f64,
    /// Chance that a packet for the client comes twice.
    pub duplicate: f64,
    /// Chance that a packet for the client is held back for 25 to 65 ms, so that later ones overtake it.
    pub reorder: f64,
    /// Chance that a bit of a packet for the client is turned.
    pub corrupt: f64,
    /// Every packet for the client comes so much later, in milliseconds.
    pub delay_ms: u64,
    /// And up to so much more, in milliseconds.
    pub jitter_ms: u64,
    /// Chance that a packet for the client gets RTP padding, as official clients send it.
    pub padding: f64,
    /// Chance that a packet of nothing but padding goes before one for the client; the stream's sequence numbers move on
    /// by one.
    pub all_padding: f64,
    /// Chance that a packet for the client gets a header extension (`0xBEDE`, with element 9).
    pub extension: f64,
    /// What the client sends reaches the others as silence (`F8 FF FE`), as the server does for some muted ones.
    pub silence: bool,
}

impl MediaFaults {
    pub(crate) const fn chances(&self) -> [f64; 8] {
        [
            self.loss,
            self.loss_in,
            self.duplicate,
            self.reorder,
            self.corrupt,
            self.padding,
            self.all_padding,
            self.extension,
        ]
    }

    /// The same loss in both directions, and nothing else.
    #[must_use]
    pub fn loss(chance: f64) -> Self {
        Self {
            loss: chance,
            loss_in: chance,
            ..Self::default()
        }
    }
}

/// A fault of a user's voice connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum VoiceFault {
    /// TCP is dropped without a close frame.
    Cut,
    /// The connection is closed with this code. The session outlives codes below 4000, 4013 and 4015.
    Close {
        /// The code.
        code: u16,
    },
    /// From now on nothing goes out, and nothing that comes in is heard, on any layer above TCP.
    Silence,
    /// Heartbeats are not answered.
    MuteAcks {
        /// Whether from now on, or no longer.
        on: bool,
    },
    /// The next resumes are answered with 4006.
    RefuseResume {
        /// How many.
        times: u32,
    },
    /// A bit of the next Welcome for the user is turned.
    CorruptWelcome,
    /// A bit of the next commit that is announced to the user is turned.
    CorruptCommit,
    /// The next commit that is to be announced to the user never comes, and no word of it.
    LoseCommit,
    /// TCP is dropped at the user's n-th message in one direction, counted from now on over all their connections. A
    /// connection that has not said yet whose it is counts as of a user with such a fault who has no other one.
    CutAt {
        /// Which, from 1.
        message: u32,
        /// Whether messages of the client are counted, or those to it.
        from_client: bool,
        /// Whether the message itself is lost, or the last one that arrives.
        lost: bool,
    },
}

/// A cut that waits for its message.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitingCut {
    /// Messages until then, this one included.
    left: u32,
    nth: u32,
    from_client: bool,
    lost: bool,
}

/// What becomes of a message, and of the connection that it is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Passes,
    /// The connection is cut in its place.
    Lost(String),
    /// The connection is cut behind it.
    Last(String),
}

/// A fault of a call's end-to-end encryption. Each strikes once: at once, or at the next occasion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CallFault {
    /// The next "execute transition" is sent to nobody.
    DropExecute,
    /// The next transition is executed so much later, in milliseconds.
    SlowExecute {
        /// By how much.
        ms: u64,
    },
    /// A user whom nobody was told of is proposed as a member.
    ProposeIntruder {
        /// Who.
        user_id: UserId,
    },
    /// A member is proposed a second time.
    ProposeTwice {
        /// Who.
        user_id: UserId,
    },
    /// Everyone gets a proposal of an epoch that is not theirs.
    ProposeInWrongEpoch,
    /// Everyone gets an "execute transition" that was never announced.
    ExecuteUnknown,
    /// Everyone gets another external sender than the group has.
    AnotherExternalSender,
    /// Everyone gets the group's external sender again.
    ExternalSenderAgain,
    /// The call goes to this version of DAVE, 0 for none; nothing: to what all members can.
    Version {
        /// Which.
        version: Option<u16>,
    },
}

impl World {
    /// Orders a fault of a call's end-to-end encryption. Nothing where no call is.
    pub fn call_fault(&mut self, channel: ChannelId, fault: CallFault) {
        self.acted(None, format!("fault of the call in {channel}: {fault:?}"));
        let now = self.now;
        let ordered = match fault {
            CallFault::DropExecute => DaveFault::DropExecute,
            CallFault::SlowExecute { ms } => DaveFault::SlowExecute(Duration::from_millis(ms)),
            CallFault::ProposeIntruder { user_id } => DaveFault::ProposeIntruder(user_id.0),
            CallFault::ProposeTwice { user_id } => DaveFault::ProposeTwice(user_id.0),
            CallFault::ProposeInWrongEpoch => DaveFault::ProposeInWrongEpoch,
            CallFault::ExecuteUnknown => DaveFault::ExecuteUnknown,
            CallFault::AnotherExternalSender => DaveFault::AnotherExternalSender,
            CallFault::ExternalSenderAgain => {
                self.with_group(channel, DaveGroup::announce_external_sender);
                self.settle_voice();
                return;
            }
            CallFault::Version { version } => {
                self.with_group(channel, |group| group.set_version(now, version));
                self.settle_voice();
                return;
            }
        };
        self.with_group(channel, |group| group.fault(now, ordered));
        self.settle_voice();
    }

    /// Orders a fault of a user's voice connections, in every guild.
    pub fn voice_fault(&mut self, user: UserId, fault: VoiceFault) {
        self.acted(Some(user), format!("voice fault: {fault:?}"));
        let links: Vec<LinkId> = self
            .rtc
            .seats
            .iter()
            .filter(|((_, seated), _)| *seated == user)
            .filter_map(|(_, seat)| seat.link)
            .collect();
        match fault {
            VoiceFault::Cut => links.into_iter().for_each(|id| self.cut_link(id)),
            VoiceFault::Close { code } => {
                for id in links {
                    self.close_link(id, code, "fault");
                }
            }
            VoiceFault::Silence => links.into_iter().for_each(|id| self.silence_link(id)),
            VoiceFault::MuteAcks { on: true } => {
                self.rtc.acks_muted.insert(user, Duration::MAX);
            }
            VoiceFault::MuteAcks { on: false } => {
                self.rtc.acks_muted.remove(&user);
            }
            VoiceFault::RefuseResume { times } => {
                self.rtc.refuse_resumes.insert(user, times);
            }
            VoiceFault::CutAt {
                message,
                from_client,
                lost,
            } => {
                let cut = WaitingCut {
                    left: message.max(1),
                    nth: message.max(1),
                    from_client,
                    lost,
                };
                self.rtc.cuts.insert(user, cut);
            }
            VoiceFault::CorruptWelcome => self.corrupt_dave(Some(user), true, false),
            VoiceFault::CorruptCommit => self.corrupt_dave(Some(user), false, true),
            VoiceFault::LoseCommit => self.order_dave(Some(user), DaveFault::LoseCommit(user.0)),
        }
        self.settle_voice();
    }

    /// Turns a bit of the next Welcome, or of the next commit that is announced: for one user, or for whom it comes to
    /// first. Strikes every call that there is, or the next one that begins.
    pub fn corrupt_dave(&mut self, user: Option<UserId>, welcome: bool, commit: bool) {
        let user_id = user.map(|user| user.0);
        let faults = [
            welcome.then_some(DaveFault::CorruptWelcome(user_id)),
            commit.then_some(DaveFault::CorruptCommit(user_id)),
        ];
        for fault in faults.into_iter().flatten() {
            self.order_dave(user, fault);
        }
    }

    /// Every call that there is with the user, or with anyone, or the next one that begins.
    fn order_dave(&mut self, user: Option<UserId>, fault: DaveFault) {
        self.acted(user, format!("fault: {fault:?}"));
        let concerned = |call: &&Call| user.is_none_or(|user| call.members.contains(&user));
        if self.rtc.calls.values().any(|call| concerned(&call)) {
            let channels: Vec<ChannelId> = self
                .rtc
                .calls
                .iter()
                .filter(|(_, call)| concerned(call))
                .map(|(channel, _)| *channel)
                .collect();
            let now = self.now;
            for channel in channels {
                self.with_group(channel, |group| group.fault(now, fault));
            }
        } else if self.rtc.ordered.len() < ORDERED {
            self.rtc.ordered.push(fault);
        }
    }

    /// Counts a message for a cut that waits for it. `what` names it for the journal.
    pub(super) fn fate(
        &mut self,
        id: LinkId,
        from_client: bool,
        what: impl FnOnce() -> String,
    ) -> Fate {
        if self.rtc.cuts.is_empty() {
            return Fate::Passes;
        }
        let Some(link) = self.rtc.links.get(&id) else {
            return Fate::Passes;
        };
        let (seat, person) = (link.seat, link.person);
        let user = seat.map(|(_, user)| user).or(person).or_else(|| {
            let seats = &self.rtc.seats;
            let is_connected = |user| {
                seats
                    .iter()
                    .any(|((_, at), seat)| *at == user && seat.link.is_some())
            };
            let mut waiting = self.rtc.cuts.keys().copied();
            waiting.find(|user| !is_connected(*user))
        });
        let Some(user) = user else {
            return Fate::Passes;
        };
        let Some(cut) = self
            .rtc
            .cuts
            .get_mut(&user)
            .filter(|cut| cut.from_client == from_client)
        else {
            return Fate::Passes;
        };
        cut.left -= 1;
        if cut.left > 0 {
            return Fate::Passes;
        }
        let cut = *cut;
        self.rtc.cuts.remove(&user);
        let place = if cut.lost { "at" } else { "after" };
        let side = if from_client { "of" } else { "to" };
        let why = format!(
            "fault: {place} message {} {side} the client, {}",
            cut.nth,
            what()
        );
        if cut.lost {
            Fate::Lost(why)
        } else {
            Fate::Last(why)
        }
    }

    /// Users who have a voice connection.
    pub(crate) fn callers(&self) -> Vec<UserId> {
        let seats = self.rtc.seats.iter();
        let mut users: Vec<UserId> = seats
            .filter(|(_, seat)| seat.link.is_some())
            .map(|((_, user), _)| *user)
            .collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    pub(crate) fn is_user(&self, user: UserId) -> bool {
        self.users.contains_key(&user)
    }

    /// Voice heartbeats of a user are not answered for so long from now on.
    pub fn mute_voice_acks_for(&mut self, user: UserId, time: Duration) {
        self.acted(Some(user), format!("voice fault: acks muted for {time:?}"));
        let until = self.now.saturating_add(time);
        self.rtc.acks_muted.insert(user, until);
    }

    /// Sets the faults of one user's media, in the place of everyone's; `None` takes them back.
    pub fn set_media_faults_of(&mut self, user: UserId, faults: Option<MediaFaults>) {
        self.acted(Some(user), format!("media faults: {faults:?}"));
        match faults {
            Some(faults) => _ = self.rtc.faults_of.insert(user, faults),
            None => _ = self.rtc.faults_of.remove(&user),
        }
    }

    /// Sets the faults of everyone's media, but for those who have their own.
    pub fn set_media_faults(&mut self, faults: MediaFaults) {
        self.acted(None, format!("media faults: {faults:?}"));
        self.rtc.faults = faults;
    }
}
