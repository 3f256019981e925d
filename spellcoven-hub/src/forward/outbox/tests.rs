use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::wire::{Room, RoomDeleted, RoomPayload, VoiceLeft, VoiceUpdated};

const GUILD: Snowflake = Snowflake::new(1);

fn id(id: u64) -> Snowflake {
    Snowflake::new(id)
}

fn room(channel: u64) -> HubEvent {
    HubEvent::RoomCreated(RoomPayload {
        channel_id: id(channel),
        name: format!("room {channel}"),
        guild_id: GUILD,
        parent_id: None,
        user_limit: 4,
    })
}

fn deleted(channel: u64) -> HubEvent {
    HubEvent::RoomDeleted(RoomDeleted {
        channel_id: id(channel),
        guild_id: GUILD,
    })
}

fn joined(channel: u64, user: u64) -> HubEvent {
    HubEvent::VoiceJoined(VoiceJoined {
        guild_id: GUILD,
        channel_id: id(channel),
        user_id: id(user),
        self_mute: Some(false),
        self_deaf: Some(false),
        self_video: Some(false),
    })
}

fn left(channel: u64, user: u64) -> HubEvent {
    HubEvent::VoiceLeft(VoiceLeft {
        guild_id: GUILD,
        channel_id: Some(id(channel)),
        user_id: id(user),
    })
}

fn muted(channel: u64, user: u64, self_mute: bool) -> HubEvent {
    HubEvent::VoiceUpdated(VoiceUpdated {
        guild_id: GUILD,
        channel_id: id(channel),
        user_id: id(user),
        self_mute,
        self_deaf: false,
        self_video: false,
    })
}

fn empty() -> GuildSnapshot {
    GuildSnapshot {
        guild_id: GUILD,
        rooms: vec![],
    }
}

fn ok(epoch: &str) -> Outcome {
    answer(200, Some(epoch), Some(true))
}

fn answer(status: u16, epoch: Option<&str>, synced: Option<bool>) -> Outcome {
    Outcome::Answer {
        status,
        retry_after: None,
        epoch: epoch.map(str::to_owned),
        synced,
    }
}

struct Rig {
    outbox: Outbox,
    now: Instant,
}

impl Rig {
    fn new(limit: usize) -> Self {
        let config = OutboxConfig {
            guild_id: GUILD,
            limit,
            byte_limit: 1 << 20,
            ping_interval: Duration::from_secs(2),
            delivery_prefix: "test".to_owned(),
        };
        let backoff = Backoff::new(fastrand::Rng::with_seed(1));
        Self {
            outbox: Outbox::new(config, backoff),
            now: tokio::time::Instant::now().into_std(),
        }
    }

    /// Past the first snapshot, at a hub of this epoch.
    fn synced(limit: usize, epoch: &str) -> Self {
        let mut rig = Self::new(limit);
        rig.outbox.push_snapshot(&empty(), rig.now);
        assert_eq!(rig.post().kind, Kind::Snapshot);
        rig.outcome(ok(epoch));
        rig
    }

    fn send(&mut self, event: &HubEvent) {
        self.outbox.push_event(event, self.now);
    }

    fn poll(&mut self) -> Step {
        self.outbox.poll(self.now, true)
    }

    fn post(&mut self) -> Post {
        match self.poll() {
            Step::Post(post) => post,
            Step::Wait(until) => panic!("nothing to post; waits for {until:?}"),
        }
    }

    /// The wait before the next post, which must not be now.
    fn wait(&mut self) -> Option<Duration> {
        match self.poll() {
            Step::Post(post) => panic!("posts {post:?}"),
            Step::Wait(until) => until.map(|at| at - self.now),
        }
    }

    fn outcome(&mut self, outcome: Outcome) -> Verdict {
        self.outbox.handle_outcome(outcome, self.now)
    }

    fn status(&self) -> ForwardStatus {
        self.outbox.status(self.now)
    }
}

fn snapshot_of(post: &Post) -> GuildSnapshot {
    match WebhookEvent::parse(&post.body) {
        Ok(WebhookEvent::Snapshot(snapshot)) => snapshot,
        other => panic!("no snapshot: {other:?}"),
    }
}

fn event_of(post: &Post) -> HubEvent {
    match WebhookEvent::parse(&post.body) {
        Ok(WebhookEvent::Event(event)) => event,
        other => panic!("no event: {other:?}"),
    }
}

