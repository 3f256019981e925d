//! Each rule of the tracker, one by one.

use serde_json::{Value, json};
use spellcoven_discord_gateway::{
    Cause, Change, GatewayEvent, GuildTracker, Id, TrackerLimits, VoiceFlags,
};

const GUILD: u64 = 10;
const LOBBY: u64 = 11;
const TABLE: u64 = 12;
const STAGE: u64 = 13;
const ANN: u64 = 21;
const BEA: u64 = 22;

pub(crate) fn event(name: &str, data: Value) -> GatewayEvent {
    GatewayEvent::parse(1, name, &data.to_string())
        .unwrap()
        .unwrap()
}

pub(crate) fn ready(guilds: &[u64]) -> GatewayEvent {
    ready_of([0, 1], guilds)
}

fn ready_of(shard: [u32; 2], guilds: &[u64]) -> GatewayEvent {
    let guilds: Vec<Value> = guilds
        .iter()
        .map(|id| json!({"id": id.to_string(), "unavailable": true}))
        .collect();
    event(
        "READY",
        json!({"user": {"id": "1"}, "session_id": "s", "resume_gateway_url": "ws://r", "guilds": guilds, "shard": shard}),
    )
}

fn channel(id: u64, kind: u8, name: &str) -> Value {
    json!({"id": id.to_string(), "guild_id": GUILD.to_string(), "type": kind, "name": name, "user_limit": 4, "parent_id": null, "position": 0})
}

fn hidden(id: u64) -> Value {
    json!({"id": id.to_string(), "guild_id": GUILD.to_string(), "type": 2, "name": "___hidden___", "user_limit": 0, "parent_id": "99", "flags": 1 << 17})
}

fn voice(user: u64, channel: Option<u64>) -> Value {
    json!({"guild_id": GUILD.to_string(), "user_id": user.to_string(), "channel_id": channel.map(|id| id.to_string()), "session_id": "c", "self_mute": false})
}

fn create(channels: &[Value], voices: &[Value]) -> GatewayEvent {
    event(
        "GUILD_CREATE",
        json!({"id": GUILD.to_string(), "name": "G", "channels": channels, "voice_states": voices}),
    )
}

/// A guild with Lobby, Table and a stage; Ann sits in Lobby.
fn known() -> GuildTracker {
    let mut tracker = GuildTracker::new(TrackerLimits::default());
    let changes = tracker.handle(&create(&rooms(), &[voice(ANN, Some(LOBBY))]));
    assert_eq!(tell(&changes), ["present 11:Lobby[21] 12:Table[]"]);
    tracker
}

fn rooms() -> [Value; 3] {
    [
        channel(LOBBY, 2, "Lobby"),
        channel(TABLE, 2, "Table"),
        channel(STAGE, 13, "Stage"),
    ]
}

/// Changes as short lines.
fn tell(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|change| match change {
            Change::Present(snapshot) => {
                let rooms = snapshot.rooms.iter().map(|room| {
                    let members: Vec<u64> = room.members.iter().map(|m| m.user_id.get()).collect();
                    format!(" {}:{}{members:?}", room.room.channel_id, room.room.name)
                });
                format!("present{}", rooms.collect::<String>())
            }
            Change::RoomCreated { room, cause, .. } => {
                format!("created {} {} {cause:?}", room.channel_id, room.name)
            }
            Change::RoomUpdated { room, cause, .. } => {
                format!("updated {} {} {cause:?}", room.channel_id, room.name)
            }
            Change::RoomDeleted {
                channel_id, cause, ..
            } => format!("deleted {channel_id} {cause:?}"),
            Change::Joined {
                channel_id,
                user_id,
                cause,
                ..
            } => format!("{user_id} joined {channel_id} {cause:?}"),
            Change::Left {
                channel_id,
                user_id,
                cause,
                ..
            } => format!("{user_id} left {channel_id} {cause:?}"),
            Change::Moved {
                from,
                to,
                user_id,
                cause,
                ..
            } => format!("{user_id} moved {from} {to} {cause:?}"),
            Change::Updated {
                channel_id,
                user_id,
                cause,
                ..
            } => format!("{user_id} updated in {channel_id} {cause:?}"),
            Change::GuildStale { .. } => "stale".into(),
            Change::GuildFresh { .. } => "fresh".into(),
            Change::GuildRemoved { .. } => "removed".into(),
            other => format!("{other:?}"),
        })
        .collect()
}

fn check(tracker: &mut GuildTracker, event: &GatewayEvent, expected: &[&str]) {
    assert_eq!(tell(&tracker.handle(event)), expected);
}

fn vsu(user: u64, channel: Option<u64>) -> GatewayEvent {
    event("VOICE_STATE_UPDATE", voice(user, channel))
}

