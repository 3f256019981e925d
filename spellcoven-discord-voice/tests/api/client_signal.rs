//! Signalling, apart from any call.

use std::{
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use spellcoven_discord_gateway::{Event, EventFilter, EventKind, GatewayEvent, Shard};
use spellcoven_discord_voice::{
    GuildMarker, Id, OwnVoiceState, SignalError, SignalEvent, SignalFeed, Signalling, UserMarker,
    VoiceRouter, VoiceServer, VoiceServerToken, VoiceStateRequest, signal_pair,
};

const ME: Id<UserMarker> = Id::new(700);
const HERE: Id<GuildMarker> = Id::new(900);
const THERE: Id<GuildMarker> = Id::new(901);

fn take(signalling: &mut impl Signalling) -> Poll<Option<SignalEvent>> {
    signalling.poll_event(&mut Context::from_waker(Waker::noop()))
}

fn state(session_id: &str) -> SignalEvent {
    SignalEvent::VoiceState(OwnVoiceState {
        channel_id: Some(Id::new(5)),
        session_id: session_id.to_owned(),
    })
}

fn server(token: &str) -> SignalEvent {
    SignalEvent::VoiceServer(VoiceServer {
        token: VoiceServerToken::new(token),
        endpoint: Some("voice.invalid:443".to_owned()),
    })
}

fn parse(name: &str, data: &str) -> GatewayEvent {
    GatewayEvent::parse(1, name, data).unwrap().unwrap()
}

fn pair() -> (SignalFeed, impl Signalling) {
    signal_pair(|_| Ok(()))
}

#[test]
fn events_come_in_their_order_and_the_end_last() {
    let (feed, mut signalling) = pair();
    assert_eq!(take(&mut signalling), Poll::Pending);
    assert!(feed.send(server("a")));
    assert!(feed.clone().send(state("b")));
    assert_eq!(take(&mut signalling), Poll::Ready(Some(server("a"))));
    drop(feed);
    assert_eq!(take(&mut signalling), Poll::Ready(Some(state("b"))));
    assert_eq!(take(&mut signalling), Poll::Ready(None));
}

#[test]
fn at_the_limit_the_last_of_each_kind_is_kept() {
    let (feed, mut signalling) = pair();
    feed.send(server("only"));
    feed.send(SignalEvent::GatewayRestarted);
    for number in 0..63 {
        feed.send(state(&number.to_string()));
    }
    // The 65th made room, and was added.
    let mut left = Vec::new();
    while let Poll::Ready(Some(event)) = take(&mut signalling) {
        left.push(event);
    }
    assert_eq!(
        left,
        [
            server("only"),
            SignalEvent::GatewayRestarted,
            state("61"),
            state("62")
        ]
    );
}

#[test]
fn a_feed_learns_that_its_client_is_gone() {
    let (feed, signalling) = pair();
    assert!(!feed.is_closed());
    drop(signalling);
    assert!(feed.is_closed());
    assert!(!feed.send(SignalEvent::GatewayRestarted));
}

#[test]
fn op_4_serialises_as_it_is_sent() {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&sent);
    let (_feed, mut signalling) = signal_pair(move |request| {
        log.lock()
            .unwrap()
            .push(serde_json::to_string(&request).unwrap());
        Err(SignalError::Busy)
    });
    let request = VoiceStateRequest::new(HERE, None);
    assert_eq!(signalling.update(request), Err(SignalError::Busy));
    assert_eq!(
        *sent.lock().unwrap(),
        [r#"{"guild_id":"900","channel_id":null,"self_mute":false,"self_deaf":false}"#]
    );
}

#[test]
fn secrets_do_not_show() {
    let shown = format!("{:?}", server("very-secret"));
    assert!(!shown.contains("very-secret"), "{shown}");
}

/// A shard that never gets anywhere: its handle is all that is needed.
fn router() -> VoiceRouter {
    let shard = Shard::builder("token").gateway_url("no url").start();
    VoiceRouter::new(shard.handle(), ME)
}

fn ready() -> GatewayEvent {
    parse(
        "READY",
        r#"{"v":10,"user":{"id":"700","username":"bot"},"guilds":[],"session_id":"s",
            "resume_gateway_url":"wss://r","shard":[0,1],"application":{"id":"2","flags":0}}"#,
    )
}

#[tokio::test]
async fn a_router_tells_each_client_of_its_own_guild_and_user_only() {
    let router = router();
    let (mut here, mut there) = (router.signalling(HERE), router.signalling(THERE));
    let voice_state = |guild: u64, user: u64| {
        parse(
            "VOICE_STATE_UPDATE",
            &format!(
                r#"{{"guild_id":"{guild}","channel_id":"5","user_id":"{user}","session_id":"b"}}"#
            ),
        )
    };
    router.handle(&voice_state(900, 701));
    router.handle(&voice_state(902, 700));
    assert_eq!(take(&mut here), Poll::Pending);
    router.handle(&voice_state(900, 700));
    assert_eq!(take(&mut here), Poll::Ready(Some(state("b"))));
    router.handle(&parse(
        "VOICE_SERVER_UPDATE",
        r#"{"guild_id":"901","token":"a","endpoint":"voice.invalid:443"}"#,
    ));
    assert_eq!(take(&mut there), Poll::Ready(Some(server("a"))));
    assert_eq!(take(&mut here), Poll::Pending);
    // Removed from the guild.
    router.handle(&parse("GUILD_DELETE", r#"{"id":"901"}"#));
    let gone = SignalEvent::VoiceState(OwnVoiceState {
        channel_id: None,
        session_id: String::new(),
    });
    assert_eq!(take(&mut there), Poll::Ready(Some(gone)));
    // An outage is no removal.
    router.handle(&parse("GUILD_DELETE", r#"{"id":"900","unavailable":true}"#));
    assert_eq!(take(&mut here), Poll::Pending);
}

#[tokio::test]
async fn a_second_ready_is_a_restart_and_a_resume_is_nothing() {
    let router = router();
    let mut here = router.signalling(HERE);
    router.handle(&ready());
    assert_eq!(
        take(&mut here),
        Poll::Pending,
        "the first one loses nothing"
    );
    router.handle(&GatewayEvent::new(2, Event::Resumed));
    assert_eq!(take(&mut here), Poll::Pending);
    router.handle(&ready());
    assert_eq!(
        take(&mut here),
        Poll::Ready(Some(SignalEvent::GatewayRestarted))
    );
}

#[tokio::test]
async fn a_guild_has_one_client() {
    let router = router();
    let (mut first, mut second) = (router.signalling(HERE), router.signalling(HERE));
    assert_eq!(take(&mut first), Poll::Ready(None), "it is cut off");
    assert_eq!(take(&mut second), Poll::Pending);
}

#[tokio::test]
async fn a_shard_that_has_ended_takes_no_op_4() {
    let mut shard = Shard::builder("token").gateway_url("no url").start();
    let router = VoiceRouter::new(shard.handle(), ME);
    while shard.next_event().await.is_some() {}
    let mut here = router.signalling(HERE);
    assert_eq!(
        here.update(VoiceStateRequest::new(HERE, None)),
        Err(SignalError::Closed)
    );
}

#[test]
fn the_wanted_events_are_those_that_voice_needs() {
    let wanted = VoiceRouter::wanted_events(EventFilter::none());
    for kind in [
        EventKind::VoiceStateUpdate,
        EventKind::VoiceServerUpdate,
        EventKind::GuildDelete,
    ] {
        assert!(wanted.wants(kind), "{kind:?}");
    }
    assert!(!wanted.wants(EventKind::GuildCreate));
}
