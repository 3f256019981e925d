//! Whatever a server says, in whatever order.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::super::super::frame::{OpenFrameError, Opened};
use super::super::*;
use super::call::{CHANNEL, Client};

#[derive(Debug, Clone)]
enum Step {
    Version(u16),
    Binary(u8, Vec<u8>),
    Json(u8, u64, u64, u64),
    Connected(u64),
    Left(u64),
    Failing,
    Reset,
    RunJob,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0u16..3).prop_map(Step::Version),
        (20u8..33, proptest::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(op, bytes)| Step::Binary(op, bytes)),
        (20u8..26, 0u64..4, 0u64..3, 0u64..3)
            .prop_map(|(op, id, version, epoch)| Step::Json(op, id, version, epoch)),
        (1u64..4).prop_map(Step::Connected),
        (1u64..4).prop_map(Step::Left),
        Just(Step::Failing),
        Just(Step::Reset),
        Just(Step::RunJob),
        Just(Step::RunJob),
        (0u64..12).prop_map(Step::Pass),
    ]
}

fn take(client: &mut Client, step: Step) {
    match step {
        Step::Version(version) => client.version(version),
        Step::Binary(op, bytes) => client.binary(op, bytes),
        Step::Json(op, id, version, epoch) => client.json(
            op,
            json!({ "transition_id": id, "protocol_version": version, "epoch": epoch }),
        ),
        Step::Connected(user) => client.connected(user),
        Step::Left(user) => client.left(user),
        Step::Failing => {
            client.dave.receivers_failing(client.now);
            client.drain();
        }
        Step::Reset => {
            // A job of the old connection may be running still; its result goes nowhere.
            client.jobs.clear();
            client.dave.reset(CHANNEL);
            client.drain();
        }
        Step::RunJob if client.jobs.is_empty() => {}
        Step::RunJob => client.run_job(),
        Step::Pass(seconds) => client.now += Duration::from_secs(seconds),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Never a panic, never two jobs at a time (the client of these tests sees to that), and where encryption is
    /// required, nothing in the clear in either direction.
    #[test]
    fn nothing_makes_it_speak_in_the_clear(steps in proptest::collection::vec(step(), 0..60), required: bool) {
        let policy = if required { E2eePolicy::Required } else { E2eePolicy::Preferred };
        let mut client = Client::new(1, policy);
        client.holds_jobs = true;
        for step in steps {
            take(&mut client, step);
            let sent = client.seal(b"a secret");
            let heard = client.open(2, b"a lie");
            if required {
                prop_assert!(sent.is_err());
                prop_assert_eq!(heard, Err(OpenFrameError::Plaintext));
            } else if sent.is_ok() {
                // No group can have come of this, so it is version 0, for all.
                prop_assert_eq!(client.dave.active_version(), 0);
                prop_assert_eq!(heard, Ok(Opened::Plain));
            }
        }
    }
}