#[test]
fn joined_moved_updated_left_and_a_duplicate_leave() {
    let mut tracker = known();
    check(&mut tracker, &vsu(BEA, Some(LOBBY)), &["22 joined 11 Live"]);
    check(&mut tracker, &vsu(BEA, Some(LOBBY)), &[]);
    check(
        &mut tracker,
        &vsu(BEA, Some(TABLE)),
        &["22 moved 11 12 Live"],
    );
    let mut muted = voice(BEA, Some(TABLE));
    muted["self_mute"] = json!(true);
    let changes = tracker.handle(&event("VOICE_STATE_UPDATE", muted.clone()));
    let flags = VoiceFlags {
        self_mute: true,
        ..VoiceFlags::default()
    };
    assert!(
        matches!(changes[..], [Change::Updated { flags: f, session_changed: false, .. }] if f == flags)
    );
    muted["session_id"] = json!("another client");
    let changes = tracker.handle(&event("VOICE_STATE_UPDATE", muted));
    assert!(matches!(
        changes[..],
        [Change::Updated {
            session_changed: true,
            ..
        }]
    ));
    check(&mut tracker, &vsu(BEA, None), &["22 left 12 Live"]);
    check(&mut tracker, &vsu(BEA, None), &[]);
    assert_eq!(tracker.stats().duplicate_leaves, 1);
}

#[test]
fn ready_clears_nothing_and_the_next_snapshot_tells_the_difference() {
    let mut tracker = known();
    tracker.handle(&vsu(BEA, Some(LOBBY)));
    check(&mut tracker, &ready(&[GUILD]), &["stale"]);
    assert!(!tracker.is_fresh(Id::new(GUILD)));
    assert_eq!(
        tracker.snapshot(Id::new(GUILD)).unwrap().rooms[0]
            .members
            .len(),
        2
    );
    // Ann left, Bea moved to a room that is new, Table is gone, Cid came.
    let now = create(
        &[channel(LOBBY, 2, "Hall"), channel(30, 2, "New")],
        &[voice(BEA, Some(30)), voice(23, Some(LOBBY))],
    );
    check(
        &mut tracker,
        &now,
        &[
            "21 left 11 Snapshot",
            "updated 11 Hall Snapshot",
            "created 30 New Snapshot",
            "22 moved 11 30 Snapshot",
            "23 joined 11 Snapshot",
            "deleted 12 Snapshot",
            "fresh",
        ],
    );
    assert!(tracker.is_fresh(Id::new(GUILD)));
    check(&mut tracker, &now, &[]);
}

#[test]
fn somebody_in_a_room_that_was_deleted_in_the_gap_has_left_or_moved_before_it_goes() {
    let mut tracker = known();
    check(
        &mut tracker,
        &create(&[channel(TABLE, 2, "Table")], &[]),
        &["21 left 11 Snapshot", "deleted 11 Snapshot"],
    );
    let mut tracker = known();
    check(
        &mut tracker,
        &create(&[channel(TABLE, 2, "Table")], &[voice(ANN, Some(TABLE))]),
        &["21 moved 11 12 Snapshot", "deleted 11 Snapshot"],
    );
}

#[test]
fn a_guild_that_ready_does_not_name_is_lost_with_everyone_in_it() {
    let mut tracker = known();
    check(
        &mut tracker,
        &ready(&[]),
        &["21 left 11 GuildRemoved", "removed"],
    );
    assert!(tracker.snapshot(Id::new(GUILD)).is_none());
    let back = tracker.handle(&create(&rooms(), &[]));
    assert!(matches!(back[..], [Change::Present(_)]));
}

#[test]
fn ready_of_one_shard_says_nothing_of_the_guilds_of_another() {
    let mut tracker = known();
    // Guild 10 belongs to shard 0 of 2.
    check(&mut tracker, &ready_of([1, 2], &[]), &[]);
    assert!(tracker.is_fresh(Id::new(GUILD)));
    check(
        &mut tracker,
        &ready_of([0, 2], &[]),
        &["21 left 11 GuildRemoved", "removed"],
    );
}

#[test]
fn an_outage_keeps_the_state_and_a_removal_drops_it() {
    let mut tracker = known();
    let outage = event(
        "GUILD_DELETE",
        json!({"id": GUILD.to_string(), "unavailable": true}),
    );
    check(&mut tracker, &outage, &["stale"]);
    check(&mut tracker, &outage, &[]);
    let stub = event(
        "GUILD_CREATE",
        json!({"id": GUILD.to_string(), "unavailable": true}),
    );
    check(&mut tracker, &stub, &[]);
    check(
        &mut tracker,
        &create(&rooms(), &[voice(ANN, Some(TABLE))]),
        &["21 moved 11 12 Snapshot", "fresh"],
    );
    let removal = event("GUILD_DELETE", json!({"id": GUILD.to_string()}));
    check(
        &mut tracker,
        &removal,
        &["21 left 12 GuildRemoved", "removed"],
    );
    check(&mut tracker, &removal, &[]);
}