#[test]
fn nothing_is_posted_before_the_first_snapshot_and_that_comes_first() {
    let mut rig = Rig::new(8);
    rig.send(&room(2));
    assert_eq!(rig.wait(), None);
    assert_eq!(rig.status().reason, Some(UnhealthyReason::NoSnapshotYet));
    let snapshot = GuildSnapshot {
        guild_id: GUILD,
        rooms: vec![Room {
            channel_id: id(2),
            name: "room 2".into(),
            parent_id: None,
            user_limit: 4,
            members: vec![],
        }],
    };
    rig.outbox.push_snapshot(&snapshot, rig.now);
    rig.send(&joined(2, 7));
    // The snapshot's first try reads the mirror, so the event is within it.
    let sent = snapshot_of(&rig.post());
    assert_eq!(
        sent.rooms[0].members,
        vec![Member {
            user_id: id(7),
            self_mute: false,
            self_deaf: false,
            self_video: false
        }]
    );
    rig.outcome(ok("e"));
    assert_eq!(
        rig.wait(),
        Some(Duration::from_secs(2)),
        "only a ping is due"
    );
    assert!(rig.status().healthy);
}

#[test]
fn one_post_at_a_time_in_order() {
    let mut rig = Rig::synced(8, "e");
    let events = [room(2), joined(2, 7), left(2, 7)];
    events.iter().for_each(|event| rig.send(event));
    for event in &events {
        assert_eq!(event_of(&rig.post()), *event);
        assert_eq!(rig.wait(), None, "one is in flight");
        rig.outcome(ok("e"));
    }
    assert!(rig.outbox.is_idle());
}

#[test]
fn a_failed_post_keeps_its_place_id_and_body_and_backs_off() {
    let mut rig = Rig::synced(8, "e");
    rig.send(&room(2));
    rig.send(&joined(2, 7));
    let first = rig.post();
    let mut longest = Duration::ZERO;
    for outcome in [500, 503, 408, 429, 599, 502, 500, 500].map(|status| answer(status, None, None))
    {
        rig.outcome(outcome);
        let wait = rig.wait().expect("a retry is planned");
        assert!(
            wait >= Duration::from_millis(50) && wait <= Duration::from_secs(5),
            "{wait:?}"
        );
        longest = longest.max(wait);
        rig.now += wait;
        assert_eq!(rig.post(), first);
    }
    assert!(
        longest > Duration::from_secs(2),
        "the back-off grows: {longest:?}"
    );
    rig.outcome(Outcome::Unreachable);
    assert_eq!(rig.status().reason, Some(UnhealthyReason::Unreachable));
    rig.now += Duration::from_secs(5);
    assert_eq!(rig.post(), first);
    rig.outcome(ok("e"));
    // A success starts the back-off over, and the next is posted at once.
    let second = rig.post();
    assert_eq!(event_of(&second), joined(2, 7));
    assert_ne!(second.delivery_id, first.delivery_id);
    rig.outcome(Outcome::Unreachable);
    assert!(rig.wait().unwrap() <= Duration::from_millis(100));
}

#[test]
fn retry_after_is_honoured_up_to_a_minute() {
    for (asked, waited) in [(7, 7), (3600, 60)] {
        let mut rig = Rig::synced(8, "e");
        rig.send(&room(2));
        rig.post();
        let retry_after = Some(Duration::from_secs(asked));
        rig.outcome(Outcome::Answer {
            status: 429,
            retry_after,
            epoch: None,
            synced: None,
        });
        assert_eq!(rig.wait(), Some(Duration::from_secs(waited)));
    }
}

#[test]
fn a_refused_signature_keeps_the_event_and_says_so() {
    for status in [401, 403] {
        let mut rig = Rig::synced(8, "e");
        rig.send(&room(2));
        let post = rig.post();
        assert!(matches!(
            rig.outcome(answer(status, None, None)),
            Verdict::Retry { .. }
        ));
        let told = rig.status();
        assert!(!told.healthy);
        assert_eq!(
            told.reason.unwrap().to_string(),
            "signature refused: secret or clock?"
        );
        assert_eq!((told.refused, told.dropped, told.outbox_depth), (1, 0, 1));
        rig.now += Duration::from_secs(1);
        assert_eq!(rig.post(), post);
        rig.outcome(ok("e"));
        assert!(rig.status().healthy);
    }
}

#[test]
fn what_is_refused_for_good_is_dropped_and_counted() {
    for status in [400, 413, 422] {
        let mut rig = Rig::synced(8, "e");
        rig.send(&room(2));
        rig.send(&room(3));
        rig.post();
        assert_eq!(rig.outcome(answer(status, None, None)), Verdict::Dropped);
        assert_eq!(rig.status().dropped, 1);
        assert_eq!(event_of(&rig.post()), room(3));
    }
}

