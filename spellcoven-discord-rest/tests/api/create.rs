//! A create is never done twice: what is unknown is looked up.

use std::{
    future::IntoFuture as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};
use spellcoven_discord_rest::RestErrorKind;
use twilight_model::{
    guild::Permissions,
    http::permission_overwrite::{PermissionOverwrite, PermissionOverwriteType},
    id::Id,
};

use super::support::*;

/// `Date` of the scripted Discord: 2026-11-25T10:00:00Z.
const NOW_MS: u64 = 1_795_600_800_000;
const DATE: &str = "Wed, 25 Nov 2026 10:00:00 GMT";

/// An id made `ms` after (or before) `NOW_MS`.
fn id_at(ms: i64) -> u64 {
    let unix = NOW_MS.checked_add_signed(ms).unwrap();
    (unix - 1_420_070_400_000) << 22
}

fn dated(status: u16, body: Value) -> Response<Bytes> {
    let mut answer = answer(status, body);
    answer.headers_mut().insert("date", DATE.parse().unwrap());
    answer
}

type AuditLog = dyn Fn(usize, &State) -> Reply + Send + Sync;

/// A Discord with one guild, whose answers to creates follow a script.
#[derive(Clone)]
struct Discord {
    creates: Arc<dyn Fn(usize) -> Create + Send + Sync>,
    state: Arc<Mutex<State>>,
    audit_log: Arc<AuditLog>,
}

#[derive(Default)]
struct State {
    channels: Vec<Value>,
    entries: Vec<Value>,
    creates: usize,
    looks: usize,
    dated: bool,
    /// How long before `NOW_MS` creates are carried out.
    made_ago: i64,
}

/// What a create does and what the client learns.
struct Create {
    carried_out: bool,
    reply: Reply,
}

fn carried_out(reply: Reply) -> Create {
    Create {
        carried_out: true,
        reply,
    }
}

fn dropped(reply: Reply) -> Create {
    Create {
        carried_out: false,
        reply,
    }
}

impl Discord {
    fn new(creates: impl Fn(usize) -> Create + Send + Sync + 'static) -> Self {
        let audit_log = |_: usize, state: &State| {
            reply(
                200,
                json!({"audit_log_entries": state.entries, "users": []}),
            )
        };
        let state = State {
            dated: true,
            channels: vec![text_channel()],
            ..State::default()
        };
        Self {
            creates: Arc::new(creates),
            state: Arc::new(Mutex::new(state)),
            audit_log: Arc::new(audit_log),
        }
    }

    fn audit_log(mut self, reply: impl Fn(usize, &State) -> Reply + Send + Sync + 'static) -> Self {
        self.audit_log = Arc::new(reply);
        self
    }

    fn without_audit_log(self) -> Self {
        self.audit_log(|_, _| reply(403, error(50013, "Missing Permissions")))
    }

    fn existing(self, channel: Value) -> Self {
        self.state.lock().unwrap().channels.push(channel);
        self
    }

    fn transport(&self) -> Scripted {
        let this = self.clone();
        Scripted::new(move |_, seen| this.answer(seen))
    }

