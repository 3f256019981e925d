//! People at the voice servers: they come in by the same functions as a client with a socket.

use ::core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::super::{Output, World};
use super::Rtc;
use super::link::LinkId;
use super::people::{
    HeardFrame, HeardSummary, Invitation, Person, PersonOutput, PersonSettings, Speech,
};
use super::seat::SeatKey;
use crate::error::SimError;
use crate::ids::UserId;

/// Turns of people who answer each other, at one instant. Nobody who is in order takes so many.
const TURNS: u32 = 100_000;
/// The version that people's clients speak.
const QUERY: &str = "v=8";

/// A simulated person's voice client as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct VoiceClientView {
    /// Whether it is ready for media.
    pub connected: bool,
    /// Whether something is being said, the closing silence included.
    pub talking: bool,
    /// Packets sent.
    pub sent: u64,
    /// Frames that were not sent because there was no key to encrypt them with.
    pub held: u64,
    /// Its MLS epoch, 0 without a group.
    pub epoch: u64,
    /// The call's privacy code, 30 digits; `None` outside of an encrypted call.
    pub privacy_code: Option<String>,
}

/// A person with a voice client.
#[derive(Debug)]
pub(super) struct Actor {
    person: Person,
    link: Option<LinkId>,
    seat: SeatKey,
    address: SocketAddr,
    /// Datagrams that came.
    inbox: VecDeque<Vec<u8>>,
}

impl Rtc {
    /// Takes a datagram that is for a person; gives back one that is not.
    pub(super) fn post(&mut self, to: SocketAddr, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let Some(user) = self.addresses.get(&to) else {
            return Some(bytes);
        };
        if let Some(actor) = self.actors.get_mut(user) {
            actor.inbox.push_back(bytes);
            self.cued.insert(*user);
        }
        None
    }

    /// An address for a person, of a network for documentation (RFC 5737).
    fn address_for_person(&mut self) -> SocketAddr {
        let number = self.addresses.len();
        let host = u8::try_from(number % 250 + 1).unwrap_or(1);
        let port = 20_000 + u16::try_from(number / 250 % 40_000).unwrap_or(0);
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)), port)
    }
}

/// People who talk and listen.
impl World {
    /// A person who is in voice says something, in the place of what they were saying. Their client connects to the call
    /// if it has not; while there is no key to encrypt with they wait. It goes on with the next call after a move.
    ///
    /// # Errors
    /// [`SimError::UnknownUser`], [`SimError::NotInVoice`], [`SimError::NotAPerson`].
    pub fn talk(&mut self, user: UserId, speech: Speech) -> Result<(), SimError> {
        self.enter_stage(user)?;
        self.acted(Some(user), "talks");
        let now = self.now;
        self.with_actor(user, |actor| actor.person.talk(now, speech));
        Ok(())
    }

    /// A person stops talking, with five frames of silence. Nothing for one who does not talk.
    pub fn hush(&mut self, user: UserId) {
        self.acted(Some(user), "stops talking");
        self.with_actor(user, |actor| actor.person.hush());
    }

    /// A person who is in voice keeps what they hear from now on, or no longer. Their client connects to the call if it
    /// has not.
    ///
    /// # Errors
    /// [`SimError::UnknownUser`], [`SimError::NotInVoice`], [`SimError::NotAPerson`].
    pub fn set_listening(&mut self, user: UserId, on: bool) -> Result<(), SimError> {
        self.enter_stage(user)?;
        self.acted(Some(user), format!("listening: {on}"));
        self.with_actor(user, |actor| actor.person.listen(on));
        Ok(())
    }

    /// The last frames that a person heard of a user, decrypted, in the order of arrival; kept for
    /// [`VoiceSettings::people_keep`](super::VoiceSettings::people_keep).
    #[must_use]
    pub fn heard(&self, user: UserId, from: UserId) -> Vec<HeardFrame> {
        let actor = self.rtc.actors.get(&user);
        actor.map_or_else(Vec::new, |actor| actor.person.heard(from))
    }

    /// Counts of all whom a person heard.
    #[must_use]
    pub fn heard_of(&self, user: UserId) -> BTreeMap<UserId, HeardSummary> {
        let actor = self.rtc.actors.get(&user);
        actor.map_or_else(BTreeMap::new, |actor| actor.person.summary())
    }

    /// A person forgets what they heard.
    pub fn forget_heard(&mut self, user: UserId) {
        self.with_actor(user, |actor| actor.person.forget());
    }

    /// A person's voice client; `None` for one who never talked or listened.
    #[must_use]
    pub fn voice_client(&self, user: UserId) -> Option<VoiceClientView> {
        let person = &self.rtc.actors.get(&user)?.person;
        Some(VoiceClientView {
            connected: person.is_connected(),
            talking: person.is_talking(),
            sent: person.sent(),
            held: person.held(),
            epoch: person.epoch(),
            privacy_code: person.privacy_code(),
        })
    }

    /// Makes a client for a person, and connects it.
    fn enter_stage(&mut self, user: UserId) -> Result<(), SimError> {
        let account = self.users.get(&user).ok_or(SimError::UnknownUser(user))?;
        if account.is_bot {
            return Err(SimError::NotAPerson(user));
        }
        let seats = self.rtc.seats.keys();
        let seat = seats.copied().find(|(_, seated)| *seated == user);
        let seat = seat.ok_or(SimError::NotInVoice(user))?;
        if self.rtc.actors.contains_key(&user) {
            return Ok(());
        }
        let voice = &self.settings.voice;
        let settings = PersonSettings {
            dave_version: voice.dave_version,
            listens: false,
            keep: voice.people_keep,
            padding_share: voice.people_padding,
            extension_share: voice.people_extensions,
            ..PersonSettings::default()
        };
        let seed = self.rtc.rng.u64(..);
        let address = self.rtc.address_for_person();
        self.rtc.addresses.insert(address, user);
        let actor = Actor {
            person: Person::new(user, settings, seed),
            link: None,
            seat,
            address,
            inbox: VecDeque::new(),
        };
        self.rtc.actors.insert(user, actor);
        self.connect_person(seat);
        Ok(())
    }

