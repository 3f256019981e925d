//! twilight, unmodified, through the list of checks in ../README.md against a running discord-sim.
//!
//! Prints one line for each check; exits 1 if one failed.

mod bot;
#[path = "../rust/report.rs"]
mod report;
#[path = "../rust/simulator.rs"]
mod simulator;

use std::{process::ExitCode, time::Duration};

use bot::Bot;
use report::{exit_code, report};
use serde_json::json;
use simulator::{Result, Simulator, ensure, variable};
use tokio::task::JoinSet;
use twilight_http::{Client, error::ErrorType};
use twilight_model::{
    channel::{
        ChannelType,
        permission_overwrite::{PermissionOverwrite, PermissionOverwriteType},
    },
    guild::Permissions,
    id::{
        Id,
        marker::{ChannelMarker, GuildMarker},
    },
};

struct Checks {
    simulator: Simulator,
    bot: Bot,
    http: std::sync::Arc<Client>,
    guild: Id<GuildMarker>,
    lobby: Id<ChannelMarker>,
    people: Vec<String>,
}

/// What makes a session resume.
#[derive(Clone, Copy)]
enum Trouble {
    Reconnect,
    Cut,
    InvalidSession,
    MutedAcks,
}

impl Checks {
    async fn start() -> Result<Self> {
        let simulator = Simulator::from_environment()?;
        let token = variable("DISCORD_BOT_TOKEN")?;
        let gateway_url = variable("DISCORD_GATEWAY_URL")?;
        let base = variable("DISCORD_API_BASE")?;
        // twilight takes an authority, and appends `/api/v10` itself.
        let authority = base
            .strip_prefix("http://")
            .and_then(|rest| rest.split('/').next());
        let authority = authority.ok_or("DISCORD_API_BASE is not http")?.to_owned();
        let people = simulator.get("info").await?["people"]
            .as_array()
            .map(|people| {
                people
                    .iter()
                    .filter_map(|person| Some(person["user_id"].as_str()?.to_owned()))
                    .collect()
            })
            .ok_or("no people")?;
        Ok(Self {
            simulator,
            bot: Bot::start(token.clone(), gateway_url),
            http: Client::builder()
                .token(token)
                .proxy(authority, true)
                .build()
                .into(),
            guild: variable("GUILD_ID")?.parse()?,
            lobby: variable("VOICE_CHANNEL_ID")?.parse()?,
            people,
        })
    }

    async fn login(&self) -> Result<()> {
        self.bot.receives(0, "READY").await?;
        self.bot
            .sees(0, &format!("guild {} {}", self.guild, self.lobby))
            .await?;
        let application = self.http.current_user_application().await?.model().await?;
        let user = self.http.current_user().await?.model().await?;
        ensure(
            application.id.get() == user.id.get(),
            "the application is another",
        )
    }

    async fn make(&self, name: &str, kind: ChannelType) -> Result<Id<ChannelMarker>> {
        Ok(self
            .http
            .create_guild_channel(self.guild, name)
            .kind(kind)
            .await?
            .model()
            .await?
            .id)
    }

    async fn voice_states(&self) -> Result<()> {
        let person = &self.people[0];
        let room = self.make("Next door", ChannelType::GuildVoice).await?;
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
        self.http.delete_channel(room).await?;
        Ok(())
    }

    async fn channels(&self) -> Result<()> {
        let overwrites = [PermissionOverwrite {
            id: self.guild.cast(),
            kind: PermissionOverwriteType::Role,
            allow: Permissions::CONNECT,
            deny: Permissions::empty(),
        }];
        let room = self
            .http
            .create_guild_channel(self.guild, "Room")
            .kind(ChannelType::GuildVoice)
            .user_limit(5)
            .permission_overwrites(&overwrites)
            .await?
            .model()
            .await?;
        self.bot.sees(0, &format!("created {}", room.id)).await?;
        ensure(room.user_limit == Some(5), "the limit is another")?;
        let made = room.permission_overwrites.unwrap_or_default();
        ensure(
            made.iter().any(|one| {
                one.kind == PermissionOverwriteType::Role && one.allow == Permissions::CONNECT
            }),
            "the overwrite is not there",
        )?;
        let room = self
            .http
            .update_channel(room.id)
            .name("Room two")
            .await?
            .model()
            .await?;
        self.bot.sees(0, &format!("changed {}", room.id)).await?;
        ensure(
            room.name.as_deref() == Some("Room two"),
            "the name is the old one",
        )?;
        self.http.delete_channel(room.id).await?;
        self.bot.sees(0, &format!("deleted {}", room.id)).await
    }

