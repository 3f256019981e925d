//! Every kind of REST fault, before and after execution, while a room is made and ended: Discord never gets two rooms
//! for one call, and clients are told of each room once.

use std::time::Duration;

use http::{Method, StatusCode};
use spellcoven_discord_sim::{ChannelId, RestFault, RestFaultKind, When};
use spellcoven_hub::HubEvent;

use super::{cloud::Cloud, observer::Observer};

/// What a caller of the API may be answered when one request to Discord is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// 200: the hub found out what became of it, or tried again.
    Done,
    /// 200, or a refusal that tells the caller to come back.
    DoneOrLater,
}

/// A row for each kind, in the order of [`RestFaultKind::one_of_each`]. A kind without a row does not compile: the
/// length would be wrong.
const TABLE: [(&str, Answer); RestFaultKind::KINDS] = [
    ("status", Answer::Done),
    ("hang up", Answer::Done),
    ("hang", Answer::Done),
    ("429", Answer::Done),
    ("429 with two waits", Answer::Done),
    ("ban by Cloudflare", Answer::DoneOrLater),
    ("ban by Discord", Answer::DoneOrLater),
    ("202", Answer::DoneOrLater),
    ("any body", Answer::Done),
    ("wrong content type", Answer::Done),
    ("truncated body", Answer::Done),
    ("reset in the body", Answer::Done),
    ("slow body", Answer::Done),
    ("late", Answer::Done),
];

const CREATE: &str = "POST /guilds/{guild.id}/channels";
const DELETE: &str = "DELETE /channels/";

struct Run {
    cloud: Cloud,
    observers: Vec<Observer>,
}

impl Run {
    async fn start(seed: u64) -> Self {
        let mut cloud = Cloud::new(seed);
        cloud.start_hub();
        cloud.start_worker();
        let observers = vec![cloud.observer("one"), cloud.observer("two")];
        let run = Self { cloud, observers };
        run.settle("at the start").await;
        run
    }

    async fn settle(&self, when: &str) {
        let settled = self.cloud.settle(&self.observers).await;
        assert!(settled.is_some(), "{when}\n{}", self.cloud.story());
        // What would come twice comes within this.
        tokio::time::sleep(Duration::from_secs(120)).await;
        for observer in &self.observers {
            let faults = observer.seen().faults;
            assert!(
                faults.is_empty(),
                "{when}: {faults:#?}\n{}",
                self.cloud.story()
            );
        }
    }

    fn strike(&self, matches: &str, what: &RestFaultKind, when: When) {
        let mut fault = RestFault::once(matches, what.clone());
        fault.when = when;
        self.cloud.sim.fail_rest(fault);
    }

    /// Calls until the answer is final, as a caller of the API would; how the first try was answered.
    async fn call(&self, method: Method, path: &str, body: &str) -> (StatusCode, StatusCode) {
        let mut first = None;
        for _ in 0..20 {
            let answer = self.cloud.call(method.clone(), path, body).await;
            let (status, _) = answer.expect("the hub answers whatever Discord does");
            let first = *first.get_or_insert(status);
            if !matches!(status.as_u16(), 429 | 502 | 503) {
                return (first, status);
            }
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        panic!("no final answer to {method} {path}\n{}", self.cloud.story());
    }

    fn rooms(&self) -> Vec<ChannelId> {
        let channels = self.cloud.sim.channels(self.cloud.guild).into_iter();
        channels
            .filter(|channel| channel.name == "The room")
            .map(|channel| channel.id)
            .collect()
    }

    /// How often an observer was told of the room's making, and of its end.
    fn told(observer: &Observer, room: ChannelId) -> (usize, usize) {
        let events = observer.seen().events;
        let count = |wanted: &dyn Fn(&HubEvent) -> bool| {
            events.iter().filter(|(_, _, event)| wanted(event)).count()
        };
        (
            count(
                &|event| matches!(event, HubEvent::RoomCreated(made) if made.channel_id.get() == room.0),
            ),
            count(
                &|event| matches!(event, HubEvent::RoomDeleted(gone) if gone.channel_id.get() == room.0),
            ),
        )
    }
}

fn expect(first: StatusCode, wanted: Answer, context: &str, run: &Run) {
    let fits = match wanted {
        Answer::Done => first == StatusCode::OK,
        Answer::DoneOrLater => matches!(first.as_u16(), 200 | 429 | 502 | 503),
    };
    assert!(fits, "{context}: {first}\n{}", run.cloud.story());
}

#[tokio::test(start_paused = true)]
async fn no_fault_of_rest_doubles_a_room_or_its_news() {
    // One system for all rows: each ends as it began, without the room.
    let run = Run::start(7).await;
    let mut struck = 0;
    for (what, (name, wanted)) in RestFaultKind::one_of_each().iter().zip(TABLE) {
        for when in [When::Before, When::After] {
            let context = format!("{name}, {when:?} execution");
            run.strike(CREATE, what, when);
            let body = r#"{"name":"The room"}"#;
            let (first, last) = run.call(Method::POST, "/api/create-room", body).await;
            expect(first, wanted, &format!("create: {context}"), &run);
            assert_eq!(
                last,
                StatusCode::OK,
                "create: {context}\n{}",
                run.cloud.story()
            );
            run.settle(&context).await;
            let rooms = run.rooms();
            assert_eq!(rooms.len(), 1, "create: {context}\n{}", run.cloud.story());

            run.strike(DELETE, what, when);
            let path = format!("/api/end-room/{}", rooms[0]);
            let (first, last) = run.call(Method::DELETE, &path, "").await;
            expect(first, wanted, &format!("end: {context}"), &run);
            // A caller who comes back may learn that the room is gone.
            assert!(
                last == StatusCode::OK || (first != last && last == StatusCode::NOT_FOUND),
                "end: {context}: {last}\n{}",
                run.cloud.story()
            );
            run.settle(&context).await;
            assert!(run.rooms().is_empty(), "end: {context}");
            // No row passes because nothing happened.
            struck += 2;
            let journal = run.cloud.sim.journal();
            let faults = journal.requests().filter(|request| request.fault.is_some());
            assert_eq!(faults.count(), struck, "{context}\n{}", run.cloud.story());
            for observer in &run.observers {
                let told = Run::told(observer, rooms[0]);
                assert_eq!(told, (1, 1), "{context}\n{}", run.cloud.story());
            }
        }
    }
}
