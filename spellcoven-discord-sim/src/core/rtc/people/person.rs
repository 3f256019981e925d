//! A person: a connection, something to say, and ears.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use davey::SigningKeyPair;

use super::connection::{Connection, Verdict};
use super::e2ee::SILENCE;
use super::hear::{Ears, HeardFrame, HeardSummary};
use super::rtp::Dress;
use super::speech::Speech;
use crate::ids::UserId;

/// Silence frames at the end of what is said.
///
/// See: Discord documentation, Topics, Voice Connections, "Voice Data Interpolation".
const TAIL: u8 = 5;
/// Length of a silence frame.
const SILENCE_SAMPLES: u32 = 960;
/// How far behind its beat a person may be; then what was not said is left out.
const MOST_BEHIND: Duration = Duration::from_millis(200);

/// How a person's client behaves.
#[derive(Clone, Debug)]
pub(in crate::core) struct PersonSettings {
    /// The newest version of DAVE it knows.
    pub(in crate::core) dave_version: u16,
    /// Takes XChaCha20 where both modes are offered.
    pub(in crate::core) prefer_xchacha: bool,
    /// Records what it hears.
    pub(in crate::core) listens: bool,
    /// How long heard frames are kept.
    pub(in crate::core) keep: Duration,
    /// Share of packets with padding, as official clients send them.
    pub(in crate::core) padding_share: f64,
    /// Share of packets with a header extension.
    pub(in crate::core) extension_share: f64,
}

impl Default for PersonSettings {
    fn default() -> Self {
        Self {
            dave_version: 1,
            prefer_xchacha: false,
            listens: true,
            keep: Duration::from_secs(60),
            padding_share: 0.03,
            extension_share: 0.05,
        }
    }
}

/// What a client needs for a connection, out of VOICE_STATE_UPDATE and VOICE_SERVER_UPDATE.
#[derive(Clone)]
pub(in crate::core) struct Invitation {
    pub(in crate::core) guild: u64,
    pub(in crate::core) channel: u64,
    pub(in crate::core) session: String,
    pub(in crate::core) token: String,
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation")
            .field("guild", &self.guild)
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

/// What a person's client sends.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::core) enum PersonOutput {
    /// On the WebSocket, text.
    Text(String),
    /// On the WebSocket, binary.
    Binary(Vec<u8>),
    /// To the server's media port.
    Datagram(Vec<u8>),
}

/// A simulated person's voice client. Time is the time since the simulator's start. After each call, take the output
/// with [`poll`](Self::poll).
pub(in crate::core) struct Person {
    user: u64,
    settings: PersonSettings,
    rng: fastrand::Rng,
    signing: SigningKeyPair,
    connection: Option<Connection>,
    talking: Option<Talking>,
    ears: Ears,
    sent: u64,
    held: u64,
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Person")
            .field("user", &self.user)
            .field("connected", &self.is_connected())
            .field("talking", &self.is_talking())
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Talking {
    speech: Speech,
    place: usize,
    /// When the next frame is due. The beat goes on whether or not frames can be sent.
    next_at: Duration,
    /// Silence frames still to send, once the end is reached.
    tail: Option<u8>,
    announced: bool,
}

impl Person {
    /// A person without a connection. The seed decides sequence numbers, counters and which packets are padded.
    pub(in crate::core) fn new(user: UserId, settings: PersonSettings, seed: u64) -> Self {
        Self {
            user: user.0,
            settings,
            rng: fastrand::Rng::with_seed(seed),
            signing: SigningKeyPair::generate(),
            connection: None,
            talking: None,
            ears: Ears::default(),
            sent: 0,
            held: 0,
        }
    }

    /// A WebSocket to the voice server is open: the next message is its op 8. Any earlier connection is forgotten.
    pub(in crate::core) fn connect(&mut self, invitation: Invitation) {
        if let Some(talking) = &mut self.talking {
            talking.announced = false;
        }
        self.connection = Some(Connection::new(
            self.user,
            invitation,
            &self.settings,
            self.signing.clone(),
        ));
    }

    /// The connection is over. What is being said goes on with the next one.
    pub(in crate::core) fn disconnected(&mut self) {
        self.connection = None;
    }

    /// A text message of the server.
    pub(in crate::core) fn text(&mut self, now: Duration, text: &str) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let was_ready = connection.is_ready();
        let verdicts = connection.text(now, text, &mut self.rng);
        if connection.is_ready()
            && !was_ready
            && let Some(talking) = &mut self.talking
        {
            talking.next_at = now;
        }
        for user in std::mem::take(&mut connection.began) {
            self.ears.new_stream(user);
        }
        self.record(now, verdicts);
        self.speak(now);
    }

    /// A binary message of the server, with its sequence number and opcode.
    pub(in crate::core) fn binary(&mut self, now: Duration, bytes: &[u8]) {
        let connection = self.connection.as_mut();
        let verdicts = connection.map(|connection| connection.binary(now, bytes));
        self.record(now, verdicts.unwrap_or_default());
    }

