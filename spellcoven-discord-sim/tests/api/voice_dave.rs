//! End-to-end encryption through the whole server: people on official clients' behaviour, under every fault that can be
//! ordered, in virtual time.

use std::collections::BTreeSet;
use std::time::Duration;

use spellcoven_discord_sim::{
    CallFault, EntryKind, MediaFaults, Sim, Speech, UserId, VoiceFault, decode, tone_share,
};

use super::support::{Scene, scene, scene_with};

/// Everyone's tone, left and right, is their own.
fn tone(index: usize) -> (u32, u32) {
    let index = u32::try_from(index).unwrap();
    (400 + 150 * index, 450 + 150 * index)
}

fn people(scene: &Scene, count: usize) -> Vec<UserId> {
    let mut people = vec![scene.alice];
    for index in 1..count {
        people.push(scene.sim.add_person(&format!("p{index}"), scene.guild));
    }
    people
}

/// A person joins, talks in their tone, and listens.
fn come(scene: &Scene, people: &[UserId], index: usize) {
    let (left, right) = tone(index);
    scene.sim.join(people[index], scene.lobby).unwrap();
    scene.sim.set_listening(people[index], true).unwrap();
    let speech = Speech::tone(left, right).unwrap();
    scene.sim.talk(people[index], speech).unwrap();
}

