//! Opus frames in and out, untouched: what a build without libopus is for. It holds with libopus as well.

use std::{collections::BTreeSet, time::Duration};

use futures_util::SinkExt as _;
use spellcoven_discord_sim::MediaFaults;
use spellcoven_discord_voice::{
    AudioStream, DiscordRtcClientBuilder, OggOpus, OpusFrame, Player, PlayerHandle, ReceiveMode,
    Sound, Track,
};

use crate::{
    audio_support::{Ogg, numbered},
    proof_support::{Far, assert_sealed, each_seed},
    support::{Member, Room},
};

const FRAMES: u32 = 300;

#[cfg(feature = "opus")]
fn player() -> (Player, PlayerHandle) {
    Player::new(spellcoven_discord_voice::EncoderConfig::music())
}

#[cfg(not(feature = "opus"))]
fn player() -> (Player, PlayerHandle) {
    Player::passthrough()
}

/// What is heard of a member in order, lost ones left out, until nothing has come for two seconds.
async fn listen(heard: &mut AudioStream, of: &Member) -> Vec<OpusFrame> {
    let mut frames = Vec::new();
    let pause = Duration::from_secs(2);
    while let Ok(Some(packet)) = tokio::time::timeout(pause, heard.next()).await {
        if let Sound::Opus { frame, .. } = packet.sound
            && packet.user_id == of.user_id
        {
            frames.push(frame);
        }
    }
    frames
}

/// An Ogg Opus file goes to the other, who sends back what they hear: it is the file's packets, each as it was.
async fn there_and_back(seed: u64, bad: bool) {
    let mut room = Room::new(seed);
    let far = Far::new(&room.sim);
    let ordered = |builder: DiscordRtcClientBuilder| far.raw(builder).receive(ReceiveMode::Opus);
    let alice = room.join("alice", ordered).await;
    let bob = room.join("bob", ordered).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    if bad {
        let mut faults = MediaFaults::default();
        faults.loss = 0.05;
        faults.reorder = 0.1;
        faults.duplicate = 0.05;
        room.sim.set_media_faults(faults);
    }
    let (mut alices, mut bobs) = (alice.client.audio(), bob.client.audio());
    let mut echo = bob.client.audio_sink();
    let mut sent_back = bob.client.audio();
    let alice_id = alice.user_id;
    tokio::spawn(async move {
        while let Some(packet) = sent_back.next().await {
            if let Some(frame) = packet.opus()
                && packet.user_id == alice_id
            {
                echo.send(frame.clone()).await.unwrap();
            }
        }
    });

    let said = numbered(FRAMES);
    let (player, handle) = player();
    let file = Ogg::default().write(&said);
    handle
        .play(Track::new(OggOpus::from_bytes(file).unwrap()))
        .unwrap();
    alice.client.play(player);
    let (of_bob, of_alice) = tokio::join!(listen(&mut alices, &bob), listen(&mut bobs, &alice));

    let known: BTreeSet<&[u8]> = said.iter().map(|frame| &frame.data[..]).collect();
    for (who, heard) in [("Bob", &of_alice), ("Alice, of the echo,", &of_bob)] {
        let heard: Vec<&OpusFrame> = heard
            .iter()
            .filter(|frame| frame.data != OpusFrame::SILENCE.data)
            .collect();
        println!("{who} heard {} of {FRAMES} frames", heard.len());
        assert!(heard.iter().all(|frame| known.contains(&frame.data[..])));
        let numbers = heard
            .iter()
            .map(|frame| crate::audio_support::number(frame));
        assert!(numbers.is_sorted_by(|a, b| a < b), "in order, and once");
        let floor = if bad { FRAMES * 4 / 5 } else { FRAMES };
        assert!(heard.len() >= floor as usize);
    }
    assert_sealed(&room);
    room.assert_no_complaints();
}

#[test]
fn an_ogg_file_arrives_packet_by_packet_and_so_does_its_echo() {
    each_seed(580, |seed| there_and_back(seed, false));
    each_seed(590, |seed| there_and_back(seed, true));
}
