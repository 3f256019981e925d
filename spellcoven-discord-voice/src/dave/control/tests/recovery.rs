//! What goes wrong, and how it is put right.

use serde_json::json;

use super::super::super::{
    frame::{OpenFrameError, Opened},
    mls::Work,
    testing,
};
use super::super::*;
use super::call::{Call, Client};

/// 1 has begun anew and is proposed out and in again in one epoch; another member commits.
fn welcome_again(call: &mut Call, user: u64, other: u64) {
    call.take_key_package(user);
    call.propose_removal(user);
    call.propose();
    call.commit_of(other);
    call.execute();
    call.all_hear_all();
}

fn is_recovering(client: &Client) -> bool {
    matches!(client.events.last(), Some(DaveEvent::Recovering { .. }))
}

#[test]
fn an_invalid_commit_is_told_and_the_group_entered_anew() {
    let mut call = Call::established(&[1, 2, 3]);
    call.join(4);
    call.propose();
    let (mut commit, welcome) = call.take_commits(2);
    for user in [2, 3] {
        call.client(user)
            .binary(29, [&[0, 2][..], &commit].concat());
    }
    let last = commit.len() - 40;
    commit[last] ^= 1;
    let one = call.client(1);
    one.binary(29, [&[0, 2][..], &commit].concat());
    assert_eq!(one.sent_json(31), json!({ "transition_id": 2 }));
    assert!(is_recovering(one));
    assert!(
        one.seal(b"x").is_ok(),
        "the old key is good until the next transition"
    );
    call.client(4)
        .binary(30, [&[0, 2][..], &welcome.unwrap()].concat());
    for user in [2, 3, 4] {
        assert_eq!(
            call.client(user).sent_json(23),
            json!({ "transition_id": 2 })
        );
        call.client(user).execute(2);
    }
    call.transition = 2;
    call.group = vec![2, 3, 4, 1];
    call.next_epoch();
    welcome_again(&mut call, 1, 2);
}

#[test]
fn an_invalid_welcome_is_told_and_the_group_entered_anew() {
    let mut call = Call::new();
    for user in [1, 2, 3] {
        call.join(user);
    }
    call.propose();
    let (commit, welcome) = call.take_commits(2);
    let welcome = welcome.unwrap();
    call.client(2).binary(29, [&[0, 1][..], &commit].concat());
    call.client(3).binary(30, [&[0, 1][..], &welcome].concat());
    let mut bad = welcome.clone();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    let one = call.client(1);
    one.binary(30, [&[0, 1][..], &bad].concat());
    assert_eq!(one.sent_json(31), json!({ "transition_id": 1 }));
    assert!(is_recovering(one));
    for user in [2, 3] {
        assert_eq!(
            call.client(user).sent_json(23),
            json!({ "transition_id": 1 })
        );
        call.client(user).execute(1);
    }
    call.transition = 1;
    call.group = vec![2, 3, 1];
    call.next_epoch();
    welcome_again(&mut call, 1, 3);
}

#[test]
fn a_panic_of_the_library_is_an_invalid_commit() {
    let mut call = Call::established(&[1, 2]);
    let one = call.client(1);
    one.dave.job(Work::Panic);
    one.drain();
    assert_eq!(one.sent_json(31), json!({ "transition_id": 1 }));
    assert!(is_recovering(one));
    welcome_again(&mut call, 1, 2);
}

#[test]
fn bad_proposals_are_never_answered() {
    let mut call = Call::established(&[1, 2]);
    let wrong_epoch = {
        let mut other = Client::new(3, E2eePolicy::Required);
        other.version(1);
        call.sponsor.add(0, &other.sent_binary(26))
    };
    let one = call.client(1);
    one.connected(3);
    for payload in [
        vec![],
        vec![0],
        vec![1, 5, 1],
        vec![2, 0],
        vec![0, 2, 9, 9],
        testing::append(&[wrong_epoch]).to_vec(),
    ] {
        one.binary(27, payload);
        one.sent_nothing();
    }
    call.all_hear_all();
}

