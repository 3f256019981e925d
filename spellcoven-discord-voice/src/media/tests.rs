//! Sender and receiver against each other, with the network in between.

mod cost;
mod receiver;
mod schedules;
mod sender;

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::{
    dave::{KeyChange, KeyRatchet, Passthrough, SendKey},
    rtp::tests::start,
    transport::{EncryptionMode, Opener, Sealer, TransportKey},
};

const MODE: EncryptionMode = EncryptionMode::AeadAes256GcmRtpSize;
const ALICE: u64 = 700;
const BOB: u64 = 701;
const OWN_SSRC: u32 = 0x1005;
const MS_20: Duration = Duration::from_millis(20);

fn transport_key() -> TransportKey {
    TransportKey::new([7; 32])
}

fn opener() -> Opener {
    Opener::new(MODE, &transport_key())
}

fn ratchet(byte: u8) -> KeyRatchet {
    KeyRatchet::new([byte; 16])
}

/// A sender without end-to-end key, whose nonces begin at a number that only
/// this SSRC has.
fn held_sender(now: Instant, ssrc: u32) -> Sender {
    let sealer = Sealer::new(MODE, &transport_key(), ssrc << 16);
    Sender::new(
        now,
        ssrc,
        sealer,
        &mut fastrand::Rng::with_seed(u64::from(ssrc)),
    )
}

fn plain_sender(now: Instant, ssrc: u32) -> Sender {
    let mut sender = held_sender(now, ssrc);
    sender.apply(SendKey::Plain);
    sender
}

fn sealed_sender(now: Instant, ssrc: u32, key: u8) -> Sender {
    let mut sender = held_sender(now, ssrc);
    sender.apply(SendKey::Key(ratchet(key)));
    sender
}

/// A frame of 20 ms that can be told from others.
fn frame(n: u16) -> OpusFrame {
    let [a, b] = n.to_be_bytes();
    OpusFrame {
        data: Bytes::from(vec![0xfc, 1, a, b]),
        samples: 960,
    }
}

fn datagram(sender: &mut Sender, now: Instant, n: u16) -> Vec<u8> {
    let mut out = Vec::new();
    assert_eq!(
        sender.frame(now, &frame(n), &mut out),
        Ok(Outcome::Datagram)
    );
    out
}

fn plain_receiver(now: Instant) -> Receiver {
    let mut receiver = Receiver::new(OWN_SSRC, opener(), true);
    let change = KeyChange::Passthrough(Passthrough::On);
    receiver.apply(now, change, &mut |_| panic!("nothing waits"));
    receiver
}

/// Who spoke, and which frame.
type Heard = Vec<(u64, u16)>;

fn into(heard: &mut Heard) -> impl FnMut(Received) {
    |received| match received {
        Received::Frame(frame) => {
            let [.., a, b] = frame.payload[..] else {
                panic!("{frame:?}");
            };
            heard.push((frame.user_id, u16::from_be_bytes([a, b])));
        }
        Received::Report(block) => panic!("{block:?}"),
    }
}

fn hear(receiver: &mut Receiver, now: Instant, mut datagram: Vec<u8>) -> Heard {
    let mut heard = Heard::new();
    receiver.datagram(now, &mut datagram, &mut into(&mut heard));
    heard
}

/// Tells the receiver the key; gives what was waiting for it.
fn give_key(receiver: &mut Receiver, now: Instant, user: u64, key: u8) -> Heard {
    let mut heard = Heard::new();
    let change = KeyChange::Receive {
        user,
        ratchet: ratchet(key),
    };
    receiver.apply(now, change, &mut into(&mut heard));
    heard
}

fn map(receiver: &mut Receiver, now: Instant, ssrc: u32, user: u64) -> Heard {
    let mut heard = Heard::new();
    receiver.map(now, ssrc, user, &mut into(&mut heard));
    heard
}
