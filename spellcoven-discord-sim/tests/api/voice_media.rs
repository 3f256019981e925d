//! UDP: discovery, pings, encryption, and what the forwarding unit does with media.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use spellcoven_discord_sim::{EntryKind, MediaCounts, MediaFaults, SimBuilder};

use super::support::{Client, Scene, scene, scene_with};
use super::voice_support::{
    AES, Caller, Voice, XCHACHA, another_bot, discovered, discovery, join, op4, ticket,
};

const SILENCE: [u8; 3] = [0xF8, 0xFF, 0xFE];

struct Room {
    scene: Scene,
    a: Caller,
    b: Caller,
    _clients: [Client; 2],
}

/// Two callers who have said that they speak, in two modes.
async fn room(scene: Scene) -> Room {
    let (first, ticket_of_first) = join(&scene).await;
    let (_bot, mut second) = another_bot(&scene, "other").await;
    second.send(4, &op4(&scene, Some(scene.lobby))).await;
    let ticket_of_second = ticket(&mut second).await;
    let mut a = Caller::enter(&scene.sim, ticket_of_first, AES).await;
    let mut b = Caller::enter(&scene.sim, ticket_of_second, XCHACHA).await;
    a.speaking().await;
    b.speaking().await;
    Room {
        scene,
        a,
        b,
        _clients: [first, second],
    }
}

impl Room {
    fn counts(&self, caller: &Caller) -> MediaCounts {
        self.scene.sim.media()[&caller.user()].clone()
    }
}

/// A frame that looks like one of DAVE, with this first byte.
fn dave(first: u8) -> Vec<u8> {
    let mut frame = vec![first; 20];
    frame.extend_from_slice(&[7; 8]);
    frame.extend_from_slice(&[1, 12, 0xFA, 0xFA]);
    frame
}