#[test]
fn an_endpoint_that_is_no_hub_keeps_the_event_and_is_named() {
    for status in [301, 404, 405, 410, 418] {
        let mut rig = Rig::synced(8, "e");
        rig.send(&room(2));
        rig.post();
        let verdict = rig.outcome(answer(status, None, None));
        assert!(
            matches!(
                verdict,
                Verdict::Retry {
                    reason: UnhealthyReason::Misconfigured { .. },
                    ..
                }
            ),
            "{verdict:?}"
        );
        assert_eq!(rig.status().outbox_depth, 1);
    }
}

#[test]
fn any_2xx_is_a_delivery() {
    for status in [200, 201, 202, 204] {
        let mut rig = Rig::synced(8, "e");
        rig.send(&room(2));
        rig.post();
        assert_eq!(
            rig.outcome(answer(status, None, None)),
            Verdict::Delivered { restarted: false }
        );
        assert!(rig.outbox.is_idle());
    }
}

#[test]
fn a_restarted_hub_gets_the_guild_as_it_is_now_in_place_of_the_queue() {
    let mut rig = Rig::synced(8, "e1");
    rig.send(&room(2));
    rig.send(&joined(2, 7));
    rig.send(&joined(2, 8));
    assert_eq!(event_of(&rig.post()), room(2));
    assert_eq!(
        rig.outcome(answer(200, Some("e2"), Some(false))),
        Verdict::Delivered { restarted: true }
    );
    rig.send(&left(2, 7));
    let snapshot = snapshot_of(&rig.post());
    let inside: Vec<_> = snapshot.rooms[0]
        .members
        .iter()
        .map(|member| member.user_id.get())
        .collect();
    assert_eq!(inside, [8]);
    // From the first try on its content stands; later events follow it.
    rig.send(&left(2, 8));
    rig.outcome(ok("e2"));
    assert_eq!(event_of(&rig.post()), left(2, 8));
    rig.outcome(ok("e2"));
    assert_eq!(rig.status().hub_restarts, 1);
    assert!(rig.outbox.is_idle());
}

#[test]
fn a_snapshot_that_meets_a_restarted_hub_needs_no_second_one() {
    let mut rig = Rig::synced(8, "e1");
    rig.outbox.push_snapshot(&empty(), rig.now);
    rig.send(&room(2));
    assert_eq!(rig.post().kind, Kind::Snapshot);
    rig.outcome(ok("e2"));
    assert_eq!(event_of(&rig.post()), room(2));
}

#[test]
fn a_ping_finds_the_restarted_hub_while_nothing_happens() {
    let mut rig = Rig::synced(8, "e1");
    let due = rig.wait().unwrap();
    assert_eq!(due, Duration::from_secs(2));
    rig.now += due;
    assert_eq!(rig.post().kind, Kind::Ping);
    rig.outcome(ok("e1"));
    assert_eq!(rig.wait(), Some(due));
    rig.now += due;
    assert_eq!(rig.post().kind, Kind::Ping);
    // The epoch alone tells.
    rig.outcome(answer(200, Some("e2"), None));
    assert_eq!(rig.post().kind, Kind::Snapshot);
}

#[test]
fn a_failed_ping_holds_no_event_up() {
    let mut rig = Rig::synced(8, "e1");
    rig.now += Duration::from_secs(2);
    assert_eq!(rig.post().kind, Kind::Ping);
    rig.send(&room(2));
    assert!(matches!(
        rig.outcome(Outcome::Unreachable),
        Verdict::Superseded { .. }
    ));
    assert!(!rig.status().healthy);
    assert_eq!(event_of(&rig.post()), room(2));
}

#[test]
fn a_hub_without_pings_is_not_asked_again() {
    for status in [400, 404, 405, 422] {
        let mut rig = Rig::synced(8, "e1");
        rig.now += Duration::from_secs(2);
        assert_eq!(rig.post().kind, Kind::Ping);
        rig.outcome(answer(status, None, None));
        assert_eq!(rig.wait(), None);
        assert!(rig.status().healthy);
        assert_eq!(rig.status().dropped, 0);
    }
}

#[test]
fn an_unsynced_hub_gets_one_snapshot_and_a_refused_one_is_not_repeated() {
    let mut rig = Rig::new(8);
    rig.outbox.push_snapshot(&empty(), rig.now);
    rig.post();
    assert_eq!(rig.outcome(answer(413, None, None)), Verdict::Dropped);
    rig.send(&room(2));
    assert_eq!(rig.post().kind.name(), "room.created");
    rig.outcome(answer(200, Some("e1"), Some(false)));
    assert_eq!(
        rig.wait(),
        Some(Duration::from_secs(2)),
        "no second try of what was refused"
    );
    assert_eq!(rig.status().reason, Some(UnhealthyReason::SnapshotRefused));
    // A new epoch is a new chance.
    rig.send(&room(3));
    rig.post();
    rig.outcome(answer(200, Some("e2"), Some(false)));
    assert_eq!(rig.post().kind, Kind::Snapshot);
    rig.outcome(ok("e2"));
    assert!(rig.status().healthy);
}