    /// A person's client opens a connection for the seat that they have now; what it had is forgotten.
    pub(super) fn connect_person(&mut self, key: SeatKey) {
        let (guild, user) = key;
        let Some(seat) = self.rtc.seats.get(&key) else {
            return;
        };
        let (server, channel) = (seat.server, seat.channel);
        let invitation = Invitation {
            guild: guild.0,
            channel: channel.0,
            session: seat.session.clone(),
            token: seat.token.0.clone(),
        };
        let Some(old) = self
            .rtc
            .actors
            .get_mut(&user)
            .map(|actor| actor.link.take())
        else {
            return;
        };
        if self.rtc.away.contains(&channel) {
            return;
        }
        if let Some(old) = old {
            self.voice_closed(self.now, old, Some(1000));
        }
        let link = self.open_link(server, QUERY, Some(user));
        self.with_actor(user, |actor| {
            actor.seat = key;
            actor.link = Some(link);
            actor.inbox.clear();
            actor.person.connect(invitation);
        });
    }

    fn with_actor(&mut self, user: UserId, act: impl FnOnce(&mut Actor)) {
        if let Some(actor) = self.rtc.actors.get_mut(&user) {
            act(actor);
            self.rtc.cued.insert(user);
            self.settle_voice();
        }
    }

    /// Lets people hear what came for them, and says what they answer, until nobody has anything to say.
    pub(super) fn settle_voice(&mut self) {
        if std::mem::replace(&mut self.rtc.settling, true) {
            return;
        }
        let mut turns = 0;
        while let Some(user) = self.rtc.cued.pop_first() {
            turns += 1;
            if turns > TURNS {
                self.complain("people", "they talk in circles");
                self.rtc.cued.clear();
                break;
            }
            self.turn(user);
        }
        self.rtc.settling = false;
    }

    /// One person's turn.
    fn turn(&mut self, user: UserId) {
        let now = self.now;
        let Some(actor) = self.rtc.actors.get_mut(&user) else {
            return;
        };
        let mut end = None;
        if let Some(link) = actor.link.and_then(|id| self.rtc.links.get_mut(&id)) {
            while let Some(output) = link.out.pop_front() {
                match output {
                    Output::Text(text) => actor.person.text(now, &text),
                    Output::Binary(bytes) => actor.person.binary(now, &bytes),
                    Output::Close { code, .. } => end = Some(Some(code)),
                    Output::Drop => end = Some(None),
                    _ => {}
                }
            }
        }
        while let Some(mut bytes) = actor.inbox.pop_front() {
            actor.person.datagram(now, &mut bytes);
            self.rtc.pool.push(bytes);
        }
        self.rtc.pool.truncate(super::POOL);
        if let Some(code) = end {
            self.lose_link(user, code);
            return;
        }
        let Some(actor) = self.rtc.actors.get_mut(&user) else {
            return;
        };
        let outputs: Vec<PersonOutput> = std::iter::from_fn(|| actor.person.poll()).collect();
        let due = actor.person.poll_timeout();
        let (link, address, seat) = (actor.link, actor.address, actor.seat);
        if let Some(due) = due {
            self.rtc.wake_at(due.max(now));
        }
        let Some(link) = link else {
            return;
        };
        let server = self.rtc.seats.get(&seat).map(|seat| seat.server);
        for output in outputs {
            match output {
                PersonOutput::Text(text) => self.link_text(link, text.as_bytes()),
                PersonOutput::Binary(bytes) => self.link_binary(link, &bytes),
                PersonOutput::Datagram(mut bytes) => {
                    if let Some(server) = server {
                        self.on_datagram(server, address, &mut bytes);
                    }
                    self.recycle(bytes);
                }
            }
        }
    }

    /// A person's connection is over. Their client comes again, but where it was told not to.
    fn lose_link(&mut self, user: UserId, code: Option<u16>) {
        let Some(actor) = self.rtc.actors.get_mut(&user) else {
            return;
        };
        actor.person.disconnected();
        let (link, seat) = (actor.link.take(), actor.seat);
        if let Some(link) = link {
            self.rtc.links.remove(&link);
            self.rtc.ready.remove(&link);
        }
        let again = code.is_none_or(|code| code < 4000 || matches!(code, 4009 | 4013 | 4015));
        if !again {
            return;
        }
        // It does not resume: the session is given up, as by a client that was started anew.
        self.end_voice_session(seat);
        self.connect_person(seat);
    }

    pub(super) fn time_out_people(&mut self) {
        let now = self.now;
        for (user, actor) in &mut self.rtc.actors {
            if actor.person.poll_timeout().is_some_and(|at| at <= now) {
                actor.person.timeout(now);
                self.rtc.cued.insert(*user);
            }
        }
        let due = self.rtc.actors.values();
        let next: Option<Duration> = due.filter_map(|actor| actor.person.poll_timeout()).min();
        if let Some(next) = next {
            self.rtc.wake_at(next.max(now));
        }
    }
}