#[tokio::test(start_paused = true)]
async fn discovery_tells_the_address_that_is_seen() {
    let scene = scene_with(|builder| builder.settings(|s| s.voice.drop_discoveries = 2));
    let (_client, ticket) = join(&scene).await;
    let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    voice.send(0, &ticket.identify()).await;
    let ssrc = voice.until(2).await["ssrc"].as_u64().unwrap() as u32;
    let to = scene.sim.voice_servers()[0].udp;
    for address in ["198.51.100.7:4000", "[2001:db8::7]:4001"] {
        let address: SocketAddr = address.parse().unwrap();
        let udp = scene.sim.voice_udp_from(address);
        udp.send(to, &discovery(ssrc));
        if address.is_ipv4() {
            assert!(udp.try_recv().is_none());
            udp.send(to, &discovery(ssrc));
            assert!(udp.try_recv().is_none(), "the first two are lost");
            udp.send(to, &discovery(ssrc));
        }
        let (from, answer) = udp.try_recv().unwrap();
        assert_eq!(from, to);
        let told = discovered(&answer, ssrc);
        assert_eq!(told, (address.ip().to_string(), address.port()));
        udp.send(to, &discovery(ssrc + 100));
        udp.send(to, &discovery(ssrc)[..73]);
        udp.send("203.0.113.99:1".parse().unwrap(), &discovery(ssrc));
        assert!(udp.try_recv().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn pings_and_keepalives() {
    let scene = scene();
    let udp = scene.sim.voice_udp();
    let to = scene.sim.voice_servers()[0].udp;
    udp.send(to, &[0x13, 0x37, 0xCA, 0xFE, 1, 2, 3, 4]);
    assert_eq!(
        udp.try_recv().unwrap().1,
        [0x13, 0x37, 0xF0, 0x0D, 1, 2, 3, 4]
    );
    udp.send(to, &[5, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(udp.try_recv().unwrap().1, [5, 0, 0, 0, 0, 0, 0, 0]);
    for ignored in [&[][..], &[1, 2, 3, 4], &[0x80; 7], &[0x80; 100], &[0; 2000]] {
        udp.send(to, ignored);
        assert!(udp.try_recv().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn packets_reach_the_others_under_their_own_key() {
    let mut room = room(scene()).await;
    room.a.say(&SILENCE);
    room.a.say(&dave(3));
    let heard = room.b.heard();
    assert_eq!(heard.len(), 2);
    for (index, packet) in heard.iter().enumerate() {
        assert_eq!(packet[..2], [0x80, 120]);
        assert_eq!(packet[2..4], (65_530 + index as u16).to_be_bytes());
        assert_eq!(packet[4..8], (7 + 960 * index as u32).to_be_bytes());
        assert_eq!(packet[8..12], room.a.ssrc.to_be_bytes());
    }
    assert_eq!(heard[0][12..], SILENCE);
    assert_eq!(heard[1][12..], dave(3));
    assert!(room.a.heard().is_empty(), "nobody hears themself");
    // CSRCs, extension and padding arrive as they were sent.
    let clear = [&[0, 0, 0, 9][..], &[0xBE, 0xDE, 0, 1]].concat();
    let rest = [&[0x90, 4, 0, 0][..], &dave(4), &[0, 2]].concat();
    let packet = room.a.packet(0xB1, &[clear, rest].concat());
    let sealed = room.a.crypto.seal(&packet, 20);
    room.a.udp.send(room.a.to, &sealed);
    assert_eq!(room.b.heard(), [packet]);
    let counts = room.counts(&room.a);
    assert_eq!((counts.packets, counts.dave, counts.silence), (3, 2, 1));
    assert_eq!((counts.clear, counts.forwarded), (0, 3));
    assert_eq!(room.counts(&room.b).received, 3);
}

#[tokio::test(start_paused = true)]
async fn media_in_clear_are_told() {
    let mut room = room(scene()).await;
    for _ in 0..150 {
        room.a.say(&[1, 2, 3, 4]);
    }
    let counts = room.counts(&room.a);
    assert_eq!((counts.clear, counts.clear_in_dave_call), (150, 150));
    let journal = room.scene.sim.journal();
    let told = journal
        .entries()
        .iter()
        .filter(|entry| matches!(entry.what, EntryKind::ClearMedia { bytes: 4, .. }));
    assert_eq!(told.count(), 100, "no more than that");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_belong_is_dropped() {
    let mut room = room(scene()).await;
    let (sim, to) = (room.scene.sim.clone(), room.a.to);
    // A packet that was changed, and one of another key.
    let packet = room.a.packet(0x80, &SILENCE);
    let mut changed = room.a.crypto.seal(&packet, 12);
    changed[13] ^= 1;
    room.a.udp.send(to, &changed);
    let foreign = room.b.crypto.seal(&packet, 12);
    room.a.udp.send(to, &foreign);
    // A counter that was used, with the same packet or another.
    room.a.say(&SILENCE);
    let again = room
        .a
        .crypto
        .seal_with(&packet, 12, room.a.crypto.counter - 1);
    room.a.udp.send(to, &again);
    // From elsewhere.
    let elsewhere = sim.voice_udp();
    let sealed = room.a.crypto.seal(&packet, 12);
    elsewhere.send(to, &sealed);
    // Padding that does not fit, and cut packets.
    let padded = room.a.packet(0xA0, &[1, 2, 9]);
    let padded = room.a.crypto.seal(&padded, 12);
    room.a.udp.send(to, &padded);
    for len in 0..packet.len() {
        room.a.udp.send(to, &packet[..len]);
    }
    assert_eq!(room.b.heard().len(), 1);
    let counts = room.counts(&room.a);
    assert_eq!(counts.reused_counters, 1);
    assert_eq!(counts.wrong_address, 1);
    assert!(counts.unreadable >= 3, "{counts:?}");
    // Discovery from the new address makes it the right one.
    elsewhere.send(to, &discovery(room.a.ssrc));
    elsewhere.try_recv().unwrap();
    let sealed = room.a.crypto.seal(&packet, 12);
    elsewhere.send(to, &sealed);
    assert_eq!(room.b.heard().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn audio_before_op_5_is_dropped_and_ends_the_connection() {
    let scene = scene();
    let (_client, ticket) = join(&scene).await;
    let mut caller = Caller::enter(&scene.sim, ticket, AES).await;
    caller.say(&SILENCE);
    tokio::time::sleep(Duration::from_millis(400)).await;
    caller.say(&SILENCE);
    tokio::time::sleep(Duration::from_millis(200)).await;
    caller.say(&SILENCE);
    assert_eq!(caller.ws.closed().await, 4020);
    assert_eq!(scene.sim.media()[&caller.user()].before_speaking, 3);
}

#[tokio::test(start_paused = true)]
async fn the_muted_are_not_heard_and_the_deafened_do_not_hear() {
    let mut room = room(scene()).await;
    let path = |user| format!("/guilds/{}/members/{user}", room.scene.guild);
    let (a, b) = (path(room.a.user()), path(room.b.user()));
    let bits = spellcoven_discord_sim::Permissions::ADMINISTRATOR;
    room.scene
        .sim
        .set_permissions(&room.scene.bot, room.scene.guild, bits)
        .unwrap();
    let set = |path: &str, body| assert_eq!(room.scene.send("PATCH", path, &body).status, 200);
    set(&a, json!({"mute": true}));
    room.a.say(&SILENCE);
    assert!(room.b.heard().is_empty());
    set(&a, json!({"mute": false}));
    set(&b, json!({"deaf": true}));
    room.a.say(&SILENCE);
    assert!(room.b.heard().is_empty());
    set(&b, json!({"deaf": false}));
    room.a.say(&SILENCE);
    assert_eq!(room.b.heard().len(), 1);
    assert_eq!(room.counts(&room.a).muted, 1);
}

#[tokio::test(start_paused = true)]
async fn reports_go_both_ways() {
    let mut room = room(scene()).await;
    // A sender report with one report block too many.
    let mut report = vec![0x81, 200, 0, 12];
    report.extend_from_slice(&room.a.ssrc.to_be_bytes());
    report.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8]);
    report.extend_from_slice(&[9; 12]);
    report.extend_from_slice(&[0xEE; 24]);
    let sealed = room.a.crypto.seal(&report, 8);
    room.a.udp.send(room.a.to, &sealed);
    let heard = room.b.heard();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0][..4], [0x80, 200, 0, 6], "without its blocks");
    assert_eq!(heard[0][4..28], report[4..28]);
    for number in 0..100 {
        if number % 4 == 1 {
            room.a.packet(0x80, &SILENCE);
        } else {
            room.a.say(&SILENCE);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    let heard = room.a.heard();
    assert_eq!(heard.len(), 1, "every five seconds");
    let report = &heard[0];
    assert_eq!(report.len(), 32);
    assert_eq!(report[..4], [0x81, 201, 0, 7]);
    assert_eq!(report[8..12], room.a.ssrc.to_be_bytes());
    assert_eq!(report[12], 64, "a quarter was lost");
    assert_eq!(
        report[16..20],
        (65_536_u32 + 65_530 + 99 - 65_536).to_be_bytes()
    );
    assert_eq!(
        report[24..28],
        [3, 4, 5, 6],
        "the middle of the sender's time"
    );
    let delay = u32::from_be_bytes(report[28..32].try_into().unwrap());
    assert!((5 * 65_536..6 * 65_536).contains(&delay), "{delay}");
    assert_eq!(room.counts(&room.a).missing, 25);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(room.a.heard().is_empty(), "no report of nothing");
}

fn faults(change: impl FnOnce(&mut MediaFaults)) -> MediaFaults {
    let mut faults = MediaFaults::default();
    change(&mut faults);
    faults
}

/// Sends 1000 frames, one in 20 ms, and gives what the other heard, opened.
async fn speech(room: &mut Room) -> Vec<Vec<u8>> {
    let mut heard = Vec::new();
    for _ in 0..1000 {
        room.a.say(&dave(9));
        heard.extend(opened(&mut room.b));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    heard.extend(opened(&mut room.b));
    heard.retain(|packet| packet[1] == 120);
    heard
}

fn opened(caller: &mut Caller) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| caller.udp.try_recv())
        .filter_map(|(_, bytes)| caller.crypto.open(&bytes))
        .collect()
}

fn sequence(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[2], packet[3]])
}

#[tokio::test(start_paused = true)]
async fn losses_duplicates_disorder_and_damage() {
    // Nobody beats here.
    let slow = |builder: SimBuilder| {
        builder.settings(|s| s.voice.heartbeat_interval = Duration::from_secs(1000))
    };
    let mut room = room(scene_with(slow)).await;
    let sim = room.scene.sim.clone();
    sim.set_media_faults_of(room.b.user(), Some(faults(|f| f.loss = 0.2)));
    let heard = speech(&mut room).await;
    assert!((740..860).contains(&heard.len()), "{}", heard.len());
    sim.set_media_faults_of(room.b.user(), None);
    sim.set_media_faults_of(room.a.user(), Some(faults(|f| f.loss_in = 0.2)));
    let heard = speech(&mut room).await;
    assert!((740..860).contains(&heard.len()), "{}", heard.len());
    sim.set_media_faults_of(room.a.user(), None);
    sim.set_media_faults(faults(|f| f.duplicate = 0.1));
    let heard = speech(&mut room).await;
    assert!((1050..1150).contains(&heard.len()), "{}", heard.len());
    sim.set_media_faults(faults(|f| f.reorder = 0.1));
    let heard = speech(&mut room).await;
    assert_eq!(heard.len(), 1000);
    let late = heard
        .windows(2)
        .filter(|pair| sequence(&pair[1]) < sequence(&pair[0]));
    assert!(late.count() > 50);
    sim.set_media_faults(faults(|f| f.corrupt = 0.1));
    let heard = speech(&mut room).await;
    assert!((850..950).contains(&heard.len()), "{}", heard.len());
}

#[tokio::test(start_paused = true)]
async fn delay_and_jitter() {
    let mut room = room(scene()).await;
    let sim = room.scene.sim.clone();
    sim.set_media_faults(faults(|f| {
        f.delay_ms = 100;
        f.jitter_ms = 50;
    }));
    let mut delays = Vec::new();
    for _ in 0..50 {
        let sent = sim.now();
        room.a.say(&SILENCE);
        let (_, bytes) = room.b.udp.recv().await;
        assert!(room.b.crypto.open(&bytes).is_some());
        delays.push((sim.now() - sent).as_millis());
    }
    assert!(
        delays.iter().all(|delay| (100..=151).contains(delay)),
        "{delays:?}"
    );
    assert!(delays.iter().max() > delays.iter().min());
}

#[tokio::test(start_paused = true)]
async fn padding_extensions_and_silence_are_put_in() {
    let mut room = room(scene()).await;
    let sim = room.scene.sim.clone();
    sim.set_media_faults(faults(|f| {
        f.padding = 0.5;
        f.extension = 0.5;
        f.all_padding = 0.1;
    }));
    let heard = speech(&mut room).await;
    let mut sequences: Vec<u16> = heard.iter().map(|packet| sequence(packet)).collect();
    assert!(
        sequences
            .windows(2)
            .all(|pair| pair[0].wrapping_add(1) == pair[1])
    );
    sequences.dedup();
    assert_eq!(sequences.len(), heard.len());
    let (mut padded, mut extended, mut empty) = (0, 0, 0);
    for packet in &heard {
        let mut payload = &packet[12..];
        if packet[0] & 0x10 != 0 {
            assert_eq!(payload[..4], [0xBE, 0xDE, 0, 1]);
            payload = &payload[8..];
            extended += 1;
        }
        if packet[0] & 0x20 != 0 {
            payload = &payload[..payload.len() - usize::from(*payload.last().unwrap())];
            padded += 1;
        }
        if payload.is_empty() {
            empty += 1;
        } else {
            assert_eq!(payload, dave(9));
        }
    }
    assert_eq!(heard.len(), 1000 + empty);
    assert!((60..150).contains(&empty), "{empty}");
    assert!((400..600).contains(&extended), "{extended}");
    assert!(padded > 500, "{padded}");
    sim.set_media_faults(faults(|f| f.silence = true));
    room.a.say(&dave(1));
    assert_eq!(room.b.heard()[0][12..], SILENCE);
}

#[tokio::test(start_paused = true)]
async fn one_who_does_not_know_dave_gets_none_of_it() {
    let scene = scene_with(|builder| builder.settings(|s| s.voice.require_dave = false));
    let (_first, ticket_of_first) = join(&scene).await;
    let mut a = Caller::enter(&scene.sim, ticket_of_first, AES).await;
    let (_bot, mut second) = another_bot(&scene, "other").await;
    second.send(4, &op4(&scene, Some(scene.lobby))).await;
    let ticket = ticket(&mut second).await;
    let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    let mut identify = ticket.identify();
    identify["max_dave_protocol_version"] = json!(0);
    voice.send(0, &identify).await;
    let ssrc = voice.until(2).await["ssrc"].as_u64().unwrap() as u32;
    let udp = scene.sim.voice_udp();
    udp.send(a.to, &discovery(ssrc));
    udp.try_recv().unwrap();
    let select = json!({"protocol": "udp", "data": {"address": "0.0.0.0", "port": 0, "mode": AES}});
    voice.send(1, &select).await;
    let version = voice.until(4).await["dave_protocol_version"].clone();
    assert_eq!(version, 0, "the call comes down to what all can");
    a.speaking().await;
    a.say(&dave(1));
    assert!(udp.try_recv().is_none());
    a.say(&SILENCE);
    assert!(udp.try_recv().is_some());
    assert_eq!(scene.sim.media()[&a.user()].withheld, 1);
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_full_loses_what_comes() {
    let mut room = room(scene()).await;
    for _ in 0..5000 {
        room.a.say(&SILENCE);
    }
    assert_eq!(room.b.udp.lost(), 5000 - 4096);
    assert_eq!(room.b.heard().len(), 4096);
}

#[tokio::test(start_paused = true)]
async fn legacy_modes_only_where_they_are_offered() {
    let scene = scene_with(|builder| builder.settings(|s| s.voice.offer_legacy = true));
    let (_client, ticket) = join(&scene).await;
    let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
    voice.send(0, &ticket.identify()).await;
    let ready = voice.until(2).await;
    let modes: Vec<String> = serde_json::from_value(ready["modes"].clone()).unwrap();
    assert_eq!(modes[..2], [AES, XCHACHA]);
    for mode in [
        "xsalsa20_poly1305",
        "xsalsa20_poly1305_suffix",
        "xsalsa20_poly1305_lite",
        "xsalsa20_poly1305_lite_rtpsize",
        "aead_aes256_gcm",
    ] {
        assert!(modes.iter().any(|offered| offered == mode), "{mode}");
    }
    let select = json!({
        "protocol": "udp", "data": {"address": "198.51.100.9", "port": 9, "mode": "xsalsa20_poly1305"},
    });
    voice.send(1, &select).await;
    assert_eq!(voice.until(4).await["mode"], "xsalsa20_poly1305");
}

/// What a client of the first mode seals: nonce is the header, the tag comes first.
fn xsalsa(key: &[u8], header: &[u8], nonce: &[u8], text: &[u8]) -> Vec<u8> {
    use xsalsa20poly1305::aead::{Aead, KeyInit};
    let mut long = [0; 24];
    long[..nonce.len()].copy_from_slice(nonce);
    let key: [u8; 32] = key.try_into().unwrap();
    let cipher = xsalsa20poly1305::XSalsa20Poly1305::new(&key.into());
    let sealed = cipher.encrypt(&long.into(), text).unwrap();
    [header, &sealed].concat()
}

#[tokio::test(start_paused = true)]
async fn legacy_modes_carry_media() {
    for mode in ["xsalsa20_poly1305", "xsalsa20_poly1305_lite"] {
        let legacy = |builder: SimBuilder| builder.settings(|s| s.voice.offer_legacy = true);
        let scene = scene_with(legacy);
        let (_first, ticket_of_first) = join(&scene).await;
        let mut a = Caller::enter(&scene.sim, ticket_of_first, AES).await;
        a.speaking().await;
        let (_bot, mut second) = another_bot(&scene, "other").await;
        second.send(4, &op4(&scene, Some(scene.lobby))).await;
        let ticket = ticket(&mut second).await;
        let mut voice = Voice::open(&scene.sim, "127.0.0.1:2", 8).await;
        voice.send(0, &ticket.identify()).await;
        let ssrc = voice.until(2).await["ssrc"].as_u64().unwrap() as u32;
        let udp = scene.sim.voice_udp();
        udp.send(a.to, &discovery(ssrc));
        udp.try_recv().unwrap();
        let data = json!({"address": "0.0.0.0", "port": 0, "mode": mode});
        voice
            .send(1, &json!({"protocol": "udp", "data": data}))
            .await;
        let key = voice.until(4).await["secret_key"].clone();
        let key: Vec<u8> = serde_json::from_value(key).unwrap();
        voice.send(5, &json!({"speaking": 1, "ssrc": ssrc})).await;
        a.ws.until(5).await;
        // From the old mode to the new one.
        let mut header = vec![0x80, 120, 0, 1, 0, 0, 0, 2];
        header.extend_from_slice(&ssrc.to_be_bytes());
        let sealed = if mode == "xsalsa20_poly1305" {
            xsalsa(&key, &header, &header, &SILENCE)
        } else {
            let tail = 77_u32.to_be_bytes();
            [&xsalsa(&key, &header, &tail, &SILENCE)[..], &tail].concat()
        };
        udp.send(a.to, &sealed);
        assert_eq!(a.heard(), [[&header[..], &SILENCE].concat()], "{mode}");
        // And back.
        a.say(&SILENCE);
        let (_, came) = udp.try_recv().unwrap();
        let header = came[..12].to_vec();
        let wanted = if mode == "xsalsa20_poly1305" {
            xsalsa(&key, &header, &header, &SILENCE)
        } else {
            let tail = came[came.len() - 4..].to_vec();
            [&xsalsa(&key, &header, &tail, &SILENCE)[..], &tail].concat()
        };
        assert_eq!(came, wanted, "{mode}");
    }
}
