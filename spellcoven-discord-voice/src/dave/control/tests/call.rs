//! A call: several clients and a server that is just good enough.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use serde_json::json;

use super::super::super::{
    frame::{Codec, FrameOpeners, FrameSealer, MediaKind, OpenFrameError, Opened, SealFrameError},
    testing::{self, Sponsor},
};
use super::super::*;

pub(super) const CHANNEL: u64 = 4_000;

#[expect(
    clippy::disallowed_methods,
    reason = "an arbitrary start; all that follows counts from it"
)]
pub(super) fn start() -> Instant {
    Instant::now()
}

/// A message that a client sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sent {
    Json(u8, Value),
    Binary(u8, Vec<u8>),
}

/// A client with its media side.
pub(super) struct Client {
    pub(super) id: u64,
    pub(super) dave: Dave,
    pub(super) now: Instant,
    pub(super) sealer: FrameSealer,
    pub(super) openers: FrameOpeners,
    pub(super) sent: VecDeque<Sent>,
    pub(super) events: Vec<DaveEvent>,
    /// Jobs wait here, if they are not to be run at once.
    pub(super) jobs: VecDeque<MlsJob>,
    pub(super) holds_jobs: bool,
    key_changes: usize,
}

impl Client {
    pub(super) fn new(id: u64, policy: E2eePolicy) -> Self {
        Self {
            id,
            dave: Dave::new(DaveConfig {
                user_id: id,
                channel_id: CHANNEL,
                identity: DaveIdentity::of_process(id),
                policy,
            }),
            now: start(),
            sealer: FrameSealer::new(),
            openers: FrameOpeners::new(),
            sent: VecDeque::new(),
            events: Vec::new(),
            jobs: VecDeque::new(),
            holds_jobs: false,
            key_changes: 0,
        }
    }

    pub(super) fn binary(&mut self, op: u8, payload: impl Into<Bytes>) {
        self.dave.binary(self.now, op, payload.into());
        self.drain();
    }

    pub(super) fn json(&mut self, op: u8, d: Value) {
        self.dave.json(self.now, op, &d);
        self.drain();
    }

    pub(super) fn version(&mut self, version: u16) {
        self.dave.session_description(self.now, version);
        self.drain();
    }

    pub(super) fn connected(&mut self, user: u64) {
        self.dave.user_connected(self.now, user);
        self.drain();
    }

    pub(super) fn left(&mut self, user: u64) {
        self.dave.user_left(self.now, user);
        self.drain();
    }

    pub(super) fn execute(&mut self, transition: u16) {
        self.json(22, json!({ "transition_id": transition }));
    }

    pub(super) fn run_job(&mut self) {
        let job = self.jobs.pop_front().expect("a job that waits");
        self.dave.job_done(self.now, job.run());
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.dave.poll() {
            match output {
                DaveOutput::SendJson { op, d } => self.sent.push_back(Sent::Json(op, d)),
                DaveOutput::SendBinary { op, payload } => {
                    self.sent.push_back(Sent::Binary(op, payload))
                }
                DaveOutput::Job(job) if self.holds_jobs => {
                    assert!(self.jobs.is_empty(), "one job at a time");
                    self.jobs.push_back(job);
                }
                DaveOutput::Job(job) => {
                    let done = job.run();
                    self.dave.job_done(self.now, done);
                }
                DaveOutput::Keys(KeyChange::Send(key)) => {
                    self.key_changes += 1;
                    self.sealer.apply(key);
                }
                DaveOutput::Keys(change) => self.openers.apply(self.now, change),
                DaveOutput::Event(event) => self.events.push(event),
            }
        }
    }

    /// The one message it sent, with this opcode.
    pub(super) fn sent_binary(&mut self, op: u8) -> Vec<u8> {
        match self.sent.pop_front() {
            Some(Sent::Binary(sent, payload)) if sent == op => payload,
            other => panic!(
                "{op} expected from {}, not {:?}",
                self.id,
                other.map(|sent| sent.name())
            ),
        }
    }

    pub(super) fn sent_json(&mut self, op: u8) -> Value {
        match self.sent.pop_front() {
            Some(Sent::Json(sent, d)) if sent == op => d,
            other => panic!(
                "{op} expected from {}, not {:?}",
                self.id,
                other.map(|sent| sent.name())
            ),
        }
    }

