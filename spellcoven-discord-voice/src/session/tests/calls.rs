//! Moves, kicks, other servers, restarts of the main gateway.

use super::*;
use crate::session::EndReason;

/// Serves the link that is asked for, as a fresh session.
pub(super) fn serve_fresh(rig: &mut Rig, session: &str, token: &str, channel: u64) {
    rig.open();
    let identify = rig.text_of(0);
    assert_eq!(identify["session_id"], session);
    assert_eq!(identify["token"], token);
    assert_eq!(identify["channel_id"], channel.to_string());
    assert_eq!(rig.texts(7), Vec::<Value>::new());
    rig.text(HELLO);
    rig.ready();
    rig.open_udp();
    rig.discovered();
    rig.describe(2);
    assert_eq!(rig.session.state(), ConnectionState::Connected);
}

#[test]
fn a_move_by_a_moderator_is_followed() {
    for server_first in [false, true] {
        for close in [None, Some(4014), Some(4022)] {
            for close_at in 0..3 {
                let mut rig = Rig::connected(config());
                rig.json(json!({"op": 11, "seq": 3, "d": {"user_ids": ["777"]}}));
                rig.pass_ms(5_000);
                rig.said.clear();
                let closes = |rig: &mut Rig, at| {
                    if at == close_at
                        && close.is_some()
                        && rig.link.is_some()
                        && rig.url.contains("a.test")
                    {
                        rig.cut(close);
                    }
                };
                closes(&mut rig, 0);
                for (at, server) in [server_first, !server_first].into_iter().enumerate() {
                    if server {
                        rig.server(Some("b.test"), "token-b");
                    } else {
                        rig.state(Some(LOUNGE), "first");
                    }
                    closes(&mut rig, at + 1);
                    rig.pass_ms(50);
                }
                assert_eq!(rig.url, "wss://b.test/?v=8");
                serve_fresh(&mut rig, "first", "token-b", LOUNGE);
                assert_eq!(rig.session.channel(), Some(channel(LOUNGE)));
                let events = rig.events();
                assert!(events.contains(&VoiceEvent::Channel {
                    channel_id: channel(LOUNGE)
                }));
                assert!(events.contains(&VoiceEvent::Left {
                    user_id: Id::new(777)
                }));
                assert!(
                    !events
                        .iter()
                        .any(|event| matches!(event, VoiceEvent::Ended(_)))
                );
                assert_eq!(rig.signals(), []);
            }
        }
    }
}

#[test]
fn a_move_to_the_same_server_has_a_new_token_and_needs_a_new_session() {
    let mut rig = Rig::connected(config());
    rig.pass_ms(5_000);
    rig.state(Some(LOUNGE), "first");
    assert_eq!(rig.closes(), [1000]);
    assert_eq!((rig.link, rig.udp), (None, None));
    rig.server(Some("a.test:2048"), "token-b");
    serve_fresh(&mut rig, "first", "token-b", LOUNGE);
}

#[test]
fn an_own_move_is_answered_when_the_new_call_is_up() {
    for server_first in [false, true] {
        let mut rig = Rig::connected(config());
        rig.pass_ms(5_000);
        rig.session.connect(rig.now, channel(LOUNGE));
        rig.listen();
        assert_eq!(rig.signals(), [Some(LOUNGE)]);
        assert_eq!(
            rig.session.state(),
            ConnectionState::Connected,
            "the old call goes on"
        );
        if server_first {
            rig.server(Some("b.test"), "token-b");
            assert_eq!(rig.opens(), 0, "with the old channel it would be in vain");
            rig.state(Some(LOUNGE), "first");
        } else {
            rig.state(Some(LOUNGE), "first");
            rig.server(Some("b.test"), "token-b");
        }
        assert_eq!(rig.connects(), []);
        serve_fresh(&mut rig, "first", "token-b", LOUNGE);
        assert_eq!(rig.connects(), [Ok(())]);
    }
}

#[test]
fn a_move_to_a_full_channel_leaves_the_call_where_it_is() {
    let mut rig = Rig::connected(config());
    rig.session.connect(rig.now, channel(LOUNGE));
    rig.pass_ms(10_000);
    assert_eq!(rig.connects(), [Err(ConnectError::NoAnswer)]);
    assert_eq!(rig.session.state(), ConnectionState::Connected);
    assert_eq!(rig.session.channel(), Some(channel(LOBBY)));
    rig.session.connect(rig.now, channel(LOBBY));
    rig.listen();
    assert_eq!(rig.connects(), [Ok(())], "it is there already");
}

#[test]
fn a_kick_ends_the_call_whatever_comes_first() {
    for code in [4014, 4022] {
        for close_first in [false, true] {
            let mut rig = Rig::connected(config());
            if close_first {
                rig.cut(Some(code));
                assert_eq!(rig.session.state(), ConnectionState::AwaitingServer);
            }
            rig.state(None, "first");
            assert!(
                rig.events()
                    .contains(&VoiceEvent::Ended(EndReason::Removed))
            );
            assert_eq!(rig.session.state(), ConnectionState::Disconnected);
            assert_eq!(
                (rig.link, rig.udp, rig.session.channel()),
                (None, None, None)
            );
            assert_eq!(rig.session.poll_timeout(), None);
            assert_eq!(rig.signals(), [], "there is nothing to leave");
        }
    }
}