#[test]
fn a_hub_that_says_unsynced_after_our_snapshot_does_not_make_a_loop() {
    let mut rig = Rig::synced(8, "e1");
    rig.send(&room(2));
    rig.post();
    rig.outcome(answer(200, Some("e1"), Some(false)));
    assert_eq!(rig.wait(), Some(Duration::from_secs(2)));
}

#[test]
fn an_outbox_that_runs_over_gives_way_to_a_snapshot() {
    let mut rig = Rig::synced(2, "e");
    rig.send(&room(2));
    let first = rig.post();
    (3..6).for_each(|channel| rig.send(&room(channel)));
    let told = rig.status();
    assert_eq!(
        (told.overflows, told.outbox_depth, told.subsumed),
        (1, 2, 3)
    );
    // The post on the wire is older than the snapshot; failing, it is within it.
    assert!(matches!(
        rig.outcome(Outcome::Unreachable),
        Verdict::Superseded { .. }
    ));
    let wait = rig.wait().expect("the back-off holds for the snapshot too");
    rig.now += wait;
    rig.send(&room(6));
    let post = rig.post();
    assert_ne!(post.delivery_id, first.delivery_id);
    assert_eq!(snapshot_of(&post).rooms.len(), 5);
    rig.outcome(ok("e"));
    assert!(rig.outbox.is_idle());
}

#[test]
fn queued_bytes_are_bounded_too() {
    let mut rig = Rig::synced(usize::MAX, "e");
    rig.outbox.config.byte_limit = 300;
    rig.send(&room(2));
    rig.post();
    (3..20).for_each(|channel| rig.send(&room(channel)));
    assert_eq!(rig.status().overflows, 1);
    assert_eq!(rig.outbox.queue_bytes, 0);
}

#[test]
fn the_original_system_gets_plain_events_no_pings_and_loses_the_oldest() {
    // It may refuse what it does not know, or take and ignore it.
    for (status, dropped) in [(400, 4), (422, 4), (200, 3)] {
        let mut rig = Rig::new(2);
        rig.outbox.push_snapshot(&empty(), rig.now);
        rig.post();
        rig.outcome(answer(status, None, None));
        (2..7).for_each(|channel| rig.send(&room(channel)));
        assert_eq!(rig.status().outbox_depth, 2);
        for channel in [5, 6] {
            assert_eq!(event_of(&rig.post()), room(channel));
            rig.outcome(answer(200, None, None));
        }
        assert_eq!(rig.wait(), None, "no ping without an epoch");
        assert!(rig.status().healthy);
        assert_eq!(
            rig.status().dropped,
            dropped,
            "the oldest three, and a refused snapshot"
        );
    }
}

#[test]
fn a_later_snapshot_comes_after_what_was_sent_before() {
    let mut rig = Rig::synced(8, "e");
    rig.send(&room(2));
    rig.outbox.push_snapshot(&empty(), rig.now);
    rig.send(&room(3));
    assert_eq!(event_of(&rig.post()), room(2));
    rig.outcome(ok("e"));
    assert_eq!(snapshot_of(&rig.post()), empty());
    rig.outcome(ok("e"));
    assert_eq!(event_of(&rig.post()), room(3));
}

#[test]
fn the_oldest_post_tells_its_age() {
    let mut rig = Rig::synced(8, "e");
    assert_eq!(rig.status().oldest_age, None);
    rig.send(&room(2));
    rig.post();
    rig.now += Duration::from_secs(3);
    rig.send(&room(3));
    assert_eq!(rig.status().oldest_age, Some(Duration::from_secs(3)));
    assert_eq!(rig.status().outbox_depth, 2);
    assert_eq!(
        rig.status().since_last_success,
        Some(Duration::from_secs(3))
    );
}

#[test]
fn a_worker_that_stops_sends_no_pings() {
    let mut rig = Rig::synced(8, "e");
    rig.now += Duration::from_secs(60);
    assert_eq!(rig.outbox.poll(rig.now, false), Step::Wait(None));
}

/// A hub that does what the contract says of it.
struct ModelHub {
    epoch: u32,
    synced: bool,
    state: GuildModel,
    seen: BTreeSet<String>,
}

