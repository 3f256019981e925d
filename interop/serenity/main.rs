//! serenity, unmodified, through the list of checks in ../README.md against a running discord-sim.
//!
//! Prints one line for each check; exits 1 if one failed.

mod bot;
#[path = "../rust/report.rs"]
mod report;
#[path = "../rust/simulator.rs"]
mod simulator;

use std::{process::ExitCode, sync::Arc, time::Duration};

use bot::Bot;
use report::{exit_code, report};
use serde_json::{Value, json};
use serenity::{
    all::{
        ChannelId, ChannelType, CreateChannel, CreateMessage, EditChannel, EditMessage, GuildId,
        Http, HttpBuilder, PermissionOverwrite, PermissionOverwriteType, Permissions,
    },
    http::HttpError,
};
use simulator::{Result, Simulator, ensure, variable};
use tokio::task::JoinSet;

/// Events that serenity 0.12.5 has no type for.
const NO_TYPE: [&str; 1] = ["VOICE_CHANNEL_START_TIME_UPDATE"];
/// How often the checks make it identify anew; it may wait 5 s first, and neither read nor send.
const RESTARTS: usize = 2;

struct Checks {
    simulator: Simulator,
    bot: Bot,
    http: Arc<Http>,
    guild: GuildId,
    lobby: ChannelId,
    people: Vec<String>,
}

/// What makes a session resume.
#[derive(Clone, Copy)]
enum Trouble {
    Reconnect,
    Cut,
    InvalidSession,
}

/// The status that a failed call was answered.
fn status(error: &serenity::Error) -> Option<u16> {
    match error {
        serenity::Error::Http(HttpError::UnsuccessfulRequest(answer)) => {
            Some(answer.status_code.as_u16())
        }
        _ => None,
    }
}

impl Checks {
    async fn start() -> Result<Self> {
        let simulator = Simulator::from_environment()?;
        let token = variable("DISCORD_BOT_TOKEN")?;
        let base = variable("DISCORD_API_BASE")?;
        // serenity takes an origin, and appends `/api/v10` itself.
        let origin = base.strip_suffix("/api/v10");
        let origin = origin.ok_or("DISCORD_API_BASE does not end in /api/v10")?;
        // With its own limiter on, it would leave the proxy aside and call Discord.
        let http = HttpBuilder::new(token)
            .proxy(origin)
            .ratelimiter_disabled(true)
            .build();
        // The client asks the same again, and would turn to Discord if there was no answer.
        ensure(
            http.get_gateway().await?.url == variable("DISCORD_GATEWAY_URL")?,
            "the Gateway is not the simulator's",
        )?;
        let people = simulator.get("info").await?["people"]
            .as_array()
            .map(|people| {
                people
                    .iter()
                    .filter_map(|person| Some(person["user_id"].as_str()?.to_owned()))
                    .collect()
            })
            .ok_or("no people")?;
        let (bot, http) = Bot::start(http).await?;
        Ok(Self {
            simulator,
            bot,
            http,
            guild: variable("GUILD_ID")?.parse()?,
            lobby: variable("VOICE_CHANNEL_ID")?.parse()?,
            people,
        })
    }

    async fn login(&self) -> Result<()> {
        self.bot
            .sees(0, &format!("guild {} {}", self.guild, self.lobby))
            .await?;
        let application = self.http.get_current_application_info().await?;
        let user = self.http.get_current_user().await?;
        self.bot.sees(0, &format!("ready {}", user.id)).await?;
        ensure(
            application.id.get() == user.id.get(),
            "the application is another",
        )
    }

    async fn make(&self, name: &str, kind: ChannelType) -> Result<ChannelId> {
        let channel = CreateChannel::new(name).kind(kind);
        Ok(self.guild.create_channel(&self.http, channel).await?.id)
    }

    async fn voice_states(&self) -> Result<()> {
        let person = &self.people[0];
        let room = self.make("Next door", ChannelType::Voice).await?;
        for channel in [self.lobby, room] {
            self.simulator
                .voice(person, Some(&channel.to_string()))
                .await?;
            self.bot
                .sees(0, &format!("voice {person} {channel}"))
                .await?;
        }
        self.simulator.voice(person, None).await?;
        self.bot.sees(0, &format!("voice {person} nowhere")).await?;
        room.delete(&self.http).await?;
        Ok(())
    }