    async fn messages(&self) -> Result<()> {
        let text = self.make("talk", ChannelType::GuildText).await?;
        let message = self
            .http
            .create_message(text)
            .content("hello")
            .await?
            .model()
            .await?
            .id;
        self.bot.sees(0, &format!("message {message}")).await?;
        self.http
            .update_message(text, message)
            .content(Some("hello again"))
            .await?;
        self.bot.sees(0, &format!("edited {message}")).await
    }

    async fn rapid_calls(&self) -> Result<()> {
        let limit = json!({"route": "GET /channels/{channel.id}", "limit": 20, "window": 2});
        self.simulator.post("ratelimit", limit).await?;
        let mark = self.simulator.mark().await?;
        let mut calls = JoinSet::new();
        for _ in 0..60 {
            let (http, lobby) = (self.http.clone(), self.lobby);
            calls.spawn(async move { http.channel(lobby).await.map(drop) });
        }
        while let Some(done) = calls.join_next().await {
            done??;
        }
        self.simulator
            .post("ratelimit", json!({"clear": true}))
            .await?;
        let statuses = self.simulator.statuses(mark).await?;
        let refused = statuses.iter().filter(|status| **status == 429).count();
        ensure(
            statuses.len() == 60 && refused == 0,
            format!("{} calls, {refused} were answered 429", statuses.len()),
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
            Trouble::MutedAcks => {
                self.simulator
                    .post("mute_acks", json!({"ms": 20_000}))
                    .await?
            }
        };
        if matches!(trouble, Trouble::MutedAcks) {
            // Any event would tell twilight that the connection lives.
            self.simulator.until(mark, "resumed").await?;
            self.simulator
                .post("mute_acks", json!({"on": false}))
                .await?;
        }
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
        self.bot.receives(dispatched, "GUILD_CREATE").await?;
        ensure(
            self.simulator.since(mark, "identified").await?.len() == 1,
            "not one IDENTIFY",
        )
    }

    /// twilight does not try again by itself: the error reaches the caller, and the next call works.
    async fn server_error(&self) -> Result<()> {
        let fault = json!({"count": 1, "status": 502, "match": "GET /channels/"});
        self.simulator.post("fail5xx", fault).await?;
        match self.http.channel(self.lobby).await {
            Err(error) => {
                let seen = matches!(error.kind(), ErrorType::Response { status, .. } if status.get() == 502);
                // A body that is no JSON of Discord's is told as a parsing error.
                ensure(
                    seen || matches!(error.kind(), ErrorType::Parsing { .. }),
                    format!("{error}"),
                )?;
            }
            Ok(_) => return Err("the fault did not strike".into()),
        }
        self.http.channel(self.lobby).await?;
        Ok(())
    }

    async fn rate_limited(&self) -> Result<()> {
        self.simulator
            .post("ratelimit", json!({"count": 1}))
            .await?;
        let mark = self.simulator.mark().await?;
        self.http.channel(self.lobby).await?;
        let statuses = self.simulator.statuses(mark).await?;
        ensure(statuses == [429, 200], format!("{statuses:?}"))
    }

    /// Each event that the journal says was dispatched arrived, once. RESUMED is no event of the session's.
    async fn nothing_lost_or_doubled(&self) -> Result<()> {
        let mut last = String::new();
        for _ in 0..50 {
            let mut sent: Vec<(u64, String)> = self
                .simulator
                .since(0, "dispatched")
                .await?
                .iter()
                .filter_map(|entry| Some((entry["seq"].as_u64()?, entry["t"].as_str()?.to_owned())))
                .filter(|(_, name)| name != "RESUMED")
                .collect();
            let mut got: Vec<_> = self.bot.with(|seen| {
                seen.dispatched
                    .iter()
                    .filter(|(_, name)| name != "RESUMED")
                    .cloned()
                    .collect()
            });
            sent.sort();
            got.sort();
            if sent == got {
                return Ok(());
            }
            last = format!("{} were sent, {} came", sent.len(), got.len());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(last.into())
    }

    async fn all_parsed(&self) -> Result<()> {
        let unparsed = self.bot.with(|seen| seen.unparsed.clone());
        ensure(unparsed.is_empty(), format!("{unparsed:?}"))
    }

    async fn no_complaint(&self) -> Result<()> {
        let complaints = self.simulator.since(0, "complaint").await?;
        let told: Vec<_> = complaints
            .iter()
            .map(|entry| entry["what"].to_string())
            .collect();
        ensure(
            told.is_empty(),
            format!("the simulator complains: {}", told.join("; ")),
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
    report(
        &mut failed,
        "muted_acks",
        checks.resumes(Trouble::MutedAcks).await,
    );
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
