//! `DiscordRooms` against the simulated Discord, without a socket in between.

use bytes::Bytes;
use http::{Request, Response};
use spellcoven_discord_rest::{BotToken, BoxFuture, DiscordRestClient, Transport, TransportError};
use spellcoven_discord_sim::{Bot, GuildId, Permissions, RestFault, RestFaultKind, Scope, Sim};
use spellcoven_hub::{
    Snowflake,
    server::{CreateRoom, DiscordRooms, RoomError, RoomService, VOICE_CHANNEL},
};

struct SimTransport(Sim);

impl Transport for SimTransport {
    fn send(
        &self,
        request: Request<Bytes>,
    ) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
        let (parts, body) = request.into_parts();
        let mut asked =
            spellcoven_discord_sim::Request::new(parts.method.as_str(), parts.uri.path());
        for (name, value) in &parts.headers {
            asked = asked.header(name.as_str(), value.to_str().unwrap());
        }
        asked.body = body;
        let answer = self.0.rest(&asked);
        Box::pin(async move {
            if answer.hang_up {
                return Err(TransportError::maybe_sent("hung up"));
            }
            let mut response = Response::builder().status(answer.status);
            for (name, value) in answer.headers {
                response = response.header(name, value);
            }
            Ok(response.body(answer.body).unwrap())
        })
    }
}

struct World {
    sim: Sim,
    guild: GuildId,
    bot: Bot,
    rooms: DiscordRooms,
}

fn world() -> World {
    let sim = Sim::builder().seed(7).build();
    let guild = sim.add_guild("Spellcoven");
    let bot = sim.add_bot("bot", guild);
    let client = DiscordRestClient::builder(BotToken::new(bot.token.clone()).unwrap())
        .base_url("http://discord.example/api/v10")
        .transport(SimTransport(sim.clone()))
        .seed(7)
        .build()
        .unwrap();
    let rooms = DiscordRooms::new(client, guild.to_string().parse().unwrap());
    World {
        sim,
        guild,
        bot,
        rooms,
    }
}

fn wanted(parent_id: Option<Snowflake>) -> CreateRoom {
    CreateRoom {
        name: "duel".into(),
        parent_id,
        user_limit: 4,
        request_id: "request-1".into(),
        user: "alice".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_is_made_found_and_deleted() {
    let World {
        sim, guild, rooms, ..
    } = world();
    let category: Snowflake = sim
        .add_category(guild, "Games")
        .to_string()
        .parse()
        .unwrap();
    let created = rooms
        .create_voice_channel(wanted(Some(category)))
        .await
        .unwrap();
    assert_eq!(
        (created.name.as_str(), created.parent_id, created.user_limit),
        ("duel", Some(category), 4)
    );
    let found = rooms.channel(created.channel_id).await.unwrap().unwrap();
    assert_eq!(
        (found.kind, found.parent_id),
        (VOICE_CHANNEL, Some(category))
    );
    assert_eq!(found.guild_id.unwrap().to_string(), guild.to_string());
    let story = sim.journal().to_string();
    assert!(
        story.contains("request-1"),
        "the request id is in the audit log: {story}"
    );
    rooms
        .delete_channel(created.channel_id, "request-2")
        .await
        .unwrap();
    assert_eq!(rooms.channel(created.channel_id).await.unwrap(), None);
    let again = rooms.delete_channel(created.channel_id, "request-3").await;
    assert!(matches!(again, Err(RoomError::NotFound)), "{again:?}");
    rooms.check().await.unwrap();
    assert!(rooms.channel(0.into()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_404_that_is_not_discords_says_nothing_of_rooms() {
    let World { sim, rooms, .. } = world();
    let created = rooms.create_voice_channel(wanted(None)).await.unwrap();
    let page = RestFaultKind::Body {
        status: 404,
        content_type: "text/html".into(),
        body: "<html>no such page</html>".into(),
    };
    sim.fail_rest(RestFault::once("GET /channels/", page.clone()));
    let found = rooms.channel(created.channel_id).await;
    assert!(
        matches!(found, Err(RoomError::Upstream { .. })),
        "{found:?}"
    );
    sim.fail_rest(RestFault::once("DELETE /channels/", page));
    let ended = rooms.delete_channel(created.channel_id, "request-1").await;
    assert!(
        matches!(ended, Err(RoomError::Upstream { .. })),
        "{ended:?}"
    );
    assert!(rooms.channel(created.channel_id).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn refusals_are_told_apart() {
    let World {
        sim,
        guild,
        bot,
        rooms,
    } = world();
    let lobby: Snowflake = sim
        .add_voice_channel(guild, "Lobby")
        .to_string()
        .parse()
        .unwrap();
    let missing = rooms.create_voice_channel(wanted(Some(5.into()))).await;
    assert!(matches!(missing, Err(RoomError::NotFound)), "{missing:?}");
    let no_category = rooms.create_voice_channel(wanted(Some(lobby))).await;
    assert!(
        matches!(&no_category, Err(RoomError::Rejected { field, .. }) if field == "parentId")
            || matches!(no_category, Err(RoomError::NotFound)),
        "{no_category:?}"
    );
    sim.set_permissions(bot.user_id, guild, Permissions::VIEW_CHANNEL)
        .unwrap();
    let denied = rooms.create_voice_channel(wanted(None)).await;
    assert!(matches!(denied, Err(RoomError::Forbidden)), "{denied:?}");
    sim.fail_rest(RestFault {
        times: 100,
        ..RestFault::once("GET /", RestFaultKind::Status(503))
    });
    let down = rooms.check().await;
    assert!(
        matches!(down, Err(RoomError::Unavailable { .. })),
        "{down:?}"
    );
    sim.clear_rest_faults();
    let retry_after = std::time::Duration::from_secs(600);
    let limited = RestFaultKind::TooManyRequests {
        retry_after,
        scope: Scope::User,
    };
    sim.fail_rest(RestFault {
        times: 100,
        ..RestFault::once("GET /", limited)
    });
    let limited = rooms.check().await;
    assert!(
        matches!(limited, Err(RoomError::RateLimited { .. })),
        "{limited:?}"
    );
}
