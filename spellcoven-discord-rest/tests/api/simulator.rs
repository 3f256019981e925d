//! Against the simulated Discord, which shares no code with this crate.

use std::{future::IntoFuture as _, time::Duration};

use spellcoven_discord_rest::{
    BotToken, DeletedChannel, DiscordRestClient, DiscordRestClientBuilder, HyperTransport,
    RestErrorKind,
};
use spellcoven_discord_sim::{
    Bot, EntryKind, GuildId, Permissions, RateLimit, RestFault, RestFaultKind, Scope, Sim,
};
use twilight_model::id::{Id, marker::GuildMarker};

use super::support::assert_kind;

struct World {
    sim: Sim,
    guild: GuildId,
    bot: Bot,
}

impl World {
    fn new() -> Self {
        Self::of(Sim::builder().seed(7).build())
    }

    fn of(sim: Sim) -> Self {
        let guild = sim.add_guild("Spellcoven");
        let bot = sim.add_bot("bot", guild);
        Self { sim, guild, bot }
    }

    fn guild(&self) -> Id<GuildMarker> {
        Id::new(self.guild.get())
    }

    fn builder(&self) -> DiscordRestClientBuilder {
        let sim = self.sim.clone();
        let transport = HyperTransport::over(move |_| {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let sim = sim.clone();
            tokio::spawn(async move { sim.serve_connection(far).await });
            async { Ok(near) }
        });
        DiscordRestClient::builder(BotToken::new(self.bot.token.clone()).unwrap())
            .base_url("http://discord.test/api/v10")
            .transport(transport)
            .seed(7)
    }

    fn client(&self) -> DiscordRestClient {
        self.builder().build().unwrap()
    }

    /// How many channels of the name there are.
    fn named(&self, name: &str) -> usize {
        self.sim
            .channels(self.guild)
            .iter()
            .filter(|channel| channel.name == name)
            .count()
    }

    /// Statuses of all requests so far.
    fn statuses(&self) -> Vec<u16> {
        let entries = self.sim.journal();
        let of = |kind: &EntryKind| match kind {
            EntryKind::RestRequest(request) => Some(request.status),
            _ => None,
        };
        entries
            .entries()
            .iter()
            .filter_map(|entry| of(&entry.what))
            .collect()
    }