    /// A datagram of the server. It is decrypted in place.
    pub(in crate::core) fn datagram(&mut self, now: Duration, bytes: &mut [u8]) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        // One who does not listen needs nothing but the answer of IP discovery.
        if !self.settings.listens && connection.is_ready() {
            return;
        }
        let (arrival, verdict) = connection.datagram(now, bytes);
        if let Some((speaker, sequence)) = arrival {
            self.ears.arrival(speaker, sequence);
        }
        self.record(now, verdict);
    }

    /// Time has passed.
    pub(in crate::core) fn timeout(&mut self, now: Duration) {
        let connection = self.connection.as_mut();
        let verdicts = connection.map(|connection| connection.timeout(now));
        self.record(now, verdicts.unwrap_or_default());
        self.speak(now);
    }

    /// When [`timeout`](Self::timeout) is wanted.
    pub(in crate::core) fn poll_timeout(&self) -> Option<Duration> {
        let connection = self.connection.as_ref()?;
        let talking = self.talking.as_ref().filter(|_| connection.is_ready());
        let frame = talking.map(|talking| talking.next_at);
        frame.into_iter().chain(connection.poll_timeout()).min()
    }

    /// What is to be sent next.
    pub(in crate::core) fn poll(&mut self) -> Option<PersonOutput> {
        self.connection.as_mut()?.out.pop_front()
    }

    /// Begins to say something, in the place of what was being said. Without a connection it waits for one; while
    /// there is no key to encrypt with, the first frame waits, and later ones go unheard.
    pub(in crate::core) fn talk(&mut self, now: Duration, speech: Speech) {
        let announced = self.talking.take().is_some_and(|talking| talking.announced);
        self.talking = Some(Talking {
            speech,
            place: 0,
            next_at: now,
            tail: None,
            announced,
        });
        self.speak(now);
    }

    /// Stops talking, with five frames of silence.
    pub(in crate::core) fn hush(&mut self) {
        if let Some(talking) = &mut self.talking {
            talking.tail.get_or_insert(TAIL);
        }
    }

    /// Turns the records on or off. Off, media cost nothing.
    pub(in crate::core) fn listen(&mut self, listens: bool) {
        self.settings.listens = listens;
    }

    /// Forgets all that was heard.
    pub(in crate::core) fn forget(&mut self) {
        self.ears.clear();
    }

    /// The last frames that were heard of a user, in the order of arrival.
    pub(in crate::core) fn heard(&self, from: UserId) -> Vec<HeardFrame> {
        self.ears.heard(from.0)
    }

    /// Counts of all who were heard.
    pub(in crate::core) fn summary(&self) -> BTreeMap<UserId, HeardSummary> {
        self.ears.summaries()
    }

    /// Whether a connection is ready for media.
    pub(in crate::core) fn is_connected(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::is_ready)
    }

    /// Whether something is being said, its closing silence included.
    pub(in crate::core) const fn is_talking(&self) -> bool {
        self.talking.is_some()
    }

    /// The MLS epoch, 0 without a group.
    pub(in crate::core) fn epoch(&self) -> u64 {
        self.connection
            .as_ref()
            .map_or(0, |connection| connection.e2ee().epoch())
    }

    /// The call's privacy code: 30 digits that all in the call share.
    pub(in crate::core) fn privacy_code(&self) -> Option<String> {
        let code = self.connection.as_ref()?.e2ee().privacy_code()?;
        Some(code.to_owned())
    }

    /// Packets sent.
    pub(in crate::core) const fn sent(&self) -> u64 {
        self.sent
    }

    /// Frames that were not sent because there was no key to encrypt them with.
    pub(in crate::core) const fn held(&self) -> u64 {
        self.held
    }

    #[cfg(test)]
    pub(super) fn has_output(&self) -> bool {
        let connection = self.connection.as_ref();
        connection.is_some_and(|connection| !connection.out.is_empty())
    }

    fn record(&mut self, now: Duration, verdicts: impl IntoIterator<Item = Verdict>) {
        for (from, fate) in verdicts {
            self.ears.record(now, from, fate, self.settings.keep);
        }
    }

    /// Sends the frames that are due.
    fn speak(&mut self, now: Duration) {
        loop {
            let (Some(connection), Some(talking)) = (&mut self.connection, &mut self.talking)
            else {
                return;
            };
            if !connection.is_ready() {
                return;
            }
            if !talking.announced {
                connection.announce(true);
                talking.announced = true;
            }
            if talking.next_at > now {
                return;
            }
            if now - talking.next_at > MOST_BEHIND {
                talking.next_at = now;
            }
            let frame = match talking.tail {
                None => talking.speech.frame(talking.place),
                Some(_) => None,
            };
            let (opus, samples) = match frame {
                Some(frame) => (&frame.opus[..], frame.samples),
                None => (&SILENCE[..], SILENCE_SAMPLES),
            };
            let timestamp = rtp_time(talking.next_at);
            let dress = dress(&mut self.rng, &self.settings);
            let said = connection.say(timestamp, opus, dress).is_some();
            let is_speech = frame.is_some();
            talking.next_at += Duration::from_nanos(u64::from(samples) * 1_000_000_000 / 48_000);
            self.sent += u64::from(said);
            self.held += u64::from(!said);
            if is_speech {
                // What has begun goes on like a voice into a microphone; what has not, waits.
                if said || talking.place > 0 {
                    talking.place += 1;
                }
                continue;
            }
            let left = talking.tail.unwrap_or(TAIL).saturating_sub(1);
            talking.tail = Some(left);
            if left == 0 {
                connection.announce(false);
                self.talking = None;
            }
        }
    }
}

/// The RTP timestamp of a time: it runs on through pauses, as RFC 7587, 4.1 wants it.
fn rtp_time(at: Duration) -> u32 {
    let samples = at.as_micros() * 48 / 1000;
    // The timestamp wraps.
    (samples & u128::from(u32::MAX)) as u32
}

fn dress(rng: &mut fastrand::Rng, settings: &PersonSettings) -> Dress {
    let padded = rng.f64() < settings.padding_share;
    Dress {
        extension: rng.f64() < settings.extension_share,
        padding: if padded { rng.u8(1..=32) } else { 0 },
    }
}
