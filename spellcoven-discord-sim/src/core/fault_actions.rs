//! Faults that a test orders.

use std::time::Duration;

use serde_json::Value;

use super::gateway::{Item, Spoil};
use super::model::BotAccount;
use super::{ConnectionId, World};
use crate::faults::Fault;
use crate::ids::{GuildId, UserId};
use crate::intents::Intents;
use crate::rest_faults::RestFault;

/// Faults.
impl World {
    /// Orders a fault of the Gateway for a bot: it strikes its live sessions, or from now on.
    pub fn fault(&mut self, bot: UserId, fault: &Fault) {
        self.acted(Some(bot), format!("fault: {fault:?}"));
        let connections = self.connections_of(bot);
        match *fault {
            Fault::Cut => self.each(connections, |world, id| world.cut_connection(id, "fault")),
            Fault::CutMidFrame => self.spoil(connections, Spoil::Torn),
            Fault::MalformedJson => self.spoil(connections, Spoil::Json),
            Fault::MalformedCompression => self.spoil(connections, Spoil::Compression),
            Fault::Reconnect => self.each(connections, Self::ask_to_reconnect),
            Fault::InvalidSession { resumable } => self.each(connections, |world, id| {
                world.invalidate_session(id, resumable);
            }),
            Fault::Close { code } => self.each(connections, |world, id| {
                world.close_connection(id, code, "fault");
            }),
            Fault::RequestHeartbeat => self.each(connections, |world, id| {
                world.send_op(id, 1, &Value::Null);
            }),
            Fault::Silence => self.each(connections, Self::silence),
            Fault::ReconnectInsteadOfHello { times } => self.entrance.reconnect_first = times,
            Fault::WithholdHello { times } => self.entrance.withhold_hello = times,
            Fault::DeadResumeUrl { on } => self.entrance.resume_url_dead = on,
            Fault::UnavailableGuilds { on } => self.set_all_unavailable(bot, on),
            Fault::SlowFrames { bytes_per_second } => {
                let pace = (bytes_per_second > 0).then_some(bytes_per_second);
                self.with_account(bot, |account| account.pace = pace);
                self.each(connections, |world, id| world.set_pace(id, pace));
            }
            Fault::HoldEvents { on } => {
                self.with_account(bot, |account| account.hold = on);
                self.each(connections, |world, id| {
                    world.release_due(id);
                    world.ready.insert(id);
                });
            }
            Fault::MuteAcks { on } => self.with_account(bot, |account| {
                account.acks_muted_until = on.then_some(Duration::MAX);
            }),
            Fault::RefuseResume { times } => {
                self.with_account(bot, |account| account.refuse_resumes = times);
            }
            Fault::DuplicateEvents { on } => {
                self.with_account(bot, |account| account.duplicate = on);
            }
            Fault::SplitFrames { on } => self.with_account(bot, |account| account.split = on),
        }
    }

    /// Heartbeats of a bot are not answered for so long from now on, whatever was ordered before.
    pub fn mute_acks_for(&mut self, bot: UserId, time: Duration) {
        self.acted(Some(bot), format!("fault: acks muted for {time:?}"));
        let until = self.now.saturating_add(time);
        self.with_account(bot, |account| account.acks_muted_until = Some(until));
    }

    fn each(&mut self, connections: Vec<ConnectionId>, act: impl Fn(&mut Self, ConnectionId)) {
        connections.into_iter().for_each(|id| act(self, id));
    }

    fn with_account(&mut self, bot: UserId, change: impl FnOnce(&mut BotAccount)) {
        if let Some(account) = self.bots.get_mut(&bot) {
            change(account);
        }
    }

    fn spoil(&mut self, connections: Vec<ConnectionId>, spoil: Spoil) {
        for id in connections {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.spoil = Some(spoil);
            }
        }
    }

    fn silence(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.silent = true;
            connection.out.clear();
            connection.pending.clear();
            connection.out.push_back(Item::Hush);
            self.ready.insert(id);
        }
    }

    /// Tells a connection's shell how many bytes a second may go out.
    pub(super) fn set_pace(&mut self, id: ConnectionId, pace: Option<u32>) {
        if let Some(connection) = self.connections.get_mut(&id).filter(|c| !c.closing) {
            connection.out.push_back(Item::Pace(pace));
            self.ready.insert(id);
        }
    }

    fn set_all_unavailable(&mut self, bot: UserId, on: bool) {
        let guilds: Vec<GuildId> = self
            .guilds
            .values()
            .filter(|guild| guild.members.contains_key(&bot))
            .map(|guild| guild.id)
            .collect();
        for guild in guilds {
            // The guild is there: it was just listed.
            let _ = self.set_unavailable(guild, on);
        }
    }

    /// Orders a fault of REST. Faults strike in the order they were ordered; at most 1000 wait, more are dropped.
    pub fn rest_fault(&mut self, fault: RestFault) {
        self.acted(None, format!("fault: {fault:?}"));
        if fault.times > 0 && self.rest_faults.len() < 1000 {
            self.rest_faults.push(fault);
        }
    }

    /// Takes back all REST faults that have not struck yet.
    pub fn clear_rest_faults(&mut self) {
        self.rest_faults.clear();
    }

    /// Sends an event of the test's own making to all sessions of a guild that have the intent.
    ///
    /// Unknown names are let through: clients must bear them.
    pub fn emit(&mut self, guild: GuildId, t: &str, d: &Value, need: Intents) {
        self.dispatch_where(guild, t, need, None, d.to_string());
    }

    fn invalidate_session(&mut self, id: ConnectionId, resumable: bool) {
        self.send_op(id, 9, &Value::Bool(resumable));
        let Some(key) = self.connections.get_mut(&id).and_then(|c| {
            c.pending.clear();
            c.session.take()
        }) else {
            return;
        };
        if resumable {
            self.detach_session(key);
        } else {
            self.end_session(key, "op 9 on a live session");
        }
    }
}
