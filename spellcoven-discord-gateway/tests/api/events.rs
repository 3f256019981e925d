use std::time::Duration;

use serde_json::{Value, json};
use spellcoven_discord_gateway::{Event, EventFilter, EventKind, GatewayEvent, Id};
use twilight_model::channel::ChannelType;

use crate::support::*;

fn parse(name: &str, data: Value) -> Event {
    GatewayEvent::parse(1, name, &data.to_string())
        .unwrap()
        .unwrap()
        .event
}

#[test]
fn guild_create_is_a_snapshot_or_a_stub() {
    let event = parse(
        "GUILD_CREATE",
        json!({
            "id": "10", "name": "G", "unavailable": false, "large": false, "roles": [{"id": "10"}],
            "channels": [
                {"id": "11", "type": 2, "name": "Lobby", "parent_id": null, "user_limit": 4, "position": 0},
                {"id": 12, "type": 4, "name": "Cat", "flags": null},
                {"id": "13", "type": 2, "name": "___hidden___", "flags": 1 << 17, "user_limit": null},
                {"id": "14", "type": 999, "name": null},
            ],
            "voice_states": [{
                "channel_id": "11", "user_id": "20", "session_id": "s", "deaf": false, "mute": false,
                "self_deaf": true, "self_mute": false, "self_video": true, "suppress": false,
                "request_to_speak_timestamp": null,
            }],
            "members": [{"user": {"id": "20"}}], "presences": [], "threads": [],
        }),
    );
    let Event::GuildCreate(guild) = event else {
        panic!("{event:?}")
    };
    assert_eq!(
        (guild.id.get(), guild.name.as_str(), guild.channels.len()),
        (10, "G", 4)
    );
    assert!(guild.channels[0].is_room() && !guild.channels[0].is_obfuscated());
    assert_eq!(
        (guild.channels[0].user_limit, guild.channels[1].id.get()),
        (4, 12)
    );
    assert_eq!(guild.channels[1].kind, ChannelType::GuildCategory);
    assert!(guild.channels[2].is_obfuscated());
    assert_eq!(guild.channels[3].kind, ChannelType::Unknown(255));
    assert!(
        guild
            .channels
            .iter()
            .all(|channel| channel.guild_id == Some(guild.id))
    );
    let voice = &guild.voice_states[0];
    assert_eq!((voice.guild_id, voice.user_id.get()), (Some(guild.id), 20));
    assert!(voice.flags.self_deaf && voice.flags.self_video && !voice.flags.self_mute);

    let stub = parse("GUILD_CREATE", json!({"id": "10", "unavailable": true}));
    assert!(matches!(stub, Event::GuildUnavailable { id } if id.get() == 10));
    let bare = parse(
        "GUILD_CREATE",
        json!({"id": "10", "channels": null, "voice_states": null}),
    );
    assert!(matches!(bare, Event::GuildCreate(_)));
}

#[test]
fn guild_delete_tells_an_outage_from_a_removal() {
    let outage = parse("GUILD_DELETE", json!({"id": "10", "unavailable": true}));
    assert!(matches!(outage, Event::GuildUnavailable { .. }));
    for data in [
        json!({"id": "10"}),
        json!({"id": "10", "unavailable": false}),
        json!({"id": 10, "unavailable": null}),
    ] {
        assert!(matches!(
            parse("GUILD_DELETE", data),
            Event::GuildDelete { .. }
        ));
    }
}

#[test]
fn voice_states_tolerate_what_is_absent_or_null() {
    let event = parse(
        "VOICE_STATE_UPDATE",
        json!({"user_id": "20", "guild_id": "10", "channel_id": null, "self_mute": null}),
    );
    let Event::VoiceStateUpdate(state) = event else {
        panic!("{event:?}")
    };
    assert_eq!((state.channel_id, state.session_id.as_str()), (None, ""));
}

#[test]
fn rate_limited_and_voice_server_parse() {
    let event = parse(
        "RATE_LIMITED",
        json!({"opcode": 8, "retry_after": 2.5, "meta": {"guild_id": "1", "nonce": "n"}}),
    );
    let Event::RateLimited {
        opcode,
        retry_after,
        guild_id,
        nonce,
    } = event
    else {
        panic!("{event:?}")
    };
    assert_eq!(
        (opcode, retry_after.duration()),
        (8, Duration::from_millis(2500))
    );
    assert_eq!((guild_id, nonce.as_deref()), (Some(Id::new(1)), Some("n")));
    for odd in [-1.0, 1e300] {
        let event = parse("RATE_LIMITED", json!({"opcode": 8, "retry_after": odd}));
        let Event::RateLimited { retry_after, .. } = event else {
            panic!("{event:?}")
        };
        assert!(retry_after.duration() <= Duration::from_secs(86_400));
    }
    let event = parse(
        "VOICE_SERVER_UPDATE",
        json!({"guild_id": "1", "token": "hush", "endpoint": null}),
    );
    assert!(!format!("{event:?}").contains("hush"));
    let Event::VoiceServerUpdate(update) = event else {
        panic!("{event:?}")
    };
    assert_eq!((update.token.expose(), update.endpoint), ("hush", None));
}