    pub(super) fn sent_nothing(&self) {
        let sent: Vec<_> = self.sent.iter().map(Sent::name).collect();
        assert_eq!(sent, Vec::<String>::new(), "from {}", self.id);
    }

    pub(super) fn seal(&mut self, frame: &[u8]) -> Result<Vec<u8>, SealFrameError> {
        let mut out = Vec::new();
        self.sealer.seal(Codec::Opus, frame, &mut out).map(|()| out)
    }

    pub(super) fn open(&mut self, from: u64, frame: &[u8]) -> Result<Opened, OpenFrameError> {
        let mut out = Vec::new();
        self.openers
            .open(from, MediaKind::Audio, self.now, frame, &mut out)
    }

    /// The users of the established group, ascending.
    pub(super) fn members(&self) -> Vec<u64> {
        let group = self.dave.group.iter();
        group
            .flat_map(|group| group.signature_keys.keys().copied())
            .collect()
    }

    /// Of the established group.
    pub(super) fn epoch(&self) -> Option<u64> {
        self.dave.group.as_ref()?;
        Some(self.dave.session.as_ref()?.epoch()?.as_u64())
    }

    /// How often the send key was changed.
    pub(super) fn key_changes(&self) -> usize {
        self.key_changes
    }
}

impl Sent {
    fn name(&self) -> String {
        match self {
            Self::Json(op, d) => format!("op {op} {d}"),
            Self::Binary(op, payload) => format!("op {op}, {} bytes", payload.len()),
        }
    }
}

/// What is proposed in the present epoch.
struct Proposed {
    message: Vec<u8>,
    adds: Option<u64>,
}

/// Clients and a server. The server answers nothing by itself: each step is a call, so that a test can come between.
pub(super) struct Call {
    pub(super) sponsor: Sponsor,
    pub(super) clients: BTreeMap<u64, Client>,
    pub(super) epoch: u64,
    pub(super) group: Vec<u64>,
    pub(super) transition: u16,
    waiting: BTreeMap<u64, Vec<u8>>,
    proposed: Vec<Proposed>,
}

impl Call {
    pub(super) fn new() -> Self {
        Self {
            sponsor: Sponsor::new(CHANNEL),
            clients: BTreeMap::new(),
            epoch: 0,
            group: Vec::new(),
            transition: 0,
            waiting: BTreeMap::new(),
            proposed: Vec::new(),
        }
    }

    /// These users, in one group at epoch 1, transition 1 executed.
    pub(super) fn established(users: &[u64]) -> Self {
        let mut call = Self::new();
        for user in users {
            call.join(*user);
        }
        call.settle();
        call
    }

    pub(super) fn client(&mut self, user: u64) -> &mut Client {
        self.clients.get_mut(&user).expect("a client of this call")
    }

    /// A user connects; the key package is taken.
    pub(super) fn join(&mut self, user: u64) {
        let mut client = Client::new(user, E2eePolicy::Required);
        for other in self.clients.values_mut() {
            other.connected(user);
            client.connected(other.id);
        }
        client.version(1);
        client.binary(25, self.sponsor.external_sender());
        self.clients.insert(user, client);
        self.take_key_package(user);
    }

    pub(super) fn take_key_package(&mut self, user: u64) {
        let package = self.client(user).sent_binary(26);
        self.waiting.insert(user, package);
    }

    /// A user disconnects.
    pub(super) fn leave(&mut self, user: u64) {
        self.clients.remove(&user);
        for other in self.clients.values_mut() {
            other.left(user);
        }
        if self.group.contains(&user) {
            self.propose_removal(user);
        } else {
            self.waiting.remove(&user);
        }
    }

    pub(super) fn propose_removal(&mut self, user: u64) {
        let leaf = self
            .clients
            .values()
            .filter(|client| client.id != user && self.group.contains(&client.id))
            .find_map(|client| {
                let group = client.dave.session.as_ref()?.group()?;
                let mut members = group.members();
                members.find(|member| member.credential.serialized_content() == user.to_be_bytes())
            })
            .expect("a leaf");
        let message = self.sponsor.remove(self.epoch, leaf.index.u32());
        self.group.retain(|member| *member != user);
        self.proposed.push(Proposed {
            message,
            adds: None,
        });
    }

