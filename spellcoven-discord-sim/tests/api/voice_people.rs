//! People with people through the forwarding unit, end-to-end encrypted, in virtual time.

use std::time::Duration;

use spellcoven_discord_sim::{
    CallFault, EntryKind, MediaFaults, Sim, Speech, UserId, VoiceFault, decode, tone_share,
};

use super::support::{Scene, scene, scene_with};

async fn seconds(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

fn notes(sim: &Sim) -> String {
    let journal = sim.journal();
    let notes = journal.entries().iter().filter(|entry| {
        matches!(
            entry.what,
            EntryKind::Dave { .. } | EntryKind::Complaint { .. } | EntryKind::VoiceClosed { .. }
        )
    });
    notes.map(|entry| format!("{entry}\n")).collect()
}

fn code(sim: &Sim, person: UserId) -> Option<String> {
    sim.voice_client(person)?.privacy_code
}

/// How much of what one heard of another is this tone, left and right.
fn heard_tone(sim: &Sim, person: UserId, from: UserId, left: u32, right: u32) -> (f64, f64) {
    let frames = sim.heard(person, from);
    let sound = decode(&frames).unwrap();
    (
        tone_share(&sound.left, left),
        tone_share(&sound.right, right),
    )
}

/// Bob and Carol beside Alice, all in the lobby.
fn three(scene: &Scene) -> [UserId; 3] {
    let bob = scene.sim.add_person("bob", scene.guild);
    let carol = scene.sim.add_person("carol", scene.guild);
    for person in [scene.alice, bob, carol] {
        scene.sim.join(person, scene.lobby).unwrap();
    }
    [scene.alice, bob, carol]
}

#[tokio::test(start_paused = true)]
async fn two_people_hear_each_other() {
    let scene = scene();
    let sim = &scene.sim;
    let [alice, bob, _] = three(&scene);
    sim.set_listening(alice, true).unwrap();
    sim.set_listening(bob, true).unwrap();
    sim.talk(alice, Speech::tone(440, 880).unwrap()).unwrap();
    sim.talk(bob, Speech::tone(660, 550).unwrap()).unwrap();
    seconds(5.0).await;
    sim.hush(alice);
    sim.hush(bob);
    seconds(1.0).await;
    assert!(!sim.voice_client(alice).unwrap().talking);
    for (listener, from, left, right) in [(bob, alice, 440, 880), (alice, bob, 660, 550)] {
        let (l, r) = heard_tone(sim, listener, from, left, right);
        assert!(l > 0.9 && r > 0.9, "{l} {r}\n{}", notes(sim));
        let heard = &sim.heard_of(listener)[&from];
        assert_eq!(
            (heard.failed, heard.clear, heard.missing),
            (0, 0, 0),
            "{heard:?}"
        );
        assert!(heard.encrypted > 200, "{heard:?}");
    }
    assert_eq!(code(sim, alice), code(sim, bob));
    assert!(code(sim, alice).is_some());
    let media = sim.media();
    assert_eq!((media[&alice].clear, media[&bob].clear), (0, 0));
    assert!(sim.complaints().is_empty(), "{}", notes(sim));
}

#[tokio::test(start_paused = true)]
async fn one_leaves_and_one_comes_in_the_middle() {
    let scene = scene();
    let sim = &scene.sim;
    let [alice, bob, carol] = three(&scene);
    for person in [alice, bob] {
        sim.set_listening(person, true).unwrap();
    }
    sim.talk(alice, Speech::tone(440, 880).unwrap()).unwrap();
    seconds(3.0).await;
    sim.set_listening(carol, true).unwrap();
    seconds(3.0).await;
    sim.leave(bob).unwrap();
    seconds(3.0).await;
    let (l, r) = heard_tone(sim, carol, alice, 440, 880);
    assert!(l > 0.9 && r > 0.9, "{l} {r}\n{}", notes(sim));
    let heard = &sim.heard_of(carol)[&alice];
    assert!(heard.frames > 250, "{heard:?}\n{}", notes(sim));
    assert_eq!((heard.failed, heard.clear), (0, 0), "{heard:?}");
    assert_eq!(code(sim, alice), code(sim, carol));
    sim.leave(carol).unwrap();
    seconds(2.0).await;
    assert_eq!(sim.media()[&alice].clear, 0);
    sim.join(bob, scene.lobby).unwrap();
    seconds(3.0).await;
    let again = &sim.heard_of(bob)[&alice];
    assert_eq!(
        (again.failed, again.clear),
        (0, 0),
        "{again:?}\n{}",
        notes(sim)
    );
    let late = again.last.unwrap();
    assert!(
        sim.now() - late < Duration::from_millis(100),
        "heard after the return"
    );
    assert!(sim.complaints().is_empty(), "{}", notes(sim));
}

#[tokio::test(start_paused = true)]
async fn loss_disorder_and_dressed_packets() {
    let scene = scene_with(|builder| {
        builder.settings(|s| {
            s.voice.people_padding = 0.5;
            s.voice.people_extensions = 0.5;
        })
    });
    let sim = &scene.sim;
    let [alice, bob, _] = three(&scene);
    let mut faults = MediaFaults::loss(0.025);
    faults.reorder = 0.05;
    faults.all_padding = 0.02;
    sim.set_media_faults(faults);
    sim.set_listening(bob, true).unwrap();
    sim.talk(alice, Speech::tone(440, 880).unwrap()).unwrap();
    seconds(10.0).await;
    let heard = &sim.heard_of(bob)[&alice];
    assert_eq!((heard.failed, heard.clear), (0, 0), "{heard:?}");
    assert!(heard.frames > 400 && heard.missing > 5, "{heard:?}");
    assert!(heard.padding > 2, "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_spoiled_welcome_and_a_spoiled_commit_are_mended() {
    for (welcome, commit) in [(true, false), (false, true)] {
        let scene = scene();
        let sim = &scene.sim;
        let [alice, bob, carol] = three(&scene);
        sim.set_listening(bob, true).unwrap();
        sim.talk(alice, Speech::tone(440, 880).unwrap()).unwrap();
        seconds(3.0).await;
        sim.corrupt_dave(None, welcome, commit);
        sim.set_listening(carol, true).unwrap();
        seconds(8.0).await;
        assert!(notes(sim).contains("InvalidReported"), "{}", notes(sim));
        sim.forget_heard(carol);
        sim.forget_heard(bob);
        seconds(1.0).await;
        for listener in [bob, carol] {
            let heard = &sim.heard_of(listener)[&alice];
            assert!(heard.encrypted > 40, "{heard:?}\n{}", notes(sim));
            assert_eq!((heard.failed, heard.clear), (0, 0), "{heard:?}");
        }
        assert_eq!(sim.media()[&alice].clear, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn people_come_again_after_cuts_and_moves() {
    let scene = scene();
    let sim = &scene.sim;
    let room = sim.add_voice_channel(scene.guild, "Room");
    let [alice, bob, _] = three(&scene);
    sim.set_listening(bob, true).unwrap();
    sim.talk(alice, Speech::tone(440, 880).unwrap()).unwrap();
    seconds(2.0).await;
    sim.voice_fault(bob, VoiceFault::Cut);
    seconds(3.0).await;
    sim.voice_fault(alice, VoiceFault::Close { code: 4015 });
    seconds(3.0).await;
    let server = sim.add_voice_server();
    sim.move_call(scene.lobby, server).unwrap();
    seconds(3.0).await;
    sim.join(alice, room).unwrap();
    sim.join(bob, room).unwrap();
    seconds(3.0).await;
    sim.forget_heard(bob);
    seconds(1.0).await;
    let heard = &sim.heard_of(bob)[&alice];
    assert!(heard.encrypted > 40, "{heard:?}\n{}", notes(sim));
    assert_eq!(sim.media()[&alice].clear, 0);
    sim.lose_voice_server(room).unwrap();
    seconds(1.0).await;
    sim.move_call(room, server).unwrap();
    seconds(3.0).await;
    sim.forget_heard(bob);
    seconds(1.0).await;
    assert!(sim.heard_of(bob)[&alice].encrypted > 40, "{}", notes(sim));
}

#[tokio::test(start_paused = true)]
async fn who_can_talk() {
    let scene = scene();
    let tone = || Speech::tone(440, 880).unwrap();
    assert!(scene.sim.talk(scene.alice, tone()).is_err(), "not in voice");
    assert!(scene.sim.talk(UserId(1), tone()).is_err());
    assert!(scene.sim.talk(scene.bot.user_id, tone()).is_err(), "a bot");
    scene.sim.hush(scene.alice);
    assert!(scene.sim.heard(scene.alice, scene.alice).is_empty());
    scene.sim.join(scene.alice, scene.lobby).unwrap();
    scene.sim.talk(scene.alice, tone()).unwrap();
    seconds(5.0).await;
    // Alone there is no key, and so nothing is said.
    assert!(
        scene
            .sim
            .media()
            .get(&scene.alice)
            .is_none_or(|counts| counts.packets == 0)
    );
    scene.sim.leave(scene.alice).unwrap();
    assert!(scene.sim.complaints().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_without_dave_and_back() {
    let scene = scene();
    let sim = &scene.sim;
    let [alice, bob, _] = three(&scene);
    assert!(sim.call(scene.lobby).is_none());
    sim.set_listening(bob, true).unwrap();
    sim.talk(alice, Speech::tone(440, 880).unwrap()).unwrap();
    seconds(3.0).await;
    let call = sim.call(scene.lobby).unwrap();
    assert_eq!(call.members, [bob, alice]);
    assert!(
        call.established && call.dave_version == 1 && call.epoch == 1,
        "{call:?}"
    );
    sim.call_fault(scene.lobby, CallFault::Version { version: Some(0) });
    seconds(4.0).await;
    sim.forget_heard(bob);
    seconds(1.0).await;
    let heard = &sim.heard_of(bob)[&alice];
    assert!(
        heard.frames > 40 && heard.encrypted == 0,
        "{heard:?}\n{}",
        notes(sim)
    );
    assert_eq!(
        sim.media()[&alice].clear_in_dave_call,
        0,
        "allowed without DAVE"
    );
    sim.call_fault(scene.lobby, CallFault::Version { version: None });
    seconds(4.0).await;
    sim.forget_heard(bob);
    seconds(1.0).await;
    let heard = &sim.heard_of(bob)[&alice];
    assert!(heard.encrypted > 40, "{heard:?}\n{}", notes(sim));
    assert!(sim.complaints().is_empty(), "{}", notes(sim));
}

#[tokio::test(start_paused = true)]
async fn wrong_words_of_the_server_do_no_harm() {
    for fault in [
        CallFault::DropExecute,
        CallFault::SlowExecute { ms: 1500 },
        CallFault::ProposeIntruder { user_id: UserId(5) },
        CallFault::ProposeInWrongEpoch,
        CallFault::ExecuteUnknown,
        CallFault::AnotherExternalSender,
        CallFault::ExternalSenderAgain,
    ] {
        let scene = scene();
        let sim = &scene.sim;
        let [alice, bob, carol] = three(&scene);
        sim.set_listening(bob, true).unwrap();
        sim.talk(alice, Speech::tone(440, 880).unwrap()).unwrap();
        seconds(3.0).await;
        sim.call_fault(scene.lobby, fault);
        seconds(3.0).await;
        sim.set_listening(carol, true).unwrap();
        seconds(5.0).await;
        sim.forget_heard(bob);
        seconds(1.0).await;
        let heard = &sim.heard_of(bob)[&alice];
        assert!(heard.encrypted > 40, "{fault:?} {heard:?}\n{}", notes(sim));
        assert_eq!(sim.media()[&alice].clear, 0, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_call() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let scene = scene();
        let sim = &scene.sim;
        let [alice, bob, carol] = three(&scene);
        let mut faults = MediaFaults::loss(0.1);
        faults.reorder = 0.1;
        faults.jitter_ms = 10;
        sim.set_media_faults(faults);
        sim.set_listening(bob, true).unwrap();
        sim.talk(alice, Speech::tone(440, 880).unwrap()).unwrap();
        seconds(3.0).await;
        sim.set_listening(carol, true).unwrap();
        seconds(2.0).await;
        runs.push((sim.journal().to_string(), sim.media()));
    }
    assert_eq!(runs[0].1, runs[1].1);
    assert_eq!(runs[0].0, runs[1].0);
}