    async fn channels(&self) -> Result<()> {
        let everyone = PermissionOverwrite {
            allow: Permissions::CONNECT,
            deny: Permissions::empty(),
            kind: PermissionOverwriteType::Role(self.guild.everyone_role()),
        };
        let wanted = CreateChannel::new("Room")
            .kind(ChannelType::Voice)
            .user_limit(5)
            .permissions([everyone])
            .audit_log_reason("für alle");
        let room = self.guild.create_channel(&self.http, wanted).await?;
        self.bot.sees(0, &format!("created {}", room.id)).await?;
        ensure(room.user_limit == Some(5), "the limit is another")?;
        ensure(
            room.permission_overwrites.iter().any(|one| {
                matches!(one.kind, PermissionOverwriteType::Role(_))
                    && one.allow == Permissions::CONNECT
            }),
            "the overwrite is not there",
        )?;
        let room = room
            .id
            .edit(&self.http, EditChannel::new().name("Room two"))
            .await?;
        self.bot.sees(0, &format!("changed {}", room.id)).await?;
        ensure(room.name == "Room two", "the name is the old one")?;
        room.id.delete(&self.http).await?;
        self.bot.sees(0, &format!("deleted {}", room.id)).await
    }

    async fn messages(&self) -> Result<()> {
        let text = self.make("talk", ChannelType::Text).await?;
        let message = text
            .send_message(&self.http, CreateMessage::new().content("hello"))
            .await?
            .id;
        self.bot.sees(0, &format!("message {message}")).await?;
        let edit = EditMessage::new().content("hello again");
        text.edit_message(&self.http, message, edit).await?;
        self.bot.sees(0, &format!("edited {message}")).await
    }

    /// Behind a proxy serenity does not pace itself: what is refused reaches the caller, and is not made again.
    async fn rapid_calls(&self) -> Result<()> {
        let limit = json!({"route": "GET /channels/{channel.id}", "limit": 20, "window": 2});
        self.simulator.post("ratelimit", limit).await?;
        let mark = self.simulator.mark().await?;
        let mut calls = JoinSet::new();
        for _ in 0..60 {
            let (http, lobby) = (self.http.clone(), self.lobby);
            calls.spawn(async move { http.get_channel(lobby).await.map(drop) });
        }
        let mut told = Vec::new();
        while let Some(done) = calls.join_next().await {
            told.push(match done? {
                Ok(()) => 200,
                Err(error) => u64::from(status(&error).ok_or_else(|| error.to_string())?),
            });
        }
        self.simulator
            .post("ratelimit", json!({"clear": true}))
            .await?;
        let mut answered = self.simulator.statuses(mark).await?;
        told.sort_unstable();
        answered.sort_unstable();
        let good = told.iter().filter(|status| **status == 200).count();
        let refused = told.iter().filter(|status| **status == 429).count();
        ensure(
            told == answered && good >= 20 && good + refused == 60,
            format!("the caller was told {told:?}, the simulator answered {answered:?}"),
        )
    }

    /// After the trouble a RESUME follows, no IDENTIFY, and what happened meanwhile is replayed.
    async fn resumes(&self, trouble: Trouble) -> Result<()> {
        let mark = self.simulator.mark().await?;
        let (dispatched, happened) = self.bot.counts();
        let person = &self.people[1];
        match trouble {
            Trouble::Reconnect => self.simulator.post("reconnect", json!({})).await?,
            Trouble::Cut => self.simulator.post("drop", json!({})).await?,
            Trouble::InvalidSession => {
                self.simulator
                    .post("invalid_session", json!({"resumable": true}))
                    .await?
            }
        };
        self.simulator
            .voice(person, Some(&self.lobby.to_string()))
            .await?;
        self.bot.receives(dispatched, "RESUMED").await?;
        self.bot
            .sees(happened, &format!("voice {person} {}", self.lobby))
            .await?;
        ensure(
            self.simulator.since(mark, "identified").await?.is_empty(),
            "an IDENTIFY was spent",
        )?;
        ensure(
            !self.simulator.since(mark, "resumed").await?.is_empty(),
            "the journal knows no RESUME",
        )?;
        self.simulator.voice(person, None).await?;
        self.bot
            .sees(happened, &format!("voice {person} nowhere"))
            .await
    }

    async fn op_9_final(&self) -> Result<()> {
        let mark = self.simulator.mark().await?;
        let (dispatched, _) = self.bot.counts();
        self.simulator
            .post("invalid_session", json!({"resumable": false}))
            .await?;
        self.identifies_once(mark, dispatched).await
    }

    /// serenity gives a connection without answers up together with its session.
    async fn muted_acks(&self) -> Result<()> {
        let mark = self.simulator.mark().await?;
        let (dispatched, happened) = self.bot.counts();
        self.simulator
            .post("mute_acks", json!({"ms": 20_000}))
            .await?;
        self.simulator.until(mark, "identified").await?;
        self.simulator
            .post("mute_acks", json!({"on": false}))
            .await?;
        self.identifies_once(mark, dispatched).await?;
        let person = &self.people[1];
        self.simulator
            .voice(person, Some(&self.lobby.to_string()))
            .await?;
        self.bot
            .sees(happened, &format!("voice {person} {}", self.lobby))
            .await?;
        self.simulator.voice(person, None).await?;
        self.bot
            .sees(happened, &format!("voice {person} nowhere"))
            .await
    }