#[test]
fn only_wanted_events_are_parsed() {
    let mut config = config(1);
    config.wanted = EventFilter::none()
        .with(EventKind::VoiceStateUpdate)
        .raw("MESSAGE_CREATE");
    let mut rig = Rig::active(config);
    // Not wanted: its payload is not even looked at.
    rig.message(&dispatch(2, "GUILD_CREATE", json!("no guild")));
    rig.message(&dispatch(3, "MESSAGE_CREATE", json!({"content": "hi"})));
    rig.message(&dispatch(
        4,
        "VOICE_STATE_UPDATE",
        json!({"user_id": "20", "channel_id": "5"}),
    ));
    let events = rig.take_events();
    assert_eq!(events.len(), 2);
    assert!(matches!(&events[0].event, Event::Raw { name, json }
        if &**name == "MESSAGE_CREATE" && &**json == r#"{"content":"hi"}"#));
    assert!(matches!(events[1].event, Event::VoiceStateUpdate(_)));
    assert_eq!(rig.protocol.stats().skipped_events, 1);
    assert_eq!(rig.protocol.stats().undecodable, 0);
    assert_eq!(rig.protocol.session().unwrap().seq, 4);
}

#[test]
fn ready_and_resumed_cannot_be_unwanted() {
    let filter = EventFilter::default()
        .without(EventKind::Ready)
        .without(EventKind::Resumed);
    assert!(filter.wants(EventKind::Ready) && filter.wants(EventKind::Resumed));
}

#[test]
fn a_wanted_event_that_cannot_be_read_is_told_without_its_content() {
    let mut rig = Rig::active(config(1));
    rig.message(&dispatch(
        2,
        "VOICE_STATE_UPDATE",
        json!({"user_id": "secret-content"}),
    ));
    let events = rig.take_events();
    let Event::Undecodable { name, reason, .. } = &events[0].event else {
        panic!("{events:?}")
    };
    assert_eq!(&**name, "VOICE_STATE_UPDATE");
    assert!(!reason.contains("secret-content"), "{reason}");
    assert_eq!(rig.protocol.stats().undecodable, 1);
    assert_eq!(
        rig.protocol.state(),
        spellcoven_discord_gateway::ConnectionState::Active
    );
}

#[test]
fn any_key_order_reaches_the_event() {
    let mut rig = Rig::active(config(1));
    rig.message(
        r#"{ "d": {"op": 9, "t": "X", "s": 99, "id": "5"}, "s": 2, "op": 0, "t": "GUILD_DELETE" }"#,
    );
    let events = rig.take_events();
    assert_eq!(events[0].seq, 2);
    assert!(matches!(events[0].event, Event::GuildDelete { .. }));
}

proptest::proptest! {
    /// Whatever arrives, nothing panics and the state machine stays usable.
    #[test]
    fn no_message_panics(
        messages in proptest::collection::vec(
            proptest::prop_oneof![
                proptest::collection::vec(proptest::num::u8::ANY, 0..80),
                r#"\{"op":(0|1|7|9|10|11|3),"s":(null|[0-9]{1,20}),"t":"(READY|RESUMED|GUILD_CREATE|CHANNEL_UPDATE|VOICE_STATE_UPDATE)","d":(null|true|\{\}|\{"id":"[0-9]{0,3}","heartbeat_interval":[0-9]{1,20}\})\}"#
                    .prop_map(String::into_bytes),
            ],
            0..20,
        ),
    ) {
        let mut rig = Rig::active(config(1));
        for message in messages {
            rig.protocol.handle_message(&message, rig.now);
            rig.pass(Duration::from_secs(1));
            if rig.take_connect().is_some() {
                rig.protocol.handle_connected(rig.now);
            }
        }
        proptest::prop_assert!(rig.protocol.poll_timeout().is_some());
    }
}

use proptest::strategy::Strategy as _;