#[test]
fn a_deleted_room_gives_one_leave_whichever_order_discord_chooses() {
    let deleted = event("CHANNEL_DELETE", channel(LOBBY, 2, "Lobby"));
    let mut tracker = known();
    check(
        &mut tracker,
        &deleted,
        &["21 left 11 ChannelDeleted", "deleted 11 ChannelDeleted"],
    );
    check(&mut tracker, &vsu(ANN, None), &[]);
    assert_eq!(tracker.stats().duplicate_leaves, 1, "no ghost stays behind");
    check(&mut tracker, &deleted, &[]);
    let mut tracker = known();
    check(&mut tracker, &vsu(ANN, None), &["21 left 11 Live"]);
    check(&mut tracker, &deleted, &["deleted 11 ChannelDeleted"]);
}

#[test]
fn an_update_that_comes_after_the_deletion_does_not_bring_the_room_back() {
    let mut tracker = known();
    tracker.handle(&event("CHANNEL_DELETE", channel(LOBBY, 2, "Lobby")));
    check(
        &mut tracker,
        &event("CHANNEL_UPDATE", channel(LOBBY, 2, "Late")),
        &[],
    );
    assert_eq!(tracker.stats().late_channel_events, 1);
}

#[test]
fn rooms_are_told_once_and_only_where_something_visible_changed() {
    let mut tracker = known();
    let made = channel(30, 2, "New");
    check(
        &mut tracker,
        &event("CHANNEL_CREATE", made.clone()),
        &["created 30 New Live"],
    );
    check(&mut tracker, &event("CHANNEL_CREATE", made.clone()), &[]);
    let mut moved = made;
    moved["position"] = json!(7);
    moved["bitrate"] = json!(64000);
    check(&mut tracker, &event("CHANNEL_UPDATE", moved.clone()), &[]);
    moved["name"] = json!("Renamed");
    check(
        &mut tracker,
        &event("CHANNEL_UPDATE", moved.clone()),
        &["updated 30 Renamed Live"],
    );
    moved["user_limit"] = json!(9);
    moved["parent_id"] = json!("99");
    let changes = tracker.handle(&event("CHANNEL_UPDATE", moved));
    assert!(matches!(&changes[..], [Change::RoomUpdated { room, .. }]
        if room.user_limit == 9 && room.parent_id == Some(Id::new(99))));
    check(
        &mut tracker,
        &event("CHANNEL_CREATE", channel(31, 0, "text")),
        &[],
    );
    check(
        &mut tracker,
        &event("CHANNEL_DELETE", channel(31, 0, "text")),
        &[],
    );
}

#[test]
fn an_obfuscated_channel_never_overwrites_what_is_known() {
    let mut tracker = known();
    let changes = tracker.handle(&event("CHANNEL_UPDATE", hidden(LOBBY)));
    let [Change::RoomUpdated { room, .. }] = &changes[..] else {
        panic!("{changes:?}")
    };
    assert_eq!(
        (room.name.as_str(), room.user_limit, room.hidden),
        ("Lobby", 4, true)
    );
    assert_eq!(
        room.parent_id,
        Some(Id::new(99)),
        "the parent is real even then"
    );
    // And not through a snapshot either.
    check(
        &mut tracker,
        &create(
            &[hidden(LOBBY), channel(TABLE, 2, "Table")],
            &[voice(ANN, Some(LOBBY))],
        ),
        &[],
    );
    check(
        &mut tracker,
        &event("CHANNEL_UPDATE", channel(LOBBY, 2, "Lobby")),
        &["updated 11 Lobby Live"],
    );
}

#[test]
fn a_channel_that_ceases_to_be_a_voice_channel_counts_as_deleted() {
    let mut tracker = known();
    check(
        &mut tracker,
        &event("CHANNEL_UPDATE", channel(LOBBY, 13, "Lobby")),
        &["21 left 11 ChannelChanged", "deleted 11 ChannelChanged"],
    );
    // She is in voice all the same, and comes back with the room.
    check(
        &mut tracker,
        &event("CHANNEL_UPDATE", channel(LOBBY, 2, "Lobby")),
        &["created 11 Lobby Live", "21 joined 11 ChannelChanged"],
    );
}

#[test]
fn a_stage_is_no_room_and_steps_to_and_from_it_are_left_and_joined() {
    let mut tracker = known();
    check(&mut tracker, &vsu(ANN, Some(STAGE)), &["21 left 11 Live"]);
    check(&mut tracker, &vsu(ANN, Some(STAGE)), &[]);
    check(&mut tracker, &vsu(ANN, Some(TABLE)), &["21 joined 12 Live"]);
    check(&mut tracker, &vsu(BEA, Some(STAGE)), &[]);
    check(&mut tracker, &vsu(BEA, None), &[]);
    assert_eq!(tracker.stats().duplicate_leaves, 0);
}

