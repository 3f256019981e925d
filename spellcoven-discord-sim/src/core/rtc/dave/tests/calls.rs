//! Joining and leaving.

use super::*;

#[test]
fn one_alone_gets_the_external_sender_and_holds_what_they_say() {
    let mut call = Call::of(&[1]);
    assert_eq!(call.got(1), [op::EXTERNAL_SENDER]);
    assert_eq!(call.e2ee(1).seal(b"hello"), None);
    assert_eq!(call.group.epoch(), 0);
}

#[test]
fn two_find_together_by_the_first_commit() {
    let mut call = Call::of(&[1, 2]);
    call.assert_together();
    assert_eq!(call.epochs(), [(1, vec![1, 2], 1)]);
    assert_eq!(
        call.got(1),
        [
            op::EXTERNAL_SENDER,
            op::PROPOSALS,
            op::ANNOUNCE_COMMIT,
            op::EXECUTE_TRANSITION
        ]
    );
    assert_eq!(
        call.got(2),
        [
            op::EXTERNAL_SENDER,
            op::PROPOSALS,
            op::WELCOME,
            op::EXECUTE_TRANSITION
        ]
    );
    assert_eq!(call.refusals(), ["of another epoch"], "the loser's");
    assert!(call.complaints.is_empty(), "{:?}", call.complaints);
}

