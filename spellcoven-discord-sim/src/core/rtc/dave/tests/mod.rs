//! The server's rules, against davey as the clients.

mod calls;
mod random;
mod recovery;
mod refusals;
mod versions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use davey::SigningKeyPair;
use serde_json::Value;

use super::super::people::{E2ee, Reply};
use super::{DaveFault, DaveGroup, DaveNote, DaveOutput, DaveSettings, ServerKeys, op};

const CHANNEL: u64 = 900_100_200_300_400_501;

/// What the server sent a client, in order.
#[derive(Clone, Debug, PartialEq)]
enum Sent {
    Json(u8, Value),
    Binary(u8, Vec<u8>),
    Connected(u64),
    Disconnected(u64),
}

impl Sent {
    fn op(&self) -> u8 {
        match self {
            Self::Json(op, _) | Self::Binary(op, _) => *op,
            Self::Connected(_) => 11,
            Self::Disconnected(_) => 13,
        }
    }
}

struct Client {
    e2ee: E2ee,
    inbox: VecDeque<Sent>,
    outbox: VecDeque<Reply>,
    /// The opcodes of all it was sent.
    got: Vec<u8>,
}

/// A call: the server, its clients, and the wires between them, each of which keeps order.
struct Call {
    now: Duration,
    group: DaveGroup,
    clients: BTreeMap<u64, Client>,
    notes: Vec<DaveNote>,
    complaints: Vec<(u64, String)>,
    closed: Vec<(u64, u16)>,
    /// Replies with these opcodes get lost.
    lost: BTreeSet<u8>,
    /// These users' replies do not arrive yet.
    slow: BTreeSet<u64>,
}

impl Call {
    fn new() -> Self {
        Self::with(DaveSettings::default())
    }

    fn with(settings: DaveSettings) -> Self {
        Self {
            now: Duration::ZERO,
            group: DaveGroup::new(CHANNEL, settings, ServerKeys::generate(), 7),
            clients: BTreeMap::new(),
            notes: Vec::new(),
            complaints: Vec::new(),
            closed: Vec::new(),
            lost: BTreeSet::new(),
            slow: BTreeSet::new(),
        }
    }

    /// A call of these users, settled.
    fn of(users: &[u64]) -> Self {
        let mut call = Self::new();
        for user in users {
            call.join(*user);
            call.settle();
        }
        call
    }

    fn join(&mut self, user: u64) {
        self.join_with(user, 1);
    }

    fn join_with(&mut self, user: u64, max_version: u16) {
        let mut e2ee = E2ee::new(user, CHANNEL, SigningKeyPair::generate());
        for other in self.clients.keys() {
            e2ee.connected(*other);
        }
        e2ee.session_description(self.group.version_with(max_version));
        for client in self.clients.values_mut() {
            client.inbox.push_back(Sent::Connected(user));
        }
        let mut client = Client {
            e2ee,
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            got: Vec::new(),
        };
        while let Some(reply) = client.e2ee.poll() {
            client.outbox.push_back(reply);
        }
        self.clients.insert(user, client);
        self.group.join(self.now, user, max_version);
        self.collect();
    }

    fn leave(&mut self, user: u64) {
        self.clients.remove(&user);
        for client in self.clients.values_mut() {
            client.inbox.push_back(Sent::Disconnected(user));
        }
        self.group.leave(self.now, user);
        self.collect();
    }

    /// Takes the server's output.
    fn collect(&mut self) {
        while let Some(output) = self.group.poll() {
            let (to, sent) = match output {
                DaveOutput::Json { to, op, d } => (to, Sent::Json(op, d)),
                DaveOutput::Binary { to, op, payload } => (to, Sent::Binary(op, payload)),
                DaveOutput::Journal(note) => {
                    self.notes.push(note);
                    continue;
                }
                DaveOutput::Complaint { user, what } => {
                    self.complaints.push((user, what));
                    continue;
                }
                DaveOutput::Close { to, code, .. } => {
                    self.closed.push((to, code));
                    self.clients.remove(&to);
                    continue;
                }
            };
            if let Some(client) = self.clients.get_mut(&to) {
                client.got.push(sent.op());
                client.inbox.push_back(sent);
            }
        }
    }

    /// The client takes its next message.
    fn receive(&mut self, user: u64) -> bool {
        let now = self.now;
        let Some(client) = self.clients.get_mut(&user) else {
            return false;
        };
        let Some(sent) = client.inbox.pop_front() else {
            return false;
        };
        match sent {
            Sent::Json(op, d) => client.e2ee.json(now, op, &d),
            Sent::Binary(op, payload) => client.e2ee.binary(now, op, &payload),
            Sent::Connected(user) => client.e2ee.connected(user),
            Sent::Disconnected(user) => client.e2ee.disconnected(user),
        }
        while let Some(reply) = client.e2ee.poll() {
            client.outbox.push_back(reply);
        }
        true
    }

