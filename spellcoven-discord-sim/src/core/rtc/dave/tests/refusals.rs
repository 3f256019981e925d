//! What the server, and a right client, refuse.

use serde_json::json;

use super::*;

/// The messages of a client that are on their way, of this opcode.
fn on_its_way(call: &Call, user: u64, wanted: u8) -> Vec<u8> {
    let outbox = &call.clients[&user].outbox;
    let found = outbox.iter().find_map(|reply| match reply {
        Reply::Binary { op, payload } if *op == wanted => Some(payload.clone()),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("{user} sends no {wanted}: {outbox:?}"))
}

fn refused(call: &mut Call, user: u64, payload: &[u8]) -> &'static str {
    call.notes.clear();
    call.group
        .binary(call.now, user, op::COMMIT_WELCOME, payload);
    call.collect();
    assert!(call.epochs().is_empty());
    let refusals = call.refusals();
    assert_eq!(refusals.len(), 1, "{:?}", call.notes);
    refusals[0]
}

#[test]
fn key_packages_are_taken_bare_and_wrapped() {
    let mut call = Call::of(&[1]);
    call.join(2);
    let bare = on_its_way(&call, 2, op::KEY_PACKAGE);
    assert!(bare.starts_with(&[0, 1, 0, 2]));
    call.clients.get_mut(&2).unwrap().outbox.clear();
    let mut wrapped = vec![0, 1, 0, 5];
    wrapped.extend_from_slice(&bare);
    call.group.binary(call.now, 2, op::KEY_PACKAGE, &wrapped);
    call.collect();
    call.settle();
    call.assert_together();
}

#[test]
fn key_packages_that_do_not_hold_close_the_connection() {
    let mut other = Call::new();
    other.join(3);
    let of_another = on_its_way(&other, 3, op::KEY_PACKAGE);
    let mut call = Call::of(&[1]);
    call.join(2);
    let mut broken = on_its_way(&call, 2, op::KEY_PACKAGE);
    let last = broken.len() - 1;
    broken[last] ^= 1;
    for (package, why) in [
        (Vec::new(), "cannot be read"),
        (vec![0, 1, 0, 2], "cannot be read"),
        (broken, "does not hold"),
        (of_another, "of another user"),
    ] {
        call.closed.clear();
        call.complaints.clear();
        call.group.join(call.now, 2, 1);
        call.group.binary(call.now, 2, op::KEY_PACKAGE, &package);
        call.collect();
        assert_eq!(call.closed, [(2, 4020)], "{why}");
        assert!(call.complaints[0].1.contains(why), "{:?}", call.complaints);
        // Nothing of theirs counts any more.
        call.group.binary(call.now, 2, op::KEY_PACKAGE, &package);
        call.collect();
        assert_eq!(call.closed.len(), 1);
    }
}

#[test]
fn a_key_package_with_a_lifetime_is_refused() {
    use openmls::prelude::tls_codec::Serialize as _;
    use openmls::prelude::*;
    let provider = openmls_rust_crypto::OpenMlsRustCrypto::default();
    let signer = openmls_basic_credential::SignatureKeyPair::new(
        super::super::keys::SUITE.signature_algorithm(),
    )
    .unwrap();
    let package = KeyPackage::builder()
        .build(
            super::super::keys::SUITE,
            &provider,
            &signer,
            CredentialWithKey {
                credential: BasicCredential::new(2_u64.to_be_bytes().to_vec()).into(),
                signature_key: signer.public().into(),
            },
        )
        .unwrap();
    let bytes = package.key_package().tls_serialize_detached().unwrap();
    assert_eq!(
        ServerKeys::generate()
            .check_key_package(2, &bytes)
            .unwrap_err(),
        "a key package with a lifetime"
    );
}

#[test]
fn commits_that_do_not_hold_are_dropped() {
    let mut call = Call::of(&[1, 2, 3]);
    call.join(4);
    call.send(4);
    while call.receive(1) {}
    while call.receive(2) {}
    let commit = on_its_way(&call, 1, op::COMMIT_WELCOME);
    let of_two = on_its_way(&call, 2, op::COMMIT_WELCOME);

    assert_eq!(
        refused(&mut call, 2, &commit),
        "of another leaf than the sender's"
    );
    assert_eq!(refused(&mut call, 1, &[]), "a commit that ends early");
    let mut other_group = commit.clone();
    other_group[6] ^= 1;
    assert_eq!(refused(&mut call, 1, &other_group), "of another group");
    let mut other_epoch = commit.clone();
    other_epoch[20] ^= 1;
    assert_eq!(refused(&mut call, 1, &other_epoch), "of another epoch");
    let welcome = super::super::wire::read_commit(&commit).unwrap().2.len();
    let without_welcome = &commit[..commit.len() - welcome];
    assert_eq!(
        refused(&mut call, 1, without_welcome),
        "without a welcome for one it adds"
    );
    let mut cut_welcome = commit.clone();
    cut_welcome.pop();
    assert_eq!(
        refused(&mut call, 1, &cut_welcome),
        "with a welcome that cannot be read"
    );

    // The first valid one wins; the second is of a past epoch.
    call.group.binary(call.now, 1, op::COMMIT_WELCOME, &commit);
    call.collect();
    assert_eq!(call.group.epoch(), 3);
    assert_eq!(refused(&mut call, 2, &of_two), "of another epoch");
    call.settle();
    call.assert_together();
}