#[test]
fn somebody_in_a_channel_that_is_not_known_yet_joins_when_it_is() {
    let mut tracker = known();
    check(&mut tracker, &vsu(BEA, Some(30)), &[]);
    check(
        &mut tracker,
        &event("CHANNEL_CREATE", channel(30, 2, "New")),
        &["created 30 New Live", "22 joined 30 ChannelChanged"],
    );
    // The same in a first snapshot.
    let mut tracker = GuildTracker::new(TrackerLimits::default());
    check(
        &mut tracker,
        &create(&[], &[voice(ANN, Some(30))]),
        &["present"],
    );
    check(
        &mut tracker,
        &event("CHANNEL_CREATE", channel(30, 2, "New")),
        &["created 30 New Live", "21 joined 30 ChannelChanged"],
    );
}

#[test]
fn a_member_who_is_removed_leaves_once() {
    let mut tracker = known();
    let removed = event(
        "GUILD_MEMBER_REMOVE",
        json!({"guild_id": GUILD.to_string(), "user": {"id": ANN.to_string()}}),
    );
    check(&mut tracker, &removed, &["21 left 11 MemberRemoved"]);
    check(&mut tracker, &vsu(ANN, None), &[]);
}

#[test]
fn replayed_events_after_a_resume_change_nothing_twice() {
    let mut tracker = known();
    let story = [
        vsu(BEA, Some(LOBBY)),
        vsu(BEA, Some(TABLE)),
        event("CHANNEL_CREATE", channel(30, 2, "New")),
    ];
    for event in &story {
        assert_eq!(tracker.handle(event).len(), 1);
    }
    check(&mut tracker, &event("RESUMED", json!({"_trace": []})), &[]);
    let before = tracker.snapshot(Id::new(GUILD));
    for event in &story[1..] {
        check(&mut tracker, event, &[]);
    }
    assert_eq!(tracker.snapshot(Id::new(GUILD)), before);
}

#[test]
fn it_can_be_stored_and_goes_on_where_it_was() {
    let mut tracker = known();
    let json = serde_json::to_string(&tracker).unwrap();
    let mut restored: GuildTracker = serde_json::from_str(&json).unwrap();
    assert_eq!(
        restored.snapshot(Id::new(GUILD)),
        tracker.snapshot(Id::new(GUILD))
    );
    let next = create(&rooms(), &[voice(BEA, Some(TABLE))]);
    let expected = ["21 left 11 Snapshot", "22 joined 12 Snapshot"];
    check(&mut tracker, &next, &expected);
    check(&mut restored, &next, &expected);
}

#[test]
fn events_of_guilds_without_a_snapshot_are_counted_and_harmless() {
    let mut tracker = GuildTracker::default();
    check(&mut tracker, &vsu(ANN, Some(LOBBY)), &[]);
    check(
        &mut tracker,
        &event("CHANNEL_CREATE", json!({"id": "5", "type": 2})),
        &[],
    );
    assert_eq!(tracker.stats().unknown_guild, 2);
}

#[test]
fn nothing_grows_over_its_limit() {
    let limits = TrackerLimits {
        guilds: 1,
        rooms: 2,
        members: 2,
    };
    let mut tracker = GuildTracker::new(limits);
    let channels: Vec<Value> = (11..20).map(|id| channel(id, 2, "x")).collect();
    let voices: Vec<Value> = (21..30).map(|id| voice(id, Some(LOBBY))).collect();
    check(
        &mut tracker,
        &create(&channels, &voices),
        &["present 11:x[21, 22] 12:x[]"],
    );
    check(&mut tracker, &vsu(50, Some(LOBBY)), &[]);
    check(
        &mut tracker,
        &event("CHANNEL_CREATE", channel(60, 2, "y")),
        &[],
    );
    check(
        &mut tracker,
        &event("GUILD_CREATE", json!({"id": "77"})),
        &[],
    );
    assert_eq!(tracker.stats().over_limit, 7 + 7 + 3);
    // Whoever is known is followed all the same.
    check(
        &mut tracker,
        &vsu(21, Some(TABLE)),
        &["21 moved 11 12 Live"],
    );
    for id in 1000..2000 {
        tracker.handle(&event("CHANNEL_DELETE", channel(id, 2, "x")));
    }
    assert!(serde_json::to_string(&tracker).unwrap().len() < 4000);
}

#[test]
fn every_change_names_its_guild_and_cause() {
    let mut tracker = known();
    for change in tracker.handle(&event("CHANNEL_DELETE", channel(LOBBY, 2, "Lobby"))) {
        assert_eq!(change.guild_id().get(), GUILD);
        assert_eq!(change.cause(), Cause::ChannelDeleted);
    }
}