    /// The server takes a client's next message.
    fn send(&mut self, user: u64) -> bool {
        if self.slow.contains(&user) {
            return false;
        }
        let Some(client) = self.clients.get_mut(&user) else {
            return false;
        };
        let Some(reply) = client.outbox.pop_front() else {
            return false;
        };
        match reply {
            Reply::Json { op, .. } | Reply::Binary { op, .. } if self.lost.contains(&op) => {}
            Reply::Json { op, d } => self.group.json(self.now, user, op, &d),
            Reply::Binary { op, payload } => self.group.binary(self.now, user, op, &payload),
        }
        self.collect();
        true
    }

    /// Lets all wires run empty, in the order of the users, without time.
    fn run(&mut self) {
        loop {
            let users: Vec<u64> = self.clients.keys().copied().collect();
            let mut moved = false;
            for user in users {
                while self.receive(user) {
                    moved = true;
                }
                while self.send(user) {
                    moved = true;
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Runs, and lets time pass until the server waits for nothing.
    fn settle(&mut self) {
        for _ in 0..200 {
            self.run();
            let Some(at) = self.group.poll_timeout() else {
                return;
            };
            assert!(at < Duration::MAX, "a wake-up that never comes");
            self.now = self.now.max(at);
            self.group.timeout(self.now);
            self.collect();
        }
        panic!("the server never comes to rest: {:?}", self.notes);
    }

    /// All who are here share one epoch and hear each other.
    fn assert_together(&mut self) {
        if let Some(wrong) = self.apart() {
            panic!("{wrong}\n{:#?}", self.notes);
        }
    }

    /// What keeps the clients from hearing each other, if anything does.
    fn apart(&mut self) -> Option<String> {
        let users: BTreeSet<u64> = self.clients.keys().copied().collect();
        if users.len() < 2 {
            return None;
        }
        let shared = self.clients.values().next()?.e2ee.authenticator();
        if shared.is_none() {
            return Some(format!("{:?} has no group", users.first()));
        }
        for (user, client) in &self.clients {
            if client.e2ee.authenticator() != shared {
                return Some(format!("{user} is in another epoch"));
            }
            if client.e2ee.members() != users {
                let members = client.e2ee.members();
                return Some(format!("{user} sees {members:?}, not {users:?}"));
            }
        }
        if self.group.members().into_iter().collect::<BTreeSet<_>>() != users {
            return Some(format!("the server sees {:?}", self.group.members()));
        }
        for user in &users {
            let frame = format!("frame of {user}").into_bytes();
            let Some(sealed) = self.clients.get_mut(user)?.e2ee.seal(&frame) else {
                return Some(format!("{user} has no key to send with"));
            };
            for (other, client) in &mut self.clients {
                if other != user
                    && client.e2ee.open(self.now, *user, &sealed).as_ref() != Ok(&frame)
                {
                    return Some(format!("{other} cannot hear {user}"));
                }
            }
        }
        None
    }

    fn e2ee(&mut self, user: u64) -> &mut E2ee {
        &mut self.clients.get_mut(&user).unwrap().e2ee
    }

    fn got(&self, user: u64) -> &[u8] {
        &self.clients[&user].got
    }

    fn forget_what_was_sent(&mut self) {
        for client in self.clients.values_mut() {
            client.got.clear();
        }
        self.notes.clear();
    }

    fn fault(&mut self, fault: DaveFault) {
        self.group.fault(self.now, fault);
        self.collect();
    }

    fn epochs(&self) -> Vec<(u64, Vec<u64>, u16)> {
        let epochs = self.notes.iter().filter_map(|note| match note {
            DaveNote::EpochBegan {
                epoch,
                members,
                transition,
                ..
            } => Some((*epoch, members.clone(), *transition)),
            _ => None,
        });
        epochs.collect()
    }

    fn refusals(&self) -> Vec<&'static str> {
        let refusals = self.notes.iter().filter_map(|note| match note {
            DaveNote::CommitRefused { why, .. } => Some(*why),
            _ => None,
        });
        refusals.collect()
    }

    fn count(&self, wanted: impl Fn(&DaveNote) -> bool) -> usize {
        self.notes.iter().filter(|note| wanted(note)).count()
    }
}