    /// One IDENTIFY follows, no RESUME, and the guild is there again.
    async fn identifies_once(&self, mark: u64, dispatched: usize) -> Result<()> {
        self.bot.receives(dispatched, "GUILD_CREATE").await?;
        ensure(
            self.simulator.since(mark, "identified").await?.len() == 1,
            "not one IDENTIFY",
        )?;
        ensure(
            self.simulator.since(mark, "resumed").await?.is_empty(),
            "a session was resumed",
        )
    }

    /// The error reaches the caller, and the next call works.
    async fn refusal(&self, control: &str, fault: Value, wanted: u16) -> Result<()> {
        self.simulator.post(control, fault).await?;
        let mark = self.simulator.mark().await?;
        match self.http.get_channel(self.lobby).await {
            Err(error) => ensure(status(&error) == Some(wanted), error.to_string())?,
            Ok(_) => return Err("the fault did not strike".into()),
        }
        self.http.get_channel(self.lobby).await?;
        let statuses = self.simulator.statuses(mark).await?;
        ensure(statuses == [wanted.into(), 200], format!("{statuses:?}"))
    }

    async fn server_error(&self) -> Result<()> {
        let fault = json!({"count": 1, "status": 502, "match": "GET /channels/"});
        self.refusal("fail5xx", fault, 502).await
    }

    async fn rate_limited(&self) -> Result<()> {
        self.refusal("ratelimit", json!({"count": 1}), 429).await
    }

    /// What was sent to the session that the client had at the time; one that it gave up still gets its events.
    async fn sent(&self) -> Result<Vec<String>> {
        let journal = self.simulator.get("journal").await?;
        let mut session = &Value::Null;
        let mut sent = Vec::new();
        for entry in journal.as_array().ok_or("the journal is no list")? {
            if entry["kind"] == "identified" {
                session = &entry["session"];
            } else if entry["kind"] == "dispatched" && entry["session"] == *session {
                sent.extend(entry["t"].as_str().map(str::to_owned));
            }
        }
        Ok(sent)
    }

    /// By name alone, since serenity does not show the numbers. RESUMED is no event of the session's.
    async fn nothing_lost_or_doubled(&self) -> Result<()> {
        let mut last = String::new();
        for _ in 0..50 {
            let mut sent = self.sent().await?;
            let mut got = self.bot.with(|seen| seen.dispatched.clone());
            for names in [&mut sent, &mut got] {
                names.retain(|name| name != "RESUMED");
                names.sort();
            }
            if sent == got {
                return Ok(());
            }
            last = format!("{} were sent, {} came", sent.len(), got.len());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(last.into())
    }

    /// An event that serenity does not know, or cannot read, comes as an unknown one.
    async fn all_parsed(&self) -> Result<()> {
        let mut unknown = self.bot.with(|seen| seen.unknown.clone());
        unknown.retain(|name| !NO_TYPE.contains(&name.as_str()));
        ensure(unknown.is_empty(), format!("{unknown:?}"))
    }

    /// Apart from what comes of its not pacing itself, and of the pause before it identifies anew.
    async fn no_complaint(&self) -> Result<()> {
        let complaints = self.simulator.since(0, "complaint").await?;
        let mut told: Vec<_> = complaints
            .iter()
            .map(|entry| entry["what"].as_str().unwrap_or_default())
            .collect();
        told.retain(|what| !(what.starts_with("GET /channels/") && what.ends_with(" rate limit")));
        let silences = told
            .extract_if(.., |what| *what == "missed its heartbeats")
            .count();
        ensure(
            told.is_empty() && silences <= RESTARTS,
            format!(
                "the simulator complains: {}; silences: {silences}",
                told.join("; ")
            ),
        )
    }
}

async fn run() -> Result<bool> {
    let checks = Checks::start().await?;
    let mut failed = false;
    report(&mut failed, "login", checks.login().await);
    if failed {
        return Ok(false);
    }
    report(&mut failed, "voice_states", checks.voice_states().await);
    report(&mut failed, "channels", checks.channels().await);
    report(&mut failed, "messages", checks.messages().await);
    report(&mut failed, "rapid_calls", checks.rapid_calls().await);
    for (name, trouble) in [
        ("resume_after_op_7", Trouble::Reconnect),
        ("resume_after_a_cut", Trouble::Cut),
        ("op_9_resumable", Trouble::InvalidSession),
    ] {
        report(&mut failed, name, checks.resumes(trouble).await);
    }
    report(&mut failed, "op_9_final", checks.op_9_final().await);
    report(&mut failed, "muted_acks", checks.muted_acks().await);
    report(&mut failed, "server_error", checks.server_error().await);
    report(&mut failed, "rate_limited", checks.rate_limited().await);
    report(
        &mut failed,
        "nothing_lost_or_doubled",
        checks.nothing_lost_or_doubled().await,
    );
    report(&mut failed, "all_parsed", checks.all_parsed().await);
    report(&mut failed, "no_complaint", checks.no_complaint().await);
    Ok(!failed)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    exit_code(run().await)
}