impl ModelHub {
    fn restart(&mut self) {
        *self = Self {
            epoch: self.epoch + 1,
            synced: false,
            state: GuildModel::default(),
            seen: BTreeSet::new(),
        };
    }

    fn handle(&mut self, post: &Post) -> Outcome {
        if self.seen.insert(post.delivery_id.to_string()) {
            match WebhookEvent::parse(&post.body).unwrap() {
                WebhookEvent::Event(event) => self.state.apply(&event),
                WebhookEvent::Snapshot(snapshot) => {
                    self.state = GuildModel::from_snapshot(&snapshot);
                    self.synced = true;
                }
                WebhookEvent::Ping { .. } => {}
            }
        }
        answer(200, Some(&self.epoch.to_string()), Some(self.synced))
    }
}

#[derive(Debug, Clone)]
enum Op {
    Event(HubEvent),
    Snapshot,
    /// The next post meets this.
    Deliver,
    DeliverAnswerLost,
    Fail(u16),
    Unreachable,
    RestartHub,
    Wait(u64),
}

fn an_event() -> impl Strategy<Value = HubEvent> {
    let (channels, users) = (2..5_u64, 10..14_u64);
    prop_oneof![
        2 => channels.clone().prop_map(room),
        1 => channels.clone().prop_map(deleted),
        4 => (channels.clone(), users.clone()).prop_map(|(channel, user)| joined(channel, user)),
        3 => (channels.clone(), users.clone()).prop_map(|(channel, user)| left(channel, user)),
        2 => (channels, users, any::<bool>()).prop_map(|(channel, user, mute)| muted(channel, user, mute)),
    ]
}

fn an_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => an_event().prop_map(Op::Event),
        1 => Just(Op::Snapshot),
        6 => Just(Op::Deliver),
        2 => Just(Op::DeliverAnswerLost),
        2 => prop::sample::select(vec![401, 403, 408, 429, 500, 503, 404]).prop_map(Op::Fail),
        2 => Just(Op::Unreachable),
        1 => Just(Op::RestartHub),
        2 => (1..3000_u64).prop_map(Op::Wait),
    ]
}

/// The number a delivery id ends with: the order in which posts were made up.
fn number(post: &Post) -> u64 {
    post.delivery_id
        .rsplit('-')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever fails, once all works again the hub holds what the source
    /// holds, and no post ever overtakes another.
    #[test]
    fn the_hub_ends_equal_to_the_source(ops in prop::collection::vec(an_op(), 0..120), limit in 1..6_usize) {
        let mut rig = Rig::new(limit);
        let mut source = GuildModel::default();
        let mut hub = ModelHub { epoch: 1, synced: false, state: GuildModel::default(), seen: BTreeSet::new() };
        let mut last = 0;
        rig.outbox.push_snapshot(&source.snapshot(GUILD), rig.now);
        let mut in_flight = None;
        let settle = std::iter::repeat_n(Op::Deliver, 4 * limit + 40).flat_map(|op| [op, Op::Wait(5000)]);
        for op in ops.into_iter().chain(settle) {
            prop_assert!(rig.outbox.depth() <= limit + 2);
            if in_flight.is_none() && let Step::Post(post) = rig.poll() {
                prop_assert!(number(&post) >= last, "{post:?} after {last}");
                last = number(&post);
                in_flight = Some(post);
            }
            let outcome = match (&op, &in_flight) {
                (Op::Event(event), _) => { source.apply(event); rig.send(event); None }
                (Op::Snapshot, _) => {
                    source = GuildModel::from_snapshot(&source.snapshot(GUILD));
                    rig.outbox.push_snapshot(&source.snapshot(GUILD), rig.now);
                    None
                }
                (Op::RestartHub, _) => { hub.restart(); None }
                (Op::Wait(ms), _) => { rig.now += Duration::from_millis(*ms); None }
                (_, None) => None,
                (Op::Deliver, Some(post)) => Some(hub.handle(post)),
                (Op::DeliverAnswerLost, Some(post)) => { hub.handle(post); Some(Outcome::Unreachable) }
                (Op::Fail(status), Some(_)) => Some(answer(*status, None, None)),
                (Op::Unreachable, Some(_)) => Some(Outcome::Unreachable),
            };
            if let Some(outcome) = outcome {
                in_flight = None;
                rig.outcome(outcome);
            }
        }
        prop_assert!(rig.outbox.is_idle() || in_flight.is_some_and(|post| post.kind == Kind::Ping));
        prop_assert_eq!(hub.state.snapshot(GUILD), source.snapshot(GUILD));
        prop_assert!(rig.status().healthy);
    }
}
