//! Calls that are not end-to-end encrypted, and the ways there and back.

use std::time::Duration;

use serde_json::json;

use super::super::super::frame::{OpenFrameError, Opened, SealFrameError};
use super::super::*;
use super::call::{Call, Client};

const CLEAR: &[u8] = b"clear";

#[test]
fn the_policy_decides_about_version_zero() {
    for (policy, allowed) in [(E2eePolicy::Required, false), (E2eePolicy::Preferred, true)] {
        let mut client = Client::new(1, policy);
        assert_eq!(
            client.seal(CLEAR),
            Err(SealFrameError::Hold),
            "nothing is known yet"
        );
        client.version(0);
        assert_eq!(client.events, [DaveEvent::NotEncrypted { allowed }]);
        if allowed {
            assert_eq!(client.seal(CLEAR).unwrap(), CLEAR);
            assert_eq!(client.open(2, CLEAR), Ok(Opened::Plain));
        } else {
            assert_eq!(client.seal(CLEAR), Err(SealFrameError::Hold));
            assert_eq!(client.open(2, CLEAR), Err(OpenFrameError::Plaintext));
        }
        client.sent_nothing();
        assert_eq!(client.dave.active_version(), 0);
    }
}

#[test]
fn a_version_that_we_do_not_speak_means_no_media() {
    let mut client = Client::new(1, E2eePolicy::Preferred);
    client.version(2);
    assert!(matches!(
        client.events.as_slice(),
        [DaveEvent::Failed { .. }]
    ));
    assert_eq!(client.seal(CLEAR), Err(SealFrameError::Hold));
    assert_eq!(client.open(2, CLEAR), Err(OpenFrameError::Plaintext));
    client.sent_nothing();
    // The server thinks better of it.
    client.json(24, json!({ "protocol_version": 1, "epoch": 1 }));
    client.sent_binary(26);
}

fn with_policy(policy: E2eePolicy) -> Call {
    let mut call = Call::established(&[1, 2]);
    for client in call.clients.values_mut() {
        client.dave.config.policy = policy;
    }
    call
}

fn prepare(call: &mut Call, transition: u16, version: u16) {
    for client in call.clients.values_mut() {
        client.json(
            21,
            json!({ "protocol_version": version, "transition_id": transition }),
        );
        if transition != 0 {
            assert_eq!(client.sent_json(23), json!({ "transition_id": transition }));
        }
        client.sent_nothing();
    }
}

#[test]
fn down_and_up_again_where_that_is_allowed() {
    let mut call = with_policy(E2eePolicy::Preferred);
    prepare(&mut call, 10, 0);
    let sealed = call.client(1).seal(b"still sealed").unwrap();
    assert_ne!(sealed, b"still sealed");
    assert_eq!(
        call.client(2).open(1, CLEAR),
        Ok(Opened::Plain),
        "the other may be first"
    );
    call.client(1).execute(10);
    assert_eq!(call.client(1).seal(CLEAR).unwrap(), CLEAR);
    assert_eq!(call.client(2).open(1, &sealed), Ok(Opened::Encrypted));
    call.client(2).execute(10);
    let one = call.client(1);
    assert_eq!(
        one.events.last(),
        Some(&DaveEvent::NotEncrypted { allowed: true })
    );
    assert_eq!((one.dave.active_version(), one.epoch()), (0, None));
    assert_eq!(one.dave.privacy_code(), None);

    call.group.clear();
    call.epoch = 0;
    call.transition = 10;
    for user in [1, 2] {
        call.client(user)
            .json(24, json!({ "protocol_version": 1, "epoch": 1 }));
        call.take_key_package(user);
        assert_eq!(
            call.client(user).seal(CLEAR).unwrap(),
            CLEAR,
            "until it is executed"
        );
    }
    call.settle();
    call.all_hear_all();
    assert_eq!(call.client(1).dave.active_version(), 1);
    call.pass(Duration::from_millis(9_999));
    assert_eq!(call.client(1).open(2, CLEAR), Ok(Opened::Plain));
    call.pass(Duration::from_millis(1));
    assert_eq!(
        call.client(1).open(2, CLEAR),
        Err(OpenFrameError::Plaintext)
    );
    call.all_hear_all();
}

#[test]
fn down_means_silence_where_encryption_is_required() {
    let mut call = with_policy(E2eePolicy::Required);
    let [first, last] = [b"first", b"last."].map(|frame| call.client(1).seal(frame).unwrap());
    prepare(&mut call, 10, 0);
    assert_eq!(
        call.client(2).open(1, CLEAR),
        Err(OpenFrameError::Plaintext)
    );
    for user in [1, 2] {
        let client = call.client(user);
        client.execute(10);
        assert_eq!(client.seal(CLEAR), Err(SealFrameError::Hold));
        assert_eq!(
            client.events.last(),
            Some(&DaveEvent::NotEncrypted { allowed: false })
        );
    }
    assert_eq!(
        call.client(2).open(1, CLEAR),
        Err(OpenFrameError::Plaintext)
    );
    // The keys held stay good for ten seconds.
    call.pass(Duration::from_secs(10));
    assert_eq!(call.client(2).open(1, &first), Ok(Opened::Encrypted));
    call.pass(Duration::from_secs(1));
    assert_eq!(
        call.client(2).open(1, &last),
        Err(OpenFrameError::UnknownKey)
    );
}

#[test]
fn a_way_down_that_is_not_taken_leaves_the_keys_as_they_are() {
    let mut call = with_policy(E2eePolicy::Preferred);
    prepare(&mut call, 10, 0);
    call.pass(Duration::from_secs(60));
    call.all_hear_all();
    let last = call.client(1).seal(b"last").unwrap();
    for user in [1, 2] {
        call.client(user).execute(10);
    }
    call.pass(Duration::from_secs(9));
    assert_eq!(call.client(2).open(1, &last), Ok(Opened::Encrypted));
}

#[test]
fn down_by_transition_zero_is_at_once() {
    let mut call = with_policy(E2eePolicy::Preferred);
    prepare(&mut call, 0, 0);
    for user in [1, 2] {
        assert_eq!(call.client(user).seal(CLEAR).unwrap(), CLEAR);
    }
}

#[test]
fn a_group_begun_before_the_way_down_is_executed_survives_it() {
    let mut call = with_policy(E2eePolicy::Preferred);
    prepare(&mut call, 10, 0);
    call.group.clear();
    call.epoch = 0;
    call.transition = 10;
    for user in [1, 2] {
        let client = call.client(user);
        client.json(24, json!({ "protocol_version": 1, "epoch": 1 }));
        client.execute(10);
        call.take_key_package(user);
    }
    call.settle();
    call.all_hear_all();
}

#[test]
fn a_stage_may_turn_into_an_encrypted_call() {
    let mut call = Call::new();
    for user in [1, 2] {
        let mut client = Client::new(user, E2eePolicy::Preferred);
        client.binary(25, call.sponsor.external_sender());
        client.version(0);
        client.connected(3 - user);
        client.json(24, json!({ "protocol_version": 1, "epoch": 1 }));
        call.clients.insert(user, client);
        call.take_key_package(user);
    }
    call.settle();
    call.all_hear_all();
}
