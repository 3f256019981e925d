//! One piece of work with davey's session, to be done away from the audio.

use std::{
    fmt,
    num::NonZeroU16,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bytes::Bytes;
use davey::{DaveSession, ProposalsOperationType, errors::SetExternalSenderError};

use super::super::identity::DaveIdentity;
use super::group::{self, GroupState};

/// Who we are in which group: enough to make a session anew.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) version: NonZeroU16,
    pub(crate) user_id: u64,
    /// The group's id.
    pub(crate) channel_id: u64,
    pub(crate) identity: DaveIdentity,
    /// The payload of the last op 25.
    pub(crate) external_sender: Option<Bytes>,
}

/// What there is to do.
pub(crate) enum Work {
    /// A pending group (anew, if there was one before) and a key package for op 26.
    Begin,
    /// Op 25.
    ExternalSender(Bytes),
    /// Op 27.
    Proposals {
        payload: Bytes,
        recognised: Vec<u64>,
    },
    /// Op 29, without the transition id.
    Commit { transition: u16, commit: Bytes },
    /// Op 30, without the transition id.
    Welcome {
        transition: u16,
        welcome: Bytes,
        recognised: Vec<u64>,
    },
    #[cfg(test)]
    Panic,
}

impl Work {
    fn transition(&self) -> Option<u16> {
        match self {
            Self::Begin | Self::ExternalSender(_) | Self::Proposals { .. } => None,
            #[cfg(test)]
            Self::Panic => None,
            Self::Commit { transition, .. } | Self::Welcome { transition, .. } => Some(*transition),
        }
    }
}

/// Work that owns the session until it is done: CPU only, up to about 100 ms, no lock, no I/O. Run it on any thread, and
/// give the [`MlsDone`] back to [`super::super::Dave::job_done`]; there is no other job before that.
pub(crate) struct MlsJob {
    pub(in super::super) life: u64,
    pub(in super::super) seat: Seat,
    pub(in super::super) session: Option<Box<DaveSession>>,
    pub(in super::super) work: Work,
}