    fn answer(&self, seen: &Seen) -> Reply {
        let mut state = self.state.lock().unwrap();
        match (seen.method.as_str(), seen.path.as_str()) {
            ("POST", "/guilds/1/channels") => {
                let number = state.creates;
                state.creates += 1;
                let Create {
                    carried_out,
                    reply: answer,
                } = (self.creates)(number);
                if carried_out {
                    let id = id_at(i64::try_from(number).unwrap() * 10 - state.made_ago);
                    let mut made = channel(id, seen.json()["name"].as_str().unwrap());
                    made["user_limit"] = seen.json().get("user_limit").cloned().unwrap_or(json!(0));
                    made["parent_id"] =
                        seen.json().get("parent_id").cloned().unwrap_or(Value::Null);
                    state.channels.push(made.clone());
                    let entry = json!({"id": "1", "action_type": 10, "target_id": id.to_string(), "reason": seen.reason()});
                    state.entries.push(entry);
                    if let Reply::Answer(answer) = &answer
                        && answer.status() == 201
                    {
                        return reply(201, made);
                    }
                }
                answer
            }
            ("GET", "/guilds/1/audit-logs?action_type=10&limit=100") => {
                let number = state.looks;
                state.looks += 1;
                (self.audit_log)(number, &state)
            }
            ("GET", "/guilds/1/channels") => {
                let list = Value::from(state.channels.clone());
                Reply::Answer(if state.dated {
                    dated(200, list)
                } else {
                    answer(200, list)
                })
            }
            ("GET", path) => {
                let id = path.strip_prefix("/channels/").unwrap();
                match state.channels.iter().find(|channel| channel["id"] == id) {
                    Some(channel) => reply(200, channel.clone()),
                    None => reply(404, error(10003, "Unknown Channel")),
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn creates(&self) -> usize {
        self.state.lock().unwrap().creates
    }
}

fn text_channel() -> Value {
    json!({"id": "77", "type": 0, "guild_id": "1", "name": "general", "position": 0, "parent_id": null})
}

fn ambiguous() -> Vec<fn() -> Reply> {
    vec![
        || Reply::Lost,
        || Reply::Hang,
        || reply(500, json!(null)),
        || reply(524, json!(null)),
        || reply(501, json!(null)),
    ]
}

#[tokio::test(start_paused = true)]
async fn carried_out_and_found_in_the_audit_log() {
    for lost in ambiguous() {
        let discord = Discord::new(move |_| carried_out(lost()));
        let transport = discord.transport();
        let made = transport
            .client()
            .create_voice_channel(guild_id(), "Table")
            .await
            .unwrap();
        assert_eq!(made.id.get(), id_at(0));
        assert_eq!(discord.creates(), 1);
        assert_eq!(
            transport.story(),
            [
                "POST /guilds/1/channels".to_owned(),
                "GET /guilds/1/audit-logs?action_type=10&limit=100".to_owned(),
                format!("GET /channels/{}", id_at(0)),
            ]
        );
    }
}

/// The answer came, cut short or unreadable.
#[tokio::test(start_paused = true)]
async fn carried_out_with_an_unreadable_answer() {
    let discord = Discord::new(|_| carried_out(reply(200, json!({"id": "12"}))));
    let made = discord
        .transport()
        .client()
        .create_voice_channel(guild_id(), "Table")
        .await
        .unwrap();
    assert_eq!((made.id.get(), discord.creates()), (id_at(0), 1));

    // Found by its looks as well, though the answer took its time.
    let discord = Discord::new(|_| {
        carried_out(Reply::Late(
            Duration::from_secs(10),
            answer(200, json!({"id": "12"})),
        ))
    })
    .without_audit_log();
    discord.state.lock().unwrap().made_ago = 10_000;
    let made = discord
        .transport()
        .client()
        .create_voice_channel(guild_id(), "Table")
        .await
        .unwrap();
    assert_eq!((made.id.get(), discord.creates()), (id_at(-10_000), 1));

    let discord = Discord::new(|_| dropped(reply(200, json!({"id": "12"}))));
    let error = discord
        .transport()
        .client()
        .create_voice_channel(guild_id(), "Table")
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::MalformedResponse);
    assert_eq!(discord.creates(), 1, "Discord said that it was done");
}

#[tokio::test(start_paused = true)]
async fn not_carried_out_is_repeated_after_four_looks() {
    for lost in ambiguous() {
        let discord = Discord::new(move |n| {
            if n == 0 {
                dropped(lost())
            } else {
                carried_out(reply(201, json!(null)))
            }
        });
        let transport = discord.transport();
        let made = transport
            .client()
            .create_voice_channel(guild_id(), "Table")
            .await
            .unwrap();
        assert_eq!(made.id.get(), id_at(10));
        let seen = transport.seen();
        assert_eq!(
            seen.iter()
                .filter(|one| one.path.contains("audit-logs"))
                .count(),
            4
        );
        let creates: Vec<_> = seen.iter().filter(|one| one.method == "POST").collect();
        assert_eq!(creates.len(), 2);
        assert_eq!(
            creates[0].reason(),
            creates[1].reason(),
            "one token for all attempts of a call"
        );
        assert!(creates[1].at - creates[0].at >= Duration::from_millis(7500));
    }
}

/// An entry that shows late is not missed.
#[tokio::test(start_paused = true)]
async fn a_late_entry_is_found() {
    let discord = Discord::new(|_| carried_out(Reply::Lost)).audit_log(|look, state| {
        let entries = if look < 3 {
            json!([])
        } else {
            json!(state.entries)
        };
        reply(200, json!({"audit_log_entries": entries}))
    });
    let made = discord
        .transport()
        .client()
        .create_voice_channel(guild_id(), "Table")
        .await
        .unwrap();
    assert_eq!((made.id.get(), discord.creates()), (id_at(0), 1));
}

/// Never carried out: the retries are spent, and the last failure is the answer.
#[tokio::test(start_paused = true)]
async fn the_retries_are_bounded() {
    let discord = Discord::new(|_| dropped(reply(503, json!(null))));
    let error = discord
        .transport()
        .client()
        .create_voice_channel(guild_id(), "Table")
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::ServiceUnavailable);
    assert_eq!((discord.creates(), error.attempts()), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_fails_forbids_a_second_create() {
    let discord = Discord::new(|_| dropped(Reply::Lost)).audit_log(|_, _| reply(500, json!(null)));
    let error = discord
        .transport()
        .client()
        .create_voice_channel(guild_id(), "Table")
        .request_id("r9")
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::OutcomeUnknown);
    assert_eq!(
        (discord.creates(), error.request_id(), error.attempts()),
        (1, "r9", 1)
    );
}

/// The last look decides: an early one may have been too early.
#[tokio::test(start_paused = true)]
async fn a_look_up_that_fails_at_the_end_forbids_a_second_create() {
    let discord = Discord::new(|_| dropped(Reply::Lost)).audit_log(|look, _| match look {
        3 => Reply::Hang,
        _ => reply(200, json!({"audit_log_entries": []})),
    });
    let error = discord
        .transport()
        .client()
        .create_voice_channel(guild_id(), "Table")
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::OutcomeUnknown);
    assert_eq!(discord.creates(), 1);
}

/// It was made and someone has deleted it: nothing to give, nothing to repeat.
#[tokio::test(start_paused = true)]
async fn made_and_gone_again() {
    let discord = Discord::new(|_| carried_out(Reply::Lost)).audit_log(|_, state| {
        let mut entry = state.entries[0].clone();
        entry["target_id"] = json!("999");
        reply(200, json!({"audit_log_entries": [entry]}))
    });
    let error = discord
        .transport()
        .client()
        .create_voice_channel(guild_id(), "Table")
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::OutcomeUnknown);
    assert_eq!(discord.creates(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_the_audit_log_the_channel_is_found_by_its_looks() {
    let discord = Discord::new(|_| carried_out(Reply::Lost)).without_audit_log();
    let transport = discord.transport();
    let made = transport
        .client()
        .create_voice_channel(guild_id(), "Table")
        .user_limit(6)
        .await
        .unwrap();
    assert_eq!((made.id.get(), discord.creates()), (id_at(0), 1));
    assert_eq!(transport.story()[2], "GET /guilds/1/channels");
}

/// None of these is ours: too old, another name, type, limit, or category.
#[tokio::test(start_paused = true)]
async fn without_the_audit_log_others_are_not_taken() {
    let with = |key: &str, value: Value| {
        let mut other = channel(id_at(0), "Table");
        other[key] = value;
        other
    };
    let others = [
        channel(id_at(-20_000), "Table"),
        with("name", json!("Table 2")),
        with("type", json!(13)),
        with("user_limit", json!(5)),
        with("parent_id", json!("77")),
    ];
    for other in others {
        let text = other.to_string();
        let discord = Discord::new(|n| {
            if n == 0 {
                dropped(Reply::Lost)
            } else {
                carried_out(reply(201, json!(null)))
            }
        })
        .without_audit_log()
        .existing(other);
        let made = discord
            .transport()
            .client()
            .create_voice_channel(guild_id(), "Table")
            .user_limit(4)
            .await
            .unwrap();
        assert_eq!((made.id.get(), discord.creates()), (id_at(10), 2), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_audit_log_hidden_channels_forbid_a_second_create() {
    let hides = PermissionOverwrite {
        allow: None,
        deny: Some(Permissions::VIEW_CHANNEL),
        id: Id::new(1),
        kind: PermissionOverwriteType::Role,
    };
    let discord = Discord::new(|_| dropped(Reply::Lost)).without_audit_log();
    let client = discord.transport().client();
    let error = client
        .create_voice_channel(guild_id(), "Table")
        .permission_overwrites([hides])
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::OutcomeUnknown);
    // A category that the bot cannot see may hide it as well.
    let error = client
        .create_voice_channel(guild_id(), "Table")
        .parent_id(Id::new(55))
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::OutcomeUnknown);
    assert_eq!(discord.creates(), 2);
    // One that it sees does not.
    let error = client
        .create_voice_channel(guild_id(), "Table")
        .parent_id(Id::new(77))
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::Transport);
    assert_eq!(discord.creates(), 6);
}

/// Without server time nobody knows whether a channel is new.
#[tokio::test(start_paused = true)]
async fn without_the_audit_log_and_without_a_date() {
    let discord = Discord::new(|_| carried_out(Reply::Lost)).without_audit_log();
    discord.state.lock().unwrap().dated = false;
    let error = discord
        .transport()
        .client()
        .create_voice_channel(guild_id(), "Table")
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::OutcomeUnknown);
    assert_eq!(discord.creates(), 1);
}

/// Two equal creates, one answered, one lost and not carried out: the lost one
/// does not take the other's channel.
#[tokio::test(start_paused = true)]
async fn equal_creates_do_not_take_each_others_channel() {
    let discord = Discord::new(|n| match n {
        1 => dropped(Reply::Lost),
        _ => carried_out(reply(201, json!(null))),
    })
    .without_audit_log();
    let client = discord.transport().client();
    // The first learns the bucket, so that the others can go at once.
    client
        .create_voice_channel(guild_id(), "Table")
        .await
        .unwrap();
    let (a, b) = tokio::join!(
        client
            .create_voice_channel(guild_id(), "Table")
            .into_future(),
        client
            .create_voice_channel(guild_id(), "Table")
            .into_future()
    );
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_ne!(a.id, b.id);
    assert_eq!(discord.state.lock().unwrap().channels.len(), 1 + 3);
}

/// Two equal creates whose answers are both lost, one carried out: each call
/// gets a channel of its own, and there are two in the end.
#[tokio::test(start_paused = true)]
async fn equal_lost_creates_share_out_the_channels() {
    let discord = Discord::new(|n| match n {
        0 => carried_out(Reply::Lost),
        1 => dropped(Reply::Lost),
        _ => carried_out(reply(201, json!(null))),
    })
    .without_audit_log();
    let client = discord.transport().client();
    let (a, b) = tokio::join!(
        client
            .create_voice_channel(guild_id(), "Table")
            .into_future(),
        client
            .create_voice_channel(guild_id(), "Table")
            .into_future()
    );
    assert_ne!(a.unwrap().id, b.unwrap().id);
    assert_eq!(discord.state.lock().unwrap().channels.len(), 1 + 2);
}

/// While an equal create is still being sent, a channel may be that one's.
#[tokio::test(start_paused = true)]
async fn a_channel_that_may_be_anothers_is_not_taken() {
    let discord = Discord::new(|n| match n {
        0 => carried_out(reply(201, json!(null))),
        1 => dropped(Reply::Lost),
        // Carried out, and its answer takes long.
        2 => carried_out(Reply::Late(
            Duration::from_secs(12),
            answer(201, channel(id_at(20), "Table")),
        )),
        _ => carried_out(reply(201, json!(null))),
    })
    .without_audit_log();
    let client = discord.transport().client();
    client
        .create_voice_channel(guild_id(), "Table")
        .await
        .unwrap();
    let (lost, slow) = tokio::join!(
        client
            .create_voice_channel(guild_id(), "Table")
            .into_future(),
        client
            .create_voice_channel(guild_id(), "Table")
            .into_future()
    );
    assert_kind!(lost.unwrap_err(), RestErrorKind::OutcomeUnknown);
    assert_eq!(slow.unwrap().id.get(), id_at(20));
}

/// A look-up proved that the first attempt did nothing; a refusal of the second
/// is then just a refusal.
#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_look_up_is_a_refusal() {
    let discord = Discord::new(|n| {
        if n == 0 {
            dropped(Reply::Lost)
        } else {
            dropped(reply(403, error(50013, "x")))
        }
    });
    let error = discord
        .transport()
        .client()
        .create_voice_channel(guild_id(), "Table")
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::Forbidden);
    assert_eq!(discord.creates(), 2);
}
