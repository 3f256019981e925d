//! An event of a guild's state that cannot be read must not leave the state
//! wrong for ever.

use std::time::Duration;

use serde_json::json;
use spellcoven_discord_gateway::{
    Change, ConnectionState, Event, EventFilter, EventKind, GatewayEvent, GuildTracker, Id,
    proto::CLOSE_KEEP_SESSION,
};

use crate::support::*;

const HOUR: Duration = Duration::from_secs(3600);

/// A voice state without a user.
fn unreadable(seq: u64) -> String {
    dispatch(seq, "VOICE_STATE_UPDATE", json!({"guild_id": "10"}))
}

/// Lets time pass, acking the beats.
fn live(rig: &mut Rig, time: Duration) {
    let end = rig.now + time;
    while rig.protocol.poll_timeout().is_some_and(|at| at <= end) {
        rig.wake();
        if rig.take_sent_op(1).is_some() {
            rig.message(ACK);
        }
    }
    rig.now = end;
}

#[test]
fn a_new_session_is_begun_for_its_snapshots() {
    let mut rig = Rig::active(config(1));
    rig.message(&unreadable(2));
    let event = rig.take_events().remove(0).event;
    let Event::Undecodable { guild_id, .. } = event else {
        panic!("{event:?}")
    };
    assert_eq!(guild_id, Some(Id::new(10)));
    rig.pass(Duration::ZERO);
    assert_eq!(rig.take_closes(), [CLOSE_KEEP_SESSION], "never 1000");
    let (url, _) = rig.next_connect();
    assert!(!url.contains("resume"), "{url}");
    rig.identify();
    assert_eq!(rig.protocol.stats().resyncs, 1);
}

/// What cannot be read today cannot be read in a minute either.
#[test]
fn at_most_once_an_hour_and_then_it_is_made_up_for() {
    let mut rig = Rig::active(config(2));
    rig.message(&unreadable(2));
    rig.next_connect();
    rig.identify();
    rig.message(&unreadable(3));
    live(&mut rig, HOUR - Duration::from_secs(60));
    assert_eq!(rig.protocol.state(), ConnectionState::Active);
    assert_eq!(rig.protocol.stats().identifies, 2);
    live(&mut rig, Duration::from_secs(120));
    rig.identify();
    let stats = rig.protocol.stats();
    assert_eq!(
        (stats.identifies, stats.resyncs, stats.undecodable),
        (3, 2, 2)
    );
    live(&mut rig, HOUR * 5);
    assert_eq!(rig.protocol.stats().resyncs, 2);
}

#[test]
fn it_survives_a_resume_and_can_be_switched_off() {
    let mut rig = Rig::active(config(3));
    rig.closed(None);
    rig.next_connect();
    rig.open();
    rig.message(&unreadable(2));
    rig.message(&resumed(3));
    rig.pass(Duration::ZERO);
    assert_eq!(rig.protocol.stats().resyncs, 1);

    let mut off = config(3);
    off.resync_interval = None;
    let mut rig = Rig::active(off);
    rig.message(&unreadable(2));
    rig.pass(Duration::ZERO);
    assert_eq!(rig.protocol.state(), ConnectionState::Active);
}

/// What makes no state is not worth a session.
#[test]
fn other_events_may_be_unreadable() {
    let mut config = config(4);
    config.wanted = EventFilter::default().with(EventKind::VoiceServerUpdate);
    let mut rig = Rig::active(config);
    rig.message(&dispatch(2, "VOICE_SERVER_UPDATE", json!({})));
    rig.pass(Duration::ZERO);
    assert_eq!(rig.protocol.state(), ConnectionState::Active);
    assert_eq!(rig.protocol.stats().undecodable, 1);
}

/// Until the snapshot, the guild must not pass for up to date.
#[test]
fn the_tracker_holds_the_guild_for_stale() {
    let mut tracker = GuildTracker::default();
    let guild = json!({"id": "10", "name": "G"}).to_string();
    let snapshot = || {
        GatewayEvent::parse(1, "GUILD_CREATE", &guild)
            .unwrap()
            .unwrap()
    };
    tracker.handle(&snapshot());
    let mut rig = Rig::active(config(5));
    rig.message(&unreadable(2));
    let event = rig.take_events().remove(0);
    let guild_id = Id::new(10);
    assert_eq!(tracker.handle(&event), [Change::GuildStale { guild_id }]);
    assert_eq!(tracker.handle(&event), []);
    assert_eq!(
        tracker.handle(&snapshot()),
        [Change::GuildFresh { guild_id }]
    );
}
