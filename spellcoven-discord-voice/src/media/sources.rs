//! All streams that are received, within bounds.

use std::{collections::BTreeMap, time::Instant};

use super::{
    source::{SealedFrame, Source, Waiting},
    stats::UserStats,
};
use crate::rtp::{MAX_BLOCKS, Reception, ReportBlock};

/// How many SSRCs without a user there may be. Only the voice server can make
/// them; packets of one more are dropped.
const MAX_UNKNOWN: usize = 32;
/// How many SSRCs with a user there may be; with one more the one idle for
/// longest goes.
const MAX_KNOWN: usize = 1024;
/// How many SSRCs one user may have; with one more the one idle for longest
/// goes.
const MAX_PER_USER: usize = 4;

/// The sources by SSRC.
#[derive(Debug, Default)]
pub(super) struct Sources {
    by_ssrc: BTreeMap<u32, Source>,
    /// How many of them have no user.
    unknown: usize,
    /// How many frames wait, of all of them.
    waiting: usize,
    /// Counts packets and messages, to tell which source is idle for longest.
    tick: u64,
    /// Where the next report begins.
    report_from: u32,
    /// The figures of sources that are gone.
    gone: UserStats,
}

/// What a new mapping has done.
#[derive(Debug)]
pub(super) struct Mapped {
    /// SSRCs that are no longer what they were.
    pub(super) forgotten: Vec<u32>,
}

impl Sources {
    /// The source of a packet, which may be new. `None` where there are too many
    /// without a user.
    pub(super) fn of_packet(&mut self, ssrc: u32) -> Option<&mut Source> {
        self.tick += 1;
        if !self.by_ssrc.contains_key(&ssrc) {
            if self.unknown >= MAX_UNKNOWN {
                return None;
            }
            self.unknown += 1;
            self.by_ssrc.insert(ssrc, Source::new(None));
        }
        let source = self.by_ssrc.get_mut(&ssrc)?;
        source.used = self.tick;
        Some(source)
    }

    pub(super) fn get_mut(&mut self, ssrc: u32) -> Option<&mut Source> {
        self.by_ssrc.get_mut(&ssrc)
    }

    /// So many frames more wait.
    pub(super) fn more_wait(&mut self, more: usize) {
        self.waiting += more;
    }

    /// How many frames wait, of how many sources.
    pub(super) fn backlog(&self) -> [usize; 2] {
        [self.waiting, self.by_ssrc.len()]
    }

    /// Says whose an SSRC is. `None` where that is not new.
    pub(super) fn map(&mut self, ssrc: u32, user: u64) -> Option<Mapped> {
        self.tick += 1;
        let mut forgotten = Vec::new();
        match self.by_ssrc.get(&ssrc).map(|source| source.user) {
            Some(Some(owner)) if owner == user => return None,
            Some(Some(_)) => {
                self.remove(ssrc);
                forgotten.push(ssrc);
            }
            Some(None) => self.unknown = self.unknown.saturating_sub(1),
            None => {}
        }
        forgotten.extend(self.make_room(user));
        let source = self
            .by_ssrc
            .entry(ssrc)
            .or_insert_with(|| Source::new(None));
        source.user = Some(user);
        source.used = self.tick;
        Some(Mapped { forgotten })
    }

    /// Sees to it that one more SSRC of this user fits.
    fn make_room(&mut self, user: u64) -> Option<u32> {
        let of_user = self.of_user(user).count();
        let known = self.by_ssrc.values().filter(|source| source.user.is_some());
        let idlest = if of_user >= MAX_PER_USER {
            self.of_user(user).min_by_key(|(_, source)| source.used)
        } else if known.count() >= MAX_KNOWN {
            self.by_ssrc
                .iter()
                .filter(|(_, source)| source.user.is_some())
                .min_by_key(|(_, source)| source.used)
        } else {
            None
        };
        let ssrc = idlest.map(|(&ssrc, _)| ssrc)?;
        self.remove(ssrc);
        Some(ssrc)
    }

