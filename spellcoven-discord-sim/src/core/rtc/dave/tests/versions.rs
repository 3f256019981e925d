//! Versions: stages, downgrade, upgrade.

use super::*;

/// All hear each other without encryption.
fn assert_plain(call: &mut Call) {
    let users: Vec<u64> = call.clients.keys().copied().collect();
    let now = call.now;
    for user in &users {
        let sent = call.e2ee(*user).seal(b"plain").unwrap();
        assert_eq!(sent, b"plain", "{user}");
        for other in users.iter().filter(|other| *other != user) {
            assert_eq!(call.e2ee(*other).open(now, *user, &sent).unwrap(), b"plain");
        }
    }
}

#[test]
fn a_stage_has_no_encryption() {
    let mut call = Call::with(DaveSettings {
        stage: true,
        ..DaveSettings::default()
    });
    call.join(1);
    call.join(2);
    call.settle();
    assert_eq!(call.group.version(), 0);
    assert!(call.got(1).is_empty());
    assert_plain(&mut call);
}

#[test]
fn one_without_encryption_takes_it_from_all_and_gives_it_back_by_leaving() {
    let mut call = Call::of(&[1, 2]);
    call.forget_what_was_sent();
    assert_eq!(call.group.version_with(0), 0);
    call.join_with(3, 0);
    assert!(call.got(3).is_empty());
    call.run();
    assert_eq!(
        call.got(1),
        [op::PREPARE_TRANSITION, op::EXECUTE_TRANSITION]
    );
    assert_eq!(call.group.version(), 0);
    assert_plain(&mut call);

    call.forget_what_was_sent();
    call.leave(3);
    call.settle();
    assert_eq!(call.got(1)[0], op::PREPARE_EPOCH);
    assert_eq!(call.group.version(), 1);
    call.assert_together();
}

#[test]
fn until_a_downgrade_is_executed_all_go_on_as_before() {
    let mut call = Call::of(&[1, 2]);
    call.group.set_version(call.now, Some(0));
    call.collect();
    while call.receive(1) {}
    let now = call.now;
    let sealed = call.e2ee(1).seal(b"still sealed").unwrap();
    assert_ne!(sealed, b"still sealed");
    while call.receive(2) {}
    assert_eq!(call.e2ee(2).open(now, 1, &sealed).unwrap(), b"still sealed");
    call.settle();
    assert_plain(&mut call);
}

#[test]
fn a_call_that_began_without_encryption_is_upgraded() {
    let mut call = Call::new();
    call.group.set_version(call.now, Some(0));
    call.join(1);
    call.join(2);
    call.settle();
    assert_plain(&mut call);
    call.group.set_version(call.now, None);
    call.collect();
    call.run();
    assert_eq!(
        call.got(1),
        [
            op::PREPARE_EPOCH,
            op::EXTERNAL_SENDER,
            op::PROPOSALS,
            op::ANNOUNCE_COMMIT,
            op::EXECUTE_TRANSITION
        ]
    );
    call.assert_together();
    // For ten seconds clear frames of those who are late are taken.
    let now = call.now;
    assert!(call.e2ee(1).open(now, 2, b"late").is_ok());
    let later = now + Duration::from_secs(10);
    assert!(call.e2ee(1).open(later, 2, b"late").is_err());
}

#[test]
fn a_version_that_goes_back_and_forth_ends_where_it_was_set() {
    let mut call = Call::of(&[1, 2, 3]);
    for _ in 0..3 {
        call.group.set_version(call.now, Some(0));
        call.collect();
        call.receive(1);
        call.send(1);
        call.group.set_version(call.now, None);
        call.collect();
        call.receive(2);
        call.send(2);
    }
    call.settle();
    call.assert_together();
}