/// A job's result, and the session back.
pub(crate) struct MlsDone {
    pub(in super::super) life: u64,
    pub(in super::super) session: Option<Box<DaveSession>>,
    pub(in super::super) result: MlsResult,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum MlsResult {
    /// There is a pending group; this is for op 26.
    KeyPackage(Vec<u8>),
    /// Nothing to send, nothing changed that others must know.
    Nothing,
    /// The message was refused, which needs no answer.
    Refused(String),
    /// For op 28: the commit, and the welcome right behind it.
    CommitWelcome(Vec<u8>),
    /// A new epoch.
    Group { transition: u16, group: GroupState },
    /// We have lost step with the group, and begun anew: op 31, then the key package by op 26. Without a key package
    /// not even that worked.
    OutOfStep {
        transition: Option<u16>,
        why: String,
        key_package: Option<Vec<u8>>,
    },
    /// No session could be made.
    Broken(String),
}

impl MlsJob {
    /// Does it. Never panics: should davey, the session is made anew and the result is [`MlsResult::OutOfStep`].
    pub(crate) fn run(self) -> MlsDone {
        let Self {
            life,
            seat,
            mut session,
            work,
        } = self;
        let transition = work.transition();
        let begins = matches!(work, Work::Begin);
        // Nothing that a panic could leave half changed is used after one: the session is dropped.
        let result = guarded(|| perform(&seat, &mut session, work)).unwrap_or_else(|| {
            session = None;
            let why = "the MLS library panicked".to_owned();
            if begins {
                MlsResult::Broken(why)
            } else {
                out_of_step(&seat, &mut session, transition, why)
            }
        });
        MlsDone {
            life,
            session,
            result,
        }
    }
}

fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

fn perform(seat: &Seat, slot: &mut Option<Box<DaveSession>>, work: Work) -> MlsResult {
    let transition = work.transition();
    if let Work::Begin = work {
        return match begin(seat, slot) {
            Ok(key_package) => MlsResult::KeyPackage(key_package),
            Err(why) => MlsResult::Broken(why),
        };
    }
    let Some(session) = slot else {
        return out_of_step(seat, slot, transition, "there is no session".to_owned());
    };
    let entered = match work {
        Work::Begin => return MlsResult::Nothing,
        #[cfg(test)]
        Work::Panic => panic!("as the library might"),
        Work::ExternalSender(payload) => return external_sender(session, &payload),
        Work::Proposals {
            payload,
            recognised,
        } => return proposals(session, &payload, &recognised),
        Work::Commit { commit, .. } => match session.process_commit(&commit) {
            Ok(false) => return MlsResult::Nothing,
            Ok(true) => Ok(()),
            Err(error) => Err(error.to_string()),
        },
        Work::Welcome {
            welcome,
            recognised,
            ..
        } => session
            .process_welcome(&welcome, Some(&recognised))
            .map_err(|error| error.to_string()),
    };
    match entered.and_then(|()| group::read(session)) {
        Ok(group) => MlsResult::Group {
            transition: transition.unwrap_or_default(),
            group,
        },
        Err(why) => out_of_step(seat, slot, transition, why),
    }
}

/// A pending group in a new session, or in the one there is, which keeps its external sender.
fn begin(seat: &Seat, slot: &mut Option<Box<DaveSession>>) -> Result<Vec<u8>, String> {
    let Seat {
        version,
        user_id,
        channel_id,
        ..
    } = *seat;
    let key = Some(seat.identity.signing_key());
    if let Some(session) = slot {
        session
            .reinit(version, user_id, channel_id, key)
            .map_err(|error| error.to_string())?;
    } else {
        let mut session = Box::new(
            DaveSession::new(version, user_id, channel_id, key)
                .map_err(|error| error.to_string())?,
        );
        if let Some(external_sender) = &seat.external_sender {
            session
                .set_external_sender(external_sender)
                .map_err(|error| error.to_string())?;
        }
        *slot = Some(session);
    }
    let session = slot.as_mut().ok_or("there is no session")?;
    session
        .create_key_package()
        .map_err(|error| error.to_string())
}

fn out_of_step(
    seat: &Seat,
    slot: &mut Option<Box<DaveSession>>,
    transition: Option<u16>,
    why: String,
) -> MlsResult {
    let key_package = guarded(|| begin(seat, slot))
        .unwrap_or(Err(String::new()))
        .ok();
    if key_package.is_none() {
        *slot = None;
    }
    MlsResult::OutOfStep {
        transition,
        why,
        key_package,
    }
}

fn external_sender(session: &mut DaveSession, payload: &[u8]) -> MlsResult {
    match session.set_external_sender(payload) {
        Ok(()) => MlsResult::Nothing,
        Err(SetExternalSenderError::AlreadyInGroup) => {
            MlsResult::Refused("an external sender for a group that has one".to_owned())
        }
        Err(error) => MlsResult::Refused(error.to_string()),
    }
}

fn proposals(session: &mut DaveSession, payload: &[u8], recognised: &[u64]) -> MlsResult {
    let (operation, proposals) = match payload.split_first() {
        Some((0, rest)) => (ProposalsOperationType::APPEND, rest),
        Some((1, rest)) => (ProposalsOperationType::REVOKE, rest),
        _ => return MlsResult::Refused("proposals of an unknown kind".to_owned()),
    };
    if !is_one_vector(proposals) {
        return MlsResult::Refused("proposals that do not end where they say".to_owned());
    }
    match session.process_proposals(operation, proposals, Some(recognised)) {
        Ok(None) => MlsResult::Nothing,
        Ok(Some(made)) => {
            let mut bytes = made.commit;
            bytes.extend_from_slice(&made.welcome.unwrap_or_default());
            MlsResult::CommitWelcome(bytes)
        }
        Err(error) => MlsResult::Refused(error.to_string()),
    }
}

/// Whether these bytes are one variable-size vector (RFC 9420, 2.1.2) and nothing more. The library checks it as well,
/// but panics over it in a build with debug assertions, and a panic costs the session.
fn is_one_vector(bytes: &[u8]) -> bool {
    let Some((&first, rest)) = bytes.split_first() else {
        return false;
    };
    let more = match first >> 6 {
        0 => 0,
        1 => 1,
        2 => 3,
        _ => return false,
    };
    let Some((header, body)) = rest.split_at_checked(more) else {
        return false;
    };
    let length = header
        .iter()
        .fold(usize::from(first & 0x3F), |length, byte| {
            length << 8 | usize::from(*byte)
        });
    length == body.len()
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Begin => "Begin",
            Self::ExternalSender(_) => "ExternalSender",
            Self::Proposals { .. } => "Proposals",
            Self::Commit { .. } => "Commit",
            Self::Welcome { .. } => "Welcome",
            #[cfg(test)]
            Self::Panic => "Panic",
        })
    }
}

impl fmt::Debug for MlsJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlsJob")
            .field("work", &self.work)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for MlsDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlsDone")
            .field("result", &self.result)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_ends_where_it_says() {
        let of = |header: &[u8], length| is_one_vector(&[header, &vec![0; length]].concat());
        for (header, length) in [
            (&[0][..], 0),
            (&[63], 63),
            (&[0x40, 64], 64),
            (&[0x41, 0xef], 0x1ef),
            (&[0x80, 0, 0x40, 0], 0x4000),
        ] {
            assert!(of(header, length));
            assert!(!of(header, length + 1));
            assert!(length == 0 || !of(header, length - 1));
        }
        for header in [
            &[][..],
            &[0x40],
            &[0x80, 0, 0],
            &[0xC0, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert!(!of(header, 0));
        }
    }
}
