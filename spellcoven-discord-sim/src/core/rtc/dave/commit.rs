//! Commits: which one is valid, and what the group is after it.
//!
//! See: DAVE whitepaper, "Voice Gateway Commit Validity", "Commit Handling", "Welcome Handling".

use std::collections::BTreeSet;
use std::time::Duration;

use openmls::prelude::{KeyPackage, OpenMlsProvider as _};

use super::group::{DaveGroup, Leaf};
use super::proposals::Change;
use super::wire::{self, Commit, Welcome};
use super::{DaveFault, DaveNote, op};

/// Credential type "basic".
const BASIC: u16 = 1;

/// A commit that won, in the server's terms.
struct Winner {
    committer: u64,
    committer_key: Vec<u8>,
    /// The leaves that become blank.
    removed: Vec<usize>,
    /// Who is added, in the order of the commit, and their part of the welcome.
    added: Vec<Added>,
}

struct Added {
    user: u64,
    signature_key: Vec<u8>,
    welcome: Vec<u8>,
}

impl DaveGroup {
    /// Op 28. The first valid commit of an epoch wins; later ones are of a past epoch and drop out.
    pub(super) fn commit(&mut self, now: Duration, user: u64, payload: &[u8]) {
        if self.version == 0 {
            return;
        }
        let (commit, bytes, welcome) = match wire::read_commit(payload) {
            Ok(parts) => parts,
            Err(what) => {
                self.complain(user, format!("sent {what}"));
                self.note(DaveNote::CommitRefused { user, why: what });
                return;
            }
        };
        match self.judge(user, &commit, welcome) {
            Ok(winner) => {
                let bytes = bytes.to_vec();
                self.accept(now, &bytes, winner);
            }
            Err(why) => {
                if self.bogus.iter().any(|bogus| {
                    let reference = bogus.reference.as_slice();
                    commit.references.contains(&reference)
                }) {
                    self.complain(user, "committed a proposal that it had to refuse");
                }
                self.note(DaveNote::CommitRefused { user, why });
            }
        }
    }