async fn wait(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

fn journal(sim: &Sim) -> String {
    let journal = sim.journal();
    let entries = journal.entries().iter().filter(|entry| {
        matches!(
            entry.what,
            EntryKind::Dave { .. } | EntryKind::Complaint { .. } | EntryKind::VoiceClosed { .. }
        )
    });
    entries.map(|entry| format!("{entry}\n")).collect()
}

/// From now on, all who are here hear all others in their tones, without a failure, and share a code.
async fn assert_all_hear_all(scene: &Scene, people: &[UserId], present: &[usize]) {
    let sim = &scene.sim;
    let codes: BTreeSet<Option<String>> = present
        .iter()
        .map(|index| {
            sim.voice_client(people[*index])
                .and_then(|client| client.privacy_code)
        })
        .collect();
    assert_eq!(codes.len(), 1, "{codes:?}\n{}", journal(sim));
    assert!(!codes.contains(&None), "{}", journal(sim));
    // Frames of an epoch before a newcomer's reach them, too, and count as failed after half a second.
    wait(600).await;
    for index in present {
        sim.forget_heard(people[*index]);
    }
    wait(600).await;
    for listener in present {
        for speaker in present.iter().filter(|speaker| *speaker != listener) {
            let frames = sim.heard(people[*listener], people[*speaker]);
            let summary = sim.heard_of(people[*listener])[&people[*speaker]].clone();
            assert!(
                (28..=31).contains(&frames.len()),
                "{listener} of {speaker}: {summary:?}\n{}",
                journal(sim)
            );
            assert_eq!(summary.encrypted, summary.frames);
            assert_eq!(
                (summary.failed, summary.keyless, summary.clear),
                (0, 0, 0),
                "{listener} of {speaker}: {summary:?}\n{}",
                journal(sim)
            );
            let sound = decode(&frames).unwrap();
            let (left, right) = tone(*speaker);
            // Without the decoder's first breath.
            assert!(tone_share(&sound.left[4800..], left) > 0.9);
            assert!(tone_share(&sound.right[4800..], right) > 0.9);
        }
    }
}

fn assert_no_clear_media(sim: &Sim) {
    for (user, counts) in sim.media() {
        assert_eq!(counts.clear, 0, "of {user}");
    }
}

#[tokio::test(start_paused = true)]
async fn six_come_and_go() {
    let scene = scene();
    let people = people(&scene, 6);
    for index in 0..6 {
        come(&scene, &people, index);
        wait(300).await;
    }
    assert_all_hear_all(&scene, &people, &[0, 1, 2, 3, 4, 5]).await;
    scene.sim.leave(people[2]).unwrap();
    scene.sim.leave(people[0]).unwrap();
    wait(300).await;
    assert_all_hear_all(&scene, &people, &[1, 3, 4, 5]).await;
    come(&scene, &people, 0);
    scene.sim.leave(people[5]).unwrap();
    come(&scene, &people, 2);
    wait(300).await;
    assert_all_hear_all(&scene, &people, &[0, 1, 2, 3, 4]).await;
    assert_no_clear_media(&scene.sim);
    assert!(scene.sim.complaints().is_empty(), "{}", journal(&scene.sim));
}

#[tokio::test(start_paused = true)]
async fn every_fault_is_lived_through() {
    let scene = scene();
    let people = people(&scene, 4);
    for index in 0..2 {
        come(&scene, &people, index);
        wait(100).await;
    }
    wait(1000).await;
    let faults: [&dyn Fn(&Sim); 13] = [
        &|sim| sim.corrupt_dave(None, true, false),
        &|sim| sim.corrupt_dave(Some(people[2]), true, false),
        &|sim| sim.corrupt_dave(None, false, true),
        &|sim| sim.voice_fault(people[0], VoiceFault::CorruptCommit),
        &|sim| sim.voice_fault(people[1], VoiceFault::CorruptCommit),
        &|sim| sim.call_fault(scene.lobby, CallFault::SlowExecute { ms: 1500 }),
        &|sim| sim.call_fault(scene.lobby, CallFault::DropExecute),
        &|sim| {
            let user_id = UserId(77);
            sim.call_fault(scene.lobby, CallFault::ProposeIntruder { user_id });
        },
        &|sim| {
            let user_id = people[1];
            sim.call_fault(scene.lobby, CallFault::ProposeTwice { user_id });
        },
        &|sim| sim.call_fault(scene.lobby, CallFault::ProposeInWrongEpoch),
        &|sim| sim.call_fault(scene.lobby, CallFault::ExecuteUnknown),
        &|sim| sim.call_fault(scene.lobby, CallFault::AnotherExternalSender),
        &|sim| sim.call_fault(scene.lobby, CallFault::ExternalSenderAgain),
    ];
    for order in faults {
        order(&scene.sim);
        come(&scene, &people, 2);
        wait(2000).await;
        // A transition that is never executed is made up for by the next one.
        come(&scene, &people, 3);
        wait(1500).await;
        assert_all_hear_all(&scene, &people, &[0, 1, 2, 3]).await;
        for index in [2, 3] {
            scene.sim.leave(people[index]).unwrap();
        }
        wait(2000).await;
    }
    assert_all_hear_all(&scene, &people, &[0, 1]).await;
    assert_no_clear_media(&scene.sim);
    assert!(scene.sim.complaints().is_empty(), "{}", journal(&scene.sim));
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_down_to_clear_media_and_up_again() {
    let scene = scene();
    let sim = &scene.sim;
    let people = people(&scene, 3);
    for index in 0..3 {
        come(&scene, &people, index);
    }
    wait(1000).await;
    assert_eq!(sim.call(scene.lobby).unwrap().dave_version, 1);
    let version = |version| sim.call_fault(scene.lobby, CallFault::Version { version });
    version(Some(0));
    wait(1000).await;
    let call = sim.call(scene.lobby).unwrap();
    assert_eq!((call.dave_version, call.epoch), (0, 0));
    sim.forget_heard(people[0]);
    wait(500).await;
    let heard = sim.heard_of(people[0])[&people[1]].clone();
    assert!(heard.frames >= 24, "{heard:?}");
    assert_eq!(heard.encrypted, 0);

    version(None);
    wait(1000).await;
    assert_all_hear_all(&scene, &people, &[0, 1, 2]).await;
    assert!(sim.complaints().is_empty(), "{}", journal(sim));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_of_a_talk_while_others_come_and_go() {
    let scene = scene();
    let sim = &scene.sim;
    let people = people(&scene, 4);
    come(&scene, &people, 0);
    come(&scene, &people, 1);
    wait(1000).await;
    sim.forget_heard(people[1]);
    for _ in 0..3 {
        come(&scene, &people, 2);
        wait(150).await;
        come(&scene, &people, 3);
        wait(150).await;
        sim.leave(people[2]).unwrap();
        sim.leave(people[3]).unwrap();
        wait(150).await;
    }
    let heard = sim.heard_of(people[1])[&people[0]].clone();
    assert_eq!(
        (heard.failed, heard.keyless, heard.clear, heard.missing),
        (0, 0, 0, 0),
        "{heard:?}\n{}",
        journal(sim)
    );
    assert!(heard.frames >= 66, "{heard:?}");
    let sound = decode(&sim.heard(people[1], people[0])).unwrap();
    assert!(tone_share(&sound.left[4800..], tone(0).0) > 0.95);
}

#[tokio::test(start_paused = true)]
async fn the_first_group_may_come_without_a_transition() {
    let scene = scene_with(|builder| builder.settings(|s| s.voice.first_transition_zero = true));
    let people = people(&scene, 3);
    for index in 0..3 {
        come(&scene, &people, index);
        wait(200).await;
    }
    assert_all_hear_all(&scene, &people, &[0, 1, 2]).await;
    assert!(scene.sim.complaints().is_empty(), "{}", journal(&scene.sim));
}

#[tokio::test(start_paused = true)]
async fn a_twentieth_of_the_packets_is_lost_and_the_tones_are_still_theirs() {
    let scene = scene();
    let sim = &scene.sim;
    let people = people(&scene, 2);
    let mut faults = MediaFaults::default();
    faults.loss = 0.05;
    faults.reorder = 0.05;
    sim.set_media_faults(faults);
    come(&scene, &people, 0);
    come(&scene, &people, 1);
    wait(5000).await;
    let summary = sim.heard_of(people[1])[&people[0]].clone();
    assert!(summary.missing > 0, "{summary:?}");
    assert_eq!((summary.failed, summary.clear), (0, 0), "{summary:?}");
    let sound = decode(&sim.heard(people[1], people[0])).unwrap();
    let (left, right) = tone(0);
    // What is made up for a gap may begin at another phase: tenths of a second are looked at one by one.
    let share = |samples: &[f32], hz| {
        let tenths: Vec<f64> = samples
            .chunks_exact(4800)
            .map(|tenth| tone_share(tenth, hz))
            .collect();
        tenths.iter().sum::<f64>() / tenths.len() as f64
    };
    for (ear, hz) in [(&sound.left, left), (&sound.right, right)] {
        assert!(share(ear, hz) > 0.75, "{} {summary:?}", share(ear, hz));
    }
    assert!(share(&sound.left, right + 200) < 0.1);
}