    fn no_audit_log(&self) {
        let bits = Permissions(Permissions::DEFAULT_BOT.0 & !Permissions::VIEW_AUDIT_LOG.0);
        self.sim
            .set_permissions(self.bot.user_id, self.guild, bits)
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_each() {
    let world = World::new();
    let client = world.client();
    let category = world.sim.add_category(world.guild, "Tables");
    let text = world.sim.add_text_channel(world.guild, "general");
    let made = client
        .create_voice_channel(world.guild(), "Table 1")
        .parent_id(Id::new(category.get()))
        .user_limit(4)
        .reason("a game über/all")
        .request_id("r1")
        .await
        .unwrap();
    assert_eq!(
        (made.name.as_deref(), made.user_limit),
        (Some("Table 1"), Some(4))
    );
    assert!(
        client
            .get_channels(world.guild())
            .await
            .unwrap()
            .iter()
            .any(|channel| channel.id == made.id)
    );
    assert_eq!(client.get_channel(made.id).await.unwrap().id, made.id);
    let message = client
        .send_message(Id::new(text.get()), "@everyone hello")
        .await
        .unwrap();
    assert_eq!(message.content, "@everyone hello");
    let gone = client.delete_channel(made.id).reason("over").await.unwrap();
    assert_eq!(gone.channel().map(|channel| channel.id), Some(made.id));
    assert!(
        client
            .get_gateway_bot()
            .await
            .unwrap()
            .url
            .starts_with("ws")
    );
    assert!(
        world.sim.complaints().is_empty(),
        "{:?}",
        world.sim.complaints()
    );
    let journal = world.sim.journal();
    let reasons: Vec<_> = journal
        .entries()
        .iter()
        .filter_map(|entry| match &entry.what {
            EntryKind::RestRequest(request) => request.reason.clone(),
            _ => None,
        })
        .collect();
    assert!(
        reasons[0].starts_with("a game über/all (request r1."),
        "{reasons:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn errors() {
    let world = World::new();
    let client = world.client();
    let error = client.get_channel(Id::new(5)).await.unwrap_err();
    assert_kind!(error, RestErrorKind::NotFound);
    assert_eq!(error.discord_code(), Some(10003));
    assert_kind!(
        client.delete_channel(Id::new(5)).await.unwrap_err(),
        RestErrorKind::NotFound
    );
    let error = client
        .create_voice_channel(world.guild(), "x")
        .parent_id(Id::new(5))
        .await
        .unwrap_err();
    assert_kind!(
        error,
        RestErrorKind::Discord { .. } | RestErrorKind::NotFound
    );
    world
        .sim
        .set_permissions(world.bot.user_id, world.guild, Permissions(0))
        .unwrap();
    let error = client
        .create_voice_channel(world.guild(), "x")
        .await
        .unwrap_err();
    assert_kind!(error, RestErrorKind::Forbidden);

    let mut world = world;
    world.bot.token = "not.a.token".to_owned();
    let client = world.client();
    assert_kind!(
        client.get_gateway_bot().await.unwrap_err(),
        RestErrorKind::TokenInvalid
    );
}

fn ambiguous() -> [RestFaultKind; 4] {
    [
        RestFaultKind::Status(502),
        RestFaultKind::HangUp,
        RestFaultKind::Hang(Duration::from_secs(60)),
        RestFaultKind::Delay(Duration::from_secs(60)),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_create_happens_once_whatever_the_answer() {
    for audit_log in [true, false] {
        for after in [true, false] {
            for what in ambiguous() {
                let world = World::new();
                if !audit_log {
                    // Something must be visible, or absence would prove nothing.
                    world.sim.add_text_channel(world.guild, "general");
                    world.no_audit_log();
                }
                let fault = RestFault::once("POST /guilds/", what.clone());
                world.sim.fail_rest(if after {
                    fault.after_execution()
                } else {
                    fault
                });
                let made = world
                    .client()
                    .create_voice_channel(world.guild(), "Table")
                    .await
                    .unwrap();
                let story = format!("{what:?}, after: {after}, audit log: {audit_log}");
                assert_eq!(world.named("Table"), 1, "{story}");
                let channels = world.sim.channels(world.guild);
                assert!(
                    channels
                        .iter()
                        .any(|channel| channel.id.get() == made.id.get()),
                    "{story}"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_lost_its_answer_is_a_success() {
    for what in ambiguous() {
        let world = World::new();
        let room = world.sim.add_voice_channel(world.guild, "Table");
        world
            .sim
            .fail_rest(RestFault::once("DELETE /channels/", what).after_execution());
        let gone = world
            .client()
            .delete_channel(Id::new(room.get()))
            .await
            .unwrap();
        assert_eq!(gone, DeletedChannel::AlreadyGone);
        assert_eq!(world.named("Table"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_sent_once() {
    for what in ambiguous() {
        let world = World::new();
        let text = world.sim.add_text_channel(world.guild, "general");
        world
            .sim
            .fail_rest(RestFault::once("POST /channels/", what).after_execution());
        world
            .client()
            .send_message(Id::new(text.get()), "hi")
            .await
            .unwrap();
        assert_eq!(world.sim.messages(text).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_429_of_any_scope_is_waited_for() {
    for scope in [Scope::User, Scope::Shared, Scope::Global] {
        let world = World::new();
        let retry_after = Duration::from_millis(2500);
        world.sim.fail_rest(RestFault::once(
            "POST /guilds/",
            RestFaultKind::TooManyRequests { retry_after, scope },
        ));
        world
            .client()
            .create_voice_channel(world.guild(), "Table")
            .await
            .unwrap();
        assert!(world.sim.now() >= retry_after);
        assert_eq!(
            (world.named("Table"), world.statuses()),
            (1, vec![429, 201])
        );
    }
}

/// Many calls at once, with Discord's limits: all done, and no 429.
#[tokio::test(start_paused = true)]
async fn no_429_is_provoked() {
    let sim = Sim::builder().seed(7).rate_limit(
        "POST /channels/{channel_id}/messages",
        RateLimit::per_seconds(5, 5),
    );
    let world = World::of(sim.build());
    let client = world
        .builder()
        .max_wait(Duration::from_secs(600))
        .build()
        .unwrap();
    let rooms: Vec<_> = (0..3)
        .map(|n| world.sim.add_text_channel(world.guild, &format!("r{n}")))
        .collect();
    let mut calls = Vec::new();
    for n in 0..60 {
        let room = Id::new(rooms[n % 3].get());
        calls.push(tokio::spawn(
            client.send_message(room, format!("{n}")).into_future(),
        ));
    }
    let mut reads = Vec::new();
    for _ in 0..100 {
        reads.push(tokio::spawn(
            client.get_channels(world.guild()).into_future(),
        ));
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    for read in reads {
        read.await.unwrap().unwrap();
    }
    assert!(!world.statuses().contains(&429), "{:?}", world.statuses());
    for room in rooms {
        let texts: Vec<_> = world
            .sim
            .messages(room)
            .into_iter()
            .map(|message| message.content)
            .collect();
        assert_eq!(texts.len(), 20);
    }
}

/// Over many seeds, faults of all sorts before and after execution, calls at
/// once: each call that succeeds has a channel of its own, and each that fails
/// has at most one nobody knows of.
#[tokio::test(start_paused = true)]
async fn creates_under_random_faults() {
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let world = World::of(Sim::builder().seed(seed).no_rate_limits().build());
        world.sim.add_text_channel(world.guild, "general");
        if rng.bool() {
            world.no_audit_log();
        }
        for _ in 0..rng.usize(1..6) {
            let what = ambiguous()[rng.usize(..4)].clone();
            let matches = ["POST /guilds/", "GET /guilds/", ""][rng.usize(..3)];
            let fault = RestFault::once(matches, what).times(rng.u32(1..3));
            world.sim.fail_rest(if rng.bool() {
                fault.after_execution()
            } else {
                fault
            });
        }
        let client = world.builder().seed(seed).build().unwrap();
        let calls: Vec<_> = (0..4)
            .map(|n| {
                // Two pairs of equal creates.
                let create = client.create_voice_channel(world.guild(), format!("Table {}", n / 2));
                tokio::spawn(create.into_future())
            })
            .collect();
        let (mut made, mut unknown) = (Vec::new(), 0);
        for call in calls {
            match call.await.unwrap() {
                Ok(channel) => made.push(channel.id.get()),
                Err(error) if *error.kind() == RestErrorKind::OutcomeUnknown => unknown += 1,
                Err(_) => {}
            }
        }
        let exist: Vec<_> = world
            .sim
            .channels(world.guild)
            .iter()
            .map(|channel| channel.id.get())
            .collect();
        let count = exist.len();
        assert!(
            made.iter().all(|id| exist.contains(id)),
            "seed {seed}: a channel that does not exist"
        );
        let distinct: std::collections::BTreeSet<_> = made.iter().collect();
        assert_eq!(
            distinct.len(),
            made.len(),
            "seed {seed}: two calls got one channel"
        );
        let tables = world.named("Table 0") + world.named("Table 1");
        assert!(
            tables >= made.len() && tables <= made.len() + unknown,
            "seed {seed}: {count} {tables} {made:?} {unknown}"
        );
    }
}