    fn judge(
        &self,
        user: u64,
        commit: &Commit<'_>,
        welcome: &[u8],
    ) -> Result<Winner, &'static str> {
        if commit.group_id != self.channel.to_be_bytes() {
            return Err("of another group");
        }
        if commit.epoch != self.epoch {
            return Err("of another epoch");
        }
        let committer_key = self.committer_key(user, commit)?;
        if let Some(leaf) = &commit.new_leaf
            && (leaf.signature_key != committer_key
                || leaf.credential_type != BASIC
                || leaf.identity != user.to_be_bytes())
        {
            return Err("changes the committer's key or credential");
        }
        self.check_references(user, commit)?;
        let mut winner = Winner {
            committer: user,
            committer_key,
            removed: Vec::new(),
            added: Vec::new(),
        };
        self.sort_changes(commit, welcome, &mut winner)?;
        Ok(winner)
    }

    /// The signature key of a committer who is at the leaf that the commit says.
    fn committer_key(&self, user: u64, commit: &Commit<'_>) -> Result<Vec<u8>, &'static str> {
        let found = self.users.get(&user).ok_or("of a stranger")?;
        if self.epoch == 0 {
            // Everyone's own group, with its creator at leaf 0.
            let package = found.package.as_ref().ok_or("before a key package")?;
            if commit.sender != 0 {
                return Err("of another leaf than the sender's");
            }
            return Ok(signature_key(package));
        }
        if !found.in_group {
            return Err("of one who is not in the group");
        }
        let leaf = usize::try_from(commit.sender)
            .ok()
            .and_then(|place| self.leaves.get(place))
            .and_then(Option::as_ref)
            .filter(|leaf| leaf.user == user)
            .ok_or("of another leaf than the sender's")?;
        Ok(leaf.signature_key.clone())
    }

    /// All proposals in flight, and nothing else; before there is a group all but the committer's own Add.
    fn check_references(&self, user: u64, commit: &Commit<'_>) -> Result<(), &'static str> {
        if commit.references.is_empty() {
            return Err("without proposals");
        }
        let named: BTreeSet<&[u8]> = commit.references.iter().copied().collect();
        if named.len() != commit.references.len() {
            return Err("names a proposal twice");
        }
        let due: BTreeSet<&[u8]> = self
            .flight
            .iter()
            .filter(|flight| flight.added() != Some(user))
            .map(|flight| flight.reference.as_slice())
            .collect();
        if !named.is_subset(&due) {
            return Err("names a proposal that is not in flight");
        }
        if named != due {
            return Err("leaves out a proposal in flight");
        }
        Ok(())
    }

    fn sort_changes(
        &self,
        commit: &Commit<'_>,
        welcome: &[u8],
        winner: &mut Winner,
    ) -> Result<(), &'static str> {
        let welcome = match welcome {
            [] => None,
            bytes => Some(wire::read_welcome(bytes).ok_or("with a welcome that cannot be read")?),
        };
        for reference in &commit.references {
            let flight = self
                .flight
                .iter()
                .find(|flight| flight.reference == *reference)
                .ok_or("names a proposal that is not in flight")?;
            match &flight.change {
                Change::Remove { leaf } => winner.removed.push(*leaf),
                Change::Add { user, package } => {
                    let welcome = self.part(welcome.as_ref(), package)?;
                    winner.added.push(Added {
                        user: *user,
                        signature_key: signature_key(package),
                        welcome,
                    });
                }
            }
        }
        if welcome.map_or(0, |welcome| welcome.readers()) != winner.added.len() {
            return Err("with a welcome for others than it adds");
        }
        Ok(())
    }

    fn part(
        &self,
        welcome: Option<&Welcome<'_>>,
        package: &KeyPackage,
    ) -> Result<Vec<u8>, &'static str> {
        const MISSING: &str = "without a welcome for one it adds";
        let reference = package
            .hash_ref(self.keys.provider().crypto())
            .map_err(|_| MISSING)?;
        welcome
            .and_then(|welcome| welcome.trimmed(reference.as_slice()))
            .ok_or(MISSING)
    }

    /// The commit has won: the next epoch begins.
    fn accept(&mut self, now: Duration, bytes: &[u8], winner: Winner) {
        let mut holders = self.able();
        if self.epoch == 0 {
            holders = BTreeSet::from([winner.committer]);
            self.leaves = vec![Some(Leaf {
                user: winner.committer,
                signature_key: winner.committer_key,
            })];
            self.settle_in(winner.committer);
        }
        for place in winner.removed {
            if let Some(leaf) = self.leaves.get_mut(place) {
                *leaf = None;
            }
        }
        let mut welcomes = Vec::new();
        for added in winner.added {
            self.seat(Leaf {
                user: added.user,
                signature_key: added.signature_key,
            });
            if self.settle_in(added.user) {
                welcomes.push((added.user, added.welcome));
            }
        }
        self.epoch += 1;
        self.flight.clear();
        self.bogus.clear();
        let id = if self.settings.first_transition_zero && !self.had_a_group {
            0
        } else {
            self.next_transition()
        };
        self.had_a_group = true;
        self.note(DaveNote::EpochBegan {
            epoch: self.epoch,
            committer: winner.committer,
            members: self.members(),
            welcomed: welcomes.iter().map(|(user, _)| *user).collect(),
            transition: id,
        });
        self.announce(now, id, bytes, holders, welcomes);
        self.propose(now);
    }

    /// The leftmost blank leaf, or a new one at the end.
    ///
    /// See: RFC 9420, 7.7.
    fn seat(&mut self, leaf: Leaf) {
        match self.leaves.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(leaf),
            None => self.leaves.push(Some(leaf)),
        }
    }

    /// The user has the group from now on; false if they are gone.
    fn settle_in(&mut self, user: u64) -> bool {
        let Some(found) = self.users.get_mut(&user) else {
            return false;
        };
        found.forget_group();
        found.in_group = true;
        true
    }

    /// Op 29 to those who had the group, op 30 to those who are welcomed. Not both to anyone: one who is welcomed and
    /// has made a commit of their own fails on another's.
    fn announce(
        &mut self,
        now: Duration,
        id: u16,
        commit: &[u8],
        holders: BTreeSet<u64>,
        welcomes: Vec<(u64, Vec<u8>)>,
    ) {
        let mut recipients = holders;
        let to_all = self.take_fault(|fault| *fault == DaveFault::CorruptCommit(None));
        for user in &recipients {
            let to_one = self.take_fault(|fault| *fault == DaveFault::CorruptCommit(Some(*user)));
            let lost = self.take_fault(|fault| *fault == DaveFault::LoseCommit(*user));
            if lost.is_some() {
                continue;
            }
            let mut bytes = commit.to_vec();
            if to_all.or(to_one).is_some() {
                self.turn_a_bit(&mut bytes);
            }
            self.send_binary(*user, op::ANNOUNCE_COMMIT, with_id(id, &bytes));
        }
        for (user, mut welcome) in welcomes {
            let corrupt = self.take_fault(|fault| match fault {
                DaveFault::CorruptWelcome(whom) => whom.is_none_or(|whom| whom == user),
                _ => false,
            });
            if corrupt.is_some() {
                self.turn_a_bit(&mut welcome);
            }
            self.send_binary(user, op::WELCOME, with_id(id, &welcome));
            recipients.insert(user);
        }
        if id == 0 {
            self.note(DaveNote::TransitionExecuted {
                transition: 0,
                late: Vec::new(),
            });
        } else {
            self.begin_transition(now, id, recipients);
        }
    }

    fn turn_a_bit(&mut self, bytes: &mut [u8]) {
        if bytes.is_empty() {
            return;
        }
        // Among the last bytes, where the authentication is: a length that is turned makes clients panic that are built
        // with debug assertions (tls_codec 0.4.2), which is not what is to be tested.
        let place = bytes.len() - 1 - self.rng.usize(..bytes.len().min(16));
        let bit = 1 << self.rng.u8(..8);
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= bit;
        }
    }
}

fn with_id(id: u16, bytes: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(bytes.len() + 2);
    payload.extend_from_slice(&id.to_be_bytes());
    payload.extend_from_slice(bytes);
    payload
}

fn signature_key(package: &KeyPackage) -> Vec<u8> {
    package.leaf_node().signature_key().as_slice().to_vec()
}
