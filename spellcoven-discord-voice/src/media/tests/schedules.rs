//! Any order of loss, reordering, repetition, damage, joining, leaving and keys.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Wait(u16),
    /// Sender, and what the network does with the datagram.
    Speak(u8, Fate),
    Map(u8),
    Leave(u8),
    Key(u8),
    Epoch(u8),
    Timeout,
    Noise(Vec<u8>),
}

#[derive(Debug, Clone)]
enum Fate {
    Arrives,
    Lost,
    Late,
    Twice,
    Damaged,
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        6 => Just(Fate::Arrives),
        1 => Just(Fate::Lost),
        2 => Just(Fate::Late),
        1 => Just(Fate::Twice),
        1 => Just(Fate::Damaged),
    ];
    prop_oneof![
        4 => (0u16..200).prop_map(Step::Wait),
        30 => (0u8..4, fate).prop_map(|(who, fate)| Step::Speak(who, fate)),
        3 => (0u8..4).prop_map(Step::Map),
        1 => (0u8..4).prop_map(Step::Leave),
        3 => (0u8..4).prop_map(Step::Key),
        1 => (0u8..4).prop_map(Step::Epoch),
        3 => Just(Step::Timeout),
        1 => proptest::collection::vec(any::<u8>(), 0..60).prop_map(Step::Noise),
    ]
}

struct World {
    now: Instant,
    senders: Vec<Sender>,
    epochs: [u8; 4],
    next: u16,
    held_back: Vec<Vec<u8>>,
    receiver: Receiver,
    given: u64,
    heard: Heard,
}

impl World {
    fn new() -> Self {
        let now = start();
        let senders = (0..4).map(|who| sealed_sender(now, who + 1, who as u8 * 50));
        Self {
            now,
            senders: senders.collect(),
            epochs: [0; 4],
            next: 0,
            held_back: Vec::new(),
            receiver: Receiver::new(OWN_SSRC, opener(), true),
            given: 0,
            heard: Heard::new(),
        }
    }

    fn give(&mut self, mut bytes: Vec<u8>) {
        self.given += 1;
        self.receiver
            .datagram(self.now, &mut bytes, &mut into(&mut self.heard));
    }

    fn key_of(&self, who: u8) -> u8 {
        who * 50 + self.epochs[usize::from(who)]
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Wait(ms) => self.now += Duration::from_millis(u64::from(ms)),
            Step::Speak(who, fate) => {
                let sender = &mut self.senders[usize::from(who)];
                let mut bytes = datagram(sender, self.now, self.next);
                self.next += 1;
                match fate {
                    Fate::Lost => return,
                    Fate::Late => {
                        self.held_back.push(bytes);
                        return;
                    }
                    Fate::Twice => self.give(bytes.clone()),
                    Fate::Damaged => *bytes.last_mut().unwrap() ^= 0x55,
                    Fate::Arrives => {}
                }
                self.give(bytes);
                if self.held_back.len() > 2 {
                    let late = self.held_back.swap_remove(0);
                    self.give(late);
                }
            }
            Step::Map(who) => {
                let heard = &mut into(&mut self.heard);
                let (ssrc, user) = (u32::from(who) + 1, u64::from(who));
                self.receiver.map(self.now, ssrc, user, heard);
            }
            Step::Leave(who) => self.receiver.user_left(u64::from(who)),
            Step::Key(who) => {
                let change = KeyChange::Receive {
                    user: u64::from(who),
                    ratchet: ratchet(self.key_of(who)),
                };
                let heard = &mut into(&mut self.heard);
                self.receiver.apply(self.now, change, heard);
            }
            Step::Epoch(who) => {
                self.epochs[usize::from(who)] += 1;
                let key = ratchet(self.key_of(who));
                self.senders[usize::from(who)].apply(SendKey::Key(key));
            }
            Step::Timeout => self.receiver.handle_timeout(self.now),
            Step::Noise(bytes) => self.give(bytes),
        }
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let stats = self.receiver.stats();
        let users = self.receiver.user_stats();
        prop_assert_eq!(stats.total(), self.given);
        let mut received = 0;
        let mut delivered = 0;
        for user in users.values().chain([&stats.others]) {
            let undecryptable = user.undecryptable.total();
            let became = user.delivered + user.empty + user.waiting + undecryptable;
            prop_assert_eq!(user.received, became);
            received += user.received;
            delivered += user.delivered;
        }
        prop_assert_eq!(received, stats.frames);
        prop_assert_eq!(delivered, self.heard.len() as u64);
        let waiting: u64 = users.values().map(|user| user.waiting).sum();
        if waiting + stats.others.waiting > 0 {
            prop_assert!(self.receiver.poll_timeout().is_some());
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn the_counts_add_up(steps in proptest::collection::vec(step(), 0..250)) {
        let mut world = World::new();
        for step in steps {
            world.apply(step);
            world.check()?;
        }
        // Nothing is handed on twice.
        let once: BTreeSet<u16> = world.heard.iter().map(|(_, n)| *n).collect();
        prop_assert_eq!(once.len(), world.heard.len());
        // Nothing waits for ever.
        world.apply(Step::Wait(1_000));
        world.apply(Step::Timeout);
        world.check()?;
        prop_assert_eq!(world.receiver.poll_timeout(), None);
    }

    /// With keys and users known, all that arrives is heard, whatever its
    /// order, and the loss is exactly what did not arrive.
    #[test]
    fn what_arrives_is_heard(
        fates in proptest::collection::vec((any::<bool>(), 0usize..30), 3..200),
    ) {
        let now = start();
        let mut receiver = Receiver::new(OWN_SSRC, opener(), true);
        map(&mut receiver, now, 1, ALICE);
        give_key(&mut receiver, now, ALICE, 3);
        let mut alice = sealed_sender(now, 1, 3);
        let last = fates.len() - 1;
        let mut arriving: Vec<(usize, u16, Vec<u8>)> = Vec::new();
        for (n, (lost, delay)) in fates.into_iter().enumerate() {
            let bytes = datagram(&mut alice, now, n as u16);
            // The first and the last arrive, so that all between them counts.
            if n == 0 || n == last {
                arriving.push((n, n as u16, bytes));
            } else if !lost {
                arriving.push((n + delay, n as u16, bytes));
            }
        }
        let arrived = arriving.len() as u64;
        arriving.sort_by_key(|(at, n, _)| (*at, *n));
        let mut heard = BTreeSet::new();
        for (_, n, bytes) in arriving {
            prop_assert_eq!(hear(&mut receiver, now, bytes), [(ALICE, n)]);
            heard.insert(n);
        }
        let stats = receiver.user_stats()[&ALICE];
        prop_assert_eq!(stats.delivered, arrived);
        prop_assert_eq!(stats.lost, last as u64 + 1 - arrived);
    }
}
