//! Groups form, grow and shrink.

use std::time::Duration;

use serde_json::json;

use super::super::super::frame::{OpenFrameError, Opened, SealFrameError};
use super::super::*;
use super::call::Call;

#[test]
fn two_members_hear_each_other() {
    let mut call = Call::established(&[1, 2]);
    call.all_hear_all();
    let privacy_code = call.clients[&1].dave.privacy_code().unwrap().to_owned();
    assert_eq!(
        call.client(2).events,
        [
            DaveEvent::Epoch {
                epoch: 1,
                members: vec![1, 2],
                privacy_code,
            },
            DaveEvent::Encrypted { version: 1 },
        ]
    );
}

#[test]
fn one_joins_and_one_leaves_in_the_middle() {
    let mut call = Call::established(&[1, 2]);
    let code = call.clients[&1].dave.privacy_code().unwrap().to_owned();
    call.join(3);
    call.settle();
    call.all_hear_all();
    assert_ne!(call.clients[&1].dave.privacy_code(), Some(&*code));
    call.leave(2);
    call.join(4);
    call.settle();
    assert_eq!(call.group, [1, 3, 4]);
    call.all_hear_all();
    // The one who left has no key of this epoch, and has been forgotten.
    let frame = call.client(3).seal(b"late").unwrap();
    assert_eq!(
        call.client(1).open(2, &frame),
        Err(OpenFrameError::UnknownKey)
    );
}

#[test]
fn of_two_commits_one_loses_and_is_welcomed() {
    let mut call = Call::new();
    call.join(1);
    call.join(2);
    call.propose();
    call.commit_of(2);
    call.execute();
    call.all_hear_all();
}

#[test]
fn ten_race() {
    let mut call = Call::new();
    for user in 1..=10 {
        call.join(user);
    }
    call.propose();
    call.commit_of(7);
    call.execute();
    assert_eq!(call.group.len(), 10);
    call.all_hear_all();
}

#[test]
fn the_send_key_changes_on_execute_and_receive_keys_on_prepare() {
    let mut call = Call::established(&[1, 2]);
    call.join(3);
    call.propose();
    call.commit_of(1);
    // Prepared by all; executed by 1 alone.
    for user in [1, 2, 3] {
        assert_eq!(
            call.client(user).sent_json(23),
            json!({ "transition_id": 2 })
        );
    }
    call.client(1).execute(2);
    let new = call.client(1).seal(b"new").unwrap();
    let old = call.client(2).seal(b"old").unwrap();
    assert_eq!(call.client(2).open(1, &new), Ok(Opened::Encrypted));
    assert_eq!(call.client(3).open(1, &new), Ok(Opened::Encrypted));
    assert_eq!(call.client(1).open(2, &old), Ok(Opened::Encrypted));
    assert_eq!(call.client(3).open(2, &old), Err(OpenFrameError::WrongKey));
    assert_eq!(call.client(3).seal(b"x"), Err(SealFrameError::Hold));
    call.client(2).execute(2);
    call.client(3).execute(2);
    call.all_hear_all();
}

#[test]
fn transition_zero_counts_at_once_and_is_not_acknowledged() {
    let mut call = Call::new();
    call.join(1);
    call.join(2);
    call.propose();
    call.commit_with(1, 0);
    call.all_hear_all();
}

#[test]
fn an_unknown_transition_is_ignored() {
    let mut call = Call::established(&[1, 2]);
    let changes = call.client(1).key_changes();
    call.client(1).execute(99);
    call.client(1).execute(1);
    assert_eq!(call.client(1).key_changes(), changes);
    call.all_hear_all();
}

#[test]
fn an_older_transition_does_not_undo_a_newer_one() {
    let mut call = Call::established(&[1, 2]);
    call.join(3);
    call.propose();
    call.commit_of(1);
    for user in [1, 2, 3] {
        assert_eq!(
            call.client(user).sent_json(23),
            json!({ "transition_id": 2 })
        );
    }
    call.join(4);
    call.propose();
    call.commit_of(1);
    let one = call.client(1);
    assert_eq!(one.sent_json(23), json!({ "transition_id": 3 }));
    one.execute(3);
    let changes = one.key_changes();
    one.execute(2);
    assert_eq!(one.key_changes(), changes);
    for user in [2, 3, 4] {
        call.client(user).sent_json(23);
        call.client(user).execute(3);
    }
    call.all_hear_all();
}

#[test]
fn an_unannounced_user_is_refused_without_a_word() {
    let mut call = Call::established(&[1, 2]);
    call.join(3);
    // Nobody told 1 of 3, or has told it already that 3 is gone.
    call.client(1).left(3);
    call.propose();
    call.client(1).sent_nothing();
    // 2 has been told, and commits.
    assert!(!call.client(2).sent.is_empty());
}