#[test]
fn without_an_endpoint_the_call_waits_for_a_server_as_long_as_it_takes() {
    let mut rig = Rig::connected(config());
    rig.server(None, "token-b");
    assert_eq!(rig.troubles(), [VoiceTrouble::ServerGone]);
    assert_eq!(rig.session.state(), ConnectionState::AwaitingServer);
    assert_eq!((rig.link, rig.udp), (None, None));
    rig.pass_ms(600_000);
    assert_eq!(rig.opens(), 0);
    rig.server(Some("b.test"), "token-c");
    serve_fresh(&mut rig, "first", "token-c", LOBBY);
}

#[test]
fn the_same_server_told_twice_changes_nothing() {
    let mut rig = Rig::connected(config());
    rig.server(Some("a.test:2048"), "token-a");
    assert_eq!(rig.session.state(), ConnectionState::Connected);
    assert!(rig.said.is_empty(), "{:?}", rig.said);
}

#[test]
fn another_server_for_the_same_channel_is_a_fresh_session() {
    let mut rig = Rig::connected(config());
    rig.json(json!({"op": 11, "seq": 3, "d": {"user_ids": ["777", "778"]}}));
    rig.said.clear();
    rig.server(Some("b.test"), "token-b");
    assert_eq!(rig.closes(), [1000]);
    serve_fresh(&mut rig, "first", "token-b", LOBBY);
    rig.json(json!({"op": 11, "seq": 1, "d": {"user_ids": ["778"]}}));
    // Who was there is not told twice; who is not named again has left.
    let names = |rig: &mut Rig| -> Vec<VoiceEvent> {
        let events = rig.events().into_iter();
        events
            .filter(|e| matches!(e, VoiceEvent::Joined { .. } | VoiceEvent::Left { .. }))
            .collect()
    };
    assert_eq!(names(&mut rig), []);
    rig.pass_ms(2_000);
    assert_eq!(
        names(&mut rig),
        [VoiceEvent::Left {
            user_id: Id::new(777)
        }]
    );
}

#[test]
fn a_restart_of_the_main_gateway_is_followed_by_a_rejoin_where_asked_for() {
    let mut config = config();
    config.rejoin = true;
    for closed_before in [false, true] {
        let mut rig = Rig::connected(config.clone());
        if closed_before {
            rig.cut(Some(4014));
            // Longer than anyone waits for a word: the main gateway is away.
            rig.pass_ms(120_000);
            assert_eq!(rig.session.state(), ConnectionState::AwaitingServer);
        }
        rig.session.gateway_restarted(rig.now);
        rig.listen();
        assert_eq!(rig.signals(), [Some(LOBBY)]);
        assert_eq!(rig.session.state(), ConnectionState::Joining);
        assert_eq!((rig.link, rig.udp), (None, None));
        rig.state(Some(LOBBY), "second");
        rig.server(Some("b.test"), "token-b");
        serve_fresh(&mut rig, "second", "token-b", LOBBY);
    }
}

#[test]
fn without_that_it_is_the_end() {
    let mut rig = Rig::connected(config());
    rig.session.gateway_restarted(rig.now);
    rig.listen();
    assert!(
        rig.events()
            .contains(&VoiceEvent::Ended(EndReason::SessionLost))
    );
    assert_eq!(rig.signals(), []);
    assert_eq!(rig.session.state(), ConnectionState::Disconnected);
}

#[test]
fn a_join_in_the_middle_of_a_restart_is_asked_for_again() {
    let mut rig = Rig::new(config());
    rig.session.connect(rig.now, channel(LOBBY));
    rig.session.gateway_restarted(rig.now);
    rig.listen();
    assert_eq!(rig.signals(), [Some(LOBBY), Some(LOBBY)]);
    rig.state(Some(LOBBY), "second");
    rig.server(Some("a.test"), "token-a");
    rig.serve();
    assert_eq!(rig.connects(), [Ok(())]);
}

#[test]
fn credentials_that_do_not_work_are_renewed_by_leaving_and_joining() {
    for code in [4004, 4006, 4011] {
        let mut rig = Rig::connected(config());
        rig.cut(Some(code));
        assert_eq!(rig.signals(), [None, Some(LOBBY)]);
        rig.state(None, "first");
        assert_eq!(
            rig.session.state(),
            ConnectionState::Joining,
            "that answers our own leaving"
        );
        rig.state(Some(LOBBY), "second");
        rig.server(Some("b.test"), "token-b");
        serve_fresh(&mut rig, "second", "token-b", LOBBY);
        assert!(
            !rig.events()
                .iter()
                .any(|event| matches!(event, VoiceEvent::Ended(_)))
        );
    }
}

#[test]
fn a_new_server_may_be_named_before_4022() {
    let mut rig = Rig::connected(config());
    rig.cut(Some(4022));
    rig.server(Some("b.test"), "token-b");
    serve_fresh(&mut rig, "first", "token-b", LOBBY);
}
