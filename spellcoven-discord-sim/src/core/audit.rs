//! The audit log: every change through REST, with its decoded reason.
//!
//! See: Discord documentation, Resources, Audit Log.

use serde_json::{Value, json};

use super::World;
use super::model::AuditEntry;
use super::wire;
use crate::ids::{GuildId, UserId};
use crate::intents::Intents;
use crate::permissions::Permissions;

pub(super) const CHANNEL_CREATE: u64 = 10;
pub(super) const CHANNEL_UPDATE: u64 = 11;
pub(super) const CHANNEL_DELETE: u64 = 12;
pub(super) const OVERWRITE_CREATE: u64 = 13;
pub(super) const OVERWRITE_UPDATE: u64 = 14;
pub(super) const OVERWRITE_DELETE: u64 = 15;
pub(super) const MEMBER_UPDATE: u64 = 24;
pub(super) const MEMBER_MOVE: u64 = 26;
pub(super) const MEMBER_DISCONNECT: u64 = 27;
pub(super) const MEMBER_ROLE_UPDATE: u64 = 25;
pub(super) const MESSAGE_DELETE: u64 = 72;
pub(super) const VOICE_STATUS_SET: u64 = 192;
pub(super) const VOICE_STATUS_CLEAR: u64 = 193;

/// Entries kept per guild; Discord keeps 45 days.
const ENTRIES: usize = 10_000;

/// An entry to be written.
pub(super) struct Record {
    actor: UserId,
    action: u64,
    target: Option<u64>,
    reason: Option<String>,
    changes: Vec<Value>,
    options: Option<Value>,
}

impl Record {
    pub(super) fn new(
        actor: UserId,
        reason: Option<&str>,
        action: u64,
        target: Option<u64>,
    ) -> Self {
        let reason = reason.map(str::to_owned);
        Self {
            actor,
            action,
            target,
            reason,
            changes: Vec::new(),
            options: None,
        }
    }

    pub(super) fn changes(mut self, changes: Vec<Value>) -> Self {
        self.changes = changes;
        self
    }

    pub(super) fn options(mut self, options: Value) -> Self {
        self.options = Some(options);
        self
    }
}

/// One `{key, old_value?, new_value?}`.
pub(super) fn change(key: &str, old: Option<&Value>, new: Option<&Value>) -> Value {
    let mut out = json!({"key": key});
    for (name, value) in [("old_value", old), ("new_value", new)] {
        if let Some(value) = value.filter(|value| !value.is_null()) {
            out[name] = value.clone();
        }
    }
    out
}

/// What `GET …/audit-logs` asks for.
#[derive(Default)]
pub(super) struct AuditQuery {
    pub(super) user: Option<u64>,
    pub(super) action: Option<u64>,
    pub(super) before: Option<u64>,
    pub(super) after: Option<u64>,
    pub(super) limit: usize,
}

impl World {
    /// Writes an entry, and sends GUILD_AUDIT_LOG_ENTRY_CREATE to bots that may view the log.
    pub(super) fn record(&mut self, guild: GuildId, record: Record) {
        let id = self.snowflake();
        let Some(found) = self.guilds.get_mut(&guild) else {
            return;
        };
        let entry = AuditEntry {
            id,
            actor: record.actor,
            target: record.target,
            action: record.action,
            reason: record.reason,
            changes: record.changes,
            options: record.options,
        };
        let mut d = wire::audit_entry(&entry);
        d["guild_id"] = json!(guild);
        found.audit.push_back(entry);
        if found.audit.len() > ENTRIES {
            found.audit.pop_front();
        }
        let keys: Vec<u64> = self
            .sessions
            .iter()
            .filter(|(_, s)| s.intents.contains(Intents::GUILD_MODERATION) && s.follows(guild))
            .filter(|(_, s)| {
                self.guilds.get(&guild).is_some_and(|found| {
                    self.guild_permissions(found, s.bot)
                        .contains(Permissions::VIEW_AUDIT_LOG)
                })
            })
            .map(|(key, _)| *key)
            .collect();
        let (t, d) = ("GUILD_AUDIT_LOG_ENTRY_CREATE".into(), d.to_string().into());
        for key in keys {
            self.dispatch_to(key, &t, &d);
        }
    }

    /// The answer of `GET …/audit-logs`: newest first, or with `after` oldest first.
    pub(super) fn audit_page(&self, guild: GuildId, query: &AuditQuery) -> Value {
        let Some(found) = self.guilds.get(&guild) else {
            return Value::Null;
        };
        let matching = found.audit.iter().filter(|entry| {
            query.user.is_none_or(|user| entry.actor.0 == user)
                && query.action.is_none_or(|action| entry.action == action)
                && query.before.is_none_or(|before| entry.id < before)
                && query.after.is_none_or(|after| entry.id > after)
        });
        let page: Vec<&AuditEntry> = if query.after.is_some() {
            matching.take(query.limit).collect()
        } else {
            matching.rev().take(query.limit).collect()
        };
        let mut users: Vec<UserId> = page.iter().map(|entry| entry.actor).collect();
        users.sort_unstable();
        users.dedup();
        let users: Vec<Value> = users
            .iter()
            .filter_map(|id| self.users.get(id))
            .map(wire::user)
            .collect();
        json!({
            "audit_log_entries": page.into_iter().map(wire::audit_entry).collect::<Vec<_>>(),
            "users": users, "integrations": [], "webhooks": [], "guild_scheduled_events": [], "threads": [],
            "application_commands": [], "auto_moderation_rules": [],
        })
    }
}