#[test]
fn a_welcome_may_list_who_left_ten_seconds_ago() {
    for (seconds, accepted) in [(10, true), (11, false)] {
        let mut call = Call::new();
        for user in [1, 2, 3] {
            call.join(user);
        }
        call.propose();
        call.client(3).left(2);
        call.pass(Duration::from_secs(seconds));
        let (_, welcome) = call.take_commits(1);
        let payload = [&[0, 9][..], &welcome.unwrap()].concat();
        call.client(3).binary(30, payload);
        if accepted {
            assert_eq!(call.client(3).sent_json(23), json!({ "transition_id": 9 }));
        } else {
            assert_eq!(call.client(3).sent_json(31), json!({ "transition_id": 9 }));
            call.client(3).sent_binary(26);
        }
        call.client(3).sent_nothing();
    }
}

#[test]
fn a_revoked_proposal_is_not_committed() {
    let mut call = Call::established(&[1, 2]);
    let group = call.group.clone();
    call.join(3);
    let package = call
        .client(3)
        .dave
        .session
        .as_mut()
        .unwrap()
        .create_key_package()
        .unwrap();
    let add = call.sponsor.add(1, &package);
    for user in &group {
        call.client(*user).binary(
            27,
            super::super::super::testing::append(std::slice::from_ref(&add)),
        );
        call.client(*user).sent_binary(28);
        let revoke = call.sponsor.revoke(std::slice::from_ref(&add));
        call.client(*user).binary(27, revoke);
        call.client(*user).sent_nothing();
    }
    call.leave(3);
    call.all_hear_all();
    call.join(4);
    call.settle();
    assert_eq!(call.group, [1, 2, 4]);
    call.all_hear_all();
}

#[test]
fn a_lone_member_holds_and_the_call_fills_again() {
    let mut call = Call::established(&[1, 2]);
    call.clients.remove(&2);
    call.client(1).left(2);
    call.client(1)
        .json(24, json!({ "protocol_version": 1, "epoch": 1 }));
    // The keys stay until the transition.
    assert!(call.client(1).seal(b"x").is_ok());
    call.client(1)
        .json(21, json!({ "protocol_version": 1, "transition_id": 0 }));
    assert_eq!(call.client(1).seal(b"x"), Err(SealFrameError::Hold));
    assert_eq!(call.client(1).events.last(), Some(&DaveEvent::Alone));
    assert_eq!(call.client(1).epoch(), None);
    assert_eq!(call.client(1).dave.privacy_code(), None);
    call.group.clear();
    call.epoch = 0;
    call.take_key_package(1);
    call.join(3);
    call.settle();
    call.all_hear_all();
}

#[test]
fn a_pair_of_users_has_one_verification_code_for_the_whole_call() {
    let mut call = Call::established(&[1, 2]);
    let job = |call: &Call, own: u64, other| call.clients[&own].dave.verification(other);
    assert!(job(&call, 1, 3).is_none());
    let first = job(&call, 1, 2).unwrap();
    let second = job(&call, 2, 1).unwrap();
    // A new start keeps the identities.
    for user in [1, 2] {
        call.client(user)
            .json(24, json!({ "protocol_version": 1, "epoch": 1 }));
        call.take_key_package(user);
    }
    assert!(job(&call, 1, 2).is_none());
    call.group.clear();
    call.epoch = 0;
    call.settle();
    let later = job(&call, 1, 2).unwrap();
    assert_eq!(later.other, first.other);
    assert_eq!(later.own.1.public_key(), first.own.1.public_key());

    let other = std::thread::spawn(|| second.run());
    let code = first.run().unwrap();
    assert_eq!(code.len(), 45);
    assert!(code.bytes().all(|digit| digit.is_ascii_digit()));
    assert_eq!(other.join().unwrap(), Ok(code));
}

#[test]
fn a_later_epoch_is_acknowledged_only_if_it_has_a_transition() {
    let mut call = Call::established(&[1, 2]);
    let one = call.client(1);
    one.json(24, json!({ "protocol_version": 1, "epoch": "2" }));
    one.json(
        24,
        json!({ "protocol_version": 1, "epoch": 2, "transition_id": 0 }),
    );
    one.sent_nothing();
    one.json(
        24,
        json!({ "protocol_version": 1, "epoch": "2", "transition_id": 5 }),
    );
    assert_eq!(one.sent_json(23), json!({ "transition_id": 5 }));
    call.all_hear_all();
}
