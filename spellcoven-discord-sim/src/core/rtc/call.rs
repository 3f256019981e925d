//! A call: those who are connected to one voice channel, and what they are told of each other.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::World;
use super::VoiceServerId;
use super::dave::{DaveGroup, DaveNote, DaveOutput, DaveSettings};
use super::link::LinkId;
use super::seat::SeatKey;
use crate::ids::{ChannelId, GuildId, UserId};
use crate::journal::EntryKind;

#[derive(Debug)]
pub(super) struct Call {
    pub(super) guild: GuildId,
    /// In the order in which they came.
    pub(super) members: Vec<UserId>,
    pub(super) dave: DaveGroup,
}

/// A call as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct CallView {
    /// Who is connected, in the order in which they came.
    pub members: Vec<UserId>,
    /// The version of DAVE in force, or about to be; 0: only transport encryption.
    pub dave_version: u16,
    /// Whether there is a group, so that media can be end-to-end encrypted.
    pub established: bool,
    /// The group's epoch; 0 while there is none.
    pub epoch: u64,
}

impl World {
    /// The call in a channel; `None` while nobody is connected.
    #[must_use]
    pub fn call(&self, channel: ChannelId) -> Option<CallView> {
        let call = self.rtc.calls.get(&channel)?;
        Some(CallView {
            members: call.members.clone(),
            dave_version: call.dave.version(),
            established: call.dave.is_established(),
            epoch: call.dave.epoch(),
        })
    }

    /// One who identified is told who is there, and the others of them.
    pub(super) fn enter_call(&mut self, key: SeatKey, channel: ChannelId) {
        let (guild, user) = key;
        let settings = &self.settings.voice;
        let stage = self.is_stage(guild, channel) || settings.dave_version == 0;
        let settings = DaveSettings {
            stage,
            first_transition_zero: settings.first_transition_zero,
            readiness: settings.transition_timeout,
            revoke_on_leave: settings.revoke_on_leave,
            ..DaveSettings::default()
        };
        let keys = self.rtc.dave_keys().clone();
        let seed = self.rtc.rng.u64(..);
        let call = self.rtc.calls.entry(channel).or_insert_with(|| Call {
            guild,
            members: Vec::new(),
            dave: DaveGroup::new(channel.0, settings, keys, seed),
        });
        let others = call.members.clone();
        call.members.push(user);
        let now = self.now;
        for fault in std::mem::take(&mut self.rtc.ordered) {
            call.dave.fault(now, fault);
        }
        if !others.is_empty() {
            self.send_seat(key, 11, &json!({ "user_ids": others }));
        }
        for op in [18, 20] {
            for other in &others {
                let d = self.about_client(*other, op);
                self.send_seat(key, op, &d);
            }
        }
        for other in &others {
            let Some(seat) = self.rtc.seats.get(&(guild, *other)) else {
                continue;
            };
            let video = seat.video.clone();
            let speaking = seat
                .speaking
                .map(|bits| json!({"speaking": bits, "ssrc": seat.media.ssrc, "user_id": other}));
            if let Some(d) = speaking {
                self.send_seat(key, 5, &d);
            }
            if let Some(d) = video {
                self.send_seat(key, 12, &d);
            }
        }
        self.tell_others(key, channel, 11, &json!({ "user_ids": [user] }));
        for op in [18, 20] {
            let d = self.about_client(user, op);
            self.tell_others(key, channel, op, &d);
        }
    }

    /// Flags (op 18) or platform (op 20) of a user's client: a bot has none (observed).
    fn about_client(&self, user: UserId, op: u8) -> Value {
        let is_bot = self.users.get(&user).is_some_and(|user| user.is_bot);
        match (op, is_bot) {
            (18, true) => json!({"user_id": user, "flags": null}),
            (18, false) => json!({"user_id": user, "flags": 2}),
            (_, true) => json!({"user_id": user, "platform": null}),
            (_, false) => json!({"user_id": user, "platform": 0}),
        }
    }

    /// A numbered message to everyone in a call but one.
    pub(super) fn tell_others(&mut self, key: SeatKey, channel: ChannelId, op: u8, d: &Value) {
        let Some(call) = self.rtc.calls.get(&channel) else {
            return;
        };
        let guild = call.guild;
        for other in call.members.clone() {
            if other != key.1 {
                self.send_seat((guild, other), op, d);
            }
        }
    }