#[test]
fn the_messages_have_the_sizes_and_first_bytes_of_the_protocol() {
    let mut call = Call::new();
    call.join(1);
    call.join(2);
    let sender = match &call.clients[&1].inbox[0] {
        Sent::Binary(op::EXTERNAL_SENDER, payload) => payload.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(sender.len(), 74);
    assert!(sender.starts_with(&[0x40, 0x41, 0x04]));
    assert!(call.send(1) && call.send(2));
    let proposals = match call.clients[&1].inbox.back().unwrap() {
        Sent::Binary(op::PROPOSALS, payload) => payload.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(proposals[0], 0, "append");
    assert_eq!(proposals[1] >> 6, 1, "a length of two bytes");
    let message = &proposals[3..];
    assert!(message.starts_with(&[0, 1, 0, 1, 8]));
    assert_eq!(message[5..13], CHANNEL.to_be_bytes());
    assert_eq!(message[13..21], [0; 8], "epoch");
    assert_eq!(
        message[21..30],
        [2, 0, 0, 0, 0, 0, 2, 0, 1],
        "external, an Add"
    );
}

#[test]
fn ten_join_one_by_one() {
    let users: Vec<u64> = (1..=10).collect();
    let mut call = Call::of(&users);
    call.assert_together();
    assert_eq!(call.group.epoch(), 9);
    assert!(call.complaints.is_empty(), "{:?}", call.complaints);
}

#[test]
fn ten_join_at_once() {
    let mut call = Call::new();
    for user in 1..=10 {
        call.join(user);
    }
    call.settle();
    call.assert_together();
    assert!(
        call.group.epoch() <= 3,
        "proposals wait for the commit under way"
    );
}

#[test]
fn without_patience_three_race_for_the_first_group() {
    let mut call = Call::with(DaveSettings {
        patience: Duration::ZERO,
        ..DaveSettings::default()
    });
    for user in 1..=3 {
        call.join(user);
        call.send(user);
    }
    // Everyone commits to what they know, the third one to all.
    call.settle();
    call.assert_together();
    assert_eq!(call.group.epoch(), 1);
    let refused = call.refusals();
    assert!(
        refused.contains(&"leaves out a proposal in flight"),
        "{refused:?}"
    );
}

#[test]
fn one_leaves_and_the_others_go_on() {
    let mut call = Call::of(&[1, 2, 3]);
    let before = call.e2ee(1).privacy_code().unwrap().to_owned();
    call.forget_what_was_sent();
    call.leave(2);
    call.settle();
    call.assert_together();
    assert_eq!(call.epochs(), [(3, vec![1, 3], 3)]);
    assert_ne!(call.e2ee(1).privacy_code(), Some(before.as_str()));
}

#[test]
fn a_blank_leaf_is_the_next_joiners() {
    let mut call = Call::of(&[1, 2, 3]);
    call.leave(2);
    call.settle();
    call.forget_what_was_sent();
    call.join(4);
    call.settle();
    call.assert_together();
    assert_eq!(call.epochs(), [(4, vec![1, 4, 3], 4)]);
    // The leaves are right only if the next Remove strikes the right one.
    call.leave(3);
    call.settle();
    call.assert_together();
    call.leave(1);
    call.join(5);
    call.settle();
    call.assert_together();
}

#[test]
fn one_joins_while_a_transition_waits() {
    for one_at_a_time in [false, true] {
        let mut call = Call::with(DaveSettings {
            one_transition_at_a_time: one_at_a_time,
            ..DaveSettings::default()
        });
        call.join(1);
        call.join(2);
        call.lost.insert(op::TRANSITION_READY);
        call.run();
        assert_eq!(call.group.epoch(), 1);
        assert!(!call.got(1).contains(&op::EXECUTE_TRANSITION));
        call.lost.clear();
        call.join(3);
        call.run();
        assert_eq!(call.group.epoch(), if one_at_a_time { 1 } else { 2 });
        call.settle();
        call.assert_together();
        assert_eq!(call.group.epoch(), 2);
    }
}

#[test]
fn the_last_one_starts_over_and_the_next_one_is_heard() {
    let mut call = Call::of(&[1, 2]);
    call.forget_what_was_sent();
    call.leave(2);
    call.settle();
    assert_eq!(call.got(1), [op::PREPARE_EPOCH, op::PREPARE_TRANSITION]);
    assert_eq!(call.group.epoch(), 0);
    assert_eq!(
        call.e2ee(1).seal(b"alone"),
        None,
        "nothing is sent in clear"
    );
    assert_eq!(
        call.count(|note| *note == DaveNote::GroupReset { left: vec![1] }),
        1
    );
    call.join(3);
    call.settle();
    call.assert_together();
    assert_eq!(call.group.epoch(), 1);
}

#[test]
fn an_empty_call_is_as_new() {
    let mut call = Call::of(&[1, 2]);
    call.leave(1);
    call.leave(2);
    call.settle();
    assert_eq!(call.group.poll_timeout(), None);
    call.join(1);
    call.join(2);
    call.settle();
    call.assert_together();
}

#[test]
fn the_add_of_one_who_left_is_taken_back() {
    let mut call = Call::of(&[1, 2]);
    call.forget_what_was_sent();
    call.join(3);
    call.send(3);
    call.leave(3);
    call.settle();
    call.assert_together();
    assert_eq!(call.got(1), [op::PROPOSALS, op::PROPOSALS]);
    assert_eq!(call.group.epoch(), 1, "nothing was committed");
    assert_eq!(
        call.count(|note| matches!(note, DaveNote::Revoked { .. })),
        1
    );
}

#[test]
fn without_revocation_one_who_left_is_added_and_removed() {
    let mut call = Call::with(DaveSettings {
        revoke_on_leave: false,
        ..DaveSettings::default()
    });
    for user in 1..=3 {
        call.join(user);
        call.settle();
    }
    call.join(4);
    call.send(4);
    // The clients commit before they hear that the fourth is gone.
    for user in 1..=3 {
        while call.receive(user) {}
    }
    call.leave(4);
    call.settle();
    call.assert_together();
    assert_eq!(call.group.epoch(), 4);
}

#[test]
fn a_pending_one_leaves_before_there_is_a_group() {
    let mut call = Call::new();
    for user in 1..=3 {
        call.join(user);
        call.send(user);
    }
    call.leave(1);
    call.settle();
    call.assert_together();
}

#[test]
fn a_first_group_may_come_without_a_transition() {
    let mut call = Call::with(DaveSettings {
        first_transition_zero: true,
        ..DaveSettings::default()
    });
    call.join(1);
    call.join(2);
    call.run();
    call.assert_together();
    assert_eq!(call.epochs(), [(1, vec![1, 2], 0)]);
    assert!(!call.got(1).contains(&op::EXECUTE_TRANSITION));
    call.join(3);
    call.settle();
    call.assert_together();
    assert_eq!(call.epochs().last().unwrap().2, 1);
    assert!(call.complaints.is_empty(), "{:?}", call.complaints);
}

#[test]
fn one_who_connects_anew_without_leaving_gets_a_new_leaf_in_one_epoch() {
    let mut call = Call::of(&[1, 2, 3]);
    call.forget_what_was_sent();
    call.clients.remove(&2);
    call.join(2);
    call.settle();
    call.assert_together();
    assert_eq!(call.group.epoch(), 3);
}