#[test]
fn rubbish_does_no_harm() {
    let mut call = Call::established(&[1, 2]);
    let one = call.client(1);
    for op in [21, 22, 24] {
        for d in [
            json!(null),
            json!({}),
            json!([]),
            json!({ "transition_id": "x", "protocol_version": -1 }),
        ] {
            one.json(op, d);
        }
    }
    for op in 0..=255 {
        one.binary(op, vec![]);
        one.binary(op, vec![0]);
    }
    one.sent_nothing();
    // An empty commit or welcome is an invalid one.
    one.binary(29, vec![0, 7]);
    assert_eq!(one.sent_json(31), json!({ "transition_id": 7 }));
    welcome_again(&mut call, 1, 2);
}

#[test]
fn a_second_external_sender_changes_nothing_in_a_group() {
    let mut call = Call::established(&[1, 2]);
    let other = testing::Sponsor::new(super::call::CHANNEL);
    call.client(1).binary(25, other.external_sender());
    call.client(1).sent_nothing();
    call.join(3);
    call.settle();
    call.all_hear_all();
}

#[test]
fn when_nobody_can_be_heard_the_group_is_entered_anew() {
    let mut call = Call::established(&[1, 2, 3]);
    let one = call.client(1);
    one.dave.receivers_failing(one.now);
    one.drain();
    assert_eq!(one.sent_json(31), json!({ "transition_id": 1 }));
    assert!(is_recovering(one));
    // Once is enough.
    one.dave.receivers_failing(one.now);
    one.drain();
    assert_eq!(one.sent.len(), 1);
    welcome_again(&mut call, 1, 2);
}

#[test]
fn in_a_group_of_two_the_other_one_brings_about_a_new_start_every_half_a_minute_at_most() {
    let mut call = Call::established(&[1, 2]);
    let fail = |call: &mut Call| {
        let one = call.client(1);
        one.dave.receivers_failing(one.now);
        one.drain();
        is_recovering(one)
    };
    assert!(fail(&mut call));
    call.client(1).sent_json(31);
    welcome_again(&mut call, 1, 2);
    call.pass(Duration::from_secs(29));
    assert!(!fail(&mut call));
    call.client(1).sent_nothing();
    call.pass(Duration::from_secs(1));
    assert!(fail(&mut call));
    call.client(1).sent_json(31);
}

#[test]
fn failures_are_no_reason_during_a_transition_or_after_transition_zero() {
    let mut call = Call::established(&[1, 2]);
    call.join(3);
    call.propose();
    call.commit_of(1);
    let one = call.client(1);
    one.sent_json(23);
    one.dave.receivers_failing(one.now);
    one.drain();
    one.sent_nothing();

    let mut call = Call::new();
    call.join(1);
    call.join(2);
    call.propose();
    call.commit_with(1, 0);
    let one = call.client(1);
    one.dave.receivers_failing(one.now);
    one.drain();
    one.sent_nothing();
    call.all_hear_all();
}

#[test]
fn a_transition_whose_word_never_came_is_over_with_the_next_one() {
    let mut call = Call::established(&[1, 2]);
    for user in [1, 2] {
        let client = call.client(user);
        client.dave.config.policy = E2eePolicy::Preferred;
        client.json(21, json!({ "protocol_version": 0, "transition_id": 9 }));
        client.sent_json(23);
        assert_eq!(client.open(3 - user, b"clear"), Ok(Opened::Plain));
    }
    // The word for it is lost.
    call.join(3);
    call.settle();
    let one = call.client(1);
    assert_eq!(one.open(2, b"clear"), Err(OpenFrameError::Plaintext));
    one.execute(9);
    call.all_hear_all();
    let one = call.client(1);
    one.dave.receivers_failing(one.now);
    one.drain();
    assert_eq!(one.sent_json(31), json!({ "transition_id": 2 }));
    welcome_again(&mut call, 1, 2);
}

#[test]
fn a_transition_prepared_before_a_new_start_still_counts() {
    let mut call = Call::established(&[1, 2]);
    call.join(3);
    call.propose();
    call.commit_of(1);
    for user in [1, 2, 3] {
        call.client(user).sent_json(23);
    }
    let one = call.client(1);
    one.binary(29, vec![0, 9, 1]);
    assert_eq!(one.sent_json(31), json!({ "transition_id": 9 }));
    one.execute(2);
    call.client(3).execute(2);
    let frame = call.client(1).seal(b"new key").unwrap();
    assert_eq!(call.client(3).open(1, &frame), Ok(Opened::Encrypted));
}
