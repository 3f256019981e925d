//! What a packet costs:
//! `cargo test --release -p spellcoven-discord-voice --lib -- --ignored --nocapture cost_of_a_packet`

use super::*;

const PACKETS: u32 = 200_000;

#[test]
#[ignore = "a measurement, no test; the command that runs it stands at the top of this file"]
fn cost_of_a_packet() {
    for mode in EncryptionMode::PREFERENCE {
        for dave in [false, true] {
            measure(*mode, dave);
        }
    }
}

fn measure(mode: EncryptionMode, dave: bool) {
    let now = start();
    let sealer = Sealer::new(mode, &transport_key(), 0);
    let mut sender = Sender::new(now, 1, sealer, &mut fastrand::Rng::with_seed(1));
    let opener = Opener::new(mode, &transport_key());
    let mut receiver = Receiver::new(OWN_SSRC, opener, true);
    map(&mut receiver, now, 1, ALICE);
    if dave {
        sender.apply(SendKey::Key(ratchet(1)));
        give_key(&mut receiver, now, ALICE, 1);
    } else {
        sender.apply(SendKey::Plain);
        let change = KeyChange::Passthrough(Passthrough::On);
        receiver.apply(now, change, &mut |_| ());
    }
    let frame = OpusFrame {
        data: Bytes::from(vec![0x5a; 160]),
        samples: 960,
    };
    let mut datagrams = vec![Vec::new(); 1_000];
    let (mut sent, mut received) = (Duration::ZERO, Duration::ZERO);
    let mut heard = 0;
    for _ in 0..PACKETS / 1_000 {
        let begin = start();
        for datagram in &mut datagrams {
            sender.frame(now, &frame, datagram).unwrap();
        }
        let between = start();
        for datagram in &mut datagrams {
            receiver.datagram(now, datagram, &mut |_| heard += 1);
        }
        sent += between - begin;
        received += start() - between;
    }
    assert_eq!(heard, PACKETS);
    println!(
        "{mode}, end-to-end {dave}: send {} ns, receive {} ns",
        sent.as_nanos() / u128::from(PACKETS),
        received.as_nanos() / u128::from(PACKETS),
    );
}
