//! Everything in the order in which it came.

use serde_json::json;

use super::super::super::{frame::SealFrameError, testing};
use super::super::*;
use super::call::{CHANNEL, Call, Client, Sent};

#[test]
fn what_comes_before_the_version_waits() {
    let call = Call::new();
    let mut client = Client::new(1, E2eePolicy::Required);
    let mut other = Client::new(2, E2eePolicy::Required);
    other.version(1);
    let package = other.sent_binary(26);
    client.connected(2);
    client.binary(25, call.sponsor.external_sender());
    client.binary(27, testing::append(&[call.sponsor.add(0, &package)]));
    client.sent_nothing();
    client.version(1);
    client.sent_binary(26);
    client.sent_binary(28);
    client.sent_nothing();
}

#[test]
fn the_external_sender_may_come_before_or_after_the_version() {
    for early in [true, false] {
        let call = Call::new();
        let mut client = Client::new(1, E2eePolicy::Required);
        if early {
            client.binary(25, call.sponsor.external_sender());
        }
        client.version(1);
        if !early {
            client.binary(25, call.sponsor.external_sender());
        }
        client.sent_binary(26);
        client.sent_nothing();
        let group = client.dave.session.as_ref().unwrap().group().unwrap();
        assert_eq!(group.epoch().as_u64(), 0);
        assert_eq!(group.group_id().as_slice(), CHANNEL.to_be_bytes());
    }
}

#[test]
fn messages_wait_for_the_job_before_them() {
    let mut call = Call::established(&[1, 2]);
    call.client(1).holds_jobs = true;
    call.join(3);
    call.propose();
    let one = call.client(1);
    assert_eq!(one.jobs.len(), 1);
    // Meanwhile: 2's commit wins, is executed, 3 leaves, comes again, and is proposed before that is known.
    call.transition = 2;
    let (commit, welcome) = call.take_commits(2);
    let commit = [&[0, 2][..], &commit].concat();
    let one = call.client(1);
    one.binary(29, commit.clone());
    one.execute(2);
    one.left(3);
    one.json(
        24,
        json!({ "protocol_version": 1, "epoch": 2, "transition_id": 7 }),
    );
    let changes = one.key_changes();
    one.sent_nothing();

    one.run_job();
    one.sent_binary(28);
    one.sent_nothing();
    assert_eq!(one.jobs.len(), 1, "the commit follows");
    assert_eq!(one.key_changes(), changes);
    one.run_job();
    assert_eq!(one.key_changes(), changes + 1);
    assert_eq!(one.sent_json(23), json!({ "transition_id": 2 }));
    assert_eq!(one.sent_json(23), json!({ "transition_id": 7 }));
    one.sent_nothing();
    assert!(one.jobs.is_empty());

    call.client(2).binary(29, commit);
    call.client(3)
        .binary(30, [&[0, 2][..], &welcome.unwrap()].concat());
    for user in [2, 3] {
        call.client(user).sent_json(23);
        call.client(user).execute(2);
    }
    call.next_epoch();
    call.group.push(3);
    call.all_hear_all();
}

#[test]
fn a_user_is_recognised_by_what_was_said_before_the_proposal() {
    for said_before in [true, false] {
        let mut call = Call::established(&[1, 2]);
        let one = call.client(1);
        one.holds_jobs = true;
        one.binary(27, [9].to_vec());
        let mut other = Client::new(3, E2eePolicy::Required);
        other.version(1);
        let add = call.sponsor.add(1, &other.sent_binary(26));
        let one = call.client(1);
        if said_before {
            one.connected(3);
        }
        one.binary(27, testing::append(&[add]));
        one.connected(3);
        one.run_job();
        one.run_job();
        assert!(one.jobs.is_empty());
        assert_eq!(!one.sent.is_empty(), said_before);
    }
}

#[test]
fn a_replayed_announcement_changes_nothing() {
    let mut call = Call::new();
    call.join(1);
    call.join(2);
    call.propose();
    let (commit, welcome) = call.take_commits(1);
    let commit = [&[0, 1][..], &commit].concat();
    let welcome = [&[0, 1][..], &welcome.unwrap()].concat();
    for _ in 0..2 {
        call.client(1).binary(29, commit.clone());
        call.client(2).binary(30, welcome.clone());
        // Ready, and ready again: the first word may have been lost.
        for user in [1, 2] {
            assert_eq!(
                call.client(user).sent_json(23),
                json!({ "transition_id": 1 })
            );
        }
    }
    for user in [1, 2] {
        call.client(user).execute(1);
        call.client(user).execute(1);
    }
    call.client(1).binary(29, commit);
    call.client(2).binary(30, welcome);
    call.group = vec![1, 2];
    call.next_epoch();
    call.all_hear_all();
}

#[test]
fn a_new_connection_forgets_everything_and_ignores_the_old_job() {
    let mut call = Call::established(&[1, 2]);
    let one = call.client(1);
    one.holds_jobs = true;
    one.json(24, json!({ "protocol_version": 1, "epoch": 1 }));
    let old = one.jobs.pop_front().unwrap();
    one.connected(9);
    one.dave.reset(CHANNEL + 1);
    one.drain();
    assert_eq!(one.seal(b"x"), Err(SealFrameError::Hold));
    assert!(one.members().is_empty());
    let frame = call.client(2).seal(b"x").unwrap();
    let one = call.client(1);
    assert_eq!(
        one.open(2, &frame),
        Err(super::super::super::frame::OpenFrameError::UnknownKey)
    );

    one.version(1);
    let new = one.jobs.pop_front().unwrap();
    let done = old.run();
    one.dave.job_done(one.now, done);
    one.drain();
    one.sent_nothing();
    let done = new.run();
    one.dave.job_done(one.now, done);
    one.drain();
    one.sent_binary(26);
    one.sent_nothing();
    assert_eq!(one.dave.session.as_ref().unwrap().channel_id(), CHANNEL + 1);
    assert_eq!(one.dave.users.present(), [1]);
}

#[test]
fn too_many_messages_mean_a_new_start() {
    let mut call = Call::established(&[1, 2]);
    let one = call.client(1);
    one.holds_jobs = true;
    one.binary(27, [9].to_vec());
    for _ in 0..3000 {
        one.binary(27, [9].to_vec());
    }
    one.holds_jobs = false;
    one.run_job();
    let mut sent = std::mem::take(&mut one.sent);
    assert_eq!(
        sent.pop_front(),
        Some(Sent::Json(31, json!({ "transition_id": 1 })))
    );
    assert!(matches!(sent.pop_front(), Some(Sent::Binary(26, _))));
    assert_eq!(sent.len(), 0);
}
