//! Lost, late and damaged messages.

use super::*;

#[test]
fn a_damaged_welcome_is_reported_and_its_reader_added_anew_in_one_epoch() {
    let mut call = Call::of(&[1, 2]);
    call.forget_what_was_sent();
    call.fault(DaveFault::CorruptWelcome(Some(3)));
    call.join(3);
    call.settle();
    call.assert_together();
    assert_eq!(call.e2ee(3).invalid, 1);
    assert_eq!(
        call.count(|note| *note == DaveNote::InvalidReported { user: 3 }),
        1
    );
    assert_eq!(call.group.epoch(), 3, "one for the first Add, one for both");
    assert!(call.notes.contains(&DaveNote::Proposed {
        epoch: 2,
        adds: vec![3],
        removes: vec![3],
    }));
}

#[test]
fn a_damaged_commit_is_reported_by_the_one_who_got_it() {
    for damaged in 1..=3 {
        let mut call = Call::of(&[1, 2, 3]);
        call.fault(DaveFault::CorruptCommit(Some(damaged)));
        call.join(4);
        call.settle();
        call.assert_together();
        assert_eq!(call.e2ee(damaged).invalid, 1);
    }
}

#[test]
fn a_commit_that_is_damaged_for_all_ends_the_group_and_a_new_one_begins() {
    let mut call = Call::of(&[1, 2]);
    call.forget_what_was_sent();
    call.fault(DaveFault::CorruptCommit(None));
    call.leave(2);
    call.join(3);
    call.settle();
    call.assert_together();
}

#[test]
fn a_damaged_first_commit_does_not_end_the_call() {
    let mut call = Call::new();
    call.fault(DaveFault::CorruptCommit(None));
    call.join(1);
    call.join(2);
    call.settle();
    call.assert_together();
}

#[test]
fn a_damaged_welcome_in_a_call_of_two_does_not_end_it() {
    let mut call = Call::new();
    call.fault(DaveFault::CorruptWelcome(None));
    call.join(1);
    call.join(2);
    call.settle();
    call.assert_together();
}

#[test]
fn who_does_not_get_ready_is_waited_for_two_seconds() {
    let mut call = Call::new();
    call.lost.insert(op::TRANSITION_READY);
    call.join(1);
    call.join(2);
    call.run();
    assert_eq!(call.group.poll_timeout(), Some(Duration::from_secs(2)));
    call.group.timeout(Duration::from_millis(1999));
    call.collect();
    assert!(!call.got(1).contains(&op::EXECUTE_TRANSITION));
    call.settle();
    call.assert_together();
    assert_eq!(call.now, Duration::from_secs(2));
    assert!(call.notes.contains(&DaveNote::TransitionExecuted {
        transition: 1,
        late: vec![1, 2],
    }));
}

#[test]
fn a_transition_does_not_wait_for_one_who_left() {
    let mut call = Call::of(&[1, 2, 3]);
    call.slow.insert(3);
    call.join(4);
    call.run();
    call.forget_what_was_sent();
    assert!(call.group.poll_timeout().is_some());
    call.leave(3);
    call.run();
    call.assert_together();
    assert!(call.now < Duration::from_secs(2));
}

#[test]
fn a_lost_execution_leaves_the_old_key_in_use() {
    let mut call = Call::of(&[1, 2]);
    call.forget_what_was_sent();
    call.fault(DaveFault::DropExecute);
    call.join(3);
    call.settle();
    assert!(!call.got(1).contains(&op::EXECUTE_TRANSITION));
    assert_eq!(call.e2ee(3).seal(b"x"), None, "the newcomer has no key yet");
    let sealed = call.e2ee(1).seal(b"old key").unwrap();
    let now = call.now;
    assert_eq!(call.e2ee(2).open(now, 1, &sealed).unwrap(), b"old key");
    call.join(4);
    call.settle();
    call.assert_together();
}

#[test]
fn a_slow_execution_comes_later() {
    let mut call = Call::of(&[1, 2]);
    call.forget_what_was_sent();
    let before = call.now;
    call.fault(DaveFault::SlowExecute(Duration::from_secs(5)));
    call.join(3);
    call.run();
    assert!(!call.got(1).contains(&op::EXECUTE_TRANSITION));
    call.settle();
    assert_eq!(call.now - before, Duration::from_secs(5));
    call.assert_together();
}

#[test]
fn an_execution_of_an_unknown_transition_and_a_foreign_sender_change_nothing() {
    let mut call = Call::of(&[1, 2]);
    call.fault(DaveFault::ExecuteUnknown);
    call.fault(DaveFault::AnotherExternalSender);
    call.group.announce_external_sender();
    call.collect();
    call.settle();
    call.assert_together();
    call.join(3);
    call.settle();
    call.assert_together();
}

#[test]
fn a_transition_executes_those_before_it() {
    let mut call = Call::of(&[1, 2]);
    // The first transition's acknowledgement of 2 is lost, the second one's is not.
    call.join(3);
    call.slow.insert(2);
    call.run();
    assert_eq!(call.group.epoch(), 2);
    call.join(4);
    call.run();
    assert_eq!(call.group.epoch(), 3);
    let first = call.clients.get_mut(&2).unwrap();
    let place = first
        .outbox
        .iter()
        .position(|reply| {
            matches!(
                reply,
                Reply::Json {
                    op: op::TRANSITION_READY,
                    ..
                }
            )
        })
        .unwrap();
    first.outbox.remove(place);
    call.slow.clear();
    call.forget_what_was_sent();
    call.run();
    call.assert_together();
    let executions = call
        .got(2)
        .iter()
        .filter(|op| **op == op::EXECUTE_TRANSITION);
    assert_eq!(executions.count(), 2);
}

#[test]
fn one_who_missed_a_commit_is_found_out_at_the_next_and_added_anew() {
    let mut call = Call::of(&[1, 2, 3]);
    call.join(4);
    call.send(4);
    call.receive(1);
    call.receive(1);
    call.send(1);
    let inbox = &mut call.clients.get_mut(&2).unwrap().inbox;
    let place = inbox
        .iter()
        .position(|sent| sent.op() == op::ANNOUNCE_COMMIT)
        .unwrap();
    inbox.remove(place);
    call.settle();
    assert_eq!(call.group.epoch(), 3);
    assert!(call.apart().is_some());
    call.join(5);
    call.settle();
    call.assert_together();
    assert_eq!(call.e2ee(2).invalid, 1);
}

#[test]
fn commits_that_were_all_lost_are_made_up_for_by_the_next_proposal() {
    let mut call = Call::of(&[1, 2]);
    call.lost.insert(op::COMMIT_WELCOME);
    call.join(3);
    call.run();
    assert_eq!(call.group.epoch(), 1);
    call.lost.clear();
    call.join(4);
    call.settle();
    call.assert_together();
}

#[test]
fn one_who_reports_and_sends_no_key_package_is_removed_after_the_grace() {
    let mut call = Call::of(&[1, 2, 3]);
    call.lost.insert(op::KEY_PACKAGE);
    call.fault(DaveFault::CorruptWelcome(Some(4)));
    call.join(4);
    call.lost.clear();
    call.send(4);
    call.lost.insert(op::KEY_PACKAGE);
    call.forget_what_was_sent();
    call.settle();
    let members: BTreeSet<u64> = call.group.members().into_iter().collect();
    assert_eq!(members, BTreeSet::from([1, 2, 3]));
    call.leave(4);
    call.settle();
    call.assert_together();
}
