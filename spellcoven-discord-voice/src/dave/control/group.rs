//! What the server says about the group, what the jobs make of it, and how to get back into step.

use std::{collections::BTreeMap, num::NonZeroU16, time::Instant};

use ring::digest::{Context, SHA256};
use serde_json::json;

use super::super::{
    MAX_DAVE_VERSION,
    keys::{KeyChange, SendKey},
    mls::{GroupState, MlsJob, MlsResult, Seat, Work},
};
use super::{
    Dave, DaveEvent, DaveOutput, Group, HEAL_ALONE,
    message::{Message, op},
};

impl Dave {
    pub(super) fn message(&mut self, now: Instant, message: Message) {
        match message {
            Message::PrepareEpoch {
                version,
                epoch,
                transition,
            } => {
                if epoch == 1 {
                    self.version = Some(version);
                    self.group = None;
                    self.begin(version);
                } else if let Some(transition) = transition.filter(|id| *id != 0) {
                    self.ready(transition);
                }
            }
            Message::PrepareTransition {
                transition,
                version,
            } => {
                let own = self.group.as_ref().and_then(|group| group.own.clone());
                self.prepare(now, transition, version, own.filter(|_| version != 0));
            }
            Message::ExecuteTransition { transition } => match self.transitions.take(transition) {
                Some(prepared) => self.execute(now, transition, prepared),
                None => {
                    tracing::debug!(transition, "ignored the execution of an unknown transition")
                }
            },
            Message::ExternalSender(payload) => {
                if self.session.is_some() {
                    if self.group.is_none() {
                        self.external_sender = Some(payload.clone());
                    }
                    self.job(Work::ExternalSender(payload));
                } else {
                    self.external_sender = Some(payload);
                }
            }
            Message::Proposals(payload) => {
                let recognised = self.users.present();
                self.group_job(Work::Proposals {
                    payload,
                    recognised,
                });
            }
            Message::Commit { transition, commit } => {
                if self.is_new_entry(transition, op::ANNOUNCE_COMMIT, &commit) {
                    self.group_job(Work::Commit { transition, commit });
                }
            }
            Message::Welcome {
                transition,
                welcome,
            } => {
                if self.is_new_entry(transition, op::WELCOME, &welcome) {
                    let recognised = self.users.present_or_just_left(now);
                    self.group_job(Work::Welcome {
                        transition,
                        welcome,
                        recognised,
                    });
                }
            }
        }
    }

    pub(super) fn result(&mut self, now: Instant, result: MlsResult) {
        match result {
            MlsResult::KeyPackage(payload) => self.outputs.push_back(DaveOutput::SendBinary {
                op: op::KEY_PACKAGE,
                payload,
            }),
            MlsResult::Nothing => {}
            MlsResult::Refused(why) => tracing::debug!(why, "refused a message about the group"),
            MlsResult::CommitWelcome(payload) => self.outputs.push_back(DaveOutput::SendBinary {
                op: op::COMMIT_WELCOME,
                payload,
            }),
            MlsResult::Group { transition, group } => self.entered(now, transition, group),
            MlsResult::OutOfStep {
                transition,
                why,
                key_package,
            } => self.lost_step(transition, why, key_package),
            MlsResult::Broken(why) => {
                self.send_with(SendKey::Hold);
                self.event(DaveEvent::Failed { why });
            }
        }
    }

    /// A new epoch: its receive keys hold from now on, the send key from the transition's execution.
    pub(super) fn entered(&mut self, now: Instant, transition: u16, group: GroupState) {
        let mut own = None;
        let mut signature_keys = BTreeMap::new();
        let gone = std::mem::take(&mut self.receiving);
        for member in group.members {
            signature_keys.insert(member.user, member.signature_key);
            if member.user == self.config.user_id {
                own = Some(member.ratchet);
            } else {
                self.receiving.insert(member.user);
                self.keys(KeyChange::Receive {
                    user: member.user,
                    ratchet: member.ratchet,
                });
            }
        }
        for user in gone {
            if !self.receiving.contains(&user) {
                self.keys(KeyChange::Forget { user });
            }
        }
        self.event(DaveEvent::Epoch {
            epoch: group.epoch,
            members: signature_keys.keys().copied().collect(),
            privacy_code: group.privacy_code.clone(),
        });
        self.group = Some(Group {
            own: own.clone(),
            signature_keys,
            privacy_code: group.privacy_code,
        });
        let version = self.version.unwrap_or(MAX_DAVE_VERSION);
        self.prepare(now, transition, version, own);
    }

