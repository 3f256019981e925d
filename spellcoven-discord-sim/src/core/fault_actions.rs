//! Faults that a test orders.

use serde_json::Value;

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
            Fault::Cut => connections
                .into_iter()
                .for_each(|id| self.cut_connection(id, "fault")),
            Fault::Reconnect => {
                let at = self.now.saturating_add(self.settings.reconnect_grace);
                for id in connections {
                    self.send_op(id, 7, &Value::Null);
                    if let Some(connection) = self.connections.get_mut(&id) {
                        connection.close_at = Some(at);
                    }
                }
            }
            Fault::InvalidSession { resumable } => {
                connections
                    .into_iter()
                    .for_each(|id| self.invalidate_session(id, resumable));
            }
            Fault::Close { code } => {
                connections
                    .into_iter()
                    .for_each(|id| self.close_connection(id, code, "fault"));
            }
            Fault::RequestHeartbeat => {
                connections
                    .into_iter()
                    .for_each(|id| self.send_op(id, 1, &Value::Null));
            }
            Fault::MuteAcks { on } => {
                if let Some(account) = self.bots.get_mut(&bot) {
                    account.acks_muted = on;
                }
            }
            Fault::RefuseResume { times } => {
                if let Some(account) = self.bots.get_mut(&bot) {
                    account.refuse_resumes = times;
                }
            }
            Fault::HoldEvents { on } => {
                if let Some(account) = self.bots.get_mut(&bot) {
                    account.hold = on;
                }
                for id in connections {
                    self.release_due(id);
                    self.ready.insert(id);
                }
            }
        }
    }

    /// Orders a fault of REST. Faults strike in the order they were ordered; at most 1000 wait, more are dropped.
    pub fn rest_fault(&mut self, fault: RestFault) {
        self.acted(None, format!("fault: {fault:?}"));
        if self.rest_faults.len() < 1000 {
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
