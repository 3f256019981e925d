//! Whatever comes and goes in whatever order, those who stay hear each other in the end.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Join(u64),
    Leave(u64),
    Receive(u64),
    Send(u64),
    Run,
    Wait(u64),
    Fault(DaveFault),
    LoseReady(bool),
    Version(Option<u16>),
}

fn step() -> impl Strategy<Value = Step> {
    let user = || 1_u64..=6;
    prop_oneof![
        4 => user().prop_map(Step::Join),
        2 => user().prop_map(Step::Leave),
        8 => user().prop_map(Step::Receive),
        8 => user().prop_map(Step::Send),
        1 => Just(Step::Run),
        2 => (0_u64..3000).prop_map(Step::Wait),
        1 => prop_oneof![
            Just(DaveFault::CorruptWelcome(None)),
            Just(DaveFault::CorruptCommit(None)),
            user().prop_map(|user| DaveFault::CorruptCommit(Some(user))),
            Just(DaveFault::ProposeIntruder(99)),
            Just(DaveFault::ProposeInWrongEpoch),
            Just(DaveFault::ExecuteUnknown),
            Just(DaveFault::SlowExecute(Duration::from_millis(700))),
        ].prop_map(Step::Fault),
        1 => any::<bool>().prop_map(Step::LoseReady),
        1 => prop_oneof![Just(Some(0)), Just(None)].prop_map(Step::Version),
    ]
}

fn take(call: &mut Call, step: Step) {
    match step {
        Step::Join(user) if !call.clients.contains_key(&user) => call.join(user),
        Step::Leave(user) if call.clients.contains_key(&user) => call.leave(user),
        Step::Join(_) | Step::Leave(_) => {}
        Step::Receive(user) => {
            call.receive(user);
        }
        Step::Send(user) => {
            call.send(user);
        }
        Step::Run => call.run(),
        Step::Wait(ms) => {
            call.now += Duration::from_millis(ms);
            call.group.timeout(call.now);
            call.collect();
        }
        Step::Fault(fault) => call.fault(fault),
        Step::LoseReady(lose) => {
            if lose {
                call.lost.insert(op::TRANSITION_READY);
            } else {
                call.lost.clear();
            }
        }
        Step::Version(version) => {
            call.group.set_version(call.now, version);
            call.collect();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 10,
        max_shrink_iters: 400,
        ..ProptestConfig::default()
    })]

    #[test]
    fn those_who_stay_hear_each_other(
        steps in prop::collection::vec(step(), 1..60),
        patience in 0_u64..1500,
        first_transition_zero: bool,
        revoke_on_leave: bool,
        one_transition_at_a_time: bool,
    ) {
        let mut call = Call::with(DaveSettings {
            patience: Duration::from_millis(patience),
            first_transition_zero,
            revoke_on_leave,
            one_transition_at_a_time,
            ..DaveSettings::default()
        });
        for step in steps.clone() {
            take(&mut call, step);
        }
        call.group.set_version(call.now, None);
        call.collect();
        call.lost.clear();
        call.settle();
        // Faults that had no occasion before would strike now.
        for user in 101..=104 {
            call.join(user);
            call.settle();
        }
        prop_assert_eq!(call.apart(), None, "{:#?}", call.notes);
        prop_assert!(call.complaints.is_empty(), "{:?}", call.complaints);
    }
}