    /// Proposes all who wait, and hands out all proposals of this epoch. Members of the group answer with op 28.
    pub(super) fn propose(&mut self) {
        for (user, package) in &self.waiting {
            self.proposed.push(Proposed {
                message: self.sponsor.add(self.epoch, package),
                adds: Some(*user),
            });
        }
        let audience: Vec<u64> = if self.group.is_empty() {
            self.waiting.keys().copied().collect()
        } else {
            self.group.clone()
        };
        for user in audience {
            let messages: Vec<_> = self
                .proposed
                .iter()
                .filter(|proposed| proposed.adds != Some(user))
                .map(|proposed| proposed.message.clone())
                .collect();
            if !messages.is_empty() {
                self.client(user).binary(27, testing::append(&messages));
            }
        }
    }

    /// This member's commit wins; all that must know are told. The others' commits are dropped.
    pub(super) fn commit_of(&mut self, winner: u64) {
        self.transition += 1;
        self.commit_with(winner, self.transition);
    }

    pub(super) fn commit_with(&mut self, winner: u64, transition: u16) {
        let (commit, welcome) = self.take_commits(winner);
        let id = transition.to_be_bytes();
        if self.group.is_empty() {
            self.group.push(winner);
        }
        for user in self.group.clone() {
            self.client(user).binary(29, [&id[..], &commit].concat());
        }
        let added = self.newcomers(winner);
        assert_eq!(welcome.as_deref().map_or(0, testing::welcomed), added.len());
        for user in added {
            let welcome = welcome.as_deref().expect("a welcome");
            self.client(user).binary(30, [&id[..], welcome].concat());
            self.group.push(user);
        }
        self.next_epoch();
    }

    /// The winner's commit and welcome; what all the others sent is dropped.
    pub(super) fn take_commits(&mut self, winner: u64) -> (Vec<u8>, Option<Vec<u8>>) {
        let payload = self.client(winner).sent_binary(28);
        for client in self.clients.values_mut() {
            client
                .sent
                .retain(|sent| !matches!(sent, Sent::Binary(op, _) if *op == 28));
        }
        let (epoch, commit, welcome) = testing::split(&payload);
        assert_eq!(epoch, self.epoch);
        (commit, welcome)
    }

    pub(super) fn newcomers(&self, winner: u64) -> Vec<u64> {
        let adds = self.proposed.iter().filter_map(|proposed| proposed.adds);
        adds.filter(|user| *user != winner).collect()
    }

    pub(super) fn next_epoch(&mut self) {
        self.epoch += 1;
        self.proposed.clear();
        self.waiting.clear();
    }

    /// All in the group say that they are ready, and are told to go.
    pub(super) fn execute(&mut self) {
        let transition = self.transition;
        for user in self.group.clone() {
            let client = self.client(user);
            assert_eq!(client.sent_json(23), json!({ "transition_id": transition }));
            client.execute(transition);
        }
    }

    /// Proposals, the commit of the first member, the transition.
    pub(super) fn settle(&mut self) {
        self.propose();
        let winner = self.group.first().or(self.waiting.keys().next());
        self.commit_of(*winner.expect("somebody"));
        self.execute();
    }

    /// Everybody in the group hears everybody else, and has the same code.
    pub(super) fn all_hear_all(&mut self) {
        let group = self.group.clone();
        for from in &group {
            let frame = self.client(*from).seal(b"hello").expect("a key");
            for to in group.iter().filter(|to| *to != from) {
                assert_eq!(
                    self.client(*to).open(*from, &frame),
                    Ok(Opened::Encrypted),
                    "{from} to {to}"
                );
            }
        }
        let mut sorted = group.clone();
        sorted.sort_unstable();
        let codes: Vec<_> = group
            .iter()
            .map(|user| {
                let client = &self.clients[user];
                assert_eq!(client.members(), sorted);
                assert_eq!(client.epoch(), Some(self.epoch));
                client.dave.privacy_code().expect("a code").to_owned()
            })
            .collect();
        assert!(codes.windows(2).all(|pair| pair[0] == pair[1]));
        assert!(codes.iter().all(|code| code.len() == 30));
        for client in self.clients.values() {
            client.sent_nothing();
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        for client in self.clients.values_mut() {
            client.now += time;
        }
    }
}