    /// We have lost step with the group (or the server believes so), and begun anew.
    pub(super) fn lost_step(
        &mut self,
        transition: Option<u16>,
        why: String,
        key_package: Option<Vec<u8>>,
    ) {
        let transition = transition.unwrap_or(self.transitions.last_executed());
        tracing::info!(
            transition,
            why,
            "out of step with the group: entering it anew"
        );
        self.group = None;
        self.last_entry = None;
        self.outputs.push_back(DaveOutput::SendJson {
            op: op::INVALID_COMMIT_WELCOME,
            d: json!({ "transition_id": transition }),
        });
        match key_package {
            Some(payload) => {
                self.outputs.push_back(DaveOutput::SendBinary {
                    op: op::KEY_PACKAGE,
                    payload,
                });
                self.event(DaveEvent::Recovering { transition, why });
            }
            None => self.event(DaveEvent::Failed { why }),
        }
    }

    pub(super) fn heal(&mut self, now: Instant) {
        if self.group.is_none()
            || self.transitions.any_pending()
            || self.transitions.last_executed() == 0
        {
            return;
        }
        if self.receiving.len() < 2 {
            if self.healed_alone.is_some_and(|at| now < at + HEAL_ALONE) {
                return;
            }
            self.healed_alone = Some(now);
        }
        self.out_of_step("nobody's frames open any more");
    }

    /// Op 31, then a new start, whose key package follows as op 26.
    pub(super) fn out_of_step(&mut self, why: &str) {
        let Some(version) = self.version.filter(|version| *version != 0) else {
            return;
        };
        let transition = self.transitions.last_executed();
        self.group = None;
        self.last_entry = None;
        self.outputs.push_back(DaveOutput::SendJson {
            op: op::INVALID_COMMIT_WELCOME,
            d: json!({ "transition_id": transition }),
        });
        self.event(DaveEvent::Recovering {
            transition,
            why: why.to_owned(),
        });
        self.begin(version);
    }

    /// Whether this op 29 or 30 is another than the last one that made a group; if it is the same, after a resume, our
    /// word that we are ready may have been lost.
    pub(super) fn is_new_entry(&mut self, transition: u16, op: u8, payload: &[u8]) -> bool {
        let name = entry_name(transition, op, payload);
        if self.group.is_some() && self.last_entry == Some(name) {
            if self.transitions.is_pending(transition) {
                self.ready(transition);
            }
            return false;
        }
        self.last_entry = Some(name);
        true
    }

    pub(super) fn begin(&mut self, version: u16) {
        match NonZeroU16::new(version).filter(|version| version.get() <= MAX_DAVE_VERSION) {
            Some(_) => self.job(Work::Begin),
            None => {
                self.session = None;
                self.send_with(SendKey::Hold);
                self.event(DaveEvent::Failed {
                    why: format!("the call has DAVE version {version}, and this client speaks {MAX_DAVE_VERSION}"),
                });
            }
        }
    }

    /// A job that only makes sense with a session.
    pub(super) fn group_job(&mut self, work: Work) {
        if self.session.is_some() {
            self.job(work);
        } else {
            tracing::debug!(?work, "ignored a message about a group that there is not");
        }
    }

    pub(super) fn job(&mut self, work: Work) {
        let Some(version) = self.version.and_then(NonZeroU16::new) else {
            return;
        };
        self.busy = true;
        self.outputs.push_back(DaveOutput::Job(MlsJob {
            life: self.life,
            seat: Seat {
                version,
                user_id: self.config.user_id,
                channel_id: self.config.channel_id,
                identity: self.config.identity.clone(),
                external_sender: self.external_sender.clone(),
            },
            session: self.session.take(),
            work,
        }));
    }
}

fn entry_name(transition: u16, op: u8, payload: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&transition.to_be_bytes());
    context.update(&[op]);
    context.update(payload);
    context
        .finish()
        .as_ref()
        .first_chunk()
        .copied()
        .unwrap_or_default()
}