    fn of_user(&self, user: u64) -> impl Iterator<Item = (&u32, &Source)> {
        self.by_ssrc
            .iter()
            .filter(move |(_, source)| source.user == Some(user))
    }

    /// Forgets all of a user's; gives their SSRCs.
    pub(super) fn remove_user(&mut self, user: u64) -> Vec<u32> {
        let ssrcs: Vec<u32> = self.of_user(user).map(|(&ssrc, _)| ssrc).collect();
        for ssrc in &ssrcs {
            self.remove(*ssrc);
        }
        ssrcs
    }

    fn remove(&mut self, ssrc: u32) {
        if let Some(source) = self.by_ssrc.remove(&ssrc) {
            self.waiting = self.waiting.saturating_sub(source.waiting.len());
            self.gone.add(&source.into_stats());
        }
    }

    /// Hands each waiting frame of a user, in order, to `open`, which gives back
    /// what still has to wait.
    pub(super) fn retry(
        &mut self,
        now: Instant,
        user: u64,
        mut open: impl FnMut(u32, &mut Source, SealedFrame) -> Option<Waiting>,
    ) {
        if self.waiting == 0 {
            return;
        }
        for (&ssrc, source) in &mut self.by_ssrc {
            if source.user != Some(user) || source.waiting.is_empty() {
                continue;
            }
            let before = source.waiting.len();
            source.expire(now);
            for waiting in std::mem::take(&mut source.waiting) {
                if let Some(waiting) = open(ssrc, source, waiting.frame) {
                    source.waiting.push_back(waiting);
                }
            }
            let fewer = before.saturating_sub(source.waiting.len());
            self.waiting = self.waiting.saturating_sub(fewer);
        }
    }

    /// When [`Sources::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.waiting == 0 && self.unknown == 0 {
            return None;
        }
        self.by_ssrc.values().filter_map(Source::deadline).min()
    }

    /// Drops frames that have waited for too long, and sources whose user nobody
    /// has named.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.waiting > 0 {
            for source in self.by_ssrc.values_mut() {
                self.waiting = self.waiting.saturating_sub(source.expire(now));
            }
        }
        if self.unknown > 0 {
            let nobodies = self
                .by_ssrc
                .extract_if(.., |_, source| source.is_nobody(now));
            for (_, source) in nobodies {
                self.unknown = self.unknown.saturating_sub(1);
                self.gone.add(&source.into_stats());
            }
        }
    }

    /// See [`super::Receiver::report_blocks`].
    pub(super) fn report_blocks(&mut self, now: Instant, blocks: &mut Vec<ReportBlock>) {
        blocks.clear();
        let (before, after): (Vec<_>, Vec<_>) = self
            .by_ssrc
            .iter_mut()
            .filter(|(_, source)| source.user.is_some())
            .filter_map(|(&ssrc, source)| Some((ssrc, source.reception.as_mut()?)))
            .filter(|(_, reception)| reception.has_news())
            .partition(|(ssrc, _)| *ssrc < self.report_from);
        for (ssrc, reception) in after.into_iter().chain(before).take(MAX_BLOCKS) {
            blocks.push(Reception::report(reception, now, ssrc));
            self.report_from = ssrc.wrapping_add(1);
        }
    }

    /// The figures of sources that are gone or have no user.
    pub(super) fn others(&self) -> UserStats {
        let mut others = self.gone;
        for source in self.by_ssrc.values() {
            if source.user.is_none() {
                others.add(&source.stats());
            }
        }
        others
    }

    /// The figures of all users of whom an SSRC is known.
    pub(super) fn user_stats(&self) -> BTreeMap<u64, UserStats> {
        let mut users: BTreeMap<u64, UserStats> = BTreeMap::new();
        for source in self.by_ssrc.values() {
            if let Some(user) = source.user {
                users.entry(user).or_default().add(&source.stats());
            }
        }
        users
    }
}