    pub(super) fn leave_call(&mut self, key: SeatKey, channel: ChannelId, joined: bool) {
        let Some(call) = self.rtc.calls.get_mut(&channel) else {
            return;
        };
        call.members.retain(|member| *member != key.1);
        if call.members.is_empty() {
            self.rtc.calls.remove(&channel);
            return;
        }
        self.tell_others(key, channel, 13, &json!({"user_id": key.1}));
        if joined {
            let now = self.now;
            self.with_group(channel, |group| group.leave(now, key.1.0));
        }
    }

    /// The version to tell one who is about to join.
    pub(super) fn dave_version_of(&self, channel: ChannelId, max: u16) -> u16 {
        let newest = self.settings.voice.dave_version;
        let call = self.rtc.calls.get(&channel);
        call.map_or(0, |call| call.dave.version_with(max.min(newest)))
    }

    pub(super) fn join_group(&mut self, key: SeatKey, channel: ChannelId, max: u16) {
        if let Some(seat) = self.rtc.seats.get_mut(&key) {
            seat.joined = true;
        }
        let max = max.min(self.settings.voice.dave_version);
        let now = self.now;
        self.with_group(channel, |group| group.join(now, key.1.0, max));
    }

    pub(super) fn on_dave_binary(&mut self, id: LinkId, op: u8, payload: &[u8]) {
        let Some((key, channel)) = self.in_group(id) else {
            self.voice_complaint(id, &format!("sent op {op} before op 1 was answered"));
            self.close_link(id, 4003, "Not authenticated.");
            return;
        };
        let now = self.now;
        self.with_group(channel, |group| group.binary(now, key.1.0, op, payload));
    }

    fn in_group(&self, id: LinkId) -> Option<(SeatKey, ChannelId)> {
        let key = self.rtc.links.get(&id)?.seat?;
        let seat = self.rtc.seats.get(&key).filter(|seat| seat.joined)?;
        Some((key, seat.channel))
    }

    pub(super) fn on_dave_json(&mut self, key: SeatKey, op: u8, data: &Value) {
        let seat = self.rtc.seats.get(&key).filter(|seat| seat.joined);
        if let Some(channel) = seat.map(|seat| seat.channel) {
            let now = self.now;
            self.with_group(channel, |group| group.json(now, key.1.0, op, data));
        }
    }

    /// Does something to a call's group, and what the group wants then.
    pub(super) fn with_group(&mut self, channel: ChannelId, act: impl FnOnce(&mut DaveGroup)) {
        let Some(call) = self.rtc.calls.get_mut(&channel) else {
            return;
        };
        act(&mut call.dave);
        let guild = call.guild;
        let outputs: Vec<DaveOutput> = std::iter::from_fn(|| call.dave.poll()).collect();
        if let Some(at) = call.dave.poll_timeout() {
            self.rtc.wake_at(at);
        }
        for output in outputs {
            self.dave_output(guild, channel, output);
        }
    }

    fn dave_output(&mut self, guild: GuildId, channel: ChannelId, output: DaveOutput) {
        match output {
            DaveOutput::Json { to, op, d } => self.send_seat((guild, UserId(to)), op, &d),
            DaveOutput::Binary { to, op, payload } => {
                self.send_seat_binary((guild, UserId(to)), op, &payload);
            }
            DaveOutput::Close { to, code, reason } => {
                let key = (guild, UserId(to));
                // The group has forgotten them already.
                if let Some(seat) = self.rtc.seats.get_mut(&key) {
                    seat.joined = false;
                    if let Some(link) = seat.link {
                        self.close_link(link, code, reason);
                    }
                }
                self.end_voice_session(key);
            }
            DaveOutput::Journal(note) => self.log(EntryKind::Dave {
                channel,
                note: tell(&note),
            }),
            DaveOutput::Complaint { user, what } => self.complain(format!("user {user}"), what),
        }
    }

    pub(super) fn time_out_groups(&mut self) {
        let now = self.now;
        let due: Vec<ChannelId> = self
            .rtc
            .calls
            .iter()
            .filter(|(_, call)| call.dave.poll_timeout().is_some_and(|at| at <= now))
            .map(|(channel, _)| *channel)
            .collect();
        for channel in due {
            self.with_group(channel, |group| group.timeout(now));
        }
        let times = self.rtc.calls.values();
        let next: Option<Duration> = times.filter_map(|call| call.dave.poll_timeout()).min();
        if let Some(next) = next {
            self.rtc.wake_at(next);
        }
    }

    /// The server that a channel's calls are on.
    pub(super) fn server_of_channel(&self, channel: ChannelId) -> VoiceServerId {
        let placed = self.rtc.placed.get(&channel).copied();
        placed.unwrap_or(VoiceServerId(1))
    }
}

/// A note as the journal has it.
fn tell(note: &DaveNote) -> String {
    format!("{note:?}")
}
