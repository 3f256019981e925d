//! Op 6: Resume.
//!
//! See: Discord documentation, Events, Gateway, "Resuming"; Gateway Events, "Resume".

use std::sync::Arc;

use serde_json::Value;

use super::super::World;
use super::connection::ConnectionId;
use super::identify::bare_token;
use super::session::SessionKey;
use crate::ids::UserId;
use crate::journal::EntryKind;

impl World {
    pub(super) fn on_resume(&mut self, id: ConnectionId, data: &Value) {
        if self
            .connections
            .get(&id)
            .is_some_and(|connection| connection.session.is_some())
        {
            self.complain(format!("#{id}"), "sent a resume on a live session");
            self.close_connection(id, 4005, "Already authenticated.");
            return;
        }
        let field = |name: &str| data.get(name).and_then(Value::as_str);
        let seq = data.get("seq").and_then(Value::as_u64);
        let (Some(token), Some(session_id), Some(seq)) = (field("token"), field("session_id"), seq)
        else {
            self.complain(
                format!("#{id}"),
                "resume: token, session_id or seq is missing",
            );
            self.close_connection(id, 4001, "Unknown opcode.");
            return;
        };
        let Some(bot) = self.tokens.get(&bare_token(token)).copied() else {
            self.complain(format!("#{id}"), "resumed with a token that is not valid");
            self.close_connection(id, 4004, "Authentication failed.");
            return;
        };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.bot = Some(bot);
        }
        let key = self
            .sessions
            .iter()
            .find(|(_, session)| *session.id == *session_id && session.bot == bot)
            .map(|(key, _)| *key);
        let Some(key) = key else {
            self.refuse(id, Some(bot), "resume: no such session");
            return;
        };
        if self.refuses_this_resume(bot) {
            self.end_session(key, "a fault refused its resume");
            self.refuse(id, Some(bot), "resume: a fault refuses it");
            return;
        }
        self.resume_session(id, bot, key, seq);
    }

    fn refuses_this_resume(&mut self, bot: UserId) -> bool {
        match self.bots.get_mut(&bot) {
            Some(account) if account.refuse_resumes > 0 => {
                account.refuse_resumes -= 1;
                true
            }
            _ => false,
        }
    }

    fn resume_session(&mut self, id: ConnectionId, bot: UserId, key: SessionKey, seq: u64) {
        let Some(session) = self.sessions.get(&key) else {
            return;
        };
        if seq > session.seq {
            let sent = session.seq;
            self.complain(
                format!("#{id}, bot {bot}"),
                format!("resume names {seq}, only {sent} were sent"),
            );
            self.end_session(key, "resumed with an invalid sequence number");
            self.close_connection(id, 4007, "Invalid seq.");
            return;
        }
        let Some(missed) = session.after(seq) else {
            self.end_session(key, "the replay buffer ran over");
            self.refuse(
                id,
                Some(bot),
                "resume: the replay buffer no longer reaches back",
            );
            return;
        };
        if let Some(old) = session.connection {
            self.close_connection(old, 4000, "The session was resumed elsewhere.");
        }
        let Some(session) = self.sessions.get_mut(&key) else {
            return;
        };
        session.connection = Some(id);
        let session_id = Arc::clone(&session.id);
        self.attach(id, key);
        let replayed = u64::try_from(missed.len()).unwrap_or(u64::MAX);
        self.log(EntryKind::Resumed {
            connection: id.0,
            bot,
            session: session_id,
            seq,
            replayed,
        });
        for event in missed {
            self.deliver(id, event);
        }
        // `d` is an object, never null: one client writes into it, another takes null for an unknown event.
        let resumed = self.sessions.get_mut(&key).map(|session| {
            session.push_unkept(
                "RESUMED",
                r#"{"_trace":["[\"discord-sim\",{\"micros\":0}]"]}"#,
            )
        });
        if let Some(event) = resumed {
            let session = self
                .sessions
                .get(&key)
                .map(|session| Arc::clone(&session.id));
            if let Some(session) = session {
                self.log(EntryKind::Dispatched {
                    bot,
                    session,
                    seq: event.seq,
                    t: Arc::clone(&event.t),
                    d: Arc::clone(&event.d),
                });
            }
            self.deliver(id, event);
        }
    }
}