#[test]
fn a_commit_that_leaves_out_a_proposal_is_dropped() {
    let mut call = Call::of(&[1, 2, 3]);
    call.join(4);
    call.send(4);
    while call.receive(1) {}
    let only_four = on_its_way(&call, 1, op::COMMIT_WELCOME);
    call.leave(3);
    call.now += Duration::from_secs(1);
    call.group.timeout(call.now);
    call.collect();
    assert_eq!(
        refused(&mut call, 1, &only_four),
        "leaves out a proposal in flight"
    );
    call.settle();
    call.assert_together();
}

#[test]
fn a_commit_of_a_proposal_that_was_taken_back_is_dropped() {
    let mut call = Call::of(&[1, 2]);
    call.join(3);
    call.send(3);
    while call.receive(1) {}
    let commit = on_its_way(&call, 1, op::COMMIT_WELCOME);
    call.leave(3);
    assert_eq!(
        refused(&mut call, 1, &commit),
        "names a proposal that is not in flight"
    );
    call.settle();
    call.assert_together();
}

#[test]
fn commits_of_those_outside_the_group_are_dropped() {
    let mut call = Call::of(&[1, 2]);
    call.join(3);
    call.send(3);
    while call.receive(1) {}
    let commit = on_its_way(&call, 1, op::COMMIT_WELCOME);
    assert_eq!(
        refused(&mut call, 3, &commit),
        "of one who is not in the group"
    );
    call.settle();
    call.assert_together();
}

#[test]
fn a_commit_with_a_path_must_keep_the_committers_key() {
    let mut call = Call::of(&[1, 2, 3]);
    call.leave(3);
    while call.receive(1) {}
    let commit = on_its_way(&call, 1, op::COMMIT_WELCOME);
    let (read, _, _) = super::super::wire::read_commit(&commit).unwrap();
    let leaf = read.new_leaf.expect("a Remove makes a path");
    assert_eq!(leaf.identity, 1_u64.to_be_bytes());
    let place = leaf.signature_key.as_ptr() as usize - commit.as_ptr() as usize;
    let mut other_key = commit.clone();
    other_key[place + 5] ^= 1;
    assert_eq!(
        refused(&mut call, 1, &other_key),
        "changes the committer's key or credential"
    );
    call.settle();
    call.assert_together();
}

#[test]
fn a_right_client_refuses_an_intruder_a_double_and_a_wrong_epoch() {
    let mut call = Call::of(&[1, 2, 3]);
    for fault in [
        DaveFault::ProposeIntruder(66),
        DaveFault::ProposeTwice(2),
        DaveFault::ProposeInWrongEpoch,
    ] {
        call.forget_what_was_sent();
        call.fault(fault);
        call.run();
        assert!(
            !call
                .notes
                .iter()
                .any(|note| matches!(note, DaveNote::CommitRefused { .. })),
            "someone committed to {fault:?}"
        );
        call.settle();
        call.assert_together();
        assert_eq!(call.group.epoch(), 2);
        assert_eq!(call.count(|note| *note == DaveNote::FaultStruck(fault)), 1);
    }
    assert!(call.e2ee(1).refused >= 3);
    call.join(4);
    call.settle();
    call.assert_together();
    assert!(call.complaints.is_empty(), "{:?}", call.complaints);
}

#[test]
fn a_client_that_commits_to_an_intruder_is_complained_of() {
    let mut call = Call::of(&[1, 2]);
    // A client that lets everyone in.
    call.e2ee(1).connected(66);
    call.fault(DaveFault::ProposeIntruder(66));
    call.run();
    assert_eq!(call.complaints.len(), 1);
    assert_eq!(call.complaints[0].0, 1);
    assert_eq!(call.group.epoch(), 1);
}

#[test]
fn messages_out_of_place_are_complained_of() {
    let mut call = Call::of(&[1, 2]);
    call.group.json(
        call.now,
        1,
        op::TRANSITION_READY,
        &json!({"transition_id": 0}),
    );
    call.group
        .json(call.now, 1, op::TRANSITION_READY, &json!({}));
    call.group.json(
        call.now,
        1,
        op::EXECUTE_TRANSITION,
        &json!({"transition_id": 1}),
    );
    call.group.binary(call.now, 1, op::WELCOME, &[]);
    call.collect();
    assert_eq!(call.complaints.len(), 4, "{:?}", call.complaints);
    // Strangers are not heard at all.
    call.group.binary(call.now, 9, op::COMMIT_WELCOME, &[]);
    call.group
        .json(call.now, 9, op::TRANSITION_READY, &json!({}));
    call.group.leave(call.now, 9);
    call.collect();
    assert_eq!(call.complaints.len(), 4);
}

#[test]
fn no_bytes_of_a_client_make_the_server_panic() {
    let mut call = Call::of(&[1, 2]);
    call.join(3);
    let package = on_its_way(&call, 3, op::KEY_PACKAGE);
    call.send(3);
    while call.receive(1) {}
    let commit = on_its_way(&call, 1, op::COMMIT_WELCOME);
    for (op, message) in [(op::KEY_PACKAGE, package), (op::COMMIT_WELCOME, commit)] {
        for place in 0..message.len() {
            let bits: &[u8] = if place < 80 { &[0, 6, 7] } else { &[6] };
            for bit in bits {
                let mut turned = message.clone();
                turned[place] ^= 1 << bit;
                call.group.join(call.now, 9, 1);
                for user in [1, 9] {
                    if op == op::COMMIT_WELCOME || user == 9 {
                        call.group.binary(call.now, user, op, &turned);
                    }
                }
            }
            call.group.join(call.now, 9, 1);
            call.group.binary(call.now, 9, op, &message[..place]);
            call.collect();
        }
    }
}
